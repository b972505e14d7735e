"""MOST, the Multicenter Osteoarthritis Study: its tables as they come, SAS or text.

One row a person with both knees as columns, key MOSTID; visits 0, 1, 2, 3 and 5 are 0, 15, 30, 60
and 84 months. `mostv01235xray` has the grades (`V0XRKL`, `V0XLJSM`), `mostv{0,1,2,3,5}enroll` the
clinical variables, `mostoutcomes` the visit at which a prosthesis was first seen (`V99ERKRINDEX`).
There are no widths in mm. The names are those that public readers of the study use (the group of
Oulu: OAProgression, KneeOARSIGrading); of the coding of sex (1 male, 2 female) there is no public
word.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.oai.clinical import CLINICAL_COLUMNS, ClinicalValue, merge
from oatools.oai.codes import KneeId, Record, code, is_missing, is_yes, number_or_none, subject_of
from oatools.oai.endpoints import Endpoint, Kind, horizon_of
from oatools.oai.grades import KL, MEDIAL_NARROWING, Grade, whole
from oatools.oai.readings import Problem, Reading
from oatools.oai.replacement import Replacements
from oatools.oai.study import StudyTables
from oatools.oai.tables import Tables, read_table

#: Months since enrolment -> the number in column names.
VISITS = {"00m": 0, "15m": 1, "30m": 2, "60m": 3, "84m": 5}

_GRADES_TABLE, _OUTCOMES_TABLE = "mostv01235xray", "mostoutcomes"
_TABLES = re.compile(r"most(v\d+(xray|enroll)|outcomes)", re.IGNORECASE)
_STUDY_TABLES = re.compile(r"kxr_|allclinical|enrollees", re.IGNORECASE)
_ID = "MOSTID"
_SIDES = ("right", "left")
# The one project of a study that has one.
_PROJECT = "n/a"
_SEX = {"1": "male", "2": "female"}
_YES_NO = {"0": "0", "1": "1"}
_KINDS = (Kind.KL, Kind.NARROWING, Kind.NONE)


def is_most(tables: Tables) -> bool:
    """Tell whether a folder holds MOST's tables; a `UsageError` if it holds OAI's as well."""
    most = [name for name in tables.paths if _TABLES.fullmatch(name)]
    others = [name for name in tables.paths if _STUDY_TABLES.match(name)]
    if most and (others or tables.structures):
        raise UsageError(
            f"{tables.folder} holds tables of MOST and of OAI", "give the folder of one of them"
        )
    return bool(most)


def open_most(tables: Tables, endpoint: Endpoint, visit: str) -> StudyTables:
    """Read MOST's tables as far as an endpoint at a visit needs them.

    Raises a `UsageError` for tables that cannot serve, and for endpoints that MOST has not measured
    or whose columns are not known.
    """
    if endpoint.kind not in _KINDS:
        raise UsageError(
            f"{endpoint.name}: MOST has no widths in mm, and the name of its pain score is not "
            "known here",
            "take `endpoint` kl or jsn-grade, or make a plain table of what you have",
        )
    horizon = horizon_of(endpoint, visit, list(VISITS), list(VISITS))
    needed = []
    if endpoint.is_graded:
        needed = _columns_of(_grade_of(endpoint), VISITS[visit], VISITS[horizon])
    every = _grade_columns(VISITS[visit], VISITS[horizon])
    graded = _people(tables, _GRADES_TABLE, every, needed)
    people = _clinical(tables, VISITS[visit])
    notes = []
    outcomes: dict[str, Record] = {}
    if tables.has(_OUTCOMES_TABLE):
        outcomes = _people(tables, _OUTCOMES_TABLE, ["V99ERKRINDEX", "V99ELKRINDEX"])
    else:
        notes.append(f"no table {_OUTCOMES_TABLE}: which knees were replaced is not known")
    first_grades, second_grades = {}, {}
    if endpoint.is_graded:
        grade = _grade_of(endpoint)
        first_grades = _readings(graded, VISITS[visit], grade)
        second_grades = _readings(graded, VISITS[horizon], grade)
    codes = _coded(first_grades) + _coded(second_grades)
    if codes:
        notes.append(f"{codes} cells of {_GRADES_TABLE} are codes and no grades")
    knees = [KneeId(subject, side) for subject in {**graded, **people} for side in _SIDES]
    values = {}
    for knee in knees:
        values[knee] = _values(
            knee, people.get(knee.subject, {}), graded.get(knee.subject, {}), VISITS[visit]
        )
    return StudyTables(
        endpoint=endpoint,
        visit=visit,
        first_grades=first_grades,
        second_grades=second_grades,
        enrolled=knees,
        replaced=_replacements(outcomes, VISITS[visit], VISITS[horizon]),
        clinical=values,
        notes=notes,
    )


def _people(
    tables: Tables, name: str, columns: Sequence[str], needed: Sequence[str] = ()
) -> dict[str, Record]:
    """Read a table of one row a person, by subject; a `UsageError` for two rows that differ."""
    people: dict[str, Record] = {}
    for record in read_table(tables, name, [_ID, *needed], columns):
        subject = subject_of({"ID": record[_ID]})
        if subject is None:
            continue
        if people.setdefault(subject, record) != record:
            raise UsageError(
                f"{name}: two rows of {subject} that differ", "keep one row for each person"
            )
    return people


def _grade_of(endpoint: Endpoint) -> Grade:
    return KL if endpoint.kind is Kind.KL else MEDIAL_NARROWING


def _grade_columns(*visits: int) -> list[str]:
    return [*_columns_of(KL, *visits), *_columns_of(MEDIAL_NARROWING, *visits)]


def _columns_of(grade: Grade, *visits: int) -> list[str]:
    """The columns of a grade of both knees at some visits."""
    return [_column(grade, number, side) for number in visits for side in _SIDES]


def _column(grade: Grade, number: int, side: str) -> str:
    """The column of a grade of a knee: V0XRKL, V2XLJSM."""
    return f"V{number}X{side[0].upper()}{grade.column.removeprefix('XR')}"


def _clinical(tables: Tables, number: int) -> dict[str, Record]:
    """The cells of the clinical columns of all visits up to one, by subject."""
    people: dict[str, Record] = {}
    for at in VISITS.values():
        name = f"mostv{at}enroll"
        if at > number or not tables.has(name):
            continue
        columns = ["AGE", "SEX", "SITE", f"V{at}AGE", f"V{at}BMI"]
        for letter in "RL":
            columns += [f"V{at}LA{letter}", f"V{at}SURG{letter}", f"V{at}WOTOT{letter}"]
        for subject, record in _people(tables, name, columns).items():
            merge(people.setdefault(subject, {}), record)
    return people


def _readings(
    people: Mapping[str, Record], number: int, grade: Grade
) -> dict[KneeId, dict[str, Reading]]:
    found = {}
    for subject, record in people.items():
        for side in _SIDES:
            cell = record.get(_column(grade, number, side), ".")
            found[KneeId(subject, side)] = {_PROJECT: grade.reading(cell)}
    return found


def _coded(readings: Mapping[KneeId, Mapping[str, Reading]]) -> int:
    """The number of cells that hold a code: 8 and 9, or a letter."""
    every = [reading for projects in readings.values() for reading in projects.values()]
    return sum(reading.problem is Problem.NO_NUMBER for reading in every)


def _replacements(people: Mapping[str, Record], visit: int, horizon: int) -> Replacements:
    at_visit, later = set(), set()
    for subject, record in people.items():
        for side in _SIDES:
            seen = number_or_none(record.get(f"V99E{side[0].upper()}KRINDEX", "."))
            if seen is None or seen <= 0:
                continue
            if seen <= visit:
                at_visit.add(KneeId(subject, side))
            elif seen <= horizon:
                later.add(KneeId(subject, side))
    return Replacements(at_visit=frozenset(at_visit), later=frozenset(later))


def _values(knee: KneeId, person: Record, graded: Record, number: int) -> dict[str, ClinicalValue]:
    """The clinical variables of a knee at a visit, None where missing or not known in MOST."""
    letter = knee.side[0].upper()
    age = person.get("AGE", ".") if number == 0 else person.get(f"V{number}AGE", ".")
    values: dict[str, ClinicalValue] = dict.fromkeys(CLINICAL_COLUMNS)
    values["age"] = _number(age, 120)
    values["sex"] = _SEX.get(code(person.get("SEX", ".")))
    values["bmi"] = _number(person.get(f"V{number}BMI", "."), 100)
    values["womac_total"] = _number(person.get(f"V{number}WOTOT{letter}", "."), 96)
    values["injury"] = _ever(person, f"LA{letter}", number)
    values["surgery"] = _ever(person, f"SURG{letter}", number)
    site = person.get("SITE", ".")
    values["site"] = None if is_missing(site) else code(site)
    for name, grade in (("kl", KL), ("jsm", MEDIAL_NARROWING)):
        values[name] = _grade(graded.get(_column(grade, number, knee.side), "."), grade)
    return values


def _number(cell: str, highest: int) -> Decimal | None:
    value = number_or_none(cell)
    return value if value is not None and 0 <= value <= highest else None


def _ever(person: Record, stem: str, number: int) -> str | None:
    """Yes once any visit up to that number says so."""
    cells = [person.get(f"V{at}{stem}", ".") for at in VISITS.values() if at <= number]
    if any(map(is_yes, cells)):
        return "1"
    answers: Iterable[str | None] = (_YES_NO.get(code(cell)) for cell in cells)
    return next((answer for answer in answers if answer is not None), None)


def _grade(cell: str, grade: Grade) -> Decimal | None:
    value = grade.reading(cell).value
    return None if value is None else whole(value)
