"""One probability a knee from the features of its slices: the multiple-instance model.

Its parts are linear in what the slices have in common or not (see `learning.linear`), and networks:

    slice features -> (dense layers) -> pooling over the slices -> with the clinical variables ->
    perceptron -> two classes

The log odds of the parts, those of the networks as their mean, are added with weights that knees
set aside have decided on (see `learning.mixture`). One network alone, with the pooling `gru` and no
dense layers, is the model of Schiratti et al. (2021).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row
from oatools.core.people import normal_knee, subject_of
from oatools.core.provenance import Caution
from oatools.features.slices import chosen
from oatools.learning.followup import usual_times
from oatools.learning.hazard import Hazards
from oatools.learning.linear import CLINICAL, LinearPart
from oatools.learning.mixture import Mixture
from oatools.learning.pooling import POOLINGS, Dense
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings

#: The most standard deviations that a feature of a slice counts for in networks.
MOST_DEVIATIONS = 20.0


class Branch(nn.Module):
    """The way of the slices of one sequence: their scaling (buffers), dense layers and pooling."""

    feature_mean: torch.Tensor
    feature_sd: torch.Tensor
    width: int

    def __init__(self, members: int, channels: int, settings: Settings) -> None:
        super().__init__()
        sizes = (channels, *settings.instance)
        self.instance = nn.ModuleList(Dense(members, a, b) for a, b in pairwise(sizes))
        self.pooling = POOLINGS[settings.pooling](members, sizes[-1], settings)
        self.width = self.pooling.width
        self.register_buffer("feature_mean", torch.zeros(channels))
        self.register_buffer("feature_sd", torch.ones(channels))

    def forward(
        self, values: torch.Tensor, mask: torch.Tensor, kept: Sequence[torch.Tensor] = ()
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pooled values (members, knees, width) and attention (members, knees, slices).

        `values` (knees, slices, channels) are standardised features, and `mask` (knees, slices) is
        boolean. `kept` holds what dropout leaves of each dense layer (knees, slices, units). All
        are shared by the members, or each has its own, as a first axis says.
        """
        padding = ~mask[..., None]
        for layer, factors in zip_longest(self.instance, kept):
            values = functional.relu(layer(values))
            if factors is not None:
                values = values * factors[..., : values.shape[-2], :]
            values = values.masked_fill(padding, 0.0)
        pooled, attention = self.pooling(values, mask)
        return pooled, attention


#: The name of the networks among the parts of a model.
NETWORK = "network"


class Networks(nn.Module):
    """Networks of one shape, its `members`, which share the scaling of features.

    Their weights lie side by side, and all are computed together. Raw features come in: their
    scaling is part of the networks, and so of their file.

    Several sequences of a knee have a branch each, and meet after their pooling (late fusion).
    Their slices come one sequence after the other, and the mask holds the number of each slice's
    sequence, from 1; 0 is padding, and True will do where there is one sequence.
    """

    offset: torch.Tensor

    def __init__(
        self,
        members: int,
        channels: int,
        clinical: int,
        settings: Settings,
        sequences: int = 1,
    ) -> None:
        super().__init__()
        self.members = members
        self._made_of = (channels, clinical, settings, sequences)
        self.branches = nn.ModuleList(Branch(members, channels, settings) for _ in range(sequences))
        width = sum(branch.width for branch in self.each_branch())
        into, units = width + clinical, settings.hidden
        self.hidden = Dense(members, into, units) if units else None
        self.output = Dense(members, units or into, 2)
        self._instance = [*settings.instance] * sequences
        self._units = units
        # A handful of clinical variables would drown among 1280 channels; with the norm of all
        # of these together they do not, but then one that says nothing costs as much as all.
        together = settings.clinical_norm == "all" and clinical > 0
        self.clinical_gain = (width / clinical) ** 0.5 if together else 1.0
        # Class weights move the probabilities away from the prevalence; this, set after training,
        # moves them back.
        self.register_buffer("offset", torch.zeros(2))

    def of_shape(self, members: int) -> "Networks":
        """Return so many networks like these, without weights: all that they take is given."""
        with torch.device("meta"):
            return Networks(members, *self._made_of)

    def each_branch(self) -> list[Branch]:
        """Return the branches, one a sequence."""
        return [cast(Branch, branch) for branch in self.branches]

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (members, knees, 2) and attention (members, knees, slices).

        Attention is exactly 0 on padding and sums to 1 by sequence. `features` (knees, slices,
        channels) are raw, padded after the last slice; `mask` is (knees, slices), and `clinical`
        (knees, variables) standardised.
        """
        return self.classify(self.standardise(features, mask), mask, clinical)

    def standardise(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return features of mean 0 and SD 1 in each channel.

        Padding becomes 0, as a convolution puts beyond the ends. None is further from the mean than
        `MOST_DEVIATIONS`, or a channel that was all but dead in training would drown all others.
        """
        branches = self.each_branch()
        mean, sd = branches[0].feature_mean, branches[0].feature_sd
        if len(branches) > 1:
            number = (mask.long() - 1).clamp_min(0)
            mean = torch.stack([branch.feature_mean for branch in branches])[number]
            sd = torch.stack([branch.feature_sd for branch in branches])[number]
        scaled = ((features - mean) / sd).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        return scaled.masked_fill(~mask.bool()[..., None], 0.0)

    def classify(
        self,
        values: torch.Tensor,
        mask: torch.Tensor,
        clinical: torch.Tensor,
        kept: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `forward` does, for features that are standardised.

        In training, `kept` (knees, `droppable`) are the factors of units, 0 or more than 1, and all
        arguments have a first axis: that of the members, each of which has its own knees.
        """
        layers = self._layers(kept) if kept is not None else ()
        if len(self.branches) == 1:
            pooled, attention = self.branches[0](values, mask.bool(), self._of_branch(0, layers))
        else:
            pooled, attention = self._by_sequence(values, mask, layers)
        given = (self.clinical_gain * clinical).expand(self.members, -1, -1)
        joined = torch.cat([pooled, given], dim=2)
        if self.hidden is not None:
            joined = functional.relu(self.hidden.of_vectors(joined))
            if layers:
                joined = joined * layers[-1]
        return self.output.of_vectors(joined) + self.offset, attention

    def droppable(self, slices: int) -> int:
        """Return the number of units that dropout may take from a knee of so many slices."""
        return slices * sum(self._instance) + self._units

    def _layers(self, kept: torch.Tensor) -> list[torch.Tensor]:
        """Divide factors among layers: of slices (..., slices, units), and of the hidden one."""
        slices = (kept.shape[-1] - self._units) // max(1, sum(self._instance))
        widths = [slices * units for units in self._instance]
        *instance, hidden = kept.split([*widths, self._units], dim=-1)
        layers = []
        for factors, units in zip(instance, self._instance, strict=True):
            layers.append(factors.unflatten(-1, (slices, units)))
        return [*layers, hidden]

    def _of_branch(self, number: int, layers: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """What dropout leaves of the dense layers of one branch."""
        count = len(self.each_branch()[number].instance)
        return layers[number * count : (number + 1) * count]

    def _by_sequence(
        self, values: torch.Tensor, mask: torch.Tensor, layers: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool each sequence in its own branch, and put its attention back where its slices lie."""
        vectors = []
        attention = None
        for number, branch in enumerate(self.each_branch()):
            others = (mask != number + 1).to(torch.uint8)
            longest = int((others == 0).sum(dim=-1).max())
            # The slices of this sequence first, in their order.
            place = torch.argsort(others, dim=-1, stable=True)[..., :longest]
            inside = others.take_along_dim(place, dim=-1) == 0
            # Behind them come slices of other sequences, which a convolution would reach for.
            own = values.take_along_dim(place[..., None], dim=-2)
            own = own.masked_fill(~inside[..., None], 0.0)
            vector, weights = branch(own, inside, self._of_branch(number, layers))
            vectors.append(vector)
            everywhere = weights.new_zeros(self.members, *mask.shape[-2:])
            spread = everywhere.scatter(2, place.expand_as(weights), weights)
            attention = spread if attention is None else attention + spread
        if attention is None:
            raise ValueError("a model has at least one branch")
        return torch.cat(vectors, dim=2), attention


class KneeModel(nn.Module):
    """All parts of a model: linear ones, and networks of one shape.

    It takes `channels` features a slice of each of so many `sequences`. `weights` (parts,) are
    those of the linear parts in their order, and then that of the networks, if there are any.
    """

    weights: torch.Tensor
    intercept: torch.Tensor

    def __init__(
        self,
        channels: int,
        sequences: int,
        linear: Sequence[LinearPart],
        networks: Networks | None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.sequences = sequences
        self.linear = nn.ModuleDict({part.view: part for part in linear})
        self.networks = networks
        parts = len(self.linear) + (networks is not None)
        self.register_buffer("weights", torch.ones(parts))
        self.register_buffer("intercept", torch.zeros(1))

    def each_linear(self) -> list[LinearPart]:
        """Return the linear parts."""
        return [cast(LinearPart, part) for part in self.linear.values()]

    def part_names(self) -> list[str]:
        """Return the names of the parts, in the order of their weights."""
        return [*self.linear, *([NETWORK] if self.networks is not None else [])]

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (knees, 2) and attention (knees, slices).

        Attention is the mean of the networks', exactly 0 on padding, and sums to 1 by sequence;
        without networks all slices of a sequence share it. `features` (knees, slices, channels) are
        raw, padded after the last slice; `mask` is (knees, slices), and `clinical` (knees,
        variables) standardised.
        """
        terms = [part(features, mask, clinical) for part in self.linear.values()]
        attention = _uniform(mask).to(features.dtype)
        if self.networks is not None:
            answers, weights = self.networks(features, mask, clinical)
            logits, attention = answers.mean(dim=0), weights.mean(dim=0)
            if not terms and self.networks.members == 1:
                return logits, attention
            terms.append(logits[:, 1] - logits[:, 0])
        odds = torch.stack(terms, dim=1) @ self.weights + self.intercept
        return torch.stack([torch.zeros_like(odds), odds], dim=1), attention


def _uniform(mask: torch.Tensor) -> torch.Tensor:
    """Return attention (knees, slices) that is shared by all slices of a sequence."""
    numbers = mask.long()
    same = (numbers[:, :, None] == numbers[:, None, :]).sum(dim=2)
    return (1 / same.double()).masked_fill(numbers == 0, 0)


def build(
    settings: Settings,
    channels: int,
    clinical: int,
    sequences: int = 1,
    linear: Sequence[str] = (),
    networks: int = 1,
) -> KneeModel:
    """Return a model of so many untrained networks, and linear parts that say nothing yet.

    The networks are drawn from torch's current seed.
    """
    parts = []
    for view in linear:
        parts.append(LinearPart(view, channels, clinical, sequences))
    made = Networks(networks, channels, clinical, settings, sequences) if networks else None
    return KneeModel(channels, sequences, parts, made)


def copy_scaling(source: Networks, target: Networks) -> None:
    """Give networks the scaling of features of others."""
    for known, branch in zip(source.each_branch(), target.each_branch(), strict=True):
        branch.feature_mean.copy_(known.feature_mean)
        branch.feature_sd.copy_(known.feature_sd)


def join(model: KneeModel, mixture: Mixture) -> KneeModel:
    """Return a model of those parts that have a weight in a mixture, by these weights."""
    kept = [part for part in model.each_linear() if part.view in mixture.weights]
    networks = model.networks if NETWORK in mixture.weights else None
    module = KneeModel(model.channels, model.sequences, kept, networks)
    weights = [mixture.weights[name] for name in module.part_names()]
    module.weights.copy_(torch.tensor(weights, dtype=torch.float64))
    module.intercept.fill_(mixture.intercept)
    return module


def middle_slices(slices: int, wanted: int | None) -> slice:
    """Return the `wanted` consecutive slices around the middle of `slices`.

    All where fewer exist or `wanted` is None. As many are left out before as after; where that
    cannot be, one more after. Of 36 slices, 8 are 14 to 21 (counted from 0); of 37, also 14 to 21.
    """
    used = chosen(slices, wanted)
    return slice(used.start, used.stop)


@dataclass(frozen=True)
class FittedModel:
    """A trained network with all that is needed to apply it; `record` is what its file says.

    A model of follow-up has the `hazards` of knees whose score is 0, and no use for a threshold.
    """

    module: KneeModel
    settings: Settings
    scaling: ClinicalScaling
    threshold: float
    record: dict[str, Any] = field(default_factory=dict)
    hazards: Hazards | None = None

    @property
    def horizon(self) -> float | None:
        """The months within which `probability` is meant: the last of `followup.usual_times`.

        None for a model of classes.
        """
        return None if self.hazards is None else usual_times(float(self.hazards.ends[-1]))[-1]

    def probability(self, logits: torch.Tensor, months: float | None = None) -> float:
        """Return the probability of the positive class, from finite logits (2,) of one knee.

        Of a model of follow-up it is the risk within so many months, `horizon` by default.
        """
        exact = _finite(logits.detach().cpu())
        if self.hazards is None:
            return float(torch.softmax(exact, dim=0)[1])
        within = self.horizon if months is None else months
        score = np.array([float(exact[1] - exact[0])])
        return float(self.hazards.risk(score, [within or 0.0])[0, 0])

    @property
    def joined(self) -> tuple[str, ...]:
        """The sequences that the model joins, in its order.

        Empty where it takes one sequence, whatever that is called.
        """
        return tuple(self.record.get("joined", ()))

    @property
    def has_attention(self) -> bool:
        """Tell whether the model weighs the slices of a knee.

        Linear parts and the mean pooling of networks take all alike: what is called their attention
        is the same share for each.
        """
        return self.module.networks is not None and self.settings.pooling != "mean"

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """The reasons why the model's predictions say nothing about patients."""
        return tuple(Caution(name) for name in self.record.get("cautions", ()))

    @functools.cached_property
    def _seen(self) -> tuple[frozenset[str], frozenset[str]]:
        """The knees that the model was fitted and chosen on, and their patients, in normal form."""
        named = [*self.record.get("training_knees", ()), *self.record.get("validation_knees", ())]
        knees = frozenset(map(normal_knee, named))
        people = frozenset(subject_of({"knee": knee}) for knee in knees)
        return knees, people - {MISSING}

    def cautions_about(self, row: Row) -> set[Caution]:
        """Return the cautions about a prediction for a row's knee.

        Those of the model, and that it was trained on this knee, or on the patient's other one.
        """
        knees, people = self._seen
        found = set(self.cautions)
        if "knee" in row and (normal_knee(row["knee"]) in knees or subject_of(row) in people):
            found.add(Caution.TRAINING_KNEES)
        return found

    def beyond(self, clinical: np.ndarray) -> list[str]:
        """Return the variables of a knee (variables,) that lie beyond those of all training knees.

        Linear parts take the end of these in their place.
        """
        part = next((part for part in self.module.each_linear() if part.view == CLINICAL), None)
        if part is None:
            return []
        scaled = self.scaling.apply(np.asarray(clinical, dtype=np.float64))
        low, high = part.lowest.cpu().numpy(), part.highest.cpu().numpy()
        outside = (scaled < low) | (scaled > high)
        return [name for name, is_out in zip(self.scaling.names, outside, strict=True) if is_out]

    def logits(
        self,
        features: torch.Tensor,
        clinical: np.ndarray | None = None,
        extents: Sequence[int] | np.ndarray | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (2,) and attention (slices,) of one knee; differentiable in `features`.

        `features` (slices, channels) are raw and of all slices, on the module's device: the model's
        own slices are cut out here, and attention outside them is 0. Where the model joins
        sequences, theirs come one after the other, and `extents` says how many each has. `clinical`
        (variables,) is raw, NaN where missing; None if all are.
        """
        logits, attention = self.versions(features[None], clinical, extents)
        return logits[0], attention[0]

    def versions(
        self,
        features: torch.Tensor,
        clinical: np.ndarray | None = None,
        extents: Sequence[int] | np.ndarray | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (versions, 2) and attention (versions, slices) of one knee; see `logits`.

        `features` (versions, slices, channels) are several versions of those of the knee.
        """
        if extents is None:
            extents = [features.shape[1]]
        counts = [int(count) for count in extents]
        windows = [middle_slices(count, self.settings.slices) for count in counts]
        used = []
        for part, window in zip(features.split(counts, dim=1), windows, strict=True):
            used.append(part[:, window])
        lengths = [part.shape[1] for part in used]
        mask = _sequence_numbers(lengths, features.device).expand(len(features), -1)
        scaled = self._scaled(clinical).to(features.device).expand(len(features), -1)
        logits, attention = self.module(torch.cat(used, dim=1), mask, scaled)
        whole = []
        parts = attention.split(lengths, dim=1)
        for part, window, count in zip(parts, windows, counts, strict=True):
            whole.append(functional.pad(part, (window.start, count - window.stop)))
        return logits, torch.cat(whole, dim=1)

    def _scaled(self, clinical: np.ndarray | None) -> torch.Tensor:
        """Raw clinical variables of a knee as the network takes them, missing ones if None."""
        raw = np.full(len(self.scaling.names), np.nan)
        if clinical is not None:
            raw = np.asarray(clinical, dtype=np.float64)
        return torch.from_numpy(self.scaling.apply(raw))


def predict(
    model: FittedModel,
    features: Sequence[np.ndarray],
    clinical: np.ndarray | None = None,
    extents: Sequence[Sequence[int]] | np.ndarray | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the probability of the positive class (knees,), and each knee's attention (slices,).

    Of a model of follow-up it is the probability that it has happened by the model's `horizon`.

    `features` are raw, one (slices, channels) array a knee; `clinical` (knees, variables) raw, NaN
    where missing; `extents` (knees, sequences) as in `FittedModel.logits`. Knees are scored one by
    one, so a probability depends neither on the company nor on the order. Raises an `ItemError`
    for one that is not a finite number.

        probability, attention = predict(model, *cohort.scored())
    """
    logits, attention = _each(model, features, clinical, extents)
    return np.array([model.probability(each) for each in logits]), attention


def scores(
    model: FittedModel,
    features: Sequence[np.ndarray],
    clinical: np.ndarray | None = None,
    extents: Sequence[Sequence[int]] | np.ndarray | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the log odds or log hazard ratio of knees (knees,), and attention as `predict` does.

    From those of a model of follow-up, `model.hazards.risk` makes risks.
    """
    logits, attention = _each(model, features, clinical, extents)
    return np.array([float(each[1] - each[0]) for each in logits]), attention


def _each(
    model: FittedModel,
    features: Sequence[np.ndarray],
    clinical: np.ndarray | None,
    extents: Sequence[Sequence[int]] | np.ndarray | None,
) -> tuple[list[torch.Tensor], list[np.ndarray]]:
    """The logits (2,), float64, and attention (slices,) of knees, one by one."""
    if clinical is None:
        clinical = np.full((len(features), len(model.scaling.names)), np.nan)
    if extents is None:
        extents = [[len(values)] for values in features]
    model.module.eval()
    found, attention = [], []
    with torch.inference_mode():
        for i, values in enumerate(features):
            tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
            logits, weights = model.logits(tensor, clinical[i], extents[i])
            found.append(_finite(logits))
            attention.append(weights.numpy())
    return found, attention


def _finite(logits: torch.Tensor) -> torch.Tensor:
    """Return logits as float64; an `ItemError` where one is not a finite number."""
    exact = logits.double()
    if not torch.isfinite(exact).all():
        raise ItemError(
            "the model's answer is not a finite number",
            "its features or clinical variables are far from all that the model was trained on",
        )
    return exact


def _sequence_numbers(lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """The number of each slice's sequence, from 1, where sequences have so many slices."""
    numbers = torch.arange(1, len(lengths) + 1, device=device)
    return numbers.repeat_interleave(torch.tensor(list(lengths), device=device))
