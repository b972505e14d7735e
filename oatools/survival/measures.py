"""What scores and risks are worth where knees are lost before the event, in many weightings.

`time` (knees,) are months, `event` (knees,) is true where they end with the event, and `weights`
(rows, knees), which are not negative, say how often each knee is there. Every measure is one
number a row (rows,), NaN where it is not defined. A score is higher where the event is expected
sooner; a risk is the probability of the event by some months, these included.

Knees that are lost are made up for by inverse probability of censoring weights, with the censoring
distribution of the very row. All of it equals scikit-survival, where that has an answer, and
shares what it does with ties: see `curves.lost_after_events` for times of visits.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from oatools.learning.metrics import log_odds
from oatools.survival.curves import Curve, censoring, kaplan_meier

#: Scores no further apart than this are tied, as in scikit-survival.
TIED = 1e-8
# Pairs of knees that are looked at together.
_BLOCK = 1 << 22


def uno_c(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, weights: np.ndarray, tau: float
) -> np.ndarray:
    """Return Uno's C (rows,): how often the knee of the earlier event has the higher score.

    Of pairs with an event before `tau` months, and a knee that has it later or is lost no sooner;
    tied scores count half. The square of the share not lost at the event divides a pair, so that C
    does not depend on how long knees are followed (Uno et al., Statistics in Medicine 2011;30:
    1105-1117). NaN where there is no pair, and where nobody is left at an event.
    """
    case = np.flatnonzero(event & (time < tau))
    strength = _inverse(censoring(time, event, weights), time[case], weights[:, case], power=2)
    return _concordance(time, event, score, weights, case, strength)


def harrell_c(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return Harrell's C (rows,), of all pairs of which is known who had the event first.

    Harrell et al., Statistics in Medicine 1996;15:361-387. Unlike `uno_c` it depends on how long
    knees are followed. Tied scores count half; NaN where there is no pair.
    """
    case = np.flatnonzero(event)
    return _concordance(time, event, score, weights, case, weights[:, case])


def auc_at(
    time: np.ndarray, event: np.ndarray, score: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the area under the cumulative/dynamic ROC curve (rows,) at some months.

    How often a knee that has had the event has a higher score than one followed for longer without
    it; tied scores count half. Cases are divided by the share not lost at their event (Uno et al.,
    J Am Stat Assoc 2007;102:527-537; Hung and Chiang, Canadian J Stat 2010;38:8-26). NaN where
    there are no cases or nobody is followed for longer.
    """
    case, control = event & (time <= months), time > months
    hit = np.zeros_like(weights)
    hit[:, case] = _inverse(censoring(time, event, weights), time[case], weights[:, case])
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > TIED)[: len(score)])
    hits = np.add.reduceat(hit[:, order], starts, axis=1)
    misses = np.add.reduceat((weights * control)[:, order], starts, axis=1)
    passed = np.cumsum(misses, axis=1)
    whole = passed[:, -1:]
    lead = (hits * ((passed - misses) - (whole - passed))).sum(axis=1)
    return 0.5 + _ratio(lead, (hits * whole).sum(axis=1)) / 2


def brier_at(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the Brier score (rows,) of the risks (knees,) of the event by some months.

    Graf et al., Statistics in Medicine 1999;18:2529-2545. NaN where nobody is followed for longer
    while some are lost.
    """
    return _brier(censoring(time, event, weights), time, event, risk, weights, months)


def integrated_brier(
    time: np.ndarray, event: np.ndarray, risks: np.ndarray, weights: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Return the mean Brier score (rows,) between the first and the last of some times.

    `times` (times,) are at least two in ascending order, `risks` (knees, times) those of the event
    by each of them. By the trapezoidal rule. NaN where one of the scores is.
    """
    lost = censoring(time, event, weights)
    found = [
        _brier(lost, time, event, risks[:, place], weights, float(months))
        for place, months in enumerate(times)
    ]
    scores = np.stack(found, axis=1)
    between = (scores[:, 1:] + scores[:, :-1]) / 2
    return np.asarray((between @ np.diff(times)) / (times[-1] - times[0]))


def no_skill_brier(
    time: np.ndarray, event: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the Brier score (rows,) of one risk for all: that of the row's Kaplan-Meier curve."""
    known = _known_weights(censoring(time, event, weights), time, event, weights, months)
    case = event & (time <= months)
    risk = 1 - kaplan_meier(time, event, weights).at(months)[:, 0]
    cases, others = known[:, case].sum(axis=1), known[:, ~case].sum(axis=1)
    return _ratio(cases * (1 - risk) ** 2 + others * risk**2, weights.sum(axis=1))


def scaled_brier(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the index of prediction accuracy (rows,): 1 less the Brier score by that of no skill.

    1 is perfect, 0 no better than one risk for all, and it can be negative (Kattan and Gerds,
    Diagnostic and Prognostic Research 2018;2:7). NaN where nobody has the event by then, or all.
    """
    brier = brier_at(time, event, risk, weights, months)
    return 1 - _ratio(brier, no_skill_brier(time, event, weights, months))


@dataclass(frozen=True)
class Calibration:
    """Groups of knees from the lowest risk up, all but `knees` (groups,) being (rows, groups).

    `expected` is the mean risk, and `observed` the Kaplan-Meier estimate of it.
    """

    knees: np.ndarray
    expected: np.ndarray
    observed: np.ndarray


def equal_groups(values: np.ndarray, groups: int) -> np.ndarray:
    """Return the number of each knee's group (knees,), from that of the lowest values up.

    There are at most `groups` of equal size. Knees of equal value share one.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, groups + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right")


def calibration_at(
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    weights: np.ndarray,
    months: float,
    groups: int = 10,
) -> Calibration:
    """Return mean and observed risk of the event by some months, in groups of knees by their risk.

    The groups are `equal_groups`, the same in every row. NaN where nobody of a group is followed so
    long.
    """
    member = equal_groups(risk, groups)
    knees, expected, observed = [], [], []
    for number in np.unique(member):
        at = member == number
        own = weights[:, at]
        knees.append(int(at.sum()))
        expected.append(_ratio(own @ risk[at], own.sum(axis=1)))
        observed.append(1 - kaplan_meier(time[at], event[at], own).at(months)[:, 0])
    return Calibration(np.array(knees), np.stack(expected, axis=1), np.stack(observed, axis=1))


def observed_over_expected(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the Kaplan-Meier estimate of the risk by some months, by the mean risk (rows,).

    1 is perfect, and more where risks are too low (McLernon et al., Annals of Internal Medicine
    2023;176:105-114). NaN where nobody is followed so long, and where all risks are 0.
    """
    observed = 1 - kaplan_meier(time, event, weights).at(months)[:, 0]
    return _ratio(observed * weights.sum(axis=1), weights @ risk)


def calibration_slope(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the calibration slope (rows,) at some months: 1 is perfect, less is too extreme.

    It is the slope of a logistic regression of having had the event by then on the log odds of the
    risk, weighted by the inverse of the share not lost (Scheike, Zhang and Gerds, Biometrika 2008;
    95:205-220; Blanche, Holt and Scheike, Lifetime Data Analysis 2023;29:441-482). Where nobody is
    lost that is `calibration_slope` of `learning.metrics`. NaN where the fit has no end, as where
    all risks are the same or the knees with the event are apart from the others.
    """
    known = _known_weights(censoring(time, event, weights), time, event, weights, months)
    case = (event & (time <= months)).astype(np.float64)
    odds = log_odds(risk)
    spread = float(odds.std()) if len(np.unique(odds)) > 1 else 0.0
    if not spread:
        return np.full(len(weights), np.nan)
    return _logistic_slope((odds - odds.mean()) / spread, case, known) / spread


def _inverse(lost: Curve, time: np.ndarray, weights: np.ndarray, power: int = 1) -> np.ndarray:
    """Return weights (rows, knees) by a power of the share that is not lost at the knee's time.

    NaN where that is 0 and the knee is there.
    """
    share = lost.at(time) ** power
    out = np.where(weights > 0, np.nan, 0.0)
    return np.divide(weights, share, out=out, where=(weights > 0) & (share > 0))


def _known_weights(
    lost: Curve, time: np.ndarray, event: np.ndarray, weights: np.ndarray, months: float
) -> np.ndarray:
    """Return the weights (rows, knees) of those whose status at some months is known.

    They stand for the others, too. Knees that are lost by then, these months included, have 0.
    Rows in which nobody is followed for longer while some are lost are NaN.
    """
    known = event | (time > months)
    found = np.zeros_like(weights)
    found[:, known] = _inverse(lost, np.minimum(time[known], months), weights[:, known])
    found[(lost.at(months)[:, 0] == 0) | (weights.sum(axis=1) == 0)] = np.nan
    return found


def _brier(
    lost: Curve,
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    weights: np.ndarray,
    months: float,
) -> np.ndarray:
    case = event & (time <= months)
    known = _known_weights(lost, time, event, weights, months)
    return _ratio((known * np.square(case - risk)).sum(axis=1), weights.sum(axis=1))


def _concordance(
    time: np.ndarray,
    event: np.ndarray,
    score: np.ndarray,
    weights: np.ndarray,
    case: np.ndarray,
    strength: np.ndarray,
) -> np.ndarray:
    """Return the share (rows,) of pairs in which the case has the higher score, ties half.

    `case` are places of knees with the event, and `strength` (rows, cases) what each counts.
    """
    lead, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    at_a_time = max(1, _BLOCK // max(len(time), 1))
    for start in range(0, len(case), at_a_time):
        block = slice(start, start + at_a_time)
        first = case[block, None]
        later = (time > time[first]) | ((time == time[first]) & ~event)
        apart = score[first] - score
        sign = np.where(later & (np.abs(apart) > TIED), np.sign(apart), 0.0)
        lead += (strength[:, block] * (weights @ sign.T)).sum(axis=1)
        pairs += (strength[:, block] * (weights @ later.T.astype(np.float64))).sum(axis=1)
    # Of the ties half are right, so that a score turned round gives the rest to 1.
    return 0.5 + _ratio(lead, pairs) / 2


def _logistic_slope(x: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the slopes (rows,) of logistic regressions on x (knees,), by Newton's method.

    NaN where it does not end.
    """
    level, slope = np.zeros(len(weights)), np.zeros(len(weights))
    found = np.full(len(weights), np.nan)
    # Rows that are still on their way.
    rows = np.flatnonzero(np.isfinite(weights).all(axis=1))
    for _ in range(25):
        own = weights[rows]
        fitted = expit(level[rows, None] + slope[rows, None] * x)
        missed, curved = own * (label - fitted), own * fitted * (1 - fitted)
        of_level, of_both, of_slope = curved.sum(axis=1), curved @ x, curved @ np.square(x)
        whole = of_level * of_slope - of_both**2
        # Without a determinant worth the name, the classes are apart or one is missing.
        sound = whole > 1e-12 * of_level * of_slope
        whole = np.where(sound, whole, 1.0)
        of_missed, of_missed_x = missed.sum(axis=1), missed @ x
        up = (of_slope * of_missed - of_both * of_missed_x) / whole
        steeper = (of_level * of_missed_x - of_both * of_missed) / whole
        level[rows] += np.where(sound, up, 0.0)
        slope[rows] += np.where(sound, steeper, 0.0)
        ended = sound & (np.maximum(np.abs(up), np.abs(steeper)) <= 1e-10)
        found[rows[ended]] = slope[rows[ended]]
        rows = rows[sound & ~ended]
    return found


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part by whole (rows,), NaN where the whole is not above 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
