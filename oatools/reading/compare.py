"""Comparison of readers with each other and with models, on the pairs that both answered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from scipy.stats import binomtest

from oatools.core.manifest import Row
from oatools.core.provenance import CAUTION_COLUMN
from oatools.reading.groups import (
    by_group,
    interval_about,
    mean_influence,
    p_of_zero,
    percentile_interval,
    resampled,
    t_interval,
    t_p,
)
from oatools.reading.pairs import OTHER_PLACE, PLACES, Key
from oatools.reading.readers import random_error, readers_covariance
from oatools.reading.score import ALL, MEAN, Groups, Scores, number_text, rounded
from oatools.scored.multiple import holm

COMPARISON_COLUMNS = [
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
    "p_holm",
    "p_mcnemar",
    "agreement",
    "kappa",
    "kappa_low",
    "kappa_high",
    CAUTION_COLUMN,
]
#: The name that stands for Fleiss' kappa, of all readers together.
FLEISS = "fleiss"


@dataclass(frozen=True)
class Comparison:
    """The difference between two of those scored, and their agreement, on pairs both answered.

    Numbers are NaN where they are not defined, and rounded as the table shows them.
    """

    one: str
    other: str
    pairs: int
    groups: int
    one_auc: float = math.nan
    other_auc: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_difference: float = math.nan
    p_holm: float = math.nan
    p_mcnemar: float = math.nan
    agreement: float = math.nan
    kappa: float = math.nan
    kappa_low: float = math.nan
    kappa_high: float = math.nan

    def row(self) -> Row:
        """Return the comparison as a row of `COMPARISON_COLUMNS`."""
        return {
            "one": self.one,
            "other": self.other,
            "pairs": str(self.pairs),
            "groups": str(self.groups),
            "one_auc": number_text(self.one_auc),
            "other_auc": number_text(self.other_auc),
            "difference": number_text(self.difference),
            "ci_low": number_text(self.low),
            "ci_high": number_text(self.high),
            "p_difference": number_text(self.p_difference),
            "p_holm": number_text(self.p_holm),
            "p_mcnemar": number_text(self.p_mcnemar),
            "agreement": number_text(self.agreement),
            "kappa": number_text(self.kappa),
            "kappa_low": number_text(self.kappa_low),
            "kappa_high": number_text(self.kappa_high),
        }


def compare_scores(
    scores: Mapping[str, Scores],
    readers: Sequence[str],
    key: Key,
    groups: Groups,
    draws: int,
    seed: int,
    random_readers: bool = False,
) -> list[Comparison]:
    """Compare each two of those scored, each model and the readers' mean, and all readers at once.

    `difference` is that of the shares right (the rank AUCs, correlated since the pairs are the
    same), with its 95 % interval and p by Student's t, over `groups` of pairs that share patients;
    with `random_readers` those of a model and the mean hold for other readers, too: see `readers`.
    `p_holm` is that p adjusted for all that are returned. `p_mcnemar` is the exact test on the
    pairs where only one is right; `agreement` the share of pairs in which both choose the same
    knee, and `kappa` Cohen's, ties left out, with an interval from `draws` of groups. Of three or
    more readers there is Fleiss' kappa. `readers` are those of `scores` that are not models.
    """
    study = _Study(scores, readers, key, groups, draws, seed, random_readers)
    found = [study.two(one, other) for one, other in combinations(scores, 2)]
    if len(readers) > 1:
        models = [name for name in scores if name not in readers]
        found += [study.model_and_mean(model) for model in models]
    if len(readers) > 2:
        found.append(study.all_readers())
    adjusted = holm([each.p_difference for each in found])
    return [replace(each, p_holm=rounded(p)) for each, p in zip(found, adjusted, strict=True)]


def choices(scores: Scores, key: Key, pairs: Sequence[str]) -> list[str]:
    """Return the place chosen in each pair, as follows from who was right; empty for a tie."""
    chosen = []
    for pair in pairs:
        place = key[pair]["place"]
        by_score = {1.0: place, 0.0: OTHER_PLACE[place]}
        chosen.append(by_score.get(scores[pair], ""))
    return chosen


def mcnemar(left: np.ndarray, right: np.ndarray) -> float:
    """Return the exact two-sided p of the pairs that only one ranks rightly.

    1 where there are none. Ties are left out.
    """
    clear = (left != 0.5) & (right != 0.5)
    only_left = int((clear & (left > right)).sum())
    only_right = int((clear & (left < right)).sum())
    if not only_left + only_right:
        return 1.0
    return float(binomtest(only_left, only_left + only_right).pvalue)


def cohen(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of equal choices and Cohen's kappa (1960).

    `counts` (..., 4) are of A and A, A and B, B and A, B and B. NaN without pairs, and kappa where
    chance leaves nothing to gain.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=-1, keepdims=True)
        same = shares[..., 0] + shares[..., 3]
        first_a = shares[..., 0] + shares[..., 1]
        second_a = shares[..., 0] + shares[..., 2]
        by_chance = first_a * second_a + (1 - first_a) * (1 - second_a)
        return same, _beyond(same, by_chance)


def fleiss(sums: np.ndarray, readers: int) -> np.ndarray:
    """Return Fleiss' kappa (1971) of two categories, from sums (..., 3) of `fleiss_terms`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = sums[..., 0] / sums[..., 2]
        share = sums[..., 1] / (readers * sums[..., 2])
        return _beyond(agreement, share**2 + (1 - share) ** 2)


def fleiss_terms(said_a: np.ndarray, readers: int) -> np.ndarray:
    """Return the terms (pairs, 3) of Fleiss' kappa, from the number of readers that chose A.

    They are the share of readers' pairs that agree, that number, and 1.
    """
    agree = said_a * (said_a - 1) + (readers - said_a) * (readers - said_a - 1)
    return np.column_stack([agree / (readers * (readers - 1)), said_a, np.ones(len(said_a))])


@dataclass(frozen=True)
class _Study:
    """The scores of a reading study, and what it takes to compare them; see `compare_scores`."""

    scores: Mapping[str, Scores]
    readers: Sequence[str]
    key: Key
    groups: Groups
    draws: int
    seed: int
    random_readers: bool

    def two(self, one: str, other: str) -> Comparison:
        """Compare two of those scored."""
        both = self._answered([one, other])
        left, right = self._scores_of(one, both), self._scores_of(other, both)
        found = self._difference(one, other, left, right, both)
        if not both:
            return found
        found = replace(found, p_mcnemar=rounded(mcnemar(left, right)))
        return self._with_agreement(found, both)

    def model_and_mean(self, model: str) -> Comparison:
        """Compare a model with the readers' mean, on the pairs that all of them answered."""
        both = self._answered([model, *self.readers])
        of_readers = np.column_stack([self._scores_of(reader, both) for reader in self.readers])
        left, right = self._scores_of(model, both), of_readers.mean(axis=1)
        found = self._difference(model, MEAN, left, right, both)
        if not (both and self.random_readers):
            return found
        apart = left[:, None] - of_readers
        covariance = readers_covariance(mean_influence(apart), self._groups_of(both))
        error, freedom = random_error(apart.mean(axis=0), covariance)
        mean = float(apart.mean())
        low, high = interval_about(mean, error, freedom, least=-1, most=1)
        return replace(
            found,
            low=rounded(low),
            high=rounded(high),
            p_difference=rounded(p_of_zero(mean, error, freedom)),
        )

    def all_readers(self) -> Comparison:
        """Return Fleiss' kappa of all readers, on the pairs that all answered without a tie."""
        pairs = []
        for pair in self._answered(self.readers):
            if all(self.scores[reader][pair] != 0.5 for reader in self.readers):
                pairs.append(pair)
        own_groups = self._groups_of(pairs)
        found = Comparison(FLEISS, ALL, len(pairs), len(set(own_groups)))
        if not pairs:
            return found
        count = len(self.readers)
        said = [choices(self.scores[reader], self.key, pairs) for reader in self.readers]
        said_a = (np.array(said) == "A").sum(axis=0)
        sums = by_group(fleiss_terms(said_a, count), own_groups)
        drawn = fleiss(resampled(sums, self.draws, self.seed), count)
        return _with_kappa(found, float(fleiss(sums.sum(axis=0), count)), drawn)

    def _answered(self, names: Sequence[str]) -> list[str]:
        """The pairs that all of these answered, in the key's order."""
        answered = set(self.key)
        for name in names:
            answered &= self.scores[name].keys()
        return [pair for pair in self.key if pair in answered]

    def _scores_of(self, name: str, pairs: Sequence[str]) -> np.ndarray:
        return np.array([self.scores[name][pair] for pair in pairs])

    def _groups_of(self, pairs: Sequence[str]) -> list[int]:
        return [self.groups[pair] for pair in pairs]

    def _difference(
        self, one: str, other: str, left: np.ndarray, right: np.ndarray, pairs: Sequence[str]
    ) -> Comparison:
        """The difference of two shares, from the scores (pairs,) of each."""
        own_groups = self._groups_of(pairs)
        found = Comparison(one, other, len(pairs), len(set(own_groups)))
        if not pairs:
            return found
        apart = left - right
        mean = float(apart.mean())
        influence = mean_influence(apart)
        low, high = t_interval(mean, influence, own_groups, least=-1, most=1)
        return replace(
            found,
            one_auc=rounded(left.mean()),
            other_auc=rounded(right.mean()),
            difference=rounded(mean),
            low=rounded(low),
            high=rounded(high),
            p_difference=rounded(t_p(mean, influence, own_groups)),
        )

    def _with_agreement(self, found: Comparison, pairs: Sequence[str]) -> Comparison:
        """The comparison with agreement and Cohen's kappa, on the pairs without a tie."""
        one = np.array(choices(self.scores[found.one], self.key, pairs))
        other = np.array(choices(self.scores[found.other], self.key, pairs))
        clear = (one != "") & (other != "")
        if not clear.any():
            return found
        kinds = [(one == a) & (other == b) for a, b in product(PLACES, repeat=2)]
        each = np.column_stack(kinds)[clear].astype(float)
        own_groups = np.array(self._groups_of(pairs))[clear]
        counts = by_group(each, own_groups)
        same, kappa = cohen(counts.sum(axis=0))
        _, drawn = cohen(resampled(counts, self.draws, self.seed))
        return _with_kappa(replace(found, agreement=rounded(float(same))), float(kappa), drawn)


def _beyond(same: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Agreement beyond chance, as a share of what chance leaves; NaN where it leaves nothing."""
    left = np.where(chance < 1, 1 - chance, 1)
    return np.where(chance < 1, (same - chance) / left, np.nan)


def _with_kappa(found: Comparison, kappa: float, drawn: np.ndarray) -> Comparison:
    """The comparison with a kappa (a scalar), and the interval of its bootstrap draws."""
    low, high = percentile_interval(drawn)
    return replace(found, kappa=rounded(kappa), kappa_low=rounded(low), kappa_high=rounded(high))
