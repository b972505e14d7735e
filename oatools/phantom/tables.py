"""A synthetic cohort's clinical and reading tables, in the form of the study's ASCII release.

Pipe-delimited, CRLF, `code: label` for categories, `.A: Not Expected` and the like for missing
values, a blank for a score that could not be computed. As in the study, not everything is there:
about one knee in twenty lacks a reading or a score, and one in twenty was read by two projects that
disagree by a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from oatools.core.files import atomic
from oatools.phantom.people import Patient, PhantomKnee, PhantomSettings, stream

READING_PROJECT, SECOND_PROJECT = "16", "18"
_XRAY = Path("X-Ray Image Assessments_ASCII")
# Visits with a joint space width, as numbers, in the order of `PhantomKnee.jsw`.
_VISITS = ("00", "01", "03")
_SIDE = {"right": "1: Right", "left": "2: Left"}
_RACE = ("0: Other Non-white", "1: White or Caucasian", "2: Black or African American", "3: Asian")
_COHORT = ("", "1: Progression", "2: Incidence", "3: Non-exposed control group")
_MISSING, _NOT_EXPECTED, _TECHNICAL = ".M: Missing", ".A: Not Expected", ".T: Technical problems"

Row = dict[str, str]


def write_tables(folder: Path, settings: PhantomSettings, patients: Sequence[Patient]) -> None:
    """Write Enrollees, AllClinical00, the widths at 0, 12 and 24 months, and the KL grades."""
    enrollees = [_enrollee(patient) for patient in patients]
    clinical = [_clinical(settings, patient) for patient in patients]
    _write(folder / "General_ASCII/Enrollees.txt", enrollees)
    _write(folder / "AllClinical_ASCII/AllClinical00.txt", clinical)
    for visit in _VISITS:
        widths: list[Row] = []
        for patient in patients:
            widths += _joint_space(settings, patient, visit)
        _write(folder / _XRAY / "Quant JSW_ASCII" / f"kxr_qjsw_duryea{visit}.txt", widths)
    grades = []
    for patient in patients:
        grades += [_grade(patient, knee) for knee in _by_side(patient)]
    _write(folder / _XRAY / "Semi-Quant Scoring_ASCII/kxr_sq_bu00.txt", grades)


def _write(path: Path, rows: Sequence[Row]) -> None:
    lines = ["|".join(rows[0]), *("|".join(row.values()) for row in rows)]
    text = "".join(f"{line}\r\n" for line in lines)
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("latin-1"))


def _by_side(patient: Patient) -> Iterable[PhantomKnee]:
    return reversed(patient.knees)  # right is coded 1


def _yes(value: bool) -> str:
    return "1: Yes" if value else "0: No"


def _enrollee(p: Patient) -> Row:
    return {
        "ID": p.subject,
        "VERSION": "25",
        "V00COHORT": _COHORT[p.cohort],
        "V00SITE": p.site,
        "V00CHRTHLF": "2: Second half of cohort",
        "V00EVDATE": f"{p.examined:%m/%d/%Y}",
        "P02SEX": "2: Female" if p.female else "1: Male",
        "P02RACE": _RACE[p.race],
        "P02HISP": "0: No",
    }


def _clinical(settings: PhantomSettings, p: Patient) -> Row:
    rng = stream(settings, p.index, 3)
    unweighed = rng.random() < 0.01
    row = {
        "ID": p.subject,
        "VERSION": "0.2.2",
        "V00AGE": str(p.age),
        "P01BMI": _MISSING if unweighed else f"{p.bmi:.1f}",
        "P01HEIGHT": f"{p.height:.1f}",
        "P01WEIGHT": _MISSING if unweighed else f"{p.weight:.1f}",
    }
    for knee in _by_side(p):
        row |= _knee_scores(rng, knee)
    return row


def _knee_scores(rng: np.random.Generator, knee: PhantomKnee) -> Row:
    letter = knee.side[0].upper()
    pain, stiffness, function = knee.womac
    scored = rng.random() >= 0.01
    remembers = rng.random() >= 0.01
    return {
        f"V00WOMKP{letter}": str(pain) if scored else "",
        f"V00WOMSTF{letter}": str(stiffness),
        f"V00WOMADL{letter}": str(function),
        f"V00WOMTS{letter}": str(pain + stiffness + function) if scored else "",
        f"P01INJ{letter}": _yes(knee.injured) if remembers else ".D: Don't Know",
        f"P01KSURG{letter}": _yes(knee.operated),
        f"P01KRS{letter}": _yes(False),
    }


def _joint_space(settings: PhantomSettings, p: Patient, visit: str) -> list[Row]:
    """The readings of a person's knees at a visit: none, one, or one of each of two projects."""
    rows = []
    for number, knee in enumerate(_by_side(p)):
        # the same stream at every visit, so that a knee's gaps agree between the visits' tables
        rng = stream(settings, p.index, 4 + number)
        gap = rng.random()
        was_read_twice = rng.random() < 0.05
        offset = round(float(rng.normal(0, 0.2)), 3)
        if (gap < 0.01 and visit == "01") or (gap < 0.03 and visit == "03"):
            continue  # did not come back
        width = knee.jsw[_VISITS.index(visit)]
        rows.append(_reading(p, knee, visit, READING_PROJECT, _width_cell(width, gap, visit)))
        # the second project stopped after the first year
        if was_read_twice and visit != "03":
            second = f"{max(0.0, width + offset):.3f}"
            rows.append(_reading(p, knee, visit, SECOND_PROJECT, second))
    return rows


def _width_cell(width: float, gap: float, visit: str) -> str:
    """A width as its table states it, or why it is missing."""
    if 0.03 <= gap < 0.04 and visit == "00":
        return _NOT_EXPECTED
    if 0.04 <= gap < 0.05 and visit == "01":
        return _TECHNICAL
    return f"{width:.3f}"


def _reading(p: Patient, knee: PhantomKnee, visit: str, project: str, value: str) -> Row:
    unmeasured = "0" if value[0].isdigit() else "1"
    return {
        "ID": p.subject,
        "SIDE": _SIDE[knee.side],
        "READPRJ": project,
        "VERSION": "0.6",
        f"V{visit}BARCDJD": f"0166{int(p.subject) % 10_000_000 + int(visit):08d}",
        f"V{visit}MCMJSW": value,
        f"V{visit}NOMJSWX": unmeasured,
        f"V{visit}NOMMJSW": unmeasured,
        f"V{visit}NOLJSWX": "0",
        f"V{visit}MJSWBB": "0",
    }


def _grade(p: Patient, knee: PhantomKnee) -> Row:
    narrowing = int(min(3, max(0, knee.kl - 1)))
    return {
        "ID": p.subject,
        "SIDE": _SIDE[knee.side],
        "READPRJ": "15",
        "VERSION": "0.6",
        "V00BARCDBU": f"0166{int(p.subject) % 10_000_000:08d}",
        "V00XRKL": f"{knee.kl}: {knee.kl}",
        "V00XRJSM": f"{narrowing}: {narrowing}",
        "V00XRJSL": "0: 0",
    }
