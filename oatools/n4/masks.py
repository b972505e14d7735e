"""Foreground masks for intensity work, and the coarse grids that it is done on. NumPy alone."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def otsu(values: Array, bins: int = 256) -> float:
    """Otsu's threshold (IEEE SMC 1979): the histogram's cut with the largest variance between its two classes.

    Returns the centre of the last bin of the lower class. Raises a `ValueError` if all values are
    one.
    """
    counts, edges = np.histogram(values, bins)
    if edges[0] == edges[-1] or np.count_nonzero(counts) < 2:
        raise ValueError("all values are one; no threshold divides them")
    centres = (edges[:-1] + edges[1:]) / 2
    below, moment = np.cumsum(counts)[:-1], np.cumsum(counts * centres)[:-1]
    total, mean = counts.sum(), float((counts * centres).sum() / counts.sum())
    inside = (below > 0) & (below < total)
    between = np.full(bins - 1, -1.0)
    between[inside] = (mean * below[inside] - moment[inside]) ** 2 / (
        below[inside] * (total - below[inside])
    )
    return float(centres[int(np.argmax(between))])


def otsu_mask(image: Array) -> Array:
    """The voxels above Otsu's threshold; in knees it cuts off dark muscle, and fat where that is suppressed."""
    return image > otsu(image[np.isfinite(image)])


def log_otsu_mask(image: Array) -> Array:
    """The voxels above Otsu's threshold of the logarithm of the positive ones.

    In logarithms, dark tissue lies nearer to bright tissue than to the noise in air, whatever the
    field: the two classes are air and patient.
    """
    positive = np.isfinite(image) & (image > 0)
    return positive & (np.where(positive, image, 1) > np.exp(otsu(np.log(image[positive]))))


def air_level(image: Array) -> tuple[float, float] | None:
    """The most common intensity of air and the one that air hardly reaches, or None where no air can be told apart.

    Air is sought among the positive samples below Otsu's threshold of the logarithm. Their
    histogram's peak is its level, what lies below the peak tells its spread (nothing but air is
    darker), and six spreads above it air ends. Where that is not below the threshold, the dark
    samples are no narrow peak, and so not the noise of air.
    """
    positive = image[np.isfinite(image) & (image > 0)]
    cut = np.exp(otsu(np.log(positive)))
    dark = positive[positive <= cut]
    counts, edges = np.histogram(dark, 100)
    peak = int(np.argmax(np.convolve(counts, np.ones(5), "same")))
    level = float(edges[peak] + edges[peak + 1]) / 2
    below = dark[dark <= level]
    end = level + 6 * float(np.sqrt(np.square(below - level).mean())) if len(below) else np.inf
    return (level, end) if end < cut else None


def without_floor(image: Array, level: float) -> Array:
    """Intensities without the floor that noise of this level puts under magnitudes, float32: sqrt(image^2 - level^2).

    The correction of Gudbjartsson and Patz (Magn Reson Med 1995) for means over many voxels; dark
    tissue far from the coil would otherwise look brighter than it is. What is near the floor or
    below keeps a tenth of itself. Negative intensities stay negative.
    """
    squares = np.square(image, dtype=np.float32)
    rest = np.sqrt(np.maximum(squares - np.float32(level * level), np.float32(0.01) * squares))
    return np.copysign(rest, image, dtype=np.float32)


def box_mean(image: Array, factors: Sequence[int]) -> Array:
    """Means over boxes of `factors` voxels along each axis, float32; what does not fill a box at an end is left out."""
    out = image
    for axis in sorted(
        range(image.ndim), key=lambda a: -abs(image.strides[a])
    ):  # long rows first: they add up fast
        factor, count = factors[axis], image.shape[axis] // factors[axis]
        out = out[(slice(None),) * axis + (slice(0, count * factor),)]
        if factor > 1:
            shape = (*out.shape[:axis], count, factor, *out.shape[axis + 1 :])
            out = out.reshape(shape).sum(axis=axis + 1, dtype=np.float32)
    return out.astype(np.float32) / np.float32(np.prod(factors))


def box_positions(size: int, factor: int) -> Array:
    """Where the boxes of `box_mean` lie along an axis of `size` voxels, from 0 (its first edge) to 1 (its last)."""
    return (np.arange(size // factor) + 0.5) * factor / size


def spread(mask: Array, factors: Sequence[int], shape: Sequence[int]) -> Array:
    """A mask of boxes on the full grid of that shape; what fills no box is outside."""
    out = np.zeros(shape, bool)
    for axis, factor in enumerate(factors):
        mask = np.repeat(mask, factor, axis=axis)
    out[tuple(slice(0, n) for n in mask.shape)] = mask
    return out
