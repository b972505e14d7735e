"""Who is still there in a study of nine years: contacts that were missed, losses and deaths.

None of it depends on the knees, so that censoring tells nothing of the outcomes. At each contact
after enrolment 2.5 % of those who are left have gone for good; of the contacts of the others 4 %
are missed; 4 % of the people die within 96 months, at a constant rate. The death of somebody who
had left before is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

DAYS_A_MONTH = 365.25 / 12
#: Months of the contacts, visits and calls, since enrolment.
CONTACTS = (0, 12, 18, 24, 30, 36, 48, 60, 72, 84, 96, 108)
_LEAVE, _MISS = 0.025, 0.04
_DEAD, _DEAD_BY = 0.04, 96  # months


@dataclass(frozen=True)
class Attendance:
    """The contacts of a person that took place, months since enrolment, and the day of death."""

    contacts: tuple[int, ...] = CONTACTS
    death: int | None = None

    @property
    def last(self) -> int:
        """The most recent contact."""
        return self.contacts[-1]

    def date_of_death(self, enrolled: date) -> date:
        """The day of a known death in the calendar."""
        if self.death is None:
            raise ValueError("somebody who is not known to have died has no day of it")
        return enrolled + timedelta(days=self.death)


def draw_attendance(rng: np.random.Generator) -> Attendance:
    """Draw the contacts of a person, and the death if it is known."""
    rate = -math.log(1 - _DEAD) / (_DEAD_BY * DAYS_A_MONTH)
    death = 1 + math.floor(rng.exponential(1 / rate))
    contacts = [0]
    for month in CONTACTS[1:]:
        leaves, misses = rng.random(2)
        if death <= month * DAYS_A_MONTH:
            return Attendance(tuple(contacts), death)
        if leaves < _LEAVE:
            break
        if misses >= _MISS:
            contacts.append(month)
    return Attendance(tuple(contacts))
