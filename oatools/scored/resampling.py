"""Draws of patients with replacement, and 95 % intervals from them.

Patients are drawn, since the two knees of one are not independent. What is drawn are weights: how
often each knee is there. The first row of all is the cohort as it is, so that the estimate is made
by the same code as the draws.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from oatools.learning.intervals import HIGHER_ORDER

# Weights that are made at a time.
_BLOCK = 1 << 20
# Of the draws, so many may have no value.
_MOST_UNKNOWN = 0.05


class Scale(NamedTuple):
    """The scale on which the deviations of draws are taken: to it, and back."""

    to: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]


def _shares_to(values: np.ndarray) -> np.ndarray:
    return np.arcsin(np.sqrt(np.clip(values, 0, 1)))


def _shares_back(values: np.ndarray) -> np.ndarray:
    return np.square(np.sin(np.clip(values, 0, np.pi / 2)))


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


#: Of shares, which it keeps between 0 and 1; of positive numbers; of differences.
SHARE = Scale(_shares_to, _shares_back)
POSITIVE = Scale(np.log, np.exp)
LINEAR = Scale(_unchanged, _unchanged)


def patient_weights(subject: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks (draws of the block, knees) of weights: 1 + `draws` rows in all.

    `subject` (knees,) are the numbers of patients, 0 and up. The first row is all ones.
    """
    patients = int(subject.max()) + 1
    random = np.random.default_rng(seed)
    yield np.ones((1, len(subject)))
    at_a_time = max(1, _BLOCK // len(subject))
    for start in range(0, draws, at_a_time):
        count = min(at_a_time, draws - start)
        times = random.multinomial(patients, np.full(patients, 1 / patients), size=count)
        yield times[:, subject].astype(np.float64)


def interval(
    values: np.ndarray, scale: Scale, widened: float = 1.0, base: np.ndarray | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of values (1 + draws,), of which the first is the estimate.

    It holds the middle of the draws. Their deviations on the scale are `widened`; where there is a
    `base` (1 + draws,), only what they add to its deviations. An end may be infinite. NaN where the
    estimate is not finite, where more than a twentieth of the draws have no value, and where there
    is no spread.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        at = scale.to(values)
        of_base = np.zeros(len(at)) if base is None else scale.to(base)
        own = at - of_base
        wide = of_base[1:] + own[0] + widened * (own[1:] - own[0])
        # What has no end has none by any widening, either.
        drawn = np.where(np.isfinite(wide), wide, at[1:])
    known = np.sort(drawn[~np.isnan(drawn)])
    if not np.isfinite(values[0]) or len(known) < (1 - _MOST_UNKNOWN) * len(drawn):
        return np.nan, np.nan
    if not len(known) or values[1:].min() == values[1:].max():
        return np.nan, np.nan
    place = 0.025 * (len(known) - 1)
    ends = known[[int(np.floor(place)), int(np.ceil(len(known) - 1 - place))]]
    low, high = scale.back(ends).tolist()
    return low, high


def pairs_twice(part: float, patients: int) -> float:
    """Return what deviations are multiplied by where pairs of patients are in them twice.

    Patients who test the model of one fold train the others', so that pairs of patients are there
    twice, once either way, in what a score from a cross-validation tells (see
    `learning.intervals.variance_of_mean`). Where there is no signal such pairs are all there is,
    which is the most, and the variance 1 + `part` as large, `part` being 1 where the two ways are
    the same. In few patients terms of higher order count, which are not there twice.
    """
    return float(np.sqrt(1 + part * patients / (patients + HIGHER_ORDER)))


def of_cross_validation(share: float, patients: int) -> float:
    """Return what the deviations of a share's enrichment are multiplied by, in a cross-validation.

    See `pairs_twice`. Being among the `share` of highest scores goes with the score itself by r =
    f(z) / sqrt(share (1 - share)), f the normal density at the border z, so that a part of r^2 is
    the same both ways.
    """
    if not 0 < share < 1:
        return 1.0
    border = float(ndtri(share))
    density = np.exp(-(border**2) / 2) / np.sqrt(2 * np.pi)
    return pairs_twice(density**2 / (share * (1 - share)), patients)
