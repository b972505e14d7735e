"""A bias field from the small steps of intensity inside tissue, whatever the contrast. NumPy alone.

Within a tissue, the logarithm of the intensity changes from a voxel to the next only by the field
and by noise; between tissues it jumps. So the field is the smooth function (a cubic B-spline, see
`bspline`) whose steps fit the image's steps between neighbours inside the mask, with jumps weighted
out: iteratively reweighted least squares with the weights of Geman and McClure, 1 / (1 + (r /
s)^2)^2 of a residual r, from a wide scale s to a narrow one. Unlike the sharpening of a histogram,
which N4 rests on, it does not need the tissues to form separate peaks, which they do not where fat
is suppressed.

The normal equations of a tensor-product spline on a grid are built one axis at a time, as the fit
in `bspline` is.
"""

from collections.abc import Sequence

import numpy as np

from oatools.n4 import bspline
from oatools.n4.arrays import Array, Doubles, Floats, Mask
from oatools.n4.field import Field, FitError, usable_samples

_ITERATIONS = 8
_WIDE = (8.0, 4.0, 2.0)  # the first scales, as multiples of the last
# Steps within a tissue are about this large at 3 mm; noisier images raise it to their median step.
_SCALE = 0.05
# Outside the mask, where no tissue says anything, the field is held flat with this weight beside 1
# inside.
_FLAT = 0.003
_RIDGE = 1e-6


def estimate(image: Array, mask: Array, spans: Sequence[int], positions: Sequence[Array]) -> Field:
    """Estimate the log bias field of an image (i, j, k) from steps between neighbours in a mask.

    `spans` are the spline's intervals along each axis, `positions` the samples' places along each
    in [0, 1]. The field is defined up to a factor; its mean logarithm inside the mask is 0. Sums
    over samples are in float32, the equations are solved in float64. Raises a `FitError` if no
    two usable voxels are neighbours.
    """
    usable = usable_samples(image, mask)
    logs = np.zeros(image.shape, np.float32)
    logs[usable] = np.log(image[usable])
    matrices = bspline.bases(positions, spans)
    axes = [_Steps(logs, usable, matrices, axis) for axis in range(3) if image.shape[axis] > 1]
    if not any(axis.inside.any() for axis in axes):
        raise FitError("no two voxels inside the mask are neighbours")
    shape = tuple(n + bspline.ORDER for n in spans)
    count = int(np.prod(shape))
    held = np.zeros((count, count), np.float32)
    for axis in axes:
        held += _FLAT * axis.normal((~axis.inside).astype(np.float32))
    scale = _scale(axes)
    points = np.zeros(shape)
    for n in range(_ITERATIONS):
        width = scale * _WIDE[n] if n < len(_WIDE) else scale
        left, right = held.copy(), np.zeros(count)
        for axis in axes:
            weights = axis.weights(points, width)
            left += axis.normal(weights)
            weights *= axis.steps
            right += bspline.contract(weights, axis.matrices).ravel()
        # A constant field has no steps: without a ridge, the equations would not fix it.
        left += _RIDGE * np.trace(left) / count * np.eye(count)
        points = np.linalg.solve(left, right).reshape(shape)
    points -= bspline.expand(points, matrices)[usable].mean()
    return Field(points)


class _Steps:
    """Steps of the log image along one axis, and the matrices that give the spline's steps there.

    `inside` says where both voxels of a step are usable; elsewhere `steps` is 0.
    """

    inside: Mask
    steps: Floats
    matrices: list[Floats]

    def __init__(self, logs: Floats, usable: Mask, matrices: Sequence[Array], axis: int) -> None:
        before = (slice(None),) * axis
        ahead, behind = (*before, slice(1, None)), (*before, slice(None, -1))
        self.inside = usable[ahead] & usable[behind]
        self.steps = np.where(self.inside, logs[ahead] - logs[behind], np.float32(0))
        own = list(matrices)
        own[axis] = np.diff(own[axis], axis=0)
        self.matrices = [matrix.astype(np.float32) for matrix in own]
        # Products of every two of an axis's basis functions: (samples, control points squared).
        self.pairs = [(m[:, :, None] * m[:, None, :]).reshape(len(m), -1) for m in self.matrices]

    def weights(self, points: Doubles, width: float) -> Floats:
        """Geman and McClure's weights of the steps' residuals: 1 / (1 + (r / width)^2)^2.

        They are 0 outside. All is done in place: these arrays are what an iteration costs.
        """
        weights = bspline.expand(points.astype(np.float32), self.matrices)
        weights -= self.steps
        weights *= np.float32(1 / width)
        weights *= weights
        weights += 1
        weights *= weights
        np.divide(self.inside, weights, out=weights)
        return weights

    def normal(self, weights: Floats) -> Floats:
        """The matrix of the weighted steps' normal equations, (control points, control points)."""
        a, b, c = (matrix.shape[1] for matrix in self.matrices)
        sums = bspline.contract(weights, self.pairs).reshape(a, a, b, b, c, c)
        return sums.transpose(0, 2, 4, 1, 3, 5).reshape(a * b * c, a * b * c)


def _scale(axes: Sequence[_Steps]) -> float:
    """The last and narrowest scale of the weights: the median step, and no less than `_SCALE`."""
    sizes = [np.abs(axis.steps[axis.inside]) for axis in axes]
    return max(_SCALE, float(np.median(np.concatenate(sizes))))
