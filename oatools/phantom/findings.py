"""The findings that are planted in a knee: marrow lesions and effusion, as ellipsoids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oatools.phantom.anatomy import KneeModel, Point, knee_from_ras


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the axes of the knee frame: centre and semi-axes, mm."""

    centre: Point
    radii: Point


@dataclass(frozen=True)
class Finding:
    """A planted ellipsoid in patient RAS mm; the columns of `axes` (3, 3) are its semi-axes."""

    centre: Point
    axes: NDArray[np.float64]

    def reach(self, direction: NDArray[np.float64]) -> float:
        """Return how far it extends from its centre along a unit vector, mm."""
        return float(np.linalg.norm(direction @ self.axes))


def lesion(knee: KneeModel) -> Finding:
    """The marrow lesion of the medial tibia that marks progression."""
    return _in_patient(knee, tibial_lesion_shape(knee))


def femoral_lesion(knee: KneeModel) -> Finding:
    """The lesion opposite, in the medial femoral condyle, 16 to 24 mm above the tibial one."""
    return _in_patient(knee, femoral_lesion_shape(knee))


def effusion(knee: KneeModel) -> list[Finding]:
    """The fluid that marks pain.

    The suprapatellar pouch comes first, then the recesses beside condyles and joint line.
    """
    return [_in_patient(knee, shape) for shape in effusion_shapes(knee)]


def tibial_lesion_shape(knee: KneeModel) -> Ellipsoid:
    """The tibial lesion in the knee frame: 4 to 20 mm wide, 4 to 9 coronal slices deep."""
    x, y, radii = _lesion_place(knee)
    return Ellipsoid((x, y, -7.0 - 4 * knee.progression), radii)


def femoral_lesion_shape(knee: KneeModel) -> Ellipsoid:
    """The femoral lesion in the knee frame, as large as the tibial one."""
    x, y, radii = _lesion_place(knee)
    return Ellipsoid((x, y, 8.5 + 4 * knee.progression), radii)


def effusion_shapes(knee: KneeModel) -> list[Ellipsoid]:
    """The collections of fluid in the knee frame, in the order of `effusion`."""
    e, s = knee.effusion, knee.shape
    medial, lateral = s.notch + 2 * s.medial_width, -(s.notch + 2 * s.lateral_width)
    pouch = Ellipsoid((-1.0, 24.0 + 2 * e, 58.0), (8 + 20 * e, 0.5 + 11 * e, 10 + 18 * e))
    shapes = [pouch]
    for x, out in ((medial, 1), (lateral, -1)):
        beside_condyle = (0.5 + 8.5 * e, 12 + 14 * e, 8 + 15 * e)
        beside_joint_line = (0.5 + 7.5 * e, 10 + 14 * e, 3 + 5 * e)
        shapes.append(Ellipsoid((x + out * e, 5.0, 18.0), beside_condyle))
        shapes.append(Ellipsoid((x + out * e, -1.0, 0.0), beside_joint_line))
    return shapes


def _lesion_place(knee: KneeModel) -> tuple[float, float, Point]:
    """Return x and y of the centre of both lesions, and their semi-axes."""
    u = knee.progression
    x = knee.shape.notch + knee.shape.medial_width + knee.shape.lesion_x
    return x, knee.shape.lesion_y, (4 + 16 * u, 6 + 7 * u, 4 + 18 * u)


def _in_patient(knee: KneeModel, shape: Ellipsoid) -> Finding:
    to_ras = np.linalg.inv(knee_from_ras(knee))
    linear, offset = to_ras[:3, :3], to_ras[:3, 3]
    x, y, z = (float(v) for v in linear @ np.array(shape.centre) + offset)
    return Finding((x, y, z), linear * np.array(shape.radii))
