"""Draws of patients, and intervals from them."""

import numpy as np
import pytest
from scipy.stats import norm

from oatools.scored.resampling import (
    LINEAR,
    POSITIVE,
    SHARE,
    interval,
    of_cross_validation,
    patient_weights,
)


def drawn(subject, draws, seed=0):
    return np.concatenate(list(patient_weights(np.array(subject), draws, seed)))


def test_the_first_row_is_the_cohort_and_both_knees_of_a_patient_are_drawn_together():
    weights = drawn([0, 1, 0, 2, 2, 3], 500)
    assert weights.shape == (501, 6)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 4]).all()
    patients = weights[1:, [0, 1, 3, 5]]
    assert (patients.sum(axis=1) == 4).all()
    assert patients.mean(axis=0) == pytest.approx(1, abs=0.15)
    assert len(np.unique(patients, axis=0)) > 20


def test_the_same_seed_draws_the_same():
    assert (drawn([0, 1, 2], 50, 4) == drawn([0, 1, 2], 50, 4)).all()
    assert (drawn([0, 1, 2], 50, 4) != drawn([0, 1, 2], 50, 5)).any()


def test_an_interval_is_the_middle_of_the_draws():
    values = np.append(50.0, np.arange(1001) / 10)
    assert interval(values, LINEAR) == pytest.approx((2.5, 97.5))


@pytest.mark.parametrize("scale", [SHARE, POSITIVE, LINEAR])
def test_widened_deviations_are_so_on_the_scale(scale):
    values = np.append(0.5, np.linspace(0.2, 0.8, 1001))
    plain, wide = interval(values, scale), interval(values, scale, 1.3)
    middle = scale.to(np.array([0.5]))
    ratio = (scale.to(np.array(wide)) - middle) / (scale.to(np.array(plain)) - middle)
    assert ratio == pytest.approx([1.3, 1.3])


def test_what_a_base_brings_is_not_widened():
    random = np.random.default_rng(2)
    base, own = random.normal(0, 3, 20_001), random.normal(0, 4, 20_001)
    base[0] = own[0] = 0
    low, high = interval(base + own, LINEAR, 2.0, base)
    assert (high - low) / 2 == pytest.approx(norm.ppf(0.975) * np.hypot(3, 8), rel=0.03)


def test_an_end_may_be_infinite_and_no_spread_is_no_interval():
    values = np.append(5.0, np.where(np.arange(1000) < 100, np.inf, 5.0 + np.arange(1000) / 1e3))
    low, high = interval(values, POSITIVE)
    assert 5 < low < 5.2 and high == np.inf
    assert np.isnan(interval(np.full(100, 3.0), POSITIVE)).all()
    assert np.isnan(interval(np.append(np.inf, np.ones(100)), POSITIVE)).all()
    assert np.isnan(interval(np.append(1.0, [np.nan] * 10 + [1, 2] * 45), POSITIVE)).all()


def test_the_part_that_counts_twice_is_that_of_the_score_in_being_enrolled():
    """r is the correlation of a normal score with being among its highest: by simulation."""
    score = np.random.default_rng(1).standard_normal(1_000_000)
    for share in (0.1, 0.25, 0.5, 0.9):
        inside = score > np.quantile(score, 1 - share)
        r = np.corrcoef(score, inside)[0, 1]
        assert of_cross_validation(share, 10**9) == pytest.approx(np.sqrt(1 + r**2), rel=2e-3)
    assert of_cross_validation(1.0, 100) == 1
    assert 1 < of_cross_validation(0.5, 20) < of_cross_validation(0.5, 1000)
