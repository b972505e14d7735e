"""The part of a volume that a backbone sees: a square around the joint, slices of a compartment."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import Provenance
from oatools.features.joint import COMPARTMENT_MM, Joint, find_joint
from oatools.features.slices import BOTH, LATERAL, MEDIAL, Preprocessing, Slices, chosen
from oatools.imaging import orient
from oatools.imaging.volume import Volume

#: What is said of volumes whose middle slices show neither compartment.
NOTCH = (
    "the slices in the middle of a sagittal stack show the notch between the condyles; "
    "`compartment` takes those of a compartment"
)


@dataclass(frozen=True)
class Framing:
    """What is seen of one volume.

    `volume` is the part of it that lies in the square, all slices of it, and `corner` its first
    voxel (i, j); `settings` name the `slices` (indices from 0) that were chosen. `joint` is None
    where its place did not matter.
    """

    volume: Volume
    settings: Preprocessing
    slices: tuple[int, ...]
    corner: tuple[int, int] = (0, 0)
    joint: Joint | None = None

    def spread(self, maps: np.ndarray, whole: Volume) -> np.ndarray:
        """Return maps (i, j, slices) of what is seen on the grid of the whole volume, 0 beyond."""
        full = np.zeros(whole.shape, dtype=np.float32)
        (i, j), (columns, rows) = self.corner, self.volume.shape[:2]
        full[i : i + columns, j : j + rows, list(self.slices)] = maps
        return full

    def record(self, whole: Volume) -> dict[str, Any]:
        """Return the place of the joint and of the square as JSON can hold them.

        Millimetres are RAS; voxels are counted from 0 in the whole volume.
        """
        if self.joint is None:
            return {}
        voxel = np.linalg.inv(whole.affine) @ [*self.joint.place, 1]
        recorded: dict[str, Any] = {
            "joint_mm": [round(v, 2) for v in self.joint.place],
            "joint_voxel": [round(float(v), 2) for v in voxel[:3]],
            "clearness": round(self.joint.clearness, 4),
        }
        if self.settings.crop is not None:
            recorded["first_voxel"] = list(self.corner)
            recorded["voxels"] = list(self.volume.shape[:2])
        if self.settings.compartment is not None:
            recorded["slices"] = list(self.slices)
        return recorded


def framed(volume: Volume, settings: Preprocessing, side: str | None = None) -> Framing:
    """Return what `settings` let a backbone see of a volume with its slices in the last axis.

    `side` is that of the knee, left or right, which a compartment needs. Raises an `ItemError`
    where the joint is looked for and not found, or where there is no such compartment; and as
    `slices.chosen` does.
    """
    count = volume.shape[2]
    if settings.crop is None and settings.compartment is None:
        return Framing(volume, settings, tuple(chosen(count, settings.slices)))
    if settings.compartment is not None:
        _require_compartments(volume, side)
    joint = find_joint(volume)
    corner, part = (0, 0), volume
    if settings.crop is not None:
        corner, part = _square(volume, settings.crop, joint)
    if settings.compartment is None:
        slices = tuple(chosen(count, settings.slices))
    else:
        slices = _of_compartment(volume, settings, joint, side or "")
        settings = replace(settings, picked=slices)
    return Framing(part, settings, slices, corner, joint)


def stated_side(row: Row, fields: Mapping[str, Any]) -> str | None:
    """Return the side of a row's knee, or else that by which oa-orient turned its volume.

    `fields` are those of the volume's sidecar. None where neither is known.
    """
    side = row.get("side", MISSING)
    if side != MISSING:
        return side
    turned = Provenance.from_fields(fields).latest("oa-orient")
    found = None if turned is None else turned.parameters.get("side")
    return found if isinstance(found, str) else None


def shows_notch(volume: Volume, slices: Slices, compartment: str | None) -> bool:
    """Tell whether slices are taken around the middle of a sagittal stack, and too few of them."""
    if not isinstance(slices, int) or compartment is not None:
        return False
    reach = slices * float(volume.spacing[2]) / 2
    return _is_sagittal(volume) and slices < volume.shape[2] and reach < COMPARTMENT_MM


def _is_sagittal(volume: Volume) -> bool:
    return orient.plane_across(volume, axis=2) == "sagittal"


def _require_compartments(volume: Volume, side: str | None) -> None:
    """Raise an `ItemError` where slices are of no one compartment, or it is not known of which."""
    if not _is_sagittal(volume):
        raise ItemError(
            f"each of its {orient.plane_across(volume, axis=2)} slices shows both compartments",
            "leave out `compartment`, or give sagittal volumes",
        )
    if side not in orient.SIDES:
        raise ItemError(
            "its side is not known, nor thereby which compartment is medial",
            "give a table with the column 'side', or leave out `compartment`",
        )


def _square(volume: Volume, crop: float, joint: Joint) -> tuple[tuple[int, int], Volume]:
    """Return the first voxel (i, j) of a square of so many mm around the joint, and its part.

    It is moved to lie within the slices; where they are smaller, it is what there is of them.
    """
    middle = np.linalg.inv(volume.affine) @ [*joint.place, 1]
    firsts, counts = [], []
    for axis in range(2):
        size = volume.shape[axis]
        count = min(size, max(1, round(crop / float(volume.spacing[axis]))))
        first = round(float(middle[axis]) - (count - 1) / 2)
        firsts.append(min(max(first, 0), size - count))
        counts.append(count)
    (i, j), (columns, rows) = firsts, counts
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [i, j, 0, 1])[:3]
    # In the order of a NIfTI file, as all volumes lie in memory.
    data = np.asfortranarray(volume.data[i : i + columns, j : j + rows])
    return (i, j), Volume(data, affine)


def _of_compartment(
    volume: Volume, settings: Preprocessing, joint: Joint, side: str
) -> tuple[int, ...]:
    """Return the indices of the slices of a compartment, or of both, in their order."""
    count, spacing = volume.shape[2], float(volume.spacing[2])
    middle = float((np.linalg.inv(volume.affine) @ [*joint.place, 1])[2])
    runs_right = volume.affine[0, 2] > 0
    # The midline of the body, and with it the medial side, is to the right of a left knee.
    medial_step = spacing if runs_right == (side == "left") else -spacing
    from_joint = (np.arange(count) - middle) * medial_step  # mm to the medial side
    signs = {MEDIAL: (1,), LATERAL: (-1,), BOTH: (1, -1)}[settings.compartment or BOTH]
    slices: list[int] = []
    for sign in signs:
        own = np.flatnonzero(sign * from_joint > 0)
        if isinstance(settings.slices, int):
            distance = np.abs(sign * from_joint[own] - COMPARTMENT_MM)
            own = own[np.argsort(distance, kind="stable")[: settings.slices]]
        slices += [int(k) for k in own]
    return tuple(sorted(slices))
