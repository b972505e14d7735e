"""The result of a reading study as a figure."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from oatools.reading.score import MEAN, Method, ReaderScore
from oatools.reading.strata import strata_in_words
from oatools.report.figures import BLUE, GREY, ORANGE, STYLE

#: Colour and marker of each kind of row.
_READER, _MEAN, _MODEL = (BLUE, "o"), (GREY, "s"), (ORANGE, "D")


def forest_figure(scores: Sequence[ReaderScore], models: Sequence[str], method: Method) -> Figure:
    """Draw the share of pairs that every reader and model ranked correctly, with its interval.

    All pairs come first, then each stratum. `method` is how the intervals were made. Models and the
    readers' mean differ from readers in shape and colour; the mean stands below the readers. A
    single stratum, which holds all pairs, is left out.
    """
    everything, *strata = dict.fromkeys(score.stratum for score in scores)
    titles = {everything: "all pairs"}
    if len(strata) > 1:
        titles.update(strata_in_words(strata))
    looks = _looks([score.reader for score in scores], models)
    with matplotlib.rc_context(STYLE):
        height = 1.2 + len(titles) * (0.3 + 0.26 * len(looks))
        figure = Figure(figsize=(6.4, height), layout="constrained")
        grid = figure.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (stratum, title) in zip(grid, titles.items(), strict=True):
        own = {score.reader: score for score in scores if score.stratum == stratum}
        _draw_stratum(axes, own, looks)
        pairs = next(iter(own.values())).pairs
        axes.set_title(f"{title} ({pairs})", loc="left", fontsize=9, parse_math=False)
    grid[-1].set(
        xticks=[0, 0.25, 0.5, 0.75, 1],
        xticklabels=["0", "25", "50", "75", "100"],
        xlabel="Pairs ranked correctly, %, and 95 % interval (dotted: guessing)",
    )
    _add_legend(figure, looks, method)
    return figure


def _looks(names: Sequence[str], models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each reader, then of their mean, then of models."""
    readers = [name for name in names if name not in models and name != MEAN]
    looks = dict.fromkeys(readers, _READER)
    if MEAN in names:
        looks[MEAN] = _MEAN
    for name in names:
        if name in models:
            looks[name] = _MODEL
    return looks


def _draw_stratum(
    axes: Axes, scores: Mapping[str, ReaderScore], looks: Mapping[str, tuple[str, str]]
) -> None:
    for place, (name, (colour, marker)) in enumerate(looks.items()):
        score = scores.get(name)
        if score is None or math.isnan(score.share):
            continue
        axes.plot([score.low, score.high], [place, place], color=colour, linewidth=1.6)
        axes.plot([score.share], [place], marker, color=colour, markersize=5)
        interval = f"{100 * score.low:.1f}, {100 * score.high:.1f}"
        axes.annotate(
            f"{100 * score.share:.1f} [{interval}]",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    axes.set(yticks=range(len(looks)), ylim=(len(looks) - 0.4, -0.6), xlim=(0, 1))
    axes.set_yticklabels(list(looks), parse_math=False)
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=":")


def _add_legend(figure: Figure, looks: Mapping[str, tuple[str, str]], method: Method) -> None:
    of_mean = "t interval, for other readers too" if method.random_readers else "t interval"
    labels = {
        _READER: f"reader ({method.interval} interval)",
        _MEAN: f"mean of readers ({of_mean})",
        _MODEL: f"model ({method.interval})",
    }
    marks = []
    for look in dict.fromkeys(looks.values()):
        colour, marker = look
        marks.append(Line2D([], [], color=colour, marker=marker, label=labels[look]))
    figure.legend(
        handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8, frameon=False
    )
