"""The tables of `oa-enrich`."""

import math
from collections.abc import Sequence

from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.learning.intervals import Estimate
from oatools.trial.decision import Decision
from oatools.trial.enrichment import Difference, Enrichment, Outcome

ENRICHMENT_COLUMNS = [
    "enroll",
    "share",
    "candidates",
    "enrolled",
    "events",
    "event_rate",
    "event_rate_low",
    "event_rate_high",
    "mean",
    "mean_low",
    "mean_high",
    "sd",
    "per_arm",
    "per_arm_low",
    "per_arm_high",
    "randomised",
    "randomised_low",
    "randomised_high",
    "screened",
    "screened_low",
    "screened_high",
    "screened_per_event",
    "cost",
    "cost_low",
    "cost_high",
    "patients_saved",
    "patients_saved_low",
    "patients_saved_high",
    "cost_saved",
    "cost_saved_low",
    "cost_saved_high",
    "reason",
    CAUTION_COLUMN,
]
COMPARISON_COLUMNS = [
    "one",
    "other",
    "share",
    "one_rate",
    "other_rate",
    "difference",
    "ci_low",
    "ci_high",
    "patients_saved",
    "patients_saved_low",
    "patients_saved_high",
    CAUTION_COLUMN,
]
DECISION_COLUMNS = [
    "model",
    "threshold",
    "enrolled",
    "net_benefit",
    "ci_low",
    "ci_high",
    "enroll_all",
    "gain",
    "gain_low",
    "gain_high",
    CAUTION_COLUMN,
]


def enrichment_rows(found: Enrichment) -> list[Row]:
    """Return one row of `ENRICHMENT_COLUMNS` a strategy, the first of which enrols all."""
    caution = caution_cell(found.candidates.cautions)
    candidates = str(len(found.candidates))
    return [
        {"candidates": candidates, **_outcome(each), CAUTION_COLUMN: caution}
        for each in found.outcomes
    ]


def comparison_rows(found: Enrichment) -> list[Row]:
    """Return one row of `COMPARISON_COLUMNS` for each difference."""
    caution = caution_cell(found.candidates.cautions)
    return [_difference(each) | {CAUTION_COLUMN: caution} for each in found.differences]


def decision_rows(found: Enrichment, curve: Sequence[Decision]) -> list[Row]:
    """Return one row of `DECISION_COLUMNS` for each model and threshold."""
    caution = caution_cell(found.candidates.cautions)
    rows = []
    for each in curve:
        row = {
            "model": each.model,
            "threshold": f"{each.threshold:g}",
            "enrolled": _share(each.enrolled),
            **_cells("net_benefit", each.benefit, 5, "ci"),
            "enroll_all": _number(each.enroll_all, 5),
            **_cells("gain", each.gain, 5),
            CAUTION_COLUMN: caution,
        }
        rows.append(row)
    return rows


def _outcome(each: Outcome) -> Row:
    return {
        "enroll": each.strategy.name,
        "share": _share(each.share),
        "enrolled": _number(each.enrolled, 0),
        "events": _number(each.events, 0),
        **_cells("event_rate", each.rate, 4),
        **_cells("mean", each.mean, 4),
        "sd": _number(each.sd, 4),
        **_cells("per_arm", each.per_arm, 0),
        **_cells("randomised", each.randomised, 0),
        **_cells("screened", each.screened, 0),
        "screened_per_event": _number(each.per_event.value, 2),
        **_cells("cost", each.cost, 0),
        **_cells("patients_saved", each.patients_saved, 4),
        **_cells("cost_saved", each.cost_saved, 4),
        "reason": each.reason or MISSING,
    }


def _difference(each: Difference) -> Row:
    return {
        "one": each.one,
        "other": each.other,
        "share": _share(each.share),
        "one_rate": _number(each.one_rate, 4),
        "other_rate": _number(each.other_rate, 4),
        **_cells("difference", each.rates, 4, "ci"),
        **_cells("patients_saved", each.patients, 4),
    }


def _cells(column: str, quantity: Estimate, digits: int, of_interval: str = "") -> Row:
    """The cells of a quantity and its interval, whose columns begin like its own by default."""
    start = of_interval or column
    return {
        column: _number(quantity.value, digits),
        f"{start}_low": _number(quantity.low, digits),
        f"{start}_high": _number(quantity.high, digits),
    }


def _share(value: float) -> str:
    return _number(value, 4)


def _number(value: float, digits: int) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    shown = f"{value:.{digits}f}"
    return shown if float(shown) else f"{0:.{digits}f}"
