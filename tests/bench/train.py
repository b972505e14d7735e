"""CPU seconds an epoch of five-fold training: `oa-cv`'s own loop beside the usual script and an in-memory DataLoader.

    python tests/bench/train.py [--part epoch|whole]... [--knees 5709] [--epochs 2] [--folds 5]

epoch: all train the same model (convolution, GRU, attention, perceptron) on the same knees, folds and
batches of 64, in one thread, the number of epochs fixed; the features are random but for a planted
signal, and are called synthetic. The usual script is a Dataset that opens one HDF5 file an item.
`arithmetic` is the matrix products of the convolution alone, forwards and for its weights'
gradient: the floor. The AUC on knees held out shows that all learn alike.
whole: a cross-validation to its own end, in one thread: the paper's model, linear parts alone, and
the default model, which has both networks and linear parts.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import h5py
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from oatools.learning.cohort import Cohort, make_cohort
from oatools.learning.folds import Split, assign_folds, split_training
from oatools.learning.metrics import roc_auc
from oatools.learning.model import predict
from oatools.learning.settings import Settings, preset
from oatools.learning.training import fit

SLICES, CHANNELS, BATCH = 8, 1280, 64


class Usual(nn.Module):
    """The model as it is commonly written."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, 64, 3, padding=1)
        self.gru = nn.GRU(64, 64, batch_first=True)
        self.score = nn.Linear(64, 1)
        self.classify = nn.Sequential(
            nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (knees, 2) of features (knees, slices, channels)."""
        x = functional.dropout1d(x.transpose(1, 2), 0.4, self.training)
        states, _ = self.gru(functional.relu(self.conv(x)).transpose(1, 2))
        attention = torch.softmax(self.score(states), dim=1)
        return self.classify((x.transpose(1, 2) * attention).sum(dim=1))


class Files(Dataset):
    """One HDF5 file a knee, opened when it is asked for."""

    def __init__(self, folder: Path, index: np.ndarray, label: np.ndarray, scaling: tuple) -> None:
        self.folder, self.index, self.label, self.scaling = folder, index, label, scaling

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        with h5py.File(self.folder / f"{self.index[i]}.h5") as file:
            values = file["features"][:]
        return torch.from_numpy((values - self.scaling[0]) / self.scaling[1]), int(
            self.label[self.index[i]]
        )


class Memory(Dataset):
    """Knees as tensors."""

    def __init__(
        self, features: np.ndarray, index: np.ndarray, label: np.ndarray, scaling: tuple
    ) -> None:
        self.values = torch.from_numpy((features[index] - scaling[0]) / scaling[1])
        self.label = label[index]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.values[i], int(self.label[i])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", action="append", choices=["epoch", "whole"])
    parser.add_argument("--knees", type=int, default=5709)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = synthetic(options.knees)
    fold = assign_folds(data.subject, data.label, 5, 0)
    parts = options.part or ["epoch", "whole"]
    if "epoch" in parts:
        by_epoch(data, fold, options)
    if "whole" in parts:
        whole(data, fold, options.folds)


def by_epoch(data: Cohort, fold: np.ndarray, options: argparse.Namespace) -> None:
    """Print the CPU seconds an epoch of each way to train the paper's model."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(len(data)):
            with h5py.File(Path(folder) / f"{i}.h5", "w") as file:
                file["features"] = data.slices(i)
        ways = {
            "usual script": lambda k: common(data, fold, k, options.epochs, Path(folder)),
            "DataLoader": lambda k: common(data, fold, k, options.epochs, None),
            "oa-cv float32": lambda k: ours(data, fold, k, options.epochs, "float32"),
            "oa-cv bf16": lambda k: ours(data, fold, k, options.epochs, "bf16"),
            "arithmetic float32": lambda k: arithmetic(
                data, fold, k, options.epochs, torch.float32
            ),
            "arithmetic bf16": lambda k: arithmetic(data, fold, k, options.epochs, torch.bfloat16),
        }
        spent, area = dict.fromkeys(ways, 0.0), {name: [] for name in ways}
        for k in range(
            1, options.folds + 1
        ):  # one fold of each in turn, so that all meet the same noise
            for name, way in ways.items():
                seconds, auc = way(k)
                spent[name] += seconds / options.epochs * 5 / options.folds
                area[name].append(auc)
    print("way\tcpu_s_an_epoch\ttimes_usual\ttimes_dataloader\theld_out_auc")
    for name, seconds in spent.items():
        print(
            f"{name}\t{seconds:.2f}\t{spent['usual script'] / seconds:.2f}\t{spent['DataLoader'] / seconds:.2f}\t"
            f"{np.mean(area[name]):.3f}"
        )


def whole(data: Cohort, fold: np.ndarray, folds: int) -> None:
    """Print the CPU seconds of a five-fold cross-validation by each model."""
    models = {
        "paper": preset("paper"),
        "linear parts alone": Settings(network=False),
        "default": Settings(),
    }
    known = 0.0
    print("model\tcpu_s\ttimes_paper\theld_out_auc")
    for name, settings in models.items():
        spent, area = 0.0, []
        for k in range(1, folds + 1):
            divided = split(data, fold, k)
            begun = time.process_time()
            model = fit(data, settings, 0, divided)
            spent += (time.process_time() - begun) * 5 / folds
            probability, _ = predict(model, *data.scored(divided.test))
            area.append(roc_auc(data.label[divided.test], probability))
        known = known or spent
        print(f"{name}\t{spent:.0f}\t{spent / known:.1f}\t{np.mean(area):.3f}", flush=True)


def synthetic(knees: int) -> Cohort:
    """Knees, two a patient, whose middle slices are shifted in a few channels where the label is 1."""
    random = np.random.default_rng(0)
    label = (random.random(knees) < 0.2).astype(int)
    features = random.standard_normal((knees, SLICES, CHANNELS), dtype=np.float32)
    features[:, 3:5, :16] += 0.5 * label[:, None, None]
    names = [f"{9000000 + i // 2}_00m_{'left' if i % 2 else 'right'}" for i in range(knees)]
    return make_cohort(names, [n.split("_")[0] for n in names], label, list(features))


def split(data: Cohort, fold: np.ndarray, k: int) -> Split:
    """The knees to fit, validate and test on."""
    train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
    return split_training(data, 0.2, 0, train, test)


def common(
    data: Cohort, fold: np.ndarray, k: int, epochs: int, folder: Path | None
) -> tuple[float, float]:
    """CPU seconds and held-out AUC of a loop over DataLoaders, with validation after each epoch."""
    divided = split(data, fold, k)
    fitting, held, test = divided.fit, divided.validate, divided.test
    features = data.features.reshape(len(data), SLICES, CHANNELS)
    scaling = features[fitting].mean(axis=(0, 1)), features[fitting].std(axis=(0, 1))

    def make(index: np.ndarray) -> Dataset:
        if folder is None:
            return Memory(features, index, data.label, scaling)
        return Files(folder, index, data.label, scaling)

    torch.manual_seed(0)
    loader = DataLoader(make(fitting), BATCH, shuffle=True)
    validation, model = DataLoader(make(held), BATCH), Usual()
    optimiser = torch.optim.AdamW(model.parameters(), 5e-4, weight_decay=0.05)
    counts = np.bincount(data.label[fitting])
    weights = torch.tensor(len(fitting) / (2 * counts), dtype=torch.float32)
    begun = time.process_time()
    for _ in range(epochs):
        model.train()
        for values, label in loader:
            optimiser.zero_grad()
            functional.cross_entropy(model(values), label, weights).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        model.eval()
        with torch.no_grad():
            sum(
                functional.cross_entropy(model(values), label, weights).item()
                for values, label in validation
            )
    spent = time.process_time() - begun
    with torch.no_grad():
        logits = torch.cat([model(values) for values, _ in DataLoader(make(test), BATCH)])
    return spent, roc_auc(data.label[test], (logits[:, 1] - logits[:, 0]).numpy())


def ours(
    data: Cohort, fold: np.ndarray, k: int, epochs: int, precision: str
) -> tuple[float, float]:
    """CPU seconds between the first and the last epoch of `fit`, and its held-out AUC."""
    divided = split(data, fold, k)
    marks: list[float] = []
    begin = time.process_time
    settings = preset(
        "paper", batch=BATCH, epochs=epochs + 1, patience=epochs + 1, precision=precision
    )
    model = fit(data, settings, 0, divided, keep=lambda _: marks.append(begin()))
    probability, _ = predict(model, *data.scored(divided.test))
    return marks[-1] - marks[0], roc_auc(data.label[divided.test], probability)


def arithmetic(
    data: Cohort, fold: np.ndarray, k: int, epochs: int, kind: torch.dtype
) -> tuple[float, float]:
    """CPU seconds of the convolution's matrix products alone."""
    fitting = split(data, fold, k).fit
    values = torch.randn(BATCH * SLICES, CHANNELS).to(kind)
    weight, back = torch.randn(192, CHANNELS).to(kind), torch.randn(BATCH * SLICES, 192).to(kind)
    begun = time.process_time()
    for _ in range(epochs * -(-len(fitting) // BATCH)):
        values @ weight.T
        back.T @ values
    return time.process_time() - begun, np.nan


if __name__ == "__main__":
    main()
