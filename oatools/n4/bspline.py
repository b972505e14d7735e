"""Cubic B-spline fields on regular grids, fitted and evaluated one axis at a time.

A field is a sum of products of one-dimensional cubic B-splines over a lattice of control points.
Where the samples lie on a regular grid, every sum over a sample's 4 x 4 x 4 control points factors
into sums over axes, so that fitting and evaluation are a few thin matrix products. The fit is the
B-spline approximation of Lee, Wolberg and Shin (IEEE TVCG 1997, equations 3 to 5): with w_c the
weight of control point c at a sample, z the sample's value and m its confidence,

    phi_c = sum m w_c^3 z / S   /   sum m w_c^2,        S = sum over the sample's control points of w^2.

w, and with it w^2, w^3 and S, are products over the axes: with the basis matrix B (samples x
control points) of an axis, the numerator is the volume contracted along that axis with B^3 divided
by the row sums of B^2, the denominator the mask contracted with B^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

ORDER = 3


def basis(positions: Array, spans: int) -> Array:
    """Values of the `spans + 3` cubic B-splines of a uniform open lattice at positions in [0, 1], (n, spans + 3).

    Positions outside are taken at the nearer end. Rows sum to one. float64.
    """
    t = np.clip(np.asarray(positions, np.float64), 0.0, 1.0) * spans
    first = np.minimum(t.astype(np.intp), spans - 1)
    u = (t - first)[:, None]
    pieces = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
    weights = np.concatenate(pieces, axis=1) / 6
    out = np.zeros((len(t), spans + ORDER))
    np.put_along_axis(out, first[:, None] + np.arange(ORDER + 1), weights, axis=1)
    return out


def refinement(spans: int) -> Array:
    """The matrix (2 spans + 3, spans + 3) that takes control points to those of the same field on half the spacing.

    The subdivision of cubic B-splines: new points are (1 6 1) / 8 and (1 1) / 2 of old ones.
    """
    out = np.zeros((2 * spans + ORDER, spans + ORDER))
    for row in range(2 * spans + ORDER):
        if row % 2:
            out[row, row // 2 : row // 2 + 3] = np.array([1, 6, 1]) / 8
        else:
            out[row, row // 2 : row // 2 + 2] = 0.5
    return out


def contract(volume: Array, matrices: Sequence[Array]) -> Array:
    """Sum a volume (a, b, c) along each axis with a matrix (samples, control points) of that axis: (A, B, C)."""
    out = (volume.reshape(-1, volume.shape[2]) @ matrices[2]).reshape(*volume.shape[:2], -1)
    out = np.matmul(matrices[1].T, out)
    return np.tensordot(matrices[0], out, axes=(0, 0))


def expand(lattice: Array, matrices: Sequence[Array]) -> Array:
    """Evaluate a lattice (A, B, C) of control points at the samples of basis matrices of its axes: (a, b, c)."""
    out = np.tensordot(matrices[0], lattice, axes=(1, 0))
    out = np.matmul(matrices[1], out)
    return (out.reshape(-1, out.shape[2]) @ matrices[2].T).reshape(*out.shape[:2], -1)


@dataclass(frozen=True)
class Lattice:
    """The samples of a grid against a lattice: basis matrices, and the fit's numerator and denominator matrices."""

    spans: tuple[int, ...]
    values: tuple[Array, ...]
    cubes: tuple[Array, ...]
    squares: tuple[Array, ...]


def lattice_on(
    positions: Sequence[Array], spans: Sequence[int], dtype: type = np.float32
) -> Lattice:
    """Prepare a lattice of `spans` intervals an axis for samples at these positions (in [0, 1]) along each axis."""
    values = [basis(p, n) for p, n in zip(positions, spans, strict=True)]
    squares = [b**2 for b in values]
    cubes = [b**3 / s.sum(axis=1, keepdims=True) for b, s in zip(values, squares, strict=True)]
    cast = [tuple(m.astype(dtype) for m in matrices) for matrices in (values, cubes, squares)]
    return Lattice(tuple(spans), *cast)


def weights_of(mask: Array, lattice: Lattice) -> Array:
    """The fit's denominator: the sum of m w_c^2 over the samples, for each control point."""
    return contract(mask, lattice.squares)


def fit(values: Array, weights: Array, lattice: Lattice) -> Array:
    """Control points that approximate `values` (zero outside the mask; times the confidence inside); see the module.

    `weights` are `weights_of` the mask; control points that no sample reaches are 0.
    """
    sums = contract(values, lattice.cubes)
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-12)


def refine(points: Array) -> Array:
    """The same field on a lattice of twice the spans along each axis."""
    matrices = [refinement(n - ORDER).T.astype(points.dtype) for n in points.shape]
    return contract(points, matrices)
