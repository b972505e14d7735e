"""Images varied at random, so that a model can learn from more than one view of a knee.

Knees are turned and shifted a little, and their intensities bent; they are never mirrored, since
that would put the medial compartment on the lateral side.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """How far images are varied: each draw is uniform between minus and plus these.

    `rotation` in degrees about the centre, `shift` along each axis as a share of the image's side,
    `gain` a factor's distance from one, `gamma` the natural logarithm of the exponent.
    """

    rotation: float = 10.0
    shift: float = 0.05
    gain: float = 0.1
    gamma: float = 0.2

    def record(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return asdict(self)


def variants(
    images: np.ndarray,
    count: int,
    seed: int,
    source_sha256: str,
    settings: Augmentation = Augmentation(),
) -> Iterator[np.ndarray]:
    """Yield `count` variants of a volume's images (n, channels, size, size) in [0, 1], all slices of one alike.

    What is drawn depends on the seed, the volume (by its digest) and the variant's number alone.
    Pixels from beyond the image are black; interpolation is bilinear.
    """
    if not count:
        return
    from scipy.ndimage import affine_transform

    size = images.shape[-1]
    centre = (size - 1) / 2
    for number in range(count):
        rng = np.random.default_rng([seed, number, int(source_sha256[:16], 16)])
        angle = np.radians(rng.uniform(-settings.rotation, settings.rotation))
        shift = rng.uniform(-settings.shift, settings.shift, 2) * size
        gain, exponent = (
            1 + rng.uniform(-settings.gain, settings.gain),
            np.exp(rng.uniform(-1, 1) * settings.gamma),
        )
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = centre - turn @ (centre + shift)
        varied = np.empty_like(images)
        for plane, out in zip(
            images.reshape(-1, size, size), varied.reshape(-1, size, size), strict=True
        ):
            affine_transform(plane, turn, offset, output=out, order=1)
        np.clip(gain * np.clip(varied, 0, 1) ** np.float32(exponent), 0, 1, out=varied)
        yield varied
