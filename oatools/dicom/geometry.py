"""A check of the headers of a series: do its images stack up to a volume?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oatools.dicom.files import contents
from oatools.dicom.headers import Header, read_header

_KEYWORDS = (
    "SeriesInstanceUID",
    "EchoNumbers",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "NumberOfFrames",
)
# Positions are written with few digits; a missing slice doubles a step, and nothing real changes it
# by a fifth.
_STEP_TOLERANCE = 0.2
_ANGLE_TOLERANCE = 1e-3
_SAME_PLACE_DECIMALS = 3  # of mm

_Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stack:
    """The number of slices, and what is wrong with them; without a `problem` they form a volume."""

    slices: int
    problem: str = ""


@dataclass(frozen=True)
class _Slice:
    """An image in space: the file's name, its position (LPS mm), the normal of its plane."""

    name: str
    position: _Vector
    normal: _Vector


def assess(source: Path, series: str | None = None) -> Stack:
    """Read the header of every image of a series, and look for what a volume cannot have.

    That is: files that cannot be read, slices that are not parallel, several images at one place
    (echoes, times), and steps between slices that differ by more than a fifth of the usual step. A
    multi-frame file counts as a volume.
    """
    images, unreadable = [], 0
    for name, content in contents(source, series):
        header = read_header(content, _KEYWORDS)
        if header is None:
            unreadable += 1
        else:
            images.append((name, header))
    if len(images) == 1:
        frames = images[0][1].text("NumberOfFrames")
        if frames.isdigit():
            return Stack(int(frames))
    if unreadable:
        files = unreadable + len(images)
        return Stack(len(images), f"{unreadable} of {files} files cannot be read")
    slices = []
    for name, header in images:
        placed = _slice(name, header)
        if placed is not None:
            slices.append(placed)
    if len(slices) < max(2, len(images)):
        without = len(images) - len(slices)
        return Stack(len(slices), f"{without} of {len(images)} images state no position")
    echoes = {header.text("EchoNumbers") for _, header in images}
    return _stack(slices, len(echoes))


def _slice(name: str, header: Header) -> _Slice | None:
    position = header.numbers("ImagePositionPatient")
    axes = header.numbers("ImageOrientationPatient")
    if position is None or axes is None or len(position) != 3 or len(axes) != 6:
        return None
    return _Slice(name, np.array(position), np.cross(axes[:3], axes[3:]))


def _stack(slices: Sequence[_Slice], echoes: int) -> Stack:
    normal = slices[0].normal
    for each in slices:
        if np.abs(each.normal - normal).max() > _ANGLE_TOLERANCE:
            return Stack(len(slices), "its slices are not parallel")
    along = sorted((float(each.position @ normal), each.name) for each in slices)
    depths = np.array([depth for depth, _ in along])
    at_place = Counter(depths.round(_SAME_PLACE_DECIMALS).tolist())
    most = max(at_place.values())
    if most > 1:
        images = f"{echoes} echoes" if echoes > 1 else f"up to {most} images"
        return Stack(len(at_place), f"{images} at one place")
    steps = np.diff(depths)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > _STEP_TOLERANCE * usual)
    if len(odd) == 0:
        return Stack(len(slices))
    first = int(odd[0])
    gap = _gap(round(steps[first] / usual) - 1)
    return Stack(len(slices), f"{gap} between {along[first][1]} and {along[first + 1][1]}")


def _gap(missing: int) -> str:
    if missing < 1:
        return "an uneven step"
    return "1 slice missing" if missing == 1 else f"{missing} slices missing"
