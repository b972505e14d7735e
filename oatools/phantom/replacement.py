"""Knees that were replaced by a prosthesis, at about the study's rates.

In the study 63 of 9,592 knees were replaced before enrolment and 935 in the years after, more of
those with higher KL grades: 23 by 12 months. A few of the reports could not be confirmed. None of
it is to be seen in the phantoms' images, which show what was planted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

_BEFORE = 63 / 9592
# By KL grade, so that with the study's grades about one knee of ten is replaced during follow-up.
_DURING = (0.016, 0.043, 0.105, 0.31, 0.58)
_UNCONFIRMED = 0.03
_PARTIAL = 0.1
# Of the replacements during follow-up, the share that was done by this day.
_SHARE_BY, _DAYS = (0.0, 0.028, 0.085, 0.30, 1.0), (30, 365, 730, 1461, 3285)
# The share with a width read in the first X-ray after the replacement: 2 of 23.
_READ_AFTER = 2 / 23
_DAYS_A_MONTH = 365.25 / 12


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
        return self.day is not None and self.confirmed and self.day <= month * _DAYS_A_MONTH


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


def next_contact(day: int, months: Sequence[int]) -> int:
    """The first of the contacts (months since enrolment) after a day, or the last of all."""
    return next((month for month in months if month * _DAYS_A_MONTH >= day), months[-1])


def previous_contact(day: int, months: Sequence[int]) -> int:
    """The last of the contacts (months since enrolment) before a day."""
    return max(month for month in months if month * _DAYS_A_MONTH < day)
