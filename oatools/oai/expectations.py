"""What a full download of OAI must give: published aggregates, beside those of the tables at hand.

Whoever reads the study's tables for the first time knows by these numbers whether they are read as
others read them. They are counted from the tables without any filter but the one stated, and not
from the labels: widths of project 16 at both visits, grades of project 15, and what Outcomes99 says
of replacements. The published numbers are aggregates in the public notes of somebody who has NDA's
package (github.com/machamanikanta830/multimodal-knee-oa-progression-pipeline).
"""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from oatools.core.manifest import MISSING, Row
from oatools.oai import clinical, grades, widths
from oatools.oai.codes import KneeId, Record, code, is_missing, is_yes
from oatools.oai.grades import KL, MEDIAL_NARROWING, Grade
from oatools.oai.readings import Readings
from oatools.oai.replacement import OUTCOMES, outcome_columns
from oatools.oai.tables import Tables, read_table

COLUMNS = ["quantity", "visit", "unit", "expected", "found", "agrees"]

# Counts may differ a little between releases; more than this share, and something is misread.
_TOLERANCE = 0.01
# Of statistics in mm and of percentages.
_TOLERANCE_MM, _TOLERANCE_PERCENT = 0.01, 0.1
_LONGITUDINAL, _GRADED = "16", "15"
_VISIT = "00m"


@dataclass(frozen=True)
class Expectation:
    """One published number, and what the tables at hand give; None where they lack it."""

    quantity: str
    visit: str
    unit: str
    expected: float
    found: float | None

    @property
    def agrees(self) -> bool | None:
        """Tell whether both are the same but for small differences; None where nothing is found."""
        if self.found is None:
            return None
        tolerance = max(1.0, _TOLERANCE * self.expected)
        if self.unit == "mm":
            tolerance = _TOLERANCE_MM
        elif self.unit == "%":
            tolerance = _TOLERANCE_PERCENT
        return abs(self.found - self.expected) <= tolerance

    def row(self) -> Row:
        """The number as a row of a table with `COLUMNS`."""
        agrees = {True: "yes", False: "no", None: MISSING}[self.agrees]
        return {
            "quantity": self.quantity,
            "visit": self.visit,
            "unit": self.unit,
            "expected": self._text(self.expected),
            "found": MISSING if self.found is None else self._text(self.found),
            "agrees": agrees,
        }

    def _text(self, value: float) -> str:
        if self.unit == "mm":
            return f"{value:.3f}"
        return f"{value:.2f}" if self.unit == "%" else str(round(value))


@dataclass(frozen=True)
class _Change:
    """The change of the minimum width from baseline to a horizon, as published."""

    knees: int
    participants: int
    mean: float
    sd: float
    quantiles: tuple[float, float, float, float, float]


_QUANTILES = ("P05", "P25", "median", "P75", "P95")
_CHANGES = {
    "12m": _Change(5777, 3252, -0.064, 0.569, (-0.968, -0.287, -0.022, 0.200, 0.732)),
    "24m": _Change(5429, 3071, -0.189, 0.636, (-1.249, -0.434, -0.113, 0.135, 0.626)),
    "36m": _Change(5199, 2967, -0.328, 0.736, (-1.621, -0.587, -0.224, 0.050, 0.566)),
    "48m": _Change(4954, 2839, -0.400, 0.788, (-1.927, -0.686, -0.258, 0.026, 0.593)),
    "72m": _Change(3521, 2148, -0.473, 0.860, (-2.130, -0.813, -0.339, 0.030, 0.633)),
    "96m": _Change(3637, 2234, -0.644, 1.006, (-2.585, -1.070, -0.432, -0.026, 0.598)),
}
_GRADED_KNEES, _GRADED_PARTICIPANTS, _GRADED_AT_12M = 8921, 4490, 8361
_KNEES_OF_GRADE = (3237, 1513, 2211, 1140, 260)
_KL_LOST, _NARROWING_LOST = 520, 370
_REPLACED_AT_ENTRY = {"right": 38, "left": 25}
_REPLACED_LATER = {"right": 470, "left": 465}
_PARTICIPANTS = 4796
_NO_PAIN_SCORE = {"right": 3, "left": 0}
_NO_BMI = 4
_NO_HEIGHT_PERCENT, _NO_WEIGHT_PERCENT = 1.75, 0.08


def expectations(tables: Tables) -> list[Expectation]:
    """Count what the tables of a folder give, beside what a full download must give."""
    found = _of_widths(tables)
    found += _of_grades(tables)
    found += _of_replacements(tables)
    return found + _of_people(tables)


def _of_widths(tables: Tables) -> list[Expectation]:
    first = _values(_widths(tables, _VISIT), _LONGITUDINAL)
    found = []
    for horizon, expected in _CHANGES.items():
        second = _values(_widths(tables, horizon), _LONGITUDINAL)
        knees = sorted(first.keys() & second.keys())
        changes = [second[knee] - first[knee] for knee in knees]
        people = len({knee.subject for knee in knees})
        is_there = len(changes) > 1
        counted = _maker(horizon, is_there)
        found.append(counted("knees with both widths", "knees", expected.knees, len(knees)))
        found.append(counted("participants", "people", expected.participants, people))
        mean = statistics.fmean(changes) if is_there else 0.0
        sd = statistics.stdev(changes) if is_there else 0.0
        found.append(counted("mean change", "mm", expected.mean, mean))
        found.append(counted("SD of the change", "mm", expected.sd, sd))
        quantiles = _quantiles(changes) if is_there else (0.0,) * len(_QUANTILES)
        for name, published, own in zip(_QUANTILES, expected.quantiles, quantiles, strict=True):
            found.append(counted(f"{name} of the change", "mm", published, own))
    return found


def _maker(visit: str, is_there: bool) -> Callable[[str, str, float, float], Expectation]:
    """Make expectations of one visit; without a found number where the tables are not there."""

    def make(quantity: str, unit: str, expected: float, found: float) -> Expectation:
        return Expectation(quantity, visit, unit, expected, found if is_there else None)

    return make


def _quantiles(values: list[float]) -> tuple[float, ...]:
    """The 5th, 25th, 50th, 75th and 95th percentile, interpolated as NumPy does."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return cuts[0], cuts[4], cuts[9], cuts[14], cuts[18]


def _of_grades(tables: Tables) -> list[Expectation]:
    first, later = _grades(tables, _VISIT, KL), _grades(tables, "12m", KL)
    first_narrowing = _grades(tables, _VISIT, MEDIAL_NARROWING)
    later_narrowing = _grades(tables, "12m", MEDIAL_NARROWING)
    both = first.keys() & later.keys()
    entry = _maker(_VISIT, bool(first))
    year = _maker("12m", bool(both))
    people = len({knee.subject for knee in first})
    found = [
        entry("knees with a KL grade", "knees", _GRADED_KNEES, len(first)),
        entry("participants with a KL grade", "people", _GRADED_PARTICIPANTS, people),
        year("knees with a KL grade at both visits", "knees", _GRADED_AT_12M, len(both)),
    ]
    for grade, expected in enumerate(_KNEES_OF_GRADE):
        knees = sum(first[knee] == grade for knee in both)
        found.append(year(f"of these of KL grade {grade} at {_VISIT}", "knees", expected, knees))
    lost = sum(later[knee] > first[knee] for knee in both)
    found.append(year("of these with a KL grade more", "knees", _KL_LOST, lost))
    narrowed = 0
    for knee in first_narrowing.keys() & later_narrowing.keys():
        narrowed += later_narrowing[knee] > first_narrowing[knee]
    found.append(year("of these with a medial JSN grade more", "knees", _NARROWING_LOST, narrowed))
    return found


def _of_replacements(tables: Tables) -> list[Expectation]:
    records: list[Record] = []
    if tables.has(OUTCOMES):
        records = read_table(tables, OUTCOMES, ["ID"], outcome_columns())
    counted = _maker("96m", bool(records))
    found = []
    for side, expected in _REPLACED_AT_ENTRY.items():
        column = f"V99E{side[0].upper()}KBLRP"
        count = sum(is_yes(record.get(column, ".")) for record in records)
        entry = _maker(_VISIT, bool(records))
        found.append(entry(f"{side} knees replaced at baseline", "knees", expected, count))
    for side, expected in _REPLACED_LATER.items():
        count = sum(_is_replaced_later(record, side[0].upper()) for record in records)
        found.append(counted(f"{side} knees replaced later", "knees", expected, count))
    return found


def _is_replaced_later(record: Record, letter: str) -> bool:
    return not is_missing(record.get(f"V99E{letter}KDAYS", "."))


def _of_people(tables: Tables) -> list[Expectation]:
    people = clinical.read_people(tables, _VISIT, _VISIT)
    counted = _maker(_VISIT, bool(people))
    found = [counted("participants enrolled", "people", _PARTICIPANTS, len(people))]
    for side, expected in _NO_PAIN_SCORE.items():
        missing = _missing(people.values(), f"V00WOMKP{side[0].upper()}")
        found.append(counted(f"{side} knees without WOMAC pain", "knees", expected, missing))
    found.append(counted("without BMI", "people", _NO_BMI, _missing(people.values(), "P01BMI")))
    for name, column, expected_share in (
        ("without height", "P01HEIGHT", _NO_HEIGHT_PERCENT),
        ("without weight", "P01WEIGHT", _NO_WEIGHT_PERCENT),
    ):
        share = 100 * _missing(people.values(), column) / max(1, len(people))
        found.append(counted(name, "%", expected_share, share))
    return found


def _missing(people: Iterable[Record], column: str) -> int:
    return sum(is_missing(person.get(column, ".")) for person in people)


def _widths(tables: Tables, visit: str) -> Readings:
    name = widths.table_name(visit)
    if not tables.has(name):
        return {}
    needed, optional = widths.jsw_columns(visit)
    return widths.readings(read_table(tables, name, needed, optional), visit)


def _values(readings: Readings, project: str) -> dict[KneeId, float]:
    values = {}
    for knee, projects in readings.items():
        reading = projects.get(project)
        if reading is not None and reading.value is not None:
            values[knee] = float(reading.value)
    return values


def _grades(tables: Tables, visit: str, grade: Grade) -> Mapping[KneeId, int]:
    name = grades.table_name(visit)
    if not tables.has(name):
        return {}
    *keys, column = grades.columns(visit, grade)
    records = read_table(tables, name, keys, [column])
    of_project = [record for record in records if code(record["READPRJ"]) == _GRADED]
    return {
        knee: int(value)
        for knee, value in _values(grades.readings(of_project, visit, grade), _GRADED).items()
    }


def agreement(found: Iterable[Expectation]) -> str:
    """One sentence on how far the tables agree with a full download."""
    listed = list(found)
    known = [item for item in listed if item.agrees is not None]
    agreeing = sum(item.agrees is True for item in known)
    text = f"{agreeing} of {len(listed)} numbers are those of a full download of OAI"
    absent = len(listed) - len(known)
    return f"{text}, {absent} cannot be told (tables are missing)" if absent else text
