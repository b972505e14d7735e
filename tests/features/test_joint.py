"""The joint is found in every contrast, plane and place, and not where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert
from oatools.features.framing import framed
from oatools.features.joint import find_joint
from oatools.features.slices import Preprocessing
from oatools.imaging import orient
from oatools.imaging.volume import Volume

from .knees import phantom, truth


@pytest.mark.parametrize(
    "given",
    [
        {"signal": "iw", "plane": "coronal", "off": (8, 5, 12)},
        {"signal": "iw-fs", "side": "right", "effusion": 0.9, "progression": 0.8},
        {"signal": "iw-fs", "field": (220, 220), "off": (-10, 20, -35)},
        {"signal": "dess-we", "off": (0, -20, 20), "spacing": (1.2, 1.2, 2.0), "slices": 56},
        {"signal": "dess-we", "plane": "axial", "field": (180, 160), "slices": 36},
        {"signal": "stir", "plane": "coronal", "side": "right", "field": (200, 180)},
        {"signal": "pd-fs", "oblique": (9, -8, 7)},
        {"signal": "pd", "plane": "coronal", "oblique": (-9, 8, 12), "off": (10, 0, -15)},
        {"signal": "t1", "side": "right", "field": (180, 140)},
        {"signal": "t1", "plane": "coronal", "spacing": (1.6, 0.8, 4.0)},
    ],
    ids=lambda given: " ".join(str(given.get(name, "")) for name in ("signal", "plane", "side")),
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_joint_of_a_phantom_is_found_where_it_was_drawn(given, seed):
    volume, knee = phantom(seed, **given)
    right, anterior, superior = np.array(find_joint(volume).place) - truth(knee)
    # The plateaus' own middle lies 4 mm behind the origin of the frame.
    assert abs(right) < 8 and -14 < anterior < 4 and abs(superior) < 6


# Marked by eye: half way between the ends of the joint line in slices of both compartments, and
# the slice of the notch between them; the slices of the lateral condyle, with the fibula below.
@pytest.mark.parametrize(
    ("archive", "echo", "marked", "lateral"),
    [
        ("knee01_right_GE_DESS", None, (255, 176, 39), range(48, 66)),
        ("knee02_right_GE_MESE", 1, (138, 105, 11.5), range(14, 21)),
    ],
)
def test_joint_and_compartments_of_a_real_knee_are_where_they_were_marked(
    unpacked, archive, echo, marked, lateral
):
    folder = next(p.parent for p in sorted(unpacked(f"knee/{archive}").rglob("*")) if p.is_file())
    volume, _, _ = convert(folder, echo)
    found = np.linalg.inv(volume.affine) @ [*find_joint(volume).place, 1]
    assert np.abs((found[:3] - marked) * volume.spacing).max() < 7
    plain = Preprocessing((1.0, 99.0), 64, "bicubic", (0.0,) * 3, (1.0,) * 3, slices=3)
    slices = framed(volume, replace(plain, compartment="lateral"), "right").slices
    assert set(slices) <= set(lateral)
    assert max(framed(volume, replace(plain, compartment="medial"), "right").slices) < marked[2] - 3


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_the_order_and_direction_of_axes_do_not_matter(axes):
    volume, _ = phantom(3, off=(5, 5, 5))
    other = orient.apply(volume, orient.Orientation(axes, (True, False, True)))
    apart = np.array(find_joint(other).place) - find_joint(volume).place
    assert np.abs(apart).max() < 4.1  # the boxes begin at the other end


def test_neither_brightness_nor_an_uneven_coil_matters():
    volume, _ = phantom(4, spacing=(1.2, 1.2, 4.0))
    ramp = np.linspace(1, 4, volume.shape[0])[:, None, None]
    for scale in (1e-5, 3.0):
        uneven = Volume((volume.data * ramp * scale).astype(np.float32), volume.affine)
        apart = np.array(find_joint(uneven).place) - find_joint(volume).place
        assert np.abs(apart).max() < 6


def ball(shape, affine):
    """A bright ball of 100 mm in the middle of a grid: two borders, and no line between."""
    place = np.indices(shape).reshape(3, -1) - (np.array(shape)[:, None] - 1) / 2
    radius = np.linalg.norm(affine[:3, :3] @ place, axis=0).reshape(shape)
    noise = np.random.default_rng(0).normal(10, 3, shape)
    return Volume((100 * (radius < 50) + noise).astype(np.float32), affine)


def test_where_there_is_no_joint_none_is_found():
    thigh, _ = phantom(5, signal="iw", off=(0, 0, 110))
    noise = np.random.default_rng(0).normal(100, 20, thigh.shape).astype(np.float32)
    black = np.zeros(thigh.shape, np.uint16)
    without = [thigh, ball(thigh.shape, thigh.affine)]
    without += [Volume(noise, thigh.affine), Volume(black, thigh.affine)]
    for volume in without:
        with pytest.raises(
            ItemError, match="no knee joint is found in its image .clearness"
        ) as said:
            find_joint(volume)
        assert "leave out crop and compartment" in str(said.value)


@pytest.mark.parametrize("shape", [(128, 128, 1), (3, 3, 3), (128, 4, 20)])
def test_a_volume_of_a_few_voxels_is_refused(shape):
    data = np.random.default_rng(0).random(shape).astype(np.float32)
    with pytest.raises(ItemError, match="no knee joint is found"):
        find_joint(Volume(data, np.diag([1.0, 1.0, 3.0, 1.0])))
