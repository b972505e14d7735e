import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from click.testing import CliRunner
from scipy.stats import binomtest, t, ttest_rel
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa
from statsmodels.stats.multitest import multipletests

from oatools.commands import pairs
from oatools.reading.compare import (
    choices,
    cohen,
    compare_scores,
    fleiss,
    fleiss_terms,
    mcnemar,
)
from oatools.reading.score import ALL, MEAN, Grades, summarise_mean

ROOT = Path(__file__).resolve().parents[2]


def study(seed=0, count=150, shares=(0.65, 0.58, 0.6)):
    """A key, and scores of readers r0, r1, ... who agree more than by chance."""
    random = np.random.default_rng(seed)
    key = {str(i): {"pair": str(i), "place": "AB"[random.integers(2)]} for i in range(count)}
    easy = random.normal(size=count)
    scores = {
        f"r{n}": {
            str(i): float(easy[i] + random.normal() < np.quantile(easy, share))
            for i in range(count)
        }
        for n, share in enumerate(shares)
    }
    return key, scores


def counts(one, other):
    """How often two said A and A, A and B, B and A, B and B."""
    said = [a + b for a, b in zip(one, other, strict=True)]
    return np.array([said.count(kind) for kind in ("AA", "AB", "BA", "BB")])


def compare(*study):
    """The rows of the table of comparisons."""
    return [found.row() for found in compare_scores(*study)]


def alone(key):
    """Pairs that share no patient."""
    return {pair: n for n, pair in enumerate(key)}


def test_cohens_kappa_is_scikit_learns():
    key, scores = study()
    one, other = (choices(scores[name], key, list(key)) for name in ("r0", "r1"))
    same, kappa = cohen(counts(one, other))
    assert kappa == pytest.approx(cohen_kappa_score(one, other))
    assert same == pytest.approx(np.mean(np.array(one) == np.array(other)))
    assert np.isnan(cohen(np.array([5, 0, 0, 0]))[1])
    assert np.isnan(cohen(np.zeros(4))[0])


def test_the_interval_of_kappa_is_near_the_asymptotic_one_of_statsmodels():
    key, scores = study(count=2000)
    said = [choices(scores[name], key, list(key)) for name in ("r0", "r1")]
    expected = cohens_kappa(counts(*said).reshape(2, 2))
    (row,) = compare({n: scores[n] for n in ("r0", "r1")}, [], key, alone(key), 4000, 0)
    assert float(row["kappa"]) == pytest.approx(expected.kappa, abs=1e-4)
    assert float(row["kappa_low"]) == pytest.approx(expected.kappa_low, abs=0.004)
    assert float(row["kappa_high"]) == pytest.approx(expected.kappa_upp, abs=0.004)


def test_choices_follow_from_place_and_rightness():
    key = {"1": {"place": "A"}, "2": {"place": "B"}, "3": {"place": "B"}, "4": {"place": "A"}}
    assert choices({"1": 1.0, "2": 1.0, "3": 0.0, "4": 0.5}, key, ["1", "2", "3", "4"]) == [
        "A",
        "B",
        "A",
        "",
    ]


def test_fleiss_kappa_is_statsmodels():
    key, scores = study()
    said = np.array([choices(s, key, list(key)) for s in scores.values()]).T
    table, _ = aggregate_raters(said)
    sums = fleiss_terms((said == "A").sum(axis=1), 3).sum(axis=0)
    assert fleiss(sums, 3) == pytest.approx(fleiss_kappa(table))
    (row,) = [
        r for r in compare(scores, list(scores), key, alone(key), 2000, 0) if r["other"] == ALL
    ]
    assert row["kappa"] == f"{fleiss_kappa(table):.6f}"
    assert float(row["kappa_low"]) < fleiss_kappa(table) < float(row["kappa_high"])


def test_mcnemars_test_is_statsmodels():
    key, scores = study()
    left, right = (np.array(list(scores[name].values())) for name in ("r0", "r1"))
    table = [[((left == a) & (right == b)).sum() for b in (1, 0)] for a in (1, 0)]
    assert mcnemar(left, right) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    assert mcnemar(left, left) == 1.0
    assert mcnemar(np.array([0.5, 1.0]), np.array([0.0, 1.0])) == 1.0  # a tie is on nobody's side


def test_all_rows_with_a_p_of_the_difference_are_holms_family():
    key, scores = study()
    scores["model"] = {pair: float(n % 4 > 0) for n, pair in enumerate(key)}
    scores["late"] = {}  # of whom nothing can be tested
    rows = compare(scores, ["r0", "r1", "r2"], key, alone(key), 200, 0)
    p = [float(row["p_difference"]) for row in rows if row["p_difference"] != "n/a"]
    assert len(p) == 6 + 1  # of four who answered, and the model against the mean
    adjusted = [float(row["p_holm"]) for row in rows if row["p_difference"] != "n/a"]
    assert adjusted == pytest.approx(multipletests(p, method="holm")[1], abs=1e-6)
    assert 0 < min(p) < min(adjusted) < 1
    none = [row["p_holm"] for row in rows if row["p_difference"] == "n/a"]
    assert none == ["n/a"] * (4 + 1 + 1)  # of who did not, against each and the mean; Fleiss' kappa


def test_the_difference_of_two_has_the_t_tests_p_and_that_of_models_and_readers_mean_too():
    key, scores = study()
    scores["model"] = {pair: 0.5 if n % 7 == 0 else float(n % 3 > 0) for n, pair in enumerate(key)}
    readers = ["r0", "r1", "r2"]
    rows = {(r["one"], r["other"]): r for r in compare(scores, readers, key, alone(key), 300, 0)}
    values = {name: np.array(list(own.values())) for name, own in scores.items()}
    for one, other in (("r0", "r1"), ("r2", "model")):
        assert float(rows[one, other]["p_difference"]) == pytest.approx(
            ttest_rel(values[one], values[other]).pvalue, abs=1e-4
        )
    mean = np.mean([values[name] for name in readers], axis=0)
    row = rows["model", MEAN]
    assert float(row["p_difference"]) == pytest.approx(
        ttest_rel(values["model"], mean).pvalue, abs=1e-4
    )
    assert float(row["other_auc"]) == pytest.approx(mean.mean(), abs=1e-4)
    assert float(row["difference"]) == pytest.approx(values["model"].mean() - mean.mean(), abs=1e-4)
    assert row["p_mcnemar"] == row["kappa"] == "n/a"
    assert [pair for pair in rows if MEAN in pair] == [("model", MEAN)]


def test_only_pairs_that_both_answered_are_compared_and_fleiss_is_of_readers_alone():
    key, scores = study()
    del scores["r1"]["3"]
    scores["model"] = {pair: 0.5 for pair in key}
    rows = {
        (r["one"], r["other"]): r
        for r in compare(scores, ["r0", "r1", "r2"], key, alone(key), 200, 0)
    }
    assert len(rows) == 6 + 1 + 1
    assert rows["r0", "r1"]["pairs"] == "149"
    assert rows["r0", "r2"]["pairs"] == "150"
    assert rows["fleiss", ALL]["pairs"] == rows["model", MEAN]["pairs"] == "149"
    (nothing,) = compare({"a": {"1": 1.0}, "b": {"2": 1.0}}, [], key, alone(key), 200, 0)
    assert set(nothing.values()) == {"a", "b", "0", "n/a"}
    tied = rows["r0", "model"]
    assert (tied["other_auc"], tied["kappa"], tied["p_mcnemar"]) == ("0.500000", "n/a", "1.000000")


def write_study(folder, answers, model, shared=()):
    """150 pairs; readers' choices right where `answers` says so (None: unanswered), a model likewise."""
    key = ["knee\tsubject\tpair\tplace\tstratum"]
    drawn = ["knee\tsubject\tpair\tplace"]
    predictions = ["knee\tprobability"]
    tables = {name: ["reader\tpair\tchoice\tconfidence\tseconds"] for name in answers}
    for i in range(150):
        place, other = ("A", "B") if i % 2 else ("B", "A")
        stratum = ":-1.1" if i < 10 else "-0.6:-0.5" if i >= 140 else "-1.1:-0.6"
        subject = f"q{i - 1}" if i in shared else f"p{i}"
        key.append(f"p{i}\t{subject}\t{i}\t{place}\t{stratum}")
        drawn += [f"p{i}\t{subject}\t{i}\t{place}", f"q{i}\tq{i}\t{i}\t{other}"]
        for name, right in answers.items():
            choice = "n/a" if right(i) is None else place if right(i) else other
            tables[name].append(f"{name}\t{i}\t{choice}\t{1 + i % 5}\t{20 + i % 11}")
        predictions += [f"p{i}\t{0.6 if model(i) else 0.4}", f"q{i}\t0.5"]
    for name, lines in {"key": key, "pairs": drawn, "model": predictions, **tables}.items():
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def run(*words):
    done = CliRunner().invoke(pairs.main, ["score", *words, "--key", "key.tsv"])
    assert done.exit_code == 0, done.stderr
    return {
        (r["reader"], r["stratum"]): r
        for r in csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    }, done.stderr


PAPER = {
    "junior": lambda i: None if i >= 147 else i < 85,
    "senior": lambda i: None if i < 6 else i >= 64,
}


def test_the_papers_two_radiologists_as_a_worked_example(tmp_path, monkeypatch):
    """57.82 % and 59.72 % are no whole pairs of 150; 85 of 147 and 86 of 144 they are. The man page shows the same."""
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, PAPER, lambda i: i < 98)
    rows, _ = run("junior.tsv", "senior.tsv")
    for name, right, answered, share, interval in (
        ("junior", 85, 147, "0.578231", "49.4 to 65.9"),
        ("senior", 86, 144, "0.597222", "51.2 to 67.8"),
    ):
        exact = binomtest(right, answered).proportion_ci(method="exact")
        row = rows[name, "all"]
        assert (row["right"], row["rank_auc"], row["n_unanswered"]) == (
            str(right),
            share,
            str(150 - answered),
        )
        assert (row["ci_low"], row["ci_high"]) == (f"{exact.low:.6f}", f"{exact.high:.6f}")
        assert f"{100 * exact.low:.1f} to {100 * exact.high:.1f}" == interval
        manual = (ROOT / "man" / "src" / "oa-pairs.md").read_text()
        assert f"{right} of {answered}" in manual
        assert interval in manual
    mean = rows[MEAN, "all"]
    assert mean["rank_auc"] == f"{(85 / 147 + 86 / 144) / 2:.6f}" == "0.587727"
    assert float(mean["ci_low"]) < 0.5877 < float(mean["ci_high"])
    possible = {
        f"{100 * k / n:.2f}": (k, n) for n in range(150, 0, -1) for k in range(n + 1)
    }  # the smallest n of each
    assert (possible["57.82"], possible["59.72"]) == ((85, 147), (43, 72))
    assert {stratum for _, stratum in rows} == {"all", ":-1.1", "-1.1:-0.6", "-0.6:-0.5"}


def test_two_radiologists_and_a_model_like_the_papers_on_the_command_line(tmp_path, monkeypatch):
    """All 150 pairs read, 87 and 90 of them rightly, the nearest to the paper's shares; the model has 98, its 65 %."""
    monkeypatch.chdir(tmp_path)
    write_study(
        tmp_path, {"junior": lambda i: i < 87, "senior": lambda i: i >= 60}, lambda i: i < 98
    )
    words = [
        "score",
        "junior.tsv",
        "senior.tsv",
        "--key",
        "key.tsv",
        "--pairs",
        "pairs.tsv",
        "--model",
        "model.tsv",
        "--compare",
        "compare.tsv",
    ]
    done = CliRunner().invoke(pairs.main, words)
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "compare.tsv").open() as file:
        rows = {(r["one"], r["other"]): r for r in csv.DictReader(file, delimiter="\t")}
    assert len(rows) == 3 + 1
    assert rows["model", MEAN]["difference"] == f"{98 / 150 - (87 + 90) / 300:.6f}"
    readers = rows["junior", "senior"]
    assert (readers["one_auc"], readers["other_auc"]) == ("0.580000", "0.600000")
    assert readers["difference"] == "-0.020000"
    assert readers["agreement"] == f"{27 / 150:.6f}"  # both right from 60 to 86 alone
    assert float(readers["kappa"]) < 0
    assert (
        rows["junior", "model"]["p_mcnemar"] == f"{2 * 0.5**11:.6f}"
    )  # the model is right in 11 more, never in fewer
    assert rows["junior", "model"]["difference"] == f"{-11 / 150:.6f}"


def test_figure_paragraph_time_and_confidence_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, PAPER, lambda i: i < 98, shared={11, 40})
    rows, said = run(
        "junior.tsv",
        "senior.tsv",
        "--pairs",
        "pairs.tsv",
        "--model",
        "model.tsv",
        "--figure",
        "f.svg",
        "--paragraph",
        "p.txt",
    )
    assert (
        "4 pairs share a patient with another, and all pairs make 148 groups that share none: exact"
        in said
    )
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")
    text = (tmp_path / "p.txt").read_text()
    assert (
        "Reader junior ranked 85 of 147 pairs correctly, and left 3 unanswered (57.8 %; exact 95 % CI 49.4 to 65.9 %)."
        in text
    )
    assert (
        "Model model ranked 98 of 150 pairs correctly (65.3 %; exact 95 % CI 57.1 to 72.9 %)."
        in text
    )
    answered = [i for i in range(150) if PAPER["junior"](i) is not None]
    row = rows["junior", "all"]
    assert row["seconds"] == f"{np.median([20 + i % 11 for i in answered]):.1f}"
    assert row["confidence"] == f"{np.mean([1 + i % 5 for i in answered]):.2f}"
    right, sure = [PAPER["junior"](i) for i in answered], [1 + i % 5 for i in answered]
    assert float(row["confidence_auc"]) == pytest.approx(roc_auc_score(right, sure), abs=1e-4)
    assert [rows["model", "all"][c] for c in ("seconds", "confidence", "confidence_auc")] == [
        "n/a"
    ] * 3
    for method in ("bootstrap", "clustered"):
        other, said = run("junior.tsv", "--pairs", "pairs.tsv", "--interval", method, "--seed", "3")
        assert "148 groups that share none\n" in said
        assert other["junior", "all"]["groups"] == "145"  # of the pairs that were answered
        assert other["junior", "all"]["ci_low"] != row["ci_low"]
        assert float(other["junior", "all"]["ci_low"]) == pytest.approx(
            float(row["ci_low"]), abs=0.02
        )
    refused = CliRunner().invoke(
        pairs.main, ["score", "junior.tsv", "--key", "key.tsv", "--figure", "f.jpg"]
    )
    assert refused.exit_code == 2
    assert "ends in .png or .svg" in refused.stderr


def test_the_mean_of_readers_has_statsmodels_cluster_robust_interval_with_every_readers_own_pairs():
    key, scores = study(count=60)
    for pair in ("3", "4", "17"):
        del scores["r1"][pair]
    del scores["r0"]["3"]
    groups = {pair: int(pair) // 3 for pair in key}
    (found,) = summarise_mean(["r0", "r1"], Grades(scores), key, groups)
    row = found.row()
    assert (
        row["rank_auc"]
        == f"{np.mean([np.mean(list(scores[n].values())) for n in ('r0', 'r1')]):.6f}"
    )
    assert (row["n_unanswered"], row["groups"]) == ("3", "20")
    # A share a reader, all answers in one table; the mean of the two is a contrast.
    told = [
        (n, groups[pair], score)
        for n, name in enumerate(("r0", "r1"))
        for pair, score in scores[name].items()
    ]
    who, group, right = (np.array(column) for column in zip(*told, strict=True))
    design = np.eye(2)[who]
    fitted = sm.OLS(right, design).fit(
        cov_type="cluster", cov_kwds={"groups": group, "use_correction": False}
    )
    error = np.sqrt(20 / 19 * fitted.cov_params().mean())  # of the mean of two
    half = t.ppf(0.975, 19) * error
    assert float(row["ci_low"]) == pytest.approx(float(row["rank_auc"]) - half, abs=1e-5)
    assert float(row["ci_high"]) == pytest.approx(float(row["rank_auc"]) + half, abs=1e-5)


def test_all_that_is_compared_counts_groups_and_not_pairs():
    """Groups of one to four pairs that are answered alike, with ties; statsmodels for the differences."""
    random = np.random.default_rng(5)
    sizes = random.integers(1, 5, 40)
    groups = {f"{g}-{n}": g for g, size in enumerate(sizes) for n in range(size)}
    key = {pair: {"place": "AB"[g % 2]} for pair, g in groups.items()}
    scores = {
        name: {pair: float(own[g]) for pair, g in groups.items()}
        for name, own in (
            (n, random.choice([0, 0.5, 1], 40, p=[0.3, 0.2, 0.5])) for n in ("r0", "r1", "r2")
        )
    }
    rows = {(r["one"], r["other"]): r for r in compare(scores, list(scores), key, groups, 3000, 0)}
    apart = np.array([scores["r0"][pair] - scores["r1"][pair] for pair in groups])
    fitted = sm.OLS(apart, np.ones(len(apart))).fit(
        cov_type="cluster", cov_kwds={"groups": list(groups.values())}, use_t=True
    )
    row = rows["r0", "r1"]
    assert (row["pairs"], row["groups"]) == (str(sizes.sum()), "40")
    assert float(row["p_difference"]) == pytest.approx(fitted.pvalues[0], abs=1e-5)
    assert [float(row["ci_low"]), float(row["ci_high"])] == pytest.approx(
        fitted.conf_int()[0], abs=1e-5
    )
    # Every pair told once more, by its group: kappas and their intervals know it for the same.
    for pair in list(groups):
        key[pair + "again"], groups[pair + "again"] = key[pair], groups[pair]
        for own in scores.values():
            own[pair + "again"] = own[pair]
    doubled = {
        (r["one"], r["other"]): r for r in compare(scores, list(scores), key, groups, 3000, 0)
    }
    for two in (("r0", "r1"), ("fleiss", ALL)):
        for column in ("kappa", "kappa_low", "kappa_high"):
            assert float(doubled[two][column]) == pytest.approx(float(rows[two][column]), abs=1e-5)
    loose = {pair: n for n, pair in enumerate(groups)}
    naive = {(r["one"], r["other"]): r for r in compare(scores, list(scores), key, loose, 3000, 0)}
    for two in (("r0", "r1"), ("fleiss", ALL)):
        widths = [
            float(r[two]["kappa_high"]) - float(r[two]["kappa_low"]) for r in (naive, doubled)
        ]
        assert widths[0] < 0.7 * widths[1]


def test_answers_to_different_pages_are_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, PAPER, lambda i: i < 98)
    for name, study_id in (("junior", "0" * 16), ("senior", "1" * 16)):
        lines = (tmp_path / f"{name}.tsv").read_text().splitlines()
        (tmp_path / f"{name}.tsv").write_text(
            "\n".join([lines[0] + "\tstudy", *(f"{x}\t{study_id}" for x in lines[1:])]) + "\n"
        )
    assert "the answers are to 2 different pages" in run("junior.tsv", "senior.tsv")[1]
    assert "different pages" not in run("junior.tsv")[1]
