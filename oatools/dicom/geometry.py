"""A check of the headers of a series: do its images stack up to a volume?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
)
# Positions are written with few digits; a missing slice doubles a step, and nothing real changes it
# by a fifth.
_STEP_TOLERANCE = 0.2
_ANGLE_TOLERANCE = 1e-3
_SAME_PLACE_DECIMALS = 3  # of mm

_Vector = npt.NDArray[np.float64]
#: What a message says of a scan whose place nobody knows.
_NO_PLACE = "its place is not known"


@dataclass(frozen=True)
class Stack:
    """The number of slices, and what is wrong with them; without a `problem` they form a volume.

    `centre` is the middle of that volume, LPS mm, shape (3,); None where the headers do not say.
    """

    slices: int
    problem: str = ""
    centre: _Vector | None = None


@dataclass(frozen=True)
class _Slice:
    """An image in space: the file's name, its corner and centre (LPS mm), its plane's normal.

    `centre` is None where the header does not state the image's size.
    """

    name: str
    position: _Vector
    normal: _Vector
    centre: _Vector | None


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
    return replace(_stack(slices, len(echoes)), centre=_middle(slices))


def shown_side(centre: _Vector) -> str | None:
    """Return the side on which a centre (LPS mm) lies; None near the midline."""
    from oatools.imaging.orient import side_at  # nibabel, for which a listing need not wait

    return side_at(-float(centre[0]))


def place_text(centre: _Vector | None) -> str:
    """Return where a scan lies, as a part of a message; `centre` in LPS mm."""
    if centre is None:
        return _NO_PLACE
    from oatools.imaging.orient import lies_text

    return f"its centre {lies_text(-float(centre[0]))}"


def _slice(name: str, header: Header) -> _Slice | None:
    position = header.numbers("ImagePositionPatient")
    axes = header.numbers("ImageOrientationPatient")
    if position is None or axes is None or len(position) != 3 or len(axes) != 6:
        return None
    corner = np.array(position)
    return _Slice(name, corner, np.cross(axes[:3], axes[3:]), _centre(header, corner, axes))


def _centre(header: Header, corner: _Vector, axes: list[float]) -> _Vector | None:
    """Return the middle of an image from its corner, LPS mm."""
    spacing = header.numbers("PixelSpacing")
    rows, columns = header.text("Rows"), header.text("Columns")
    if spacing is None or len(spacing) != 2 or not (rows.isdigit() and columns.isdigit()):
        return None
    between_rows, between_columns = spacing
    along_row = np.array(axes[:3]) * between_columns * (int(columns) - 1) / 2
    along_column = np.array(axes[3:]) * between_rows * (int(rows) - 1) / 2
    return corner + along_row + along_column


def _middle(slices: Sequence[_Slice]) -> _Vector | None:
    """Return the point halfway between the centres of the outermost slices, LPS mm."""
    centres = [each.centre for each in slices if each.centre is not None]
    if len(centres) < len(slices):
        return None
    places = np.array(centres)
    depths = places @ slices[0].normal
    return (places[int(depths.argmin())] + places[int(depths.argmax())]) / 2


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
