"""Smooth random fields as sums of plane waves: the coil's bias field and the mottling of tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

#: Root mean square of the logarithm of the bias field.
BIAS_RMS = 0.2


@dataclass(frozen=True)
class Waves:
    """The field `offset` + sum of amplitude * cos(vector . point + phase), in the knee frame.

    A plane wave on an affine grid is an outer product of one-dimensional waves, so a slice costs
    one matrix product.
    """

    vectors: NDArray[np.float64]  # (n, 3), radians per mm
    phases: NDArray[np.float64]  # (n,)
    amplitudes: NDArray[np.float64]  # (n,)
    offset: float = 0.0

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the field at `points` (..., 3) in the knee frame."""
        angles = points @ self.vectors.T + self.phases
        values: NDArray[np.float64] = self.offset + np.cos(angles) @ self.amplitudes
        return values

    def over(
        self, affine: NDArray[np.float64], shape: tuple[int, int, int]
    ) -> Callable[[slice], NDArray[np.float32]]:
        """A function that gives the field on some slices of a grid, as `on_grid` does."""
        return partial(self.on_grid, affine, shape)

    def on_grid(
        self, affine: NDArray[np.float64], shape: tuple[int, int, int], k: slice
    ) -> NDArray[np.float32]:
        """Return the field on slices `k` of a grid with this affine into the knee frame.

        The grid's `shape` is (i, j, k); the result is indexed (k, j, i).
        """
        columns, rows, _ = shape
        step = self.vectors @ affine[:3, :3]  # phase advance per voxel along each axis
        start = self.vectors @ affine[:3, 3] + self.phases
        slices = np.arange(k.start, k.stop)
        along_i = step[:, 0, None] * np.arange(columns)
        along_j = start[:, None] + step[:, 1, None] * np.arange(rows)
        along_jk = along_j + step[:, 2, None] * slices[:, None, None]
        # cos(a + b) = cos(a) cos(b) - sin(a) sin(b), with a along j and k, and b along i
        scaled = self.amplitudes[:, None]
        left = [scaled * np.cos(along_jk), -scaled * np.sin(along_jk)]
        right = [np.cos(along_i), np.sin(along_i)]
        waves_jk = np.concatenate(left, axis=1).astype(np.float32)
        waves_i = np.concatenate(right).astype(np.float32)
        values: NDArray[np.float32] = np.matmul(waves_jk.transpose(0, 2, 1), waves_i)
        return values + np.float32(self.offset)


def no_waves() -> Waves:
    """A field that is 0 everywhere."""
    return Waves(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


def random_bias(rng: np.random.Generator, rms: float = BIAS_RMS) -> Waves:
    """A smooth log gain with mean 0 and the given root mean square over the limb."""
    n = 6
    waves = Waves(
        _random_directions(rng, n) * (2 * np.pi / rng.uniform(160, 320, (n, 1))),
        rng.uniform(0, 2 * np.pi, n),
        rng.uniform(0.5, 1.0, n),
    )
    values = waves.at(limb_points())
    scale = rms / values.std()
    return replace(waves, amplitudes=waves.amplitudes * scale, offset=-float(values.mean()) * scale)


def limb_points() -> NDArray[np.float64]:
    """Points (n, 3) all over the limb, which is taken for a cylinder of 110 x 110 x 120 mm."""
    axis = np.linspace(-1, 1, 11)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.hypot(grid[:, 0], grid[:, 1]) <= 1
    points: NDArray[np.float64] = grid[inside] * (55, 55, 60)
    return points


def random_texture(rng: np.random.Generator) -> Waves:
    """A fine isotropic field with mean 0 and a standard deviation of about 1."""
    n = 24
    return Waves(
        _random_directions(rng, n) * (2 * np.pi / rng.uniform(3.5, 14, (n, 1))),
        rng.uniform(0, 2 * np.pi, n),
        np.full(n, np.sqrt(2 / n)),
    )


def random_mottling(rng: np.random.Generator, wavelengths: tuple[float, float]) -> Waves:
    """A field with mean 0 and a deviation of about 1, of waves of these lengths (mm)."""
    n = 16
    return Waves(
        _random_directions(rng, n) * (2 * np.pi / rng.uniform(*wavelengths, (n, 1))),
        rng.uniform(0, 2 * np.pi, n),
        np.full(n, np.sqrt(2 / n)),
    )


def _random_directions(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """`n` unit vectors (n, 3), uniform over the sphere."""
    directions = rng.standard_normal((n, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)
