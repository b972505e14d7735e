"""Intervals and tests for a reading study, in which pairs may share patients.

Pairs that share a patient are not independent. They make a group, and so do those that are linked
through others; what counts as one observation, and what a bootstrap draws with replacement, are
groups. Where no patient is in two pairs, every pair is a group of its own.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta, t

from oatools.core.manifest import MISSING, Row
from oatools.core.people import normal_knee, subject_of

NO_SPREAD = 1e-12  # what is left of zero after rounding


def groups_of(
    key: Mapping[str, Row], pairs: Mapping[str, Mapping[str, Row]] | None
) -> tuple[dict[str, int], int]:
    """Return the number of each pair's group, and how many knees are of an unknown patient.

    The patients are those of both knees, or without `pairs` of the progressors alone: from the
    column `subject`, or the knee's name where it has the form `9000099_00m_right`. An unknown
    patient links no pairs.
    """
    names = list(key)
    patients: dict[str, int] = {}
    links = []  # of pairs to patients, the nodes of a graph
    unknown = 0
    for n, name in enumerate(names):
        rows = [key[name]]
        if pairs is not None:
            rows += pairs[name].values()
        subjects = _subjects(rows)
        unknown += list(subjects.values()).count(MISSING)
        for subject in set(subjects.values()) - {MISSING}:
            patient = patients.setdefault(subject, len(patients))
            links.append((n, len(names) + patient))
    size = len(names) + len(patients)
    starts, ends = np.array(links, dtype=np.int32).reshape(-1, 2).T
    graph = coo_array((np.ones(len(links), np.int8), (starts, ends)), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    return {name: int(group[n]) for n, name in enumerate(names)}, unknown


def count_shared(groups: Mapping[str, int]) -> int:
    """Return the number of pairs that share a patient with another."""
    sizes = Counter(groups.values())
    return sum(size for size in sizes.values() if size > 1)


def by_group(values: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Return the sums of values (pairs, ...) over each group, (groups, ...)."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, *values.shape[1:]))
    np.add.at(sums, index, values)
    return sums


def resampled(totals: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return bootstrap sums (draws, ...) of totals (groups, ...).

    Each draw takes as many groups as there are, with replacement.
    """
    count = len(totals)
    random = np.random.default_rng(seed)
    times_drawn = random.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.tensordot(times_drawn, totals, axes=1)


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of bootstrap draws.

    NaN where most draws have no value, and where all are equal: then they show no spread.
    """
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2 or not np.ptp(known):
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_interval(
    values: np.ndarray, groups: Sequence[int], draws: int, seed: int
) -> tuple[float, float]:
    """Return the middle 95 % of the mean of values (pairs,) over draws of groups."""
    values_and_counts = np.column_stack([values, np.ones(len(values))])
    sums = resampled(by_group(values_and_counts, groups), draws, seed)
    return percentile_interval(sums[:, 0] / sums[:, 1])


def mean_influence(values: np.ndarray) -> np.ndarray:
    """Return how far each of values (pairs, ...) moves the mean, as `robust_error` takes it."""
    return (values - values.mean(axis=0)) / len(values)


def robust_error(influence: np.ndarray, groups: Sequence[int]) -> tuple[float, int]:
    """Return the cluster-robust standard error of an estimate, and its degrees of freedom.

    After Liang and Zeger (Biometrika 1986), with K - 1 degrees of freedom for K groups. `influence`
    (pairs,) is how far each pair moves the estimate, and sums to zero. The error is NaN with fewer
    than two groups. With every pair a group of its own it is the usual error of a mean.
    """
    sums = by_group(influence, groups)
    count = len(sums)
    if count < 2:
        return np.nan, 0
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()))
    if error <= NO_SPREAD:
        error = 0.0
    return error, count - 1


def t_interval(
    estimate: float,
    influence: np.ndarray,
    groups: Sequence[int],
    least: float = -np.inf,
    most: float = np.inf,
) -> tuple[float, float]:
    """Return the 95 % interval by Student's t, not beyond `least` and `most`.

    NaN where the values show no spread. `influence` is that of `robust_error`.
    """
    return interval_about(estimate, *robust_error(influence, groups), least, most)


def interval_about(
    estimate: float, error: float, freedom: float, least: float = -np.inf, most: float = np.inf
) -> tuple[float, float]:
    """Return the interval of `t_interval` from a standard error and its degrees of freedom."""
    if not error > 0:
        return np.nan, np.nan
    half = t.ppf(0.975, freedom) * error
    return float(max(least, estimate - half)), float(min(most, estimate + half))


def t_p(estimate: float, influence: np.ndarray, groups: Sequence[int]) -> float:
    """Return the two-sided p, by the same t, of an estimate that is zero in truth.

    NaN where values that are not zero show no spread.
    """
    return p_of_zero(estimate, *robust_error(influence, groups))


def p_of_zero(estimate: float, error: float, freedom: float) -> float:
    """Return the p of `t_p` from a standard error and its degrees of freedom."""
    if error > 0:
        return float(2 * t.sf(abs(estimate) / error, freedom))
    return 1.0 if error == 0 and estimate == 0 else np.nan


def share_interval(values: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % interval of a share over groups; NaN for one group.

    After Korn and Graubard (Survey Methodology 1998): the exact interval of Clopper and Pearson on
    the effective number of pairs. That is the number of independent pairs with the same
    cluster-robust error, reduced for its few degrees of freedom, and never more than there are.
    Where all values are equal the error says nothing, and each group counts as one pair.
    """
    share, count = values.mean(), len(values)
    error, freedom = robust_error(mean_influence(values), groups)
    if not freedom:
        return np.nan, np.nan
    if share in (0, 1):
        effective = freedom + 1.0
    elif error == 0:
        effective = float(count)
    else:
        for_few_groups = (t.ppf(0.975, count - 1) / t.ppf(0.975, freedom)) ** 2
        effective = min(float(count), share * (1 - share) / error**2 * for_few_groups)
    right = share * effective
    low = 0.0 if right == 0 else beta.ppf(0.025, right, effective - right + 1)
    high = 1.0 if right == effective else beta.ppf(0.975, right + 1, effective - right)
    return float(low), float(high)


def _subjects(rows: Iterable[Row]) -> dict[str, str]:
    """The patient of each knee, `n/a` if none of its rows says it, nor its name."""
    subjects: dict[str, str] = {}
    for row in rows:
        knee = normal_knee(row["knee"])
        if subjects.get(knee, MISSING) == MISSING:
            subjects[knee] = subject_of(row)
    return subjects
