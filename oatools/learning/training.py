"""Training of one model, and all that is chosen for it, from the knees that it is given."""

import contextlib
import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import expit
from torch.nn import functional

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError
from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split, split_training
from oatools.learning.linear import Fitted, fit_linear, log_loss
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.mixture import Mixture, mix, mix_if_worth
from oatools.learning.model import (
    NETWORK,
    FittedModel,
    KneeModel,
    Network,
    copy_scaling,
    join,
    predict,
)
from oatools.learning.scaling import ClinicalScaling, fit_clinical, fit_features
from oatools.learning.settings import DEFAULTS, Settings

CHUNK = 256  # knees a forward pass when validating
SLICE_CHUNK = 8192  # slices at a time when standardising
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Batch(NamedTuple):
    """Knees of a mini-batch, padded to the longest of them.

    Standardised `values` (knees, slices, channels), `mask` (knees, slices) with the number of each
    slice's sequence and 0 on padding, and `clinical` (knees, variables).
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
    has `length[i]` slices from `start[i]` on.
    """

    values: torch.Tensor
    sequence: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor
    clinical: torch.Tensor
    label: torch.Tensor

    def take(self, batch: torch.Tensor, random: np.random.Generator | None = None) -> Batch:
        """Return the knees at `batch` as a mini-batch of its own, which may be written to.

        With `random` a version is drawn for each knee; without, it is the plain one.
        """
        length = self.length[batch]
        place = torch.arange(int(length.max()))
        versions, slices, channels = self.values.shape
        at = self.start[batch][:, None] + place
        at = at.where(place < length[:, None], torch.tensor(slices - 1))
        rows = at
        if random is not None and versions > 1:
            version = torch.from_numpy(random.integers(versions, size=len(batch)))
            rows = at + slices * version[:, None]
        values = self.values.view(-1, channels).index_select(0, rows.flatten())
        return Batch(values.view(*rows.shape, channels), self.sequence[at], self.clinical[batch])


@dataclass
class Progress:
    """The state of a training after an epoch: enough to go on from there to the same bytes.

    `best`, `state` and `optimisers` hold one entry a network.
    """

    history: list[float]
    best: list[dict[str, torch.Tensor]]
    state: list[dict[str, torch.Tensor]]
    optimisers: list[dict[str, Any]]
    torch_state: torch.Tensor
    random_state: dict[str, Any]


def fit(
    cohort: Cohort,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    split: Split | None = None,
    start: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
) -> FittedModel:
    """Train a model on a cohort; the same bytes for the same knees, settings and seed.

    The training patients are divided into inner folds (`settings.validation`), and each is set
    aside in turn: the linear parts weigh their strengths on what is set aside, a network learns
    from all others, and the epoch, the weights of the parts, the calibration and the threshold are
    chosen on the log odds of knees that were set aside. With `settings.inner` "single", one inner
    fold alone is set aside, scaling, imputation and class weights come from the others, and there
    is one network. Trains on all knees, or on those of a `split` and on nothing else. `keep` is
    handed the progress of every epoch, and `start` goes on from one.

        model = fit(load_cohort("features.tsv", "labels.tsv"))

    Raises `UsageError` for too few patients, or where the loss is no longer a finite number; and a
    `RecordError` for a `start` that is not of this training.
    """
    if split is None:
        split = split_training(cohort, settings.validation, seed)
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.inner == "single":
            return _fit_single(cohort, settings, seed, split, start, keep)
        return _fit_rotating(cohort, settings, seed, split, start, keep)


def _fit_single(
    cohort: Cohort,
    settings: Settings,
    seed: int,
    split: Split,
    start: Progress | None,
    keep: Callable[[Progress], None] | None,
) -> FittedModel:
    """Train one network, and choose its epoch and threshold on one inner fold."""
    scaling = fit_clinical(cohort.clinical[split.fit], cohort.clinical_names)
    training = _prepare(cohort, settings, seed, split, [1], scaling)
    history = training.run(start, keep)
    module = KneeModel(cohort.channels, cohort.sequences, [], training.networks)
    weights = training.weights[0]
    training.networks[0].offset.copy_(-torch.log(weights))
    del training  # and with it the tensors of all knees
    module.eval()
    probability, _ = predict(
        FittedModel(module, settings, scaling, threshold=0.5), *cohort.scored(split.validate)
    )
    chosen = _Chosen(split.validate, probability, min(history), "on the validation knees")
    record = _training_record(settings, seed, history) | {"class_weights": weights.tolist()}
    record |= _data_record(cohort, split.fit, split.validate)
    return _with_threshold(cohort, FittedModel(module, settings, scaling, 0.5, record), chosen)


def _fit_rotating(
    cohort: Cohort,
    settings: Settings,
    seed: int,
    split: Split,
    start: Progress | None,
    keep: Callable[[Progress], None] | None,
) -> FittedModel:
    """Train all parts, setting every inner fold aside in turn, and weigh them by what that gave."""
    label = cohort.label[split.train]
    scaling = fit_clinical(cohort.clinical[split.train], cohort.clinical_names)
    linear: dict[str, Fitted] = {}
    if settings.linear:
        linear = fit_linear(
            cohort, split, settings.linear, scaling.apply(cohort.clinical[split.train])
        )
    held_out = {name: each.held_out for name, each in linear.items()}
    history: list[float] = []
    networks: list[Network] = []
    if settings.network:
        parts = list(range(1, split.parts + 1))
        training = replace(
            _prepare(cohort, settings, seed, split, parts, scaling), others=dict(held_out)
        )
        history = training.run(start, keep)
        networks, held_out[NETWORK] = training.networks, training.held_log_odds()
        del training  # and with it the tensors of all knees
    everything = KneeModel(
        cohort.channels, cohort.sequences, [each.part for each in linear.values()], networks
    )
    mixture = mix_if_worth(label, held_out, NETWORK)
    module = join(everything, mixture).eval()
    odds = mixture.log_odds(held_out)
    chosen = _Chosen(
        split.train,
        expit(odds),
        log_loss(label, odds),
        "on the training knees, each scored by parts that had not seen its patient",
    )
    record = _training_record(settings, seed, history)
    record |= {
        "class_weights": _loss_weights(label, settings).tolist(),
        "parts": _parts_record(label, linear, held_out, mixture),
        "linear_roc_auc": _linear_area(label, held_out),
    }
    record |= _data_record(cohort, split.train, split.train)
    return _with_threshold(cohort, FittedModel(module, settings, scaling, 0.5, record), chosen)


@dataclass(frozen=True)
class _Chosen:
    """What the threshold is chosen on: knees with probabilities of fits that had not seen them."""

    index: np.ndarray
    probability: np.ndarray
    loss: float
    where: str


def _with_threshold(cohort: Cohort, model: FittedModel, chosen: _Chosen) -> FittedModel:
    """Choose the threshold of a model, and record on what."""
    label, rule = cohort.label[chosen.index], model.settings.threshold_rule
    threshold = choose_threshold(label, chosen.probability, rule)
    record = model.record | {
        "validation_loss": chosen.loss,
        "validation_roc_auc": roc_auc(label, chosen.probability),
        "threshold": threshold,
        "threshold_rule": f"{rule} {chosen.where}",
    }
    return replace(model, threshold=threshold, record=record)


def _prepare(
    cohort: Cohort,
    settings: Settings,
    seed: int,
    split: Split,
    parts: Sequence[int],
    scaling: ClinicalScaling,
) -> "Training":
    """Return the training of a network for each of the inner folds `parts`, which it leaves out."""
    used = split.train if len(parts) > 1 else split.fit
    networks, weights = [], []
    for part in parts:
        network = Network(cohort.channels, len(scaling.names), settings, cohort.sequences)
        networks.append(network)
        fitted = cohort.label[split.train[split.part != part]]
        weights.append(_loss_weights(fitted, settings))
    scale_features(networks[0], cohort, used)
    for network in networks[1:]:
        copy_scaling(networks[0], network)
    knees = to_tensors(cohort, split.train, scaling, networks[0], settings.precision)
    return Training(
        networks=networks,
        knees=knees,
        fitting=[torch.from_numpy(np.flatnonzero(split.part != part)) for part in parts],
        held=[torch.from_numpy(np.flatnonzero(split.part == part)) for part in parts],
        weights=weights,
        settings=settings,
        random=np.random.default_rng(seed),
    )


def _training_record(settings: Settings, seed: int, history: Sequence[float]) -> dict[str, Any]:
    """Return what a model records of its training; epochs are 0 where no network was trained."""
    return {
        "settings": settings.as_dict(),
        "seed": seed,
        "epochs": len(history),
        "best_epoch": int(np.argmin(history)) + 1 if history else 0,
    }


def _linear_area(label: np.ndarray, held_out: Mapping[str, np.ndarray]) -> float | None:
    """The ROC AUC that the linear parts reach by themselves on held-out knees, if there are any."""
    linear = {name: odds for name, odds in held_out.items() if name != NETWORK}
    if not linear:
        return None
    return roc_auc(label, mix(label, linear).log_odds(linear))


def _parts_record(
    label: np.ndarray,
    linear: Mapping[str, Fitted],
    held_out: Mapping[str, np.ndarray],
    mixture: Mixture,
) -> list[dict[str, Any]]:
    """Return what a model records of each part: its weight, and how good it is by itself.

    `roc_auc` is that of the part's held-out log odds.
    """
    records = []
    for name, odds in held_out.items():
        record: dict[str, Any] = {
            "name": name,
            "weight": mixture.weights.get(name, 0.0),
            "roc_auc": roc_auc(label, odds),
        }
        if name in linear:
            record |= {"strength": linear[name].strength, "power": linear[name].power}
        records.append(record)
    return records


def _data_record(cohort: Cohort, fitted: np.ndarray, validated: np.ndarray) -> dict[str, Any]:
    """Return what a model records of the knees that it was trained on, and of their features."""
    return {
        "channels": cohort.channels,
        "feature_space": cohort.space,
        "weights": None if cohort.weights is None else cohort.weights.to_json(),
        "joined": list(cohort.joined),
        "volume_steps": None if cohort.steps is None else list(cohort.steps),
        "cautions": [caution.value for caution in cohort.cautions],
        "training_knees": [cohort.knee[i] for i in fitted],
        "validation_knees": [cohort.knee[i] for i in validated],
    }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums in another order give other bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class Training:
    """The training of networks in place, with early stopping.

    Each network learns from the knees `fitting` and is watched on the knees `held`, by their places
    in `knees`. Several go through their epochs together, so that one epoch is chosen for all of
    them, on all knees: by the loss of the mixture of what each network said of the knees that it
    was watched on with the held-out log odds `others` of other parts. So it does not count how sure
    a network is of itself, which the mixture sets right, and it counts what it adds. One network is
    watched by its own weighted loss.

    `history` is the loss of every epoch so far, and `best` the states with the lowest.
    """

    networks: list[Network]
    knees: Tensors
    fitting: list[torch.Tensor]
    held: list[torch.Tensor]
    weights: list[torch.Tensor]
    settings: Settings
    random: np.random.Generator
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = copy.deepcopy(self._states())
        self.optimisers = []
        for network in self.networks:
            optimiser = torch.optim.AdamW(
                network.parameters(),
                self.settings.learning_rate,
                weight_decay=self.settings.weight_decay,
                fused=True,
            )
            self.optimisers.append(optimiser)

    def run(
        self, start: Progress | None = None, keep: Callable[[Progress], None] | None = None
    ) -> list[float]:
        """Train to the end, restore the best epoch, and return the history.

        Goes on from `start`, and hands the progress of every epoch to `keep`.
        """
        if start is not None:
            self._go_on_from(start)
        while not self.is_over():
            for number in range(len(self.networks)):
                self._train_epoch(number)
            self.history.append(self._loss())
            if not math.isfinite(self.history[-1]):
                raise UsageError(
                    f"the validation loss of epoch {len(self.history)} is not a finite number",
                    "look for features or clinical variables that are far too large, or lower "
                    "`learning_rate`",
                )
            if self._best_epoch() == len(self.history) - 1:
                self.best = copy.deepcopy(self._states())
            if keep is not None:
                keep(self._progress())
        for network, state in zip(self.networks, self.best, strict=True):
            network.load_state_dict(state)
        return self.history

    def held_log_odds(self) -> np.ndarray:
        """Return the networks' log odds (knees,), each of the knees that it was watched on.

        NaN for knees that none was watched on.
        """
        found = torch.full((len(self.knees.label),), torch.nan)
        for network, held in zip(self.networks, self.held, strict=True):
            logits = evaluate(network, self.knees, held)
            found[held] = logits[:, 1] - logits[:, 0]
        return found.double().numpy()

    def _states(self) -> list[dict[str, torch.Tensor]]:
        return [network.state_dict() for network in self.networks]

    def _loss(self) -> float:
        """The loss of this epoch, on the knees that are watched."""
        if len(self.networks) == 1:
            return validation_loss(self.networks[0], self.knees, self.held[0], self.weights[0])
        label = self.knees.label.numpy()
        parts = {**self.others, NETWORK: self.held_log_odds()}
        if not np.isfinite(parts[NETWORK]).all():
            return math.nan
        return log_loss(label, mix(label, parts).log_odds(parts))

    def is_over(self) -> bool:
        """Tell whether all epochs are done, or none has been better for as many as allowed."""
        epochs = len(self.history)
        since_best = epochs - 1 - self._best_epoch()
        return epochs >= self.settings.epochs or since_best >= self.settings.patience

    def _best_epoch(self) -> int:
        """The first epoch with the lowest loss; 0 before the first."""
        return int(np.argmin(self.history)) if self.history else 0

    def _train_epoch(self, number: int) -> None:
        network, optimiser = self.networks[number], self.optimisers[number]
        if self.settings.schedule == "cosine":
            self._set_step_size(optimiser, epoch=len(self.history))
        network.train()
        places = self.fitting[number]
        order = places[torch.from_numpy(self.random.permutation(len(places)))]
        for batch in order.split(self.settings.batch):
            values, mask, clinical = self.knees.take(batch, self.random)
            drop_channels_(values, self.settings.dropout, self.random)
            logits, _ = network.classify(values, mask, clinical)
            optimiser.zero_grad()
            loss = training_loss(
                logits, self.knees.label[batch], self.weights[number], self.settings
            )
            loss.backward()
            # A long series of slices can make a recurrent layer's gradient leap.
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

    def _set_step_size(self, optimiser: torch.optim.Optimizer, epoch: int) -> None:
        """Half a cosine from the full step size in the first epoch to none after the last."""
        angle = math.pi * epoch / self.settings.epochs
        for group in optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * (1 + math.cos(angle)) / 2

    def _go_on_from(self, start: Progress) -> None:
        self._check(start)
        self.history, self.best = list(start.history), start.best
        for number, network in enumerate(self.networks):
            network.load_state_dict(start.state[number])
            self.optimisers[number].load_state_dict(start.optimisers[number])
        torch.set_rng_state(start.torch_state)
        self.random.bit_generator.state = start.random_state

    def _check(self, start: Progress) -> None:
        """Raise a `RecordError` for a progress that this training has not made."""
        own = self._progress()
        if not 0 < len(start.history) <= self.settings.epochs:
            raise RecordError("it has no epoch, or too many")
        wanted = len(self.networks)
        if not wanted == len(start.best) == len(start.state) == len(start.optimisers):
            raise RecordError("it has another number of networks")
        for number in range(wanted):
            self._check_network(number, start, own)
        _check_alike({"torch_state": start.torch_state}, {"torch_state": own.torch_state})
        _check_random(Fields(start.random_state), own.random_state)
        try:
            torch.set_rng_state(start.torch_state)
        except RuntimeError:
            raise RecordError("its generator of random numbers is in no state") from None

    def _check_network(self, number: int, start: Progress, own: Progress) -> None:
        for found in (start.best[number], start.state[number]):
            _check_alike(found, own.state[number])
        parameters = list(self.networks[number].parameters())
        optimiser = start.optimisers[number]
        moments = optimiser["state"]
        if moments.keys() != set(range(len(parameters))):
            raise RecordError("its optimiser is that of another network")
        for place, each in enumerate(parameters):
            wanted = {"step": torch.zeros(()), "exp_avg": each, "exp_avg_sq": each}
            _check_alike(moments[place], wanted)
        _check_groups(optimiser["param_groups"], own.optimisers[number]["param_groups"])

    def _progress(self) -> Progress:
        return Progress(
            history=list(self.history),
            best=self.best,
            state=self._states(),
            optimisers=[optimiser.state_dict() for optimiser in self.optimisers],
            torch_state=torch.get_rng_state(),
            random_state=dict(self.random.bit_generator.state),
        )


def _check_alike(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Raise a `RecordError` for tensors of other names, shapes or types, or that are not finite."""
    if found.keys() != wanted.keys():
        raise RecordError("its tensors are not those of this network")
    for name, value in found.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise RecordError(f"tensor '{name}' has another shape or type")
        if not torch.isfinite(value).all():
            raise RecordError(f"tensor '{name}' holds numbers that are not finite")


def _check_groups(found: Any, wanted: Sequence[dict[str, Any]]) -> None:
    """Raise a `RecordError` for an optimiser of other settings, but for the step size of now."""
    plain = json.loads(json.dumps(list(wanted)))  # as it is read from a file
    if not isinstance(found, list) or len(found) != len(plain):
        raise RecordError("its optimiser is another")
    for group, own in zip(found, plain, strict=True):
        fields = Fields.of(group, "a group")
        rate = fields.number("lr", 0)
        if {**fields.values, "lr": rate} != {**own, "lr": rate}:
            raise RecordError("its optimiser has other settings")


def _check_random(fields: Fields, own: Mapping[str, Any]) -> None:
    """Raise a `RecordError` for what is no state of this kind of generator."""
    if fields.text("bit_generator") != own["bit_generator"]:
        raise RecordError("its generator of random numbers is another")
    for name in ("state", "inc"):
        fields.part("state").whole(name, 0, 2**128 - 1)
    fields.whole("has_uint32", 0, 1)
    fields.whole("uinteger", 0, 2**32 - 1)


def drop_channels_(values: torch.Tensor, share: float, random: np.random.Generator) -> None:
    """Drop channels of (knees, slices, channels) in place, each from all slices of a knee at once.

    Otherwise its neighbours would give it away.
    """
    if share:
        drawn = random.integers(0, 2**16, (len(values), 1, values.shape[2]), dtype=np.uint16)
        kept = torch.from_numpy(drawn >= round(share * 2**16))
        values *= kept.to(values.dtype).div_(1 - share)


def training_loss(
    logits: torch.Tensor, label: torch.Tensor, weights: torch.Tensor, settings: Settings
) -> torch.Tensor:
    """Return the weighted cross entropy of a mini-batch.

    With label smoothing (Szegedy 2016) and the focal factor (1 - p)^gamma (Lin 2017). It is divided
    by the number of knees, as class weights are 1 on average over the cohort; or by the weights of
    the mini-batch, which differ from one to the next where a class is rare.
    """
    losses = functional.cross_entropy(
        logits, label, weights, reduction="none", label_smoothing=settings.smoothing
    )
    if settings.focal:
        sure = torch.softmax(logits, dim=1).gather(1, label[:, None])[:, 0]
        losses = losses * (1 - sure) ** settings.focal
    if settings.loss_over == "cohort":
        return losses.mean()
    return losses.sum() / weights[label].sum()


def evaluate(network: Network, knees: Tensors, places: torch.Tensor) -> torch.Tensor:
    """Return the network's logits (places, 2) of the knees at `places`, without dropout."""
    network.eval()
    with torch.inference_mode():
        batches = places.split(CHUNK)
        return torch.cat([network.classify(*knees.take(batch))[0] for batch in batches])


def validation_loss(
    network: Network, knees: Tensors, places: torch.Tensor, weights: torch.Tensor
) -> float:
    """Return the weighted cross entropy of the knees at `places`.

    Without dropout, smoothing or focus.
    """
    logits = evaluate(network, knees, places)
    with torch.inference_mode():
        return functional.cross_entropy(logits, knees.label[places], weights).item()


def _loss_weights(label: np.ndarray, settings: Settings) -> torch.Tensor:
    """The weights (2,) of the classes in the loss."""
    return class_weights(label) if settings.balanced else torch.ones(2)


def class_weights(label: np.ndarray) -> torch.Tensor:
    """Return weights (2,) by inverse frequency.

    Both classes weigh the same, and a knee weighs 1 on average.
    """
    counts = np.bincount(label, minlength=2)
    return torch.tensor(len(label) / (2 * counts), dtype=torch.float32)


def scale_features(module: Network, cohort: Cohort, index: np.ndarray) -> None:
    """Set the network's scaling of the features of each sequence, from the knees at `index`."""
    for number, branch in enumerate(module.each_branch()):
        mean, sd = fit_features([cohort.slices(i, number) for i in index])
        branch.feature_mean.copy_(torch.from_numpy(mean))
        branch.feature_sd.copy_(torch.from_numpy(sd))


def to_tensors(
    cohort: Cohort,
    index: np.ndarray,
    scaling: ClinicalScaling,
    module: Network,
    precision: str,
) -> Tensors:
    """Return the knees at `index` as tensors, standardised once and not at every step.

    Every version of the features is gathered slice by slice, in chunks, so that no second copy of
    them is made in full.
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
    )
