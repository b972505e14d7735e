"""Volumes as arrays with an affine, read from and written to NIfTI.

World coordinates are NIfTI's: RAS+, in mm. Voxel (i, j, k) lies at `affine @ (i, j, k, 1)`.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.wrapstruct import WrapStructError

from oatools.core.errors import ItemError
from oatools.core.files import atomic


@dataclass(frozen=True)
class Volume:
    """A three-dimensional image: `data` (i, j, k), `affine` (4, 4) from voxel indices to RAS mm, float64."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each axis, mm, shape (3,)."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def read_volume(path: str | Path) -> Volume:
    """Read a NIfTI volume, scaled if its header says so and otherwise in its own type.

    Raises `ItemError` if the file is missing, damaged, not three-dimensional, without a usable affine, or holds
    voxels that are not finite. A trailing axis of length one is dropped.
    """
    path = Path(path)
    if not path.is_file():
        raise ItemError(f"{path}: no such file; check the column 'path' and the current directory")
    try:
        image = nibabel.load(path)
        data = np.asanyarray(image.dataobj)
    except (ImageFileError, WrapStructError, EOFError, OSError, ValueError, IndexError) as error:
        raise ItemError(f"{path}: not a readable NIfTI volume ({_first_line(error)}); convert it again") from None
    if data.ndim > 3 and all(n == 1 for n in data.shape[3:]):
        data = data.reshape(data.shape[:3])
    if data.ndim != 3 or data.size == 0:
        size = " x ".join(map(str, data.shape))
        raise ItemError(f"{path}: has {data.ndim} dimensions ({size}), not 3; split it into volumes first")
    if data.dtype.kind not in "iuf":
        raise ItemError(f"{path}: voxels of type {data.dtype} are no intensities; convert it to numbers first")
    if data.dtype.kind == "f" and (bad := int(np.count_nonzero(~np.isfinite(data)))):
        raise ItemError(f"{path}: {bad} voxels are not finite; drop the row or convert it again")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ItemError(f"{path}: its affine is singular, so its axes have no direction; convert it again")
    return Volume(data, affine)


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume as NIfTI-1, atomically; `.nii.gz` holds no time, so that equal volumes give equal bytes."""
    image = nibabel.Nifti1Image(volume.data, volume.affine)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner", strip_shears=True)
    image.header.set_xyzt_units("mm")
    with atomic(path) as temporary:
        nibabel.save(image, temporary)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__
