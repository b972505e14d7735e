"""Knees as tensors, and the mini-batches that networks learn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from oatools.learning.cohort import Cohort
from oatools.learning.model import Networks
from oatools.learning.outcome import Happened, Outcome
from oatools.learning.scaling import ClinicalScaling, fit_features

SLICE_CHUNK = 8192  # slices at a time when standardising
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Batch(NamedTuple):
    """Knees of a mini-batch, padded to the longest of them.

    Standardised `values` (..., slices, channels), `mask` (..., slices) with the number of each
    slice's sequence and 0 on padding, and `clinical` (..., variables).
    """

    values: torch.Tensor
    mask: torch.Tensor
    clinical: torch.Tensor


@dataclass(frozen=True)
class Tensors:
    """Knees as tensors, from which mini-batches are taken by index.

    `values` (versions, slices of all knees + 1, channels) are standardised: the plain features
    first, then those of augmented copies; the last slice of each is zero, for padding. `sequence`
    (slices of all knees + 1,) is the number of each slice's sequence, and 0 for the last. Knee i
    has `length[i]` slices from `start[i]` on, and no knee has more than `longest`. `followed`
    (knees, 3) are the columns of `hazard.Intervals` where knees are followed, and else (knees, 0).
    """

    values: torch.Tensor
    sequence: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor
    clinical: torch.Tensor
    label: torch.Tensor
    followed: torch.Tensor

    def __len__(self) -> int:
        return len(self.label)

    @property
    def longest(self) -> int:
        """The number of slices of the longest knee."""
        return int(self.length.max())

    def take(
        self,
        batch: torch.Tensor,
        version: torch.Tensor | None = None,
        slices: int | None = None,
    ) -> Batch:
        """Return the knees at `batch` (any shape) as a mini-batch, which may be written to.

        `version`, of the same shape, is the number of each knee's version; without, it is the plain
        one. It is padded to the longest of its knees, or to so many `slices`, which costs a GPU
        less than to look.
        """
        length = self.length[batch]
        wanted = int(length.max()) if slices is None else slices
        place = torch.arange(wanted, device=batch.device)
        _, rows, channels = self.values.shape
        at = self.start[batch][..., None] + place
        at = at.where(place < length[..., None], rows - 1)
        of_version = at if version is None else at + rows * version[..., None]
        values = self.values.view(-1, channels).index_select(0, of_version.flatten())
        return Batch(values.view(*at.shape, channels), self.sequence[at], self.clinical[batch])

    def to(self, device: torch.device) -> "Tensors":
        """Return them on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items()}
        return replace(self, **moved)


def joined(tensors: Sequence[Tensors]) -> Tensors:
    """Return the knees of several, one after the other; those of one alone are handed back."""
    if len(tensors) == 1:
        return tensors[0]
    before = np.cumsum([0, *(len(each.sequence) for each in tensors)])
    starts = [each.start + int(first) for each, first in zip(tensors, before, strict=False)]
    return Tensors(
        values=torch.cat([each.values for each in tensors], dim=1),
        sequence=torch.cat([each.sequence for each in tensors]),
        start=torch.cat(starts),
        length=torch.cat([each.length for each in tensors]),
        clinical=torch.cat([each.clinical for each in tensors]),
        label=torch.cat([each.label for each in tensors]),
        followed=torch.cat([each.followed for each in tensors]),
    )


def scale_features(module: Networks, cohort: Cohort, index: np.ndarray) -> None:
    """Set the networks' scaling of the features of each sequence, from the knees at `index`."""
    for number, branch in enumerate(module.each_branch()):
        mean, sd = fit_features([cohort.slices(i, number) for i in index])
        branch.feature_mean.copy_(torch.from_numpy(mean))
        branch.feature_sd.copy_(torch.from_numpy(sd))


def to_tensors(
    cohort: Cohort,
    index: np.ndarray,
    scaling: ClinicalScaling,
    module: Networks,
    precision: str,
    outcome: Outcome,
) -> Tensors:
    """Return the knees at `index` as tensors, standardised once and not at every step.

    `outcome` is theirs. Every version of the features is gathered slice by slice, in chunks, so
    that no second copy of them is made in full.
    """
    at = cohort.slice_index(index)
    copies = [] if cohort.augmented is None else list(cohort.augmented)
    sequence = torch.from_numpy(np.append(cohort.sequence_numbers[at], np.uint8(0)))
    shape = (1 + len(copies), len(at) + 1, cohort.channels)
    values = torch.zeros(shape, dtype=DTYPES[precision])
    for version, features in zip(values, [cohort.features, *copies], strict=True):
        for first in range(0, len(at), SLICE_CHUNK):
            part = slice(first, min(first + SLICE_CHUNK, len(at)))
            raw = torch.from_numpy(features[at[part]])
            version[part] = module.standardise(raw[None], sequence[None, part])[0]
    length = cohort.length[index]
    return Tensors(
        values=values,
        sequence=sequence,
        start=torch.from_numpy(length.cumsum() - length),
        length=torch.from_numpy(length),
        clinical=torch.from_numpy(scaling.apply(cohort.clinical[index])),
        label=torch.from_numpy(cohort.label[index]),
        followed=_followed(outcome),
    )


def _followed(outcome: Outcome) -> torch.Tensor:
    """The follow-up of knees as networks learn from it (knees, 3); (knees, 0) for classes."""
    if not isinstance(outcome, Happened):
        return torch.zeros(len(outcome), 0)
    parts = outcome.intervals
    columns = np.stack([parts.free, parts.width, parts.exact], axis=1)
    return torch.from_numpy(columns.astype(np.float32))


class Draws:
    """All that is drawn by chance for one network in one epoch.

    It depends on the seed, the epoch and the network's number in its training alone.
    """

    def __init__(self, seed: int, epoch: int, member: int) -> None:
        self._order = np.random.default_rng([seed, epoch, member, 0])
        self._kept = np.random.default_rng([seed, epoch, member, 1])

    def order(self, knees: int) -> np.ndarray:
        """Return the order in which knees are learnt from."""
        return self._order.permutation(knees)

    def versions(self, versions: int, knees: int) -> np.ndarray:
        """Return a version for each knee (knees,)."""
        return self._order.integers(versions, size=knees)

    def kept(self, share: float, knees: int, units: int) -> np.ndarray:
        """Return which units of which knees are kept (knees, units); the `share` is dropped."""
        drawn = self._kept.integers(0, 2**16, (knees, units), dtype=np.uint16)
        return drawn >= round(share * 2**16)
