"""From the slices of a knee to one vector, and how much each slice had to say: the poolings.

Each pools for several networks of one shape at once, its `members`. It takes standardised values
(knees, slices, channels), zero on padding, and a boolean mask (knees, slices), which all members
share; or where they see other knees, those of each member (members, knees, ...). It returns the
pooled values (members, knees, `width`) and weights (members, knees, slices), which are exactly 0 on
padding and sum to 1. Values may be bfloat16, to read half the bytes: products are then taken in it,
and all else in the weights' own type.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from oatools.learning.recurrent import GatedRecurrence
from oatools.learning.settings import HEADS, Settings


class Dense(nn.Module):
    """A dense layer for each member: `weight` (members, outputs, inputs), `bias` likewise."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = drawn(inputs, members, outputs, inputs)
        self.bias = drawn(inputs, members, outputs)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (members, knees, slices, outputs) of values of slices, shared or not."""
        return product(values, self.weight) + self.bias[:, None, None]

    def of_vectors(self, values: torch.Tensor) -> torch.Tensor:
        """Return (members, knees, outputs) of vectors (members, knees, inputs)."""
        return torch.baddbmm(self.bias[:, None], values, self.weight.transpose(1, 2))


class Pooling(nn.Module):
    """A pooling over the slices of a knee; `width` is the length of the pooled vector."""

    width: int

    def __init__(self, members: int, channels: int, settings: Settings) -> None:
        super().__init__()
        self.members, self.width = members, channels


class RecurrentAttention(Pooling):
    """The pooling of Schiratti et al. (2021).

    A convolution along the slices, a GRU, one score a slice, and a softmax.
    """

    def __init__(self, members: int, channels: int, settings: Settings) -> None:
        super().__init__(members, channels, settings)
        self.kernel = settings.kernel
        conv, units = settings.conv, settings.units
        # The convolution as one matrix product: every tap's outputs side by side, shifted and added
        # afterwards.
        self.taps = drawn(channels * self.kernel, members, self.kernel * conv, channels)
        self.bias = drawn(channels * self.kernel, members, conv)
        # PyTorch's names, layout and first values of a GRU's weights.
        self.weight_ih = drawn(units, members, 3 * units, conv)
        self.weight_hh = drawn(units, members, 3 * units, units)
        self.bias_ih = drawn(units, members, 3 * units)
        self.bias_hh = drawn(units, members, 3 * units)
        self.score = drawn(units, members, units)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; the GRU runs forwards only, so that padding, which comes last, is never read."""
        taps = product(values, self.taps).unflatten(3, (self.kernel, -1))
        slices, before = values.shape[-2], self.kernel // 2
        padded = functional.pad(taps, (0, 0, 0, 0, before, before))
        summed = padded[:, :, :slices, 0]
        for tap in range(1, self.kernel):
            summed = summed + padded[:, :, tap : tap + slices, tap]
        states, _ = GatedRecurrence.apply(
            functional.relu(summed + self.bias[:, None, None]),
            self.weight_ih,
            self.weight_hh,
            self.bias_ih,
            self.bias_hh,
        )
        attention = masked_softmax(scores(states, self.score), mask)
        return weighted(values, attention), attention


class Attention(Pooling):
    """Attention pooling of Ilse et al. (ICML 2018).

    The softmax of w tanh(V h); gated, of w (tanh(V h) sigmoid(U h)).
    """

    def __init__(self, members: int, channels: int, settings: Settings) -> None:
        super().__init__(members, channels, settings)
        self.value = Dense(members, channels, settings.units)
        is_gated = settings.pooling == "gated"
        self.gate = Dense(members, channels, settings.units) if is_gated else None
        self.score = drawn(settings.units, members, settings.units)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; every slice is scored by itself, wherever it lies."""
        hidden = torch.tanh(self.value(values))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(values))
        attention = masked_softmax(scores(hidden, self.score), mask)
        return weighted(values, attention), attention


class Mean(Pooling):
    """The mean over slices; all weigh the same."""

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; there is nothing to learn."""
        kind = torch.promote_types(values.dtype, torch.float32)
        attention = mask.to(kind) / mask.sum(dim=-1, keepdim=True)
        attention = attention.expand(self.members, -1, -1)
        return weighted(values, attention), attention


class Max(Pooling):
    """The maximum of each channel over the slices.

    A slice weighs the share of channels that have their maximum there.
    """

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; there is nothing to learn."""
        largest, place = values.masked_fill(~mask[..., None], -torch.inf).max(dim=-2)
        shares = functional.one_hot(place, values.shape[-2]).float().mean(dim=-2)
        if values.dim() == 3:
            largest = largest.expand(self.members, -1, -1)
            shares = shares.expand(self.members, -1, -1)
        return largest.to(torch.promote_types(values.dtype, torch.float32)), shares


class Transformer(Pooling):
    """One pre-norm transformer layer over the slices and a class token, whose state is pooled.

    A small form of what Panfilov et al. (2022) put on slice features. Weights are the token's
    attention to the slices, averaged over heads.
    """

    def __init__(self, members: int, channels: int, settings: Settings) -> None:
        super().__init__(members, channels, settings)
        self.width = width = settings.units
        self.project = Dense(members, channels, width)
        # Drawn where there is something to draw on, also when shapes alone are asked for (meta).
        self.token = nn.Parameter(torch.randn(members, width, device="cpu") * 0.02)
        self.before, self.between, self.after = (Norm(members, width) for _ in range(3))
        self.query, self.key, self.value, self.mix = (
            Dense(members, width, width) for _ in range(4)
        )
        self.up, self.down = Dense(members, width, 2 * width), Dense(members, 2 * width, width)

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool; positions count from the middle of a knee, and enter as sines and cosines."""
        slices = self.project(values)
        slices = slices + positions(mask, self.width).to(slices.dtype)
        token = self.token[:, None, None].expand(-1, slices.shape[1], -1, -1)
        states = torch.cat([token, slices], dim=2)
        there = functional.pad(mask, (1, 0), value=True)  # the token is always there
        normed = self.before(states)
        # Only the token is read, so only it asks.
        query = self._heads(self.query(normed[:, :, :1]))
        key, value = self._heads(self.key(normed)), self._heads(self.value(normed))
        alike = query @ key.transpose(3, 4) / math.sqrt(key.shape[-1])
        weights = masked_softmax(alike, there[..., None, None, :])
        mixed = self.mix((weights @ value).transpose(2, 3).flatten(3))
        token = states[:, :, :1] + mixed
        token = token + self.down(functional.gelu(self.up(self.between(token))))
        on_slices = weights.mean(dim=2)[:, :, 0, 1:]
        on_slices = on_slices / on_slices.sum(dim=2, keepdim=True).clamp_min(1e-12)
        return self.after(token)[:, :, 0], on_slices

    def _heads(self, values: torch.Tensor) -> torch.Tensor:
        """Return (members, knees, heads, places, units of a head)."""
        return values.unflatten(3, (HEADS, -1)).transpose(2, 3)


class Norm(nn.Module):
    """A layer norm for each member."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(members, width))
        self.bias = nn.Parameter(torch.zeros(members, width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (members, knees, places, width) of as many."""
        normed = functional.layer_norm(values, values.shape[-1:])
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


POOLINGS: dict[str, type[Pooling]] = {
    "attention": Attention,
    "gru": RecurrentAttention,
    "gated": Attention,
    "mean": Mean,
    "max": Max,
    "transformer": Transformer,
}


def drawn(fan_in: int, *shape: int) -> nn.Parameter:
    """Return weights drawn evenly up to 1 / sqrt(fan_in) on both sides of 0, as PyTorch does."""
    parameter = nn.Parameter(torch.empty(shape))
    bound = fan_in**-0.5
    nn.init.uniform_(parameter, -bound, bound)
    return parameter


def product(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return values (knees, slices, channels), shared or each member's own, times its `weight`.

    `weight` is (members, outputs, channels), and what comes out (members, knees, slices, outputs).
    Taken in the type of the values, and returned in that of the weight.
    """
    factors = weight.to(values.dtype)
    if values.dim() == 4:
        found = torch.bmm(values.flatten(1, 2), factors.transpose(1, 2))
        return found.to(weight.dtype).unflatten(1, values.shape[1:3])
    # One product for all members reads the values once.
    found = functional.linear(values, factors.flatten(0, 1)).to(weight.dtype)
    return found.unflatten(2, weight.shape[:2]).permute(2, 0, 1, 3)


def scores(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return one score a slice (members, knees, slices) of its states, by weights (members, units).

    No bias is added, of which a softmax over slices takes no notice.
    """
    return (states * weight[:, None, None]).sum(dim=-1)


def weighted(values: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Return the mean over slices by weights (members, knees, slices), in the type of these."""
    shares = attention.to(values.dtype)
    if values.dim() == 4:
        found = torch.bmm(shares.flatten(0, 1)[:, None], values.flatten(0, 1))
        return found.view(*values.shape[:2], -1).to(attention.dtype)
    return torch.bmm(shares.transpose(0, 1), values).transpose(0, 1).to(attention.dtype)


def masked_softmax(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the slices of each knee, exactly 0 on padding."""
    return torch.softmax(values.masked_fill(~mask, -torch.inf), dim=-1)


def positions(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Return sines and cosines (..., slices, width) of each slice's distance from the middle.

    That is the middle of its knee's slices, which `mask` (..., slices) tells from padding.
    """
    middle = (mask.sum(dim=-1, keepdim=True) - 1) / 2
    place = torch.arange(mask.shape[-1], device=mask.device) - middle
    rates = torch.exp(torch.arange(0, width, 2, device=mask.device) * (-math.log(1000.0) / width))
    angles = place[..., None] * rates
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
