"""A schematic knee: where it lies, its natural variation, its findings and imaging conditions.

Knee frame: x mediolateral with medial positive, y anterior, z superior, millimetres, origin on the
joint line between the condyles. Patient frame: RAS+ millimetres, as in NIfTI. A right knee is the
exact mirror image of a left one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oatools.phantom.coils import Coil, random_coil
from oatools.phantom.waves import Waves, no_waves, random_bias, random_mottling, random_texture

Point = tuple[float, float, float]


@dataclass(frozen=True)
class KneeShape:
    """The natural variation of one knee, in mm at size 1 unless said otherwise.

    The defaults are the mean knee.
    """

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


@dataclass(frozen=True)
class Mottling:
    """How a tissue's own brightness varies from place to place, which no correction must remove.

    Each is about 0 with a deviation of about 1: red marrow among yellow, muscles unlike each other
    with fat between their fibres, and fat that is denser here than there.
    """

    marrow: Waves
    muscle: Waves
    fat: Waves


@dataclass(frozen=True)
class KneeModel:
    """One knee as it is drawn: its position, its shape, its findings and its imaging conditions.

    `centre` is the joint's centre: mm lateral to the midline, anterior and superior in the patient
    frame. `progression` and `effusion` run from 0 (no finding) to 1.
    """

    side: str = "left"
    centre: Point = (90.0, 0.0, 0.0)
    rotation: Point = (0.0, 0.0, 0.0)  # degrees about the knee's x, y, z
    size: float = 1.0
    shape: KneeShape = field(default_factory=KneeShape)
    progression: float = 0.0
    effusion: float = 0.0
    texture: Waves = field(default_factory=no_waves)
    bias: Waves | Coil = field(default_factory=no_waves)
    mottling: Mottling | None = None
    gain: float = 1.0

    def mirrored(self) -> KneeModel:
        """The same anatomy as the patient's other knee."""
        return replace(self, side="right" if self.side == "left" else "left")


def knee_from_ras(knee: KneeModel) -> NDArray[np.float64]:
    """The 4x4 affine from patient RAS mm to the knee frame.

    Its determinant is negative for a right knee, which is mirrored.
    """
    a, b, c = np.radians(knee.rotation)
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    linear = rx @ ry @ rz / knee.size
    lateral, anterior, superior = knee.centre
    # On the left, medial is towards positive x in RAS already: no mirroring.
    medial = 1.0 if knee.side == "left" else -1.0
    affine = np.eye(4)
    affine[:3, :3] = linear @ np.diag([medial, 1.0, 1.0])
    affine[:3, 3] = linear @ -np.array([-lateral, anterior, superior])
    return affine


def random_knee(
    rng: np.random.Generator, side: str = "left", size: float = 1.0, fat: float = 9.0
) -> KneeModel:
    """A knee without findings, with natural variation about the given size and fat (mm)."""

    def around(mean: float, sd: float) -> float:
        return float(mean + sd * np.clip(rng.standard_normal(), -2.5, 2.5))

    # The order of these draws decides every phantom: a new one belongs at the end.
    shape = KneeShape(
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
    return KneeModel(
        side=side,
        centre=(around(90, 4), around(-5, 6), around(0, 10)),
        rotation=(around(0, 1.5), around(0, 1.5), around(0, 3)),
        size=size * around(1, 0.015),
        shape=shape,
        texture=random_texture(rng),
        bias=random_bias(rng),
        gain=around(1, 0.08),
    )


def in_coil(knee: KneeModel, kind: str, rng: np.random.Generator) -> KneeModel:
    """The knee in a coil of that kind (`coils.random_coil`), its tissues mottled as in nature."""
    mottling = Mottling(
        marrow=random_mottling(rng, (20, 160)),
        muscle=random_mottling(rng, (20, 90)),
        fat=random_mottling(rng, (15, 90)),
    )
    return replace(knee, bias=random_coil(rng, kind), mottling=mottling)
