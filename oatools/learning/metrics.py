"""Measures of what predictions are worth; the formulas are those of scikit-learn.

Estimates from several folds, and intervals, are in `intervals`.
"""

import numpy as np

SCORES = (
    "roc_auc",
    "pr_auc",
    "pr_auc_no_skill",
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
#: The metrics of predicted classes, which depend on a threshold.
CLASSED = ("f1", "f1_weighted", "precision", "recall", "specificity", *COUNTS)


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the area under the ROC curve (Mann-Whitney, ties count half).

    NaN where a class is missing.
    """
    hits, misses = _steps(label, probability)
    # A positive outranks the negatives that come after its step, and half of those in it.
    after = misses.sum() - np.cumsum(misses)
    return _ratio((hits * (after + misses / 2)).sum(), hits.sum() * misses.sum())


def mean_area(label: np.ndarray, probability: np.ndarray, fold: np.ndarray) -> float:
    """Return the mean over the test folds, 1 and up, of the area under each one's ROC curve."""
    numbers = np.unique(fold[fold > 0])
    return float(np.mean([roc_auc(label[fold == n], probability[fold == n]) for n in numbers]))


def average_precision(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the area under the precision-recall curve, as steps; NaN without positives.

    Chance alone gives `no_skill_precision`, which in few knees is far above their prevalence.
    """
    hits, misses = _steps(label, probability)
    found, called = np.cumsum(hits), np.cumsum(hits + misses)
    return _ratio((hits * found / called).sum(), hits.sum())


def no_skill_precision(positives: int, knees: int) -> float:
    """Return the expectation of the average precision where knees are in random order, no two tied.

    The knee at place k is positive in `positives` of `knees` orders, and each of the k - 1 before
    it then in `positives` - 1 of `knees` - 1; so the mean over the places of the precision at a
    positive is ((n1 - 1) / (n - 1) (n - H) + H) / n, with H = 1 + 1/2 + ... + 1/n (Bestgen, Prague
    Bulletin of Mathematical Linguistics 2015;103:131-138). NaN without positives.
    """
    if not positives:
        return np.nan
    if knees == positives:
        return 1.0
    harmonic = float((1 / np.arange(1, knees + 1)).sum())
    return ((positives - 1) / (knees - 1) * (knees - harmonic) + harmonic) / knees


def scores(label: np.ndarray, probability: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return every metric of `METRICS`, NaN where one is undefined.

    `label` (knees,) is 0 or 1, and `predicted` the class that each knee was given.
    """
    positive, called = label == 1, predicted == 1
    tn, fp = int((~positive & ~called).sum()), int((~positive & called).sum())
    fn, tp = int((positive & ~called).sum()), int((positive & called).sum())
    knees = len(label)
    prevalence = _ratio(tp + fn, knees)
    f1 = float(np.nan_to_num(_ratio(2 * tp, 2 * tp + fp + fn)))
    f0 = float(np.nan_to_num(_ratio(2 * tn, 2 * tn + fp + fn)))
    slope, intercept = _recalibration(label, probability)
    return {
        "roc_auc": roc_auc(label, probability),
        "pr_auc": average_precision(label, probability),
        "pr_auc_no_skill": no_skill_precision(tp + fn, knees),
        "prevalence": prevalence,
        "f1": f1,
        "f1_weighted": f1 * prevalence + f0 * (1 - prevalence),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "brier": _ratio(np.square(probability - label).sum(), knees),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "tn": tn,
        "fp": fp,
        "fn": fn,
        "tp": tp,
    }


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return the log odds of probabilities, which are kept away from 0 and 1."""
    kept = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(kept / (1 - kept)))


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


def _steps(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of positives and negatives (steps,), from the highest probability down.

    Equal probabilities are one step.
    """
    if not len(label):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-probability, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(probability[order]) != 0))
    truth = label[order].astype(np.float64)
    return np.add.reduceat(truth, starts), np.add.reduceat(1 - truth, starts)


def _recalibration(label: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """Return calibration slope and intercept; 1 and 0 are perfect.

    After Cox (1958) and Van Calster et al. (2019). The slope is that of a logistic regression of
    the label on the probability's log odds; the intercept is fitted with the slope held at 1
    (calibration in the large). NaN where the fit has no end, as where the classes are apart.
    """
    odds = log_odds(probability)
    spread = float(odds.std()) if len(odds) else 0.0
    ones = np.ones((len(odds), 1))
    intercept = float(_logistic(ones, odds, label)[0])
    if not spread:
        return np.nan, intercept
    design = np.column_stack([ones, (odds - odds.mean()) / spread])
    return float(_logistic(design, np.zeros_like(odds), label)[1]) / spread, intercept


def _logistic(design: np.ndarray, offset: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the coefficients (columns,) of a logistic regression.

    By Newton's method; NaN where it does not end.
    """
    found = np.zeros(design.shape[1])
    with np.errstate(all="ignore"):
        for _ in range(25):
            fitted = 1 / (1 + np.exp(-(design @ found + offset)))
            curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design
            # Without a determinant worth the name, the classes are apart or one is missing.
            if not np.linalg.det(curvature) > 1e-12 * np.prod(np.diag(curvature)):
                break
            step = np.linalg.solve(curvature, design.T @ (label - fitted))
            found += step
            if np.abs(step).max() <= 1e-10:
                return found
    return np.full(design.shape[1], np.nan)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else np.nan
