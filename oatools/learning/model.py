"""One probability a knee from the features of its slices: the multiple-instance model.

Slice features -> (dense layers) -> pooling over the slices -> with the clinical variables ->
perceptron -> two classes. With the pooling `gru` and no dense layers it is the model of Schiratti
et al. (2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from oatools.features.slices import chosen
from oatools.learning.pooling import POOLINGS, product
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings


class Branch(nn.Module):
    """What is done with the slices of one sequence: their scaling (buffers), dense layers, pooling."""

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        sizes = (channels, *settings.instance)
        self.instance = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.pooling = POOLINGS[settings.pooling](sizes[-1], settings)
        self.dropout = settings.dropout
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_sd", torch.ones(channels))

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pooled values (knees, width) and attention (knees, slices) of standardised features and a boolean mask."""
        for layer in self.instance:
            values = functional.relu(product(values, layer.weight) + layer.bias)
            values = functional.dropout(values, self.dropout, self.training).masked_fill(
                ~mask[..., None], 0.0
            )
        return self.pooling(values, mask)


class KneeModel(nn.Module):
    """The network. Raw features come in: their scaling is part of the network, and so of its file.

    Several sequences of a knee have a branch each, and meet after their pooling (late fusion).
    Their slices come one sequence after the other, and the mask holds the number of each slice's
    sequence, from 1; 0 is padding, and True will do where there is one sequence.
    """

    def __init__(
        self, channels: int, clinical: int, settings: Settings, sequences: int = 1
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch(channels, settings) for _ in range(sequences))
        width = sum(branch.pooling.width for branch in self.branches)
        self.hidden = nn.Linear(width + clinical, settings.hidden) if settings.hidden else None
        self.output = nn.Linear(settings.hidden or width + clinical, 2)
        self.dropout = settings.dropout
        # A handful of clinical variables would drown among 1280 channels; so both parts get the
        # same expected norm.
        self.clinical_gain = (width / clinical) ** 0.5 if clinical else 1.0
        # Class weights move the probabilities away from the prevalence; this, set after training,
        # moves them back.
        self.register_buffer("offset", torch.zeros(2))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (knees, 2) and attention (knees, slices), which is exactly 0 on padding and sums to 1 by sequence.

        Raw `features` (knees, slices, channels), padded after the last slice; `mask` (knees,
        slices); `clinical` (knees, variables), standardised.
        """
        return self.classify(self.standardise(features, mask), mask, clinical)

    def standardise(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Features of mean 0 and SD 1 in each channel; padding becomes 0, as a convolution puts beyond the ends."""
        if len(self.branches) == 1:
            mean, sd = self.branches[0].feature_mean, self.branches[0].feature_sd
        else:
            of = (mask.long() - 1).clamp_min(0)
            mean, sd = (
                torch.stack([getattr(b, name) for b in self.branches])[of]
                for name in ("feature_mean", "feature_sd")
            )
        return ((features - mean) / sd).masked_fill(~mask.bool()[..., None], 0.0)

    def classify(
        self, values: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `forward`, of features that are standardised."""
        if len(self.branches) == 1:
            pooled, attention = self.branches[0](values, mask.bool())
        else:
            pooled, attention = self._by_sequence(values, mask)
        joined = torch.cat([pooled, self.clinical_gain * clinical], dim=1)
        if self.hidden is not None:
            joined = functional.dropout(
                functional.relu(self.hidden(joined)), self.dropout, self.training
            )
        return self.output(joined) + self.offset, attention

    def _by_sequence(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        vectors, attention = [], 0.0
        for number, branch in enumerate(self.branches, start=1):
            others = (mask != number).to(torch.uint8)
            longest = int((others == 0).sum(dim=1).max())
            # The slices of this sequence first, in their order.
            place = torch.argsort(others, dim=1, stable=True)[:, :longest]
            inside = others.take_along_dim(place, dim=1) == 0
            # Behind them come slices of other sequences, which a convolution would reach for.
            own = values.take_along_dim(place[..., None], dim=1).masked_fill(
                ~inside[..., None], 0.0
            )
            vector, weights = branch(own, inside)
            vectors.append(vector)
            attention = attention + weights.new_zeros(mask.shape).scatter(1, place, weights)
        return torch.cat(vectors, dim=1), attention


def build(settings: Settings, channels: int, clinical: int, sequences: int = 1) -> KneeModel:
    """An untrained network for `channels` features a slice and `clinical` variables, from torch's current seed."""
    return KneeModel(channels, clinical, settings, sequences)


def middle_slices(slices: int, wanted: int | None) -> slice:
    """The `wanted` consecutive slices around the middle of `slices`; all where fewer exist or `wanted` is None.

    As many are left out before as after; where that cannot be, one more after. Of 36 slices, 8 are
    14 to 21 (counted from 0); of 37, also 14 to 21.
    """
    used = chosen(slices, wanted)
    return slice(used.start, used.stop)


@dataclass(frozen=True)
class FittedModel:
    """A trained network with all that is needed to apply it; `record` is what its file says of it."""

    module: KneeModel
    settings: Settings
    scaling: ClinicalScaling
    threshold: float
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def joined(self) -> tuple[str, ...]:
        """The sequences that the model joins, in its order; none where it takes one, whatever that is called."""
        return tuple(self.record.get("joined", ()))

    def logits(
        self,
        features: torch.Tensor,
        clinical: np.ndarray | None = None,
        extents: Sequence[int] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (2,) and attention (slices,) of one knee; differentiable in `features`.

        `features` (slices, channels) are raw and of all slices, on the module's device: the model's
        own window is cut here, and attention outside it is 0. Where the model joins sequences,
        theirs come one after the other, and `extents` says how many each has. `clinical`
        (variables,) is raw, NaN where missing; None if all are. On CUDA, a backward pass in
        evaluation mode needs `torch.backends.cudnn.flags(enabled=False)` around both.
        """
        logits, attention = self.versions(features[None], clinical, extents)
        return logits[0], attention[0]

    def versions(
        self,
        features: torch.Tensor,
        clinical: np.ndarray | None = None,
        extents: Sequence[int] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `logits`, of several versions of one knee's features at once: (versions, slices, channels)."""
        extents = [features.shape[1]] if extents is None else [int(n) for n in extents]
        windows = [middle_slices(n, self.settings.slices) for n in extents]
        raw = (
            np.full(len(self.scaling.names), np.nan)
            if clinical is None
            else np.asarray(clinical, dtype=np.float64)
        )
        scaled = (
            torch.from_numpy(self.scaling.apply(raw)).to(features.device).expand(len(features), -1)
        )
        inside = torch.cat(
            [part[:, w] for part, w in zip(features.split(extents, 1), windows, strict=True)], dim=1
        )
        used = [w.stop - w.start for w in windows]
        number = torch.arange(1, len(extents) + 1, device=features.device)
        mask = number.repeat_interleave(torch.tensor(used, device=features.device)).expand(
            len(features), -1
        )
        logits, attention = self.module(inside, mask, scaled)
        whole = [
            functional.pad(part, (w.start, n - w.stop))
            for part, w, n in zip(attention.split(used, 1), windows, extents, strict=True)
        ]
        return logits, torch.cat(whole, dim=1)


def predict(
    model: FittedModel,
    features: list[np.ndarray],
    clinical: np.ndarray | None = None,
    extents: Sequence[Sequence[int]] | np.ndarray | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Probability of the positive class (knees,), and the attention (slices,) of each knee.

    `features` are raw, one (slices, channels) array a knee; `clinical` (knees, variables) raw, NaN
    where missing; `extents` (knees, sequences) as in `FittedModel.logits`. Knees are scored one by
    one, so a probability depends neither on the company nor on the order.
    """
    model.module.eval()
    probability, attention = np.empty(len(features)), []
    with torch.inference_mode():
        for i, values in enumerate(features):
            row = None if clinical is None else clinical[i]
            extent = None if extents is None else extents[i]
            tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
            logits, weights = model.logits(tensor, row, extent)
            probability[i] = torch.softmax(logits.double(), dim=0)[1].item()
            attention.append(weights.numpy())
    return probability, attention
