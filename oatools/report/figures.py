"""Figures of a cross-validation: curves, confusion, calibration, attention.

Every function takes plain arrays and returns a matplotlib figure. The colours can be told from each
other by people with any colour vision, and lines differ in style as well, for print.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from oatools.core.files import write_bytes
from oatools.core.provenance import Caution
from oatools.learning.cautions import figure_mark
from oatools.learning.metrics import (
    average_precision,
    calibration,
    mean_area,
    no_skill_precision,
)
from oatools.learning.results import Metric
from oatools.report.templates import interval_text

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# The palette of Okabe and Ito.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6E6E6E"
PURPLE, BLACK = "#CC79A7", "#000000"
#: Colour and style of the other models' lines: no two alike, even without colour.
OTHERS = (
    (RED, "--"),
    (ORANGE, "-."),
    (GREEN, (0, (1, 1))),
    (PURPLE, (0, (6, 1, 1, 1, 1, 1))),
    (BLACK, "--"),
    (GREY, "-."),
    (RED, (0, (1, 1))),
    (GREEN, (0, (6, 1, 1, 1, 1, 1))),
)
#: Markers of the other models, in the same order.
MARKERS = ("s", "D", "v", "^")
STYLE: "dict[RcKeyType, Any]" = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "oatools",
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
NO_SKILL: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":"}
GRID = np.linspace(0, 1, 201)
NONE: Mapping[str, np.ndarray] = MappingProxyType({})
_MOST_COLUMNS = 6  # of confusion matrices, beside each other
_MOST_TICKS = 16  # of slices that are all numbered


@dataclass(frozen=True)
class _Line:
    """One line of a figure: its name, its probabilities (knees,), and how it is drawn."""

    name: str
    probability: np.ndarray
    look: dict[str, Any]


def roc_figure(
    label: np.ndarray,
    probability: np.ndarray,
    fold: np.ndarray,
    others: Mapping[str, np.ndarray] = NONE,
    name: str = "the model",
) -> Figure:
    """Draw the ROC curve of every fold, their vertical mean, that of the others, and the diagonal.

    `name` is that of the model whose folds are drawn. `label`, `probability`, `fold` and each of
    the `others` are (knees,); the mean areas are in the legend. A knee that was tested in
    several repeats is there as often, in other folds.
    """
    figure, axes = _square("1 − specificity", "Recall (sensitivity)")
    for at in _defined_folds(label, fold):
        false, true, _ = roc_curve(label[at], probability[at])
        axes.plot(false, true, color=BLUE, alpha=0.35, linewidth=0.8)
    folds = _defined_folds(label, fold)
    for line in _lines(f"{name}, mean of {len(folds)} folds", probability, others) if folds else ():
        mean = np.mean([_roc_on_grid(label[at], line.probability[at]) for at in folds], axis=0)
        at = np.any(folds, axis=0)
        area = mean_area(label[at], line.probability[at], fold[at])
        axes.plot(GRID, mean, label=f"{line.name}, AUC {area:.3f}", **line.look)
    axes.plot([0, 1], [0, 1], label="no skill, AUC 0.5", **NO_SKILL)
    draw_legend(axes)
    return figure


def pr_figure(
    label: np.ndarray,
    probability: np.ndarray,
    fold: np.ndarray,
    others: Mapping[str, np.ndarray] = NONE,
    name: str = "the model",
) -> Figure:
    """Draw the precision-recall curve of every fold, those of all knees pooled, and no skill.

    `name` is that of the model whose folds are drawn. `label`, `probability`, `fold` and each of
    the `others` are (knees,). The average precision is that of all knees, since in a fold of
    few chance alone gives more than the prevalence.
    """
    figure, axes = _square("Recall (sensitivity)", "Precision")
    for at in _defined_folds(label, fold):
        precision, recall, _ = precision_recall_curve(label[at], probability[at])
        axes.step(recall, precision, where="post", color=BLUE, alpha=0.35, linewidth=0.8)
    for line in _lines(f"{name}, all folds pooled", probability, others):
        precision, recall, _ = precision_recall_curve(label, line.probability)
        shown = f"{line.name}, AP {average_precision(label, line.probability):.3f}"
        axes.step(recall, precision, where="post", label=shown, **line.look)
    no_skill = no_skill_precision(int(label.sum()), len(label))
    axes.axhline(no_skill, label=f"no skill, AP {no_skill:.3f}", **NO_SKILL)
    draw_legend(axes)
    return figure


def confusion_figure(label: np.ndarray, predicted: np.ndarray, fold: np.ndarray) -> Figure:
    """Draw confusion matrices, pooled and by fold: counts, shaded by their share of the row."""
    parts = [("pooled", np.ones(len(label), dtype=bool))]
    for number in sorted(set(fold.tolist())):
        parts.append((f"fold {number}", fold == number))
    columns = min(len(parts), _MOST_COLUMNS)
    lines = -(-len(parts) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.6 * columns + 0.6, 1.9 * lines + 0.3), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, at) in zip(grid, parts, strict=False):
        _draw_confusion(axes, title, label[at], predicted[at])
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    return figure


def calibration_figure(
    label: np.ndarray, name: str, probability: np.ndarray, others: Mapping[str, np.ndarray] = NONE
) -> Figure:
    """Draw the observed share of positives against the mean probability, in bins of equal size.

    Below it is a histogram of the probabilities of the first model.
    """
    bins = int(np.clip(len(label) // 20, 3, 10))
    lines = [_Line(name, probability, {"color": BLUE, "linestyle": "-", "marker": "o"})]
    for line, marker in zip(_other_lines(others), MARKERS, strict=False):
        # Without a line: the probabilities of a model that knows little are nearly all the same,
        # and a line through them would run up and down on one place.
        look = {"color": line.look["color"], "linestyle": "none", "marker": marker}
        lines.append(_Line(line.name, line.probability, look))
    drawn = [np.array(calibration(label, line.probability, bins)) for line in lines]
    highest = max(float(points[:, :2].max()) for points in drawn)
    top = min(1.0, 1.1 * highest)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 5.2), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, top], [0, top], label="perfect", **NO_SKILL)
    for line, points in zip(lines, drawn, strict=True):
        axes.plot(points[:, 0], points[:, 1], markersize=4, label=line.name, **line.look)
    axes.set(ylabel="Observed share of positives", xlim=(0, top), ylim=(0, top))
    draw_legend(axes)
    below.hist(np.clip(probability, 0, top), bins=30, range=(0, top), color=BLUE)
    below.set(xlabel="Predicted probability", ylabel="Knees")
    return figure


def comparison_figure(
    areas: Sequence[Metric], null: Sequence[float] | np.ndarray = (), shown: str = "ROC AUC"
) -> Figure:
    """Draw the area of every model with its interval, and below it those of permuted labels.

    The first model is blue. `null` (permutations,) may be empty. `shown` is what the area is
    called.
    """
    models_in, null_in = 0.35 * len(areas), 1.1
    heights = [models_in, null_in] if len(null) else [models_in]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.0, 0.9 + sum(heights)), layout="constrained")
        parts = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[
            :, 0
        ]
    axes = parts[0]
    for place, area in enumerate(areas):
        colour, marker = (BLUE, "o") if place == 0 else (GREY, "s")
        axes.plot([area.low, area.high], [place, place], color=colour, linewidth=2)
        axes.plot([area.value], [place], marker, color=colour, markersize=5)
        axes.annotate(
            interval_text(area),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    names = [area.model for area in areas]
    axes.set(yticks=range(len(areas)), yticklabels=names, ylim=(len(areas) - 0.4, -0.6))
    if len(null):
        parts[1].hist(null, bins=20, color=GREY)
        parts[1].axvline(areas[0].value, color=BLUE, linewidth=2)
        parts[1].set(ylabel="Permutations")
    for part in parts:
        part.axvline(0.5, **NO_SKILL)
    parts[-1].set(xlabel=f"{shown}, mean of the folds (dotted: no skill)")
    return figure


def attention_figure(
    attention: Sequence[np.ndarray],
    label: np.ndarray,
    groups: tuple[str, str] = ("label 0", "label 1"),
) -> Figure:
    """Draw the mean attention by slice, with its interquartile range, for each class.

    `groups` are what the classes are called. `attention` has an array (slices,) a knee. Slices are
    counted from the middle of each knee's.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
    for value, colour, style in ((0, BLUE, "o-"), (1, ORANGE, "s--")):
        of_class = [weights for weights, y in zip(attention, label, strict=True) if y == value]
        if not of_class:
            continue
        at_offset = _by_offset(of_class)
        offsets = list(at_offset)
        means = [np.mean(weights) for weights in at_offset.values()]
        quartiles = [np.percentile(weights, [25, 75]) for weights in at_offset.values()]
        low, high = zip(*quartiles, strict=True)
        name = f"{groups[value]} ({len(of_class)} knees)"
        axes.plot(offsets, means, style, color=colour, markersize=4, label=name)
        axes.fill_between(offsets, low, high, color=colour, alpha=0.15, linewidth=0)
    uniform = float(np.mean([1 / len(weights) for weights in attention]))
    axes.axhline(uniform, label=f"uniform, {uniform:.3f}", **NO_SKILL)
    axes.set(xlabel="Slice, from the middle of those used", ylabel="Attention", ylim=(0, None))
    all_offsets = list(_by_offset(attention))
    if len(all_offsets) <= _MOST_TICKS:
        axes.set_xticks(all_offsets)
    draw_legend(axes)
    return figure


def mark(figure: Figure, text: str) -> None:
    """Write a caution above a figure, so that it goes where the figure goes."""
    with matplotlib.rc_context(STYLE):
        figure.suptitle(text, color=RED, fontsize=9, fontweight="bold")


def save_figure(figure: Figure, stem: Path) -> None:
    """Write `stem.png` and `stem.svg`; the same figure gives the same bytes."""
    for suffix in ("png", "svg"):
        write_bytes(stem.with_suffix(f".{suffix}"), encode(figure, suffix))


def encode(figure: Figure, suffix: str) -> bytes:
    """Return a figure as the bytes of an SVG or PNG file, without dates or versions."""
    metadata = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        if figure.get_layout_engine() is not None:
            # Laid out once and for all: each layout would start from the one before.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(stream, format=suffix, metadata=metadata)
    return stream.getvalue()


def encode_marked(figure: Figure, suffix: str, cautions: Collection[Caution]) -> bytes:
    """Return a figure as `encode` does, with its cautions written above it."""
    if cautions:
        mark(figure, ", ".join(sorted(map(figure_mark, cautions))))
    return encode(figure, suffix)


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with square axes from 0 to 1, and the axes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 4.8), layout="constrained")
        axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def draw_legend(axes: Axes) -> None:
    """Draw a legend below the axes, where it hides no data."""
    handles, names = axes.get_legend_handles_labels()
    axes.figure.legend(handles, names, loc="outside lower center", frameon=False, fontsize=8)


def _defined_folds(label: np.ndarray, fold: np.ndarray) -> list[np.ndarray]:
    """Return a mask (knees,) of each fold that holds both classes; other curves are undefined."""
    masks = [fold == number for number in sorted(set(fold.tolist()))]
    return [at for at in masks if len(set(label[at].tolist())) == 2]


def _lines(name: str, probability: np.ndarray, others: Mapping[str, np.ndarray]) -> list[_Line]:
    """Return the line of the model that was asked for, called `name`, and the others'."""
    return [_Line(name, probability, {"color": BLUE, "linewidth": 2}), *_other_lines(others)]


def _other_lines(others: Mapping[str, np.ndarray]) -> list[_Line]:
    lines = []
    for (name, probability), (colour, style) in zip(others.items(), OTHERS, strict=False):
        look = {"color": colour, "linewidth": 1.2, "linestyle": style}
        lines.append(_Line(name, probability, look))
    return lines


def _roc_on_grid(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Return the recall at each false positive rate of the grid."""
    false, true, _ = roc_curve(label, probability)
    return np.interp(GRID, false, true)


def _draw_confusion(axes: Axes, title: str, label: np.ndarray, predicted: np.ndarray) -> None:
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (label.astype(int), predicted.astype(int)), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for y in (0, 1):
        for p in (0, 1):
            colour = "white" if share[y, p] > 0.6 else "black"
            text = f"{counts[y, p]}\n{100 * share[y, p]:.0f} %"
            axes.text(p, y, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set(xticks=(0, 1), yticks=(0, 1), xlabel="predicted", ylabel="label")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _by_offset(attention: Sequence[np.ndarray]) -> dict[int, list[float]]:
    """Return the attention of all knees at each slice, counted from the middle, in order."""
    found: dict[int, list[float]] = {}
    for weights in attention:
        middle = len(weights) // 2
        for place, weight in enumerate(weights):
            found.setdefault(place - middle, []).append(weight)
    return dict(sorted(found.items()))
