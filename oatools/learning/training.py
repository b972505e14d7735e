"""Training one model: scaling, weights, early stopping and threshold, all from the knees it is given."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from oatools.learning.cohort import Cohort
from oatools.learning.folds import inner_split
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.model import AttentionMIL, FittedModel, build, predict
from oatools.learning.scaling import fit_clinical, fit_features
from oatools.learning.settings import Settings

CHUNK = 256  # knees a forward pass when validating


@dataclass(frozen=True)
class Tensors:
    """Knees as one padded tensor each, from which mini-batches are taken by index.

    `features` is (versions, knees, slices, channels): the plain ones first, then those of varied copies.
    """

    features: torch.Tensor
    mask: torch.Tensor
    clinical: torch.Tensor
    label: torch.Tensor

    def draw(self, batch: torch.Tensor) -> torch.Tensor:
        """The features of a mini-batch, a version drawn for each knee."""
        versions = len(self.features)
        return self.features[torch.randint(versions, (len(batch),)) if versions > 1 else 0, batch]


def fit(data: Cohort, train_index: np.ndarray, settings: Settings, seed: int) -> FittedModel:
    """Train on the knees at `train_index` and on nothing else; the same bytes for the same knees, settings and seed.

    A share of their patients is set apart: the epoch with the lowest loss on it is kept, and the threshold is chosen
    on it. Scaling, imputation and class weights come from the others. Raises `UsageError` for too few patients.
    """
    data = data.take(np.asarray(train_index))
    inner = inner_split(data.subject, data.label, settings.validation, seed)
    fitting, held = data.take(inner[0]), data.take(inner[1])
    scaling = fit_clinical(fitting.clinical, data.clinical_names)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order give other bytes
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build(settings, data.features.shape[2], len(data.clinical_names))
            mean, sd = fit_features(fitting.features, fitting.length)
            module.feature_mean.copy_(torch.from_numpy(mean))
            module.feature_sd.copy_(torch.from_numpy(sd))
            weights = class_weights(fitting.label) if settings.balanced else torch.ones(2)
            tensors = [to_tensors(part, scaling.apply(part.clinical)) for part in (fitting, held)]
            history = optimise(module, *tensors, weights, settings)
            module.offset.copy_(-torch.log(weights))
            module.eval()
            model = FittedModel(module, settings, scaling, threshold=0.5)
            probability, _ = predict(model, [held.slices(i) for i in range(len(held))], held.clinical)
    finally:
        torch.set_num_threads(threads)
    threshold = choose_threshold(held.label, probability, settings.threshold_rule)
    best = int(np.argmin(history))
    record = {
        "settings": settings.as_dict(), "seed": seed, "channels": data.features.shape[2],
        "clinical": scaling.as_records(), "class_weights": weights.tolist(), "feature_space": data.space,
        "cautions": list(data.cautions), "epochs": len(history), "best_epoch": best + 1,
        "validation_loss": history[best], "validation_roc_auc": roc_auc(held.label, probability),
        "threshold": threshold, "threshold_rule": f"{settings.threshold_rule} on the validation knees",
        "training_knees": list(fitting.knee), "validation_knees": list(held.knee),
    }  # fmt: skip
    return FittedModel(module, settings, scaling, threshold, record)


def optimise(
    module: AttentionMIL, fitting: Tensors, held: Tensors, weights: torch.Tensor, settings: Settings
) -> list[float]:
    """Train in place with early stopping, restore the best epoch, and return the validation loss of every epoch."""
    optimiser = torch.optim.AdamW(module.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    history: list[float] = []
    best = copy.deepcopy(module.state_dict())
    for epoch in range(settings.epochs):
        module.train()
        for batch in torch.randperm(len(fitting.label)).split(settings.batch):
            logits, _ = module(fitting.draw(batch), fitting.mask[batch], fitting.clinical[batch])
            loss = functional.cross_entropy(logits, fitting.label[batch], weights)
            optimiser.zero_grad()
            loss.backward()
            # A long series of slices can make a recurrent layer's gradient leap.
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
        history.append(validation_loss(module, held, weights))
        if history[-1] == min(history) and history.index(history[-1]) == epoch:
            best = copy.deepcopy(module.state_dict())
        if epoch - int(np.argmin(history)) >= settings.patience:
            break
    module.load_state_dict(best)
    return history


def validation_loss(module: AttentionMIL, held: Tensors, weights: torch.Tensor) -> float:
    """Weighted cross entropy over all validation knees, without dropout."""
    module.eval()
    with torch.inference_mode():
        batches = torch.arange(len(held.label)).split(CHUNK)
        logits = torch.cat([module(held.features[0, b], held.mask[b], held.clinical[b])[0] for b in batches])
        return functional.cross_entropy(logits, held.label, weights).item()


def class_weights(label: np.ndarray) -> torch.Tensor:
    """Weights (2,) by inverse frequency, so that both classes weigh the same and a knee weighs 1 on average."""
    counts = np.bincount(label, minlength=2)
    return torch.tensor(len(label) / (2 * counts), dtype=torch.float32)


def to_tensors(data: Cohort, clinical: np.ndarray) -> Tensors:
    """A cohort as tensors, with its clinical variables already scaled."""
    mask = np.arange(data.features.shape[1])[None, :] < data.length[:, None]
    features = data.features[None]
    if data.varied is not None:
        features = np.concatenate([features, data.varied])
    return Tensors(*(torch.from_numpy(a) for a in (features, mask, clinical, data.label)))
