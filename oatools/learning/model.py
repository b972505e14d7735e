"""One probability a knee from the features of its slices: the multiple-instance model.

Slice features -> (dense layers) -> pooling over the slices -> with the clinical variables -> perceptron -> two classes.
With the pooling `gru` and no dense layers it is the model of Schiratti et al. (2021).
"""

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


class KneeModel(nn.Module):
    """The network. Raw features come in: their scaling is part of the network (buffers), and so of its file."""

    def __init__(self, channels: int, clinical: int, settings: Settings) -> None:
        super().__init__()
        sizes = (channels, *settings.instance)
        self.instance = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.pooling = POOLINGS[settings.pooling](sizes[-1], settings)
        joined = self.pooling.width + clinical
        self.hidden = nn.Linear(joined, settings.hidden) if settings.hidden else None
        self.output = nn.Linear(settings.hidden or joined, 2)
        self.dropout = settings.dropout
        # A handful of clinical variables would drown among 1280 channels; so both parts get the same expected norm.
        self.clinical_gain = (self.pooling.width / clinical) ** 0.5 if clinical else 1.0
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_sd", torch.ones(channels))
        # Class weights move the probabilities away from the prevalence; this, set after training, moves them back.
        self.register_buffer("offset", torch.zeros(2))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (knees, 2) and attention (knees, slices), which is exactly 0 on padding and sums to 1.

        Raw `features` (knees, slices, channels), padded after the last slice; boolean `mask` (knees, slices), True
        on real slices; `clinical` (knees, variables), standardised.
        """
        return self.classify(self.standardise(features, mask), mask, clinical)

    def standardise(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Features of mean 0 and SD 1 in each channel; padding becomes 0, as a convolution puts beyond the ends."""
        return ((features - self.feature_mean) / self.feature_sd).masked_fill(~mask[..., None], 0.0)

    def classify(
        self, values: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `forward`, of features that are standardised."""
        for layer in self.instance:
            values = functional.relu(product(values, layer.weight) + layer.bias)
            values = functional.dropout(values, self.dropout, self.training).masked_fill(~mask[..., None], 0.0)
        pooled, attention = self.pooling(values, mask)
        joined = torch.cat([pooled, self.clinical_gain * clinical], dim=1)
        if self.hidden is not None:
            joined = functional.dropout(functional.relu(self.hidden(joined)), self.dropout, self.training)
        return self.output(joined) + self.offset, attention


def build(settings: Settings, channels: int, clinical: int) -> KneeModel:
    """An untrained network for `channels` features a slice and `clinical` variables, from torch's current seed."""
    return KneeModel(channels, clinical, settings)


def window(slices: int, wanted: int | None) -> slice:
    """The `wanted` consecutive slices around the middle of `slices`; all where fewer exist or `wanted` is None.

    As many are left out before as after; where that cannot be, one more after. Of 36 slices, 8 are 14 to 21
    (counted from 0); of 37, also 14 to 21.
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

    def logits(self, features: torch.Tensor, clinical: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (2,) and attention (slices,) of one knee; differentiable in `features`.

        `features` (slices, channels) are raw and of all slices, on the module's device: the model's own window is
        cut here, and attention outside it is 0. `clinical` (variables,) is raw, NaN where missing; None if all are.
        On CUDA, a backward pass in evaluation mode needs `torch.backends.cudnn.flags(enabled=False)` around both.
        """
        used = window(len(features), self.settings.slices)
        raw = np.full(len(self.scaling.names), np.nan) if clinical is None else np.asarray(clinical, dtype=np.float64)
        scaled = torch.from_numpy(self.scaling.apply(raw)).to(features.device)[None]
        inside = features[used][None]
        mask = torch.ones(inside.shape[:2], dtype=torch.bool, device=features.device)
        logits, attention = self.module(inside, mask, scaled)
        return logits[0], functional.pad(attention[0], (used.start, len(features) - used.stop))


def predict(
    model: FittedModel, features: list[np.ndarray], clinical: np.ndarray | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Probability of the positive class (knees,), and the attention (slices,) of each knee.

    `features` are raw, one (slices, channels) array a knee; `clinical` (knees, variables) raw, NaN where missing.
    Knees are scored one by one, so a probability depends neither on the company nor on the order.
    """
    model.module.eval()
    probability, attention = np.empty(len(features)), []
    with torch.inference_mode():
        for i, values in enumerate(features):
            row = None if clinical is None else clinical[i]
            logits, weights = model.logits(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)), row)
            probability[i] = torch.softmax(logits.double(), dim=0)[1].item()
            attention.append(weights.numpy())
    return probability, attention
