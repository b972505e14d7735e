"""Training tasks side by side, in processes that share one copy of the features."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import scratch
from oatools.learning.cohort import Cohort
from oatools.learning.files import save_model
from oatools.learning.model import FittedModel, predict
from oatools.learning.settings import Settings
from oatools.learning.training import fit


@dataclass(frozen=True)
class Task:
    """One model to train on the knees at `train`.

    Of several `candidates` the one with the lowest validation loss is kept, which no test knee has
    a part in. With a `path` the model is written there; without, the probabilities of the knees at
    `test` are what comes back. `label` replaces the cohort's, and `clinical` False leaves the
    clinical variables out.
    """

    name: str
    train: np.ndarray
    candidates: tuple[Settings, ...]
    seed: int
    path: Path | None = None
    record: dict[str, Any] | None = None
    test: np.ndarray | None = None
    label: np.ndarray | None = None
    clinical: bool = True


def run(
    data: Cohort, tasks: Sequence[Task], jobs: int, folder: Path
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yield each task's number and result as it ends, `jobs` at a time; results do not depend on `jobs`.

    The features are mapped from a file that lies in `folder` meanwhile. Raises the `UsageError` of
    a task, or an `ItemError` where a process dies; what was written by then stays.
    """
    if jobs == 1 or len(tasks) < 2:
        for number, task in enumerate(tasks):
            yield number, work(data, task)
        return
    with _mapped(data, folder) as (rest, paths):
        yield from _served(rest, paths, tasks, min(jobs, len(tasks)))


def work(data: Cohort, task: Task) -> np.ndarray | None:
    """Do one task here."""
    if task.label is not None:
        data = replace(data, label=task.label)
    if not task.clinical:
        data = without_clinical(data)
    model = fit_best(data, task.train, task.candidates, task.seed)
    if task.path is not None:
        save_model(task.path, model, **(task.record or {}))
        return None
    test = np.arange(0) if task.test is None else task.test
    return predict(model, *data.scored(test))[0]


def fit_best(
    data: Cohort,
    train: np.ndarray,
    candidates: Sequence[Settings],
    seed: int,
    train_one: Callable[..., Any] = fit,
) -> FittedModel:
    """The candidate with the lowest validation loss; its record lists them all. `train_one` is called as `fit`."""
    best, tried = None, []
    for settings in candidates:
        model = train_one(data, train, settings, seed)
        tried.append(
            {"settings": settings.as_dict(), "validation_loss": model.record["validation_loss"]}
        )
        if best is None or model.record["validation_loss"] < best.record["validation_loss"]:
            best = model
    if best is None:
        raise ValueError("no candidates")
    return best if len(tried) == 1 else replace(best, record=best.record | {"tried": tried})


def without_clinical(data: Cohort) -> Cohort:
    """The same knees with their images alone."""
    return replace(data, clinical=np.zeros((len(data), 0)), clinical_names=())


@contextlib.contextmanager
def _mapped(data: Cohort, folder: Path) -> Iterator[tuple[Cohort, dict[str, Path]]]:
    """The cohort without its large arrays, and the files that hold these."""
    large = {"features": data.features} | ({} if data.varied is None else {"varied": data.varied})
    with contextlib.ExitStack() as stack:
        paths = {}
        for name, array in large.items():
            paths[name] = stack.enter_context(scratch(folder / f"{name}.npy"))
            np.save(paths[name], array, allow_pickle=False)
        yield replace(data, **{name: array[:0] for name, array in large.items()}), paths


def _served(
    rest: Cohort, paths: dict[str, Path], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[int, np.ndarray | None]]:
    context = get_context("spawn")
    waiting = list(enumerate(tasks))
    processes: dict[Connection, BaseProcess] = {}
    busy: dict[Connection, tuple[int, Task]] = {}
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rest, paths))
            process.start()
            theirs.close()  # so that the pipe ends when the process does
            processes[ours] = process
            busy[ours] = waiting.pop(0)
            ours.send(busy[ours][1])
        while busy:
            for ready in connection.wait(list(busy)):
                number, task = busy.pop(ready)  # type: ignore[index]
                try:
                    result = ready.recv()  # type: ignore[union-attr]
                except (EOFError, ConnectionResetError):
                    processes[ready].join()  # type: ignore[index]
                    raise ItemError(
                        f"{task.name}: its process ended with status {processes[ready].exitcode}; "  # type: ignore[index]
                        "memory may be short: use fewer jobs (-j)"
                    ) from None
                if isinstance(result, UsageError):
                    raise result
                if waiting:
                    busy[ready] = waiting.pop(0)  # type: ignore[index]
                    ready.send(busy[ready][1])  # type: ignore[index,union-attr]
                yield number, result
    finally:
        for process in processes.values():
            process.terminate()
            process.join()


def _serve(tasks: Connection, rest: Cohort, paths: dict[str, Path]) -> None:
    """The body of a worker: the parent decides on interrupts, and standard output is not ours to write to."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.dup2(2, 1)
    # Mapped so that what is written stays here: nothing is, but PyTorch warns of arrays that cannot
    # be written.
    data = replace(rest, **{name: np.load(path, mmap_mode="c") for name, path in paths.items()})
    with contextlib.suppress(EOFError):
        while True:
            task = tasks.recv()
            try:
                tasks.send(work(data, task))
            except UsageError as error:
                tasks.send(error)
