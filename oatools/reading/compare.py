"""Readers against each other and against models, on the pairs that both answered."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import binomtest

from oatools.core.manifest import MISSING, Row
from oatools.reading.groups import by_group, middle, of_mean, resampled, t_bounds, t_p
from oatools.reading.score import ALL, MEAN, Groups, Key, Scores, text

COLUMNS = [
    "one",
    "other",
    "pairs",
    "groups",
    "one_auc",
    "other_auc",
    "difference",
    "ci_low",
    "ci_high",
    "p_difference",
    "p_mcnemar",
    "agreement",
    "kappa",
    "kappa_low",
    "kappa_high",
]


def compare(
    scores: Mapping[str, Scores],
    readers: Sequence[str],
    key: Key,
    groups: Groups,
    draws: int,
    seed: int,
) -> list[Row]:
    """A row for each two of those scored, each model and the readers' mean, and Fleiss' kappa of three or more readers.

    `difference` is that of the shares right (the rank AUCs, correlated since the pairs are the
    same), with its 95 % interval and p by Student's t, over `groups` of pairs that share patients.
    `p_mcnemar` is the exact test on the pairs where only one is right; `agreement` the share of
    pairs in which both choose the same knee, and `kappa` Cohen's, ties left out, with an interval
    from `draws` of groups. `readers` are those of `scores` who are no model.
    """
    rows = []
    for one, other in combinations(scores, 2):
        both = [pair for pair in key if pair in scores[one] and pair in scores[other]]
        left, right = (np.array([scores[name][pair] for pair in both]) for name in (one, other))
        row = _difference(one, other, left, right, [groups[pair] for pair in both])
        if both:
            row |= {
                "p_mcnemar": text(mcnemar(left, right)),
                **_agreement(scores, (one, other), key, both, groups, draws, seed),
            }
        rows.append(row)
    if len(readers) > 1:
        for model in (name for name in scores if name not in readers):
            both = [pair for pair in key if all(pair in scores[name] for name in (model, *readers))]
            left = np.array([scores[model][pair] for pair in both])
            right = np.array([np.mean([scores[name][pair] for name in readers]) for pair in both])
            rows.append(_difference(model, MEAN, left, right, [groups[pair] for pair in both]))
    if len(readers) > 2:
        rows.append(_fleiss(scores, readers, key, groups, draws, seed))
    return rows


def choices(scores: Scores, key: Key, pairs: Sequence[str]) -> list[str]:
    """The place chosen in each pair, empty for a tie: it follows from who was right."""
    other = {"A": "B", "B": "A"}
    places = (key[pair]["place"] for pair in pairs)
    return [
        {1.0: place, 0.0: other[place]}.get(scores[pair], "")
        for pair, place in zip(pairs, places, strict=True)
    ]


def mcnemar(left: np.ndarray, right: np.ndarray) -> float:
    """Exact two-sided p of the pairs that only one ranks rightly; 1 where there are none. Ties are left out."""
    clear = (left != 0.5) & (right != 0.5)
    one, other = int((clear & (left > right)).sum()), int((clear & (left < right)).sum())
    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


def cohen(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of equal choices and Cohen's kappa (1960), from counts (..., 4) of A and A, A and B, B and A, B and B.

    NaN without pairs, and kappa where chance leaves nothing to gain.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=-1, keepdims=True)
        same = shares[..., 0] + shares[..., 3]
        first, second = shares[..., 0] + shares[..., 1], shares[..., 0] + shares[..., 2]
        return same, _beyond(same, first * second + (1 - first) * (1 - second))


def fleiss(sums: np.ndarray, readers: int) -> np.ndarray:
    """Fleiss' kappa (1971) of two categories, from sums (..., 3) over pairs: see `fleiss_terms`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = sums[..., 1] / (readers * sums[..., 2])
        return _beyond(sums[..., 0] / sums[..., 2], share**2 + (1 - share) ** 2)


def fleiss_terms(said_a: np.ndarray, readers: int) -> np.ndarray:
    """For each pair, from how many readers chose A: the share of readers' pairs that agree, that number, and 1."""
    agree = said_a * (said_a - 1) + (readers - said_a) * (readers - said_a - 1)
    return np.column_stack([agree / (readers * (readers - 1)), said_a, np.ones(len(said_a))])


def _beyond(same: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return np.where(chance < 1, (same - chance) / np.where(chance < 1, 1 - chance, 1), np.nan)


def _difference(
    one: str, other: str, left: np.ndarray, right: np.ndarray, groups: Sequence[int]
) -> Row:
    row = dict.fromkeys(COLUMNS, MISSING) | {
        "one": one,
        "other": other,
        "pairs": str(len(left)),
        "groups": str(len(set(groups))),
    }
    if len(left):
        apart = left - right
        mean = float(apart.mean())
        moves = of_mean(apart)
        values = {
            "one_auc": left.mean(),
            "other_auc": right.mean(),
            "difference": mean,
            "p_difference": t_p(mean, moves, groups),
        }
        values["ci_low"], values["ci_high"] = t_bounds(mean, moves, groups, -1, 1)
        row |= {column: text(float(value)) for column, value in values.items()}
    return row


def _agreement(
    scores: Mapping[str, Scores],
    two: tuple[str, str],
    key: Key,
    pairs: Sequence[str],
    groups: Groups,
    draws: int,
    seed: int,
) -> Row:
    one, other = (np.array(choices(scores[name], key, pairs)) for name in two)
    clear = (one != "") & (other != "")
    if not clear.any():
        return {}
    kinds = [(one == a) & (other == b) for a in "AB" for b in "AB"]
    counts = by_group(
        np.column_stack(kinds)[clear].astype(float), np.array([groups[p] for p in pairs])[clear]
    )
    same, kappa = cohen(counts.sum(axis=0))
    low, high = middle(cohen(resampled(counts, draws, seed))[1])
    values = {"agreement": same, "kappa": kappa, "kappa_low": low, "kappa_high": high}
    return {column: text(float(value)) for column, value in values.items()}


def _fleiss(
    scores: Mapping[str, Scores],
    readers: Sequence[str],
    key: Key,
    groups: Groups,
    draws: int,
    seed: int,
) -> Row:
    whole = [pair for pair in key if all(scores[name].get(pair) in (0.0, 1.0) for name in readers)]
    row = dict.fromkeys(COLUMNS, MISSING) | {
        "one": "fleiss",
        "other": ALL,
        "pairs": str(len(whole)),
        "groups": str(len({groups[pair] for pair in whole})),
    }
    if whole:
        said_a = (np.array([choices(scores[name], key, whole) for name in readers]) == "A").sum(
            axis=0
        )
        sums = by_group(fleiss_terms(said_a, len(readers)), [groups[pair] for pair in whole])
        low, high = middle(fleiss(resampled(sums, draws, seed), len(readers)))
        kappa = float(fleiss(sums.sum(axis=0), len(readers)))
        row |= {"kappa": text(kappa), "kappa_low": text(low), "kappa_high": text(high)}
    return row
