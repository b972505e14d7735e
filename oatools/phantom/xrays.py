"""The readings of a synthetic cohort's X-rays: widths of the joint space, and grades.

Some X-rays cannot be measured, or not everywhere. One knee in twenty is read a second time at the
first two visits, by the project that tests how well readings repeat: its widths differ a little.

Grades at 72 and 96 months are of another project, which also grades the first X-ray and that of 48
months of these knees. It finds what the first one does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oatools.phantom.course import X_RAY_MONTHS
from oatools.phantom.people import PhantomKnee

Array = NDArray[np.floating[Any]]

#: Where widths are read, as fractions of the width of the joint from its medial end.
MEDIAL_PLACES = (0.150, 0.175, 0.200, 0.225, 0.250, 0.275, 0.300)
LATERAL_PLACES = (0.700, 0.725, 0.750, 0.775, 0.800, 0.825, 0.850, 0.875, 0.900)
#: The project that reads widths at every visit, and the one that reads some of them again.
LONGITUDINAL, REPEATED = 16, 20
#: The project that grades the X-rays up to 48 months, and the one that grades later ones.
GRADING, EXTENSION = 15, 37
_LAST_OF_GRADING = 48
# The number of the visit at each month, as the study counts.
_VISITS = {0: 0, 12: 1, 24: 3, 36: 5, 48: 6, 72: 8, 96: 10}
# Shares of readings: no minimum; no width at fixed medial places, though a minimum; no local
# minimum; some medial places missing; the same of lateral places, all and some.
_NO_MINIMUM, _NO_MEDIAL, _NO_LOCAL, _SOME_MEDIAL = 0.01, 0.015, 0.02, 0.04
_NO_LATERAL, _SOME_LATERAL = 0.01, 0.04
_NOT_EXPECTED = 0.005  # of the readings at enrolment
_READ_AGAIN, _REPEAT_ERROR = 0.05, 0.1  # mm
_NOT_GRADED = 0.003


@dataclass(frozen=True)
class WidthReading:
    """One reading of a knee's joint space: widths in mm, None where there is none.

    `place` is that of the minimum, as `MEDIAL_PLACES`. `is_expected` is False where nobody was to
    read the X-ray. The flags say what could not be measured, as the study's tables have them.
    """

    month: int
    side: str
    project: int
    barcode: int
    minimum: float | None = None
    is_expected: bool = True
    place: float = 0.0
    medial: tuple[float | None, ...] = (None,) * len(MEDIAL_PLACES)
    lateral: tuple[float | None, ...] = (None,) * len(LATERAL_PLACES)
    condyle_width: float = 0.0  # mm
    beam_angle: float = 0.0  # degrees
    rim_distance: float = 0.0  # mm
    no_minimum: bool = False  # NOMMJSW
    no_medial: bool = False  # NOMJSWX
    no_local_minimum: bool = False  # NOLMIN
    some_medial: bool = False  # INCPLM
    no_lateral: bool = False  # NOLJSWX
    some_lateral: bool = False  # INCPLL
    bone_on_bone: bool = False  # MJSWBB


@dataclass(frozen=True)
class GradeReading:
    """One reading of a knee's grades; None where the X-ray could not be graded."""

    month: int
    side: str
    barcode: int
    kl: int | None = None
    medial: float | None = None
    lateral: int | None = None
    project: int = GRADING


def width_readings(
    rng: np.random.Generator, knee: PhantomKnee, person: int, visits: Collection[int]
) -> Iterator[WidthReading]:
    """The readings of a knee: none, one, or one of each of two projects at a visit.

    `visits` are the months at which the person came.
    """
    is_read_again = rng.random() < _READ_AGAIN
    joint = _Joint.draw(rng)
    for month, width in zip(knee.months, knee.jsw, strict=True):
        first, again = joint.read(rng, knee, person, month, width)
        if month not in visits or not has_x_ray(knee, month):
            continue
        yield first
        # the project that reads again took X-rays of the first two visits
        if is_read_again and month <= 12:
            yield again


def has_x_ray(knee: PhantomKnee, month: int) -> bool:
    """Tell whether a knee's X-ray is read: one that was replaced is not, but for a few, once.

    Nor is one after 48 months of a knee that was end-stage then.
    """
    if month > _LAST_OF_GRADING and knee.is_end_stage:
        return False
    replaced = knee.replacement
    if not replaced.is_done(month):
        return True
    earlier = max((visit for visit in X_RAY_MONTHS if visit < month), default=0)
    is_first_after = not replaced.is_done(earlier)
    return replaced.read_after and is_first_after


@dataclass(frozen=True)
class _Joint:
    """What is the same in all readings of a knee."""

    place: float
    curvature: float  # how fast the medial space widens beside its minimum, mm per width squared
    lateral: float  # width of the lateral space, mm
    condyle_width: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Joint:
        return cls(
            place=float(rng.uniform(0.16, 0.26)),
            curvature=float(rng.uniform(60, 130)),
            lateral=float(np.clip(rng.normal(6.3, 0.9), 3.5, 9)),
            condyle_width=round(float(rng.normal(92, 5)), 2),
        )

    def read(
        self, rng: np.random.Generator, knee: PhantomKnee, person: int, month: int, width: float
    ) -> tuple[WidthReading, WidthReading]:
        """The reading of an X-ray by the longitudinal project, and the one that repeats it."""
        failed = rng.random(7)
        errors = rng.normal(0, 0.05, len(MEDIAL_PLACES) + len(LATERAL_PLACES))
        shift, beam, rim = rng.normal(0, 1, 3)
        repeated = max(0.0, round(width + float(rng.normal(0, _REPEAT_ERROR)), 3))
        is_expected = bool(month > 0 or failed[0] >= _NOT_EXPECTED)
        has_minimum = is_expected and bool(failed[1] >= _NO_MINIMUM)
        has_medial = has_minimum and bool(failed[2] >= _NO_MEDIAL)
        has_lateral = is_expected and bool(failed[3] >= _NO_LATERAL)
        some_medial = has_medial and bool(failed[4] < _SOME_MEDIAL)
        some_lateral = has_lateral and bool(failed[5] < _SOME_LATERAL)
        place = round(self.place + 0.008 * float(shift), 3)
        medial = self._medial(width, place, errors, some_medial)
        lateral = self._lateral(errors[len(MEDIAL_PLACES) :], some_lateral)
        first = WidthReading(
            month=month,
            side=knee.side,
            project=LONGITUDINAL,
            barcode=person + _VISITS[month],
            minimum=width if has_minimum else None,
            is_expected=is_expected,
            place=place,
            medial=medial if has_medial else WidthReading.medial,
            lateral=lateral if has_lateral else WidthReading.lateral,
            condyle_width=self.condyle_width,
            beam_angle=round(10 + 1.5 * float(beam), 2),
            rim_distance=round(max(0.0, 3 + float(rim)), 2),
            no_minimum=is_expected and not has_minimum,
            no_medial=is_expected and not has_medial,
            no_local_minimum=has_minimum and bool(failed[6] < _NO_LOCAL),
            some_medial=some_medial,
            no_lateral=is_expected and not has_lateral,
            some_lateral=some_lateral,
            bone_on_bone=has_minimum and width == 0,
        )
        again = WidthReading(
            month=month,
            side=knee.side,
            project=REPEATED,
            barcode=first.barcode,
            minimum=repeated,
            place=place,
            medial=self._medial(repeated, place, -errors, False),
            lateral=self._lateral(-errors[len(MEDIAL_PLACES) :], False),
            condyle_width=self.condyle_width,
            beam_angle=first.beam_angle,
            rim_distance=first.rim_distance,
            bone_on_bone=repeated == 0,
        )
        return first, again

    def _medial(
        self, width: float, place: float, errors: Array, is_incomplete: bool
    ) -> tuple[float | None, ...]:
        """The widths at `MEDIAL_PLACES`, none less than the minimum; the outer ones may lack."""
        widths: list[float | None] = []
        for x, error in zip(MEDIAL_PLACES, errors[: len(MEDIAL_PLACES)], strict=True):
            wider = self.curvature * (x - place) ** 2 + abs(float(error))
            widths.append(round(width + wider, 3))
        return (*widths[:5], None, None) if is_incomplete else tuple(widths)

    def _lateral(self, errors: Array, is_incomplete: bool) -> tuple[float | None, ...]:
        """The widths at `LATERAL_PLACES`, of which the inner ones may lack."""
        widths: list[float | None] = []
        for x, error in zip(LATERAL_PLACES, errors, strict=True):
            widths.append(round(self.lateral - 40 * (x - 0.79) ** 2 + float(error), 3))
        return (None, None, *widths[2:]) if is_incomplete else tuple(widths)


def grade_readings(
    rng: np.random.Generator, knee: PhantomKnee, person: int, visits: Collection[int]
) -> Iterator[GradeReading]:
    """The grades of a knee at each visit, of `visits` at which the person came.

    Then those of the project that grades the late ones, of its X-rays before.
    """
    read = []
    for month in knee.months:
        is_graded = bool(rng.random() >= _NOT_GRADED)
        if month not in visits or not has_x_ray(knee, month):
            continue
        project = GRADING if month <= _LAST_OF_GRADING else EXTENSION
        read.append(_graded(knee, person, month, project, is_graded))
    yield from read
    if any(reading.project == EXTENSION for reading in read):
        for reading in read:
            if reading.month in (0, _LAST_OF_GRADING):
                is_graded = bool(rng.random() >= _NOT_GRADED)
                yield _graded(knee, person, reading.month, EXTENSION, is_graded)


def _graded(
    knee: PhantomKnee, person: int, month: int, project: int, is_graded: bool
) -> GradeReading:
    grades = knee.grades
    return GradeReading(
        month=month,
        side=knee.side,
        barcode=person + _VISITS[month],
        kl=grades.kl_at(month) if is_graded else None,
        medial=grades.medial_at(month) if is_graded else None,
        lateral=grades.lateral if is_graded else None,
        project=project,
    )
