"""What a trial gains that enrols by a score or a rule, against one that enrols all comers.

A strategy enrols some of the candidates: those of the highest scores, those in a rule, or all. The
events among them give the event rate, that gives the patients who are needed, and the share of
candidates who are enrolled gives how many have to be screened to find them. Predictions of a
cross-validation are ranked within each fold, since probabilities of different models are not
comparable.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.errors import UsageError
from oatools.learning.intervals import Estimate
from oatools.scored.knees import ScoredKnees
from oatools.scored.resampling import (
    LINEAR,
    POSITIVE,
    SHARE,
    Scale,
    interval,
    of_cross_validation,
    patient_weights,
)
from oatools.scored.rules import Rule
from oatools.trial.counting import Strategy, Sums, count, plan
from oatools.trial.samplesize import patients_for_change, patients_for_events

#: With fewer events among those enrolled, nothing can be told of them.
LEAST_EVENTS = 10
#: With fewer events among those who are left out, a saving has no interval: draws that leave out
#: hardly any cannot show how many more it could be.
LEAST_LEFT_OUT = 5


@dataclass(frozen=True)
class Trial:
    """What is assumed of a trial of two equal arms.

    Treatment prevents the share `effect` of events, or of the mean change. `power` and the
    two-sided level `alpha` are those of its test; `dropout` is the share of randomised patients
    without an outcome. `cost_screen` is that of scoring one candidate, `cost_rule` that of telling
    whether one is in a rule, and `cost_patient` that of one randomised patient, None where costs
    are not asked for.
    """

    effect: float = 0.3
    power: float = 0.8
    alpha: float = 0.05
    dropout: float = 0.0
    cost_screen: float | None = None
    cost_rule: float | None = None
    cost_patient: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.effect <= 1:
            raise UsageError(
                f"an effect of {self.effect:g}", "give `effect` above 0, and at most 1"
            )
        if not 0.5 <= self.power < 1:
            raise UsageError(
                f"a power of {self.power:g}", "give `power` of at least 0.5, and below 1"
            )
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"a level of {self.alpha:g}", "give `alpha` above 0, and below 0.5")
        if not 0 <= self.dropout < 1:
            raise UsageError(
                f"a dropout of {self.dropout:g}", "give `dropout` of at least 0, and below 1"
            )
        for name in ("cost_screen", "cost_rule", "cost_patient"):
            cost = getattr(self, name)
            if cost is not None and not 0 <= cost < math.inf:
                raise UsageError(f"a cost of {cost:g}", f"give `{name}` of 0 or more")

    @property
    def has_costs(self) -> bool:
        """Whether costs are asked for."""
        costs = (self.cost_screen, self.cost_rule, self.cost_patient)
        return any(cost is not None for cost in costs)

    def per_arm(self, rate: np.ndarray) -> np.ndarray:
        """Return the patients with an outcome in each arm, by event rates."""
        return patients_for_events(rate, self.effect, self.power, self.alpha)

    def per_arm_for_change(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the patients with an outcome in each arm, by means and SDs of the change."""
        return patients_for_change(mean, sd, self.effect, self.power, self.alpha)

    def screening_cost(self, strategy: Strategy) -> float:
        """Return the cost of screening one candidate; all comers are not screened."""
        if strategy.model:
            return self.cost_screen or 0.0
        return (self.cost_rule or 0.0) if strategy.rule else 0.0


_NONE = Estimate(math.nan)


@dataclass(frozen=True)
class Outcome:
    """What comes of a strategy.

    `share`, `enrolled` and `events` are those of the cohort. `rate` is the share with the event
    among those enrolled, `mean` and `sd` those of the change. `per_arm` are patients with an
    outcome, `randomised` those of both arms, dropouts included, `screened` the candidates that it
    takes to find them, and `per_event` the candidates to screen for one enrolled with the event.
    `patients_saved` and `cost_saved` are shares of what a trial of all comers takes, below 0 where
    it takes less. An end of an interval may be infinite. `reason` says why numbers are withheld.
    """

    strategy: Strategy
    share: float
    enrolled: float
    events: float
    rate: Estimate = _NONE
    mean: Estimate = _NONE
    sd: float = math.nan
    per_arm: Estimate = _NONE
    randomised: Estimate = _NONE
    screened: Estimate = _NONE
    per_event: Estimate = _NONE
    cost: Estimate = _NONE
    patients_saved: Estimate = _NONE
    cost_saved: Estimate = _NONE
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """The first model against a rule, or another model, that enrols the same share.

    `rates` is the difference of event rates, and `patients` what share fewer patients the first
    needs.
    """

    one: str
    other: str
    share: float
    one_rate: float
    other_rate: float
    rates: Estimate
    patients: Estimate


@dataclass(frozen=True)
class Enrichment:
    """The outcomes of all strategies, the first of which enrols all, and differences.

    `draws` and `seed` are those of the intervals.
    """

    candidates: ScoredKnees
    trial: Trial
    outcomes: tuple[Outcome, ...]
    differences: tuple[Difference, ...]
    draws: int
    seed: int

    def of(self, model: str) -> list[Outcome]:
        """Return the outcomes of the shares by a model, in order."""
        return [o for o in self.outcomes if o.strategy.model == model and not o.strategy.rule]


def enrich(
    candidates: ScoredKnees,
    trial: Trial,
    shares: Sequence[float],
    rules: Sequence[Rule] = (),
    draws: int = 2000,
    seed: int = 0,
) -> Enrichment:
    """Work out what each share of candidates by each model, and each rule, would do for a trial.

    Raises a `UsageError` where the candidates have fewer events than anything can be told of, or
    nothing but events, and for a share that is not above 0 and below 1.
    """
    for share in shares:
        if not 0 < share < 1:
            raise UsageError(f"a share of {share:g}", "give `shares` above 0, and below 1")
    events = int(candidates.label.sum())
    if events < LEAST_EVENTS:
        raise UsageError(
            f"{events} events among {len(candidates)} candidates: with fewer than {LEAST_EVENTS} "
            "nothing can be told of a trial"
        )
    if events == len(candidates):
        raise UsageError(
            f"all {events} candidates have the event: there is no event rate to enrich",
            "give knees with and without it",
        )
    strategies = plan(list(candidates.scores), shares, rules)
    blocks = patient_weights(candidates.subject, draws, seed)
    counted = count(candidates, strategies, blocks)
    worsens = 1.0
    if candidates.change is not None:
        worsens = math.copysign(1.0, counted[0].change[0])
    by_change = candidates.change is not None
    drawn = [
        _Drawn.of(strategy, sums, trial, by_change, worsens, _widened(candidates, strategy, sums))
        for strategy, sums in zip(strategies, counted, strict=True)
    ]
    return Enrichment(
        candidates=candidates,
        trial=trial,
        outcomes=tuple(each.outcome(drawn[0]) for each in drawn),
        differences=tuple(_differences(drawn, list(candidates.scores))),
        draws=draws,
        seed=seed,
    )


@dataclass(frozen=True)
class _Drawn:
    """The numbers of one strategy, each (1 + draws,): the cohort's, and those of the draws."""

    strategy: Strategy
    sums: Sums
    share: np.ndarray
    rate: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    per_arm: np.ndarray
    randomised: np.ndarray
    screened: np.ndarray
    cost: np.ndarray
    widened: float

    @classmethod
    def of(
        cls,
        strategy: Strategy,
        sums: Sums,
        trial: Trial,
        by_change: bool,
        worsens: float,
        widened: float,
    ) -> "_Drawn":
        with np.errstate(divide="ignore", invalid="ignore"):
            share = sums.enrolled / sums.candidates
            rate = np.clip(sums.events / sums.enrolled, 0, 1)
            mean = sums.change / sums.known
            spread = np.maximum(sums.squares - sums.known * np.square(mean), 0)
            sd = np.sqrt(spread / np.maximum(sums.known - 1, 0))
            if by_change:
                # Those who do not get worse give nothing to prevent.
                per_arm = trial.per_arm_for_change(np.maximum(worsens * mean, 0), sd)
            else:
                per_arm = trial.per_arm(rate)
            randomised = 2 * np.ceil(per_arm / (1 - trial.dropout))
            screened = np.ceil(randomised / share)
            cost = np.full(len(share), np.nan)
            if trial.has_costs:
                screening = trial.screening_cost(strategy)
                cost = (trial.cost_patient or 0.0) * randomised
                cost = cost + (screening * screened if screening else 0.0)
        return cls(
            strategy=strategy,
            sums=sums,
            share=share,
            rate=rate,
            mean=mean,
            sd=sd,
            per_arm=per_arm,
            randomised=randomised,
            screened=screened,
            cost=cost,
            widened=widened,
        )

    @property
    def per_event(self) -> np.ndarray:
        """The candidates to screen for one enrolled with the event."""
        with np.errstate(divide="ignore"):
            return self.sums.candidates / self.sums.events

    def leaves_out_enough(self, all_comers: "_Drawn") -> bool:
        """Tell whether enough events are left out for an interval of what is saved."""
        left_out = float(all_comers.sums.events[0] - self.sums.events[0])
        return round(left_out, 6) >= LEAST_LEFT_OUT

    def outcome(self, all_comers: "_Drawn") -> Outcome:
        """Return what comes of the strategy, with intervals."""
        share, enrolled = float(self.share[0]), float(self.sums.enrolled[0])
        events = float(self.sums.events[0])
        if round(events, 6) < LEAST_EVENTS:
            reason = f"{events:.0f} events: fewer than {LEAST_EVENTS} tell nothing"
            return Outcome(self.strategy, share, enrolled, events, reason=reason)

        def quantity(of: Callable[[_Drawn], np.ndarray], scale: Scale = POSITIVE) -> Estimate:
            values, base = of(self), of(all_comers)
            return Estimate(float(values[0]), *interval(values, scale, self.widened, base))

        def saved(of: Callable[[_Drawn], np.ndarray]) -> Estimate:
            if is_all:
                return _NONE
            found = _saved(of(self), of(all_comers), self.widened)
            return found if self.leaves_out_enough(all_comers) else Estimate(found.value)

        reason = "" if np.isfinite(self.per_arm[0]) else "no mean change for the worse to prevent"
        is_all = self is all_comers
        return Outcome(
            strategy=self.strategy,
            share=share,
            enrolled=enrolled,
            events=events,
            rate=quantity(lambda drawn: drawn.rate, SHARE),
            mean=quantity(lambda drawn: drawn.mean, LINEAR),
            sd=float(self.sd[0]),
            per_arm=quantity(lambda drawn: drawn.per_arm),
            randomised=quantity(lambda drawn: drawn.randomised),
            screened=quantity(lambda drawn: drawn.screened),
            per_event=quantity(lambda drawn: drawn.per_event),
            cost=quantity(lambda drawn: drawn.cost),
            patients_saved=saved(lambda drawn: drawn.randomised),
            cost_saved=saved(lambda drawn: drawn.cost),
            reason=reason,
        )


def _saved(own: np.ndarray, other: np.ndarray, widened: float) -> Estimate:
    """What share less it is than another, each (1 + draws,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = own / other
    low, high = interval(ratio, POSITIVE, widened)
    return Estimate(1 - float(ratio[0]), 1 - high, 1 - low)


def _widened(candidates: ScoredKnees, strategy: Strategy, sums: Sums) -> float:
    """What deviations of a strategy are multiplied by; who goes by no model owes it nothing."""
    if not strategy.model or not candidates.is_out_of_fold:
        return 1.0
    share = float(sums.enrolled[0] / sums.candidates[0])
    return of_cross_validation(share, candidates.patients)


def _differences(drawn: Sequence[_Drawn], models: Sequence[str]) -> Iterator[Difference]:
    """Hold the first model against each rule, and each other model, at the same shares."""
    all_comers = drawn[0]
    by_strategy = {each.strategy: each for each in drawn}
    for strategy, each in by_strategy.items():
        if strategy.model == models[0] and strategy.rule is not None:
            yield _difference(each, by_strategy[Strategy(rule=strategy.rule)], all_comers)
    for other in models[1:]:
        for strategy, each in by_strategy.items():
            if strategy.model == models[0] and strategy.rule is None:
                yield _difference(each, by_strategy[Strategy(other, strategy.share)], all_comers)


def _difference(one: _Drawn, other: _Drawn, all_comers: _Drawn) -> Difference:
    rates, patients = _NONE, _NONE
    if min(one.sums.events[0], other.sums.events[0]) >= LEAST_EVENTS:
        apart = one.rate - other.rate
        rates = Estimate(float(apart[0]), *interval(apart, LINEAR, one.widened))
        patients = _saved(one.per_arm, other.per_arm, one.widened)
        if not (one.leaves_out_enough(all_comers) and other.leaves_out_enough(all_comers)):
            rates, patients = Estimate(rates.value), Estimate(patients.value)
    return Difference(
        one=one.strategy.name,
        other=other.strategy.name,
        share=float(one.share[0]),
        one_rate=float(one.rate[0]),
        other_rate=float(other.rate[0]),
        rates=rates,
        patients=patients,
    )
