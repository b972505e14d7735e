"""Rules of eligibility by columns of a table, such as `kl=2:3,jsw=2:`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from oatools.core.errors import UsageError

_PART = re.compile(r"(?P<column>[^=:,\s]+)=(?P<low>[^:,]*)(?P<colon>:?)(?P<high>[^:,]*)")
_FORM = "a rule is COLUMN=VALUE or COLUMN=LOW:HIGH, and several are joined by commas: kl=2:3,jsw=2:"


class Range(NamedTuple):
    """The least and the most that a column may be, both included; infinite where open."""

    column: str
    low: float
    high: float


@dataclass(frozen=True)
class Rule:
    """Ranges of columns, in all of which a knee has to be.

    `text` is how it was written, and how it is called.
    """

    text: str
    ranges: tuple[Range, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it goes by."""
        return tuple(each.column for each in self.ranges)

    def keeps(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell which knees (knees,) are in all ranges; a missing value is in none."""
        inside = [
            (columns[name] >= low) & (columns[name] <= high) for name, low, high in self.ranges
        ]
        return np.logical_and.reduce(inside)

    def unknown(self, columns: Mapping[str, np.ndarray]) -> int:
        """Count the knees of which a column is missing."""
        return int(np.logical_or.reduce([np.isnan(columns[name]) for name in self.columns]).sum())


def is_rule(text: str) -> bool:
    """Tell a rule from the path of a table."""
    return _PART.match(text) is not None


def parse_rule(text: str) -> Rule:
    """Read a rule as it is written. Raises a `UsageError` for any other text."""
    ranges: list[Range] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"the rule '{text}' cannot be read at '{part}'", _FORM)
        if any(each.column == match["column"] for each in ranges):
            raise UsageError(f"the rule '{text}' names {match['column']} twice", _FORM)
        if not match["colon"] and not match["low"]:
            raise UsageError(f"the rule '{text}' gives {match['column']} no value", _FORM)
        low = _bound(text, match["low"], -math.inf)
        high = _bound(text, match["high"], math.inf) if match["colon"] else low
        if not low <= high:
            raise UsageError(f"the rule '{text}' lets {match['column']} be no value at all", _FORM)
        if math.isinf(low) and math.isinf(high):
            raise UsageError(f"the rule '{text}' lets {match['column']} be any value", _FORM)
        ranges.append(Range(match["column"], low, high))
    return Rule(text, tuple(ranges))


def _bound(text: str, cell: str, otherwise: float) -> float:
    if not cell.strip():
        return otherwise
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"the rule '{text}' has '{cell}', which is no number", _FORM)
    return value
