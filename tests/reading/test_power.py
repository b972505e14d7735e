import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binomtest, multinomial, multivariate_normal, norm, ttest_1samp

from oatools.commands import pairs
from oatools.core.errors import UsageError
from oatools.reading.power import (
    PowerAssumptions,
    p_values,
    pairs_needed,
    simulate,
    simulated_power,
)


def cells(study):
    """Both right, only the model, only the reader, neither: from the bivariate normal distribution."""
    both = multivariate_normal([0, 0], [[1, study.correlation], [study.correlation, 1]]).cdf(
        norm.ppf([study.model, study.reader])
    )
    return both, study.model - both, study.reader - both, 1 - study.model - study.reader + both


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_simulated_answers_have_the_areas_and_the_agreement_that_were_asked_for(correlation):
    study = PowerAssumptions(0.7, 0.6, 2, correlation)
    model, readers = simulate(study, 400, 500, np.random.default_rng(0))
    assert model.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_allclose(readers.mean(axis=(0, 1)), [0.6, 0.6], atol=0.005)
    assert (model & readers[..., 0]).mean() == pytest.approx(cells(study)[0], abs=0.005)
    assert (readers[..., 1] & readers[..., 0]).mean() == pytest.approx(
        cells(PowerAssumptions(0.6, 0.6, 1, correlation))[0], abs=0.005
    )


def test_p_of_one_reader_is_the_exact_binomial_test_of_the_pairs_where_they_differ():
    random = np.random.default_rng(1)
    model, readers = random.random((30, 25)) < 0.7, random.random((30, 25, 1)) < 0.5
    model[0] = readers[0, :, 0]  # they never differ
    for found, m, r in zip(p_values(model, readers), model, readers[..., 0], strict=True):
        apart = int((m != r).sum())
        expected = binomtest(int((m & ~r).sum()), apart).pvalue if apart else 1.0
        assert found == pytest.approx(expected)


def test_p_of_several_readers_is_a_test_of_the_mean_difference():
    random = np.random.default_rng(2)
    model, readers = random.random((5, 40)) < 0.62, random.random((5, 40, 3)) < 0.6
    expected = [
        ttest_1samp(m - r.mean(axis=1), 0).pvalue for m, r in zip(model, readers, strict=True)
    ]
    np.testing.assert_allclose(p_values(model, readers), expected, rtol=1e-4)
    same = np.ones((1, 10), dtype=bool)
    assert p_values(same, np.ones((1, 10, 2), dtype=bool)) == [1.0]
    assert p_values(same, np.zeros((1, 10, 2), dtype=bool)) == [
        1.0
    ]  # without spread there is no test


@pytest.mark.parametrize(
    "study",
    [
        PowerAssumptions(0.8, 0.5),
        PowerAssumptions(0.75, 0.6, 1, 0.0),
        PowerAssumptions(0.6, 0.6, 1, 0.5),
    ],
)
def test_power_of_one_reader_is_that_of_all_outcomes_weighed_by_their_probability(study):
    size, draws = 30, 20_000
    _, only_model, only_reader, _ = cells(study)
    exact = 0.0
    for a in range(size + 1):
        for b in range(size + 1 - a):
            if a + b and binomtest(a, a + b).pvalue <= 0.05 + 1e-12:
                exact += multinomial.pmf(
                    [a, b, size - a - b],
                    size,
                    [only_model, only_reader, 1 - only_model - only_reader],
                )
    found = simulated_power(study, size, draws, seed=3)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws) + 1e-9)


def test_the_pairs_that_are_needed_are_some_more_than_connors_formula_says():
    """Connor (Biometrics 1987) for the test without exactness, which costs a few pairs."""
    study = PowerAssumptions(0.75, 0.55, 1, 0.3)
    _, b, c, _ = cells(study)
    alpha, beta = norm.ppf(0.975), norm.ppf(0.8)
    formula = (alpha * np.sqrt(b + c) + beta * np.sqrt(b + c - (b - c) ** 2)) ** 2 / (b - c) ** 2
    found = pairs_needed(study, 0.8, 4000, 0)
    assert 0.98 * formula < found < 1.2 * formula
    assert simulated_power(study, found, 4000, 1) == pytest.approx(0.8, abs=0.04)


def test_power_of_several_readers_is_of_all_of_them_and_at_the_level_asked_for():
    """Against the test of the mean as scipy does it, on the same simulated answers."""
    study = PowerAssumptions(0.75, 0.6, 3, 0.2, alpha=0.2)
    model, readers = simulate(study, 60, 400, np.random.default_rng([4, 60]))
    expected = [
        ttest_1samp(m - r.mean(axis=1), 0).pvalue <= 0.2
        for m, r in zip(model, readers, strict=True)
    ]
    assert simulated_power(study, 60, 400, seed=4) == np.mean(expected)
    assert simulated_power(PowerAssumptions(0.75, 0.6, 3, 0.2), 60, 400, seed=4) < np.mean(expected)


def test_the_search_goes_up_to_its_limit():
    study = PowerAssumptions(0.6, 0.59375, 1, 0.3)
    assert 65_536 < pairs_needed(study, 0.8, 100, 0) <= 100_000


def test_more_readers_need_fewer_pairs_and_equal_areas_no_number():
    one, three = (
        pairs_needed(PowerAssumptions(0.75, 0.6, readers), 0.8, 1000, 0) for readers in (1, 3)
    )
    assert three < one
    with pytest.raises(UsageError, match="too near"):
        pairs_needed(PowerAssumptions(0.6, 0.6), 0.8, 100, 0)


def run(*words):
    return CliRunner().invoke(pairs.main, ["power", *map(str, words)])


def test_the_command_finds_a_number_or_says_the_power_of_one():
    done = run("--model", 0.8, "--reader", 0.6, "--draws", 1000)
    assert done.exit_code == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout), delimiter="\t")
    assert float(row["ci_low"]) < float(row["power"]) < float(row["ci_high"])
    assert f"{row['pairs']} pairs for a power of 0.8" in done.stderr
    assert run("--model", 0.8, "--reader", 0.6, "--draws", 1000).stdout == done.stdout
    again = run(
        "--model", 0.8, "--reader", 0.6, "--draws", 1000, "--pairs", row["pairs"], "--pairs", 10
    )
    rows = list(csv.DictReader(io.StringIO(again.stdout), delimiter="\t"))
    assert rows[0] == row
    assert float(rows[1]["power"]) < float(row["power"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model", 1.2], "between 0 and 1"),
        (["--correlation", 1], "less than 1"),
        (["--alpha", 0], "alpha"),
        (["--power", 1], "power 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words, named):
    done = run(*words)
    assert done.exit_code == 2
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
