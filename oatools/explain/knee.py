"""A knee as a trained model sees it.

From the images of its slices come their features, and from these the log odds.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import ItemError, UsageError
from oatools.core.provenance import Caution
from oatools.core.records import Fields, RecordError
from oatools.explain.tokens import is_made_of_tokens, pooled_tokens, token_maps
from oatools.features.backbone import Backbone, load_backbone
from oatools.features.backbone_record import PRETRAINED, RANDOM, Weights
from oatools.features.framing import Framing, framed
from oatools.features.joint import METHOD
from oatools.features.slices import (
    COMPARTMENTS,
    LEAST_CROP,
    MOST_CROP,
    Preprocessing,
    images,
    square_padding,
)
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, middle_slices

_BATCH = 16
# What a record may say of images, at most.
_MOST_PIXELS, _MOST_SLICES = 1 << 12, 1 << 16


@dataclass(frozen=True)
class EndToEnd:
    """The way from images to log odds: backbone, model, and the knee's clinical variables.

    `clinical` (variables,) is raw, NaN where missing. `sign` is 1 where the positive class is asked
    for and -1 for the negative one. `at` are the months within which a model of follow-up tells the
    risk, its horizon by default: hazards are in proportion, so that the log hazard ratio, and what
    speaks for it, is the same at any time.
    """

    model: FittedModel
    backbone: Backbone
    clinical: np.ndarray
    sign: int = 1
    at: float | None = None

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the backbone's last spatial features, without gradient.

        They are (slices, channels, height, width); of a vision transformer, see
        `tokens.token_maps`. Raises a `UsageError` for a backbone that has none.
        """
        if is_made_of_tokens(self.backbone):
            last = partial(token_maps, self.backbone)
        else:
            last = self.backbone.network.forward_features
        with torch.no_grad():
            maps = torch.cat([last(part) for part in self._batches(pixels)])
        if maps.ndim != 4:
            raise UsageError(
                f"the backbone {self.backbone.record.name} has no spatial feature maps",
                "use `method` occlusion",
            )
        return maps.clone()

    def pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the features (slices, channels) of such maps; differentiable."""
        if is_made_of_tokens(self.backbone):
            return pooled_tokens(self.backbone, maps)
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

    `pixels` (slices, channels, size, size) in [0, 1]; `framings` the part of each volume that they
    show, and `seen` the numbers of those within the model's own window.
    """

    volumes: tuple[Volume, ...]
    pixels: torch.Tensor
    framings: tuple[Framing, ...]
    seen: np.ndarray

    @property
    def extents(self) -> tuple[int, ...]:
        """The number of slices of each sequence."""
        return tuple(len(framing.slices) for framing in self.framings)

    def to_volumes(self, maps: torch.Tensor) -> list[np.ndarray]:
        """Return maps (slices, h, w) over the images on the grid of each volume.

        They are (i, j, slices), float32, and 0 in slices and beyond squares that were not embedded.
        """
        grids = []
        parts = maps.split(self.extents)
        for volume, framing, part in zip(self.volumes, self.framings, parts, strict=True):
            heat = to_grid(part, framing.volume, framing.settings.crop)
            grids.append(framing.spread(heat, volume))
        return grids

    def by_slice(self, values: np.ndarray) -> list[np.ndarray]:
        """Spread values of the embedded slices over all slices of each volume, 0 elsewhere."""
        spread, start = [], 0
        for volume, framing in zip(self.volumes, self.framings, strict=True):
            full = np.zeros(volume.data.shape[2])
            full[list(framing.slices)] = values[start : start + len(framing.slices)]
            spread.append(full)
            start += len(framing.slices)
        return spread


def prepare(volumes: Sequence[Volume], model: FittedModel, side: str | None = None) -> KneeImages:
    """Prepare volumes (slices in the last axis) as the model's record says of its features.

    There is one volume for each sequence of the model, in its order. `side` is that of the knee,
    which a compartment needs.
    """
    settings = preprocessing_of(model)
    framings = tuple(framed(volume, settings, side) for volume in volumes)
    made = [images(framing.volume, framing.settings) for framing in framings]
    pixels = torch.from_numpy(np.concatenate(made))
    seen: list[int] = []
    start = 0
    for framing in framings:
        used = middle_slices(len(framing.slices), model.settings.slices)
        seen += range(start + used.start, start + used.stop)
        start += len(framing.slices)
    return KneeImages(tuple(volumes), pixels, framings, np.array(seen))


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
        _check_framing(recorded)
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


def _check_framing(recorded: Fields) -> None:
    """Raise a `RecordError` unless crop and compartment can be found again as they were."""
    if recorded.has("crop"):
        recorded.number("crop", LEAST_CROP, MOST_CROP)
    if recorded.has("compartment") and recorded.text("compartment") not in COMPARTMENTS:
        raise RecordError("'compartment' is not one of them")
    is_framed = recorded.has("crop") or recorded.has("compartment")
    if is_framed and recorded.text("joint") != METHOD:
        raise RecordError("the joint was found by another version of oatools")


def _space(model: FittedModel) -> Fields:
    if Caution.UNKNOWN_MAKING in model.cautions:
        raise UsageError(
            "the model was trained on features whose making is not recorded, so none can be made "
            "of a volume",
            "train it on features of oa-embed",
        )
    return Fields(model.record).part("feature_space")


def _unknown_images(error: RecordError) -> UsageError:
    return UsageError(
        f"the model does not say how its features were made of images ({error})",
        "train it on features of oa-embed",
    )


def to_grid(maps: torch.Tensor, volume: Volume, crop: float | None = None) -> np.ndarray:
    """Enlarge maps (slices, h, w) of square images to the volume's own slices: (i, j, slices).

    `crop` is the side of the square that the volume was cut to, see `slices.square_padding`.
    """
    columns, rows = volume.data.shape[:2]
    left, right, top, bottom = square_padding(volume, crop)
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
        tokens = space.text("tokens") if space.has("tokens") else ""
        source, seed = _source_of(model, weights, label)
    except RecordError as error:
        raise _unknown_images(error) from None
    size = preprocessing_of(model).size
    backbone = _load_once(name, source, seed, device, sha256, size, tokens)
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
def _load_once(
    name: str, weights: str, seed: int, device: str, sha256: str, size: int, tokens: str
) -> Backbone:
    # The digest is that of the weights wanted, so that a file which was exchanged is read again.
    return load_backbone(name, weights, seed, device, size, tokens)
