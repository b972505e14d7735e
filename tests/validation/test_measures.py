"""Measures of weighted cohorts against scikit-learn and statsmodels, which take weights too."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from oatools.learning import metrics
from oatools.learning.metrics import log_odds
from oatools.validation import measures
from oatools.validation.measures import Scores


@pytest.fixture
def knees():
    random = np.random.default_rng(0)
    label = (random.random(150) < 0.3).astype(int)
    probability = np.clip(
        np.round(1 / (1 + np.exp(1 - label - random.standard_normal(150))), 2), 0.01, 0.99
    )
    return Scores(label, probability, np.zeros(150, int), (probability >= 0.4).astype(float))


@pytest.fixture
def weights():
    drawn = np.random.default_rng(1).integers(0, 4, (6, 150)).astype(float)
    drawn[0] = 1
    return drawn


def test_order_is_scikit_learns(knees, weights):
    for measure, theirs in (
        (measures.roc_auc, roc_auc_score),
        (measures.average_precision, average_precision_score),
        (measures.brier, brier_score_loss),
    ):
        expected = [theirs(knees.label, knees.probability, sample_weight=w) for w in weights]
        assert measure(knees, weights) == pytest.approx(expected)


def test_without_weights_all_are_those_of_the_cross_validation(knees):
    ones = np.ones((1, 150))
    own = metrics.scores(knees.label, knees.probability, knees.called)
    for name, measure in (
        ("roc_auc", measures.roc_auc),
        ("pr_auc", measures.average_precision),
        ("prevalence", measures.prevalence),
        ("precision", measures.precision),
        ("recall", measures.sensitivity),
        ("specificity", measures.specificity),
        ("brier", measures.brier),
        ("calibration_slope", measures.calibration_slope),
        ("calibration_intercept", measures.calibration_intercept),
    ):
        assert measure(knees, ones)[0] == pytest.approx(own[name]), name
    missed = own["fn"] / (own["fn"] + own["tn"])
    assert measures.negative_precision(knees, ones)[0] == pytest.approx(1 - missed)


def test_calibration_is_statsmodels(knees, weights):
    odds = log_odds(knees.probability)
    slopes, intercepts = [], []
    for w in weights:
        family = sm.families.Binomial()
        design = sm.add_constant(odds)
        slopes.append(sm.GLM(knees.label, design, family=family, freq_weights=w).fit().params[1])
        alone = sm.GLM(knees.label, np.ones(150), family=family, freq_weights=w, offset=odds).fit()
        intercepts.append(alone.params[0])
    assert measures.calibration_slope(knees, weights) == pytest.approx(slopes, abs=1e-6)
    assert measures.calibration_intercept(knees, weights) == pytest.approx(intercepts, abs=1e-6)


def test_fixed_points_are_on_scikit_learns_curve(knees, weights):
    for number, w in enumerate(weights):
        false, true, _ = roc_curve(
            knees.label, knees.probability, sample_weight=w, drop_intermediate=False
        )
        found = measures.sensitivity_at(knees, weights, 0.9)[number]
        assert found == pytest.approx(np.interp(0.1, false, true))
        found = measures.specificity_at(knees, weights, 0.9)[number]
        at = np.flatnonzero(true >= 0.9)[0]
        part = (0.9 - true[at - 1]) / (true[at] - true[at - 1])
        assert found == pytest.approx(1 - (false[at - 1] + part * (false[at] - false[at - 1])))


def test_by_hand_at_the_ends_of_the_curve():
    """Two events above all others: all of them are found before anything else is."""
    perfect = Scores(
        np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1]), np.zeros(4, int), np.ones(4)
    )
    ones = np.ones((1, 4))
    assert measures.sensitivity_at(perfect, ones, 1.0)[0] == 1
    assert measures.specificity_at(perfect, ones, 1.0)[0] == 1
    turned = Scores(1 - perfect.label, perfect.probability, perfect.fold, perfect.called)
    assert measures.sensitivity_at(turned, ones, 0.9)[0] == 0
    assert measures.roc_auc(turned, ones)[0] == 0


def test_scores_of_different_folds_are_not_compared():
    """The second model's probabilities are all higher, and each orders its own knees rightly."""
    folds = Scores(
        np.array([1, 0, 1, 0]), np.array([0.2, 0.1, 0.9, 0.8]), np.array([1, 1, 2, 2]), np.ones(4)
    )
    ones = np.ones((1, 4))
    assert measures.roc_auc(folds, ones)[0] == 1
    assert measures.sensitivity_at(folds, ones, 1.0)[0] == 1
    assert roc_auc_score(folds.label, folds.probability) == 0.75


def test_another_prevalence_weighs_the_classes(knees):
    """By hand: sensitivity s, specificity t: precision = s p / (s p + (1 - t) (1 - p))."""
    ones = np.ones((1, 150))
    weighed = measures.at_prevalence(knees, ones, 0.05)
    assert measures.prevalence(knees, weighed)[0] == pytest.approx(0.05)
    s, t = measures.sensitivity(knees, ones)[0], measures.specificity(knees, ones)[0]
    expected = s * 0.05 / (s * 0.05 + (1 - t) * 0.95)
    assert measures.precision(knees, weighed)[0] == pytest.approx(expected)
    assert measures.roc_auc(knees, weighed)[0] == pytest.approx(measures.roc_auc(knees, ones)[0])


def test_what_is_not_defined_is_nan(knees):
    ones = np.ones((1, 150))
    one_class = Scores(np.zeros(150, int), knees.probability, knees.fold, knees.called * np.nan)
    for measure in (
        measures.roc_auc,
        measures.average_precision,
        measures.calibration_slope,
        measures.calibration_intercept,
        measures.sensitivity,
        measures.specificity,
        measures.precision,
    ):
        assert np.isnan(measure(one_class, ones)).all(), measure
