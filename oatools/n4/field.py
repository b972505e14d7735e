"""N4 bias field correction on arrays, fast: Tustison et al. (IEEE TMI 2010) on a regular grid.

The image is modelled as v = u f, with f smooth; in logarithms, v = u + f. An iteration sharpens the
histogram of the image corrected so far (Sled et al., IEEE TMI 1998: deconvolution by a Gaussian of
full width `fwhm`, with a Wiener filter), which maps each intensity to the one expected without the
field, and fits a cubic B-spline to what is left (see `bspline`). Levels of `iterations` refine the
spline's lattice; their fields add. A level ends when the coefficient of variation of the ratio of
two successive fields falls to `convergence`.

The steps are those of ITK's N4BiasFieldCorrectionImageFilter, and given the same grid, mask and
settings the fields agree; what differs is the cost. Everything needs NumPy alone. Arrays are (i, j,
k) in any memory order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.n4 import bspline
from oatools.n4.arrays import Array, Doubles, Floats, Mask

# The histogram is counted, and the sharpening looked up, at this many places a bin: the linear
# weights of a sample are then exact to 1/64 of a bin, far below the noise of the histogram.
_FINE = 32
_SLAB_VOXELS = 1 << 18
_ONE_INTENSITY = 1e-6  # the range of logarithms below which an image shows nothing


class FitError(ValueError):
    """Samples that no field can be fitted to."""


@dataclass(frozen=True)
class FitSettings:
    """The settings of N4 itself, with the defaults of ITK's filter (see `settings.N4Settings`)."""

    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = 0.001
    spans: tuple[int, ...] = (1, 1, 1)
    fwhm: float = 0.15
    noise: float = 0.01
    bins: int = 200


@dataclass(frozen=True)
class Level:
    """The work of one level: the lattice's spans, iterations, and the last change of the field."""

    spans: tuple[int, ...]
    iterations: int
    convergence: float


@dataclass(frozen=True)
class Field:
    """A bias field as control points over [0, 1] along each axis of a grid, and how it was reached.

    `points` is float64 of shape (A, B, C); `levels` are coarse to fine.
    """

    points: Doubles
    levels: tuple[Level, ...] = ()

    @property
    def spans(self) -> tuple[int, ...]:
        """The intervals of the lattice along each axis."""
        return tuple(n - bspline.ORDER for n in self.points.shape)

    def log_at(self, positions: Sequence[Array]) -> Floats:
        """The natural logarithm of the field on the grid of these positions along each axis."""
        matrices = bspline.bases(positions, self.spans, np.float32)
        return bspline.expand(self.points.astype(np.float32), matrices)


def fit_field(
    image: Array,
    mask: Array,
    settings: FitSettings = FitSettings(),
    positions: Sequence[Array] | None = None,
    weights: Array | None = None,
) -> Field:
    """Estimate the bias field of an image from its positive, finite voxels inside a mask.

    `image` and `mask` have the same shape (i, j, k). Samples inside the mask are fitted with their
    `weights`, of that shape and finite (1 by default); those of weight 0 have no say in the
    histogram either, in which all others count alike. `positions` are the samples' places along
    each axis in [0, 1] (evenly spread by default). Work is in float32, but for the histogram, the
    deconvolution and the control points: the fields of float64 work differ by less than 1e-5.

    Raises a `FitError` for fewer than two usable samples, or if all of them have one intensity.
    """
    if positions is None:
        positions = [np.linspace(0, 1, n) if n > 1 else np.zeros(1) for n in image.shape]
    usable = usable_samples(image, mask)
    if weights is not None:
        usable &= weights > 0
    confidence = (usable if weights is None else np.where(usable, weights, 0)).astype(np.float32)
    where = np.flatnonzero(usable)
    logs = _log_intensities(image, where)
    own = confidence.reshape(-1)[where]
    # Along an axis of one sample there is nothing to divide.
    asked = zip(settings.spans, image.shape, strict=True)
    spans = tuple(int(n) if size > 1 else 1 for n, size in asked)
    sharpener = _Sharpener(settings)
    residual = np.zeros(image.shape, np.float32)
    residual_in_order = residual.reshape(-1)
    bias = np.zeros(len(where), np.float32)
    points = np.zeros(tuple(n + bspline.ORDER for n in spans))
    levels: list[Level] = []
    for most in settings.iterations:
        if levels:
            spans = tuple(2 * n for n in spans)
            points = bspline.refine(points)
        lattice = bspline.lattice_on(positions, spans)
        reached = bspline.weights_of(confidence, lattice)
        done, change = 0, np.inf
        while done < most and change > settings.convergence:
            residual_in_order[where] = own * sharpener.take_away(logs - bias)
            step = bspline.fit(residual, reached, lattice)
            gain = bspline.expand(step, lattice.values).reshape(-1)[where]
            bias += gain
            points += step
            change = _variation(gain)
            done += 1
        levels.append(Level(spans, done, float(change)))
    return Field(points, tuple(levels))


def usable_samples(image: Array, mask: Array) -> Mask:
    """The samples inside a mask that have a logarithm."""
    usable: Mask = np.asarray(mask, bool) & np.isfinite(image) & (image > 0)
    return usable


Limits = tuple[float, float]


def divide(
    image: Array,
    fields: Sequence[Field],
    positions: Sequence[Array],
    limits: Limits | None = None,
) -> Floats:
    """Divide an image by fields on the grid of these positions, one field at least; float32.

    The logarithm of all fields together is kept within `limits`, if there are any. Works slab by
    slab along the axis that is slowest in memory, so that no more than image and result are held.
    """
    if image.flags.f_contiguous and not image.flags.c_contiguous:
        return divide(image.T, _turned(fields), positions[::-1], limits).T
    corrected = np.empty(image.shape, np.float32)
    for part in _slabs(image.shape):
        slab = corrected[part]
        _log_total(fields, [positions[0][part], *positions[1:]], limits, slab)
        np.negative(slab, out=slab)
        np.exp(slab, out=slab)
        slab *= image[part]
    return corrected


def log_sum(
    fields: Sequence[Field], positions: Sequence[Array], limits: Limits | None = None
) -> Floats:
    """The logarithm by which `divide` divides, float32, the first axis fastest in memory."""
    turned, places = _turned(fields), positions[::-1]
    logs = np.empty([len(axis) for axis in places], np.float32)
    for part in _slabs(logs.shape):
        _log_total(turned, [places[0][part], *places[1:]], limits, logs[part])
    return logs.T


def _turned(fields: Sequence[Field]) -> list[Field]:
    """The same fields on a grid of which the axes stand in the opposite order."""
    return [Field(field.points.transpose(2, 1, 0), field.levels) for field in fields]


def _slabs(shape: Sequence[int]) -> Iterator[slice]:
    """Parts of the first axis that stay in the processor's cache."""
    step = max(1, _SLAB_VOXELS // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _log_total(
    fields: Sequence[Field], positions: Sequence[Array], limits: Limits | None, out: Floats
) -> None:
    """Write the sum of the fields' logarithms on a grid to `out`, kept within `limits`.

    Along the last axis, which costs most, the control points of all fields are one matrix product.
    """
    halves, last = [], []
    for field in fields:
        first, second, third = bspline.bases(positions, field.spans, np.float32)
        along_first = np.tensordot(first, field.points.astype(np.float32), axes=(1, 0))
        halves.append(np.matmul(second, along_first))
        last.append(third)
    across = np.concatenate(halves, axis=2)
    np.matmul(across, np.concatenate(last, axis=1).T, out=out)
    if limits is not None:
        np.clip(out, *limits, out=out)


def _log_intensities(image: Array, where: Array) -> Floats:
    """Logarithms of the samples at flat indices `where`; a `FitError` if they show nothing."""
    if len(where) < 2:
        raise FitError(f"the mask holds {len(where)} positive samples")
    logs: Floats = np.log(image.reshape(-1)[where].astype(np.float32))
    if logs.max() - logs.min() < _ONE_INTENSITY:
        raise FitError("all samples inside the mask have one intensity")
    return logs


def _variation(gain: Floats) -> float:
    """The coefficient of variation of exp(gain), the ratio of two successive fields.

    The deviation is that of a sample, over n - 1.
    """
    ratio = np.exp(gain)
    mean = float(ratio.mean(dtype=np.float64))
    squares = np.square(ratio - np.float32(mean)).sum(dtype=np.float64)
    return float(np.sqrt(squares / max(1, len(ratio) - 1)) / mean)


class _Sharpener:
    """The sharpening of a histogram of log intensities (Sled et al. 1998, section II)."""

    def __init__(self, settings: FitSettings) -> None:
        self.bins = settings.bins
        self.noise = settings.noise
        self.fwhm = settings.fwhm
        # The histogram is padded to a power of two, at least twice its size, for the transform.
        self.size = 2 ** (int(np.ceil(np.log2(self.bins))) + 1)
        self.start = int(0.5 * (self.size - self.bins))
        # Distance of each place from the first one, around the end.
        self.distance = np.minimum(np.arange(self.size), self.size - np.arange(self.size))
        # The middle of each fine bin, in coarse bins, and its share of the bin to its right.
        self.centres = (np.arange(self.bins * _FINE) + 0.5) / _FINE
        self.right_share = (np.arange(_FINE) + 0.5) / _FINE

    def take_away(self, values: Floats) -> Floats:
        """Return the part of each log intensity that sharpening takes away: u - E[u]."""
        low, high = float(values.min()), float(values.max())
        slope = (high - low) / (self.bins - 1)  # the width of a bin
        if slope <= 0:
            return np.zeros_like(values)
        fine = ((values - np.float32(low)) * np.float32(_FINE / slope)).astype(np.intp)
        count = self.bins * _FINE
        counts = np.bincount(fine, minlength=count)[:count].reshape(self.bins, _FINE)
        # Each sample counts in the two nearest bins, by its distance from them.
        right = counts @ self.right_share
        histogram = counts.sum(axis=1) - right
        histogram[1:] += right[:-1]
        expected = self._expected(histogram, low, slope)
        at_centres = np.interp(self.centres, np.arange(self.bins), expected)
        removed = low + self.centres * slope - at_centres
        return removed.astype(np.float32)[fine]

    def _expected(self, histogram: Doubles, low: float, slope: float) -> Doubles:
        """The intensity expected without the field at each bin of the histogram."""
        padded = np.zeros(self.size)
        padded[self.start : self.start + self.bins] = histogram
        width = self.fwhm / slope
        height = 2 * np.sqrt(np.log(2) / np.pi) / width
        gauss = height * np.exp(-4 * np.log(2) * (self.distance / width) ** 2)
        blur = np.fft.rfft(gauss)
        # Deconvolution: the histogram without the Gaussian that the field has spread it by.
        wiener = (np.conj(blur) / (np.abs(blur) ** 2 + self.noise)).real
        sharp = np.maximum(np.fft.irfft(np.fft.rfft(padded) * wiener, self.size), 0)
        # E[u | v] is the mean of the sharp intensities that the Gaussian carries to v.
        levels = low + (np.arange(self.size) - self.start) * slope
        numerator = np.fft.irfft(np.fft.rfft(levels * sharp) * blur, self.size)
        denominator = np.fft.irfft(np.fft.rfft(sharp) * blur, self.size)
        nothing = np.zeros(self.size)
        ratio = np.divide(numerator, denominator, out=nothing, where=denominator != 0)
        return ratio[self.start : self.start + self.bins]
