"""A validation as a figure: calibration, and a forest plot of groups."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oatools.report.figures import BLUE, GREY, NO_SKILL, STYLE
from oatools.validation.calibration import Curve
from oatools.validation.validate import ALL, Part, Validation, scores_of

_LINE = 0.24  # inches of a line of the forest plot
_LEAST_HEIGHT = 3.6
_RATIOS = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # that have a tick


def validation_figure(found: Validation, curve: Curve | None) -> Figure:
    """Draw the calibration curve with its band, and areas and calibration of each group."""
    has_groups = len(found.parts) > 1
    headings = len({part.by for part in found.parts}) - 1
    lines = len(found.parts) + headings
    height = max(_LEAST_HEIGHT, 1.1 + _LINE * lines) if has_groups else _LEAST_HEIGHT
    with matplotlib.rc_context(STYLE):
        size = (10.2 if has_groups else 3.8, height)
        figure = Figure(figsize=size, layout="constrained")
        columns = 3 if has_groups else 1
        ratios = [1.25, 1, 1] if has_groups else [1]
        grid = figure.subplots(1, columns, squeeze=False, width_ratios=ratios)[0]
    _draw_calibration(grid[0], found, curve)
    if has_groups:
        _draw_forest(grid[1], found.parts, "roc_auc", "ROC AUC", 0.5, named=True)
        label = "Events observed / expected"
        _draw_forest(grid[2], found.parts, "observed_expected", label, 1.0, named=False)
    return figure


def _draw_calibration(axes: Axes, found: Validation, curve: Curve | None) -> None:
    scores = scores_of(found.knees)
    tops = [float(np.quantile(scores.probability, 0.99))]
    if curve is not None:
        tops.append(float(curve.high.max()))
        axes.plot(curve.predicted, curve.observed, color=BLUE, linewidth=1.6)
        axes.fill_between(
            curve.predicted, curve.low, curve.high, color=BLUE, alpha=0.15, linewidth=0
        )
    top = min(1.0, 1.05 * max(tops))
    axes.plot([0, top], [0, top], **NO_SKILL)
    # Where the probabilities lie, as a strip along the axis.
    counts, edges = np.histogram(scores.probability, bins=40, range=(0, top))
    heights = 0.1 * top * counts / max(counts.max(), 1)
    axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=GREY, alpha=0.5)
    axes.set(
        xlabel="Predicted probability",
        ylabel="Observed share with the event",
        xlim=(0, top),
        ylim=(0, top),
    )
    axes.set_box_aspect(1)
    axes.set_anchor("N")
    axes.set_title("calibration, 95 % band (dotted: perfect)", loc="left", fontsize=9)


def _draw_forest(
    axes: Axes, parts: Sequence[Part], metric: str, label: str, neutral: float, named: bool
) -> None:
    """Draw a metric of all knees and of each group, a line each, groups below their column."""
    place, ticks, names, heading = 0, [], [], ""
    headings = {part.by for part in parts if part.by}
    for part in parts:
        if part.by != heading:
            heading = part.by
            ticks.append(place)
            names.append(heading)
            place += 1
        value = part[metric]
        is_all = part.name == ALL and not part.by
        if not math.isnan(value.value):
            colour = BLUE if is_all else GREY
            axes.plot([value.value], [place], "D" if is_all else "o", color=colour, markersize=5)
            if not math.isnan(value.low):
                axes.plot([value.low, value.high], [place, place], color=colour, linewidth=1.6)
        else:
            axes.annotate(
                "withheld",
                (0.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
                color=GREY,
                fontsize=7,
            )
        ticks.append(place)
        names.append(f"{'' if is_all else '  '}{part.name} ({part.events} of {part.knees})")
        place += 1
    overall = parts[0][metric].value
    if not math.isnan(overall):
        axes.axvline(overall, color=BLUE, linewidth=0.8, alpha=0.5)
    axes.axvline(neutral, **NO_SKILL)
    axes.set(ylim=(place - 0.4, -0.6), xlabel=label)
    axes.set_yticks(ticks)
    axes.set_yticklabels(names if named else [""] * len(names), fontsize=8, parse_math=False)
    for text, name in zip(axes.get_yticklabels(), names, strict=True):
        if name in headings:
            text.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    if metric == "observed_expected":
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        shown = [tick for tick in _RATIOS if low <= tick <= high]
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axes.minorticks_off()
