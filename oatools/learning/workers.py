"""Training tasks side by side, in processes that share one copy of the features."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import active_children, connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import scratch
from oatools.learning.cohort import Cohort
from oatools.learning.files import save_model
from oatools.learning.folds import Split
from oatools.learning.model import FittedModel, predict
from oatools.learning.settings import Settings
from oatools.learning.training import fit

#: The exit status of a process that was told to end.
_TOLD_TO_END = 128 + signal.SIGTERM


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
        features = stack.enter_context(scratch(folder / "features.npy"))
        np.save(features, cohort.features, allow_pickle=False)
        augmented = None
        if cohort.augmented is not None:
            augmented = stack.enter_context(scratch(folder / "augmented.npy"))
            np.save(augmented, cohort.augmented, allow_pickle=False)
        rest = replace(cohort, features=cohort.features[:0], augmented=None)
        yield _Mapped(rest, features, augmented)


def _run_in_processes(
    mapped: _Mapped, tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[int, np.ndarray | None]]:
    others = set(active_children())
    executor = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(mapped,)
    )
    processes: set[BaseProcess] = set()
    waiting: dict[Future[np.ndarray | None], int] = {}
    try:
        for number, task in enumerate(tasks):
            waiting[executor.submit(_work, task)] = number
        processes = set(active_children()) - others
        for done in as_completed(list(waiting)):
            result = done.result()
            yield waiting.pop(done), result
    except BrokenProcessPool:
        # Tasks begin in order, so the process that died had one of the first that are left.
        begun = [tasks[number].name for number in list(waiting.values())[:jobs]]
        raise _death(begun, processes) from None
    finally:
        if waiting:  # an interrupt or an error: nobody waits for tasks in work
            for process in set(active_children()) - others:
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _death(begun: Sequence[str], processes: set[BaseProcess]) -> ItemError:
    """The error that names the tasks in work, and the status of the process that died."""
    statuses = set()
    for process in processes:
        process.join()
        if process.exitcode not in (0, -signal.SIGTERM, _TOLD_TO_END):
            statuses.add(str(process.exitcode))
    names = " or ".join(dict.fromkeys(begun))
    status = " and ".join(sorted(statuses)) or "unknown"
    return ItemError(
        f"{names}: its process ended with status {status}",
        "memory may be short: use fewer jobs (`jobs`)",
    )


_cohort: Cohort | None = None


def _begin(mapped: _Mapped) -> None:
    """Prepare a process.

    The parent decides on interrupts, and standard output carries the table of the command.
    """
    global _cohort
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TOLD_TO_END))
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _cohort = mapped.open()


def _end_with_parent() -> None:
    """End this process when its parent is killed, which leaves an executor's processes waiting."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> np.ndarray | None:
    if _cohort is None:
        raise RuntimeError("the process was not prepared")
    try:
        return work(_cohort, task)
    except SystemExit:
        # Told to end: temporary files are gone. The executor would take this for a result.
        os._exit(_TOLD_TO_END)
