"""Volumes are read where a hang or crash of it can be survived."""

import signal
import time

import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.features import volumereaders
from oatools.features.volumereaders import VolumeReaders
from oatools.imaging.volume import read_volume


@pytest.fixture
def noise(write_volume):
    data = np.random.default_rng(0).integers(0, 900, (160, 160, 64), dtype=np.int16)
    return write_volume("9000001_00m_left.nii.gz", data, np.diag([0.5, 0.5, 3.0, 1.0]))


def test_the_volume_is_the_one_that_is_read_here(noise):
    there, here = VolumeReaders(None).read(noise), read_volume(noise)
    assert there.data.dtype == here.data.dtype and np.array_equal(there.data, here.data)
    assert there.data.flags.f_contiguous == here.data.flags.f_contiguous
    assert np.array_equal(there.affine, here.affine)


def test_what_is_wrong_with_a_volume_is_said_as_here(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no volume")
    with pytest.raises(ItemError) as here:
        read_volume(tmp_path / "a.nii.gz")
    with pytest.raises(ItemError) as there:
        VolumeReaders(None).read(tmp_path / "a.nii.gz")
    assert (there.value.reason, there.value.remedy) == (here.value.reason, here.value.remedy)


def test_a_reading_that_hangs_is_stopped_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(volumereaders, "read_volume", time.sleep)
    readers = VolumeReaders(0.5)
    with pytest.raises(ItemError, match="reading it took more than 0.5 s and was stopped") as said:
        readers.read(600)
    assert "`timeout`" in said.value.remedy
    assert readers.read(0) is None


def test_a_crash_of_the_reading_is_that_of_one_volume(monkeypatch):
    monkeypatch.setattr(volumereaders, "read_volume", signal.raise_signal)
    readers = VolumeReaders(None)
    with pytest.raises(ItemError, match=r"ended the process that did \(SIGSEGV\)"):
        readers.read(signal.SIGSEGV)
    assert readers.read(signal.SIGCONT) is None


def test_a_volume_that_takes_too_long_is_a_failed_row(noise, shell, tmp_path):
    line = f"oa-embed --weights random --backbone mobilenetv2_050 --slices 1 {noise} -o"
    done = shell(f"{line} a --timeout 0.001", status=1)
    assert done.stderr.splitlines() == [
        "oa-embed: 9000001_00m_left: reading it took more than 0.001 s and was stopped; it may be "
        "damaged: try it alone, or give it more time (--timeout)",
        "oa-embed: 0 done, 0 kept, 1 failed",
    ]
    assert not list((tmp_path / "a").rglob("*.h5"))
