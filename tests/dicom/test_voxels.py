"""Geometry comes from the headers, and voxels are the ones that the headers mean."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from oatools.core.errors import ItemError
from oatools.dicom import convert as convert_module
from oatools.dicom.convert import convert
from oatools.imaging.volume import Volume


def edit(folder, change):
    """Change the header of each image: `change(dataset, number of the slice from 0)`."""
    for k, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        change(ds, k)
        ds.save_as(path)


def edit_frames(path, change):
    ds = pydicom.dcmread(path)
    for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        change(ds, groups, k)
    ds.save_as(path)


def by_another(folder):
    """Voxels (i, j, k) and RAS affine of a folder of single images as SimpleITK reads them."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ affine


def assert_same(volume, voxels, affine):
    """Compare every voxel by its place in the world."""
    index = np.indices(voxels.shape).reshape(3, -1)
    world = affine @ np.vstack([index, np.ones(index.shape[1])])
    ours = np.linalg.inv(volume.affine) @ world
    np.testing.assert_allclose(ours[:3], ours[:3].round(), atol=0.02)
    np.testing.assert_allclose(
        volume.data[tuple(ours[:3].round().astype(int))], voxels.ravel(), rtol=1e-5, atol=1e-4
    )


WITHOUT = [
    ("PixelSpacing", None, "size of a pixel"),
    ("PixelSpacing", ["0.5", "0"], "size of a pixel"),
    ("ImageOrientationPatient", None, "orientation"),
    ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "orientation"),
    ("ImagePositionPatient", None, "position"),
]


@pytest.mark.parametrize("slices", [range(24), [7]])
@pytest.mark.parametrize("keyword, value, said", WITHOUT)
def test_a_slice_that_states_no_place_fails_the_series(
    scan, tmp_path, keyword, value, said, slices
):
    def change(ds, k):
        if k in slices:
            setattr(ds, keyword, value)
            if value is None:
                delattr(ds, keyword)

    scan(tmp_path / "s")
    edit(tmp_path / "s", change)
    with pytest.raises(ItemError, match=f"{len(slices)} of 24 images state no {said}"):
        convert(tmp_path / "s")


@pytest.mark.parametrize(
    "group, said",
    [
        ("PlanePositionSequence", "24 of 24 images state no position"),
        ("PlaneOrientationSequence", "24 of 24 images state no orientation"),
        ("PixelMeasuresSequence", "24 of 24 images state no size of a pixel"),
    ],
)
def test_frames_that_state_no_place_fail_too(enhanced, tmp_path, group, said):
    enhanced(tmp_path / "a.dcm")
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    shared = ds.SharedFunctionalGroupsSequence[0]
    for groups in (shared, *ds.PerFrameFunctionalGroupsSequence):
        if group in groups:
            delattr(groups, group)
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(ItemError, match=said):
        convert(tmp_path / "a.dcm")


def place(k):
    return [-100, -30 + 3 * k, 5]


def moved(groups, position):
    groups.PlanePositionSequence[0].ImagePositionPatient = position


def with_a_gap(ds, groups, k):
    moved(groups, place(k + (k > 11)))


def at_one_place(ds, groups, k):
    moved(groups, place(k // 2))


def in_two_stacks(ds, groups, k):
    groups.FrameContentSequence[0].StackID = "1" if k < 12 else "2"


def of_both_knees(ds, groups, k):
    anatomy = Dataset()
    anatomy.FrameLaterality = "L" if k < 12 else "R"
    groups.FrameAnatomySequence = [anatomy]


def not_parallel(ds, groups, k):
    plane = Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 0, -1] if k < 20 else [1, 0, 0, 0, 1, 0]
    groups.PlaneOrientationSequence = [plane]


@pytest.mark.parametrize(
    "change, said",
    [
        (with_a_gap, "1 slice missing between frame 12 and frame 13"),
        (at_one_place, "up to 2 images at one place"),
        (in_two_stacks, "2 stacks in one file"),
        (of_both_knees, "both knees in one file"),
        (not_parallel, "not parallel"),
    ],
)
def test_frames_of_one_file_are_checked_as_single_images_are(enhanced, tmp_path, change, said):
    enhanced(tmp_path / "a.dcm")
    edit_frames(tmp_path / "a.dcm", change)
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "a.dcm")
    assert said in str(error.value)


def test_a_file_with_more_frames_than_places_is_refused(enhanced, tmp_path):
    enhanced(tmp_path / "a.dcm")
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    del ds.PerFrameFunctionalGroupsSequence[20:]
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(ItemError, match="24 frames, and its header says of 20"):
        convert(tmp_path / "a.dcm")


def shuffled(ds, groups, k):
    order = [(7 * j) % 24 for j in range(24)]
    moved(groups, place(order[k]))


def with_slopes(ds, groups, k):
    transform = Dataset()
    transform.RescaleSlope, transform.RescaleIntercept = str(1 + k / 8), "3"
    transform.RescaleType = "US"
    groups.PixelValueTransformationSequence = [transform]


@pytest.mark.parametrize("change", [shuffled, with_slopes])
def test_frames_come_out_where_and_as_their_headers_mean_or_not_at_all(enhanced, tmp_path, change):
    enhanced(tmp_path / "a.dcm")
    edit_frames(tmp_path / "a.dcm", change)
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    try:
        volume = convert(tmp_path / "a.dcm").volume
    except ItemError as error:
        assert "differ" in error.reason or "does not lie" in error.reason
        return
    for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
        slope, intercept = (1 + k / 8, 3) if change is with_slopes else (1, 0)
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        for r, c in ((2, 3), (15, 9)):
            world = [-(x + 0.5 * c), -y, z - 0.5 * r, 1]
            index = (np.linalg.inv(volume.affine) @ world)[:3].round().astype(int)
            expected = pixel_array(ds, index=k)[r, c] * slope + intercept
            assert volume.data[tuple(index)] == pytest.approx(expected, rel=1e-5)


def signed(ds, k):
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 1, 16, 15
    ds.PixelData = (ds.pixel_array.astype(np.int32) - 450).astype(np.int16).tobytes()


def one_slope(ds, k):
    ds.RescaleSlope, ds.RescaleIntercept = "2.5", "-7"


def a_slope_a_slice(ds, k):
    ds.RescaleSlope, ds.RescaleIntercept = str(1 + k / 4), "0"


def run_lengths(ds, k):
    ds.compress(RLELossless)


def unequal_pixels(ds, k):
    ds.PixelSpacing = ["0.7", "0.4"]


def as_it_is(ds, k):
    pass


PLAIN = [signed, one_slope, a_slope_a_slice, run_lengths, unequal_pixels, as_it_is]


@pytest.mark.parametrize("change", PLAIN)
def test_voxels_are_those_of_another_reader(scan, tmp_path, change):
    scan(tmp_path / "s")
    edit(tmp_path / "s", change)
    assert_same(convert(tmp_path / "s").volume, *by_another(tmp_path / "s"))


@pytest.mark.parametrize("stored", [8, 12, 16])
@pytest.mark.parametrize("slope", [None, "2"])
def test_low_values_that_are_white_are_turned_around(scan, tmp_path, stored, slope):
    scan(tmp_path / "s")
    expected = convert(tmp_path / "s").volume
    top = (1 << stored) - 1

    def change(ds, k):
        held = ds.pixel_array & 0xFF if stored == 8 else ds.pixel_array
        ds.PhotometricInterpretation = "MONOCHROME1"
        ds.BitsStored, ds.HighBit = stored, stored - 1
        ds.PixelData = (top - held).astype(np.uint16).tobytes()
        if slope:
            ds.RescaleSlope, ds.RescaleIntercept = slope, "5"

    edit(tmp_path / "s", change)
    volume, _, said = convert(tmp_path / "s")
    values = expected.data & 0xFF if stored == 8 else expected.data
    assert np.array_equal(volume.data, values * 2 + 5 if slope else values)
    assert "low values were white (MONOCHROME1), and were turned around" in said


def test_slices_of_either_photometry_are_refused(scan, tmp_path):
    def change(ds, k):
        ds.PhotometricInterpretation = "MONOCHROME1" if k == 3 else "MONOCHROME2"

    scan(tmp_path / "s")
    edit(tmp_path / "s", change)
    with pytest.raises(ItemError, match="MONOCHROME1|volumes came out"):
        convert(tmp_path / "s")


def swapped(volume):
    return Volume(volume.data[:, :, ::-1], volume.affine)


def upside_down(volume):
    return Volume(volume.data[:, ::-1], volume.affine)


def scaled(volume):
    return Volume(volume.data * 2, volume.affine)


def shifted(volume):
    affine = volume.affine.copy()
    affine[0, 3] += 0.2
    return Volume(volume.data, affine)


def stretched(volume):
    return Volume(volume.data, volume.affine @ np.diag([1.05, 1, 1, 1]))


def wrong_in_the_middle(volume):
    data = volume.data.copy()
    data[3, 4, 12] += 1
    return Volume(data, volume.affine)


@pytest.mark.parametrize(
    "fault", [swapped, upside_down, scaled, shifted, stretched, wrong_in_the_middle]
)
def test_a_volume_that_is_not_what_the_headers_say_is_refused(scan, tmp_path, monkeypatch, fault):
    scan(tmp_path / "s")
    real = convert_module.load_volume
    monkeypatch.setattr(convert_module, "load_volume", lambda path: fault(real(path)))
    with pytest.raises(ItemError, match="differ by up to|does not lie in the volume"):
        convert(tmp_path / "s")


def test_pixels_that_nothing_here_decodes_are_said_not_to_be_compared(unpacked):
    from pydicom.pixels import get_decoder
    from pydicom.uid import JPEGLSLossless

    if get_decoder(JPEGLSLossless).is_available:
        pytest.skip("a decoder of JPEG-LS is installed")
    source = unpacked("dicom/dicom2nifti_testdata") / (
        "dicom2nifti_testdata/tests/data/generic/compressed_jpegls/001"
    )
    volume, _, said = convert(source)
    assert volume.shape[2] == 4
    assert [
        line
        for line in said
        if line.startswith("remark: pixels not compared") and "JPEG-LS" in line
    ]


def test_big_endian_series_are_compared_as_well(scan, tmp_path):
    scan(tmp_path / "s")
    expected = convert(tmp_path / "s").volume
    for path in sorted((tmp_path / "s").iterdir()):
        ds = pydicom.dcmread(path)
        ds.PixelData = ds.pixel_array.astype(">u2").tobytes()
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        pydicom.dcmwrite(path, ds, little_endian=False, implicit_vr=False)
    volume = convert(tmp_path / "s").volume
    assert np.array_equal(volume.data, expected.data)


def beside(k):
    return [-100 + 150 * (k > 11), -30 + 3 * k, 5]  # one knee, then the other


def leaning(k):
    return [-100 + 0.5 * k, -30 + 3 * k, 5]


@pytest.mark.parametrize("where, said", [(beside, "150 mm"), (leaning, "11.5 mm")])
def test_slices_that_lie_aside_of_each_other_are_refused(scan, enhanced, tmp_path, where, said):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "ImagePositionPatient", where(k)))
    enhanced(tmp_path / "a.dcm")
    edit_frames(tmp_path / "a.dcm", lambda ds, groups, k: moved(groups, where(k)))
    for source in ("s", "a.dcm"):
        with pytest.raises(ItemError, match=f"lie up to {said} aside|volumes came out|tilted"):
            convert(tmp_path / source)


def test_a_table_of_colours_is_refused(scan, tmp_path):
    scan(tmp_path / "s", PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(ItemError, match="PALETTE COLOR"):
        convert(tmp_path / "s")


@pytest.mark.parametrize("step", [0.7123, -0.65])
@pytest.mark.parametrize(
    "axes", [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1], [0.8, 0.6, 0, 0, 0, -1]]
)
def test_positions_of_one_decimal_put_the_last_slice_where_it_lies(scan, tmp_path, step, axes):
    normal = np.cross(axes[:3], axes[3:])

    def change(ds, k):
        ds.ImageOrientationPatient = axes
        ds.ImagePositionPatient = [round(float(v), 1) for v in [-90, -30, 5] + normal * step * k]

    scan(tmp_path / "s", slices=60)
    edit(tmp_path / "s", change)
    volume = convert(tmp_path / "s").volume
    for k in (0, 31, 59):
        ds = pydicom.dcmread(tmp_path / "s" / f"{k + 1:03d}")
        x, y, z = ds.ImagePositionPatient
        index = (np.linalg.inv(volume.affine) @ [-x, -y, z, 1])[:3]
        assert np.abs(index - index.round()).max() < 0.2
        assert volume.data[tuple(index.round().astype(int))] == ds.pixel_array[0, 0]


def echo_times(ds, k):
    ds.EchoTime = "29.0000991821289" if k % 3 == 1 else "29"


def study_times(ds, k):
    ds.StudyTime = f"102946.{445312 + 1000 * k}"


def study_days(ds, k):
    ds.StudyDate = "20050131" if k < 9 else "20050201"  # the scan went on past midnight


def acquisitions(ds, k):
    ds.AcquisitionNumber = 1 + k // 12


def coils(ds, k):
    ds.ReceiveCoilName = f"KNEE {k % 2}"


def series_numbers(ds, k):
    ds.SeriesNumber = 3 + k % 2


@pytest.mark.parametrize(
    "change", [echo_times, study_times, study_days, acquisitions, coils, series_numbers]
)
def test_small_differences_of_headers_do_not_tear_a_series(scan, tmp_path, change):
    scan(tmp_path / "s")
    edit(tmp_path / "s", change)
    assert_same(convert(tmp_path / "s").volume, *by_another(tmp_path / "s"))


def test_half_a_series_of_another_echo_time_is_refused_with_dcm2niixs_reason(scan, tmp_path):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "EchoTime", "29" if k < 12 else "58"))
    with pytest.raises(
        ItemError, match="dcm2niix: Slices not stacked: echo varies .TE (29, 58|58, 29)"
    ):
        convert(tmp_path / "s")


def test_slices_with_pixels_of_two_sizes_are_refused(scan, tmp_path):
    scan(tmp_path / "s")
    edit(tmp_path / "s", lambda ds, k: setattr(ds, "PixelSpacing", [0.5 + 0.1 * (k == 9)] * 2))
    with pytest.raises(ItemError, match="size of a pixel differs|volumes came out"):
        convert(tmp_path / "s")


@pytest.mark.parametrize("k", range(0, 24, 3))
def test_every_frame_of_a_file_is_compared(enhanced, tmp_path, monkeypatch, k):
    def wrong_in_one_slice(volume):
        data = volume.data.copy()
        data[5, 6, k] += 1
        return Volume(data, volume.affine)

    enhanced(tmp_path / "a.dcm")
    real = convert_module.load_volume
    monkeypatch.setattr(convert_module, "load_volume", lambda path: wrong_in_one_slice(real(path)))
    with pytest.raises(ItemError, match="the pixels of frame .* differ by up to 1 "):
        convert(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    "axes", [[0, 0, -1, -1, 0, 0], [-1, 0, 0, 0, 0, 1], [0.98, 0, -0.199, -0.199, 0, -0.98]]
)
def test_slices_that_are_turned_within_their_plane_are_refused(scan, enhanced, tmp_path, axes):
    def change(ds, k):
        if k == 7:
            ds.ImageOrientationPatient = axes

    def change_frame(ds, groups, k):
        plane = Dataset()
        plane.ImageOrientationPatient = axes if k == 7 else [1, 0, 0, 0, 0, -1]
        groups.PlaneOrientationSequence = [plane]

    scan(tmp_path / "s")
    edit(tmp_path / "s", change)
    enhanced(tmp_path / "a.dcm")
    edit_frames(tmp_path / "a.dcm", change_frame)
    for source in ("s", "a.dcm"):
        with pytest.raises(ItemError, match=r"turned against each other \((008|frame 8)\)"):
            convert(tmp_path / source)
