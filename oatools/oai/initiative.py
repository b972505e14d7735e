"""The Initiative's own tables, read as far as one endpoint at one visit needs them."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from oatools.oai import clinical, widths
from oatools.oai.clinical import ClinicalValue
from oatools.oai.codes import SIDES, VISITS, XRAY_VISITS, KneeId, Record
from oatools.oai.endpoints import Endpoint, horizon_of
from oatools.oai.study import PainScore, StudyTables
from oatools.oai.tables import Tables, find_tables, read_table
from oatools.oai.widths import Readings

_OUTCOMES = "Outcomes99"


def open_initiative(folder: Path, endpoint: Endpoint, visit: str, partial: bool) -> StudyTables:
    """Read the Initiative's tables below a folder.

    With `partial` clinical tables may be absent. Raises a `UsageError` for tables that cannot
    serve.
    """
    tables = find_tables(folder)
    horizon = horizon_of(endpoint, visit, list(VISITS), XRAY_VISITS)
    score_columns = _score_columns(visit)
    required = [] if endpoint.months else list(score_columns.values())
    people = clinical.read_people(tables, visit, horizon, partial, required)
    grades = _read_grades(tables, visit, partial)
    outcomes = []
    if tables.has(_OUTCOMES):
        outcomes = read_table(tables, _OUTCOMES, ["ID"], clinical.outcome_columns())
    notes = [
        f"{path} is not read: the table is there as text, too" for path in tables.passed_over()
    ]
    read: list[Readings] = []
    for x_ray in _width_visits(tables, endpoint, visit):
        read.append(_read_widths(tables, x_ray, endpoint.width, notes))
    enrolled = [KneeId(*knee) for knee in itertools.product(people, SIDES.values())]
    knees = set(enrolled).union(*read)
    replaced = clinical.replaced_knees(people, horizon, grades)
    return StudyTables(
        endpoint=endpoint,
        visit=visit,
        first=read[0] if read else {},
        second=read[1] if endpoint.months else {},
        scores=_scores(people, score_columns),
        enrolled=enrolled,
        replaced=replaced | clinical.replaced_by_outcome(outcomes, horizon),
        clinical=_values(knees, people, visit, grades),
        notes=notes,
    )


def _score_columns(visit: str) -> dict[str, str]:
    """Side -> the column of AllClinicalNN with that knee's WOMAC pain at a visit."""
    return {side: f"V{VISITS[visit]:02d}WOMKP{side[0].upper()}" for side in ("right", "left")}


def _read_grades(tables: Tables, visit: str, partial: bool) -> dict[KneeId, str]:
    name = f"kxr_sq_bu{VISITS[visit]:02d}"
    if visit not in XRAY_VISITS or (partial and not tables.has(name)):
        return {}
    needed = ["ID", "SIDE", "READPRJ", f"V{VISITS[visit]:02d}XRKL"]
    return clinical.kl_grades(read_table(tables, name, needed), visit)


def _width_visits(tables: Tables, endpoint: Endpoint, visit: str) -> list[str]:
    """The visits whose widths are read: both for a change, else the visit if it has any."""
    if endpoint.months:
        return [visit, endpoint.horizon(visit)]
    has_widths = visit in XRAY_VISITS and tables.has(widths.table_name(visit))
    return [visit] if has_widths else []


def _read_widths(tables: Tables, visit: str, width: str, notes: list[str]) -> Readings:
    """Read the widths at a visit, and note which records are not used."""
    name = widths.table_name(visit)
    needed, optional = widths.jsw_columns(visit, width)
    records = read_table(tables, name, needed, optional)
    for kind, count in widths.irregular_records(records).items():
        notes.append(f"{name}: {count} records {kind}, not used")
    return widths.readings(records, visit, width)


def _scores(people: Mapping[str, Record], columns: Mapping[str, str]) -> dict[KneeId, PainScore]:
    scores = {}
    for subject, person in people.items():
        for side, column in columns.items():
            scores[KneeId(subject, side)] = PainScore.from_cell(person.get(column, "."))
    return scores


def _values(
    knees: Iterable[KneeId],
    people: Mapping[str, Record],
    visit: str,
    grades: Mapping[KneeId, str],
) -> dict[KneeId, dict[str, ClinicalValue]]:
    values = {}
    for knee in knees:
        person = people.get(knee.subject, {})
        values[knee] = clinical.clinical_values(person, knee, visit, grades.get(knee))
    return values
