"""Calibration curves and recalibrations, beside statsmodels and Harrell's formula."""

import json
import math
import os

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from oatools.core.errors import UsageError
from oatools.learning.metrics import log_odds
from oatools.learning.recalibration import read_recalibration, recalibration_bytes
from oatools.scored.knees import ScoredKnees
from oatools.validation.calibration import KNOTS, calibration_curve, recalibrate, spline


def knees(patients=600, intercept=0.0, slope=1.0, seed=0):
    """Two knees a patient, who share a part; the truth is the log odds, moved and stretched."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal(patients).repeat(2)
    odds = -1.5 + 0.8 * shared + 0.6 * random.standard_normal(2 * patients)
    label = (random.random(2 * patients) < expit(intercept + slope * odds)).astype(int)
    return ScoredKnees(
        knee=tuple(map(str, range(2 * patients))),
        subject=np.arange(patients).repeat(2),
        label=label,
        fold=np.zeros(2 * patients, int),
        scores={"m": expit(odds)},
    )


def test_the_spline_is_harrells():
    """Straight beyond the outer knots, cubic between, with a second derivative without a jump."""
    knots = np.array([-2.0, -0.5, 0.7, 2.5])
    grid = np.linspace(-6, 6, 2401)
    columns = spline(grid, knots)
    assert columns.shape == (2401, 4)
    assert (columns[:, 0] == 1).all() and (columns[:, 1] == grid).all()
    # By hand at x = 3, beyond the last: ((5^3) - (2.3^3)(4.5/1.8) + (0.5^3)(2.7/1.8)) / 4.5^2.
    at = spline(np.array([3.0]), knots)[0, 2]
    assert at == pytest.approx((125 - 12.167 * 2.5 + 0.125 * 1.5) / 20.25)
    bend = np.diff(columns, 2, axis=0)
    outside = (grid[1:-1] < -2.01) | (grid[1:-1] > 2.51)
    assert np.abs(bend[outside]).max() < 1e-9
    assert np.abs(np.diff(bend, axis=0)).max() < 1e-5


def test_the_band_is_that_of_statsmodels_with_clusters():
    cohort = knees()
    odds = log_odds(cohort.scores["m"])
    design = spline(odds, np.quantile(odds, KNOTS))
    fit = sm.Logit(cohort.label, design).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": cohort.subject, "use_correction": False}
    )
    curve = calibration_curve(cohort)
    at = spline(log_odds(curve.predicted), np.quantile(odds, KNOTS))
    middle = at @ fit.params
    # statsmodels' own is without the factor for the number of clusters.
    covariance = fit.cov_params() * 600 / 599
    reach = 1.959964 * np.sqrt(np.einsum("ij,jk,ik->i", at, covariance, at))
    assert curve.observed == pytest.approx(expit(middle), abs=1e-6)
    assert curve.low == pytest.approx(expit(middle - reach), abs=1e-5)
    assert curve.high == pytest.approx(expit(middle + reach), abs=1e-5)


def test_a_band_holds_the_truth_as_often_as_it_says():
    held = []
    for seed in range(200):
        curve = calibration_curve(knees(200, intercept=-0.4, slope=0.7, seed=seed))
        place = len(curve.predicted) // 2
        truth = expit(-0.4 + 0.7 * log_odds(curve.predicted[place]))
        held.append(curve.low[place] <= truth <= curve.high[place])
    assert np.mean(held) == pytest.approx(0.95, abs=0.05)


def test_few_knees_have_a_straight_curve_and_equal_scores_none():
    few = knees(40)
    assert few.label.sum() < 30
    curve = calibration_curve(few)
    observed = log_odds(curve.observed)
    assert np.abs(np.diff(observed, 2)).max() < 1e-6
    few.scores["m"][:] = 0.2
    assert calibration_curve(few) is None


def test_a_recalibration_finds_what_was_planted_and_undoes_it():
    cohort = knees(6000, intercept=0.5, slope=0.6)
    found = recalibrate(cohort, "logistic")
    assert (found.intercept, found.slope) == pytest.approx((0.5, 0.6), abs=0.1)
    mended = found.apply(cohort.scores["m"])
    assert mended.mean() == pytest.approx(cohort.label.mean(), abs=1e-6)
    large = recalibrate(cohort, "large")
    assert large.slope == 1
    assert large.apply(cohort.scores["m"]).mean() == pytest.approx(cohort.label.mean(), abs=1e-6)


def test_its_file_is_read_again(tmp_path):
    found = recalibrate(knees(), "logistic")
    (tmp_path / "r.json").write_bytes(recalibration_bytes(found))
    assert read_recalibration(tmp_path / "r.json") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "oatools recalibration 2", "intercept": 0, "slope": 1}',
        '{"format": "oatools recalibration 1", "kind": "logistic", "intercept": NaN, "slope": 1, '
        '"knees": 1, "patients": 1, "events": 1, "cautions": []}',
        '{"format": "oatools recalibration 1", "kind": "logistic", "intercept": 0, "slope": -1, '
        '"knees": 1, "patients": 1, "events": 1, "cautions": []}',
        '{"format": "oatools recalibration 1", "kind": "large", "intercept": 0, "slope": 1, '
        '"knees": 1e400, "patients": 1, "events": 1, "cautions": []}',
        '{"format": "oatools recalibration 1", "kind": "large", "intercept": 0, "slope": 1, '
        '"knees": 1, "patients": 1, "events": 1, "cautions": '
        + "[" * 100_000
        + "]" * 100_000
        + "}",
    ],
)
def test_another_file_is_none(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UsageError, match="no recalibration of oa-validate"):
        read_recalibration(tmp_path / "r.json")


def test_a_pipe_is_no_recalibration_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "r.json")
    with pytest.raises(UsageError, match="is a pipe"):
        read_recalibration(tmp_path / "r.json")


def test_nothing_recalibrates_a_model_that_is_turned_round():
    with pytest.raises(UsageError, match="a higher probability goes with fewer events"):
        recalibrate(knees(slope=-1.0), "logistic")


def test_a_file_says_what_it_was_made_of():
    fields = json.loads(recalibration_bytes(recalibrate(knees(), "large")))
    assert (fields["knees"], fields["patients"], fields["slope"]) == (1200, 600, 1)
    assert math.isfinite(fields["intercept"])
