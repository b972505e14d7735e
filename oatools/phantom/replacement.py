"""Knees that were replaced by a prosthesis, at about the study's rates.

In the study 63 of 9,592 knees were replaced before enrolment and 935 in the years after, more of
those with higher KL grades: 23 by 12 months. A few of the reports could not be confirmed. None of
it is to be seen in the phantoms' images, which show what was planted.

Where times are planted, the time to the replacement follows proportional hazards: the cumulative
hazard is that of KL 0 and a severity of 0, which rises with the time as the shares above, times
exp(0.4 s + KL). One grade of KL makes a replacement e times as likely, about as the study's rates
by grade have it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from oatools.phantom.attendance import CONTACTS, DAYS_A_MONTH, Attendance
from oatools.phantom.hazards import NEVER

_BEFORE = 63 / 9592
# By KL grade, so that with the study's grades about one knee of ten is replaced during follow-up.
_DURING = (0.016, 0.043, 0.105, 0.31, 0.58)
_UNCONFIRMED = 0.03
_PARTIAL = 0.1
# Of the replacements during follow-up, the share that was done by this day.
_SHARE_BY, _DAYS = (0.0, 0.028, 0.085, 0.30, 1.0), (30, 365, 730, 1461, 3285)
# The share with a width read in the first X-ray after the replacement: 2 of 23.
_READ_AFTER = 2 / 23
#: Log hazard ratios where times are planted: of the severity, and of each KL grade at enrolment.
SEVERITY_RATIO, KL_RATIO = 0.4, 1.0
# The cumulative hazard at the last of `_DAYS` of a knee with KL 0 and a severity of 0. In a cohort
# with the study's prevalence 9 % of the knees are replaced by 96 months.
_HAZARD = 0.015
# The share of knees with a report that could not be confirmed, where times are planted: as many.
_REPORTED_FALSELY = 0.003


@dataclass(frozen=True)
class Replacement:
    """A knee's replacement by a prosthesis: before enrolment, or on a day after it, or none.

    An unconfirmed one was reported, with its day, and did not happen. With `read_after` the first
    X-ray after it has a reading in the tables.
    """

    before: bool = False
    day: int | None = None
    confirmed: bool = True
    partial: bool = False
    read_after: bool = False

    def date(self, enrolled: date) -> date:
        """The day of the replacement in the calendar."""
        if self.day is None:
            raise ValueError("a knee without a replacement during follow-up has no day of it")
        return enrolled + timedelta(days=self.day)

    def is_done(self, month: int) -> bool:
        """Tell whether the knee is no longer the person's own so many months after enrolment."""
        if self.before:
            return True
        return self.day is not None and self.confirmed and self.day <= month * DAYS_A_MONTH


def draw_replacement(rng: np.random.Generator, kl: int) -> Replacement:
    """Draw what happens to a knee with this KL grade at enrolment."""
    before, during, when, unconfirmed, partial, read = rng.random(6)
    if before < _BEFORE:
        return Replacement(before=True)
    if during >= _DURING[kl]:
        return Replacement()
    return Replacement(
        day=round(float(np.interp(when, _SHARE_BY, _DAYS))),
        confirmed=bool(unconfirmed >= _UNCONFIRMED),
        partial=bool(partial < _PARTIAL),
        read_after=bool(read < _READ_AFTER),
    )


def linear_predictor(severity: float, kl: int) -> float:
    """The log hazard ratio of a replacement, beside a knee with KL 0 and a severity of 0."""
    return SEVERITY_RATIO * severity + KL_RATIO * kl


def day_of(ratio: float, spent: float) -> float:
    """The day on which a knee of this log hazard ratio has spent so much of cumulative hazard.

    What comes after the last of `_DAYS` goes on at the rate of the years before.
    """
    share = spent / _HAZARD * math.exp(-ratio)
    if share <= 1:
        return float(np.interp(share, _SHARE_BY, _DAYS))
    rate = (_SHARE_BY[-1] - _SHARE_BY[-2]) / (_DAYS[-1] - _DAYS[-2])
    return _DAYS[-1] + (share - 1) / rate


def draw_planted(rng: np.random.Generator, ratio: float) -> tuple[float, Replacement]:
    """Draw the time of a knee's replacement (months), and what comes of it during the study.

    `ratio` is its `linear_predictor`.
    """
    before, score, false, when, partial, read = rng.random(6)
    day = math.ceil(day_of(ratio, -math.log1p(-score)))
    time = min(NEVER, day / DAYS_A_MONTH)
    kind = Replacement(partial=bool(partial < _PARTIAL))
    if before < _BEFORE:
        return time, Replacement(before=True)
    if day <= CONTACTS[-1] * DAYS_A_MONTH:
        return time, replace(kind, day=day, read_after=bool(read < _READ_AFTER))
    if false < _REPORTED_FALSELY:
        reported = round(float(np.interp(when, _SHARE_BY, _DAYS)))
        return time, replace(kind, day=reported, confirmed=False)
    return time, Replacement()


def as_known(replacement: Replacement, attendance: Attendance) -> Replacement:
    """What the study knows of a replacement: nothing of one after the last contact."""
    day = replacement.day
    if day is None or day <= attendance.last * DAYS_A_MONTH:
        return replacement
    return Replacement()


def next_contact(day: int, months: Sequence[int]) -> int:
    """The first of the contacts (months since enrolment) after a day, or the last of all."""
    return next((month for month in months if month * DAYS_A_MONTH >= day), months[-1])


def previous_contact(day: int, months: Sequence[int]) -> int:
    """The last of the contacts (months since enrolment) before a day."""
    return max(month for month in months if month * DAYS_A_MONTH < day)
