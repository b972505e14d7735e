import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import ttest_1samp

from oatools.reading import resample


def rows(**subjects):
    return {pair: {"A": {"subject": a}, "B": {"subject": b}} for pair, (a, b) in subjects.items()}


def partition(groups):
    return sorted(sorted(pair for pair in groups if groups[pair] == g) for g in set(groups.values()))


def test_pairs_that_share_a_patient_are_a_group_also_through_others():
    pairs = rows(p="ab", q="cd", r="be", s="fg", t="eh", u="ij")
    key = {pair: {"subject": knees["A"]["subject"]} for pair, knees in pairs.items()}
    assert partition(resample.groups_of(key, pairs)) == [["p", "r", "t"], ["q"], ["s"], ["u"]]
    # Without the pairs only progressors are known.
    key["u"]["subject"] = "c"
    assert partition(resample.groups_of(key, None)) == [["p"], ["q", "u"], ["r"], ["s"], ["t"]]


def test_patients_that_are_not_known_link_nothing():
    key = {"p": {"subject": "n/a"}, "q": {"subject": "n/a"}, "r": {}}
    assert partition(resample.groups_of(key, None)) == [["p"], ["q"], ["r"]]


def test_sums_over_groups_are_those_of_numpy():
    values = np.arange(12.0).reshape(6, 2)
    assert resample.by_group(values, [7, 3, 7, 3, 3, 9]).tolist() == [[2 + 6 + 8, 3 + 7 + 9], [0 + 4, 1 + 5], [10, 11]]


@pytest.mark.parametrize("seed", range(5))
def test_the_p_of_a_mean_is_scipys_t_test_and_with_groups_statsmodels_cluster_robust_one(seed):
    random = np.random.default_rng(seed)
    values = random.choice([-1, -0.5, 0, 1], size=60)
    assert resample.mean_p(values, range(60)) == pytest.approx(ttest_1samp(values, 0).pvalue)
    groups = random.integers(0, 25, 60)
    fitted = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert resample.mean_p(values, groups) == pytest.approx(float(fitted.pvalues[0]))


def test_a_mean_without_spread_has_a_plain_p():
    assert resample.mean_p(np.zeros(5), range(5)) == 1.0
    assert resample.mean_p(np.ones(5), range(5)) == 0.0
    assert np.isnan(resample.mean_p(np.ones(5), [0] * 5))


def test_the_interval_is_that_of_the_normal_distribution_where_there_is_enough_of_all_and_seeded():
    random = np.random.default_rng(0)
    values = random.random(300) - random.random(300)
    error = values.std(ddof=1) / np.sqrt(300)
    low, high = resample.mean_interval(values, range(300), 40_000, 0)
    # The percentiles 2 and 97 would give 2.05 and 1.88.
    assert (low - values.mean()) / error == pytest.approx(-1.96, abs=0.04)
    assert (high - values.mean()) / error == pytest.approx(1.96, abs=0.04)
    assert resample.mean_interval(values, range(300), 200, 0) == resample.mean_interval(values, range(300), 200, 0)
    assert resample.mean_interval(values, range(300), 200, 0) != resample.mean_interval(values, range(300), 200, 1)


def test_pairs_told_twice_tell_no_more_when_they_are_one_group():
    values = np.random.default_rng(1).random(80)
    once = resample.mean_interval(values, range(80), 2000, 0)
    twice = resample.mean_interval(np.repeat(values, 2), np.repeat(np.arange(80), 2), 2000, 0)
    assert twice == pytest.approx(once)
    naive = resample.mean_interval(np.repeat(values, 2), range(160), 2000, 0)
    assert (naive[1] - naive[0]) / (once[1] - once[0]) == pytest.approx(0.5**0.5, abs=0.05)


def test_draws_without_a_value_are_left_out_until_they_are_most():
    assert resample.middle(np.array([1.0, 2, 3, np.nan])) == (pytest.approx(1.05), pytest.approx(2.95))
    assert np.isnan(resample.middle(np.array([1.0, np.nan, np.nan]))).all()
