"""Whether the images of a series stack up to a volume, from the headers of all of them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from oatools.dicom.files import contents
from oatools.dicom.headers import read_header, text

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


@dataclass(frozen=True)
class Stack:
    """The number of slices, and what is wrong with them; an empty `problem` means that they form a volume."""

    slices: int
    problem: str = ""


def assess(source: Path, series: str | None = None) -> Stack:
    """Read the header of every image of a series, and look for what a volume cannot have.

    That is: files that cannot be read, slices that are not parallel, several images at one place
    (echoes, times), and steps between slices that differ by more than a fifth of the usual step. A
    multi-frame file counts as a volume.
    """
    images, unreadable = [], 0
    for name, content in contents(source, series):
        header = read_header(content, _KEYWORDS)
        unreadable += header is None
        if header is not None:
            images.append((name, header))
    if len(images) == 1 and (frames := text(images[0][1], "NumberOfFrames")).isdigit():
        return Stack(int(frames))
    if unreadable:
        return Stack(
            len(images), f"{unreadable} of {unreadable + len(images)} files cannot be read"
        )
    placed = [(name, *place) for name, header in images if (place := _place(header)) is not None]
    if len(placed) < max(2, len(images)):
        return Stack(
            len(placed), f"{len(images) - len(placed)} of {len(images)} images state no position"
        )
    return _stack(placed, {text(header, "EchoNumbers") for _, header in images})


def _place(header: FileDataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Position (LPS mm) and slice normal of an image."""
    try:
        position = np.array([float(v) for v in header.ImagePositionPatient])
        axes = np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3)
    except (AttributeError, TypeError, ValueError):
        return None
    return (position, np.cross(*axes)) if position.shape == (3,) else None


def _stack(placed: list[tuple[str, np.ndarray, np.ndarray]], echoes: set[str]) -> Stack:
    normal = placed[0][2]
    if any(np.abs(n - normal).max() > _ANGLE_TOLERANCE for _, _, n in placed):
        return Stack(len(placed), "its slices are not parallel")
    along = sorted((float(position @ normal), name) for name, position, _ in placed)
    depths = np.array([depth for depth, _ in along])
    at_place = Counter(depths.round(3).tolist())
    if max(at_place.values()) > 1:
        what = (
            f"{len(echoes)} echoes" if len(echoes) > 1 else f"up to {max(at_place.values())} images"
        )
        return Stack(len(at_place), f"{what} at one place")
    steps = np.diff(depths)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > _STEP_TOLERANCE * usual)
    if len(odd) == 0:
        return Stack(len(placed))
    first = int(odd[0])
    missing = round(steps[first] / usual) - 1
    what = f"{missing} slice{'s' * (missing > 1)} missing" if missing > 0 else "an uneven step"
    return Stack(len(placed), f"{what} between {along[first][1]} and {along[first + 1][1]}")
