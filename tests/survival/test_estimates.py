"""Means over folds and their intervals: textbook errors, and the jackknife written out anew."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import t
from sksurv.metrics import brier_score, concordance_index_ipcw
from sksurv.util import Surv

from oatools.learning.intervals import variance_of_mean
from oatools.survival.estimates import Fold, Measure, estimate
from oatools.survival.measures import auc_at, brier_at, uno_c

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

TAU, HORIZON = 40.0, 24.0
UNO = Measure(partial(uno_c, tau=TAU), "share", TAU)
AUC = Measure(partial(auc_at, months=HORIZON), "share", HORIZON)
BRIER = Measure(partial(brier_at, months=HORIZON), "positive", HORIZON)


def weighted_mean(time, event, prediction, weights):
    return (weights @ prediction) / weights.sum(axis=1)


#: Its error is known without a jackknife.
MEAN = Measure(weighted_mean, "plain")


def cohort(seed, patients=60, first=0):
    """One fold: two knees a patient who share half of what is random, and the risks of two models."""
    random = np.random.default_rng(seed)
    subject = np.arange(first, first + patients).repeat(2)
    shared = random.normal(size=patients).repeat(2)
    one = (shared + random.normal(size=2 * patients)) / np.sqrt(2)
    two = one + random.normal(size=2 * patients)
    event_at = random.exponential(50 * np.exp(-0.8 * one))
    lost_at = random.uniform(10, 80, patients).repeat(2)
    return Fold(
        time=np.minimum(event_at, lost_at),
        event=event_at <= lost_at,
        subject=subject,
        prediction=1 - np.exp(-0.5 * np.exp(one)),
        other=1 - np.exp(-0.5 * np.exp(0.6 * two)),
    )


def alone(fold):
    return replace(fold, other=None)


def folds_of(seed, count=4, patients=20):
    return [alone(cohort(seed + n, patients, first=100 * n)) for n in range(count)]


def uno(fold, kept, prediction=None):
    y = Surv.from_arrays(fold.event[kept], fold.time[kept])
    score = fold.prediction if prediction is None else prediction
    return concordance_index_ipcw(y, y, score[kept], tau=TAU)[0]


def brier(fold, kept, prediction=None):
    y = Surv.from_arrays(fold.event[kept], fold.time[kept])
    risk = fold.prediction if prediction is None else prediction
    return brier_score(y, y, 1 - risk[kept], HORIZON)[1][0]


def jackknife(fold, of):
    """The value of a fold and its variance: of the pseudo-values' mean, patient by patient."""
    people = np.unique(fold.subject)
    n, whole = len(people), of(fold, np.full(len(fold.time), True))
    pseudo = [n * whole - (n - 1) * of(fold, fold.subject != who) for who in people]
    return whole, np.var(pseudo, ddof=1) / n


def with_event(fold, months=math.inf):
    return len(set(fold.subject[fold.event & (fold.time <= months)].tolist()))


def logit(share):
    return np.log(share / (1 - share))


def variance_of(found, freedom, scale):
    """The variance that an interval was made with, which has to be even on the scale."""
    slope = {
        "share": 1 / (found.value * (1 - found.value)),
        "positive": 1 / found.value,
        "plain": 1,
        "apart": 1 / (1 - found.value**2),
    }[scale]
    to = {"share": logit, "positive": np.log, "plain": float, "apart": np.arctanh}[scale]
    up, down = to(found.high) - to(found.value), to(found.value) - to(found.low)
    assert up == pytest.approx(down)
    return (up / slope / t.ppf(0.975, freedom)) ** 2


def test_of_a_mean_of_patients_with_one_knee_it_is_the_interval_of_a_textbook():
    random = np.random.default_rng(1)
    values, event = random.normal(size=30), random.random(30) < 0.4
    fold = Fold(np.full(30, 9.0), event, np.arange(30), values)
    found = estimate([[fold]], MEAN)
    reach = t.ppf(0.975, event.sum() - 1) * values.std(ddof=1) / math.sqrt(30)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))


def test_knees_of_a_patient_who_agree_count_for_one():
    fold = alone(cohort(2))
    single = replace(fold, subject=np.arange(len(fold.time)))
    twice = Fold(
        *(np.repeat(c, 2) for c in (fold.time, fold.event, single.subject, fold.prediction))
    )
    for measure in (AUC, BRIER):
        one, two = estimate([[single]], measure), estimate([[twice]], measure)
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


def test_one_cohort_has_the_jackknife_s_interval_on_the_measure_s_scale():
    fold = alone(cohort(3))
    for measure, of, scale in ((UNO, uno, "share"), (BRIER, brier, "positive")):
        found, (value, variance) = estimate([[fold]], measure), jackknife(fold, of)
        assert found.value == pytest.approx(value)
        freedom = with_event(fold, measure.horizon) - 1
        assert variance_of(found, freedom, scale) == pytest.approx(variance)


def test_events_after_the_horizon_do_not_count():
    fold = alone(cohort(3))
    assert with_event(fold, HORIZON) < with_event(fold)
    wider = estimate([[fold]], BRIER)
    longer = estimate([[fold]], replace(BRIER, horizon=math.inf))
    assert wider.low < longer.low < longer.high < wider.high


def test_over_folds_the_mean_is_taken_and_a_single_run_of_c_has_twice_the_variance():
    folds = folds_of(5)
    found = estimate([folds], UNO)
    values, variances = zip(*(jackknife(fold, uno) for fold in folds), strict=True)
    assert found.value == pytest.approx(np.mean(values))
    freedom = sum(with_event(fold, TAU) - 1 for fold in folds)
    assert variance_of(found, freedom, "share") == pytest.approx(2 * sum(variances) / 16)


def test_of_a_brier_score_only_what_hangs_on_the_predictions_is_there_twice():
    folds = folds_of(5)
    found = estimate([folds], BRIER)
    within = sum(jackknife(fold, brier)[1] for fold in folds) / 16

    def hangs_on(fold, kept):
        mean = np.full(len(fold.time), fold.prediction.mean())
        return brier(fold, kept) - brier(fold, kept, mean)

    added = sum(jackknife(fold, hangs_on)[1] for fold in folds) / 16
    assert added < 0.95 * within
    freedom = sum(with_event(fold, HORIZON) - 1 for fold in folds)
    assert variance_of(found, freedom, "positive") == pytest.approx(within + added)


def repeats_of(folds_of_run, of):
    """Mean value of each run, the mean variance within, and its degrees of freedom."""
    parts = [[jackknife(fold, of) for fold in folds] for folds in folds_of_run]
    means = [np.mean([value for value, _ in part]) for part in parts]
    within = np.mean([sum(variance for _, variance in part) / 16 for part in parts])
    freedoms = [sum(with_event(fold, TAU) - 1 for fold in folds) for folds in folds_of_run]
    return means, within, np.mean(freedoms)


def test_over_repeats_training_adds_what_they_tell_and_few_tell_little():
    runs = [folds_of(5), folds_of(15), folds_of(25)]
    found = estimate(runs, UNO)
    means, within, freedom = repeats_of(runs, uno)
    assert found.value == pytest.approx(np.mean(means))
    whole = variance_of_mean(within, np.var(means, ddof=1), 4, 3, 80)
    assert whole > 1.1 * within
    # Satterthwaite's, of the variance within and of that of 3 repeats.
    both = whole**2 / (within**2 / freedom + (whole - within) ** 2 / 2)
    assert variance_of(found, both, "share") == pytest.approx(whole)


def test_to_the_repeats_of_a_difference_come_two_that_differ_the_most():
    """The most is what makes the variance of one run 2 x that within, which is `between` 2 / 4."""
    runs = [[cohort(s + n, 20, first=100 * n) for n in range(4)] for s in (5, 15, 25)]
    found = estimate(runs, UNO)
    means, within, freedom = repeats_of(
        runs, lambda fold, kept: uno(fold, kept) - uno(fold, kept, fold.other)
    )
    between = (2 * np.var(means, ddof=1) + 2 * within * 2 / 4) / (2 + 2)
    whole = variance_of_mean(within, between, 4, 3, 80)
    both = whole**2 / (within**2 / freedom + (whole - within) ** 2 / (2 + 2))
    assert variance_of(found, both, "apart") == pytest.approx(whole)
    single = estimate(runs[:1], UNO)
    means, within, freedom = repeats_of(
        runs[:1], lambda fold, kept: uno(fold, kept) - uno(fold, kept, fold.other)
    )
    assert variance_of(single, freedom, "apart") == pytest.approx(2 * within)


def test_a_difference_is_paired():
    fold = cohort(6)

    def apart(of):
        return lambda fold, kept: of(fold, kept) - of(fold, kept, fold.other)

    for measure, of, scale in ((UNO, uno, "apart"), (BRIER, brier, "plain")):
        found, (value, variance) = estimate([[fold]], measure), jackknife(fold, apart(of))
        assert found.value == pytest.approx(value)
        freedom = with_event(fold, measure.horizon) - 1
        assert variance_of(found, freedom, scale) == pytest.approx(variance)
        one, two = (
            jackknife(fold, lambda f, kept, p=p, of=of: of(f, kept, p))[1]
            for p in (fold.prediction, fold.other)
        )
        assert variance < 0.8 * (one + two)
        turned = estimate([[replace(fold, prediction=fold.other, other=fold.prediction)]], measure)
        assert (-turned.value, -turned.high, -turned.low) == pytest.approx(
            (found.value, found.low, found.high)
        )


def test_a_fold_that_hangs_on_one_patient_takes_the_variance_of_an_event_from_the_others():
    folds = folds_of(8, count=3)
    lone = Fold(
        time=np.array([5.0, 50, 50, 50, 50, 50]),
        event=np.array([True, False, False, False, False, False]),
        subject=np.array([900, 900, 901, 901, 902, 902]),
        prediction=np.array([0.5, 0.2, 0.3, 0.6, 0.1, 0.2]),
    )
    found = estimate([[*folds, lone]], UNO)
    values, variances = zip(*(jackknife(fold, uno) for fold in folds), strict=True)
    events = [with_event(fold, TAU) for fold in folds]
    assert found.value == pytest.approx((sum(values) + 0.8) / 4)
    of_lone = np.mean([n * v for n, v in zip(events, variances, strict=True)])
    within = (sum(variances) + of_lone) / 16
    assert variance_of(found, sum(events) + 1 - 4, "share") == pytest.approx(2 * within)


def test_there_is_no_interval_with_less_than_two_patients_with_an_event_a_fold():
    fold = Fold(
        time=np.array([5.0, 6, 50, 50, 50, 50]),
        event=np.array([True, True, False, False, False, False]),
        subject=np.array([1, 1, 2, 2, 3, 4]),
        prediction=np.array([0.5, 0.3, 0.4, 0.1, 0.2, 0.2]),
    )
    lone = estimate([[fold, fold]], UNO)
    assert lone.value == pytest.approx(8 / 9) and math.isnan(lone.low) and math.isnan(lone.high)
    two = replace(fold, subject=np.array([1, 2, 3, 3, 4, 5]))
    assert math.isfinite(estimate([[two, two]], UNO).low)
    assert math.isnan(estimate([[two, fold]], UNO).low)


def test_there_is_no_interval_where_nothing_varies_and_no_value_where_a_fold_has_none():
    fold = alone(cohort(9))
    perfect = estimate([[replace(fold, prediction=-fold.time)]], UNO)
    assert perfect.value == 1 and math.isnan(perfect.low) and math.isnan(perfect.high)
    flat = estimate([[replace(fold, prediction=np.full(len(fold.time), 0.3))]], UNO)
    assert flat.value == 0.5 and math.isnan(flat.low)
    same = estimate([[replace(fold, other=fold.prediction)]], BRIER)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    none = estimate([[fold, replace(fold, event=np.zeros(len(fold.time), bool))]], UNO)
    assert math.isnan(none.value) and math.isnan(none.low)
    nobody = Fold(np.array([5.0, 9]), np.array([True, False]), np.zeros(2), np.array([0.6, 0.2]))
    assert estimate([[nobody]], UNO).value == 1 and math.isnan(estimate([[nobody]], UNO).low)


def test_intervals_stay_where_the_measure_can_be():
    fold = alone(cohort(10, patients=12))
    close = replace(fold, prediction=-fold.time + np.random.default_rng(1).normal(0, 6, 24))
    found = estimate([[close]], UNO)
    assert 0.9 < found.value < found.high < 1
    assert found.value - found.low > found.high - found.value
    small = estimate([[replace(fold, time=fold.time + 12)]], BRIER)
    assert 0 < small.low < small.value < small.high
