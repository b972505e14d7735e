import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import beta, binomtest, t, ttest_1samp

from oatools.reading.groups import (
    bootstrap_interval,
    by_group,
    groups_of,
    mean_influence,
    percentile_interval,
    robust_error,
    share_interval,
    t_interval,
    t_p,
)


def knees(**subjects):
    return {
        pair: {
            place: {"knee": f"{pair}-{place}", "subject": s}
            for place, s in zip("AB", two, strict=True)
        }
        for pair, two in subjects.items()
    }


def partition(groups):
    return sorted(
        sorted(pair for pair in groups if groups[pair] == g) for g in set(groups.values())
    )


def test_pairs_that_share_a_patient_are_a_group_also_through_others():
    pairs = knees(p="ab", q="cd", r="be", s="fg", t="eh", u="ij")
    key = {pair: dict(two["A"]) for pair, two in pairs.items()}
    groups, unknown = groups_of(key, pairs)
    assert (partition(groups), unknown) == ([["p", "r", "t"], ["q"], ["s"], ["u"]], 0)
    # Without the pairs only progressors are known.
    key["u"]["subject"] = "c"
    groups, unknown = groups_of(key, None)
    assert (partition(groups), unknown) == ([["p"], ["q", "u"], ["r"], ["s"], ["t"]], 0)


def test_patients_are_taken_from_the_key_and_from_names_where_the_pairs_do_not_say_them():
    key = {
        "p": {"knee": "p-A", "subject": "a"},
        "q": {"knee": "q-A", "subject": "a"},
        "r": {"knee": "r-A"},
    }
    pairs = {pair: {place: {"knee": f"{pair}-{place}"} for place in "AB"} for pair in key}
    groups, unknown = groups_of(key, pairs)
    assert (partition(groups), unknown) == ([["p", "q"], ["r"]], 4)  # B of p and q, both of r
    pairs["q"]["B"]["knee"], pairs["r"]["B"]["knee"] = "9000001_00m_left", "9000001_00m_right"
    groups, unknown = groups_of(key, pairs)
    assert (partition(groups), unknown) == ([["p", "q", "r"]], 2)


def test_a_patient_links_pairs_however_written():
    pairs = knees(p=["P1", "b"], q=["c", "p1\u00a0"], r=["71.0", "e"], s=["71", "g"], t="hi")
    key = {pair: dict(two["A"]) for pair, two in pairs.items()}
    groups, unknown = groups_of(key, pairs)
    assert (partition(groups), unknown) == ([["p", "q"], ["r", "s"], ["t"]], 0)
    named = {"p": {"knee": "MB7_00m_left "}, "q": {"knee": "mb7_12m_right"}, "r": {"knee": "x"}}
    groups, unknown = groups_of(named, None)
    assert (partition(groups), unknown) == ([["p", "q"], ["r"]], 1)


def test_patients_that_are_not_known_link_nothing():
    key = {
        "p": {"knee": "x", "subject": "n/a"},
        "q": {"knee": "y", "subject": "n/a"},
        "r": {"knee": "z"},
    }
    groups, unknown = groups_of(key, None)
    assert (partition(groups), unknown) == ([["p"], ["q"], ["r"]], 3)


def test_sums_over_groups_are_those_of_numpy():
    values = np.arange(12.0).reshape(6, 2)
    assert by_group(values, [7, 3, 7, 3, 3, 9]).tolist() == [
        [2 + 6 + 8, 3 + 7 + 9],
        [0 + 4, 1 + 5],
        [10, 11],
    ]


@pytest.mark.parametrize("seed", range(5))
def test_p_and_interval_of_a_mean_are_scipys_and_with_groups_statsmodels_cluster_robust_ones(seed):
    random = np.random.default_rng(seed)
    values = random.choice([-1, -0.5, 0, 1], size=60)
    moves = mean_influence(values)
    plain = ttest_1samp(values, 0)
    assert t_p(values.mean(), moves, range(60)) == pytest.approx(plain.pvalue)
    assert t_interval(values.mean(), moves, range(60)) == pytest.approx(
        tuple(plain.confidence_interval())
    )
    groups = random.integers(0, 25, 60)
    fitted = sm.OLS(values, np.ones(60)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    assert t_p(values.mean(), moves, groups) == pytest.approx(float(fitted.pvalues[0]))
    found = t_interval(values.mean(), moves, groups)
    assert found == pytest.approx(tuple(fitted.conf_int()[0]))
    cut = t_interval(values.mean(), moves, groups, found[0] + 0.01, found[1] - 0.01)
    assert cut == pytest.approx((found[0] + 0.01, found[1] - 0.01))


def test_values_without_spread_have_no_interval_and_no_p_but_where_they_are_zero():
    for values, groups, p in (
        (np.zeros(5), range(5), 1.0),
        (np.ones(5), range(5), None),
        (np.full(6, 1 / 3), range(6), None),
        (np.arange(5.0), [0] * 5, None),
    ):
        found = t_p(float(values.mean()), mean_influence(values), groups)
        assert found == p if p is not None else np.isnan(found)
        assert np.isnan(t_interval(float(values.mean()), mean_influence(values), groups)).all()
        assert np.isnan(bootstrap_interval(values, groups, 200, 0)).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_a_share_is_the_exact_one_of_the_effective_number(seed):
    """Step by step: statsmodels' error, its ratio to that of independent pairs, scipy's beta."""
    random = np.random.default_rng(seed)
    groups = np.sort(random.integers(0, 30, 90))
    easy = random.normal(size=30)[groups]
    values = (easy + random.normal(size=90) < 0.3).astype(float)
    fitted = sm.OLS(values, np.ones(90)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    share, freedom = values.mean(), len(set(groups)) - 1
    effective = (
        share
        * (1 - share)
        / float(fitted.bse[0]) ** 2
        * (t.ppf(0.975, 89) / t.ppf(0.975, freedom)) ** 2
    )
    effective = min(effective, 90)
    right = share * effective
    expected = (
        beta.ppf(0.025, right, effective - right + 1),
        beta.ppf(0.975, right + 1, effective - right),
    )
    assert share_interval(values, groups) == pytest.approx(expected)


def test_the_interval_of_a_share_at_its_ends():
    def exact(right, count):
        found = binomtest(right, count).proportion_ci(0.95, method="exact")
        return pytest.approx((found.low, found.high))

    alternating = np.array([0.0, 1.0] * 20)
    assert share_interval(alternating, np.arange(40) // 2) == exact(
        20, 40
    )  # groups that are all alike
    assert share_interval(np.ones(40), np.arange(40) // 4) == exact(
        10, 10
    )  # as many as there are groups
    assert share_interval(np.zeros(40), range(40)) == exact(0, 40)
    assert np.isnan(share_interval(alternating, [0] * 40)).all()
    # Pairs of a group that are answered unlike tell no more than there are of them.
    unlike = np.concatenate([alternating, [1, 1, 0, 0]])
    assert share_interval(unlike, np.arange(44) // 2) == exact(22, 44)
    # Independent pairs lose one degree of freedom, and next to nothing else.
    low, high = share_interval(alternating, range(40))
    known = binomtest(20, 40).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.003)


def test_intervals_of_shares_over_groups_hold_the_truth_where_those_of_pairs_do_not():
    """Groups of three pairs that are answered alike: 40 groups, 400 studies, truth 0.6."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 3)
    held = {"exact": 0, "share": 0, "t": 0}
    for _ in range(400):
        values = np.repeat((random.random(40) < 0.6).astype(float), 3)
        exact = binomtest(int(values.sum()), 120).proportion_ci(0.95, method="exact")
        bounds = {
            "exact": (exact.low, exact.high),
            "share": share_interval(values, groups),
            "t": t_interval(values.mean(), mean_influence(values), groups),
        }
        for name, (low, high) in bounds.items():
            held[name] += low <= 0.6 <= high
    assert held["exact"] < 320  # of 380 promised
    assert min(held["share"], held["t"]) > 365


def test_the_bootstrap_is_that_of_the_normal_distribution_where_there_is_enough_of_all_and_seeded():
    random = np.random.default_rng(0)
    values = random.random(300) - random.random(300)
    error = values.std(ddof=1) / np.sqrt(300)
    low, high = bootstrap_interval(values, range(300), 40_000, 0)
    # The percentiles 2 and 97 would give 2.05 and 1.88.
    assert (low - values.mean()) / error == pytest.approx(-1.96, abs=0.04)
    assert (high - values.mean()) / error == pytest.approx(1.96, abs=0.04)
    again = [bootstrap_interval(values, range(300), 200, seed) for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_pairs_told_twice_tell_no_more_when_they_are_one_group():
    values = np.random.default_rng(1).random(80)
    twice, groups = np.repeat(values, 2), np.repeat(np.arange(80), 2)
    once = bootstrap_interval(values, range(80), 2000, 0)
    assert bootstrap_interval(twice, groups, 2000, 0) == pytest.approx(once)
    naive = bootstrap_interval(twice, range(160), 2000, 0)
    assert (naive[1] - naive[0]) / (once[1] - once[0]) == pytest.approx(0.5**0.5, abs=0.05)
    error, freedom = robust_error(mean_influence(values), range(80))
    assert robust_error(mean_influence(twice), groups) == (pytest.approx(error), freedom)


def test_draws_without_a_value_are_left_out_until_they_are_most():
    assert percentile_interval(np.array([1.0, 2, 3, np.nan])) == (
        pytest.approx(1.05),
        pytest.approx(2.95),
    )
    assert np.isnan(percentile_interval(np.array([1.0, 2.0, np.nan, np.nan, np.nan]))).all()
    assert np.isnan(percentile_interval(np.ones(9))).all()
