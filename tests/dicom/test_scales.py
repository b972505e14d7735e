"""Slices with a scale, a sign or a number of bits of their own come out as each header means it."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert


def edit(folder, change):
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        change(ds, k)
        ds.save_as(path)


def corner(volume, position):
    """The voxel at a place of DICOM, LPS mm."""
    x, y, z = map(float, position)
    index = np.linalg.inv(volume.affine) @ [-x, -y, z, 1]
    return volume.data[tuple(index[:3].round().astype(int))]


def scaled(path, stated, **header):
    """Give frames a slope and an intercept: `stated` returns both, by the frame's number from 0."""
    ds = pydicom.dcmread(path)
    for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        transform = Dataset()
        transform.RescaleSlope, transform.RescaleIntercept = stated(k)
        groups.PixelValueTransformationSequence = [transform]
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return ds


SCALES = [
    ("every frame", lambda k: (f"{1 + k / 8}", "3")),
    ("one frame", lambda k: ("2.5" if k == 5 else "1", "0")),
    ("one intercept", lambda k: ("1", "50" if k == 5 else "0")),
    ("small ones", lambda k: (f"{k + 1}e-6", "0")),
    ("one that is negative", lambda k: ("-1" if k == 17 else "1", "0")),
]


@pytest.mark.parametrize("maker", ["SIEMENS", "Philips Medical Systems"])
@pytest.mark.parametrize("stated", [pytest.param(stated, id=why) for why, stated in SCALES])
def test_a_slope_a_frame_is_heeded(enhanced, tmp_path, stated, maker):
    enhanced(tmp_path / "a.dcm")
    ds = scaled(tmp_path / "a.dcm", stated, Manufacturer=maker)
    volume = convert(tmp_path / "a.dcm").volume
    assert volume.data.dtype in (np.float32, np.int16)
    for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        slope, intercept = map(float, stated(k))
        found = corner(volume, groups.PlanePositionSequence[0].ImagePositionPatient)
        assert found == pytest.approx(ds.pixel_array[k, 0, 0] * slope + intercept, rel=1e-6)


def of_one_slice(ds):
    values = ds.pixel_array.astype(np.int32) - 450
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
    ds.PixelData = values.astype(np.int16).tobytes()


def of_eight_bits(ds):
    values = (ds.pixel_array & 0xFF).astype(np.uint8)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"


@pytest.mark.parametrize("change", [of_one_slice, of_eight_bits])
@pytest.mark.parametrize("which", [5, 12])
def test_a_slice_that_is_stored_in_another_way_is_read_as_it_says(scan, tmp_path, change, which):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: change(ds) if k == which else None)
    volume, _, said = convert(tmp_path / "s")
    assert any("read one by one, as they differ in Bits" in line for line in said)
    for path in sorted((tmp_path / "s").iterdir()):
        ds = pydicom.dcmread(path)
        assert corner(volume, ds.ImagePositionPatient) == ds.pixel_array[0, 0]


@pytest.mark.parametrize("which, said", [(range(24), "in 24 of 24 images"), ([5], "(006|frame 6)")])
def test_a_slope_of_0_is_refused_with_that_reason(scan, enhanced, tmp_path, which, said):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "RescaleSlope", "0" if k in which else "1"))
    enhanced(tmp_path / "a.dcm")
    scaled(tmp_path / "a.dcm", lambda k: ("0" if k in which else "1", "0"))
    for source in ("s", "a.dcm"):
        with pytest.raises(ItemError, match=f"RescaleSlope is 0 .*{said}"):
            convert(tmp_path / source)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"nan ", b"1e99", b"1,25"])
def test_a_scale_that_is_no_number_is_refused_with_that_reason(scan, tmp_path, keyword, value):
    scan(tmp_path / "s", **{keyword: "1.75"})
    for path in sorted((tmp_path / "s").iterdir())[8:10]:
        content = path.read_bytes()
        assert content.count(b"1.75") == 1
        path.write_bytes(content.replace(b"1.75", value))
    with pytest.raises(ItemError, match=r"is no number of a scale in 2 of 24 images \(009, 010\)"):
        convert(tmp_path / "s")


def test_a_scale_of_small_numbers_is_compared_on_that_scale(scan, tmp_path, monkeypatch):
    from oatools.dicom import convert as module
    from oatools.imaging.volume import Volume

    scan(tmp_path / "s", RescaleSlope="1e-7", RescaleIntercept="0")
    real = module.load_volume

    def one_voxel_wrong(path):
        volume = real(path)
        data = volume.data.copy()
        data[3, 4, 12] *= 1.01
        return Volume(data, volume.affine)

    monkeypatch.setattr(module, "load_volume", one_voxel_wrong)
    with pytest.raises(ItemError, match="differ by up to"):
        convert(tmp_path / "s")


def test_a_slope_that_some_slices_leave_out_is_refused(scan, enhanced, tmp_path):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "RescaleSlope", "4.25") if k != 9 else None)
    with pytest.raises(ItemError, match=r"RescaleSlope is missing in 1 of 24 images \(010\)"):
        convert(tmp_path / "s")
    enhanced(tmp_path / "a.dcm")
    ds = scaled(tmp_path / "a.dcm", lambda k: ("4.25", "0"))
    del ds.PerFrameFunctionalGroupsSequence[23].PixelValueTransformationSequence
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(ItemError, match=r"RescaleSlope is missing in 1 of 24 images \(frame 24\)"):
        convert(tmp_path / "a.dcm")


def test_a_slope_of_1_may_be_left_out(scan, tmp_path):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "RescaleSlope", "1") if k != 9 else None)
    volume = convert(tmp_path / "s").volume
    for path in sorted((tmp_path / "s").iterdir()):
        ds = pydicom.dcmread(path)
        assert corner(volume, ds.ImagePositionPatient) == ds.pixel_array[0, 0]
