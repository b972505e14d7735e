"""A validation in sentences."""

import math
from collections.abc import Iterator

from oatools.core.words import counted
from oatools.learning.cautions import made_with
from oatools.learning.recalibration import Recalibration
from oatools.validation.validate import LEAST_OF_CLASS, NEEDED, Validation, Value

# A slope or intercept whose interval leaves these out is called by name.
_PERFECT_SLOPE, _PERFECT_RATIO = 1.0, 1.0
# The widths of the intervals for which knees are counted, in words.
_WIDTHS = {
    "roc_auc": "0.1 of the area",
    "observed_expected": "0.2 of the ratio",
    "calibration_slope": "0.2 of the slope",
}


def describe_validation(found: Validation, made: Recalibration | None = None) -> str:
    """Return a validation as one paragraph of English."""
    sentences = [
        *_overall(found),
        *_groups(found),
        *_differences(found),
        _recalibrated(made),
        *_methods(found),
        made_with(found.knees.cautions),
    ]
    return " ".join(sentence for sentence in sentences if sentence) + "\n"


def _overall(found: Validation) -> Iterator[str]:
    everybody, model = found.parts[0], next(iter(found.knees.scores))
    endpoint = f" ({found.knees.endpoint})" if found.knees.endpoint else ""
    knees, patients = counted(everybody.knees, "knee"), counted(everybody.patients, "patient")
    yield (
        f"Of {knees} of {patients}, {everybody.events} "
        f"({100 * everybody.events / everybody.knees:.1f} %) had the event{endpoint}."
    )
    folds, within = found.knees.folds, found.knees.within
    where = f", the mean of {folds} folds" if folds > 1 else ""
    if within:
        where = f", of pairs of knees of the same {within}"
    yield (
        f"The area under the ROC curve of {model} was {_shown(everybody['roc_auc'])}{where}, and "
        f"the average precision {_shown(everybody['pr_auc'])}."
    )
    ratio, slope = everybody["observed_expected"], everybody["calibration_slope"]
    said = "as many as predicted within its error"
    if not ratio.low <= _PERFECT_RATIO <= ratio.high and not math.isnan(ratio.low):
        said = "more than predicted" if ratio.value > _PERFECT_RATIO else "fewer than predicted"
    yield (
        f"Events observed were {_shown(ratio)} times those expected, {said}; the calibration slope "
        f"was {_shown(slope)}{_of_slope(slope)}."
    )
    if not math.isnan(everybody["sensitivity"].value):
        yield (
            f"At the model's threshold sensitivity was {_shown(everybody['sensitivity'])}, "
            f"specificity {_shown(everybody['specificity'])} and precision "
            f"{_shown(everybody['precision'])}."
        )
    needed = {name: everybody[f"{NEEDED}{name}"].value for name in _WIDTHS}
    if not any(map(math.isnan, needed.values())):
        listed = ", ".join(f"{value:,.0f} for {_WIDTHS[name]}" for name, value in needed.items())
        yield (
            f"Intervals of a usual width would take, with one knee a patient: {listed} (Riley et "
            "al. 2021)."
        )
    if found.prevalence is not None:
        name = f"pr_auc_at_prevalence_{found.prevalence:g}"
        yield (
            f"Where {100 * found.prevalence:g} % had the event, the average precision would be "
            f"{_shown(everybody[name])}."
        )


def _of_slope(slope: Value) -> str:
    if math.isnan(slope.low) or slope.low <= _PERFECT_SLOPE <= slope.high:
        return ""
    if slope.value < _PERFECT_SLOPE:
        return " (probabilities are too extreme)"
    return " (probabilities are too much alike)"


def _groups(found: Validation) -> Iterator[str]:
    """The sentences on the group in which the model does worst, and whether groups differ."""
    withheld = [part for part in found.parts if part.by and part.reason]
    if withheld:
        listed = ", ".join(f"{part.by} {part.name}" for part in withheld)
        yield (
            f"Withheld, for fewer than {LEAST_OF_CLASS} knees with or without the event: {listed}."
        )
    worst, groups = found.worst(), found.groups()
    if worst is None or len(groups) < 2:
        return
    yield (
        f"Of {len(groups)} groups the area was least in {worst.by} {worst.name}: "
        f"{_shown(worst['roc_auc'])}. The least of several is low by chance, too."
    )
    tests = [test for test in found.heterogeneity if not math.isnan(test.p)]
    if tests:
        listed = ", ".join(f"{test.by} {_p(test.p)} ({_p(test.holm)})" for test in tests)
        yield f"Whether groups differ in the area, p, and after Holm for all columns: {listed}."


def _differences(found: Validation) -> Iterator[str]:
    for each in found.differences:
        shown = each.difference
        bounds = ""
        if not math.isnan(shown.low):
            bounds = f" (95 % CI {shown.low:+.3f} to {shown.high:+.3f})"
        tested = ""
        if not math.isnan(each.p):
            tested = f", p {_p(each.p)}, after Holm {_p(each.holm)}"
        yield (
            f"The area of {each.one} less that of {each.other} was {shown.value:+.3f}{bounds}"
            f"{tested}."
        )


def _recalibrated(made: Recalibration | None) -> str:
    if made is None:
        return ""
    if made.kind == "large":
        return f"Recalibrated in the large, log odds become {made.intercept:+.3f} more."
    return (
        f"Recalibrated, log odds become {made.intercept:.3f} + {made.slope:.3f} x those of the "
        "model; on these knees it is calibrated by its making, and not by proof."
    )


def _methods(found: Validation) -> Iterator[str]:
    ordered = ""
    if found.knees.is_out_of_fold:
        ordered = (
            "; scores are compared within folds, and intervals of what goes by order are widened, "
            "since patients who test one fold's model train the others'"
        )
    house = "" if found.knees.within else "; that of the area of all knees is Obuchowski's"
    yield (
        f"Intervals are 95 %, from {found.draws} draws of patients with both their knees (seed "
        f"{found.seed}){ordered}{house}."
    )


def _shown(value: Value) -> str:
    if math.isnan(value.value):
        return "not defined"
    if math.isnan(value.low):
        return f"{value.value:.2f}"
    return f"{value.value:.2f} (95 % CI {value.low:.2f} to {value.high:.2f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
