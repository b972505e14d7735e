"""N4 bias field correction on arrays, fast: the algorithm of Tustison et al. (IEEE TMI 2010) on a regular grid.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.n4 import bspline

Array = np.ndarray

# The histogram is counted, and the sharpening looked up, at this many places a bin: the linear
# weights of a sample are then exact to 1/64 of a bin, far below the noise of the histogram.
_FINE = 32
_SLAB_VOXELS = 1 << 20


@dataclass(frozen=True)
class Level:
    """What one level of the lattice did: spans an axis, iterations, and the last measure of convergence."""

    spans: tuple[int, ...]
    iterations: int
    convergence: float


@dataclass(frozen=True)
class Field:
    """A bias field as control points over [0, 1] along each axis of a grid, and how it was reached.

    `points` is float64 of shape (A, B, C); `levels` are coarse to fine.
    """

    points: Array
    levels: tuple[Level, ...]

    def log_at(self, positions: Sequence[Array]) -> Array:
        """The natural logarithm of the field on the grid of these positions along each axis, float32."""
        matrices = [
            bspline.basis(p, n - bspline.ORDER).astype(np.float32)
            for p, n in zip(positions, self.points.shape, strict=True)
        ]
        return bspline.expand(self.points.astype(np.float32), matrices)


def fit_field(
    image: Array,
    mask: Array,
    iterations: Sequence[int] = (50, 50, 50, 50),
    convergence: float = 0.001,
    spans: Sequence[int] = (1, 1, 1),
    positions: Sequence[Array] | None = None,
    bins: int = 200,
    noise: float = 0.01,
    fwhm: float = 0.15,
) -> Field:
    """Estimate the bias field of an image from its positive, finite voxels inside a mask.

    `image` and `mask` have the same shape (i, j, k); samples are fitted with the confidence 1 where
    the mask is true. `spans` are the intervals of the lattice's first level along each axis,
    doubled at each further one; `positions` are the samples' places along each axis in [0, 1]
    (evenly spread by default). Work is in float32, but for the histogram, the deconvolution and the
    control points: the fields of float64 work differ by less than 1e-5.

    Raises a `ValueError` for fewer than two usable samples, or if all of them have one intensity.
    """
    if positions is None:
        positions = [np.linspace(0, 1, n) if n > 1 else np.zeros(1) for n in image.shape]
    usable = np.asarray(mask, bool) & np.isfinite(image) & (image > 0)
    where = np.flatnonzero(usable)
    if len(where) < 2:
        raise ValueError(f"the mask holds {len(where)} positive samples")
    logs = np.log(image.reshape(-1)[where].astype(np.float32))
    if logs.max() - logs.min() < 1e-6:
        raise ValueError("all samples inside the mask have one intensity")
    spans = tuple(int(n) if size > 1 else 1 for n, size in zip(spans, image.shape, strict=True))
    grid = np.zeros(image.shape, np.float32)
    flat = grid.reshape(-1)
    bias = np.zeros(len(where), np.float32)
    points, levels = None, []
    sharpen = _sharpener(bins, noise, fwhm)
    for count in iterations:
        lattice = bspline.lattice_on(positions, spans)
        weights = bspline.weights_of(usable.astype(np.float32), lattice)
        points = (
            np.zeros(tuple(n + bspline.ORDER for n in spans))
            if points is None
            else bspline.refine(points)
        )
        done, change = 0, np.inf
        while done < count and change > convergence:
            flat[where] = sharpen(logs - bias)
            step = bspline.fit(grid, weights, lattice)
            gain = bspline.expand(step, lattice.values).reshape(-1)[where]
            bias += gain
            points += step
            change = _variation(gain)
            done += 1
        levels.append(Level(spans, done, float(change)))
        spans = tuple(2 * n for n in spans)
    return Field(points, tuple(levels))


def divide(
    image: Array, fields: Sequence[Field], positions: Sequence[Array]
) -> tuple[Array, Array]:
    """Divide an image by fields on the grid of these positions: corrected image and total log field, both float32.

    Works slab by slab along the axis that is slowest in memory, so that no more than image and
    results are held.
    """
    if image.flags.f_contiguous and not image.flags.c_contiguous:
        turned = [Field(field.points.transpose(2, 1, 0), field.levels) for field in fields]
        corrected, logs = divide(image.T, turned, positions[::-1])
        return corrected.T, logs.T
    corrected = np.empty(image.shape, np.float32)
    logs = np.empty(image.shape, np.float32)
    step = max(1, _SLAB_VOXELS // max(1, image[0].size))
    for start in range(0, len(image), step):
        part = slice(start, start + step)
        places = [positions[0][part], *positions[1:]]
        _log_total(fields, places, logs[part])
        np.negative(logs[part], out=corrected[part])
        np.exp(corrected[part], out=corrected[part])
        corrected[part] *= image[part]
    return corrected, logs


def _log_total(fields: Sequence[Field], positions: Sequence[Array], out: Array) -> None:
    """The sum of the fields' logarithms on a grid, in one product over all their control points along the last axis."""
    halves, last = [], []
    for field in fields:
        first, second, third = (
            bspline.basis(p, n - bspline.ORDER).astype(np.float32)
            for p, n in zip(positions, field.points.shape, strict=True)
        )
        halves.append(
            np.matmul(second, np.tensordot(first, field.points.astype(np.float32), axes=(1, 0)))
        )
        last.append(third)
    across = np.concatenate(halves, axis=2)
    np.matmul(across, np.concatenate(last, axis=1).T, out=out)


def _variation(gain: Array) -> float:
    """The coefficient of variation of exp(gain), the ratio of two successive fields (sample deviation, n - 1)."""
    ratio = np.exp(gain)
    mean = float(ratio.mean(dtype=np.float64))
    return float(
        np.sqrt(np.square(ratio - np.float32(mean)).sum(dtype=np.float64) / max(1, len(ratio) - 1))
        / mean
    )


def _sharpener(bins: int, noise: float, fwhm: float) -> Callable[[Array], Array]:
    """A function that takes log intensities to what sharpening would take away from each: u - E[u]."""
    size = 2 ** (int(np.ceil(np.log2(bins))) + 1)
    start = int(0.5 * (size - bins))
    order = np.minimum(np.arange(size), size - np.arange(size))
    centres = (np.arange(bins * _FINE) + 0.5) / _FINE
    # A fine bin's share of the coarse bin to its right.
    share = (np.arange(_FINE) + 0.5) / _FINE

    def sharpen(values: Array) -> Array:
        low, high = float(values.min()), float(values.max())
        slope = (high - low) / (bins - 1)
        if slope <= 0:
            return np.zeros_like(values)
        fine = ((values - np.float32(low)) * np.float32(_FINE / slope)).astype(np.intp)
        counts = np.bincount(fine, minlength=bins * _FINE)[: bins * _FINE].reshape(bins, _FINE)
        right = counts @ share
        histogram = counts.sum(axis=1) - right
        histogram[1:] += right[:-1]
        expected = _expected(histogram, low, slope)
        removed = low + centres * slope - np.interp(centres, np.arange(bins), expected)
        return removed.astype(np.float32)[fine]

    def _expected(histogram: Array, low: float, slope: float) -> Array:
        """The intensity expected without the field at each bin of the histogram (Sled et al. 1998, section II)."""
        padded = np.zeros(size)
        padded[start : start + bins] = histogram
        width = fwhm / slope
        gauss = (
            2 * np.sqrt(np.log(2) / np.pi) / width * np.exp(-4 * np.log(2) * (order / width) ** 2)
        )
        blur = np.fft.rfft(gauss)
        wiener = (np.conj(blur) / (np.abs(blur) ** 2 + noise)).real
        sharp = np.maximum(np.fft.irfft(np.fft.rfft(padded) * wiener, size), 0)
        levels = low + (np.arange(size) - start) * slope
        numerator = np.fft.irfft(np.fft.rfft(levels * sharp) * blur, size)
        denominator = np.fft.irfft(np.fft.rfft(sharp) * blur, size)
        ratio = np.divide(numerator, denominator, out=np.zeros(size), where=denominator != 0)
        return ratio[start : start + bins]

    return sharpen
