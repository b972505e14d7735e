"""Volumes as arrays with an affine, read from and written to NIfTI.

World coordinates are NIfTI's: RAS+, in mm. Voxel (i, j, k) lies at `affine @ (i, j, k, 1)`.

Reading and writing spend most of their time on compression; ISA-L does it several times as fast as
zlib, to files of the same size.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION, atomic
from oatools.core.paths import require_file
from oatools.imaging import nifti

#: Voxels of any type, shape (i, j, k).
Voxels = npt.NDArray[Any]
#: A matrix (4, 4) from voxel indices to RAS mm, or a point (3,) in RAS mm.
Affine = npt.NDArray[np.float64]
Point = npt.NDArray[np.float64]

_GZIP = 16 + zlib.MAX_WBITS
_BLOCK_BYTES = 1 << 22
# Of the name of a quantity in the header.
_MOST_LETTERS = 15
# What the header's free text begins with in volumes that the commands wrote.
_MAKER = "oatools "


@dataclass(frozen=True)
class Geometry:
    """The place of a volume's voxels: `shape` (3 integers) and `affine` (4, 4) to RAS mm."""

    shape: tuple[int, ...]
    affine: Affine

    @property
    def spacing(self) -> Point:
        """Voxel size along each axis, mm, shape (3,)."""
        spacing: Point = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return spacing


@dataclass(frozen=True)
class Volume:
    """A three-dimensional image: `data` (i, j, k) and `affine` (4, 4) from indices to RAS mm."""

    data: Voxels
    affine: Affine

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return self.data.shape

    @property
    def spacing(self) -> Point:
        """Voxel size along each axis, mm, shape (3,)."""
        return Geometry(self.shape, self.affine).spacing


@dataclass(frozen=True)
class Shown:
    """What a header tells viewers of a map of some quantity, which it names in 15 letters.

    Its colours go from `low` to `high`. Both 0 leave the range to the viewer.
    """

    quantity: str
    low: float
    high: float


def read_geometry(path: str | Path) -> Geometry:
    """Read shape and affine of a NIfTI volume from its header alone; errors as in `read_volume`."""
    path = _existing(path)
    try:
        header = nifti.read_header(path)
    except ItemError as error:
        raise _with_path(error, path) from None
    return Geometry(header.shape, header.affine)


def read_volume(path: str | Path) -> Volume:
    """Read a NIfTI volume (`.nii` or `.nii.gz`) with its voxels and its affine.

        volume = read_volume("9000099_00m_right_cor-iw-tse.nii.gz")
        volume.data[:, :, 17]      # a slice
        volume.spacing             # mm

    Voxels are scaled as the header says, and of a type that every viewer opens: uint8, int16,
    uint16, int32 or float32 (see `nifti.portable`). Lengths are turned into mm. Axes of length one
    behind the third are dropped. Raises an `ItemError` if the file is missing, damaged, of another
    form, not three-dimensional, without a place for its voxels or with two that contradict each
    other, or holds voxels that are not finite numbers.
    """
    path = _existing(path)
    try:
        return load_volume(path)
    except ItemError as error:
        raise _with_path(error, path) from None


def load_volume(path: Path) -> Volume:
    """Read an existing file as `read_volume` does, with errors that do not name it."""
    header, data = nifti.read(path)
    if data.dtype.kind == "f":
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        if bad:
            raise ItemError(f"{bad} voxels are not finite", "drop the row or convert it again")
    return Volume(data, header.affine)


def write_volume(path: str | Path, volume: Volume, compression: int = COMPRESSION) -> None:
    """Write a volume as NIfTI-1; the file appears whole or not at all.

        write_volume("knee.nii.gz", Volume(data, affine))

    A name that ends in `.gz` is compressed, at a level of 0 (stored) to 3 (small). The folder is
    made if it is missing. For the rest see `encode_volume`.
    """
    with atomic(path) as stream:
        encode_volume(stream, volume, compression if str(path).endswith(".gz") else None)


def encode_volume(
    out: BinaryIO,
    volume: Volume,
    compression: int | None,
    maker: str = "",
    shown: Shown | None = None,
) -> None:
    """Write the bytes of a volume's file (NIfTI-1), not compressed where `compression` is None.

    Voxels are written in their own type, or the nearest that every viewer opens (see
    `nifti.portable`). Neither time nor name is recorded: equal volumes give equal bytes. The header
    tells which command was the `maker` (see `maker_of`), and viewers how a map is `shown`.
    """
    data = nifti.portable(volume.data)
    data = data.astype(data.dtype.newbyteorder("<"), copy=False)
    header = _header(data, volume)
    header["descrip"] = f"{_MAKER}{maker}" if maker else ""
    if shown is not None:
        # An estimate of a quantity that the header names.
        header.set_intent("estimate", name=shown.quantity[:_MOST_LETTERS])
        header["cal_min"], header["cal_max"] = shown.low, shown.high
    head = header.binaryblock + bytes(4)  # four bytes: no extensions follow
    voxels = data.ravel(order="F").data.cast("B")
    if compression is None:
        out.write(head)
        out.write(voxels)
    else:
        _write_packed(out, head, voxels, compression)


def maker_of(path: Path) -> str:
    """Return the command that wrote a volume, as its header tells; empty for any other file.

    By this a volume that has lost its sidecar is still known from the files of other programs.
    """
    told = nifti.read_description(path) if path.is_file() else ""
    return told.removeprefix(_MAKER) if told.startswith(_MAKER) else ""


def _write_packed(out: BinaryIO, head: bytes, voxels: memoryview, compression: int) -> None:
    packer = isal_zlib.compressobj(compression, isal_zlib.DEFLATED, _GZIP)
    out.write(packer.compress(head))
    for start in range(0, len(voxels), _BLOCK_BYTES):
        out.write(packer.compress(voxels[start : start + _BLOCK_BYTES]))
    out.write(packer.flush())


def _header(data: Voxels, volume: Volume) -> nibabel.Nifti1Header:
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_zooms(volume.spacing)
    header.set_sform(volume.affine, code="scanner")
    header.set_qform(volume.affine, code="scanner", strip_shears=True)
    apart = nifti.apart(volume.affine, header.get_qform(), data.shape)
    if apart > nifti.AGREES / 2 * volume.spacing.max():
        header["qform_code"] = 0  # a qform has no shears, and would contradict this affine
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header


def _existing(path: str | Path) -> Path:
    path = Path(path)
    require_file(path, "a volume")
    return path


def _with_path(error: ItemError, path: Path) -> ItemError:
    return ItemError(f"{path}: {error.reason}", error.remedy)
