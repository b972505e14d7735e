"""What a coil of wires does to the brightness of an image: sensitivities by Biot and Savart.

A coil is straight pieces of wire, each with a complex current, in one or several channels. At the
distances of a knee the field of a current is the static one (Biot and Savart); a channel receives
the part that turns with the spins, Bx - i By with the main field along z, and channels are combined
as the root of the sum of squares (Roemer et al., Magnetic Resonance in Medicine 1990). At 3 T the
wavelength in tissue is about 0.3 m, so that the field of the transmitter, too, varies over a leg:
that of a homogeneous cylinder is the Bessel function J0 of the distance from its axis, and a spin
echo's signal is the cube of the sine of its flip angle.

All in the knee frame, mm. What is returned is the natural logarithm of the gain, about 0 on average
over the limb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oatools.phantom.waves import limb_points

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

#: The coils that there are; `mixed` is any of them.
COILS = ("array", "birdcage", "flexible")

_SPACING = 6.0  # mm between the points at which a coil is computed; cubic interpolation in between
_WIRE = 6.0  # mm, the thickness of a conductor
_BATCH = 2048  # points at a time
_ARC_PIECES = 6  # straight pieces for the arc of a loop


@dataclass(frozen=True)
class Transmitter:
    """The flip angle over the leg: J0 of the distance from an axis along z.

    `nominal` is the flip angle on the axis as a fraction of the one that is asked for.
    """

    wavelength: float = np.inf  # mm, in tissue
    centre: tuple[float, float] = (0.0, 0.0)  # x and y of the axis, mm
    nominal: float = 1.0

    def log_signal(self, points: Doubles) -> Doubles:
        """The logarithm of a spin echo's signal at points (n, 3), 0 at the angle asked for."""
        from scipy.special import j0

        distance = np.hypot(points[:, 0] - self.centre[0], points[:, 1] - self.centre[1])
        flip = self.nominal * j0(2 * np.pi * distance / self.wavelength)
        signal: Doubles = 3 * np.log(np.maximum(np.sin(np.pi / 2 * flip), 0.1))
        return signal


@dataclass(frozen=True)
class Coil:
    """Straight wires from `starts` to `ends` (n, 3), their currents, and the channel of each (n,).

    Channels count from 0. `offset` is added to the logarithm.
    """

    starts: Doubles
    ends: Doubles
    currents: NDArray[np.complex128]
    channels: NDArray[np.intp]
    transmitter: Transmitter = Transmitter()
    offset: float = 0.0

    def at(self, points: Doubles) -> Doubles:
        """The logarithm of the gain at points (..., 3) in the knee frame."""
        flat = points.reshape(-1, 3)
        logs = np.empty(len(flat))
        for first in range(0, len(flat), _BATCH):
            part = flat[first : first + _BATCH]
            received = np.log(self._received(part))
            logs[first : first + _BATCH] = received + self.transmitter.log_signal(part)
        return logs.reshape(points.shape[:-1]) + self.offset

    def over(self, affine: Doubles, shape: tuple[int, int, int]) -> Callable[[slice], Floats]:
        """A function that gives the field on some slices, (k, j, i), of a grid of that shape.

        `affine` leads from its indices (i, j, k) into the knee frame. The coil is computed on a
        coarse grid, once, and interpolated one axis at a time.
        """
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        steps = [max(1.0, _SPACING / mm) for mm in spacing]
        places = [
            np.arange(-1, np.ceil((n - 1) / step) + 2) * step
            for n, step in zip(shape, steps, strict=True)
        ]
        i, j, k = np.meshgrid(*places, indexing="ij")
        points = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
        along_i, along_j, along_k = (
            _interpolation(n, step, len(at))
            for n, step, at in zip(shape, steps, places, strict=True)
        )
        coarse = np.tensordot(along_i, self.at(points).astype(np.float32), axes=(1, 0))
        coarse = np.matmul(along_j, coarse)  # (i, j, coarse k)

        def on_slices(k: slice) -> Floats:
            values: Floats = np.ascontiguousarray(np.moveaxis(coarse @ along_k[k].T, 2, 0))
            return values.transpose(0, 2, 1)

        return on_slices

    def _received(self, points: Doubles) -> Doubles:
        """The sensitivity at points (n, 3): root of the sum of squares over channels."""
        before, behind = points[:, None] - self.starts, points[:, None] - self.ends
        near, far = np.linalg.norm(before, axis=2), np.linalg.norm(behind, axis=2)
        dot = np.einsum("ijk,ijk->ij", before, behind)
        # The exact field of a straight piece, with a wire of some thickness.
        scale = (near + far) / (near * far * (near * far + dot) + _WIRE**4)
        x = (before[..., 1] * behind[..., 2] - before[..., 2] * behind[..., 1]) * scale
        y = (before[..., 2] * behind[..., 0] - before[..., 0] * behind[..., 2]) * scale
        turning = (x - 1j * y) * self.currents
        borders = np.flatnonzero(np.diff(self.channels, prepend=-1))
        by_channel = np.add.reduceat(turning, borders, axis=1)
        total: Doubles = np.sqrt(np.square(np.abs(by_channel)).sum(axis=1))
        return total + np.finfo(float).tiny


def random_coil(rng: np.random.Generator, kind: str) -> Coil:
    """A coil of a kind of `COILS` about a leg, or any: size, place, loading and transmitter.

    `array` is a rigid one of 8 to 15 loops, `birdcage` one of 16 rungs, which receives with the
    mode that it transmits with, and `flexible` two loops that lie on the leg.
    """
    if kind == "mixed":
        kind = COILS[int(rng.integers(len(COILS)))]
    makers = {"array": _array, "birdcage": _birdcage, "flexible": _flexible}
    # What lies on the leg moves with it.
    reach = 2.0 if kind == "flexible" else 6.0
    coil = replace(
        _moved(makers[kind](rng), rng, reach),
        transmitter=Transmitter(
            wavelength=float(rng.uniform(380, 520)),
            centre=(float(rng.normal(0, 8)), float(rng.normal(0, 8))),
            nominal=float(rng.uniform(0.9, 1.15)),
        ),
    )
    return replace(coil, offset=-float(coil.at(limb_points()).mean()))


def _array(rng: np.random.Generator) -> Coil:
    """A rigid tube of one row of 8 loops to three of 5, each with its own gain."""
    rows, around = ((1, 8), (2, 5), (2, 6), (2, 7), (3, 5))[int(rng.integers(5))]
    radius, length = rng.uniform(68, 88), rng.uniform(140, 200)
    turn = rng.uniform(0, 2 * np.pi)
    loops = []
    for row in range(rows):
        low, high = (length * (edge / rows - 0.5) for edge in (row - 0.08, row + 1.08))
        for n in range(around):
            middle = turn + 2 * np.pi * (n + 0.5 * (row % 2)) / around
            half = 1.12 * np.pi / around  # neighbours overlap
            loops.append(_loop((radius, radius), (middle - half, middle + half), (low, high)))
    gains = np.exp(rng.normal(0, 0.15, len(loops)))
    return _joined(loops, gains)


def _flexible(rng: np.random.Generator) -> Coil:
    """Two loops on opposite sides of the leg, some padding above the skin."""
    padding, height = rng.uniform(10, 20), rng.uniform(110, 170)
    axes = (50 + padding, 57 + padding)
    turn, half = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.35)
    opposite = np.pi + rng.normal(0, 0.15)
    loops = []
    for middle in (turn, turn + opposite):
        shift = rng.normal(0, 8)
        edges = (shift - height / 2, shift + height / 2)
        loops.append(_loop(axes, (middle - half, middle + half), edges))
    return _joined(loops, np.exp(rng.normal(0, 0.2, 2)))


def _birdcage(rng: np.random.Generator) -> Coil:
    """A quadrature birdcage: rungs whose currents go around with the angle, and two end rings."""
    rungs, radius, half = 16, rng.uniform(80, 100), rng.uniform(70, 105)
    angles = 2 * np.pi * np.arange(rungs) / rungs
    x, y = radius * np.cos(angles), radius * np.sin(angles)
    low, high = (np.stack([x, y, np.full(rungs, z)], axis=1) for z in (-half, half))
    current = np.exp(1j * angles) * (1 + rng.normal(0, 0.05, rungs))
    current -= current.mean()  # what flows up flows down
    ring = np.cumsum(current)  # what the rungs up to here have brought to the upper ring
    ring -= ring.mean()
    starts = np.concatenate([low, high, np.roll(low, -1, axis=0)])
    ends = np.concatenate([high, np.roll(high, -1, axis=0), low])
    currents = np.concatenate([current, ring, ring])
    return Coil(starts, ends, currents, np.zeros(len(starts), np.intp))


def _loop(
    axes: tuple[float, float], angles: tuple[float, float], edges: tuple[float, float]
) -> Doubles:
    """The corners (n, 3) of a closed loop on an elliptic tube about z, from edge to edge along z.

    `axes` are the tube's half-widths along x and y.
    """
    around = np.linspace(*angles, _ARC_PIECES + 1)
    lower, upper = (
        np.stack([axes[0] * np.cos(around), axes[1] * np.sin(around), np.full(len(around), z)], 1)
        for z in edges
    )
    return np.concatenate([lower, upper[::-1], lower[:1]])


def _joined(loops: Sequence[Doubles], gains: Doubles) -> Coil:
    """A coil of loops (n, 3), a channel each, with its gain."""
    pieces = [len(loop) - 1 for loop in loops]
    return Coil(
        starts=np.concatenate([loop[:-1] for loop in loops]),
        ends=np.concatenate([loop[1:] for loop in loops]),
        currents=np.repeat(gains, pieces).astype(complex),
        channels=np.repeat(np.arange(len(loops)), pieces),
    )


def _moved(coil: Coil, rng: np.random.Generator, reach: float) -> Coil:
    """The coil as the leg happens to lie in it: off its axis, up or down, and tilted a little.

    `reach` is the deviation of its place across the leg, mm.
    """
    shift = rng.normal(0, (reach, reach, 15)).clip(
        (-2 * reach, -2 * reach, -30), (2 * reach, 2 * reach, 30)
    )
    a, b = np.radians(rng.normal(0, 3, 2))
    tilt = np.array([[1, 0, b], [0, 1, -a], [-b, a, 1]])  # small angles
    return replace(coil, starts=coil.starts @ tilt.T + shift, ends=coil.ends @ tilt.T + shift)


def _interpolation(count: int, step: float, points: int) -> Floats:
    """The matrix (count, points) of cubic interpolation (Catmull and Rom) along an axis.

    It leads to 0, 1, ... from values at -step, 0, step, 2 step, ...
    """
    t = np.arange(count) / step
    first = np.minimum(np.floor(t).astype(int), points - 4)
    u = (t - first)[:, None]
    weights = np.concatenate(
        [
            -u + 2 * u**2 - u**3,
            2 - 5 * u**2 + 3 * u**3,
            u + 4 * u**2 - 3 * u**3,
            -(u**2) + u**3,
        ],
        axis=1,
    )
    matrix = np.zeros((count, points))
    np.put_along_axis(matrix, first[:, None] + np.arange(4), weights / 2, axis=1)
    return matrix.astype(np.float32)
