"""Training tasks side by side, in processes that share one copy of the features."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import scratch
from oatools.core.process import GRACE_SECONDS, Child, Children, Died, Stopped
from oatools.learning.cohort import Cohort
from oatools.learning.files import save_model
from oatools.learning.folds import Split
from oatools.learning.model import FittedModel, predict
from oatools.learning.settings import Settings
from oatools.learning.training import fit


@dataclass(frozen=True)
class Task:
    """One model to train on the knees of a split.

    Of several `candidates` the one with the lowest validation loss is kept, which no test knee has
    a part in. With a `path` the model is written there with `record` added to its own; without, the
    probabilities of the test knees are what comes back. `label` replaces the cohort's, and
    `clinical` False leaves the clinical variables out.
    """

    name: str
    split: Split
    candidates: tuple[Settings, ...]
    seed: int
    path: Path | None = None
    record: dict[str, Any] | None = None
    label: np.ndarray | None = None
    clinical: bool = True


class Trainer(Protocol):
    """A function that trains one model, such as `training.fit`."""

    def __call__(self, cohort: Cohort, settings: Settings, seed: int, split: Split) -> FittedModel:
        """Train on the knees of a split."""


def run(
    cohort: Cohort, tasks: Sequence[Task], jobs: int, folder: Path
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield the number and the result of each task as it ends, `jobs` at a time.

    Results do not depend on `jobs`. The features are mapped from a file that lies in `folder`
    meanwhile. Raises the error of a task, or an `ItemError` where a process dies; what was written
    by then stays.
    """
    if jobs == 1 or len(tasks) < 2:
        for number, task in enumerate(tasks):
            yield number, work(cohort, task)
        return
    with _mapped(cohort, folder) as mapped:
        yield from _run_in_processes(mapped, tasks, min(jobs, len(tasks)))


def work(cohort: Cohort, task: Task) -> np.ndarray | None:
    """Do one task here."""
    if task.label is not None:
        cohort = replace(cohort, label=task.label)
    if not task.clinical:
        cohort = cohort.without_clinical()
    model = fit_best(cohort, task.candidates, task.seed, task.split)
    if task.path is not None:
        save_model(task.path, model, **(task.record or {}))
        return None
    return predict(model, *cohort.scored(task.split.test))[0]


def fit_best(
    cohort: Cohort,
    candidates: Sequence[Settings],
    seed: int,
    split: Split,
    train_one: Trainer = fit,
) -> FittedModel:
    """Train every candidate, and return the one with the lowest validation loss.

    Its record lists them all, where there are several.
    """
    models = [train_one(cohort, settings, seed, split) for settings in candidates]
    losses = [model.record["validation_loss"] for model in models]
    best = models[int(np.argmin(losses))]
    if len(models) == 1:
        return best
    tried = []
    for settings, loss in zip(candidates, losses, strict=True):
        tried.append({"settings": settings.as_dict(), "validation_loss": loss})
    return replace(best, record=best.record | {"tried": tried})


@dataclass(frozen=True)
class _Mapped:
    """A cohort whose large arrays lie in files."""

    rest: Cohort
    features: Path
    augmented: Path | None

    def open(self) -> Cohort:
        """Return the cohort, with its arrays mapped.

        They are mapped so that what is written stays here: nothing is, but PyTorch warns of arrays
        that cannot be written.
        """
        features = np.load(self.features, mmap_mode="c")
        augmented = None if self.augmented is None else np.load(self.augmented, mmap_mode="c")
        return replace(self.rest, features=features, augmented=augmented)


@contextlib.contextmanager
def _mapped(cohort: Cohort, folder: Path) -> Iterator[_Mapped]:
    """Lay the large arrays of a cohort into files of `folder`, which are gone afterwards."""
    with contextlib.ExitStack() as stack:
        features = _laid_out(stack, cohort.features, folder)
        augmented = None
        if cohort.augmented is not None:
            augmented = _laid_out(stack, cohort.augmented, folder)
        rest = replace(cohort, features=cohort.features[:0], augmented=None)
        yield _Mapped(rest, features, augmented)


def _laid_out(stack: contextlib.ExitStack, array: np.ndarray, folder: Path) -> Path:
    """Write an array to a file of `folder` that is gone when the stack is closed."""
    stream = stack.enter_context(scratch(folder))
    np.save(stream, array, allow_pickle=False)
    stream.flush()
    return Path(stream.name)


class _Work:
    """What a process does: one task after the other, on a cohort that it opens once."""

    def __init__(self, mapped: _Mapped) -> None:
        self._mapped = mapped

    @cached_property
    def _cohort(self) -> Cohort:
        return self._mapped.open()

    def __call__(self, task: Task) -> np.ndarray | None:
        return work(self._cohort, task)


_Finished = queue.SimpleQueue[tuple[int, np.ndarray | None] | BaseException]


def _run_in_processes(
    mapped: _Mapped, tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[int, np.ndarray | None]]:
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    finished: _Finished = queue.SimpleQueue()
    for numbered in enumerate(tasks):
        waiting.put(numbered)
    children = Children(_Work(mapped))
    started: list[Child] = []
    try:
        for _ in range(jobs):
            child = children.start()
            started.append(child)
            threading.Thread(target=_drive, args=(child, waiting, finished), daemon=True).start()
        for _ in tasks:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:  # after an interrupt or an error, nobody waits for tasks in work
        for child in started:
            child.close()
        until = time.monotonic() + GRACE_SECONDS
        for child in started:
            child.wait(until)
        children.close()


def _drive(
    child: Child, waiting: "queue.SimpleQueue[tuple[int, Task]]", finished: _Finished
) -> None:
    """Have a process do one task after the other, until none is left."""
    with contextlib.suppress(queue.Empty, Stopped):
        while True:
            number, task = waiting.get_nowait()
            try:
                finished.put((number, child.do(task)))
            except Stopped:
                raise
            except Died as death:
                finished.put(
                    ItemError(
                        f"{task.name}: its process died ({death})",
                        "memory may be short: use fewer jobs (`jobs`)",
                    )
                )
            except BaseException as error:
                finished.put(error)
