import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from oatools.learning.metrics import (
    SCORES,
    average_precision,
    bootstrap,
    calibration,
    choose_threshold,
    interval,
    roc_auc,
    scores,
    weighted_scores,
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


def test_intervals_are_the_percentiles_2_5_and_97_5_of_numpy():
    values = np.random.default_rng(0).normal(size=1001)
    assert interval(np.append(values, np.nan)) == tuple(np.percentile(values, [2.5, 97.5]))


def test_the_bootstrap_draws_patients_and_so_is_wider_where_their_knees_agree():
    random = np.random.default_rng(1)
    label = np.repeat(random.integers(0, 2, 100), 4)
    probability = np.repeat(random.random(100), 4) / 2 + label / 4
    patients = [str(i // 4) for i in range(400)]
    knees = [str(i) for i in range(400)]
    by_patient, by_knee, again = (
        bootstrap(label, {"m": (probability, label)}, who, 300, 0)["m"][:, 0]
        for who in (patients, knees, patients)
    )
    assert np.subtract(*interval(by_patient)) < 1.5 * np.subtract(*interval(by_knee)) < 0
    assert (by_patient == again).all()


@pytest.fixture
def scored():
    """Labels, probabilities in steps, classes called, and how often each of 150 knees is drawn (7 draws)."""
    random = np.random.default_rng(4)
    probability = np.round(random.random(150) * 0.8 + 0.1, 2)
    label = (random.random(150) < 0.2 + 0.6 * probability).astype(int)
    return (
        label,
        probability,
        (probability > 0.5).astype(int),
        random.integers(0, 4, (7, 150)).astype(float),
    )


def test_a_knee_that_counts_twice_is_a_knee_that_is_there_twice(scored):
    label, probability, predicted, weights = scored
    for drawn, found in zip(
        weights, weighted_scores(label, probability, predicted, weights), strict=True
    ):
        there = np.repeat(np.arange(150), drawn.astype(int))
        y, p = label[there], probability[there]
        expected = scores(y, p, predicted[there])
        np.testing.assert_allclose(found, [expected[name] for name in SCORES], rtol=1e-9)
        assert found[0] == pytest.approx(oracle.roc_auc_score(y, p))
        assert found[1] == pytest.approx(oracle.average_precision_score(y, p))


def test_calibration_slope_and_intercept_are_those_of_a_logistic_regression(scored):
    from scipy.optimize import minimize
    from sklearn.linear_model import LogisticRegression

    label, probability, predicted, _ = scored
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
