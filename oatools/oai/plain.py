"""The table of any other study: TSV or CSV with a header, one line for each knee and visit.

Columns: `subject`, `side` (left, right), `visit` (00m, 12m, …), `jsw` (mm), the clinical variables
under their names and in their units (`oa-label --list-variables`), `readprj` where a knee was read
several times, and `replaced` (1 from the visit on at which the knee has a prosthesis). Missing
cells are blank or n/a; other columns are not used.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row
from oatools.oai.clinical import CLINICAL_COLUMNS, VARIABLES, ClinicalValue, Variable
from oatools.oai.codes import KneeId, number_or_none
from oatools.oai.endpoints import Endpoint, horizon_of, month_of
from oatools.oai.study import PainScore, StudyTables
from oatools.oai.widths import Problem, Reading

#: Columns of a plain table, besides those of the clinical variables.
PLAIN_COLUMNS = ("subject", "side", "visit", "jsw", "readprj", "replaced")
_REQUIRED = ("subject", "side", "visit")
_BLANK = ("", ".", "n/a", "na", "nan", "null")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_SEX = {"f": "female", "m": "male"}
# Nobody is taller, in metres: a table in centimetres or millimetres is refused.
_TALLEST_M = Decimal("2.5")


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


def open_plain(path: Path, endpoint: Endpoint, visit: str) -> StudyTables:
    """Read a plain table as far as an endpoint at a visit needs it.

    Raises a `UsageError` for what cannot be read, with the number of the line.
    """
    header, lines = _read_lines(path)
    visits = sorted({line.visit for line in lines}, key=month_of)
    measured = {line.visit for line in lines if line.cells.get("jsw", MISSING) != MISSING}
    x_rays = [at for at in visits if at in measured]
    horizon = horizon_of(endpoint, visit, visits, x_rays)
    widths: dict[str, dict[KneeId, dict[str, Reading]]] = {at: {} for at in visits}
    values: dict[KneeId, dict[str, ClinicalValue]] = {}
    replaced = set()
    for line in lines:
        readings = widths[line.visit].setdefault(line.knee, {})
        if line.project in readings:
            raise UsageError(
                f"{line.place}: a second line of {line.knee.subject} {line.knee.side} "
                f"at {line.visit}",
                "keep one, or tell readings apart by a column readprj",
            )
        readings[line.project] = _width(line)
        if line.cells.get("replaced") == "1" and month_of(line.visit) <= month_of(horizon):
            replaced.add(line.knee)
        if line.visit == visit:
            values.setdefault(line.knee, {v.name: _value(line, v) for v in VARIABLES})
    enrolled = list(dict.fromkeys(line.knee for line in lines))
    return StudyTables(
        endpoint=endpoint,
        visit=visit,
        first=widths[visit],
        second=widths[horizon] if endpoint.months else {},
        scores={knee: _score(values[knee]) for knee in enrolled if knee in values},
        enrolled=enrolled,
        replaced=replaced,
        clinical=values,
        notes=_notes(path, header),
    )


def _read_lines(path: Path) -> tuple[list[str], list[_Line]]:
    """The header of the table, and its lines with knee and visit checked."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    first = text.partition("\n")[0]
    rows = csv.reader(text.splitlines(), delimiter="\t" if "\t" in first else ",")
    header = [name.strip() for name in next(rows, [])]
    for column in _REQUIRED:
        if column not in header:
            raise UsageError(
                f"{path}: no column '{column}'",
                f"a plain table needs {', '.join(_REQUIRED)}, and it has {', '.join(header)}",
            )
    lines = []
    for number, cells in enumerate(rows, start=2):
        if any(cell.strip() for cell in cells):
            lines.append(_line(f"{path} line {number}", header, cells))
    return header, lines


def _line(place: str, header: Sequence[str], cells: Sequence[str]) -> _Line:
    if len(cells) != len(header):
        raise UsageError(f"{place}: {len(cells)} cells where the header has {len(header)}")
    row = {name: _known(cell) for name, cell in zip(header, cells, strict=True)}
    side = _SIDES.get(row["side"].lower())
    if side is None or MISSING in (row["subject"], row["visit"]):
        raise UsageError(
            f"{place}: subject '{row['subject']}', side '{row['side']}' and visit "
            f"'{row['visit']}' make no knee",
            "write side as left or right",
        )
    month_of(row["visit"])  # refuses what is no visit
    return _Line(place, KneeId(row["subject"], side), row["visit"], row)


def _known(cell: str) -> str:
    return MISSING if cell.strip().lower() in _BLANK else cell.strip()


def _width(line: _Line) -> Reading:
    cell = line.cells.get("jsw", MISSING)
    if cell == MISSING:
        return Reading(None, Problem.MISSING)
    width = number_or_none(cell)
    if width is None or width < 0:
        raise UsageError(f"{line.place}: jsw '{cell}' is no width in mm")
    return Reading(width)


def _value(line: _Line, variable: Variable) -> ClinicalValue:
    cell = line.cells.get(variable.name, MISSING)
    if cell == MISSING:
        return None
    if variable.codes is not None:
        return _category(line, variable, cell)
    value = number_or_none(cell)
    if value is None or not _is_possible(variable, value):
        raise UsageError(f"{line.place}: {variable.name} '{cell}' is no value in {variable.unit}")
    return value


def _category(line: _Line, variable: Variable, cell: str) -> str:
    word = cell
    if variable.name == "sex":
        word = _SEX.get(cell.lower(), cell.lower())
    if variable.codes is None or word not in variable.codes.values():
        raise UsageError(f"{line.place}: {variable.name} '{cell}' is none of {variable.unit}")
    return word


def _is_possible(variable: Variable, value: Decimal) -> bool:
    if variable.name == "height":
        return 0 <= value <= _TALLEST_M
    if variable.limits is None:
        return value >= 0
    low, high = variable.limits
    return low <= value <= high


def _score(values: Mapping[str, ClinicalValue]) -> PainScore:
    pain = values["womac_pain"]
    return PainScore.of(pain if isinstance(pain, Decimal) else None)


def _notes(path: Path, header: Sequence[str]) -> list[str]:
    used = {*PLAIN_COLUMNS, *CLINICAL_COLUMNS, "knee"}
    unused = [name for name in header if name not in used]
    return [f"{path}: columns not used: {', '.join(unused)}"] if unused else []
