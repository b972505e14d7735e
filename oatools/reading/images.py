"""Volumes as a reading page shows them: on one grid, with one range of grey values.

All volumes of a sequence are laid on one grid, and their grey values on one scale, so that neither
the size of an image, of a file, nor the range of its values distinguishes one knee from another.
"""

import base64
import math
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import write_bytes
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
    """The grid of a sequence, and the plane of its scans.

    `shape` is (columns, rows, slices), of square pixels of `pixel` mm. `smaller` volumes do not
    fill it: what they lack stays black.
    """

    shape: tuple[int, int, int]
    pixel: float
    plane: str
    smaller: int = 0


def common_frame(paths: Iterable[str | Path], sequence: str) -> Frame:
    """Return the smallest grid on which all volumes of one sequence fit, from their headers alone.

    Pixels are as small as the finest volume's. Raises an `ItemError` where the volumes' planes
    differ, or the grid is larger than 2048 pixels.
    """
    extents = []  # width and height in mm, and slices, of each volume
    pixel = math.inf
    planes: dict[str, str] = {}
    for path in paths:
        grid = read_geometry(path)
        plane = plane_of(grid, sequence)
        planes.setdefault(plane, str(path))
        # As a left knee: the mirror image is as large.
        shape, spacing = _turned(grid, canonical(grid, plane, "left"))
        extents.append((shape[0] * spacing[0], shape[1] * spacing[1], shape[2]))
        pixel = min(pixel, float(spacing[0]), float(spacing[1]))
    if len(planes) != 1:
        listed = ", ".join(f"{plane} ({path})" for plane, path in planes.items())
        raise ItemError(f"the volumes of a sequence lie in one plane, and these do not: {listed}")
    wide, high, slices = np.max(extents, axis=0)
    largest = _grid_shape(wide, high, slices, pixel)
    pixels = max(largest[:2])
    if pixels > _LARGEST:
        raise ItemError(
            f"volumes from {pixel:.3g} mm a pixel to {max(wide, high):.0f} mm across would need "
            f"images of {pixels} pixels",
            "leave out the finest or the largest",
        )
    smaller = 0
    for extent in extents:
        if _grid_shape(*extent, pixel) != largest:
            smaller += 1
    return Frame(largest, pixel, next(iter(planes)), smaller)


def grey_values(path: str | Path, side: str, frame: Frame) -> np.ndarray:
    """Return a volume on the frame's grid, uint8 (slices, rows, columns), superior up.

    Right knees are mirrored onto left ones. Coronal and axial slices run from lateral on the left
    to medial on the right, sagittal ones from posterior to anterior. What the volume does not reach
    is 0. Errors as in `read_volume`.
    """
    volume = read_volume(path)
    volume = apply(volume, canonical(volume, frame.plane, side))
    grey = grey_planes(volume, frame.pixel)
    columns, rows, slices = frame.shape
    out = np.zeros((slices, rows, columns), np.uint8)
    centred = []
    for room, size in zip(out.shape, grey.shape, strict=True):
        first = (room - size) // 2
        centred.append(slice(first, first + size))
    out[tuple(centred)] = grey
    return out


def grey_planes(volume: Volume, pixel: float) -> np.ndarray:
    """Return the slices of a volume as grey values, uint8 (slices, rows, columns).

    See `planes_of`; values are the square root of the intensity between the percentiles `WINDOW`.
    Raises an `ItemError` where intensities do not vary.
    """
    low, high = intensity_window(volume.data, WINDOW)
    planes = planes_of(volume, pixel)
    np.clip((planes - low) / (high - low), 0, 1, out=planes)
    return np.rint(LEVELS * np.sqrt(planes)).astype(np.uint8)


def planes_of(volume: Volume, pixel: float) -> np.ndarray:
    """Return the slices of a volume, float32 (slices, rows, columns).

    Pixels are square, of `pixel` mm. The first axis runs to the right, and the second, reversed,
    down.
    """
    planes = np.moveaxis(volume.data, (0, 1, 2), (2, 1, 0))[:, ::-1].astype(np.float32)
    return _resized(planes, volume, pixel)


def pack(grey: np.ndarray) -> bytes:
    """Return grey values (slices, rows, columns) as zlib data.

    Each is stored less the mean of its left and its upper neighbour (rounded down), modulo 256: the
    differences in an image are smaller than its values, and pack better.
    """
    wide = grey.astype(np.int16)
    expected = np.zeros_like(wide)
    expected[:, :, 1:] += wide[:, :, :-1]
    expected[:, 1:] += wide[:, :-1]
    return zlib.compress((wide - (expected >> 1)).astype(np.uint8).tobytes(), 6)


def unpack(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the grey values (slices, rows, columns) that `pack` took, as the page does it."""
    left = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape).astype(int)
    out = np.zeros((shape[0], shape[1] + 1, shape[2] + 1), int)
    for row in range(shape[1]):
        for column in range(shape[2]):
            expected = (out[:, row, column + 1] + out[:, row + 1, column]) >> 1
            out[:, row + 1, column + 1] = (left[:, row, column] + expected) & 255
    return out[:, 1:, 1:].astype(np.uint8)


def write_script(path: Path, name: str, grey: np.ndarray) -> str:
    """Write a volume as a script that hands it to the page.

    Browsers let a page from disk load nothing else. Returns the checksum with which zlib data ends
    (Adler-32, 8 hexadecimal digits): it is of the values, not of how they were packed.
    """
    packed = pack(grey)
    encoded = base64.b64encode(packed).decode()
    write_bytes(path, f'reading.volume("{name}","{encoded}");\n'.encode("ascii"))
    return packed[-4:].hex()


def equalise(paths: Iterable[Path]) -> None:
    """Append line feeds to files until all are of one size.

    How well an image packs is then not seen from outside.
    """
    sizes = {path: path.stat().st_size for path in paths}
    largest = max(sizes.values(), default=0)
    for path, size in sizes.items():
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "ab") as out:
            out.write(b"\n" * (largest - size))


def _grid_shape(wide: float, high: float, slices: float, pixel: float) -> tuple[int, int, int]:
    """The columns, rows and slices of so many mm: rounded, since pixel sizes in headers are."""
    return round(float(wide / pixel)), round(float(high / pixel)), int(slices)


def _turned(grid: Geometry, orientation: Orientation) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape and the voxel size (mm) of a grid along the axes of the orientation."""
    axes = list(orientation.axes)
    return tuple(grid.shape[a] for a in axes), grid.spacing[axes]


def _resized(planes: np.ndarray, volume: Volume, pixel: float) -> np.ndarray:
    """Slices (n, rows, columns) at square pixels of that size, mm, by Pillow's bicubic filter."""
    for axis, spacing in ((2, volume.spacing[0]), (1, volume.spacing[1])):
        if abs(spacing / pixel - 1) > _SAME:
            length = planes.shape[axis]
            wanted = round(float(length * spacing / pixel))
            weights = resize_weights(length, wanted, "bicubic")
            planes = planes @ weights.T if axis == 2 else weights @ planes
    return planes
