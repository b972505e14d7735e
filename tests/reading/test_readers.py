"""Readers who are a sample of all: numbers that others printed, other ways to the same, simulation."""

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from click.testing import CliRunner
from scipy.stats import f as f_distribution
from scipy.stats import norm, t

from oatools.commands import pairs
from oatools.reading.compare import compare_scores
from oatools.reading.groups import interval_about, mean_influence, p_of_zero
from oatools.reading.readers import random_error, readers_covariance
from oatools.reading.score import MEAN, Grades, Method, summarise_all, summarise_mean

BENCH = Path(__file__).parents[1] / "bench" / "readers_random.py"

# Van Dyke et al. (79th RSNA 1993), as RJafroc has them (vignettes/VanDyke.lrc): how five readers
# rated the 45 patients with a dissection of the aorta, 1 to 5, by cine MRI and by spin echo.
CINE = [
    "555545554555434245555555154454553555115554451",
    "535555542555442225555555243354552425225555352",
    "545555555555542355555555252255552555225555552",
    "555555555555555155555555554544553555125555555",
    "525255551545452235555554144322151515115553552",
]
SPIN_ECHO = [
    "535555554555544335555555355355554455535555551",
    "535555552555344245455545252355532425525555552",
    "525555555555354145555555253355543555534555551",
    "545555554555455555555555455445555555535555555",
    "525455555455343335555555251332532545533555553",
]


def found(ratings):
    """Scores of the readers, right where the rating is three or more, and pairs that are their own group."""
    scores = {
        f"r{n}": {str(case): float(int(rating) >= 3) for case, rating in enumerate(own)}
        for n, own in enumerate(ratings)
    }
    groups = {str(case): case for case in range(45)}
    key = {case: {"place": "A"} for case in groups}
    return scores, key, groups


def values_of(scores):
    """Scores as an array (pairs, readers)."""
    return np.array([list(own.values()) for own in scores.values()]).T


#: As if a model were right where the second reader was sure enough by spin echo.
MODEL = {str(case): float(int(rating) >= 4) for case, rating in enumerate(SPIN_ECHO[1])}


def model_and_mean():
    """The comparison of that model with the mean of the readers of cine MRI."""
    scores, key, groups = found(CINE)
    everyone = scores | {"model": MODEL}
    compared = compare_scores(everyone, list(scores), key, groups, 100, 0, random_readers=True)
    (row,) = (each for each in compared if each.other == MEAN)
    return row


@pytest.mark.parametrize(
    "ratings,share,spread,covariance,error,freedom,low,high",
    [
        (CINE, 0.8222222, 0.009135802, 0.001646465, 0.05893747, 14.456811, 0.6961876, 0.9482568),
        (SPIN_ECHO, 0.92, 0.005086420, 0.000382716, 0.03741657, 7.575855, 0.8328691, 1.0),
    ],
)
def test_five_readers_have_the_interval_of_their_sensitivity_that_mrmcaov_prints(
    ratings, share, spread, covariance, error, freedom, low, high
):
    """MRMCaov's vignette by Smith and Hillis: `mrmc(binary_sens(truth, rating >= 3), ...)`."""
    scores, key, groups = found(ratings)
    (row,) = summarise_mean(list(scores), Grades(scores), key, groups, random_readers=True)
    assert row.share == pytest.approx(share, abs=1e-6)
    assert (row.low, row.high) == pytest.approx((low, high), abs=1e-6)
    values = values_of(scores)
    assert values.mean(axis=0).var(ddof=1) == pytest.approx(spread, rel=1e-6)
    assert readers_covariance(mean_influence(values), range(45)) == pytest.approx(
        covariance, rel=1e-6
    )
    assert random_error(values.mean(axis=0), covariance) == pytest.approx(
        (error, freedom), rel=1e-6
    )


def test_nine_radiologists_differ_from_cad_as_rjafroc_prints():
    """RJafrocBook, standalone CAD, `RRRC_1T_PCL_0_2`: the readers of Hupse et al. (2013)."""
    radiologists = np.array(
        [0.69453125, 0.65, 0.80625, 0.725, 0.65982143, 0.76845238, 0.7375, 0.675, 0.675]
    )
    apart = radiologists - 0.59166667
    error, freedom = random_error(apart, 0.0030657054)
    assert apart.mean() == pytest.approx(0.11850612)
    assert apart.mean() / error == pytest.approx(2.0390389)
    assert freedom == pytest.approx(937.24371)
    assert p_of_zero(apart.mean(), error, freedom) == pytest.approx(0.041726262)
    assert interval_about(apart.mean(), error, freedom) == pytest.approx(
        (0.004448434, 0.232563801), abs=1e-8
    )


def test_a_model_against_the_mean_is_the_test_of_two_modalities_that_has_it_in_every_readers_place():
    """Kooi et al. (IWDM 2016): the same F, degrees of freedom and p as Hillis's test of two modalities."""
    count = 5
    row = model_and_mean()
    of_readers = values_of(found(CINE)[0])
    of_model = np.repeat(np.array(list(MODEL.values()))[:, None], count, axis=1)
    shares = np.array([of_model.mean(axis=0), of_readers.mean(axis=0)])
    every = np.cov(of_model, of_readers, rowvar=False) / 45
    same, other = every[:count, :count], every[:count, count:]
    readers = every[count:, count:]
    unlike = ~np.eye(count, dtype=bool)
    cov2 = (same[unlike].mean() + readers[unlike].mean()) / 2
    cov3 = other[unlike].mean()
    left = shares - shares.mean(axis=1, keepdims=True) - shares.mean(axis=0) + shares.mean()
    ms_tr = (left**2).sum() / (count - 1)
    ms_t = count * ((shares.mean(axis=1) - shares.mean()) ** 2).sum()
    below = ms_tr + count * max(cov2 - cov3, 0)
    freedom = below**2 / (ms_tr**2 / (count - 1))
    half = t.ppf(0.975, freedom) * np.sqrt(2 / count * below)
    mean = shares[0].mean() - shares[1].mean()
    assert row.difference == pytest.approx(mean, abs=1e-6)
    assert row.p_difference == pytest.approx(f_distribution.sf(ms_t / below, 1, freedom), abs=1e-6)
    assert (row.low, row.high) == pytest.approx((mean - half, mean + half), abs=1e-6)
    assert 0.001 < row.p_difference < 0.999


def test_covariance_counts_groups_and_every_readers_own_pairs_as_statsmodels_does():
    random = np.random.default_rng(3)
    ease = random.standard_normal(30).repeat(3)
    scores = {
        f"r{n}": {str(i): float(ease[i] + random.normal() > -0.3 - 0.2 * n) for i in range(90)}
        for n in range(3)
    }
    for name, pair in (("r1", "3"), ("r1", "4"), ("r2", "17"), ("r0", "60")):
        del scores[name][pair]
    groups = {str(i): i // 3 for i in range(90)}
    key = {pair: {"place": "A"} for pair in groups}
    told = [
        (n, groups[pair], score)
        for n, own in enumerate(scores.values())
        for pair, score in own.items()
    ]
    who, group, right = (np.array(column) for column in zip(*told, strict=True))
    fitted = sm.OLS(right, np.eye(3)[who]).fit(
        cov_type="cluster", cov_kwds={"groups": group, "use_correction": False}
    )
    covariance = 30 / 29 * fitted.cov_params()
    shares = [np.mean(list(own.values())) for own in scores.values()]
    total = np.var(shares, ddof=1) + 3 * covariance[~np.eye(3, dtype=bool)].mean()
    half = t.ppf(0.975, 2 * (total / np.var(shares, ddof=1)) ** 2) * np.sqrt(total / 3)
    (row,) = summarise_mean(list(scores), Grades(scores), key, groups, random_readers=True)
    assert (row.low, row.high) == pytest.approx(
        (np.mean(shares) - half, np.mean(shares) + half), abs=1e-6
    )
    alone = {pair: n for n, pair in enumerate(key)}
    (naive,) = summarise_mean(list(scores), Grades(scores), key, alone, random_readers=True)
    assert naive.high - naive.low < 0.99 * (row.high - row.low)


def test_a_covariance_below_zero_is_zero_and_readers_who_are_all_alike_leave_the_pairs():
    shares = np.array([0.5, 0.6, 0.7])  # their variance is 0.01
    assert random_error(shares, 0.0) == pytest.approx((np.sqrt(0.01 / 3), 2))
    assert random_error(shares, -0.5) == pytest.approx((np.sqrt(0.01 / 3), 2))
    assert random_error(shares, 0.01) == pytest.approx((np.sqrt(0.04 / 3), 2 * 4**2))
    error, freedom = random_error(np.full(3, 0.6), 0.0009)
    assert (error, freedom) == (pytest.approx(0.03), np.inf)
    half = norm.ppf(0.975) * 0.03
    assert interval_about(0.6, error, freedom) == pytest.approx((0.6 - half, 0.6 + half))
    assert np.isnan(interval_about(1.0, *random_error(np.ones(3), 0.0))).all()
    assert p_of_zero(0.0, *random_error(np.zeros(3), 0.0)) == 1
    # What rounding leaves is no spread.
    assert random_error(np.array([0.1 + 0.2, 0.3, 0.3]), 0.0)[0] == 0


def test_one_group_or_a_reader_without_an_answer_leaves_no_interval():
    scores, key, groups = found(CINE)
    together = dict.fromkeys(groups, 0)
    (row,) = summarise_mean(list(scores), Grades(scores), key, together, random_readers=True)
    assert row.share == pytest.approx(0.8222222, abs=1e-6)
    assert np.isnan([row.low, row.high]).all()
    model = {"model": dict.fromkeys(key, 1.0)}
    (apart,) = (
        each
        for each in compare_scores(
            scores | model, list(scores), key, together, 100, 0, random_readers=True
        )
        if each.other == MEAN
    )
    assert np.isnan([apart.low, apart.high, apart.p_difference, apart.p_holm]).all()
    (none,) = summarise_mean(
        [*scores, "r9"], Grades(scores | {"r9": {}}), key, groups, random_readers=True
    )
    assert np.isnan([none.share, none.low]).all()


def test_fixed_readers_are_the_default_and_random_ones_change_the_mean_alone():
    scores, key, groups = found(CINE)
    model = {str(case): float(case % 4 > 0) for case in range(45)}
    everyone, readers = scores | {"model": model}, list(scores)
    fixed = compare_scores(everyone, readers, key, groups, 100, 0)
    drawn = compare_scores(everyone, readers, key, groups, 100, 0, random_readers=True)
    for one, other in zip(fixed, drawn, strict=True):
        alike = (one.difference, one.low, one.p_difference) == (
            other.difference,
            other.low,
            other.p_difference,
        )
        assert alike or one.other == MEAN or np.isnan(one.low)
        if one.other == MEAN:
            assert one.difference == other.difference
            assert (one.low, one.p_difference) != (other.low, other.p_difference)
    grades = Grades(everyone, models=["model"])
    rows = [
        {r.reader: r for r in summarise_all(grades, key, groups, method)}
        for method in (Method("exact"), Method("exact", random_readers=True))
    ]
    for name in ("r0", "model"):
        assert rows[0][name].row() == rows[1][name].row()
    assert rows[1][MEAN].low < rows[0][MEAN].low


def test_intervals_of_random_readers_hold_for_new_readers_where_those_of_fixed_ones_do_not():
    """Six readers whose true shares have a standard deviation of 6.4 points, 100 pairs; truth by formula."""
    coverage = runpy.run_path(str(BENCH))["coverage"]
    held, half, _ = coverage(readers=6, pairs=100, spread=0.2, studies=1000)
    mean, apart = held
    assert 0.93 < mean[0] < 0.97
    assert 0.93 < apart[0] < 0.97
    assert mean[1] < 0.9
    assert apart[1] < apart[0]
    assert (half[:, 0] > half[:, 1]).all()


def write_study(folder, ratings, predictions):
    """The cases as pairs whose progressor stands at A, and a table of answers of each reader."""
    key, drawn = ["knee\tsubject\tpair\tplace"], ["knee\tsubject\tpair\tplace"]
    model = ["knee\tprobability"]
    for case in range(45):
        key.append(f"p{case}\tp{case}\t{case}\tA")
        drawn += [f"p{case}\tp{case}\t{case}\tA", f"q{case}\tq{case}\t{case}\tB"]
        model += [f"p{case}\t{predictions[case]}", f"q{case}\t0.35"]
    for name, lines in {"key": key, "pairs": drawn, "model": model}.items():
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    for n, own in enumerate(ratings):
        answers = [f"{case}\t{'A' if int(r) >= 3 else 'B'}" for case, r in enumerate(own)]
        (folder / f"r{n}.tsv").write_text("\n".join(["pair\tchoice", *answers]) + "\n")


def score(*words):
    return CliRunner().invoke(
        pairs.main, ["score", *words, "--key", "key.tsv", "--pairs", "pairs.tsv"]
    )


def table(text):
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def test_random_readers_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, CINE, [int(rating) / 10 for rating in SPIN_ECHO[1]])
    readers = [f"r{n}.tsv" for n in range(5)]
    more = [
        "--model",
        "model.tsv",
        "--compare",
        "c.tsv",
        "--paragraph",
        "p.txt",
        "--figure",
        "f.svg",
    ]
    done = score(*readers, *more, "--readers", "random")
    assert done.exit_code == 0, done.stderr
    (mean,) = (row for row in table(done.stdout) if row["reader"] == MEAN)
    assert (mean["ci_low"], mean["ci_high"]) == ("0.696188", "0.948257")  # as MRMCaov prints them
    compared = table((tmp_path / "c.tsv").read_text())
    (apart,) = (row for row in compared if row["other"] == MEAN)
    expected = model_and_mean()
    assert (apart["ci_low"], apart["ci_high"], apart["p_difference"]) == tuple(
        f"{value:.6f}" for value in (expected.low, expected.high, expected.p_difference)
    )
    text = (tmp_path / "p.txt").read_text()
    low, high = (
        f"{100 * float(apart[end]):+.1f}".replace("-", "−") for end in ("ci_low", "ci_high")
    )
    assert f"(95 % CI {low} to {high}; p = {float(apart['p_difference']):.3f}" in text
    assert "speak of all readers whom these stand for" in text
    assert "for other readers too" in (tmp_path / "f.svg").read_text()
    by_hand = sorted(float(row["p_difference"]) for row in compared if row["p_difference"] != "n/a")
    assert len(by_hand) == 15 + 1
    least = min(compared, key=lambda row: float(row["p_difference"].replace("n/a", "9")))
    assert float(least["p_holm"]) == pytest.approx(min(1, 16 * by_hand[0]), abs=2e-6)
    fixed = score(*readers, *more, "--readers", "fixed", "--force")
    assert fixed.stdout == score(*readers, *more, "--force").stdout
    (other,) = (row for row in table(fixed.stdout) if row["reader"] == MEAN)
    assert float(other["ci_low"]) > float(mean["ci_low"])
    assert "Readers are taken as fixed" in (tmp_path / "p.txt").read_text()


def test_few_random_readers_are_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, CINE, [0.7] * 45)
    names = [f"r{n}.tsv" for n in range(4)]
    note = "oa-pairs: 3 readers say little of how much readers differ: intervals for random readers are"
    assert note in score(*names[:3], "--readers", "random").stderr
    assert "say little" not in score(*names, "--readers", "random").stderr
    assert "say little" not in score(*names[:3]).stderr


@pytest.mark.parametrize("words,count", [(["r0.tsv"], "1"), (["--model", "model.tsv"], "0")])
def test_fewer_than_two_readers_are_refused_as_random_in_one_line(
    words, count, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, CINE, [0.7] * 45)
    refused = score(*words, "--readers", "random", "--paragraph", "p.txt")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        f"oa-pairs: --readers random needs answers of two readers or more, not of {count}"
    ]
    assert not (tmp_path / "p.txt").exists()
    assert score(*words, "--readers", "fixed").exit_code == 0
