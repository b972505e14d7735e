"""The flow of a cohort as a figure, in the manner of STROBE.

Boxes say how many knees were assessed, which were left out and why, how many were labelled, and how
many of them are in each group.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oatools.core.errors import UsageError
from oatools.core.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")

# All in inches, the origin at the lower left.
_WIDTH = 7.2
_LINE, _PADDING, _GAP = 0.19, 0.16, 0.35
_LEFT, _RIGHT = 1.75, 5.25  # the centres of the two columns of boxes
_BETWEEN_GROUPS = 1.7
_WRAP = 46  # characters a line of a reason


@dataclass(frozen=True)
class _Box:
    """A box of text, centred at `x`."""

    text: str
    x: float
    width: float
    align: Literal["left", "center"] = "center"
    least_lines: int = 1

    @property
    def height(self) -> float:
        lines = self.text.count("\n") + 1
        return max(self.least_lines, lines) * _LINE + _PADDING

    def draw(self, axes: "Axes", top: float) -> float:
        """Draw the box hanging from `top`, and return the height of its lower edge."""
        from matplotlib.patches import Rectangle

        left, bottom = self.x - self.width / 2, top - self.height
        edges = Rectangle((left, bottom), self.width, self.height, fill=False, linewidth=0.8)
        axes.add_patch(edges)
        x = self.x if self.align == "center" else left + 0.12
        middle = top - self.height / 2
        look: dict[str, Any] = {"va": "center", "linespacing": 1.35, "parse_math": False}
        axes.text(x, middle, self.text, ha=self.align, **look)
        return bottom


@dataclass(frozen=True)
class _Flow:
    """The boxes of the figure: assessed, beside it left out, below it labelled, then groups."""

    assessed: _Box
    left_out: _Box
    labelled: _Box
    groups: tuple[_Box, ...]

    @property
    def height(self) -> float:
        boxes = (self.assessed, self.left_out, self.labelled)
        groups = max((box.height for box in self.groups), default=0.0)
        return sum(box.height for box in boxes) + groups + 4.5 * _GAP

    def draw(self, axes: "Axes") -> None:
        """Draw all boxes and the arrows between them."""
        bottom = self.assessed.draw(axes, self.height - _GAP / 2)
        half = self.left_out.height / 2
        middle = bottom - _GAP - half
        self.left_out.draw(axes, middle + half)
        labelled_top = middle - half - _GAP
        _arrow(axes, (_LEFT, bottom), (_LEFT, labelled_top))
        _arrow(axes, (_LEFT, middle), (_RIGHT - self.left_out.width / 2, middle))
        bottom = self.labelled.draw(axes, labelled_top)
        top = bottom - _GAP
        for box in self.groups:
            _arrow(axes, (box.x, bottom), (box.x, top))
            box.draw(axes, top)


def draw_flow(
    path: str | Path,
    assessed: str,
    left_out: Sequence[str],
    labelled: str,
    groups: Sequence[str],
    marks: str = "",
) -> None:
    """Draw the flow into a file, with `marks` above it; see `flow_figure`.

    The form follows the path's suffix (`SUFFIXES`); a `UsageError` for any other. The same texts
    give the same bytes.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: a flow is written as .tsv, or drawn as {', '.join(SUFFIXES)}")
    import matplotlib

    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "oatools", "svg.fonttype": "none"}):
        figure = flow_figure(assessed, left_out, labelled, groups, margin=0.15 if marks else 0)
        if marks:
            from oatools.report.figures import mark

            mark(figure, marks)
        with atomic(path) as stream:
            figure.savefig(stream, format=suffix[1:], dpi=200, metadata=dates.get(suffix, {}))


def flow_figure(
    assessed: str,
    left_out: Sequence[str],
    labelled: str,
    groups: Sequence[str],
    margin: float = 0,
) -> "Figure":
    """Draw the flow: who was assessed, what was left out, who was labelled, and the groups of them.

    `left_out` has a reason a line, and there may be no `groups`. Above is a `margin` in inches.
    """
    import matplotlib
    from matplotlib.figure import Figure

    flow = _lay_out(assessed, left_out, labelled, groups)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(_WIDTH, flow.height + margin))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH), ylim=(0, flow.height + margin))
        axes.axis("off")
        flow.draw(axes)
    return figure


def _lay_out(assessed: str, left_out: Sequence[str], labelled: str, groups: Sequence[str]) -> _Flow:
    reasons = []
    for reason in left_out:
        reasons += textwrap.wrap(reason, _WRAP, subsequent_indent="    ")
    middle = (len(groups) - 1) / 2
    boxes = []
    for number, text in enumerate(groups):
        x = _LEFT + (number - middle) * _BETWEEN_GROUPS
        boxes.append(_Box(text, x, width=1.5, least_lines=2))
    return _Flow(
        assessed=_Box(assessed, _LEFT, width=2.6),
        left_out=_Box("\n".join(reasons), _RIGHT, width=3.5, align="left"),
        labelled=_Box(labelled, _LEFT, width=2.6),
        groups=tuple(boxes),
    )


def _arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "linewidth": 0.8, "color": "black", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=look)
