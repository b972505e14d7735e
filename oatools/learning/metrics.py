"""What predictions are worth. Formulas as in scikit-learn, in NumPy alone because the bootstrap calls them often."""

from collections.abc import Sequence

import numpy as np

UNITS = ("roc_auc", "pr_auc", "prevalence", "f1", "f1_weighted", "precision", "recall", "specificity", "brier")
COUNTS = ("tn", "fp", "fn", "tp")
METRICS = UNITS + COUNTS


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the ROC curve (Mann-Whitney, ties count half); NaN where a class is missing."""
    positives, negatives = int((label == 1).sum()), int((label == 0).sum())
    if not positives or not negatives:
        return np.nan
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[label == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(label: np.ndarray, probability: np.ndarray) -> float:
    """Area under the precision-recall curve, as steps; NaN without positives. No skill gives the prevalence."""
    positives = int((label == 1).sum())
    if not positives:
        return np.nan
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.diff(probability[order]) != 0, True)  # equal probabilities are one step
    hits, called = hits[last], np.arange(1, len(label) + 1)[last]
    return float(np.sum(np.diff(hits, prepend=0) * hits / called) / positives)


def scores(label: np.ndarray, probability: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Every metric of `METRICS` for labels (knees,) 0 or 1, probabilities and classes called; NaN if undefined."""
    tp = int(((label == 1) & (predicted == 1)).sum())
    fp = int(((label == 0) & (predicted == 1)).sum())
    fn = int(((label == 1) & (predicted == 0)).sum())
    tn = len(label) - tp - fp - fn
    f1, f0 = _ratio(2 * tp, 2 * tp + fp + fn, 0.0), _ratio(2 * tn, 2 * tn + fp + fn, 0.0)
    prevalence = _ratio(tp + fn, len(label))
    values = (roc_auc(label, probability), average_precision(label, probability), prevalence, f1,
              f1 * prevalence + f0 * (1 - prevalence), _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(tn, tn + fp),
              float(np.mean(np.square(probability - label))) if len(label) else np.nan, tn, fp, fn, tp)  # fmt: skip
    return dict(zip(METRICS, values, strict=True))


def bootstrap(
    label: np.ndarray, probability: np.ndarray, predicted: np.ndarray, subjects: Sequence[str], draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """95 % intervals (2.5th and 97.5th percentiles) of `UNITS`, drawing patients, not knees, with replacement.

    A draw in which a metric is undefined (one class only) does not count for that metric.
    """
    patients, member = np.unique(np.asarray(subjects), return_inverse=True)
    knees = [np.flatnonzero(member == i) for i in range(len(patients))]
    random = np.random.default_rng(seed)
    values = np.full((draws, len(UNITS)), np.nan)
    for draw in range(draws):
        chosen = np.concatenate([knees[i] for i in random.integers(0, len(patients), len(patients))])
        drawn = scores(label[chosen], probability[chosen], predicted[chosen])
        values[draw] = [drawn[name] for name in UNITS]
    return {name: interval(column) for name, column in zip(UNITS, values.T, strict=True)}


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentiles of the defined values; NaN where there are none."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def choose_threshold(label: np.ndarray, probability: np.ndarray, rule: str) -> float:
    """The probability from which a knee is called positive, chosen among those observed.

    `youden` maximises recall + specificity - 1, `f1` the F1 score; of equals, the highest is taken.
    """
    candidates = np.unique(probability)[::-1]
    called = probability[None, :] >= candidates[:, None]
    tp, fp = (called & (label == 1)).sum(axis=1), (called & (label == 0)).sum(axis=1)
    positives, negatives = max(int((label == 1).sum()), 1), max(int((label == 0).sum()), 1)
    worth = tp / positives - fp / negatives if rule == "youden" else 2 * tp / (tp + fp + positives)
    return float(candidates[int(np.argmax(worth))])


def calibration(label: np.ndarray, probability: np.ndarray, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean probability, observed share of positives and knees in each of at most `bins` bins of equal size.

    Knees of equal probability share a bin.
    """
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    member = np.searchsorted(edges, probability, side="right")
    groups = [member == i for i in np.unique(member)]
    return [(float(probability[g].mean()), float(label[g].mean()), int(g.sum())) for g in groups]


def _ratio(part: float, whole: float, otherwise: float = np.nan) -> float:
    return part / whole if whole else otherwise
