"""The figures of a report with their captions, each marked with the cautions."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from oatools.core.provenance import Caution
from oatools.learning.baseline import LOGISTIC
from oatools.learning.cautions import figure_mark
from oatools.learning.followed_baselines import LINEAR
from oatools.learning.results import (
    MEAN,
    ROC_AUC,
    CrossValidation,
    Metrics,
    basis,
    month_text,
    verdicts,
)
from oatools.report import figures, timed
from oatools.report.words import words_of

# Shares of slices that differ by less are those of a model that takes all alike.
_SAME_SHARE = 1e-9


@dataclass(frozen=True)
class Picture:
    """A figure of the report, its caption, and whether it takes the page's width."""

    name: str
    figure: Figure
    caption: str
    wide: bool = False

    def data_uri(self) -> str:
        """Return the figure as an SVG that stands in the page itself."""
        encoded = base64.b64encode(figures.encode(self.figure, "svg")).decode()
        return f"data:image/svg+xml;base64,{encoded}"


def make_pictures(
    result: CrossValidation, metrics: Metrics, cautions: Sequence[Caution] = ()
) -> list[Picture]:
    """Draw the figures of a report; the cautions are written on each and travel with it."""
    if result.cohort.follow_up is None:
        curves, last = _curves(result), [_confusion(result)]
    else:
        curves, last = follow_up_pictures(result, metrics), []
    pictures = [
        _comparison(result, metrics),
        *curves,
        *attention_pictures(result),
        *last,
    ]
    mark_all(pictures, cautions)
    return pictures


def mark_all(pictures: Sequence[Picture], cautions: Sequence[Caution]) -> None:
    """Write the cautions on each picture, so that they travel with it."""
    marks = ", ".join(map(figure_mark, cautions))
    if marks:
        for picture in pictures:
            figures.mark(picture.figure, marks)


def attention_pictures(result: CrossValidation) -> list[Picture]:
    """Draw the attention on held-out knees, in one picture for each sequence that is joined.

    Left out are knees of models that take all slices alike; where all do, there is no picture.
    """
    data = result.cohort
    tested = np.flatnonzero(result.tested)
    ends = data.extents.cumsum(axis=1)
    starts = ends - data.extents
    pictures = []
    for sequence, name in enumerate(data.joined or ("",)):
        parts, weighed = [], []
        for knee in tested:
            part = slice(starts[knee, sequence], ends[knee, sequence])
            weights = result.attention[knee][part]
            if np.ptp(weights) > _SAME_SHARE:
                parts.append(weights)
                weighed.append(knee)
        if not parts:
            continue
        figure = figures.attention_figure(parts, data.label[weighed], words_of(result).groups)
        of = f" of {name}" if name else ""
        caption = f"Attention by slice{of} on held-out knees: mean and interquartile range."
        if len(parts) < len(tested):
            caption += (
                f" It is that of {len(parts)} of {len(tested)} knees; the models of the others "
                "have linear parts alone, which take all slices alike."
            )
        pictures.append(Picture(f"attention-{name}" if name else "attention", figure, caption))
    return pictures


def _comparison(result: CrossValidation, metrics: Metrics) -> Picture:
    words = words_of(result)
    caption = (
        f"{words.main} ({basis(metrics, result.name)}) with the 95 % interval, all models in the "
        "same folds."
    )
    if len(result.null) and metrics.main == ROC_AUC:
        caption += " Below: the model's (line) among those of permuted labels."
    for line in verdicts(metrics):
        caption += f" {line[0].upper()}{line[1:]}."
    # Permuted outcomes of follow-up are judged by another measure, and stand in the text.
    null = result.null if metrics.main == ROC_AUC else ()
    areas = metrics.in_scope(MEAN, metrics.main)
    figure = figures.comparison_figure(areas, null, words.main)
    return Picture("comparison", figure, caption, wide=True)


def _curves(result: CrossValidation) -> list[Picture]:
    """Draw the ROC, precision-recall and calibration curves."""
    at = result.tested
    label, fold = result.cohort.label[at], result.fold[at]
    probabilities = {name: found.probability[at] for name, found in result.models.items()}
    own = probabilities.pop(result.name)
    repeated = _over_repeats(result)
    beside = ""
    if probabilities:
        beside = " Broken lines: the other models, in the same folds."
    simple = [name for name in (LINEAR, LOGISTIC) if name in probabilities]
    calibrated = {name: probabilities[name] for name in simple}
    roc = Picture(
        "roc",
        figures.roc_figure(*repeated, name=result.name),
        f"ROC. Thin: each held-out fold; thick: their mean.{beside}",
    )
    precision_recall = Picture(
        "pr",
        figures.pr_figure(label, own, fold, probabilities, result.name),
        "Precision and recall over all held-out knees; thin: each fold. Dotted: no skill. In a "
        f"fold of few knees, chance alone gives more than that.{beside}",
    )
    calibration = Picture(
        "calibration",
        figures.calibration_figure(label, result.name, own, calibrated),
        "Calibration over all held-out knees, in bins of equal size; below, how the probabilities "
        "of the model with images are spread.",
    )
    return [roc, precision_recall, calibration]


def follow_up_pictures(result: CrossValidation, metrics: Metrics) -> list[Picture]:
    """Draw what becomes of knees by their risk: curves, areas by time, and calibration."""
    beside = "" if len(result.models) == 1 else " Broken lines: the other models."
    last = month_text(result.at[-1])
    return [
        Picture(
            "risk-groups",
            timed.risk_groups_figure(result),
            "Kaplan-Meier curves of held-out knees by thirds, in each fold, of the risk that the "
            f"model gave them (by {last}), with 95 % intervals by patient; below, knees at risk.",
            wide=True,
        ),
        Picture(
            "auc-by-time",
            timed.areas_figure(metrics, result.at),
            "Cumulative/dynamic AUC, mean of the folds, with the 95 % interval of the model."
            f"{beside} Dotted: no skill.",
        ),
        Picture(
            "calibration",
            timed.calibration_figure(result),
            "Calibration of the model by time, over all held-out knees: Kaplan-Meier risk of knees "
            "in groups of equal size, one for every ten events, against the mean risk that they "
            "were given.",
            wide=True,
        ),
    ]


def _over_repeats(
    result: CrossValidation,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return labels, the first model's probabilities, folds and the others', of all repeats.

    A knee is there once a repeat, and folds are numbered on.
    """
    runs = result.runs
    label = np.concatenate([run.cohort.label[run.tested] for run in runs])
    folds = [run.fold[run.tested] + n * result.folds for n, run in enumerate(runs)]
    probabilities = {}
    for name in result.models:
        parts = [run.models[name].probability[run.tested] for run in runs]
        probabilities[name] = np.concatenate(parts)
    own = probabilities.pop(result.name)
    return label, own, np.concatenate(folds), probabilities


def _confusion(result: CrossValidation) -> Picture:
    at = result.tested
    figure = figures.confusion_figure(
        result.cohort.label[at], result.first.predicted[at], result.fold[at]
    )
    caption = (
        "Confusion at each fold's own threshold, chosen on validation patients of its training "
        "folds. Shade: share of the row."
    )
    return Picture("confusion", figure, caption, wide=True)
