"""A square of so many mm around the joint, and the slices of a compartment."""

from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.features.framing import framed, shows_notch
from oatools.features.joint import find_joint
from oatools.features.slices import Preprocessing, images
from oatools.imaging import orient
from oatools.imaging.volume import Volume

from .knees import phantom, truth

PLAIN = Preprocessing((1.0, 99.0), 64, "bicubic", (0.0,) * 3, (1.0,) * 3)


def cropped(mm, **more):
    return replace(PLAIN, crop=float(mm), **more)


@pytest.fixture(scope="module")
def wide():
    """A left knee in a wide field of oblong pixels, away from the middle."""
    volume, _ = phantom(1, field=(210, 198), spacing=(1.0, 1.5, 4.0), off=(0, 18, -20))
    return volume


@pytest.fixture(scope="module")
def stacks():
    """A left and a right knee in sagittal slices as from the scanner, with the truth."""
    return {side: phantom(2, side=side, off=(-6, 0, 0)) for side in ("left", "right")}


def test_the_square_is_so_many_mm_and_its_voxels_keep_their_places(wide):
    seen = framed(wide, cropped(100))
    i, j = seen.corner
    assert seen.volume.shape == (100, 67, 28)  # 100 mm of 1 mm and of 1.5 mm
    np.testing.assert_array_equal(seen.volume.data, wide.data[i : i + 100, j : j + 67])
    np.testing.assert_allclose(
        seen.volume.affine @ [3, 5, 7, 1], wide.affine @ [3 + i, 5 + j, 7, 1], atol=1e-9
    )
    middle = wide.affine @ [i + 49.5, j + 33, 0, 1]
    apart = middle[:3] - find_joint(wide).place
    assert np.abs(apart[1:]).max() <= 0.75  # half a voxel, in the plane of the slices
    assert seen.slices == tuple(range(28))


def test_the_square_lies_within_the_slices(wide):
    """The joint is about (87, 79) of 210 x 132 voxels: there is no room for half a square."""
    seen = framed(wide, cropped(190))
    assert seen.corner == (0, 132 - 127) and seen.volume.shape[:2] == (190, 127)
    low = Volume(wide.data[:, :100], wide.affine)
    seen = framed(low, cropped(110))
    assert seen.corner[1] == 100 - 73 and seen.volume.shape[:2] == (110, 73)


def _moved(*voxels):
    affine = np.eye(4)
    affine[:3, 3] = voxels
    return affine


def test_slices_smaller_than_the_square_are_padded_to_its_scale(wide):
    """The same images as of a volume that is padded by hand, with the joint's square as large."""
    small = Volume(np.asfortranarray(wide.data[60:180, 20:100]), wide.affine @ _moved(60, 20, 0))
    seen = framed(small, cropped(150))
    assert seen.corner == (0, 0) and seen.volume.shape == small.shape
    found = images(seen.volume, seen.settings)[:, 0]
    # 150 mm are 150 columns, of which there are 120, and 100 rows, of which there are 80.
    padded = np.pad(small.data, ((15, 15), (10, 10), (0, 0)))
    expected = images(Volume(padded, wide.affine), PLAIN)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[:, :, :5].max() == 0 and found[:, :, 7:-7].max() > 0.5


def test_what_is_seen_goes_back_to_its_place(wide):
    seen = framed(wide, cropped(100, slices=4))
    i, j = seen.corner
    maps = np.zeros((100, 67, 4), np.float32)
    maps[10, 20, 1] = 7
    full = seen.spread(maps, wide)
    assert full.shape == wide.shape
    assert np.argwhere(full).tolist() == [[i + 10, j + 20, 13]]


def test_black_and_white_are_those_of_the_square(wide):
    """What lies beyond, such as fat near the coil, takes nothing of the range."""
    seen = framed(wide, cropped(100))
    low, high = np.percentile(seen.volume.data[seen.volume.data > 0], [1, 99])
    bright = wide.data.copy()
    bright[:3] = 4000
    other = framed(Volume(bright, wide.affine), cropped(100))
    assert other.corner == seen.corner and high < 2000
    np.testing.assert_array_equal(
        images(other.volume, other.settings), images(seen.volume, seen.settings)
    )


def to_medial(volume, knee, slices):
    """How far slices lie from the joint as it was drawn, mm, towards the midline of the body."""
    middle = (np.array(volume.shape[:2]) - 1) / 2
    x = np.array([(volume.affine @ [*middle, k, 1])[0] for k in slices])
    return (x - truth(knee)[0]) * (1 if knee.side == "left" else -1)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("reference", [None, "left", "right"])
def test_the_slices_of_a_compartment_are_on_its_side_of_the_knee(stacks, side, reference):
    """As they come from the scanner, and as oa-orient turns them, whichever way it mirrors."""
    volume, knee = stacks[side]
    if reference:
        volume = orient.to_canonical(volume, side, reference, "sag")
    s = knee.shape
    condyles = {"medial": s.notch + s.medial_width, "lateral": -s.notch - s.lateral_width}
    for name, middle in condyles.items():
        seen = framed(volume, replace(PLAIN, slices=4, compartment=name), side)
        found = to_medial(volume, knee, seen.slices)
        assert len(found) == 4 and abs(found.mean() - middle * knee.size) < 6
        assert np.diff(seen.slices).tolist() == [1, 1, 1]
    both = framed(volume, replace(PLAIN, slices=4, compartment="both"), side).slices
    found = to_medial(volume, knee, both)
    assert (found > 8).sum() == 4 and (found < -8).sum() == 4  # and none of the notch
    assert list(both) == sorted(both)


def test_a_compartment_without_a_number_is_half_of_the_slices(stacks):
    volume, knee = stacks["right"]
    medial = framed(volume, replace(PLAIN, compartment="medial"), "right").slices
    lateral = framed(volume, replace(PLAIN, compartment="lateral"), "right").slices
    assert not set(medial) & set(lateral)
    assert len(set(range(28)) - set(medial + lateral)) <= 1  # the slice through the middle
    assert to_medial(volume, knee, medial).min() > -6
    assert to_medial(volume, knee, lateral).max() < 6


def test_more_slices_than_a_compartment_has_are_all_of_it(stacks):
    volume, _ = stacks["left"]
    some = framed(volume, replace(PLAIN, slices=100, compartment="lateral"), "left")
    assert some.slices == framed(volume, replace(PLAIN, compartment="lateral"), "left").slices


@pytest.mark.parametrize("side", [None, "n/a", "middle"])
def test_without_a_side_no_compartment_is_chosen(stacks, side):
    with pytest.raises(ItemError, match="its side is not known.*column 'side'"):
        framed(stacks["left"][0], replace(PLAIN, compartment="medial"), side)


def test_slices_that_show_both_compartments_are_refused():
    volume, _ = phantom(3, plane="coronal")
    with pytest.raises(ItemError, match="each of its coronal slices shows both compartments"):
        framed(volume, replace(PLAIN, compartment="medial"), "left")


def test_the_images_of_a_compartment_have_their_neighbours_for_colours(stacks):
    volume, _ = stacks["left"]
    settings = replace(PLAIN, slices=3, compartment="both", triplet=True)
    seen = framed(volume, settings, "left")
    every = images(volume, PLAIN)[:, 0]
    found = images(seen.volume, seen.settings)
    assert found.shape == (6, 3, 64, 64)
    for image, k in zip(found, seen.slices, strict=True):
        np.testing.assert_allclose(image, every[[k - 1, k, k + 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("slices", "compartment", "expected"),
    [
        (8, None, True),
        (12, None, False),  # 48 mm reach the middle of each compartment
        (None, None, False),
        ((5, 9), None, False),
        (8, "medial", False),
        (100, None, False),
    ],
)
def test_few_slices_in_the_middle_of_a_sagittal_stack_show_the_notch(
    stacks, slices, compartment, expected
):
    assert shows_notch(stacks["left"][0], slices, compartment) is expected


def test_few_slices_of_a_coronal_stack_show_both_compartments():
    grid = np.zeros((20, 20, 20), np.uint8)
    coronal = np.array([[1, 0, 0, 0], [0, 0, 3.0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert not shows_notch(Volume(grid, coronal), 4, None)


def test_what_a_record_holds():
    assert cropped(100).record()["joint"] == "layers between marrow, 1"
    settings = cropped(90, compartment="both", slices=4)
    recorded = settings.record()
    assert recorded["crop"] == 90.0 and recorded["compartment"] == "both"
    assert "picked" not in recorded and Preprocessing.from_record(recorded) == settings
    # Features of earlier versions belong together with those that are not cropped.
    assert set(PLAIN.record()) == {
        *("window", "size", "interpolation", "mean", "std", "slices", "triplet"),
        *("slice_axis", "rows", "columns", "padding"),
    }
