"""The bones of the knee, their cartilage, and the lesions in their marrow, as parts to paint."""

from __future__ import annotations

import numpy as np

from oatools.phantom.anatomy import KneeModel, KneeShape
from oatools.phantom.contrast import Tissue
from oatools.phantom.findings import Ellipsoid, femoral_lesion_shape, tibial_lesion_shape
from oatools.phantom.solids import (
    Array,
    Distance,
    Layers,
    Part,
    blob,
    box_around,
    capsule,
    ellipsoid,
    joined,
)

_BONE: Layers = ((Tissue.CORTEX, 0.0), (Tissue.MARROW, 1.2))
_TROCHLEA = Ellipsoid((-2.0, 13.0, 30.0), (23.0, 13.0, 18.0))


def bones(knee: KneeModel) -> list[Part]:
    """The cartilage of patella and femur, and the bones that are painted over it."""
    s = knee.shape
    height, size = s.patella_height, s.patella_size
    behind_patella = Ellipsoid((-3, 37, height), (18 * size, 9 * size, 16 * size))
    patella = Ellipsoid((-3, 40, height), (21 * size, 9.5 * size, 20 * size))
    return [
        blob(behind_patella, Tissue.CARTILAGE),
        *_femoral_cartilage(knee),
        Part(_femur(s), (-45, -36, 0), (45, 32, 200), _BONE),
        Part(_tibia(s), (-42, -32, -200), (42, 26, 8), _BONE),
        Part(_fibula(s), (-48, -30, -200), (-22, -5, -8), _BONE),
        Part(ellipsoid(patella), (-28, 26, height - 24), (22, 54, height + 24), _BONE),
    ]


def marrow_lesions(knee: KneeModel) -> list[Part]:
    """Marrow lesions of the medial tibia and femur, confined to their bones."""
    if knee.progression <= 0:
        return []
    return [
        _marrow_lesion(knee, tibial_lesion_shape(knee), _tibia(knee.shape)),
        _marrow_lesion(knee, femoral_lesion_shape(knee), _femur(knee.shape)),
    ]


def _marrow_lesion(knee: KneeModel, shape: Ellipsoid, bone: Distance) -> Part:
    ball = ellipsoid(shape)

    def distance(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(ball(x, y, z), bone(x, y, z) + np.float32(1.2))

    low, high = box_around(shape, 2)
    u = knee.progression
    amount = 1.15 * u / (u + 0.15)
    return Part(distance, low, high, ((Tissue.LESION, 0.0),), blur=1.5, amount=amount)


def _femoral_cartilage(knee: KneeModel) -> list[Part]:
    """Layers over condyles and trochlea, thinner on the medial side where disease progresses."""
    thick = knee.shape.femoral_cartilage
    thin = thick * (1 - 0.8 * knee.progression)
    medial, lateral = _condyles(knee.shape)
    return [
        _cartilage_layer(medial, thin),
        _cartilage_layer(lateral, thick),
        _cartilage_layer(_TROCHLEA, thick),
    ]


def _cartilage_layer(bone: Ellipsoid, thickness: float) -> Part:
    """The bone inflated downwards and forwards but not sideways, so that the layer tapers off."""
    width, depth, height = bone.radii
    inflated = Ellipsoid(bone.centre, (width, depth + thickness, height + thickness))
    shell = ellipsoid(inflated)
    top = bone.centre[2] + 8

    def distance(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(shell(x, y, z), z - np.float32(top))

    low, high = box_around(bone, 4)
    return Part(distance, low, high, ((Tissue.CARTILAGE, 0.0),))


def _condyles(s: KneeShape) -> tuple[Ellipsoid, Ellipsoid]:
    """The medial and the lateral condyle of the femur."""
    medial = Ellipsoid(
        (s.notch + s.medial_width, -4.0, 21.5), (s.medial_width, s.condyle_depth, 19.0)
    )
    lateral = Ellipsoid(
        (-s.notch - s.lateral_width, -3.0, 21.5), (s.lateral_width, s.condyle_depth + 1, 19.0)
    )
    return medial, lateral


def _femur(s: KneeShape) -> Distance:
    medial, lateral = (ellipsoid(condyle) for condyle in _condyles(s))
    trochlea = ellipsoid(_TROCHLEA)
    metaphysis = ellipsoid(Ellipsoid((-1.0, -2.0, 48.0), (28.0, 18.0, 27.0)))

    def distance(x: Array, y: Array, z: Array) -> Array:
        d = np.minimum(medial(x, y, z), lateral(x, y, z))
        d = joined(d, trochlea(x, y, z), 5)
        d = joined(d, metaphysis(x, y, z), 8)
        shaft = np.hypot(x + np.float32(0.06) * z, y) - np.float32(13.5)
        return joined(d, np.maximum(shaft, np.float32(45) - z), 10)

    return distance


def _tibia(s: KneeShape) -> Distance:
    head = ellipsoid(Ellipsoid((0.0, -4.0, -6.0), (39.0, 26.0, 46.0)))
    tuberosity = ellipsoid(Ellipsoid((-3.0, 14.0, -38.0), (12.0, 9.0, 16.0)))
    medial_spine = ellipsoid(Ellipsoid((4.0, -4.0, -2.0), (4.0, 8.0, 7.0)))
    lateral_spine = ellipsoid(Ellipsoid((-5.5, -5.0, -2.0), (4.0, 7.0, 6.0)))

    def distance(x: Array, y: Array, z: Array) -> Array:
        below_plateau = z + np.float32(2.5) - np.float32(s.slope) * y
        d = np.maximum(head(x, y, z), below_plateau)
        d = joined(d, np.minimum(medial_spine(x, y, z), lateral_spine(x, y, z)), 3)
        d = joined(d, tuberosity(x, y, z), 6)
        shaft = np.hypot(x, y - 1) - np.float32(13.5)
        return joined(d, np.maximum(shaft, z + 38), 10)

    return distance


def _fibula(s: KneeShape) -> Distance:
    x0 = -35 + s.fibula_offset
    head = ellipsoid(Ellipsoid((x0, -17, -22), (8, 8.5, 11)))
    shaft = capsule((x0, -17, -24), (-33, -15, -150), 5.5)

    def distance(x: Array, y: Array, z: Array) -> Array:
        return joined(head(x, y, z), shaft(x, y, z), 4)

    return distance
