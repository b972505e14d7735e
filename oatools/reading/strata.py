"""Strata of joint space narrowing (JSN): how many progressors of which change a study draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Stratum:
    """The number of progressors to draw with low <= JSN < high, in mm; None is unbounded.

    In a `closed` stratum JSN may also equal `high`.
    """

    low: Decimal | None
    high: Decimal | None
    count: int
    closed: bool = False

    @property
    def name(self) -> str:
        """`LOW:HIGH`, an open end left blank, as it is given on the command line."""
        return f"{_bound_text(self.low)}:{_bound_text(self.high)}"

    @property
    def lower_bound(self) -> Decimal:
        """The bound `low`, minus infinity where there is none."""
        return Decimal("-Infinity") if self.low is None else self.low

    @property
    def upper_bound(self) -> Decimal:
        """The bound `high`, infinity where there is none."""
        return Decimal("Infinity") if self.high is None else self.high

    def holds(self, jsn: Decimal) -> bool:
        """Return True if a change of joint space width lies in the stratum."""
        is_at_closed_end = self.closed and jsn == self.high
        return self.lower_bound <= jsn < self.upper_bound or is_at_closed_end


#: The strata of the published reading study: 10 progressors below -1.1 mm, 130 from there to below
#: -0.6, 10 from there to -0.5. The last is closed, since there a change of exactly -0.5 mm makes a
#: progressor.
PAPER_STRATA = (
    Stratum(None, Decimal("-1.1"), 10),
    Stratum(Decimal("-1.1"), Decimal("-0.6"), 130),
    Stratum(Decimal("-0.6"), Decimal("-0.5"), 10, closed=True),
)


def parse_strata(texts: Sequence[str]) -> tuple[Stratum, ...]:
    """Return strata in ascending order from `LOW:HIGH:N` texts; either bound may be blank.

    The stratum with the greatest bound is closed. Raises a `UsageError` for a text of another form
    and for strata that overlap.
    """
    strata = [_parse_stratum(text) for text in texts]
    strata.sort(key=lambda stratum: stratum.lower_bound)
    for first, second in pairwise(strata):
        if first.upper_bound > second.lower_bound or second.low is None or first.high is None:
            raise UsageError(f"strata {first.name} and {second.name} overlap")
    last = max(strata, key=lambda stratum: stratum.upper_bound)
    return tuple(replace(stratum, closed=stratum is last) for stratum in strata)


def scale_strata(strata: Sequence[Stratum], total: int) -> tuple[Stratum, ...]:
    """Return the strata with counts in the same proportion that add up to `total`.

    The largest remainders are rounded up.
    """
    whole = sum(stratum.count for stratum in strata)
    shares = [divmod(stratum.count * total, whole) for stratum in strata]
    counts = [count for count, _ in shares]
    by_remainder = sorted(range(len(strata)), key=lambda n: -shares[n][1])
    for n in by_remainder[: total - sum(counts)]:
        counts[n] += 1
    scaled = zip(strata, counts, strict=True)
    return tuple(replace(stratum, count=count) for stratum, count in scaled)


def narrowing(row: Row) -> Decimal | None:
    """Return the change of joint space width in a row of labels (`jsn`, mm); None for `n/a`."""
    text = row.get("jsn", MISSING)
    if text == MISSING:
        return None
    try:
        jsn = Decimal(text)
    except InvalidOperation:
        jsn = Decimal("nan")
    if not jsn.is_finite():
        raise UsageError(
            f"{row['knee']}: jsn '{text}' is no finite number", "correct it or write n/a"
        )
    return jsn


def stratum_order(name: str) -> tuple[float, str]:
    """Return a key that sorts names of strata by their lower bounds, a study's own names last."""
    try:
        return _bounds(name)[0], name
    except ValueError:
        return math.inf, name


def strata_in_words(names: Sequence[str]) -> dict[str, str]:
    """Return each name as in a sentence: `narrowing of more than 0.6 and up to 1.1 mm`.

    The stratum with the greatest bound is closed (see `parse_strata`), and so is `narrowing of at
    least 0.5 mm`. Names of another form than `LOW:HIGH` stay as they are.
    """
    try:
        bounds = {name: _bounds(name) for name in names}
    except ValueError:
        return {name: name for name in names}
    last = max(bounds, key=lambda name: bounds[name][1], default="")
    return {name: _in_words(*bounds[name], closed=name == last) for name in names}


def _parse_stratum(text: str) -> Stratum:
    refused = UsageError(
        f"stratum '{text}' is not LOW:HIGH:N with LOW < HIGH in mm, for example -1.1:-0.6:130"
    )
    try:
        low, high, count = text.split(":")
        stratum = Stratum(_parse_bound(low), _parse_bound(high), int(count))
    except (ValueError, InvalidOperation):
        raise refused from None
    if stratum.count < 0 or stratum.lower_bound >= stratum.upper_bound:
        raise refused
    return stratum


def _parse_bound(text: str) -> Decimal | None:
    if not text.strip():
        return None
    bound = Decimal(text)
    if not bound.is_finite():
        raise ValueError(text)
    return bound


def _bound_text(bound: Decimal | None) -> str:
    return "" if bound is None else str(bound)


def _bounds(name: str) -> tuple[float, float]:
    """The bounds in a name of the form `LOW:HIGH`, in mm; a `ValueError` for any other name."""
    low, _, high = name.partition(":")
    return float(low or "-inf"), float(high or "inf")


def _in_words(low: float, high: float, closed: bool) -> str:
    """Describe a stratum: as narrowing, or as a change where the joint space may have widened."""
    if high > 0:
        words = ["a change"]
        if math.isfinite(low):
            words.append(f"from {low:g} mm")
        if math.isfinite(high):
            words.append(f"to {high:g} mm")
        return " ".join(words).replace("-", _MINUS)
    least = "at least" if closed else "more than"
    words = [f"{least} {-high:g}"]
    if math.isfinite(low):
        words.append(f"up to {-low:g}")
    return f"narrowing of {' and '.join(words)} mm"
