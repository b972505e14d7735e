"""Series whose slices store their pixels in ways that differ: each on a scale of its own.

Headers may state another slope, another sign or another number of bits for each slice. dcm2niix
reads some such series by their first header. They are read here by pydicom, slice by slice.
"""

from collections.abc import Sequence

import numpy as np

from oatools.core.errors import ItemError
from oatools.dicom.compare import Undecoded, meant, slice_at
from oatools.dicom.frames import Frame, read_dataset
from oatools.dicom.headers import SILENCE
from oatools.dicom.photometry import fitting
from oatools.dicom.survey import some
from oatools.imaging.volume import Volume

_STORED = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
# Of a scale that any quantity has, in any unit; float32 holds what comes out.
_LEAST, _MOST = 1e-20, 1e20
_REMEDY = "get the series from the scanner's own archive, or set right what wrote that"


def refuse_scales(frames: Sequence[Frame]) -> None:
    """Raise an `ItemError` where a header's scale makes no values of the stored pixels.

    That is a slope of 0, with which all are alike, what is no number, and one that some slices
    leave out: they would come out on another scale than the others.
    """
    slopes = [frame.scale[0] for frame in frames]
    flat = [frame for frame, slope in zip(frames, slopes, strict=True) if slope == 0]
    if flat:
        raise ItemError(
            f"RescaleSlope is 0 in {_which(flat, frames)}, which makes all pixels alike", _REMEDY
        )
    wrong = [frame for frame in frames if not _is_scale(*frame.scale)]
    if wrong:
        raise ItemError(
            f"RescaleSlope or RescaleIntercept is no number of a scale in {_which(wrong, frames)}",
            _REMEDY,
        )
    silent = [frame for frame in frames if frame.slope is None]
    if 0 < len(silent) < len(frames) and len(set(slopes)) > 1:
        raise ItemError(f"RescaleSlope is missing in {_which(silent, frames)}", _REMEDY)


def _is_scale(slope: float, intercept: float) -> bool:
    return _LEAST < abs(slope) < _MOST and abs(intercept) < _MOST


def _which(some_of: Sequence[Frame], frames: Sequence[Frame]) -> str:
    names = some(frame.name for frame in some_of)
    return f"{len(some_of)} of {len(frames)} images ({names})"


def differing(frames: Sequence[Frame]) -> str:
    """Return what of the pixels' scale and storage differs between slices, empty if nothing."""
    found = [
        keyword
        for keyword in _STORED
        if len({frame.image.header.text(keyword) for frame in frames}) > 1
    ]
    scales = {frame.scale for frame in frames}
    for keyword, values in zip(
        ("RescaleSlope", "RescaleIntercept"), zip(*scales, strict=True), strict=True
    ):
        if len(set(values)) > 1:
            found.append(keyword)
    return ", ".join(found)


def read_anew(volume: Volume, frames: Sequence[Frame]) -> Volume:
    """Return a volume with the voxels that the header of each slice means, at their places.

    `frames` are all slices of the volume, in any order. Raises an `ItemError` where one does not
    lie in the volume, or cannot be read.
    """
    values = Volume(np.zeros(volume.shape, np.float64), volume.affine)
    with SILENCE:
        read = None
        for frame in frames:
            if read is None or read[0] is not frame.image:
                read = frame.image, read_dataset(frame.image, pixels=True)
            try:
                slice_at(values, frame)[...] = meant(read[1], frame)
            except Undecoded as error:
                raise ItemError(
                    f"its slices differ in {differing(frames)}, and no decoder of {error} is "
                    "installed to read each as it is meant",
                    "write the series without compression, by gdcmconv or dcmdjpeg",
                ) from None
    return Volume(fitting(values.data, volume.data), volume.affine)
