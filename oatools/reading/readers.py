"""The error of the mean of several readers who are a sample of all, as the pairs are of all pairs.

A reader's share is the mean of all readers, and what this one is better by, and an error of the
pairs. The errors of two readers go together, since they read the same pairs. This is the model of
Obuchowski and Rockette (Commun Stat Simul Comput 1995;24:285-308) for one modality, with the
degrees of freedom of Hillis (Stat Med 2007;26:596-619, section 5.3). A model that is no reader is
held against the mean by taking each reader's share from its own, on the same pairs (Chakraborty,
Observer Performance Methods for Diagnostic Imaging, 2017, and his RJafroc, as 1T-RRRC).
"""

from collections.abc import Sequence

import numpy as np

from oatools.reading.groups import NO_SPREAD, by_group


def readers_covariance(influence: np.ndarray, groups: Sequence[int]) -> float:
    """Return the covariance that two readers' shares have from the pairs, the mean of all twos.

    `influence` (pairs, readers) is how far each pair moves the share of each reader. It is summed
    over groups as for `robust_error`, whose squared error is the variance beside this covariance.
    NaN with fewer than two groups or readers.
    """
    sums = by_group(influence, groups)
    count, readers = sums.shape
    if count < 2 or readers < 2:
        return np.nan
    covariance = count / (count - 1) * sums.T @ sums
    of_two = covariance.sum() - covariance.trace()
    return float(of_two / (readers * (readers - 1)))


def random_error(shares: np.ndarray, covariance: float) -> tuple[float, float]:
    """Return the standard error of the mean of `shares` (readers,), and its degrees of freedom.

    `covariance` is that of `readers_covariance`. One below zero is taken for zero, as Hillis does.
    """
    count = len(shares)
    spread = float(shares.var(ddof=1))
    total = spread + count * max(covariance, 0.0)
    error = float(np.sqrt(total / count))
    if error <= NO_SPREAD:
        error = 0.0
    freedom = (count - 1) * (total / spread) ** 2 if spread else np.inf
    return error, freedom
