"""Correction of the coil's intensity bias with N4 (Tustison et al., IEEE TMI 2010), by our own engine or SimpleITK's.

The work is done on means over boxes of voxels. By default N4 starts from the field that the small
steps inside tissues show (`gradients`), which holds where histograms fail it: in fat-suppressed
contrasts.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume, read_volume
from oatools.n4 import gradients
from oatools.n4.field import Field, Level, divide, fit_field
from oatools.n4.masks import (
    air_level,
    box_mean,
    box_positions,
    log_otsu_mask,
    otsu_mask,
    spread,
    without_floor,
)

#: Boxes that shrink to this, mm, along an axis unless told otherwise: what a field can change over
#: is far longer.
SAMPLE_MM = 3.0
# One interval of the starting field's spline a this many mm.
_START_SPAN_MM = 50.0
_FEWEST_SAMPLES = 100


@dataclass(frozen=True)
class N4Settings:
    """What N4 is told.

    `engine` is `fast` or `itk`; `start` is `gradient` or `flat` (no field); `mask` is `air` (all
    but air, where there is any to be told apart), `log-otsu`, `otsu`, `none` or the path of a
    volume; `floor` is the intensity of air, whose noise is taken off the samples, 0 for none and
    None for what is found in the volume; `shrink` the boxes' voxels along each axis, or None for
    what comes nearest to 3 mm; `spans` the intervals of the first lattice along each axis. The
    others are those of ITK's filter.
    """

    engine: str = "fast"
    start: str = "gradient"
    mask: str = "air"
    floor: float | None = None
    shrink: tuple[int, int, int] | None = None
    iterations: tuple[int, ...] = (50, 50)
    convergence: float = 0.001
    spans: tuple[int, int, int] = (1, 1, 1)
    fwhm: float = 0.15
    noise: float = 0.01
    bins: int = 200


@dataclass(frozen=True)
class Correction:
    """What came out: `corrected` volume and `log_field` (float32) on the same grid.

    `samples` is the mask of the boxes used, `shrink` their voxels along each axis, `floor` the
    intensity of air that was taken off them, `levels` what N4 did at each resolution.
    """

    corrected: Volume
    log_field: np.ndarray
    samples: np.ndarray
    shrink: tuple[int, int, int]
    floor: float
    levels: tuple[Level, ...]

    @property
    def mask(self) -> np.ndarray:
        """The samples used, on the volume's grid, bool."""
        return spread(self.samples, self.shrink, self.log_field.shape)


def correct(volume: Volume, settings: N4Settings) -> Correction:
    """Divide a volume by its bias field.

    The field is fitted to the positive samples of the mask on a grid of boxes, and evaluated on the
    full grid; it is defined up to a factor, and nothing is rescaled. Negative voxels are kept,
    divided like the others. Raises `ItemError` for a constant volume or an empty mask.
    """
    data = volume.data
    if data.min() == data.max():
        raise ItemError(
            f"every voxel is {data.flat[0]:g}; there is no field to correct, drop the row"
        )
    shrink = settings.shrink or tuple(max(1, round(SAMPLE_MM / s)) for s in volume.spacing)
    shrink = tuple(
        max(1, min(factor, size // 4)) for factor, size in zip(shrink, data.shape, strict=True)
    )
    samples = box_mean(data, shrink)
    air = _air(samples)
    mask = _mask(samples, volume, settings.mask, shrink, air)
    floor = (air[0] if air else 0.0) if settings.floor is None else settings.floor
    if (inside := int(np.count_nonzero(mask))) < _FEWEST_SAMPLES:
        raise ItemError(
            f"the mask keeps {inside} samples after shrinking; use --mask none or a smaller --shrink"
        )
    positions = [
        box_positions(size, factor) for size, factor in zip(data.shape, shrink, strict=True)
    ]
    full = [box_positions(size, 1) for size in data.shape]
    if floor:
        samples = without_floor(samples, floor)
    fields = []
    try:
        if settings.start == "gradient":
            extent = volume.spacing * data.shape
            spans = tuple(max(1, round(mm / _START_SPAN_MM)) for mm in extent)
            fields.append(gradients.estimate(samples, mask, spans, positions))
            samples, _ = divide(samples, fields, positions)
        if settings.engine == "itk":
            corrected, log_field, levels = _by_itk(
                volume, samples, mask, shrink, fields, full, settings
            )
            return _checked(volume, corrected, log_field, mask, shrink, floor, levels)
        fields.append(
            fit_field(
                samples,
                mask,
                settings.iterations,
                settings.convergence,
                settings.spans,
                positions,
                settings.bins,
                settings.noise,
                settings.fwhm,
            )
        )
    except ValueError as error:
        raise ItemError(f"no field can be fitted: {error}; try --mask none") from None
    corrected, log_field = divide(data, fields, full)
    return _checked(volume, corrected, log_field, mask, shrink, floor, fields[-1].levels)


def _checked(
    volume: Volume,
    corrected: np.ndarray,
    log_field: np.ndarray,
    mask: np.ndarray,
    shrink: tuple[int, int, int],
    floor: float,
    levels: tuple[Level, ...],
) -> Correction:
    if not np.isfinite(corrected).all():
        raise ItemError(
            "the corrected volume is not finite; try another --mask or a larger --convergence"
        )
    return Correction(Volume(corrected, volume.affine), log_field, mask, shrink, floor, levels)


def _by_itk(
    volume: Volume,
    samples: np.ndarray,
    mask: np.ndarray,
    shrink: tuple[int, int, int],
    fields: list[Field],
    full: list[np.ndarray],
    settings: N4Settings,
) -> tuple[np.ndarray, np.ndarray, tuple[Level, ...]]:
    """The same with SimpleITK's filter, on the same samples and mask; its field is evaluated by itself."""
    import SimpleITK as sitk  # half a second, which a run of our own engine need not wait for

    image = sitk.GetImageFromArray(np.ascontiguousarray(samples.T))
    image.SetSpacing([float(s) for s in shrink])
    image.SetOrigin([(factor - 1) / 2 for factor in shrink])
    chosen = sitk.GetImageFromArray(np.ascontiguousarray(mask.T).astype(np.uint8))
    chosen.CopyInformation(image)
    filter_ = sitk.N4BiasFieldCorrectionImageFilter()
    filter_.SetMaximumNumberOfIterations(settings.iterations)
    filter_.SetConvergenceThreshold(settings.convergence)
    filter_.SetNumberOfControlPoints([n + 3 for n in settings.spans])
    filter_.SetBiasFieldFullWidthAtHalfMaximum(settings.fwhm)
    filter_.SetWienerFilterNoise(settings.noise)
    filter_.SetNumberOfHistogramBins(settings.bins)
    reference = sitk.Image([int(n) for n in volume.shape], sitk.sitkFloat32)
    try:
        filter_.Execute(image, chosen)
        log_field = sitk.GetArrayFromImage(filter_.GetLogBiasFieldAsImage(reference)).T
    except RuntimeError as error:
        raise ItemError(
            f"N4 failed ({str(error).strip().splitlines()[-1]}); try --mask none"
        ) from None
    data, start = divide(volume.data, fields, full) if fields else (volume.data, 0)
    levels = (
        Level(
            settings.spans,
            int(filter_.GetElapsedIterations()),
            float(filter_.GetCurrentConvergenceMeasurement()),
        ),
    )
    return (data / np.exp(log_field)).astype(np.float32), log_field + start, levels


def _air(samples: np.ndarray) -> tuple[float, float] | None:
    try:
        return air_level(samples)
    except ValueError:  # all samples are one
        return None


def _mask(
    samples: np.ndarray,
    volume: Volume,
    mask: str,
    shrink: tuple[int, int, int],
    air: tuple[float, float] | None,
) -> np.ndarray:
    """The samples that the field is fitted to; N4 takes logarithms, so only positive ones."""
    positive = samples > 0
    try:
        if mask == "none" or mask == "air" and not air:
            return positive  # blanked or cropped away, air does no harm; a threshold would take dark tissue for it
        if mask == "air":
            return samples > air[1]
        if mask in ("otsu", "log-otsu"):
            return positive & (otsu_mask(samples) if mask == "otsu" else log_otsu_mask(samples))
    except ValueError:
        return np.zeros_like(positive)
    given = read_volume(Path(mask))
    if given.shape != volume.shape or not np.allclose(given.affine, volume.affine, atol=1e-3):
        raise ItemError(f"{mask} lies on another grid than the volume; resample the mask first")
    return positive & (box_mean(given.data != 0, shrink) > 0.5)
