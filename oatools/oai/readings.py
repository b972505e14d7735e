"""Readings of X-rays: what one says, and which two of a knee are compared.

A knee may have been read in several central reading projects, whose numbers are not comparable: two
visits are compared within one project. All arithmetic is decimal, so that a joint space that goes
from 4.1 to 3.6 mm has lost exactly 0.5 mm.
"""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.oai.codes import KneeId, Record, code, is_missing, knee_of


class Problem(enum.Enum):
    """The reason why a reading or a score gives no number."""

    MISSING = "missing"
    NO_NUMBER = "no possible number"
    NOT_MEASURABLE = "not measurable"
    REPLACED = "replaced"


@dataclass(frozen=True)
class Reading:
    """One reading of one X-ray: a width in mm or a grade, or the reason why there is none."""

    value: Decimal | None
    problem: Problem | None = None


#: Knee -> reading project -> its reading at one visit.
Readings = Mapping[KneeId, Mapping[str, Reading]]


@dataclass(frozen=True)
class Measure:
    """Something that is read from X-rays, and the projects that come first where there are more."""

    name: str
    first_projects: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The readings of a knee at the visit and at the horizon, and the project that read both."""

    before: Decimal
    after: Decimal
    project: str

    @property
    def change(self) -> Decimal:
        """The change from the visit to the horizon; that of a width is negative for a loss."""
        return self.after - self.before


@dataclass(frozen=True)
class LeftOut:
    """The reason why a knee cannot be labelled."""

    reason: str


# The problems that are told, the first that is found, and how.
_TOLD = {
    Problem.NOT_MEASURABLE: "not measurable",
    Problem.NO_NUMBER: "is no possible number",
}


def project_rank(project: str, first: Collection[str]) -> tuple[int, str]:
    """The sort key of a reading project.

    Those in `first` come first, in its order, then the others by number, then those without one.
    """
    if project in first:
        return list(first).index(project) - len(first), ""
    if project.isdigit():
        return int(project), ""
    return 10**9, project


def irregular_records(records: Iterable[Record]) -> Counter[str]:
    """Count records that repeat a knee and project, or belong to no knee."""
    seen = set()
    notes = Counter[str]()
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project):
            notes["without id, side or reading project"] += 1
        elif (knee, project) in seen:
            notes["repeated within a reading project"] += 1
        seen.add((knee, project))
    return notes


def first_reading(projects: Mapping[str, Reading], measure: Measure) -> tuple[str, Decimal] | None:
    """The project that comes first of those with a value, and that value."""
    values = {p: reading.value for p, reading in projects.items() if reading.value is not None}
    if not values:
        return None
    project = _first_project(values, measure)
    return project, values[project]


def is_replaced(projects: Mapping[str, Reading]) -> bool:
    """Tell whether a reading shows a prosthesis."""
    return any(reading.problem is Problem.REPLACED for reading in projects.values())


def pair_of(
    before: Mapping[str, Reading], after: Mapping[str, Reading], measure: Measure
) -> Pair | None:
    """The readings of a knee at two visits from the first project of those with both."""
    pairs = {}
    for project, reading in before.items():
        later = after[project].value if project in after else None
        if reading.value is not None and later is not None:
            pairs[project] = Pair(reading.value, later, project)
    return pairs[_first_project(pairs, measure)] if pairs else None


def why_unpaired(
    before: Mapping[str, Reading],
    after: Mapping[str, Reading],
    measure: Measure,
    visit: str,
    horizon: str,
) -> LeftOut:
    """The reason why a knee has no two readings that can be compared."""
    for projects, when in ((before, visit), (after, horizon)):
        found = why_unread(projects, measure, when)
        if found is not None:
            return found
    return LeftOut(f"{measure.name} at {visit} and {horizon} from different reading projects only")


def why_unread(projects: Mapping[str, Reading], measure: Measure, when: str) -> LeftOut | None:
    """The reason why a knee has no value at a visit; None if it has one."""
    if any(reading.problem is None for reading in projects.values()):
        return None
    problems = {reading.problem for reading in projects.values()}
    told = [f"{measure.name} {text}" for problem, text in _TOLD.items() if problem in problems]
    return LeftOut(f"{told[0] if told else f'no {measure.name}'} at {when}")


def _first_project(projects: Iterable[str], measure: Measure) -> str:
    return min(projects, key=lambda project: project_rank(project, measure.first_projects))
