"""What became of knees over the years: when something happened, or until when it had not.

Columns of a table of labels, in months since the visit: `time` and `event` (1: it happened, 0: it
had not by then), and where they are there `from` and `to`, between which it happened.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, Table

TIME, EVENT, FROM, TO = "time", "event", "from", "to"
#: The columns that are needed.
NEEDED = (TIME, EVENT)

YEAR = 12.0
# Months; no study follows half of its knees for so long.
_LONG = 240.0
#: Months at which risks are told and judged, unless others are asked for.
USUAL = (12.0, 24.0, 48.0, 96.0)


@dataclass(frozen=True)
class FollowUp:
    """The follow-up of knees, each array (knees,), in months since the visit.

    Where `event` is true, it happened after `start` and not after `stop`, and at `start` where both
    are the same; `time` is `stop`, at which it was known. Elsewhere it had not happened at `start`,
    which is `time`, and `stop` is infinite.
    """

    time: np.ndarray
    event: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def of(
        cls, time: Sequence[float] | np.ndarray, event: Sequence[bool] | np.ndarray
    ) -> "FollowUp":
        """Return follow-up whose events happened at `time` exactly."""
        at, happened = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
        return cls(at, happened, at, np.where(happened, at, np.inf))

    @classmethod
    def between(
        cls, start: Sequence[float] | np.ndarray, stop: Sequence[float] | np.ndarray
    ) -> "FollowUp":
        """Return follow-up whose events happened after `start`, and at `stop` at the latest.

        An infinite `stop` stands for none.
        """
        first, last = np.asarray(start, dtype=np.float64), np.asarray(stop, dtype=np.float64)
        happened = np.isfinite(last)
        return cls(np.where(happened, last, first), happened, first, last)

    @property
    def is_exact(self) -> np.ndarray:
        """True for each event of which the very time is known (knees,)."""
        return self.event & (self.start == self.stop)

    def take(self, index: np.ndarray) -> "FollowUp":
        """Return the follow-up of the knees at `index`."""
        return FollowUp(*(each[index] for each in (self.time, self.event, self.start, self.stop)))


def read_follow_up(rows: Sequence[Row], source: str) -> FollowUp:
    """Read the follow-up of knees from their rows; `source` is the table's name.

    Raises a `UsageError` for a cell that is no such number, or an event at the visit itself.
    """
    start, stop, time = [], [], []
    for row in rows:
        knee = row["knee"]
        at = _months(row, TIME, source)
        if row[EVENT] not in ("0", "1"):
            raise UsageError(
                f"{source}: {knee} has event '{row[EVENT]}'", "events are 1, or 0 for none"
            )
        time.append(at)
        if row[EVENT] == "0":
            start.append(at)
            stop.append(math.inf)
            continue
        last = _months(row, TO, source) if row.get(TO, MISSING) != MISSING else at
        first = _months(row, FROM, source) if row.get(FROM, MISSING) != MISSING else last
        if last == 0:
            raise UsageError(
                f"{source}: {knee} has its event at the visit itself, so that nothing is left to "
                "predict",
                "leave it out",
            )
        if not first <= at <= last:
            raise UsageError(
                f"{source}: {knee} has its event at {at:g} months, which is not within {first:g} "
                f"to {last:g}",
                f"mend {TIME}, {FROM} and {TO}, which are months since the visit",
            )
        start.append(first)
        stop.append(last)
    happened = np.isfinite(stop)
    return FollowUp(np.array(time), happened, np.array(start), np.array(stop))


def usual_times(last: float, known: Sequence[float] = USUAL) -> tuple[float, ...]:
    """Return the months at which a risk is told unless others are asked for.

    Those of `known` up to the `last`, and the last whole year; where there is none, the last.
    """
    whole = YEAR * (last // YEAR)
    found = [months for months in known if months <= last]
    if whole > max(found, default=0.0):
        found.append(whole)
    return tuple(found) or (last,)


def times_of_cohort(follow_up: FollowUp | None, asked: Sequence[float]) -> tuple[float, ...]:
    """Return the months at which risks are judged, in order: those `asked` for, or the usual ones.

    None where knees are of two classes. Raises a `UsageError` for a time by which nothing had
    happened, or that nobody was followed for, and for any where knees are of two classes.
    """
    if follow_up is None:
        if asked:
            raise UsageError("the labels are of two classes, and of no times", "leave out `at`")
        return ()
    first = float(follow_up.time[follow_up.event].min())
    last = float(follow_up.time.max())
    if not asked:
        return usual_times(last, [months for months in USUAL if months >= first])
    for months in asked:
        if months < first:
            raise UsageError(
                f"at {months:g} months nothing has happened yet; the first event is at {first:g}",
                "give `at` later times",
            )
        if months > last:
            raise UsageError(
                f"nobody is followed for {months:g} months; the longest is {last:g}",
                "give `at` earlier times",
            )
    return tuple(sorted(set(asked)))


def label_by(found: FollowUp, months: float) -> np.ndarray:
    """Return whether it had happened by so many months (knees,): 1, 0, or -1 where nobody knows.

    Nobody knows of a knee that was lost before, or to which it happened between two visits of which
    only one came before.
    """
    has = found.event & (found.stop <= months)
    return np.where(has, 1, np.where(found.start >= months, 0, -1))


def labelled_by(table: Table[Row], months: float | None) -> Table[Row]:
    """Return a table of labels: one that has them, or one of follow-up asked `months` after.

    The latter gets the column `label`, n/a where nobody knows, and its `endpoint` says within which
    time. Raises a `UsageError` where a table of labels is asked for a time, or one of follow-up for
    none.
    """
    if not has_follow_up(table.columns):
        if months is not None:
            raise UsageError(
                f"{table.name}: its labels are of two classes, and of no times", "leave out `at`"
            )
        return table
    if months is None:
        raise UsageError(
            f"{table.name}: it says when something happened, and not to which knees it did",
            "say by when, with `at` 24m for example",
        )
    rows = []
    for row in table.rows:
        label = MISSING
        if is_followed(row):
            status = int(label_by(read_follow_up([row], table.name), months)[0])
            label = MISSING if status < 0 else str(status)
        named = f"{row.get('endpoint', 'event')} within {months:g} months"
        rows.append({**row, "label": label, "endpoint": named})
    columns = list(dict.fromkeys([*table.columns, "label", "endpoint"]))
    return Table(columns, iter(rows), table.name, table.total, table.headed)


def doubts_about(follow_up: FollowUp) -> list[str]:
    """Return what is odd about times that are said to be months."""
    longest, middle = float(follow_up.time.max()), float(np.median(follow_up.time))
    if middle > _LONG:
        return [
            f"half of the knees are followed for more than {middle:g} months, which is "
            f"{middle / YEAR:.0f} years: is 'time' in months?"
        ]
    if longest < YEAR:
        return [f"nobody is followed for longer than {longest:g} months: is 'time' in months?"]
    usual = float(np.percentile(follow_up.time, 95))
    if longest > 2 * usual:
        return [
            f"one knee is followed for {longest:g} months, and 95 % for {usual:g} at most: is its "
            "'time' right?"
        ]
    return []


def has_follow_up(columns: Sequence[str]) -> bool:
    """Tell whether a table says when something happened."""
    return all(name in columns for name in NEEDED)


def is_followed(row: Row) -> bool:
    """Tell whether a row says anything: a knee that nobody saw again is not."""
    if MISSING in (row[TIME], row[EVENT]):
        return False
    try:
        return row[EVENT] != "0" or float(row[TIME]) != 0
    except ValueError:
        return True  # which is told when it is read


def _months(row: Row, column: str, source: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(
            f"{source}: {row['knee']} has {column} '{row[column]}'",
            "it must be months since the visit, 0 or more",
        )
    return value
