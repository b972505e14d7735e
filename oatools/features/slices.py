"""From a volume to the images that a backbone sees.

`oa-embed` and `oa-cam` share these steps, so that a map is computed on exactly the pixels that the features were.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume


@dataclass(frozen=True)
class Preprocessing:
    """How slices become images: the intensity window's percentiles, the image size, the backbone's normalisation."""

    window: tuple[float, float]
    size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        layout = {"slice_axis": "last", "rows": "second axis, reversed", "columns": "first axis"}
        return {**settings, **layout, "padding": "square in mm, zero"}


def intensity_window(data: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """The two percentiles of a volume's positive voxels (all of them where fewer than one in a hundred is positive)."""
    positive = data[data > 0]
    values = positive if positive.size * 100 >= data.size else data.ravel()
    low, high = (float(v) for v in np.percentile(values, percentiles))
    if not high > low:
        raise ItemError(f"its intensities do not vary ({low:g} at both percentiles); drop the row")
    return low, high


def middle(count: int, slices: int | None) -> range:
    """The indices of `slices` consecutive slices around the middle of `count`; all where that is None or too many.

    An odd remainder leaves one slice more behind than before: 8 of 35 are slices 13 to 20.
    """
    if slices is None or slices >= count:
        return range(count)
    first = (count - slices) // 2
    return range(first, first + slices)


def images(volume: Volume, indices: range, settings: Preprocessing) -> torch.Tensor:
    """The chosen slices of the last axis as images (n, 3, size, size), float32, normalised for the backbone.

    Intensities go through the volume's robust window to [0, 1]; superior (the end of the second axis) is up; a
    slice that is not square in mm is padded with zeros, centred, so that nothing is stretched.
    """
    low, high = intensity_window(volume.data, settings.window)
    planes = np.moveaxis(volume.data[:, :, indices.start : indices.stop], 2, 0).astype(np.float32)
    planes = np.clip((planes - low) / (high - low), 0, 1).transpose(0, 2, 1)[:, ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(planes))[:, None]
    tensor = functional.pad(tensor, square_padding(volume))
    tensor = functional.interpolate(tensor, (settings.size, settings.size), mode=_mode(settings.interpolation),
                                    align_corners=False, antialias=True).clamp_(0, 1)  # fmt: skip
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
    return (tensor.expand(-1, 3, -1, -1) - mean) / std


def square_padding(volume: Volume) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below to make a slice square in mm, up to one pixel."""
    columns, rows = volume.data.shape[:2]
    width, height = (float(s) for s in volume.spacing[:2])
    side = max(columns * width, rows * height)
    extra_columns = round(side / width) - columns
    extra_rows = round(side / height) - rows
    return (extra_columns // 2, extra_columns - extra_columns // 2, extra_rows // 2, extra_rows - extra_rows // 2)


def slice_positions(volume: Volume, indices: range) -> np.ndarray:
    """The place of each slice along the slice axis, mm, shape (n,): the centre's RAS position along its direction."""
    direction = volume.affine[:3, 2] / np.linalg.norm(volume.affine[:3, 2])
    in_plane = (np.array(volume.data.shape[:2]) - 1) / 2
    centres = np.array([[*in_plane, k, 1.0] for k in indices]) @ volume.affine.T
    return centres[:, :3] @ direction


def _mode(interpolation: str) -> str:
    return "bilinear" if interpolation == "bilinear" else "bicubic"
