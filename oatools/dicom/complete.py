"""Whether headers say that images of a series are missing where no gap between slices shows it.

A slice that is missing at an end, or every second one, leaves an even stack. Headers may tell all
the same: by the numbers of the images, by how many there should be, and by how far apart they are.

The distance between slices (SpacingBetweenSlices) is that of their centres, says the standard
(PS3.3, C.8.3.1), but some scanners write the gap between their faces.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from oatools.dicom.elements import raw_elements
from oatools.dicom.frames import Frame, Image, Vector

# Numbers of slices in private elements: the block's creator, the element, its bytes.
_PRIVATE = (
    (0x20010010, b"Philips Imaging DD 001", 0x20011018),
    (0x00210010, b"GEMS_RELA_01", 0x0021104F),
)
_DEPTH_DECIMALS = 3  # of mm
_STEP_TOLERANCE = 0.1
_SHOWN = 5


def missing(images: Sequence[Image], frames: Sequence[Frame], depths: Vector) -> str:
    """Return what headers say of images that are not there; empty if nothing is missing.

    `frames` are those of `images`, and `depths` their places across the slices (mm). Every vendor
    numbers in its own way: by slice, interleaved, echo by echo. So it is no rule where a number
    stands; but numbers from 1 on leave none out, or leave the same out at every step.
    """
    if len(frames) < 2:
        return ""
    numbers = [frame.number for frame in frames if frame.number is not None]
    is_counted = len(set(numbers)) == len(frames)
    step = 1
    if is_counted:
        step, said = _by_numbers(sorted(numbers), depths, images[0])
        if said:
            return said
    files = len(images)
    places = len(set(depths.round(_DEPTH_DECIMALS).tolist()))
    header = images[0].header
    of_series = header.number("NumberOfSeriesRelatedInstances") or 0
    if of_series > files:
        return f"its header says that the series has {of_series:.0f} files, and {files} are there"
    of_acquisition = header.number("ImagesInAcquisition") or 0
    if of_acquisition > len(frames) * step:
        return (
            f"its header says that the acquisition has {of_acquisition:.0f} images, and "
            f"{len(frames)} are there"
        )
    slices = max(int(header.number("NumberOfSlices") or 0), _private_slices(images[0]))
    if slices > places:
        return f"its header says that there are {slices} slices, and {places} are there"
    return _by_distance(frames, depths)[0]


def doubtful(frames: Sequence[Frame], depths: Vector) -> str:
    """Return why images may be missing, where headers leave that open; empty if nothing says so.

    Arguments are those of `missing`. Gaps as wide as a slice is thick are rare, but right.
    """
    return _by_distance(frames, depths)[1]


def _by_distance(frames: Sequence[Frame], depths: Vector) -> tuple[str, str]:
    """Return what the distance of slices says of missing ones, and what it leaves open."""
    places = np.unique(depths.round(_DEPTH_DECIMALS))
    if len(places) < 2:
        return "", ""
    step = float(np.ptp(places)) / (len(places) - 1)
    stated, thickness = frames[0].apart, frames[0].thickness
    times = 0 if stated is None else _multiple(step, stated)
    if stated is None or times == 0:
        if thickness is None or _multiple(step, thickness) < 2:
            return "", ""
        return "", (
            f"its slices are {step:.3g} mm apart and {thickness:.3g} mm thick (SliceThickness): "
            "those between them are missing, unless the scan has such gaps"
        )
    implied = step - stated  # the thickness of a slice, if a gap is what is stated
    is_gap = stated < (1 - _STEP_TOLERANCE) * implied
    if times == 1 or (is_gap and thickness is not None and _multiple(implied, thickness) == 1):
        return "", ""
    said = (
        f"its slices are {step:.3g} mm apart where its header says {stated:.3g} mm "
        "(SpacingBetweenSlices): those between them are missing"
    )
    # Slices that touch, and are said to overlap, may have been reconstructed anew.
    is_covered = thickness is not None and step < (1 + _STEP_TOLERANCE) * thickness
    if is_covered or (is_gap and thickness is None):
        return "", f"{said}, or the header is wrong"
    return said, ""


def _multiple(step: float, length: float) -> int:
    """Return how many times a length goes into a step; 0 if it does not do so evenly."""
    times = round(step / length)
    return times if abs(step / length - times) < _STEP_TOLERANCE else 0


def _by_numbers(numbers: list[int], depths: Vector, first: Image) -> tuple[int, str]:
    """Return the usual step between sorted numbers, and what of them is missing."""
    steps = np.diff(numbers)
    step = int(math.gcd(*steps.tolist()))
    if step == 0:
        return 1, ""
    absent: list[int] = []
    for before, after in pairwise(numbers):
        # A number that is damaged may be of any size.
        absent += range(before + step, min(after, before + step * (_SHOWN + 2)), step)
        if len(absent) > _SHOWN:
            break
    if absent:
        return step, f"number {_listed(absent)} of its images is missing"
    if numbers[0] > step:
        return step, f"its first image is number {numbers[0]}: those before it are missing"
    stated = first.header.number("SpacingBetweenSlices")
    usual = float(np.median(np.diff(np.sort(depths))))
    if step > 1 and stated and abs(usual / step - stated) < _STEP_TOLERANCE * stated:
        return step, (
            f"it has but every {step}. number of its images, {usual:.3g} mm apart where its header "
            f"says {stated:.3g}"
        )
    return step, ""


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    return f"{shown}, …" if len(numbers) > _SHOWN else shown


def _private_slices(image: Image) -> int:
    """Return the number of slices that Philips' or GE's own elements state; 0 if none does."""
    tags = {tag for creator, _, element in _PRIVATE for tag in (creator, element)}
    raw = raw_elements(image.content, tags) or {}
    for creator, name, element in _PRIVATE:
        if raw.get(creator, b"").rstrip(b"\0 ") == name and element in raw:
            return int.from_bytes(raw[element], "little", signed=True)
    return 0
