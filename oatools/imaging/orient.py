"""Canonical axes for knees: the same index means the same place in every knee, left or right.

After orientation, the slices lie in the last axis, and every axis runs as follows:

    plane       first axis           second axis            slices
    coronal     lateral to medial    inferior to superior   posterior to anterior
    sagittal    posterior to anterior inferior to superior  lateral to medial
    axial       lateral to medial    posterior to anterior  inferior to superior

That is so for both sides with the reference `left`, which leaves left knees in RAS order and turns
right knees into LAS order (Schiratti et al. 2021); with the reference `right` the lateral-to-medial
axes run medial to lateral. The mirror image is one of indices alone: axes are permuted and
reversed, nothing is resampled, and the affine follows exactly, so that every voxel keeps its place
in the scanner's coordinates and an overlay on the original fits.
"""

from dataclasses import dataclass

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.light import io_orientation
from oatools.imaging.volume import Geometry, Volume

#: Whatever has `shape`, `affine` and `spacing`: a volume's header is enough to decide on its
#: orientation.
Grid = Geometry | Volume

PLANES = {"cor": "coronal", "sag": "sagittal", "ax": "axial"}

# World axes (0 right, 1 anterior, 2 superior) in the order of the output's axes.
ORDER = {"coronal": (0, 2, 1), "sagittal": (1, 2, 0), "axial": (0, 1, 2)}

# A knee's centre lies some 80 to 110 mm from the midline; nearer than this the geometry does not
# tell the side.
_UNCLEAR_MM = 20.0
# A knee coil's field of view is 140 to 200 mm across; more, around the midline, shows both knees.
_BILATERAL_MM = 230.0


@dataclass(frozen=True)
class Orientation:
    """Output axis n is input axis `axes[n]`, reversed if `flips[n]`."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


def plane_of(volume: Grid, sequence: str) -> str:
    """`coronal`, `sagittal` or `axial`: from the sequence's name, else the plane across the coarsest axis."""
    prefix = sequence.split("-")[0]
    if prefix in PLANES:
        return PLANES[prefix]
    spacing = volume.spacing
    # The slice axis is the last one in scanner order; another is coarsest only where it is so by a
    # clear margin.
    slice_axis = int(np.argmax(spacing)) if spacing.max() > 1.05 * spacing[2] else 2
    world = int(io_orientation(volume.affine)[slice_axis, 0])
    return {0: "sagittal", 1: "coronal", 2: "axial"}[world]


def side_of(volume: Grid) -> str | None:
    """The side that the geometry shows: left knees lie at negative x (RAS); None within 20 mm of the midline."""
    x = centre(volume)[0]
    return None if abs(x) < _UNCLEAR_MM else ("left" if x < 0 else "right")


def check_side(volume: Grid, side: str) -> None:
    """Raise an `ItemError` if the volume shows both knees, or lies on the other side than the table says."""
    x = centre(volume)[0]
    across = float(np.abs(volume.affine[0, :3]) @ np.array(volume.shape))
    if across > _BILATERAL_MM and abs(x) < across / 4:
        raise ItemError(
            f"{across:.0f} mm across around the midline: both knees are in the volume; crop it to one knee"
        )
    shown = side_of(volume)
    if shown is not None and shown != side:
        raise ItemError(
            f"the table says {side}, but the volume's centre lies {abs(x):.0f} mm to the {shown} of the midline; "
            "correct the column 'side', or check how the scan was positioned and use --no-side-check"
        )


def canonical(volume: Grid, plane: str, side: str, reference: str = "left") -> Orientation:
    """The permutation and reversals that bring a volume, of any axes and obliquity, to the canonical axes.

    `side` and `reference` are `left` or `right`; knees of the reference side get RAS directions,
    the others have left-right reversed.
    """
    input_axes = io_orientation(volume.affine)
    axes, flips = [], []
    for world in ORDER[plane]:
        axis = int(np.flatnonzero(input_axes[:, 0] == world)[0])
        mirrored = world == 0 and side != reference
        axes.append(axis)
        flips.append(bool((input_axes[axis, 1] < 0) != mirrored))
    return Orientation(tuple(axes), tuple(flips))


def apply(volume: Volume, orientation: Orientation) -> Volume:
    """Permute and reverse axes; every voxel keeps its world coordinates."""
    data = np.transpose(volume.data, orientation.axes)
    data = data[tuple(slice(None, None, -1) if flip else slice(None) for flip in orientation.flips)]
    to_input = np.zeros((4, 4))
    to_input[3, 3] = 1
    for out_axis, (axis, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
        to_input[axis, out_axis] = -1 if flip else 1
        to_input[axis, 3] = volume.data.shape[axis] - 1 if flip else 0
    return Volume(np.asfortranarray(data), volume.affine @ to_input)  # in the order of a NIfTI file


def inverse(orientation: Orientation) -> Orientation:
    """The orientation that undoes another one: `apply(apply(v, o), inverse(o))` has the voxels of v, in order."""
    axes = tuple(orientation.axes.index(axis) for axis in range(3))
    return Orientation(axes, tuple(orientation.flips[axis] for axis in axes))


def centre(volume: Grid) -> np.ndarray:
    """World coordinates of the middle of the volume, RAS mm, shape (3,)."""
    middle = (np.array(volume.shape) - 1) / 2
    return volume.affine[:3, :3] @ middle + volume.affine[:3, 3]
