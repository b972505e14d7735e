"""The distance between slices, from the outermost of them.

dcm2niix takes it from the first two. Where positions are written with one or two decimals, that is
off by a few hundredths of a mm, and the far end of a hundred slices by a few mm. For a file of
several frames it takes what SpacingBetweenSlices says, whatever the positions say.
"""

from collections.abc import Sequence

import numpy as np

from oatools.dicom.frames import LPS_TO_RAS, Frame
from oatools.dicom.geometry import depths_of
from oatools.imaging.volume import Volume

_DRIFT_MM = 0.1  # what the far end of a volume may be off by
_MOST = 0.25  # of a step; what points elsewhere is another stack


def settled(volume: Volume, frames: Sequence[Frame]) -> tuple[Volume, str]:
    """Return a volume whose outermost slices lie where their headers say.

    Also returns what was done to it, empty if nothing was. `frames` are its slices, evenly spaced,
    in any order. A volume whose far end is less than 0.1 mm off is left as it is.
    """
    if len(frames) < 2 or len(frames) != volume.shape[2]:
        return volume, ""
    order = np.argsort(depths_of(frames), kind="stable")
    first, last = frames[int(order[0])].position, frames[int(order[-1])].position
    assert first is not None and last is not None
    gaps = len(frames) - 1
    step, theirs = (last - first) * LPS_TO_RAS / gaps, volume.affine[:3, 2]
    is_ascending = float(step @ theirs) > 0
    ours = step if is_ascending else -step
    was, now = float(np.linalg.norm(theirs)), float(np.linalg.norm(ours))
    off = float(np.linalg.norm(ours - theirs))
    aside = float(np.linalg.norm(ours / now - theirs / was))
    if off * gaps < _DRIFT_MM or aside > _MOST:
        return volume, ""
    affine = volume.affine.copy()
    affine[:3, 2] = ours
    corner = first * LPS_TO_RAS
    index = np.rint(np.linalg.inv(volume.affine) @ [*corner, 1])[:3]
    index[2] = 0 if is_ascending else gaps
    affine[:3, 3] = corner - affine[:3, :3] @ index
    return Volume(volume.data, affine), (
        f"slices are {now:.5g} mm apart by the outermost of them, not {was:.5g} mm as dcm2niix says"
    )
