"""The radiographic grades of a knee over seven years: one history, whichever visits a study has.

At enrolment KL grades are distributed as in the study (3,237, 1,513, 2,211, 1,140 and 260 of 8,361
knees), and OARSI grades of medial narrowing follow them. A planted progressor loses a grade of
medial joint space, and rises by one of Kellgren and Lawrence, at 12, 24 or 30 months: the faster
its width shrinks, the earlier. In a cohort with the study's prevalence that gives the study's
counts at 12 months: 370 of 8,361 knees lose a grade of joint space, 520 rise by one of KL. By 30
months all progressors have, and no other knee. From 36 months on others follow, those with larger
findings in their images more often. So a reader of the image can do as well for grades lost by 30
months as for the widths of the first year.

Where times are planted, those of a first grade of KL and of medial joint space follow proportional
hazards of their own, with the same log hazard ratio as narrowing by width, such that they come
within a year in as many knees, for each that narrows, as in the study (`KL_SHARE`, `MEDIAL_SHARE`).
Their scores are correlated with that of the width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
# The least latent value of KL 1, 2, 3 and 4. In a cohort with the study's prevalence `latent_kl`
# has mean 0.033 and deviation 0.999; these are its quantiles at the study's shares.
_KL_STEPS = (-0.254, 0.204, 0.997, 1.896)
# Fractions of the progressors that have lost a grade of joint space, or risen by one of KL: at 12
# and 24 months. 370 of 8,361 knees are 0.316 of 14 %; not all can rise by one of KL.
_MEDIAL_BY, _KL_BY = (0.316, 0.75), (0.49, 0.85)
# Months of a first loss in other knees, and its probability by then where the finding is largest.
_LATE = ((36, 0.06), (48, 0.12), (60, 0.25), (84, 0.40))
_LATERAL = 0.08  # the share of knees of KL 1 or more that are narrow at the outside, too
_PARTIAL = (0.2, 0.4, 0.6, 0.8)
# With planted times: knees of the study that rise by one of KL, and that lose a grade of joint
# space, within a year, for each that narrows; correlation with the width's score; the share of the
# knees that lose a part of the next grade a year after the first.
KL_SHARE, MEDIAL_SHARE = 520 / 8361 / 0.14, 370 / 8361 / 0.14
_SCORE_CORRELATION = 0.7
_PART = 0.5


@dataclass(frozen=True)
class Grades:
    """A knee's grades at enrolment, and the months at which it loses one.

    `partial` is the part of a grade of medial joint space, 0 for none, that is lost from
    `partial_from` months on until a whole grade is: the next after `partial_after` grades.
    """

    kl: int
    medial: int
    lateral: int
    kl_losses: tuple[float, ...] = ()
    medial_losses: tuple[float, ...] = ()
    partial: float = 0.0
    partial_from: float = 12
    partial_after: int = 0

    def kl_at(self, month: int) -> int:
        """The grade of Kellgren and Lawrence, 0 to 4."""
        return min(4, self.kl + sum(month >= loss for loss in self.kl_losses))

    def medial_at(self, month: int) -> float:
        """The OARSI grade of medial narrowing, 0 to 3, with parts of a grade."""
        whole = self.medial + sum(month >= loss for loss in self.medial_losses)
        if whole != self.medial + self.partial_after or month < self.partial_from:
            return min(3, whole)
        return whole + self.partial


def latent_kl(progressor: bool, width: float, error: float) -> float:
    """The latent value behind a KL grade, from the width at enrolment (mm) and a normal error."""
    return 0.4 * progressor - 0.4 * (width - 4.3) + error


def kl_of(latent: float) -> int:
    """The KL grade, 0 to 4, of a latent value."""
    return sum(latent >= step for step in _KL_STEPS)


def draw_grades(
    rng: np.random.Generator, kl: int, progressor: bool, pace: float, finding: float
) -> Grades:
    """Draw the history of a knee from its KL grade at enrolment.

    `pace` is `Course.pace`, `finding` the size of the finding of narrowing in the image, 0 to 1.
    """
    has_more, late, error = rng.random(), rng.random(), float(rng.standard_normal())
    medial = _medial_at_enrolment(kl, has_more)
    lateral = int(kl >= 1 and rng.random() < _LATERAL)
    amount, with_part = float(rng.choice(_PARTIAL)), rng.random()
    if progressor:
        rank = _NORMAL.cdf(0.7 * _NORMAL.inv_cdf(pace) + 0.714 * error)
        medial_losses = _losses(rank, _MEDIAL_BY)
        kl_losses, first_part, share = _losses(rank, _KL_BY), 12, 0.5
        medial = min(2, medial)  # there is a grade left to lose
    else:
        medial_losses = kl_losses = _late_losses(late, finding)
        first_part, share = 24, 0.03
    return Grades(
        kl=kl,
        medial=medial,
        lateral=lateral,
        kl_losses=kl_losses if kl < 4 else (),
        medial_losses=medial_losses if medial < 3 else (),
        partial=amount if 1 <= medial <= 2 and with_part < share else 0.0,
        partial_from=first_part,
    )


def related_score(rng: np.random.Generator, score: float) -> float:
    """Draw the score, standard normal, of a grade's time from that of the width's."""
    own = float(rng.standard_normal())
    return _SCORE_CORRELATION * score + math.sqrt(1 - _SCORE_CORRELATION**2) * own


def draw_planted_grades(
    rng: np.random.Generator, kl: int, kl_time: float, medial_time: float
) -> Grades:
    """Draw the history of a knee from its KL grade at enrolment and the months of a first loss.

    A second grade is lost two years and twice the time after the first. Parts of a grade are lost
    after a whole one alone: a part counts as a loss for some, and the time is that of a first loss.
    """
    has_more, with_lateral, with_part = rng.random(3)
    amount = float(rng.choice(_PARTIAL))
    medial = _medial_at_enrolment(kl, has_more)
    return Grades(
        kl=kl,
        medial=medial,
        lateral=int(kl >= 1 and with_lateral < _LATERAL),
        kl_losses=(kl_time, 3 * kl_time + 24) if kl < 4 else (),
        medial_losses=(medial_time, 3 * medial_time + 24) if medial < 3 else (),
        partial=amount if medial <= 1 and with_part < _PART else 0.0,
        partial_from=medial_time + 12,
        partial_after=1,
    )


def _medial_at_enrolment(kl: int, has_more: float) -> int:
    """The grade of medial narrowing that goes with a KL grade; some have one more."""
    least, share_with_more = {0: (0, 0.0), 1: (0, 0.1), 2: (0, 0.4), 3: (1, 0.6), 4: (2, 0.9)}[kl]
    return least + (has_more < share_with_more)


def _losses(rank: float, by: tuple[float, float]) -> tuple[int, ...]:
    """When a progressor loses a grade; the earliest lose another at 60 months."""
    if rank < by[0]:
        return 12, 60
    return (24,) if rank < by[1] else (30,)


def _late_losses(late: float, finding: float) -> tuple[int, ...]:
    """When a knee that is no progressor loses a grade, if it does."""
    for month, probability in _LATE:
        if late < probability * finding:
            return (month,)
    return ()
