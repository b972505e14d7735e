"""Volumes as arrays with an affine, read from and written to NIfTI.

World coordinates are NIfTI's: RAS+, in mm. Voxel (i, j, k) lies at `affine @ (i, j, k, 1)`.

Compression is what reading and writing cost; ISA-L does it several times as fast as zlib, to files
of the same size.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip, isal_zlib

from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION, atomic
from oatools.imaging.light import ImageFileError, WrapStructError, nibabel

_GZIP = 16 + zlib.MAX_WBITS
_BLOCK = 1 << 22
_BROKEN = (ImageFileError, WrapStructError, EOFError, OSError, ValueError, IndexError, zlib.error)


@dataclass(frozen=True)
class Geometry:
    """Where voxels lie: `shape` (3 integers), `affine` (4, 4) from voxel indices to RAS mm, float64."""

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each axis, mm, shape (3,)."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


@dataclass(frozen=True)
class Volume:
    """A three-dimensional image: `data` (i, j, k), `affine` (4, 4) from voxel indices to RAS mm, float64."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        return self.data.shape

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each axis, mm, shape (3,)."""
        return Geometry(self.shape, self.affine).spacing


def read_geometry(path: str | Path) -> Geometry:
    """Shape and affine of a NIfTI volume from its header alone; errors as in `read_volume`."""
    path = _existing(path)
    try:
        image = nibabel.load(path)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    return _geometry(path, image)


def read_volume(path: str | Path) -> Volume:
    """Read a NIfTI volume, scaled if its header says so (to float32 at least) and otherwise in its own type.

    Raises `ItemError` if the file is missing, damaged, not three-dimensional, without a usable
    affine, or holds voxels that are not finite. Trailing axes of length one are dropped.
    """
    path = _existing(path)
    try:
        image = _load(path)
        geometry = _geometry(path, image)
        data = np.asanyarray(image.dataobj)
    except _BROKEN as error:
        raise _unreadable(path, error) from None
    if data.dtype.kind not in "iuf":
        raise ItemError(
            f"{path}: voxels of type {data.dtype} are no intensities; convert it to numbers first"
        )
    stored = image.header.get_data_dtype()
    if data.dtype.kind == "f" and (bad := int(data.size - np.count_nonzero(np.isfinite(data)))):
        raise ItemError(f"{path}: {bad} voxels are not finite; drop the row or convert it again")
    if (
        data.dtype == np.float64 and stored.itemsize <= 2
    ):  # scaled: a float32 holds every 16-bit integer exactly
        data = data.astype(np.float32)
    return Volume(data.reshape(geometry.shape, order="F"), geometry.affine)


def write_volume(path: str | Path, volume: Volume, compression: int = COMPRESSION) -> None:
    """Write a volume as NIfTI-1, atomically.

    A name that ends in `.gz` is compressed by ISA-L at a level of 0 to 3; it holds no time and no
    name, so that equal volumes give equal bytes.
    """
    data = volume.data.astype(volume.data.dtype.newbyteorder("<"), copy=False)
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_zooms(volume.spacing)
    header.set_sform(volume.affine, code="scanner")
    header.set_qform(volume.affine, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = 1, 0
    voxels = memoryview(data.ravel(order="F")).cast("B")
    with atomic(path) as temporary, temporary.open("wb") as out:
        if not str(path).endswith(".gz"):
            out.write(header.binaryblock + bytes(4))
            out.write(voxels)
            return
        packer = isal_zlib.compressobj(compression, isal_zlib.DEFLATED, _GZIP)
        out.write(packer.compress(header.binaryblock + bytes(4)))
        for start in range(0, len(voxels), _BLOCK):
            out.write(packer.compress(voxels[start : start + _BLOCK]))
        out.write(packer.flush())


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise ItemError(f"{path}: no such file; check the column 'path' and the current directory")
    return path


def _load(path: Path) -> nibabel.Nifti1Image:
    if path.suffix != ".gz":
        return nibabel.load(path)
    with igzip.open(path) as stream:
        content = stream.read()
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        if kind.header_class.may_contain_header(content):
            return kind.from_bytes(content)
    raise ValueError("no NIfTI header")


def _geometry(path: Path, image: nibabel.spatialimages.SpatialImage) -> Geometry:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) > 3 and all(n == 1 for n in shape[3:]):
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        size = " x ".join(map(str, shape))
        raise ItemError(
            f"{path}: has {len(shape)} dimensions ({size}), not 3; split it into volumes first"
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ItemError(
            f"{path}: its affine is singular, so its axes have no direction; convert it again"
        )
    return Geometry(shape, affine)


def _unreadable(path: Path, error: Exception) -> ItemError:
    reason = str(error).strip().split("\n")[0][:160] or type(error).__name__
    return ItemError(f"{path}: not a readable NIfTI volume ({reason}); convert it again")
