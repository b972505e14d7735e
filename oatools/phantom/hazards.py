"""Times of proportional hazards, and how well the best reader of images can order them.

A knee's severity s is standard normal. Given s, the time to an event has the cumulative hazard

    L(t | s) = level (t / 12)^0.6 exp(b s)        t in months since enrolment

(Weibull with a shape of 0.6; Cox, J R Stat Soc B 1972;34:187). As much of it falls into the first
year as into the next two. `hazard_for` finds b and the level that give a share of events in the
first year and an area under the cumulative/dynamic ROC curve then (Heagerty and Zheng, Biometrics
2005;61:92):

    AUC(t) = P(s_i > s_j | T_i <= t < T_j)

Of two knees i and j, with w = exp(b s), the first has its event before the other, and by the time
t, with probability

    P(T_i < T_j, T_i <= t | s_i, s_j) = w_i / (w_i + w_j) (1 - exp(-level (t / 12)^0.6 (w_i + w_j)))

since the sooner of the two times has the sum of their hazards. The concordance up to t (Uno et al.,
Stat Med 2011;30:1105) is P(s_i > s_j | T_i < T_j, T_i <= t), the integral of this over pairs with
s_i > s_j, divided by that over all pairs. Both are those of the reader who knows s, over infinitely
many independent knees of which none is lost. Ties count one half.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oatools.core.errors import UsageError

#: Later than any follow-up, months: where the hazard is near 0 times have no end.
NEVER = 99_999.99
_SHAPE = 0.6
_YEAR = 12  # months
_MOST_B = 60.0  # hazards of more than this could not be integrated at the points below
_NORMAL = NormalDist()

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Hazard:
    """The hazard of an event: the log hazard ratio `b` per unit of severity, and its level.

    `log_level` is the logarithm of the cumulative hazard at 12 months where the severity is 0.
    """

    b: float
    log_level: float

    def log_cumulative(self, month: float) -> float:
        """The logarithm of the cumulative hazard where the severity is 0."""
        return self.log_level + _SHAPE * math.log(month / _YEAR)

    def time(self, severity: float, score: float) -> float:
        """The months to the event of a knee by its score, standard normal: the less, the sooner."""
        spent = -math.log(_NORMAL.cdf(-score))  # exponentially distributed
        if spent <= 0:
            return 0.0
        log_time = (math.log(spent) - self.log_level - self.b * severity) / _SHAPE
        return min(NEVER, _YEAR * math.exp(min(log_time, 12.0)))


@functools.cache
def hazard_for(share: float, auc: float) -> Hazard:
    """The hazard with this share of events, and this best possible AUC, at 12 months.

    Raises a `UsageError` for an AUC that no hazard gives to four digits.
    """
    from scipy.optimize import brentq

    def missing(b: float) -> float:
        return best_auc(Hazard(b, log_level(share, b)), _YEAR) - auc

    if auc == 0.5:
        return Hazard(0.0, log_level(share, 0.0))
    if missing(_MOST_B) < 0:
        raise UsageError(f"jsn_auc is {auc:g}", "give less with `follow_up`")
    b = float(brentq(missing, 0.0, _MOST_B, xtol=1e-10))
    return Hazard(b, log_level(share, b))


@functools.cache
def log_level(share: float, b: float) -> float:
    """`Hazard.log_level` at which this share of knees has its event by 12 months."""
    from scipy.optimize import brentq

    severity, weight = _severities(4001)

    def missing(level: float) -> float:
        return float(weight @ _by(level + b * severity)) - share

    return float(brentq(missing, -750.0, 750.0, xtol=1e-12))


def best_auc(hazard: Hazard, month: float) -> float:
    """The cumulative/dynamic AUC at so many months of the reader who knows the severity."""
    severity, weight = _severities(4001)
    by = _by(hazard.log_cumulative(month) + hazard.b * severity)
    cases, controls = weight * by, weight * (1 - by)
    below = np.cumsum(controls) - controls / 2
    return float(cases @ below / (cases.sum() * controls.sum()))


@functools.cache
def best_c(hazard: Hazard, until: float) -> float:
    """The concordance of the same reader up to so many months: P(s_i > s_j | T_i < T_j, T_i <= t).

    The integral of the module's docstring over both severities.
    """
    severity, weight = _severities(1601)
    ratio = hazard.b * severity
    level = hazard.log_cumulative(until)
    concordant = total = 0.0
    for i in range(len(severity)):
        before = _by(level + np.logaddexp(ratio[i], ratio)) / (
            1 + np.exp(_capped(ratio - ratio[i]))
        )
        pairs = weight[i] * weight * before
        concordant += float(pairs[:i].sum() + pairs[i] / 2)
        total += float(pairs.sum())
    return concordant / total


def _by(log_hazard: Array) -> Array:
    """The probability of an event from the logarithm of the cumulative hazard."""
    probability: Array = -np.expm1(-np.exp(_capped(log_hazard)))
    return probability


def _capped(exponent: Array) -> Array:
    """An exponent whose exponential is a number."""
    return np.minimum(exponent, 700.0)


def _severities(points: int) -> tuple[Array, Array]:
    """Equally spaced severities and their weights under the standard normal, which sum to 1."""
    severity = np.linspace(-8.5, 8.5, points)
    weight = np.exp(-(severity**2) / 2)
    return severity, weight / weight.sum()
