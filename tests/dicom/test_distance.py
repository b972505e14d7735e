"""Slices that are missing at even steps are known by the distance that headers state."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert


def numbered(folder, numbers):
    """Give the images of a folder, in order of their names, other numbers; None takes them away."""
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        if numbers is None:
            del ds.InstanceNumber
        else:
            ds.InstanceNumber = numbers[k]
        ds.save_as(path)


def kept(every):
    """The slices to leave out so that every second, third, ... of 24 stays."""
    return [k for k in range(24) if k % every]


def told(source, **options):
    return [line for line in convert(source, **options).warnings if line.startswith("warning")]


@pytest.mark.parametrize("every, apart", [(2, "6 mm"), (3, "9 mm")])
@pytest.mark.parametrize("numbers", [None, range(1, 13), [7] * 12])
def test_every_second_or_third_slice_alone_is_refused_however_they_are_numbered(
    scan, tmp_path, every, apart, numbers
):
    scan(tmp_path / "s", skip=kept(every), SpacingBetweenSlices="3")
    numbered(tmp_path / "s", numbers)
    said = f"slices are {apart} apart where its header says 3 mm .SpacingBetweenSlices"
    with pytest.raises(ItemError, match=said):
        convert(tmp_path / "s", coverage=20)
    (line,) = told(tmp_path / "s")
    assert "those between them are missing" in line


# In the sources below, slices are 6 mm apart, and nothing is missing.
RIGHT = [
    ({"SliceThickness": "3", "SpacingBetweenSlices": "6"}, "a gap as wide as a slice, stated"),
    ({"SliceThickness": "5", "SpacingBetweenSlices": "1"}, "the gap is stated, not the distance"),
    ({"SliceThickness": "4.5", "SpacingBetweenSlices": "1.5"}, "so it is, of a third of a slice"),
    ({"SliceThickness": "6", "SpacingBetweenSlices": "6"}, "no gap at all"),
    ({"SliceThickness": "5", "SpacingBetweenSlices": "6.04"}, "a distance with rounding"),
    ({"SliceThickness": "6", "SpacingBetweenSlices": "0"}, "no distance, written as 0"),
    ({"SliceThickness": "4"}, "an uneven gap"),
    ({"SliceThickness": "12"}, "slices that overlap"),
    ({"SliceThickness": None}, "nothing is stated"),
]


@pytest.mark.parametrize("stated, why", RIGHT)
def test_slices_with_gaps_are_right(scan, tmp_path, stated, why):
    scan(tmp_path / "s", skip=kept(2), **stated)
    numbered(tmp_path / "s", None)
    assert told(tmp_path / "s", coverage=20) == [], why


DOUBTFUL = [
    ({"SliceThickness": "3"}, "6 mm apart and 3 mm thick"),
    ({"SliceThickness": "2", "SpacingBetweenSlices": "2.5"}, "6 mm apart and 2 mm thick"),
    ({"SliceThickness": "6", "SpacingBetweenSlices": "3"}, "or the header is wrong"),
    ({"SliceThickness": None, "SpacingBetweenSlices": "2"}, "or the header is wrong"),
]


@pytest.mark.parametrize("stated, said", DOUBTFUL)
def test_gaps_that_headers_leave_open_are_said_and_refuse_nothing(scan, tmp_path, stated, said):
    scan(tmp_path / "s", skip=kept(2), **stated)
    numbered(tmp_path / "s", None)
    (line,) = told(tmp_path / "s", coverage=20)
    assert said in line


def test_frames_that_are_missing_at_even_steps_are_known_too(enhanced, tmp_path):
    enhanced(tmp_path / "a.dcm", slices=12)
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "1.5"
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = "1.5"
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(ItemError, match="3 mm apart where its header says 1.5 mm"):
        convert(tmp_path / "a.dcm", coverage=20)
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0] = measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.5"], "1.5"
    ds.save_as(tmp_path / "a.dcm")
    (line,) = told(tmp_path / "a.dcm", coverage=20)
    assert "3 mm apart and 1.5 mm thick" in line


def test_frames_lie_where_their_positions_say_not_where_a_stated_gap_puts_them(enhanced, tmp_path):
    enhanced(tmp_path / "a.dcm", slices=12)
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices, measures.SliceThickness = "0.5", "2.5"
    ds.save_as(tmp_path / "a.dcm")
    volume, _, said = convert(tmp_path / "a.dcm", coverage=36)
    assert volume.spacing == pytest.approx([0.5, 0.5, 3])
    assert "slices are 3 mm apart by the outermost of them, not 0.5 mm as dcm2niix says" in said
    for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        x, y, z = map(float, groups.PlanePositionSequence[0].ImagePositionPatient)
        index = np.linalg.inv(volume.affine) @ [-x, -y, z, 1]
        assert volume.data[tuple(index[:3].round().astype(int))] == ds.pixel_array[k, 0, 0]
