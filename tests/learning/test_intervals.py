"""The area over folds and its interval: DeLong's and Obuchowski's variances, written out anew."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from oatools.learning.cohort import make_cohort
from oatools.learning.intervals import (
    Fold,
    area_deviations,
    clustered_variance,
    estimate_area,
    variance_of_mean,
)
from oatools.learning.results import CrossValidation, OutOfFold

#: A fold by hand: patients a, b and c; positives at 3, 5, 2, negatives at 1, 4, 1.
LABEL = np.array([1, 0, 1, 0, 1, 0])
PROBABILITY = np.array([0.3, 0.1, 0.5, 0.4, 0.2, 0.1])
PATIENT = np.array(["a", "a", "b", "b", "c", "c"])


def fold_of(label, probability, patient, other=None):
    return Fold(np.array(label), np.array(patient), np.array(probability), other)


def knees(count, seed, clustered=True):
    """Labels and the scores of two models of so many knees, in steps so that some are tied."""
    random = np.random.default_rng(seed)
    patient = np.arange(count) // (2 if clustered else 1)
    shared = random.normal(0, 0.7, count)[patient]
    label = (random.random(count) < 0.35).astype(int)
    one = np.round(shared + random.normal(0, 1, count) + label, 1)
    two = np.round(one + random.normal(0, 1, count), 1)
    return label, one, two, patient


def obuchowski(label, scores, patient):
    """The covariance matrix of the areas of several scores: Biometrics 1997, equations 3 to 8.

    Written with loops over patients, and over pairs of knees, from the paper.
    """
    people = sorted(set(patient))
    positive = [[i for i in np.flatnonzero(patient == p) if label[i] == 1] for p in people]
    negative = [[i for i in np.flatnonzero(patient == p) if label[i] == 0] for p in people]
    m, n = sum(map(len, positive)), sum(map(len, negative))
    with_positive, with_negative = sum(map(bool, positive)), sum(map(bool, negative))
    areas, v10, v01 = [], [], []
    for score in scores:
        psi = [
            [
                1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
                for j in sum(negative, [])
            ]
            for i in sum(positive, [])
        ]
        x = dict(zip(sum(positive, []), [sum(row) / n for row in psi], strict=True))
        y = dict(
            zip(sum(negative, []), [sum(col) / m for col in zip(*psi, strict=True)], strict=True)
        )
        area = sum(x.values()) / m
        areas.append(area)
        v10.append([sum(x[i] for i in own) - len(own) * area for own in positive])
        v01.append([sum(y[j] for j in own) - len(own) * area for own in negative])
    found = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = with_positive / ((with_positive - 1) * m) * np.dot(v10[r], v10[s])
            s01 = with_negative / ((with_negative - 1) * n) * np.dot(v01[r], v01[s])
            s11 = len(people) / (len(people) - 1) * np.dot(v10[r], v01[s])
            s11_turned = len(people) / (len(people) - 1) * np.dot(v10[s], v01[r])
            found[r, s] = s10 / m + s01 / n + (s11 + s11_turned) / (m * n)
    return areas, found


def delong(label, score):
    """DeLong's variance by midranks (Sun and Xu, IEEE Signal Processing Letters 2014)."""
    from scipy.stats import rankdata

    x, y = score[label == 1], score[label == 0]
    both = rankdata(np.concatenate([x, y]))
    v10 = (both[: len(x)] - rankdata(x)) / len(y)
    v01 = 1 - (both[len(x) :] - rankdata(y)) / len(x)
    return v10.var(ddof=1) / len(x) + v01.var(ddof=1) / len(y)


def test_the_area_is_scikit_learn_s_and_its_deviations_are_those_by_hand():
    found = area_deviations(LABEL, PROBABILITY)
    # Of the negatives 1, 4 and 1, two lie below 3, all below 5, and two below 2; of the positives
    # 3, 5 and 2, all lie above 1, and one above 4.
    assert found.value == pytest.approx(7 / 9)
    components = np.array([2 / 3, 1, 1, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found.each, components - 7 / 9)
    label, one, _, _ = knees(80, 1)
    assert area_deviations(label, one).value == pytest.approx(roc_auc_score(label, one))


def test_the_variance_of_a_fold_is_that_by_hand():
    """Sums of patients a, b, c: -1/9, 2/9, -1/9 in positives and 2/9, -4/9, 2/9 in negatives."""
    fold = fold_of(LABEL, PROBABILITY, PATIENT)
    variance = clustered_variance([fold], [area_deviations(LABEL, PROBABILITY).each])
    positive = 3 / 2 * (6 / 81) / 9
    negative = 3 / 2 * (24 / 81) / 9
    both = 3 / 2 * (-12 / 81) / 9
    assert variance.value == pytest.approx(positive + negative + 2 * both)
    assert variance.freedom == pytest.approx((1 + 4) ** 2 / (1 / 2 + 16 / 2))


@pytest.mark.parametrize("seed", range(4))
def test_the_variance_of_an_area_and_of_a_difference_is_obuchowski_s(seed):
    label, one, two, patient = knees(60, seed)
    areas, expected = obuchowski(label, [one, two], patient)
    deviations = [area_deviations(label, score) for score in (one, two)]
    assert [each.value for each in deviations] == pytest.approx(areas)
    fold = fold_of(label, one, patient)
    for which, each in enumerate(deviations):
        found = clustered_variance([fold], [each.each])
        assert found.value == pytest.approx(expected[which, which])
    apart = clustered_variance([fold], [deviations[0].each - deviations[1].each])
    assert apart.value == pytest.approx(expected[0, 0] + expected[1, 1] - 2 * expected[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_of_patients_with_one_knee_each_it_is_delong_s(seed):
    label, one, _, patient = knees(70, seed, clustered=False)
    found = clustered_variance([fold_of(label, one, patient)], [area_deviations(label, one).each])
    # A patient is of one class only, so that nothing is left of the covariance of the classes.
    assert found.value == pytest.approx(delong(label, one))


def test_knees_of_a_patient_who_agree_count_for_little_more_than_one():
    label, one, _, patient = knees(60, 3, clustered=False)
    twice = np.repeat([label, one, patient], 2, axis=1)
    single = clustered_variance([fold_of(label, one, patient)], [area_deviations(label, one).each])
    double = clustered_variance([fold_of(*twice)], [area_deviations(twice[0], twice[1]).each])
    assert double.value == pytest.approx(single.value)


def test_the_interval_of_knees_held_out_is_that_of_one_sample_on_the_logit_scale():
    label, one, _, patient = knees(90, 5)
    [area], variance = obuchowski(label, [one], patient)
    found = estimate_area([[fold_of(label, one, patient)]])
    assert found.value == pytest.approx(area)
    variances = clustered_variance(
        [fold_of(label, one, patient)], [area_deviations(label, one).each]
    )
    reach = t.ppf(0.975, variances.freedom) * math.sqrt(variance[0, 0]) / (area * (1 - area))
    for bound, sign in ((found.low, -1), (found.high, 1)):
        assert math.log(bound / (1 - bound)) == pytest.approx(
            math.log(area / (1 - area)) + sign * reach
        )


def test_the_interval_of_a_difference_is_paired():
    label, one, two, patient = knees(90, 6)
    areas, variance = obuchowski(label, [one, two], patient)
    found = estimate_area([[fold_of(label, one, patient, other=two)]])
    assert found.value == pytest.approx(areas[0] - areas[1])
    alone = math.sqrt(variance[0, 0] + variance[1, 1])
    paired = math.sqrt(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1])
    assert paired < 0.8 * alone
    for bound, sign in ((found.low, -1), (found.high, 1)):
        assert 1.9 < sign * (bound - found.value) / paired < 2.1  # about a quantile of t


def test_the_interval_of_a_difference_is_even_on_the_scale_of_the_inverse_tanh():
    """The derivative of atanh d is 1 / (1 - d^2)."""
    label, one, two, patient = knees(30, 8)
    areas, variance = obuchowski(label, [one, two], patient)
    found = estimate_area([[fold_of(label, one, patient, other=two)]])
    apart = areas[0] - areas[1]
    error = math.sqrt(variance[0, 0] + variance[1, 1] - 2 * variance[0, 1])
    middle = math.atanh(apart)
    for bound, sign in ((found.low, -1), (found.high, 1)):
        quantile = sign * (math.atanh(bound) - middle) * (1 - apart**2) / error
        assert 1.96 < quantile < 2.1  # of t


def test_what_is_better_than_a_constant_is_so_by_its_own_interval():
    """A model that says the same of all has an area of one half, without an error."""
    label, one, _, patient = knees(12, 3)
    alone = estimate_area([[fold_of(label, one, patient)]])
    apart = estimate_area([[fold_of(label, one, patient, other=np.full(len(label), 0.2))]])
    assert apart.value == pytest.approx(alone.value - 0.5)
    assert (apart.low, apart.high) == pytest.approx((alone.low - 0.5, alone.high - 0.5))


def test_over_folds_the_mean_of_areas_and_of_repeats_is_taken():
    runs = []
    for seed in (0, 10):
        parts = [knees(40, seed + n) for n in range(3)]
        runs.append(
            [
                fold_of(label, one, patient + 100 * n)
                for n, (label, one, _, patient) in enumerate(parts)
            ]
        )
    means = [np.mean([roc_auc_score(f.label, f.probability) for f in folds]) for folds in runs]
    within = [
        np.sum([obuchowski(f.label, [f.probability], f.subject)[1][0, 0] for f in folds]) / 9
        for folds in runs
    ]
    found = estimate_area(runs)
    assert found.value == pytest.approx(np.mean(means))
    middle = np.log(found.value / (1 - found.value))
    bounds = [np.log(b / (1 - b)) for b in (found.low, found.high)]
    assert np.mean(bounds) == pytest.approx(middle)
    between = (means[0] - means[1]) ** 2 / 2
    variance = np.mean(within) + between * (3 / 2 * 60 / 80 - 1 + 1 / 2)
    implied = (bounds[1] - bounds[0]) / 2 * found.value * (1 - found.value) / math.sqrt(variance)
    assert 1.96 < implied < 2.1  # a quantile of t


@pytest.mark.parametrize("folds", [2, 5, 10])
@pytest.mark.parametrize("repeats", [1, 4])
def test_training_doubles_the_variance_of_pairs_that_tell_nothing(folds, repeats):
    """The sum of u[i] u[j] over patients tested (i) and trained on (j), drawn 20,000 times.

    Its variance is known; the formula has to find it from what a single run shows.
    """
    random = np.random.default_rng(folds)
    patients, draws = 60, 20_000
    u = random.normal(size=(draws, patients))
    means, within = [], []
    for _ in range(repeats):
        fold = random.permutation(np.arange(patients) % folds)
        own = np.stack([u[:, fold == n].sum(axis=1) for n in range(folds)], axis=1)
        trained = (u.sum(axis=1, keepdims=True) - own) / (patients * (1 - 1 / folds))
        means.append((own * trained).sum(axis=1) / patients)
        each = u * trained[:, fold] / patients
        within.append((each**2).sum(axis=1))
    between = np.var(means, axis=0, ddof=1).mean() if repeats > 1 else 0.0
    found = variance_of_mean(np.mean(within), between, folds, repeats, patients=10**6)
    assert found == pytest.approx(np.var(np.mean(means, axis=0)), rel=0.1)


def test_one_fold_is_a_model_and_patients_who_had_no_part_in_it():
    assert variance_of_mean(0.01, 0.0, folds=1, repeats=1, patients=60) == 0.01
    assert variance_of_mean(0.01, 0.0, folds=5, repeats=1, patients=60) == 0.02
    assert variance_of_mean(0.01, 0.0, folds=5, repeats=5, patients=60) == 0.01


def test_what_repeats_differ_by_counts_for_less_in_few_patients_and_never_below_nothing():
    found = [variance_of_mean(0.01, 0.002, 5, 5, patients) for patients in (20, 60, 10**9)]
    coefficients = (np.array(found) - 0.01) / 0.002
    np.testing.assert_allclose(coefficients, [2.5 / 2 - 0.8, 2.5 * 0.75 - 0.8, 2.5 - 0.8])
    assert variance_of_mean(0.01, 0.002, folds=2, repeats=5, patients=20) == 0.01


def test_there_is_no_interval_without_a_width():
    """Of a model that never errs, of one that says the same of all, and of two that rank alike."""
    patient = np.repeat(np.arange(10), 2)
    label = np.tile([1, 0], 10)
    perfect = estimate_area([[fold_of(label, label, patient)]])
    assert perfect.value == 1 and math.isnan(perfect.low) and math.isnan(perfect.high)
    worst = estimate_area([[fold_of(label, 1 - label, patient)]])
    assert worst.value == 0 and math.isnan(worst.low)
    tied = estimate_area([[fold_of(label, np.full(20, 0.3), patient)]])
    assert tied.value == 0.5 and math.isnan(tied.low) and math.isnan(tied.high)
    same = estimate_area([[fold_of(label, label * 0.2, patient, other=label * 0.9)]])
    assert same.value == 0 and math.isnan(same.low) and math.isnan(same.high)


def test_the_interval_of_an_area_stays_between_0_and_1_and_that_of_a_difference_within_1():
    label, patient = np.tile([1, 0], 6), np.arange(12)
    almost = np.where(label == 1, 0.9, 0.1) + np.linspace(0, 0.05, 12)
    almost[0] = 0.12
    found = estimate_area([[fold_of(label, almost, patient)]])
    assert 0 < found.low < found.value < found.high < 1
    assert found.value - found.low > found.high - found.value
    other = np.linspace(0.2, 0.9, 12)
    apart = estimate_area([[fold_of(label, almost, patient, other=other)]])
    assert apart.value - found.value == pytest.approx(-0.5, abs=0.2)
    assert -1 < apart.low < apart.value < apart.high < 1
    turned = estimate_area([[fold_of(label, almost, patient, other=1 - almost)]])
    assert turned.value > 0.7 and turned.high < 1


def test_a_fold_with_one_positive_patient_borrows_from_the_others():
    label, one, _, patient = knees(40, 2)
    lone = fold_of([1, 0, 0, 0, 0, 0], [0.6, 0.2, 0.7, 0.1, 0.3, 0.5], list("aabbcc"))
    usual = fold_of(label, one, patient)
    deviations = [area_deviations(f.label, f.probability).each for f in (usual, lone)]
    found = clustered_variance([usual, lone], deviations)
    alone = clustered_variance([usual], deviations[:1])
    assert found.value * 4 > alone.value and math.isfinite(found.value)
    # In the lone fold a positive differs as in the other one, and as much as one knee does.
    sums = np.bincount(patient, np.where(label == 1, deviations[0], 0))
    between = (sums**2).sum() / (len(set(patient[label == 1])) - 1)
    negatives = np.array([deviations[1][1], deviations[1][2:4].sum(), deviations[1][4:].sum()])
    expected = between + 3 / 2 * (negatives**2).sum() / 25
    assert found.value * 4 - alone.value == pytest.approx(expected)


def test_there_is_no_interval_where_every_fold_has_one_positive_patient():
    folds = [fold_of([1, 0, 0, 0], [0.4, 0.1, 0.5, 0.2], ["a", "a", "b", "c"]) for _ in range(2)]
    found = estimate_area([folds])
    assert found.value == pytest.approx(2 / 3) and math.isnan(found.low) and math.isnan(found.high)
    missing = fold_of([0, 0], [0.1, 0.2], ["a", "b"])
    assert math.isnan(estimate_area([[*folds, missing]]).value)


def test_a_result_hands_over_the_folds_of_all_its_runs():
    label, one, two, patient = knees(80, 7)
    names = [f"k{i:02d}" for i in range(80)]
    cohort = make_cohort(names, [f"p{i:02d}" for i in patient], label, [np.zeros((1, 1))] * 80)
    runs = []
    for fold in (patient % 4 + 1, patient // 2 % 4 + 1):
        models = {name: OutOfFold(score, score) for name, score in (("a", one), ("b", two))}
        runs.append(CrossValidation(cohort, fold, models, [], [], trained=0, kept=0))
    result = CrossValidation(
        cohort, runs[0].fold, runs[0].models, [], [], trained=0, kept=0, repeats=(runs[1],)
    )
    expected = [
        roc_auc_score(label[run.fold == n], two[run.fold == n]) for run in runs for n in range(1, 5)
    ]
    assert result.area("b").value == pytest.approx(np.mean(expected))
    apart = result.area(minus="b")
    assert apart.value == pytest.approx(result.area().value - np.mean(expected))
    assert apart.low < apart.value < apart.high
    turned = [result.area("b", minus="a").value, -apart.value]
    assert all(math.isclose(a, b) for a, b in pairwise(turned))
