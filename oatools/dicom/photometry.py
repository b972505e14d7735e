"""Images whose low values are white (MONOCHROME1), turned around as all others are."""

from collections.abc import Sequence

import numpy as np

from oatools.core.errors import ItemError
from oatools.dicom.compare import is_inverted, stored_range
from oatools.dicom.frames import Frame
from oatools.imaging.volume import Volume, Voxels

_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOURS = {
    "PALETTE COLOR",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_RCT",
    "YBR_ICT",
}
_TYPES = (np.int16, np.uint16, np.int32, np.float32)


def upright(volume: Volume, frames: Sequence[Frame]) -> tuple[Volume, str]:
    """Return a volume whose high values are bright, and what was done to it, empty if nothing was.

    The value v of MONOCHROME1 becomes low + high - v, where low and high are the ends of what the
    stored bits can hold, rescaled as v is. Raises an `ItemError` if slices differ in this, and for
    a palette of colours.
    """
    kinds = {frame.image.header.text("PhotometricInterpretation") for frame in frames}
    if not kinds <= _GREY:
        colours = sorted(kinds & _COLOURS)
        raise ItemError(
            f"its pixels are colours, or numbers in a table of them ({', '.join(colours)}), no "
            "intensities"
            if colours
            else "PhotometricInterpretation, what its pixels are, is missing or damaged",
            "the series is left out",
        )
    inverted = {is_inverted(frame.image) for frame in frames}
    if inverted == {False}:
        return volume, ""
    sums = set()
    for frame in frames:
        slope, intercept = frame.scale
        sums.add(slope * sum(stored_range(frame.image)) + 2 * intercept)
    if len(inverted) > 1 or len(sums) > 1:
        raise ItemError(
            "low values are white (MONOCHROME1) in some slices, or on scales that differ",
            "the series is left out",
        )
    (total,) = sums
    turned = total - volume.data.astype(np.float64)
    return Volume(fitting(turned, volume.data), volume.affine), (
        "low values were white (MONOCHROME1), and were turned around"
    )


def fitting(values: Voxels, like: Voxels) -> Voxels:
    """Return values in the type of other voxels, or else in the least that holds them all.

    That is float32 where no integers do.
    """
    for kind in (like.dtype, *_TYPES):
        converted: Voxels = values.astype(kind)
        if np.array_equal(converted.astype(np.float64), values):
            return converted
    return values.astype(np.float32)
