"""The page of a report: HTML that needs nothing beside it, on screen or on paper."""

from collections.abc import Sequence
from dataclasses import dataclass

from oatools.core.manifest import Row
from oatools.learning.results import (
    MEAN,
    NULL,
    POOLED,
    SD,
    Metrics,
    basis,
)
from oatools.report.characteristics import CAPTION
from oatools.report.pictures import Picture
from oatools.report.templates import interval_text, number_text, render_html

NAMES = {
    "roc_auc": "ROC AUC",
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


def render(page: Page) -> str:
    """Return the page as HTML; the same content gives the same text."""
    first = page.metrics.models()[0]
    return render_html(
        "report.html.j2",
        page=page,
        characteristics_caption=CAPTION,
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
        area = metrics.find(model, MEAN, "roc_auc")
        if area is not None:
            row[_shown("roc_auc")] = interval_text(area)
        for name in OVERALL:
            found = metrics.find(model, POOLED, name)
            if found is not None:
                row[f"{_shown(name)}, pooled"] = number_text(found.value)
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
    """Return one row a metric of a model: summaries first, then fold by fold of the first run."""
    folds = [scope for scope in metrics.scopes(model) if scope.startswith("fold-")]
    rows = []
    for name in metrics.names():
        row = {"metric": _shown(name)}
        mean, spread = (metrics.find(model, scope, name) for scope in (MEAN, SD))
        # Counts of knees have no mean.
        row["mean"] = interval_text(mean) if mean else "–"
        row["SD of folds"] = number_text(spread.value) if spread else "–"
        row["pooled"] = number_text(metrics.get(model, POOLED, name).value)
        for fold in folds:
            row[fold] = number_text(metrics.get(model, fold, name).value)
        rows.append(row)
    return rows


def _shown(metric: str) -> str:
    return NAMES.get(metric, metric)
