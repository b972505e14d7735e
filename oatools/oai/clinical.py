"""The clinical variables of a knee: one table that declares them, and their extraction.

A source column is written with `Vxx` for the visit's prefix (`V00`, `V01`, ...). A column that
begins with P01, P02 or V00 describes the entry to the study; it is used at later visits only where
the variable lasts (sex, height).
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.manifest import MISSING, Row
from oatools.oai.codes import (
    PROSTHESIS,
    VISITS,
    KneeId,
    Record,
    code,
    is_missing,
    knee_of,
    number_or_none,
    plain,
    subject_of,
)
from oatools.oai.tables import Tables, read_table

#: The value of a clinical variable: a number in the variable's unit, a category, or missing.
ClinicalValue = Decimal | str | None

_YES_NO = {"0": "0", "1": "1"}


@dataclass(frozen=True)
class Variable:
    """One clinical column of the labels, its source columns, and the rule that reads them.

    `left` are the sources of a left knee where they are not those of a right one. `codes`
    translates categories; numbers are multiplied by `factor` and must lie in `limits`. With
    `lasting` the value at entry holds at later visits. With `ever` it is 1 once any source up to
    the visit says so.
    """

    name: str
    unit: str
    description: str
    right: tuple[str, ...]
    left: tuple[str, ...] = ()
    codes: Mapping[str, str] | None = None
    factor: Decimal = Decimal(1)
    limits: tuple[int, int] | None = None
    lasting: bool = False
    ever: bool = False

    def sources(self, side: str) -> tuple[str, ...]:
        """The source columns of a knee on that side."""
        return self.left if side == "left" and self.left else self.right

    def value_of(self, cell: str) -> ClinicalValue:
        """The value in a source's cell; None for what the variable's coding does not allow."""
        if self.codes is not None:
            return self.codes.get(code(cell))
        number = number_or_none(cell)
        if number is None:
            return None
        if self.limits is not None:
            low, high = self.limits
            if not low <= number <= high:
                return None
        return number * self.factor


def _score(name: str, highest: int, description: str, stem: str) -> Variable:
    return Variable(
        name=name,
        unit=f"0 to {highest}",
        description=description,
        right=(f"Vxx{stem}R",),
        left=(f"Vxx{stem}L",),
        limits=(0, highest),
    )


VARIABLES = (
    Variable("age", "years", "age at the visit", ("VxxAGE",)),
    Variable(
        "sex",
        "female, male",
        "sex",
        ("P02SEX",),
        codes={"1": "male", "2": "female"},
        lasting=True,
    ),
    Variable("bmi", "kg/m2", "body mass index", ("VxxBMI", "P01BMI")),
    Variable(
        "height",
        "m",
        "standing height; that at entry where the visit has none",
        ("VxxHEIGHT", "P01HEIGHT"),
        factor=Decimal("0.001"),
        lasting=True,
    ),
    Variable("weight", "kg", "body weight", ("VxxWEIGHT", "P01WEIGHT")),
    Variable(
        "kl",
        "0 to 4",
        "Kellgren-Lawrence grade from the central reading (kxr_sq_bu); fractions are floored",
        ("VxxXRKL",),
        limits=(0, 4),
    ),
    _score("womac_pain", 20, "WOMAC pain of the knee", "WOMKP"),
    _score("womac_stiffness", 8, "WOMAC stiffness of the knee", "WOMSTF"),
    _score("womac_function", 68, "WOMAC disability of the knee", "WOMADL"),
    _score("womac_total", 96, "WOMAC total of the knee", "WOMTS"),
    _score("koos_pain", 100, "KOOS pain of the knee (100 is none)", "KOOSKP"),
    Variable(
        "injury",
        "0, 1",
        "ever injured so that walking was limited",
        ("P01INJR", "VxxINJR12"),
        ("P01INJL", "VxxINJL12"),
        codes=_YES_NO,
        ever=True,
    ),
    Variable(
        "surgery",
        "0, 1",
        "ever operated on",
        ("P01KSURGR", "VxxKSRGR12"),
        ("P01KSURGL", "VxxKSRGL12"),
        codes=_YES_NO,
        ever=True,
    ),
    Variable(
        "race",
        "other, white, black, asian",
        "race as reported",
        ("P02RACE",),
        codes={"0": "other", "1": "white", "2": "black", "3": "asian"},
        lasting=True,
    ),
    Variable(
        "site",
        "A to E",
        "clinical site",
        ("V00SITE",),
        codes={site: site for site in "ABCDE"},
        lasting=True,
    ),
    Variable(
        "cohort",
        "progression, incidence, control",
        "subcohort at entry",
        ("V00COHORT",),
        codes={"1": "progression", "2": "incidence", "3": "control"},
        lasting=True,
    ),
)
CLINICAL_COLUMNS = [variable.name for variable in VARIABLES]

_REPLACED = {"right": ("P01KRSR", "VxxKRSR12"), "left": ("P01KRSL", "VxxKRSL12")}
# Outcomes: days from enrolment to the replacement, and the number of the visit that reported it.
_OUTCOMES = {"right": ("V99ERKDAYS", "V99ERKVSRP"), "left": ("V99ELKDAYS", "V99ELKVSRP")}
_DAYS_A_MONTH = Decimal("30.4375")
# The projects that read the Kellgren-Lawrence grades: up to 48 months, and later.
_KL_PROJECTS, _LATE_KL_PROJECTS = ("15", "37"), ("37", "15")
_LAST_EARLY_VISIT = 6
_KL_RECODINGS = {"42": "37"}


def column_at(source: str, number: int) -> str:
    """The name of a source column at a visit: `VxxAGE` at visit number 3 is `V03AGE`."""
    return f"V{number:02d}{source[3:]}" if source.startswith("Vxx") else source


def read_people(
    tables: Tables, visit: str, horizon: str, partial: bool = False, required: Collection[str] = ()
) -> dict[str, Record]:
    """Read the cells of all clinical columns up to the horizon, by subject.

    They stand in Enrollees, SubjectChar00 and AllClinicalNN. Of a column found twice the first
    value that is not missing holds. With `partial` Enrollees and the visit's AllClinical may be
    absent, as the rest may always be. `required` names columns without which the visit's
    AllClinical is unusable (`UsageError`).
    """
    own = f"AllClinical{VISITS[visit]:02d}"
    needed = set()
    if required or not partial:
        needed.add(own)
    if not partial:
        needed.add("Enrollees")
    people: dict[str, Record] = defaultdict(dict)
    columns = _source_columns(VISITS[horizon])
    for name in _tables_of_people(VISITS[visit], VISITS[horizon]):
        if not tables.has(name) and name not in needed:
            continue
        columns_needed = ["ID", *required] if name == own else ["ID"]
        for record in read_table(tables, name, columns_needed, columns):
            subject = subject_of(record)
            if subject is not None:
                _merge(people[subject], record)
    return dict(people)


def kl_grades(records: Iterable[Record], visit: str) -> dict[KneeId, str]:
    """Read the KL grades `0` to `4`, or `.P` for a prosthesis, from the records of kxr_sq_buNN.

    Of several readings that of project 15 comes first (37 at 72 and 96 months, of which 42 is a
    recoding), then the other projects by number; a missing grade gives way to the next.
    """
    number = VISITS[visit]
    first = _KL_PROJECTS if number <= _LAST_EARLY_VISIT else _LATE_KL_PROJECTS
    best: dict[KneeId, tuple[tuple[int, str], str]] = {}
    for record in records:
        knee = knee_of(record)
        grade = _grade(record.get(f"V{number:02d}XRKL", "."))
        if knee is None or grade is None:
            continue
        project = code(record["READPRJ"])
        rank = project_rank(_KL_RECODINGS.get(project, project), first)
        if knee not in best or rank < best[knee][0]:
            best[knee] = (rank, grade)
    return {knee: grade for knee, (_, grade) in best.items()}


def project_rank(project: str, first: Collection[str]) -> tuple[int, str]:
    """The sort key of a reading project.

    Those in `first` come first, in its order, then the others by number, then those without one.
    """
    if project in first:
        return list(first).index(project) - len(first), ""
    if project.isdigit():
        return int(project), ""
    return 10**9, project


def replaced_knees(
    people: Mapping[str, Record], horizon: str, grades: Mapping[KneeId, str]
) -> set[KneeId]:
    """The knees that were replaced at entry or by the horizon.

    The questionnaires say so, or a KL reading (`.P`).
    """
    replaced = {knee for knee, grade in grades.items() if grade == PROSTHESIS}
    for side, sources in _REPLACED.items():
        columns = _up_to(sources, VISITS[horizon])
        for subject, person in people.items():
            if any(code(person.get(column, ".")) == "1" for column in columns):
                replaced.add(KneeId(subject, side))
    return replaced


def replaced_by_outcome(records: Iterable[Record], horizon: str) -> set[KneeId]:
    """The knees that Outcomes99 has as replaced by the horizon.

    It states the day, and the visit that reported it. Where the two disagree the earlier counts, so
    that no width of a prosthesis is taken for one of cartilage.
    """
    last_day = int(horizon[:-1]) * _DAYS_A_MONTH
    last_visit = VISITS.get(horizon)
    replaced = set()
    for record in records:
        subject = subject_of(record)
        if subject is None:
            continue
        for side, (day_column, visit_column) in _OUTCOMES.items():
            day = number_or_none(record.get(day_column, "."))
            visit = number_or_none(record.get(visit_column, "."))
            by_day = day is not None and day <= last_day
            by_visit = visit is not None and last_visit is not None and visit <= last_visit
            if by_day or by_visit:
                replaced.add(KneeId(subject, side))
    return replaced


def outcome_columns() -> list[str]:
    """The columns of Outcomes99 that `replaced_by_outcome` reads."""
    return [*_OUTCOMES["right"], *_OUTCOMES["left"]]


def clinical_values(
    person: Record, knee: KneeId, visit: str, grade: str | None
) -> dict[str, ClinicalValue]:
    """Every clinical variable of one knee at a visit, None where missing or out of limits.

    `grade` is the knee's KL grade, as `kl_grades` gives it.
    """
    values: dict[str, ClinicalValue] = {}
    for variable in VARIABLES:
        values[variable.name] = _value(variable, knee.side, person, VISITS[visit])
    values["kl"] = None if grade is None else number_or_none(grade)
    return values


def clinical_cells(values: Mapping[str, ClinicalValue]) -> Row:
    """The cells of the clinical columns, `n/a` for what is missing."""
    cells = {}
    for name in CLINICAL_COLUMNS:
        value = values.get(name)
        if value is None:
            cells[name] = MISSING
        else:
            cells[name] = plain(value) if isinstance(value, Decimal) else value
    return cells


def variable_rows() -> list[Row]:
    """The declared variables as a table: variable, unit, description, source.

    The sources are those of a right knee, then those of a left one where they differ.
    """
    rows = []
    for variable in VARIABLES:
        source = ", ".join(variable.right)
        if variable.left:
            source = f"{source} / {', '.join(variable.left)}"
        rows.append(
            {
                "variable": variable.name,
                "unit": variable.unit,
                "description": variable.description,
                "source": source,
            }
        )
    return rows


def _source_columns(last: int) -> list[str]:
    """The names of all source columns up to the visit of number `last`."""
    sources: list[str] = []
    for variable in VARIABLES:
        sources += variable.right + variable.left
    for replaced in _REPLACED.values():
        sources += replaced
    return sorted(_up_to(sources, last))


def _up_to(sources: Iterable[str], last: int) -> set[str]:
    """The names of source columns at the visits up to that of number `last`."""
    names = set[str]()
    for source in sources:
        names.update(column_at(source, number) for number in range(last + 1))
    return names


def _tables_of_people(visit: int, horizon: int) -> list[str]:
    """The tables that hold clinical columns, in the order in which their values are taken."""
    others = [number for number in range(horizon + 1) if number != visit]
    visits = [f"AllClinical{number:02d}" for number in (visit, *others)]
    return [*visits, "SubjectChar00", "Enrollees"]


def _merge(person: Record, record: Record) -> None:
    for column, cell in record.items():
        if is_missing(person.get(column, ".")):
            person[column] = cell


def _grade(cell: str) -> str | None:
    if cell == PROSTHESIS:
        return cell
    value = number_or_none(cell)
    return None if value is None or not 0 <= value < 5 else str(math.floor(value))


def _value(variable: Variable, side: str, person: Record, number: int) -> ClinicalValue:
    sources = variable.sources(side)
    if variable.ever:
        columns = _up_to(sources, number)
        found = {variable.value_of(person.get(column, ".")) for column in columns}
        return next((answer for answer in ("1", "0") if answer in found), None)
    for source in sources:
        is_of_visit = source.startswith("Vxx") or number == 0
        if not is_of_visit and not variable.lasting:
            continue
        value = variable.value_of(person.get(column_at(source, number), "."))
        if value is not None:
            return value
    return None
