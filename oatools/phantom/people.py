"""The people of a synthetic cohort: who they are, how their knees fare, and what their images are made to show.

Findings are planted by the binormal model. For either endpoint a knee's severity is d * outcome +
N(0, 1) with d = sqrt(2) * Phi^-1(AUC), so that the observer who reads the severity off the image
without error, the best there can be, reaches exactly the stated area under the ROC curve in the
limit of many knees. The finding's size is a strictly increasing function of the severity. Outcome
and severity of a person's two knees are correlated, the marginal distributions are not changed by
it.

Every person has a random stream of their own, made from the seed and the person's number: the first
hundred people of a cohort of a thousand are the cohort of a hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np

from oatools.phantom.anatomy import Knee, Point, random_knee

SIDES = ("left", "right")
MAX_PATIENTS = 20_000
KNEE_CORRELATION = 0.3
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Settings:
    """Everything that a synthetic release depends on."""

    patients: int
    seed: int = 0
    sequences: tuple[str, ...] = ("cor-iw-tse", "sag-iw-tse", "sag-3d-dess")
    matrix: int = 384
    progressors: float = 0.3
    painful: float = 0.4
    jsn_auc: float = 0.95
    pain_auc: float = 0.95


@dataclass(frozen=True)
class PhantomKnee:
    """One knee at enrolment: the outcomes, the planted severities, the readings, the anatomy and its scan."""

    subject: str
    side: str
    progressor: bool
    painful: bool
    jsn_severity: float
    pain_severity: float
    jsw: tuple[float, float, float]  # minimum medial joint space width at 0, 12 and 24 months, mm
    womac: tuple[int, int, int]  # pain 0-20, stiffness 0-8, function 0-68
    kl: int
    injured: bool
    operated: bool
    anatomy: Knee
    scan_centre: Point  # as Knee.centre
    scan_turn: float  # degrees, see series.grid

    @property
    def name(self) -> str:
        """The knee's token in tables, such as 9000037_00m_left."""
        return f"{self.subject}_00m_{self.side}"


@dataclass(frozen=True)
class Patient:
    """One person at enrolment and both knees, left first."""

    index: int
    subject: str
    examined: date
    age: int
    female: bool
    height: float  # mm
    weight: float  # kg
    race: int  # OAI's codes
    site: str
    cohort: int
    knees: tuple[PhantomKnee, PhantomKnee]

    @property
    def bmi(self) -> float:
        """Body mass index, kg/m2, to one decimal."""
        return round(self.weight / (self.height / 1000) ** 2, 1)


def subject_id(settings: Settings, index: int) -> str:
    """The participant's id, seven digits of which the first is a 9; cohorts of neighbouring seeds share none."""
    return str(9_000_000 + 50 * index + (settings.seed + 37) % 50)


def index_of(subject: str) -> int:
    """The person's number, from the id."""
    return (int(subject) - 9_000_000) // 50


def stream(settings: Settings, index: int, purpose: int) -> np.random.Generator:
    """The random stream of a person (by number) for one purpose."""
    return np.random.default_rng([settings.seed, index, purpose])


def separation(auc: float) -> float:
    """Distance between the severity's means of the two groups that gives this AUC, in standard deviations."""
    return math.sqrt(2) * _NORMAL.inv_cdf(auc)


def visible(severity: float) -> float:
    """The finding's size, in (0, 1), strictly increasing with the severity."""
    return 1 / (1 + math.exp(-1.2 * (severity - 1.2)))


def plant(rng: np.random.Generator, prevalence: float, auc: float) -> list[tuple[bool, float]]:
    """Outcome and severity of a person's two knees."""
    shared, own = math.sqrt(KNEE_CORRELATION), math.sqrt(1 - KNEE_CORRELATION)
    liability, noise = (
        shared * rng.standard_normal() + own * rng.standard_normal(2) for _ in range(2)
    )
    outcomes = [bool(value < _NORMAL.inv_cdf(prevalence)) for value in liability]
    return [(y, separation(auc) * y + float(e)) for y, e in zip(outcomes, noise, strict=True)]


def _narrowing(rng: np.random.Generator, progressor: bool) -> float:
    """Twelve-month change of the joint space, mm: below -0.5 in progressors (mostly -0.6 to -1.1), else above."""
    if not progressor:
        lowest = NormalDist(-0.1, 0.2).cdf(-0.48)
        return NormalDist(-0.1, 0.2).inv_cdf(lowest + (0.9999 - lowest) * rng.random())
    band = rng.random()
    if band < 0.07:
        return rng.uniform(-0.6, -0.505)
    return rng.uniform(-1.1, -0.6) if band < 0.93 else rng.uniform(-1.5, -1.1)


def _joint_space(rng: np.random.Generator, progressor: bool) -> tuple[float, float, float]:
    """Joint space width at 0, 12 and 24 months, mm to three decimals as read; a little narrower in progressors."""
    baseline = float(np.clip(rng.normal(4.1 if progressor else 4.4, 1.0), 1.9, 7.5))
    first = _narrowing(rng, progressor)
    second = float(rng.normal(-0.25 if progressor else -0.1, 0.15))
    start, year = round(baseline, 3), round(round(baseline, 3) + first, 3)
    return start, year, round(max(0.0, year + second), 3)


def _womac(rng: np.random.Generator, painful: bool) -> tuple[int, int, int]:
    """WOMAC pain (2 or more if painful, else 0; 1 in one knee of twenty), stiffness and function."""
    pain = 1 if rng.random() < 0.05 else min(20, 1 + int(rng.geometric(0.3))) if painful else 0
    stiffness = int(np.clip(round(0.35 * pain + rng.normal(0.8, 0.9)), 0, 8))
    return pain, stiffness, int(np.clip(round(3.2 * pain + rng.normal(2, 3)), 0, 68))


def _anatomy(
    rng: np.random.Generator, side: str, height: float, bmi: float, jsw: float
) -> tuple[Knee, Point, float]:
    """A knee without findings that fits the person, and the centre and turn of its scan."""
    knee = random_knee(
        rng,
        side,
        size=1 + 0.5 * (height / 1700 - 1),
        fat=float(np.clip(9 + 0.4 * (bmi - 28), 4, 14)),
    )
    cartilage = float(np.clip(2.2 + 0.1 * (jsw - 4.3), 1.8, 2.45))
    turn = float(rng.normal(5, 1.5))
    knee = replace(
        knee,
        shape=replace(knee.shape, tibial_cartilage=cartilage, femoral_cartilage=cartilage),
        rotation=(knee.rotation[0], knee.rotation[1], turn + float(rng.normal(0, 1.5))),
    )
    lateral, anterior, superior = (
        c + float(np.clip(rng.normal(0, 1.2), -3, 3)) for c in knee.centre
    )
    return knee, (lateral, anterior - 2, superior), turn


def make_patient(settings: Settings, index: int) -> Patient:
    """The person with this number, counted from 0; depends on nothing but the settings and the number."""
    rng = stream(settings, index, 0)
    progress = plant(rng, settings.progressors, settings.jsn_auc)
    pain = plant(rng, settings.painful, settings.pain_auc)
    female = bool(rng.random() < 0.58)
    height = round(float(np.clip(rng.normal(1620 if female else 1760, 62), 1420, 1980)), 1)
    # heavier people progress and hurt a little more often
    bmi = float(
        np.clip(
            rng.normal(28 + 0.6 * any(y for y, _ in progress) + 0.6 * any(y for y, _ in pain), 4),
            18,
            44,
        )
    )
    subject = subject_id(settings, index)
    knees = []
    for number, (side, (progressor, jsn), (painful, ache)) in enumerate(
        zip(SIDES, progress, pain, strict=True)
    ):
        own = stream(settings, index, 1 + number)
        jsw = _joint_space(own, progressor)
        kl = int(
            np.clip(round(1.6 + 0.4 * progressor - 0.4 * (jsw[0] - 4.3) + own.normal(0, 0.9)), 0, 4)
        )
        womac, injured, operated = (
            _womac(own, painful),
            bool(own.random() < 0.3),
            bool(own.random() < 0.13),
        )
        knee, centre, turn = _anatomy(own, side, height, bmi, jsw[0])
        knee = replace(knee, progression=visible(jsn), effusion=visible(ache))
        knees.append(
            PhantomKnee(
                subject,
                side,
                progressor,
                painful,
                jsn,
                ache,
                jsw,
                womac,
                kl,
                injured,
                operated,
                knee,
                centre,
                turn,
            )
        )
    return Patient(
        index,
        subject,
        date(2004, 2, 2) + timedelta(days=int(rng.integers(0, 800))),
        int(rng.integers(45, 80)),
        female,
        height,
        round(bmi * (height / 1000) ** 2, 1),
        int(rng.choice(4, p=[0.02, 0.79, 0.18, 0.01])),
        "ABCDE"[int(rng.integers(5))],
        int(rng.choice([1, 2, 3], p=[0.29, 0.685, 0.025])),
        (knees[0], knees[1]),
    )


def make_cohort(settings: Settings) -> list[Patient]:
    """Everybody, in order."""
    return [make_patient(settings, index) for index in range(settings.patients)]
