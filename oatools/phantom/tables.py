"""What the tables of a synthetic cohort say of its people, whatever form they are written in.

As in the study, not everything is there. People stop coming: of those with a width at 12 months, 6,
10 and 14 in a hundred have none at 24, 36 and 48. Height is missing in 1.75 % of the people, weight
in 0.08 %, a pain score in 3 of 9,592 knees. For X-rays see `xrays`, for who is there with a
follow-up `attendance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oatools.phantom.attendance import Attendance, draw_attendance
from oatools.phantom.people import Patient, PhantomKnee, PhantomSettings, oai_number, stream
from oatools.phantom.replacement import Replacement, as_known
from oatools.phantom.xrays import GradeReading, WidthReading, grade_readings, width_readings

# The share of people that have stopped coming by a visit. With the knees that are replaced it
# gives the study's: 5,777 knees with a change at 12 months, 5,429, 5,199 and 4,954 after that.
_GONE = {0: 0.0, 12: 0.02, 24: 0.074, 36: 0.105, 48: 0.136}
_NO_HEIGHT, _NO_WEIGHT, _NO_PAIN = 0.0175, 0.0008, 3 / 9592
_FORGOTTEN = 0.01  # the knee's injuries


@dataclass(frozen=True)
class Scores:
    """What a person says of a knee at enrolment; None where the answer is missing.

    Pain 0 to 20, stiffness 0 to 8, function 0 to 68 of WOMAC; pain and symptoms of KOOS, 0 worst to
    100.
    """

    pain: int | None
    stiffness: int
    function: int
    koos_pain: float
    koos_symptoms: float
    injured: bool | None
    operated: bool

    @property
    def total(self) -> int | None:
        """WOMAC's total, 0 to 96."""
        return None if self.pain is None else self.pain + self.stiffness + self.function


@dataclass(frozen=True)
class Record:
    """Everything that the tables say of a person; both knees, right first."""

    patient: Patient
    months_old: int  # at enrolment
    has_height: bool
    has_weight: bool
    attendance: Attendance
    tells_deaths: bool  # whether outcomes have columns of a death
    replacements: dict[str, Replacement]  # by side, as far as they are known
    scores: dict[str, Scores]  # by side
    widths: tuple[WidthReading, ...]
    grades: tuple[GradeReading, ...]
    seed: tuple[int, ...]  # of whatever a form draws for itself

    @property
    def months(self) -> tuple[int, ...]:
        """Months since enrolment of the study's X-rays."""
        return self.patient.knees[0].months


def make_records(settings: PhantomSettings, patients: Sequence[Patient]) -> list[Record]:
    """What the tables say of everybody, in order."""
    return [make_record(settings, patient) for patient in patients]


def make_record(settings: PhantomSettings, patient: Patient) -> Record:
    """What the tables say of a person, the same in every form of the settings."""
    rng = stream(settings, patient.index, 22)
    no_height, no_weight, gone = rng.random(3)
    birthday = int(rng.integers(12))
    if settings.follow_up:
        attendance = draw_attendance(stream(settings, patient.index, 29))
        visits = attendance.contacts
    else:
        attendance = Attendance()
        visits = tuple(month for month, share in _GONE.items() if gone >= share)
    scores: dict[str, Scores] = {}
    widths: list[WidthReading] = []
    grades: list[GradeReading] = []
    for number, knee in enumerate(by_side(patient)):
        rng = stream(settings, patient.index, 23 + number)
        scores[knee.side] = _scores(rng, knee)
        number_of_person = oai_number(settings, patient.index)
        widths += width_readings(rng, knee, number_of_person, visits)
        grades += grade_readings(rng, knee, number_of_person, visits)
    return Record(
        patient=patient,
        months_old=12 * patient.age + birthday,
        has_height=bool(no_height >= _NO_HEIGHT),
        has_weight=bool(no_weight >= _NO_WEIGHT),
        attendance=attendance,
        tells_deaths=settings.follow_up > 0,
        replacements={k.side: as_known(k.replacement, attendance) for k in patient.knees},
        scores=scores,
        widths=tuple(widths),
        grades=tuple(grades),
        seed=(settings.seed, patient.index, 25),
    )


def by_side(patient: Patient) -> tuple[PhantomKnee, PhantomKnee]:
    """A person's knees in the order of their codes: right is 1, left 2."""
    left, right = patient.knees
    return right, left


def _scores(rng: np.random.Generator, knee: PhantomKnee) -> Scores:
    pain, stiffness, function = knee.womac
    has_pain, remembers = rng.random(2)
    worse = rng.normal(0, 4, 2)
    return Scores(
        pain=pain if has_pain >= _NO_PAIN else None,
        stiffness=stiffness,
        function=function,
        koos_pain=_koos(100 - 4.5 * pain - abs(worse[0])),
        koos_symptoms=_koos(97 - 3 * pain - 2 * stiffness - abs(worse[1])),
        injured=knee.injured if remembers >= _FORGOTTEN else None,
        operated=knee.operated,
    )


def _koos(score: float) -> float:
    return round(min(100.0, max(0.0, score)), 1)
