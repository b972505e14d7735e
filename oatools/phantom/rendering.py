"""A knee drawn on any voxel grid in any of the study's three contrasts.

Arrays are indexed (i, j, k) as in NIfTI, and (k, j, i) in memory; pictures are float32. A picture
is painted part by part, later parts over earlier ones: a cartilage layer is an inflated condyle
over which the bone is painted next, a meniscus a ring of which the cartilage above leaves the
wedge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oatools.phantom import bones, soft_tissue
from oatools.phantom.anatomy import KneeModel, knee_from_ras
from oatools.phantom.contrast import MOTTLING, SIGNAL, TEXTURE, Tissue
from oatools.phantom.solids import Array, Part
from oatools.phantom.waves import Waves

Affine = NDArray[np.float64]
GridShape = tuple[int, int, int]
_Window = tuple[slice, slice, slice]

_SLAB_VOXELS = 150_000  # so that a slab's coordinates and picture stay in the processor's cache


def render(
    knee: KneeModel, shape: GridShape, affine: Affine, contrast: str, bias: bool = True
) -> Array:
    """Draw the knee's noiseless image on a grid: float32 of the given shape, about 0 to 1.5.

    `affine` (4, 4) takes indices (i, j, k) to patient RAS mm; `contrast` is a key of `SIGNAL`.
    Edges are as wide as a voxel is in plane. With `bias` the picture is multiplied by `bias_field`.
    """
    into_knee = knee_from_ras(knee) @ affine
    voxel = np.linalg.norm(into_knee[:3, :3], axis=0)
    brush = _Brush(
        signal=np.array(SIGNAL[contrast], np.float32) * np.float32(knee.gain),
        edge=float(voxel[:2].mean()),
    )
    todo = parts(knee)
    log_gain = knee.bias.over(into_knee, shape) if bias else None
    depths = MOTTLING[contrast]
    out = np.empty(shape[::-1], np.float32)
    for slab in _slabs(into_knee, shape):
        fine = knee.texture.on_grid(into_knee, shape, slab.slices)
        texture = dict.fromkeys(TEXTURE, fine)
        for tissue, waves in _mottling(knee).items():
            coarse = waves.on_grid(into_knee, shape, slab.slices)
            texture[tissue] = fine + coarse * np.float32(depths[tissue] / TEXTURE[tissue])
        picture = _paint(slab, todo, brush, texture)
        if log_gain is not None:
            picture *= np.exp(log_gain(slab.slices))
        out[slab.slices] = picture
    return out.T


def tissue_map(knee: KneeModel, shape: GridShape, affine: Affine) -> NDArray[np.uint8]:
    """The `Tissue` at each voxel's centre, uint8, on a grid given as for `render`."""
    into_knee = knee_from_ras(knee) @ affine
    todo = parts(knee)
    out = np.zeros(shape[::-1], np.uint8)
    for slab in _slabs(into_knee, shape):
        for part, window, distance in _distances(slab, todo):
            for tissue, depth in part.layers:
                out[slab.slices][window][distance < -depth] = tissue
    return out.T


def bias_field(knee: KneeModel, shape: GridShape, affine: Affine) -> Array:
    """The planted multiplicative coil sensitivity, float32, about 1, on a grid as for `render`."""
    into_knee = knee_from_ras(knee) @ affine
    log_gain = knee.bias.over(into_knee, shape)
    out = np.empty(shape[::-1], np.float32)
    for slab in _slabs(into_knee, shape):
        out[slab.slices] = np.exp(log_gain(slab.slices))
    return out.T


def parts(knee: KneeModel) -> list[Part]:
    """Everything to paint, in order."""
    s = knee.shape
    return [
        soft_tissue.limb(s),
        *soft_tissue.muscles(s),
        *soft_tissue.joint(knee),
        *bones.bones(knee),
        *bones.marrow_lesions(knee),
        *soft_tissue.ligaments(s),
    ]


@dataclass(frozen=True)
class _Brush:
    """The signal of each tissue, and the width of an edge (mm)."""

    signal: Array
    edge: float


@dataclass(frozen=True)
class _Slab:
    """Some slices of a grid, with the coordinates of their voxels in the knee frame."""

    slices: slice
    affine: Affine  # of the whole grid, into the knee frame
    coordinates: tuple[Array, Array, Array]  # (k, j, i) each


def _slabs(affine: Affine, shape: GridShape) -> Iterator[_Slab]:
    columns, rows, slices = shape
    step = max(1, _SLAB_VOXELS // (columns * rows))
    i, j, k = np.arange(columns), np.arange(rows), np.arange(slices)
    for first in range(0, slices, step):
        part = slice(first, min(first + step, slices))
        coordinates = []
        for along_i, along_j, along_k, offset in affine[:3]:
            of_row = offset + along_k * k[part, None, None] + along_j * j[:, None]
            coordinates.append(of_row.astype(np.float32) + (along_i * i).astype(np.float32))
        x, y, z = coordinates
        yield _Slab(part, affine, (x, y, z))


def _distances(slab: _Slab, todo: list[Part]) -> Iterator[tuple[Part, _Window, Array]]:
    """Yield the parts that meet the slab, with the window and the distances within it."""
    to_index = np.linalg.inv(slab.affine)
    for part in todo:
        window = _window(part, slab, to_index)
        if window is None:
            continue
        x, y, z = (c[window] for c in slab.coordinates)
        yield part, window, part.distance(x, y, z)


def _window(part: Part, slab: _Slab, knee_to_index: NDArray[np.floating[Any]]) -> _Window | None:
    """The (k, j, i) slices of the slab that can meet the part's box; None if there are none."""
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1)
    index = knee_to_index[:3, :3] @ corners + knee_to_index[:3, 3:]
    low = np.floor(index.min(1)).astype(int)
    high = np.ceil(index.max(1)).astype(int) + 1
    offset = (0, 0, slab.slices.start)
    (i0, j0, k0), (i1, j1, k1) = low - offset, high - offset
    slices, rows, columns = slab.coordinates[0].shape
    window = (
        slice(max(k0, 0), min(k1, slices)),
        slice(max(j0, 0), min(j1, rows)),
        slice(max(i0, 0), min(i1, columns)),
    )
    is_empty = any(s.start >= s.stop for s in window)
    return None if is_empty else window


def _mottling(knee: KneeModel) -> dict[Tissue, Waves]:
    """The coarse variation of the knee's tissues, of those that have one."""
    if knee.mottling is None:
        return {}
    mottling = knee.mottling
    return {
        Tissue.MARROW: mottling.marrow,
        Tissue.MUSCLE: mottling.muscle,
        Tissue.FAT: mottling.fat,
    }


def _paint(slab: _Slab, todo: list[Part], brush: _Brush, texture: dict[Tissue, Array]) -> Array:
    """Paint the parts; `texture` is that of the tissues of `TEXTURE`, in units of its depth."""
    picture = np.zeros(slab.coordinates[0].shape, np.float32)
    for part, window, distance in _distances(slab, todo):
        target = picture[window]
        scale = np.float32(1 / (brush.edge + part.blur))
        for tissue, depth in part.layers:
            # A linear ramp across the surface is the partial volume of a flat edge in a voxel of
            # that width.
            cover = distance * -scale
            cover += np.float32(0.5 - depth * scale)
            np.clip(cover, 0, 1, out=cover)
            if part.amount != 1:
                cover *= np.float32(part.amount)
            signal = brush.signal[tissue]
            if tissue in texture:
                change = texture[tissue][window] * (signal * TEXTURE[tissue])
                change += signal
                change -= target
            else:
                change = signal - target
            change *= cover
            target += change
    return picture
