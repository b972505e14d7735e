"""The area under the ROC curve from folds, and its 95 % interval by patient.

The area is measured in each test fold, and the mean over the folds, and over repeats with other
folds, is the estimate: probabilities of different folds come from different models, and are never
compared. Its variance is that of test patients within folds, whose knees are not independent:
Obuchowski's (Biometrics 1997;53:567-578), and what training adds (`variance_of_mean`). The first
comes from deviations, one a knee, so that for two models on the same knees those of the difference
are the differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, stdtrit

#: Patients, see `variance_of_mean`.
HIGHER_ORDER = 20


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


@dataclass(frozen=True)
class Variance:
    """The variance of a mean area over folds, their models given, and its degrees of freedom."""

    value: float
    freedom: float


def clustered_variance(folds: Sequence[Fold], deviations: Sequence[np.ndarray]) -> Variance:
    """Return the variance of the mean area of folds, after Obuchowski (1997) within each.

    A fold with one patient of a class says nothing of how such patients differ: for it, patients
    of that class differ as they do in the other folds. The degrees of freedom are Satterthwaite's
    (Biometrics 1946;2:110-114), of the two classes, each with as many as it has patients, less one
    a fold. Where a class has none left there is no variance: NaN.
    """
    parts = [_Sums.of(fold, each) for fold, each in zip(folds, deviations, strict=True)]
    classes = ([part.positive for part in parts], [part.negative for part in parts])
    freedoms = [sum(each.patients - 1 for each in of_class) for of_class in classes]
    if min(freedoms) < 1:
        return Variance(math.nan, 0)
    positive, negative = (_class_variance(*pair) for pair in zip(classes, freedoms, strict=True))
    both = sum(part.covariance() for part in parts)
    # In few patients the covariance can outweigh the two variances.
    value = max(positive + negative + 2 * both, 0.0) / len(folds) ** 2
    spread = positive**2 / freedoms[0] + negative**2 / freedoms[1]
    freedom = (positive + negative) ** 2 / spread if spread else min(freedoms)
    return Variance(value, freedom)


def variance_of_mean(
    within: float, between: float, folds: int, repeats: int, patients: int
) -> float:
    """Return the variance of a mean area over the folds and repeats, training included.

    `within` is the variance of one run where its models are given, and `between` that of the means
    of repeats, which is 0 where there are none.

    The patients who test one fold's model train the others', so that the folds' areas vary
    together. To second order an area is a sum over pairs of a patient who is tested and one who is
    trained on, and each pair of patients is in it twice, once either way. Of the variance of one
    run let Q be what such pairs bring. `within` counts it half, as if the two ways were
    independent. Other divisions leave out other pairs, one in `folds`: so means of repeats differ
    by a variance of Q / `folds`, which tells Q, and with that the variance of one run, `within` +
    Q / 2, and the part of it, `between`, which a mean over repeats divides by their number. Where
    there is no signal Q is all there is, and one run has twice the variance within; where the
    signal is strong it has no more than that. A single run cannot tell, and is given the most. One
    fold alone is a model, and patients who had no part in it: nothing is to be added.

    In few patients repeats differ by terms of higher order too, which are not there twice; of Q
    `patients` / (`patients` + 20) is counted, which was found by simulation.
    """
    if folds == 1:
        return within
    if repeats == 1:
        return 2 * within
    pairs = folds * between * patients / (patients + HIGHER_ORDER)
    return max(within + pairs / 2 - between * (1 - 1 / repeats), within)


def estimate_area(runs: Sequence[Sequence[Fold]]) -> Estimate:
    """Return the mean area under the ROC curve over the folds of all runs, and its 95 % interval.

    Each run is a division of the same knees into as many folds. Where folds have the probability
    of another model, it is the mean difference from that model's area. There is no interval where
    a class has no more patients than there are folds, where no knee is ever on the wrong side, or
    where a model, or a difference, says the same of all; and no value where a class is missing.
    """
    found = _Mean.of(runs)
    if runs[0][0].other is None:
        return found.on_logits()
    first = _Mean.of([[replace(fold, other=None) for fold in folds] for folds in runs])
    second = _Mean.of([[_of_other(fold) for fold in folds] for folds in runs])
    return _difference(found, first, second)


@dataclass(frozen=True)
class _Mean:
    """A mean area over folds and repeats, or a difference of two, and its error."""

    value: float
    variance: float
    freedom: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[Fold]]) -> "_Mean":
        values, variances = [], []
        for folds in runs:
            found = [_of_fold(fold) for fold in folds]
            values.append(np.mean([each.value for each in found]))
            if math.isnan(values[-1]):
                return cls(math.nan, math.nan, 0)
            variances.append(clustered_variance(folds, [each.each for each in found]))
        within = float(np.mean([each.value for each in variances]))
        between = float(np.var(values, ddof=1)) if len(runs) > 1 else 0.0
        patients = sum(len(np.unique(fold.subject)) for fold in runs[0])
        variance = variance_of_mean(within, between, len(runs[0]), len(runs), patients)
        freedom = float(np.mean([each.freedom for each in variances]))
        return cls(float(np.mean(values)), variance, freedom)

    @property
    def reach(self) -> float:
        """Half the length of an even interval, NaN where there is none.

        Where nothing varies there is none either: a model that says the same of all knees, or two
        that rank them alike. One without a width would claim certainty.
        """
        if not self.variance > 0:
            return math.nan
        return float(stdtrit(self.freedom, 0.975)) * math.sqrt(self.variance)

    def on_logits(self) -> Estimate:
        """An area has its interval on the logit scale, and so stays between 0 and 1."""
        if math.isnan(self.reach) or not 0 < self.value < 1:
            return Estimate(self.value)
        middle = math.log(self.value / (1 - self.value))
        reach = self.reach / (self.value * (1 - self.value))
        return Estimate(self.value, float(expit(middle - reach)), float(expit(middle + reach)))


def _difference(found: _Mean, first: _Mean, second: _Mean) -> Estimate:
    """Return a difference of two areas with its interval, on the scale of its inverse tanh.

    So it stays between -1 and 1, and near 0 is as even as ever. A model that says the same of all
    knees has an area without an error: what is held against it has its own interval, moved.
    """
    if math.isnan(found.reach):
        return Estimate(found.value)
    for varies, constant, sign in ((first, second, 1), (second, first, -1)):
        own = varies.on_logits()
        if constant.variance == 0 and not math.isnan(own.low):
            ends = sorted(sign * (end - constant.value) for end in (own.low, own.high))
            return Estimate(found.value, *ends)
    if abs(found.value) == 1:
        return Estimate(found.value)
    middle = math.atanh(found.value)
    reach = found.reach / (1 - found.value**2)
    return Estimate(found.value, math.tanh(middle - reach), math.tanh(middle + reach))


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
            return 0.0  # one patient of both classes, and nothing to see how such differ
        knees = self.positive.knees * self.negative.knees
        return self.patients / (self.patients - 1) * self.products / knees


def _class_variance(classes: Sequence[_ClassSum], freedom: int) -> float:
    """Return the variance of the sum over the folds of a class's mean component."""
    pooled = sum(each.squares for each in classes) / freedom
    variance = 0.0
    for each in classes:
        between = each.squares / (each.patients - 1) if each.patients > 1 else pooled
        variance += each.patients * between / each.knees**2
    return variance


def _of_fold(fold: Fold) -> Deviations:
    own = area_deviations(fold.label, fold.probability)
    if fold.other is None:
        return own
    other = area_deviations(fold.label, fold.other)
    return Deviations(own.value - other.value, own.each - other.each)


def _of_other(fold: Fold) -> Fold:
    """The fold as the other model has it."""
    probability = fold.probability if fold.other is None else fold.other
    return Fold(fold.label, fold.subject, probability)


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return which share of the ordered values is below each value; equal ones count half."""
    lower = np.searchsorted(ordered, values, side="left")
    upper = np.searchsorted(ordered, values, side="right")
    return (lower + upper) / (2 * len(ordered))


def _by_patient(subject: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of each patient's values (patients,)."""
    member = np.unique(subject, return_inverse=True)[1]
    return np.bincount(member, values)
