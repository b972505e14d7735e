"""Implicit solids in the knee frame: signed distances, and the parts that are painted from them.

A signed distance takes coordinates x, y, z of one shape (float32, mm) and gives an array of that
shape: negative inside, positive outside, and about the distance to the surface near it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oatools.phantom.anatomy import Point
from oatools.phantom.contrast import Tissue
from oatools.phantom.findings import Ellipsoid

Array = NDArray[np.float32]
Distance = Callable[[Array, Array, Array], Array]
Box = tuple[Point, Point]
Layers = tuple[tuple[Tissue, float], ...]


@dataclass(frozen=True)
class Part:
    """Tissues to paint where a signed distance is below -depth, within a box of the knee frame.

    `layers` are tissues and their depths, outermost first.
    """

    distance: Distance
    low: Point
    high: Point
    layers: Layers
    blur: float = 0.0  # extra width of the edge, mm
    amount: float = 1.0  # how much of the tissue covers what lies under it


def ellipsoid(shape: Ellipsoid) -> Distance:
    """Signed distance to first order near the surface: (q - 1) / |grad q|, q the quadratic form."""
    cx, cy, cz = (np.float32(v) for v in shape.centre)
    ax, ay, az = (np.float32(1 / r**2) for r in shape.radii)

    def distance(x: Array, y: Array, z: Array) -> Array:
        dx, dy, dz = x - cx, y - cy, z - cz
        gx, gy, gz = dx * ax, dy * ay, dz * az
        q = dx * gx
        q += dy * gy
        q += dz * gz
        q -= 1
        gx *= gx
        gy *= gy
        gz *= gz
        gx += gy
        gx += gz
        gx += np.float32(1e-6)
        np.sqrt(gx, out=gx)
        gx *= 2
        q /= gx
        return q

    return distance


def capsule(start: Point, end: Point, radius: float) -> Distance:
    """Signed distance to a segment with a radius."""
    a = np.array(start, np.float32)
    along = np.array(end, np.float32) - a
    unit = along / np.float32(along @ along)

    def distance(x: Array, y: Array, z: Array) -> Array:
        dx, dy, dz = x - a[0], y - a[1], z - a[2]
        t = np.clip(dx * unit[0] + dy * unit[1] + dz * unit[2], 0, 1)
        dx -= t * along[0]
        dy -= t * along[1]
        dz -= t * along[2]
        return np.sqrt(dx * dx + dy * dy + dz * dz) - np.float32(radius)

    return distance


def joined(first: Array, second: Array, width: float) -> Array:
    """The smooth union of two signed distances.

    It is their minimum, rounded where they differ by less than `width`.
    """
    overlap = np.maximum(np.float32(width) - np.abs(first - second), 0)
    overlap *= overlap
    overlap *= np.float32(1 / (4 * width))
    return np.minimum(first, second) - overlap


def slab_of(
    solid: Distance, bottom: float, top: float, slope: float, inset: float = 0.0
) -> Distance:
    """The solid drawn in by `inset` and cut to bottom < z - slope * y < top."""
    middle, half = np.float32((bottom + top) / 2), np.float32((top - bottom) / 2)

    def distance(x: Array, y: Array, z: Array) -> Array:
        drawn_in = solid(x, y, z) + np.float32(inset)
        beyond = np.abs(z - np.float32(slope) * y - middle) - half
        return np.maximum(drawn_in, beyond)

    return distance


def box_around(shape: Ellipsoid, margin: float) -> Box:
    """The box that holds an ellipsoid with a margin (mm) on each side."""
    (x, y, z), (a, b, c) = shape.centre, shape.radii
    low = (x - a - margin, y - b - margin, z - c - margin)
    high = (x + a + margin, y + b + margin, z + c + margin)
    return low, high


def blob(shape: Ellipsoid, tissue: Tissue, blur: float = 0.0, amount: float = 1.0) -> Part:
    """An ellipsoid of one tissue."""
    low, high = box_around(shape, 1)
    return Part(ellipsoid(shape), low, high, ((tissue, 0.0),), blur, amount)


def rod(start: Point, end: Point, radius: float, tissue: Tissue) -> Part:
    """A capsule of one tissue."""
    ends = np.array([start, end], float)
    x0, y0, z0 = (float(v) for v in ends.min(axis=0) - radius - 1)
    x1, y1, z1 = (float(v) for v in ends.max(axis=0) + radius + 1)
    return Part(capsule(start, end, radius), (x0, y0, z0), (x1, y1, z1), ((tissue, 0.0),))
