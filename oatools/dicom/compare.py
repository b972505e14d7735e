"""Slices of a converted volume, compared with what the headers say of them.

dcm2niix is old and good, and still it is one reading of headers that many scanners write in their
own way. pydicom is another. Where the two differ in a voxel or in its place, nobody knows which is
right, and there is no volume.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from oatools.core.errors import ItemError
from oatools.dicom.frames import LPS_TO_RAS, Frame, Image, read_dataset
from oatools.dicom.geometry import depths_of
from oatools.dicom.headers import SILENCE
from oatools.imaging.volume import Volume, Voxels

# Parts of a voxel by which a place may be off: within a slice, and across (the steps between slices
# may differ a little, and the affine has one).
_WITHIN = 0.1
_ACROSS = 0.3
_MOST_BITS = 64
_ROUNDED_MM = 0.12  # positions may be written with one decimal
_RELATIVE = 1e-5
# Of syntaxes that lose something, each decoder makes its own numbers.
_LOSSY = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.203",
}
_LOSSY_PART = 0.03

_Index = npt.NDArray[np.int_]


class Undecoded(Exception):
    """No decoder of a compressed transfer syntax is installed; the text names the syntax."""


def compare(volume: Volume, frames: Sequence[Frame], all_slices: bool = False) -> None:
    """Compare the first, middle and last slice of a volume with the headers' own pixels.

    `frames` are all slices of the volume. All of them are compared where they are frames of one
    file, as what dcm2niix takes for a header's value may be that of another frame, and with
    `all_slices`. Raises an `ItemError` for another place or another value, and `Undecoded` where
    nothing here can read the pixels.
    """
    order = np.argsort(depths_of(frames), kind="stable")
    chosen = sorted({0, len(order) // 2, len(order) - 1})
    if all_slices or frames[0].index is not None:
        chosen = list(range(len(order)))
    # The places of all, even where the pixels of none can be decoded.
    sample = [frames[int(order[position])] for position in chosen]
    planes = [(frame, slice_at(volume, frame)) for frame in sample]
    pixels: list[tuple[Frame, Voxels, Voxels]] = []
    tolerance = _RELATIVE
    with SILENCE:
        read = None
        for frame, plane in planes:
            if read is None or read[0] is not frame.image:
                read = frame.image, read_dataset(frame.image, pixels=True)
            expected = meant(read[1], frame)
            pixels.append((frame, expected, plane))
            if str(read[1].file_meta.get("TransferSyntaxUID", "")) in _LOSSY:
                tolerance = _LOSSY_PART
    factor = _factor(pixels)
    allowed = tolerance * factor * max(_largest(stated) for _, stated, _ in pixels)
    for frame, stated, found in pixels:
        if factor == 1 and np.array_equal(stated, found):
            continue
        expected = stated.astype(np.float64) * factor
        difference = float(np.abs(expected - found).max())
        if not difference <= allowed:
            raise ItemError(
                f"the pixels of {frame.name} differ by up to {difference:.6g} from what dcm2niix "
                "made of them",
                "the series is left out, as nobody knows which is right: look at it in a viewer of "
                "DICOM, and set its header right",
            )


def _factor(pixels: Sequence[tuple[Frame, Voxels, Voxels]]) -> float:
    """Return by how much dcm2niix multiplies the pixels of Philips' scanners, all alike.

    It gives the scanner's precise values, which stand in private elements, where the header's
    rescaling makes those that are shown: they differ by one factor in the whole series.
    """
    manufacturer = pixels[0][0].image.header.text("Manufacturer").upper()
    largest = max(_largest(stated) for _, stated, _ in pixels)
    if "PHILIPS" not in manufacturer or largest == 0:
        return 1.0
    return max(_largest(found) for _, _, found in pixels) / largest


def _largest(values: Voxels) -> float:
    """Return how far the farthest value is from 0."""
    return max(abs(float(values.min())), abs(float(values.max())))


def meant(dataset: Dataset, frame: Frame) -> Voxels:
    """Return what a slice's header means by its pixels, shape (rows, columns).

    That is: decoded, signed or not, rescaled, and, where low values are white (MONOCHROME1), turned
    around within the range of the bits that are stored. `dataset` is the frame's whole file. Raises
    an `ItemError` where they cannot be read, and `Undecoded` where nothing here can decode them.
    """
    try:
        stored = pixel_array(dataset, index=frame.index)
    except (RuntimeError, NotImplementedError, ImportError) as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax is not None and syntax.is_compressed:
            raise Undecoded(syntax.name) from None
        raise _unreadable(frame, error) from None
    except Exception as error:  # what damaged pixels raise is not a closed list
        raise _unreadable(frame, error) from None
    if stored.ndim != 2:
        raise ItemError(f"the pixels of {frame.name} are no plane of grey values")
    slope, intercept = frame.scale
    if (slope, intercept) == (1, 0) and not is_inverted(frame.image):
        return stored
    values = stored.astype(np.float64)
    if is_inverted(frame.image):
        low, high = stored_range(frame.image)
        values = low + high - values
    rescaled: Voxels = values * slope + intercept
    return rescaled


def _unreadable(frame: Frame, error: Exception) -> ItemError:
    said = " ".join(str(error).split())
    return ItemError(f"the pixels of {frame.name} cannot be read ({said})", "get it again")


def is_inverted(image: Image) -> bool:
    """Tell whether an image's low values are meant to be white."""
    return image.header.text("PhotometricInterpretation") == "MONOCHROME1"


def stored_range(image: Image) -> tuple[int, int]:
    """Return the least and the greatest number that the stored bits can hold.

    Raises an `ItemError` for a number of bits that none has.
    """
    header = image.header
    bits = int(header.number("BitsStored") or header.number("BitsAllocated") or 16)
    if bits > _MOST_BITS:
        raise ItemError(f"the pixels of {image.name} have {bits} bits (BitsStored)", "get it again")
    if header.number("PixelRepresentation"):
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def slice_at(volume: Volume, frame: Frame) -> Voxels:
    """Return the voxels of a volume that lie where a frame's pixels do, shape (rows, columns).

    They are a view of the volume's. Raises an `ItemError` if there are none.
    """
    assert frame.position is not None and frame.axes is not None
    assert frame.spacing is not None and frame.size is not None
    to_index = np.linalg.inv(volume.affine)
    between_rows, between_columns = frame.spacing
    rows, columns = frame.size
    start = to_index[:3, :3] @ (frame.position * LPS_TO_RAS) + to_index[:3, 3]
    along_row = to_index[:3, :3] @ (frame.axes[0] * between_columns * LPS_TO_RAS)
    along_column = to_index[:3, :3] @ (frame.axes[1] * between_rows * LPS_TO_RAS)
    index = np.rint(start).astype(int)
    row_step, column_step = np.rint(along_row).astype(int), np.rint(along_column).astype(int)
    ends = [(row, column) for row in (0, rows - 1) for column in (0, columns - 1)]
    stated = np.array([start + along_row * column + along_column * row for row, column in ends])
    found_at = np.array([index + row_step * column + column_step * row for row, column in ends])
    off = np.abs(stated - found_at).max(axis=0)
    is_plane = int(np.abs(row_step).sum()) == int(np.abs(column_step).sum()) == 1
    is_inside = found_at.min() >= 0 and bool((found_at.max(axis=0) < volume.shape).all())
    rounded = _ROUNDED_MM / volume.spacing[:2]
    allowed = (*np.clip(rounded, _WITHIN, _ACROSS), _ACROSS)
    if not (is_plane and is_inside) or bool((off > allowed).any()):
        apart = float((off * volume.spacing).max())
        where = f"is {apart:.3g} mm off in it" if is_inside else "lies outside of it"
        raise ItemError(
            f"{frame.name} does not lie in the volume where its header says: it {where}",
            "the series is left out, as it is not known which is right",
        )
    return _plane(volume.data, index, row_step, column_step, (rows, columns))


def _plane(
    data: Voxels, start: _Index, row_step: _Index, column_step: _Index, size: tuple[int, int]
) -> Voxels:
    """Return voxels from `start` on, `size` (rows, columns) of them, by steps of one voxel."""
    across, down = int(np.abs(row_step).argmax()), int(np.abs(column_step).argmax())
    (fixed,) = {0, 1, 2} - {across, down}
    taken: list[int | slice] = [0, 0, 0]
    taken[fixed] = int(start[fixed])
    for axis, step, count in ((down, column_step, size[0]), (across, row_step, size[1])):
        first, direction = int(start[axis]), int(step[axis])
        end = first + direction * count
        taken[axis] = slice(first, None if end < 0 else end, direction)
    plane: Voxels = data[tuple(taken)]
    return plane if down < across else plane.T
