"""Heat as pictures: the slices of one knee with the map over them, and the mean maps of many."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patheffects import withStroke

from oatools.explain.explanation import Explanation
from oatools.imaging.volume import Volume

# One hue from dark to bright, which every kind of colour vision can follow, and grey print too.
_HEAT = "inferno"
_MEDIAL = {"left": ("lateral", "medial"), "right": ("medial", "lateral")}
_ALONG = {"coronal": ("posterior", "anterior"), "axial": ("inferior", "superior")}
_COLUMNS = 6
_BAR_WIDTH = 0.13  # of a slice's
_LENGTH_MM = 20
_DPI = 110
# What is written over a slice is read over bright tissue, too.
_OUTLINE = [withStroke(linewidth=2.0, foreground="black")]
_OVER_SLICE: dict[str, Any] = {"fontsize": 6.5, "color": "white", "path_effects": _OUTLINE}
_SHOWN, _OTHERS = "#0072B2", "#9ecae1"


@dataclass(frozen=True)
class Montage:
    """The picture of one volume: the slices that got most attention, plain and with their heat.

    Of a model that takes all slices alike, they are those with most heat.

    `notes` stand below the title. `plane` and `reference` are oa-orient's; `scale` stands beside
    the colours of heat, which end at `top`, or at the volume's own maximum where that is None.
    `count` is the number of slices.
    """

    volume: Volume
    explanation: Explanation
    title: str
    notes: Sequence[str]
    plane: str
    reference: str = "left"
    count: int = 12
    scale: str = "heat"
    top: float | None = None

    def chosen(self) -> list[int]:
        """Return the slices with most weight, in order, and none that the model did not see."""
        seen = np.flatnonzero(self.explanation.attention > 0)
        weights = self.weights()[seen]
        best = seen[np.argsort(-weights, kind="stable")[: self.count]]
        return sorted(int(k) for k in best)

    def weights(self) -> np.ndarray:
        """Return the attention of all slices (slices,), or the largest heat of each without any."""
        found = self.explanation
        return found.attention if found.has_attention else found.heat.max(axis=(0, 1))


@dataclass(frozen=True)
class MeanPicture:
    """The picture of mean maps (i, j, slices) by name, on one scale over the mean anatomy.

    Shown are the `count` slices with most heat in all maps together; other fields as in `Montage`.
    """

    anatomy: Volume
    means: Mapping[str, np.ndarray]
    title: str
    notes: Sequence[str]
    plane: str
    scale: str
    count: int = 8

    def chosen(self) -> list[int]:
        """Return the slices with most heat, in order; the first where there is no heat at all."""
        total = np.zeros(self.anatomy.data.shape[2])
        for mean in self.means.values():
            total += mean.sum(axis=(0, 1))
        best = np.argsort(-total, kind="stable")[: self.count]
        hot = sorted(int(k) for k in best if total[k] > 0)
        return hot or [0]


def draw_montage(montage: Montage) -> bytes:
    """Return the picture of one volume as PNG."""
    chosen = montage.chosen()
    lines = -(-len(chosen) // _COLUMNS)
    columns = -(-len(chosen) // lines)
    header = 0.7 + 0.14 * len(montage.notes)  # inches
    size = (2.1 * columns + 0.6, 4.3 * lines + 1.65 + header)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    grid = figure.add_gridspec(
        2 * lines + 1,
        columns + 1,
        width_ratios=[*[1] * columns, _BAR_WIDTH],
        height_ratios=[*[1] * (2 * lines), 0.55],
        left=0.06,
        right=0.93,
        bottom=0.07,
        top=1 - header / size[1],
        wspace=0.04,
        hspace=0.12,
    )
    view = _draw_slices(figure, grid, montage, chosen, columns)
    view.draw_bar(figure.add_subplot(grid[: 2 * lines, columns]), montage.scale)
    _draw_weights(figure.add_subplot(grid[2 * lines, :columns]), montage, chosen)
    _draw_header(figure, montage.title, montage.notes)
    return _png(figure)


def draw_means(picture: MeanPicture) -> bytes:
    """Return the picture of mean maps as PNG, one map above the other."""
    chosen = picture.chosen()
    header = 0.75 + 0.14 * len(picture.notes)  # inches
    size = (1.9 * len(chosen) + 1.2, 2.1 * len(picture.means) + header)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    grid = figure.add_gridspec(
        len(picture.means),
        len(chosen) + 1,
        width_ratios=[*[1] * len(chosen), _BAR_WIDTH],
        left=0.05,
        right=0.93,
        bottom=0.03,
        top=1 - header / size[1],
        wspace=0.04,
        hspace=0.14,
    )
    top = max(float(mean.max()) for mean in picture.means.values()) or 1.0
    view = _View.of(picture.anatomy, top)
    for line, (name, mean) in enumerate(picture.means.items()):
        for column, index in enumerate(chosen):
            axes = figure.add_subplot(grid[line, column])
            view.draw_slice(axes, index)
            view.draw_heat(axes, mean[:, :, index])
            axes.set_title(f"slice {index + 1}", fontsize=7, pad=2)
            if column == 0:
                _write_beside(axes, name)
                _mark_ends(axes, picture.plane, "left")
                view.draw_length(axes)
    view.draw_bar(figure.add_subplot(grid[:, len(chosen)]), picture.scale)
    _draw_header(figure, picture.title, picture.notes)
    return _png(figure)


@dataclass(frozen=True)
class _View:
    """A volume with the scale of its greys, from `low` to `high`, and of its heat, up to `top`."""

    volume: Volume
    low: float
    high: float
    top: float

    @classmethod
    def of(cls, volume: Volume, top: float) -> "_View":
        low, high = np.percentile(volume.data, (1, 99.5))
        return cls(volume, low, high, top)

    def draw_slice(self, axes: Axes, index: int) -> None:
        """Draw a slice in grey."""
        plane = self.volume.data[:, :, index]
        self._draw(axes, plane, cmap="gray", vmin=self.low, vmax=self.high)

    def draw_heat(self, axes: Axes, heat: np.ndarray) -> None:
        """Draw heat (i, j), the more opaque the hotter."""
        opacity = self._opacity(heat.T[::-1])
        self._draw(axes, heat, cmap=_HEAT, vmin=0, vmax=self.top, alpha=opacity)

    def draw_bar(self, axes: Axes, scale: str) -> None:
        """Draw the colours of heat as they stand in the picture, over tissue of three greys."""
        heat = np.repeat(np.linspace(0, self.top, 256)[:, None], 3, axis=1)
        greys = np.broadcast_to([0.0, 0.5, 1.0], heat.shape)
        place: dict[str, Any] = {"extent": (0, 3, 0, self.top), "aspect": "auto", "origin": "lower"}
        axes.imshow(greys, cmap="gray", vmin=0, vmax=1, **place)
        opacity = self._opacity(heat)
        axes.imshow(heat, cmap=_HEAT, vmin=0, vmax=self.top, alpha=opacity, **place)
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        seen = f"{scale}\nas seen over dark, grey and bright tissue"
        axes.set_ylabel(seen, fontsize=7, parse_math=False)
        axes.tick_params(labelsize=6, length=2)
        # Small heat would have long labels, which push the text off the picture.
        _shorten_numbers(axes)

    def draw_length(self, axes: Axes) -> None:
        """Draw how long so many millimetres are, above the ends of the slice."""
        columns, rows = self.volume.data.shape[:2]
        length = _LENGTH_MM / float(self.volume.spacing[0])
        left, y = 0.04 * columns, 0.1 * rows
        if left + length < 0.9 * columns:
            ends = [left, left + length]
            axes.plot(ends, [y, y], color="white", linewidth=1.5, path_effects=_OUTLINE)
            axes.text(left, y - 0.02 * rows, f"{_LENGTH_MM} mm", va="bottom", **_OVER_SLICE)

    def _opacity(self, heat: np.ndarray) -> np.ndarray:
        return np.clip(heat / self.top * 1.4, 0, 0.6)

    def _draw(self, axes: Axes, plane: np.ndarray, **colours: Any) -> None:
        """Draw a plane, first axis across, second axis up, with square millimetres."""
        width, height = self.volume.spacing[:2]
        axes.set_axis_off()
        axes.imshow(plane.T[::-1], aspect=float(height / width), interpolation="nearest", **colours)


def _draw_slices(
    figure: Figure, grid: GridSpec, montage: Montage, chosen: list[int], columns: int
) -> "_View":
    """Draw every slice twice, plain and below that with its heat; return how it is shown."""
    found = montage.explanation
    view = _View.of(montage.volume, montage.top or float(found.heat.max()) or 1.0)
    for place, index in enumerate(chosen):
        line, column = divmod(place, columns)
        plain = figure.add_subplot(grid[2 * line, column])
        overlay = figure.add_subplot(grid[2 * line + 1, column])
        view.draw_slice(plain, index)
        view.draw_slice(overlay, index)
        view.draw_heat(overlay, found.heat[:, :, index])
        title = f"slice {index + 1}"
        if found.has_attention:
            title += f"   attention {found.attention[index]:.2f}"
        plain.set_title(title, fontsize=7, pad=2)
        if column == 0:
            _mark_ends(overlay, montage.plane, montage.reference)
            _write_beside(plain, "scan")
            _write_beside(overlay, "with heat")
        if place == 0:
            view.draw_length(plain)
    return view


def _draw_weights(axes: Axes, montage: Montage, chosen: list[int]) -> None:
    """Draw the attention of all slices as bars, or their heat, dark for those that are shown."""
    weights = montage.weights()
    numbers = np.arange(1, len(weights) + 1)
    colours = np.full(len(weights), _OTHERS)
    colours[chosen] = _SHOWN
    axes.bar(numbers, weights, color=colours.tolist(), width=0.85)
    axes.set_xlim(0.25, len(weights) + 0.75)
    if montage.plane == "sagittal":
        first, last = _MEDIAL[montage.reference]
    else:
        first, last = _ALONG[montage.plane]
    axes.set_xlabel(f"slice, {first} to {last} (dark: shown above)", fontsize=7)
    has_attention = montage.explanation.has_attention
    axes.set_ylabel("attention" if has_attention else "largest heat", fontsize=7)
    axes.tick_params(labelsize=6)
    _shorten_numbers(axes)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)


def _shorten_numbers(axes: Axes) -> None:
    """Write small and large numbers of the vertical axis without their zeros."""
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(6)


def _draw_header(figure: Figure, title: str, notes: Sequence[str]) -> None:
    height = figure.get_figheight()
    # Names of knees and endpoints are texts: a $ in them is no formula.
    plain: dict[str, Any] = {"ha": "left", "va": "top", "parse_math": False}
    figure.suptitle(title, x=0.05, y=1 - 0.12 / height, fontsize=12, weight="bold", **plain)
    figure.text(0.05, 1 - 0.38 / height, "\n".join(notes), fontsize=8, **plain)


def _mark_ends(axes: Axes, plane: str, reference: str) -> None:
    """Name the left and the right end of a slice in its lower corners."""
    left, right = ("posterior", "anterior") if plane == "sagittal" else _MEDIAL[reference]
    place: dict[str, Any] = {"va": "bottom", "transform": axes.transAxes, **_OVER_SLICE}
    axes.text(0.02, 0.02, left, ha="left", **place)
    axes.text(0.98, 0.02, right, ha="right", **place)


def _write_beside(axes: Axes, name: str) -> None:
    axes.text(
        -0.06,
        0.5,
        name,
        transform=axes.transAxes,
        rotation=90,
        va="center",
        ha="right",
        fontsize=8,
        parse_math=False,
    )


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
