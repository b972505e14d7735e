"""Grades of X-rays (kxr_sq_buNN): Kellgren and Lawrence, and OARSI's medial joint space narrowing.

A fraction (.2, .4, .6, .8, in other studies .5 or .9) marks a change within a grade; the grade
itself is the whole number below.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.oai.codes import (
    PROSTHESIS,
    VISITS,
    KneeId,
    Record,
    code,
    decimal,
    is_missing,
    knee_of,
)
from oatools.oai.readings import Measure, Problem, Reading, project_rank

# The projects that read the grades: up to 48 months, and later. 42 is a recoding of 37.
_EARLY_PROJECTS, _LATE_PROJECTS = ("15", "37"), ("37", "15")
_LAST_EARLY_VISIT = 6
_RECODINGS = {"42": "37"}


@dataclass(frozen=True)
class Grade:
    """A grade that is read from X-rays: its column without the visit's prefix, and the highest."""

    column: str
    highest: int
    measure: Measure

    def reading(self, cell: str) -> Reading:
        """What a cell says; anything but 0 to the highest grade is no grade, as 8 and 9 in MOST."""
        if cell == PROSTHESIS:
            return Reading(None, Problem.REPLACED)
        try:
            value = decimal(cell)
        except ValueError:
            return Reading(None, Problem.NO_NUMBER)
        if value is None:
            return Reading(None, Problem.MISSING)
        if not 0 <= value < self.highest + 1:
            return Reading(None, Problem.NO_NUMBER)
        return Reading(value)


KL = Grade("XRKL", 4, Measure("KL grade", _EARLY_PROJECTS))
MEDIAL_NARROWING = Grade("XRJSM", 3, Measure("medial JSN grade", _EARLY_PROJECTS))


def table_name(visit: str) -> str:
    """The name of the table of grades at a visit."""
    return f"kxr_sq_bu{VISITS[visit]:02d}"


def columns(visit: str, grade: Grade) -> list[str]:
    """The columns of the table that `readings` needs."""
    return ["ID", "SIDE", "READPRJ", f"V{VISITS[visit]:02d}{grade.column}"]


def readings(
    records: Iterable[Record], visit: str, grade: Grade
) -> dict[KneeId, dict[str, Reading]]:
    """Read a grade at a visit by knee and reading project, from records of kxr_sq_buNN.

    A knee read more than once in one project keeps the first reading that has a grade.
    """
    column = f"V{VISITS[visit]:02d}{grade.column}"
    found: dict[KneeId, dict[str, Reading]] = defaultdict(dict)
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project):
            continue
        project = _RECODINGS.get(project, project)
        reading = grade.reading(record.get(column, "."))
        known = found[knee].get(project)
        if known is None or (known.value is None and reading.value is not None):
            found[knee][project] = reading
    return dict(found)


def at_visit(projects: Mapping[str, Reading], visit: str) -> Decimal | None:
    """The whole grade of a knee at a visit, from the project that comes first there.

    That is 15, and 37 at 72 and 96 months, then the others by number; a missing grade gives way to
    the next.
    """
    first = first_projects(VISITS[visit] <= _LAST_EARLY_VISIT)
    for project in sorted(projects, key=lambda name: project_rank(name, first)):
        value = projects[project].value
        if value is not None:
            return whole(value)
    return None


def first_projects(is_early: bool) -> tuple[str, ...]:
    """The projects that come first at visits up to 48 months, and at later ones."""
    return _EARLY_PROJECTS if is_early else _LATE_PROJECTS


def whole(value: Decimal) -> Decimal:
    """The grade without the fraction that marks a change within it."""
    return Decimal(math.floor(value))


def is_worse(before: Decimal, after: Decimal) -> bool:
    """Tell whether a grade rose by a whole one, or changed within itself where it had not before.

    The size of a fraction means nothing, so that 1.4 to 1.6 is no change.
    """
    if whole(after) != whole(before):
        return after > before
    return before == whole(before) and after != whole(after)
