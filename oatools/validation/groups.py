"""Groups of knees by a column: its values, or ranges of its numbers."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING
from oatools.core.records import plain_text

#: A column with more different numbers than these is cut in thirds.
MOST_VALUES = 8
_SPECIFICATION = re.compile(r"(?P<column>[^=,\s]+)(=(?P<cuts>.*))?")
_FORM = "give COLUMN, or COLUMN=CUT,CUT with rising numbers, such as age=55,65"


@dataclass(frozen=True)
class Grouping:
    """A column by which knees are put in groups, and the numbers at which it is cut, if any."""

    column: str
    cuts: tuple[float, ...] = ()


@dataclass(frozen=True)
class Group:
    """The knees of one group: its column, its name, and a mask (knees,) of them."""

    by: str
    name: str
    at: np.ndarray


def parse_grouping(text: str) -> Grouping:
    """Read `sex` or `age=55,65`. Raises a `UsageError` for any other text."""
    match = _SPECIFICATION.fullmatch(text)
    if match is None:
        raise UsageError(f"groups by '{text}' cannot be made", _FORM)
    if match["cuts"] is None:
        return Grouping(match["column"])
    try:
        cuts = tuple(float(cut) for cut in match["cuts"].split(","))
    except ValueError:
        cuts = (math.nan,)
    if not all(map(math.isfinite, cuts)) or any(
        b <= a for a, b in zip(cuts, cuts[1:], strict=False)
    ):
        raise UsageError(f"groups by '{text}' cannot be made", _FORM)
    return Grouping(match["column"], cuts)


def make_groups(grouping: Grouping, cells: Sequence[str], knees: Sequence[str]) -> list[Group]:
    """Put knees, by their names, into groups by the cells of a column, in the order of the values.

    Numbers are cut where the grouping says, the lower end included; without cuts, where there are
    more than `MOST_VALUES`, in thirds. All else goes by its values. Knees of which the cell is
    missing are the last group, `n/a`. Raises a `UsageError` for cuts of what is no number.
    """
    numbers = _numbers(cells)
    missing = np.array([cell == MISSING for cell in cells])
    if numbers is None and grouping.cuts:
        pairs = zip(knees, cells, strict=True)
        knee, odd = next((k, c) for k, c in pairs if _number(c) is None and c != MISSING)
        raise UsageError(
            f"{knee}: '{grouping.column}' is '{plain_text(odd)}', which is no number to cut at",
            "mend or drop the row, or leave the cuts out",
        )
    if numbers is None:
        found = _by_value(grouping.column, np.array(cells, dtype=object), sorted(set(cells)))
        found = [group for group in found if group.name != MISSING]
    else:
        known = np.unique(numbers[~missing])
        cuts = grouping.cuts
        if not cuts and len(known) > MOST_VALUES:
            cuts = tuple(np.unique(np.quantile(numbers[~missing], [1 / 3, 2 / 3])).tolist())
        if cuts:
            found = _by_cuts(grouping.column, numbers, cuts)
        else:
            found = [
                Group(grouping.column, f"{value:g}", numbers == value) for value in known.tolist()
            ]
    if missing.any():
        found.append(Group(grouping.column, MISSING, missing))
    return [group for group in found if group.at.any()]


def _by_value(column: str, cells: np.ndarray, values: Sequence[str]) -> list[Group]:
    return [Group(column, value, np.array(cells == value, dtype=bool)) for value in values]


def _by_cuts(column: str, numbers: np.ndarray, cuts: Sequence[float]) -> list[Group]:
    ends = [-math.inf, *cuts, math.inf]
    found = []
    for low, high in zip(ends, ends[1:], strict=False):
        if low == -math.inf:
            name = f"below {high:g}"
        elif high == math.inf:
            name = f"{low:g} and above"
        else:
            name = f"{low:g} to below {high:g}"
        found.append(Group(column, name, (numbers >= low) & (numbers < high)))
    return found


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """The cells as numbers, NaN where missing; None if one is not."""
    found = [math.nan if cell == MISSING else _number(cell) for cell in cells]
    if any(value is None for value in found):
        return None
    return np.array(found, dtype=np.float64)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
