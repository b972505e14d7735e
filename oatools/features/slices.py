"""From a volume to the images that a backbone sees, in NumPy alone.

`oa-embed` and `oa-cam` share these steps, so that a map is computed on exactly the pixels that the
features were.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume

Slices = int | tuple[int, int] | None

_BLOCK = 1 << 18  # voxels at a time, so that passes over a volume stay in the cache
_SAMPLE = 1 << 15
_TILE = 32  # output pixels that share one product of the resizing


@dataclass(frozen=True)
class Preprocessing:
    """How slices become images.

    `window`, the percentiles that become black and white; `size`, `interpolation`, `mean` and `std`
    (three each), the backbone's own; `slices`, a count around the middle, a range (first, last)
    counted from 1, or None for all; `triplet`, whether red and blue are the slices before and
    behind instead of the slice itself.
    """

    window: tuple[float, float]
    size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    slices: Slices = None
    triplet: bool = False

    def record(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        layout = {"slice_axis": "last", "rows": "second axis, reversed", "columns": "first axis"}
        return {**settings, **layout, "padding": "square in mm, zero"}

    @classmethod
    def from_record(cls, recorded: dict[str, Any]) -> "Preprocessing":
        """The settings that a feature file or a model records."""
        fields = {key: recorded[key] for key in cls.__dataclass_fields__ if key in recorded}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def intensity_window(data: np.ndarray, percentiles: Sequence[float]) -> tuple[float, float]:
    """The two percentiles of a volume's positive voxels (all of them where fewer than one in a hundred is positive).

    Percentiles are NumPy's (linear between order statistics) and exact. Voxels must be finite.
    Raises an `ItemError` where the two are equal.
    """
    values = data.ravel(order="K")
    positive = sum(int(np.count_nonzero(part > 0)) for part in _blocks(values))
    skipped = values.size - positive if positive * 100 >= values.size else 0
    low, high = _percentiles(values, [p / 100 for p in percentiles], skipped)
    if not high > low:
        raise ItemError(f"its intensities do not vary ({low:g} at both percentiles); drop the row")
    return low, high


def chosen(count: int, slices: Slices) -> range:
    """The indices, from 0, of the slices of a volume with `count` that `Preprocessing.slices` names.

    A number is so many consecutive slices around the middle, or all where there are fewer; an odd
    remainder leaves one more behind than before: 8 of 35 are the indices 13 to 20. Raises an
    `ItemError` for a range that ends beyond.
    """
    if slices is None:
        return range(count)
    if isinstance(slices, int):
        first = max(0, (count - slices) // 2)
        return range(first, min(count, first + slices))
    first, last = slices
    if last > count:
        raise ItemError(
            f"has {count} slices, so none are {first} to {last}; choose another --range, or --slices"
        )
    return range(first - 1, last)


def images(volume: Volume, settings: Preprocessing) -> np.ndarray:
    """The chosen slices of the last axis as images (n, channels, size, size), float32, in [0, 1].

    Intensities go through the volume's robust window; superior (the end of the second axis) is up;
    a slice that is not square in mm is padded with zeros, centred, so that nothing is stretched.
    Resizing is Pillow's: the kernel is widened where pixels are merged. There is one channel, or
    three with `triplet`: a slice's neighbours around it, itself in their place at the ends of the
    volume.
    """
    count = volume.data.shape[2]
    indices = chosen(count, settings.slices)
    needed = indices
    if settings.triplet:
        needed = range(max(0, indices.start - 1), min(count, indices.stop + 1))
    planes = _resized(volume, needed, settings)
    if not settings.triplet:
        return planes[:, None]
    own = np.arange(indices.start, indices.stop)
    trio = np.stack([np.maximum(own - 1, 0), own, np.minimum(own + 1, count - 1)], axis=1)
    return planes[trio - needed.start]


def square_padding(volume: Volume) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below to make a slice square in mm, up to one pixel."""
    columns, rows = volume.data.shape[:2]
    width, height = (float(s) for s in volume.spacing[:2])
    side = max(columns * width, rows * height)
    extra_columns = round(side / width) - columns
    extra_rows = round(side / height) - rows
    return (
        extra_columns // 2,
        extra_columns - extra_columns // 2,
        extra_rows // 2,
        extra_rows - extra_rows // 2,
    )


def slice_positions(volume: Volume, indices: range) -> np.ndarray:
    """The place of each slice along the slice axis, mm, shape (n,): the centre's RAS position along its direction."""
    direction = volume.affine[:3, 2] / np.linalg.norm(volume.affine[:3, 2])
    in_plane = (np.array(volume.data.shape[:2]) - 1) / 2
    centres = np.array([[*in_plane, k, 1.0] for k in indices]) @ volume.affine.T
    return centres[:, :3] @ direction


@lru_cache(maxsize=8)
def resize_weights(length: int, size: int, interpolation: str) -> np.ndarray:
    """The matrix (size, length), float32, that resizes a line of pixels as Pillow does.

    An output pixel weighs the input by a kernel about its own centre, as wide as the larger of the
    two pixels: the triangle (bilinear), or the cubic of Keys (IEEE TASSP 1981) with a = -0.5
    (anything else). Weights sum to one.
    """
    scale = length / size
    width = max(scale, 1.0)
    centres = (np.arange(size)[:, None] + 0.5) * scale
    offset = np.abs((np.arange(length) + 0.5 - centres) / width)
    if interpolation == "bilinear":
        weights = np.maximum(1 - offset, 0)
    else:
        near = (1.5 * offset - 2.5) * offset**2 + 1
        far = ((-0.5 * offset + 2.5) * offset - 4) * offset + 2
        weights = np.where(offset < 1, near, np.where(offset < 2, far, 0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _resized(volume: Volume, indices: range, settings: Preprocessing) -> np.ndarray:
    """Slices (n, size, size) in [0, 1]: window, orientation, padding and resizing, one slice at a time."""
    low, high = intensity_window(volume.data, settings.window)
    columns, rows = volume.data.shape[:2]
    left, right, top, bottom = square_padding(volume)
    # Padded pixels are zero, so leaving out their weights pads; turning the weights of the rows
    # turns the image.
    across = resize_weights(columns + left + right, settings.size, settings.interpolation)[
        :, left : left + columns
    ]
    down = resize_weights(rows + top + bottom, settings.size, settings.interpolation)[
        :, top : top + rows
    ][:, ::-1]
    across_bands, down_bands = _bands(across.T, axis=1), _bands(down, axis=0)
    scale = np.float32(1 / (high - low))
    plane = np.empty((rows, columns), np.float32)
    narrow = np.empty((rows, settings.size), np.float32)
    out = np.empty((len(indices), settings.size, settings.size), np.float32)
    for image, k in zip(out, indices, strict=True):
        np.subtract(
            volume.data[:, :, k].T, np.float32(low), out=plane, dtype=np.float32, casting="unsafe"
        )
        np.multiply(plane, scale, out=plane)
        np.clip(plane, 0, 1, out=plane)
        for to, where, weights in across_bands:
            np.matmul(plane[:, where], weights, out=narrow[:, to])
        for to, where, weights in down_bands:
            np.matmul(weights, narrow[where], out=image[to])
    return np.clip(out, 0, 1, out=out)


def _bands(weights: np.ndarray, axis: int) -> list[tuple[slice, slice, np.ndarray]]:
    """A resizing matrix as the products that it takes: outputs (along `axis`), the inputs that they see, weights."""
    bands = []
    for start in range(0, weights.shape[axis], _TILE):
        to = slice(start, start + _TILE)
        part = weights[to] if axis == 0 else weights[:, to]
        seen = np.flatnonzero(part.any(axis=axis))
        where = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)
        bands.append(
            (to, where, np.ascontiguousarray(part[:, where] if axis == 0 else part[where]))
        )
    return bands


def _percentiles(values: np.ndarray, fractions: Sequence[float], skipped: int) -> list[float]:
    """Order statistics at `fractions` of `values` beyond the `skipped` smallest, linear between neighbours.

    Two quantiles of a sorted sample around each place are bounds between which only few values lie;
    these alone are sorted, found in one pass over the values. Should the bounds miss the place, all
    values are.
    """
    sample = np.sort(values[:: max(1, values.size // _SAMPLE)])
    places = [fraction * (values.size - skipped - 1) for fraction in fractions]
    bounds, below, between = [], [0] * len(places), [[] for _ in places]
    for place, fraction in zip(places, fractions, strict=True):
        middle = (skipped + place) / values.size * sample.size
        margin = 8 + 6 * np.sqrt(sample.size * max(fraction * (1 - fraction), 1e-4))
        bounds.append(
            (
                sample[int(max(0, middle - margin))],
                sample[int(min(sample.size - 1, middle + margin))],
            )
        )
    for part in _blocks(values):
        for number, (low, high) in enumerate(bounds):
            inside = part >= low
            below[number] += part.size - int(np.count_nonzero(inside))
            inside &= part <= high
            between[number].append(part[inside])
    found = []
    for number, place in enumerate(places):
        rank = skipped + int(place)
        last = min(rank + 1, values.size - 1)
        inside = np.concatenate(between[number])
        if below[number] <= rank and last - below[number] < inside.size:
            rank, last = rank - below[number], last - below[number]
        else:
            inside = values
        inside = np.partition(inside, (rank, last))
        found.append(
            float(inside[rank]) + (float(inside[last]) - float(inside[rank])) * (place - int(place))
        )
    return found


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + _BLOCK] for start in range(0, values.size, _BLOCK)]
