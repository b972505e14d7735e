import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from oatools.learning.metrics import (
    average_precision,
    bootstrap,
    calibration,
    choose_threshold,
    interval,
    roc_auc,
    scores,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60), st.integers(0, 12))
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
    assert ours["f1_weighted"] == pytest.approx(oracle.f1_score(label, predicted, average="weighted", zero_division=0))
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
    probability = np.repeat(random.normal(size=100), 4) + label
    patients = [str(i // 4) for i in range(400)]
    knees = [str(i) for i in range(400)]
    by_patient = bootstrap(label, probability, label, patients, 300, 0)["roc_auc"]
    by_knee = bootstrap(label, probability, label, knees, 300, 0)["roc_auc"]
    assert by_patient[1] - by_patient[0] > 1.5 * (by_knee[1] - by_knee[0])
    assert by_patient == bootstrap(label, probability, label, patients, 300, 0)["roc_auc"]


def test_the_threshold_maximises_what_its_rule_says_over_every_cut():
    random = np.random.default_rng(2)
    label = random.integers(0, 2, 60)
    probability = np.round(random.random(60) * 0.6 + label * 0.3, 2)
    by_f1 = choose_threshold(label, probability, "f1")
    worth = [oracle.f1_score(label, probability >= t) for t in np.unique(probability)]
    assert oracle.f1_score(label, probability >= by_f1) == pytest.approx(max(worth))
    false, true, _ = oracle.roc_curve(label, probability)
    ours = scores(label, probability, (probability >= choose_threshold(label, probability, "youden")).astype(int))
    assert ours["recall"] + ours["specificity"] - 1 == pytest.approx(np.max(true - false))


def test_calibration_bins_hold_every_knee_and_their_observed_share():
    random = np.random.default_rng(3)
    probability = random.random(2000)
    label = (random.random(2000) < probability).astype(int)
    found = calibration(label, probability, 10)
    assert [n for _, _, n in found] == [200] * 10
    assert all(abs(x - y) < 0.12 for x, y, _ in found)
    assert sum(calibration(label, np.full(2000, 0.5), 10)[0][2:]) == 2000
