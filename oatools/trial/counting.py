"""Whom each strategy enrols, and sums over them, for the cohort and for draws of its patients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.scored.knees import ScoredKnees
from oatools.scored.rules import Rule

#: The strategy that enrols every candidate, and needs no score.
ALL = "all"


@dataclass(frozen=True)
class Strategy:
    """Whom to enrol: the `share` of the highest scores of a model, those in a rule, or all.

    Where a model has a rule and no share, it enrols as many as the rule does. `model` is empty for
    a rule, and for all.
    """

    model: str = ""
    share: float | None = None
    rule: Rule | None = None

    @property
    def name(self) -> str:
        """The model, the rule as it was written, or `all`."""
        return self.model or (self.rule.text if self.rule else ALL)


@dataclass(frozen=True)
class Sums:
    """Sums of weights over those enrolled, each (1 + draws,), and over all candidates.

    `change` and `squares` are those of the continuous outcome, over the `known` who have one.
    """

    candidates: np.ndarray
    enrolled: np.ndarray
    events: np.ndarray
    known: np.ndarray
    change: np.ndarray
    squares: np.ndarray


def plan(models: Sequence[str], shares: Sequence[float], rules: Sequence[Rule]) -> list[Strategy]:
    """Return the strategies: all, each share by each model, and each rule with a model like it.

    Only the first model is held against rules.
    """
    found = [Strategy()]
    found += [Strategy(model, share) for model in models for share in shares]
    for rule in rules:
        found += [Strategy(rule=rule), Strategy(models[0], rule=rule)]
    return found


def count(
    candidates: ScoredKnees, strategies: Sequence[Strategy], blocks: Iterator[np.ndarray]
) -> list[Sums]:
    """Sum over those whom each strategy enrols, by the weights of `resampling.patient_weights`.

    Of every fold the same share is enrolled. Of candidates with equal scores at the border each is
    enrolled in part, as if by lot.
    """
    values = _values(candidates)
    rankings = {name: _Ranking.of(candidates, name) for name in candidates.scores}
    parts: list[list[np.ndarray]] = [[] for _ in strategies]
    totals = []
    for weights in blocks:
        total = weights.sum(axis=1)
        totals.append(total)
        of_rules = {}
        for strategy in strategies:
            if strategy.rule is not None and strategy.rule.text not in of_rules:
                inside = strategy.rule.keeps(candidates.columns)
                of_rules[strategy.rule.text] = (weights * inside) @ values
        # All strategies of a model at once: its candidates are put in order but once.
        of_models = {}
        for name, ranking in rankings.items():
            own = [s for s in strategies if s.model == name]
            shares = np.empty((len(weights), len(own)))
            for place, strategy in enumerate(own):
                if strategy.rule is None:
                    shares[:, place] = strategy.share
                else:
                    shares[:, place] = of_rules[strategy.rule.text][:, 0] / total
            of_models[name] = iter(np.moveaxis(ranking.sums(weights, values, shares), 1, 0))
        for found, strategy in zip(parts, strategies, strict=True):
            if strategy.model:
                found.append(next(of_models[strategy.model]))
            elif strategy.rule is not None:
                found.append(of_rules[strategy.rule.text])
            else:
                found.append(weights @ values)
    candidates_of = np.concatenate(totals)
    return [Sums(candidates_of, *np.concatenate(found).T) for found in parts]


def _values(candidates: ScoredKnees) -> np.ndarray:
    """What is summed over those enrolled (knees, 5): see `Sums`."""
    label = candidates.label.astype(np.float64)
    change = np.full(len(label), np.nan) if candidates.change is None else candidates.change
    known = ~np.isnan(change)
    plain = np.where(known, change, 0.0)
    return np.column_stack([np.ones(len(label)), label, known, plain, np.square(plain)])


@dataclass(frozen=True)
class _Ranking:
    """The candidates of each fold from the highest score down, and where each score begins."""

    folds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, candidates: ScoredKnees, model: str) -> "_Ranking":
        score, folds = candidates.scores[model], []
        fold = candidates.fold_of(model)
        for number in np.unique(fold):
            at = np.flatnonzero(fold == number)
            order = at[np.argsort(-score[at], kind="stable")]
            starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
            folds.append((order, starts))
        return cls(tuple(folds))

    def sums(self, weights: np.ndarray, values: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Sum values (knees, 5) over the highest `shares` (draws, n): (draws, n, 5)."""
        total = np.zeros((*shares.shape, values.shape[1]))
        for order, starts in self.folds:
            own = weights[:, order]
            # From the highest score down: (draws, scores + 1, 5), and none at first.
            steps = np.add.reduceat(own[:, :, None] * values[order], starts, axis=1)
            reached = np.zeros((len(own), len(starts) + 1, values.shape[1]))
            np.cumsum(steps, axis=1, out=reached[:, 1:])
            for draw, (so_far, wanted) in enumerate(zip(reached, shares, strict=True)):
                total[draw] += _at(so_far, wanted)
        return total


def _at(reached: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The sums (n, 5) at shares (n,) of all, where the sums (scores + 1, 5) of weights reach them.

    In between they rise evenly: so much of the score at the border is enrolled.
    """
    weight = reached[:, 0]
    if not weight[-1]:
        return np.zeros((len(shares), reached.shape[1]))
    wanted = shares * weight[-1]
    after = np.clip(np.searchsorted(weight, wanted), 1, len(weight) - 1)
    part = (wanted - weight[after - 1]) / np.maximum(weight[after] - weight[after - 1], 1e-300)
    part = np.clip(part, 0, 1)[:, None]
    return (1 - part) * reached[after - 1] + part * reached[after]
