"""Cross-validation by patient: one model file a fold, each beside what is known without it."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.files import digest_json
from oatools.core.manifest import MISSING, Row, write_table
from oatools.learning import metrics, workers
from oatools.learning.baseline import baselines
from oatools.learning.cohort import Cohort
from oatools.learning.files import is_done, load_model
from oatools.learning.folds import (
    Division,
    assign_folds,
    check_patients,
    describe,
    inner_split,
    write_folds,
)
from oatools.learning.model import predict
from oatools.learning.settings import Settings
from oatools.learning.workers import Task

PREDICTION_COLUMNS = [
    "knee",
    "subject",
    "visit",
    "side",
    "label",
    "probability",
    "fold",
    "predicted",
    "threshold",
]
METRIC_COLUMNS = ["model", "scope", "metric", "value", "ci_low", "ci_high"]
IMAGES, BOTH = "images", "images+clinical"


@dataclass(frozen=True)
class Plan:
    """How every model is trained. `candidates` are the settings to choose from in each fold, mostly one."""

    candidates: tuple[Settings, ...]
    seed: int
    endpoint: str | None = None
    leaky: bool = False
    compare: bool = True
    jobs: int = 1
    force: bool = False

    @property
    def settings(self) -> Settings:
        """What all candidates agree on: slices, validation, threshold rule."""
        return self.candidates[0]


@dataclass(frozen=True)
class Scored:
    """Out-of-fold results (knees,) of one model; NaN for knees that are in no test fold."""

    probability: np.ndarray
    threshold: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The class called (knees,): 1 from the threshold of the knee's fold."""
        return (self.probability >= self.threshold).astype(np.int64)


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold results, one entry a knee, in the cohort's order.

    `models` by name, the one that was asked for first and what it is held against after it;
    `attention` of the first; `records` of its files, one a fold; `kept`, how many of all models
    were there already. Fold 0 is trained on only.
    """

    fold: np.ndarray
    models: dict[str, Scored]
    attention: list[np.ndarray]
    records: list[dict[str, Any]]
    trained: int
    kept: int
    leaky: bool = False
    null: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def name(self) -> str:
        """Of the model that was asked for."""
        return next(iter(self.models))

    @property
    def first(self) -> Scored:
        """The results of the model that was asked for."""
        return self.models[self.name]

    @property
    def tested(self) -> np.ndarray:
        """Where a knee was in a test fold (knees,)."""
        return self.fold > 0


def candidates(settings: Settings, tune: Sequence[tuple[str, tuple]]) -> tuple[Settings, ...]:
    """Every combination of the values to try, `settings` where nothing is to be tried."""
    names = [name for name, _ in tune]
    if len(set(names)) < len(names):
        raise UsageError(
            "a setting is to be tuned twice; give its values in one --tune, separated by commas"
        )
    choices = itertools.product(*(values for _, values in tune))
    return tuple(replace(settings, **dict(zip(names, values, strict=True))) for values in choices)


def validate(
    data: Cohort,
    division: Division,
    plan: Plan,
    out_dir: Path,
    note: Callable[[str], None],
    detail: Callable[[str], None],
) -> CrossValidation:
    """Divide the knees, write `out_dir/folds.tsv` before any training, say what is in each fold, and cross-validate."""
    fold = division.of(data.knee, data.subject, data.label, data.rows, plan.seed)
    write_folds(out_dir / "folds.tsv", data.knee, data.subject, fold, plan.force)
    for line in describe(data.subject, data.label, fold):
        note(line)
    if plan.force:
        remove_models(out_dir)
    return cross_validate(data, fold, plan, out_dir, detail)


def repeat(
    data: Cohort,
    division: Division,
    plan: Plan,
    out_dir: Path,
    first: CrossValidation,
    repeats: int,
    note: Callable[[str], None],
    detail: Callable[[str], None],
) -> list[Row]:
    """Cross-validate `repeats` - 1 times more, with the following seeds, in `out_dir/repeat-N`; rows of metrics."""
    pooled = [pooled_scores(data, first)]
    for number in range(2, repeats + 1):
        folder = out_dir / f"repeat-{number}"
        again = validate(
            data,
            division,
            replace(plan, seed=plan.seed + number - 1, compare=False),
            folder,
            note,
            detail,
        )
        write_table(folder / "predictions.tsv", PREDICTION_COLUMNS, prediction_rows(data, again))
        pooled.append(pooled_scores(data, again))
    return repeat_rows(first.name, pooled)


def cross_validate(
    data: Cohort,
    fold: np.ndarray,
    plan: Plan,
    out_dir: Path,
    note: Callable[[str], None] = lambda _: None,
) -> CrossValidation:
    """Train and score every fold; models go to `out_dir/fold-N.safetensors`, or are kept there.

    `fold` is 1..k a knee, and 0 for a knee that is only trained on. With clinical variables, the
    same model without them is trained beside (`out_dir/images/`). Raises `UsageError` where a
    patient is in two folds (unless `leaky`), a fold cannot be trained, or a model made otherwise is
    in the way.
    """
    if not plan.leaky:
        check_patients(data.subject, fold)
    sets = {BOTH if data.clinical_names else IMAGES: (data, out_dir)}
    if data.clinical_names and plan.compare:
        sets[IMAGES] = (workers.without_clinical(data), out_dir / "images")
    numbers = range(1, int(fold.max()) + 1)
    tasks, kept = [], 0
    for name, (knees, folder) in sets.items():
        for number in numbers:
            train = np.flatnonzero(fold != number)
            # Fails before hours of work, not after.
            inner_split(
                [data.subject[i] for i in train],
                data.label[train],
                plan.settings.validation,
                plan.seed,
            )
            record = model_record(knees, train, plan.candidates, plan.seed, plan.endpoint) | {
                "fold": number
            }
            path = fold_path(folder, number)
            if is_done(path, record["made_from"], plan.force):
                kept += 1
            else:
                tasks.append(
                    Task(
                        f"fold {number}, {name}",
                        train,
                        plan.candidates,
                        plan.seed,
                        path,
                        record,
                        clinical=knees is data,
                    )
                )
    for done, _ in workers.run(data, tasks, plan.jobs, out_dir):
        note(f"{tasks[done].name} trained")
    models, attention, records = {}, [], []
    for name, (knees, folder) in sets.items():
        models[name], looked, said = _score(knees, fold, folder)
        attention, records = attention or looked, records or said
    if plan.compare:
        for name, found in baselines(data, fold, plan.settings, plan.seed).items():
            models[name] = Scored(found.probability, found.threshold)
    return CrossValidation(fold, models, attention, records, len(tasks), kept, plan.leaky)


def _score(
    data: Cohort, fold: np.ndarray, folder: Path
) -> tuple[Scored, list[np.ndarray], list[dict[str, Any]]]:
    probability, threshold = np.full(len(data), np.nan), np.full(len(data), np.nan)
    attention: list[np.ndarray] = [np.empty(0)] * len(data)
    records = []
    for number in range(1, int(fold.max()) + 1):
        model, test = load_model(fold_path(folder, number)), np.flatnonzero(fold == number)
        probability[test], weights = predict(model, *data.scored(test))
        threshold[test] = model.threshold
        for i, row in zip(test, weights, strict=True):
            attention[i] = row
        records.append(model.record)
    return Scored(probability, threshold), attention, records


def null_distribution(
    data: Cohort,
    fold: np.ndarray,
    plan: Plan,
    out_dir: Path,
    permutations: int,
    own_folds: bool,
    note: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """The pooled ROC AUC (permutations,) of the whole procedure where labels tell nothing.

    Labels are permuted between patients who have as many knees, so that knees of a patient stay as
    alike as they were. Folds are made anew for the permuted labels, unless they were given
    (`own_folds` False).
    """
    tasks: list[Task] = []
    splits, labels = [], []
    for number in range(permutations):
        label = permuted(data.subject, data.label, np.random.default_rng([plan.seed, number]))
        split = assign_folds(data.subject, label, int(fold.max()), plan.seed) if own_folds else fold
        splits.append(split)
        labels.append(label)
        tasks += [
            Task(
                f"permutation {number + 1}, fold {k}",
                np.flatnonzero(split != k),
                plan.candidates,
                plan.seed,
                test=np.flatnonzero(split == k),
                label=label,
            )
            for k in range(1, int(split.max()) + 1)
        ]
    folds = int(fold.max())
    probability = np.full((permutations, len(data)), np.nan)
    for ended, (number, result) in enumerate(workers.run(data, tasks, plan.jobs, out_dir), start=1):
        probability[number // folds, tasks[number].test] = result
        if ended % folds == 0:
            note(f"{ended // folds} of {permutations} permutations")
    return np.array(
        [
            metrics.roc_auc(label[split > 0], p[split > 0])
            for label, split, p in zip(labels, splits, probability, strict=True)
        ]
    )


def permuted(subjects: Sequence[str], label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Labels (knees,) handed over between patients who have as many knees, all of a patient's together."""
    patients, member = np.unique(np.asarray(subjects), return_inverse=True)
    knees = [np.flatnonzero(member == i) for i in range(len(patients))]
    counts = np.array([len(k) for k in knees])
    out = label.copy()
    for count in np.unique(counts):
        alike = np.flatnonzero(counts == count)
        for to, source in zip(alike, random.permutation(alike), strict=True):
            out[knees[to]] = label[knees[source]]
    return out


def model_record(
    data: Cohort, train: np.ndarray, candidates: Sequence[Settings], seed: int, endpoint: str | None
) -> dict[str, Any]:
    """What a model's record says beyond its training: endpoint, and the digests by which it is known again."""
    inputs = data.digest(train)
    made_from = digest_json([inputs, [s.as_dict() for s in candidates], seed, endpoint])
    found = {data.rows[i].get("sequence", MISSING) for i in train} if data.rows else set()
    sequences = list(data.joined) or sorted(found)
    return {
        "endpoint": endpoint,
        "sequences": sequences,
        "inputs_sha256": inputs,
        "made_from": made_from,
    }


def fold_path(out_dir: Path, number: int) -> Path:
    """Where the model of a fold lies."""
    return out_dir / f"fold-{number}.safetensors"


def prediction_rows(data: Cohort, result: CrossValidation) -> list[Row]:
    """One row a tested knee: label, out-of-fold probability, fold, class called and the threshold of that fold."""
    rows, scored = [], result.first
    for i in np.flatnonzero(result.tested):
        cells = data.rows[i] if data.rows else {}
        values = (
            data.knee[i],
            data.subject[i],
            cells.get("visit", MISSING),
            cells.get("side", MISSING),
            data.label[i],
            f"{scored.probability[i]:.6f}",
            result.fold[i],
            scored.predicted[i],
            f"{scored.threshold[i]:.6f}",
        )
        rows.append({c: str(v) for c, v in zip(PREDICTION_COLUMNS, values, strict=True)})
    return rows


def metric_rows(data: Cohort, result: CrossValidation, draws: int, seed: int) -> list[Row]:
    """Every metric of every model by fold, its mean and SD over folds, and pooled with a bootstrap interval.

    Then the differences of the first model from each other one, pooled, with intervals of the same
    draws; and where labels were permuted, the mean and the middle 95 % of the null, and the share
    of it that reaches the model (p).
    """
    at = result.tested
    label, fold = data.label[at], result.fold[at]
    models = {name: (s.probability[at], s.predicted[at]) for name, s in result.models.items()}
    drawn = metrics.bootstrap(
        label, models, [data.subject[i] for i in np.flatnonzero(at)], draws, seed
    )
    rows, pooled = [], {}
    for name, (probability, predicted) in models.items():
        by_fold = [
            metrics.scores(label[fold == n], probability[fold == n], predicted[fold == n])
            for n in range(1, int(fold.max()) + 1)
        ]
        rows += [
            _metric(name, f"fold-{n}", m, s[m])
            for n, s in enumerate(by_fold, start=1)
            for m in metrics.METRICS
        ]
        for scope, function in (("mean", np.mean), ("sd", _sd)):
            rows += [
                _metric(name, scope, m, float(function([s[m] for s in by_fold])))
                for m in metrics.SCORES
            ]
        pooled[name] = metrics.scores(label, probability, predicted)
        intervals = {
            m: metrics.interval(column)
            for m, column in zip(metrics.SCORES, drawn[name].T, strict=True)
        }
        rows += [
            _metric(name, "pooled", m, pooled[name][m], intervals.get(m)) for m in metrics.METRICS
        ]
    first = result.name
    for name in list(models)[1:]:
        for m in metrics.COMPARED:
            column = metrics.SCORES.index(m)
            apart = metrics.interval(drawn[first][:, column] - drawn[name][:, column])
            rows.append(
                _metric(
                    f"{first} - {name}", "difference", m, pooled[first][m] - pooled[name][m], apart
                )
            )
    if len(result.null):
        reached = (1 + int((result.null >= pooled[first]["roc_auc"]).sum())) / (
            1 + len(result.null)
        )
        middle = metrics.interval(result.null)
        rows += [
            _metric(first, "permuted labels", "roc_auc", float(result.null.mean()), middle),
            _metric(first, "permuted labels", "p", reached),
        ]
    return rows


def pooled_scores(data: Cohort, result: CrossValidation) -> dict[str, float]:
    """The metrics of the first model over all tested knees."""
    at, scored = result.tested, result.first
    return metrics.scores(data.label[at], scored.probability[at], scored.predicted[at])


def repeat_rows(name: str, repeats: Sequence[dict[str, float]]) -> list[Row]:
    """The pooled metrics of every repeat, and their mean and SD over the repeats."""
    rows = [
        _metric(name, f"repeat-{n}", m, s[m])
        for n, s in enumerate(repeats, start=1)
        for m in metrics.SCORES
    ]
    for scope, function in (("repeats mean", np.mean), ("repeats sd", _sd)):
        rows += [
            _metric(name, scope, m, float(function([s[m] for s in repeats])))
            for m in metrics.SCORES
        ]
    return rows


def headlines(rows: Sequence[Row]) -> list[str]:
    """One line a model: both summaries of both areas, named, with the prevalence; then the differences, the null."""
    cell = {(r["model"], r["scope"], r["metric"]): r for r in rows}
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows if r["scope"] == "pooled"):
        parts = []
        for metric, name in (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC")):
            mean, sd = (_short(cell[model, scope, metric]["value"]) for scope in ("mean", "sd"))
            parts.append(
                f"{name} {mean} ± {sd} (mean of folds), {_with_interval(cell[model, 'pooled', metric])} "
                "(pooled)"
            )
        prevalence = _short(cell[model, "pooled", "prevalence"]["value"])
        lines.append(f"{model}: {'; '.join(parts)}; prevalence {prevalence}")
    lines += [
        f"{r['model']}: ROC AUC {_with_interval(r, '+')}"
        for r in rows
        if r["scope"] == "difference" and r["metric"] == "roc_auc"
    ]
    for (model, scope, metric), row in cell.items():
        if scope == "repeats mean" and metric == "roc_auc":
            spread = _short(cell[model, "repeats sd", metric]["value"])
            lines.append(
                f"{model}: ROC AUC {_short(row['value'])} ± {spread} (pooled, mean ± SD of repeats)"
            )
        if scope == "permuted labels" and metric == "roc_auc":
            lines.append(
                f"{model}: ROC AUC {_with_interval(row)} with permuted labels, "
                f"p {_short(cell[model, scope, 'p']['value'])}"
            )
    return lines


def remove_models(out_dir: Path) -> None:
    """Remove the fold models of an earlier run, which may have had more folds."""
    for path in [*out_dir.glob("fold-*.safetensors"), *out_dir.glob("images/fold-*.safetensors")]:
        path.unlink()


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _short(text: str, sign: str = "") -> str:
    return text if text == MISSING else f"{float(text):{sign}.3f}"


def _with_interval(row: Row, sign: str = "") -> str:
    return f"{_short(row['value'], sign)} [{_short(row['ci_low'], sign)}, {_short(row['ci_high'], sign)}]"


def _metric(
    model: str, scope: str, name: str, value: float, ci: tuple[float, float] | None = None
) -> Row:
    low, high = ci or (np.nan, np.nan)
    cells = (model, scope, name, _text(value), _text(low), _text(high))
    return dict(zip(METRIC_COLUMNS, cells, strict=True))


def _text(value: float) -> str:
    return MISSING if np.isnan(value) else str(value) if isinstance(value, int) else f"{value:.6f}"
