"""What chance leaves open in a reading study, where pairs may share patients.

Pairs that share a patient are not independent. They make a group, and so do those that are linked
through others; what counts as one observation, and what a bootstrap draws with replacement, are
groups. Where no patient is in two pairs, every pair is a group of its own.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta, t

from oatools.core.manifest import MISSING, Row, row_from_path

_NO_SPREAD = 1e-12  # what is left of zero after rounding


def groups_of(
    key: Mapping[str, Row], pairs: Mapping[str, Mapping[str, Row]] | None
) -> tuple[dict[str, int], int]:
    """Pair -> number of its group, and how many knees are of an unknown patient, and link nothing.

    The patients are those of both knees, or without `pairs` of the progressors alone: from the
    column `subject`, or the knee's name where it has the form `9000099_00m_right`.
    """
    names = list(key)
    patients: dict[str, int] = {}
    links = []
    unknown = 0
    for n, name in enumerate(names):
        subjects: dict[str, str] = {}
        for row in [key[name], *(pairs[name].values() if pairs else ())]:
            found = row.get("subject", MISSING)
            known = found if found != MISSING else row_from_path(row["knee"])["subject"]
            if subjects.get(row["knee"], MISSING) == MISSING:
                subjects[row["knee"]] = known
        unknown += sum(subject == MISSING for subject in subjects.values())
        for subject in set(subjects.values()) - {MISSING}:
            links.append((n, len(names) + patients.setdefault(subject, len(patients))))
    size = len(names) + len(patients)
    ends = np.array(links, dtype=np.int32).reshape(-1, 2).T
    graph = coo_array(
        (np.ones(ends.shape[1], dtype=np.int8), (ends[0], ends[1])), shape=(size, size)
    )
    _, group = connected_components(graph, directed=False)
    return {name: int(group[n]) for n, name in enumerate(names)}, unknown


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
    """The middle 95 % of draws; NaN where most have no value, and where all are one: then draws show no spread."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2 or not np.ptp(known):
        return np.nan, np.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_bounds(
    values: np.ndarray, groups: Sequence[int], draws: int, seed: int
) -> tuple[float, float]:
    """The middle 95 % of the mean of values (pairs,) over draws of groups."""
    drawn = resampled(
        by_group(np.column_stack([values, np.ones(len(values))]), groups), draws, seed
    )
    return middle(drawn[:, 0] / drawn[:, 1])


def of_mean(values: np.ndarray) -> np.ndarray:
    """How far each value moves the mean: what `robust_error` takes."""
    return (values - values.mean()) / len(values)


def robust_error(influence: np.ndarray, groups: Sequence[int]) -> tuple[float, int]:
    """The cluster-robust standard error (Liang and Zeger 1986) of an estimate, and its K - 1 degrees of freedom.

    `influence` (pairs,) is how far each pair moves the estimate, and sums to zero. NaN with fewer
    than two groups. With every pair a group of its own it is the usual error of a mean.
    """
    sums = by_group(influence, groups)
    count = len(sums)
    if count < 2:
        return np.nan, 0
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum()))
    return (error if error > _NO_SPREAD else 0.0), count - 1


def t_bounds(
    estimate: float,
    influence: np.ndarray,
    groups: Sequence[int],
    least: float = -np.inf,
    most: float = np.inf,
) -> tuple[float, float]:
    """The 95 % interval by Student's t, not beyond `least` and `most`; NaN where the values show no spread."""
    error, freedom = robust_error(influence, groups)
    if not error > 0:
        return np.nan, np.nan
    half = t.ppf(0.975, freedom) * error
    return float(max(least, estimate - half)), float(min(most, estimate + half))


def t_p(estimate: float, influence: np.ndarray, groups: Sequence[int]) -> float:
    """Two-sided p of an estimate's being zero, by the same t; NaN where values that are not zero show no spread."""
    error, freedom = robust_error(influence, groups)
    if not error > 0:
        return 1.0 if error == 0 and estimate == 0 else np.nan
    return float(2 * t.sf(abs(estimate) / error, freedom))


def share_bounds(values: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
    """The 95 % interval of a share over groups, after Korn and Graubard (Survey Methodology 1998); NaN for one group.

    It is the exact interval of Clopper and Pearson on the effective number of pairs: that which,
    were they independent, would have the cluster-robust error, made smaller for its few degrees of
    freedom, and never more than there are. Where all values are one the error says nothing, and
    each group counts as one pair.
    """
    share, count = values.mean(), len(values)
    error, freedom = robust_error(of_mean(values), groups)
    if not freedom:
        return np.nan, np.nan
    if share in (0, 1):
        effective = freedom + 1.0
    elif error == 0:
        effective = float(count)
    else:
        fewer = (t.ppf(0.975, count - 1) / t.ppf(0.975, freedom)) ** 2
        effective = min(float(count), share * (1 - share) / error**2 * fewer)
    right = share * effective
    low = 0.0 if right == 0 else beta.ppf(0.025, right, effective - right + 1)
    high = 1.0 if right == effective else beta.ppf(0.975, right + 1, effective - right)
    return float(low), float(high)
