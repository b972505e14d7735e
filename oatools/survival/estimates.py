"""A measure over the test folds of a cross-validation, and its 95 % interval by patient.

As in `learning.intervals`, the measure is taken in each test fold, the mean over the folds, and
over repeats with other folds, is the estimate, and its variance is that of test patients within
folds and what training adds. What a patient brings to the first is told by the fold's measure
without that patient: that works for any measure, and keeps the knees of one together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, stdtrit

from oatools.learning.followup import FollowUp
from oatools.learning.intervals import Estimate, Variance, variance_of_mean
from oatools.survival.curves import lost_after_events
from oatools.survival.patients import without_each

# Repeats, found by simulation: see `_with_training`.
_UNTOLD = 2


@dataclass(frozen=True)
class Measure:
    """How predictions are measured, and on which scale the interval is even.

    `of` takes time, event, the predictions (knees, ...) and weights (rows, knees), and returns one
    number a row (rows,). It is a `share` between 0 and 1, a `positive` number, or `plain`. Events
    after `horizon` months, if any, do not count in it.
    """

    of: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    scale: Literal["share", "positive", "plain"]
    horizon: float = math.inf

    def value(self, fold: "Fold") -> float:
        """Return the measure of a fold."""
        ones = np.ones((1, len(fold.time)))
        return float(self.of(fold.time, fold.event, fold.prediction, ones)[0])


@dataclass(frozen=True)
class Fold:
    """The test knees of one fold: months, event, patient, and prediction (knees, ...).

    `subject` is a number, the same for the knees of a patient. `other` is the prediction of the
    model that it is compared with, if any.
    """

    time: np.ndarray
    event: np.ndarray
    subject: np.ndarray
    prediction: np.ndarray
    other: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        found: FollowUp,
        subject: np.ndarray,
        prediction: np.ndarray,
        other: np.ndarray | None = None,
    ) -> "Fold":
        """Return a fold of knees whose times are `times_as_counted`."""
        return cls(times_as_counted(found), found.event, subject, prediction, other)


def times_as_counted(found: FollowUp) -> np.ndarray:
    """Return the times (knees,), months, that measures take: see `curves.lost_after_events`."""
    return lost_after_events(found.time, found.event)


def estimate(runs: Sequence[Sequence[Fold]], measure: Measure) -> Estimate:
    """Return the mean of a measure over the folds of all runs, and its 95 % interval.

    Each run is a division of the same knees into as many folds; one cohort that had no part in the
    model is one run of one fold. Where folds have another prediction, it is the mean difference
    from that one's measure; of predictions that are the same it is 0, and so are its ends. The
    quantile is Student's. The variance within folds has as many degrees of freedom as there are
    patients with an event, less one a fold, as these are what is rare. There is no interval where
    that leaves less than one a fold, nor where nothing varies or the value is at an end of its
    scale; and no value where a fold has none.
    """
    found = [_Run.of(folds, measure) for folds in runs]
    value = float(np.mean([run.value for run in found]))
    if runs[0][0].other is not None and all(run.value == 0 == run.variance for run in found):
        return Estimate(0.0, 0.0, 0.0)
    within = Variance(
        float(np.mean([run.variance for run in found])),
        float(np.mean([run.freedom for run in found])),
    )
    if math.isnan(value) or not within.value > 0 or within.freedom < len(runs[0]):
        return Estimate(value)
    variance = _with_training(runs, found, within, measure)
    reach = float(stdtrit(variance.freedom, 0.975)) * math.sqrt(variance.value)
    return _on_scale(value, reach, measure.scale, runs[0][0].other is not None)


def _on_scale(value: float, reach: float, scale: str, is_difference: bool) -> Estimate:
    """Return the interval whose reach is even on the scale; a difference of shares on atanh's."""
    if scale == "share" and is_difference:
        if not -1 < value < 1:
            return Estimate(value)
        middle, half = math.atanh(value), reach / (1 - value**2)
        return Estimate(value, math.tanh(middle - half), math.tanh(middle + half))
    if scale == "share":
        if not 0 < value < 1:
            return Estimate(value)
        middle, half = math.log(value / (1 - value)), reach / (value * (1 - value))
        return Estimate(value, float(expit(middle - half)), float(expit(middle + half)))
    if scale == "positive" and not is_difference:
        if not value > 0:
            return Estimate(value)
        half = reach / value
        return Estimate(value, value * math.exp(-half), value * math.exp(half))
    return Estimate(value, value - reach, value + reach)


class _Jackknife(NamedTuple):
    """A fold's measure, its variance (NaN if it hangs on one patient), and patients with events."""

    value: float
    variance: float
    patients_with_event: int

    @classmethod
    def of(cls, fold: Fold, measure: Measure) -> "_Jackknife":
        """The variance is that of the mean of pseudo-values (Tukey, Ann Math Stat 1958;29:614)."""
        values = _without_each(fold, measure)
        patients = len(values) - 1
        deviations = (patients - 1) * (values[0] - values[1:])
        variance = float(np.var(deviations, ddof=1)) / patients if patients > 1 else math.nan
        had = fold.event & (fold.time <= measure.horizon)
        return cls(float(values[0]), variance, len(np.unique(fold.subject[had])))


class _Run(NamedTuple):
    """The mean measure of a division into folds, its variance and degrees of freedom."""

    value: float
    variance: float
    freedom: int

    @classmethod
    def of(cls, folds: Sequence[Fold], measure: Measure) -> "_Run":
        """A fold whose measure hangs on one patient says nothing of how patients differ.

        For it, patients with an event differ as they do in the other folds.
        """
        found = [_Jackknife.of(fold, measure) for fold in folds]
        a_patient = [
            each.variance * each.patients_with_event
            for each in found
            if not math.isnan(each.variance)
        ]
        usual = float(np.mean(a_patient)) if a_patient else math.nan
        variances = [
            usual / max(each.patients_with_event, 1) if math.isnan(each.variance) else each.variance
            for each in found
        ]
        freedom = sum(each.patients_with_event - 1 for each in found)
        value = float(np.mean([each.value for each in found]))
        return cls(value, sum(variances) / len(folds) ** 2, freedom)


def _with_training(
    runs: Sequence[Sequence[Fold]], found: Sequence[_Run], within: Variance, measure: Measure
) -> Variance:
    """Return the variance of the mean over folds and repeats, what training adds included.

    See `variance_of_mean`, which gives a single run the most: that all of the variance within is of
    pairs of patients, one trained on and one tested. But pairs are in no more of it than hangs on
    the predictions. What their mean, given to every knee, leaves of the variance is that of the
    outcome alone, which is most of it for Brier scores, and nothing for C and areas.

    A few repeats tell little of how much they differ, so that the degrees of freedom are
    Satterthwaite's (Biometrics 1946;2:110-114). Of two models that happen to be much the same
    repeats differ little, too, just where the difference is too small: to those of a difference
    come `_UNTOLD` that differ the most, as for a single run.
    """
    folds, repeats = runs[0], len(runs)
    is_difference = folds[0].other is not None
    if repeats == 1 and len(folds) > 1 and not is_difference:
        hangs_on = _Run.of([_beside_their_mean(fold) for fold in folds], measure).variance
        return Variance(within.value + float(np.fmin(within.value, hangs_on)), within.freedom)
    patients = sum(len(np.unique(fold.subject)) for fold in folds)
    if repeats == 1:
        whole = variance_of_mean(within.value, 0.0, len(folds), 1, patients)
        return Variance(whole, within.freedom)
    between, told = float(np.var([run.value for run in found], ddof=1)), repeats - 1
    if is_difference:
        most = 2 * within.value / len(folds)
        between = (told * between + _UNTOLD * most) / (told + _UNTOLD)
        told += _UNTOLD
    whole = variance_of_mean(within.value, between, len(folds), repeats, patients)
    spread = within.value**2 / within.freedom + (whole - within.value) ** 2 / told
    return Variance(whole, whole**2 / spread)


def _beside_their_mean(fold: Fold) -> Fold:
    mean = fold.prediction.mean(axis=0)
    return replace(fold, other=np.broadcast_to(mean, fold.prediction.shape))


def _without_each(fold: Fold, measure: Measure) -> np.ndarray:
    """Return the measure (1 + patients,) of the fold, and without each patient."""
    blocks = [
        measure.of(fold.time, fold.event, fold.prediction, weights)
        for weights in without_each(fold.subject)
    ]
    values = np.concatenate(blocks)
    if fold.other is None:
        return values
    return values - _without_each(replace(fold, prediction=fold.other, other=None), measure)
