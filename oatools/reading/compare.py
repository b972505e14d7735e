"""Readers against each other and against models, on the pairs that both answered."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import binomtest

from oatools.core.manifest import MISSING, Row
from oatools.reading.score import Key, Scores

COLUMNS = ["one", "other", "pairs", "one_auc", "other_auc", "difference", "ci_low", "ci_high", "p_mcnemar",
           "agreement", "kappa"]  # fmt: skip
#: What `other` is where one statistic is of all readers together.
ALL = "all readers"


def compare(scores: Mapping[str, Scores], readers: Sequence[str], key: Key, draws: int, seed: int) -> list[Row]:
    """One row for each two of those scored, and one with Fleiss' kappa where there are three readers or more.

    `difference` is that of the shares right (the rank AUCs) with a 95 % interval from a bootstrap over pairs;
    `p_mcnemar` the exact test on the pairs where only one is right; `agreement` the share of pairs in which both
    choose the same knee, and `kappa` Cohen's, ties left out. `readers` are those of `scores` who are no model.
    """
    rows = []
    for one, other in combinations(scores, 2):
        both = [pair for pair in key if pair in scores[one] and pair in scores[other]]
        if not both:
            rows.append(_row(one, other, 0, [math.nan] * 8))
            continue
        left, right = (np.array([scores[name][pair] for pair in both]) for name in (one, other))
        low, high = difference_interval(left, right, draws, seed)
        said = (choices(scores[name], key, both) for name in (one, other))
        same, kappa = cohen([(a, b) for a, b in zip(*said, strict=True) if a and b])
        values = (left.mean(), right.mean(), (left - right).mean(), low, high, mcnemar(left, right), same, kappa)
        rows.append(_row(one, other, len(both), values))
    if len(readers) > 2:
        whole = [pair for pair in key if all(scores[name].get(pair) in (0.0, 1.0) for name in readers)]
        by_reader = np.array([choices(scores[name], key, whole) for name in readers])
        kappa = fleiss((by_reader == "A").sum(axis=0), len(readers))
        rows.append(_row("fleiss", ALL, len(whole), [math.nan] * 7 + [kappa]))
    return rows


def choices(scores: Scores, key: Key, pairs: Sequence[str]) -> list[str]:
    """The place chosen in each pair, empty for a tie: it follows from who was right."""
    other = {"A": "B", "B": "A"}
    places = (key[pair]["place"] for pair in pairs)
    return [{1.0: place, 0.0: other[place]}.get(scores[pair], "") for pair, place in zip(pairs, places, strict=True)]


def difference_interval(left: np.ndarray, right: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """The middle 95 % of the mean difference over `draws` samples of the pairs, with replacement."""
    index = np.random.default_rng(seed).integers(len(left), size=(draws, len(left)))
    low, high = np.percentile((left - right)[index].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def mcnemar(left: np.ndarray, right: np.ndarray) -> float:
    """Exact two-sided p of the pairs that only one ranks rightly; 1 where there are none. Ties are left out."""
    clear = (left != 0.5) & (right != 0.5)
    one, other = int((clear & (left > right)).sum()), int((clear & (left < right)).sum())
    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


def cohen(chosen: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The share of equal choices and Cohen's kappa (1960), NaN without pairs or where chance leaves nothing to gain."""
    if not chosen:
        return math.nan, math.nan
    said = np.array(chosen) == "A"
    same = float((said[:, 0] == said[:, 1]).mean())
    first, second = said.mean(axis=0)
    chance = float(first * second + (1 - first) * (1 - second))
    return same, (same - chance) / (1 - chance) if chance < 1 else math.nan


def fleiss(said_a: np.ndarray, readers: int) -> float:
    """Fleiss' kappa (1971) of two categories, from how many of the readers chose A in each pair."""
    if not len(said_a):
        return math.nan
    same = (said_a * (said_a - 1) + (readers - said_a) * (readers - said_a - 1)) / (readers * (readers - 1))
    share = said_a.mean() / readers
    chance = share**2 + (1 - share) ** 2
    return float((same.mean() - chance) / (1 - chance)) if chance < 1 else math.nan


def _row(one: str, other: str, pairs: int, values: Sequence[float]) -> Row:
    cells = (one, other, str(pairs), *(MISSING if math.isnan(v) else f"{v:.4f}" for v in values))
    return dict(zip(COLUMNS, cells, strict=True))
