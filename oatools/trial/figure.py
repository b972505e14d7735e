"""What a score would do for a trial, as a figure."""

import math
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from oatools.learning.intervals import Estimate
from oatools.report.figures import BLACK, BLUE, GREY, MARKERS, NO_SKILL, OTHERS, STYLE
from oatools.trial.decision import Decision
from oatools.trial.enrichment import Enrichment, Outcome

_WIDTH, _HEIGHT = 3.3, 3.5  # inches of a panel


def enrichment_figure(found: Enrichment, curve: Sequence[Decision]) -> Figure:
    """Draw event rate, patients and candidates by the share that is enrolled, and net benefit.

    Where costs are asked for, they have a panel of their own. Dotted is a trial of all comers. The
    first model has a band, its 95 % interval, and rules are single points with theirs. What is
    withheld is not drawn.
    """
    panels: list[Callable[[Axes, Enrichment], None]] = [_draw_rates, _draw_patients, _draw_screened]
    if found.trial.has_costs:
        panels.append(_draw_costs)
    columns = 3 if found.trial.has_costs else 2
    with matplotlib.rc_context(STYLE):
        size = (_WIDTH * columns, 2 * _HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(2, columns, squeeze=False).ravel().tolist()
    for axes, draw in zip(grid, panels, strict=False):
        draw(axes, found)
        axes.set(xlabel="Candidates enrolled", xlim=(0, 1.02))
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    _draw_decisions(grid[len(panels)], curve)
    for axes in grid[len(panels) + 1 :]:
        axes.set_axis_off()
    _add_legend(figure, grid)
    return figure


def _add_legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """Name what is drawn in any panel, below them all."""
    handles: dict[str, Artist] = {}
    for axes in grid:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="outside lower center",
        ncols=min(len(handles), 4),
        frameon=False,
        fontsize=8,
    )


def _draw_rates(axes: Axes, found: Enrichment) -> None:
    _draw_by_share(axes, found, lambda outcome: outcome.rate)
    axes.set(ylabel="Event rate among those enrolled", ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _draw_patients(axes: Axes, found: Enrichment) -> None:
    _draw_by_share(axes, found, lambda outcome: outcome.randomised)
    axes.set(ylabel="Patients randomised", ylim=(0, None))


def _draw_screened(axes: Axes, found: Enrichment) -> None:
    _draw_by_share(axes, found, lambda outcome: outcome.screened)
    axes.set(ylabel="Candidates screened", ylim=(0, None))


def _draw_costs(axes: Axes, found: Enrichment) -> None:
    _draw_by_share(axes, found, lambda outcome: outcome.cost)
    axes.set(ylabel="Cost", ylim=(0, None))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _draw_by_share(axes: Axes, found: Enrichment, of: Callable[[Outcome], Estimate]) -> None:
    """Draw a quantity by share: a line for each model, and a point for each rule."""
    first, *others = found.candidates.scores
    everybody = of(found.outcomes[0]).value
    if math.isfinite(everybody):
        axes.axhline(everybody, label="all comers", **NO_SKILL)
    known = _known(found.of(first), of)
    if known:
        shares, values = zip(*known, strict=True)
        axes.plot(
            shares, [v.value for v in values], color=BLUE, marker="o", markersize=3, label=first
        )
        bounded = [(s, v.low, v.high) for s, v in known if math.isfinite(v.high)]
        if bounded:
            _band(axes, bounded)
    for name, (colour, style) in zip(others, OTHERS, strict=False):
        known = _known(found.of(name), of)
        if known:
            shares, values = zip(*known, strict=True)
            axes.plot(shares, [v.value for v in values], color=colour, linestyle=style, label=name)
    rules = [o for o in found.outcomes if o.strategy.rule and not o.strategy.model]
    for outcome, marker in zip(rules, MARKERS * len(rules), strict=False):
        for share, value in _known([outcome], of):
            axes.plot(
                [share],
                [value.value],
                marker,
                color=BLACK,
                markersize=5,
                label=outcome.strategy.name,
            )
            if math.isfinite(value.high):
                axes.plot([share, share], [value.low, value.high], color=BLACK, linewidth=1)


def _band(axes: Axes, bounds: Sequence[tuple[float, float, float]]) -> None:
    """Draw a band of places, and the least and most at each."""
    places, low, high = zip(*bounds, strict=True)
    axes.fill_between(places, low, high, color=BLUE, alpha=0.15, linewidth=0)


def _known(
    outcomes: Sequence[Outcome], of: Callable[[Outcome], Estimate]
) -> list[tuple[float, Estimate]]:
    """The shares at which a quantity has a value, in order, and that."""
    found = [(o.share, of(o)) for o in outcomes if math.isfinite(of(o).value)]
    return sorted(found, key=lambda each: each[0])


def _draw_decisions(axes: Axes, curve: Sequence[Decision]) -> None:
    models = list(dict.fromkeys(each.model for each in curve))
    looks = [(BLUE, "-"), *OTHERS]
    for name, (colour, style) in zip(models, looks, strict=False):
        own = [each for each in curve if each.model == name]
        at = [each.threshold for each in own]
        benefit = [each.benefit.value for each in own]
        axes.plot(at, benefit, color=colour, linestyle=style, label=name)
        if name == models[0]:
            bounded = [(e.threshold, e.benefit.low, e.benefit.high) for e in own]
            kept = [each for each in bounded if math.isfinite(each[1])]
            if kept:
                _band(axes, kept)
    own = [each for each in curve if each.model == models[0]]
    at, everybody = [e.threshold for e in own], [e.enroll_all for e in own]
    axes.plot(at, everybody, color=GREY, linestyle="--", linewidth=1, label="enrolling all")
    axes.axhline(0, color=GREY, linestyle="-", linewidth=0.8, label="enrolling nobody")
    top = max([everybody[0], *(each.benefit.value for each in curve)])
    axes.set(
        xlabel="Threshold probability",
        ylabel="Net benefit (events per candidate)",
        ylim=(-0.25 * top, 1.1 * top),
        xlim=(0, max(at)),
    )
