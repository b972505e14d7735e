"""What a cross-validation did and found, in sentences for the paper that reports it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from oatools.core.manifest import MISSING
from oatools.core.provenance import Caution
from oatools.learning.results import MEAN, POOLED, CrossValidation, Metric
from oatools.report.content import CohortCounts, Report

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
    return (
        f"{named} was predicted in {counts.knees} knees of {counts.patients} patients, "
        f"{counts.positive} of them positive ({share:.1f} %)."
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
    inside = (
        "Scaling, imputation, settings, epochs and the threshold came from training patients alone."
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
        f"patient in one fold and folds stratified by label. {inside}"
    )


def _results(report: Report) -> Iterator[str]:
    """Yield a sentence on the model, and one on those beside it."""
    metrics, name = report.metrics, report.result.name
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


def _interval(result: CrossValidation) -> str:
    version = result.records[0]["versions"]["oatools"]
    training = "" if result.folds == 1 else ", with the variance that training adds"
    return (
        "Intervals are of 95 %, by patient, after Obuchowski (Biometrics 1997;53:567-578)"
        f"{training}, as in oatools {version}."
    )


def _area(metric: Metric) -> str:
    if math.isnan(metric.low):
        return _number(metric.value)
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2f}"
