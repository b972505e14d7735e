"""Headers that were damaged: refused in one line that names the file, or read as they are meant."""

import re
import struct

import pytest

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert
from oatools.dicom.find import find_series
from oatools.dicom.geometry import assess
from oatools.oai import release as oai


def refused(source, **options):
    with pytest.raises(ItemError) as error:
        convert(source, **options)
    return error.value.reason


def put(path, element, value):
    """Write a value (bytes) into an element of a file in explicit little endian, whatever it is."""
    content = path.read_bytes()
    start = content.index(element)
    length = int.from_bytes(content[start + 6 : start + 8], "little")
    value += b" " * (len(value) % 2)
    head = content[: start + 6] + len(value).to_bytes(2, "little") + value
    path.write_bytes(head + content[start + 8 + length :])


ECHO_TIME = b"\x18\x00\x81\x00DS"
NUMBER = b"\x20\x00\x13\x00IS"
COLOURS = b"\x28\x00\x04\x00CS"
ROWS = b"\x28\x00\x10\x00US"
CLASS = b"\x08\x00\x16\x00UI"


@pytest.mark.parametrize("number", ["2147483647", "999999999999"])
def test_a_number_of_an_image_that_is_huge_costs_neither_time_nor_memory(scan, tmp_path, number):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "024", NUMBER, number.encode())
    said = "number 24, 25, 26, 27, 28, … of its images is missing"
    assert refused(tmp_path / "s", coverage=60) == said
    assert f"warning: {said}" in convert(tmp_path / "s").warnings


@pytest.mark.parametrize("length", [13, 5000])
def test_a_number_of_too_many_digits_is_none(scan, tmp_path, length):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "024", NUMBER, b"9" * length)
    assert convert(tmp_path / "s", coverage=60).volume.shape[2] == 24


def test_an_echo_time_without_end_crashes_dcm2niix_and_no_more(scan, tmp_path):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "003", ECHO_TIME, b"1e999")
    said = refused(tmp_path / "s")
    # Later versions of it may bear that number.
    assert re.match(r"dcm2niix crashed over it \(SIG(SEGV|BUS|ABRT)\)$|.* volumes came out", said)


@pytest.mark.parametrize("name", ["001", "013", "024"])
@pytest.mark.parametrize("start", [132, 160, 330])
def test_a_header_that_was_overwritten_is_not_taken_for_no_image(scan, tmp_path, name, start):
    scan(tmp_path / "s")
    path = tmp_path / "s" / name
    content = path.read_bytes()
    path.write_bytes(content[:start] + bytes(120) + content[start + 120 :])
    said = refused(tmp_path / "s")
    assert said.startswith("1 of 24 files are ") and said.endswith(f"({name})")


def test_a_class_that_was_cut_is_not_taken_for_one_without_images(scan, tmp_path):
    scan(tmp_path / "s")
    path = tmp_path / "s" / "024"
    put(path, CLASS, b"1.2.840.10")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x08\x00\x18\x00UI")])
    assert refused(tmp_path / "s") == "1 of 24 files are damaged in their header (024)"


@pytest.mark.parametrize("value", [b"", b"MONOCHROME3", b"\xe9\xe9"])
def test_a_slice_of_unknown_photometry_is_refused(scan, tmp_path, value):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "005", COLOURS, value)
    said = refused(tmp_path / "s")
    assert said == "PhotometricInterpretation, what its pixels are, is missing or damaged"


def test_a_slice_without_rows_is_refused(scan, tmp_path):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "005", ROWS, b"\0\0")
    assert refused(tmp_path / "s") == "1 of 24 images state no size (Rows, Columns): 005"


def test_slices_of_other_sizes_are_not_said_to_be_missing(scan, tmp_path):
    scan(tmp_path / "s")
    for name in ("005", "009"):
        put(tmp_path / "s" / name, ROWS, b"\x0a\0")
    assert "numbers of rows and columns differs" in refused(tmp_path / "s")
    assert "missing" not in refused(tmp_path / "s")


@pytest.mark.parametrize("end", [700, 2000])
def test_frames_whose_header_was_cut_are_refused_with_the_name_of_the_file(enhanced, tmp_path, end):
    enhanced(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    at = content.index(b"\x28\x00\x10\x00US") + end
    (tmp_path / "a.dcm").write_bytes(content[:at])
    assert "a.dcm" in refused(tmp_path / "a.dcm")


def test_a_frame_whose_values_are_of_no_length_is_refused(enhanced, tmp_path):
    enhanced(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    # The eighth of the numbers within the stack (0020,9057), of four bytes, as one of eight.
    number = b"\x20\x00\x57\x90UL\x04\x00"
    parts = content.split(number)
    assert len(parts) == 25
    damaged = number.join(parts[:8]) + number.replace(b"UL", b"FD") + number.join(parts[8:])
    (tmp_path / "a.dcm").write_bytes(damaged)
    assert refused(tmp_path / "a.dcm") == "a.dcm: InStackPositionNumber of frame 8 is damaged"


@pytest.mark.parametrize("form", [b"\x09\x00\x01\x10LO\x00\x00", None])
def test_a_header_of_ever_more_elements_is_not_read_to_its_end(scan, tmp_path, form):
    scan(tmp_path / "s")
    path = tmp_path / "s" / "009"
    content = path.read_bytes()
    at = content.index(b"\x18\x00\x20\x00CS")
    tags = (struct.pack("<HH2sH", 0x11, k, b"LO", 0) for k in range(60_000))
    path.write_bytes(content[:at] + (form * 60_000 if form else b"".join(tags)) + content[at:])
    assert refused(tmp_path / "s") == "1 of 24 files are not DICOM (009)"


def test_sequences_within_sequences_without_end_are_refused(scan, tmp_path):
    scan(tmp_path / "s")
    path = tmp_path / "s" / "009"
    content = path.read_bytes()
    at = content.index(b"\x18\x00\x20\x00CS")
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(content[:at] + opened * 5000 + content[at:])
    assert refused(tmp_path / "s") == "1 of 24 files are not DICOM (009)"


@pytest.mark.parametrize(
    "element, value, said",
    [
        (b"\x20\x00\x32\x00DS", b"1e300\\-3\\5", "state no position"),
        (b"\x20\x00\x32\x00DS", b"nan\\-3\\5", "state no position"),
        (b"\x28\x00\x30\x00DS", b"1e-30\\1e-30", "state no size of a pixel"),
        (b"\x28\x00\x30\x00DS", b"0.5\\-0.5", "state no size of a pixel"),
        (b"\x20\x00\x37\x00DS", b"1\\0\\0\\1\\0\\0", "state no orientation"),
    ],
)
@pytest.mark.parametrize("which", [["013"], [f"{k + 1:03d}" for k in range(24)]])
def test_a_place_that_is_none_is_refused(scan, tmp_path, element, value, said, which):
    scan(tmp_path / "s")
    for name in which:
        put(tmp_path / "s" / name, element, value)
    assert f"{len(which)} of 24 images {said}" in refused(tmp_path / "s")


def test_a_number_of_bits_that_none_has_is_refused_by_name(scan, tmp_path):
    scan(tmp_path / "s", PhotometricInterpretation="MONOCHROME1")
    for path in (tmp_path / "s").iterdir():
        put(path, b"\x28\x00\x01\x01US", b"\xff\xff")
    assert "(BitsStored)" in refused(tmp_path / "s") or "65535" in refused(tmp_path / "s")


@pytest.mark.parametrize("uid", [b"1.2.840.10008.5.1.4", b"1.2.3.4", b""])
def test_a_transfer_syntax_that_is_none_is_refused(scan, tmp_path, uid):
    scan(tmp_path / "s")
    for path in (tmp_path / "s").iterdir():
        content = path.read_bytes()
        at = content.index(b"\x02\x00\x10\x00UI\x14\x00") + 8
        path.write_bytes(content[:at] + uid.ljust(20, b"\0") + content[at + 20 :])
    refused(tmp_path / "s")


@pytest.mark.parametrize("rest", [3, 4, 9, 40])
def test_frames_whose_last_sequence_was_cut_are_refused_and_listed(enhanced, tmp_path, rest):
    enhanced(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    starts = [
        found.start() for found in re.finditer(rb"\xfe\xff\0\xe0.{4}\x20\0\x11\x91SQ", content)
    ]
    assert len(starts) == 24
    (tmp_path / "a.dcm").write_bytes(content[: starts[-1] + rest])
    said = refused(tmp_path / "a.dcm")
    if rest < 8:  # less than an item's beginning
        assert said == "a.dcm: what its header says of its frames is damaged"
    assert "a.dcm" in said or "frame 24" in said
    assert len(list(find_series([str(tmp_path / "a.dcm")], oai))) == 1
    assert assess(tmp_path / "a.dcm").problem


@pytest.mark.parametrize("inserted", [b"\x01\x02\x03\x04\x05\x06", b"\x28\x00\x07\x01XX\x90\x01"])
@pytest.mark.parametrize("name", ["007", "013"])
def test_a_slice_in_which_dcm2niix_guesses_where_pixels_begin_is_compared_too(
    scan, tmp_path, inserted, name
):
    scan(tmp_path / "s")
    path = tmp_path / "s" / name
    content = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[:at] + inserted + content[at:])
    said = refused(tmp_path / "s")
    assert f"pixels of {name}" in said or f"header of {name}" in said or "dcm2niix:" in said


def test_an_image_whose_class_says_that_it_is_none_is_not_passed_over(scan, tmp_path):
    scan(tmp_path / "s")
    put(tmp_path / "s" / "024", CLASS, b"1.2.840.10008.5.1.4.1.1.66\0")
    assert refused(tmp_path / "s") == "1 of 24 files are damaged in their header (024)"


@pytest.mark.parametrize(
    "kind, modality",
    [
        (b"1.2.840.10008.5.1.4.1.1.4.2", b"MR"),
        (b"1.2.840.10008.5.1.4.1.1.66.4", b"SEG"),
        (b"1.2.840.10008.5.1.4.1.1.11.1", b"PR"),
    ],
)
def test_spectra_segments_and_states_beside_a_series_are_passed_over(
    scan, tmp_path, kind, modality
):
    scan(tmp_path / "s", slices=25)
    put(tmp_path / "s" / "025", CLASS, kind + b"\0" * (len(kind) % 2))
    put(tmp_path / "s" / "025", b"\x08\x00\x60\x00CS", modality)
    volume, _, said = convert(tmp_path / "s", coverage=60)
    assert volume.shape[2] == 24
    assert "passed over: 1 DICOM files without an image (025)" in said
