"""A schematic knee made of implicit shapes, drawn on any voxel grid in any of OAI's three contrasts.

Knee frame: x mediolateral with medial positive, y anterior, z superior, millimetres, origin on the
joint line between the condyles. Patient frame: RAS+ millimetres, as in NIfTI. A right knee is the
exact mirror image of a left one. Arrays are indexed (i, j, k) as in NIfTI; they are float32.

A picture is painted part by part, later parts over earlier ones: a cartilage layer is an inflated
condyle over which the bone is painted next, a meniscus a ring of which the cartilage above leaves
the wedge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Point = tuple[float, float, float]

BIAS_RMS = 0.2
_SLAB_VOXELS = 150_000  # so that a slab's coordinates and picture stay in the processor's cache


class Tissue(IntEnum):
    """What a voxel is made of; the values of `labels`."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    CORTEX = 4
    MARROW = 5
    CARTILAGE = 6
    MENISCUS = 7
    LIGAMENT = 8
    FLUID = 9
    SYNOVIUM = 10
    LESION = 11
    VESSEL = 12


# Mean signal of each tissue, in Tissue's order, relative to the brightest fluid.
SIGNAL: dict[str, tuple[float, ...]] = {
    # intermediate weighting: fat, marrow and fluid bright, cartilage between, oedema dark in the
    # marrow
    "iw": (0.0, 0.35, 0.72, 0.30, 0.06, 0.64, 0.48, 0.10, 0.08, 1.00, 0.36, 0.12, 0.08),
    # fat suppressed: marrow dark, fluid and oedema bright
    "iw-fs": (0.0, 0.22, 0.17, 0.36, 0.05, 0.14, 0.58, 0.12, 0.08, 1.00, 0.34, 0.80, 0.15),
    # double echo steady state, water excitation: cartilage bright
    "dess-we": (0.0, 0.25, 0.16, 0.38, 0.05, 0.12, 0.70, 0.16, 0.10, 1.00, 0.36, 0.52, 0.75),
}
_TEXTURE = np.zeros(len(Tissue), np.float32)
_TEXTURE[[Tissue.FAT, Tissue.MARROW, Tissue.MUSCLE]] = 0.04, 0.06, 0.08


@dataclass(frozen=True)
class Waves:
    """A smooth random field: `offset` + sum of amplitude * cos(vector . point + phase), in the knee frame.

    A plane wave on an affine grid is an outer product of one-dimensional waves, so a slice costs
    one matrix product.
    """

    vectors: NDArray[np.float64]  # (n, 3), radians per mm
    phases: NDArray[np.float64]  # (n,)
    amplitudes: NDArray[np.float64]  # (n,)
    offset: float = 0.0

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The field at `points` (..., 3) in the knee frame."""
        return self.offset + np.cos(points @ self.vectors.T + self.phases) @ self.amplitudes

    def on_grid(self, affine: NDArray[np.float64], shape: tuple[int, int, int], k: slice) -> Array:
        """The field on slices `k` of a grid with this affine into the knee frame, as (k, j, i)."""
        ni, nj, _ = shape
        step = self.vectors @ affine[:3, :3]  # phase advance per voxel along each axis
        start = self.vectors @ affine[:3, 3] + self.phases
        along_i = step[:, 0, None] * np.arange(ni)
        right = np.concatenate([np.cos(along_i), np.sin(along_i)]).astype(np.float32)
        slices = np.arange(k.start, k.stop)
        along_j = (
            start[:, None]
            + step[:, 1, None] * np.arange(nj)
            + step[:, 2, None] * slices[:, None, None]
        )
        scaled = self.amplitudes[:, None]
        left = np.concatenate([scaled * np.cos(along_j), -scaled * np.sin(along_j)], axis=1).astype(
            np.float32
        )
        return np.matmul(left.transpose(0, 2, 1), right) + np.float32(self.offset)


@dataclass(frozen=True)
class Shape:
    """Natural variation of one knee, in mm at size 1 unless said otherwise; the defaults are the mean knee."""

    medial_width: float = 15.5  # half-widths of the condyles
    lateral_width: float = 15.5
    condyle_depth: float = 29.0
    notch: float = 7.5  # half-width of the intercondylar notch
    femoral_cartilage: float = 2.3
    tibial_cartilage: float = 2.3
    slope: float = 0.08  # posterior slope of the tibial plateau, mm per mm
    patella_height: float = 30.0
    patella_size: float = 1.0
    fibula_offset: float = 0.0
    fat: float = 9.0  # thickness of the subcutaneous fat
    muscle: float = 1.0  # bulk of the muscles
    lesion_y: float = 0.0  # where along y a marrow lesion is centred
    lesion_x: float = 0.0


def _no_waves() -> Waves:
    return Waves(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class Knee:
    """One knee: where it lies, its shape, its findings and its imaging conditions.

    `centre` is the joint's centre: mm lateral to the midline, anterior and superior in the patient
    frame. `progression` and `effusion` run from 0 (no finding) to 1.
    """

    side: str = "left"
    centre: Point = (90.0, 0.0, 0.0)
    rotation: Point = (0.0, 0.0, 0.0)  # degrees about the knee's x, y, z
    size: float = 1.0
    shape: Shape = field(default_factory=Shape)
    progression: float = 0.0
    effusion: float = 0.0
    texture: Waves = field(default_factory=_no_waves)
    bias: Waves = field(default_factory=_no_waves)
    gain: float = 1.0

    def mirrored(self) -> Knee:
        """The same anatomy as the patient's other knee."""
        return replace(self, side="right" if self.side == "left" else "left")


def knee_from_ras(knee: Knee) -> NDArray[np.float64]:
    """The 4x4 affine from patient RAS mm to the knee frame (det < 0 for a right knee: it is mirrored)."""
    a, b, c = np.radians(knee.rotation)
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    linear = rx @ ry @ rz / knee.size
    lateral, anterior, superior = knee.centre
    affine = np.eye(4)
    # on the left, lateral is towards negative x in RAS and medial towards positive x: no mirroring
    affine[:3, :3] = linear @ np.diag([1.0 if knee.side == "left" else -1.0, 1.0, 1.0])
    affine[:3, 3] = linear @ -np.array([-lateral, anterior, superior])
    return affine


def random_bias(rng: np.random.Generator, rms: float = BIAS_RMS) -> Waves:
    """A smooth log gain with mean 0 and the given root mean square over the limb (about 110 x 110 x 120 mm)."""
    n = 6
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    waves = Waves(
        direction * (2 * np.pi / rng.uniform(160, 320, (n, 1))),
        rng.uniform(0, 2 * np.pi, n),
        rng.uniform(0.5, 1.0, n),
    )
    axis = np.linspace(-1, 1, 11)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    values = waves.at(grid[np.hypot(grid[:, 0], grid[:, 1]) <= 1] * (55, 55, 60))
    scale = rms / values.std()
    return replace(waves, amplitudes=waves.amplitudes * scale, offset=-float(values.mean()) * scale)


def random_texture(rng: np.random.Generator) -> Waves:
    """A fine isotropic field with mean 0 and deviation about 1: the mottling of marrow, fat and muscle."""
    n = 24
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Waves(
        direction * (2 * np.pi / rng.uniform(3.5, 14, (n, 1))),
        rng.uniform(0, 2 * np.pi, n),
        np.full(n, np.sqrt(2 / n)),
    )


def random_knee(
    rng: np.random.Generator, side: str = "left", size: float = 1.0, fat: float = 9.0
) -> Knee:
    """A knee without findings, with natural variation about the given size and thickness of the fat."""

    def around(mean: float, sd: float) -> float:
        return float(mean + sd * np.clip(rng.standard_normal(), -2.5, 2.5))

    shape = Shape(
        medial_width=around(15.5, 0.6),
        lateral_width=around(15.5, 0.6),
        condyle_depth=around(29, 1),
        notch=around(7.5, 0.6),
        femoral_cartilage=around(2.3, 0.15),
        tibial_cartilage=around(2.3, 0.15),
        slope=around(0.08, 0.02),
        patella_height=around(30, 3),
        patella_size=around(1, 0.05),
        fibula_offset=around(0, 2),
        fat=max(3.0, around(fat, 1.2)),
        muscle=around(1, 0.06),
        lesion_y=around(0, 1.5),
        lesion_x=around(0, 1.0),
    )
    centre = (around(90, 4), around(-5, 6), around(0, 10))
    rotation = (around(0, 1.5), around(0, 1.5), around(0, 3))
    return Knee(
        side,
        centre,
        rotation,
        size * around(1, 0.015),
        shape,
        texture=random_texture(rng),
        bias=random_bias(rng),
        gain=around(1, 0.08),
    )


# -------------------------------------------------------------------------------------------
# findings


@dataclass(frozen=True)
class Finding:
    """A planted ellipsoid: its centre in patient RAS mm, and its semi-axes as the columns of a matrix, RAS mm."""

    centre: Point
    axes: NDArray[np.float64]

    def reach(self, direction: NDArray[np.float64]) -> float:
        """How far it extends from its centre along a unit vector, mm."""
        return float(np.linalg.norm(direction @ self.axes))


def _in_patient(knee: Knee, centre: Point, radii: Point) -> Finding:
    to_ras = np.linalg.inv(knee_from_ras(knee))
    x, y, z = (float(v) for v in to_ras[:3, :3] @ np.array(centre) + to_ras[:3, 3])
    return Finding((x, y, z), to_ras[:3, :3] * np.array(radii))


def _lesion_shape(knee: Knee) -> tuple[Point, Point, Point]:
    """Centres in the medial tibia and femur, and the semi-axes: 4 to 20 mm wide, 4 to 9 coronal slices deep."""
    u = knee.progression
    radii = (4 + 16 * u, 6 + 7 * u, 4 + 18 * u)
    x = knee.shape.notch + knee.shape.medial_width + knee.shape.lesion_x
    return (x, knee.shape.lesion_y, -7.0 - 4 * u), (x, knee.shape.lesion_y, 8.5 + 4 * u), radii


def _effusion_shapes(knee: Knee) -> list[tuple[Point, Point]]:
    """Centre and semi-axes of the fluid collections: the suprapatellar pouch first, then the recesses."""
    e, s = knee.effusion, knee.shape
    medial, lateral = s.notch + 2 * s.medial_width, -(s.notch + 2 * s.lateral_width)
    shapes = [((-1.0, 24.0 + 2 * e, 58.0), (8 + 20 * e, 0.5 + 11 * e, 10 + 18 * e))]
    for x, out in ((medial, 1), (lateral, -1)):
        shapes.append(((x + out * e, 5.0, 18.0), (0.5 + 8.5 * e, 12 + 14 * e, 8 + 15 * e)))
        shapes.append(((x + out * e, -1.0, 0.0), (0.5 + 7.5 * e, 10 + 14 * e, 3 + 5 * e)))
    return shapes


def lesion(knee: Knee) -> Finding:
    """The marrow lesion of the medial tibia that marks progression (the femoral one lies 15 mm above it)."""
    tibial, _, radii = _lesion_shape(knee)
    return _in_patient(knee, tibial, radii)


def femoral_lesion(knee: Knee) -> Finding:
    """The lesion opposite, in the medial femoral condyle."""
    _, femoral, radii = _lesion_shape(knee)
    return _in_patient(knee, femoral, radii)


def effusion(knee: Knee) -> list[Finding]:
    """The fluid that marks pain: the suprapatellar pouch first, then the recesses beside condyles and joint line."""
    return [_in_patient(knee, centre, radii) for centre, radii in _effusion_shapes(knee)]


# ---------------------------------------------------------------------------------------------
# shapes

Distance = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Part:
    """Tissues to paint where a signed distance is below -depth, within a box of the knee frame."""

    distance: Distance
    low: Point
    high: Point
    layers: tuple[tuple[Tissue, float], ...]
    blur: float = 0.0  # extra width of the edge, mm
    amount: float = 1.0


def _ellipsoid(centre: Point, radii: Point) -> Distance:
    """Signed distance to first order near the surface: (q - 1) / |grad q| with q the quadratic form."""
    cx, cy, cz = (np.float32(v) for v in centre)
    ax, ay, az = (np.float32(1 / r**2) for r in radii)

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


def _capsule(start: Point, end: Point, radius: float) -> Distance:
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


def _joined(first: Array, second: Array, width: float) -> Array:
    """Smooth union of two signed distances: their minimum, rounded where they differ by less than `width`."""
    overlap = np.maximum(np.float32(width) - np.abs(first - second), 0)
    overlap *= overlap
    overlap *= np.float32(1 / (4 * width))
    return np.minimum(first, second) - overlap


def _blob(centre: Point, radii: Point, tissue: Tissue, **options: float) -> Part:
    low, high = zip(
        *((c - r - 1, c + r + 1) for c, r in zip(centre, radii, strict=True)), strict=True
    )
    return Part(_ellipsoid(centre, radii), low, high, ((tissue, 0.0),), **options)


def _rod(start: Point, end: Point, radius: float, tissue: Tissue) -> Part:
    low, high = zip(
        *(
            (min(a, b) - radius - 1, max(a, b) + radius + 1)
            for a, b in zip(start, end, strict=True)
        ),
        strict=True,
    )
    return Part(_capsule(start, end, radius), low, high, ((tissue, 0.0),))


def _condyles(s: Shape) -> tuple[tuple[Point, Point], tuple[Point, Point]]:
    medial = ((s.notch + s.medial_width, -4.0, 21.5), (s.medial_width, s.condyle_depth, 19.0))
    lateral = (
        (-s.notch - s.lateral_width, -3.0, 21.5),
        (s.lateral_width, s.condyle_depth + 1, 19.0),
    )
    return medial, lateral


_TROCHLEA: tuple[Point, Point] = ((-2.0, 13.0, 30.0), (23.0, 13.0, 18.0))


def _femur(s: Shape) -> Distance:
    medial, lateral = (_ellipsoid(*c) for c in _condyles(s))
    trochlea = _ellipsoid(*_TROCHLEA)
    metaphysis = _ellipsoid((-1.0, -2.0, 48.0), (28.0, 18.0, 27.0))

    def distance(x: Array, y: Array, z: Array) -> Array:
        d = np.minimum(medial(x, y, z), lateral(x, y, z))
        d = _joined(d, trochlea(x, y, z), 5)
        d = _joined(d, metaphysis(x, y, z), 8)
        shaft = np.hypot(x + np.float32(0.06) * z, y) - np.float32(13.5)
        return _joined(d, np.maximum(shaft, np.float32(45) - z), 10)

    return distance


def _tibia(s: Shape) -> Distance:
    head = _ellipsoid((0.0, -4.0, -6.0), (39.0, 26.0, 46.0))
    tuberosity = _ellipsoid((-3.0, 14.0, -38.0), (12.0, 9.0, 16.0))
    spines = (
        _ellipsoid((4.0, -4.0, -2.0), (4.0, 8.0, 7.0)),
        _ellipsoid((-5.5, -5.0, -2.0), (4.0, 7.0, 6.0)),
    )

    def distance(x: Array, y: Array, z: Array) -> Array:
        d = np.maximum(head(x, y, z), z + np.float32(2.5) - np.float32(s.slope) * y)
        d = _joined(d, np.minimum(spines[0](x, y, z), spines[1](x, y, z)), 3)
        d = _joined(d, tuberosity(x, y, z), 6)
        shaft = np.hypot(x, y - 1) - np.float32(13.5)
        return _joined(d, np.maximum(shaft, z + 38), 10)

    return distance


def _plateau(s: Shape, side: int) -> tuple[Distance, Distance]:
    """Signed distances of one compartment's outline (side +1 medial, -1 lateral) and of its meniscus ring."""
    width = s.medial_width if side > 0 else s.lateral_width
    cx, ax, ay = np.float32(side * (s.notch + width)), np.float32(width + 2.5), np.float32(24)

    def radius(x: Array, y: Array) -> Array:
        return np.hypot((x - cx) / ax, (y + 3) / ay)

    def outline(x: Array, y: Array, z: Array) -> Array:
        return (radius(x, y) - 1) * ax

    def ring(x: Array, y: Array, z: Array) -> Array:
        r = radius(x, y)
        d = np.maximum((r - 1) * ax, (np.float32(0.5) - r) * ax)
        d = np.maximum(
            d, z - np.float32(s.slope) * y - 13 * (r - np.float32(0.5))
        )  # a wedge, highest at the rim
        return np.maximum(d, np.float32(12) - side * x)  # the ring is open towards the notch

    return outline, ring


def _between(d: Distance, bottom: float, top: float, slope: float, inset: float = 0.0) -> Distance:
    """`d` drawn in by `inset` and cut to bottom < z - slope * y < top."""
    middle, half = np.float32((bottom + top) / 2), np.float32((top - bottom) / 2)

    def distance(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(
            d(x, y, z) + np.float32(inset), np.abs(z - np.float32(slope) * y - middle) - half
        )

    return distance


def _limb(s: Shape) -> list[Part]:
    """Skin, subcutaneous fat and the deep compartment, which is fat between the muscles."""

    def distance(x: Array, y: Array, z: Array) -> Array:
        taper = 1 + np.float32(0.0016) * np.abs(z - 5)
        thickness = np.hypot(x / 47, (y + 4) / 55)
        return (thickness - taper) * 50

    far = 200.0
    everywhere = (-far, -far, -far), (far, far, far)
    return [
        Part(
            distance,
            *everywhere,
            (
                (Tissue.SKIN, -s.fat - 1.5),
                (Tissue.FAT, -s.fat),
                (Tissue.LIGAMENT, 0.0),
                (Tissue.FAT, 0.8),
            ),
        )
    ]


def _muscles(s: Shape) -> list[Part]:
    m, muscle = s.muscle, Tissue.MUSCLE
    blobs: list[tuple[Point, Point]] = [
        ((32, 10, 70), (15, 24, 45)),
        ((-33, 10, 80), (14, 26, 48)),
        ((0, 30, 100), (26, 14, 46)),
        ((24, -36, 62), (15, 15, 52)),
        ((-30, -34, 66), (13, 16, 54)),
        ((34, -20, 70), (10, 14, 60)),
        ((20, -40, -48), (17, 12, 56)),
        ((-18, -40, -48), (17, 12, 52)),
        ((2, -24, -60), (24, 11, 38)),
        ((-30, 10, -66), (12, 16, 44)),
        ((-38, -4, -66), (8, 14, 40)),
    ]
    return [_blob(centre, (r[0] * m, r[1] * m, r[2]), muscle) for centre, r in blobs]


def _soft_tissue(knee: Knee) -> list[Part]:
    """Capsule, fat pad, vessels and the joint's fluid, painted before the bones."""
    s = knee.shape
    parts = [
        _blob((0, -2, 8), (44, 34, 32), Tissue.SYNOVIUM, blur=2.0),
        _blob((-2, 29, 4), (23, 14, 19), Tissue.FAT, blur=1.0),
        _rod((3, -38, -90), (2, -36, 100), 3.5, Tissue.VESSEL),
        _rod((8, -43, -90), (-4, -42, 100), 3.0, Tissue.VESSEL),
    ]
    if knee.effusion > 0:
        # the fluid also spreads in the notch and behind the condyles, where it lightens the
        # synovium
        parts.append(
            _blob((0, -2, 8), (43, 32, 30), Tissue.FLUID, blur=2.0, amount=0.9 * knee.effusion)
        )
        for centre, radii in _effusion_shapes(knee):
            capsule = tuple(r + 1.3 for r in radii)
            low, high = zip(
                *((c - r - 1, c + r + 1) for c, r in zip(centre, capsule, strict=True)), strict=True
            )
            parts.append(
                Part(
                    _ellipsoid(centre, capsule),
                    low,
                    high,
                    ((Tissue.LIGAMENT, 0.0), (Tissue.FLUID, 1.3)),
                )
            )
    for side in (1, -1):
        outline, ring = _plateau(s, side)
        low, high = ((0, -30, -7), (45, 25, 10)) if side > 0 else ((-45, -30, -7), (0, 25, 10))
        thick = s.tibial_cartilage * (1 - 0.8 * knee.progression if side > 0 else 1)
        for distance, tissue in (
            (_between(outline, -4, 4, s.slope, inset=1), Tissue.FLUID),
            (_between(outline, -4, -2.5 + thick, s.slope, inset=2), Tissue.CARTILAGE),
            (_between(ring, -1.4, 6, s.slope), Tissue.MENISCUS),
        ):
            parts.append(Part(distance, low, high, ((tissue, 0.0),)))
    return parts


def _femoral_cartilage(knee: Knee) -> list[Part]:
    """Condyles and trochlea, inflated downwards and forwards but not sideways, so that the layer tapers off."""
    thick = knee.shape.femoral_cartilage
    thin = thick * (1 - 0.8 * knee.progression)
    medial, lateral = _condyles(knee.shape)
    parts = []
    for (centre, radii), t in ((medial, thin), (lateral, thick), (_TROCHLEA, thick)):
        shell = _ellipsoid(centre, (radii[0], radii[1] + t, radii[2] + t))

        def distance(
            x: Array, y: Array, z: Array, shell: Distance = shell, top: float = centre[2] + 8
        ) -> Array:
            return np.maximum(shell(x, y, z), z - np.float32(top))

        low, high = zip(
            *((c - r - 4, c + r + 4) for c, r in zip(centre, radii, strict=True)), strict=True
        )
        parts.append(Part(distance, low, high, ((Tissue.CARTILAGE, 0.0),)))
    return parts


def _bones(knee: Knee) -> list[Part]:
    s, size = knee.shape, knee.shape.patella_size
    bone = ((Tissue.CORTEX, 0.0), (Tissue.MARROW, 1.2))
    fibula_x = -35 + s.fibula_offset
    head, shaft = (
        _ellipsoid((fibula_x, -17, -22), (8, 8.5, 11)),
        _capsule((fibula_x, -17, -24), (-33, -15, -150), 5.5),
    )
    patella: tuple[Point, Point] = ((-3, 40, s.patella_height), (21 * size, 9.5 * size, 20 * size))

    def fibula(x: Array, y: Array, z: Array) -> Array:
        return _joined(head(x, y, z), shaft(x, y, z), 4)

    return [
        _blob((-3, 37, s.patella_height), (18 * size, 9 * size, 16 * size), Tissue.CARTILAGE),
        *_femoral_cartilage(knee),
        Part(_femur(s), (-45, -36, 0), (45, 32, 200), bone),
        Part(_tibia(s), (-42, -32, -200), (42, 26, 8), bone),
        Part(fibula, (-48, -30, -200), (-22, -5, -8), bone),
        Part(
            _ellipsoid(*patella),
            (-28, 26, s.patella_height - 24),
            (22, 54, s.patella_height + 24),
            bone,
        ),
    ]


def _lesions(knee: Knee) -> list[Part]:
    """Marrow lesions of the medial tibia and femur, confined to their bones."""
    u = knee.progression
    if u <= 0:
        return []
    tibial, femoral, radii = _lesion_shape(knee)
    parts = []
    for centre, bone in ((tibial, _tibia(knee.shape)), (femoral, _femur(knee.shape))):
        ball = _ellipsoid(centre, radii)

        def distance(
            x: Array, y: Array, z: Array, ball: Distance = ball, bone: Distance = bone
        ) -> Array:
            return np.maximum(ball(x, y, z), bone(x, y, z) + np.float32(1.2))

        low, high = zip(
            *((c - r - 2, c + r + 2) for c, r in zip(centre, radii, strict=True)), strict=True
        )
        parts.append(
            Part(
                distance, low, high, ((Tissue.LESION, 0.0),), blur=1.5, amount=1.15 * u / (u + 0.15)
            )
        )
    return parts


def _ligaments(s: Shape) -> list[Part]:
    band = Tissue.LIGAMENT
    medial, lateral = s.notch + 2 * s.medial_width, -(s.notch + 2 * s.lateral_width)
    bottom = s.patella_height - 17 * s.patella_size
    return [
        _rod((-6, -14, 22), (1, 10, -2), 3.2, band),  # anterior cruciate
        _rod((6, 4, 12), (0, -25, -8), 3.8, band),  # posterior cruciate
        _rod((medial + 0.5, 0, 26), (medial - 1, 3, -46), 1.4, band),  # medial collateral
        _rod(
            (lateral - 0.5, -6, 22), (-35 + s.fibula_offset, -16, -13), 1.6, band
        ),  # lateral collateral
        _rod((-44, 14, 75), (-34, 17, -14), 1.6, band),  # iliotibial band
        _rod((-3, 44, bottom), (-3, 25, -40), 2.8, band),  # patellar tendon
        _rod((-3, 45, s.patella_height + 16), (-2, 40, 150), 3.2, band),  # quadriceps tendon
    ]


def parts(knee: Knee) -> list[Part]:
    """Everything to paint, in order."""
    s = knee.shape
    return [
        *_limb(s),
        *_muscles(s),
        *_soft_tissue(knee),
        *_bones(knee),
        *_lesions(knee),
        *_ligaments(s),
    ]


# -------------------------------------------------------------------------------------------
# painting


@dataclass(frozen=True)
class _Slab:
    slices: slice
    affine: NDArray[np.float64]  # of the whole grid, into the knee frame
    coordinates: tuple[Array, Array, Array]  # (k, j, i) each


def _slabs(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Iterator[_Slab]:
    ni, nj, nk = shape
    step = max(1, _SLAB_VOXELS // (ni * nj))
    i, j, k = (np.arange(n) for n in shape)
    for first in range(0, nk, step):
        slices = slice(first, min(first + step, nk))
        x, y, z = (
            (row[3] + row[2] * k[slices, None, None] + row[1] * j[:, None]).astype(np.float32)
            + (row[0] * i).astype(np.float32)
            for row in affine[:3]
        )
        yield _Slab(slices, affine, (x, y, z))


def _window(
    part: Part, slab: _Slab, knee_to_index: NDArray[np.float64]
) -> tuple[slice, slice, slice] | None:
    """The (k, j, i) slices of the slab that can meet the part's box; None if there are none."""
    corners = np.array(np.meshgrid(*zip(part.low, part.high, strict=True))).reshape(3, -1)
    index = knee_to_index[:3, :3] @ corners + knee_to_index[:3, 3:]
    low, high = np.floor(index.min(1)).astype(int), np.ceil(index.max(1)).astype(int) + 1
    nk, nj, ni = slab.coordinates[0].shape
    offset = (0, 0, slab.slices.start)
    (i0, j0, k0), (i1, j1, k1) = low - offset, high - offset
    window = (
        slice(max(k0, 0), min(k1, nk)),
        slice(max(j0, 0), min(j1, nj)),
        slice(max(i0, 0), min(i1, ni)),
    )
    return window if all(s.start < s.stop for s in window) else None


def _distances(
    slab: _Slab, todo: list[Part]
) -> Iterator[tuple[Part, tuple[slice, slice, slice], Array]]:
    inverse = np.linalg.inv(slab.affine)
    for part in todo:
        window = _window(part, slab, inverse)
        if window is not None:
            yield part, window, part.distance(*(c[window] for c in slab.coordinates))


def _paint(slab: _Slab, todo: list[Part], signal: Array, edge: float, texture: Array) -> Array:
    picture = np.zeros(slab.coordinates[0].shape, np.float32)
    for part, window, distance in _distances(slab, todo):
        target = picture[window]
        scale = np.float32(1 / (edge + part.blur))
        for tissue, depth in part.layers:
            # a linear ramp across the surface is the partial volume of a flat edge in a voxel of
            # that width
            cover = distance * -scale
            cover += np.float32(0.5 - depth * scale)
            np.clip(cover, 0, 1, out=cover)
            if part.amount != 1:
                cover *= np.float32(part.amount)
            if _TEXTURE[tissue]:
                value = texture[window] * (signal[tissue] * _TEXTURE[tissue])
                value += signal[tissue]
                value -= target
            else:
                value = signal[tissue] - target
            value *= cover
            target += value
    return picture


def render(
    knee: Knee,
    shape: tuple[int, int, int],
    affine: NDArray[np.float64],
    contrast: str,
    bias: bool = True,
) -> Array:
    """The knee's noiseless image on a grid, float32 of the given shape, about 0 to 1.5.

    `affine` (4, 4) takes indices (i, j, k) to patient RAS mm; `contrast` is a key of `SIGNAL`.
    Edges are as wide as a voxel is in plane. With `bias` the picture is multiplied by `bias_field`.
    """
    into_knee = knee_from_ras(knee) @ affine
    signal = np.array(SIGNAL[contrast], np.float32) * np.float32(knee.gain)
    edge = float(np.linalg.norm(into_knee[:3, :3], axis=0)[:2].mean())
    todo = parts(knee)
    out = np.empty(shape[::-1], np.float32)
    for slab in _slabs(into_knee, shape):
        texture = knee.texture.on_grid(into_knee, shape, slab.slices)
        picture = _paint(slab, todo, signal, edge, texture)
        if bias:
            picture *= np.exp(knee.bias.on_grid(into_knee, shape, slab.slices))
        out[slab.slices] = picture
    return out.T


def labels(
    knee: Knee, shape: tuple[int, int, int], affine: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """The tissue (a `Tissue` value) at each voxel's centre, uint8; the grid is given as for `render`."""
    into_knee = knee_from_ras(knee) @ affine
    todo = parts(knee)
    out = np.zeros(shape[::-1], np.uint8)
    for slab in _slabs(into_knee, shape):
        for part, window, distance in _distances(slab, todo):
            for tissue, depth in part.layers:
                out[slab.slices][window][distance < -depth] = tissue
    return out.T


def bias_field(knee: Knee, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Array:
    """The planted multiplicative coil sensitivity on a grid given as for `render`, float32, about 1."""
    into_knee = knee_from_ras(knee) @ affine
    out = np.empty(shape[::-1], np.float32)
    for slab in _slabs(into_knee, shape):
        out[slab.slices] = np.exp(knee.bias.on_grid(into_knee, shape, slab.slices))
    return out.T
