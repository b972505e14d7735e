"""Volumes as arrays with an affine, read from and written to NIfTI.

World coordinates are NIfTI's: RAS+, in mm. Voxel (i, j, k) lies at `affine @ (i, j, k, 1)`.

Reading and writing spend most of their time on compression; ISA-L does it several times as fast as
zlib, to files of the same size.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage
from nibabel.wrapstruct import WrapStructError

from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION, atomic

#: Voxels of any type, shape (i, j, k).
Voxels = npt.NDArray[Any]
#: A matrix (4, 4) from voxel indices to RAS mm, or a point (3,) in RAS mm.
Affine = npt.NDArray[np.float64]
Point = npt.NDArray[np.float64]

_GZIP = 16 + zlib.MAX_WBITS
_BLOCK_BYTES = 1 << 22
_SINGULAR = 1e-9  # of the affine's determinant, mm^3
# Whatever nibabel raises on a file that is damaged or something else.
_BROKEN = (ImageFileError, WrapStructError, EOFError, OSError, ValueError, IndexError, zlib.error)


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


def read_geometry(path: str | Path) -> Geometry:
    """Read shape and affine of a NIfTI volume from its header alone; errors as in `read_volume`."""
    path = _existing(path)
    try:
        return _geometry(_open(path))
    except _BROKEN as error:
        raise _with_path(_unreadable(error), path) from None
    except ItemError as error:
        raise _with_path(error, path) from None


def read_volume(path: str | Path) -> Volume:
    """Read a NIfTI volume (`.nii` or `.nii.gz`) with its voxels and its affine.

        volume = read_volume("9000099_00m_right_cor-iw-tse.nii.gz")
        volume.data[:, :, 17]      # a slice
        volume.spacing             # mm

    Voxels keep the type that they are stored in, unless the header scales them: then they are
    float32, or float64 where the stored numbers need that. Axes of length one behind the third are
    dropped. Raises an `ItemError` if the file is missing, damaged, not three-dimensional, without a
    usable affine, or holds voxels that are not finite numbers.
    """
    path = _existing(path)
    try:
        return load_volume(path)
    except ItemError as error:
        raise _with_path(error, path) from None


def load_volume(path: Path) -> Volume:
    """Read an existing file as `read_volume` does, with errors that do not name it."""
    try:
        image = _load(path)
        geometry = _geometry(image)
        data = np.asanyarray(image.dataobj)
    except _BROKEN as error:
        raise _unreadable(error) from None
    if data.dtype.kind not in "iuf":
        raise ItemError(
            f"voxels of type {data.dtype} are no intensities", "convert it to numbers first"
        )
    if data.dtype.kind == "f":
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        if bad:
            raise ItemError(f"{bad} voxels are not finite", "drop the row or convert it again")
    is_scaled_short = data.dtype == np.float64 and image.get_data_dtype().itemsize <= 2
    if is_scaled_short:  # a float32 holds every 16-bit integer exactly
        data = data.astype(np.float32)
    return Volume(data.reshape(geometry.shape, order="F"), geometry.affine)


def write_volume(path: str | Path, volume: Volume, compression: int = COMPRESSION) -> None:
    """Write a volume as NIfTI-1 in its own voxel type; the file appears whole or not at all.

        write_volume("knee.nii.gz", Volume(data, affine))

    A name that ends in `.gz` is compressed, at a level of 0 (stored) to 3 (small). The folder is
    made if it is missing. Neither time nor name is recorded: equal volumes give equal bytes.
    """
    data = volume.data.astype(volume.data.dtype.newbyteorder("<"), copy=False)
    head = _header(data, volume).binaryblock + bytes(4)  # four bytes: no extensions follow
    voxels = data.ravel(order="F").data.cast("B")
    with atomic(path) as temporary, temporary.open("wb") as out:
        if not str(path).endswith(".gz"):
            out.write(head)
            out.write(voxels)
            return
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
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = 1, 0
    return header


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ItemError(
            f"{path}: no such file", "check the column 'path' and the current directory"
        )
    return path


def _open(path: Path) -> SpatialImage:
    """Open a file without reading its voxels."""
    image = nibabel.load(path)
    if not isinstance(image, SpatialImage):
        raise ValueError("it holds no volume")
    return image


def _load(path: Path) -> SpatialImage:
    """Open a file as `_open` does, but unpack it with ISA-L where it is compressed."""
    if path.suffix != ".gz":
        return _open(path)
    with igzip.open(path) as stream:
        content = stream.read()
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        if kind.header_class.may_contain_header(content):
            return kind.from_bytes(content)
    raise ValueError("no NIfTI header")


def _geometry(image: SpatialImage) -> Geometry:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) > 3 and all(n == 1 for n in shape[3:]):
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        size = " x ".join(map(str, shape))
        raise ItemError(
            f"has {len(shape)} dimensions ({size}), not 3", "split it into volumes first"
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < _SINGULAR:
        raise ItemError("its affine is singular, so its axes have no direction", "convert it again")
    return Geometry(shape, affine)


def _with_path(error: ItemError, path: Path) -> ItemError:
    return ItemError(f"{path}: {error.reason}", error.remedy)


def _unreadable(error: Exception) -> ItemError:
    first_line = str(error).strip().split("\n")[0][:160]
    reason = first_line or type(error).__name__
    return ItemError(f"not a readable NIfTI volume ({reason})", "convert it again")
