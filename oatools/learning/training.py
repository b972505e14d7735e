"""Training of one model: scaling, weights, epoch and threshold, all from the knees it is given."""

import contextlib
import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError
from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split, split_training
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.model import FittedModel, KneeModel, build, predict
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
    """The state of a training after an epoch: enough to go on from there to the same bytes."""

    history: list[float]
    best: dict[str, torch.Tensor]
    state: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
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

    A share of the patients (`settings.validation`) is set apart: the epoch with the lowest loss on
    it is kept, and the threshold is chosen on it. Scaling, imputation and class weights come from
    the others. Trains on all knees, or on those of a `split` and on nothing else. `keep` is handed
    the progress of every epoch, and `start` goes on from one.

        model = fit(load_cohort("features.tsv", "labels.tsv"))

    Raises `UsageError` for too few patients, or where the loss is no longer a finite number; and a
    `RecordError` for a `start` that is not of this training.
    """
    if split is None:
        split = split_training(cohort, settings.validation, seed)
    scaling = fit_clinical(cohort.clinical[split.fit], cohort.clinical_names)
    weights = torch.ones(2)
    if settings.balanced:
        weights = class_weights(cohort.label[split.fit])
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(settings, cohort.channels, len(scaling.names), cohort.sequences)
        scale_features(module, cohort, split.fit)
        training = Training(
            module=module,
            fitting=to_tensors(cohort, split.fit, scaling, module, settings.precision),
            held=to_tensors(cohort, split.validate, scaling, module, settings.precision),
            weights=weights,
            settings=settings,
            random=np.random.default_rng(seed),
        )
        history = training.run(start, keep)
        del training  # and with it the tensors of all knees
        module.offset.copy_(-torch.log(weights))
        module.eval()
        model = FittedModel(module, settings, scaling, threshold=0.5)
        probability, _ = predict(model, *cohort.scored(split.validate))
    label = cohort.label[split.validate]
    threshold = choose_threshold(label, probability, settings.threshold_rule)
    best = int(np.argmin(history))
    record = {
        "settings": settings.as_dict(),
        "seed": seed,
        "clinical": scaling.as_records(),
        "class_weights": weights.tolist(),
        "epochs": len(history),
        "best_epoch": best + 1,
        "validation_loss": history[best],
        "validation_roc_auc": roc_auc(label, probability),
        "threshold": threshold,
        "threshold_rule": f"{settings.threshold_rule} on the validation knees",
        **_data_record(cohort, split),
    }
    return FittedModel(module, settings, scaling, threshold, record)


def _data_record(cohort: Cohort, split: Split) -> dict[str, Any]:
    """Return what a model records of the knees that it was trained on, and of their features."""
    return {
        "channels": cohort.channels,
        "feature_space": cohort.space,
        "weights": None if cohort.weights is None else cohort.weights.to_json(),
        "joined": list(cohort.joined),
        "volume_steps": None if cohort.steps is None else list(cohort.steps),
        "cautions": [caution.value for caution in cohort.cautions],
        "training_knees": [cohort.knee[i] for i in split.fit],
        "validation_knees": [cohort.knee[i] for i in split.validate],
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
    """The training of one network in place, with early stopping.

    `history` is the validation loss of every epoch so far, and `best` the state with the lowest.
    """

    module: KneeModel
    fitting: Tensors
    held: Tensors
    weights: torch.Tensor
    settings: Settings
    random: np.random.Generator
    history: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = copy.deepcopy(self.module.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(),
            self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )

    def run(
        self, start: Progress | None = None, keep: Callable[[Progress], None] | None = None
    ) -> list[float]:
        """Train to the end, restore the best epoch, and return the history.

        Goes on from `start`, and hands the progress of every epoch to `keep`.
        """
        if start is not None:
            self._go_on_from(start)
        while not self.is_over():
            self._train_epoch()
            self.history.append(validation_loss(self.module, self.held, self.weights))
            if not math.isfinite(self.history[-1]):
                raise UsageError(
                    f"the validation loss of epoch {len(self.history)} is not a finite number",
                    "look for features or clinical variables that are far too large, or lower "
                    "`learning_rate`",
                )
            if self._best_epoch() == len(self.history) - 1:
                self.best = copy.deepcopy(self.module.state_dict())
            if keep is not None:
                keep(self._progress())
        self.module.load_state_dict(self.best)
        return self.history

    def is_over(self) -> bool:
        """Tell whether all epochs are done, or none has been better for as many as allowed."""
        epochs = len(self.history)
        since_best = epochs - 1 - self._best_epoch()
        return epochs >= self.settings.epochs or since_best >= self.settings.patience

    def _best_epoch(self) -> int:
        """The first epoch with the lowest loss; 0 before the first."""
        return int(np.argmin(self.history)) if self.history else 0

    def _train_epoch(self) -> None:
        if self.settings.schedule == "cosine":
            self._set_step_size(epoch=len(self.history))
        self.module.train()
        order = torch.from_numpy(self.random.permutation(len(self.fitting.label)))
        for batch in order.split(self.settings.batch):
            values, mask, clinical = self.fitting.take(batch, self.random)
            drop_channels_(values, self.settings.dropout, self.random)
            logits, _ = self.module.classify(values, mask, clinical)
            self.optimiser.zero_grad()
            loss = training_loss(logits, self.fitting.label[batch], self.weights, self.settings)
            loss.backward()
            # A long series of slices can make a recurrent layer's gradient leap.
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimiser.step()

    def _set_step_size(self, epoch: int) -> None:
        """Half a cosine from the full step size in the first epoch to none after the last."""
        angle = math.pi * epoch / self.settings.epochs
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * (1 + math.cos(angle)) / 2

    def _go_on_from(self, start: Progress) -> None:
        self._check(start)
        self.history, self.best = list(start.history), start.best
        self.module.load_state_dict(start.state)
        self.optimiser.load_state_dict(start.optimiser)
        torch.set_rng_state(start.torch_state)
        self.random.bit_generator.state = start.random_state

    def _check(self, start: Progress) -> None:
        """Raise a `RecordError` for a progress that this training has not made."""
        own = self._progress()
        if not 0 < len(start.history) <= self.settings.epochs:
            raise RecordError("it has no epoch, or too many")
        for found in (start.best, start.state):
            _check_alike(found, own.state)
        parameters = list(self.module.parameters())
        moments = start.optimiser["state"]
        if moments.keys() != set(range(len(parameters))):
            raise RecordError("its optimiser is that of another network")
        for number, each in enumerate(parameters):
            wanted = {"step": torch.zeros(()), "exp_avg": each, "exp_avg_sq": each}
            _check_alike(moments[number], wanted)
        _check_groups(start.optimiser["param_groups"], own.optimiser["param_groups"])
        _check_alike({"torch_state": start.torch_state}, {"torch_state": own.torch_state})
        _check_random(Fields(start.random_state), own.random_state)
        try:
            torch.set_rng_state(start.torch_state)
        except RuntimeError:
            raise RecordError("its generator of random numbers is in no state") from None

    def _progress(self) -> Progress:
        return Progress(
            history=list(self.history),
            best=self.best,
            state=self.module.state_dict(),
            optimiser=self.optimiser.state_dict(),
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

    With label smoothing (Szegedy 2016) and the focal factor (1 - p)^gamma (Lin 2017).
    """
    losses = functional.cross_entropy(
        logits, label, weights, reduction="none", label_smoothing=settings.smoothing
    )
    if settings.focal:
        sure = torch.softmax(logits, dim=1).gather(1, label[:, None])[:, 0]
        losses = losses * (1 - sure) ** settings.focal
    return losses.sum() / weights[label].sum()


def validation_loss(module: KneeModel, held: Tensors, weights: torch.Tensor) -> float:
    """Return the weighted cross entropy over all knees, without dropout, smoothing or focus."""
    module.eval()
    with torch.inference_mode():
        batches = torch.arange(len(held.label)).split(CHUNK)
        logits = torch.cat([module.classify(*held.take(batch))[0] for batch in batches])
        return functional.cross_entropy(logits, held.label, weights).item()


def class_weights(label: np.ndarray) -> torch.Tensor:
    """Return weights (2,) by inverse frequency.

    Both classes weigh the same, and a knee weighs 1 on average.
    """
    counts = np.bincount(label, minlength=2)
    return torch.tensor(len(label) / (2 * counts), dtype=torch.float32)


def scale_features(module: KneeModel, cohort: Cohort, index: np.ndarray) -> None:
    """Set the network's scaling of the features of each sequence, from the knees at `index`."""
    for number, branch in enumerate(module.each_branch()):
        mean, sd = fit_features([cohort.slices(i, number) for i in index])
        branch.feature_mean.copy_(torch.from_numpy(mean))
        branch.feature_sd.copy_(torch.from_numpy(sd))


def to_tensors(
    cohort: Cohort,
    index: np.ndarray,
    scaling: ClinicalScaling,
    module: KneeModel,
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
