"""Out-of-fold predictions of other runs or programs, put beside those of a cross-validation.

They must be of the same knees in the same folds. A model is measured within folds, against knees
that the same model has scored; with other folds it would be measured against other knees, and the
difference would tell about the folds, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import MISSING, Row, number, read_table
from oatools.core.people import People
from oatools.learning.cohort import Cohort
from oatools.learning.followup import EVENT, TIME
from oatools.learning.predictions import file_of
from oatools.learning.results import CrossValidation, OutOfFold, risk_column

_COLUMNS = ("knee", "label", "probability", "fold")


def name_of(path: str | Path) -> str:
    """Return what the predictions in a table are called: after its folder, or after itself.

    `other/predictions.tsv` is `other`, `other/predictions-images.tsv` is `other images`, and
    `mine.tsv` is `mine`.
    """
    path = Path(path)
    start, _, rest = path.stem.partition("-")
    folder = path.parent.name
    if start != "predictions" or folder in ("", ".."):
        return path.stem
    return f"{folder} {rest}" if rest else folder


def read_others(
    paths: Sequence[str | Path],
    cohort: Cohort,
    folds: Sequence[np.ndarray],
    at: Sequence[float] = (),
) -> dict[str, list[OutOfFold]]:
    """Read tables of predictions, by name, one `OutOfFold` for each of a run's `folds` (knees,).

    A table has the columns `knee`, `label`, `probability` and `fold`, maybe `subject` and
    `threshold`; where knees are followed it has `time` and `event` in place of `label`, and in
    place of the probability the risks `at` so many months. Predictions in the folds of the second
    run, a repeat, are in a table of the same name in `repeat-2` beside the first; and so on. Raises
    a `UsageError` that names the first knee of which a table has another label, patient or fold,
    that it lacks, or has beyond those tested.
    """
    found: dict[str, list[OutOfFold]] = {}
    for path in map(Path, paths):
        name = name_of(path)
        if name in found:
            raise UsageError(
                f"two tables of predictions would be called {name}", "rename one, or its folder"
            )
        found[name] = [_read(path, cohort, folds[0], at)]
        for repeat, fold in enumerate(folds[1:], start=2):
            again = path.parent / f"repeat-{repeat}" / path.name
            if not again.exists():
                raise UsageError(
                    f"{path}: there are no predictions in the folds of repeat {repeat} ({again})",
                    "give `repeats` of 1",
                )
            found[name].append(_read(again, cohort, fold, at))
    return found


def put_beside(
    result: CrossValidation, others: Mapping[str, Sequence[OutOfFold]]
) -> CrossValidation:
    """Return the cross-validation with other predictions among its models; see `read_others`.

    Raises a `UsageError` for one that is called like a model.
    """
    taken = {file_of(model) for model in result.models}
    for name in others:
        if file_of(name) in taken:
            raise UsageError(
                f"predictions to compare with are called {name}, as a model is",
                "rename their table, or its folder",
            )
        taken.add(file_of(name))
    runs = []
    for number_of_run, run in enumerate(result.runs):
        more = {name: found[number_of_run] for name, found in others.items()}
        runs.append(replace(run, models=run.models | more))
    return replace(runs[0], repeats=tuple(runs[1:]))


def _read(path: Path, cohort: Cohort, fold: np.ndarray, at: Sequence[float]) -> OutOfFold:
    """Read one table, in the folds of one run."""
    columns: tuple[str, ...] = _COLUMNS
    if cohort.follow_up is not None:
        columns = ("knee", TIME, EVENT, *map(risk_column, at), "fold")
    table = read_table(path, columns)
    people = People()
    for knee, subject in zip(cohort.knee, cohort.subject, strict=True):
        people.take({"knee": knee, "subject": subject}, "the labels")
    rows = people.by_knee(table.rows, str(path))
    tested = {cohort.knee[i]: int(i) for i in np.flatnonzero(fold)}
    missing = [knee for knee in tested if knee not in rows]
    if missing:
        raise UsageError(
            f"{path}: no prediction for {len(missing)} of {len(tested)} knees, the first is "
            f"{missing[0]}"
        )
    more = [knee for knee in rows if knee not in tested]
    if more:
        raise UsageError(
            f"{path}: has {len(more)} knees that are not tested here, the first is {more[0]}",
            "compare on the same knees",
        )
    result = OutOfFold.empty(len(cohort), len(at))
    theirs: dict[int, str] = {}
    ours: dict[str, int] = {}
    for knee, i in tested.items():
        row = rows[knee]
        _require_same_outcome(path, row, cohort, i)
        # Folds are the same whatever their numbers are.
        own, other = int(fold[i]), row["fold"]
        if theirs.setdefault(own, other) != other or ours.setdefault(other, own) != own:
            raise UsageError(
                f"{path}: its folds are others; {knee} is the first that is with other knees",
                "cross-validate in the same folds, by `folds_file`",
            )
        if cohort.follow_up is not None:
            risks = [share_of(path, row, risk_column(months)) for months in at]
            result.put_risks(np.array([i]), np.array([risks]))
            continue
        result.probability[i] = share_of(path, row, "probability")
        if row.get("threshold", MISSING) != MISSING:
            result.threshold[i] = share_of(path, row, "threshold")
    return result


def _require_same_outcome(path: Path, row: Row, cohort: Cohort, i: int) -> None:
    """Raise a `UsageError` for a knee that has fared otherwise in a table of predictions."""
    # Other programs may write 1.0, or n/a.
    expected: dict[str, float] = {"label": float(cohort.label[i])}
    if cohort.follow_up is not None:
        expected = {TIME: float(cohort.follow_up.time[i]), EVENT: float(cohort.label[i])}
    for column, value in expected.items():
        if number_of(path, row, column) != value:
            raise UsageError(
                f"{path}: {row['knee']} has {column} '{row[column]}', and {value:g} here",
                "compare on the same labels",
            )


def number_of(where: str | Path, row: Row, column: str) -> float | None:
    """Return the number in a cell of a table of predictions; a `UsageError` that names the knee."""
    try:
        return number(row, column)
    except ItemError as error:
        raise UsageError(f"{where}: {row['knee']}: {error.reason}", error.remedy) from None


def share_of(where: str | Path, row: Row, column: str) -> float:
    """Return such a number that is from 0 to 1; a `UsageError` for any other."""
    value = number_of(where, row, column)
    if value is None or not 0 <= value <= 1:
        raise UsageError(
            f"{where}: {row['knee']} has the {column} '{row[column]}', which is not from 0 to 1"
        )
    return value
