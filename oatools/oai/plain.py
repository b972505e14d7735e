"""The table of any other study: a text table with a header, one line for each knee and visit.

Columns, in any case and order: `subject`, `side` (left, right; 1 is right and 2 left, as the
Initiative codes them), `visit` (00m, 12m, ...), `jsw` (mm), the clinical variables under their
names and in their units (`oa-label --list-variables`), `readprj` where a knee was read several
times, `replaced` and `osteotomy` (yes from the visit on at which the knee has a prosthesis, or had
its bones cut), and an outcome of the study's own. Missing cells are blank or n/a; other columns are
not used. Separated by tabs, commas, semicolons or bars, with decimal points or commas.

A cell that holds no possible value is missing, and counted. A column of which no cell is possible
is refused, as it is in another unit or coding.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING
from oatools.oai.clinical import CLINICAL_COLUMNS, GRADES, VARIABLES, ClinicalValue, Variable
from oatools.oai.codes import KneeId, number_or_none
from oatools.oai.endpoints import Endpoint, Kind, horizon_of, month_of
from oatools.oai.grades import KL, MEDIAL_NARROWING, whole
from oatools.oai.plain_lines import (
    PLAIN_COLUMNS,
    Line,
    PlainTable,
    as_yes,
    before_label,
    column_name,
    read_lines,
    yes_or_no,
)
from oatools.oai.readings import Problem, Reading
from oatools.oai.replacement import Replacements
from oatools.oai.study import PainScore, StudyTables
from oatools.oai.widths import MINIMUM, width_reading

# What a cell says: a number, or yes or no.
_Said = TypeVar("_Said")

_SEX = {"f": "female", "m": "male"}
# Nobody is taller, in metres: a table in centimetres or millimetres is refused.
_TALLEST_M = Decimal("2.5")
# The median of a study's widths is some 4 mm.
_NARROW_MM = 1
# So many cells of a column tell that it is not in the unit that is meant.
_FEWEST_CELLS = 2

# The column that an endpoint is made from.
_SOURCES = {Kind.WIDTH: "jsw", Kind.PAIN: "womac_pain", Kind.KL: "kl", Kind.NARROWING: "jsm"}
_GRADES = {Kind.KL: ("kl", KL), Kind.NARROWING: ("jsm", MEDIAL_NARROWING)}


def require_plain_width(width: str) -> None:
    """Raise a `UsageError` for a width that a plain table has no column of."""
    if width != MINIMUM:
        raise UsageError(
            f"width {width}: a plain table has one column of widths, jsw",
            "put there what you need",
        )


@dataclass
class Cells:
    """Reads cells as values, and keeps account of those that hold none."""

    possible: set[str] = field(default_factory=set)
    impossible: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def value(self, line: Line, column: str, unit: str, found: ClinicalValue) -> ClinicalValue:
        """The value found in a cell, None if there is none; `unit` says what was expected."""
        cell = line.cells.get(column, MISSING)
        if cell == MISSING:
            return None
        if found is None:
            told = f"{line.place}: {column} '{cell}' is no value in {unit}"
            self.impossible[column].append(told)
        else:
            self.possible.add(column)
        return found

    def notes(self) -> list[str]:
        """What is said of impossible cells; a `UsageError` for a column of nothing else."""
        notes = []
        for column, told in self.impossible.items():
            if column not in self.possible and len(told) >= _FEWEST_CELLS:
                raise UsageError(
                    f"{told[0]}, and no other cell of the column is one",
                    "correct its unit or coding, or delete it",
                )
            cells = "1 cell" if len(told) == 1 else f"{len(told)} cells"
            notes.append(f"{cells} of {column} taken as missing ({told[0]})")
        return notes


def open_plain(path: Path, endpoint: Endpoint, visit: str, outcome: str) -> StudyTables:
    """Read a plain table as far as an endpoint at a visit needs it.

    `outcome` is the column that the endpoint `given` passes through. Raises a `UsageError` for what
    cannot be read, with the number of the line.
    """
    sources = {**_SOURCES, Kind.GIVEN: outcome}
    table = read_lines(path, sources.get(endpoint.kind))
    lines = table.lines
    visits = sorted({line.visit for line in lines}, key=month_of)
    horizon = horizon_of(endpoint, visit, visits, _measured_visits(endpoint, visits, lines))
    cells = Cells()
    widths = by_visit(lines, visits, lambda line: width_reading_of(line, cells))
    at_visit = [line for line in lines if line.visit == visit]
    values: dict[KneeId, dict[str, ClinicalValue]] = {}
    for line in at_visit:
        known = values.setdefault(line.knee, dict.fromkeys(CLINICAL_COLUMNS))
        for name, value in _values(line, cells).items():
            known[name] = value if known[name] is None else known[name]
    graded: dict[str, dict[KneeId, dict[str, Reading]]] = {at: {} for at in visits}
    if endpoint.kind in _GRADES:
        column, grade = _GRADES[endpoint.kind]
        graded = by_visit(lines, visits, lambda line: grade.reading(coded(line, column)))
    outcomes: dict[KneeId, bool | None] = {}
    if endpoint.kind is Kind.GIVEN:
        outcomes = _agreed(at_visit, outcome, lambda line: yes_or_no(line, outcome))
    elif endpoint.kind is Kind.PAIN:
        _agreed(at_visit, "womac_pain", lambda line: number_or_none(coded(line, "womac_pain")))
    return StudyTables(
        endpoint=endpoint,
        visit=visit,
        first=widths[visit],
        second=widths[horizon] if endpoint.kind is Kind.WIDTH else {},
        first_grades=graded[visit],
        second_grades=graded[horizon],
        scores={knee: _score(of_knee) for knee, of_knee in values.items()},
        outcomes=outcomes,
        enrolled=list(dict.fromkeys(line.knee for line in lines)),
        replaced=_replacements(lines, visit, horizon),
        clinical=values,
        notes=[
            *table.notes,
            *cells.notes(),
            *_unused(table, outcome, endpoint),
            *_narrow(path, widths[visit]),
        ],
    )


def _measured_visits(endpoint: Endpoint, visits: Sequence[str], lines: Iterable[Line]) -> list[str]:
    """The visits at which what the endpoint is made from was measured in anybody."""
    column = _GRADES[endpoint.kind][0] if endpoint.kind in _GRADES else "jsw"
    measured = {line.visit for line in lines if line.cells.get(column, MISSING) != MISSING}
    # A knee that was replaced is not measured any more, which is an outcome, too.
    if endpoint.kind is Kind.KL:
        measured |= {line.visit for line in lines if line.cells.get("replaced", MISSING) != MISSING}
    return [at for at in visits if at in measured]


def by_visit(
    lines: Iterable[Line],
    visits: Collection[str],
    read: Callable[[Line], Reading],
) -> dict[str, dict[KneeId, dict[str, Reading]]]:
    """The readings of all lines by visit, knee and reading project."""
    found: dict[str, dict[KneeId, dict[str, Reading]]] = {at: {} for at in visits}
    for line in lines:
        found[line.visit].setdefault(line.knee, {})[line.project] = read(line)
    return found


def _agreed(
    lines: Iterable[Line], column: str, read: Callable[[Line], _Said | None]
) -> dict[KneeId, _Said | None]:
    """What the lines of each knee at one visit say in a column, None where none says anything.

    Raises a `UsageError` where two of them, of different reading projects, contradict each other.
    """
    said: dict[KneeId, _Said | None] = {}
    for line in lines:
        found, known = read(line), said.get(line.knee)
        if known is not None and found is not None and found != known:
            raise UsageError(
                f"{line.place}: another {column} of {line.knee.subject} {line.knee.side} "
                f"at {line.visit} than in a line above",
                "keep one",
            )
        said[line.knee] = found if known is None else known
    return said


def width_reading_of(line: Line, cells: Cells) -> Reading:
    """The width in a line, mm."""
    cell = line.cells.get("jsw", MISSING)
    if cell == MISSING:
        return Reading(None, Problem.MISSING)
    number = number_or_none(cell)
    reading = width_reading(number)
    cells.value(line, "jsw", "mm", reading.value)
    return Reading(None, Problem.NO_NUMBER) if number is None else reading


def _values(line: Line, cells: Cells) -> dict[str, ClinicalValue]:
    values = {}
    for variable in VARIABLES:
        found = _value(line, variable)
        values[variable.name] = cells.value(line, variable.name, variable.unit, found)
    return values


def _value(line: Line, variable: Variable) -> ClinicalValue:
    cell = line.cells.get(variable.name, MISSING)
    if cell == MISSING:
        return None
    if variable.codes is not None:
        return _category(variable, cell)
    value = number_or_none(before_label(cell))
    if value is None or not _is_possible(variable, value):
        return None
    return whole(value) if variable.name in GRADES else value


def _category(variable: Variable, cell: str) -> str | None:
    """The category that a cell names, alone or behind a code (`2: Female`).

    A code alone says nothing: other studies have other codes. But 1 is yes and 0 no everywhere.
    """
    if variable.codes is None:
        return None
    names = {value.casefold(): value for value in variable.codes.values()}
    if set(names) == {"0", "1"}:
        said = as_yes(cell)
        return None if said is None else str(int(said))
    code_part, _, label = cell.partition(":")
    word = (label or code_part).strip().casefold()
    if variable.name == "sex":
        word = _SEX.get(word, word)
    return names.get(word)


def _is_possible(variable: Variable, value: Decimal) -> bool:
    if variable.name == "height":
        return 0 < value <= _TALLEST_M
    if variable.limits is None:
        return value >= 0
    low, high = variable.limits
    # A fraction marks a change within a grade, within the highest, too.
    return low <= (whole(value) if variable.name in GRADES else value) <= high


def coded(line: Line, column: str) -> str:
    """The code in a line's cell, `.` where it is missing."""
    cell = before_label(line.cells.get(column, MISSING))
    return "." if cell == MISSING else cell


def _replacements(lines: Iterable[Line], visit: str, horizon: str) -> Replacements:
    """The knees with a prosthesis, and those with an osteotomy between visit and horizon."""
    at_visit, later, before, osteotomies = set(), set(), set(), set()
    for line in lines:
        months = month_of(line.visit)
        if yes_or_no(line, "replaced"):
            if months <= month_of(visit):
                at_visit.add(line.knee)
            elif months <= month_of(horizon):
                later.add(line.knee)
        if yes_or_no(line, "osteotomy"):
            if months <= month_of(visit):
                before.add(line.knee)
            elif months <= month_of(horizon):
                osteotomies.add(line.knee)
    return Replacements(
        at_visit=frozenset(at_visit),
        later=frozenset(later - at_visit),
        osteotomies=frozenset(osteotomies - before),
    )


def _score(values: Mapping[str, ClinicalValue]) -> PainScore:
    pain = values["womac_pain"]
    return PainScore.of(pain if isinstance(pain, Decimal) else None)


def _unused(table: PlainTable, outcome: str, endpoint: Endpoint) -> list[str]:
    used = {*PLAIN_COLUMNS, *CLINICAL_COLUMNS, "knee"}
    if endpoint.kind is Kind.GIVEN:
        used.add(column_name(outcome))
    unused = [name for name in table.columns if name and name not in used]
    return [f"{table.path}: columns not used: {', '.join(unused)}"] if unused else []


def _narrow(path: Path, widths: Mapping[KneeId, Mapping[str, Reading]]) -> list[str]:
    """What is said of widths that may be in centimetres: half of the knees are not that narrow."""
    read = [reading.value for projects in widths.values() for reading in projects.values()]
    values = sorted(value for value in read if value is not None)
    if len(values) < _FEWEST_CELLS or values[len(values) // 2] >= _NARROW_MM:
        return []
    return [f"{path}: half of the widths are below {_NARROW_MM} mm; are they in mm?"]
