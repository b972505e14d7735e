"""From a volume to the images that a backbone sees, on any device of PyTorch's.

The steps, the matrices and the places of the percentiles are those of `slices`, which says what
they mean; images agree with its own to 1e-5.
"""

from functools import partial

import numpy as np
import torch

from oatools.features.slices import (
    Preprocessing,
    require_contrast,
    resizing,
    window_places,
    with_channels,
)
from oatools.imaging.nifti import portable
from oatools.imaging.volume import Volume


def tensor_images(volume: Volume, settings: Preprocessing, device: torch.device) -> torch.Tensor:
    """Return the chosen slices as images (n, channels, size, size), float32, in [0, 1].

    Voxels go to the device in their own type. On a GPU this waits for the current stream alone.
    Errors are those of `slices.images`.
    """
    voxels = _voxels(volume, device)
    low, high = _window(voxels, settings)
    across, down = (torch.from_numpy(m.copy()).to(device) for m in resizing(volume, settings))
    resized = partial(_resized, voxels, low, high, across, down)
    return with_channels(volume, settings, resized)


def _voxels(volume: Volume, device: torch.device) -> torch.Tensor:
    """Return a volume's voxels on the device, (slices, rows, columns)."""
    data = portable(volume.data)
    if data.dtype == np.uint16:  # PyTorch hardly knows it
        data = data.astype(np.int32)
    voxels = torch.from_numpy(np.ascontiguousarray(data.T))
    if device.type == "cuda":
        voxels = voxels.pin_memory()
    return voxels.to(device, non_blocking=True)


def _window(voxels: torch.Tensor, settings: Preprocessing) -> tuple[float, float]:
    """Return the intensity window; the values are exactly those of `slices.intensity_window`."""
    ordered = voxels.flatten().sort().values
    last = ordered.numel() - 1
    positive = int((ordered > 0).sum())
    places = window_places(ordered.numel(), positive, settings.window)
    ranks = [rank for place in places for rank in (place.rank, min(place.rank + 1, last))]
    values = ordered[torch.tensor(ranks, device=ordered.device)].tolist()
    low, high = (
        value + (following - value) * place.share
        for value, following, place in zip(values[::2], values[1::2], places, strict=True)
    )
    require_contrast(low, high)
    return low, high


def _resized(
    voxels: torch.Tensor,
    low: float,
    high: float,
    across: torch.Tensor,
    down: torch.Tensor,
    indices: np.ndarray,
) -> torch.Tensor:
    """Return slices, by their indices, as planes (n, size, size) in [0, 1]."""
    first, last = int(indices[0]), int(indices[-1])
    is_run = last - first + 1 == len(indices)
    planes = voxels[first : last + 1] if is_run else voxels[torch.from_numpy(indices)]
    planes = planes.to(torch.float32, copy=True)
    planes.sub_(float(np.float32(low))).mul_(float(np.float32(1 / (high - low)))).clamp_(0, 1)
    return (down @ (planes @ across)).clamp_(0, 1)
