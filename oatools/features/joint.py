"""The place of the knee joint in a volume, found by what its image shows.

No model of a knee is trained for it, and no contrast is taken for granted. In every one of them the
joint line is where layers lie upon each other, cortex, cartilage, menisci and fluid, between the
marrow of the femur above and that of the tibia below, which varies little, bright or dark. Each
column of voxels votes for the heights at which it shows that, and the joint is where the votes of
both compartments agree.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oatools.core.errors import ItemError
from oatools.imaging import orient
from oatools.imaging.volume import Volume
from oatools.n4.masks import box_mean

#: The name of this method in records; another one finds other places.
METHOD = "layers between marrow, 1"
#: The middle of a compartment lies so far from the joint's, to the medial or lateral side, mm.
COMPARTMENT_MM = 22.0

Floats = npt.NDArray[np.float32]

# All lengths are in mm, in the order right, anterior, superior.
_GRID = (3.0, 3.0, 1.5)  # about the voxels of the picture that is looked at
_SMOOTH = (2.0, 2.0, 1.0)
_SURROUNDINGS = 25.0  # over which the brightness of a place is taken, as coils shine unevenly
_LAYERS = 6.0  # from the joint line, in which cartilage and menisci lie
_MARROW = (9.0, 24.0)  # above and below it
_COMPARTMENT = (8.0, 14.0, 3.5)  # standard deviations of a compartment's votes
_OFF_MIDDLE = 15.0  # standard deviation of the joint from the middle of the limb
_LIMB_ALONG = 8.0  # over which the middle of the limb is taken, along it
_APART = 12.0  # between two heights that are not the same joint line
_SLIGHT = 0.02  # change of brightness a mm that is as good as none
# Of 105 phantoms of seven contrasts and three planes, 104 were clearer than this; so were 3 of 40
# pieces of a limb without a joint. Two real knees had 0.12 (spin echo) and 0.35 (DESS).
_CLEAR = 0.055


@dataclass(frozen=True)
class Joint:
    """The middle of a knee joint.

    `place` is between the condyles on the joint line, RAS mm; `clearness` the share of the votes
    there, 0 to 1, less that at the next best height.
    """

    place: tuple[float, float, float]
    clearness: float


def find_joint(volume: Volume) -> Joint:
    """Find the knee joint in a volume of one knee, in any plane, contrast and order of its axes.

    Both compartments must be in the volume, and 25 mm of bone above and below the joint line.
    Raises an `ItemError` where nothing in it looks like a joint, and for a volume of a few voxels.
    """
    small = _coarse(volume)
    if min(small.shape) < 2:
        raise _no_joint("too few voxels")
    agreed = _agreement(_votes(small), small)
    best = np.unravel_index(int(agreed.argmax()), agreed.shape)
    by_height = agreed.max(axis=(0, 1))
    heights = np.arange(len(by_height)) * small.spacing[2]
    elsewhere = by_height[np.abs(heights - heights[best[2]]) > _APART]
    clearness = float(agreed[best] - elsewhere.max(initial=0))
    if not clearness > _CLEAR:
        raise _no_joint(f"clearness {clearness:.3f}, of which {_CLEAR} is needed")
    x, y, z = (float(v) for v in (small.affine @ [*best, 1])[:3])
    return Joint((x, y, z), clearness)


def _no_joint(why: str) -> ItemError:
    return ItemError(
        f"no knee joint is found in its image ({why})",
        "look at it, drop the row, or leave out `crop` and `compartment`",
    )


def _coarse(volume: Volume) -> Volume:
    """Return means over boxes of voxels, float32, with axes to the right, anterior and superior."""
    turn = orient.canonical(volume, "axial", "left")
    factors = [1, 1, 1]
    for axis, wanted in zip(turn.axes, _GRID, strict=True):
        factors[axis] = max(1, round(wanted / float(volume.spacing[axis])))
    shape = zip(volume.shape, factors, strict=True)
    factors = [min(factor, size) for size, factor in shape]
    to_index = np.diag([*factors, 1.0])
    to_index[:3, 3] = (np.array(factors) - 1) / 2
    boxes = Volume(box_mean(volume.data, factors), volume.affine @ to_index)
    return orient.apply(boxes, turn)


def _votes(small: Volume) -> Floats:
    """Return for each voxel, 0 to 1, how much more changes along its column nearby than beyond."""
    from scipy import ndimage

    spacing = small.spacing
    data = np.maximum(small.data, 0)
    smooth = ndimage.gaussian_filter(data, _SMOOTH / spacing, mode="nearest", truncate=3)
    around = ndimage.gaussian_filter(data, _SURROUNDINGS / spacing, mode="nearest", truncate=2)
    smooth /= around + 0.05 * around.max() + np.finfo(np.float32).tiny
    slopes = np.gradient(smooth, *(float(s) for s in spacing))
    upward, any_way = np.abs(slopes[2]), np.sqrt(sum(slope**2 for slope in slopes))
    step = float(spacing[2])
    layers = ndimage.uniform_filter1d(upward, max(1, round(2 * _LAYERS / step)), axis=2)
    low, high = _MARROW
    marrow = ndimage.uniform_filter1d(any_way, max(1, round((high - low) / step)), axis=2)
    off = round((low + high) / 2 / step)
    votes = np.zeros_like(layers)
    if 2 * off >= layers.shape[2]:
        return votes
    inner = layers[:, :, off:-off]
    beyond = (marrow[:, :, 2 * off :] + marrow[:, :, : -2 * off]) / 2
    votes[:, :, off:-off] = np.maximum((inner - beyond) / (inner + beyond + _SLIGHT), 0)
    return votes


def _agreement(votes: Floats, small: Volume) -> Floats:
    """Return for each voxel, as the middle of a joint, the votes in its two compartments.

    It is their geometric mean, so that both must be there, and less away from the middle of the
    limb.
    """
    from scipy import ndimage

    spacing = small.spacing
    each = ndimage.gaussian_filter(votes, _COMPARTMENT / spacing, mode="constant", truncate=3)
    off = max(1, round(COMPARTMENT_MM / float(spacing[0])))
    padded = np.pad(each, ((off, off), (0, 0), (0, 0)))
    agreed = np.sqrt(padded[: -2 * off] * padded[2 * off :])
    across = np.arange(small.shape[0]) * spacing[0]
    limb = np.clip(small.data, 0, np.percentile(small.data, 90)).sum(axis=1)
    limb = ndimage.gaussian_filter1d(limb, _LIMB_ALONG / float(spacing[2]), axis=1)
    middle = (limb * across[:, None]).sum(axis=0) / np.maximum(limb.sum(axis=0), 1e-30)
    off_middle = (across[:, None] - middle) / _OFF_MIDDLE
    found: Floats = agreed * np.exp(-0.5 * off_middle**2)[:, None, :].astype(np.float32)
    return found
