"""Heat as pictures: the slices of one knee with the map over them, and the mean maps of many."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from oatools.core.files import atomic
from oatools.imaging.volume import Volume

if TYPE_CHECKING:
    from oatools.explain.rows import Explanation

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

_HEAT = (
    "inferno"  # one hue from dark to bright, told apart by every kind of colour vision, and in grey
)
_MEDIAL = {"left": ("lateral", "medial"), "right": ("medial", "lateral")}
_ALONG = {"coronal": ("posterior", "anterior"), "axial": ("inferior", "superior")}
_COLUMNS = 6


def draw_montage(
    path: Path,
    volume: Volume,
    found: "Explanation",
    title: str,
    notes: Sequence[str],
    plane: str,
    reference: str = "left",
    count: int = 12,
    label: str = "heat",
    top: float | None = None,
) -> None:
    """Write a PNG: the slices that got most attention, in order, with their heat on one common scale.

    Every slice is drawn twice, plain and overlaid. `notes` stand below the title. `reference` is
    oa-orient's; `label` stands beside the scale, which ends at `top` or else at the volume's own
    maximum.
    """
    chosen = _choose(found.attention, count)
    lines = -(-len(chosen) // _COLUMNS)
    columns = -(-len(chosen) // lines)
    ends = ("posterior", "anterior") if plane == "sagittal" else _MEDIAL[reference]
    header = 0.7 + 0.14 * len(notes)  # inches
    figure = plt.figure(
        figsize=(2.1 * columns + 0.6, 4.3 * lines + 1.65 + header), dpi=110, facecolor="white"
    )
    grid = figure.add_gridspec(
        2 * lines + 1,
        columns + 1,
        width_ratios=[*[1] * columns, 0.06],
        height_ratios=[*[1] * (2 * lines), 0.55],
        left=0.06,
        right=0.93,
        bottom=0.07,
        top=1 - header / figure.get_figheight(),
        wspace=0.04,
        hspace=0.12,
    )
    low, high = np.percentile(volume.data, (1, 99.5))
    top = top or float(found.heat.max()) or 1.0
    shown = None
    for place, index in enumerate(chosen):
        line, column = divmod(place, columns)
        plain, overlay = (figure.add_subplot(grid[2 * line + k, column]) for k in (0, 1))
        for axes in (plain, overlay):
            _show(axes, volume.data[:, :, index], volume, "gray", low, high)
        heat = found.heat[:, :, index]
        shown = _show(
            overlay, heat, volume, _HEAT, 0, top, alpha=np.clip(heat.T[::-1] / top * 1.4, 0, 0.6)
        )
        plain.set_title(
            f"slice {index + 1}   attention {found.attention[index]:.2f}", fontsize=7, pad=2
        )
        if column == 0:
            _mark_ends(overlay, ends)
    _bar(figure, figure.add_subplot(grid[: 2 * lines, columns]), shown, label)
    along = _MEDIAL[reference] if plane == "sagittal" else _ALONG[plane]
    _attention(figure.add_subplot(grid[2 * lines, :columns]), found.attention, chosen, along)
    figure.suptitle(
        title,
        x=0.05,
        y=1 - 0.12 / figure.get_figheight(),
        ha="left",
        va="top",
        fontsize=12,
        weight="bold",
    )
    figure.text(
        0.05, 1 - 0.38 / figure.get_figheight(), "\n".join(notes), ha="left", va="top", fontsize=8
    )
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)


def draw_means(
    path: Path,
    anatomy: Volume,
    means: Mapping[str, np.ndarray],
    title: str,
    notes: Sequence[str],
    plane: str,
    label: str,
    count: int = 8,
) -> None:
    """Write a PNG: mean maps (i, j, slices) by name, one above the other on one scale, over the mean anatomy.

    Shown are the `count` slices with most heat in all of them together.
    """
    total = sum(means.values()).sum(axis=(0, 1))
    chosen = sorted(int(k) for k in np.argsort(-total, kind="stable")[:count] if total[k] > 0) or [
        0
    ]
    header = 0.75 + 0.14 * len(notes)
    figure = plt.figure(
        figsize=(1.9 * len(chosen) + 1.2, 2.1 * len(means) + header), dpi=110, facecolor="white"
    )
    grid = figure.add_gridspec(
        len(means),
        len(chosen) + 1,
        width_ratios=[*[1] * len(chosen), 0.06],
        left=0.05,
        right=0.93,
        bottom=0.03,
        top=1 - header / figure.get_figheight(),
        wspace=0.04,
        hspace=0.14,
    )
    low, high = np.percentile(anatomy.data, (1, 99.5))
    top = max(float(mean.max()) for mean in means.values()) or 1.0
    shown = None
    for line, (name, mean) in enumerate(means.items()):
        for column, index in enumerate(chosen):
            axes = figure.add_subplot(grid[line, column])
            _show(axes, anatomy.data[:, :, index], anatomy, "gray", low, high)
            heat = mean[:, :, index]
            shown = _show(
                axes, heat, anatomy, _HEAT, 0, top, alpha=np.clip(heat.T[::-1] / top * 1.4, 0, 0.6)
            )
            axes.set_title(f"slice {index + 1}", fontsize=7, pad=2)
            if column == 0:
                axes.text(
                    -0.06,
                    0.5,
                    name,
                    transform=axes.transAxes,
                    rotation=90,
                    va="center",
                    ha="right",
                    fontsize=8,
                )
                _mark_ends(
                    axes, ("posterior", "anterior") if plane == "sagittal" else _MEDIAL["left"]
                )
    _bar(figure, figure.add_subplot(grid[:, len(chosen)]), shown, label)
    figure.suptitle(
        title,
        x=0.05,
        y=1 - 0.12 / figure.get_figheight(),
        ha="left",
        va="top",
        fontsize=12,
        weight="bold",
    )
    figure.text(
        0.05, 1 - 0.38 / figure.get_figheight(), "\n".join(notes), ha="left", va="top", fontsize=8
    )
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)


def _choose(attention: np.ndarray, count: int) -> list[int]:
    """The `count` slices with most attention, in order; never one that the model did not see."""
    seen = np.flatnonzero(attention > 0)
    best = seen[np.argsort(-attention[seen], kind="stable")[:count]]
    return sorted(int(k) for k in best)


def _show(axes, plane, volume, colours, low, high, alpha=None):  # noqa: ANN001, ANN202
    """Draw a slice (first axis across, second axis up) with square millimetres."""
    width, height = volume.spacing[:2]
    axes.set_axis_off()
    return axes.imshow(
        plane.T[::-1],
        cmap=colours,
        vmin=low,
        vmax=high,
        alpha=alpha,
        aspect=height / width,
        interpolation="nearest",
    )


def _mark_ends(axes, ends: tuple[str, str]) -> None:  # noqa: ANN001
    style = {"transform": axes.transAxes, "fontsize": 6.5, "color": "white", "va": "bottom"}
    axes.text(0.02, 0.02, ends[0], ha="left", **style)
    axes.text(0.98, 0.02, ends[1], ha="right", **style)


def _bar(figure, axes, shown, label: str) -> None:  # noqa: ANN001
    bar = figure.colorbar(shown, cax=axes)
    bar.set_label(f"{label}, one scale for all slices", fontsize=7)
    bar.ax.tick_params(labelsize=6)


def _attention(axes, attention: np.ndarray, chosen: list[int], along: tuple[str, str]) -> None:  # noqa: ANN001
    colours = ["#0072B2" if k in chosen else "#9ecae1" for k in range(len(attention))]
    axes.bar(np.arange(1, len(attention) + 1), attention, color=colours, width=0.85)
    axes.set_xlim(0.25, len(attention) + 0.75)
    axes.set_xlabel(f"slice, {along[0]} to {along[1]} (dark: shown above)", fontsize=7)
    axes.set_ylabel("attention", fontsize=7)
    axes.tick_params(labelsize=6)
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
