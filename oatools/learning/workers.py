"""Training tasks side by side: in processes that share one copy of the features, or on a GPU."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from oatools.core.errors import ItemError
from oatools.core.files import scratch
from oatools.core.process import GRACE_SECONDS, Child, Children, Died, Stopped
from oatools.learning.cohort import Cohort
from oatools.learning.course import CPU, most_at_once, usable_device
from oatools.learning.files import save_model
from oatools.learning.folds import Split
from oatools.learning.linear import Fitted
from oatools.learning.model import FittedModel, predict
from oatools.learning.settings import Settings
from oatools.learning.training import Fitting, fit, linear_parts, one_thread, train_networks


@dataclass(frozen=True)
class Task:
    """One model to train on the knees of a split.

    Of several `candidates` the one with the lowest validation loss is kept, which no test knee has
    a part in. With a `path` the model is written there with `record` added to its own; without, the
    probabilities of the test knees are what comes back. Where there are `places` (knees,), each
    knee has the outcome of the knee there, and `clinical` False leaves the clinical variables out.
    """

    name: str
    split: Split
    candidates: tuple[Settings, ...]
    seed: int
    path: Path | None = None
    record: dict[str, Any] | None = None
    places: np.ndarray | None = None
    clinical: bool = True

    def of(self, cohort: Cohort) -> Cohort:
        """Return the cohort as the task sees it."""
        if self.places is not None:
            cohort = cohort.with_outcomes_of(self.places)
        return cohort if self.clinical else cohort.without_clinical()

    def finish(self, cohort: Cohort, model: FittedModel) -> np.ndarray | None:
        """Write the model, or return the probabilities of the test knees of its own cohort."""
        if self.path is not None:
            save_model(self.path, model, **(self.record or {}))
            return None
        return predict(model, *cohort.scored(self.split.test))[0]


class Trainer(Protocol):
    """A function that trains one model, such as `training.fit`."""

    def __call__(self, cohort: Cohort, settings: Settings, seed: int, split: Split) -> FittedModel:
        """Train on the knees of a split."""


def run(
    cohort: Cohort, tasks: Sequence[Task], jobs: int, folder: Path, device: str = CPU
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield the number and the result of each task as it ends, `jobs` at a time.

    Results do not depend on `jobs`. The features are mapped from a file that lies in `folder`
    meanwhile. With a `device` that is a GPU, the networks of all are trained there, together, and
    all else by `jobs` processes. Raises the error of a task, an `ItemError` where a process dies,
    or a `UsageError` for a device that cannot be used; what was written by then stays.
    """
    if device == CPU:
        yield from _each(cohort, tasks, jobs, folder, work)
        return
    chosen = usable_device(device)  # before the linear parts, which take longer
    linear = dict(_each(cohort, tasks, jobs, folder, linear_work))
    yield from _run_on_device(cohort, tasks, linear, chosen)


_Do = Callable[[Cohort, Task], Any]


def _each(
    cohort: Cohort, tasks: Sequence[Task], jobs: int, folder: Path, do: _Do
) -> Iterator[tuple[int, Any]]:
    """Do every task, in processes where there are several jobs and tasks."""
    if jobs == 1 or len(tasks) < 2:
        for number, task in enumerate(tasks):
            yield number, do(cohort, task)
        return
    with _mapped(cohort, folder) as mapped:
        yield from _run_in_processes(mapped, tasks, min(jobs, len(tasks)), do)


def work(cohort: Cohort, task: Task) -> np.ndarray | None:
    """Do one task here, on the CPU."""
    own = task.of(cohort)
    return task.finish(own, fit_best(own, task.candidates, task.seed, task.split))


def linear_work(cohort: Cohort, task: Task) -> dict[str, Fitted]:
    """Fit the linear parts of one task, which are the same for all its candidates."""
    with one_thread():
        return linear_parts(task.of(cohort), task.candidates[0], task.split)


def _run_on_device(
    cohort: Cohort,
    tasks: Sequence[Task],
    linear: Mapping[int, dict[str, Fitted]],
    device: torch.device,
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Train the networks of as many tasks together as the device has room for."""
    at_once = most_at_once(cohort.features.nbytes, device)
    for first in range(0, len(tasks), at_once):
        some = range(first, min(first + at_once, len(tasks)))
        models = _fitted_on_device(cohort, {n: tasks[n] for n in some}, linear, device)
        for number, model in models.items():
            task = tasks[number]
            with one_thread():
                yield number, task.finish(task.of(cohort), model)


def _fitted_on_device(
    cohort: Cohort,
    tasks: Mapping[int, Task],
    linear: Mapping[int, dict[str, Fitted]],
    device: torch.device,
) -> dict[int, FittedModel]:
    """Return the best model of each task, by its number, given the linear parts of each."""
    fittings: dict[int, list[Fitting]] = {}
    for number, task in tasks.items():
        own = task.of(cohort)
        for settings in task.candidates:
            begun = Fitting.begin(own, settings, task.seed, task.split, linear[number])
            fittings.setdefault(number, []).append(begun)
    train_networks([each for alike in fittings.values() for each in alike], device)
    models = {}
    with one_thread():
        for number, alike in fittings.items():
            finished = [each.finish() for each in alike]
            models[number] = best_of(finished, tasks[number].candidates)
    return models


def fit_best_on_device(cohort: Cohort, task: Task, device: str) -> FittedModel:
    """Do what `fit_best` does for one task, but train the networks on a device."""
    chosen = usable_device(device)
    linear = {0: linear_work(cohort, task)}
    return _fitted_on_device(cohort, {0: task}, linear, chosen)[0]


def fit_best(
    cohort: Cohort,
    candidates: Sequence[Settings],
    seed: int,
    split: Split,
    train_one: Trainer = fit,
) -> FittedModel:
    """Train every candidate, and return the one with the lowest validation loss."""
    models = [train_one(cohort, settings, seed, split) for settings in candidates]
    return best_of(models, candidates)


def best_of(models: Sequence[FittedModel], candidates: Sequence[Settings]) -> FittedModel:
    """Return the model with the lowest validation loss, whose record lists them all."""
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

    def __init__(self, mapped: _Mapped, do: _Do) -> None:
        self._mapped, self._do = mapped, do

    @cached_property
    def _cohort(self) -> Cohort:
        return self._mapped.open()

    def __call__(self, task: Task) -> Any:
        return self._do(self._cohort, task)


_Finished = queue.SimpleQueue[tuple[int, Any] | BaseException]


def _run_in_processes(
    mapped: _Mapped, tasks: Sequence[Task], jobs: int, do: _Do
) -> Iterator[tuple[int, Any]]:
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    finished: _Finished = queue.SimpleQueue()
    for numbered in enumerate(tasks):
        waiting.put(numbered)
    children = Children(_Work(mapped, do))
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
