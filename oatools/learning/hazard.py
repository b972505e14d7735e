"""Hazards that are constant between visits, and what scores of knees make of them.

A knee with score s has the hazard `rate` e^s (proportional hazards; Cox, J R Stat Soc B 1972;34:
187-220), with one rate for each piece of time (piecewise exponential: Friedman, Ann Stat 1982;10:
101-113). With L(t) the cumulative hazard for s = 0, the likelihood of a knee is

    exp(-L(start) e^s)                                  where nothing had happened at `start`
    exp(-L(start) e^s) - exp(-L(stop) e^s)              where it happened in between
    rate(time) e^s exp(-L(time) e^s)                    where it happened at `time` exactly

So visits that were missed make an interval longer, and nothing is made up about when within it. For
intervals between the same visits for all it is the discrete-time model with complementary log-log
link (Prentice and Gloeckler, Biometrics 1978;34:57-67).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from oatools.core.records import Fields, RecordError
from oatools.learning.followup import YEAR, FollowUp

#: Pieces of time have so many events at least.
FEWEST_EVENTS = 5
#: Scores beyond are taken for these: a risk is 0 or 1 there.
FURTHEST = 30.0
#: A month; the logarithm of 0 is none.
LOWEST_RATE = 1e-9
_MOST_PIECES = 100


@dataclass(frozen=True)
class Hazards:
    """Rates (pieces,), 1/month, of the pieces of time that end at `ends` (pieces,), months.

    The rate of the last goes on behind its end.
    """

    ends: np.ndarray
    rates: np.ndarray

    def exposure(self, months: np.ndarray) -> np.ndarray:
        """Return the time (knees, pieces), months, that is spent in each piece by `months`."""
        starts = np.append(0.0, self.ends[:-1])
        ends = np.append(self.ends[:-1], np.inf)
        return np.clip(np.asarray(months)[:, None], starts, ends) - starts

    def piece(self, months: np.ndarray) -> np.ndarray:
        """Return the number of the piece (knees,) that a time lies in; its end is part of it."""
        return np.minimum(np.searchsorted(self.ends, months, side="left"), len(self.ends) - 1)

    def cumulative(self, months: np.ndarray | Sequence[float]) -> np.ndarray:
        """Return the cumulative hazard (times,) for a score of 0."""
        return self.exposure(np.asarray(months, dtype=np.float64)) @ self.rates

    def risk(self, score: np.ndarray, months: Sequence[float]) -> np.ndarray:
        """Return the probability (knees, times) that it has happened by so many months."""
        ratio = np.exp(np.clip(score, -FURTHEST, FURTHEST))
        return -np.expm1(-ratio[:, None] * self.cumulative(months))

    def times(self, factor: float) -> "Hazards":
        """Return hazards that are so many times as high."""
        return Hazards(self.ends, self.rates * factor)

    def as_record(self) -> dict[str, Any]:
        """Return the hazards as plain values, as a model records them."""
        return {"ends": self.ends.tolist(), "rates": self.rates.tolist()}

    @classmethod
    def from_record(cls, fields: Fields) -> "Hazards":
        """Rebuild hazards from what `as_record` gave; a `RecordError` for anything else."""
        ends, rates = np.array(fields.numbers("ends")), np.array(fields.numbers("rates"))
        if len(ends) != len(rates) or not 0 < len(ends) <= _MOST_PIECES:
            raise RecordError("its hazards are not one for each piece of time")
        if (np.diff(np.append(0.0, ends)) <= 0).any() or (rates < 0).any():
            raise RecordError("its pieces of time do not follow each other, or a rate is negative")
        return cls(ends, rates)


@dataclass(frozen=True)
class Intervals:
    """Follow-up on the scale of a cumulative hazard, each (knees,).

    `free` is the hazard that a knee went through without an event, `width` that of the interval in
    which it then happened, 0 where none did or its very time is known, as `exact` says; then
    `log_rate` is the logarithm of the hazard at that time, and else 0.
    """

    free: np.ndarray
    width: np.ndarray
    exact: np.ndarray
    log_rate: np.ndarray

    @classmethod
    def of(cls, follow_up: FollowUp, hazards: Hazards) -> "Intervals":
        """Put follow-up on the scale of hazards."""
        free = hazards.cumulative(follow_up.start)
        stop = hazards.cumulative(np.where(follow_up.event, follow_up.stop, follow_up.start))
        exact = follow_up.is_exact
        rates = hazards.rates[hazards.piece(follow_up.time)]
        log_rate = np.log(np.where(exact, np.maximum(rates, LOWEST_RATE), 1.0))
        return cls(free, stop - free, exact.astype(np.float64), log_rate)

    def losses(self, score: np.ndarray) -> np.ndarray:
        """Return the negative log likelihood (knees,), nats."""
        kept = np.clip(score, -FURTHEST, FURTHEST)
        ratio = np.exp(kept)
        inside = self.width > 0
        missed = np.log(-np.expm1(-np.where(inside, self.width, 1.0) * ratio))
        happened = self.exact * kept + self.log_rate + np.where(inside, missed, 0.0)
        return self.free * ratio - happened

    def slopes(self, score: np.ndarray) -> np.ndarray:
        """Return the derivative of the losses by the scores (knees,)."""
        ratio = np.exp(np.clip(score, -FURTHEST, FURTHEST))
        inside = self.width > 0
        went = np.where(inside, self.width, 1.0) * ratio
        with np.errstate(over="ignore"):
            caught = went / np.expm1(went)
        return self.free * ratio - self.exact - np.where(inside, caught, 0.0)


def pieces_of(follow_up: FollowUp) -> np.ndarray:
    """Return the ends (pieces,), months, of pieces of time that all have events.

    They end with a year since the visit, the last when nobody is followed any more.
    """
    found = follow_up.stop[follow_up.event]
    last = float(follow_up.time.max())
    years = np.arange(YEAR, last + YEAR, YEAR, dtype=np.float64)
    ends: list[float] = []
    before = 0
    for year in years:
        count = int((found <= year).sum())
        if count - before >= FEWEST_EVENTS:
            ends.append(float(year))
            before = count
    # What is left has too few for a piece of its own, or ends within a year.
    return np.array([*ends[:-1], last])


def fit_hazards(follow_up: FollowUp, ends: np.ndarray, score: np.ndarray | None = None) -> Hazards:
    """Return the most likely hazards of pieces that end at `ends` (pieces,), given scores (knees,).

    Without scores, those of a cohort whose knees are all alike.
    """
    ratio = np.ones(len(follow_up))
    if score is not None:
        ratio = np.exp(np.clip(score, -FURTHEST, FURTHEST))
    unit = Hazards(ends, np.ones(len(ends)))
    event, is_exact = follow_up.event, follow_up.is_exact
    free = unit.exposure(follow_up.start) * ratio[:, None]
    known = unit.exposure(np.where(event, follow_up.stop, follow_up.start)) * ratio[:, None]
    inside = event & ~is_exact
    width = (known - free)[inside]
    exact = np.bincount(unit.piece(follow_up.time[is_exact]), minlength=len(ends))
    went = free.sum(axis=0)

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        rates = np.exp(logs)
        passed = width @ rates
        with np.errstate(over="ignore"):
            weight = 1 / np.expm1(passed)
        value = went @ rates - np.log(-np.expm1(-passed)).sum() - exact @ logs
        return float(value), rates * (went - weight @ width) - exact

    middle = (free + known).sum(axis=0) / 2
    events = np.bincount(unit.piece(follow_up.stop[event]), minlength=len(ends))
    start = np.log(np.maximum(events, 0.5) / np.maximum(middle, 1.0))
    bounds = [(np.log(LOWEST_RATE), 5.0)] * len(ends)
    found = minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0}
    )
    return Hazards(ends, np.exp(found.x))


def concordance(follow_up: FollowUp, score: np.ndarray) -> float:
    """Return the share of pairs in the right order, of those whose order is known; ties count half.

    It is known where one had its event when the other was seen without, or had it later. NaN where
    there is no such pair. Of exact times it is Harrell's (JAMA 1982;247:2543-2546).
    """
    right, pairs = 0.0, 0
    known = follow_up.event & follow_up.is_exact
    for i in np.flatnonzero(follow_up.event):
        later = follow_up.start >= follow_up.stop[i]
        if known[i]:  # at the same time: none is the first
            later &= ~(known & (follow_up.time == follow_up.time[i]))
        later[i] = False
        others = score[later]
        pairs += len(others)
        right += float((others < score[i]).sum() + (others == score[i]).sum() / 2)
    return right / pairs if pairs else float("nan")
