"""A knee as a trained model sees it: the images of its slices, their features, and the log odds that follow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import ItemError, UsageError
from oatools.features.backbone import Backbone
from oatools.features.slices import Preprocessing, chosen, images, square_padding
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, middle_slices

_BATCH = 16


@dataclass(frozen=True)
class EndToEnd:
    """From images to log odds: backbone, model and the knee's raw clinical values (variables,), NaN where missing.

    `sign` is 1 where the positive class is asked for and -1 for the negative one.
    """

    model: FittedModel
    backbone: Backbone
    clinical: np.ndarray
    sign: int = 1

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """The backbone's last spatial features (slices, channels, height, width), without gradient."""
        with torch.no_grad():
            parts = [
                self.backbone.network.forward_features(
                    self.backbone.normalise(part.to(self.backbone.device))
                )
                for part in pixels.split(_BATCH)
            ]
        maps = torch.cat(parts)
        if maps.ndim != 4:
            raise UsageError(
                f"the backbone {self.backbone.record.name} has no spatial feature maps; use another"
            )
        return maps.clone()

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """Features (slices, channels) of such maps; differentiable."""
        return self.backbone.network.forward_head(maps, pre_logits=True)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features (slices, channels) of images (slices, channels, size, size) in [0, 1], without gradient."""
        with torch.no_grad():
            return torch.cat(
                [
                    self.backbone.network(self.backbone.normalise(part.to(self.backbone.device)))
                    for part in pixels.split(_BATCH)
                ]
            )

    def log_odds(
        self, features: torch.Tensor, extents: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log odds (versions,) of the class asked for and attention (versions, slices) of one knee's features.

        `features` is (versions, slices, channels); differentiable.
        """
        logits, attention = self.model.versions(features, self.clinical, extents)
        return self.sign * (logits[:, 1] - logits[:, 0]), attention


@dataclass(frozen=True)
class KneeImages:
    """The slices of a knee's volumes that were embedded, one sequence after the other.

    `pixels` (slices, channels, size, size) in [0, 1]; `indices` the slices of each volume that they
    are, and `seen` the numbers of those within the model's own window.
    """

    volumes: tuple[Volume, ...]
    pixels: torch.Tensor
    indices: tuple[range, ...]
    seen: np.ndarray

    @property
    def extents(self) -> tuple[int, ...]:
        """Slices of each sequence."""
        return tuple(map(len, self.indices))

    def to_volumes(self, maps: torch.Tensor) -> list[np.ndarray]:
        """Maps (slices, h, w) over the images, on the grid of each volume (i, j, slices), float32; 0 elsewhere."""
        out = []
        for volume, indices, part in zip(
            self.volumes, self.indices, maps.split(self.extents), strict=True
        ):
            full = np.zeros(volume.data.shape, dtype=np.float32)
            full[:, :, indices.start : indices.stop] = to_grid(part, volume)
            out.append(full)
        return out

    def by_slice(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the slices, spread over all slices of each volume; 0 where a slice was not embedded."""
        out, start = [], 0
        for volume, indices in zip(self.volumes, self.indices, strict=True):
            full = np.zeros(volume.data.shape[2])
            full[indices.start : indices.stop] = values[start : start + len(indices)]
            out.append(full)
            start += len(indices)
        return out


def prepare(volumes: Sequence[Volume], model: FittedModel) -> KneeImages:
    """Prepare volumes (slices in the last axis), one a sequence of the model, as its record says of its features."""
    settings = Preprocessing.from_record(model.record["feature_space"]["preprocessing"])
    indices = tuple(chosen(volume.data.shape[2], settings.slices) for volume in volumes)
    pixels = torch.from_numpy(np.concatenate([images(volume, settings) for volume in volumes]))
    seen, start = [], 0
    for each in indices:
        used = middle_slices(len(each), model.settings.slices)
        seen += range(start + used.start, start + used.stop)
        start += len(each)
    return KneeImages(tuple(volumes), pixels, indices, np.array(seen))


def to_grid(maps: torch.Tensor, volume: Volume) -> np.ndarray:
    """Maps (slices, h, w) of square images, enlarged to the volume's own slices: (i, j, slices)."""
    columns, rows = volume.data.shape[:2]
    left, right, top, bottom = square_padding(volume)
    shape = (rows + top + bottom, columns + left + right)
    if not torch.isfinite(maps).all():
        raise ItemError("the heat map is not finite; were the features made from this very volume?")
    large = functional.interpolate(
        maps[:, None].float(), shape, mode="bilinear", align_corners=False
    )[:, 0].numpy()
    inside = large[:, top : top + rows, left : left + columns]
    return inside[:, ::-1].transpose(2, 1, 0)
