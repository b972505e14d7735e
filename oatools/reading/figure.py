"""The result of a reading study as a figure."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from oatools.core.manifest import MISSING, Row
from oatools.reading.draw import strata_in_words
from oatools.reading.score import MEAN
from oatools.report.figures import BLUE, GREY, ORANGE, STYLE


def forest_figure(rows: Sequence[Row], models: Sequence[str], method: str) -> Figure:
    """The share of pairs ranked correctly by every reader and model, with its interval, over all pairs and by stratum.

    `rows` are those of `oa-pairs score`, `method` how their intervals were made. Models and the
    readers' mean differ from readers in shape and colour; the mean stands below the readers. One
    stratum that holds all pairs is left out.
    """
    strata = list(dict.fromkeys(row["stratum"] for row in rows))
    words = strata_in_words(strata[1:]) if strata[1:] else {}
    strata = strata[:1] if len(strata) == 2 else strata
    names = sorted(
        dict.fromkeys(row["reader"] for row in rows),
        key=lambda name: (name in models, name == MEAN),
    )
    looks = {
        name: (ORANGE, "D") if name in models else (GREY, "s") if name == MEAN else (BLUE, "o")
        for name in names
    }
    with matplotlib.rc_context(STYLE):
        size = (6.4, 1.2 + len(strata) * (0.3 + 0.26 * len(names)))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(strata), 1, sharex=True, squeeze=False)[:, 0]
    for axes, stratum in zip(grid, strata, strict=True):
        own = {row["reader"]: row for row in rows if row["stratum"] == stratum}
        for place, name in enumerate(names):
            row = own.get(name)
            if row is None or row["rank_auc"] == MISSING:
                continue
            share, low, high = (
                float("nan") if row[c] == MISSING else float(row[c])
                for c in ("rank_auc", "ci_low", "ci_high")
            )
            colour, shape = looks[name]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            axes.plot([share], [place], shape, color=colour, markersize=5)
            text = f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            axes.annotate(
                text, (1.02, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
            )
        axes.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6), xlim=(0, 1))
        axes.set_yticklabels(names, parse_math=False)
        pairs = next(iter(own.values()))["pairs"]
        title = words.get(stratum, "all pairs")
        axes.set_title(f"{title} ({pairs})", loc="left", fontsize=9, parse_math=False)
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    grid[-1].set(
        xticks=[0, 0.25, 0.5, 0.75, 1],
        xticklabels=["0", "25", "50", "75", "100"],
        xlabel="Pairs ranked correctly, %, and 95 % interval (dotted: guessing)",
    )
    kinds = {
        BLUE: f"reader ({method} interval)",
        GREY: "mean of readers (t interval)",
        ORANGE: f"model ({method})",
    }
    shapes = dict(looks.values())
    marks = [
        Line2D([], [], color=colour, marker=shape, label=kinds[colour])
        for colour, shape in shapes.items()
    ]
    figure.legend(
        handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8, frameon=False
    )
    return figure
