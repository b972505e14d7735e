import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from oatools.phantom.people import (
    PhantomSettings,
    index_of,
    make_patient,
    make_people,
    subject_id,
)
from oatools.phantom.planting import plant, separation, visible


@pytest.mark.parametrize("auc,prevalence", [(0.95, 0.3), (0.7, 0.14), (0.5, 0.5)])
def test_the_planted_severity_has_the_stated_auc_and_prevalence(auc, prevalence):
    rng = np.random.default_rng(1)
    knees = np.array([knee for _ in range(15_000) for knee in plant(rng, prevalence, auc)])
    assert roc_auc_score(knees[:, 0], knees[:, 1]) == pytest.approx(auc, abs=0.012)
    assert knees[:, 0].mean() == pytest.approx(prevalence, abs=0.012)


def test_the_two_knees_of_a_person_are_correlated_in_severity_and_outcome():
    rng = np.random.default_rng(2)
    pairs = np.array(
        [plant(rng, 0.3, 0.9) for _ in range(8000)]
    )  # (person, knee, outcome and severity)
    noise = pairs[:, :, 1] - separation(0.9) * pairs[:, :, 0]
    assert np.corrcoef(noise.T)[0, 1] == pytest.approx(0.3, abs=0.04)
    assert 0.1 < np.corrcoef(pairs[:, :, 0].T)[0, 1] < 0.3


def test_the_separation_of_means_for_an_auc_of_092_is_two():
    assert separation(0.9213503964748575) == pytest.approx(
        2.0
    )  # Phi(sqrt(2)), from a table of the normal


def test_a_findings_size_increases_strictly_with_severity_within_0_and_1():
    sizes = [visible(s) for s in np.linspace(-6, 9, 200)]
    assert np.all(np.diff(sizes) > 0)
    assert 0 < sizes[0] < sizes[-1] < 1


def test_the_first_people_of_a_larger_cohort_are_those_of_a_smaller_one():
    small, large = make_people(PhantomSettings(3, seed=4)), make_people(PhantomSettings(6, seed=4))
    assert [p.knees[0].jsw for p in large[:3]] == [p.knees[0].jsw for p in small]
    assert large[2].knees[1].anatomy.centre == small[2].knees[1].anatomy.centre
    assert make_patient(PhantomSettings(3, seed=5), 0).knees[0].jsw != small[0].knees[0].jsw


def test_participant_ids_are_seven_digits_from_nine_on_and_lead_back_to_the_number():
    settings = PhantomSettings(20_000, seed=12)
    for index in (0, 1, 19_999):
        subject = subject_id(settings, index)
        assert len(subject) == 7 and subject[0] == "9"
        assert index_of(subject) == index
    assert subject_id(settings, 0) != subject_id(PhantomSettings(1, seed=13), 0)


def test_readings_agree_with_outcomes_and_the_baseline_does_not_give_them_away():
    knees = [
        knee for patient in make_people(PhantomSettings(800, seed=1)) for knee in patient.knees
    ]
    change = np.array([knee.jsw[1] - knee.jsw[0] for knee in knees])
    progressor = np.array([knee.progressor for knee in knees])
    np.testing.assert_array_equal(change <= -0.5, progressor)
    assert np.abs(change + 0.5).min() > 0.0009  # no label hangs on rounding
    assert 0.5 < roc_auc_score(progressor, [-knee.jsw[0] for knee in knees]) < 0.68
    pain = np.array([knee.womac[0] for knee in knees])
    painful = np.array([knee.painful for knee in knees])
    assert np.all(painful[pain >= 2]) and not np.any(painful[pain == 0])
    assert 0.02 < np.mean(pain == 1) < 0.09
    assert min(min(knee.jsw) for knee in knees) >= 0
