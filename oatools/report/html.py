"""The page of a report: HTML that needs nothing beside it, on screen or on paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from oatools.core.manifest import Row
from oatools.learning.results import (
    CONCORDANCE,
    MEAN,
    NULL,
    POOLED,
    ROC_AUC,
    SD,
    UNO_C,
    Metrics,
    basis,
)
from oatools.report.characteristics import caption
from oatools.report.pictures import Picture
from oatools.report.templates import interval_text, number_text, render_html
from oatools.report.words import CLASSES, Words

NAMES = {
    "roc_auc": "ROC AUC",
    "uno_c": "Uno's C",
    "integrated_brier": "integrated Brier score",
    "pr_auc": "PR AUC (average precision)",
    "pr_auc_no_skill": "PR AUC of no skill in so many knees",
    "f1": "F1",
    "f1_weighted": "weighted F1",
    "brier": "Brier score",
    "calibration_slope": "calibration slope (1 is right)",
    "calibration_intercept": "calibration intercept (0)",
    "tn": "true negatives",
    "fp": "false positives",
    "fn": "false negatives",
    "tp": "true positives",
}
#: Of a time.
NAMES_AT = {
    "auc": "AUC",
    "brier": "Brier score",
    "ipa": "gain on no skill's Brier score",
    "observed_expected": "observed by expected risk (1 is right)",
    "calibration_slope": "calibration slope (1 is right)",
    "roc_auc": "ROC AUC of known status",
    "pr_auc": "PR AUC of known status",
    "pr_auc_no_skill": "PR AUC of no skill in so many knees",
    "known": "knees of known status",
    "events": "events",
}
#: The metrics by which models are put side by side, as many as fit a page, over all knees.
OVERALL = ("roc_auc", "pr_auc", "pr_auc_no_skill", "brier", "calibration_slope")


@dataclass(frozen=True)
class Page:
    """The content of the page, not yet escaped.

    `cohort`, `settings` and `versions` are names and values; `folds`, `parts` and
    `characteristics` are rows of a table.
    """

    title: str
    lead: str
    cautions: Sequence[str]
    doubts: Sequence[str]
    cohort: Sequence[tuple[str, str]]
    flow: Picture
    characteristics: Sequence[Row]
    folds: Sequence[Row]
    parts: Sequence[Row]
    parts_caption: str
    metrics: Metrics
    measurement_error: str | None
    pictures: Sequence[Picture]
    settings: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    command: str
    methods: str
    words: Words = CLASSES


def render(page: Page) -> str:
    """Return the page as HTML; the same content gives the same text."""
    first = page.metrics.models()[0]
    return render_html(
        "report.html.j2",
        page=page,
        characteristics_caption=caption(page.words.groups),
        models=_side_by_side(page.metrics),
        differences=_differences(page.metrics),
        permuted=_permuted(page.metrics, first),
        first=first,
        basis=basis(page.metrics, first),
        all_of_first=_all_of(page.metrics, first),
    )


def _side_by_side(metrics: Metrics) -> list[Row]:
    """Return one row a model, with what fits a page."""
    rows = []
    for model in metrics.models():
        row = {"model": model}
        for metric in metrics.in_scope(MEAN):
            if metric.model == model and _stands_beside(metric.name, metrics.main):
                row[_shown(metric.name)] = interval_text(metric)
        for name in OVERALL if metrics.main == ROC_AUC else ():
            found = metrics.find(model, POOLED, name)
            if found is not None:
                row[f"{_shown(name)}, pooled"] = number_text(found.value)
        rows.append(row)
    return rows


def _stands_beside(metric: str, main: str) -> bool:
    """Tell whether models are put side by side by a mean over folds: that, and areas by time."""
    return metric == main or (main == UNO_C and metric.startswith(("auc_", "integrated_")))


def _differences(metrics: Metrics) -> list[Row]:
    """Return one row a difference between two models."""
    rows: dict[str, Row] = {}
    for metric in metrics.differences():
        if metrics.main == UNO_C and not _stands_beside(metric.name, metrics.main):
            continue  # metrics.tsv has it
        row = rows.setdefault(metric.model, {"difference": metric.model})
        row[_shown(metric.name)] = interval_text(metric)
    return list(rows.values())


def _permuted(metrics: Metrics, model: str) -> Row | None:
    """Return the area that permuted labels gave and its p; None where none were permuted."""
    name = ROC_AUC if metrics.main == ROC_AUC else CONCORDANCE
    area, p = metrics.find(model, NULL, name), metrics.find(model, NULL, "p")
    if area is None or p is None:
        return None
    return {"area": interval_text(area), "p": number_text(p.value)}


def _all_of(metrics: Metrics, model: str) -> list[Row]:
    """Return one row a metric of a model: summaries first, then fold by fold of the first run."""
    folds = [scope for scope in metrics.scopes(model) if scope.startswith("fold-")]
    rows = []
    for name in metrics.names():
        row = {"metric": _shown(name)}
        mean, spread = (metrics.find(model, scope, name) for scope in (MEAN, SD))
        # Counts of knees have no mean.
        row["mean"] = interval_text(mean) if mean else "–"
        row["SD of folds"] = number_text(spread.value) if spread else "–"
        row["pooled"] = interval_text(metrics.get(model, POOLED, name))
        for fold in folds:
            # How well risks fit all knees is no matter of folds.
            found = metrics.find(model, fold, name)
            row[fold] = number_text(found.value) if found else "–"
        rows.append(row)
    return rows


def _shown(metric: str) -> str:
    name, _, time = metric.rpartition("_")
    if time.endswith("m") and time[:-1].replace(".", "").isdecimal():
        return f"{NAMES_AT.get(name, name)} by {time}"
    return NAMES.get(metric, metric)
