"""What became of a knee: when an event befell it, or until when it had none, and why that ended."""

import enum
from dataclasses import dataclass
from decimal import Decimal

from oatools.oai.rules import LabelledKnee


class Ended(enum.Enum):
    """Why the follow-up of a knee ended."""

    EVENT = "event"
    END = "end"
    LOST = "lost"
    DIED = "died"
    REPLACED = "replaced"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True)
class Course:
    """What became of a knee, in months since enrolment.

    Of an event `start` is the last time known free of it and `end` the first known with it, the
    same if its day is known; without one the knee was free of it at `start`, and `end` is None.
    `project` is the reading project that told, None where none did.
    """

    start: Decimal
    end: Decimal | None
    ended: Ended
    project: str | None = None
    is_replacement: bool = False

    @property
    def time(self) -> Decimal:
        """The time of the event, or else that of censoring."""
        return self.start if self.end is None else self.end


@dataclass(frozen=True)
class TimedKnee(LabelledKnee):
    """A knee at risk at a visit, and what became of it."""

    course: Course = Course(Decimal(0), None, Ended.END)
