"""Files of DICOM data without preamble and meta information, or deflated, are read as any others."""

import struct
import tarfile
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert
from oatools.dicom.find import find_series
from oatools.dicom.headers import read_header
from oatools.oai import release as oai


def implicit(ds, path):
    del ds.file_meta
    pydicom.dcmwrite(path, ds, implicit_vr=True, little_endian=True, enforce_file_format=False)
    head = path.read_bytes()[:8]
    assert head[:4] == b"\x08\x00\x16\x00" and head[5:] == b"\0\0\0"  # a length, no VR


def explicit(ds, path):
    del ds.file_meta
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[:6] == b"\x08\x00\x16\x00UI"


def big_endian(ds, path):
    ds.PixelData = ds.pixel_array.astype(">u2").tobytes()
    del ds.file_meta
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=False, enforce_file_format=False)
    assert path.read_bytes()[:8] == b"\x00\x08\x00\x16UI\x00\x1a"


def without_preamble(ds, path):
    path.write_bytes(path.read_bytes()[132:])
    assert path.read_bytes()[:4] == b"\x02\x00\x00\x00"


def with_a_group_length(ds, path):
    """As programs of the nineties wrote it."""
    implicit(ds, path)
    path.write_bytes(b"\x08\x00\x00\x00\x04\x00\x00\x00\x40\x01\x00\x00" + path.read_bytes())


def deflated(ds, path):
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(path)


FORMS = [implicit, explicit, big_endian, without_preamble, with_a_group_length, deflated]


def written(folder, form, which=range(24)):
    for k, path in enumerate(sorted(folder.iterdir())):
        if k in which:
            ds = pydicom.dcmread(path)
            ds.preamble = None if form is not deflated else ds.preamble
            form(ds, path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", [range(24), range(20, 24)])
def test_files_of_bare_data_give_the_volume_that_part_10_gives(scan, tmp_path, form, which):
    scan(tmp_path / "s", name="IM{:03d}")
    expected = convert(tmp_path / "s").volume
    written(tmp_path / "s", form, which)
    volume, _, said = convert(tmp_path / "s", coverage=60)
    assert np.array_equal(volume.data, expected.data)
    assert np.array_equal(volume.affine, expected.affine)
    assert not [line for line in said if line.startswith(("warning", "passed"))]


@pytest.mark.parametrize("form", [implicit, deflated])
def test_they_are_found_in_folders_and_archives(scan, tmp_path, form):
    image = scan(tmp_path / "s")
    written(tmp_path / "s", form)
    with tarfile.open(tmp_path / "s.tar", "w") as opened:
        opened.add(tmp_path / "s", "s")
    for place in ("s", "s.tar"):
        (series,) = find_series([str(tmp_path / place)], oai)
        assert (series["sequence"], series["side"]) == ("cor-iw-tse", "right")
        assert sorted(convert(tmp_path / place).volume.data.ravel()) == sorted(image.ravel())


@pytest.mark.parametrize("form", [implicit, explicit])
def test_frames_of_bare_data_too(enhanced, tmp_path, form):
    image = enhanced(tmp_path / "a.dcm")
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    ds.preamble = None
    form(ds, tmp_path / "a.dcm")
    assert sorted(convert(tmp_path / "a.dcm").volume.data.ravel()) == sorted(image.ravel())


def test_bare_pixels_that_are_compressed_are_refused_with_that_reason(scan, tmp_path):
    scan(tmp_path / "s")
    for path in sorted((tmp_path / "s").iterdir()):
        ds = pydicom.dcmread(path)
        ds.compress(RLELossless)
        ds.save_as(path)
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\x08\x00\x16\x00UI") :])
    with pytest.raises(ItemError, match="001: its pixels are compressed, and nothing says how"):
        convert(tmp_path / "s")


OTHERS = [
    b"\x08\x00" + bytes(600),
    b"\x02\x00" + bytes(range(256)) * 3,
    b"\x00\x08" + b"\xff" * 600,
    b"\x08\x00\x16\x00UI\x1a\x00",
    b"\x08\x00\x16\x00XX\x04\x00abcd\x08\x00\x18\x00XX\x04\x00abcd",
    b"\x08\x00\x16\x00\x04\x00\x00\x00abcd\x08\x00\x12\x00\x04\x00\x00\x00abcd",  # not in order
    b"\x08\x00\x16\x00\x04\x00\x00\x00abcd\x20\x00\x0d\x00\xff\xff\x00\x00" + bytes(600),
    struct.pack("<600H", *range(8, 608)),
    b"",
    b"PK\x03\x04" + bytes(600),
]


@pytest.mark.parametrize("content", OTHERS, ids=[f"other {k}" for k in range(len(OTHERS))])
def test_other_files_are_not_taken_for_dicom(scan, tmp_path, content):
    assert read_header(content, ("SOPClassUID", "Rows")) is None
    scan(tmp_path / "s")
    (tmp_path / "s" / "024").write_bytes(content)
    with pytest.raises(ItemError, match=r"1 of 24 files are (not DICOM|empty) \(024\)"):
        convert(tmp_path / "s")


def test_a_few_deflated_bytes_are_not_inflated_to_gigabytes(scan, tmp_path):
    scan(tmp_path / "s")
    written(tmp_path / "s", deflated)
    path = tmp_path / "s" / "007"
    content = path.read_bytes()
    end = 132 + 12 + int.from_bytes(content[140:144], "little")
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packed.compress(bytes(1 << 20)) for _ in range(150)) + packed.flush()
    path.write_bytes(content[:end] + bomb)
    with pytest.raises(ItemError, match=r"1 of 24 files are not DICOM \(007\)"):
        convert(tmp_path / "s")
