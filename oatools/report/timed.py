"""Figures of knees that are followed: curves by risk, areas by time, and calibration."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oatools.core.words import counted
from oatools.learning.followup import YEAR, FollowUp
from oatools.learning.results import MEAN, CrossValidation, Metrics, at_time, month_text
from oatools.report.figures import (
    BLUE,
    GREEN,
    NO_SKILL,
    OTHERS,
    RED,
    STYLE,
    draw_legend,
)
from oatools.survival.curves import kaplan_meier, number_at_risk, survival_interval
from oatools.survival.estimates import times_as_counted
from oatools.survival.measures import calibration_at, equal_groups

_GROUPS = 3
_NAMES = ("lowest third", "middle third", "highest third")
_LOOKS = ((BLUE, "-"), (GREEN, "--"), (RED, "-."))
# Groups of knees by risk have so many events each, were all alike.
_EVENTS_A_GROUP = 10
_MOST_GROUPS = 10


def risk_groups_figure(result: CrossValidation) -> Figure:
    """Draw Kaplan-Meier curves of tested knees by thirds of their risk, and the numbers at risk.

    Thirds are those of each fold, whose risks are of one model. With pointwise 95 % intervals by
    patient. Knees of equal risk are in one group, so that there may be fewer than three.
    """
    found, risk, subject = _tested(result)
    fold = result.fold[result.tested]
    member = np.zeros(len(risk), dtype=np.int64)
    for number in np.unique(fold):
        at = fold == number
        member[at] = equal_groups(risk[at], _GROUPS)
    groups = [(number, member == number) for number in np.unique(member).tolist()]
    names = _NAMES if len(groups) == _GROUPS else [f"group {n + 1}" for n in range(_GROUPS)]
    named = [(names[number], at, _LOOKS[number]) for number, at in groups]
    return _curves_figure(found, subject, named)


def kaplan_meier_figure(found: FollowUp, subject: np.ndarray, name: str) -> Figure:
    """Draw the Kaplan-Meier curve of all knees (`subject` numbers their patients) as above.

    `name` is that of the event.
    """
    return _curves_figure(found, subject, [(name, np.full(len(found), True), (BLUE, "-"))])


def _curves_figure(
    found: FollowUp,
    subject: np.ndarray,
    groups: Sequence[tuple[str, np.ndarray, tuple[str, str]]],
) -> Figure:
    time = times_as_counted(found)
    last = float(found.time.max())
    ticks = np.arange(0, last + 1, YEAR if last <= 10 * YEAR else 2 * YEAR)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2 + 0.25 * len(groups)), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 0.4 + 0.3 * len(groups)])
    for name, at, (colour, style) in groups:
        _draw_curve(axes, time[at], found.event[at], subject[at], name, colour, style)
    axes.set(ylabel="Share of knees without the event", ylim=(0, 1.02), xlim=(0, 1.02 * last))
    axes.legend(loc="lower left", frameon=False)
    for row, (name, at, (colour, _)) in enumerate(groups):
        counts = number_at_risk(time[at], ticks, np.ones((1, int(at.sum()))))[0]
        for months, count in zip(ticks, counts, strict=True):
            below.text(months, row, f"{count:.0f}", ha="center", va="center", fontsize=8)
        below.annotate(
            name,
            (-0.06, row),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )
    below.set(ylim=(len(groups) - 0.5, -0.5), xticks=ticks, yticks=())
    below.set(xlabel="Months since the visit (below the curves: knees at risk)")
    below.spines[:].set_visible(False)
    return figure


def areas_figure(metrics: Metrics, at: Sequence[float]) -> Figure:
    """Draw the AUC of every model at some months, and the interval of the first."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
    looks = [(BLUE, "-"), *OTHERS]
    for model, (colour, style) in zip(metrics.models(), looks, strict=False):
        found = [metrics.get(model, MEAN, at_time("auc", months)) for months in at]
        values = [metric.value for metric in found]
        width = 2 if model == metrics.models()[0] else 1.2
        axes.plot(
            at,
            values,
            "o",
            linestyle=style,
            color=colour,
            markersize=4,
            linewidth=width,
            label=model,
        )
        if model == metrics.models()[0]:
            low, high = [metric.low for metric in found], [metric.high for metric in found]
            axes.vlines(at, low, high, color=colour, linewidth=2, alpha=0.5)
    axes.axhline(0.5, label="no skill", **NO_SKILL)
    axes.set(xlabel="Months since the visit", ylabel="AUC", xticks=at)
    draw_legend(axes)
    return figure


def calibration_figure(result: CrossValidation) -> Figure:
    """Draw observed against mean predicted risk of the first model, one panel for each time."""
    found, _, subject = _tested(result)
    time, event = times_as_counted(found), found.event
    panels = len(result.at)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.1 * panels + 0.6, 2.7), layout="constrained")
        grid = figure.subplots(1, panels, squeeze=False)[0]
    for place, (axes, months) in enumerate(zip(grid, result.at, strict=True)):
        risk = result.first.risk[result.tested, place]
        happened = int((event & (time <= months)).sum())
        groups = int(np.clip(happened // _EVENTS_A_GROUP, 2, _MOST_GROUPS))
        points = calibration_at(time, event, risk, np.ones((1, len(time))), months, groups)
        top = float(np.nanmax([points.expected.max(), np.nanmax(points.observed), 0.05]))
        top = min(1.0, 1.15 * top)
        axes.plot([0, top], [0, top], **NO_SKILL)
        low, high = _group_intervals(time, event, subject, risk, months, groups)
        axes.vlines(points.expected[0], low, high, color=BLUE, linewidth=1, alpha=0.5)
        axes.plot(points.expected[0], points.observed[0], "o", color=BLUE, markersize=4)
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal", title=f"by {month_text(months)}")
        axes.title.set_fontsize(9)
        axes.set_xlabel("Predicted risk")
    grid[0].set_ylabel("Observed risk")
    return figure


def _group_intervals(
    time: np.ndarray,
    event: np.ndarray,
    subject: np.ndarray,
    risk: np.ndarray,
    months: float,
    groups: int,
) -> tuple[list[float], list[float]]:
    """The 95 % intervals of the observed risk of each group of `calibration_at`."""
    member = equal_groups(risk, groups)
    low, high = [], []
    for number in np.unique(member):
        at = member == number
        below, above = survival_interval(time[at], event[at], subject[at], months)
        low.append(1 - float(above[0]))
        high.append(1 - float(below[0]))
    return low, high


def _draw_curve(
    axes: Axes,
    time: np.ndarray,
    event: np.ndarray,
    subject: np.ndarray,
    name: str,
    colour: str,
    style: str,
) -> None:
    curve = kaplan_meier(time, event, np.ones((1, len(time))))
    at = np.append(0.0, curve.times)
    low, high = survival_interval(time, event, subject, at)
    label = f"{name}: {counted(int(event.sum()), 'event')} in {counted(len(time), 'knee')}"
    share = np.append(1.0, curve.values[0])
    axes.step(at, share, where="post", color=colour, linestyle=style, linewidth=1.8, label=label)
    axes.fill_between(at, low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def _tested(result: CrossValidation) -> tuple[FollowUp, np.ndarray, np.ndarray]:
    """The follow-up of tested knees, the first model's last risk, and numbers of patients."""
    at = result.tested
    subject = np.unique(np.asarray(result.cohort.subject)[at], return_inverse=True)[1]
    return result.cohort.followed().take(at), result.first.probability[at], subject
