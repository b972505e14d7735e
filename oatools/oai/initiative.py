"""The Initiative's own tables, read as far as one endpoint at one visit needs them.

Labels need only what they are made from: tables of clinical variables may be absent, which is said.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping

from oatools.core.errors import UsageError
from oatools.oai import clinical, grades, widths
from oatools.oai.clinical import ClinicalValue
from oatools.oai.codes import SIDES, VISITS, XRAY_VISITS, KneeId, Record
from oatools.oai.endpoints import Endpoint, Kind, horizon_of
from oatools.oai.grades import KL, MEDIAL_NARROWING, Grade
from oatools.oai.readings import Readings, irregular_records, is_replaced
from oatools.oai.replacement import (
    OUTCOMES,
    Adjudicated,
    Replacements,
    adjudicated,
    outcome_columns,
    replacements,
)
from oatools.oai.study import PainScore, StudyTables
from oatools.oai.tables import Tables, read_table

_GRADES = {"kl": KL, "jsm": MEDIAL_NARROWING}
_GRADE_OF_KIND = {Kind.KL: KL, Kind.NARROWING: MEDIAL_NARROWING}


def open_initiative(tables: Tables, endpoint: Endpoint, visit: str) -> StudyTables:
    """Read the Initiative's tables; a `UsageError` for tables that cannot serve."""
    horizon = horizon_of(endpoint, visit, list(VISITS), XRAY_VISITS)
    notes = [
        f"{path} is not read: the table is there as text, too" for path in tables.passed_over()
    ]
    notes += [
        f"{path} is not read: the study's own table is there, too"
        for path in tables.structures_passed_over()
    ]
    score_columns = _score_columns(visit)
    required = list(score_columns.values()) if endpoint.kind is Kind.PAIN else []
    people = clinical.read_people(tables, visit, horizon, required)
    read = TableReader(tables, notes)
    first: Readings = {}
    second: Readings = {}
    if endpoint.kind is Kind.WIDTH:
        first = read.widths(visit, endpoint.width)
        second = read.widths(horizon, endpoint.width)
    elif visit in XRAY_VISITS and tables.has(widths.table_name(visit)):
        first = read.widths(visit, endpoint.width)
    at_visit = {name: read.grades_if_there(visit, grade) for name, grade in _GRADES.items()}
    first_grades: Readings = {}
    second_grades: Readings = {}
    if endpoint.is_graded:
        grade = _GRADE_OF_KIND[endpoint.kind]
        first_grades = read.grades(visit, grade)
        second_grades = read.grades(horizon, grade)
    enrolled = [KneeId(*knee) for knee in itertools.product(people, SIDES.values())]
    knees = set(enrolled).union(first, second, first_grades, second_grades)
    if not knees and any(
        tables.has(name(visit)) for name in (widths.table_name, grades.table_name)
    ):
        raise UsageError(
            f"no line of the tables below {tables.folder} names a knee",
            "look at their columns ID, SIDE and READPRJ: 9000099, 1 or 2 (Right or Left), 16",
        )
    if not knees:
        raise UsageError(
            f"no table of people or readings anywhere below {tables.folder}",
            "unpack the study's tables there (any folder, any case)",
        )
    at_horizon = [second, second_grades]
    if endpoint.kind is Kind.WIDTH:
        at_horizon.append(read.grades_if_there(horizon, KL))
    elif endpoint.is_graded and tables.has(widths.table_name(horizon)):
        at_horizon.append(read.widths(horizon, endpoint.width))
    replaced = _replacements(
        read, people, visit, horizon, on_x_ray=([*at_visit.values(), first], at_horizon)
    )
    notes += _absent(tables, visit) + tables.notes()
    return StudyTables(
        endpoint=endpoint,
        visit=visit,
        first=first,
        second=second,
        first_grades=first_grades,
        second_grades=second_grades,
        scores=_scores(people, score_columns) if endpoint.kind is Kind.PAIN else {},
        enrolled=enrolled,
        replaced=replaced,
        clinical=_values(knees, people, visit, at_visit),
        notes=notes,
    )


class TableReader:
    """Reads tables of X-rays, and notes which records are not used."""

    def __init__(self, tables: Tables, notes: list[str]) -> None:
        self.tables = tables
        self.notes = notes
        self._graded: dict[str, list[Record]] = {}

    def widths(self, visit: str, width: str) -> Readings:
        """Read the widths at a visit."""
        name = widths.table_name(visit)
        needed, optional = widths.jsw_columns(visit, width)
        records = read_table(self.tables, name, needed, optional)
        for kind, count in irregular_records(records).items():
            self.notes.append(f"{name}: {count} records {kind}, not used")
        retests = widths.retests(records)
        if retests:
            self.notes.append(
                f"{name}: {retests} records of project {widths.RETEST_PROJECT} (test-retest), "
                "not used"
            )
        return widths.readings(records, visit, width)

    def widths_if_there(self, visit: str) -> Readings:
        """Read the minimum width at a visit; nothing where there is no such table or column."""
        name = widths.table_name(visit)
        if not self.tables.has(name):
            return {}
        (*keys, column), optional = widths.jsw_columns(visit)
        records = read_table(self.tables, name, keys, [column, *optional])
        return widths.readings([each for each in records if column in each], visit)

    def grades(self, visit: str, grade: Grade) -> Readings:
        """Read a grade at a visit; a `UsageError` where there is no such table or column."""
        needed = grades.columns(visit, grade)
        records = self._grade_records(visit)
        if not records or needed[-1] not in records[0]:
            records = read_table(self.tables, grades.table_name(visit), needed)
        return grades.readings(records, visit, grade)

    def grades_if_there(self, visit: str, grade: Grade) -> Readings:
        """Read a grade at a visit; nothing where there is no such table or column."""
        name = grades.table_name(visit)
        if visit not in XRAY_VISITS or not self.tables.has(name):
            return {}
        return grades.readings(self._grade_records(visit), visit, grade)

    def _grade_records(self, visit: str) -> list[Record]:
        """The records of all grades at a visit, read once."""
        if visit not in self._graded:
            found = [grades.columns(visit, grade) for grade in _GRADES.values()]
            keys = found[0][:-1]
            optional = [columns[-1] for columns in found]
            name = grades.table_name(visit)
            self._graded[visit] = read_table(self.tables, name, keys, optional)
        return self._graded[visit]


def _replacements(
    read: TableReader,
    people: Mapping[str, Record],
    visit: str,
    horizon: str,
    on_x_ray: tuple[Iterable[Readings], Iterable[Readings]],
) -> Replacements:
    outcomes = Adjudicated()
    if read.tables.has(OUTCOMES):
        records = read_table(read.tables, OUTCOMES, ["ID"], outcome_columns())
        outcomes = adjudicated(records, visit, horizon)
        if outcomes.undated:
            read.notes.append(
                f"{OUTCOMES}: replacements without a day and visit that can be read, not used: "
                f"{len(outcomes.undated)}"
            )
        if not records:
            read.notes.append(
                f"{OUTCOMES} (in NDA: oai_outcome01) has no row: no replacement is known from it"
            )
    else:
        read.notes.append(
            f"no table {OUTCOMES} (in NDA: oai_outcome01): which knees were replaced is known "
            "from questionnaires alone"
        )
    seen = [_with_prosthesis(tables) for tables in on_x_ray]
    return replacements(people, outcomes, (seen[0], seen[1]), visit, horizon)


def _with_prosthesis(tables: Iterable[Readings]) -> set[KneeId]:
    found = set[KneeId]()
    for read in tables:
        found.update(knee for knee, projects in read.items() if is_replaced(projects))
    return found


def _absent(tables: Tables, visit: str) -> list[str]:
    """What is said of tables that are not there, and of the variables that they would have had."""
    of_tables = {
        "Enrollees": "sex, race, site and cohort",
        clinical.own_table(visit): "age, body, scores and history",
    }
    if visit in XRAY_VISITS:
        of_tables[grades.table_name(visit)] = "kl and jsm"
    return [
        f"no table {name}: {variables} n/a where no other table has them"
        for name, variables in of_tables.items()
        if not tables.has(name)
    ]


def _score_columns(visit: str) -> dict[str, str]:
    """Side -> the column of AllClinicalNN with that knee's WOMAC pain at a visit."""
    return {side: f"V{VISITS[visit]:02d}WOMKP{side[0].upper()}" for side in ("right", "left")}


def _scores(people: Mapping[str, Record], columns: Mapping[str, str]) -> dict[KneeId, PainScore]:
    scores = {}
    for subject, person in people.items():
        for side, column in columns.items():
            scores[KneeId(subject, side)] = PainScore.from_cell(person.get(column, "."))
    return scores


def _values(
    knees: Collection[KneeId],
    people: Mapping[str, Record],
    visit: str,
    graded: Mapping[str, Readings],
) -> dict[KneeId, dict[str, ClinicalValue]]:
    values = {}
    for knee in knees:
        person = people.get(knee.subject, {})
        of_knee: dict[str, ClinicalValue] = {}
        for name, readings in graded.items():
            of_knee[name] = grades.at_visit(readings.get(knee, {}), visit)
        values[knee] = clinical.clinical_values(person, knee, visit, of_knee)
    return values
