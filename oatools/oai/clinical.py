"""The clinical variables of a knee: one table that declares them, and their extraction.

A source column is written with `Vxx` for the visit's prefix (`V00`, `V01`, ...). A column that
begins with P01, P02 or V00 describes the entry to the study; it is used at later visits only where
the variable lasts (sex, height).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.manifest import MISSING, Row
from oatools.oai.codes import (
    VISITS,
    KneeId,
    Record,
    code,
    is_missing,
    number_or_none,
    plain,
    subject_of,
)
from oatools.oai.replacement import report_sources
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
    Variable("age", "years", "age at the visit", ("VxxAGE",), limits=(0, 120)),
    Variable(
        "sex",
        "female, male",
        "sex",
        ("P02SEX",),
        codes={"1": "male", "2": "female"},
        lasting=True,
    ),
    Variable("bmi", "kg/m2", "body mass index", ("VxxBMI", "P01BMI"), limits=(5, 150)),
    Variable(
        "height",
        "m",
        "standing height; that at entry where the visit has none",
        ("VxxHEIGHT", "P01HEIGHT"),
        factor=Decimal("0.001"),
        lasting=True,
    ),
    Variable("weight", "kg", "body weight", ("VxxWEIGHT", "P01WEIGHT"), limits=(10, 500)),
    Variable(
        "kl",
        "0 to 4",
        "Kellgren-Lawrence grade from the central reading (kxr_sq_bu); fractions are floored",
        ("VxxXRKL",),
        limits=(0, 4),
    ),
    Variable(
        "jsm",
        "0 to 3",
        "OARSI grade of medial joint space narrowing (kxr_sq_bu); fractions are floored",
        ("VxxXRJSM",),
        limits=(0, 3),
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

#: The variables that are read from X-rays, and not from tables of people.
GRADES = ("kl", "jsm")


def column_at(source: str, number: int) -> str:
    """The name of a source column at a visit: `VxxAGE` at visit number 3 is `V03AGE`."""
    return f"V{number:02d}{source[3:]}" if source.startswith("Vxx") else source


def own_table(visit: str) -> str:
    """The name of the table with the clinical variables of a visit."""
    return f"AllClinical{VISITS[visit]:02d}"


def read_people(
    tables: Tables, visit: str, horizon: str, required: Collection[str] = ()
) -> dict[str, Record]:
    """Read the cells of all clinical columns up to the horizon, by subject.

    They stand in Enrollees, SubjectChar00 and AllClinicalNN, of which any may be absent. Of a
    column found twice the first value that is not missing holds. `required` names columns without
    which the visit's AllClinical is unusable (`UsageError`).
    """
    own = own_table(visit)
    people: dict[str, Record] = defaultdict(dict)
    columns = _source_columns(VISITS[horizon])
    for name in _tables_of_people(VISITS[visit], VISITS[horizon]):
        is_needed = name == own and required
        if not tables.has(name, columns) and not is_needed:
            continue
        columns_needed = ["ID", *required] if is_needed else ["ID"]
        for record in read_table(tables, name, columns_needed, columns):
            subject = subject_of(record)
            if subject is not None:
                merge(people[subject], record)
    return dict(people)


def clinical_values(
    person: Record, knee: KneeId, visit: str, grades: Mapping[str, ClinicalValue]
) -> dict[str, ClinicalValue]:
    """Every clinical variable of one knee at a visit, None where missing or out of limits.

    `grades` are those of `GRADES`, by name.
    """
    values: dict[str, ClinicalValue] = {}
    for variable in VARIABLES:
        if variable.name in GRADES:
            values[variable.name] = grades.get(variable.name)
        else:
            values[variable.name] = _value(variable, knee.side, person, VISITS[visit])
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
    sources += report_sources()
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


def merge(person: Record, record: Record) -> None:
    """Fill a person's cells that are missing from another record of the same person."""
    for column, cell in record.items():
        if is_missing(person.get(column, ".")):
            person[column] = cell


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
