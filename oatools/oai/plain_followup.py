"""A plain table of all visits after one, as far as an endpoint of time needs it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING
from oatools.oai.codes import KneeId
from oatools.oai.endpoints import Kind, endpoint_of, month_of
from oatools.oai.followup import FollowUp
from oatools.oai.outcomes import Prosthesis
from oatools.oai.plain import (
    Cells,
    by_visit,
    coded,
    open_plain,
    width_reading_of,
)
from oatools.oai.plain_lines import Line, read_lines, yes_or_no
from oatools.oai.readings import Readings
from oatools.oai.timed_endpoints import TimedEndpoint

# The column that is needed of an endpoint, by its kind.
_NEEDED = {Kind.WIDTH: "jsw", Kind.KL: "kl", Kind.NARROWING: "jsm", None: "replaced"}


def open_plain_followup(path: Path, endpoint: TimedEndpoint, visit: str) -> FollowUp:
    """Read a plain table from a visit on; a `UsageError` for what cannot be read."""
    lines = read_lines(path, _NEEDED[endpoint.kind]).lines
    readings: dict[int, Readings] = {}
    at_first = endpoint_of("none")
    if endpoint.read is not None:
        readings = _readings(lines, endpoint, visit)
        later = min(month for month in readings if month > month_of(visit))
        at_first = replace(endpoint.read, months=later - month_of(visit))
    start = open_plain(path, at_first, visit, "outcome")
    seen: dict[KneeId, set[int]] = defaultdict(set)
    for line in lines:
        seen[line.knee].add(month_of(line.visit))
    # An osteotomy ends the course of a grade as a replacement does, as for the grade at one visit.
    words = ["replaced", "osteotomy"] if endpoint.kind is Kind.KL else ["replaced"]
    replaced: dict[KneeId, Prosthesis] = {}
    for word in words:
        for knee, when in _from_a_visit_on(lines, word, seen, month_of(visit)).items():
            if knee not in replaced or when.by < replaced[knee].by:
                replaced[knee] = when
    return FollowUp(
        endpoint=endpoint,
        start=start,
        readings=readings,
        replaced=replaced,
        contact={knee: Decimal(max(months)) for knee, months in seen.items()},
        notes=[*start.notes, f"{path}: who died is not known"],
    )


def _readings(lines: Sequence[Line], endpoint: TimedEndpoint, visit: str) -> dict[int, Readings]:
    """What the endpoint is read from, at the visit and later."""
    column = _NEEDED[endpoint.kind]
    holding = {line.visit for line in lines if line.cells.get(column, MISSING) != MISSING}
    measured = sorted(holding, key=month_of)
    visits = [at for at in measured if month_of(visit) <= month_of(at) <= endpoint.months]
    if visit not in visits or len(visits) < 2:
        raise UsageError(
            f"{endpoint.name} at {visit} needs readings at {visit} and later",
            f"there are some at {', '.join(measured) or 'no visit'}; "
            "choose with `visit` and `until`",
        )
    of_visits = [line for line in lines if line.visit in visits]
    cells, grade = Cells(), endpoint.grade
    if grade is None:
        found = by_visit(of_visits, visits, lambda line: width_reading_of(line, cells))
    else:
        found = by_visit(of_visits, visits, lambda line: grade.reading(coded(line, column)))
    return {month_of(at): found[at] for at in visits}


def _from_a_visit_on(
    lines: Iterable[Line], word: str, seen: Mapping[KneeId, set[int]], begin: int
) -> dict[KneeId, Prosthesis]:
    """When a column first says yes of each knee: since the line before it.

    A knee of which it says so at the visit or before is none of them.
    """
    first: dict[KneeId, int] = {}
    for line in lines:
        if yes_or_no(line, word):
            month = month_of(line.visit)
            first[line.knee] = min(month, first.get(line.knee, month))
    found = {}
    for knee, month in first.items():
        before = [at for at in seen[knee] if at < month]
        if month > begin:
            by = Decimal(month)
            found[knee] = Prosthesis(Decimal(max((begin, *before))), by, by)
    return found
