"""Kaplan-Meier curves: a published example, scikit-survival's, and repeated knees."""

import numpy as np
import pytest
from scipy.special import ndtri
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from sksurv.util import Surv

from oatools.survival.curves import (
    censoring,
    kaplan_meier,
    lost_after_events,
    number_at_risk,
    survival_interval,
)
from oatools.survival.patients import without_each

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

#: Weeks of remission with 6-MP (Freireich et al., Blood 1963;21:699; Gehan, Biometrika 1965;52:203).
WEEKS = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35.0])
RELAPSE = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]) == 1
STEPS = np.array([6, 7, 10, 13, 16, 22, 23])
REMISSION = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
#: As R's survfit prints them.
GREENWOOD_ERROR = [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346]


def ones(time):
    return np.ones((1, len(time)))


def cohort(seed, by_visit, knees=150):
    """Months and event; by visit they come in steps of six months, with many ties."""
    random = np.random.default_rng(seed)
    event_at, lost_at = random.exponential(50, knees), random.exponential(60, knees)
    time = np.minimum(event_at, lost_at)
    return (np.ceil(time / 6) * 6 if by_visit else time), event_at <= lost_at


def test_it_is_the_published_curve_of_6_mp():
    curve = kaplan_meier(WEEKS, RELAPSE, ones(WEEKS))
    np.testing.assert_allclose(curve.at(STEPS)[0], REMISSION, atol=0.0005)
    np.testing.assert_allclose(curve.at(STEPS - 0.01)[0], [1, *REMISSION[:-1]], atol=0.0005)
    np.testing.assert_allclose(curve.at([0, 5.9, 6.5, 35])[0], [1, 1, 0.857, 0.448], atol=0.0005)
    # Printed beside it: at risk at 6, 7, 10, 13, 16, 22 and 23 weeks.
    at_risk = number_at_risk(WEEKS, STEPS, ones(WEEKS))
    assert at_risk.tolist() == [[21, 17, 15, 12, 11, 7, 6]]


def test_it_ends_with_the_last_knee_that_is_followed_unless_it_is_down_to_0():
    curve = kaplan_meier(WEEKS, RELAPSE, ones(WEEKS))
    assert np.isnan(curve.at(35.1)).all()
    time, event = np.array([2.0, 4, 4]), np.array([True, True, True])
    weights = np.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]])
    found = kaplan_meier(time, event, weights).at([1, 2, 3, 4, 9])
    np.testing.assert_allclose(found[0], [1, 2 / 3, 2 / 3, 0, 0])
    np.testing.assert_allclose(found[1], [1, 0, 0, 0, 0])
    assert np.isnan(found[2]).all()
    lost = kaplan_meier(time, np.array([True, False, False]), weights[:1])
    np.testing.assert_allclose(lost.at([3, 4, 5]), [[2 / 3, 2 / 3, np.nan]])


@pytest.mark.parametrize("by_visit", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_both_curves_are_scikit_survival_s_also_where_knees_are_repeated(seed, by_visit):
    time, event = cohort(seed, by_visit)
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(time))).astype(float)
    weights[0] = 1
    survival, lost = kaplan_meier(time, event, weights), censoring(time, event, weights)
    for row, times in enumerate(weights.astype(int)):
        often_time, often_event = np.repeat(time, times), np.repeat(event, times)
        months, share = kaplan_meier_estimator(often_event, often_time)
        np.testing.assert_allclose(survival.at(months)[row], share, atol=1e-12)
        theirs = CensoringDistributionEstimator().fit(Surv.from_arrays(often_event, often_time))
        np.testing.assert_allclose(lost.at(months)[row], theirs.predict_proba(months), atol=1e-12)
        between = (months[1:] + months[:-1]) / 2
        at_risk = [(often_time >= at).sum() for at in between]
        assert number_at_risk(time, between, weights)[row].tolist() == at_risk


def test_where_events_and_losses_are_tied_events_come_first_in_both_curves():
    """At 6 months two of five knees have the event and one of them is lost."""
    time, event = np.array([6.0, 6, 6, 9, 9]), np.array([True, True, False, True, False])
    assert kaplan_meier(time, event, ones(time)).at(6)[0, 0] == pytest.approx(3 / 5)
    assert censoring(time, event, ones(time)).at(6)[0, 0] == pytest.approx(2 / 3)
    moved = lost_after_events(time, event)
    assert (moved[event] == time[event]).all() and (moved[~event] > time[~event]).all()
    assert kaplan_meier(moved, event, ones(time)).at(6)[0, 0] == pytest.approx(3 / 5)
    assert censoring(moved, event, ones(time)).at([6, 7])[0].tolist() == pytest.approx([1, 2 / 3])


def test_where_the_last_are_lost_nobody_is_left_to_the_last_digit():
    time, event = cohort(6, by_visit=True)
    time[:2], event[:2] = time.max() + 1, [True, False]
    last = time.max()
    weights = np.random.default_rng(3).random((50, len(time))) + 0.1
    assert (censoring(time, event, weights).at(last) == 0).all()
    assert (kaplan_meier(time, event, weights).at(last) > 0).all()
    event[1] = True
    assert (censoring(time, event, weights).at([last, 999]) > 0).all()
    assert (kaplan_meier(time, event, weights).at([last, 999]) == 0).all()


def test_where_every_patient_has_one_knee_the_interval_is_a_little_wider_than_greenwood_s():
    low, high = survival_interval(WEEKS, RELAPSE, np.arange(21), STEPS)
    share = np.array(REMISSION)
    # On the scale of log(-log S), on which it is even.
    for bound, sign in ((low, 1), (high, -1)):
        apart = sign * (np.log(-np.log(bound)) - np.log(-np.log(share)))
        error = apart * share * -np.log(share) / ndtri(0.975)
        wider = error / GREENWOOD_ERROR
        assert wider.min() > 1 and wider.max() < 1.08


def test_the_variance_of_the_interval_is_the_jackknife_s_over_patients():
    time, event = cohort(5, by_visit=True)
    subject = np.arange(len(time)) // 2 * 3
    low, high = survival_interval(time, event, subject, [12, 30])
    months, share = kaplan_meier_estimator(event, time)
    place = [months.tolist().index(12), months.tolist().index(30)]
    without = [
        kaplan_meier_estimator(event[subject != who], time[subject != who])[1][place]
        for who in np.unique(subject)
    ]
    error = np.std(without, axis=0) * np.sqrt(len(without) - 1)
    expected = ndtri(0.975) * error / (share[place] * -np.log(share[place]))
    middle = np.log(-np.log(share[place]))
    np.testing.assert_allclose(np.log(-np.log(low)), middle + expected)
    np.testing.assert_allclose(np.log(-np.log(high)), middle - expected)


def test_knees_of_a_patient_who_agree_count_as_one():
    single = survival_interval(WEEKS, RELAPSE, np.arange(21), STEPS)
    twice = survival_interval(WEEKS.repeat(2), RELAPSE.repeat(2), np.arange(21).repeat(2), STEPS)
    np.testing.assert_allclose(twice, single)


def test_there_is_no_interval_at_1_at_0_and_where_one_patient_is_all_that_is_known():
    subject = np.arange(21)
    assert np.isnan(survival_interval(WEEKS, RELAPSE, subject, [5, 34.5, 36])).all()
    assert np.isnan(survival_interval(WEEKS, np.ones(21, bool), subject, 35)).all()
    assert np.isnan(survival_interval(WEEKS[:2], RELAPSE[:2], np.zeros(2), 6)).all()


def test_rows_leave_out_all_knees_of_a_patient():
    blocks = list(without_each(np.array([7, 2, 7, 5])))
    assert np.concatenate(blocks).tolist() == [
        [1, 1, 1, 1],
        [1, 0, 1, 1],
        [1, 1, 1, 0],
        [0, 1, 0, 1],
    ]


def test_rows_of_many_patients_come_in_blocks_and_are_the_same(monkeypatch):
    subject = np.random.default_rng(1).integers(0, 40, 90)
    whole = np.concatenate(list(without_each(subject)))
    monkeypatch.setattr("oatools.survival.patients._BLOCK", 600)
    blocks = list(without_each(subject))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
