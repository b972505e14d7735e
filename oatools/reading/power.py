"""The power of a reading study: how many pairs show that a model differs from its readers.

The answers are simulated. Whether the model and each reader rank a pair rightly follows from normal
variables, one a judge, that are correlated: pairs that are easy for one are easy for another. A
judge of AUC a is right where its variable is below the a-quantile.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, binomtest, norm, t

from oatools.core.errors import UsageError
from oatools.core.manifest import Row

POWER_COLUMNS = [
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
MOST_PAIRS = 100_000
_BLOCK = 4_000_000  # numbers drawn at a time


@dataclass(frozen=True)
class PowerAssumptions:
    """The assumptions of a power calculation.

    `model` and `reader` are AUCs, of the model and of each of the `readers`; `correlation` (0 to
    less than 1) is that of any two judges, and `alpha` the level of the two-sided test.
    """

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


@dataclass(frozen=True)
class PowerEstimate:
    """The power of a number of pairs, as simulated, with its 95 % interval.

    The interval is narrower the more studies are simulated.
    """

    pairs: int
    power: float
    low: float
    high: float
    assumed: PowerAssumptions

    def row(self) -> Row:
        """Return the estimate as a row of `POWER_COLUMNS`."""
        return {
            "pairs": str(self.pairs),
            "power": f"{self.power:.4f}",
            "ci_low": f"{self.low:.4f}",
            "ci_high": f"{self.high:.4f}",
            "model": f"{self.assumed.model:g}",
            "reader": f"{self.assumed.reader:g}",
            "readers": str(self.assumed.readers),
            "correlation": f"{self.assumed.correlation:g}",
            "alpha": f"{self.assumed.alpha:g}",
        }


def estimate_power(assumed: PowerAssumptions, pairs: int, draws: int, seed: int) -> PowerEstimate:
    """Simulate `draws` studies of so many pairs; see `simulated_power`."""
    power = simulated_power(assumed, pairs, draws, seed)
    interval = binomtest(round(power * draws), draws).proportion_ci(0.95, method="exact")
    return PowerEstimate(pairs, power, float(interval.low), float(interval.high), assumed)


def simulated_power(assumed: PowerAssumptions, pairs: int, draws: int, seed: int) -> float:
    """Return the share of simulated studies in which the model differs from its readers.

    With one reader by the exact test of McNemar; with several, by the t test of the mean over pairs
    of the model's being right less the readers' share of being right.
    """
    random = np.random.default_rng([seed, pairs])
    at_a_time = max(1, _BLOCK // (pairs * (assumed.readers + 1)))
    significant, left = 0, draws
    while left:
        count = min(left, at_a_time)
        model, readers = simulate(assumed, pairs, count, random)
        significant += int((p_values(model, readers) <= assumed.alpha).sum())
        left -= count
    return significant / draws


def simulate(
    assumed: PowerAssumptions, pairs: int, draws: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate who is right: the model (draws, pairs), the readers (draws, pairs, readers)."""
    shared = random.standard_normal((draws, pairs, 1), dtype=np.float32)
    own = random.standard_normal((draws, pairs, assumed.readers + 1), dtype=np.float32)
    latent = math.sqrt(assumed.correlation) * shared + math.sqrt(1 - assumed.correlation) * own
    model = latent[..., 0] < norm.ppf(assumed.model)
    readers = latent[..., 1:] < norm.ppf(assumed.reader)
    return model, readers


def p_values(model: np.ndarray, readers: np.ndarray) -> np.ndarray:
    """Return the two-sided p of each simulated study; see `simulated_power`."""
    if readers.shape[2] == 1:
        reader = readers[..., 0]
        only_model = (model & ~reader).sum(axis=1)
        only_reader = (reader & ~model).sum(axis=1)
        fewer = np.minimum(only_model, only_reader)
        return np.minimum(1, 2 * binom.cdf(fewer, only_model + only_reader, 0.5))
    pairs = model.shape[1]
    difference = model - readers.mean(axis=2)
    mean = difference.mean(axis=1)
    error = difference.std(axis=1, ddof=1) / math.sqrt(pairs)
    # Without spread p is not defined, and 1 here.
    statistic = np.divide(np.abs(mean), error, out=np.zeros_like(mean), where=error > 0)
    return 2 * t.sf(statistic, pairs - 1)


def pairs_needed(assumed: PowerAssumptions, wanted: float, draws: int, seed: int) -> int:
    """Return the fewest pairs with a power of `wanted`, searched to 2 %.

    The error of the simulation comes on top: some 3 % with 4000 draws. A `UsageError` where 100,000
    pairs are too few.
    """
    if not 0 < wanted < 1:
        raise UsageError(f"power {wanted:g}: it must lie between 0 and 1")
    too_few, enough = 1, 16
    while simulated_power(assumed, enough, draws, seed) < wanted:
        if enough == MOST_PAIRS:
            raise UsageError(
                f"{MOST_PAIRS} pairs do not give a power of {wanted:g}: the AUCs are too near to "
                "each other"
            )
        too_few, enough = enough, min(2 * enough, MOST_PAIRS)
    while enough - too_few > max(1, enough // 50):
        between = (too_few + enough) // 2
        if simulated_power(assumed, between, draws, seed) >= wanted:
            enough = between
        else:
            too_few = between
    return enough
