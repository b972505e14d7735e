"""What predictions are worth, for a cohort and for draws of its patients at once.

Every measure takes the knees (`Scores`) and weights (draws, knees), how often each knee is there,
and returns a value for each draw (draws,), NaN where it is undefined. With weights of one the
values are those of `learning.metrics` and scikit-learn; where there are folds, a score is compared
with others of its own fold alone.
"""

from dataclasses import dataclass

import numpy as np

from oatools.learning.metrics import log_odds

_STEPS, _LONGEST_STEP = 50, 2.0  # of Newton's method


@dataclass(frozen=True)
class Scores:
    """Knees, each array (knees,): `label` 0 or 1, `probability` and `fold`.

    `called` is 1 where a knee is called positive, 0 where it is not, and NaN where nothing says it.
    """

    label: np.ndarray
    probability: np.ndarray
    fold: np.ndarray
    called: np.ndarray

    def take(self, at: np.ndarray) -> "Scores":
        """Return the knees that a mask or index chooses."""
        return Scores(self.label[at], self.probability[at], self.fold[at], self.called[at])


def prevalence(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the share of knees with the event."""
    return _ratio(weights @ knees.label, weights.sum(axis=1))


def roc_auc(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: the share of pairs in one fold that are in order.

    A pair is a knee with the event and one without; ties count half. Folds count by their pairs.
    """
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for hits, misses in _by_fold(knees, weights):
        below = misses.sum(axis=1, keepdims=True) - np.cumsum(misses, axis=1)
        right += (hits * (below + misses / 2)).sum(axis=1)
        pairs += hits.sum(axis=1) * misses.sum(axis=1)
    return _ratio(right, pairs)


def average_precision(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the area under the precision-recall curve, as steps, of all knees together."""
    hits, misses = _steps(knees.label, knees.probability, weights)
    found = np.cumsum(hits, axis=1)
    called = found + np.cumsum(misses, axis=1)
    return _ratio((hits * _ratio(found, called, 0.0)).sum(axis=1), hits.sum(axis=1))


def sensitivity_at(knees: Scores, weights: np.ndarray, specificity: float) -> np.ndarray:
    """Return the sensitivity at a specificity, on the ROC curve of each fold.

    Between its points the curve is straight; folds count by their knees with the event.
    """
    return _along_curve(knees, weights, 1 - specificity, of_misses=False)


def specificity_at(knees: Scores, weights: np.ndarray, sensitivity: float) -> np.ndarray:
    """Return the specificity at a sensitivity, as `sensitivity_at` does."""
    return 1 - _along_curve(knees, weights, sensitivity, of_misses=True)


def brier(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the mean square of probability less label."""
    return _ratio(weights @ np.square(knees.probability - knees.label), weights.sum(axis=1))


def observed_expected(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the number of events by the sum of the probabilities."""
    return _ratio(weights @ knees.label, weights @ knees.probability)


def calibration_intercept(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return calibration in the large, the intercept of a logistic regression with slope 1."""
    return logistic(knees.label, log_odds(knees.probability), weights, with_slope=False)[0]


def calibration_slope(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the slope of a logistic regression of the label on the log odds."""
    return logistic(knees.label, log_odds(knees.probability), weights)[1]


def sensitivity(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the share of knees with the event that are called positive."""
    return _share_called(knees, weights, knees.label == 1)


def specificity(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the share of knees without the event that are called negative."""
    return 1 - _share_called(knees, weights, knees.label == 0)


def precision(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the share of knees called positive that have the event."""
    return _ratio(weights @ (knees.called * knees.label), weights @ knees.called)


def negative_precision(knees: Scores, weights: np.ndarray) -> np.ndarray:
    """Return the share of knees called negative that do not have the event."""
    left = 1 - knees.called
    return _ratio(weights @ (left * (1 - knees.label)), weights @ left)


def at_prevalence(knees: Scores, weights: np.ndarray, share: float) -> np.ndarray:
    """Return weights under which the event has another prevalence, in each draw."""
    own = prevalence(knees, weights)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(knees.label == 1, share / own, (1 - share) / (1 - own))
    return weights * factor


def logistic(
    label: np.ndarray, odds: np.ndarray, weights: np.ndarray, with_slope: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return intercept and slope (draws,) of logistic regressions of the label on log odds.

    Without a slope it is 1. By Newton's method, in all draws at once; NaN where it does not end, as
    where the classes are apart or one is missing.
    """
    a, b = np.zeros(len(weights)), np.full(len(weights), 0.0 if with_slope else 1.0)
    done = np.zeros(len(weights), dtype=bool)
    middle, spread_of_odds = 0.0, 1.0
    if with_slope:
        middle, spread_of_odds = float(odds.mean()), float(odds.std()) or 1.0
    x = (odds - middle) / spread_of_odds
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            fitted = 1 / (1 + np.exp(-(a[:, None] + b[:, None] * x)))
            left, spread = weights * (label - fitted), weights * fitted * (1 - fitted)
            g0, h00 = left.sum(axis=1), spread.sum(axis=1)
            if with_slope:
                g1, h01, h11 = left @ x, spread @ x, spread @ np.square(x)
                determinant = h00 * h11 - h01**2
                # Without a determinant worth the name, the classes are apart or one is missing.
                is_flat = ~(determinant > 1e-12 * h00 * h11)
                da = np.where(is_flat, np.nan, (h11 * g0 - h01 * g1) / determinant)
                db = np.where(is_flat, np.nan, (h00 * g1 - h01 * g0) / determinant)
            else:
                da, db = np.where(h00 > 1e-12, g0 / h00, np.nan), np.zeros(len(a))
            # A step that leads far beyond where the curve is known may lead ever farther.
            part = np.minimum(1, _LONGEST_STEP / np.maximum(np.abs(da), np.abs(db)))
            a, b = np.where(done, a, a + part * da), np.where(done, b, b + part * db)
            done |= (np.abs(da) <= 1e-10) & (np.abs(db) <= 1e-10)
            if done.all():
                break
    a, b = np.where(done, a, np.nan), np.where(done, b, np.nan)
    b = b / spread_of_odds
    return a - b * middle, b


def _by_fold(knees: Scores, weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for number in np.unique(knees.fold):
        at = knees.fold == number
        found.append(_steps(knees.label[at], knees.probability[at], weights[:, at]))
    return found


def _steps(
    label: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weights with and without the event (draws, steps), from the highest probability down.

    Equal probabilities are one step.
    """
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(probability[order]) != 0))
    own, positive = weights[:, order], label[order]
    hits = np.add.reduceat(own * positive, starts, axis=1)
    return hits, np.add.reduceat(own * (1 - positive), starts, axis=1)


def _along_curve(knees: Scores, weights: np.ndarray, reached: float, of_misses: bool) -> np.ndarray:
    """The other coordinate of ROC curves where one is `reached`, the mean over folds.

    With `of_misses` the least false positive rate where the sensitivity is reached, else the
    greatest sensitivity where the false positive rate is.
    """
    total, whole = np.zeros(len(weights)), np.zeros(len(weights))
    for hits, misses in _by_fold(knees, weights):
        positives, negatives = hits.sum(axis=1), misses.sum(axis=1)
        true, false = _curve(hits, positives), _curve(misses, negatives)
        count = negatives if of_misses else positives
        for draw in np.flatnonzero((positives > 0) & (negatives > 0)):
            if of_misses:
                # Both turned round, so that of equal sensitivities the last of these is taken,
                # which has the fewest false positives.
                value = -_greatest(-true[draw][::-1], -false[draw][::-1], -reached)
            else:
                value = _greatest(false[draw], true[draw], reached)
            total[draw] += count[draw] * value
            whole[draw] += count[draw]
    return _ratio(total, whole)


def _curve(counts: np.ndarray, total: np.ndarray) -> np.ndarray:
    start = np.zeros((len(counts), 1))
    return _ratio(np.hstack([start, np.cumsum(counts, axis=1)]), total[:, None])


def _greatest(rising: np.ndarray, other: np.ndarray, reached: float) -> float:
    """The greatest `other` on a curve where the `rising` coordinate is `reached`."""
    place = int(np.searchsorted(rising, reached + 1e-12, side="right"))
    if place == len(rising):
        return float(other[-1])
    step = rising[place] - rising[place - 1]
    part = np.clip((reached - rising[place - 1]) / step, 0, 1)
    return float(other[place - 1] + part * (other[place] - other[place - 1]))


def _share_called(knees: Scores, weights: np.ndarray, among: np.ndarray) -> np.ndarray:
    return _ratio(weights @ (knees.called * among), weights @ among.astype(np.float64))


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, otherwise), where=whole > 0)
