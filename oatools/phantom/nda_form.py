"""A synthetic cohort's tables in the form in which the NIMH Data Archive hands OAI out.

A package has one tab-separated file for each structure, all visits in one, values in double quotes.
The second line describes the columns. Missing is blank, codes are plain numbers, and the names are
the archive's own. `oai_koos_womac01` also holds people of other studies, as there.

The structures' columns were written out by hand from published column lists. The package's own
files (`package_info.txt` and the like) have their names and no more than plausible contents. The
columns of a death are left out, as their names are not known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

from oatools.core.files import write_text
from oatools.phantom.nda_columns import COMMON, STRUCTURES
from oatools.phantom.people import PhantomKnee
from oatools.phantom.replacement import next_contact, previous_contact
from oatools.phantom.tables import Record, by_side
from oatools.phantom.xrays import GradeReading, WidthReading

_SIDE = {"right": "1", "left": "2"}
_RACE = ("Other Non-White", "White", "Black or African American", "Asian")
# Months of the visits, and their codes.
_VISITS = {0: "V00", 12: "V01", 24: "V03", 36: "V05", 48: "V06", 72: "V08", 96: "V10"}
# Months of all contacts, and their numbers in outcomes.
_CONTACTS = {
    0: "0",
    12: "1",
    18: "2",
    24: "3",
    30: "4",
    36: "5",
    48: "6",
    60: "7",
    72: "8",
    84: "9",
    96: "10",
    108: "11",
}
_TITLE = "Osteoarthritis Initiative (synthetic phantom)"
# People of another study whose rows the structure of WOMAC scores holds, too.
_STRANGERS = ("10231", "10245", "KN-0007", "KN-0019", "S1-90031")

Row = dict[str, str]


def write_nda(folder: Path, records: Sequence[Record]) -> None:
    """Write the structures of people, readings and outcomes, and the files of the package."""
    rows: dict[str, list[Row]] = {name: [] for name in STRUCTURES}
    for record in records:
        rows["oai_enrollee01"].append(_enrollee(record))
        rows["oai_koos_womac01"].append(_scores(record))
        rows["oai_oarisk01"].append(_risks(record))
        rows["oai_kxrquantjsw01"] += [_width(record, w) for w in sorted(record.widths, key=_month)]
        rows["oai_kxrsemiquant01"] += [_grade(record, g) for g in sorted(record.grades, key=_month)]
        rows["oai_outcome01"].append(_outcomes(record))
    rows["oai_koos_womac01"] += [_stranger(number, name) for number, name in enumerate(_STRANGERS)]
    texts = {
        f"{name}.txt": structure_text(name, STRUCTURES[name], found) for name, found in rows.items()
    }
    texts["package_info.txt"] = "A package of synthetic data: nobody in it is real.\n"
    texts["dataset_collection.txt"] = _plain(
        [["collection_id", "dataset_id", "dataset_title"], ["0", "0", _TITLE]]
    )
    texts["datastructure_manifest.txt"] = _plain(
        [["short_name", "rows"], *([name, str(len(found))] for name, found in rows.items())]
    )
    sums = [[name, hashlib.md5(text.encode()).hexdigest()] for name, text in texts.items()]
    texts["md5_values.txt"] = _plain(sums)
    for name, text in texts.items():
        write_text(folder / name, text)


def _plain(lines: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(f'"{cell}"' for cell in cells) + "\n" for cells in lines)


def structure_text(name: str, own: dict[str, str], rows: Sequence[Row]) -> str:
    """A structure's text: the names of its columns, their descriptions, and its rows.

    `own` holds the columns, with descriptions, that not every structure has. Raises a `ValueError`
    for a row with any other.
    """
    number = f"{name}_id"
    columns = {"collection_id": "", number: "", "dataset_id": ""} | COMMON | own
    lines = [list(columns), [text or column for column, text in columns.items()]]
    lines[0].append("collection_title")
    lines[1].append("collection_title")
    for position, row in enumerate(rows, start=1):
        unknown = row.keys() - columns.keys()
        if unknown:
            raise ValueError(f"{name} has no columns {sorted(unknown)}")
        cells = {"collection_id": "0", number: str(position), "dataset_id": "0"} | row
        lines.append([*(cells.get(column, "") for column in columns), _TITLE])
    return _plain(lines)


def _month(reading: WidthReading | GradeReading) -> int:
    return reading.month


def shared_columns(record: Record, visit: str, month: int) -> Row:
    """The columns that all structures share, of a person at a visit (its code, and months)."""
    p = record.patient
    key = hashlib.sha256(f"phantom {p.subject}".encode()).hexdigest()[:8].upper()
    day = p.examined + timedelta(days=round(month * 365.25 / 12))
    age = record.months_old + month
    return {
        "subjectkey": f"NDAR_INV{key}",
        "src_subject_id": p.subject,
        "interview_date": _day(day),
        "interview_age": str(age),
        "sex": "F" if p.female else "M",
        "ageyears": str(age // 12),
        "visit": visit,
    }


def _day(day: date) -> str:
    return f"{day:%m/%d/%Y}"


def _flag(value: bool) -> str:
    return "1" if value else "0"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _enrollee(record: Record) -> Row:
    p = record.patient
    return shared_columns(record, "V00", 0) | {
        "version": "25",
        "e_cohort": str(p.cohort),
        "ethnicity": "Not Hispanic or Latino",
        "race": _RACE[p.race],
        "site": p.site,
        "interim_visit": "2",
    }


def _scores(record: Record) -> Row:
    right, left = record.scores["right"], record.scores["left"]
    return shared_columns(record, "V00", 0) | {
        "version": "0.2.3",
        "koos_rksymptoms": _number(right.koos_symptoms, "g"),
        "koos_lksymptoms": _number(left.koos_symptoms, "g"),
        "koos_rkpain": _number(right.koos_pain, "g"),
        "koos_lkpain": _number(left.koos_pain, "g"),
        "womac_stiffness_right": str(right.stiffness),
        "womac_stiffness_left": str(left.stiffness),
        "womac_disability_right": str(right.function),
        "womac_disability_left": str(left.function),
        "womac_pain_left": _number(left.pain, "d"),
        "womac_pain_right": _number(right.pain, "d"),
        "womac_total_left": _number(left.total, "d"),
        "womac_total_right": _number(right.total, "d"),
    }


def _stranger(number: int, name: str) -> Row:
    """Somebody of another study, who answered the same questions."""
    return {
        "subjectkey": f"NDAR_INVSTRANGE{number}",
        "src_subject_id": name,
        "interview_date": "03/01/2015",
        "interview_age": str(600 + 7 * number),
        "sex": "MF"[number % 2],
        "ageyears": str((600 + 7 * number) // 12),
        "visit": "V00" if number % 2 else "Baseline",
        "womac_pain_right": str(3 + number),
        "womac_pain_left": str(2 * number),
        "womac_stiffness_right": "2",
        "womac_stiffness_left": "1",
    }


def _risks(record: Record) -> Row:
    p = record.patient
    right, left = record.scores["right"], record.scores["left"]
    return shared_columns(record, "V00", 0) | {
        "version": "0.2.2",
        "height_av": f"{p.height:.1f}" if record.has_height else "",
        "weight_met": f"{p.weight:.1f}" if record.has_weight else "",
        "bmi": f"{p.bmi:.1f}" if record.has_weight else "",
        "ksurgr": _flag(right.operated),
        "ksurgl": _flag(left.operated),
        # of injuries the archive has no more than the names of the columns at enrolment
        "injr": "",
        "injl": "",
    }


def _width(record: Record, w: WidthReading) -> Row:
    medial = [_number(width, ".3f") for width in w.medial]
    lateral = [_number(width, ".3f") for width in w.lateral]
    return shared_columns(record, _VISITS[w.month], w.month) | {
        "version": "0.8",
        "readprj": str(w.project),
        "side": _SIDE[w.side],
        "incplm": _flag(w.some_medial),
        "nomjswx": _flag(w.no_medial),
        "nommjsw": _flag(w.no_minimum),
        "nolmin": _flag(w.no_local_minimum),
        "mjswbb": _flag(w.bone_on_bone),
        "tpcfds": f"{w.rim_distance:.2f}",
        "impixsz": "0.1",
        "bmang": f"{w.beam_angle:.2f}",
        "mcmjsw": _number(w.minimum, ".3f"),
        "xmjsw": "" if w.minimum is None else f"{w.place:.3f}",
        "incstps": "0",
        "cfwdth": f"{w.condyle_width:.2f}",
        "jsw150": medial[0],
        "jsw175": medial[1],
        "jsw200": medial[2],
        "jsw225": medial[3],
        "jsw250": medial[4],
        "jsw275": medial[5],
        "jsw300": medial[6],
        "noljswx": _flag(w.no_lateral),
        "ltpmebe": "0",
        "incpll": _flag(w.some_lateral),
        "ljsw700": lateral[0],
        "ljsw725": lateral[1],
        "ljsw750": lateral[2],
        "ljsw775": lateral[3],
        "ljsw800": lateral[4],
        "ljsw825": lateral[5],
        "ljsw850": lateral[6],
        "ljsw875": lateral[7],
        "ljsw900": lateral[8],
        "barcode": f"166{w.barcode:08d}",
    }


def _grade(record: Record, g: GradeReading) -> Row:
    return shared_columns(record, _VISITS[g.month], g.month) | {
        "version": "0.8",
        "readprj": str(g.project),
        "side": _SIDE[g.side],
        "xrkl": _number(g.kl, "g"),
        "xrjsl": _number(g.lateral, "g"),
        "xrjsm": _number(g.medial, "g"),
        "barcode": f"166{g.barcode:08d}",
    }


def _outcomes(record: Record) -> Row:
    row = shared_columns(record, "V99", 108) | {
        "version": "14",
        "rntcnt": _CONTACTS[record.attendance.last],
    }
    for knee in by_side(record.patient):
        row |= _replacement(record, knee)
    return row


def _replacement(record: Record, knee: PhantomKnee) -> Row:
    k, replaced = f"{knee.side[0]}k", record.replacements[knee.side]
    row = {f"{k}blrp": _flag(replaced.before)}
    if replaced.day is None:
        return row
    contacts = record.attendance.contacts
    after = _CONTACTS[next_contact(replaced.day, contacts)]
    return row | {
        f"{k}date": _day(replaced.date(record.patient.examined)),
        f"{k}days": str(replaced.day),
        f"{k}rpcf": "3" if replaced.confirmed else "0",
        f"{k}tlpr": "2" if replaced.partial else "1",
        f"{k}vsaf": after,
        f"{k}vspr": _CONTACTS[previous_contact(replaced.day, contacts)],
        f"{k}vsrp": after,
    }
