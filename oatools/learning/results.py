"""The results of a cross-validation: out-of-fold predictions, and metrics with their intervals.

Numbers stay numbers here; they become text where a row of a table is written (`row`).
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import Caution
from oatools.learning.cohort import Cohort
from oatools.learning.metrics import COMPARED, METRICS, SCORES, bootstrap, interval, scores

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

#: The scopes of a metric, beside `fold-N` and `repeat-N`.
MEAN, SD, POOLED = "mean", "sd", "pooled"
DIFFERENCE, NULL = "difference", "permuted labels"
REPEATS_MEAN, REPEATS_SD = "repeats mean", "repeats sd"


@dataclass(frozen=True)
class Metric:
    """One number about one model, with its 95 % interval where it has one (else NaN).

    Counts of knees are whole numbers, all else is a float, NaN where it is undefined. The `model`
    of a difference is `first - other`.
    """

    model: str
    scope: str
    name: str
    value: float
    low: float = math.nan
    high: float = math.nan

    def row(self) -> Row:
        """Return the cells of metrics.tsv."""
        return {
            "model": self.model,
            "scope": self.scope,
            "metric": self.name,
            "value": _number_text(self.value),
            "ci_low": _number_text(self.low),
            "ci_high": _number_text(self.high),
        }


@dataclass(frozen=True)
class Metrics:
    """All metrics of a cross-validation, in the order of metrics.tsv."""

    items: tuple[Metric, ...]

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __add__(self, other: "Metrics") -> "Metrics":
        return Metrics(self.items + other.items)

    def get(self, model: str, scope: str, name: str) -> Metric:
        """Return one metric; a `KeyError` where there is none."""
        found = self.find(model, scope, name)
        if found is None:
            raise KeyError((model, scope, name))
        return found

    def find(self, model: str, scope: str, name: str) -> Metric | None:
        """Return one metric, or None where there is none."""
        return self._by_key.get((model, scope, name))

    def models(self) -> list[str]:
        """Return the names of the models, the one that was asked for first."""
        return list(dict.fromkeys(metric.model for metric in self.in_scope(POOLED)))

    def scopes(self, model: str) -> list[str]:
        """Return the scopes in which a model was measured, in order."""
        return list(dict.fromkeys(metric.scope for metric in self if metric.model == model))

    def names(self) -> list[str]:
        """Return the names of the metrics of a model, in order."""
        return list(dict.fromkeys(metric.name for metric in self.in_scope(POOLED)))

    def in_scope(self, scope: str, name: str | None = None) -> list[Metric]:
        """Return the metrics of a scope, of all models; only those called `name` if it is given."""
        found = [metric for metric in self if metric.scope == scope]
        if name is None:
            return found
        return [metric for metric in found if metric.name == name]

    def differences(self, name: str | None = None) -> list[Metric]:
        """Return the differences of the first model from each other one, pooled."""
        return self.in_scope(DIFFERENCE, name)

    def rows(self) -> list[Row]:
        """Return the rows of metrics.tsv."""
        return [metric.row() for metric in self]

    @functools.cached_property
    def _by_key(self) -> dict[tuple[str, str, str], Metric]:
        return {(metric.model, metric.scope, metric.name): metric for metric in self}


@dataclass(frozen=True)
class Prediction:
    """The out-of-fold result of one knee, from the model of the fold that it was tested in."""

    knee: str
    subject: str
    visit: str
    side: str
    label: int
    probability: float
    fold: int
    predicted: int
    threshold: float

    def row(self) -> Row:
        """Return the cells of predictions.tsv."""
        return {
            "knee": self.knee,
            "subject": self.subject,
            "visit": self.visit,
            "side": self.side,
            "label": str(self.label),
            "probability": f"{self.probability:.6f}",
            "fold": str(self.fold),
            "predicted": str(self.predicted),
            "threshold": f"{self.threshold:.6f}",
        }


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold results (knees,) of one model; NaN for knees that are in no test fold."""

    probability: np.ndarray
    threshold: np.ndarray

    @classmethod
    def empty(cls, knees: int) -> "OutOfFold":
        """Return results to fill in, NaN so far."""
        return cls(np.full(knees, np.nan), np.full(knees, np.nan))

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class (knees,): 1 from the threshold of the knee's fold."""
        return (self.probability >= self.threshold).astype(np.int64)


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold results, one entry a knee, in the order of `cohort`.

    `fold` is 0 for knees that are trained on only. `models` has the model that was asked for first
    and the baselines after it. `attention` (slices,) a knee and `records`, one a fold, are those of
    the first model. `trained` and `kept` count all models. `null` (permutations,) holds ROC AUCs
    with permuted labels.
    """

    cohort: Cohort
    fold: np.ndarray
    models: dict[str, OutOfFold]
    attention: list[np.ndarray]
    records: list[dict[str, Any]]
    trained: int
    kept: int
    leaky: bool = False
    null: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def name(self) -> str:
        """The name of the model that was asked for."""
        return next(iter(self.models))

    @property
    def first(self) -> OutOfFold:
        """The results of the model that was asked for."""
        return self.models[self.name]

    @property
    def tested(self) -> np.ndarray:
        """True for each knee that was in a test fold (knees,)."""
        return self.fold > 0

    @property
    def folds(self) -> int:
        """The number of test folds."""
        return int(self.fold.max())

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """The reasons why the results say nothing about patients, or are too good."""
        if self.leaky:
            return (*self.cohort.cautions, Caution.LEAKY_SPLIT)
        return self.cohort.cautions

    def predictions(self, name: str | None = None) -> list[Prediction]:
        """Return one prediction a tested knee, of a model; of the first by default."""
        cohort, scored = self.cohort, self.models[name or self.name]
        found = []
        for i in np.flatnonzero(self.tested):
            cells = cohort.rows[i] if cohort.rows else {}
            prediction = Prediction(
                knee=cohort.knee[i],
                subject=cohort.subject[i],
                visit=cells.get("visit", MISSING),
                side=cells.get("side", MISSING),
                label=int(cohort.label[i]),
                probability=float(scored.probability[i]),
                fold=int(self.fold[i]),
                predicted=int(scored.predicted[i]),
                threshold=float(scored.threshold[i]),
            )
            found.append(prediction)
        return found

    def metrics(self, draws: int = 1000, seed: int = 0) -> Metrics:
        """Measure every model: in each fold, their mean and SD, and pooled with 95 % intervals.

        Then come the differences of the first model from each other one, pooled, with intervals of
        the same `draws` of patients (bootstrap); and where labels were permuted, the mean and the
        middle 95 % of the null distribution, and the share of it that reaches the model (`p`).
        """
        at = self.tested
        label = self.cohort.label[at]
        subjects = np.asarray(self.cohort.subject)[at]
        tested = {}
        for name, found in self.models.items():
            tested[name] = (found.probability[at], found.predicted[at])
        drawn = bootstrap(label, tested, subjects.tolist(), draws, seed)
        items: list[Metric] = []
        for name in self.models:
            items += _over_folds(name, self._scores_by_fold(name))
            items += _pooled(name, self.pooled(name), drawn[name])
        for name in list(self.models)[1:]:
            items += self._differences(name, drawn)
        if len(self.null):
            items += self._null()
        return Metrics(tuple(items))

    def pooled(self, name: str | None = None) -> dict[str, float]:
        """Return the metrics of a model over all tested knees; of the first by default."""
        return self._scores(name or self.name, self.tested)

    def _scores(self, name: str, at: np.ndarray) -> dict[str, float]:
        found = self.models[name]
        return scores(self.cohort.label[at], found.probability[at], found.predicted[at])

    def _scores_by_fold(self, name: str) -> list[dict[str, float]]:
        return [self._scores(name, self.fold == number) for number in range(1, self.folds + 1)]

    def _differences(self, name: str, drawn: dict[str, np.ndarray]) -> list[Metric]:
        first, other = self.pooled(), self.pooled(name)
        found = []
        for metric in COMPARED:
            column = SCORES.index(metric)
            low, high = interval(drawn[self.name][:, column] - drawn[name][:, column])
            value = first[metric] - other[metric]
            model = f"{self.name} - {name}"
            found.append(Metric(model, DIFFERENCE, metric, value, low=low, high=high))
        return found

    def _null(self) -> list[Metric]:
        reached = int((self.null >= self.pooled()["roc_auc"]).sum())
        low, high = interval(self.null)
        mean = float(self.null.mean())
        # The model itself counts as one of its permutations, so that p is never 0.
        p = (1 + reached) / (1 + len(self.null))
        return [
            Metric(self.name, NULL, "roc_auc", mean, low=low, high=high),
            Metric(self.name, NULL, "p", p),
        ]


def repeat_metrics(name: str, repeats: Sequence[dict[str, float]]) -> Metrics:
    """Return the pooled metrics of every repeat, and their mean and SD over the repeats."""
    items = _one_by_one(name, "repeat", repeats, SCORES)
    items += _summaries(name, {REPEATS_MEAN: _mean, REPEATS_SD: _sd}, repeats)
    return Metrics(tuple(items))


def headlines(metrics: Metrics) -> list[str]:
    """Return one line a model, with mean and pooled areas and the prevalence.

    Then lines on the differences, the repeats and the null distribution, where there are any.
    """
    lines = [_headline(metrics, model) for model in metrics.models()]
    for metric in metrics.differences("roc_auc"):
        lines.append(f"{metric.model}: ROC AUC {_with_interval(metric, sign='+')}")
    for metric in metrics.in_scope(REPEATS_MEAN, "roc_auc"):
        sd = _short(metrics.get(metric.model, REPEATS_SD, metric.name).value)
        mean = _short(metric.value)
        lines.append(f"{metric.model}: ROC AUC {mean} ± {sd} (pooled, mean ± SD of repeats)")
    for metric in metrics.in_scope(NULL, "roc_auc"):
        p = _short(metrics.get(metric.model, NULL, "p").value)
        area = _with_interval(metric)
        lines.append(f"{metric.model}: ROC AUC {area} with permuted labels, p {p}")
    return lines


def _headline(metrics: Metrics, model: str) -> str:
    parts = []
    for name, shown in (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC")):
        mean = _short(metrics.get(model, MEAN, name).value)
        sd = _short(metrics.get(model, SD, name).value)
        pooled = _with_interval(metrics.get(model, POOLED, name))
        parts.append(f"{shown} {mean} ± {sd} (mean of folds), {pooled} (pooled)")
    prevalence = _short(metrics.get(model, POOLED, "prevalence").value)
    return f"{model}: {'; '.join(parts)}; prevalence {prevalence}"


def _over_folds(model: str, by_fold: Sequence[dict[str, float]]) -> list[Metric]:
    found = _one_by_one(model, "fold", by_fold, METRICS)
    return found + _summaries(model, {MEAN: _mean, SD: _sd}, by_fold)


def _one_by_one(
    model: str, what: str, scored: Sequence[dict[str, float]], names: Sequence[str]
) -> list[Metric]:
    found = []
    for number, values in enumerate(scored, start=1):
        found += [Metric(model, f"{what}-{number}", name, values[name]) for name in names]
    return found


def _summaries(
    model: str,
    summaries: dict[str, Callable[[Sequence[float]], float]],
    scored: Sequence[dict[str, float]],
) -> list[Metric]:
    found = []
    for scope, summary in summaries.items():
        for name in SCORES:
            values = [each[name] for each in scored]
            found.append(Metric(model, scope, name, summary(values)))
    return found


def _pooled(model: str, values: dict[str, float], drawn: np.ndarray) -> list[Metric]:
    """Return a model's pooled metrics; `drawn` is (draws, scores), and counts have no interval."""
    found = []
    for name in METRICS:
        low, high = math.nan, math.nan
        if name in SCORES:
            low, high = interval(drawn[:, SCORES.index(name)])
        found.append(Metric(model, POOLED, name, values[name], low=low, high=high))
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _short(value: float, sign: str = "") -> str:
    return MISSING if math.isnan(value) else f"{value:{sign}.3f}"


def _with_interval(metric: Metric, sign: str = "") -> str:
    value, low, high = (_short(v, sign) for v in (metric.value, metric.low, metric.high))
    return f"{value} [{low}, {high}]"


def _number_text(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return str(value) if isinstance(value, int) else f"{value:.6f}"
