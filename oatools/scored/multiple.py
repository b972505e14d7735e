"""Adjustment of p for several tests."""

import math
from collections.abc import Sequence


def holm(values: Sequence[float]) -> list[float]:
    """Return p after Holm's step-down adjustment (Scand J Stat 1979;6:65-70).

    What is NaN is no test, and stays so.
    """
    tested = sorted((p, place) for place, p in enumerate(values) if not math.isnan(p))
    found, least = [math.nan] * len(values), 0.0
    for rank, (p, place) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p))
        found[place] = least
    return found
