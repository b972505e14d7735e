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

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from nibabel.orientations import io_orientation

from oatools.core.errors import ItemError
from oatools.imaging.volume import Geometry, Point, Volume

#: Anything with `shape`, `affine` and `spacing`: the header of a volume is enough to decide on its
#: orientation.
Grid = Geometry | Volume
Side = Literal["left", "right"]
SIDES = ("left", "right")
SideCheck = Literal["fail", "warn", "trust"]
#: What may be done with a side that the geometry contradicts.
SIDE_CHECKS = ("fail", "warn", "trust")

#: Who says on which side a knee is: the caller, a table, a file's name or sidecar, its place.
SideSource = Literal["option", "table", "file", "geometry"]
# How a contradiction begins, and what to do about it.
_CONTRADICTED = {
    "option": ("the side was given as {}", "correct `side`"),
    "table": ("the table says {}", "correct the column 'side'"),
    "file": ("it counts as a {} knee", "say which with `side`"),
}

#: The plane of a sequence by the first part of its name.
PLANES = {"cor": "coronal", "sag": "sagittal", "ax": "axial"}

# World axes (0 right, 1 anterior, 2 superior) in the order of the output's axes.
ORDER = {"coronal": (0, 2, 1), "sagittal": (1, 2, 0), "axial": (0, 1, 2)}
_PLANE_ACROSS = {0: "sagittal", 1: "coronal", 2: "axial"}

# The slice axis is the last one in scanner order; another one is taken for it only where its voxels
# are longer by more than this factor.
_CLEARLY_COARSER = 1.05
# From here on nobody takes the distance of slices for the size of a pixel.
_SLICES_APART = 1.5
# A knee's centre lies some 80 to 110 mm from the midline; nearer than this the geometry does not
# tell the side.
_UNCLEAR_MM = 20.0
# A knee coil's field of view is 140 to 200 mm across; more, around the midline, shows both knees.
_BILATERAL_MM = 230.0


@dataclass(frozen=True)
class Orientation:
    """Axes permuted and reversed: output axis n is input axis `axes[n]`, reversed if `flips[n]`."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]


def to_canonical(
    volume: Volume,
    side: Side,
    reference: Side = "left",
    sequence: str | None = None,
    side_check: SideCheck = "fail",
) -> Volume:
    """Bring a knee to canonical axes, mirrored if it is not of the `reference` side.

        knee = to_canonical(read_volume("right.nii.gz"), side="right", sequence="cor-iw-tse")

    `sequence` tells the plane by its first part (`cor-`, `sag-`, `ax-`); without it, the plane is
    that of the slices. Axes are permuted and reversed, never resampled, and the affine follows.
    Raises an `ItemError` for a side that is neither `left` nor `right`; and if the volume shows
    both knees or lies on the other side of the body than `side` says. With `side_check` `warn` that
    is a warning of Python's, and with `trust` nothing is compared.
    """
    check_plane(volume, sequence or "")
    plane = plane_of(volume, sequence or "")
    orientation = canonical(volume, plane, side, reference)
    for warning in side_warnings(volume, side, side_check, "option"):
        warnings.warn(warning, stacklevel=2)
    return apply(volume, orientation)


def plane_of(volume: Grid, sequence: str) -> str:
    """Return `coronal`, `sagittal` or `axial`.

    The sequence's name decides; where it does not say, the slices are across the coarsest axis.
    """
    prefix = sequence.split("-")[0]
    if prefix in PLANES:
        return PLANES[prefix]
    spacing = volume.spacing
    slice_axis = 2
    if spacing.max() > _CLEARLY_COARSER * spacing[2]:
        slice_axis = int(np.argmax(spacing))
    return plane_across(volume, slice_axis)


def check_plane(volume: Grid, sequence: str) -> None:
    """Raise an `ItemError` where a sequence's name says another plane than its slices lie in.

    Which axis runs across the slices is plain where its voxels are clearly the longest; of any
    other volume nothing is said.
    """
    plane = PLANES.get(sequence.split("-")[0])
    spacing = volume.spacing
    across = int(np.argmax(spacing))
    others = np.delete(spacing, across)
    if plane is None or spacing[across] < _SLICES_APART * others.max():
        return
    found = plane_across(volume, across)
    if found != plane:
        raise ItemError(
            f"the sequence is called {sequence}, which is {plane}, and the slices, "
            f"{spacing[across]:.1f} mm apart, are {found}",
            "correct the column 'sequence'",
        )


def plane_across(volume: Grid, axis: int) -> str:
    """Return `coronal`, `sagittal` or `axial`: the plane of slices that lie across an axis."""
    return _PLANE_ACROSS[int(io_orientation(volume.affine)[axis, 0])]


def side_of(volume: Grid) -> Side | None:
    """Return the side that the geometry shows, None within 20 mm of the midline.

    Left knees lie at negative x (RAS).
    """
    return side_at(float(centre(volume)[0]))


def side_at(x: float) -> Side | None:
    """Return the side of a centre at that many mm to the right (RAS); None within 20 mm of 0."""
    if abs(x) < _UNCLEAR_MM:
        return None
    return "left" if x < 0 else "right"


def lies_text(x: float) -> str:
    """Return where a centre at that many mm to the right (RAS) lies, as a part of a message."""
    return f"lies {abs(x):.0f} mm to the {'left' if x < 0 else 'right'} of the midline"


def both_knees(volume: Grid) -> str:
    """Return, as a message, why both knees must be in a volume; empty if one may be."""
    across = float(np.abs(volume.affine[0, :3]) @ np.array(volume.shape))
    if across > _BILATERAL_MM and abs(centre(volume)[0]) < across / 4:
        return f"{across:.0f} mm across around the midline: both knees are in the volume"
    return ""


def check_side(volume: Grid, side: str, source: SideSource = "table") -> None:
    """Raise an `ItemError` if a volume shows both knees, or lies on the other side than `side`.

    It names the `source` of the side. What the geometry itself says contradicts nothing.
    """
    both = both_knees(volume)
    if both:
        raise ItemError(both, "crop it to one knee")
    shown = side_of(volume)
    if shown is not None and shown != side and source in _CONTRADICTED:
        said, remedy = _CONTRADICTED[source]
        raise ItemError(
            f"{said.format(side)}, but the volume's centre {lies_text(centre(volume)[0])}",
            f"{remedy}, or check how the scan was positioned and let `side_check` be warn or trust",
        )


def side_warnings(
    volume: Grid, side: str, check: str, source: SideSource = "table"
) -> tuple[str, ...]:
    """Compare a side with the geometry, as `check_side` does, and return what to warn of.

    `check` says what a contradiction is: `fail` an `ItemError`, `warn` a warning, and `trust`
    nothing, since the side is taken as it is stated, by its `source`.
    """
    if check not in SIDE_CHECKS:
        raise ItemError(f"the check of the side is '{check}'", f"give {', '.join(SIDE_CHECKS)}")
    if check == "trust":
        return ()
    try:
        check_side(volume, side, source)
    except ItemError as error:
        if check == "fail":
            raise
        return (error.reason,)
    return ()


def canonical(volume: Grid, plane: str, side: str, reference: str = "left") -> Orientation:
    """Find the permutation and reversals that bring a volume to the canonical axes.

    The volume may have its axes in any order, oblique ones too. `side` and `reference` are `left`
    or `right`; knees of the reference side get RAS directions, the others have left-right reversed.
    Raises an `ItemError` for any other word: it would mirror a knee unseen.
    """
    if side not in SIDES:
        raise ItemError(f"the side is '{side}'", "give left or right")
    if reference not in SIDES:
        raise ItemError(f"the reference side is '{reference}'", "give left or right")
    # One row for each input axis: the world axis nearest to it, and its direction, 1 or -1.
    input_axes = io_orientation(volume.affine)
    axes, flips = [], []
    for world in ORDER[plane]:
        axis = int(np.flatnonzero(input_axes[:, 0] == world)[0])
        runs_backwards = input_axes[axis, 1] < 0
        is_mirrored = world == 0 and side != reference
        axes.append(axis)
        flips.append(bool(runs_backwards != is_mirrored))
    return Orientation(tuple(axes), tuple(flips))


def apply(volume: Volume, orientation: Orientation) -> Volume:
    """Permute and reverse axes; every voxel keeps its world coordinates."""
    data = np.transpose(volume.data, orientation.axes)
    # From indices of the output to those of the input.
    to_input = np.zeros((4, 4))
    to_input[3, 3] = 1
    for out_axis, (axis, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
        if flip:
            data = np.flip(data, out_axis)
            to_input[axis, out_axis] = -1
            to_input[axis, 3] = volume.shape[axis] - 1
        else:
            to_input[axis, out_axis] = 1
    return Volume(np.asfortranarray(data), volume.affine @ to_input)  # in the order of a NIfTI file


def inverse(orientation: Orientation) -> Orientation:
    """Return the orientation that undoes another one.

    `apply(apply(v, o), inverse(o))` has the voxels of v, in order, and its affine.
    """
    axes = tuple(orientation.axes.index(axis) for axis in range(3))
    return Orientation(axes, tuple(orientation.flips[axis] for axis in axes))


def centre(volume: Grid) -> Point:
    """Return the world coordinates of the middle of a volume, RAS mm, shape (3,)."""
    middle = (np.array(volume.shape) - 1) / 2
    place: Point = volume.affine[:3, :3] @ middle + volume.affine[:3, 3]
    return place
