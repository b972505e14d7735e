"""Correction of the coil's intensity bias with N4 (Tustison et al., IEEE TMI 2010), by SimpleITK."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume, read_volume

if TYPE_CHECKING:
    import SimpleITK as sitk

# Along an axis this much coarser than the finest, shrinking would leave too few samples: thick slices stay as they are.
_THICK = 2.0


@dataclass(frozen=True)
class N4Settings:
    """What N4 is told: see the fields of SimpleITK's N4BiasFieldCorrectionImageFilter."""

    mask: str = "otsu"
    shrink: int = 4
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = 0.001
    fwhm: float = 0.15
    noise: float = 0.01
    bins: int = 200


def correct(volume: Volume, settings: N4Settings) -> tuple[Volume, np.ndarray]:
    """Divide a volume by its bias field.

    Returns the corrected volume, float32 on the same grid, and the natural logarithm of the field, float32, of the
    same shape. The field is fitted to the positive voxels of the mask on a grid shrunk in plane by
    `settings.shrink`, and evaluated on the full grid; it is defined up to a factor, and nothing is rescaled.
    Negative voxels are kept, divided like the others. Raises `ItemError` for a constant volume or an empty mask.
    """
    import SimpleITK as sitk  # half a second, which a run that keeps its work need not wait for

    data = np.ascontiguousarray(volume.data.T, dtype=np.float32)
    if data.min() == data.max():
        raise ItemError(f"every voxel is {data.flat[0]:g}; there is no field to correct, drop the row")
    image = sitk.GetImageFromArray(np.maximum(data, 0))
    image.SetSpacing([float(s) for s in volume.spacing])
    mask = _mask(image, volume, settings.mask)
    shrink = [settings.shrink if s < _THICK * volume.spacing.min() else 1 for s in volume.spacing]
    shrink = [max(1, min(factor, size // 4)) for factor, size in zip(shrink, image.GetSize(), strict=True)]
    small, small_mask = sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink)
    inside = int(sitk.GetArrayViewFromImage(small_mask).sum())
    if inside < 100:
        raise ItemError(f"the mask keeps {inside} samples after shrinking; use --mask none or a smaller --shrink")
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(settings.iterations)
    n4.SetConvergenceThreshold(settings.convergence)
    n4.SetBiasFieldFullWidthAtHalfMaximum(settings.fwhm)
    n4.SetWienerFilterNoise(settings.noise)
    n4.SetNumberOfHistogramBins(settings.bins)
    try:
        n4.Execute(small, small_mask)
        field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))
    except RuntimeError as error:
        raise ItemError(f"N4 failed ({str(error).strip().splitlines()[-1]}); try --mask none") from None
    corrected = data / np.exp(field)
    if not np.isfinite(corrected).all():
        raise ItemError("the corrected volume is not finite; try another --mask or a larger --convergence")
    return Volume(np.ascontiguousarray(corrected.T), volume.affine), np.ascontiguousarray(field.T)


def _mask(image: "sitk.Image", volume: Volume, mask: str) -> "sitk.Image":
    """The samples that the field is fitted to, as an image of 0 and 1; N4 takes logarithms, so only positive ones."""
    import SimpleITK as sitk

    positive = image > 0
    if mask == "none":
        return sitk.Cast(positive, sitk.sitkUInt8)
    if mask == "otsu":
        return sitk.Cast(sitk.OtsuThreshold(image, 0, 1, 200) & positive, sitk.sitkUInt8)
    given = read_volume(Path(mask))
    if given.data.shape != volume.data.shape or not np.allclose(given.affine, volume.affine, atol=1e-3):
        raise ItemError(f"{mask} lies on another grid than the volume; resample the mask first")
    chosen = sitk.GetImageFromArray(np.ascontiguousarray(given.data.T != 0).astype(np.uint8))
    chosen.CopyInformation(image)
    return sitk.Cast(chosen & sitk.Cast(positive, sitk.sitkUInt8), sitk.sitkUInt8)
