"""Validation of predictions: how well they tell knees apart, and whether they mean what they say.

All knees together, then each group. Numbers that are about too few knees are withheld.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from scipy.stats import chi2, norm

from oatools.core.errors import UsageError
from oatools.learning.metrics import log_odds
from oatools.scored.knees import ScoredKnees, area_of
from oatools.scored.multiple import holm
from oatools.scored.resampling import (
    LINEAR,
    POSITIVE,
    SHARE,
    Scale,
    interval,
    pairs_twice,
    patient_weights,
)
from oatools.validation import measures, samplesize
from oatools.validation.groups import Group, Grouping, make_groups
from oatools.validation.measures import Scores

#: A group with fewer knees of either class is withheld.
LEAST_OF_CLASS = 10
#: The name of all knees together.
ALL = "all"
#: What the names of the metrics begin with that tell how many knees another would take.
NEEDED = "knees_needed_"
#: At these, sensitivity and specificity of the other are given.
FIXED = 0.9

Measure = Callable[[Scores, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Measured:
    """A measure by name: the scale of its interval, and whether folds widen it.

    A measure that goes by order, `of_pairs`, takes part in what a cross-validation adds (see
    `scored.resampling.pairs_twice`).
    """

    name: str
    measure: Measure
    scale: Scale = SHARE
    of_pairs: bool = False


# The values (1 + draws,) of a group by measure: the group's, and those of the draws.
_Drawn = Mapping[Measured, np.ndarray]

_AREA = Measured("roc_auc", measures.roc_auc, SHARE, of_pairs=True)
_ORDER = (
    _AREA,
    Measured("pr_auc", measures.average_precision, SHARE, of_pairs=True),
    Measured("prevalence", measures.prevalence),
)
_CALIBRATION = (
    Measured("observed_expected", measures.observed_expected, POSITIVE),
    Measured("calibration_intercept", measures.calibration_intercept, LINEAR),
    Measured("calibration_slope", measures.calibration_slope, LINEAR, of_pairs=True),
    Measured("brier", measures.brier),
)
_AT_THRESHOLD = (
    Measured("sensitivity", measures.sensitivity, of_pairs=True),
    Measured("specificity", measures.specificity, of_pairs=True),
    Measured("precision", measures.precision, of_pairs=True),
    Measured("negative_precision", measures.negative_precision, of_pairs=True),
)
_AT_FIXED = (
    Measured(
        f"sensitivity_at_specificity_{FIXED:g}",
        partial(measures.sensitivity_at, specificity=FIXED),
        of_pairs=True,
    ),
    Measured(
        f"specificity_at_sensitivity_{FIXED:g}",
        partial(measures.specificity_at, sensitivity=FIXED),
        of_pairs=True,
    ),
)


@dataclass(frozen=True)
class Value:
    """One number with its 95 % interval, NaN where there is none."""

    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Part:
    """All knees, or a group: how many, and the values of the measures.

    `by` is the column of the group, empty for all knees. `reason` says why values are withheld.
    """

    by: str
    name: str
    knees: int
    patients: int
    events: int
    values: tuple[Value, ...]
    reason: str = ""

    def __getitem__(self, metric: str) -> Value:
        """Return the value of a metric; NaN where it is not there."""
        return next((v for v in self.values if v.metric == metric), Value(metric, math.nan))


@dataclass(frozen=True)
class Heterogeneity:
    """Whether the areas under the ROC curve of a column's groups differ by more than chance.

    `p` is that of a chi-squared test of `groups` areas, which may share patients, and `holm` the
    same after Holm's adjustment for all columns.
    """

    by: str
    groups: int
    p: float
    holm: float


@dataclass(frozen=True)
class Difference:
    """The difference of two models' areas under the ROC curve on the same knees.

    Each area is the share of pairs in one of the model's own folds that are in order, so that a
    fold of few events, such as a small site, counts little. `p` is two-sided, by Wald's test with
    the error of the draws, and `holm` the same after Holm's adjustment for all pairs of models.
    """

    one: str
    other: str
    one_area: float
    other_area: float
    difference: Value
    p: float
    holm: float


@dataclass(frozen=True)
class Validation:
    """The values of all knees, first, and of groups; whether groups differ, and models.

    `prevalence` is another one for which precision is given, if any. `draws` and `seed` are those
    of the intervals.
    """

    knees: ScoredKnees
    parts: tuple[Part, ...]
    heterogeneity: tuple[Heterogeneity, ...]
    differences: tuple[Difference, ...]
    prevalence: float | None
    draws: int
    seed: int

    def groups(self) -> list[Part]:
        """Return the groups whose values are not withheld."""
        return [part for part in self.parts if part.by and not part.reason]

    def worst(self) -> Part | None:
        """Return the group with the least area under the ROC curve; None without groups."""
        known = [part for part in self.groups() if not math.isnan(part["roc_auc"].value)]
        return min(known, key=lambda part: part["roc_auc"].value, default=None)


def scores_of(knees: ScoredKnees) -> Scores:
    """Return the scores of the first model."""
    called = np.full(len(knees), math.nan) if knees.called is None else knees.called
    return Scores(knees.label, next(iter(knees.scores.values())), knees.fold, called)


def validate(
    knees: ScoredKnees,
    groupings: Sequence[Grouping] = (),
    prevalence: float | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Validation:
    """Measure the first model on all knees, and on groups of them.

    With `prevalence` (0 to 1) the average precision, and precisions at the threshold, are those of
    a cohort with so many events, too. Raises a `UsageError` where a class has fewer knees than
    anything can be told of, and for a prevalence that is none.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise UsageError(
            f"a prevalence of {prevalence:g}", "give `prevalence` above 0, and below 1"
        )
    events = int(knees.label.sum())
    if min(events, len(knees) - events) < LEAST_OF_CLASS:
        raise UsageError(
            f"{events} of {len(knees)} knees have the event: with fewer than {LEAST_OF_CLASS} of "
            "either kind nothing can be told"
        )
    everybody = Group("", ALL, np.ones(len(knees), dtype=bool))
    groups = [everybody]
    for grouping in groupings:
        groups += make_groups(grouping, knees.cells[grouping.column], knees.knee)
    drawn = _draw(knees, groups, prevalence, draws, seed)
    parts = [_part(knees, group, found) for group, found in zip(groups, drawn, strict=True)]
    tests = [_differ(grouping.column, groups, drawn, knees) for grouping in groupings]
    parts[0] = replace(parts[0], values=(*parts[0].values, *_needed(parts[0], scores_of(knees))))
    if not knees.within:
        parts[0] = _with_house_area(parts[0], knees)
    return Validation(
        knees=knees,
        parts=tuple(parts),
        heterogeneity=tuple(_adjusted(tests)),
        differences=tuple(compare_models(knees, draws, seed)),
        prevalence=prevalence,
        draws=draws,
        seed=seed,
    )


def compare_models(knees: ScoredKnees, draws: int = 2000, seed: int = 0) -> list[Difference]:
    """Return the difference of each two models, the first of each pair named first.

    Both are measured on the same knees, each in its own folds, so that a cross-validation by site
    may be held against one in folds that are drawn.
    """
    models = list(knees.scores)
    if len(models) < 2:
        return []
    nothing = np.full(len(knees), math.nan)
    each = [Scores(knees.label, knees.scores[m], knees.fold_of(m), nothing) for m in models]
    areas = np.concatenate(
        [
            np.stack([measures.roc_auc(one, weights) for one in each], axis=1)
            for weights in patient_weights(knees.subject, draws, seed)
        ]
    )
    widened = pairs_twice(1.0, knees.patients) if knees.is_out_of_fold else 1.0
    found = []
    for i, j in combinations(range(len(models)), 2):
        apart = areas[:, i] - areas[:, j]
        error = widened * float(np.nanstd(apart[1:], ddof=1))
        p = 2 * float(norm.sf(abs(apart[0]) / error)) if error > 0 else math.nan
        value = Value("roc_auc", float(apart[0]), *interval(apart, LINEAR, widened))
        pair = (models[i], models[j], float(areas[0, i]), float(areas[0, j]))
        found.append(Difference(*pair, value, p, math.nan))
    adjusted = holm([each.p for each in found])
    return [replace(one, holm=p) for one, p in zip(found, adjusted, strict=True)]


def is_enough(label: np.ndarray) -> bool:
    """Tell whether there are enough knees of both classes to tell anything of them."""
    events = int(label.sum())
    return min(events, len(label) - events) >= LEAST_OF_CLASS


def _measured(
    group: Group, prevalence: float | None, is_called: bool, is_whole: bool
) -> list[Measured]:
    """What is measured of a group: less of it than of all knees.

    A point of the ROC curve is given only where the curve `is_whole`: in folds of few events it is
    too high or too low by their number.
    """
    found = [*_ORDER, *_CALIBRATION]
    if is_called:
        found += _AT_THRESHOLD
    if group.by:
        return found
    if is_whole:
        found += _AT_FIXED
    if prevalence is not None:
        for each in (_ORDER[1], *(_AT_THRESHOLD[2:] if is_called else ())):
            name = f"{each.name}_at_prevalence_{prevalence:g}"
            found.append(Measured(name, _at_prevalence(each.measure, prevalence), SHARE, True))
    return found


def _at_prevalence(measure: Measure, share: float) -> Measure:
    return lambda knees, weights: measure(knees, measures.at_prevalence(knees, weights, share))


def _draw(
    knees: ScoredKnees, groups: Sequence[Group], prevalence: float | None, draws: int, seed: int
) -> list[_Drawn]:
    """The values (1 + draws,) of each group by measure; none of a group that is withheld."""
    scores = scores_of(knees)
    is_called = knees.called is not None
    own = [scores.take(group.at) for group in groups]
    wanted = [
        _measured(group, prevalence, is_called, knees.folds == 1) if is_enough(each.label) else []
        for group, each in zip(groups, own, strict=True)
    ]
    parts: list[dict[Measured, list[np.ndarray]]] = [{m: [] for m in each} for each in wanted]
    for weights in patient_weights(knees.subject, draws, seed):
        for group, each, found in zip(groups, own, parts, strict=True):
            for measured, values in found.items():
                values.append(measured.measure(each, weights[:, group.at]))
    return [{m: np.concatenate(values) for m, values in found.items()} for found in parts]


def _part(knees: ScoredKnees, group: Group, drawn: _Drawn) -> Part:
    label = knees.label[group.at]
    events, patients = int(label.sum()), len(np.unique(knees.subject[group.at]))
    reason = ""
    if not drawn:
        few = "with" if events < LEAST_OF_CLASS else "without"
        count = min(events, len(label) - events)
        reason = f"{count} knees {few} the event: fewer than {LEAST_OF_CLASS} tell nothing"
    called = scores_of(knees).called[group.at]
    values = []
    for measured, found in drawn.items():
        widened = 1.0
        if knees.is_out_of_fold and measured.of_pairs:
            widened = pairs_twice(1.0, patients)
        value = Value(measured.name, float(found[0]), *interval(found, measured.scale, widened))
        if _called(measured.name, called) < LEAST_OF_CLASS:
            value = Value(measured.name, value.value)
        values.append(value)
    return Part(group.by, group.name, len(label), patients, events, tuple(values), reason)


def _called(metric: str, called: np.ndarray) -> float:
    """How many knees a metric is about, of those called one way; any number where it is of none."""
    if metric.startswith("precision"):
        return float((called == 1).sum())
    if metric.startswith("negative_precision"):
        return float((called == 0).sum())
    return math.inf


def _needed(part: Part, scores: Scores) -> Iterator[Value]:
    """How many knees would give intervals of the usual width (`samplesize`)."""
    prevalence = part.events / part.knees
    yield Value(f"{NEEDED}observed_expected", samplesize.for_ratio(prevalence))
    odds = log_odds(scores.probability)
    yield Value(f"{NEEDED}calibration_slope", samplesize.for_slope(odds))
    area = part["roc_auc"].value
    if not math.isnan(area):
        yield Value(f"{NEEDED}roc_auc", samplesize.for_area(area, prevalence))


def _with_house_area(part: Part, knees: ScoredKnees) -> Part:
    """The part of all knees with the area as the report of a cross-validation gives it."""
    found = area_of(knees, next(iter(knees.scores)))
    if math.isnan(found.value):
        return part
    area = Value("roc_auc", found.value, found.low, found.high)
    values = tuple(area if value.metric == "roc_auc" else value for value in part.values)
    return replace(part, values=values)


def _differ(
    by: str, groups: Sequence[Group], drawn: Sequence[_Drawn], knees: ScoredKnees
) -> Heterogeneity:
    """Test whether the areas of a column's groups are all the same, on the scale of intervals.

    By Wald's test of their differences from the first, whose covariance is that of the draws: the
    groups may share patients, as sides do.
    """
    areas = [
        found[_AREA]
        for group, found in zip(groups, drawn, strict=True)
        if group.by == by and _AREA in found
    ]
    if len(areas) < 2:
        return Heterogeneity(by, len(areas), math.nan, math.nan)
    scaled = SHARE.to(np.stack(areas))
    apart = scaled[1:] - scaled[0]
    known = ~np.isnan(apart[:, 1:]).any(axis=0)
    covariance = np.atleast_2d(np.cov(apart[:, 1:][:, known]))
    if knees.is_out_of_fold:
        covariance = covariance * pairs_twice(1.0, knees.patients) ** 2
    statistic = float(apart[:, 0] @ np.linalg.pinv(covariance) @ apart[:, 0])
    return Heterogeneity(by, len(areas), float(chi2.sf(statistic, len(apart))), math.nan)


def _adjusted(tests: Sequence[Heterogeneity]) -> list[Heterogeneity]:
    """The tests with p after Holm (1979) for all of them."""
    adjusted = holm([test.p for test in tests])
    return [replace(test, holm=p) for test, p in zip(tests, adjusted, strict=True)]
