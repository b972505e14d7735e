"""Heat maps as oa-cam writes them: what is recorded of one, and where it lies over a volume."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.provenance import Provenance, RecordedOrientation, Step
from oatools.imaging import nifti
from oatools.imaging.orient import Orientation, apply, canonical
from oatools.imaging.volume import Geometry, Volume, read_volume

# Corners of the two grids may lie apart by so much of a voxel's longest edge: headers are rounded.
_SAME_PLACE = 0.1


@dataclass(frozen=True)
class Heat:
    """A heat map: its voxels, and what its sidecar says of it where that is our own.

    `attention` is by slice of the volume that was explained, empty where it is not recorded;
    `notes` are what the picture beside the map says, too; `unit` is what heat is measured in.
    """

    volume: Volume
    made: Provenance
    attention: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    unit: str = ""
    probability: float | None = None
    threshold: float | None = None

    @property
    def top(self) -> float:
        """The largest heat; 0 for a map that is zero."""
        return max(0.0, float(self.volume.data.max()))

    @property
    def step(self) -> Step | None:
        """The step of oa-cam that made the map, if it is recorded."""
        last = self.made.last
        return last if last is not None and last.tool == "oa-cam" else None


def read_heat(path: Path) -> Heat:
    """Read a heat map and its sidecar; errors as in `read_volume`.

    Texts of a sidecar that is not our own, or was changed since, are passed over.
    """
    volume = read_volume(path)
    made = provenance.read_provenance(path)
    fields = provenance.sealed_fields(path)
    if made.last is None or made.last.tool != "oa-cam":
        fields = {}
    return Heat(
        volume=volume,
        made=made,
        attention=tuple(_numbers(fields.get("Attention"))),
        notes=tuple(_texts(fields.get("Notes"))),
        unit=next(iter(_texts([fields.get("Description")])), ""),
        probability=next(iter(_numbers([fields.get("Probability")])), None),
        threshold=next(iter(_numbers([fields.get("Threshold")])), None),
    )


def over(heat: Volume, volume: Volume, plane: str, side: str) -> Volume:
    """Return a heat map on the canonical axes of the volume that it lies over.

    The two may have their axes in any order, and either of them reversed; where voxels lie, their
    affines say. Raises an `ItemError` for a map that is not of the volume's own voxels.
    """
    turned = apply(heat, canonical(heat, plane, side))
    shown = apply(volume, canonical(volume, plane, side))
    far = math.inf
    if turned.shape == shown.shape:
        far = nifti.apart(turned.affine, shown.affine, shown.shape)
    if far > _SAME_PLACE * float(shown.spacing.max()):
        sizes = [" x ".join(map(str, each.shape)) for each in (turned, shown)]
        apart = f"{far:.3g} mm apart" if math.isfinite(far) else f"{sizes[0]} and {sizes[1]} voxels"
        raise ItemError(
            f"the heat map does not lie on the voxels of the volume ({apart})",
            "give the volume that oa-cam explained, or its scan",
        )
    return turned


def attention_over(heat: Heat, plane: str, side: str) -> list[float]:
    """Return a map's attention by slice of the volume on its canonical axes.

    Empty where none is recorded, or the volume that was explained had its slices along another
    axis.
    """
    explained = _explained_grid(heat)
    if len(heat.attention) != explained.shape[2]:
        return []
    turn = canonical(explained, plane, side)
    if turn.axes[2] != 2:
        return []
    attention = list(heat.attention)
    return attention[::-1] if turn.flips[2] else attention


def _explained_grid(heat: Heat) -> Geometry:
    """The grid of the volume that was explained: the map's own, unless it went back to the scan's.

    See `explain.rows.on_grid`.
    """
    own = Geometry(heat.volume.shape, heat.volume.affine)
    turned = heat.made.orientation()
    went_back = heat.step is not None and heat.step.parameters.get("grid", "scan") == "scan"
    if not went_back or turned is None or not _is_whole(turned):
        return own
    assert turned.axes is not None and turned.flips is not None
    orientation = Orientation(turned.axes, turned.flips)
    empty = Volume(np.broadcast_to(np.float32(0), own.shape), own.affine)
    found = apply(empty, orientation)
    return Geometry(found.shape, found.affine)


def _is_whole(turned: RecordedOrientation) -> bool:
    """Tell whether a record of oa-orient says how axes were turned."""
    if turned.axes is None or turned.flips is None:
        return False
    return sorted(turned.axes) == [0, 1, 2] and len(turned.flips) == 3


def _numbers(values: Any) -> list[float]:
    """The finite numbers of a list; none of a list that holds anything else."""
    listed = values if isinstance(values, list) else []
    found = [float(each) for each in listed if isinstance(each, int | float)]
    return found if len(found) == len(listed) and all(map(math.isfinite, found)) else []


def _texts(values: Any) -> list[str]:
    listed = values if isinstance(values, list) else []
    return [each for each in listed if isinstance(each, str)]
