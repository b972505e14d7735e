"""The state of an interrupted training as safetensors.

Going on from it gives the bytes that no interruption would have given.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from oatools.core.files import write_bytes
from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.model import FittedModel
from oatools.learning.settings import Settings
from oatools.learning.training import Progress, fit

KEY = "oatools checkpoint"


@dataclass
class Checkpoint:
    """The file of a training's progress, written every `every` seconds, at the end of an epoch.

    `made_from` says of which inputs and settings; the file of another training is passed over.
    """

    path: Path
    made_from: str
    every: float = 5.0

    def fit(
        self, cohort: Cohort, settings: Settings, seed: int, split: Split, resume: bool
    ) -> FittedModel:
        """Do what `training.fit` does, going on from the file if `resume`.

        The file is gone once training has ended.
        """
        start = self.read() if resume else None
        last = time.monotonic()

        def keep(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= self.every:
                self.write(progress)
                last = time.monotonic()

        model = fit(cohort, settings, seed, split, start, keep)
        self.path.unlink(missing_ok=True)
        return model

    def write(self, progress: Progress) -> None:
        """Write the file, atomically."""
        tensors = {"torch_state": progress.torch_state}
        for key, value in progress.best.items():
            tensors[f"best/{key}"] = value.contiguous()
        for key, value in progress.state.items():
            tensors[f"state/{key}"] = value.contiguous()
        for number, moments in progress.optimiser["state"].items():
            for key, value in moments.items():
                tensors[f"optimiser/{number}/{key}"] = value.contiguous()
        said = {
            "made_from": self.made_from,
            "history": progress.history,
            "random_state": progress.random_state,
            "groups": progress.optimiser["param_groups"],
        }
        write_bytes(self.path, save(tensors, {KEY: json.dumps(said)}))

    def read(self) -> Progress | None:
        """Read the file; None where there is none, or none of this training."""
        try:
            with safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {})[KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if said["made_from"] != self.made_from:
            return None
        return _progress(said, tensors)


def _progress(said: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Progress:
    parts: dict[str, dict[str, torch.Tensor]] = {"best": {}, "state": {}}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        if kind in parts:
            parts[kind][key] = value
        elif kind == "optimiser":
            number, _, moment = key.partition("/")
            moments.setdefault(int(number), {})[moment] = value
    return Progress(
        history=said["history"],
        best=parts["best"],
        state=parts["state"],
        optimiser={"state": moments, "param_groups": said["groups"]},
        torch_state=tensors["torch_state"],
        random_state=said["random_state"],
    )
