"""Volumes as a reading page shows them: one grid, one range of grey, and nothing else of where they come from.

All volumes of a sequence are laid on one grid, and their grey values on one scale, so that neither
the size of an image, of a file, nor the range of its values tells one knee from another.
"""

import base64
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import atomic
from oatools.features.slices import intensity_window, resize_weights
from oatools.imaging.orient import Orientation, apply, canonical, plane_of
from oatools.imaging.volume import Geometry, Volume, read_geometry, read_volume

#: Percentiles of a volume's positive voxels that become black and white; between them lie the
#: stored grey values.
WINDOW = (0.1, 99.9)
#: Grey values from 0 to 255 are of the square root of the intensity: finer steps where cartilage
#: and bone lie.
LEVELS = 255
_SAME = 1e-3  # pixels whose sizes differ by less are of one size
_LARGEST = 2048


@dataclass(frozen=True)
class Frame:
    """The grid of a sequence: `shape` (columns, rows, slices), square pixels of `pixel` mm, and the scans' plane.

    `smaller` volumes do not fill it: what they lack stays black.
    """

    shape: tuple[int, int, int]
    pixel: float
    plane: str
    smaller: int = 0


def common_frame(paths: Iterable[str | Path], sequence: str) -> Frame:
    """The smallest grid on which all volumes of one sequence fit, from their headers alone.

    Pixels are as small as the finest volume's. Raises an `ItemError` where the volumes' planes
    differ, or the grid is larger than 2048 pixels.
    """
    sizes, pixel, planes = [], np.inf, {}
    for path in paths:
        grid = read_geometry(path)
        plane = plane_of(grid, sequence)
        planes.setdefault(plane, str(path))
        shape, spacing = _turned(
            grid, canonical(grid, plane, "left")
        )  # the mirror image is as large
        sizes.append((shape[0] * spacing[0], shape[1] * spacing[1], shape[2]))
        pixel = min(pixel, spacing[0], spacing[1])
    if len(planes) != 1:
        raise ItemError(
            f"the volumes of a sequence lie in one plane, and these do not: {_listed(planes)}"
        )
    wide, high, slices = np.max(sizes, axis=0)
    # Pixel sizes in headers are rounded: so is their number.
    shape = (round(float(wide / pixel)), round(float(high / pixel)), int(slices))
    if max(shape[:2]) > _LARGEST:
        raise ItemError(
            f"volumes from {pixel:.3g} mm a pixel to {max(wide, high):.0f} mm across would need images of "
            f"{max(shape[:2])} pixels; leave out the finest or the largest"
        )
    smaller = sum(
        (round(float(w / pixel)), round(float(h / pixel)), n) != shape for w, h, n in sizes
    )
    return Frame(shape, float(pixel), next(iter(planes)), smaller)


def grey_values(path: str | Path, side: str, frame: Frame) -> np.ndarray:
    """A volume on the frame's grid: uint8 (slices, rows, columns), superior up, right knees mirrored onto left ones.

    Coronal and axial slices run from lateral on the left to medial on the right, sagittal ones from
    posterior to anterior. What the volume does not reach is 0. Errors as in `read_volume`.
    """
    volume = read_volume(path)
    volume = apply(volume, canonical(volume, frame.plane, side))
    low, high = intensity_window(volume.data, WINDOW)
    planes = np.moveaxis(volume.data, (0, 1, 2), (2, 1, 0))[:, ::-1].astype(np.float32)
    planes = _resized(planes, volume, frame.pixel)
    np.clip((planes - low) / (high - low), 0, 1, out=planes)
    grey = np.rint(LEVELS * np.sqrt(planes)).astype(np.uint8)
    columns, rows, slices = frame.shape
    out = np.zeros((slices, rows, columns), np.uint8)
    place = [
        slice((room - size) // 2, (room - size) // 2 + size)
        for room, size in zip(out.shape, grey.shape, strict=True)
    ]
    out[tuple(place)] = grey
    return out


def pack(grey: np.ndarray) -> bytes:
    """Grey values as zlib data, each less the mean of its left and its upper neighbour (rounded down), modulo 256."""
    wide = grey.astype(np.int16)
    expected = np.zeros_like(wide)
    expected[:, :, 1:] += wide[:, :, :-1]
    expected[:, 1:] += wide[:, :-1]
    return zlib.compress((wide - (expected >> 1)).astype(np.uint8).tobytes(), 6)


def unpack(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The grey values (slices, rows, columns) that `pack` took, one by one as the page does it."""
    left = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape).astype(int)
    out = np.zeros((shape[0], shape[1] + 1, shape[2] + 1), int)
    for row in range(shape[1]):
        for column in range(shape[2]):
            expected = (out[:, row, column + 1] + out[:, row + 1, column]) >> 1
            out[:, row + 1, column + 1] = (left[:, row, column] + expected) & 255
    return out[:, 1:, 1:].astype(np.uint8)


def write_script(path: Path, name: str, grey: np.ndarray) -> str:
    """Write a volume as a script that hands it to the page: browsers let a page from disk load nothing else.

    Returns the checksum with which zlib data ends (Adler-32, 8 hexadecimal digits): it is of the
    values, not of how they were packed.
    """
    packed = pack(grey)
    with atomic(path) as temporary:
        temporary.write_text(
            f'reading.volume("{name}","{base64.b64encode(packed).decode()}");\n', encoding="ascii"
        )
    return packed[-4:].hex()


def equalise(paths: Iterable[Path]) -> None:
    """Append line feeds to files until all are of one size: how well an image packs is not seen from outside."""
    sizes = {path: path.stat().st_size for path in paths}
    for path, size in sizes.items():
        with path.open("ab") as out:
            out.write(b"\n" * (max(sizes.values()) - size))


def _turned(grid: Geometry, orientation: Orientation) -> tuple[tuple[int, ...], np.ndarray]:
    axes = list(orientation.axes)
    return tuple(grid.shape[a] for a in axes), grid.spacing[axes]


def _resized(planes: np.ndarray, volume: Volume, pixel: float) -> np.ndarray:
    """Slices (n, rows, columns) at square pixels of that size, mm, as Pillow's bicubic filter makes them."""
    for axis, spacing in ((2, volume.spacing[0]), (1, volume.spacing[1])):
        if abs(spacing / pixel - 1) > _SAME:
            length = planes.shape[axis]
            weights = resize_weights(length, round(float(length * spacing / pixel)), "bicubic")
            planes = planes @ weights.T if axis == 2 else weights @ planes
    return planes


def _listed(planes: dict[str, str]) -> str:
    return ", ".join(f"{plane} ({path})" for plane, path in planes.items())
