"""Volumes of a few kilobytes that state or unpack to gigabytes, read under a limit of memory."""

import bz2
import gzip
import struct

import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.imaging.volume import read_volume

from ..conftest import read_in_2_gib

GIB = 1 << 30


def header(shape, datatype=2, slope=0.0, offset=352.0):
    """The header of a volume of 1 mm in an identity sform (nifti1.h)."""
    head = bytearray(352)
    for form, place, *values in (
        ("<i", 0, 348),
        ("<8h", 40, 3, *shape, 1, 1, 1, 1),
        ("<h", 70, datatype),
        ("<8f", 76, 1, 1, 1, 1, 1, 1, 1, 1),
        ("<f", 108, offset),
        ("<f", 112, slope),
        ("<h", 254, 1),
        ("<12f", 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0),
        ("<4s", 344, b"n+1\0"),
    ):
        struct.pack_into(form, head, place, *values)
    return bytes(head)


ZEROS = gzip.compress(bytes(1 << 26), 9, mtime=0)  # may stand behind itself, as often as one likes
BZ_ZEROS = bz2.compress(bytes(1 << 26))

BOMBS = {
    "states.nii.gz": (
        gzip.compress(header((1700, 1700, 1700))) + 80 * ZEROS,
        "1700 x 1700 x 1700 voxels, which takes 59.48 GiB of memory where 2 GiB are the limit",
    ),
    "states.nii.bz2": (
        bz2.compress(header((1700, 1700, 1700))) + 80 * BZ_ZEROS,
        "which takes 59.48 GiB",
    ),
    "scaled.nii.gz": (
        gzip.compress(header((450, 450, 450), slope=2.0)) + 2 * ZEROS,
        "450 x 450 x 450 voxels, which takes 2.037 GiB",
    ),
    "doubles.nii.gz": (
        gzip.compress(header((450, 450, 450), datatype=64)) + 12 * ZEROS,
        "which takes 2.631 GiB",
    ),
    "goes-on.nii.gz": (
        gzip.compress(header((10, 10, 10))) + 160 * ZEROS,
        "states 1000 bytes of voxels, and at least 1049576 are there",
    ),
    "goes-on.nii.bz2": (
        bz2.compress(header((10, 10, 10))) + 160 * BZ_ZEROS,
        "states 1000 bytes of voxels, and at least 1049576 are there",
    ),
    "far.nii.gz": (
        gzip.compress(header((10, 10, 10), offset=float(6 * GIB))) + 100 * ZEROS,
        "lets voxels begin at byte 6.44245e+09",
    ),
    "nothing.nii.gz": (gzip.compress(b"", mtime=0) * 200_000, "it is empty"),
    "name.nii.gz": (b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 20_000_000, "its packed data"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What a process that has 2 GiB for all says of the bombs, by their names."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (content, _) in BOMBS.items():
        assert len(content) < 25_000_000
        (folder / name).write_bytes(content)
    with (folder / "sparse.nii").open("wb") as out:
        out.write(header((1700, 1700, 1700)))
        out.truncate(352 + 1700**3)
    return read_in_2_gib("oatools.imaging.volume:read_volume", folder)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_no_gigabytes_whatever_it_states_or_unpacks_to(refused, name):
    assert BOMBS[name][1] in refused[name]


def test_the_holes_of_a_file_are_no_voxels(refused):
    assert "which takes 59.48 GiB" in refused["sparse.nii"]


def test_the_limit_is_raised_as_the_message_says(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    voxels = np.zeros(200**3, np.uint8)
    voxels[-1] = 9
    path.write_bytes(gzip.compress(header((200, 200, 200)) + voxels.tobytes(), 9))
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "64M")
    with pytest.raises(
        ItemError, match=r"takes 99.18 MiB .* 64 MiB are .* OATOOLS_MEMORY_LIMIT=1G"
    ):
        read_volume(path)
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "1G")
    assert read_volume(path).data[-1, -1, -1] == 9


def test_a_scan_is_read_however_low_the_limit_is(tmp_path, monkeypatch):
    """As many bytes as noise packs to are no small file."""
    noise = np.random.default_rng(0).integers(0, 4096, 60**3).astype("<i2")
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header((60, 60, 60), datatype=4) + noise.tobytes()))
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "1")
    assert (read_volume(path).data.ravel(order="F") == noise).all()


def test_text_between_header_and_voxels_is_read_over(tmp_path):
    path = tmp_path / "a.nii.gz"
    between = bytes(3 << 20)
    voxels = bytes(range(250)) * 4
    path.write_bytes(
        gzip.compress(header((10, 10, 10), offset=352.0 + len(between)) + between + voxels)
    )
    assert read_volume(path).data.ravel(order="F").tobytes() == voxels
