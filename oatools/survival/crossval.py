"""The measures of a cross-validation whose knees are followed.

Names of metrics, those at a time with the time behind them (`auc_24m`):

    uno_c                       Uno's C, of events up to the last time
    auc, brier                  cumulative/dynamic AUC, and Brier score
    integrated_brier            the mean Brier score from the first time to the last
    ipa                         by how much a Brier score is less than that of one risk for all;
                                over all knees, since in few it is too low
    observed_expected           Kaplan-Meier's risk by the mean risk told; calibration_slope
    roc_auc, pr_auc, ...        of the knees whose status is known then, as papers on one horizon
                                count them: `known` knees, of which `events` have had it
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.learning.crossval import area_over_folds
from oatools.learning.followup import label_by
from oatools.learning.intervals import Estimate
from oatools.learning.metrics import average_precision, no_skill_precision, roc_auc
from oatools.learning.results import (
    CONCORDANCE,
    DIFFERENCE,
    FIRST_RUN,
    MEAN,
    NULL,
    POOLED,
    REPEATS_SD,
    SD,
    UNO_C,
    CrossValidation,
    Metric,
    Metrics,
    at_time,
    middle_of,
)
from oatools.survival.estimates import Fold, Measure, estimate
from oatools.survival.measures import (
    auc_at,
    brier_at,
    calibration_slope,
    integrated_brier,
    observed_over_expected,
    scaled_brier,
    uno_c,
)

INTEGRATED_BRIER = "integrated_brier"
_Of = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Named:
    """A measure of risks (knees, times) under its name; estimated over folds, or pooled."""

    name: str
    measure: Measure
    is_mean: bool = True
    is_compared: bool = False


def follow_up_metrics(result: CrossValidation) -> Metrics:
    """Measure every model of a cross-validation whose knees are followed, as `metrics` does.

    In each fold, and as the mean over the folds of all runs, with the 95 % interval by patient
    (`estimates`); calibration and what papers on one horizon give over all knees of the first run.
    Of visits, a knee that is lost was still seen at its last one (`curves.lost_after_events`).
    """
    named = list(measures_at(result.at))
    items: list[Metric] = []
    for model in result.models:
        items += _of_model(result, model, named)
    for other in list(result.models)[1:]:
        for each in named:
            if each.is_compared:
                found = _estimated(result, each.measure, result.name, other)
                name = f"{result.name} - {other}"
                items.append(Metric(name, DIFFERENCE, each.name, *_three(found)))
    if len(result.null):
        items += _null(result)
    return Metrics(tuple(items))


def measures_at(at: Sequence[float]) -> Iterator[Named]:
    """The measures of risks at some months, the one that a model is judged by first."""
    last = float(np.nextafter(at[-1], np.inf))  # events at the last time itself are in it
    yield Named(
        UNO_C,
        Measure(
            lambda time, event, risk, weights: uno_c(time, event, risk[:, -1], weights, last),
            "share",
            at[-1],
        ),
        is_compared=True,
    )
    for place, months in enumerate(at):
        area = Measure(_column(auc_at, place, months), "share", months)
        brier = Measure(_column(brier_at, place, months), "positive", months)
        accuracy = Measure(_column(scaled_brier, place, months), "plain", months)
        ratio = Measure(_column(observed_over_expected, place, months), "positive", months)
        slope = Measure(_column(calibration_slope, place, months), "plain", months)
        yield Named(at_time("auc", months), area, is_compared=True)
        yield Named(at_time("brier", months), brier, is_compared=True)
        yield Named(at_time("ipa", months), accuracy, is_mean=False)
        yield Named(at_time("observed_expected", months), ratio, is_mean=False)
        yield Named(at_time("calibration_slope", months), slope, is_mean=False)
    if len(at) > 1:
        times = np.array(at)
        whole = Measure(functools.partial(integrated_brier, times=times), "positive", at[-1])
        yield Named(INTEGRATED_BRIER, whole, is_compared=True)


def _column(measure: Callable[..., np.ndarray], place: int, months: float) -> _Of:
    return lambda time, event, risk, weights: measure(time, event, risk[:, place], weights, months)


def _of_model(result: CrossValidation, model: str, named: Sequence[Named]) -> list[Metric]:
    meant = [each for each in named if each.is_mean]
    runs = []
    for run in result.runs:
        folds = _folds(run, model)
        runs.append([{each.name: each.measure.value(fold) for each in meant} for fold in folds])
    items = []
    for number, values in enumerate(runs[0], start=1):
        items += [Metric(model, f"fold-{number}", name, values[name]) for name in values]
    for each in meant:
        found = _estimated(result, each.measure, model)
        items.append(Metric(model, MEAN, each.name, *_three(found)))
    every = [values for folds in runs for values in folds]
    items += [Metric(model, SD, each.name, _sd(every, each.name)) for each in meant]
    items += _pooled(result, model, named)
    if result.repeats:
        means = [{each.name: _mean(run, each.name) for each in meant} for run in runs]
        for number, values in enumerate(means, start=1):
            items += [Metric(model, f"repeat-{number}", name, values[name]) for name in values]
        items += [Metric(model, REPEATS_SD, each.name, _sd(means, each.name)) for each in meant]
    return items


def _pooled(result: CrossValidation, model: str, named: Sequence[Named]) -> list[Metric]:
    """Measure all tested knees of the first run at once."""
    whole = _fold(result, model, result.tested)
    items = []
    for each in named:
        found = Estimate(each.measure.value(whole))
        if not each.is_mean:  # how well risks fit all knees is no matter of folds
            found = estimate([[whole]], each.measure)
        items.append(Metric(model, POOLED, each.name, *_three(found)))
    for place, months in enumerate(result.at):
        status = label_by(result.cohort.followed().take(result.tested), months)
        values = _of_known(status, whole.prediction[:, place])
        for name, value in values.items():
            items.append(Metric(model, POOLED, at_time(name, months), value))
    return items


def _of_known(status: np.ndarray, risk: np.ndarray) -> dict[str, float]:
    """What papers on one horizon give, of the knees whose status is known then."""
    known, events = int((status >= 0).sum()), int((status == 1).sum())
    at = status >= 0
    return {
        "roc_auc": roc_auc(status[at], risk[at]),
        "pr_auc": average_precision(status[at], risk[at]),
        "pr_auc_no_skill": no_skill_precision(events, known),
        "known": known,
        "events": events,
    }


def _estimated(
    result: CrossValidation, measure: Measure, model: str, minus: str | None = None
) -> Estimate:
    return estimate([_folds(run, model, minus) for run in result.runs], measure)


def _folds(run: CrossValidation, model: str, minus: str | None = None) -> list[Fold]:
    numbers = range(1, run.folds + 1)
    return [_fold(run, model, run.fold == number, minus) for number in numbers]


def _fold(run: CrossValidation, model: str, at: np.ndarray, minus: str | None = None) -> Fold:
    """The knees of a cross-validation where `at` (knees,) is true."""
    return Fold.of(
        run.cohort.followed().take(at),
        np.unique(np.asarray(run.cohort.subject)[at], return_inverse=True)[1],
        run.models[model].risk[at],
        None if minus is None else run.models[minus].risk[at],
    )


def _null(result: CrossValidation) -> list[Metric]:
    """The concordance of permuted outcomes, and the share of it that reaches the first run's."""
    data = result.cohort
    outcome = data.outcome(np.arange(len(data)))
    own = area_over_folds(outcome, result.first.probability, result.fold)
    low, high = middle_of(result.null)
    # The model itself counts as one of its permutations, so that p is never 0.
    p = (1 + int((result.null >= own).sum())) / (1 + len(result.null))
    mean = float(result.null.mean())
    return [
        Metric(result.name, NULL, CONCORDANCE, mean, low=low, high=high),
        Metric(result.name, NULL, FIRST_RUN, own),
        Metric(result.name, NULL, "p", p),
    ]


def _three(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def _mean(scored: Sequence[dict[str, float]], name: str) -> float:
    return float(np.mean([values[name] for values in scored]))


def _sd(scored: Sequence[dict[str, float]], name: str) -> float:
    values = [each[name] for each in scored]
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
