"""Predictions of other runs and programs beside those of a cross-validation."""

import csv
from pathlib import Path

import numpy as np
import pytest

from oatools.checking.check import check
from oatools.core.errors import UsageError
from oatools.learning.against import name_of, put_beside, read_others
from oatools.learning.cohort import make_cohort
from oatools.learning.results import CrossValidation, OutOfFold

from .conftest import CV

KNEES = [f"p{i // 2}_00m_{'right' if i % 2 else 'left'}" for i in range(12)]
SUBJECTS = [knee.split("_")[0] for knee in KNEES]
LABEL = [0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0]
FOLD = np.array([1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2])
PROBABILITY = [0.1, 0.8, 0.3, 0.2, 0.6, 0.4, 0.5, 0.7, 0.35, 0.15, 0.9, 0.05]


@pytest.fixture
def cohort():
    return make_cohort(KNEES, SUBJECTS, LABEL, [np.zeros((2, 3))] * 12)


@pytest.fixture
def table(tmp_path):
    """Write a table of predictions; options change columns, or one knee's cells."""

    def write(name="other/predictions.tsv", change=None, drop=(), more=(), columns=None, **cells):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = []
        for i, knee in enumerate(KNEES):
            row = {"knee": knee, "label": LABEL[i], "probability": PROBABILITY[i], "fold": FOLD[i]}
            row |= {column: values[i] for column, values in (columns or {}).items()}
            rows.append(row | (cells if i == change else {}))
        rows = [row for i, row in enumerate(rows) if i not in drop]
        rows += [{**rows[0], "knee": knee, "probability": 0.25} for knee in more]
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[::-1])  # in another order
        return path

    return write


def test_a_table_is_read_by_knee_in_whatever_order_and_form(cohort, table):
    written = [f" {knee.upper()}" for knee in KNEES]
    path = table(columns={"knee": written, "subject": [s.upper() for s in SUBJECTS]})
    (found,) = read_others([path], cohort, [FOLD])["other"]
    order = [cohort.knee.index(knee) for knee in KNEES]
    np.testing.assert_array_equal(found.probability[order], PROBABILITY)
    assert np.isnan(found.threshold).all()
    labels = [f"{label}.0" for label in LABEL]
    path = table("more.tsv", columns={"threshold": [0.5] * 12, "label": labels})
    (found,) = read_others([path], cohort, [FOLD])["more"]
    assert (found.threshold == 0.5).all()


@pytest.mark.parametrize(
    "words, options",
    [
        ("no prediction for 2 of 12 knees, the first is p1_00m_left", {"drop": (2, 7)}),
        (
            "has 1 knees that are not tested here, the first is p9_00m_left",
            {"more": ["p9_00m_left"]},
        ),
        ("p1_00m_right has label '1', and 0 here", {"change": 3, "label": 1}),
        ("p1_00m_right has label 'n/a', and 0 here", {"change": 3, "label": "n/a"}),
        ("p1_00m_right .*is the first that is with other knees", {"change": 3, "fold": 1}),
        ("p5_00m_right .*is the first that is with other knees", {"change": 11, "fold": 3}),
        (
            "p0_00m_left has the probability '1.5', which is not from 0",
            {"change": 0, "probability": 1.5},
        ),
        ("p0_00m_left has the probability 'n/a'", {"change": 0, "probability": "n/a"}),
        ("p0_00m_left: column 'probability' holds 'high'", {"change": 0, "probability": "high"}),
        (
            "p2_00m_left is of patient p2 .*, and of p3",
            {"columns": {"subject": ["p0", "p0", "p1", "p1", "p3", "p2", *SUBJECTS[6:]]}},
        ),
        ("p0_00m_left is there twice", {"more": ["p0_00m_left"]}),
        ("no column 'fold'", {"columns": None}),
    ],
)
def test_a_table_that_disagrees_is_refused_by_the_name_of_the_knee(cohort, table, words, options):
    path = table(**options)
    if words.endswith("'fold'"):
        path.write_text("knee\tlabel\tprobability\np0_00m_left\t0\t0.5\n")
    with pytest.raises(UsageError, match=words) as raised:
        read_others([path], cohort, [FOLD])
    assert "predictions.tsv" in str(raised.value)


def test_folds_are_the_same_whatever_they_are_called(cohort, table):
    names = ["b" if fold == 1 else "a" for fold in FOLD]
    read_others([table(columns={"fold": names})], cohort, [FOLD])
    # One fold is no two.
    with pytest.raises(UsageError, match="its folds are others"):
        read_others([table(columns={"fold": [1] * 12})], cohort, [FOLD])


def test_knees_that_are_trained_on_only_have_no_predictions(cohort, table):
    held_out = np.where(FOLD == 2, 1, 0)
    path = table(drop=np.flatnonzero(FOLD == 1))
    (found,) = read_others([path], cohort, [held_out])["other"]
    assert np.isnan(found.probability).sum() == 6
    with pytest.raises(UsageError, match="6 knees that are not tested here"):
        read_others([table()], cohort, [held_out])


def test_repeats_are_found_beside_the_first_or_asked_to_be_left_out(cohort, table):
    other = 3 - FOLD
    other[:2] = 1  # no longer the folds of the first
    path = table()
    with pytest.raises(UsageError, match="folds of repeat 2 .*; give repeats of 1"):
        read_others([path], cohort, [FOLD, other])
    table(
        "other/repeat-2/predictions.tsv", columns={"fold": other, "probability": PROBABILITY[::-1]}
    )
    first, second = read_others([path], cohort, [FOLD, other])["other"]
    np.testing.assert_array_equal(first.probability[::-1], second.probability)


@pytest.mark.parametrize(
    "path, name",
    [
        ("other/predictions.tsv", "other"),
        ("/a/b/cv-2/predictions-images-linear.tsv", "cv-2 images-linear"),
        ("mine.tsv", "mine"),
        ("other/mine.tsv", "mine"),
        ("predictions.tsv", "predictions"),
        ("../predictions.tsv", "predictions"),
    ],
)
def test_predictions_are_called_after_their_folder_or_file(path, name):
    assert name_of(path) == name


def test_two_of_one_name_are_refused(cohort, table):
    paths = [table("a/x.tsv"), table("b/x.tsv")]
    with pytest.raises(UsageError, match="two tables of predictions would be called x"):
        read_others(paths, cohort, [FOLD])


def cross_validation(cohort):
    own = OutOfFold(
        np.array(PROBABILITY)[[KNEES.index(k) for k in cohort.knee]] ** 2, np.full(12, 0.3)
    )
    linear = OutOfFold(own.probability[::-1], own.threshold)
    fold = FOLD[[KNEES.index(k) for k in cohort.knee]]
    models = {"images": own, "images linear": linear}
    return CrossValidation(cohort, fold, models, [np.ones(2)] * 12, [{}, {}], 0, 2)


def test_the_same_predictions_differ_by_nothing_and_lack_what_needs_a_threshold(cohort, table):
    result = cross_validation(cohort)
    beside = put_beside(result, read_others([table()], cohort, [result.fold]))
    assert list(beside.models) == ["images", "images linear", "other"]
    metrics = beside.metrics()
    # The square of a probability has its order.
    assert metrics.get("images - other", "difference", "roc_auc").value == 0
    found = {name: metrics.get("other", "pooled", name).value for name in metrics.names()}
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined >= {"f1", "precision", "recall", "specificity", "tn", "tp", "fn", "fp"}
    assert not undefined & {"roc_auc", "pr_auc", "brier", "prevalence"}
    assert not np.isnan(metrics.get("images", "pooled", "f1").value)
    cells = [prediction.row() for prediction in beside.predictions("other")]
    assert {(row["predicted"], row["threshold"]) for row in cells} == {("n/a", "n/a")}


@pytest.mark.parametrize(
    "name", ["images linear.tsv", "images-linear.tsv", "images/predictions.tsv"]
)
def test_a_name_that_a_model_has_is_refused(cohort, table, name):
    result = cross_validation(cohort)
    others = read_others([table(name)], cohort, [result.fold])
    with pytest.raises(UsageError, match="as a model is; rename their table"):
        put_beside(result, others)


def test_two_finished_runs_are_compared_in_one_line_without_any_training(study, run, tmp_path):
    study(knees=40)
    run(f"{CV} --repeats 2 -o a")
    run(f"{CV} --repeats 2 --pooling mean -o b")
    said = run(f"{CV} --repeats 2 -o a --against b/predictions.tsv").stderr
    assert "0 models trained, 4 kept" in said
    assert "images - b: ROC AUC" in said
    theirs = Path("b/predictions.tsv").read_text()
    assert Path("a/predictions-b.tsv").read_text() == theirs
    assert (
        Path("a/repeat-2/predictions-b.tsv").read_text()
        == Path("b/repeat-2/predictions.tsv").read_text()
    )
    page = Path("a/report.html").read_text()
    assert "--against b/predictions.tsv" in page and "images - b" in page
    assert check("a") == []
    # Without it, all is as it was before.
    run(f"{CV} --repeats 2 -o a")
    assert not list(Path("a").rglob("predictions-*"))


def test_what_cannot_be_compared_is_told_before_anything_is_trained(study, run, tmp_path):
    study(knees=40)
    run(f"{CV} --repeats 1 -o a")
    for words, more in (
        ("its folds are others", "-o b --seed 1 --against a/predictions.tsv"),
        ("no predictions in the folds of repeat 2", "-o b --repeats 2 --against a/predictions.tsv"),
        ("is of the run itself", "-o a --against a/predictions-x.tsv"),
        ("gone.tsv", "-o b --against gone.tsv"),
    ):
        Path("a/predictions-x.tsv").write_text(Path("a/predictions.tsv").read_text())
        said = run(f"{CV} --repeats 1 {more}", status=2)
        assert words in said.stderr, said.stderr
        assert not list(Path().glob("b/*.safetensors"))


def test_a_patient_is_the_one_of_the_labels_also_where_no_name_of_a_knee_says_so(tmp_path):
    knees = [f"k{i}" for i in range(12)]
    cohort = make_cohort(knees, SUBJECTS, LABEL, [np.zeros((2, 3))] * 12)
    order = [knees.index(knee) for knee in cohort.knee]
    path = tmp_path / "mine.tsv"

    def write(subjects):
        lines = ["knee\tsubject\tlabel\tprobability\tfold"]
        for i, knee in enumerate(knees):
            cells = [knee, subjects[i], LABEL[i], PROBABILITY[i], FOLD[i]]
            lines.append("\t".join(map(str, cells)))
        path.write_text("\n".join(lines) + "\n")

    write(SUBJECTS)
    read_others([path], cohort, [FOLD[order]])
    write([*SUBJECTS[:4], "p3", "p2", *SUBJECTS[6:]])
    with pytest.raises(UsageError, match="k4 is of patient p2 in the labels, and of p3 in .*mine"):
        read_others([path], cohort, [FOLD[order]])
