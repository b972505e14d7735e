"""What labels are made of, read from the Initiative's tables or from any study's own plain table."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row
from oatools.oai import clinical, endpoints
from oatools.oai.clinical import VARIABLES, Variable
from oatools.oai.codes import SIDES, VISITS, XRAY_VISITS, Knee, Record, decimal, plain
from oatools.oai.endpoints import (
    MINIMUM,
    Endpoint,
    Reading,
    Readings,
    horizon_of,
    jsw_columns,
    month_of,
)
from oatools.oai.tables import Tables, find_tables, read_table

#: Columns of a plain table, besides those of the clinical variables.
PLAIN_COLUMNS = ("subject", "side", "visit", "jsw", "readprj", "replaced")
_REQUIRED = ("subject", "side", "visit")
_BLANK = ("", ".", "n/a", "na", "nan", "null")
_PLAIN_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_PLAIN_SEX = {"f": "female", "m": "male"}
# Nobody is taller, in metres; a table in centimetres or millimetres is told so.
_TALLEST_M = 2.5


@dataclass(frozen=True)
class Study:
    """The knees of a study as far as one endpoint needs them.

    `first` and `second` are the widths at the visit and at the horizon, `scores` the WOMAC pain
    cells at the visit, `enrolled` the knees that count as assessed, `replaced` those with a
    prosthesis by the horizon, `values` the clinical variables at the visit. `notes` say what was
    found odd on the way.
    """

    first: Readings
    second: Readings
    scores: Mapping[Knee, str]
    enrolled: list[Knee]
    replaced: set[Knee]
    values: Mapping[Knee, Row]
    notes: list[str]


def open_study(
    source: Path, endpoint: Endpoint, visit: str, location: str = MINIMUM, partial: bool = False
) -> Study:
    """Read the Initiative's tables below a folder, or a plain table (see `open_plain`) from a file.

    `partial` does without clinical tables that are not there. Raises a `UsageError` for a study
    that cannot serve.
    """
    if source.is_dir():
        return open_release(find_tables(source), endpoint, visit, location, partial)
    if location != MINIMUM:
        raise UsageError(
            f"--jsw {location}: a plain table has one column of widths, jsw; put there what you need"
        )
    return open_plain(source, endpoint, visit)


def open_release(
    tables: Tables, endpoint: Endpoint, visit: str, location: str, partial: bool
) -> Study:
    """Read the Initiative's tables."""
    horizon = horizon_of(endpoint, visit, list(VISITS), XRAY_VISITS)
    pain = endpoints.pain_columns(visit)
    people = clinical.read_people(
        tables, visit, horizon, partial, [] if endpoint.months else list(pain.values())
    )
    grades = _grades(tables, visit, partial)
    outcomes = (
        read_table(tables, "Outcomes99", ["ID"], clinical.outcome_columns())
        if tables.has("Outcomes99")
        else []
    )
    notes = [
        f"{path} is not read: the table is there as text, too" for path in tables.passed_over()
    ]
    width_visits = (
        [visit, horizon]
        if endpoint.months
        else [visit] * (visit in XRAY_VISITS and _has_jsw(tables, visit))
    )
    widths = []
    for each in width_visits:
        records = read_table(tables, _jsw_name(each), *jsw_columns(each, location))
        for what, count in endpoints.irregular_records(records).items():
            notes.append(f"{_jsw_name(each)}: {count} records {what}, not used")
        widths.append(endpoints.readings(records, each, location))
    enrolled = [(subject, side) for subject in people for side in SIDES.values()]
    knees = {*enrolled, *(knee for read in widths for knee in read)}
    return Study(
        first=widths[0] if widths else {},
        second=widths[1] if len(widths) > 1 else {},
        scores={
            (s, side): people[s].get(column, ".") for s in people for side, column in pain.items()
        },
        enrolled=enrolled,
        replaced=clinical.replaced_knees(people, horizon, grades)
        | clinical.replaced_by_outcome(outcomes, horizon),
        values={
            k: clinical.clinical_values(people.get(k[0], {}), k, visit, grades.get(k, MISSING))
            for k in sorted(knees)
        },
        notes=notes,
    )


def open_plain(path: Path, endpoint: Endpoint, visit: str) -> Study:
    """Read a plain table: TSV or CSV with a header, one line a knee and visit.

    Columns: `subject`, `side` (left, right), `visit` (00m, 12m, …), `jsw` (mm), the clinical
    variables under their names and in their units (`oa-label --list-variables`), `readprj` where
    several readings are told apart, and `replaced` (1 from the visit on at which the knee has a
    prosthesis). Missing cells are blank or n/a; other columns are not used. Raises a `UsageError`
    for what cannot be read, naming the line.
    """
    lines, unused = _plain_lines(path)
    visits = sorted({line["visit"] for _, line in lines}, key=month_of)
    measured = {line["visit"] for _, line in lines if line.get("jsw", MISSING) != MISSING}
    horizon = horizon_of(endpoint, visit, visits, [v for v in visits if v in measured])
    widths: dict[str, dict[Knee, dict[str, Reading]]] = {v: {} for v in visits}
    values: dict[Knee, Row] = {}
    enrolled: list[Knee] = []
    replaced = set()
    for number, line in lines:
        knee, at, project = (
            (line["subject"], line["side"]),
            line["visit"],
            line.get("readprj", MISSING),
        )
        if knee not in enrolled[-1:]:
            enrolled.append(knee)
        if project in widths[at].setdefault(knee, {}):
            raise UsageError(
                f"{path} line {number}: a second line of {knee[0]} {knee[1]} at {at}; keep one, or tell "
                "readings apart by a column readprj"
            )
        widths[at][knee][project] = _plain_width(path, number, line)
        if line.get("replaced") == "1" and month_of(at) <= month_of(horizon):
            replaced.add(knee)
        if at == visit:
            values.setdefault(
                knee, {v.name: _plain_value(path, number, v, line) for v in VARIABLES}
            )
    missing = {name: MISSING for name in clinical.CLINICAL_COLUMNS}
    knees = list(dict.fromkeys(enrolled))
    return Study(
        first=widths[visit],
        second=widths[horizon] if endpoint.months else {},
        scores={
            knee: values[knee]["womac_pain"].replace(MISSING, ".")
            for knee in knees
            if knee in values
        },
        enrolled=knees,
        replaced=replaced,
        values={knee: values.get(knee, missing) for knee in knees},
        notes=[f"{path}: columns not used: {', '.join(unused)}"] if unused else [],
    )


def _plain_lines(path: Path) -> tuple[list[tuple[int, Record]], list[str]]:
    """Numbered lines of a plain table with their cells checked as far as identity goes, and the columns not used."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path}: {reason}") from None
    rows = csv.reader(text.splitlines(), delimiter="\t" if "\t" in text.partition("\n")[0] else ",")
    header = [name.strip() for name in next(rows, [])]
    for column in _REQUIRED:
        if column not in header:
            raise UsageError(
                f"{path}: no column '{column}'; a plain table needs {', '.join(_REQUIRED)}, and it has "
                f"{', '.join(header)}"
            )
    lines = []
    for number, cells in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {number}: {len(cells)} cells where the header has {len(header)}"
            )
        line = {name: _known(cell) for name, cell in zip(header, cells, strict=True)}
        side = _PLAIN_SIDES.get(line["side"].lower())
        if MISSING in (line["subject"], line["visit"]) or side is None:
            raise UsageError(
                f"{path} line {number}: subject '{line['subject']}', side '{line['side']}' and visit "
                f"'{line['visit']}' make no knee; write side as left or right"
            )
        month_of(line["visit"])
        lines.append((number, line | {"side": side}))
    used = {*PLAIN_COLUMNS, *clinical.CLINICAL_COLUMNS, "knee"}
    return lines, [name for name in header if name not in used]


def _known(cell: str) -> str:
    return MISSING if cell.strip().lower() in _BLANK else cell.strip()


def _plain_width(path: Path, number: int, line: Record) -> Reading:
    cell = line.get("jsw", MISSING)
    if cell == MISSING:
        return Reading(None, endpoints.NO_JSW)
    try:
        width = decimal(cell)
    except ValueError:
        width = None
    if width is None or width < 0:
        raise UsageError(f"{path} line {number}: jsw '{cell}' is no width in mm")
    return Reading(width)


def _plain_value(path: Path, number: int, variable: Variable, line: Record) -> str:
    cell = line.get(variable.name, MISSING)
    if cell == MISSING:
        return MISSING
    if variable.codes is not None:
        word = _PLAIN_SEX.get(cell.lower(), cell.lower()) if variable.name == "sex" else cell
        if word not in variable.codes.values():
            raise UsageError(
                f"{path} line {number}: {variable.name} '{cell}' is none of {variable.unit}"
            )
        return word
    try:
        value = decimal(cell)
    except ValueError:
        value = None
    low, high = variable.limits or (0, float("inf"))
    if value is None or not low <= value <= (_TALLEST_M if variable.name == "height" else high):
        raise UsageError(
            f"{path} line {number}: {variable.name} '{cell}' is no value in {variable.unit}"
        )
    return plain(value)


def _has_jsw(tables: Tables, visit: str) -> bool:
    return tables.has(_jsw_name(visit))


def _jsw_name(visit: str) -> str:
    return f"kxr_qjsw_duryea{VISITS[visit]:02d}"


def _grades(tables: Tables, visit: str, partial: bool) -> Mapping[Knee, str]:
    name = f"kxr_sq_bu{VISITS[visit]:02d}"
    if visit not in XRAY_VISITS or (partial and not tables.has(name)):
        return {}
    needed = ["ID", "SIDE", "READPRJ", f"V{VISITS[visit]:02d}XRKL"]
    return clinical.kl_grades(read_table(tables, name, needed), visit)


def assessed_patients(knees: Iterable[Knee]) -> int:
    """How many people these knees belong to."""
    return len({subject for subject, _ in knees})
