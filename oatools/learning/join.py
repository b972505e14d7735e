"""Which rows of a features table and of a labels table belong to a knee.

Knees and patients are those of `core.people`: both tables are read through one `People`, which
refuses them where they disagree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from oatools.core.errors import ItemError, OatoolsError, UsageError
from oatools.core.manifest import MISSING, BadRow, Row, Table
from oatools.core.people import People, twice
from oatools.core.suggestions import did_you_mean, with_meant
from oatools.learning.followup import NEEDED, has_follow_up, is_followed

LABELS = ("knee", "subject", "label")
FOLLOWED = ("knee", "subject", *NEEDED)

FailedRow = tuple[Row | BadRow, OatoolsError]


@dataclass(frozen=True)
class ChosenRows:
    """The rows of a features table by knee, one a sequence, in the order of the sequences.

    Knees are in normal form, and the cells of the rows as they were written. `broken` are lines
    that cannot be rows, and `incomplete` the knees that lack a sequence.
    """

    rows: dict[str, tuple[Row, ...]]
    broken: tuple[FailedRow, ...]
    incomplete: frozenset[str]


def choose_rows(
    table: Table[Row | BadRow], sequences: Sequence[str] = (), people: People | None = None
) -> ChosenRows:
    """Choose the row of each of `sequences` by knee; without them, its only row.

    Raises a `UsageError` where that does not settle which row, where no knee has all sequences, or
    as `People.take` does.
    """
    people = people or People()
    found: dict[str, dict[str, Row]] = {}
    present: dict[str, list[str]] = {}
    broken: list[FailedRow] = []
    for row in table.rows:
        if isinstance(row, BadRow):
            if not row.left_out:
                broken.append((row, ItemError(row.error, row.remedy)))
            continue
        knee, sequence = people.take(row, table.name)["knee"], row.get("sequence", MISSING)
        present.setdefault(knee, []).append(sequence)
        if sequences and sequence not in sequences:
            continue
        place = sequence if sequences else ""  # without a choice, rows of all sequences compete
        of_knee = found.setdefault(knee, {})
        if place in of_knee:
            raise _competition(table.name, knee, (of_knee[place], row), present[knee])
        of_knee[place] = row
    places = list(sequences) or [""]
    whole = {}
    for knee, of_knee in found.items():
        if len(of_knee) == len(places):
            whole[knee] = tuple(of_knee[place] for place in places)
    if not whole:
        reason = _why_none(sequences, present.values(), is_any_found=bool(found))
        raise UsageError(f"{table.name}: {reason}")
    return ChosenRows(whole, tuple(broken), frozenset(found.keys() - whole.keys()))


def read_labels(
    table: Table[Row], people: People | None = None, are_classes: bool = False
) -> dict[str, Row]:
    """Read the rows with a label or a follow-up, by knee, with knee and subject in normal form.

    Of a table with both, labels count where `are_classes`. Raises a `UsageError` for a label other
    than 0, 1 and n/a, a knee twice, no subject, or as `People.take` does.
    """
    rows: dict[str, Row] = {}
    are_followed = has_follow_up(table.columns) and not are_classes
    for knee, row in (people or People()).by_knee(table.rows, table.name).items():
        if are_followed:
            if not is_followed(row):
                continue
        else:
            label = row["label"]
            if label == MISSING:
                continue
            if label not in ("0", "1"):
                raise UsageError(
                    f"{table.name}: {knee} has label '{label}'", "labels are 0, 1 or n/a"
                )
        if row["subject"] == MISSING:
            raise UsageError(
                f"{table.name}: {knee} has no subject, so knees of one patient cannot be kept "
                "together"
            )
        rows[knee] = row
    return rows


def require_labels(table: Table[Row], columns: Sequence[str]) -> Table[Row]:
    """Return a table of labels, or raise a `UsageError` for the first of its columns missing.

    Without a label it may have `time` and `event`, see `followup`.
    """
    if has_follow_up(table.columns):
        if "label" in table.columns:
            raise UsageError(
                f"{table.name}: it has a column 'label', and 'time' and 'event', too",
                "delete 'label' to learn from the follow-up, or the others to learn from labels",
            )
        return table.require(*FOLLOWED, *columns)
    if table.headed and "label" not in table.columns:
        present = ", ".join(table.columns)
        raise UsageError(
            f"{table.name}: no column 'label', so nothing says how the knees fared; columns "
            f"present: {present}",
            did_you_mean("label", table.columns)
            or "a table without an outcome is for prediction: to train on, it needs 'label', or "
            "'time' (months) and 'event'",
        )
    return table.require(*LABELS, *columns)


def endpoint_of(labels: Table[Row]) -> tuple[Table[Row], str | None]:
    """Read the endpoint that the column of the labels names; None where there is no such column.

    Also returns the labels anew, as rows can be read but once. Raises a `UsageError` where rows
    name different endpoints.
    """
    if "endpoint" not in labels.columns:
        return labels, None
    rows = list(labels.rows)
    named = {row["endpoint"] for row in rows} - {MISSING}
    if len(named) > 1:
        listed = ", ".join(sorted(named))
        raise UsageError(f"{labels.name} holds labels of several endpoints ({listed})", "keep one")
    return labels.with_rows(rows), next(iter(named), None)


def _competition(name: str, knee: str, rows: tuple[Row, Row], present: Sequence[str]) -> UsageError:
    """Return the error of two rows of which nothing says which is meant."""
    one, other = rows
    if one["knee"] != other["knee"]:
        return UsageError(f"{name}: {twice(knee, one['knee'], other['knee'])}", "keep one of them")
    sequences = [row.get("sequence", MISSING) for row in rows]
    if sequences[0] != sequences[1]:
        return UsageError(
            f"{name}: {knee} has rows of {_listed(present)}",
            "choose with `sequences`, or drop rows",
        )
    of_sequence = "" if sequences[0] == MISSING else f" of {sequences[0]}"
    if one["path"] == other["path"]:
        return UsageError(f"{name}: the row of {knee}{of_sequence} is there twice", "drop one")
    return UsageError(f"{name}: {knee} has two rows{of_sequence}", "keep one of them")


def _why_none(sequences: Sequence[str], present: Iterable[list[str]], is_any_found: bool) -> str:
    if is_any_found:
        joined = _listed(sequences)
        return f"no row of every sequence that is to be joined: no knee has all of {joined}"
    if len(sequences) == 1:
        names: set[str] = set().union(*present)
        told = f"no row of sequence {sequences[0]}; there are {_listed(sorted(names))}"
        return with_meant(told, sequences[0], names)
    return "no rows"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
