"""What a run of oa-cv says of its tables, in its report and on standard error."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from oatools.commands.training_options import without_folders

from .conftest import CV, synthetic

ONCE = f"{CV} --repeats 1"


def add_columns(path, **columns):
    """Add columns to a table, with a value a line."""
    header, *lines = path.read_text().splitlines()
    added = [[header, *columns]]
    for line, *cells in zip(lines, *columns.values(), strict=True):
        added.append([line, *map(str, cells)])
    path.write_text("\n".join("\t".join(cells) for cells in added) + "\n")


def test_widths_doubtful_variables_and_characteristics_are_reported(study, run, tmp_path):
    study(knees=60)
    label = synthetic(knees=60)[2]
    random = np.random.default_rng(1)
    score = np.round(random.normal(size=60) + 2.2 * label, 3)
    widths = np.round(random.normal(4.0, 1.2, 60), 2)
    assert 0.9 < roc_auc_score(label, score) < 0.99
    add_columns(
        tmp_path / "labels.tsv", jsw=widths, score=score, kl=[1] * 60, endpoint=["jsn12"] * 60
    )
    said = run(f"{ONCE} --clinical bmi,score -o cv").stderr
    doubt = f"'score' alone has an AUC of {roc_auc_score(label, score):.3f}, more than what is"
    assert f"warning: {doubt}" in said
    assert "Had no knee changed at all, measurement error alone (SEM 0.3 mm)" in said
    card, page = (Path("cv", name).read_text() for name in ("model-card.md", "report.html"))
    assert f"> Warning: {doubt}" in card and "(SEM 0.3 mm)" in card and "(SEM 0.3 mm)" in page
    assert doubt.replace("'", "&#39;") in page
    assert "| score *, mean ± SD |" in card and "| jsw (mm), mean ± SD |" in card
    assert "| kl: 1, n (%) | 60 (100.0) |" in card
    said = run(f"{ONCE} --clinical bmi,score -o cv --sem 0.4").stderr
    assert "(SEM 0.4 mm)" in said and "0 models trained" in said
    assert "--sem 0.4" in Path("cv/report.html").read_text()


def test_a_variable_that_was_let_pass_is_named_in_the_report(study, run, tmp_path):
    study(knees=60, clinical=1000.0)
    run(f"{ONCE} --clinical bmi --allow-label-leakage -o cv")
    said = "'bmi' alone tells the two classes apart without an error"
    assert f"> Warning: {said}" in Path("cv/model-card.md").read_text()


def test_warnings_in_a_report_name_no_folder_of_the_machine(study, run, tmp_path):
    folder = tmp_path / "my scans"
    folder.mkdir()
    study(knees=40)
    Path(tmp_path / "features").rename(folder / "features")
    table = tmp_path / "features.tsv"
    table.write_text(table.read_text().replace("\tfeatures/", f"\t{folder}/features/"))
    for path in (folder / "features").iterdir():
        with h5py.File(path) as file:
            values, position = file["features"][()], file["position"][()]
        path.unlink()
        with h5py.File(path, "w") as file:  # as another program writes it
            file["features"], file["position"] = values, position
            file.attrs["backbone"] = "resnet18"
    said = run(f"{ONCE} -o cv").stderr
    assert "holds no digest of its numbers" in said
    for path in Path("cv").iterdir():
        content = path.read_bytes()
        assert b"my scans" not in content and bytes(tmp_path) not in content, path
    assert "holds no digest of its numbers" in Path("cv/report.html").read_text()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("/data/my files/l.tsv: odd", "l.tsv: odd"),
        ("no digest in '/home/me/x.h5' (/home/me/y.h5)", "no digest in 'x.h5' (y.h5)"),
        ("cv/x.tsv and 3 / 4 of a/b", "cv/x.tsv and 3 / 4 of a/b"),
    ],
)
def test_folders_of_absolute_paths_are_left_out(text, shown):
    assert without_folders(text, ["/data/my files/l.tsv", "labels.tsv"]) == shown


def test_the_flow_of_the_labels_is_read_before_anything_is_trained(study, run, tmp_path):
    study(knees=40)
    flow = tmp_path / "flow.tsv"
    flow.write_text("reason\tknees\nassessed\t50\nno JSW\t10\nlabelled\t40\npositive\t14\n")
    run(f"{ONCE} -o cv --flow flow.tsv")
    card = Path("cv/model-card.md").read_text()
    assert "- 50 knees assessed\n- 10 knees left out\n  - 10 no JSW\n- 40 knees used" in card
    assert "--flow flow.tsv" in card
    flow.write_text("reason\tknees\nassessed\t39\nlabelled\t39\npositive\t14\n")
    said = run(f"{ONCE} -o other --flow flow.tsv", status=2).stderr
    assert "flow.tsv: 39 knees are labelled, and 40 in the labels" in said
    assert not Path("other").exists()
