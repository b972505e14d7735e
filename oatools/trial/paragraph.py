"""What a trial would gain by a score, in sentences that state what was assumed."""

import math
from collections.abc import Iterator

from oatools.core.words import counted
from oatools.learning.cautions import made_with
from oatools.learning.intervals import Estimate
from oatools.scored.knees import area_of
from oatools.trial.enrichment import Difference, Enrichment, Outcome

_SHOWN = 2  # shares of the score that are told of
_TOLD = (0.5, 0.25)  # those that they are nearest to


def describe_enrichment(found: Enrichment) -> str:
    """Return an enrichment as one paragraph of English."""
    sentences = [
        *_candidates(found),
        _assumptions(found),
        *_shares(found),
        *_against(found),
        *_limits(found),
        made_with(found.candidates.cautions),
    ]
    return " ".join(sentence for sentence in sentences if sentence) + "\n"


def _candidates(found: Enrichment) -> Iterator[str]:
    own, first = found.candidates, next(iter(found.candidates.scores))
    knees, patients = counted(len(own), "knee"), counted(own.patients, "patient")
    everybody = found.outcomes[0]
    event = f"the event ({own.endpoint})" if own.endpoint else "the event"
    yield (
        f"Of {knees} of {patients}, {everybody.events:.0f} had {event}: "
        f"{_percents(everybody.rate)}."
    )
    estimate = area_of(own, first)
    if not math.isnan(estimate.value):
        where = f", the mean of {own.folds} folds" if own.folds > 1 else ""
        yield (
            f"The area under the ROC curve of {first} was {estimate.value:.2f}"
            f"{_interval(estimate.low, estimate.high, '{:.2f}')}{where}."
        )


def _assumptions(found: Enrichment) -> str:
    trial, everybody = found.trial, found.outcomes[0]
    of = "of the mean change" if found.candidates.change is not None else "of events"
    lost = f", with {100 * trial.dropout:g} % lost to follow-up" if trial.dropout else ""
    said = (
        f"A trial of two equal arms whose treatment prevents {100 * trial.effect:g} % {of}, in a "
        f"two-sided test at {100 * trial.alpha:g} % with a power of {100 * trial.power:g} %{lost},"
    )
    if not math.isfinite(everybody.randomised.value):
        return f"{said} cannot be had with all comers, whose mean change is nothing to prevent."
    return f"{said} takes {_numbers(everybody.randomised)} patients if all comers are enrolled."


def _shares(found: Enrichment) -> Iterator[str]:
    """The sentences on some shares of the first model."""
    first = next(iter(found.candidates.scores))
    known = [o for o in found.of(first) if not o.reason]
    told = []
    for wanted in _TOLD[:_SHOWN]:
        nearest = min(known, key=lambda o: abs(o.share - wanted), default=None)
        if nearest is not None and nearest not in told:
            told.append(nearest)
    for outcome in told:
        yield from _share(found, outcome, first)
    if not told:
        yield f"No share of the candidates that {first} ranks highest holds events enough to tell."
        return
    nothing = [o for o in told if _holds_none(o.patients_saved)]
    if nothing:
        listed = " and ".join(f"{100 * o.share:.0f} %" for o in nothing)
        yield f"At {listed} the interval holds 0: it is not shown that {first} saves any patient."


def _share(found: Enrichment, outcome: Outcome, model: str) -> Iterator[str]:
    share, everybody = 100 * outcome.share, found.outcomes[0]
    changed = ""
    if found.candidates.change is not None:
        bounds = _interval(outcome.mean.low, outcome.mean.high, "{:.3f}")
        changed = (
            f", a mean change of {outcome.mean.value:.3f}{bounds} with an SD of {outcome.sd:.3f},"
        )
    yield (
        f"Enrolling the {share:.0f} % that {model} ranks highest gives an event rate of "
        f"{_percents(outcome.rate)}{changed} and takes {_numbers(outcome.randomised)} patients, "
        f"{_fewer(outcome.patients_saved, 'patients')}, for whom {_numbers(outcome.screened)} "
        "candidates have to be screened."
    )
    missed = 1 - outcome.events / everybody.events
    yield (
        f"Of those enrolled {100 * (1 - outcome.rate.value):.0f} % would not have the event, and "
        f"{100 * missed:.0f} % of all events are among those left out."
    )
    if found.trial.has_costs and math.isfinite(outcome.cost.value):
        yield (
            f"The cost is {_numbers(outcome.cost)}, against {_numbers(everybody.cost)} with all "
            f"comers: {_fewer(outcome.cost_saved, 'cost')}."
        )


def _against(found: Enrichment) -> Iterator[str]:
    """The sentences on the first model against rules, and other models at the shares told of."""
    rules = {o.strategy.name for o in found.outcomes if o.strategy.rule}
    for each in found.differences:
        if each.other in rules:
            yield _difference(each, f"the rule {each.other}, which enrols as many,")
    for other in list(found.candidates.scores)[1:]:
        own = [each for each in found.differences if each.other == other]
        for wanted in _TOLD[:1]:
            nearest = min(own, key=lambda each: abs(each.share - wanted))
            yield _difference(nearest, f"{other}, at {100 * nearest.share:.0f} %,")


def _difference(each: Difference, other: str) -> str:
    if math.isnan(each.rates.value):
        return f"Against {other} nothing can be told: there are too few events."
    points = Estimate(*(100 * v for v in (each.rates.value, each.rates.low, each.rates.high)))
    bounds = _interval(points.low, points.high, "{:+.1f}")
    shown = "; the interval holds 0" if _holds_none(points) else ""
    return (
        f"Against {other} {each.one} differs in event rate by {points.value:+.1f} percentage "
        f"points{bounds}{shown}."
    )


def _limits(found: Enrichment) -> Iterator[str]:
    candidates = found.candidates
    ranked = ""
    if candidates.is_out_of_fold:
        ranked = (
            "; candidates are ranked within each fold of the cross-validation, and what the score "
            "adds has wider intervals, since patients who test one fold's model train the others'"
        )
    yield (
        f"Intervals are 95 %, from {found.draws} draws of patients with both their knees "
        f"(seed {found.seed}){ranked}."
    )
    paid = ""
    if found.trial.has_costs:
        costs = [
            (found.trial.cost_screen, "to score a candidate"),
            (found.trial.cost_rule, "to tell whether one is in a rule"),
            (found.trial.cost_patient, "a randomised patient"),
        ]
        listed = ", ".join(f"{cost:,g} {what}" for cost, what in costs if cost is not None)
        paid = f", and costs are {listed}; all comers are not scored"
    yield (
        "It is assumed that treatment prevents the same share whoever is enrolled, that patients "
        f"are enrolled with one knee each, and that candidates are like those of this cohort{paid}."
    )


def _holds_none(quantity: Estimate) -> bool:
    return quantity.low <= 0 <= quantity.high


def _fewer(saved: Estimate, what: str) -> str:
    """How much less it is than with all comers, such as `31 % fewer (95 % CI 12 to 44 %)`."""
    value, low, high = (100 * v for v in (saved.value, saved.low, saved.high))
    less, more = ("fewer", "more") if what == "patients" else ("less", "more")
    if math.isnan(value):
        return "which cannot be compared with all comers"
    if value < 0:
        value, low, high, less = -value, -high, -low, more
    bounds = _interval(low, high, "{:.0f}", " %")
    return f"{value:.0f} % {less}{bounds}"


def _percents(rate: Estimate) -> str:
    bounds = _interval(100 * rate.low, 100 * rate.high, "{:.1f}", " %")
    return f"{100 * rate.value:.1f} %{bounds}"


def _numbers(quantity: Estimate) -> str:
    return f"{quantity.value:,.0f}{_interval(quantity.low, quantity.high, '{:,.0f}')}"


def _interval(low: float, high: float, form: str, unit: str = "") -> str:
    if math.isnan(low) or math.isnan(high):
        return ""
    ends = [form.format(low), form.format(high) if math.isfinite(high) else "no bound"]
    return f" (95 % CI {ends[0]} to {ends[1]}{unit})"
