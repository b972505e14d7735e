"""A synthetic cohort's tables in the form of the study's ASCII release.

Pipe-delimited, CRLF, `code: label` for categories, `.A: Not Expected` and the like for missing
values, a blank for a score that could not be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oatools.core.files import write_bytes
from oatools.phantom.people import Patient, PhantomKnee
from oatools.phantom.replacement import next_contact, previous_contact
from oatools.phantom.tables import Record, Scores, by_side
from oatools.phantom.xrays import LONGITUDINAL, GradeReading, WidthReading

_XRAY = Path("X-Ray Image Assessments_ASCII")
# Months of the visits with X-rays, and their numbers as names of files and columns have them.
_VISITS = {0: "00", 12: "01", 24: "03", 36: "05", 48: "06", 72: "08", 96: "10"}
_SIDE = {"right": "1: Right", "left": "2: Left"}
_RACE = ("0: Other Non-white", "1: White or Caucasian", "2: Black or African American", "3: Asian")
_COHORT = ("", "1: Progression", "2: Incidence", "3: Non-exposed control group")
# Months of all contacts, and how outcomes name them.
_CONTACTS = {
    0: "0: Baseline",
    12: "1: 12-month",
    18: "2: 18-month",
    24: "3: 24-month",
    30: "4: 30-month",
    36: "5: 36-month",
    48: "6: 48-month",
    60: "7: 60-month",
    72: "8: 72-month",
    84: "9: 84-month",
    96: "10: 96-month",
    108: "11: 108-month",
}
_MISSING, _NOT_EXPECTED, _TECHNICAL = ".M: Missing", ".A: Not Expected", ".T: Technical problems"
# Readings of nobody, from which the columns of a table without rows are taken.
_NO_WIDTH, _NO_GRADE = WidthReading(0, "right", LONGITUDINAL, 0), GradeReading(0, "right", 0)

Row = dict[str, str]


def write_ascii(folder: Path, records: Sequence[Record]) -> None:
    """Write Enrollees, AllClinical00, Outcomes99, and widths and grades at each visit."""
    _write(folder / "General_ASCII/Enrollees.txt", [_enrollee(r.patient) for r in records])
    _write(folder / "AllClinical_ASCII/AllClinical00.txt", [_clinical(r) for r in records])
    _write(folder / "Outcomes_ASCII/Outcomes99.txt", [_outcomes(r) for r in records])
    for month in records[0].months:
        visit = _VISITS[month]
        widths, grades = [_width("", visit, _NO_WIDTH)], [_grade("", visit, _NO_GRADE)]
        for record in records:
            person = record.patient.subject
            widths += [_width(person, visit, w) for w in record.widths if w.month == month]
            grades += [_grade(person, visit, g) for g in record.grades if g.month == month]
        widths_path = folder / _XRAY / f"Quant JSW_ASCII/kxr_qjsw_duryea{visit}.txt"
        grades_path = folder / _XRAY / f"Semi-Quant Scoring_ASCII/kxr_sq_bu{visit}.txt"
        _write(widths_path, widths[1:], header=list(widths[0]))
        _write(grades_path, grades[1:], header=list(grades[0]))


def _write(path: Path, rows: Sequence[Row], header: Sequence[str] = ()) -> None:
    """Write a table; of a small cohort it may have no rows, and then needs its header."""
    lines = ["|".join(header or rows[0]), *("|".join(row.values()) for row in rows)]
    text = "".join(f"{line}\r\n" for line in lines)
    write_bytes(path, text.encode("latin-1"))


def _yes(value: bool) -> str:
    return "1: Yes" if value else "0: No"


def _flag(value: bool) -> str:
    return "1" if value else "0"


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


def _clinical(record: Record) -> Row:
    p = record.patient
    row = {
        "ID": p.subject,
        "VERSION": "0.2.2",
        "V00AGE": str(p.age),
        "P01BMI": f"{p.bmi:.1f}" if record.has_weight else _MISSING,
        "P01HEIGHT": f"{p.height:.1f}" if record.has_height else _MISSING,
        "P01WEIGHT": f"{p.weight:.1f}" if record.has_weight else _MISSING,
    }
    for knee in by_side(p):
        row |= _knee_scores(knee, record.scores[knee.side])
    return row


def _knee_scores(knee: PhantomKnee, scores: Scores) -> Row:
    letter = knee.side[0].upper()
    return {
        f"V00WOMKP{letter}": "" if scores.pain is None else str(scores.pain),
        f"V00WOMSTF{letter}": str(scores.stiffness),
        f"V00WOMADL{letter}": str(scores.function),
        f"V00WOMTS{letter}": "" if scores.total is None else str(scores.total),
        f"V00KOOSKP{letter}": f"{scores.koos_pain:g}",
        f"V00KOOSYM{letter}": f"{scores.koos_symptoms:g}",
        f"P01INJ{letter}": ".D: Don't Know" if scores.injured is None else _yes(scores.injured),
        f"P01KSURG{letter}": _yes(scores.operated),
        f"P01KRS{letter}": _yes(knee.replacement.before),
    }


def _outcomes(record: Record) -> Row:
    last = _CONTACTS[record.attendance.last]
    row = {"id": record.patient.subject, "version": "14", "V99RNTCNT": last}
    for knee in by_side(record.patient):
        row |= _replacement(record, knee)
    return row | _death(record) if record.tells_deaths else row


def _death(record: Record) -> Row:
    """What is known of a person's death; the wording of the code is no quotation."""
    attendance = record.attendance
    if attendance.death is None:
        return dict.fromkeys(("V99EDDCF", "V99EDDDATE", "V99EDDVSPR"), _NOT_EXPECTED)
    return {
        "V99EDDCF": "2: Death adjudicated, confirmed",
        "V99EDDDATE": f"{attendance.date_of_death(record.patient.examined):%m/%d/%Y}",
        "V99EDDVSPR": _CONTACTS[attendance.last],
    }


def _replacement(record: Record, knee: PhantomKnee) -> Row:
    letter, replaced = knee.side[0].upper(), record.replacements[knee.side]
    contacts = record.attendance.contacts
    row = {
        f"V99E{letter}KBLRP": _yes(replaced.before),
        f"V99E{letter}KDATE": _NOT_EXPECTED,
        f"V99E{letter}KDAYS": _NOT_EXPECTED,
        f"V99E{letter}KRPCF": _NOT_EXPECTED,
        f"V99E{letter}KTLPR": _NOT_EXPECTED,
        f"V99E{letter}KVSRP": _NOT_EXPECTED,
        f"V99E{letter}KVSPR": _NOT_EXPECTED,
        f"V99E{letter}KVSAF": _NOT_EXPECTED,
    }
    if replaced.day is None:
        return row
    confirmed = "3: Replacement adjudicated, confirmed"
    failed = "0: Replacement adjudcated,failed to confirm"  # the misspelling is the study's
    after = _CONTACTS[next_contact(replaced.day, contacts)]
    return {
        f"V99E{letter}KBLRP": _yes(False),
        f"V99E{letter}KDATE": f"{replaced.date(record.patient.examined):%m/%d/%Y}",
        f"V99E{letter}KDAYS": str(replaced.day),
        f"V99E{letter}KRPCF": confirmed if replaced.confirmed else failed,
        f"V99E{letter}KTLPR": "2: Partial" if replaced.partial else "1: Total",
        f"V99E{letter}KVSRP": after,
        f"V99E{letter}KVSPR": _CONTACTS[previous_contact(replaced.day, contacts)],
        f"V99E{letter}KVSAF": after,
    }


def _width(person: str, visit: str, w: WidthReading) -> Row:
    v = f"V{visit}"
    if w.minimum is not None:
        minimum, place = f"{w.minimum:.3f}", f"{w.place:.3f}"
    else:
        minimum = place = _TECHNICAL if w.is_expected else _NOT_EXPECTED
    medial = [_fixed(width, w.is_expected) for width in w.medial]
    lateral = [_fixed(width, w.is_expected) for width in w.lateral]
    return {
        "ID": person,
        "SIDE": _SIDE[w.side],
        "READPRJ": str(w.project),
        "VERSION": "0.6",
        f"{v}INCPLM": _flag(w.some_medial),
        f"{v}NOMJSWX": _flag(w.no_medial),
        f"{v}NOMMJSW": _flag(w.no_minimum),
        f"{v}NOLMIN": _flag(w.no_local_minimum),
        f"{v}MJSWBB": _flag(w.bone_on_bone),
        f"{v}TPCFDS": f"{w.rim_distance:.2f}",
        f"{v}IMPIXSZ": "0.1",
        f"{v}BMANG": f"{w.beam_angle:.2f}",
        f"{v}MCMJSW": minimum,
        f"{v}XMJSW": place,
        f"{v}INCSTPS": "0",
        f"{v}CFWDTH": f"{w.condyle_width:.2f}",
        f"{v}JSW150": medial[0],
        f"{v}JSW175": medial[1],
        f"{v}JSW200": medial[2],
        f"{v}JSW225": medial[3],
        f"{v}JSW250": medial[4],
        f"{v}JSW275": medial[5],
        f"{v}JSW300": medial[6],
        f"{v}NOLJSWX": _flag(w.no_lateral),
        f"{v}LTPMEBE": "0",
        f"{v}INCPLL": _flag(w.some_lateral),
        f"{v}LJSW700": lateral[0],
        f"{v}LJSW725": lateral[1],
        f"{v}LJSW750": lateral[2],
        f"{v}LJSW775": lateral[3],
        f"{v}LJSW800": lateral[4],
        f"{v}LJSW825": lateral[5],
        f"{v}LJSW850": lateral[6],
        f"{v}LJSW875": lateral[7],
        f"{v}LJSW900": lateral[8],
        f"{v}BARCDJD": f"0166{w.barcode:08d}",
    }


def _fixed(width: float | None, is_expected: bool) -> str:
    if width is not None:
        return f"{width:.3f}"
    return _TECHNICAL if is_expected else _NOT_EXPECTED


def _grade(person: str, visit: str, g: GradeReading) -> Row:
    v = f"V{visit}"
    return {
        "ID": person,
        "SIDE": _SIDE[g.side],
        "READPRJ": str(g.project),
        "VERSION": "0.6",
        f"{v}BARCDBU": f"0166{g.barcode:08d}",
        f"{v}XRKL": _graded(g.kl),
        f"{v}XRJSM": _graded(g.medial),
        f"{v}XRJSL": _graded(g.lateral),
    }


def _graded(grade: float | None) -> str:
    """A grade as `2: 2`, or one with a part of a grade as `1.4`."""
    if grade is None:
        return _TECHNICAL
    return f"{grade:g}: {grade:g}" if grade == int(grade) else f"{grade:.1f}"
