"""From the slices of a knee to one vector, and how much each slice had to say: the poolings.

Each takes standardised `values` (knees, slices, channels), zero on padding, with a boolean `mask`
(knees, slices), and returns the pooled values (knees, `width`) and weights (knees, slices), which
are exactly 0 on padding and sum to 1. Values may be bfloat16, to read half the bytes: products are
then taken in it, and all else in the weights' own type.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from oatools.learning.settings import HEADS, Settings


class Pooling(nn.Module):
    """A pooling over the slices of a knee; `width` is the length of the pooled vector."""

    width: int

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.width = channels


class RecurrentAttention(Pooling):
    """The pooling of Schiratti et al. (2021).

    A convolution along the slices, a GRU, one score a slice, and a softmax.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__(channels, settings)
        self.kernel = settings.kernel
        # The convolution as one matrix product: every tap's outputs side by side, shifted and added
        # afterwards.
        self.taps = nn.Parameter(torch.empty(settings.kernel * settings.conv, channels))
        self.bias = nn.Parameter(torch.empty(settings.conv))
        bound = (channels * settings.kernel) ** -0.5
        for parameter in (self.taps, self.bias):
            nn.init.uniform_(parameter, -bound, bound)
        self.gru = nn.GRU(settings.conv, settings.units, batch_first=True)
        self.score = nn.Linear(settings.units, 1)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; the GRU runs forwards only, so that padding, which comes last, is never read."""
        taps = product(values, self.taps).unflatten(2, (self.kernel, -1))
        slices, before = values.shape[1], self.kernel // 2
        padded = functional.pad(taps, (0, 0, 0, 0, before, before))
        along = padded[:, :slices, 0]
        for tap in range(1, self.kernel):
            along = along + padded[:, tap : tap + slices, tap]
        states, _ = self.gru(functional.relu(along + self.bias))
        attention = masked_softmax(self.score(states).squeeze(-1), mask)
        return weighted(values, attention), attention


class Attention(Pooling):
    """Attention pooling of Ilse et al. (ICML 2018).

    The softmax of w tanh(V h); gated, of w (tanh(V h) sigmoid(U h)).
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__(channels, settings)
        self.value = nn.Linear(channels, settings.units)
        self.gate = nn.Linear(channels, settings.units) if settings.pooling == "gated" else None
        self.score = nn.Linear(settings.units, 1)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; every slice is scored by itself, wherever it lies."""
        hidden = torch.tanh(product(values, self.value.weight) + self.value.bias)
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(product(values, self.gate.weight) + self.gate.bias)
        attention = masked_softmax(self.score(hidden).squeeze(-1), mask)
        return weighted(values, attention), attention


class Mean(Pooling):
    """The mean over slices; all weigh the same."""

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; there is nothing to learn."""
        kind = torch.promote_types(values.dtype, torch.float32)
        attention = mask.to(kind) / mask.sum(dim=1, keepdim=True)
        return weighted(values, attention), attention


class Max(Pooling):
    """The maximum of each channel over the slices.

    A slice weighs the share of channels that have their maximum there.
    """

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; there is nothing to learn."""
        largest, place = values.masked_fill(~mask[..., None], -torch.inf).max(dim=1)
        shares = functional.one_hot(place, values.shape[1]).float().mean(dim=1)
        return largest.to(torch.promote_types(values.dtype, torch.float32)), shares


class Transformer(Pooling):
    """One pre-norm transformer layer over the slices and a class token, whose state is pooled.

    A small form of what Panfilov et al. (2022) put on slice features. Weights are the token's
    attention to the slices, averaged over heads.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__(channels, settings)
        self.width = width = settings.units
        self.project = nn.Linear(channels, width)
        # Drawn where there is something to draw on, also when shapes alone are asked for (meta).
        self.token = nn.Parameter(torch.randn(width, device="cpu") * 0.02)
        self.before, self.between, self.after = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; positions count from the middle of a knee, and enter as sines and cosines."""
        slices = product(values, self.project.weight) + self.project.bias
        slices = slices + positions(mask, self.width).to(slices.dtype)
        states = torch.cat([self.token.expand(len(slices), 1, -1), slices], dim=1)
        hidden = functional.pad(~mask, (1, 0))  # the token is always there
        normed = self.before(states)
        # Only the token is read, so only it asks.
        mixed, weights = self.attention(normed[:, :1], normed, normed, key_padding_mask=hidden)
        token = states[:, :1] + mixed
        token = self.after(token + self.inner(self.between(token)))[:, 0]
        on_slices = weights[:, 0, 1:]
        return token, on_slices / on_slices.sum(dim=1, keepdim=True).clamp_min(1e-12)


POOLINGS: dict[str, type[Pooling]] = {
    "attention": Attention,
    "gru": RecurrentAttention,
    "gated": Attention,
    "mean": Mean,
    "max": Max,
    "transformer": Transformer,
}


def product(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return `values` (..., channels) times `weight` (outputs, channels).

    Taken in the type of the values, and returned in that of the weight.
    """
    return functional.linear(values, weight.to(values.dtype)).to(weight.dtype)


def weighted(values: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Return the mean over slices by weights (knees, slices), in the type of the weights."""
    return torch.bmm(attention.to(values.dtype)[:, None], values)[:, 0].to(attention.dtype)


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the slices of each knee, exactly 0 on padding."""
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)


def positions(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Return sines and cosines (knees, slices, width) of each slice's distance from the middle.

    That is the middle of its knee's slices.
    """
    middle = (mask.sum(dim=1, keepdim=True) - 1) / 2
    place = torch.arange(mask.shape[1], device=mask.device) - middle
    rates = torch.exp(torch.arange(0, width, 2, device=mask.device) * (-math.log(1000.0) / width))
    angles = place[..., None] * rates
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=2)
