"""Tables of risks and of follow-up: knees with risks at some times, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, Table, read_table
from oatools.core.people import People, subject_of
from oatools.core.provenance import CAUTION_COLUMN, Caution, cautions_in
from oatools.learning.against import share_of
from oatools.learning.followup import FollowUp, has_follow_up, read_follow_up
from oatools.learning.join import endpoint_of, read_labels, require_labels
from oatools.learning.results import RISK, risk_column
from oatools.scored.knees import numbers_of, remarks_on


@dataclass(frozen=True)
class FollowedKnees:
    """Knees with risks and follow-up, in the order of the table of predictions.

    `risk` (knees, times) are those within so many months `at`; `subject` and `fold` (knees,) are
    numbers, and all folds the same where knees were in none. `cells` are columns, by name, that
    groups are made by. `unlabelled` knees have risks and no follow-up, `unscored` the reverse.
    """

    knee: tuple[str, ...]
    subject: np.ndarray
    fold: np.ndarray
    follow_up: FollowUp
    at: tuple[float, ...]
    risk: np.ndarray
    cells: dict[str, list[str]]
    cautions: frozenset[Caution]
    endpoint: str | None
    unlabelled: int
    unscored: int


def says_when(predictions: str | Path, labels: str | Path | None) -> bool:
    """Tell whether a table of labels, or of predictions without one, says when it happened.

    Standard input can be read but once: of it nothing is known.
    """
    asked = predictions if labels is None else labels
    return str(asked) != "-" and has_follow_up(read_table(asked).columns)


def read_followed(
    predictions: str | Path, labels: str | Path | None = None, cells: Sequence[str] = ()
) -> FollowedKnees:
    """Read a table of risks (`knee`, `risk_12m` and so on), and of follow-up if there is one.

    Without, the risks' own table has it. Columns `cells` are looked for in either. Raises a
    `UsageError` for tables without risks or follow-up, or that share no knee.
    """
    people = People()
    table = read_table(predictions, ("knee",))
    columns = [name for name in table.columns if name.startswith(RISK)]
    if not columns:
        raise UsageError(
            f"{table.name}: no column of a risk, such as risk_12m",
            "give predictions of a model of follow-up, or ask `at` one time",
        )
    at = sorted(_months(table.name, name) for name in columns)
    scored = people.by_knee(table.rows, table.name)
    if labels is None:
        own = Table(table.columns, iter(scored.values()), table.name)
        followed, endpoint, where = read_labels(own), None, table.name
    else:
        given, endpoint = endpoint_of(require_labels(read_table(labels), []))
        followed, where = read_labels(given, people), given.name
    shared = [knee for knee in scored if knee in followed]
    if not shared:
        raise UsageError(
            f"no knee of {table.name} has a follow-up in {where}",
            "give predictions and labels of the same knees",
        )
    rows = [scored[knee] for knee in shared]
    risk = [[share_of(table.name, row, risk_column(months)) for months in at] for row in rows]
    return FollowedKnees(
        knee=tuple(shared),
        subject=numbers_of([subject_of(followed[knee] | {"knee": knee}) for knee in shared]),
        fold=numbers_of([row.get("fold", MISSING) for row in rows]),
        follow_up=read_follow_up([followed[knee] for knee in shared], where),
        at=tuple(at),
        risk=np.array(risk),
        cells={name: _cells(name, shared, followed, scored, where) for name in cells},
        cautions=frozenset(
            caution
            for row in [*rows, *(followed[knee] for knee in shared)]
            for caution in cautions_in(row.get(CAUTION_COLUMN, MISSING))
        ),
        endpoint=endpoint,
        unlabelled=len(scored) - len(shared),
        unscored=0 if labels is None else len(followed) - len(shared),
    )


def remarks(knees: FollowedKnees) -> list[str]:
    """Return what is said of knees once they are read: who is left out, and cautions."""
    counts = knees.unlabelled, knees.unscored
    return remarks_on(*counts, knees.cautions, "follow-up", "follow-up")


def _months(where: str, column: str) -> float:
    try:
        return float(column.removeprefix(RISK).removesuffix("m"))
    except ValueError:
        raise UsageError(
            f"{where}: the column '{column}' names no time", "risks are called risk_12m and so on"
        ) from None


def _cells(
    column: str,
    knees: Sequence[str],
    followed: dict[str, Row],
    scored: dict[str, Row],
    where: str,
) -> list[str]:
    for rows in (followed, scored):
        if all(column in rows[knee] for knee in knees):
            return [rows[knee][column] for knee in knees]
    present = ", ".join(next(iter(followed.values())))
    raise UsageError(f"{where}: no column '{column}'; columns present: {present}")
