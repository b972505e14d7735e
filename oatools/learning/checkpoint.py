"""Where an interrupted training stood, as safetensors: going on from it gives the bytes that no interruption would."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from oatools.core.files import atomic
from oatools.learning.cohort import Cohort
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
        self, data: Cohort, train: np.ndarray, settings: Settings, seed: int, resume: bool
    ) -> FittedModel:
        """As `training.fit`, from where the file says if `resume`; the file is gone once training has ended."""
        start = self.read() if resume else None
        last = time.monotonic()

        def keep(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= self.every:
                self.write(progress)
                last = time.monotonic()

        model = fit(data, train, settings, seed, start, keep)
        self.path.unlink(missing_ok=True)
        return model

    def write(self, progress: Progress) -> None:
        """Write the file, atomically."""
        tensors = {"torch_state": progress.torch_state}
        for name, values in (("best", progress.best), ("state", progress.state)):
            tensors |= {f"{name}/{key}": value for key, value in values.items()}
        for number, moments in progress.optimiser["state"].items():
            tensors |= {f"optimiser/{number}/{key}": value for key, value in moments.items()}
        said = {
            "made_from": self.made_from,
            "history": progress.history,
            "random_state": progress.random_state,
            "groups": progress.optimiser["param_groups"],
        }
        with atomic(self.path) as temporary:
            temporary.write_bytes(
                save({k: v.contiguous() for k, v in tensors.items()}, {KEY: json.dumps(said)})
            )

    def read(self) -> Progress | None:
        """What the file says; None where there is none of this training."""
        try:
            with safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {})[KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if said["made_from"] != self.made_from:
            return None
        parts: dict[str, dict[str, torch.Tensor]] = {"best": {}, "state": {}}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            kind, _, key = name.partition("/")
            if kind in parts:
                parts[kind][key] = value
            elif kind == "optimiser":
                number, _, moment = key.partition("/")
                moments.setdefault(int(number), {})[moment] = value
        optimiser = {"state": moments, "param_groups": said["groups"]}
        return Progress(
            said["history"],
            parts["best"],
            parts["state"],
            optimiser,
            tensors["torch_state"],
            said["random_state"],
        )
