"""A knee as a trained model sees it.

From the images of its slices come their features, and from these the log odds.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import ItemError, UsageError
from oatools.core.records import Fields, RecordError
from oatools.features.backbone import Backbone, load_backbone
from oatools.features.backbone_record import PRETRAINED, RANDOM, Weights
from oatools.features.slices import Preprocessing, chosen, images, square_padding
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, middle_slices

_BATCH = 16
# What a record may say of images, at most.
_MOST_PIXELS, _MOST_SLICES = 1 << 12, 1 << 16


@dataclass(frozen=True)
class EndToEnd:
    """The way from images to log odds: backbone, model, and the knee's clinical variables.

    `clinical` (variables,) is raw, NaN where missing. `sign` is 1 where the positive class is asked
    for and -1 for the negative one.
    """

    model: FittedModel
    backbone: Backbone
    clinical: np.ndarray
    sign: int = 1

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the backbone's last spatial features, without gradient.

        They are (slices, channels, height, width). Raises a `UsageError` for a backbone that has
        none.
        """
        network = self.backbone.network
        with torch.no_grad():
            maps = torch.cat([network.forward_features(part) for part in self._batches(pixels)])
        if maps.ndim != 4:
            raise UsageError(
                f"the backbone {self.backbone.record.name} has no spatial feature maps",
                "use another",
            )
        return maps.clone()

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the features (slices, channels) of such maps; differentiable."""
        features: torch.Tensor = self.backbone.network.forward_head(maps, pre_logits=True)
        return features

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features (slices, channels) of images in [0, 1], without gradient.

        Images are (slices, channels, size, size).
        """
        with torch.no_grad():
            return torch.cat([self.backbone.network(part) for part in self._batches(pixels)])

    def log_odds(
        self, features: torch.Tensor, extents: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log odds (versions,) of the class asked for, and the attention.

        `features` is (versions, slices, channels), of one knee; attention is (versions, slices).
        Differentiable.
        """
        logits, attention = self.model.versions(features, self.clinical, extents)
        return self.sign * (logits[:, 1] - logits[:, 0]), attention

    def _batches(self, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
        for part in pixels.split(_BATCH):
            yield self.backbone.normalise(part.to(self.backbone.device))


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
        """The number of slices of each sequence."""
        return tuple(map(len, self.indices))

    def to_volumes(self, maps: torch.Tensor) -> list[np.ndarray]:
        """Return maps (slices, h, w) over the images on the grid of each volume.

        They are (i, j, slices), float32, and 0 in slices that were not embedded.
        """
        grids = []
        parts = maps.split(self.extents)
        for volume, indices, part in zip(self.volumes, self.indices, parts, strict=True):
            full = np.zeros(volume.data.shape, dtype=np.float32)
            full[:, :, indices.start : indices.stop] = to_grid(part, volume)
            grids.append(full)
        return grids

    def by_slice(self, values: np.ndarray) -> list[np.ndarray]:
        """Spread values of the embedded slices over all slices of each volume, 0 elsewhere."""
        spread, start = [], 0
        for volume, indices in zip(self.volumes, self.indices, strict=True):
            full = np.zeros(volume.data.shape[2])
            full[indices.start : indices.stop] = values[start : start + len(indices)]
            spread.append(full)
            start += len(indices)
        return spread


def prepare(volumes: Sequence[Volume], model: FittedModel) -> KneeImages:
    """Prepare volumes (slices in the last axis) as the model's record says of its features.

    There is one volume for each sequence of the model, in its order.
    """
    settings = preprocessing_of(model)
    indices = tuple(chosen(volume.data.shape[2], settings.slices) for volume in volumes)
    pixels = torch.from_numpy(np.concatenate([images(volume, settings) for volume in volumes]))
    seen: list[int] = []
    start = 0
    for each in indices:
        used = middle_slices(len(each), model.settings.slices)
        seen += range(start + used.start, start + used.stop)
        start += len(each)
    return KneeImages(tuple(volumes), pixels, indices, np.array(seen))


def preprocessing_of(model: FittedModel) -> Preprocessing:
    """Return how the images of a model's features were prepared.

    Raises a `UsageError` for a model whose record does not say so, as oa-embed would.
    """
    try:
        recorded = _space(model).part("preprocessing")
        recorded.text("interpolation")
        recorded.whole("size", 1, _MOST_PIXELS)
        low, high = recorded.numbers("window", 2)
        if not 0 <= low < high <= 100:
            raise RecordError("'window' is not two percentiles")
        recorded.numbers("mean", 3)
        if min(recorded.numbers("std", 3)) <= 0:
            raise RecordError("'std' is not positive")
        if "triplet" in recorded.values:
            recorded.flag("triplet")
        if recorded.has("slices"):
            _check_slices(recorded)
    except RecordError as error:
        raise _unknown_images(error) from None
    return Preprocessing.from_record(recorded.values)


def _check_slices(recorded: Fields) -> None:
    """Raise a `RecordError` unless `slices` is a count, or a first and a last slice."""
    if not isinstance(recorded.values["slices"], list):
        recorded.whole("slices", 1, _MOST_SLICES)
        return
    recorded.numbers("slices", 2)
    both = Fields(dict(zip(("first", "last"), recorded.values["slices"], strict=True)))
    both.whole("last", both.whole("first", 1, _MOST_SLICES), _MOST_SLICES)


def _space(model: FittedModel) -> Fields:
    return Fields(model.record).part("feature_space")


def _unknown_images(error: RecordError) -> UsageError:
    return UsageError(
        f"the model does not say how its features were made of images ({error})",
        "train it on features of oa-embed",
    )


def to_grid(maps: torch.Tensor, volume: Volume) -> np.ndarray:
    """Enlarge maps (slices, h, w) of square images to the volume's own slices: (i, j, slices)."""
    columns, rows = volume.data.shape[:2]
    left, right, top, bottom = square_padding(volume)
    shape = (rows + top + bottom, columns + left + right)
    if not torch.isfinite(maps).all():
        raise ItemError(
            "the heat map is not finite", "were the features made from this very volume?"
        )
    square = maps[:, None].float()
    large = functional.interpolate(square, shape, mode="bilinear", align_corners=False)
    inside = large[:, 0].numpy()[:, top : top + rows, left : left + columns]
    return inside[:, ::-1].transpose(2, 1, 0)


def backbone_of(model: FittedModel, weights: str | None = None, device: str = "cpu") -> Backbone:
    """Load the very backbone that a model's features came from, once a process.

    Random weights are made again from their seed; `weights` names a file for those that came from
    one. Raises a `UsageError` for weights that are not the model's, by their digest.
    """
    try:
        space = _space(model)
        name, sha256 = space.text("backbone"), space.text("weights_sha256")
        label = space.text("weights")
        source, seed = _source_of(model, weights, label)
    except RecordError as error:
        raise _unknown_images(error) from None
    backbone = _load_once(name, source, seed, device, sha256)
    if backbone.record.weights.sha256 != sha256:
        raise UsageError(
            f"the weights of {name} are not those that the model's features came from ({label})",
            "give these with `weights`",
        )
    return backbone


def _source_of(model: FittedModel, given: str | None, label: str) -> tuple[str, int]:
    """Return the weights to load, and the seed of random ones."""
    recorded = model.record.get("weights")
    origin = Weights.from_json(recorded) if recorded else None
    if origin is not None and origin.is_random:
        return RANDOM, origin.seed or 0
    if given is not None:
        return given, 0
    if origin is not None and origin.source == PRETRAINED:
        return PRETRAINED, 0
    raise UsageError(
        f"the model's features came from the weights '{label}'", "give that file with `weights`"
    )


@functools.lru_cache(maxsize=1)
def _load_once(name: str, weights: str, seed: int, device: str, sha256: str) -> Backbone:
    # The digest is that of the weights wanted, so that a file which was exchanged is read again.
    return load_backbone(name, weights, seed, device)
