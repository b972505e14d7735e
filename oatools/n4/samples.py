"""The samples that a bias field is fitted to: means over boxes of voxels inside a mask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.volume import Volume, read_volume
from oatools.n4.arrays import Doubles, Floats, Mask
from oatools.n4.masks import (
    Air,
    air_level,
    box_mean,
    grid_positions,
    log_otsu_mask,
    otsu_mask,
    without_floor,
)
from oatools.n4.settings import N4Settings

#: The side of a box along each axis, mm, unless told otherwise: a field changes over far longer
#: distances.
SAMPLE_MM = 3.0

_FEWEST_SAMPLES = 100
_FEWEST_BOXES = 4  # along an axis, so that a short one is not shrunk away
_SAME_GRID_MM = 1e-3
_THRESHOLDS = {"otsu": otsu_mask, "log-otsu": log_otsu_mask}


@dataclass(frozen=True)
class Samples:
    """Means over boxes of a volume, without the noise of air.

    `mask` holds the samples that the field is fitted to, `shrink` a box's voxels along each axis,
    `shape` the volume's grid, and `floor` the intensity of air that was taken off.
    """

    image: Floats
    mask: Mask
    shrink: tuple[int, ...]
    shape: tuple[int, ...]
    floor: float

    @property
    def positions(self) -> list[Doubles]:
        """The samples' places along each axis of the volume, 0 to 1."""
        return grid_positions(self.shape, self.shrink)


def take_samples(volume: Volume, settings: N4Settings) -> Samples:
    """Take a volume's samples; an `ItemError` if the mask keeps too few of them."""
    shrink = _boxes(volume, settings.shrink)
    means = box_mean(volume.data, shrink)
    air = _air(means)
    mask = _mask(settings.mask, means, air, volume, shrink)
    inside = int(np.count_nonzero(mask))
    if inside < _FEWEST_SAMPLES:
        raise ItemError(
            f"the mask keeps {inside} samples after shrinking",
            "use `mask` none or a smaller `shrink`",
        )
    floor = settings.floor
    if floor is None:
        floor = air.level if air else 0.0
    if floor:
        means = without_floor(means, floor)
    return Samples(means, mask, shrink, volume.shape, floor)


def _boxes(volume: Volume, shrink: tuple[int, ...] | None) -> tuple[int, ...]:
    """The voxels of a box along each axis: those asked for, or what comes nearest to 3 mm."""
    if shrink is None:
        shrink = tuple(round(SAMPLE_MM / spacing) for spacing in volume.spacing)
    boxes = []
    for factor, size in zip(shrink, volume.shape, strict=True):
        boxes.append(max(1, min(factor, size // _FEWEST_BOXES)))
    return tuple(boxes)


def _air(samples: Floats) -> Air | None:
    try:
        return air_level(samples)
    except ValueError:  # all samples are one
        return None


def _mask(
    name: str, samples: Floats, air: Air | None, volume: Volume, shrink: tuple[int, ...]
) -> Mask:
    """The mask of that name, or in that file, without what has no logarithm for N4."""
    positive: Mask = samples > 0
    if name == "none":
        return positive
    if name == "air":
        # Blanked or cropped away, air does no harm; a threshold would take dark tissue for it.
        return positive if air is None else samples > air.end
    if name in _THRESHOLDS:
        try:
            return positive & _THRESHOLDS[name](samples)
        except ValueError:  # all samples are one
            return np.zeros_like(positive)
    return positive & _mask_from_file(Path(name), volume, shrink)


def _mask_from_file(path: Path, volume: Volume, shrink: tuple[int, ...]) -> Mask:
    """The boxes of which more than half lie in the mask of a file."""
    given = read_volume(path)
    is_same_shape = given.shape == volume.shape
    if not is_same_shape or not np.allclose(given.affine, volume.affine, atol=_SAME_GRID_MM):
        raise ItemError(f"{path} lies on another grid than the volume", "resample the mask first")
    mask: Mask = box_mean(given.data != 0, shrink) > 0.5
    return mask
