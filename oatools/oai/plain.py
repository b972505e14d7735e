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

from oatools.core.errors import ItemError, UsageError
from oatools.core.ids import subject_id, zero_key
from oatools.core.manifest import MISSING, Row
from oatools.oai.clinical import CLINICAL_COLUMNS, VARIABLES, ClinicalValue, Variable
from oatools.oai.codes import KneeId, code, number_or_none
from oatools.oai.endpoints import Endpoint, Kind, horizon_of, month_of, visit_of
from oatools.oai.forms import clean, read_text
from oatools.oai.grades import KL, MEDIAL_NARROWING
from oatools.oai.readings import Problem, Reading
from oatools.oai.replacement import Replacements
from oatools.oai.study import PainScore, StudyTables
from oatools.oai.widths import width_reading

#: Columns of a plain table, besides those of the clinical variables and the outcome.
PLAIN_COLUMNS = ("subject", "side", "visit", "jsw", "readprj", "replaced", "osteotomy")
_REQUIRED = ("subject", "side", "visit")
_BLANK = ("", ".", "n/a", "na", "#n/a", "<na>", "nan", "null", "none")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_CODED_SIDES = {"1": "right", "2": "left"}
_YES = ("1", "yes", "y", "true", "t")
_NO = ("0", "no", "n", "false", "f")
_SEX = {"f": "female", "m": "male"}
# Nobody is taller, in metres: a table in centimetres or millimetres is refused.
_TALLEST_M = Decimal("2.5")
# So many cells of a column tell that it is not in the unit that is meant.
_FEWEST_CELLS = 2

_GRADES = {Kind.KL: ("kl", KL), Kind.NARROWING: ("jsm", MEDIAL_NARROWING)}


@dataclass(frozen=True)
class _Line:
    """One line of the table: where it stands, its knee and visit, and its cells."""

    place: str
    knee: KneeId
    visit: str
    cells: Row

    @property
    def project(self) -> str:
        return self.cells.get("readprj", MISSING)


@dataclass
class _Cells:
    """Reads cells as values, and keeps account of those that hold none."""

    possible: set[str] = field(default_factory=set)
    impossible: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def value(self, line: _Line, column: str, unit: str, found: ClinicalValue) -> ClinicalValue:
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
    header, lines, notes = _read_lines(path, endpoint, outcome)
    visits = sorted({line.visit for line in lines}, key=month_of)
    horizon = horizon_of(endpoint, visit, visits, _measured_visits(endpoint, visits, lines))
    cells = _Cells()
    widths = _by_visit(lines, visits, lambda line: _width(line, cells))
    values: dict[KneeId, dict[str, ClinicalValue]] = {}
    for line in lines:
        if line.visit == visit:
            of_knee = {
                v.name: cells.value(line, v.name, v.unit, _value(line, v)) for v in VARIABLES
            }
            values.setdefault(line.knee, of_knee)
    graded: dict[str, dict[KneeId, dict[str, Reading]]] = {at: {} for at in visits}
    if endpoint.kind in _GRADES:
        column, grade = _GRADES[endpoint.kind]
        graded = _by_visit(lines, visits, lambda line: grade.reading(_coded(line, column)))
    outcomes = {}
    if endpoint.kind is Kind.GIVEN:
        at_visit = [line for line in lines if line.visit == visit]
        outcomes = {line.knee: _yes_or_no(line, outcome) for line in at_visit}
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
        notes=[*notes, *cells.notes(), *_unused(path, header, outcome, endpoint)],
    )


def _read_lines(
    path: Path, endpoint: Endpoint, outcome: str
) -> tuple[list[str], list[_Line], list[str]]:
    """The header of the table in lower case, its lines with knee and visit checked, and notes."""
    table = read_text(path)
    header = [name.casefold() for name in table.header]
    outcome = outcome.casefold()
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise UsageError(f"{path}: two columns '{doubled[0]}'", "keep one")
    needed = [*_REQUIRED, outcome] if endpoint.kind is Kind.GIVEN else list(_REQUIRED)
    for column in needed:
        if column not in header:
            raise UsageError(
                f"{path}: no column '{column}'",
                f"a plain table needs {', '.join(needed)}, and it has {', '.join(header)}",
            )
    lines: list[_Line] = []
    seen: dict[tuple[KneeId, str, str], _Line] = {}
    repeated = coded = 0
    for number, cells in table.lines:
        line = _line(f"{path} line {number}", header, cells)
        coded += code(_text(header, cells, "side")) in _CODED_SIDES
        key = (line.knee, line.visit, line.project)
        if key not in seen:
            seen[key] = line
            lines.append(line)
        elif seen[key].cells == line.cells:
            repeated += 1
        else:
            raise UsageError(
                f"{line.place}: a second line of {line.knee.subject} {line.knee.side} "
                f"at {line.visit}",
                "keep one, or tell readings apart by a column readprj",
            )
    _require_one_form(path, {line.knee.subject for line in lines})
    notes = []
    if repeated:
        notes.append(f"{path}: {repeated} lines repeat another one, used once")
    if coded:
        notes.append(f"{path}: side 1 is taken for right and 2 for left")
    return header, lines, notes


def _line(place: str, header: Sequence[str], cells: Sequence[str]) -> _Line:
    row = {name: _known(cell) for name, cell in zip(header, cells, strict=True) if name}
    side = _side(row["side"])
    if side is None or MISSING in (row["subject"], row["visit"]):
        raise UsageError(
            f"{place}: subject '{row['subject']}', side '{row['side']}' and visit "
            f"'{row['visit']}' make no knee",
            "write side as left or right",
        )
    try:
        subject = subject_id(row["subject"])
        visit = visit_of(month_of(row["visit"].casefold()))
    except (ItemError, UsageError) as error:
        raise UsageError(f"{place}: {error.reason}", error.remedy) from None
    return _Line(place, KneeId(subject, side), visit, row)


def _text(header: Sequence[str], cells: Sequence[str], column: str) -> str:
    return clean(cells[header.index(column)])


def _side(cell: str) -> str | None:
    """The side that a cell names, or codes as the Initiative does: `1`, `2.0`, `1: Right`."""
    named, _, label = cell.partition(":")
    coded = _CODED_SIDES.get(code(named.strip()))
    word = _SIDES.get(label.strip().casefold())
    if label and coded and word != coded:
        return None
    return coded or _SIDES.get(cell.casefold())


def _require_one_form(path: Path, subjects: Iterable[str]) -> None:
    """Refuse ids that differ by zeros in front alone: nothing says whether they are one person."""
    seen: dict[str, str] = {}
    for subject in subjects:
        other = seen.setdefault(zero_key(subject), subject)
        if other != subject:
            first, second = sorted((subject, other))
            raise UsageError(
                f"{path}: subjects {first} and {second} differ by zeros in front alone",
                "write every person in one way",
            )


def _known(cell: str) -> str:
    bare = clean(cell)
    return MISSING if bare.casefold() in _BLANK else bare


def _measured_visits(
    endpoint: Endpoint, visits: Sequence[str], lines: Iterable[_Line]
) -> list[str]:
    """The visits at which what the endpoint is made from was measured in anybody."""
    column = _GRADES[endpoint.kind][0] if endpoint.kind in _GRADES else "jsw"
    measured = {line.visit for line in lines if line.cells.get(column, MISSING) != MISSING}
    # A knee that was replaced is not measured any more, which is an outcome, too.
    if endpoint.kind is Kind.KL:
        measured |= {line.visit for line in lines if line.cells.get("replaced", MISSING) != MISSING}
    return [at for at in visits if at in measured]


def _by_visit(
    lines: Iterable[_Line],
    visits: Collection[str],
    read: Callable[[_Line], Reading],
) -> dict[str, dict[KneeId, dict[str, Reading]]]:
    """The readings of all lines by visit, knee and reading project."""
    found: dict[str, dict[KneeId, dict[str, Reading]]] = {at: {} for at in visits}
    for line in lines:
        found[line.visit].setdefault(line.knee, {})[line.project] = read(line)
    return found


def _width(line: _Line, cells: _Cells) -> Reading:
    cell = line.cells.get("jsw", MISSING)
    if cell == MISSING:
        return Reading(None, Problem.MISSING)
    number = number_or_none(cell)
    reading = width_reading(number)
    cells.value(line, "jsw", "mm", reading.value)
    return Reading(None, Problem.NO_NUMBER) if number is None else reading


def _values(line: _Line, cells: _Cells) -> dict[str, ClinicalValue]:
    values = {}
    for variable in VARIABLES:
        found = _value(line, variable)
        values[variable.name] = cells.value(line, variable.name, variable.unit, found)
    return values


def _value(line: _Line, variable: Variable) -> ClinicalValue:
    cell = line.cells.get(variable.name, MISSING)
    if cell == MISSING:
        return None
    if variable.codes is not None:
        return _category(variable, cell)
    value = number_or_none(_before_label(cell))
    return value if value is not None and _is_possible(variable, value) else None


def _category(variable: Variable, cell: str) -> str | None:
    """The category that a cell names, alone or behind a code (`2: Female`).

    A code alone says nothing: other studies have other codes. But 1 is yes and 0 no everywhere.
    """
    if variable.codes is None:
        return None
    names = {value.casefold(): value for value in variable.codes.values()}
    if set(names) == {"0", "1"}:
        said = _as_yes(cell)
        return None if said is None else str(int(said))
    code_part, _, label = cell.partition(":")
    word = (label or code_part).strip().casefold()
    if variable.name == "sex":
        word = _SEX.get(word, word)
    return names.get(word)


def _before_label(cell: str) -> str:
    return cell.partition(":")[0].strip()


def _is_possible(variable: Variable, value: Decimal) -> bool:
    if variable.name == "height":
        return 0 < value <= _TALLEST_M
    if variable.limits is None:
        return value >= 0
    low, high = variable.limits
    return low <= value <= high


def _coded(line: _Line, column: str) -> str:
    cell = _before_label(line.cells.get(column, MISSING))
    return "." if cell == MISSING else cell


def _as_yes(cell: str) -> bool | None:
    """What a cell of yes or no says, as any export writes it; None for anything else.

    `1`, `1.0`, `yes`, `TRUE` and `1: Yes` say yes.
    """
    word = code(_before_label(cell)).casefold()
    if word in _YES:
        return True
    return False if word in _NO else None


def _yes_or_no(line: _Line, column: str) -> bool | None:
    """What a line says in a column of yes or no, None where it is missing.

    Raises a `UsageError` for anything else: a knee must not be mislabelled for a word.
    """
    cell = line.cells.get(column.casefold(), MISSING)
    if cell == MISSING:
        return None
    said = _as_yes(cell)
    if said is None:
        raise UsageError(f"{line.place}: {column} '{cell}' is neither yes nor no", "write 1 or 0")
    return said


def _replacements(lines: Iterable[_Line], visit: str, horizon: str) -> Replacements:
    """The knees with a prosthesis, and those with an osteotomy between visit and horizon."""
    at_visit, later, before, osteotomies = set(), set(), set(), set()
    for line in lines:
        months = month_of(line.visit)
        if _yes_or_no(line, "replaced"):
            if months <= month_of(visit):
                at_visit.add(line.knee)
            elif months <= month_of(horizon):
                later.add(line.knee)
        if _yes_or_no(line, "osteotomy"):
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


def _unused(path: Path, header: Sequence[str], outcome: str, endpoint: Endpoint) -> list[str]:
    used = {*PLAIN_COLUMNS, *CLINICAL_COLUMNS, "knee"}
    if endpoint.kind is Kind.GIVEN:
        used.add(outcome.casefold())
    unused = [name for name in header if name and name not in used]
    return [f"{path}: columns not used: {', '.join(unused)}"] if unused else []
