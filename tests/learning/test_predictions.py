"""The tables of predictions: of each model, and of other runs that it is compared with."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

from oatools.checking.check import check
from oatools.learning.predictions import file_of

from ..conftest import flip
from .conftest import CV

TABLES = {
    "images+clinical": "predictions.tsv",
    "images": "predictions-images.tsv",
    "images linear": "predictions-images-linear.tsv",
    "clinical logistic": "predictions-clinical-logistic.tsv",
    "clinical boosting": "predictions-clinical-boosting.tsv",
}
COMPARED = CV.replace(" --no-compare", " --clinical bmi")


def rows_of(path):
    with Path(path).open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def areas(rows):
    """The areas under the ROC curve of the folds of a table, by scikit-learn."""
    found = {}
    for fold in {row["fold"] for row in rows}:
        own = [row for row in rows if row["fold"] == fold]
        found[f"fold-{fold}"] = oracle.roc_auc_score(
            [int(row["label"]) for row in own], [float(row["probability"]) for row in own]
        )
    return found


def test_the_numbers_of_every_model_can_be_computed_again_from_the_tables(study, run, tmp_path):
    study(knees=60)
    run(f"{COMPARED} -o cv")
    reported = {
        (row["model"], row["scope"]): row["value"]
        for row in rows_of("cv/metrics.tsv")
        if row["metric"] == "roc_auc"
    }
    first = rows_of("cv/predictions.tsv")
    for model, name in TABLES.items():
        rows = rows_of(Path("cv") / name)
        assert list(rows[0]) == list(first[0])
        for column in ("knee", "subject", "visit", "side", "label", "fold"):
            assert [row[column] for row in rows] == [row[column] for row in first]
        again = areas(rows)
        assert len(again) == 2
        for scope, area in again.items():
            assert float(reported[model, scope]) == pytest.approx(area, abs=2e-6)
        mean = float(reported[model, "mean"])
        assert mean == pytest.approx(np.mean(list(again.values())), abs=2e-6)
        called = [int(float(row["probability"]) >= float(row["threshold"])) for row in rows]
        assert [int(row["predicted"]) for row in rows] == called
    assert (
        len({tuple(row["probability"] for row in rows_of(Path("cv") / n)) for n in TABLES.values()})
        == 5
    )
    assert check("cv") == []
    listed = (tmp_path / "cv/checksums.sha256").read_text()
    for name in TABLES.values():
        assert f"  {name}\n" in listed
    flip(Path("cv/predictions-images-linear.tsv"))
    assert [each.path for each in check("cv")] == ["cv/predictions-images-linear.tsv"]


def test_tables_of_models_that_a_later_run_has_not_are_removed_and_no_others(study, run, tmp_path):
    study(knees=40)
    run(f"{COMPARED} -o cv")
    Path("cv/predictions-mine.tsv").write_text("knee\tprobability\nx\t0.5\n")
    changed = Path("cv/predictions-images.tsv")
    changed.write_text(changed.read_text() + "\n")
    run(f"{COMPARED} --no-compare -o cv")
    left = {path.name for path in Path("cv").glob("predictions*")}
    assert left == {"predictions.tsv", "predictions-mine.tsv", "predictions-images.tsv"}


@pytest.mark.parametrize(
    "model, name",
    [
        ("images linear", "predictions-images-linear.tsv"),
        ("images+clinical", "predictions-images+clinical.tsv"),
        ("../../etc/x", "predictions-..-..-etc-x.tsv"),
        ("a\tb\nc", "predictions-a-b-c.tsv"),
    ],
)
def test_the_name_of_a_table_is_a_name_of_a_file(model, name):
    assert file_of(model) == name
