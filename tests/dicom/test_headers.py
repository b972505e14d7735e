import threading
import warnings

import pydicom
import pytest
from pydicom.dataelem import DataElement

from oatools.dicom import headers
from oatools.dicom.headers import read_header


@pytest.fixture
def odd(scan, tmp_path):
    """An image whose series has an identifier that is none, which pydicom warns of."""
    scan(tmp_path / "odd", slices=1)
    path = tmp_path / "odd" / "001"
    ds = pydicom.dcmread(path)
    ds[0x0020000E] = DataElement(0x0020000E, "UI", "1.2.x", validation_mode=0)
    ds.save_as(path)
    with pytest.warns(UserWarning, match="Invalid value"):
        assert pydicom.dcmread(path).SeriesInstanceUID == "1.2.x"
    return path


def test_what_pydicom_finds_odd_is_read_without_a_warning(odd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = read_header(odd, ("PatientID", "SeriesInstanceUID"))
    assert (header.text("SeriesInstanceUID"), header.text("PatientID")) == ("1.2.x", "9111111")


def test_pydicom_warns_everybody_else_as_before(odd):
    before = list(warnings.filters)
    read_header(odd, ("SeriesInstanceUID",))
    assert list(warnings.filters) == before
    with pytest.warns(UserWarning, match="Invalid value"):
        assert pydicom.dcmread(odd).SeriesInstanceUID


def test_readers_that_overlap_leave_the_filters_as_they_were(odd):
    before = list(warnings.filters)
    with headers.SILENCE:
        other = threading.Thread(target=headers.SILENCE.__enter__)
        other.start()
        other.join()
    assert list(warnings.filters) != before
    headers.SILENCE.__exit__(None, None, None)
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    "value, expected",
    [([92, -30, 5], [92.0, -30.0, 5.0]), (None, None), ("1.5", None)],
)
def test_numbers_are_numbers_or_nothing(scan, tmp_path, value, expected):
    scan(tmp_path / "s", slices=1)
    path = tmp_path / "s" / "001"
    ds = pydicom.dcmread(path)
    if value is None:
        del ds.ImagePositionPatient
    else:
        ds.ImagePositionPatient = value
    ds.save_as(path)
    assert read_header(path, ("ImagePositionPatient",)).numbers("ImagePositionPatient") == expected


def test_a_keyword_that_dicom_does_not_know_is_an_error_of_the_program(scan, tmp_path):
    scan(tmp_path / "s", slices=1)
    with pytest.raises(ValueError, match="Nonsense is not a DICOM keyword"):
        read_header(tmp_path / "s" / "001", ("Nonsense",))
