"""The people of a synthetic cohort, their knees, and what the images are made to show.

Findings are planted by the binormal model. For either endpoint a knee's severity is d * outcome +
N(0, 1) with d = sqrt(2) * Phi^-1(AUC), so that the observer who reads the severity off the image
without error, the best there can be, reaches exactly the stated area under the ROC curve in the
limit of many knees. The finding's size is a strictly increasing function of the severity. Outcome
and severity of a person's two knees are correlated, the marginal distributions are not changed by
it.

With a follow-up the severity is standard normal, and the time to narrowing has a hazard that it
multiplies (`hazards`): the share of narrowing and the AUC are those at 12 months.

Every person has a random stream of their own, made from the seed and the person's number: the first
hundred people of a cohort of a thousand are the cohort of a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np

from oatools.phantom.anatomy import KneeModel, Point, in_coil, random_knee
from oatools.phantom.coils import COILS
from oatools.phantom.course import X_RAY_MONTHS
from oatools.phantom.fate import Fate, Times, draw_fate, draw_followed_fate, hazards_of
from oatools.phantom.grades import Grades, kl_of, latent_kl
from oatools.phantom.planting import draw_latent, plant, visible
from oatools.phantom.replacement import Replacement
from oatools.phantom.signature import SITES, draw_site

SIDES = ("left", "right")
#: What a download can look like: OAI's ASCII release, OAI in the NIMH Data Archive, or like MOST.
FORMS = ("ascii", "nda", "most")
#: What the images' bias is: a few random waves, or that of a coil of some kind.
BIASES = ("waves", *COILS, "mixed")
MAX_PATIENTS = 20_000
_FIRST_EXAMINATION = date(2004, 2, 2)


@dataclass(frozen=True)
class PhantomSettings:
    """Everything that a synthetic release depends on."""

    patients: int
    seed: int = 0
    sequences: tuple[str, ...] = ("cor-iw-tse", "sag-iw-tse", "sag-3d-dess")
    matrix: int = 384
    progressors: float = 0.3
    painful: float = 0.4
    jsn_auc: float = 0.95
    pain_auc: float = 0.95
    form: str = "ascii"  # one of `FORMS`
    bias: str = "waves"  # one of `BIASES`
    sites: int = 0  # with a scanner of their own (`signature`); 0 for sites that show nowhere
    site_odds: float = 1.0  # see `signature.draw_site`
    follow_up: int = 0  # months to the last X-ray, with planted times; 0 for 48 without


@dataclass(frozen=True)
class PhantomKnee:
    """One knee at enrolment: outcomes, planted severities, readings, anatomy and scan."""

    subject: str
    side: str
    progressor: bool
    painful: bool
    jsn_severity: float
    pain_severity: float
    jsw: tuple[float, ...]  # minimum medial joint space width, mm, see `months`
    womac: tuple[int, int, int]  # pain 0-20, stiffness 0-8, function 0-68
    grades: Grades
    replacement: Replacement
    injured: bool
    operated: bool
    anatomy: KneeModel
    scan_centre: Point  # as `KneeModel.centre`
    scan_turn: float  # degrees, see `series.grid`
    times: Times | None = None  # where they are planted

    @property
    def name(self) -> str:
        """The knee's token in tables, such as 9000037_00m_left."""
        return f"{self.subject}_00m_{self.side}"

    @property
    def months(self) -> tuple[int, ...]:
        """Months since enrolment of the X-rays, and of `jsw`."""
        return X_RAY_MONTHS[: len(self.jsw)]

    @property
    def is_end_stage(self) -> bool:
        """True where nothing is left to lose at 48 months: the study takes no X-rays after that."""
        return self.grades.kl_at(48) == 4 or self.jsw[self.months.index(48)] == 0


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


def make_people(settings: PhantomSettings) -> list[Patient]:
    """Invent everybody, in order."""
    return [make_patient(settings, index) for index in range(settings.patients)]


def make_patient(settings: PhantomSettings, index: int) -> Patient:
    """Invent the person with this number, counted from 0.

    The person depends on nothing but the settings and the number.
    """
    rng = stream(settings, index, 0)
    narrowing = _plant_narrowing(settings, rng)
    pain = plant(rng, settings.painful, settings.pain_auc)
    female = bool(rng.random() < 0.58)
    height = round(_clipped_normal(rng, 1620 if female else 1760, 62, (1420, 1980)), 1)
    # heavier people progress and hurt a little more often
    mean_bmi = 28 + 0.6 * any(n.is_marked for n in narrowing) + 0.6 * _any(pain)
    body = _Body(height, bmi=_clipped_normal(rng, mean_bmi, 4, (18, 44)))
    left, right = (
        _make_knee(settings, index, number, body, narrowing[number], pain[number])
        for number in range(len(SIDES))
    )
    # The order of these draws decides every phantom.
    return Patient(
        index=index,
        subject=subject_id(settings, index),
        examined=_FIRST_EXAMINATION + timedelta(days=int(rng.integers(0, 800))),
        age=int(rng.integers(45, 80)),
        female=female,
        height=height,
        weight=round(body.bmi * (height / 1000) ** 2, 1),
        race=int(rng.choice(4, p=[0.02, 0.79, 0.18, 0.01])),
        site=_site(settings, index, SITES[int(rng.integers(5))], narrowing),
        cohort=int(rng.choice([1, 2, 3], p=[0.29, 0.685, 0.025])),
        knees=(left, right),
    )


def subject_id(settings: PhantomSettings, index: int) -> str:
    """The participant's id, of which cohorts of neighbouring seeds share none.

    It is seven digits of which the first is a 9, or MB and five digits in the form of MOST.
    """
    if settings.form == "most":
        return f"MB{5 * index + (settings.seed + 1) % 5:05d}"
    return str(oai_number(settings, index))


def oai_number(settings: PhantomSettings, index: int) -> int:
    """The person's number in the forms of OAI."""
    return 9_000_000 + 50 * index + (settings.seed + 37) % 50


def index_of(subject: str) -> int:
    """The person's number, from the id."""
    if subject.startswith("MB"):
        return int(subject[2:]) // 5
    return (int(subject) - 9_000_000) // 50


def stream(settings: PhantomSettings, index: int, purpose: int) -> np.random.Generator:
    """The random stream of a person (by number) for one purpose.

    0 the person, 1 and 2 the knees, 10 to 19 the noise of the images, 20 and 21 what becomes of the
    knees, 22 to 25 the tables, 26 and 27 coil and mottling of the knees, 28 the site where it has a
    scanner, 29 contacts and death. 3 to 5 were used by an earlier version.
    """
    return np.random.default_rng([settings.seed, index, purpose])


@dataclass(frozen=True)
class _Narrowing:
    """What is planted of a knee's narrowing: whether it comes within a year, and the severity.

    `is_marked` tells whether the knee is at enrolment what those that narrow are: less wide, of a
    higher grade, and of a heavier person. `score` decides on the time, see `Hazard.time`.
    """

    outcome: bool
    severity: float
    is_marked: bool
    score: float = 0.0


def _plant_narrowing(settings: PhantomSettings, rng: np.random.Generator) -> list[_Narrowing]:
    """Draw what is planted in a person's two knees.

    With a follow-up the marked are those of the highest severities, as many as narrow.
    """
    if not settings.follow_up:
        planted = plant(rng, settings.progressors, settings.jsn_auc)
        return [_Narrowing(outcome, severity, outcome) for outcome, severity in planted]
    hazard = hazards_of(settings.progressors, settings.jsn_auc).jsn
    least = NormalDist().inv_cdf(1 - settings.progressors)
    return [
        _Narrowing(hazard.time(severity, score) <= 12, severity, severity > least, score)
        for score, severity in draw_latent(rng)
    ]


def _site(
    settings: PhantomSettings, index: int, plain: str, narrowing: Sequence[_Narrowing]
) -> str:
    """The person's site: one that shows nowhere, or that of a scanner."""
    if not settings.sites:
        return plain
    positives = sum(knee.outcome for knee in narrowing)
    return draw_site(stream(settings, index, 28), settings.sites, settings.site_odds, positives)


def _any(planted: list[tuple[bool, float]]) -> bool:
    return any(outcome for outcome, _ in planted)


def _clipped_normal(
    rng: np.random.Generator, mean: float, sd: float, limits: tuple[float, float]
) -> float:
    return float(np.clip(rng.normal(mean, sd), *limits))


@dataclass(frozen=True)
class _Body:
    """Height (mm) and body mass index (kg/m2) of a person."""

    height: float
    bmi: float


def _make_knee(
    settings: PhantomSettings,
    index: int,
    number: int,
    body: _Body,
    narrowing: _Narrowing,
    pain: tuple[bool, float],
) -> PhantomKnee:
    """Invent a person's knee (number 0 left, 1 right) from its planted outcomes and severities."""
    rng = stream(settings, index, 1 + number)
    painful, pain_severity = pain
    finding = visible(narrowing.severity)
    # The order of these draws decides every phantom.
    baseline = _clipped_normal(rng, 4.1 if narrowing.is_marked else 4.4, 1.0, (1.9, 7.5))
    _skip_former_draws(rng, narrowing.is_marked)
    kl = kl_of(latent_kl(narrowing.is_marked, baseline, rng.normal(0, 0.9)))
    fate = _fate(settings, stream(settings, index, 20 + number), narrowing, baseline, kl)
    womac = _womac(rng, painful)
    injured = bool(rng.random() < 0.3)
    operated = bool(rng.random() < 0.13)
    knee, centre, turn = _anatomy(rng, SIDES[number], body, fate.jsw[0])
    if settings.bias != "waves":
        knee = in_coil(knee, settings.bias, stream(settings, index, 26 + number))
    return PhantomKnee(
        subject=subject_id(settings, index),
        side=SIDES[number],
        progressor=narrowing.outcome,
        painful=painful,
        jsn_severity=narrowing.severity,
        pain_severity=pain_severity,
        jsw=fate.jsw,
        womac=womac,
        grades=fate.grades,
        replacement=fate.replacement,
        injured=injured,
        operated=operated,
        anatomy=replace(knee, progression=finding, effusion=visible(pain_severity)),
        scan_centre=centre,
        scan_turn=turn,
        times=fate.times,
    )


def _fate(
    settings: PhantomSettings,
    rng: np.random.Generator,
    narrowing: _Narrowing,
    baseline: float,
    kl: int,
) -> Fate:
    """Draw what becomes of a knee from its width (mm) and KL grade at enrolment."""
    severity = narrowing.severity
    if not settings.follow_up:
        return draw_fate(rng, narrowing.outcome, baseline, kl, visible(severity))
    hazards = hazards_of(settings.progressors, settings.jsn_auc)
    return draw_followed_fate(
        rng, hazards, narrowing.score, severity, baseline, kl, settings.follow_up
    )


def _skip_former_draws(rng: np.random.Generator, progressor: bool) -> None:
    """Draw what an earlier version drew for the change of the width.

    It comes from a stream of its own now, and the anatomies stay as they were.
    """
    rng.random(2 if progressor else 1)
    rng.standard_normal()


def _womac(rng: np.random.Generator, painful: bool) -> tuple[int, int, int]:
    """Draw WOMAC pain (2 or more if painful, else 0), stiffness and function.

    The pain is 1 in one knee of twenty.
    """
    if rng.random() < 0.05:
        pain = 1
    elif painful:
        pain = min(20, 1 + int(rng.geometric(0.3)))
    else:
        pain = 0
    stiffness = round(0.35 * pain + rng.normal(0.8, 0.9))
    function = round(3.2 * pain + rng.normal(2, 3))
    return pain, int(np.clip(stiffness, 0, 8)), int(np.clip(function, 0, 68))


def _anatomy(
    rng: np.random.Generator, side: str, body: _Body, jsw: float
) -> tuple[KneeModel, Point, float]:
    """Draw a knee without findings that fits the person, and the centre and turn of its scan."""
    size = 1 + 0.5 * (body.height / 1700 - 1)
    fat = float(np.clip(9 + 0.4 * (body.bmi - 28), 4, 14))
    knee = random_knee(rng, side, size=size, fat=fat)
    cartilage = float(np.clip(2.2 + 0.1 * (jsw - 4.3), 1.8, 2.45))
    turn = float(rng.normal(5, 1.5))
    about_x, about_y, _ = knee.rotation
    knee = replace(
        knee,
        shape=replace(knee.shape, tibial_cartilage=cartilage, femoral_cartilage=cartilage),
        rotation=(about_x, about_y, turn + float(rng.normal(0, 1.5))),
    )
    lateral, anterior, superior = (
        c + float(np.clip(rng.normal(0, 1.2), -3, 3)) for c in knee.centre
    )
    return knee, (lateral, anterior - 2, superior), turn
