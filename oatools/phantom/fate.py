"""What becomes of a knee after enrolment: widths, grades, a replacement, and the times behind them.

Without a follow-up it is planted whether the joint space narrows within a year (`course`). With one
the time is: proportional hazards of the knee's severity (`hazards`), and others for the grades and
the replacement. What is to be seen at enrolment hangs on the severity alone then, so that nothing
tells more of the time than the image does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oatools.phantom.course import X_RAY_MONTHS, draw_course, draw_followed, followed_widths
from oatools.phantom.grades import (
    KL_SHARE,
    MEDIAL_SHARE,
    Grades,
    draw_grades,
    draw_planted_grades,
    related_score,
)
from oatools.phantom.hazards import Hazard, hazard_for, log_level
from oatools.phantom.replacement import (
    Replacement,
    draw_planted,
    draw_replacement,
    linear_predictor,
)


@dataclass(frozen=True)
class Hazards:
    """The hazards of first losses: of half a millimetre, and of a grade."""

    jsn: Hazard
    kl: Hazard
    medial: Hazard


@dataclass(frozen=True)
class Times:
    """The planted months of a knee's events, seen or not, and the log hazard ratios of two."""

    jsn: float
    kl: float
    medial: float
    replacement: float
    jsn_ratio: float
    replacement_ratio: float


@dataclass(frozen=True)
class Fate:
    """What becomes of a knee; `jsw` are its widths, mm, at the first of `course.X_RAY_MONTHS`."""

    jsw: tuple[float, ...]
    grades: Grades
    replacement: Replacement
    times: Times | None = None


def hazards_of(progressors: float, auc: float) -> Hazards:
    """The hazards of a cohort, by its share of knees that narrow within a year and the best AUC."""
    jsn = hazard_for(progressors, auc)
    kl, medial = KL_SHARE * progressors, MEDIAL_SHARE * progressors
    return Hazards(
        jsn, kl=Hazard(jsn.b, log_level(kl, jsn.b)), medial=Hazard(jsn.b, log_level(medial, jsn.b))
    )


def draw_fate(
    rng: np.random.Generator, progressor: bool, baseline: float, kl: int, finding: float
) -> Fate:
    """Draw what becomes of a knee of which the outcome of the first year is planted.

    From its width (mm) and KL grade at enrolment, and the size of the finding in its image.
    """
    # The order of these draws decides every phantom.
    course = draw_course(rng, progressor)
    grades = draw_grades(rng, kl, progressor, course.pace, finding)
    return Fate(course.widths(baseline), grades, draw_replacement(rng, kl))


def draw_followed_fate(
    rng: np.random.Generator,
    hazards: Hazards,
    score: float,
    severity: float,
    baseline: float,
    kl: int,
    until: int,
) -> Fate:
    """Draw what becomes of a knee of this score (see `Hazard.time`), with widths until a month."""
    narrowed = hazards.jsn.time(severity, score)
    rises = hazards.kl.time(severity, related_score(rng, score))
    loses = hazards.medial.time(severity, related_score(rng, score))
    widths = followed_widths(baseline, draw_followed(rng, narrowed))
    grades = draw_planted_grades(rng, kl, rises, loses)
    ratio = linear_predictor(severity, kl)
    time, replacement = draw_planted(rng, ratio)
    return Fate(
        jsw=widths[: sum(month <= until for month in X_RAY_MONTHS)],
        grades=grades,
        replacement=replacement,
        times=Times(
            jsn=narrowed,
            kl=rises,
            medial=loses,
            replacement=time,
            jsn_ratio=hazards.jsn.b * severity,
            replacement_ratio=ratio,
        ),
    )
