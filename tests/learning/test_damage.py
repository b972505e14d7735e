"""Models and feature files that were damaged since they were made."""

import json

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from oatools.core.errors import UsageError
from oatools.core.replacing import Replace
from oatools.learning.files import is_done, load_model

from .conftest import CV, TRAIN


def exchange(path, change_record=lambda record: None, change_tensors=lambda tensors: None):
    """Write a model anew with other content, and all else as it was."""
    with safe_open(path, "np") as file:
        record = json.loads(file.metadata()["oatools"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change_record(record)
    change_tensors(tensors)
    save_file(tensors, path, {"oatools": json.dumps(record)})


def turn_a_weight(tensors):
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + np.float32(1e-3)


def flip(path):
    """Change a byte in the last tensor, as a bad disk does."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


#: Ways in which a model is damaged: emptied, cut at places, changed in a weight or in its record.
DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in its weights": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "cut in its record": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "a bit": flip,
    "a weight": lambda path: exchange(path, change_tensors=turn_a_weight),
    "the threshold": lambda path: exchange(path, lambda record: record.update(threshold=0.123)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_that_was_damaged_is_refused_and_trained_again(study, run, tmp_path, damage):
    study(knees=40)
    run(TRAIN)
    path = tmp_path / "m.safetensors"
    whole = path.read_bytes()
    assert "m.safetensors kept" in run(TRAIN).stderr
    DAMAGES[damage](path)
    with pytest.raises(UsageError, match="damaged|not a model that oa-train or oa-cv wrote"):
        load_model(path)
    done = run(TRAIN)
    assert "warning: m.safetensors was damaged since it was made; it is made again" in done.stderr
    assert "m.safetensors trained" in done.stderr
    assert path.read_bytes() == whole


def test_a_fold_that_was_damaged_is_trained_again_and_the_others_are_kept(study, run, tmp_path):
    study(knees=40)
    run(f"{CV} -o cv")
    path = tmp_path / "cv/fold-2.safetensors"
    whole = path.read_bytes()
    flip(path)
    done = run(f"{CV} -o cv")
    assert "fold-2.safetensors was damaged since it was made" in done.stderr
    assert "1 models trained, 1 kept" in done.stderr
    assert path.read_bytes() == whole


def test_another_model_or_file_is_never_taken_for_a_damaged_one(study, run, tmp_path):
    study(knees=40)
    run(TRAIN)
    path = tmp_path / "m.safetensors"
    flip(path)
    with pytest.raises(UsageError, match="was made from other inputs or settings"):
        is_done(path, "other", Replace.NOTHING)
    for content in (b"an essay", b"x", b'\x08\0\0\0\0\0\0\0{"a":{}}'):
        path.write_bytes(content)
        run(TRAIN, status=2)
        assert path.read_bytes() == content


def test_a_model_whose_digest_was_removed_is_refused_and_trained_again(study, run, tmp_path):
    study(knees=40)
    run(TRAIN)
    path = tmp_path / "m.safetensors"
    exchange(path, lambda record: record.pop("content_sha256"))
    with pytest.raises(UsageError, match="it has no digest of its content.; train it again"):
        load_model(path)
    assert "m.safetensors trained" in run(TRAIN).stderr


def test_a_feature_file_that_names_another_patient_since_is_left_out_and_named(
    study, run, tmp_path
):
    study(knees=40)
    path = tmp_path / "features/9000004_00m_left_cor-iw-tse.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["subject"] = "9000005"
    done = run(TRAIN, status=1)
    assert "its attributes are not those that were written; embed the volume again" in done.stderr
    assert "39 knees of 20 patients used" in done.stderr


def test_a_feature_file_that_was_damaged_is_left_out_and_named(study, run, tmp_path):
    study(knees=40)
    path = tmp_path / "features/9000004_00m_left_cor-iw-tse.h5"
    with h5py.File(path, "r+") as file:
        file["features"][1, 2] += 1
    done = run(TRAIN, status=1)
    assert "its numbers are not those that were written; embed the volume again" in done.stderr
    assert "39 knees of 20 patients used" in done.stderr
