"""Cubic B-spline fields on regular grids, fitted and evaluated one axis at a time.

A field is a sum of products of one-dimensional cubic B-splines over a lattice of control points.
Where the samples lie on a regular grid, every sum over a sample's 4 x 4 x 4 control points factors
into sums over axes, so that fitting and evaluation are a few thin matrix products. The fit is the
B-spline approximation of Lee, Wolberg and Shin (IEEE TVCG 1997, equations 3 to 5): with w_c the
weight of control point c at a sample, z the sample's value and m its confidence,

    phi_c = (sum of m w_c^3 z / S) / (sum of m w_c^2)

over the samples, where S is the sum of w^2 over a sample's control points. w, and with it w^2, w^3
and S, are products over the axes: with the basis matrix B (samples x control points) of an axis,
the numerator is the volume contracted along that axis with B^3 divided by the row sums of B^2, the
denominator the mask contracted with B^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oatools.n4.arrays import Array, Doubles

ORDER = 3

# A control point that less confidence than this reaches stays 0.
_UNREACHED = 1e-12


def basis(positions: Array, spans: int) -> Doubles:
    """Values of the `spans + 3` cubic B-splines of a uniform open lattice, (n, spans + 3).

    The n positions lie in [0, 1]; those outside are taken at the nearer end. Rows sum to one.
    """
    t = np.clip(np.asarray(positions, np.float64), 0.0, 1.0) * spans
    first = np.minimum(t.astype(np.intp), spans - 1)  # the interval, and its first control point
    u = (t - first)[:, None]  # the place within the interval, 0 to 1
    pieces = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
    weights = np.concatenate(pieces, axis=1) / 6
    out = np.zeros((len(t), spans + ORDER))
    np.put_along_axis(out, first[:, None] + np.arange(ORDER + 1), weights, axis=1)
    return out


def bases(
    positions: Sequence[Array], spans: Sequence[int], dtype: npt.DTypeLike = np.float64
) -> list[Array]:
    """The matrices of `basis` for each axis."""
    each = zip(positions, spans, strict=True)
    return [basis(places, count).astype(dtype, copy=False) for places, count in each]


def refinement(spans: int) -> Doubles:
    """The matrix (2 spans + 3, spans + 3) that halves the spacing of control points.

    The field stays the same. This is the subdivision of cubic B-splines: new points are (1 6 1) / 8
    and (1 1) / 2 of old ones.
    """
    out = np.zeros((2 * spans + ORDER, spans + ORDER))
    for row in range(2 * spans + ORDER):
        old = row // 2
        if row % 2:
            out[row, old : old + 3] = np.array([1, 6, 1]) / 8
        else:
            out[row, old : old + 2] = 0.5
    return out


def contract(volume: Array, matrices: Sequence[Array]) -> Array:
    """Sum a volume (a, b, c) along each axis with a matrix (samples, points) of it: (A, B, C)."""
    out = (volume.reshape(-1, volume.shape[2]) @ matrices[2]).reshape(*volume.shape[:2], -1)
    out = np.matmul(matrices[1].T, out)
    return np.tensordot(matrices[0], out, axes=(0, 0))


def expand(lattice: Array, matrices: Sequence[Array]) -> Array:
    """Evaluate a lattice (A, B, C) at the samples of the basis matrices of its axes: (a, b, c)."""
    out = np.tensordot(matrices[0], lattice, axes=(1, 0))
    out = np.matmul(matrices[1], out)
    return (out.reshape(-1, out.shape[2]) @ matrices[2].T).reshape(*out.shape[:2], -1)


@dataclass(frozen=True)
class Lattice:
    """A lattice of control points against the samples of a grid, a matrix for each axis.

    `values` holds the basis B, `cubes` B^3 over the row sums of B^2 (the fit's numerator), and
    `squares` B^2 (its denominator).
    """

    spans: tuple[int, ...]
    values: tuple[Array, ...]
    cubes: tuple[Array, ...]
    squares: tuple[Array, ...]


def lattice_on(
    positions: Sequence[Array], spans: Sequence[int], dtype: npt.DTypeLike = np.float32
) -> Lattice:
    """Prepare a lattice of `spans` intervals for samples at positions in [0, 1] along each axis."""
    values, cubes, squares = [], [], []
    for matrix in bases(positions, spans):
        square = matrix**2
        cube = matrix**3 / square.sum(axis=1, keepdims=True)
        values.append(matrix.astype(dtype))
        cubes.append(cube.astype(dtype))
        squares.append(square.astype(dtype))
    return Lattice(tuple(spans), tuple(values), tuple(cubes), tuple(squares))


def weights_of(mask: Array, lattice: Lattice) -> Array:
    """The fit's denominator: the sum of m w_c^2 over the samples, for each control point."""
    return contract(mask, lattice.squares)


def fit(values: Array, weights: Array, lattice: Lattice) -> Array:
    """Control points that approximate `values`, as the module says.

    `values` are zero outside the mask, and times the confidence inside; `weights` are `weights_of`
    the mask. Control points that no sample reaches are 0.
    """
    sums = contract(values, lattice.cubes)
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > _UNREACHED)


def refine(points: Array) -> Array:
    """The same field on a lattice of twice the spans along each axis."""
    matrices = [refinement(n - ORDER).T.astype(points.dtype) for n in points.shape]
    return contract(points, matrices)
