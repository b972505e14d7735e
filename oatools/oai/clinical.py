"""The clinical variables of a knee: one table that declares them, and their extraction from the study's tables.

A source column is written with `Vxx` for the visit's prefix (`V00`, `V01`, ...). A column that
begins with P01, P02 or V00 describes the entry to the study; it is used at later visits only where
the variable lasts (sex, height).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING
from oatools.oai.codes import (
    PROSTHESIS,
    VISITS,
    Knee,
    Record,
    code,
    decimal,
    is_missing,
    knee_of,
    plain,
    subject_of,
)
from oatools.oai.tables import Tables, read_table

YES_NO = {"0": "0", "1": "1"}


@dataclass(frozen=True)
class Variable:
    """One column of the labels: where it comes from for a right and a left knee, and how a cell becomes a value.

    `codes` translates categories; numbers are multiplied by `factor` and must lie in `limits`.
    `lasting`: the value at entry holds at later visits. `ever`: true once any source up to the
    visit says so.
    """

    name: str
    unit: str
    description: str
    right: tuple[str, ...]
    left: tuple[str, ...]
    codes: Mapping[str, str] | None = None
    factor: Decimal = Decimal(1)
    limits: tuple[int, int] | None = None
    lasting: bool = False
    ever: bool = False


def _person(name: str, unit: str, description: str, *sources: str, **options: object) -> Variable:
    return Variable(name, unit, description, sources, sources, **options)  # type: ignore[arg-type]


def _score(name: str, highest: int, description: str, stem: str) -> Variable:
    return Variable(
        name,
        f"0 to {highest}",
        description,
        (f"Vxx{stem}R",),
        (f"Vxx{stem}L",),
        limits=(0, highest),
    )


VARIABLES = (
    _person("age", "years", "age at the visit", "VxxAGE"),
    _person("sex", "female, male", "sex", "P02SEX", codes={"1": "male", "2": "female"}, lasting=True),
    _person("bmi", "kg/m2", "body mass index", "VxxBMI", "P01BMI"),
    _person("height", "m", "standing height; that at entry where the visit has none", "VxxHEIGHT", "P01HEIGHT",
            factor=Decimal("0.001"), lasting=True),
    _person("weight", "kg", "body weight", "VxxWEIGHT", "P01WEIGHT"),
    Variable("kl", "0 to 4", "Kellgren-Lawrence grade from the central reading (kxr_sq_bu); fractions are floored",
             ("VxxXRKL",), ("VxxXRKL",), limits=(0, 4)),
    _score("womac_pain", 20, "WOMAC pain of the knee", "WOMKP"),
    _score("womac_stiffness", 8, "WOMAC stiffness of the knee", "WOMSTF"),
    _score("womac_function", 68, "WOMAC disability of the knee", "WOMADL"),
    _score("womac_total", 96, "WOMAC total of the knee", "WOMTS"),
    _score("koos_pain", 100, "KOOS pain of the knee (100 is none)", "KOOSKP"),
    Variable("injury", "0, 1", "ever injured so that walking was limited", ("P01INJR", "VxxINJR12"),
             ("P01INJL", "VxxINJL12"), codes=YES_NO, ever=True),
    Variable("surgery", "0, 1", "ever operated on", ("P01KSURGR", "VxxKSRGR12"), ("P01KSURGL", "VxxKSRGL12"),
             codes=YES_NO, ever=True),
    _person("race", "other, white, black, asian", "race as reported", "P02RACE", lasting=True,
            codes={"0": "other", "1": "white", "2": "black", "3": "asian"}),
    _person("site", "A to E", "clinical site", "V00SITE", codes={s: s for s in "ABCDE"}, lasting=True),
    _person("cohort", "progression, incidence, control", "subcohort at entry", "V00COHORT", lasting=True,
            codes={"1": "progression", "2": "incidence", "3": "control"}),
)  # fmt: skip
CLINICAL_COLUMNS = [variable.name for variable in VARIABLES]

#: `paper10` is our guess: the published list stands in a supplement that was not available to us.
#: It is the reading study's six variables, KL grade, past injury, past surgery and WOMAC stiffness
#: (allowed with every endpoint).
PRESETS = {
    "bmi": ["bmi"],
    "paper10": [
        "age",
        "sex",
        "bmi",
        "height",
        "weight",
        "jsw",
        "kl",
        "injury",
        "surgery",
        "womac_stiffness",
    ],
}
# The total is a sum with pain in it, and the KOOS pain scale holds the five WOMAC pain questions
# among its nine.
_PAIN_SCORES = ("womac_pain", "womac_total", "koos_pain")
_NOT_CLINICAL = ("knee", "subject", "visit", "sequence", "path", "readprj", "fold", "probability")

_REPLACED = {"right": ("P01KRSR", "VxxKRSR12"), "left": ("P01KRSL", "VxxKRSL12")}
# Outcomes: days from enrolment to the replacement, and the number of the visit that reported it.
_OUTCOMES = {"right": ("V99ERKDAYS", "V99ERKVSRP"), "left": ("V99ELKDAYS", "V99ELKVSRP")}
_DAYS_A_MONTH = Decimal("30.4375")


def clinical_set(text: str, endpoint: str) -> list[str]:
    """Column names from a preset (`bmi`, `paper10`), a comma-separated list of columns and presets, or `none`.

    Raises a `UsageError` for columns from which the endpoint's label is made, and for those that
    are no predictors.
    """
    names: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        if item and item != "none":
            names += PRESETS.get(item, [item])
    for name in names:
        if name in ("label", "jsn") or (endpoint == "pain" and name in _PAIN_SCORES):
            raise UsageError(
                f"'{name}' cannot be a clinical variable (endpoint {endpoint}): the label is made from it"
            )
        if name in _NOT_CLINICAL:
            raise UsageError(
                f"'{name}' cannot be a clinical variable: it says nothing about the knee at the visit"
            )
    return list(dict.fromkeys(names))


def column_at(source: str, number: int) -> str:
    """A source column's name at a visit: `VxxAGE` at visit number 3 is `V03AGE`."""
    return f"V{number:02d}{source[3:]}" if source.startswith("Vxx") else source


def read_people(
    tables: Tables, visit: str, horizon: str, partial: bool = False, required: Collection[str] = ()
) -> dict[str, Record]:
    """Subject -> the cells of all clinical columns up to the horizon, from Enrollees, SubjectChar00 and AllClinicalNN.

    Of a column found twice the first value that is not missing holds. `partial`: do without
    Enrollees and the visit's AllClinical where they are not there; the rest is always optional.
    `required` names columns without which the visit's AllClinical is unusable (`UsageError`).
    """
    numbers = range(VISITS[horizon] + 1)
    sources = [s for v in VARIABLES for s in v.right + v.left] + [
        s for pair in _REPLACED.values() for s in pair
    ]
    columns = sorted({column_at(source, n) for source in sources for n in numbers})
    visits = [VISITS[visit], *(n for n in numbers if n != VISITS[visit])]
    own = f"AllClinical{VISITS[visit]:02d}"
    needed = [*([own] if required or not partial else []), *([] if partial else ["Enrollees"])]
    people: dict[str, Record] = defaultdict(dict)
    for name in [*(f"AllClinical{n:02d}" for n in visits), "SubjectChar00", "Enrollees"]:
        if not tables.has(name) and name not in needed:
            continue
        for record in read_table(tables, name, ["ID", *(required if name == own else ())], columns):
            subject = subject_of(record)
            if subject is not None:
                _merge(people[subject], record)
    return dict(people)


def kl_grades(records: Iterable[Record], visit: str) -> dict[Knee, str]:
    """Knee -> KL grade `0` to `4`, or `.P` for a prosthesis, from the records of kxr_sq_buNN.

    Of several readings that of project 15 comes first (37 at 72 and 96 months, of which 42 is a
    recoding), then the other projects by number; a missing grade gives way to the next.
    """
    number = VISITS[visit]
    first = ["15", "37"] if number <= 6 else ["37", "15"]
    ranked: dict[Knee, list[tuple[tuple[int, str], str]]] = defaultdict(list)
    for record in records:
        knee, cell = knee_of(record), record.get(f"V{number:02d}XRKL", ".")
        if knee is not None and (grade := _grade(cell)):
            project = {"42": "37"}.get(code(record["READPRJ"]), code(record["READPRJ"]))
            ranked[knee].append((project_rank(project, first), grade))
    return {knee: min(found, key=lambda item: item[0])[1] for knee, found in ranked.items()}


def project_rank(project: str, first: Collection[str]) -> tuple[int, str]:
    """Sort key of reading projects: those in `first`, in its order, then by number, then the others by name."""
    if project in first:
        return list(first).index(project) - len(first), ""
    return (int(project), "") if project.isdigit() else (10**9, project)


def replaced_knees(
    people: Mapping[str, Record], horizon: str, grades: Mapping[Knee, str]
) -> set[Knee]:
    """The knees that were replaced at entry or by the horizon, by the questionnaires or by a KL reading (`.P`)."""
    replaced = {knee for knee, grade in grades.items() if grade == PROSTHESIS}
    for side, sources in _REPLACED.items():
        columns = {column_at(source, n) for source in sources for n in range(VISITS[horizon] + 1)}
        replaced |= {
            (s, side)
            for s, person in people.items()
            if any(code(person.get(c, ".")) == "1" for c in columns)
        }
    return replaced


def replaced_by_outcome(records: Iterable[Record], horizon: str) -> set[Knee]:
    """The knees that Outcomes99 calls replaced by the horizon: by its day, or by the visit that reported it.

    Where the two disagree the earlier counts, so that no width of a prosthesis is taken for one of
    cartilage.
    """
    latest = int(horizon[:-1]) * _DAYS_A_MONTH
    replaced = set()
    for record in records:
        for side, (day_column, visit_column) in _OUTCOMES.items():
            day, visit = (
                _number(record.get(day_column, ".")),
                _number(record.get(visit_column, ".")),
            )
            by_visit = visit is not None and horizon in VISITS and visit <= VISITS[horizon]
            if (by_visit or (day is not None and day <= latest)) and (
                subject := subject_of(record)
            ) is not None:
                replaced.add((subject, side))
    return replaced


def outcome_columns() -> list[str]:
    """The columns of Outcomes99 that `replaced_by_outcome` reads."""
    return [column for columns in _OUTCOMES.values() for column in columns]


def clinical_values(person: Record, knee: Knee, visit: str, grade: str) -> dict[str, str]:
    """Every clinical column of one knee at a visit, `n/a` where missing or outside the variable's limits."""
    values = {}
    for variable in VARIABLES:
        sources = variable.right if knee[1] == "right" else variable.left
        values[variable.name] = _value(variable, sources, person, VISITS[visit])
    values["kl"] = grade if grade.isdigit() else MISSING
    return values


def missing_counts(rows: Iterable[Mapping[str, str]]) -> Counter[str]:
    """Clinical column -> the number of rows in which it is `n/a`."""
    return Counter(
        name for row in rows for name in CLINICAL_COLUMNS if row.get(name, MISSING) == MISSING
    )


def variable_rows() -> list[dict[str, str]]:
    """The declared variables as a table: variable, unit, description, source (right, then left where they differ)."""
    rows = []
    for v in VARIABLES:
        right, left = ", ".join(v.right), ", ".join(v.left)
        source = right if right == left else f"{right} / {left}"
        rows.append(
            {"variable": v.name, "unit": v.unit, "description": v.description, "source": source}
        )
    return rows


def _merge(person: Record, record: Record) -> None:
    for column, cell in record.items():
        if is_missing(person.get(column, ".")):
            person[column] = cell


def _number(cell: str) -> Decimal | None:
    try:
        return decimal(cell)
    except ValueError:
        return None


def _grade(cell: str) -> str:
    if cell == PROSTHESIS:
        return cell
    value = _number(cell)
    return str(math.floor(value)) if value is not None and 0 <= value < 5 else ""


def _value(variable: Variable, sources: tuple[str, ...], person: Record, number: int) -> str:
    if variable.ever:
        found = {
            _convert(variable, person.get(column_at(s, n), "."))
            for s in sources
            for n in range(number + 1)
        }
        return next((answer for answer in ("1", "0") if answer in found), MISSING)
    usable = [s for s in sources if s.startswith("Vxx") or number == 0 or variable.lasting]
    values = (_convert(variable, person.get(column_at(source, number), ".")) for source in usable)
    return next((value for value in values if value != MISSING), MISSING)


def _convert(variable: Variable, cell: str) -> str:
    if variable.codes is not None:
        return variable.codes.get(code(cell), MISSING)
    value = _number(cell)
    if value is None or (variable.limits and not variable.limits[0] <= value <= variable.limits[1]):
        return MISSING
    return plain(value * variable.factor)
