"""A check of the headers of a series: do its images stack up to a volume?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError
from oatools.dicom.files import contents
from oatools.dicom.frames import Frame, Image, Vector, frames_of, read_image
from oatools.dicom.survey import some

# Positions are written with few digits; a missing slice doubles a step, and nothing real changes it
# by a fifth.
_STEP_TOLERANCE = 0.2
_ANGLE_TOLERANCE = 1e-3
# Slices lie one behind the other; digits that were left off move them by less than this.
_ASIDE_MM = 0.3
_ASIDE_PART = 0.01
_SAME_PLACE_DECIMALS = 3  # of mm

#: What a message says of a scan whose place nobody knows.
_NO_PLACE = "its place is not known"


@dataclass(frozen=True)
class Stack:
    """The number of slices, and what is wrong with them; without a `problem` they form a volume.

    `centre` is the middle of that volume, LPS mm, shape (3,); None where the headers do not say.
    `is_gap` tells that the problem is a step between slices that differs from the others.
    """

    slices: int
    problem: str = ""
    centre: Vector | None = None
    is_gap: bool = False


def assess(source: Path, series: str | None = None) -> Stack:
    """Read the header of every image of a series, and look for what a volume cannot have.

    That is: files that cannot be read, images that state no place, and whatever `stack_of` finds.
    """
    images: list[Image] = []
    unreadable = 0
    for name, content in contents(source, series):
        image = read_image(name, content)
        if image is None:
            unreadable += 1
        else:
            images.append(image)
    if unreadable:
        files = unreadable + len(images)
        return Stack(len(images), f"{unreadable} of {files} files cannot be read")
    try:
        frames = frames_of(images)
    except ItemError as error:
        return Stack(0, error.reason)
    placed = [frame for frame in frames if frame.position is not None and frame.axes is not None]
    if len(placed) < max(2, len(frames)):
        without = len(frames) - len(placed)
        return Stack(len(placed), f"{without} of {len(frames)} images state no position")
    return replace(stack_of(frames), centre=middle(frames))


def stack_of(frames: Sequence[Frame]) -> Stack:
    """Look for what keeps frames, of which each states its place, from being one volume.

    That is: slices that are not parallel, are turned within their planes, differ in size or lie
    aside of each other, several images at one place (stacks, echoes, times), and steps between
    slices that differ by more than a fifth of the usual step.
    """
    stacks = {frame.stack for frame in frames}
    if len(stacks) > 1:
        return Stack(len(frames), f"{len(stacks)} stacks in one file")
    sides = sorted({frame.side for frame in frames if frame.side in ("L", "R")})
    if len(sides) > 1:
        return Stack(len(frames), "both knees in one file, by FrameLaterality")
    normal = frames[0].normal
    for each in frames:
        if np.abs(each.normal - normal).max() > _ANGLE_TOLERANCE:
            return Stack(len(frames), "its slices are not parallel")
    axes = np.array([each.axes for each in frames])
    turned = np.flatnonzero(np.abs(axes - axes[0]).max(axis=(1, 2)) > _ANGLE_TOLERANCE)
    if len(turned):
        names = some(frames[int(k)].name for k in turned)
        return Stack(len(frames), f"its slices are turned against each other ({names})")
    for what, sizes in (
        ("size of a pixel", {frame.spacing for frame in frames}),
        ("numbers of rows and columns", {frame.size for frame in frames}),
    ):
        if len(sizes) > 1 and not _nearly_one(sizes):
            return Stack(len(frames), f"the {what} differs between its slices")
    along = _along(frames, normal)
    return along if along.problem else Stack(along.slices, _aside(frames, normal))


def middle(frames: Sequence[Frame]) -> Vector | None:
    """Return the point halfway between the centres of the outermost slices, LPS mm."""
    centres = [each.centre for each in frames]
    known = [each for each in centres if each is not None]
    if len(known) < len(frames):
        return None
    places = np.array(known)
    depths = places @ frames[0].normal
    halfway: Vector = (places[int(depths.argmin())] + places[int(depths.argmax())]) / 2
    return halfway


def depths_of(frames: Sequence[Frame]) -> Vector:
    """Return each frame's place across the slices, mm, along the first one's normal."""
    normal = frames[0].normal
    return np.array([0.0 if f.position is None else float(f.position @ normal) for f in frames])


def shown_side(centre: Vector) -> str | None:
    """Return the side on which a centre (LPS mm) lies; None near the midline."""
    from oatools.imaging.orient import side_at  # nibabel, for which a listing need not wait

    return side_at(-float(centre[0]))


def place_text(centre: Vector | None) -> str:
    """Return where a scan lies, as a part of a message; `centre` in LPS mm."""
    if centre is None:
        return _NO_PLACE
    from oatools.imaging.orient import lies_text

    return f"its centre {lies_text(-float(centre[0]))}"


def _nearly_one(sizes: set[tuple[float, float] | None] | set[tuple[int, int] | None]) -> bool:
    """Tell whether sizes are the same but for their last digits."""
    known = np.array([size for size in sizes if size is not None], dtype=float)
    return len(known) == len(sizes) and bool(np.ptp(known, axis=0).max() < 1e-3 * known.min())


def _along(frames: Sequence[Frame], normal: Vector) -> Stack:
    """Look at the steps between parallel slices."""
    if len(frames) == 1:
        return Stack(1)
    places = zip(depths_of(frames), (frame.name for frame in frames), strict=True)
    along = sorted((float(depth), name) for depth, name in places)
    depths = np.array([depth for depth, _ in along])
    at_place = Counter(depths.round(_SAME_PLACE_DECIMALS).tolist())
    most = max(at_place.values())
    if most > 1:
        crowded = max(at_place, key=lambda depth: at_place[depth])
        here = [name for depth, name in along if abs(depth - crowded) < 10**-_SAME_PLACE_DECIMALS]
        echoes = len({frame.echo for frame in frames})
        images = f"up to {most} images at one place ({some(here)})"
        if echoes > 1:
            images = f"{echoes} echoes at one place"
        return Stack(len(at_place), images)
    steps = np.diff(depths)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > _STEP_TOLERANCE * usual)
    if len(odd) == 0:
        return Stack(len(frames))
    first = int(odd[0])
    gap = _gap(round(steps[first] / usual) - 1)
    problem = f"{gap} between {along[first][1]} and {along[first + 1][1]}"
    return Stack(len(frames), problem, is_gap=True)


def _aside(frames: Sequence[Frame], normal: Vector) -> str:
    """Return by how much slices are shifted against each other within their planes, if they are."""
    places = np.array([frame.position for frame in frames if frame.position is not None])
    depths = places @ normal
    aside = places - np.outer(depths, normal)
    shift = float(np.linalg.norm(aside - aside[int(depths.argmin())], axis=1).max())
    if shift < max(_ASIDE_MM, _ASIDE_PART * float(np.ptp(depths))):
        return ""
    return f"its slices lie up to {shift:.3g} mm aside of each other"


def _gap(missing: int) -> str:
    if missing < 1:
        return "an uneven step"
    return "1 slice missing" if missing == 1 else f"{missing} slices missing"
