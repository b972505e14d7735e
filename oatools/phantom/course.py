"""The joint space of a knee over the years, distributed as the study's own release has it.

The change of the minimum medial joint space width since enrolment follows published aggregates of
the release (reading project 16, knees measured at both visits; docs of
github.com/machamanikanta830/multimodal-knee-oa-progression-pipeline):

    months    mean (SD), mm      P05 / P25 / median / P75 / P95
    12        -0.064 (0.569)     -0.968 / -0.287 / -0.022 / 0.200 / 0.732
    24        -0.189 (0.636)     -1.249 / -0.434 / -0.113 / 0.135 / 0.626
    36        -0.328 (0.736)     -1.621 / -0.587 / -0.224 / 0.050 / 0.566
    48        -0.400 (0.788)     -1.927 / -0.686 / -0.258 / 0.026 / 0.593
    72        -0.473 (0.860)     -2.130 / -0.813 / -0.339 / 0.030 / 0.633
    96        -0.644 (1.006)     -2.585 / -1.070 / -0.432 / -0.026 / 0.598

Every knee has a rank in each of these distributions. That of the first year is below `PREVALENCE`
in planted progressors and above it in all others, so that a cohort with the study's prevalence has
the distributions of the table. In another the two parts are mixed otherwise, and stay as they are.

Where the time of narrowing is planted (`draw_followed`), each visit's distribution is cut in two at
`CUT` in that way: a knee is in the lower part from the first visit at or after that time, and in
the upper part before. Later visits find a few that had lost little in the upper part again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

#: Months since enrolment of the visits with X-rays.
X_RAY_MONTHS = (0, 12, 24, 36, 48, 72, 96)
#: Those at which a width is read without a follow-up.
WIDTH_MONTHS = X_RAY_MONTHS[:5]
#: The fraction of the study's knees that lose half a millimetre or more in the first year.
PREVALENCE = 0.14
CUT = -0.5  # mm

_NORMAL = NormalDist()
# One knee of 11,547 is beyond: -5.80 and 3.43 mm are the extremes of 5,777 knees at 12 months.
_EXTREME = 0.0000866
_SHARES = (_EXTREME, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1 - _EXTREME)
# Changes (mm) at these shares. Those at 0.01 and 0.99 are not published: they are what gives the
# mean and the deviation of the table when normal scores are interpolated between these points.
_CHANGES = {
    12: (-5.80, -1.788, -0.968, -0.287, -0.022, 0.200, 0.732, 1.179, 3.43),
    24: (-5.80, -2.065, -1.249, -0.434, -0.113, 0.135, 0.626, 1.355, 3.43),
    36: (-5.80, -2.611, -1.621, -0.587, -0.224, 0.050, 0.566, 1.578, 3.43),
    48: (-5.80, -2.645, -1.927, -0.686, -0.258, 0.026, 0.593, 1.434, 3.43),
    72: (-5.80, -2.935, -2.130, -0.813, -0.339, 0.030, 0.633, 1.495, 3.43),
    96: (-5.80, -3.792, -2.585, -1.070, -0.432, -0.026, 0.598, 1.488, 3.43),
}
# Correlation of a change's normal score with that of the year before: the reading at enrolment,
# with its error, is part of both.
_CORRELATION = {24: 0.6, 36: 0.7, 48: 0.75}
_CORRELATION_LATER = 0.75  # with the visit two years before
_LEAST = 0.001  # mm, as the tables state widths
# Of the knees that have narrowed, half of the upper fifth are above the cut at a later visit: in
# the lower third of those that are.
_SMALL_LOSS, _RETURN, _NEAR = 0.8, 0.5, 0.3


@dataclass(frozen=True)
class Course:
    """The changes of a knee's width since enrolment (mm, at `WIDTH_MONTHS` but the first).

    `pace` is a rank in (0, 1) among the knees of its kind, progressors or not: the lower, the
    faster the first year's loss.
    """

    changes: tuple[float, float, float, float]
    pace: float

    def widths(self, baseline: float) -> tuple[float, ...]:
        """The widths at `WIDTH_MONTHS`, mm to three decimals, from that at enrolment.

        A knee that loses more than it was given had as much: its baseline is raised, and the joint
        is bone on bone (0 mm) at that visit.
        """
        start = round(max(baseline, -min(self.changes)), 3)
        return start, *(max(0.0, round(start + change, 3)) for change in self.changes)


def change_at(month: int, rank: float) -> float:
    """The change (mm) since enrolment at a rank in (0, 1) of its distribution at 12 … 96 months."""
    shares, changes = list(_SHARES), list(_CHANGES[month])
    if month == 12:
        shares.insert(3, PREVALENCE)
        changes.insert(3, CUT)
    scores = [_NORMAL.inv_cdf(share) for share in shares]
    return float(np.interp(_NORMAL.inv_cdf(rank), scores, changes))


def draw_course(rng: np.random.Generator, progressor: bool) -> Course:
    """Draw the changes of a knee of which the planted outcome of the first year is known."""
    pace = float(rng.uniform(1e-9, 1 - 1e-9))
    rank = PREVALENCE * pace if progressor else PREVALENCE + (1 - PREVALENCE) * pace
    first = change_at(12, rank)
    # A label must not hang on rounding.
    first = min(first, CUT - _LEAST) if progressor else max(first, CUT + _LEAST)
    changes, score = [first], _NORMAL.inv_cdf(rank)
    for month, correlation in _CORRELATION.items():
        score = correlation * score + math.sqrt(1 - correlation**2) * float(rng.standard_normal())
        changes.append(change_at(month, _NORMAL.cdf(score)))
    one, two, three, four = changes
    return Course((one, two, three, four), pace)


def draw_followed(rng: np.random.Generator, narrowed: float) -> tuple[float, ...]:
    """Draw the changes (mm) at `X_RAY_MONTHS` but the first of a knee that narrows at this month.

    The first visit with a loss of half a millimetre or more is the first at or after that month.
    """
    changes: list[float] = []
    score, has_narrowed = float(rng.standard_normal()), False
    for month in X_RAY_MONTHS[1:]:
        own = float(rng.standard_normal())
        back, near = rng.random(2)
        if changes:
            correlation = _CORRELATION.get(month, _CORRELATION_LATER)
            score = correlation * score + math.sqrt(1 - correlation**2) * own
        rank, share = _NORMAL.cdf(score), share_below_cut(month)
        returns = has_narrowed and rank > _SMALL_LOSS and back < _RETURN
        if returns:
            rank = _NEAR * float(near)
        if month >= narrowed and not returns:
            has_narrowed = True
            change = min(change_at(month, share * rank), CUT - _LEAST)
        else:
            change = max(change_at(month, share + (1 - share) * rank), CUT + _LEAST)
        changes.append(change)
    return tuple(changes)


def followed_widths(baseline: float, changes: Sequence[float]) -> tuple[float, ...]:
    """The widths at `X_RAY_MONTHS`, mm to three decimals, from that at enrolment.

    A knee that would lose more than it has is bone on bone (0 mm): its baseline stays, and does not
    tell of the loss.
    """
    start = round(baseline, 3)
    return start, *(max(0.0, round(start + change, 3)) for change in changes)


def share_below_cut(month: int) -> float:
    """The share of the study's knees that have lost half a millimetre or more at 12 … 96 months."""
    if month == 12:
        return PREVALENCE
    scores = [_NORMAL.inv_cdf(share) for share in _SHARES]
    return _NORMAL.cdf(float(np.interp(CUT, _CHANGES[month], scores)))
