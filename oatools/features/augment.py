"""Augmented copies of images, so that a model can learn from more than one view of a knee.

Knees are turned and shifted a little, and their intensities bent; they are never mirrored, since
that would put the medial compartment on the lateral side.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """The limits of the changes: each draw is uniform between minus and plus these.

    `rotation` in degrees about the centre, `shift` along each axis as a share of the image's side,
    `gain` a factor's distance from one, `gamma` the natural logarithm of the exponent.
    """

    rotation: float = 10.0
    shift: float = 0.05
    gain: float = 0.1
    gamma: float = 0.2

    def record(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)


@dataclass(frozen=True)
class _Change:
    """One draw: an angle in radians, a shift (2,) in pixels, a factor and an exponent."""

    angle: float
    shift: np.ndarray
    gain: float
    exponent: float

    @classmethod
    def draw(cls, random: np.random.Generator, limits: Augmentation, size: int) -> "_Change":
        """Draw a change of images with `size` pixels a side."""
        return cls(
            angle=np.radians(random.uniform(-limits.rotation, limits.rotation)),
            shift=random.uniform(-limits.shift, limits.shift, 2) * size,
            gain=1 + random.uniform(-limits.gain, limits.gain),
            exponent=np.exp(random.uniform(-1, 1) * limits.gamma),
        )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Change images (n, channels, size, size), all alike."""
        from scipy.ndimage import affine_transform

        size = images.shape[-1]
        centre = (size - 1) / 2
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        offset = centre - turn @ (centre + self.shift)
        changed = np.empty_like(images)
        planes, targets = (array.reshape(-1, size, size) for array in (images, changed))
        for plane, target in zip(planes, targets, strict=True):
            affine_transform(plane, turn, offset, output=target, order=1)
        brightened = self.gain * np.clip(changed, 0, 1) ** np.float32(self.exponent)
        return np.clip(brightened, 0, 1, out=changed)


def augmented_copies(
    images: np.ndarray,
    count: int,
    seed: int,
    source_sha256: str,
    settings: Augmentation = Augmentation(),
) -> Iterator[np.ndarray]:
    """Yield `count` changed copies of a volume's images (n, channels, size, size) in [0, 1].

    All slices of a copy are changed alike. What is drawn depends on the seed, the volume (by its
    digest) and the copy's number alone. Pixels from beyond the image are black; interpolation is
    bilinear.
    """
    for number in range(count):
        random = np.random.default_rng([seed, number, int(source_sha256[:16], 16)])
        yield _Change.draw(random, settings, images.shape[-1]).apply(images)
