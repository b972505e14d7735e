import csv

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from oatools.commands import pairs
from oatools.reading.compare import ALL, choices, cohen, compare, difference_interval, fleiss, mcnemar


def study(seed=0, count=150, shares=(0.65, 0.58, 0.6)):
    """A key, and scores of readers r0, r1, ... who agree more than by chance."""
    random = np.random.default_rng(seed)
    key = {str(i): {"pair": str(i), "place": "AB"[random.integers(2)]} for i in range(count)}
    easy = random.normal(size=count)
    scores = {f"r{n}": {str(i): float(easy[i] + random.normal() < np.quantile(easy, share)) for i in range(count)}
              for n, share in enumerate(shares)}  # fmt: skip
    return key, scores


def test_cohens_kappa_is_scikit_learns():
    key, scores = study()
    one, other = (choices(scores[name], key, list(key)) for name in ("r0", "r1"))
    same, kappa = cohen(list(zip(one, other, strict=True)))
    assert kappa == pytest.approx(cohen_kappa_score(one, other))
    assert same == np.mean(np.array(one) == np.array(other))
    assert np.isnan(cohen([("A", "A"), ("A", "A")])[1])


def test_choices_follow_from_place_and_rightness():
    key = {"1": {"place": "A"}, "2": {"place": "B"}, "3": {"place": "B"}, "4": {"place": "A"}}
    assert choices({"1": 1.0, "2": 1.0, "3": 0.0, "4": 0.5}, key, ["1", "2", "3", "4"]) == ["A", "B", "A", ""]


def test_fleiss_kappa_is_statsmodels():
    key, scores = study()
    said = np.array([choices(s, key, list(key)) for s in scores.values()]).T
    table, _ = aggregate_raters(said)
    assert fleiss((said == "A").sum(axis=1), 3) == pytest.approx(fleiss_kappa(table))


def test_mcnemars_test_is_statsmodels():
    key, scores = study()
    left, right = (np.array(list(scores[name].values())) for name in ("r0", "r1"))
    table = [[((left == a) & (right == b)).sum() for b in (1, 0)] for a in (1, 0)]
    assert mcnemar(left, right) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    assert mcnemar(left, left) == 1.0
    assert mcnemar(np.array([0.5, 1.0]), np.array([0.0, 1.0])) == 1.0  # a tie is on nobody's side


def test_the_interval_is_that_of_the_normal_distribution_where_there_is_enough_of_all_and_seeded():
    random = np.random.default_rng(0)
    left, right = random.random(300), random.random(300)
    difference = left - right
    error = difference.std(ddof=1) / np.sqrt(len(left))
    low, high = difference_interval(left, right, 40_000, 0)
    assert (low - difference.mean()) / error == pytest.approx(
        -1.96, abs=0.04
    )  # the percentiles 2 and 97 give 2.05, 1.88
    assert (high - difference.mean()) / error == pytest.approx(1.96, abs=0.04)
    assert difference_interval(left, right, 200, 0) == difference_interval(left, right, 200, 0)
    assert difference_interval(left, right, 200, 0) != difference_interval(left, right, 200, 1)


def test_only_pairs_that_both_answered_are_compared_and_fleiss_is_of_readers_alone():
    key, scores = study()
    del scores["r1"]["3"]
    scores["model"] = {pair: 0.5 for pair in key}
    rows = {(r["one"], r["other"]): r for r in compare(scores, ["r0", "r1", "r2"], key, 200, 0)}
    assert len(rows) == 6 + 1
    assert rows["r0", "r1"]["pairs"] == "149"
    assert rows["r0", "r2"]["pairs"] == "150"
    assert rows["fleiss", ALL]["pairs"] == "149"
    (nothing,) = compare({"a": {"1": 1.0}, "b": {"2": 1.0}}, [], key, 200, 0)
    assert set(nothing.values()) == {"a", "b", "0", "n/a"}
    tied = rows["r0", "model"]
    assert (tied["other_auc"], tied["kappa"], tied["p_mcnemar"]) == ("0.5000", "n/a", "1.0000")


def test_the_papers_two_radiologists_and_model_on_the_command_line(tmp_path, monkeypatch):
    """57.82 % and 59.72 % of 150 are no whole pairs; 87 and 90 are the nearest. The model has 98, the paper's 65 %."""
    monkeypatch.chdir(tmp_path)
    key = ["knee\tpair\tplace\tstratum"]
    drawn = ["knee\tpair\tplace"]
    predictions = ["knee\tprobability"]
    answers = {"junior": ["pair\tchoice"], "senior": ["pair\tchoice"]}
    for i in range(150):
        place, other = ("A", "B") if i % 2 else ("B", "A")
        key.append(f"p{i}\t{i}\t{place}\tn/a")
        drawn += [f"p{i}\t{i}\t{place}", f"q{i}\t{i}\t{other}"]
        answers["junior"].append(f"{i}\t{place if i < 87 else other}")
        answers["senior"].append(f"{i}\t{place if i >= 60 else other}")
        predictions += [f"p{i}\t{0.6 if i < 98 else 0.4}", f"q{i}\t0.5"]
    for name, lines in {"key": key, "pairs": drawn, "model": predictions, **answers}.items():
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    words = ["score", "junior.tsv", "senior.tsv", "--key", "key.tsv", "--pairs", "pairs.tsv", "--model", "model.tsv",
             "--compare", "compare.tsv"]  # fmt: skip
    done = CliRunner().invoke(pairs.main, words)
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "compare.tsv").open() as file:
        rows = {(r["one"], r["other"]): r for r in csv.DictReader(file, delimiter="\t")}
    assert len(rows) == 3
    readers = rows["junior", "senior"]
    assert (readers["one_auc"], readers["other_auc"]) == ("0.5800", "0.6000")
    assert readers["difference"] == "-0.0200"
    assert readers["agreement"] == f"{27 / 150:.4f}"  # both right from 60 to 86 alone
    assert float(readers["kappa"]) < 0
    assert rows["junior", "model"]["p_mcnemar"] == f"{2 * 0.5**11:.4f}"  # the model is right in 11 more, never in fewer
    assert rows["junior", "model"]["difference"] == f"{-11 / 150:.4f}"
