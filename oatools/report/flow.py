"""The cohort's flow as a figure in the manner of STROBE: assessed, left out by reason, labelled, positive, negative."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.files import atomic

SUFFIXES = (".svg", ".png", ".pdf")
_WIDTH_IN, _LINE_IN, _PAD_IN = 7.2, 0.19, 0.16
_WRAP = 46


def draw_flow(
    path: str | Path, assessed: str, left_out: Sequence[str], labelled: str, groups: Sequence[str]
) -> None:
    """Draw boxes of text: assessed, beside it what was left out, below it labelled, and below that the groups.

    The form follows the path's suffix (`SUFFIXES`). The same texts give the same bytes.
    """
    import matplotlib

    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a flow is written as .tsv, or drawn as {', '.join(SUFFIXES)}")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    reasons = [
        line
        for reason in left_out
        for line in textwrap.wrap(reason, _WRAP, subsequent_indent="    ")
    ]
    heights = [
        _box(1 + assessed.count("\n")),
        _box(len(reasons)),
        _box(1 + labelled.count("\n")),
        _box(2),
    ]
    gap = 0.35
    total = heights[0] + heights[1] + heights[2] + heights[3] + 4.5 * gap
    with matplotlib.rc_context({"svg.hashsalt": "oatools", "svg.fonttype": "none", "font.size": 9}):
        figure = pyplot.figure(figsize=(_WIDTH_IN, total))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH_IN), ylim=(0, total))
        axes.axis("off")
        left, right = 1.75, 5.25
        top = total - gap / 2
        y = _draw(axes, left, top, 2.6, heights[0], assessed)
        middle = y - gap - heights[1] / 2
        _draw(axes, right, middle + heights[1] / 2, 3.5, heights[1], "\n".join(reasons), "left")
        labelled_top = middle - heights[1] / 2 - gap
        _arrow(axes, (left, y), (left, labelled_top))
        _arrow(axes, (left, middle), (right - 1.75, middle))
        bottom = _draw(axes, left, labelled_top, 2.6, heights[2], labelled)
        for n, text in enumerate(groups):
            x = left + (n - (len(groups) - 1) / 2) * 1.7
            group_top = bottom - gap
            _arrow(axes, (left if len(groups) == 1 else x, bottom), (x, group_top))
            _draw(axes, x, group_top, 1.5, heights[3], text)
        with atomic(path) as temporary:
            kind = Path(path).suffix.lower().removeprefix(".")
            date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
            figure.savefig(temporary, format=kind, dpi=200, metadata=date)
        pyplot.close(figure)


def _box(lines: int) -> float:
    return max(1, lines) * _LINE_IN + _PAD_IN


def _draw(
    axes, x: float, top: float, width: float, height: float, text: str, align: str = "center"
) -> float:  # noqa: ANN001
    """A box of text hanging from `top`, centred at x; returns its lower edge."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x - width / 2, top - height), width, height, fill=False, linewidth=0.8)
    )
    at = x if align == "center" else x - width / 2 + 0.12
    axes.text(at, top - height / 2, text, ha=align, va="center", linespacing=1.35)
    return top - height


def _arrow(axes, start: tuple[float, float], end: tuple[float, float]) -> None:  # noqa: ANN001
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": "-|>",
            "linewidth": 0.8,
            "color": "black",
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
