"""The state of an interrupted training as safetensors.

Going on from it gives the bytes that no interruption would have given.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from oatools.core.records import Fields, RecordError
from oatools.learning import sealed
from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.model import FittedModel
from oatools.learning.settings import Settings
from oatools.learning.training import Progress, fit

KEY = "oatools checkpoint"
_MOST_NETWORKS = 1000


@dataclass
class Checkpoint:
    """The file of a training's progress, written every `every` seconds, at the end of an epoch.

    `made_from` says of which inputs and settings; the file of another training is passed over, and
    so is one that was damaged, which `say` is told.
    """

    path: Path
    made_from: str
    every: float = 5.0
    say: Callable[[str], None] | None = None

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

        try:
            model = fit(cohort, settings, seed, split, start, keep)
        except RecordError:
            self._say_damaged()
            model = fit(cohort, settings, seed, split, None, keep)
        self.path.unlink(missing_ok=True)
        return model

    def write(self, progress: Progress) -> None:
        """Write the file, atomically."""
        tensors = {"torch_state": progress.torch_state}
        for network, state in enumerate(progress.best):
            for key, value in state.items():
                tensors[f"best/{network}/{key}"] = value.contiguous()
        for network, state in enumerate(progress.state):
            for key, value in state.items():
                tensors[f"state/{network}/{key}"] = value.contiguous()
        for network, optimiser in enumerate(progress.optimisers):
            for number, moments in optimiser["state"].items():
                for key, value in moments.items():
                    tensors[f"optimiser/{network}/{number}/{key}"] = value.contiguous()
        said = {
            "made_from": self.made_from,
            "history": progress.history,
            "random_state": progress.random_state,
            "groups": [each["param_groups"] for each in progress.optimisers],
        }
        sealed.write_sealed(self.path, KEY, said, tensors)

    def read(self) -> Progress | None:
        """Read the file; None where there is none, none of this training, or a damaged one."""
        try:
            record = sealed.read_record(self.path, KEY)
            if record.get("made_from") != self.made_from:
                return None
            return _progress(*sealed.read_sealed(self.path, KEY))
        except FileNotFoundError:
            return None
        except (sealed.NotSealed, OSError, RecordError):
            self._say_damaged()
            return None

    def _say_damaged(self) -> None:
        if self.say is not None:
            self.say(f"warning: {self.path} is damaged; training begins anew")


def _progress(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Progress:
    """Return the progress of a record and its tensors; a `RecordError` where it is none."""
    fields = Fields(record)
    groups = fields.values.get("groups")
    if "torch_state" not in tensors:
        raise RecordError("tensor 'torch_state' is missing")
    if not isinstance(groups, list) or not 0 < len(groups) <= _MOST_NETWORKS:
        raise RecordError("its optimisers are those of no training")
    parts: dict[str, list[dict[str, torch.Tensor]]] = {
        kind: [{} for _ in groups] for kind in ("best", "state")
    }
    moments: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in groups]
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind not in (*parts, "optimiser"):
            continue
        place, _, key = rest.partition("/")
        network = _number(place, name)
        if network >= len(groups):
            raise RecordError(f"there is a tensor '{name[:40]}' too many")
        if kind == "optimiser":
            number, _, moment = key.partition("/")
            moments[network].setdefault(_number(number, name), {})[moment] = value
        else:
            parts[kind][network][key] = value
    return Progress(
        history=fields.numbers("history"),
        best=parts["best"],
        state=parts["state"],
        optimisers=[
            {"state": of_network, "param_groups": group}
            for of_network, group in zip(moments, groups, strict=True)
        ],
        torch_state=tensors["torch_state"],
        random_state=dict(fields.part("random_state").values),
    )


def _number(text: str, name: str) -> int:
    """Return the number in the name of a tensor; a `RecordError` where there is none."""
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise RecordError(f"there is a tensor '{name[:40]}' too many")
    return int(text)
