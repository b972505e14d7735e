"""The results of a cross-validation: out-of-fold predictions, and metrics with their intervals.

Numbers stay numbers here; they become text where a row of a table is written (`row`).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import CAUTION_COLUMN, Caution
from oatools.learning.cohort import Cohort
from oatools.learning.followup import EVENT, FROM, TIME, TO
from oatools.learning.intervals import Estimate, Fold, estimate_area
from oatools.learning.metrics import CLASSED, METRICS, SCORES, mean_area, scores

IDENTITY_COLUMNS = ["knee", "subject", "visit", "side"]
PREDICTION_COLUMNS = [
    *IDENTITY_COLUMNS,
    "label",
    "probability",
    "fold",
    "predicted",
    "threshold",
    CAUTION_COLUMN,
]
METRIC_COLUMNS = ["model", "scope", "metric", "value", "ci_low", "ci_high", CAUTION_COLUMN]

#: Of a probability in a table.
DIGITS = 9
#: The scopes of a metric, beside `fold-N` and `repeat-N`.
MEAN, SD, POOLED = "mean", "sd", "pooled"
DIFFERENCE, NULL = "difference", "permuted labels"
REPEATS_SD = "repeats sd"
#: What a model is judged by first: of two classes, and where knees are followed.
ROC_AUC, UNO_C = "roc_auc", "uno_c"
#: What permuted outcomes are judged by where knees are followed.
CONCORDANCE, FIRST_RUN = "concordance", "first_run"
#: What columns of risks begin with.
RISK = "risk_"
_SHOWN = {ROC_AUC: "ROC AUC", UNO_C: "Uno's C", CONCORDANCE: "concordance"}


def risk_column(months: float) -> str:
    """Return the column of the risk within so many months: `risk_12m`."""
    return f"{RISK}{month_text(months)}"


def at_time(metric: str, months: float) -> str:
    """Return the name of a metric at so many months: `auc_12m`."""
    return f"{metric}_{month_text(months)}"


def month_text(months: float) -> str:
    """Return months as visits are written: `06m`, `12m`."""
    return f"{months:02g}m"


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

    @property
    def main(self) -> str:
        """The name of the metric that models are judged by first."""
        return UNO_C if any(metric.name == UNO_C for metric in self) else ROC_AUC

    def differences(self, name: str | None = None) -> list[Metric]:
        """Return the mean differences of the first model from each other one."""
        return self.in_scope(DIFFERENCE, name)

    def rows(self) -> list[Row]:
        """Return the rows of metrics.tsv."""
        return [metric.row() for metric in self]

    @functools.cached_property
    def _by_key(self) -> dict[tuple[str, str, str], Metric]:
        return {(metric.model, metric.scope, metric.name): metric for metric in self}


@dataclass(frozen=True)
class Prediction:
    """The out-of-fold result of one knee, from the model of the fold that it was tested in.

    `followed` are the cells of its follow-up and risks, where it has these.
    """

    knee: str
    subject: str
    visit: str
    side: str
    label: int
    probability: float
    fold: int
    predicted: int
    threshold: float
    followed: Row | None = None

    def row(self) -> Row:
        """Return the cells of predictions.tsv."""
        identity = {
            "knee": self.knee,
            "subject": self.subject,
            "visit": self.visit,
            "side": self.side,
        }
        if self.followed is not None:
            of_all = {"probability": f"{self.probability:.{DIGITS}f}", "fold": str(self.fold)}
            return identity | self.followed | of_all
        return {
            **identity,
            "label": str(self.label),
            "probability": f"{self.probability:.{DIGITS}f}",
            "fold": str(self.fold),
            "predicted": MISSING if math.isnan(self.threshold) else str(self.predicted),
            "threshold": MISSING if math.isnan(self.threshold) else f"{self.threshold:.{DIGITS}f}",
        }


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold results (knees,) of one model; NaN for knees that are in no test fold.

    Predictions of other programs may lack a threshold: that is NaN, and the class means nothing.
    Where knees are followed there is none, `risk` (knees, times) is the probability that it has
    happened by each of some times, and `probability` that of the last.
    """

    probability: np.ndarray
    threshold: np.ndarray
    risk: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def empty(cls, knees: int, times: int = 0) -> "OutOfFold":
        """Return results to fill in, NaN so far."""
        return cls(np.full(knees, np.nan), np.full(knees, np.nan), np.full((knees, times), np.nan))

    def put_risks(self, index: np.ndarray, risk: np.ndarray) -> None:
        """Fill in risks (knees at `index`, times)."""
        self.risk[index] = risk
        self.probability[index] = risk[:, -1]

    def as_printed(self) -> "OutOfFold":
        """Return the results with the digits that their table has.

        What is measured are these, so that it can be measured again from the table: models that
        know little say nearly the same of all knees, and digits decide on the order.
        """
        values = (self.probability, self.threshold, self.risk)
        return OutOfFold(*(np.round(each, DIGITS) for each in values))

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class (knees,): 1 from the threshold of the knee's fold."""
        return (self.probability >= self.threshold).astype(np.int64)


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold results, one entry a knee, in the order of `cohort`.

    `fold` is 0 for knees that are trained on only. `models` has the model that was asked for first
    and the baselines after it. `attention` (slices,) a knee and `records`, one a fold, are those of
    the first model. `left_out` is the column whose values are the folds, if they are.
    `trained` and `kept` count all models. `repeats` are cross-validations of the
    same knees in other folds, without repeats of their own. `null` (permutations,) holds mean ROC
    AUCs over the folds with permuted labels. Where knees are followed, `at` are the months of their
    risks.
    """

    cohort: Cohort
    fold: np.ndarray
    models: dict[str, OutOfFold]
    attention: list[np.ndarray]
    records: list[dict[str, Any]]
    trained: int
    kept: int
    leaky: bool = False
    left_out: str = ""
    repeats: tuple["CrossValidation", ...] = ()
    null: np.ndarray = field(default_factory=lambda: np.zeros(0))
    at: tuple[float, ...] = ()

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
                followed=self._followed(scored, int(i)),
            )
            found.append(prediction)
        return found

    def columns(self) -> list[str]:
        """Return the columns of predictions.tsv."""
        if self.cohort.follow_up is None:
            return PREDICTION_COLUMNS
        risks = [risk_column(months) for months in self.at]
        known = [*IDENTITY_COLUMNS, TIME, EVENT, FROM, TO]
        return [*known, *risks, "probability", "fold", CAUTION_COLUMN]

    def _followed(self, scored: OutOfFold, i: int) -> Row | None:
        """The cells of a knee's follow-up and risks; None where knees are of two classes."""
        found = self.cohort.follow_up
        if found is None:
            return None
        stop = f"{found.stop[i]:g}" if found.event[i] else MISSING
        row = {
            TIME: f"{found.time[i]:g}",
            EVENT: str(int(found.event[i])),
            FROM: f"{found.start[i]:g}",
            TO: stop,
        }
        for months, value in zip(self.at, scored.risk[i], strict=True):
            row[risk_column(months)] = f"{value:.{DIGITS}f}"
        return row

    @property
    def runs(self) -> tuple["CrossValidation", ...]:
        """This cross-validation and its repeats."""
        return (self, *self.repeats)

    def area(self, name: str | None = None, minus: str | None = None) -> Estimate:
        """Return the mean ROC AUC of a model over the folds of all runs, with its 95 % interval.

        `name` is the first model by default. With `minus`, the name of another model, it is the
        paired difference of the two. See `intervals`. A `ValueError` where knees are followed.
        """
        self._require_classes()
        return estimate_area([run._folds(name or self.name, minus) for run in self.runs])

    def metrics(self) -> Metrics:
        """Measure every model: in each fold, the mean and SD of folds, and all knees pooled.

        The mean is that over the folds of all runs, and the ROC AUC has its interval there; where
        there are repeats, so has each its mean, and these their SD. Then come the differences of
        the first model's ROC AUC from each other one's; and where labels were permuted, the mean
        and the middle 95 % of the null distribution, and the share of it that reaches the first
        run (`p`). A `ValueError` where knees are followed.
        """
        self._require_classes()
        items: list[Metric] = []
        for name in self.models:
            items += self._of_model(name)
        for name in list(self.models)[1:]:
            difference = self.area(minus=name)
            items.append(_estimated(f"{self.name} - {name}", DIFFERENCE, difference))
        if len(self.null):
            items += self._null()
        return Metrics(tuple(items))

    def _require_classes(self) -> None:
        """Raise a `ValueError` where knees are followed, and have other measures."""
        if self.cohort.follow_up is not None:
            raise ValueError("these knees are followed: measure with follow_up_metrics")

    def pooled(self, name: str | None = None) -> dict[str, float]:
        """Return the metrics of a model over all tested knees; of the first by default."""
        return self._scores(name or self.name, self.tested)

    def _scores(self, name: str, at: np.ndarray) -> dict[str, float]:
        found = self.models[name]
        values = scores(self.cohort.label[at], found.probability[at], found.predicted[at])
        if np.isnan(found.threshold[at]).any():
            values |= dict.fromkeys(CLASSED, math.nan)
        return values

    def _scores_by_fold(self, name: str) -> list[dict[str, float]]:
        return [self._scores(name, self.fold == number) for number in range(1, self.folds + 1)]

    def _folds(self, name: str, minus: str | None) -> list[Fold]:
        """Return the test knees of every fold, with the probabilities of one model or two."""
        subject = np.unique(self.cohort.subject, return_inverse=True)[1]
        found = []
        for number in range(1, self.folds + 1):
            at = self.fold == number
            own = self.models[name].probability[at]
            other = None if minus is None else self.models[minus].probability[at]
            found.append(Fold(self.cohort.label[at], subject[at], own, other))
        return found

    def _of_model(self, name: str) -> list[Metric]:
        runs = [run._scores_by_fold(name) for run in self.runs]
        found = _one_by_one(name, "fold", runs[0], METRICS)
        means = [{metric: _mean(folds, metric) for metric in SCORES} for folds in runs]
        found.append(_estimated(name, MEAN, self.area(name)))
        found += [
            Metric(name, MEAN, metric, _mean(means, metric))
            for metric in SCORES
            if metric != "roc_auc"
        ]
        folds = [fold for run in runs for fold in run]
        found += [Metric(name, SD, metric, _sd(folds, metric)) for metric in SCORES]
        pooled = self.pooled(name)
        found += [Metric(name, POOLED, metric, pooled[metric]) for metric in METRICS]
        if self.repeats:
            found += _one_by_one(name, "repeat", means, SCORES)
            found += [Metric(name, REPEATS_SD, metric, _sd(means, metric)) for metric in SCORES]
        return found

    def _null(self) -> list[Metric]:
        at = self.tested
        # One run is held against single runs: the mean of several would vary less than these.
        own = mean_area(self.cohort.label[at], self.first.probability[at], self.fold[at])
        reached = int((self.null >= own).sum())
        low, high = middle_of(self.null)
        mean = float(self.null.mean())
        # The model itself counts as one of its permutations, so that p is never 0.
        p = (1 + reached) / (1 + len(self.null))
        return [
            Metric(self.name, NULL, "roc_auc", mean, low=low, high=high),
            Metric(self.name, NULL, "p", p),
        ]


def headlines(metrics: Metrics) -> list[str]:
    """Return one line a model: its estimate with the interval, and what is pooled.

    Then lines on the differences and the null distribution, where there are any.
    """
    headline = _headline if metrics.main == ROC_AUC else _followed_headline
    lines = [headline(metrics, model) for model in metrics.models()]
    shown = _SHOWN[metrics.main]
    for metric in metrics.differences(metrics.main):
        lines.append(f"{metric.model}: {shown} {_difference(metrics, metric)}")
    for metric in metrics.in_scope(NULL):
        if metric.name in _SHOWN:
            p = _short(metrics.get(metric.model, NULL, "p").value)
            area = f"{_SHOWN[metric.name]} {_with_interval(metric)}"
            own = metrics.find(metric.model, NULL, FIRST_RUN)
            beside = "" if own is None else f", {_short(own.value)} as they are"
            lines.append(f"{metric.model}: {area} with permuted labels{beside}, p {p}")
    return lines + verdicts(metrics)


def _difference(metrics: Metrics, metric: Metric) -> str:
    """Return a difference with its interval, or why it has none: both models say the same."""
    both = [metrics.find(name, MEAN, metrics.main) for name in metric.model.split(" - ", 1)]
    have_intervals = all(each is not None and not math.isnan(each.low) for each in both)
    if metric.value == 0 and math.isnan(metric.low) and have_intervals:
        return f"{_short(metric.value, '+')} (no interval: both rank the knees alike)"
    return _with_interval(metric, sign="+")


def verdicts(metrics: Metrics) -> list[str]:
    """Return a sentence for each model that does better than the first, without doubt."""
    lines = []
    shown = _SHOWN[metrics.main]
    for metric in metrics.differences(metrics.main):
        first, _, other = metric.model.partition(" - ")
        if metric.high < 0:
            lines.append(
                f"{other} does better than {first} here, by {_short(-metric.value)} of {shown}: "
                "prefer it"
            )
    return lines


def basis(metrics: Metrics, model: str) -> str:
    """Return over what the estimates are means: `mean of 5 folds, 5 times`."""
    scopes = metrics.scopes(model)
    folds = sum(scope.startswith("fold-") for scope in scopes)
    repeats = sum(scope.startswith("repeat-") for scope in scopes)
    if folds == 1:
        return "knees held out"
    return f"mean of {folds} folds" + (f", {repeats} times" if repeats else "")


def _headline(metrics: Metrics, model: str) -> str:
    area = _with_interval(metrics.get(model, MEAN, "roc_auc"))
    precision, no_skill = (
        _short(metrics.get(model, POOLED, name).value) for name in ("pr_auc", "pr_auc_no_skill")
    )
    return (
        f"{model}: ROC AUC {area} ({basis(metrics, model)}); "
        f"PR AUC {precision} (pooled; no skill {no_skill})"
    )


def _followed_headline(metrics: Metrics, model: str) -> str:
    areas = []
    for metric in metrics.in_scope(MEAN):
        name, _, time = metric.name.rpartition("_")
        if metric.model == model and name == "auc":
            areas.append(f"{_short(metric.value)} by {time}")
    return (
        f"{model}: {_SHOWN[UNO_C]} {_with_interval(metrics.get(model, MEAN, UNO_C))} "
        f"({basis(metrics, model)}); AUC {', '.join(areas)}"
    )


def _one_by_one(
    model: str, what: str, scored: Sequence[dict[str, float]], names: Sequence[str]
) -> list[Metric]:
    found = []
    for number, values in enumerate(scored, start=1):
        found += [Metric(model, f"{what}-{number}", name, values[name]) for name in names]
    return found


def _estimated(model: str, scope: str, area: Estimate) -> Metric:
    return Metric(model, scope, "roc_auc", area.value, low=area.low, high=area.high)


def _mean(scored: Sequence[dict[str, float]], metric: str) -> float:
    return float(np.mean([values[metric] for values in scored]))


def middle_of(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the middle 95 % of values; NaN where these are all one."""
    if not np.ptp(values) > 0:
        return math.nan, math.nan
    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return low, high


def _sd(scored: Sequence[dict[str, float]], metric: str) -> float:
    values = [each[metric] for each in scored]
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
