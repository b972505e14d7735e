"""oa-info: files of each kind say what they are; a broken one fails alone."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from oatools.commands import convert, embed, info, orient
from oatools.learning.files import FORMAT, KEY
from oatools.learning.sealed import write_sealed

NAME = "9000001_00m_left_cor-iw-tse"
AFFINE = np.array([[0.9, 0, 0, -100.0], [0, 0, 3.0, -18.0], [0, 0.9, 0, -12.0], [0, 0, 0, 1]])


def call(command, *words, given=None):
    words = [*map(str, words), "--timeout", "0"]
    return CliRunner().invoke(command.main, words, input=given)


def facts(*words, given=None):
    """The kind of each path, and its facts, and what else was said."""
    done = call(info, "--table", *words, given=given)
    header, *lines = done.stdout.splitlines()
    assert header == "path\tkind\tkey\tvalue", done.stderr
    found = {}
    for line in lines:
        path, kind, key, value = line.split("\t")
        found.setdefault(path, {"kind": kind})[key] = value
    return found, done


@pytest.fixture
def volume(write_volume, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = np.random.default_rng(0).normal(500, 90, (28, 24, 5)).astype(np.int16)
    write_volume(f"scans/{NAME}.nii.gz", data, AFFINE)
    sidecar = {"EchoTime": 0.029, "PatientName": "Doe^Jane"}
    (tmp_path / f"scans/{NAME}.json").write_text(json.dumps(sidecar))
    return f"scans/{NAME}.nii.gz"


def test_a_volume_of_another_program(volume):
    found, done = facts(volume)
    told = found[volume]
    assert told["kind"] == "volume" and told["voxels"] == "28 x 24 x 5"
    assert told["spacing_mm"] == "0.9 x 0.9 x 3" and told["axes"] == "RSA"
    assert told["EchoTime"] == "0.029" and "written_by" not in told
    assert "Doe" not in done.stdout and done.exit_code == 0


def test_steps_of_a_volume_and_of_features(volume):
    made = call(orient, volume, "-o", "o")
    weights = ["--backbone", "mobilenetv2_100", "--weights", "random", "--slices", 3]
    assert call(embed, "-", "-o", "f", *weights, given=made.stdout).exit_code == 0
    oriented, features = f"o/{NAME}.nii.gz", f"f/{NAME}.h5"
    found, _ = facts(oriented, features)
    assert found[oriented]["written_by"] == "oa-orient" == found[oriented]["step.1.tool"]
    assert found[oriented]["step.1.input.name"] == f"{NAME}.nii.gz"
    told = found[features]
    assert told["kind"] == "features" and told["shape.features"] == "3 x 1280"
    assert (told["backbone"], told["knee"]) == ("mobilenetv2_100", "9000001_00m_left")
    assert (told["step.1.tool"], told["step.2.tool"]) == ("oa-orient", "oa-embed")
    text = call(info, "--text", features).stdout.splitlines()
    assert text[0] == f"f/{NAME}.h5: features" and len({line.find("  ", 2) for line in text}) > 1
    assert any(line.split() == ["shape.features", "3", "x", "1280"] for line in text)


def test_a_model_and_a_long_list_in_it(tmp_path):
    path = tmp_path / "m.safetensors"
    record = {"format": FORMAT, "endpoint": "jsn12", "training_knees": [f"k{n}" for n in range(40)]}
    write_sealed(path, KEY, record, {"x": torch.zeros(2)})
    told = facts(path)[0][str(path)]
    assert (told["kind"], told["endpoint"], told["training_knees"]) == (
        *("model", "jsn12"),
        "40 values",
    )


def test_a_table_is_described_or_followed(volume, tmp_path):
    table = f"knee\tlabel\tpath\na\t1\t{volume}\nb\t0\tn/a\nc\t1\tn/a\n"
    (tmp_path / "t.tsv").write_text(table)
    told = facts("t.tsv")[0]["t.tsv"]
    assert told["kind"] == "table" and told["rows"] == told["knees"] == "3"
    assert (told["label.0"], told["label.1"]) == ("1", "2")
    found, done = facts("-", given="".join(table.splitlines(keepends=True)[:2]))
    assert list(found) == [volume] and done.exit_code == 0


def test_folders_of_a_cross_validation_and_others(tmp_path):
    folder = tmp_path / "cv"
    folder.mkdir()
    (folder / "folds.tsv").write_text("knee\tsubject\tfold\na\tA\t1\nb\tB\t2\n")
    (folder / "predictions.tsv").write_text("knee\tlabel\tprobability\na\t1\t0.5\n")
    told = facts(folder)[0][str(folder)]
    assert told["kind"] == "cross-validation" and told["caution"] == "its run did not end"
    assert (told["knees"], told["fold.1"], told["models"]) == ("2", "1", "0")
    told = facts(tmp_path)[0][str(tmp_path)]
    assert (told["kind"], told["folders"], told["try"]) == ("folder", "1", f"oa-check {tmp_path}")


def test_dicom_is_known_as_such_with_the_command_that_takes_it(release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = next(path.parent for path in sorted(release.rglob("001")))
    tree = release / "00m"
    zipped = tmp_path / "a scan.zip"
    zipped.write_bytes(b"PK")
    found = facts(series, tree, series / "001", zipped)[0]
    kinds = [told["kind"] for told in found.values()]
    assert kinds == ["DICOM files", "folder with DICOM files", "DICOM file", "archive"]
    assert found[str(series)]["files"] == str(len(list(series.iterdir())))
    assert found[str(series)]["series"] == "1"
    taken = [series, tree, series, f"'{zipped}'"]
    assert [told["try"] for told in found.values()] == [
        f"oa-convert {name} -o nii" for name in taken
    ]
    told = str(found)
    assert "phantom" not in told.replace(str(release), "").lower()  # no word of a header
    done = call(convert, "--list", series)
    assert done.exit_code == 0 and done.stdout.count("\n") == 2


def test_a_folder_of_results_is_counted_by_kind_of_file(volume):
    told = facts("scans")[0]["scans"]
    assert told["kind"] == "folder" and told["files.nii.gz"] == told["files.json"] == "1"
    text = call(info, "--table", "scans").stdout
    assert "\ttry\toa-info scans/*.nii*\n" in text and "\ttry\toa-check scans\n" in text


def test_a_broken_file_fails_alone(volume, tmp_path):
    names = ["cut.nii.gz", "cut.h5", "cut.safetensors", "cut.tsv", "cut.docx"]
    for name in names:
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n\0\0")
    found, done = facts(*names, "absent.h5", volume)
    assert list(found) == [volume] and done.exit_code == 1
    for name in [*names, "absent.h5"]:
        assert name in done.stderr
    assert "1 done" in done.stderr and "6 failed" in done.stderr
    assert "report" not in done.stderr
