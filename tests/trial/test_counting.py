"""Whom a strategy enrols: by hand, and beside a cohort that is written out knee by knee."""

import math

import numpy as np
import pytest

from oatools.scored.knees import ScoredKnees
from oatools.scored.rules import parse_rule
from oatools.trial.counting import Strategy, count, plan


def candidates(label, score, fold=None, change=None, **columns):
    label = np.array(label)
    return ScoredKnees(
        knee=tuple(f"k{n}" for n in range(len(label))),
        subject=np.arange(len(label)),
        label=label,
        fold=np.zeros(len(label), int) if fold is None else np.array(fold),
        scores={"m": np.array(score, float)},
        change=None if change is None else np.array(change, float),
        columns={name: np.array(values, float) for name, values in columns.items()},
    )


def sums(cohort, strategy, weights=None):
    weights = np.ones((1, len(cohort))) if weights is None else weights
    return count(cohort, [strategy], iter([weights]))[0]


def test_the_highest_scores_are_enrolled():
    cohort = candidates([1, 0, 1, 0], [0.9, 0.1, 0.4, 0.3])
    found = sums(cohort, Strategy("m", 0.5))
    assert (found.enrolled[0], found.events[0]) == (2, 2)
    assert sums(cohort, Strategy("m", 0.75)).events[0] == 2
    assert sums(cohort, Strategy("m", 0.25)).events[0] == 1


def test_of_a_knee_at_the_border_a_part_is_enrolled():
    cohort = candidates([0, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    found = sums(cohort, Strategy("m", 0.4))  # 1.6 of 4
    assert found.enrolled[0] == pytest.approx(1.6)
    assert found.events[0] == pytest.approx(0.6)


def test_equal_scores_are_enrolled_as_if_by_lot():
    """Of four equal knees with one event, two of which are enrolled, half an event comes."""
    cohort = candidates([1, 0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5, 0.9])
    found = sums(cohort, Strategy("m", 0.6))  # 3 of 5: the highest, and 2 of 4
    assert found.events[0] == pytest.approx(1 + 2 / 4)


def test_a_score_that_tells_nothing_enrols_events_at_the_rate_of_all():
    cohort = candidates([1, 0, 0, 1, 0, 0, 0], [0.3] * 7)
    for share in (0.1, 0.5, 0.9):
        found = sums(cohort, Strategy("m", share))
        assert found.events[0] / found.enrolled[0] == pytest.approx(2 / 7, abs=1e-12)


def test_of_each_fold_the_same_share_is_enrolled():
    """The probabilities of the second fold's model are all higher than those of the first."""
    cohort = candidates([1, 0, 1, 0], [0.2, 0.1, 0.8, 0.9], fold=[1, 1, 2, 2])
    found = sums(cohort, Strategy("m", 0.5))
    assert (found.enrolled[0], found.events[0]) == (2, 1)  # the best of each, one an event


def test_a_rule_enrols_who_is_in_it_and_a_score_as_many():
    rule = parse_rule("kl=2:3")
    cohort = candidates([0, 1, 0, 1], [0.9, 0.8, 0.2, 0.1], kl=[2, 3, 4, math.nan])
    found = sums(cohort, Strategy(rule=rule))
    assert (found.enrolled[0], found.events[0]) == (2, 1)
    assert sums(cohort, Strategy("m", rule=rule)).enrolled[0] == 2


def test_the_change_is_that_of_those_in_whom_it_is_known():
    cohort = candidates([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], change=[-1, math.nan, -3, 5])
    found = sums(cohort, Strategy("m", 0.75))
    assert (found.enrolled[0], found.known[0]) == (3, 2)
    assert (found.change[0], found.squares[0]) == (-4, 10)


def test_weights_count_a_knee_as_often_as_copies_of_it():
    """The same cohort, with each knee written out as often as it weighs, by sorting alone."""
    random = np.random.default_rng(3)
    for _ in range(30):
        knees = 40
        label = random.integers(0, 2, knees)
        score = np.round(random.random(knees), 1)  # many are equal
        fold = random.integers(0, 3, knees)
        kl = random.integers(0, 5, knees)
        weights = random.integers(0, 4, (1, knees))
        cohort = candidates(label, score, fold, kl=kl)
        strategies = plan(["m"], [0.2, 0.55], [parse_rule("kl=2:3")])
        found = count(cohort, strategies, iter([weights.astype(float)]))
        copies = np.repeat(np.arange(knees), weights[0])
        inside = np.isin(kl[copies], (2, 3))
        for strategy, own in zip(strategies, found, strict=True):
            share = strategy.share
            if strategy.rule and not strategy.model:
                assert own.events[0] == label[copies][inside].sum()
                continue
            if strategy.rule:
                share = inside.mean()
            if share is None:
                assert own.events[0] == label[copies].sum()
                continue
            events = 0.0
            for number in np.unique(fold[copies]):
                at = copies[fold[copies] == number]
                left = share * len(at)
                for value in np.unique(score[at])[::-1]:
                    tied = label[at][score[at] == value]
                    taken = min(left, len(tied))
                    events += taken * tied.mean()
                    left -= taken
            assert own.events[0] == pytest.approx(events, abs=1e-9)
            assert own.enrolled[0] == pytest.approx(share * len(copies), abs=1e-9)
