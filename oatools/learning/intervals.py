"""The area under the ROC curve from folds, and its 95 % interval by patient.

The area is measured in each test fold, and the mean over the folds, and over repeats with other
folds, is the estimate: probabilities of different folds come from different models, and are never
compared. Its variance is that of test patients within folds, whose knees are not independent:
Obuchowski's (Biometrics 1997;53:567-578). It comes from deviations, one a knee, so that for two
models on the same knees those of the difference are the differences.

The models of the folds share most of the patients that they learn from, who are the test patients
of the other folds; hence the factor of `training_factor`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Fold:
    """The test knees of one fold: label 0 or 1, patient, and probability of one, each (knees,).

    `other` is the probability of the model that it is compared with, if any.
    """

    label: np.ndarray
    subject: np.ndarray
    probability: np.ndarray
    other: np.ndarray | None = None


@dataclass(frozen=True)
class Deviations:
    """An area or a difference of two, and the deviation from it of each knee (knees,).

    Within each class deviations have mean 0.
    """

    value: float
    each: np.ndarray


def area_deviations(label: np.ndarray, probability: np.ndarray) -> Deviations:
    """Return the area under the ROC curve and its structural components, less the area.

    The component of a knee is the share of the other class's knees that are on the right side of
    it (ties count half): DeLong et al., Biometrics 1988;44:837-845. NaN where a class is missing.
    """
    positive = label == 1
    above, below = np.sort(probability[positive]), np.sort(probability[~positive])
    if not len(above) or not len(below):
        return Deviations(math.nan, np.full(len(label), math.nan))
    component = np.empty(len(label))
    component[positive] = _share_below(below, probability[positive])
    component[~positive] = 1 - _share_below(above, probability[~positive])
    area = float(component[positive].mean())
    return Deviations(area, component - area)


def clustered_variance(folds: Sequence[Fold], deviations: Sequence[np.ndarray]) -> float:
    """Return the variance of the mean area of folds, after Obuchowski (1997) within each.

    A fold with one patient of a class says nothing of how such patients differ: for it, patients
    of that class differ as they do in the other folds. NaN where no fold has two.
    """
    parts = [_Sums.of(fold, each) for fold, each in zip(folds, deviations, strict=True)]
    positive = _class_variances([part.positive for part in parts])
    negative = _class_variances([part.negative for part in parts])
    both = np.array([part.covariance() for part in parts])
    variance = float((positive + negative + 2 * both).sum()) / len(folds) ** 2
    return variance if math.isnan(variance) else max(variance, 0.0)


def degrees_of_freedom(folds: Sequence[Fold]) -> int:
    """Return the number of patients of the rarer class, less one for each fold's area."""
    counts = [0, 0]
    for fold in folds:
        for value in (0, 1):
            counts[value] += len(np.unique(fold.subject[fold.label == value]))
    return min(counts) - len(folds)


def training_factor(folds: int) -> float:
    """Return what the variance within folds is to be multiplied by, for the folds' training.

    One fold is a model and patients who had no part in it: nothing is to be added. Of several,
    each fold's patients train the models of the others: 1 + 1 / `folds`, found by simulation.
    """
    return 1.0 if folds == 1 else 1 + 1 / folds


def estimate_area(runs: Sequence[Sequence[Fold]]) -> Estimate:
    """Return the mean area under the ROC curve over the folds of all runs, and its 95 % interval.

    Each run is a division of the same knees. Where folds have the probability of another model, it
    is the mean difference from that model's area. There is no interval where a class has no more
    patients than there are folds, or where no knee is ever on the wrong side.
    """
    values, variances = [], []
    for folds in runs:
        found = [_of_fold(fold) for fold in folds]
        values.append(np.mean([each.value for each in found]))
        variance = clustered_variance(folds, [each.each for each in found])
        variances.append(variance * training_factor(len(folds)))
    value, variance = float(np.mean(values)), float(np.mean(variances))
    freedom = min(degrees_of_freedom(folds) for folds in runs)
    if freedom < 1 or math.isnan(variance):
        return Estimate(value)
    reach = float(stdtrit(freedom, 0.975)) * math.sqrt(variance)
    if runs[0][0].other is not None:
        return Estimate(value, value - reach, value + reach)
    if not 0 < value < 1:
        return Estimate(value)
    # An area has its interval on the logit scale, and so stays between 0 and 1.
    middle, reach = math.log(value / (1 - value)), reach / (value * (1 - value))
    return Estimate(value, _logistic(middle - reach), _logistic(middle + reach))


@dataclass(frozen=True)
class _ClassSum:
    """Of one class in one fold: patients, knees, and the sum of squares of patients' sums."""

    patients: int
    knees: int
    squares: float


@dataclass(frozen=True)
class _Sums:
    """What Obuchowski's variance of one fold is made of."""

    positive: _ClassSum
    negative: _ClassSum
    patients: int
    products: float

    @classmethod
    def of(cls, fold: Fold, deviations: np.ndarray) -> "_Sums":
        positive = fold.label == 1
        above = _by_patient(fold.subject, np.where(positive, deviations, 0.0))
        below = _by_patient(fold.subject, np.where(positive, 0.0, deviations))
        classes = []
        for at, sums in ((positive, above), (~positive, below)):
            patients = len(np.unique(fold.subject[at]))
            classes.append(_ClassSum(patients, int(at.sum()), float(np.square(sums).sum())))
        return cls(classes[0], classes[1], len(above), float((above * below).sum()))

    def covariance(self) -> float:
        """The covariance of the two classes' means of components."""
        if self.patients < 2:
            return math.nan
        knees = self.positive.knees * self.negative.knees
        return self.patients / (self.patients - 1) * self.products / knees


def _class_variances(classes: Sequence[_ClassSum]) -> np.ndarray:
    """Return the variance of the mean component of a class in every fold (folds,)."""
    freedom = sum(each.patients - 1 for each in classes)
    pooled = sum(each.squares for each in classes) / freedom if freedom else math.nan
    found = []
    for each in classes:
        between = each.squares / (each.patients - 1) if each.patients > 1 else pooled
        found.append(each.patients * between / each.knees**2)
    return np.array(found)


def _of_fold(fold: Fold) -> Deviations:
    own = area_deviations(fold.label, fold.probability)
    if fold.other is None:
        return own
    other = area_deviations(fold.label, fold.other)
    return Deviations(own.value - other.value, own.each - other.each)


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return which share of the ordered values is below each value; equal ones count half."""
    lower = np.searchsorted(ordered, values, side="left")
    upper = np.searchsorted(ordered, values, side="right")
    return (lower + upper) / (2 * len(ordered))


def _by_patient(subject: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of each patient's values (patients,)."""
    member = np.unique(subject, return_inverse=True)[1]
    return np.bincount(member, values)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))
