"""Measures of what predictions are worth.

The formulas are those of scikit-learn, with a weight for each knee, so that a bootstrap is one
matrix product.
"""

from collections.abc import Mapping, Sequence

import numpy as np

SCORES = (
    "roc_auc",
    "pr_auc",
    "prevalence",
    "f1",
    "f1_weighted",
    "precision",
    "recall",
    "specificity",
    "brier",
    "calibration_slope",
    "calibration_intercept",
)
COUNTS = ("tn", "fp", "fn", "tp")
METRICS = SCORES + COUNTS
#: The scores by which two models are compared: none of these depends on a threshold.
COMPARED = ("roc_auc", "pr_auc", "brier")
_CHUNK = 64  # draws at a time


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the area under the ROC curve (Mann-Whitney, ties count half).

    NaN where a class is missing.
    """
    return float(_areas(label, probability, np.ones((1, len(label))))[0][0])


def average_precision(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the area under the precision-recall curve, as steps.

    No skill gives the prevalence. NaN without positives.
    """
    return float(_areas(label, probability, np.ones((1, len(label))))[1][0])


def scores(label: np.ndarray, probability: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return every metric of `METRICS`, NaN where one is undefined.

    `label` (knees,) is 0 or 1, and `predicted` the class that each knee was given.
    """
    whole = np.ones((1, len(label)))
    values = weighted_scores(label, probability, predicted, whole)[0].tolist()
    positive, called = label == 1, predicted == 1
    counts = [
        int((~positive & ~called).sum()),
        int((~positive & called).sum()),
        int((positive & ~called).sum()),
        int((positive & called).sum()),
    ]
    return dict(zip(METRICS, [*values, *counts], strict=True))


def weighted_scores(
    label: np.ndarray, probability: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return `SCORES` (draws, scores), where a knee counts `weights` (draws, knees) times.

    NaN where a score is undefined.
    """
    label, predicted = label.astype(np.float64), predicted.astype(np.float64)
    total, positive, called = weights.sum(axis=1), weights @ label, weights @ predicted
    tp = weights @ (label * predicted)
    fp, fn = called - tp, positive - tp
    tn = total - tp - fp - fn
    f1 = np.nan_to_num(_ratio(2 * tp, 2 * tp + fp + fn))
    f0 = np.nan_to_num(_ratio(2 * tn, 2 * tn + fp + fn))
    prevalence = _ratio(positive, total)
    columns = (
        *_areas(label, probability, weights),
        prevalence,
        f1,
        f1 * prevalence + f0 * (1 - prevalence),
        _ratio(tp, called),
        _ratio(tp, positive),
        _ratio(tn, total - positive),
        _ratio(weights @ np.square(probability - label), total),
        *_recalibration(label, probability, weights),
    )
    return np.stack(columns, axis=1)


def bootstrap(
    label: np.ndarray,
    models: Mapping[str, tuple[np.ndarray, np.ndarray]],
    subjects: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return `SCORES` (draws, scores) of every model, each (probability, predicted), by name.

    All are measured on the same draws.

    Patients, not knees, are drawn, with replacement: knees of one patient are not independent.
    """
    patients, member = np.unique(np.asarray(subjects), return_inverse=True)
    random = np.random.default_rng(seed)
    out: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for start in range(0, draws, _CHUNK):
        drawn = random.integers(0, len(patients), (min(_CHUNK, draws - start), len(patients)))
        times = np.stack([np.bincount(row, minlength=len(patients)) for row in drawn])
        weights = times[:, member].astype(np.float64)
        for name, (probability, predicted) in models.items():
            out[name].append(weighted_scores(label, probability, predicted, weights))
    return {name: np.concatenate(parts) for name, parts in out.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentiles of the defined values; NaN where there are none.

    A draw in which a metric is undefined (one class only) does not count for that metric.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def choose_threshold(label: np.ndarray, probability: np.ndarray, rule: str) -> float:
    """Choose the probability from which a knee is predicted positive, among those observed.

    `youden` maximises recall + specificity - 1, `f1` the F1 score; of equals, the highest is taken.
    """
    candidates = np.unique(probability)[::-1]
    called = probability[None, :] >= candidates[:, None]
    tp, fp = (called & (label == 1)).sum(axis=1), (called & (label == 0)).sum(axis=1)
    positives, negatives = max(int((label == 1).sum()), 1), max(int((label == 0).sum()), 1)
    worth = 2 * tp / (tp + fp + positives)
    if rule == "youden":
        worth = tp / positives - fp / negatives
    return float(candidates[int(np.argmax(worth))])


def calibration(
    label: np.ndarray, probability: np.ndarray, bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return mean probability, observed share of positives and number of knees of each bin.

    There are at most `bins` of equal size. Knees of equal probability share a bin.
    """
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    member = np.searchsorted(edges, probability, side="right")
    found = []
    for number in np.unique(member):
        at = member == number
        found.append((float(probability[at].mean()), float(label[at].mean()), int(at.sum())))
    return found


def _areas(
    label: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas under the ROC and the precision-recall curve (draws,).

    Equal probabilities are one step.
    """
    if not len(label):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(probability[order]) != 0))
    ordered, truth = weights[:, order], label[order]
    hits = np.add.reduceat(ordered * truth, starts, axis=1)
    misses = np.add.reduceat(ordered * (1 - truth), starts, axis=1)
    found, called = np.cumsum(hits, axis=1), np.cumsum(hits + misses, axis=1)
    positives, negatives = found[:, -1], misses.sum(axis=1)
    # A positive outranks the negatives that come after its step, and half of those in it.
    after = negatives[:, None] - np.cumsum(misses, axis=1)
    roc = _ratio((hits * (after + misses / 2)).sum(axis=1), positives * negatives)
    precision = found / np.where(called > 0, called, 1)
    return roc, _ratio((hits * precision).sum(axis=1), positives)


def _recalibration(
    label: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return calibration slope and intercept (draws,); 1 and 0 are perfect.

    After Cox (1958) and Van Calster et al. (2019). The slope is that of a logistic regression of
    the label on the probability's log odds; the intercept is fitted with the slope held at 1
    (calibration in the large). NaN where the fit has no end, as where the classes are apart.
    """
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    odds = np.log(p / (1 - p))
    centre, scale = 0.0, 1.0
    if len(odds):
        centre, scale = odds.mean(), odds.std() or 1.0
    design = np.stack([np.ones_like(odds), (odds - centre) / scale], axis=1)
    slope = _logistic(design, np.zeros_like(odds), label, weights)[:, 1] / scale
    intercept = _logistic(design[:, :1], odds, label, weights)[:, 0]
    if not odds.std():
        slope = np.full(len(weights), np.nan)
    return slope, intercept


def _logistic(
    design: np.ndarray, offset: np.ndarray, label: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the coefficients (draws, columns) of weighted logistic regressions.

    By Newton's method; NaN where it does not end.
    """
    columns = design.shape[1]
    squares = (design[:, :, None] * design[:, None, :]).reshape(-1, columns**2)
    found = np.zeros((len(weights), columns))
    ended = np.zeros(len(weights), dtype=bool)
    with np.errstate(all="ignore"):
        for _ in range(25):
            at = ~ended
            fitted = 1 / (1 + np.exp(-(found[at] @ design.T + offset)))
            gradient = (weights[at] * (label - fitted)) @ design
            spread = weights[at] * fitted * (1 - fitted)
            curvature = (spread @ squares).reshape(-1, columns, columns)
            step = _solve(curvature, gradient)
            found[at] += step
            # A step that is not a number has no end either, and stays one.
            ended[at] = ~(np.abs(step).max(axis=1) > 1e-10)
            if ended.all():
                break
    found[~ended] = np.nan
    return found


def _solve(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the solutions of 1 x 1 or 2 x 2 systems; NaN where a matrix has no inverse."""
    if vectors.shape[1] == 1:
        return np.where(matrices[:, :, 0] > 0, vectors / matrices[:, :, 0], np.nan)
    (a, b), (c, d) = np.moveaxis(matrices, 0, -1)
    determinant = a * d - b * c
    first = d * vectors[:, 0] - b * vectors[:, 1]
    second = a * vectors[:, 1] - c * vectors[:, 0]
    solutions = np.stack([first, second], axis=1) / determinant[:, None]
    return np.where((determinant > 1e-12 * (a * d))[:, None], solutions, np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
