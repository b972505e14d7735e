"""Validation of risks by time: of all knees, and of groups of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from oatools.learning.intervals import Estimate
from oatools.scored.followed import FollowedKnees
from oatools.survival.crossval import Named, measures_at
from oatools.survival.estimates import Fold, estimate
from oatools.validation.groups import Grouping, make_groups
from oatools.validation.validate import ALL, LEAST_OF_CLASS, Part, Value


def validate_over_time(knees: FollowedKnees, groupings: Sequence[Grouping]) -> list[Part]:
    """Return the measures of `survival.crossval` of all knees, and of each group of them.

    Risks of a cross-validation are measured in each fold, and the mean taken over those in which a
    measure is defined; calibration over all folds at once. Groups with few events, or few knees
    without, are withheld.
    """
    everybody = np.full(len(knees.knee), True)
    parts = [_part(knees, "", ALL, everybody)]
    for grouping in groupings:
        for group in make_groups(grouping, knees.cells[grouping.column], knees.knee):
            parts.append(_part(knees, group.by, group.name, group.at))
    return parts


def _part(knees: FollowedKnees, by: str, name: str, at: np.ndarray) -> Part:
    event = knees.follow_up.event[at]
    counts = int(event.sum()), int((~event).sum())
    reason = ""
    if min(counts) < LEAST_OF_CLASS:
        which = "with" if counts[0] < counts[1] else "without"
        reason = f"fewer than {LEAST_OF_CLASS} knees {which} the event"
    return Part(
        by=by,
        name=name,
        knees=int(at.sum()),
        patients=len(np.unique(knees.subject[at])),
        events=counts[0],
        values=() if reason else tuple(_values(knees, at)),
        reason=reason,
    )


def _values(knees: FollowedKnees, at: np.ndarray) -> Iterator[Value]:
    for each in measures_at(knees.at):
        found = _estimated(knees, at, each)
        yield Value(each.name, found.value, found.low, found.high)


def _estimated(knees: FollowedKnees, at: np.ndarray, named: Named) -> Estimate:
    folds = [_fold(knees, at)]
    if named.is_mean:
        numbers = np.unique(knees.fold[at]).tolist()
        of_each = [_fold(knees, at & (knees.fold == number)) for number in numbers]
        defined = [fold for fold in of_each if np.isfinite(named.measure.value(fold))]
        folds = defined or folds
    return estimate([folds], named.measure)


def _fold(knees: FollowedKnees, at: np.ndarray) -> Fold:
    return Fold.of(knees.follow_up.take(at), knees.subject[at], knees.risk[at])
