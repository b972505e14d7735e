"""The page of a report: HTML that needs nothing beside it, on screen or on paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from oatools.core.manifest import Row
from oatools.learning.results import (
    MEAN,
    NULL,
    POOLED,
    REPEATS_MEAN,
    REPEATS_SD,
    SD,
    Metrics,
)
from oatools.report.pictures import Picture
from oatools.report.templates import interval_text, number_text, render_html

NAMES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "prevalence": "prevalence (no-skill PR AUC)",
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
#: The metrics by which models are put side by side: as many as fit a page.
SUMMARY = ("roc_auc", "pr_auc", "brier", "calibration_slope")


@dataclass(frozen=True)
class Page:
    """The content of the page, not yet escaped.

    `cohort`, `settings` and `versions` are names and values; `folds` are rows of a table.
    """

    title: str
    lead: str
    cautions: Sequence[str]
    cohort: Sequence[tuple[str, str]]
    folds: Sequence[Row]
    metrics: Metrics
    pictures: Sequence[Picture]
    settings: Sequence[tuple[str, str]]
    versions: Sequence[tuple[str, str]]
    command: str


def render(page: Page) -> str:
    """Return the page as HTML; the same content gives the same text."""
    first = page.metrics.models()[0]
    return render_html(
        "report.html.j2",
        page=page,
        models=_side_by_side(page.metrics),
        differences=_differences(page.metrics),
        permuted=_permuted(page.metrics, first),
        first=first,
        all_of_first=_all_of(page.metrics, first),
    )


def _side_by_side(metrics: Metrics) -> list[Row]:
    """Return one row a model, with what fits a page."""
    rows = []
    for model in metrics.models():
        row = {"model": model}
        row["ROC AUC, mean ± SD of folds"] = _mean_and_sd(metrics, model, "roc_auc")
        for name in SUMMARY:
            found = metrics.find(model, POOLED, name)
            if found is not None:
                row[f"{_shown(name)}, pooled"] = interval_text(found)
        rows.append(row)
    return rows


def _differences(metrics: Metrics) -> list[Row]:
    """Return one row a difference between two models."""
    rows: dict[str, Row] = {}
    for metric in metrics.differences():
        row = rows.setdefault(metric.model, {"difference": metric.model})
        row[_shown(metric.name)] = interval_text(metric)
    return list(rows.values())


def _permuted(metrics: Metrics, model: str) -> Row | None:
    """Return the area that permuted labels gave and its p; None where none were permuted."""
    area, p = metrics.find(model, NULL, "roc_auc"), metrics.find(model, NULL, "p")
    if area is None or p is None:
        return None
    return {"area": interval_text(area), "p": number_text(p.value)}


def _all_of(metrics: Metrics, model: str) -> list[Row]:
    """Return one row a metric of a model: summaries first, then fold by fold."""
    folds = [scope for scope in metrics.scopes(model) if scope.startswith("fold-")]
    is_repeated = bool(metrics.in_scope(REPEATS_MEAN))
    rows = []
    for name in metrics.names():
        row = {"metric": _shown(name)}
        row["mean ± SD"] = _mean_and_sd(metrics, model, name)
        row["pooled"] = interval_text(metrics.get(model, POOLED, name))
        if is_repeated:
            scopes = (REPEATS_MEAN, REPEATS_SD)
            row["mean ± SD of repeats"] = _mean_and_sd(metrics, model, name, scopes)
        for fold in folds:
            row[fold] = number_text(metrics.get(model, fold, name).value)
        rows.append(row)
    return rows


def _mean_and_sd(
    metrics: Metrics, model: str, name: str, scopes: tuple[str, str] = (MEAN, SD)
) -> str:
    """Return `0.712 ± 0.050`, or a dash for what has no mean, such as a count of knees."""
    mean, sd = (metrics.find(model, scope, name) for scope in scopes)
    if mean is None or sd is None:
        return "–"
    return f"{number_text(mean.value)} ± {number_text(sd.value)}"


def _shown(metric: str) -> str:
    return NAMES.get(metric, metric)
