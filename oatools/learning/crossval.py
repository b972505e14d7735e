"""Cross-validation by patient: one model file a fold, trained in a process that is never given the held-out knees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import digest_json
from oatools.core.manifest import MISSING, Row
from oatools.learning import metrics
from oatools.learning.baseline import Baseline, clinical_baseline
from oatools.learning.cohort import Cohort
from oatools.learning.folds import check_patients, inner_split
from oatools.learning.model import predict
from oatools.learning.modelfile import load_model, may_keep, save_model
from oatools.learning.settings import Settings
from oatools.learning.training import fit

PREDICTION_COLUMNS = ["knee", "subject", "visit", "side", "label", "probability", "fold", "predicted", "threshold"]
METRIC_COLUMNS = ["model", "scope", "metric", "value", "ci_low", "ci_high"]
IMAGES, CLINICAL = "images", "clinical only"


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold results, one entry a knee, in the cohort's order; `records`, one a fold; `kept`, how many."""

    fold: np.ndarray
    probability: np.ndarray
    threshold: np.ndarray
    attention: list[np.ndarray]
    records: list[dict[str, Any]]
    kept: int
    baseline: Baseline | None
    leaky: bool = False

    @property
    def predicted(self) -> np.ndarray:
        """The class called (knees,): 1 from the threshold of the knee's fold."""
        return (self.probability >= self.threshold).astype(np.int64)


@dataclass(frozen=True)
class FoldTask:
    """What a worker is given: the training knees of one fold, and where the model goes."""

    data: Cohort
    settings: Settings
    seed: int
    path: Path
    record: dict[str, Any]


def cross_validate(
    data: Cohort, fold: np.ndarray, settings: Settings, seed: int, out_dir: Path, jobs: int = 1, force: bool = False,
    leaky: bool = False, endpoint: str | None = None, note: Callable[[str], None] = lambda _: None,
) -> CrossValidation:  # fmt: skip
    """Train and score every fold (`fold` is 1..k a knee); models go to `out_dir/fold-N.safetensors`, or are kept there.

    Results do not depend on `jobs`. Raises `UsageError` where a patient is in two folds (unless `leaky`), a fold
    cannot be trained, or a model made otherwise is in the way.
    """
    numbers = range(1, int(fold.max()) + 1)
    if not leaky:
        check_patients(data.subject, fold)
    tasks, kept = [], 0
    for number in numbers:
        train = data.take(np.flatnonzero(fold != number))
        inner_split(train.subject, train.label, settings.validation, seed)  # fails before hours of work, not after
        record = model_record(train, settings, seed, endpoint) | {"fold": number}
        path = fold_path(out_dir, number)
        if may_keep(path, record["made_from"], force):
            kept += 1
        else:
            tasks.append((number, path, record))
    _run(data, fold, settings, seed, tasks, jobs, note)
    models = [load_model(fold_path(out_dir, number)) for number in numbers]
    probability, threshold = np.empty(len(data)), np.empty(len(data))
    attention: list[np.ndarray] = [np.empty(0)] * len(data)
    for number, model in zip(numbers, models, strict=True):
        test = np.flatnonzero(fold == number)
        probability[test], weights = predict(model, [data.slices(i) for i in test], data.clinical[test])
        threshold[test] = model.threshold
        for i, row in zip(test, weights, strict=True):
            attention[i] = row
    baseline = clinical_baseline(data, fold, settings, seed) if data.clinical_names else None
    return CrossValidation(fold, probability, threshold, attention, [m.record for m in models], kept, baseline, leaky)


def model_record(train: Cohort, settings: Settings, seed: int, endpoint: str | None) -> dict[str, Any]:
    """What a model's record says beyond its training: endpoint, and the digests by which it is known again."""
    data = train.digest()
    made_from = digest_json([data, settings.as_dict(), seed, endpoint])
    sequences = sorted({row.get("sequence", MISSING) for row in train.rows})
    return {"endpoint": endpoint, "sequences": sequences, "inputs_sha256": data, "made_from": made_from}


def fold_path(out_dir: Path, number: int) -> Path:
    """Where the model of a fold lies."""
    return out_dir / f"fold-{number}.safetensors"


def prediction_rows(data: Cohort, result: CrossValidation) -> list[Row]:
    """One row a knee: label, out-of-fold probability, fold, class called and the threshold of that fold."""
    rows = []
    for i, predicted in enumerate(result.predicted):
        cells = data.rows[i] if data.rows else {}
        values = (data.knee[i], data.subject[i], cells.get("visit", MISSING), cells.get("side", MISSING), data.label[i],
                  f"{result.probability[i]:.6f}", result.fold[i], predicted, f"{result.threshold[i]:.6f}")  # fmt: skip
        rows.append({c: str(v) for c, v in zip(PREDICTION_COLUMNS, values, strict=True)})
    return rows


def metric_rows(
    model: str, data: Cohort, fold: np.ndarray, probability: np.ndarray, threshold: np.ndarray, draws: int, seed: int
) -> list[Row]:
    """Every metric by fold, its mean and SD over folds, and pooled over all knees with a bootstrap interval."""
    predicted = (probability >= threshold).astype(np.int64)
    by_fold = []
    for number in range(1, int(fold.max()) + 1):
        at = fold == number
        by_fold.append(metrics.scores(data.label[at], probability[at], predicted[at]))
    pooled = metrics.scores(data.label, probability, predicted)
    intervals = metrics.bootstrap(data.label, probability, predicted, data.subject, draws, seed)
    rows = [_metric(model, f"fold-{n}", m, s[m]) for n, s in enumerate(by_fold, start=1) for m in metrics.METRICS]
    for scope, function in (("mean", np.mean), ("sd", lambda v: np.std(v, ddof=1))):
        rows += [_metric(model, scope, m, float(function([s[m] for s in by_fold]))) for m in metrics.UNITS]
    return rows + [_metric(model, "pooled", m, pooled[m], intervals.get(m)) for m in metrics.METRICS]


def all_metric_rows(data: Cohort, result: CrossValidation, draws: int, seed: int) -> list[Row]:
    """The metrics of the model and, where there are clinical variables, of these alone."""
    name = f"{IMAGES}+clinical" if data.clinical_names else IMAGES
    rows = metric_rows(name, data, result.fold, result.probability, result.threshold, draws, seed)
    if result.baseline is not None:
        alone = result.baseline
        rows += metric_rows(CLINICAL, data, result.fold, alone.probability, alone.threshold, draws, seed)
    return rows


def headlines(rows: Sequence[Row]) -> list[str]:
    """One line a model: both summaries of both areas, named, with the prevalence."""
    cell = {(r["model"], r["scope"], r["metric"]): r for r in rows}
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        parts = []
        for metric, name in (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC")):
            mean, sd = (_short(cell[model, scope, metric]["value"]) for scope in ("mean", "sd"))
            pooled = cell[model, "pooled", metric]
            low, high = _short(pooled["ci_low"]), _short(pooled["ci_high"])
            parts.append(f"{name} {mean} ± {sd} (mean of folds), {_short(pooled['value'])} [{low}, {high}] (pooled)")
        prevalence = _short(cell[model, "pooled", "prevalence"]["value"])
        lines.append(f"{model}: {'; '.join(parts)}; prevalence {prevalence}")
    return lines


def remove_models(out_dir: Path) -> None:
    """Remove the fold models of an earlier run, which may have had more folds."""
    for path in out_dir.glob("fold-*.safetensors"):
        path.unlink()


def _short(text: str) -> str:
    return text if text == MISSING else f"{float(text):.3f}"


def _metric(model: str, scope: str, name: str, value: float, ci: tuple[float, float] | None = None) -> Row:
    low, high = ci or (np.nan, np.nan)
    cells = (model, scope, name, _text(value), _text(low), _text(high))
    return dict(zip(METRIC_COLUMNS, cells, strict=True))


def _text(value: float) -> str:
    return MISSING if np.isnan(value) else str(value) if isinstance(value, int) else f"{value:.6f}"


def train_fold(task: FoldTask) -> None:
    """Train one fold's model and write it."""
    model = fit(task.data, np.arange(len(task.data)), task.settings, task.seed)
    save_model(task.path, model, **task.record)


def _run(
    data: Cohort, fold: np.ndarray, settings: Settings, seed: int, tasks: Sequence[tuple[int, Path, dict[str, Any]]],
    jobs: int, note: Callable[[str], None],
) -> None:  # fmt: skip
    """Train folds, `jobs` at a time; a process that dies is an `ItemError`, and finished folds stay."""
    waiting = list(tasks)
    running: dict[BaseProcess, int] = {}
    context = get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, path, record = waiting.pop(0)
                task = FoldTask(data.take(np.flatnonzero(fold != number)), settings, seed, path, record)
                if jobs == 1:
                    train_fold(task)
                    note(f"fold {number} trained")
                    continue
                process = context.Process(target=_work, args=(task,), name=f"fold {number}")
                process.start()
                running[process] = number
            ended = connection.wait([p.sentinel for p in running]) if running else []
            for process in [p for p in running if p.sentinel in ended]:
                process.join()
                number = running.pop(process)
                if process.exitcode:
                    raise ItemError(f"fold {number}: its process ended with status {process.exitcode}; "
                                    "memory may be short: use fewer jobs (-j)")  # fmt: skip
                note(f"fold {number} trained")
    finally:
        for process in running:
            process.terminate()
            process.join()


def _work(task: FoldTask) -> None:
    """The body of a worker: the parent decides on interrupts, and standard output is not ours to write to."""
    import os
    import signal
    import sys

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.dup2(2, 1)
    train_fold(task)
