"""Blinding of readers: the columns that they may see, and those that would reveal the outcome."""

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row
from oatools.core.suggestions import did_you_mean
from oatools.learning.leaks import Leak, clinical_leak
from oatools.learning.presets import is_part_of_label, reveals_outcome
from oatools.reading.pairs import PAIR_IDENTITY

#: The clinical variables that readers see besides the images if nothing else is asked for: no
#: outcome, and nothing measured after the visit.
SHOWN_BY_DEFAULT = ("age", "sex", "bmi", "height", "weight", "jsw")
#: The number of knees of each label from which on it is hardly by chance that a variable separates
#: the labels: with ten of each the probability is 2 in 184,756.
FEWEST_KNEES = 10


def separates_classes(values: Sequence[tuple[str, str]]) -> bool:
    """Return True if a variable leaves no doubt of the label, and there are knees enough to know.

    `values` are (label, value) of each knee. Numbers separate the labels if all of one label are
    less than all of the other. Texts do if no text occurs with both labels, provided that there are
    fewer kinds of text than half the knees: a text of its own for each knee says nothing.
    """
    negatives = [value for label, value in values if label == "0"]
    positives = [value for label, value in values if label == "1"]
    if min(len(negatives), len(positives)) < FEWEST_KNEES:
        return False
    try:
        lower = [float(value) for value in negatives]
        upper = [float(value) for value in positives]
    except ValueError:
        kinds, other_kinds = set(negatives), set(positives)
        is_few = 2 * len(kinds | other_kinds) <= len(values)
        return is_few and not kinds & other_kinds
    return max(lower) < min(upper) or max(upper) < min(lower)


def shown_columns(
    columns: Sequence[str],
    shown: Sequence[str],
    endpoints: Collection[str],
    rows: Iterable[Row] = (),
) -> list[str]:
    """Return the clinical variables that readers get: those asked for, or the usual ones.

    `columns` are those of the labels, and `endpoints` what the labels were made for. Raises a
    `UsageError` for a variable that is not in the table, names the knee, or reveals the answer: by
    its name, or because it (nearly) separates the labels of `rows` (see `separates_classes`, and
    `learning.leaks.clinical_leak`).
    """
    for column in shown:
        _check_asked_for(column, columns, shown, endpoints)
    chosen = list(shown) or [column for column in SHOWN_BY_DEFAULT if column in columns]
    labelled = [row for row in rows if row["label"] != MISSING]
    for column in chosen:
        values = [(row["label"], row[column]) for row in labelled if row[column] != MISSING]
        if separates_classes(values):
            raise UsageError(
                f"'{column}' tells the labels apart without an error, as the answer itself would",
                "choose others with `shown`",
            )
        leak = _leak(column, [row for row in labelled if row["label"] in ("0", "1")])
        if leak is not None:
            raise UsageError(leak.message(), "choose others with `shown`")
    return chosen


def _leak(column: str, rows: Sequence[Row]) -> Leak | None:
    """Find out whether a column gives the labels of rows away, by its numbers or its texts."""
    if not rows:
        return None
    cells = [row[column] for row in rows]
    try:
        values = [math.nan if cell == MISSING else float(cell) for cell in cells]
    except ValueError:
        kinds = {cell: float(n) for n, cell in enumerate(sorted({*cells} - {MISSING}))}
        values = [kinds.get(cell, math.nan) for cell in cells]
    label = np.array([int(row["label"]) for row in rows])
    subjects = tuple(row.get("subject", row["knee"]) for row in rows)
    return clinical_leak(column, np.array(values), label, subjects)


def _check_asked_for(
    column: str, columns: Sequence[str], shown: Sequence[str], endpoints: Collection[str]
) -> None:
    if column not in columns:
        present = ", ".join(columns)
        meant = did_you_mean(column, columns)
        raise UsageError(f"the labels have no column '{column}'; columns present: {present}", meant)
    remedy = "leave it out of `shown`"
    if shown.count(column) > 1:
        raise UsageError(f"'{column}' is asked for twice", remedy)
    if column in PAIR_IDENTITY:
        raise UsageError(f"'{column}' names the knee, and is no clinical variable", remedy)
    is_score_of_label = any(is_part_of_label(column, endpoint) for endpoint in endpoints)
    if reveals_outcome(column) or is_score_of_label:
        raise UsageError(f"'{column}' may tell readers the answer", remedy)
