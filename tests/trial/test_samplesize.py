"""Sample sizes against published tables, statsmodels, and trials that are simulated."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from oatools.trial.samplesize import patients_for_change, patients_for_events, power_for_change

# Cohen, A power primer, Psychological Bulletin 1992;112:155-159, table 2: patients in each of two
# groups for a difference of means of 0.2, 0.5 and 0.8 SD, with a power of 0.80.
COHEN = {0.01: (586, 95, 38), 0.05: (393, 64, 26), 0.10: (310, 50, 20)}


@pytest.mark.parametrize("alpha", COHEN)
def test_a_change_needs_what_cohens_table_says(alpha):
    found = patients_for_change([-0.2, -0.5, -0.8], 1, effect=1, power=0.80, alpha=alpha)
    assert tuple(found) == pytest.approx(COHEN[alpha], abs=1)  # his are rounded, ours up


@pytest.mark.parametrize("size", [0.05, 0.1, 0.35, 0.9, 1.2])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_a_change_needs_what_statsmodels_says(size, alpha, power):
    asked = float(np.ravel(TTestIndPower().solve_power(size, None, alpha, power))[0])
    # The mean and the SD of the change, and how much of the mean is prevented.
    found = patients_for_change(-2 * size, 0.8, effect=0.4, power=power, alpha=alpha)
    assert float(found) == max(math.ceil(asked), 2)
    own = power_for_change(found, size, alpha)
    assert float(own) == pytest.approx(TTestIndPower().power(size, float(found), alpha), abs=1e-6)


@pytest.mark.parametrize("rate", [0.02, 0.14, 0.3, 0.6, 0.95, 1.0])
@pytest.mark.parametrize("effect", [0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.9, 0.05), (0.8, 0.01)])
def test_events_need_what_statsmodels_says(rate, effect, power, alpha):
    asked = samplesize_proportions_2indep_onetail(
        -rate * effect, rate, power, 1, alpha, 0, "two-sided"
    )
    found = float(patients_for_events(rate, effect, power, alpha))
    assert found == pytest.approx(math.ceil(asked - 1e-6))


def test_nothing_to_prevent_takes_all_patients_there_are():
    assert np.isinf(patients_for_events([0.0], 0.3)).all()
    assert np.isinf(patients_for_change([0.0, 0.0, np.nan], [1.0, 0.0, 1.0], 0.3)).all()


def test_a_change_beyond_doubt_takes_two_patients():
    assert float(patients_for_change(-50, 1, 1.0)) == 2


def test_two_thousand_trials_enrolled_by_a_score_have_the_power_they_were_planned_for():
    """Patients are enrolled by the highest half of a score with an area of 0.65 under the curve."""
    random, trials, effect = np.random.default_rng(5), 2000, 0.5
    apart = math.sqrt(2) * norm.ppf(0.65)
    # The share 0.2 has the event; the score is normal in both classes.
    cut = 0.0
    for _ in range(60):  # where half of all candidates are above
        cut += norm.isf(0.5) - norm.isf(0.2 * norm.sf(cut - apart) + 0.8 * norm.sf(cut))
    rate = 0.2 * norm.sf(cut - apart) / 0.5
    per_arm = int(patients_for_events(rate, effect))
    label = random.random((trials, 5 * per_arm)) < 0.2
    score = apart * label + random.standard_normal(label.shape)
    found = []
    for events, scores in zip(label, score, strict=True):
        enrolled = events[scores > cut][: 2 * per_arm]
        assert len(enrolled) == 2 * per_arm
        untreated, treated = enrolled[:per_arm], enrolled[per_arm:]
        treated = treated & (random.random(per_arm) >= effect)
        pooled = (untreated.mean() + treated.mean()) / 2
        error = math.sqrt(2 * pooled * (1 - pooled) / per_arm)
        found.append(abs(untreated.mean() - treated.mean()) > norm.ppf(0.975) * error)
    error = math.sqrt(0.8 * 0.2 / trials)
    assert np.mean(found) == pytest.approx(0.8, abs=3 * error)
