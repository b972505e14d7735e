import base64
import zlib

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oatools.core.errors import ItemError
from oatools.reading import images


@pytest.fixture
def saved(tmp_path, make_volume):
    def save(name="a", **given):
        path = tmp_path / f"{name}.nii"
        image = given.pop("image", None) or make_volume(given.pop("seed", 0), **given)
        nibabel.save(image, path)
        return path

    return save


def frame(*paths, sequence="cor-iw-tse"):
    return images.common_frame(paths, sequence)


def expected_grey(data):
    """By NumPy alone: percentiles of the positive voxels, square root, 255 levels."""
    low, high = np.percentile(data[data > 0], [0.1, 99.9])
    return np.rint(255 * np.sqrt(np.clip((data - low) / (high - low), 0, 1)))


@pytest.mark.parametrize("side", ["left", "right"])
def test_coronal_slices_run_from_lateral_to_medial_with_superior_up(saved, make_volume, side):
    path = saved(side=side)
    grey = images.grey_values(path, side, frame(path))
    data = make_volume(
        0, side=side
    ).get_fdata()  # columns run to the patient's left, rows up, slices to the front
    turned = data if side == "right" else data[::-1]
    assert np.abs(grey - expected_grey(turned).transpose(2, 1, 0)[:, ::-1]).max() <= 1


def test_sagittal_slices_run_from_lateral_to_medial_on_both_sides(saved, make_volume):
    for side in ("left", "right"):
        path = saved(side=side, slices="sagittal")
        grey = images.grey_values(path, side, frame(path, sequence="sag-3d-dess"))
        data = make_volume(0, side=side, slices="sagittal").get_fdata()
        turned = data if side == "left" else data[:, :, ::-1]
        assert np.abs(grey - expected_grey(turned).transpose(2, 1, 0)[:, ::-1]).max() <= 1


def test_scale_and_type_of_the_scanner_leave_no_trace(saved, make_volume):
    image = make_volume(3)
    scaled = nibabel.Nifti1Image((image.get_fdata() * 7.5).astype(np.float32), image.affine)
    paths = saved("plain", image=image), saved("scaled", image=scaled)
    one, other = (images.grey_values(path, "left", frame(*paths)) for path in paths)
    assert np.array_equal(one, other)
    assert (one.min(), one.max()) == (0, 255)


def test_volumes_of_a_sequence_share_the_smallest_grid_that_holds_them_all(saved):
    paths = [
        saved("a", shape=(24, 20, 7)),
        saved("b", shape=(20, 26, 9)),
        saved("c", shape=(24, 26, 9)),
    ]
    found = frame(*paths)
    assert (found.shape, found.pixel, found.plane, found.smaller) == (
        (24, 26, 9),
        0.5,
        "coronal",
        2,
    )
    assert {images.grey_values(path, "left", found).shape for path in paths} == {(9, 26, 24)}
    small = images.grey_values(paths[0], "left", found)
    assert (
        not small[0].any()
        and not small[8].any()
        and not small[:, :3].any()
        and not small[:, 23:].any()
    )
    assert small[1:8, 3:23].any(axis=(1, 2)).all()


def test_coarser_pixels_are_resized_as_pillow_does(saved, make_volume):
    coarse, fine = (
        saved("coarse", spacing=(1.0, 0.8, 3.0)),
        saved("fine", shape=(60, 60, 7), spacing=(0.4, 0.4, 3.0)),
    )
    found = frame(coarse, fine)
    assert found.shape == (60, 60, 7)
    grey = images.grey_values(coarse, "left", found)[:, 10:50]  # 20 rows of 0.8 mm are 40 of 0.4
    data = (
        make_volume(0, spacing=(1.0, 0.8, 3.0))
        .get_fdata()[::-1]
        .transpose(2, 1, 0)[:, ::-1]
        .astype(np.float32)
    )
    low, high = np.percentile(data[data > 0], [0.1, 99.9])
    by_pillow = np.stack(
        [np.asarray(Image.fromarray(p).resize((60, 40), Image.Resampling.BICUBIC)) for p in data]
    )
    assert (
        np.abs(grey - np.rint(255 * np.sqrt(np.clip((by_pillow - low) / (high - low), 0, 1)))).max()
        <= 1
    )


def test_grids_that_cannot_be_shared_are_refused(saved):
    with pytest.raises(ItemError, match="coronal .*a.nii.*sagittal .*b.nii"):
        frame(saved("a"), saved("b", slices="sagittal"), sequence="odd")
    with pytest.raises(ItemError, match="images of 2400 pixels"):
        frame(saved("a", spacing=(0.01, 0.01, 3.0)), saved("b", spacing=(1.0, 1.0, 3.0)))


@pytest.mark.parametrize(
    "spacing,shape", [((0.8, 0.4, 3.0), (48, 20, 7)), ((0.4, 0.8, 3.0), (24, 40, 7))]
)
def test_the_finest_side_of_a_pixel_counts(saved, spacing, shape):
    found = frame(saved(spacing=spacing))
    assert found.shape == shape
    assert found.pixel == pytest.approx(0.4)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_what_is_packed_is_unpacked_without_loss(shape, seed):
    grey = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(images.unpack(images.pack(grey), shape), grey)


def test_prediction_packs_an_image_better_than_zlib_alone(saved):
    rows, columns = np.mgrid[:128, :128]
    grey = (
        127
        + 100 * np.sin(rows / 20) * np.cos(columns / 15)
        + np.random.default_rng(0).normal(0, 4, (3, 128, 128))
    )
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    assert len(images.pack(grey)) < 0.85 * len(zlib.compress(grey.tobytes(), 6))


def test_a_script_holds_the_volume_and_files_are_brought_to_one_size(tmp_path):
    paths = [tmp_path / "1.js", tmp_path / "2.js"]
    for n, path in enumerate(paths):
        images.write_script(path, path.stem, np.full((2, 3, 4 + 40 * n), n, np.uint8))
    assert paths[0].stat().st_size != paths[1].stat().st_size
    images.equalise(paths)
    assert paths[0].stat().st_size == paths[1].stat().st_size
    packed = paths[0].read_text().strip().removeprefix('reading.volume("1","').removesuffix('");')
    assert np.array_equal(
        images.unpack(base64.b64decode(packed), (2, 3, 4)), np.zeros((2, 3, 4), np.uint8)
    )
