"""The soft tissue of the knee, as parts to paint: limb, muscles, joint and ligaments."""

from __future__ import annotations

import numpy as np

from oatools.phantom.anatomy import KneeModel, KneeShape
from oatools.phantom.contrast import Tissue
from oatools.phantom.findings import Ellipsoid, effusion_shapes
from oatools.phantom.solids import Array, Distance, Part, blob, box_around, ellipsoid, rod, slab_of

# Centres and semi-axes at a muscle bulk of 1, mm.
_MUSCLES = (
    Ellipsoid((32, 10, 70), (15, 24, 45)),
    Ellipsoid((-33, 10, 80), (14, 26, 48)),
    Ellipsoid((0, 30, 100), (26, 14, 46)),
    Ellipsoid((24, -36, 62), (15, 15, 52)),
    Ellipsoid((-30, -34, 66), (13, 16, 54)),
    Ellipsoid((34, -20, 70), (10, 14, 60)),
    Ellipsoid((20, -40, -48), (17, 12, 56)),
    Ellipsoid((-18, -40, -48), (17, 12, 52)),
    Ellipsoid((2, -24, -60), (24, 11, 38)),
    Ellipsoid((-30, 10, -66), (12, 16, 44)),
    Ellipsoid((-38, -4, -66), (8, 14, 40)),
)


def limb(s: KneeShape) -> Part:
    """Skin, subcutaneous fat and the deep compartment, which is fat between the muscles."""

    def distance(x: Array, y: Array, z: Array) -> Array:
        taper = 1 + np.float32(0.0016) * np.abs(z - 5)
        thickness = np.hypot(x / 47, (y + 4) / 55)
        return (thickness - taper) * 50

    layers = (
        (Tissue.SKIN, -s.fat - 1.5),
        (Tissue.FAT, -s.fat),
        (Tissue.LIGAMENT, 0.0),
        (Tissue.FAT, 0.8),
    )
    return Part(distance, (-200.0, -200.0, -200.0), (200.0, 200.0, 200.0), layers)


def muscles(s: KneeShape) -> list[Part]:
    """The muscles of thigh and calf, whose cross-section grows with their bulk."""
    bulk = s.muscle
    found = []
    for muscle in _MUSCLES:
        a, b, length = muscle.radii
        found.append(blob(Ellipsoid(muscle.centre, (a * bulk, b * bulk, length)), Tissue.MUSCLE))
    return found


def joint(knee: KneeModel) -> list[Part]:
    """Capsule, fat pad, vessels, fluid, tibial cartilage and menisci, painted before the bones."""
    return [
        blob(Ellipsoid((0, -2, 8), (44, 34, 32)), Tissue.SYNOVIUM, blur=2.0),
        blob(Ellipsoid((-2, 29, 4), (23, 14, 19)), Tissue.FAT, blur=1.0),
        rod((3, -38, -90), (2, -36, 100), 3.5, Tissue.VESSEL),
        rod((8, -43, -90), (-4, -42, 100), 3.0, Tissue.VESSEL),
        *_fluid(knee),
        *_compartment(knee, side=1),
        *_compartment(knee, side=-1),
    ]


def ligaments(s: KneeShape) -> list[Part]:
    """Ligaments and tendons, painted last."""
    band = Tissue.LIGAMENT
    medial, lateral = s.notch + 2 * s.medial_width, -(s.notch + 2 * s.lateral_width)
    fibula = -35 + s.fibula_offset
    patella_bottom, patella_top = s.patella_height - 17 * s.patella_size, s.patella_height + 16
    return [
        rod((-6, -14, 22), (1, 10, -2), 3.2, band),  # anterior cruciate
        rod((6, 4, 12), (0, -25, -8), 3.8, band),  # posterior cruciate
        rod((medial + 0.5, 0, 26), (medial - 1, 3, -46), 1.4, band),  # medial collateral
        rod((lateral - 0.5, -6, 22), (fibula, -16, -13), 1.6, band),  # lateral collateral
        rod((-44, 14, 75), (-34, 17, -14), 1.6, band),  # iliotibial band
        rod((-3, 44, patella_bottom), (-3, 25, -40), 2.8, band),  # patellar tendon
        rod((-3, 45, patella_top), (-2, 40, 150), 3.2, band),  # quadriceps tendon
    ]


def _fluid(knee: KneeModel) -> list[Part]:
    """The effusion: within the capsule, and in pouch and recesses with walls of their own."""
    if knee.effusion <= 0:
        return []
    # It also spreads in the notch and behind the condyles, where it lightens the synovium.
    spread = Ellipsoid((0, -2, 8), (43, 32, 30))
    found = [blob(spread, Tissue.FLUID, blur=2.0, amount=0.9 * knee.effusion)]
    for shape in effusion_shapes(knee):
        a, b, c = shape.radii
        walled = Ellipsoid(shape.centre, (a + 1.3, b + 1.3, c + 1.3))
        low, high = box_around(walled, 1)
        layers = ((Tissue.LIGAMENT, 0.0), (Tissue.FLUID, 1.3))
        found.append(Part(ellipsoid(walled), low, high, layers))
    return found


def _compartment(knee: KneeModel, side: int) -> list[Part]:
    """Fluid, tibial cartilage and meniscus of one compartment (side +1 medial, -1 lateral)."""
    s = knee.shape
    outline, ring = _plateau(s, side)
    thickness = s.tibial_cartilage
    low, high = (-45.0, -30.0, -7.0), (0.0, 25.0, 10.0)
    if side > 0:
        thickness = s.tibial_cartilage * (1 - 0.8 * knee.progression)
        low, high = (0.0, -30.0, -7.0), (45.0, 25.0, 10.0)
    fluid = slab_of(outline, -4, 4, s.slope, inset=1)
    cartilage = slab_of(outline, -4, -2.5 + thickness, s.slope, inset=2)
    meniscus = slab_of(ring, -1.4, 6, s.slope)
    return [
        Part(fluid, low, high, ((Tissue.FLUID, 0.0),)),
        Part(cartilage, low, high, ((Tissue.CARTILAGE, 0.0),)),
        Part(meniscus, low, high, ((Tissue.MENISCUS, 0.0),)),
    ]


def _plateau(s: KneeShape, side: int) -> tuple[Distance, Distance]:
    """The outline of one compartment (side +1 medial, -1 lateral), and its meniscus as a ring."""
    width = s.medial_width if side > 0 else s.lateral_width
    cx, ax, ay = np.float32(side * (s.notch + width)), np.float32(width + 2.5), np.float32(24)
    inner = np.float32(0.5)  # the ring's inner radius, as a fraction of the outline's

    def radius(x: Array, y: Array) -> Array:
        return np.hypot((x - cx) / ax, (y + 3) / ay)

    def outline(x: Array, y: Array, z: Array) -> Array:
        return (radius(x, y) - 1) * ax

    def ring(x: Array, y: Array, z: Array) -> Array:
        r = radius(x, y)
        d = np.maximum((r - 1) * ax, (inner - r) * ax)
        above_wedge = z - np.float32(s.slope) * y - 13 * (r - inner)  # highest at the rim
        d = np.maximum(d, above_wedge)
        return np.maximum(d, np.float32(12) - side * x)  # the ring is open towards the notch

    return outline, ring
