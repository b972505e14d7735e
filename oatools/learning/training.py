"""Training one model: scaling, weights, early stopping and threshold, all from the knees it is given."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from oatools.learning.cohort import Cohort
from oatools.learning.folds import inner_split
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.model import FittedModel, KneeModel, build, predict
from oatools.learning.scaling import ClinicalScaling, fit_clinical, fit_features
from oatools.learning.settings import Settings

CHUNK = 256  # knees a forward pass when validating, and when standardising
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Tensors:
    """Knees as one padded tensor each, from which mini-batches are taken by index.

    `values` is (versions x knees, slices, channels), standardised: the plain features first, then
    those of varied copies, each in the order of the knees.
    """

    values: torch.Tensor
    mask: torch.Tensor
    clinical: torch.Tensor
    label: torch.Tensor

    def take(
        self, batch: torch.Tensor, random: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values (a copy), mask and clinical variables of a mini-batch, padded to its own longest knee.

        With `random` a version is drawn for each knee; without, it is the plain one.
        """
        mask, knees = self.mask[batch], len(self.label)
        longest = int((mask > 0).sum(dim=1).max())
        clinical, versions = self.clinical[batch], len(self.values) // knees
        if random is not None and versions > 1:
            batch = batch + knees * torch.from_numpy(random.integers(versions, size=len(batch)))
        return self.values[:, :longest].index_select(0, batch), mask[:, :longest], clinical


@dataclass
class Progress:
    """Where a training stands after an epoch: enough to go on from there to the same bytes."""

    history: list[float]
    best: dict[str, torch.Tensor]
    state: dict[str, torch.Tensor]
    optimiser: dict
    torch_state: torch.Tensor
    random_state: dict


def fit(
    data: Cohort,
    train_index: np.ndarray,
    settings: Settings,
    seed: int,
    start: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
) -> FittedModel:
    """Train on the knees at `train_index` and on nothing else; the same bytes for the same knees, settings and seed.

    A share of their patients is set apart: the epoch with the lowest loss on it is kept, and the
    threshold is chosen on it. Scaling, imputation and class weights come from the others. `keep` is
    handed the progress of every epoch, and `start` goes on from one. Raises `UsageError` for too
    few patients.
    """
    index = np.sort(np.asarray(train_index))
    inner = inner_split(
        [data.subject[i] for i in index], data.label[index], settings.validation, seed
    )
    fitting, held = index[inner[0]], index[inner[1]]
    scaling = fit_clinical(data.clinical[fitting], data.clinical_names)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order give other bytes
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build(
                settings, data.features.shape[2], len(data.clinical_names), data.extents.shape[1]
            )
            for number, branch in enumerate(module.branches):
                mean, sd = fit_features([data.slices(i, number) for i in fitting])
                branch.feature_mean.copy_(torch.from_numpy(mean))
                branch.feature_sd.copy_(torch.from_numpy(sd))
            weights = class_weights(data.label[fitting]) if settings.balanced else torch.ones(2)
            tensors = [to_tensors(data, i, scaling, module, settings) for i in (fitting, held)]
            history = optimise(
                module, *tensors, weights, settings, np.random.default_rng(seed), start, keep
            )
            del tensors
            module.offset.copy_(-torch.log(weights))
            module.eval()
            model = FittedModel(module, settings, scaling, threshold=0.5)
            probability, _ = predict(model, *data.scored(held))
    finally:
        torch.set_num_threads(threads)
    threshold = choose_threshold(data.label[held], probability, settings.threshold_rule)
    best = int(np.argmin(history))
    record = {
        "settings": settings.as_dict(),
        "seed": seed,
        "channels": data.features.shape[2],
        "clinical": scaling.as_records(),
        "class_weights": weights.tolist(),
        "feature_space": data.space,
        "joined": list(data.joined),
        "volume_steps": None if data.steps is None else list(data.steps),
        "cautions": list(data.cautions),
        "epochs": len(history),
        "best_epoch": best + 1,
        "validation_loss": history[best],
        "validation_roc_auc": roc_auc(data.label[held], probability),
        "threshold": threshold,
        "threshold_rule": f"{settings.threshold_rule} on the validation knees",
        "training_knees": [data.knee[i] for i in fitting],
        "validation_knees": [data.knee[i] for i in held],
    }
    return FittedModel(module, settings, scaling, threshold, record)


def optimise(
    module: KneeModel,
    fitting: Tensors,
    held: Tensors,
    weights: torch.Tensor,
    settings: Settings,
    random: np.random.Generator,
    start: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
) -> list[float]:
    """Train in place with early stopping, restore the best epoch, and return the validation loss of every epoch."""
    optimiser = torch.optim.AdamW(
        module.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    history: list[float] = []
    best = copy.deepcopy(module.state_dict())
    if start:
        history, best = list(start.history), start.best
        module.load_state_dict(start.state)
        optimiser.load_state_dict(start.optimiser)
        torch.set_rng_state(start.torch_state)
        random.bit_generator.state = start.random_state
    while len(history) < settings.epochs and len(history) - 1 - _best(history) < settings.patience:
        epoch = len(history)
        if settings.schedule == "cosine":
            for group in optimiser.param_groups:
                group["lr"] = (
                    settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
                )
        module.train()
        for batch in torch.from_numpy(random.permutation(len(fitting.label))).split(settings.batch):
            values, mask, clinical = fitting.take(batch, random)
            drop_channels_(values, settings.dropout, random)
            logits, _ = module.classify(values, mask, clinical)
            optimiser.zero_grad()
            training_loss(logits, fitting.label[batch], weights, settings).backward()
            # A long series of slices can make a recurrent layer's gradient leap.
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
        history.append(validation_loss(module, held, weights))
        if _best(history) == epoch:
            best = copy.deepcopy(module.state_dict())
        if keep:
            keep(
                Progress(
                    list(history),
                    best,
                    module.state_dict(),
                    optimiser.state_dict(),
                    torch.get_rng_state(),
                    random.bit_generator.state,
                )
            )
    module.load_state_dict(best)
    return history


def drop_channels_(values: torch.Tensor, share: float, random: np.random.Generator) -> None:
    """Dropout in place on (knees, slices, channels): a channel goes from all slices of a knee at once.

    Otherwise its neighbours would give it away.
    """
    if share:
        drawn = random.integers(0, 2**16, (len(values), 1, values.shape[2]), dtype=np.uint16)
        kept = torch.from_numpy(drawn >= round(share * 2**16))
        values *= kept.to(values.dtype).div_(1 - share)


def training_loss(
    logits: torch.Tensor, label: torch.Tensor, weights: torch.Tensor, settings: Settings
) -> torch.Tensor:
    """Weighted cross entropy, with label smoothing (Szegedy 2016) and the focal factor (1 - p)^gamma (Lin 2017)."""
    losses = functional.cross_entropy(
        logits, label, weights, reduction="none", label_smoothing=settings.smoothing
    )
    if settings.focal:
        sure = torch.softmax(logits, dim=1).gather(1, label[:, None])[:, 0]
        losses = losses * (1 - sure) ** settings.focal
    return losses.sum() / weights[label].sum()


def validation_loss(module: KneeModel, held: Tensors, weights: torch.Tensor) -> float:
    """Weighted cross entropy over all validation knees, without dropout, smoothing or focus."""
    module.eval()
    with torch.inference_mode():
        batches = torch.arange(len(held.label)).split(CHUNK)
        logits = torch.cat([module.classify(*held.take(b))[0] for b in batches])
        return functional.cross_entropy(logits, held.label, weights).item()


def class_weights(label: np.ndarray) -> torch.Tensor:
    """Weights (2,) by inverse frequency, so that both classes weigh the same and a knee weighs 1 on average."""
    counts = np.bincount(label, minlength=2)
    return torch.tensor(len(label) / (2 * counts), dtype=torch.float32)


def to_tensors(
    data: Cohort, index: np.ndarray, scaling: ClinicalScaling, module: KneeModel, settings: Settings
) -> Tensors:
    """The knees at `index` as tensors, all scaled: once, before training, and not at every step of it."""
    slices = int(data.length[index].max())
    ends = data.extents[index].cumsum(axis=1)
    place = np.arange(slices)
    number = 1 + (place[None, :, None] >= ends[:, None, :]).sum(
        axis=2
    )  # of the sequence; one more than all, past them
    mask = torch.from_numpy(np.where(number <= ends.shape[1], number, 0).astype(np.uint8))
    versions = [data.features, *(data.varied if data.varied is not None else ())]
    values = torch.empty(
        (len(versions), len(index), slices, data.features.shape[2]),
        dtype=DTYPES[settings.precision],
    )
    for version, features in zip(values, versions, strict=True):
        for part in np.array_split(np.arange(len(index)), -(-len(index) // CHUNK)):
            raw = torch.from_numpy(np.ascontiguousarray(features[index[part], :slices]))
            version[part[0] : part[-1] + 1] = module.standardise(raw, mask[part])
    clinical = torch.from_numpy(scaling.apply(data.clinical[index]))
    return Tensors(values.flatten(0, 1), mask, clinical, torch.from_numpy(data.label[index]))


def _best(history: list[float]) -> int:
    """The first epoch with the lowest loss; 0 before the first."""
    return int(np.argmin(history)) if history else 0
