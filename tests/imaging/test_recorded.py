"""Volumes and their sidecars, written together: by several runs at once, on full disks, over inputs."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.core.provenance import Step
from oatools.core.replacing import Replace
from oatools.features.featurefile import Features, write_features
from oatools.imaging import recorded
from oatools.imaging.recorded import write_recorded
from oatools.imaging.rows import OrientSettings, VolumeWriter, orient_volume
from oatools.imaging.volume import Volume, read_volume
from oatools.phantom import series


def volume_of(value, edge=8):
    return Volume(np.full((edge, edge, edge), value, np.uint8), np.eye(4))


def fields_of(value, digest="0" * 64):
    return {"OatoolsSteps": [Step("oa-n4", {"bins": value}, "a.nii.gz", digest).to_json()]}


def value_in_sidecar(folder):
    return json.loads((folder / "a.json").read_text())["OatoolsSteps"][-1]["parameters"]["bins"]


def is_pair(folder):
    """Whether the sidecar has the digest of the volume beside it, by nothing of ours."""
    record = json.loads((folder / "a.json").read_text())["OatoolsOutput"]
    return record["sha256"] == hashlib.sha256((folder / "a.nii.gz").read_bytes()).hexdigest()


@pytest.mark.parametrize("replacing", [Replace.ANYTHING, Replace.NOTHING])
def test_runs_at_once_with_other_settings_leave_a_volume_with_its_own_sidecar(
    tmp_path, monkeypatch, replacing
):
    """Each gives up the processor between the sidecar's name and the volume's."""
    publish = recorded.UnderWay.publish

    def slowly(file):
        publish(file)
        threading.Event().wait(0.001)

    monkeypatch.setattr(recorded.UnderWay, "publish", slowly)
    for number in range(12):
        folder, failed = tmp_path / str(number), []
        folder.mkdir()
        start = threading.Barrier(3)

        def write(value, folder=folder, failed=failed, start=start):
            start.wait()
            try:
                write_recorded(
                    folder / "a.nii.gz", volume_of(value), fields_of(value), replacing=replacing
                )
            except ItemError as error:
                failed.append(error.reason)

        threads = [threading.Thread(target=write, args=(value,)) for value in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert is_pair(folder)
        assert read_volume(folder / "a.nii.gz").data[0, 0, 0] == value_in_sidecar(folder)
        assert len(failed) == (0 if replacing is Replace.ANYTHING else 2)
        assert all("was made with other settings (bins" in reason for reason in failed)
        assert sorted(os.listdir(folder)) == ["a.json", "a.nii.gz"]


@pytest.mark.parametrize(
    "name,content",
    [("a.json", b'{"mine": 1}'), ("a.json", b"my notes"), ("a.tsv", b"mine"), ("a.png", b"")],
)
def test_a_file_of_somebody_else_beside_a_volume_is_not_replaced(tmp_path, name, content):
    beside = {".tsv": b"x", ".png": b"y"}
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ItemError, match=f"{name} is there without a.nii.gz, and is another's"):
        write_recorded(tmp_path / "a.nii.gz", volume_of(1), fields_of(1), beside=beside)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == content
    write_recorded(
        tmp_path / "a.nii.gz", volume_of(1), fields_of(1), beside=beside, replacing=Replace.ANYTHING
    )
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    # What an interrupted run leaves is completed.
    (tmp_path / "a.nii.gz").unlink()
    write_recorded(tmp_path / "a.nii.gz", volume_of(1), fields_of(1), beside=beside)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    # And what one with other settings leaves is not.
    (tmp_path / "a.nii.gz").unlink()
    with pytest.raises(ItemError, match="a.json is there without a.nii.gz"):
        write_recorded(tmp_path / "a.nii.gz", volume_of(2), fields_of(2), beside=beside)


def test_an_input_that_is_replaced_while_it_is_read_is_refused(tmp_path, write_volume, monkeypatch):
    source = write_volume("k_00m_left_cor-x.nii.gz", np.ones((9, 9, 9), np.uint8))
    other = write_volume("other.nii.gz", np.zeros((9, 9, 9), np.uint8))
    row = {"knee": "k_00m_left", "sequence": "cor-x", "side": "left", "path": str(source)}
    out = VolumeWriter(tmp_path / "out")
    settings = OrientSettings(side_check="trust")
    from oatools.imaging import rows

    def read(path):
        found = read_volume(path)
        other.replace(source)
        return found

    monkeypatch.setattr(rows, "read_volume", read)
    with pytest.raises(ItemError, match="cor-x.nii.gz was changed while it was read"):
        orient_volume(row, out, settings)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(rows, "read_volume", read_volume)
    assert not orient_volume(row, out, settings).kept
    (tmp_path / "k_00m_left_cor-x.json").write_text("{}")  # its sidecar is read, too

    def read_and_describe(path):
        (tmp_path / "k_00m_left_cor-x.json").write_text('{"EchoTime": 0.1}')
        return read_volume(path)

    monkeypatch.setattr(rows, "read_volume", read_and_describe)
    with pytest.raises(ItemError, match="cor-x.json was changed while it was read"):
        orient_volume(row, VolumeWriter(tmp_path / "out2"), settings)


def noise(edge):
    return np.random.default_rng(0).integers(0, 255, (edge, edge, edge), dtype=np.uint8)


def write_a_volume(folder):
    # Larger than the sidecar and what lies beside it.
    noisy = Volume(noise(64), np.eye(4))
    write_recorded(folder / "a.nii.gz", noisy, fields_of(1), beside={".tsv": b"x", ".png": b"x"})


def write_something_beside(folder):
    """The volume fits; the picture does not."""
    write_recorded(
        folder / "a.nii.gz",
        volume_of(1),
        fields_of(1),
        beside={".tsv": b"x", ".png": bytes(200_000)},
    )


def write_a_feature_file(folder):
    features = np.random.default_rng(0).random((200, 1280), dtype=np.float32)
    write_features(folder / "a.h5", Features(features, np.arange(200.0), {"backbone": "x"}))


def write_a_series(folder):
    protocol = series.SEQUENCES["cor-iw-tse"]
    identity = {"SeriesInstanceUID": "1.2", "SeriesTime": "090000", "PatientID": "9000000"}
    pixels = np.zeros((400, 400, 2), np.uint16)
    series.write_series(folder, protocol, pixels, np.eye(4), identity)


WRITERS = {
    "a.nii.gz": write_a_volume,
    "a.png": write_something_beside,
    "a.h5": write_a_feature_file,
    "001": write_a_series,
}


@contextmanager
def no_file_larger_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_grows_too_large_is_an_error_that_names_it_and_leaves_nothing(tmp_path, name):
    with no_file_larger_than(100_000), pytest.raises(OSError) as caught:
        WRITERS[name](tmp_path)
    assert (caught.value.strerror, caught.value.filename) == (
        "File too large",
        str(tmp_path / name),
    )
    assert [left for left in os.listdir(tmp_path) if left != "001"] == []


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk cannot be mounted here: not root, or not allowed")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(small_disk, name):
    with pytest.raises(OSError) as caught:
        WRITERS[name](small_disk)
    assert caught.value.strerror == "No space left on device"
    assert caught.value.filename == str(small_disk / name)
    assert [left for left in os.listdir(small_disk) if left != "001"] == []


def test_a_volume_whose_folder_goes_leaves_no_sidecar(tmp_path, monkeypatch):
    """The volume is the last to get its name; when it cannot, the others give theirs up."""
    publish = recorded.UnderWay.publish

    def fails(file):
        if file.path.name == "a.nii.gz":
            raise OSError(5, "Input/output error", str(file.path))
        publish(file)

    monkeypatch.setattr(recorded.UnderWay, "publish", fails)
    with pytest.raises(OSError, match="Input/output error"):
        write_recorded(tmp_path / "a.nii.gz", volume_of(1), fields_of(1), beside={".tsv": b"x"})
    assert os.listdir(tmp_path) == []
