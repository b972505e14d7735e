"""What a cross-validation did and found, in sentences for the paper that reports it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from oatools.core.manifest import MISSING
from oatools.core.provenance import Caution
from oatools.learning.followup import FollowUp
from oatools.learning.results import MEAN, POOLED, UNO_C, CrossValidation, Metric, at_time
from oatools.report.content import CohortCounts, Report
from oatools.report.words import words_of
from oatools.survival.curves import kaplan_meier

POOLINGS = {
    "gru": "attention (convolution, GRU)",
    "attention": "attention",
    "gated": "gated attention",
    "mean": "their mean",
    "max": "their maximum",
    "transformer": "a transformer",
}
_COUNTS = {2: "twice", 3: "three times"}
_LIMITS = {
    Caution.PHANTOMS: "The images are synthetic: the numbers say nothing about patients.",
    Caution.RANDOM_WEIGHTS: (
        "The backbone was not trained, its weights are random: the numbers say nothing about "
        "patients."
    ),
    Caution.LEAKY_SPLIT: (
        "Knees and not patients were split, so that both knees of a person could be trained and "
        "tested on: the numbers are too good."
    ),
    Caution.UNKNOWN_MAKING: "How the features were made of the images is not recorded.",
    Caution.TRAINING_KNEES: "The model was trained on these patients: the numbers are too good.",
}


def methods_paragraph(report: Report) -> str:
    """Return the cohort, the model, its test, the result and how its interval was found, in order.

    Every number is one of this run. What makes them worth less stands at the end.
    """
    result = report.result
    sentences = [
        _cohort(report),
        _model(result),
        _test(result),
        *_results(report),
        _interval(result),
        *(_LIMITS[caution] for caution in report.cautions),
    ]
    return " ".join(sentences)


def architecture_words(settings: Mapping[str, Any]) -> str:
    """Return what a model is made of, in words that begin with a capital."""
    parts = []
    if settings["linear"]:
        parts.append(f"Ridge regressions on the slices ({', '.join(settings['linear'])})")
    if settings["network"]:
        several = settings["inner"] == "rotate"
        networks = "networks that pool" if several else "a network that pools"
        parts.append(f"{networks} slices by {POOLINGS[settings['pooling']]}")
    text = ", and ".join(parts)
    return text[0].upper() + text[1:]


def _cohort(report: Report) -> str:
    counts = CohortCounts.of(report.result.cohort)
    endpoint = report.result.records[0].get("endpoint")
    share = 100 * counts.positive / counts.knees
    named = f"The endpoint {endpoint}" if endpoint else "The endpoint"
    followed, words = report.result.cohort.follow_up, words_of(report.result)
    beside = "" if followed is None else f" Follow-up: {follow_up_words(followed)}."
    return (
        f"{named} was predicted in {counts.knees} knees of {counts.patients} patients, "
        f"{counts.positive} of them {words.positive} ({share:.1f} %).{beside}"
    )


def follow_up_words(followed: FollowUp) -> str:
    """Return for how long knees were followed, and when what happened to them was found.

    The median is that of the time to the loss, in which an event ends the follow-up as a loss does
    otherwise (Schemper and Smith, Controlled Clinical Trials 1996;17:343-346).
    """
    ones = np.ones((1, len(followed)))
    lost = kaplan_meier(followed.time, ~followed.event, ones)
    below = np.flatnonzero(lost.values[0] <= 0.5)
    median = f"{lost.times[below[0]]:g}" if len(below) else f"more than {followed.time.max():g}"
    exact = int(followed.is_exact.sum())
    between = int(followed.event.sum()) - exact
    known = [f"{exact} events at a known time"] if exact else []
    known += [f"{between} between two visits"] if between else []
    return (
        f"median {median} months (reverse Kaplan-Meier), {followed.time.max():g} at most; "
        f"{', '.join(known)}"
    )


def _model(result: CrossValidation) -> str:
    data, record = result.cohort, result.records[0]
    space = data.space or {}
    made = f" of {space['backbone']} ({space.get('weights')})" if space.get("backbone") else ""
    scans = [name for name in record.get("sequences") or [] if name != MISSING]
    images = f" from {', '.join(scans)} images" if scans else ""
    clinical = ", ".join(data.clinical_names)
    beside = f", and on {clinical}" if clinical else ""
    words = architecture_words(record["settings"])
    return (
        f"{words}, {'were' if record['settings']['linear'] else 'was'} trained on "
        f"{data.channels} features a slice{made}{images}{beside}."
    )


def _test(result: CrossValidation) -> str:
    tested, knees = int(result.tested.sum()), len(result.cohort)
    chosen = "the threshold" if result.cohort.follow_up is None else "the hazards"
    inside = (
        f"Scaling, imputation, settings, epochs and {chosen} came from training patients alone."
    )
    if result.left_out:
        return (
            f"The model was tested in the knees of each {result.left_out}, {result.folds} in all, "
            f"by models that were trained on the others. {inside}"
        )
    if tested < knees:
        return f"The model was tested in {tested} knees that were held out. {inside}"
    if result.leaky:
        return f"The model was tested by {result.folds}-fold cross-validation over knees."
    times = len(result.runs)
    again = f", {_COUNTS.get(times, f'{times} times')} with different folds" if times > 1 else ""
    return (
        f"The model was tested by {result.folds}-fold cross-validation{again}, with all knees of a "
        f"patient in one fold and folds stratified by {words_of(result).outcome}. {inside}"
    )


def _results(report: Report) -> Iterator[str]:
    """Yield a sentence on the model, and one on those beside it."""
    metrics, name = report.metrics, report.result.name
    if report.result.cohort.follow_up is not None:
        yield from _followed_results(report)
        return
    precision = metrics.get(name, POOLED, "pr_auc").value
    chance = metrics.get(name, POOLED, "pr_auc_no_skill").value
    over = "mean ROC AUC of the test folds" if report.result.folds > 1 else "ROC AUC"
    yield (
        f"The {over} was {_area(metrics.get(name, MEAN, 'roc_auc'))}, the average precision of all "
        f"knees tested {_number(precision)} ({_number(chance)} by chance)."
    )
    others = [model for model in metrics.models() if model != name]
    if others:
        areas = [f"{_area(metrics.get(each, MEAN, 'roc_auc'))} for {each}" for each in others]
        where = "folds" if report.result.folds > 1 else "knees"
        yield f"In the same {where} it was {', '.join(areas)}."


def _followed_results(report: Report) -> Iterator[str]:
    metrics, name, at = report.metrics, report.result.name, report.result.at
    over = ", mean of the test folds," if report.result.folds > 1 else ""
    yield (f"Uno's C{over} was {_area(metrics.get(name, MEAN, UNO_C))} by {at[-1]:g} months.")
    areas = [
        f"{_area(metrics.get(name, MEAN, at_time('auc', months)))} at {months:g} months"
        for months in at
    ]
    yield f"The cumulative/dynamic AUC was {', '.join(areas)}."
    others = [model for model in metrics.models() if model != name]
    if others:
        found = [f"{_area(metrics.get(each, MEAN, UNO_C))} for {each}" for each in others]
        where = "folds" if report.result.folds > 1 else "knees"
        yield f"In the same {where} Uno's C was {', '.join(found)}."


def _interval(result: CrossValidation) -> str:
    version = result.records[0]["versions"]["oatools"]
    training = "" if result.folds == 1 else ", with the variance that training adds"
    return (
        f"Intervals are of 95 %, by patient, {words_of(result).interval}"
        f"{training}, as in oatools {version}."
    )


def _area(metric: Metric) -> str:
    if math.isnan(metric.low):
        return _number(metric.value)
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2f}"
