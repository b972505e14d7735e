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
from oatools.n4.field import Field

Array = np.ndarray

_ITERATIONS = 8
_WIDE = (4.0, 2.0)  # the first scales, as multiples of the last
# Steps within a tissue are about this large at 3 mm; noisier images raise it to their median step.
_SCALE = 0.05
# Outside the mask, where no tissue says anything, the field is held flat with this weight beside 1
# inside.
_FLAT = 0.01
_RIDGE = 1e-6


def estimate(image: Array, mask: Array, spans: Sequence[int], positions: Sequence[Array]) -> Field:
    """Estimate the log bias field of an image (i, j, k) from its steps between neighbours inside a mask.

    `spans` are the spline's intervals along each axis, `positions` the samples' places along each
    in [0, 1]. The field is defined up to a factor; its mean logarithm inside the mask is 0. Sums
    over samples are in float32, the equations are solved in float64. Raises a `ValueError` if no
    two usable voxels are neighbours.
    """
    usable = np.asarray(mask, bool) & np.isfinite(image) & (image > 0)
    logs = np.zeros(image.shape, np.float32)
    logs[usable] = np.log(image[usable])
    matrices = [bspline.basis(p, n) for p, n in zip(positions, spans, strict=True)]
    shape = tuple(n + bspline.ORDER for n in spans)
    axes = [_Steps(logs, usable, matrices, axis) for axis in range(3) if image.shape[axis] > 1]
    if not any(axis.inside.any() for axis in axes):
        raise ValueError("no two voxels inside the mask are neighbours")
    held = sum(_FLAT * axis.normal((~axis.inside).astype(np.float32)) for axis in axes)
    scale = max(_SCALE, float(np.median(np.concatenate([np.abs(a.steps[a.inside]) for a in axes]))))
    points = np.zeros(shape)
    for n in range(_ITERATIONS):
        width = scale * (_WIDE[n] if n < len(_WIDE) else 1.0)
        left, right = held.copy(), np.zeros(held.shape[0])
        for axis in axes:
            # 1 / (1 + (r / s)^2)^2, in place: these arrays are what an iteration costs.
            weights = bspline.expand(points.astype(np.float32), axis.matrices)
            weights -= axis.steps
            weights *= np.float32(1 / width)
            weights *= weights
            weights += 1
            weights *= weights
            np.divide(axis.inside, weights, out=weights)
            left += axis.normal(weights)
            weights *= axis.steps
            right += bspline.contract(weights, axis.matrices).ravel()
        left += (
            _RIDGE * np.trace(left) / len(left) * np.eye(len(left))
        )  # a constant field has no steps
        points = np.linalg.solve(left, right).reshape(shape)
    points -= bspline.expand(points, matrices)[usable].mean()
    return Field(points, ())


class _Steps:
    """The steps of the log image along one axis, where both voxels are inside, and the spline's steps there."""

    def __init__(self, logs: Array, usable: Array, matrices: Sequence[Array], axis: int) -> None:
        ahead = tuple(slice(1, None) if n == axis else slice(None) for n in range(3))
        behind = tuple(slice(None, -1) if n == axis else slice(None) for n in range(3))
        self.inside = usable[ahead] & usable[behind]
        self.steps = np.where(self.inside, logs[ahead] - logs[behind], np.float32(0))
        own = [np.diff(m, axis=0) if n == axis else m for n, m in enumerate(matrices)]
        self.matrices = [m.astype(np.float32) for m in own]
        # Products of every two of an axis's basis functions: (samples, control points squared).
        self.pairs = [(m[:, :, None] * m[:, None, :]).reshape(len(m), -1) for m in self.matrices]

    def normal(self, weights: Array) -> Array:
        """The matrix of the normal equations, (control points, control points), of weighted steps."""
        a, b, c = (m.shape[1] for m in self.matrices)
        sums = bspline.contract(weights, self.pairs).reshape(a, a, b, b, c, c)
        return sums.transpose(0, 2, 4, 1, 3, 5).reshape(a * b * c, a * b * c)
