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
from oatools.learning.course import Progress
from oatools.learning.folds import Split
from oatools.learning.model import FittedModel
from oatools.learning.settings import Settings
from oatools.learning.training import fit

KEY = "oatools checkpoint"


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
        tensors = {}
        for kind, state in (("best", progress.best), ("state", progress.state)):
            for key, value in state.items():
                tensors[f"{kind}/{key}"] = value.contiguous()
        for number, moments in progress.optimiser["state"].items():
            for key, value in moments.items():
                tensors[f"optimiser/{number}/{key}"] = value.contiguous()
        said = {
            "made_from": self.made_from,
            "history": progress.history,
            "groups": progress.optimiser["param_groups"],
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
    states: dict[str, dict[str, torch.Tensor]] = {"best": {}, "state": {}}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        kind, _, key = name.partition("/")
        if kind in states:
            states[kind][key] = value
        elif kind == "optimiser":
            number, _, moment = key.partition("/")
            moments.setdefault(_number(number, name), {})[moment] = value
    return Progress(
        history=fields.numbers("history"),
        best=states["best"],
        state=states["state"],
        optimiser={"state": moments, "param_groups": fields.values.get("groups")},
    )


def _number(text: str, name: str) -> int:
    """Return the number in the name of a tensor; a `RecordError` where there is none."""
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise RecordError(f"there is a tensor '{name[:40]}' too many")
    return int(text)
