"""The signature of a site's scanner: how sharp and how noisy its images are.

Where the outcome is more frequent at some sites than at others, a model may tell the scanners apart
and look as if it saw the disease, until it comes to a site that it has not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

#: The letters of OAI's sites.
SITES = "ABCDE"
_MOST_BLUR, _MOST_NOISE = 1.2, 3.0  # voxels; times that of the sequence


@dataclass(frozen=True)
class Signature:
    """The deviation of a blur in plane (voxels), and a factor of the noise."""

    blur: float = 0.0
    noise: float = 1.0

    def apply(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blur an image (columns, rows, slices) in plane."""
        if not self.blur:
            return image
        return np.asarray(gaussian_filter(image, (self.blur, self.blur, 0)), dtype=np.float32)


#: Images as the sequence makes them.
PLAIN = Signature()


def signature_of(site: str, sites: int) -> Signature:
    """Return the signature of one of `sites` scanners: A is as sharp as drawn, the last least so.

    What is sharp is noisy: the noise goes down from three times that of the sequence to once.
    """
    if not sites:
        return PLAIN
    place = SITES.index(site) / (sites - 1)
    return Signature(_MOST_BLUR * place, _MOST_NOISE ** (1 - place))


def draw_site(rng: np.random.Generator, sites: int, odds: float, positives: int) -> str:
    """Draw the site of a person of whom so many knees have the outcome.

    With one positive knee the last site is `odds` times as likely, beside the first, as without;
    with two that squared. With odds of 1 sites tell nothing.
    """
    places = np.arange(sites) / (sites - 1)
    likely = np.exp(positives * math.log(odds) * places)
    return SITES[int(rng.choice(sites, p=likely / likely.sum()))]
