"""How many pairs a reading study needs to tell a model from its readers, by simulation.

Whether the model and each reader rank a pair rightly follows from normal variables, one a judge,
that are correlated: pairs that are easy for one are easy for another. A judge of AUC a is right
where its variable is below the a-quantile.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, binomtest, norm, t

from oatools.core.errors import UsageError
from oatools.core.manifest import Row

COLUMNS = [
    "pairs",
    "power",
    "ci_low",
    "ci_high",
    "model",
    "reader",
    "readers",
    "correlation",
    "alpha",
]
MOST = 100_000
_BLOCK = 4_000_000  # numbers drawn at a time


@dataclass(frozen=True)
class Study:
    """AUC of the model and of every reader, how many read, the correlation (0 to 1) between judges, and the level."""

    model: float = 0.65
    reader: float = 0.587
    readers: int = 1
    correlation: float = 0.3
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.model < 1 and 0 < self.reader < 1):
            raise UsageError("an AUC lies between 0 and 1, and is neither of them here")
        if not 0 <= self.correlation < 1:
            raise UsageError(
                f"correlation {self.correlation:g}: it must be at least 0 and less than 1"
            )
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha {self.alpha:g}: it must lie between 0 and 1")


def power(study: Study, pairs: int, draws: int, seed: int) -> float:
    """The share of `draws` simulated studies of so many pairs in which model and readers are told apart, two-sided.

    With one reader by the exact test of McNemar; with several, by the t test of the mean over pairs
    of the model's being right less the readers' share of being right.
    """
    random = np.random.default_rng([seed, pairs])
    told, left = 0, draws
    while left:
        count = min(left, max(1, _BLOCK // (pairs * (study.readers + 1))))
        model, readers = simulate(study, pairs, count, random)
        told += int((p_values(model, readers) <= study.alpha).sum())
        left -= count
    return told / draws


def simulate(
    study: Study, pairs: int, draws: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Who is right: the model (draws, pairs) and the readers (draws, pairs, readers), booleans."""
    shared = random.standard_normal((draws, pairs, 1), dtype=np.float32)
    own = random.standard_normal((draws, pairs, study.readers + 1), dtype=np.float32)
    latent = math.sqrt(study.correlation) * shared + math.sqrt(1 - study.correlation) * own
    return latent[..., 0] < norm.ppf(study.model), latent[..., 1:] < norm.ppf(study.reader)


def p_values(model: np.ndarray, readers: np.ndarray) -> np.ndarray:
    """Two-sided p of each simulated study; see `power`."""
    if readers.shape[2] == 1:
        reader = readers[..., 0]
        only_model, only_reader = (model & ~reader).sum(axis=1), (reader & ~model).sum(axis=1)
        apart = only_model + only_reader
        return np.minimum(1, 2 * binom.cdf(np.minimum(only_model, only_reader), apart, 0.5))
    difference = model - readers.mean(axis=2)
    error = difference.std(axis=1, ddof=1) / math.sqrt(model.shape[1])
    mean = difference.mean(axis=1)
    z = np.divide(
        np.abs(mean), error, out=np.zeros_like(mean), where=error > 0
    )  # without spread, p is not defined
    return 2 * t.sf(z, model.shape[1] - 1)


def pairs_needed(study: Study, wanted: float, draws: int, seed: int) -> int:
    """The fewest pairs with a power of `wanted`, searched to 2 %; a `UsageError` where 100,000 are too few.

    What the simulation leaves open comes on top: some 3 % with 4000 draws.
    """
    if not 0 < wanted < 1:
        raise UsageError(f"power {wanted:g}: it must lie between 0 and 1")
    few, enough = 1, 16
    while power(study, enough, draws, seed) < wanted:
        few, enough = enough, min(2 * enough, MOST)
        if few == MOST:
            raise UsageError(
                f"{MOST} pairs do not give a power of {wanted:g}: the AUCs are too near to each other"
            )
    while enough - few > max(1, enough // 50):
        middle = (few + enough) // 2
        few, enough = (
            (few, middle) if power(study, middle, draws, seed) >= wanted else (middle, enough)
        )
    return enough


def power_row(study: Study, pairs: int, draws: int, seed: int) -> Row:
    """A row of `COLUMNS`, with the exact 95 % interval of what the simulation leaves open."""
    found = power(study, pairs, draws, seed)
    interval = binomtest(round(found * draws), draws).proportion_ci(0.95, method="exact")
    values = (
        pairs,
        f"{found:.4f}",
        f"{interval.low:.4f}",
        f"{interval.high:.4f}",
        f"{study.model:g}",
        f"{study.reader:g}",
        study.readers,
        f"{study.correlation:g}",
        f"{study.alpha:g}",
    )
    return {c: str(v) for c, v in zip(COLUMNS, values, strict=True)}
