"""Foreground masks for intensity work, and the coarse grids that it is done on. NumPy alone."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oatools.n4.arrays import Array, Doubles, Floats, Mask

_AIR_BINS = 100
_SPREADS_TO_END = 6


class Air(NamedTuple):
    """Intensities of air: the most common one, and the one that air hardly reaches."""

    level: float
    end: float


def otsu(values: Array, bins: int = 256) -> float:
    """Otsu's threshold (IEEE SMC 1979): the cut with the largest variance between its two classes.

    Returns the centre of the last bin of the lower class. Raises a `ValueError` if all values are
    one.
    """
    counts, edges = np.histogram(values, bins)
    if edges[0] == edges[-1] or np.count_nonzero(counts) < 2:
        raise ValueError("all values are one; no threshold divides them")
    centres = (edges[:-1] + edges[1:]) / 2
    below, moment = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    total = counts.sum()
    mean = float((counts * centres).sum() / total)
    inside = (below > 0) & (below < total)
    n, first_moment = below[inside], moment[inside]
    between = np.full(bins - 1, -1.0)
    between[inside] = (mean * n - first_moment) ** 2 / (n * (total - n))
    return float(centres[int(np.argmax(between))])


def otsu_mask(image: Array) -> Mask:
    """The voxels above Otsu's threshold.

    In knees it cuts off dark muscle, and fat where that is suppressed.
    """
    mask: Mask = image > otsu(image[np.isfinite(image)])
    return mask


def log_otsu_mask(image: Array) -> Mask:
    """The voxels above Otsu's threshold of the logarithm of the positive ones.

    In logarithms, dark tissue lies nearer to bright tissue than to the noise in air, whatever the
    field: the two classes are air and patient.
    """
    positive: Mask = np.isfinite(image) & (image > 0)
    cut = np.exp(otsu(np.log(image[positive])))
    return positive & (np.where(positive, image, 1) > cut)


def air_level(image: Array) -> Air | None:
    """The intensities of air, or None where no air can be told from tissue.

    Air is sought among the positive samples below Otsu's threshold of the logarithm. Their
    histogram's peak is its level, what lies below the peak tells its spread (nothing but air is
    darker), and six spreads above it air ends. Where that is not below the threshold, the dark
    samples are no narrow peak, and so not the noise of air.
    """
    positive = image[np.isfinite(image) & (image > 0)]
    cut = np.exp(otsu(np.log(positive)))
    dark = positive[positive <= cut]
    counts, edges = np.histogram(dark, _AIR_BINS)
    peak = int(np.argmax(np.convolve(counts, np.ones(5), "same")))
    level = float(edges[peak] + edges[peak + 1]) / 2
    below = dark[dark <= level]
    if len(below) == 0:
        return None
    end = level + _SPREADS_TO_END * float(np.sqrt(np.square(below - level).mean()))
    return Air(level, end) if end < cut else None


def without_floor(image: Array, level: float) -> Floats:
    """Intensities without the floor that noise of this level puts under magnitudes, float32.

    sqrt(image^2 - level^2), the correction of Gudbjartsson and Patz (Magn Reson Med 1995) for means
    over many voxels; dark tissue far from the coil would otherwise look brighter than it is. What
    is near the floor or below keeps a tenth of itself. Negative intensities stay negative.
    """
    squares = np.square(image, dtype=np.float32)
    rest = np.sqrt(np.maximum(squares - np.float32(level * level), np.float32(0.01) * squares))
    return np.copysign(rest, image, dtype=np.float32)


def box_mean(image: Array, factors: Sequence[int]) -> Floats:
    """Means over boxes of `factors` voxels along each axis, float32.

    Voxels at an end that do not fill a box are left out.
    """
    out = image
    # Long rows first: they add up fast.
    for axis in sorted(range(image.ndim), key=lambda axis: -abs(image.strides[axis])):
        factor, count = factors[axis], image.shape[axis] // factors[axis]
        out = out[(slice(None),) * axis + (slice(0, count * factor),)]
        if factor > 1:
            boxes = (*out.shape[:axis], count, factor, *out.shape[axis + 1 :])
            out = out.reshape(boxes).sum(axis=axis + 1, dtype=np.float32)
    return out.astype(np.float32) / np.float32(np.prod(factors))


def box_positions(size: int, factor: int) -> Doubles:
    """The middles of the boxes of `box_mean` along an axis of `size` voxels, 0 to 1 end to end."""
    middles: Doubles = (np.arange(size // factor) + 0.5) * factor / size
    return middles


def grid_positions(shape: Sequence[int], factors: Sequence[int]) -> list[Doubles]:
    """The positions of boxes along each axis of a grid; see `box_positions`."""
    each = zip(shape, factors, strict=True)
    return [box_positions(size, factor) for size, factor in each]


def spread(mask: Mask, factors: Sequence[int], shape: Sequence[int]) -> Mask:
    """A mask of boxes on the full grid of that shape; voxels that fill no box are outside."""
    for axis, factor in enumerate(factors):
        mask = np.repeat(mask, factor, axis=axis)
    out = np.zeros(shape, bool)
    out[tuple(slice(0, n) for n in mask.shape)] = mask
    return out
