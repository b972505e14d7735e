"""Figures of a cross-validation: curves, confusion, calibration, attention. Colour-blind safe, legible in print.

Every function takes plain arrays and returns a matplotlib figure; lines differ in style as well as
in colour.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from oatools.core.files import atomic
from oatools.learning.metrics import average_precision, calibration, roc_auc

# Okabe and Ito's palette, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#6E6E6E"
# What the model is held against: no two alike, even without colour.
OTHERS = ((RED, "--"), (ORANGE, "-."), (GREEN, (0, (1, 1))), ("#CC79A7", (0, (6, 1, 1, 1, 1, 1))))
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "oatools",
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
GRID = np.linspace(0, 1, 201)
NONE: Mapping[str, np.ndarray] = MappingProxyType({})


def roc_figure(
    label: np.ndarray,
    probability: np.ndarray,
    fold: np.ndarray,
    others: Mapping[str, np.ndarray] = NONE,
) -> Figure:
    """ROC curve of every fold, their vertical mean, that of the others, and the diagonal."""
    figure, axes = _square("1 − specificity", "Recall (sensitivity)")
    for at in _folds(label, fold):
        false, true, _ = roc_curve(label[at], probability[at])
        axes.plot(false, true, color=BLUE, alpha=0.35, linewidth=0.8)
    _mean_curves(axes, _roc_on_grid, roc_auc, "AUC", label, fold, probability, others)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="no skill, AUC 0.5")
    _legend(axes)
    return figure


def pr_figure(
    label: np.ndarray,
    probability: np.ndarray,
    fold: np.ndarray,
    others: Mapping[str, np.ndarray] = NONE,
) -> Figure:
    """Precision-recall curve of every fold, their mean, that of the others, and the prevalence."""
    figure, axes = _square("Recall (sensitivity)", "Precision")
    for at in _folds(label, fold):
        precision, recall, _ = precision_recall_curve(label[at], probability[at])
        axes.step(recall, precision, where="post", color=BLUE, alpha=0.35, linewidth=0.8)
    _mean_curves(axes, _pr_on_grid, average_precision, "AP", label, fold, probability, others)
    prevalence = float(label.mean())
    axes.axhline(
        prevalence,
        color=GREY,
        linewidth=1,
        linestyle=":",
        label=f"no skill, prevalence {prevalence:.3f}",
    )
    _legend(axes)
    return figure


def confusion_figure(label: np.ndarray, predicted: np.ndarray, fold: np.ndarray) -> Figure:
    """Confusion matrices, pooled first and then by fold: counts, shaded by the share of the row."""
    numbers = sorted(set(fold.tolist()))
    parts = [("pooled", np.ones(len(label), dtype=bool))] + [
        (f"fold {n}", fold == n) for n in numbers
    ]
    columns = min(len(parts), 6)
    lines = -(-len(parts) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.6 * columns + 0.6, 1.9 * lines + 0.3), layout="constrained")
        grid = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for axes, (title, at) in zip(grid, parts, strict=False):
        _confusion(axes, title, label[at], predicted[at])
    for axes in grid[len(parts) :]:
        axes.set_axis_off()
    return figure


def calibration_figure(
    label: np.ndarray, name: str, probability: np.ndarray, others: Mapping[str, np.ndarray] = NONE
) -> Figure:
    """Observed share of positives against mean probability in bins of equal size, above where the probabilities lie."""
    bins = int(np.clip(len(label) // 20, 3, 10))
    series = [(name, probability, BLUE, "o", "-")] + [
        (n, p, colour, mark, style)
        for (n, p), (colour, style), mark in zip(others.items(), OTHERS, "sDv^", strict=False)
    ]
    points = [(n, calibration(label, p, bins), look) for n, p, *look in series]
    top = min(1.0, 1.1 * max(max(x, y) for _, found, _ in points for x, y, _ in found))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 5.2), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, linestyle=":", label="perfect")
    for n, found, (colour, shape, style) in points:
        axes.plot(
            [x for x, _, _ in found],
            [y for _, y, _ in found],
            color=colour,
            marker=shape,
            linestyle=style,
            markersize=4,
            label=n,
        )
    axes.set(ylabel="Observed share of positives", xlim=(0, top), ylim=(0, top))
    _legend(axes)
    below.hist(np.clip(probability, 0, top), bins=30, range=(0, top), color=BLUE)
    below.set(xlabel="Predicted probability", ylabel="Knees")
    return figure


def comparison_figure(
    areas: Sequence[tuple[str, float, float, float]], null: Sequence[float] = ()
) -> Figure:
    """The pooled ROC AUC of every model (name, value, low, high), above what permuted labels gave."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(6.0, 0.9 + 0.35 * len(areas) + (1.1 if len(null) else 0)), layout="constrained"
        )
        parts = figure.subplots(
            2 if len(null) else 1,
            1,
            sharex=True,
            squeeze=False,
            height_ratios=[0.35 * len(areas), 1.1][: 2 if len(null) else 1],
        )[:, 0]
    axes = parts[0]
    for place, (_, value, low, high) in enumerate(areas):
        axes.plot([low, high], [place, place], color=BLUE if place == 0 else GREY, linewidth=2)
        axes.plot(
            [value],
            [place],
            "o" if place == 0 else "s",
            color=BLUE if place == 0 else GREY,
            markersize=5,
        )
        axes.annotate(
            f"{value:.3f} [{low:.3f}, {high:.3f}]",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    axes.set(
        yticks=range(len(areas)),
        yticklabels=[name for name, *_ in areas],
        ylim=(len(areas) - 0.4, -0.6),
    )
    if len(null):
        parts[1].hist(null, bins=20, color=GREY)
        parts[1].axvline(areas[0][1], color=BLUE, linewidth=2)
        parts[1].set(ylabel="Permutations")
    for part in parts:
        part.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    parts[-1].set(xlabel="ROC AUC over all held-out knees (dotted: no skill)")
    return figure


def attention_figure(attention: Sequence[np.ndarray], label: np.ndarray) -> Figure:
    """Mean attention by slice, counted from the middle of the slices used, with its interquartile range, by class."""
    offsets = sorted({int(o) for a in attention for o in _offsets(len(a))})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
    for value, name, colour, style in ((0, "label 0", BLUE, "o-"), (1, "label 1", ORANGE, "s--")):
        chosen = [a for a, y in zip(attention, label, strict=True) if y == value]
        at = {
            o: [a[o + len(a) // 2] for a in chosen if 0 <= o + len(a) // 2 < len(a)]
            for o in offsets
        }
        seen = [o for o in offsets if at[o]]
        axes.plot(
            seen,
            [np.mean(at[o]) for o in seen],
            style,
            color=colour,
            markersize=4,
            label=f"{name} ({len(chosen)} knees)",
        )
        low, high = zip(*[np.percentile(at[o], [25, 75]) for o in seen], strict=True)
        axes.fill_between(seen, low, high, color=colour, alpha=0.15, linewidth=0)
    uniform = float(np.mean([1 / len(a) for a in attention]))
    axes.axhline(uniform, color=GREY, linewidth=1, linestyle=":", label=f"uniform, {uniform:.3f}")
    axes.set(xlabel="Slice, from the middle of those used", ylabel="Attention", ylim=(0, None))
    if len(offsets) <= 16:
        axes.set_xticks(offsets)
    _legend(axes)
    return figure


def mark(figure: Figure, text: str) -> None:
    """Write a caution above a figure, so that it goes where the figure goes."""
    with matplotlib.rc_context(STYLE):
        figure.suptitle(text, color=RED, fontsize=9, fontweight="bold")


def save_figure(figure: Figure, stem: Path) -> None:
    """Write `stem.png` and `stem.svg`; the same figure gives the same bytes."""
    for suffix in ("png", "svg"):
        with atomic(stem.with_suffix(f".{suffix}")) as temporary:
            temporary.write_bytes(encode(figure, suffix))


def encode(figure: Figure, suffix: str) -> bytes:
    """A figure as the bytes of an SVG or PNG file, without dates or versions."""
    metadata = {"Date": None, "Creator": None} if suffix == "svg" else {"Software": None}
    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()  # laid out once and for all: each layout starts from the last one
            figure.set_layout_engine("none")
        figure.savefig(stream, format=suffix, metadata=metadata)
    return stream.getvalue()


def _square(x: str, y: str) -> tuple[Figure, "matplotlib.axes.Axes"]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 4.8), layout="constrained")
        axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def _legend(axes: "matplotlib.axes.Axes") -> None:
    """A legend below the axes, where it hides no data."""
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=8
    )


def _folds(label: np.ndarray, fold: np.ndarray) -> list[np.ndarray]:
    """The knees of every fold that holds both classes: the curves of the others are undefined."""
    parts = [fold == n for n in sorted(set(fold.tolist()))]
    return [at for at in parts if len(set(label[at].tolist())) == 2]


def _mean_curves(
    axes: Axes,
    on_grid: Callable[[np.ndarray, np.ndarray], np.ndarray],
    area: Callable[[np.ndarray, np.ndarray], float],
    word: str,
    label: np.ndarray,
    fold: np.ndarray,
    probability: np.ndarray,
    others: Mapping[str, np.ndarray],
) -> None:
    """Draw the mean curve over the folds, and those of the others, with their areas in the legend."""
    folds = _folds(label, fold)
    lines = [(probability, f"mean of {len(folds)} folds", {"color": BLUE, "linewidth": 2})]
    lines += [
        (values, name, {"color": colour, "linewidth": 1.2, "linestyle": style})
        for (name, values), (colour, style) in zip(others.items(), OTHERS, strict=False)
    ]
    for values, name, style in lines if folds else []:
        areas = [area(label[at], values[at]) for at in folds]
        mean = np.mean([on_grid(label[at], values[at]) for at in folds], axis=0)
        axes.plot(GRID, mean, label=f"{name}, {word} {np.mean(areas):.3f}{_spread(areas)}", **style)


def _roc_on_grid(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    false, true, _ = roc_curve(label, probability)
    return np.interp(GRID, false, true)


def _pr_on_grid(label: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Precision at each recall of the grid: that of the highest threshold which reaches it."""
    precision, recall, _ = precision_recall_curve(label, probability)
    precision, recall = (
        precision[:-1][::-1],
        recall[:-1][::-1],
    )  # recall now rises; the artificial last point is dropped
    return precision[np.minimum(np.searchsorted(recall, GRID, side="left"), len(recall) - 1)]


def _confusion(
    axes: "matplotlib.axes.Axes", title: str, label: np.ndarray, predicted: np.ndarray
) -> None:
    counts = np.array([[((label == y) & (predicted == p)).sum() for p in (0, 1)] for y in (0, 1)])
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


def _offsets(slices: int) -> np.ndarray:
    return np.arange(slices) - slices // 2


def _spread(values: Sequence[float]) -> str:
    return f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
