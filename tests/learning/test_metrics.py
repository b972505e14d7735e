from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from oatools.learning.metrics import (
    average_precision,
    calibration,
    choose_threshold,
    mean_area,
    no_skill_precision,
    roc_auc,
    scores,
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60),
    st.integers(0, 12),
)
def test_every_metric_equals_that_of_scikit_learn_ties_included(knees, cut):
    label = np.array([int(y) for y, _ in knees])
    probability = np.array([p / 12 for _, p in knees])
    predicted = (probability >= cut / 12).astype(int)
    ours = scores(label, probability, predicted)
    assert [ours[k] for k in ("tn", "fp", "fn", "tp")] == oracle.confusion_matrix(
        label, predicted, labels=[0, 1]
    ).ravel().tolist()
    assert ours["brier"] == pytest.approx(oracle.brier_score_loss(label, probability, pos_label=1))
    assert ours["f1"] == pytest.approx(oracle.f1_score(label, predicted, zero_division=0))
    assert ours["f1_weighted"] == pytest.approx(
        oracle.f1_score(label, predicted, average="weighted", zero_division=0)
    )
    for name, value in (
        ("precision", oracle.precision_score(label, predicted, zero_division=np.nan)),
        ("recall", oracle.recall_score(label, predicted, zero_division=np.nan)),
        ("specificity", oracle.recall_score(label, predicted, pos_label=0, zero_division=np.nan)),
    ):
        assert ours[name] == pytest.approx(value, nan_ok=True)
    if len(set(label)) == 2:
        assert ours["roc_auc"] == pytest.approx(oracle.roc_auc_score(label, probability))
        assert ours["pr_auc"] == pytest.approx(oracle.average_precision_score(label, probability))
    else:
        assert np.isnan(ours["roc_auc"])


def test_a_worked_example():
    label, probability = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert roc_auc(label, probability) == 0.75
    assert average_precision(label, probability) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_the_mean_area_is_that_of_the_folds_and_not_of_all_knees_together():
    label = np.array([0, 1, 0, 1, 0, 1])
    probability = np.array([0.1, 0.2, 0.8, 0.9, 0.4, 0.3])
    fold = np.array([1, 1, 2, 2, 0, 0])  # the last two are trained on only
    assert mean_area(label, probability, fold) == 1.0
    assert roc_auc(label[:4], probability[:4]) == 0.75


@pytest.mark.parametrize("knees, positives", [(1, 1), (5, 1), (6, 2), (7, 3), (7, 6), (6, 6)])
def test_no_skill_gives_the_mean_precision_over_all_orders(knees, positives):
    """Every order of the knees is as likely where a model knows nothing: all are tried."""
    found = []
    for places in combinations(range(knees), positives):
        label = np.zeros(knees, dtype=int)
        label[list(places)] = 1
        found.append(oracle.average_precision_score(label, -np.arange(knees)))
    assert no_skill_precision(positives, knees) == pytest.approx(np.mean(found))


def test_no_skill_in_few_knees_is_far_above_their_prevalence():
    random = np.random.default_rng(0)
    label = np.repeat([1, 0], [3, 21])
    found = [average_precision(label, random.random(24)) for _ in range(4000)]
    assert no_skill_precision(3, 24) == pytest.approx(np.mean(found), abs=0.01)
    assert no_skill_precision(3, 24) > 0.23 > 1.8 * 3 / 24
    assert scores(label, label * 1.0, label)["pr_auc_no_skill"] == no_skill_precision(3, 24)
    assert np.isnan(no_skill_precision(0, 5))


@pytest.fixture
def scored():
    """Labels, probabilities in steps, and classes called, of 150 knees."""
    random = np.random.default_rng(4)
    probability = np.round(random.random(150) * 0.8 + 0.1, 2)
    label = (random.random(150) < 0.2 + 0.6 * probability).astype(int)
    return label, probability, (probability > 0.5).astype(int)


def test_calibration_slope_and_intercept_are_those_of_a_logistic_regression(scored):
    from scipy.optimize import minimize
    from sklearn.linear_model import LogisticRegression

    label, probability, predicted = scored
    found = scores(label, probability, predicted)
    odds = np.log(probability / (1 - probability))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(odds[:, None], label)
    assert found["calibration_slope"] == pytest.approx(fitted.coef_[0, 0], rel=1e-5)

    def loss(shift):
        return np.logaddexp(0, -(2 * label - 1) * (odds + shift)).sum()

    assert found["calibration_intercept"] == pytest.approx(
        minimize(loss, 0.0, tol=1e-12).x[0], abs=1e-5
    )


def test_probabilities_that_are_right_have_slope_1_and_intercept_0_and_too_sure_ones_a_lower_slope():
    random = np.random.default_rng(5)
    odds = random.normal(-1, 1, 100_000)
    label = (random.random(100_000) < 1 / (1 + np.exp(-odds))).astype(int)
    right, sure = (scores(label, 1 / (1 + np.exp(-factor * odds)), label) for factor in (1, 2))
    assert (
        right["calibration_slope"] == pytest.approx(1, abs=0.02)
        and abs(right["calibration_intercept"]) < 0.02
    )
    assert sure["calibration_slope"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("probability", [[0.1, 0.2, 0.8, 0.9], [0.5] * 4])
def test_a_slope_without_end_is_undefined(probability):
    label = np.array([0, 0, 1, 1])
    assert np.isnan(scores(label, np.array(probability), label)["calibration_slope"])


def test_the_threshold_maximises_what_its_rule_says_over_every_cut():
    random = np.random.default_rng(2)
    label = random.integers(0, 2, 60)
    probability = np.round(random.random(60) * 0.6 + label * 0.3, 2)
    by_f1 = choose_threshold(label, probability, "f1")
    worth = [oracle.f1_score(label, probability >= t) for t in np.unique(probability)]
    assert oracle.f1_score(label, probability >= by_f1) == pytest.approx(max(worth))
    false, true, _ = oracle.roc_curve(label, probability)
    ours = scores(
        label,
        probability,
        (probability >= choose_threshold(label, probability, "youden")).astype(int),
    )
    assert ours["recall"] + ours["specificity"] - 1 == pytest.approx(np.max(true - false))


def test_calibration_bins_hold_every_knee_and_their_observed_share():
    random = np.random.default_rng(3)
    probability = random.random(2000)
    label = (random.random(2000) < probability).astype(int)
    found = calibration(label, probability, 10)
    assert [n for _, _, n in found] == [200] * 10
    assert all(abs(x - y) < 0.12 for x, y, _ in found)
    assert sum(calibration(label, np.full(2000, 0.5), 10)[0][2:]) == 2000
