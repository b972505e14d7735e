"""What chance leaves open in a reading study, where pairs may share patients.

Pairs that share a patient are not independent. They make a group, and so do those that are linked through others; what
is drawn with replacement are groups. Where no patient is in two pairs, every pair is a group of its own.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import t

from oatools.core.manifest import MISSING, Row


def groups_of(key: Mapping[str, Row], pairs: Mapping[str, Mapping[str, Row]] | None) -> dict[str, int]:
    """Pair -> number of its group, from the patients of both knees, or without `pairs` of the progressors alone."""
    names = list(key)
    patients: dict[str, int] = {}
    links = []
    for n, name in enumerate(names):
        knees = pairs[name].values() if pairs else [key[name]]
        for subject in {row.get("subject", MISSING) for row in knees} - {MISSING}:
            links.append((n, len(names) + patients.setdefault(subject, len(patients))))
    size = len(names) + len(patients)
    ends = np.array(links, dtype=np.int32).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    return {name: int(group[n]) for n, name in enumerate(names)}


def by_group(values: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Sums of values (pairs, ...) over each group, (groups, ...)."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def resampled(totals: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Sums (draws, ...) over as many groups as there are, drawn with replacement, of totals (groups, ...)."""
    count = len(totals)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return np.tensordot(drawn, totals, axes=1)


def middle(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of draws, NaN where most of them have no value."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values: np.ndarray, groups: Sequence[int], draws: int, seed: int) -> tuple[float, float]:
    """The middle 95 % of the mean of values (pairs,) over draws of groups."""
    drawn = resampled(by_group(np.column_stack([values, np.ones(len(values))]), groups), draws, seed)
    return middle(drawn[:, 0] / drawn[:, 1])


def mean_p(values: np.ndarray, groups: Sequence[int]) -> float:
    """Two-sided p of a mean's being zero: t with the cluster-robust error (Liang and Zeger 1986), K groups, K - 1 df.

    With every value a group of its own this is the t test of paired values. NaN with fewer than two groups.
    """
    sums = by_group(values - values.mean(), groups)
    count = len(sums)
    if count < 2:
        return np.nan
    error = np.sqrt(count / (count - 1) * (sums**2).sum()) / len(values)
    if error == 0:
        return 1.0 if values.mean() == 0 else 0.0
    return float(2 * t.sf(abs(values.mean()) / error, count - 1))
