"""How an outcome is planted: severities by the binormal model, and the finding that shows them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

KNEE_CORRELATION = 0.3
_NORMAL = NormalDist()


def separation(auc: float) -> float:
    """The distance between the mean severities of the two groups that gives this AUC, in SDs."""
    return math.sqrt(2) * _NORMAL.inv_cdf(auc)


def visible(severity: float) -> float:
    """The finding's size, in (0, 1), strictly increasing with the severity."""
    return 1 / (1 + math.exp(-1.2 * (severity - 1.2)))


def plant(rng: np.random.Generator, prevalence: float, auc: float) -> list[tuple[bool, float]]:
    """Draw outcome and severity of a person's two knees."""
    planted = []
    for score, error in draw_latent(rng):
        outcome = bool(score < _NORMAL.inv_cdf(prevalence))
        planted.append((outcome, separation(auc) * outcome + error))
    return planted


def draw_latent(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Draw what decides on a person's two knees: of each a score and another, standard normal.

    The first is for the outcome, the less the sooner, the second for the severity. Each is
    correlated between the knees (`KNEE_CORRELATION`), and they are independent of each other.
    """
    scores, others = _of_two_knees(rng), _of_two_knees(rng)
    return [(float(score), float(other)) for score, other in zip(scores, others, strict=True)]


def _of_two_knees(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a standard normal value for each knee of a person, correlated (`KNEE_CORRELATION`)."""
    shared, own = math.sqrt(KNEE_CORRELATION), math.sqrt(1 - KNEE_CORRELATION)
    values: NDArray[np.float64] = shared * rng.standard_normal() + own * rng.standard_normal(2)
    return values
