"""Measures where knees are lost: by hand, scikit-survival's, and with repeated knees."""

from functools import partial

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import roc_auc_score
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from sksurv.util import Surv

from oatools.learning.metrics import log_odds, scores
from oatools.survival import measures
from oatools.survival.curves import lost_after_events
from oatools.survival.measures import (
    auc_at,
    brier_at,
    calibration_at,
    calibration_slope,
    harrell_c,
    integrated_brier,
    no_skill_brier,
    observed_over_expected,
    scaled_brier,
    uno_c,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

#: By hand: knee C is lost when B has the event, E is lost last, and B and D have equal scores.
TIME = np.array([2.0, 4, 4, 6, 8])
EVENT = np.array([True, True, False, True, False])
SCORE = np.array([3.0, 1, 2, 1, 0])
RISK = np.array([0.8, 0.4, 0.5, 0.4, 0.1])
ONE = np.ones((1, 5))

TIMES = np.array([9.0, 18, 30, 42])
KINDS = ["continuous", "by visit", "few lost", "none lost before 50"]


def cohort(seed, kind, knees=120):
    """Months, event, a score in steps so that some are tied, and risks (knees, times)."""
    random = np.random.default_rng(seed)
    score = np.round(random.normal(size=knees), 1)
    event_at = random.exponential(60 * np.exp(-0.7 * score))
    lost_at = random.uniform(3, 90, knees)
    if kind == "few lost":
        lost_at = np.where(random.random(knees) < 0.9, 90.0, lost_at)
    if kind == "none lost before 50":
        lost_at = random.uniform(50, 60, knees)
    time = np.minimum(event_at, lost_at)
    if kind == "by visit":
        time = np.ceil(time / 6) * 6
    # scikit-survival refuses where nobody is left when some have the event.
    time[-1], lost_at[-1] = 96.0, 0.0
    risks = 1 - np.exp(-np.outer(np.exp(0.9 * score), TIMES) / 70)
    return time, event_at <= lost_at, score, risks


def weightings(seed, knees):
    """Rows of how often each knee is there: once, a random number of times, and some never."""
    random = np.random.default_rng(seed)
    return np.vstack(
        [np.ones(knees), random.integers(0, 4, (3, knees)), random.random(knees) < 0.7]
    )


def repeated(weights, *columns):
    """The columns with each knee as often as a row of weights says."""
    return [np.repeat(column, weights.astype(int), axis=0) for column in columns]


def by_row(weights, columns, theirs):
    """What another library says of each row's knees, really repeated."""
    found = []
    for row in weights:
        time, event, *rest = repeated(row, *columns)
        found.append(theirs(event, time, Surv.from_arrays(event, time), *rest))
    return np.array(found)


def uno_of_scikit_survival(tau, event, time, y, score):
    return concordance_index_ipcw(y, y, score, tau=tau)[0]


def share_free(months, event, time, y=None):
    """The Kaplan-Meier estimate of scikit-survival at some months."""
    times, share = kaplan_meier_estimator(event, time)
    return share[times.searchsorted(months, "right") - 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_measure_is_scikit_survival_s_also_where_knees_are_repeated(seed, kind):
    time, event, score, risks = cohort(seed, kind)
    weights = weightings(seed, len(time))
    same = partial(np.testing.assert_allclose, atol=1e-9, rtol=0)
    scored, risky = (time, event, score), (time, event, risks)
    same(
        harrell_c(*scored, weights),
        by_row(weights, scored, lambda e, t, y, s: concordance_index_censored(e, t, s)[0]),
    )
    for tau in (30.0, 41.5):
        same(
            uno_c(*scored, weights, tau),
            by_row(weights, scored, partial(uno_of_scikit_survival, tau)),
        )
    aucs = by_row(weights, scored, lambda e, t, y, s: cumulative_dynamic_auc(y, y, s, TIMES)[0])
    briers = by_row(weights, risky, lambda e, t, y, r: brier_score(y, y, 1 - r, TIMES)[1])
    for place, months in enumerate(TIMES):
        same(auc_at(*scored, weights, months), aucs[:, place])
        same(brier_at(time, event, risks[:, place], weights, months), briers[:, place])
    same(
        integrated_brier(*risky, weights, TIMES),
        by_row(weights, risky, lambda e, t, y, r: integrated_brier_score(y, y, 1 - r, TIMES)),
    )


def test_scores_that_differ_by_no_more_than_a_hair_are_tied_as_there():
    time, event, score, _ = cohort(4, "continuous")
    hair = np.random.default_rng(4).choice([0, 0.9e-8, 2e-8], len(time))
    y, whole = Surv.from_arrays(event, time), np.ones((1, len(time)))
    found = harrell_c(time, event, score + hair, whole)[0]
    assert found == pytest.approx(
        concordance_index_censored(event, time, score + hair)[0], abs=1e-9
    )
    assert found != pytest.approx(harrell_c(time, event, score, whole)[0], abs=1e-9)
    # There, scores are tied with the next lower one.
    theirs = cumulative_dynamic_auc(y, y, score + hair, [30])[0][0]
    assert auc_at(time, event, score + hair, whole, 30)[0] == pytest.approx(theirs, abs=1e-9)


def test_the_concordance_by_hand():
    """A (2 months) comes before B, C, D, E and has the highest score: 4 of 4 pairs are right.

    B (4) comes before D, with an equal score, and E, 0 lower; C is lost at 4 and comes after the
    event, with a higher score: 1.5 of 3. D (6) comes before E: 1 of 1. In all 6.5 of 8.
    """
    assert harrell_c(TIME, EVENT, SCORE, ONE)[0] == pytest.approx(6.5 / 8)
    # Not lost: all at 2; at 4, where B is gone, 2 of C, D and E, and so at 6. 1 / (2/3)^2 = 9/4.
    assert uno_c(TIME, EVENT, SCORE, ONE, 7)[0] == pytest.approx(
        (4 + 9 / 4 * 2.5) / (4 + 9 / 4 * 4)
    )
    # An event at tau does not count.
    assert uno_c(TIME, EVENT, SCORE, ONE, 6)[0] == pytest.approx(
        (4 + 9 / 4 * 1.5) / (4 + 9 / 4 * 3)
    )
    # If C is lost after the visit at 4, nobody is when B has the event.
    moved = lost_after_events(TIME, EVENT)
    found = uno_c(moved, EVENT, SCORE, ONE, 7)[0]
    assert found == pytest.approx((4 + 1.5 + 9 / 4) / (4 + 3 + 9 / 4))


def test_the_area_by_hand():
    """At 5 months A and B have had the event, and B stands for 3/2; D and E are followed longer.

    A is above both, and B level with D and above E: (2 + 3/2 x 1.5) of (2 + 3/2 x 2).
    """
    assert auc_at(TIME, EVENT, SCORE, ONE, 5)[0] == pytest.approx(4.25 / 5)
    # An event at these very months has happened: B, and at 6 D, which is above E.
    assert auc_at(TIME, EVENT, SCORE, ONE, 4)[0] == pytest.approx(4.25 / 5)
    assert auc_at(TIME, EVENT, SCORE, ONE, 6)[0] == pytest.approx(1)


def test_brier_scores_by_hand():
    """At 5 months (0.2)^2 of A, 3/2 (0.6)^2 of B, 3/2 (0.4)^2 of D and 3/2 (0.1)^2 of E, by 5."""
    brier = (0.04 + 1.5 * (0.36 + 0.16 + 0.01)) / 5
    assert brier_at(TIME, EVENT, RISK, ONE, 5)[0] == pytest.approx(brier)
    # The Kaplan-Meier estimate of the risk is 1 - 4/5 x 3/4.
    no_skill = (1 + 1.5) * 0.6**2 + (1.5 + 1.5) * 0.4**2
    assert no_skill_brier(TIME, EVENT, ONE, 5)[0] == pytest.approx(no_skill / 5)
    assert scaled_brier(TIME, EVENT, RISK, ONE, 5)[0] == pytest.approx(1 - 5 * brier / no_skill)
    assert observed_over_expected(TIME, EVENT, RISK, ONE, 5)[0] == pytest.approx(0.4 / 0.44)


def test_with_losses_after_their_visit_a_knee_lost_at_the_horizon_counts_as_free_of_it():
    """At 4 months the status of all is known, so that all count for one."""
    moved = lost_after_events(TIME, EVENT)
    found = brier_at(moved, EVENT, RISK, ONE, 4)[0]
    assert found == pytest.approx((0.04 + 0.36 + 0.25 + 0.16 + 0.01) / 5)
    label = [1, 1, 0, 0, 0]
    assert auc_at(moved, EVENT, SCORE, ONE, 4)[0] == pytest.approx(roc_auc_score(label, SCORE))
    # There, an event at 4 counts 3/2, and C not at all.
    apart = brier_at(TIME, EVENT, RISK, ONE, 4)[0]
    assert apart == pytest.approx((0.04 + 1.5 * (0.36 + 0.16 + 0.01)) / 5)


@pytest.mark.parametrize("seed", range(3))
def test_with_losses_after_their_visit_known_knees_stand_for_all(seed):
    """Their weights sum to 1, and those of events to 1 - Kaplan-Meier (Satten and Datta, The

    American Statistician 2001;55:207-210), so that a risk p for all has a Brier score of p (1 - p).
    """
    time, event, _, _ = cohort(seed, "by visit")
    weights = weightings(seed, len(time))
    moved = lost_after_events(time, event)
    for months in (12.0, 20, 36):
        free = by_row(weights, (time, event), partial(share_free, months))
        np.testing.assert_allclose(no_skill_brier(moved, event, weights, months), free * (1 - free))
        ones, nobody = np.ones(len(time)), np.zeros(len(time))
        np.testing.assert_allclose(brier_at(moved, event, ones, weights, months), free)
        np.testing.assert_allclose(brier_at(moved, event, nobody, weights, months), 1 - free)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_turned_round_gives_the_rest_to_1(kind):
    time, event, score, _ = cohort(7, kind)
    weights = weightings(7, len(time))
    for measure in (harrell_c, partial(uno_c, tau=42), partial(auc_at, months=30)):
        found = measure(time, event, score, weights)
        turned = measure(time, event, -score, weights)
        np.testing.assert_allclose(turned, 1 - found, atol=1e-14, rtol=0)
        assert (found > 0.55).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_that_says_nothing_is_one_half(kind):
    time, event, _, _ = cohort(8, kind)
    weights = weightings(8, len(time))
    for measure in (harrell_c, partial(uno_c, tau=42), partial(auc_at, months=30)):
        assert (measure(time, event, np.full(len(time), 0.3), weights) == 0.5).all()


def test_a_perfect_score_is_1_and_perfect_risks_are_0_off():
    time, event, _, _ = cohort(9, "few lost")
    weights = weightings(9, len(time))
    for measure in (harrell_c, partial(uno_c, tau=42), partial(auc_at, months=30)):
        assert (measure(time, event, -time, weights) == 1).all()
    risk = (event & (time <= 30)).astype(float)
    assert (brier_at(time, event, risk, weights, 30) == 0).all()
    assert (scaled_brier(time, event, risk, weights, 30) == 1).all()
    everybody = np.full(len(time), 1 - share_free(30, event, time))
    assert scaled_brier(time, event, everybody, weights[:1], 30)[0] == pytest.approx(0)


def all_measures(months):
    """Each measure as a function of time, event, predictions and weights."""
    return {
        "harrell_c": harrell_c,
        "uno_c": partial(uno_c, tau=months),
        "auc": partial(auc_at, months=months),
        "brier": partial(brier_at, months=months),
        "integrated": lambda t, e, p, w: integrated_brier(
            t, e, np.stack([p, p], axis=1), w, np.array([months / 2, months])
        ),
        "no_skill": lambda t, e, p, w: no_skill_brier(t, e, w, months),
        "scaled": partial(scaled_brier, months=months),
        "ratio": partial(observed_over_expected, months=months),
        "slope": partial(calibration_slope, months=months),
    }


EVERY = set(all_measures(1))
DISCRIMINATION = {"harrell_c", "uno_c", "auc"}
#: Months, events, horizon, and which measures are not defined.
EDGES = {
    "all lost, later": ([20, 30, 40], [0, 0, 0], 10, DISCRIMINATION | {"scaled", "slope"}),
    "all lost, before": ([2, 3, 4], [0, 0, 0], 10, EVERY),
    "no event before": ([20, 30, 40], [1, 1, 0], 10, {"uno_c", "auc", "scaled", "slope"}),
    "all with events before": ([2, 3, 4], [1, 1, 1], 10, {"auc", "scaled", "slope"}),
    "last lost before": ([2, 3, 4, 5], [1, 0, 1, 0], 10, EVERY - {"harrell_c", "uno_c"}),
    "last lost with an event": ([2, 3, 3, 3], [1, 1, 0, 0], 10, EVERY - {"harrell_c"}),
    "all at one time": (
        [5, 5, 5],
        [1, 1, 1],
        10,
        EVERY - {"brier", "integrated", "no_skill", "ratio"},
    ),
    "one knee with an event": ([5], [1], 10, EVERY - {"brier", "integrated", "no_skill", "ratio"}),
    "one knee that is lost": ([5], [0], 10, EVERY),
    "no knee": ([], [], 10, EVERY),
}


@pytest.mark.parametrize("edge", EDGES)
def test_at_every_edge_a_measure_is_a_number_or_not_defined_and_never_fails(edge):
    time, event, months, undefined = EDGES[edge]
    time, event = np.array(time, float), np.array(event, bool)
    prediction = np.linspace(0.8, 0.2, len(time))
    weights = np.ones((2, len(time)))
    weights[1] = 0
    found = {
        name: of(time, event, prediction, weights) for name, of in all_measures(months).items()
    }
    assert {name for name, values in found.items() if np.isnan(values[0])} == undefined
    # A row in which nobody is.
    assert {name for name, values in found.items() if np.isnan(values[1])} == EVERY


def test_a_row_that_is_not_defined_leaves_the_others_as_they_are():
    """Without the knee that is followed for longest, nobody is left after the last loss."""
    time, event, score, risks = cohort(3, "continuous", knees=40)
    time[time > 40] = 39
    event[time == 39] = False
    time[0], event[0], months = 60, False, 45.0
    weights = np.ones((3, 40))
    weights[1, 0] = 0
    for name, of in all_measures(months).items():
        found = of(time, event, risks[:, 1], weights)
        alone = of(time, event, risks[:, 1], weights[:1])
        np.testing.assert_allclose(found[[0, 2]], alone[[0, 0]], rtol=1e-12)
        assert np.isnan(found[1]) == (name not in ("harrell_c", "uno_c")), name


def test_knees_with_an_event_after_the_last_loss_leave_it_defined():
    time, event = np.array([2.0, 3, 4]), np.array([True, False, True])
    weights = np.ones((1, 3))
    # At 10 months the two count 1 and 1 / (1/2), of whom all had the event.
    assert brier_at(time, event, np.array([0.5, 0.5, 0.4]), weights, 10)[0] == pytest.approx(
        (0.25 + 2 * 0.36) / 3
    )


def test_concordance_is_the_same_in_blocks(monkeypatch):
    time, event, score, _ = cohort(2, "by visit")
    weights = weightings(2, len(time))
    whole = uno_c(time, event, score, weights, 40)
    monkeypatch.setattr(measures, "_BLOCK", 5 * len(time))
    np.testing.assert_allclose(uno_c(time, event, score, weights, 40), whole, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_the_calibration_slope_is_that_of_a_weighted_logistic_regression(kind):
    time, event, _, risks = cohort(11, kind, knees=300)
    risk, months = risks[:, 2], TIMES[2]
    weights = weightings(11, len(time))
    found = calibration_slope(time, event, risk, weights, months)
    for row, times in enumerate(weights):
        t, e, r = repeated(times, time, event, risk)
        lost = CensoringDistributionEstimator().fit(Surv.from_arrays(e, t))
        case, known = e & (t <= months), e | (t > months)
        inverse = 1 / lost.predict_proba(np.minimum(t, months))[known]
        design = sm.add_constant(log_odds(r[known]))
        model = sm.GLM(
            case[known].astype(float), design, family=sm.families.Binomial(), var_weights=inverse
        )
        assert found[row] == pytest.approx(model.fit(tol=1e-12).params[1], abs=1e-7)
    if kind == "none lost before 50":
        label = (event & (time <= months)).astype(int)
        plain = scores(label, risk, label)["calibration_slope"]
        assert found[0] == pytest.approx(plain, abs=1e-8)


def test_there_is_no_slope_of_risks_that_are_all_the_same_or_that_set_the_events_apart():
    time, event, _, _ = cohort(12, "continuous")
    whole = np.ones((1, len(time)))
    assert np.isnan(calibration_slope(time, event, np.full(len(time), 0.3), whole, 30))
    apart = np.where(event & (time <= 30), 0.7, 0.2)
    assert np.isnan(calibration_slope(time, event, apart, whole, 30))
    # The same in one row alone, where the only knee between is left out.
    between = np.flatnonzero(time > 30)[0]
    apart[between] = 0.8
    weights = np.ones((2, len(time)))
    weights[1, between] = 0
    found = calibration_slope(time, event, apart, weights, 30)
    assert np.isfinite(found[0]) and np.isnan(found[1])


def test_groups_of_risk_have_equal_sizes_and_the_kaplan_meier_estimate_of_each():
    time, event, _, risks = cohort(13, "by visit")
    risk = risks[:, 2] + np.random.default_rng(13).uniform(0, 1e-6, len(time))
    weights = weightings(13, len(time))
    found = calibration_at(time, event, risk, weights, 30, groups=4)
    assert found.knees.tolist() == [30, 30, 30, 30]
    order = np.argsort(risk)
    for number in range(4):
        own = order[30 * number : 30 * (number + 1)]
        for row, times in enumerate(weights):
            t, e, r = repeated(times[own], time[own], event[own], risk[own])
            assert found.observed[row, number] == pytest.approx(1 - share_free(30, e, t))
            assert found.expected[row, number] == pytest.approx(r.mean())


def test_knees_of_equal_risk_share_a_group_and_one_that_nobody_is_followed_in_is_not_known():
    time = np.array([5.0, 20, 20, 20, 20, 9, 4, 6])
    event = np.array([1, 0, 0, 0, 1, 1, 0, 0]) == 1
    risk = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.6, 0.7])
    found = calibration_at(time, event, risk, np.ones((1, 8)), 12, groups=4)
    assert found.knees.tolist() == [6, 2]
    np.testing.assert_allclose(found.expected, [[0.1, 0.65]])
    np.testing.assert_allclose(found.observed, [[2 / 6, np.nan]])
    whole = calibration_at(time, event, np.full(8, 0.2), np.ones((1, 8)), 12)
    assert whole.knees.tolist() == [8]
