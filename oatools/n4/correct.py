"""Correction of the coil's intensity bias with N4 (Tustison et al., IEEE TMI 2010).

The work is done on means over boxes of voxels. By default N4 starts from the field that the small
steps inside tissues show (`gradients`), which holds where histograms fail it: in fat-suppressed
contrasts. The fit itself is our own (`field`) or SimpleITK's (`itk`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume
from oatools.n4 import gradients, itk
from oatools.n4.arrays import Array, Floats, Mask
from oatools.n4.field import (
    Field,
    FitError,
    FitSettings,
    Level,
    divide,
    fit_field,
    log_sum,
    usable_samples,
)
from oatools.n4.masks import box_mean, grid_positions, spread
from oatools.n4.measures import Measures, measure
from oatools.n4.samples import Samples, take_samples
from oatools.n4.settings import N4Settings

__all__ = ["Correction", "N4Settings", "correct_bias"]

_DEFAULTS = N4Settings()

# Medians for which float32 work has room on both sides: squares and sums neither vanish nor
# overflow. Volumes beyond are scaled first.
_USUAL = (2.0**-16, 2.0**24)
_EVERY = 4  # voxel along two axes, to find the median
_SCALED_MIDDLE = 10  # the exponent of two to which the median goes
# The least of a largest voxel, so that float32 tells air from it; no float32 is above the most.
_LEAST_TOP, _MOST_TOP = 2.0**-110, 2.0**127

# The starting field's spline has one interval for this many mm.
_START_SPAN_MM = 30.0
# Samples as bright as this share of all, or brighter, have the weight 1; those that would have less
# than the least have none.
_BRIGHT_SHARE, _LEAST_WEIGHT = 0.1, 1e-3


@dataclass(frozen=True)
class Correction:
    """A corrected volume, and how its field was found.

    `log_of_field` computes the field, which is as large as the volume and seldom asked for (see
    `log_field`). `samples` is the
    mask of the boxes used, `shrink` their voxels along each axis, `floor` the intensity of air that
    was taken off them, `levels` what N4 did at each resolution, `measures` what the correction did
    to the tissues.
    """

    corrected: Volume
    log_of_field: Callable[[], Floats] = field(repr=False)
    samples: Mask
    shrink: tuple[int, ...]
    floor: float
    levels: tuple[Level, ...]
    measures: Measures

    @cached_property
    def log_field(self) -> Floats:
        """The natural logarithm of the field on the volume's grid, float32."""
        return self.log_of_field()

    @property
    def mask(self) -> Mask:
        """The samples used, on the volume's grid, bool."""
        return spread(self.samples, self.shrink, self.corrected.shape)


def correct_bias(volume: Volume, settings: N4Settings = _DEFAULTS) -> Correction:
    """Divide a volume by its bias field.

        corrected = correct_bias(read_volume("knee.nii.gz")).corrected

    The field is fitted to the positive samples of the mask on a grid of boxes, and evaluated on the
    full grid; it is defined up to a factor, and nothing is rescaled: k times the volume gives k
    times the result. Negative voxels are kept, divided like the others. Raises an `ItemError` for a
    constant volume, an empty mask, and intensities that float32 cannot hold.
    """
    if volume.data.min() == volume.data.max():
        raise ItemError(
            f"every voxel is {volume.data.flat[0]:g}; there is no field to correct", "drop the row"
        )
    exponent = scale_exponent(volume.data)
    if exponent == 0:
        return _correct(volume, settings)
    floor = None if settings.floor is None else float(np.ldexp(settings.floor, exponent))
    scaled = Volume(_times_power(volume.data, exponent), volume.affine)
    found = _correct(scaled, replace(settings, floor=floor))
    corrected = _times_power(found.corrected.data, -exponent)
    if not np.isfinite(corrected).all():
        raise ItemError("the corrected volume is larger than float32 can hold", "scale it down")
    return replace(
        found,
        corrected=Volume(corrected, volume.affine),
        floor=float(np.ldexp(found.floor, -exponent)),
    )


def scale_exponent(data: Array) -> int:
    """Return the power of two by which intensities are multiplied before the work, and 0 usually.

    The work has logarithms, squares and sums in float32, which vanish or overflow where intensities
    are far from those of a scanner. A power of two changes no digit of a float. It brings the
    median of the positive voxels to a thousand, whatever a single voxel may be. Raises an
    `ItemError` for intensities at the ends of what float32 can hold.
    """
    part = data[::_EVERY, ::_EVERY]  # which is enough to tell
    positive = part[part > 0]
    if not positive.size:
        positive = data[data > 0]
    middle = float(np.median(positive.astype(np.float64))) if positive.size else 1.0
    if _USUAL[0] <= middle <= _USUAL[1]:
        return 0
    top = max(abs(float(data.max())), abs(float(data.min())))
    if not _LEAST_TOP <= top < _MOST_TOP:
        raise ItemError(
            f"its largest voxel is {top:g}, for which float32 has too few digits or none",
            "scale the volume first",
        )
    return _SCALED_MIDDLE - int(np.frexp(middle)[1])


def _times_power(data: Array, exponent: int) -> Floats:
    """Multiply by a power of two; float32."""
    with np.errstate(over="ignore", under="ignore"):
        scaled: Floats = np.ldexp(data.astype(np.float64), exponent).astype(np.float32)
    return scaled


def _correct(volume: Volume, settings: N4Settings) -> Correction:
    """Correct a volume of usual intensities."""
    data = volume.data
    samples = take_samples(volume, settings)
    fit_settings = FitSettings(
        iterations=settings.iterations,
        convergence=settings.convergence,
        spans=settings.spans,
        fwhm=settings.fwhm,
        noise=settings.noise,
        bins=settings.bins,
    )
    try:
        start = _start(volume, samples) if settings.start == "gradient" else None
        rest = _without_start(samples, start)
        if settings.engine == "itk":
            fit = _by_itk(data, rest, start, fit_settings)
        else:
            weights = _weights(rest) if settings.weights == "brightness" else None
            fit = _by_our_own(data, rest, weights, start, fit_settings)
    except (FitError, np.linalg.LinAlgError) as error:  # the latter of singular equations
        raise ItemError(f"no field can be fitted: {error}", "try `mask` none") from None
    if not np.isfinite(fit.corrected).all():
        raise ItemError(
            "the corrected volume is not finite", "try another `mask` or a larger `convergence`"
        )
    usable = usable_samples(samples.image, samples.mask)
    return Correction(
        corrected=Volume(fit.corrected, volume.affine),
        log_of_field=fit.log_of_field,
        samples=samples.mask,
        shrink=samples.shrink,
        floor=samples.floor,
        levels=fit.levels,
        measures=measure(samples.image, usable, fit.at_samples),
    )


def _start(volume: Volume, samples: Samples) -> Field:
    """The field that small steps inside tissues show."""
    extent = volume.spacing * volume.shape
    spans = [max(1, round(mm / _START_SPAN_MM)) for mm in extent]
    return gradients.estimate(samples.image, samples.mask, spans, samples.positions)


def _without_start(samples: Samples, start: Field | None) -> Samples:
    if start is None:
        return samples
    return replace(samples, image=divide(samples.image, [start], samples.positions))


def _weights(samples: Samples) -> Floats:
    """Weights of samples, as the squares of their intensities, at most 1.

    Noise of one size everywhere is in the logarithm as large as the intensity is small, so that
    these are inverse variances; and what is dark is often several tissues in one sample.
    """
    bright = np.quantile(samples.image[samples.mask], 1 - _BRIGHT_SHARE)
    weights = np.square(np.clip(samples.image / bright, 0, 1), dtype=np.float32)
    weights[weights < _LEAST_WEIGHT] = 0
    return weights


@dataclass(frozen=True)
class _Fit:
    """A corrected image, its log field when asked for and at the samples, and N4's levels."""

    corrected: Floats
    log_of_field: Callable[[], Floats]
    at_samples: Floats
    levels: tuple[Level, ...]


def _by_our_own(
    data: Array,
    samples: Samples,
    weights: Floats | None,
    start: Field | None,
    settings: FitSettings,
) -> _Fit:
    """Correct voxels with our own engine; `samples` are without the start, as in `_by_itk`."""
    found = fit_field(samples.image, samples.mask, settings, samples.positions, weights)
    fields = [found] if start is None else [start, found]
    logs = log_sum(fields, samples.positions)
    seen = usable_samples(samples.image, samples.mask)
    if weights is not None:
        seen &= weights > 0
    # Far from all samples a spline goes anywhere, and the noise of air would glow.
    limits = float(logs[seen].min()), float(logs[seen].max())
    positions = _voxel_positions(data)
    corrected = divide(data, fields, positions, limits)
    log_of_field = partial(log_sum, fields, positions, limits)
    return _Fit(corrected, log_of_field, np.clip(logs, *limits), found.levels)


def _by_itk(data: Array, samples: Samples, start: Field | None, settings: FitSettings) -> _Fit:
    """Correct voxels with SimpleITK's filter."""
    log_field, level = itk.fit_log_field(samples, settings)
    divisor = np.exp(log_field)
    if start is not None:
        positions = _voxel_positions(data)
        data = divide(data, [start], positions)
        log_field = log_field + log_sum([start], positions)
    corrected = (data / divisor).astype(np.float32)
    return _Fit(corrected, lambda: log_field, box_mean(log_field, samples.shrink), (level,))


def _voxel_positions(data: Array) -> list[Array]:
    return list(grid_positions(data.shape, (1,) * data.ndim))
