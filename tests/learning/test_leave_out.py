"""oa-cv --leave-out: each value of a column is a fold, and how well it can be read."""

from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.learning.cohort import make_cohort
from oatools.learning.folds import Splitter, leave_out
from oatools.learning.probe import probe

FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"


def test_each_value_is_a_fold_and_one_class_is_trained_on_only():
    site = ["C", "A", "A", "B", "B", "C", "D"]
    label = np.array([0, 0, 1, 1, 0, 1, 1])
    fold, values = leave_out(site, label, "site")
    assert fold.tolist() == [3, 1, 1, 2, 2, 3, 0]
    assert values == ("A", "B", "C")


def test_one_value_to_test_on_leaves_nothing_to_train_on():
    with pytest.raises(UsageError, match="1 of 2 values of 'site' have knees of both classes"):
        leave_out(["A", "A", "B"], np.array([0, 1, 1]), "site")


def test_ways_to_divide_exclude_each_other():
    with pytest.raises(UsageError, match="exclude each other"):
        Splitter(hold_out=("site", "A"), leave_out="site")
    assert not Splitter(leave_out="site").is_random


def add_sites(tmp_path, of_patient):
    """A column site in the labels, by the number of the patient."""
    lines = (tmp_path / "labels.tsv").read_text().splitlines()
    body = [f"{line}\t{of_patient(int(line.split(chr(9))[1]))}" for line in lines[1:]]
    (tmp_path / "labels.tsv").write_text("\n".join([lines[0] + "\tsite", *body]) + "\n")


def test_no_model_is_tested_at_a_site_that_it_was_trained_at(study, run, rows, tmp_path):
    study(knees=80)
    add_sites(tmp_path, lambda patient: "ABC"[patient % 3])
    done = run(f"oa-cv features.tsv --labels labels.tsv --leave-out site {FAST} -o cv")
    site = {row["knee"]: row["site"] for row in rows((tmp_path / "labels.tsv").read_text())}
    by_fold = {}
    for row in rows(done.stdout):
        by_fold.setdefault(row["fold"], set()).add(site[row["knee"]])
    assert by_fold == {"1": {"A"}, "2": {"B"}, "3": {"C"}}
    left_out = rows((tmp_path / "cv/left-out.tsv").read_text())
    assert [(r["fold"], r["column"], r["value"]) for r in left_out] == [
        ("1", "site", "A"),
        ("2", "site", "B"),
        ("3", "site", "C"),
    ]
    assert sum(int(row["knees"]) for row in left_out) == 80
    assert "folds leave out site A in 1, B in 2, C in 3" in done.stderr
    assert "site can be read from the features with an area of" in done.stderr
    page = (tmp_path / "cv/report.html").read_text()
    assert "3 folds, one a site" in page and "in the knees of each site, 3 in all" in page
    refused = run(
        f"oa-cv features.tsv --labels labels.tsv --leave-out site -k 3 {FAST} -o no", status=2
    )
    assert "exclude each other" in refused.stderr
    refused = run(f"oa-cv features.tsv --labels labels.tsv --leave-out sit {FAST} -o no", status=2)
    assert "did you mean 'site'?" in refused.stderr


@pytest.mark.parametrize("sites", [2, 4])
def test_a_signature_is_read_and_nothing_where_there_is_none(make, sites):
    cohort = make(knees=240)
    site = np.array(["ABCD"[i // 2 % sites] for i in range(240)])
    plain = probe(cohort, site.tolist(), seed=0)
    assert plain.values == sites
    assert plain.area == pytest.approx(0.5, abs=0.12)
    assert plain.accuracy == pytest.approx(1 / sites, abs=0.12)
    features = cohort.features.copy()
    for channel, name in enumerate("ABCD"[:sites]):
        at = np.repeat(site == name, cohort.length)
        features[at, channel] += 4 * features[:, channel].std()
    signed = probe(replace(cohort, features=features), site.tolist(), seed=0)
    assert signed.area > 0.9


def test_a_site_of_few_patients_is_passed_over(make):
    cohort = make(knees=120)
    site = ["A"] * 60 + ["B"] * 56 + ["C"] * 4
    assert probe(cohort, site, seed=0).values == 2
    assert probe(cohort, ["A"] * 116 + ["C"] * 4, seed=0) is None


def test_a_site_is_not_read_from_the_other_knee_of_the_patient():
    """Features that are a patient's own, and the same in both knees, tell nothing of others."""
    random = np.random.default_rng(0)
    own = random.standard_normal((80, 300)).astype(np.float32).repeat(2, axis=0)
    cohort = make_cohort(
        knees=[f"{9000000 + i // 2}_00m_{('left', 'right')[i % 2]}" for i in range(160)],
        subjects=[str(9000000 + i // 2) for i in range(160)],
        label=np.arange(160) % 3 == 0,
        features=[own[i : i + 1] for i in range(160)],
    )
    site = np.array(["A", "B"])[random.integers(0, 2, 80)].repeat(2)
    assert probe(cohort, site.tolist(), seed=0).area == pytest.approx(0.5, abs=0.15)
