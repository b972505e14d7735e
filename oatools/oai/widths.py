"""Joint space widths: their columns, what a reading says, and which two of a knee are compared.

All arithmetic is decimal: a joint space that goes from 4.1 to 3.6 mm has lost exactly 0.5 mm.
"""

import enum
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.oai.clinical import project_rank
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

#: The reading project taken first where a knee was read in several; then they are taken by
#: ascending number.
FIRST_PROJECTS = ("16",)

#: The width that is taken unless another is asked for: the minimum of the medial compartment.
MINIMUM = "mcmjsw"
#: All widths of the study's tables: that minimum, and those at fixed places (0.150 to 0.300 and
#: 0.700 to 0.900).
WIDTHS = (
    MINIMUM,
    *(f"jsw{x}" for x in range(150, 301, 25)),
    *(f"ljsw{x}" for x in range(700, 901, 25)),
)
# Flags of what could not be measured, for each kind of width, and of bone on bone.
_MINIMUM_FLAGS, _MEDIAL_FLAGS, _LATERAL_FLAGS = ("NOMMJSW", "NOMJSWX"), ("NOMJSWX",), ("NOLJSWX",)
_BONE_ON_BONE = "MJSWBB"
_FLAGS = ("NOMMJSW", "NOMJSWX", "NOLJSWX", _BONE_ON_BONE)


class Problem(enum.Enum):
    """The reason why a reading or a score gives no number."""

    MISSING = "missing"
    NO_NUMBER = "no possible number"
    NOT_MEASURABLE = "not measurable"
    REPLACED = "replaced"


@dataclass(frozen=True)
class Reading:
    """One reading of one X-ray: the joint space width in mm, or the reason why there is none."""

    jsw: Decimal | None
    problem: Problem | None = None


#: Knee -> reading project -> its reading at one visit.
Readings = Mapping[KneeId, Mapping[str, Reading]]


@dataclass(frozen=True)
class WidthPair:
    """The widths (mm) of a knee at the visit and at the horizon, and the project that read both."""

    before: Decimal
    after: Decimal
    project: str

    @property
    def change(self) -> Decimal:
        """The change of the width, mm; a loss is negative."""
        return self.after - self.before


@dataclass(frozen=True)
class LeftOut:
    """The reason why a knee cannot be labelled."""

    reason: str


# The problems that are told, the first that is found, and how.
_TOLD = {
    Problem.NOT_MEASURABLE: "JSW not measurable",
    Problem.NO_NUMBER: "JSW is no possible number",
}


def table_name(visit: str) -> str:
    """The name of the table of widths at a visit."""
    return f"kxr_qjsw_duryea{VISITS[visit]:02d}"


def jsw_columns(visit: str, width: str = MINIMUM) -> tuple[list[str], list[str]]:
    """The columns that are needed at a visit, and those that are used where they exist."""
    prefix = _prefix(visit)
    needed = ["ID", "SIDE", "READPRJ", f"{prefix}{width.upper()}"]
    return needed, ["VERSION", *(f"{prefix}{flag}" for flag in _FLAGS)]


def readings(
    records: Iterable[Record], visit: str, width: str = MINIMUM
) -> dict[KneeId, dict[str, Reading]]:
    """Read the widths at a visit by knee and reading project, from records of kxr_qjsw_duryeaNN.

    A knee read more than once in one project keeps a measured reading before one without a
    measurement, then that with the highest VERSION, then the first in the table. A record without
    id, side or project belongs to no knee.
    """
    found: dict[KneeId, dict[str, Reading]] = defaultdict(dict)
    ranks: dict[tuple[KneeId, str], tuple[bool, tuple[int, ...]]] = {}
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project):
            continue
        reading = _reading(record, _prefix(visit), width)
        rank = (reading.jsw is not None, _version(record))
        if (knee, project) not in ranks or rank > ranks[knee, project]:
            ranks[knee, project] = rank
            found[knee][project] = reading
    return dict(found)


def irregular_records(records: Iterable[Record]) -> Counter[str]:
    """Count records that repeat a knee and project, or belong to no knee (see `readings`)."""
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


def first_reading(projects: Mapping[str, Reading]) -> tuple[str, Decimal] | None:
    """The project that comes first of those that measured a width, and that width (mm).

    The order is `FIRST_PROJECTS`, then by number.
    """
    widths = {p: reading.jsw for p, reading in projects.items() if reading.jsw is not None}
    if not widths:
        return None
    project = _first_project(widths)
    return project, widths[project]


def is_replaced(projects: Mapping[str, Reading]) -> bool:
    """Tell whether a reading shows a prosthesis."""
    return any(reading.problem is Problem.REPLACED for reading in projects.values())


def pair_of(before: Mapping[str, Reading], after: Mapping[str, Reading]) -> WidthPair | None:
    """The widths of a knee at two visits from the project that comes first of those with both."""
    pairs = {}
    for project, reading in before.items():
        later = after[project].jsw if project in after else None
        if reading.jsw is not None and later is not None:
            pairs[project] = WidthPair(reading.jsw, later, project)
    return pairs[_first_project(pairs)] if pairs else None


def why_unpaired(
    before: Mapping[str, Reading], after: Mapping[str, Reading], visit: str, horizon: str
) -> LeftOut:
    """The reason why a knee has no two widths that can be compared."""
    for projects, when in ((before, visit), (after, horizon)):
        if any(reading.problem is None for reading in projects.values()):
            continue
        problems = {reading.problem for reading in projects.values()}
        told = [text for problem, text in _TOLD.items() if problem in problems]
        return LeftOut(f"{told[0] if told else 'no JSW'} at {when}")
    return LeftOut(f"JSW at {visit} and {horizon} from different reading projects only")


def _first_project(projects: Iterable[str]) -> str:
    return min(projects, key=lambda project: project_rank(project, FIRST_PROJECTS))


def _prefix(visit: str) -> str:
    return f"V{VISITS[visit]:02d}"


def _reading(record: Record, prefix: str, width: str) -> Reading:
    cell = record[f"{prefix}{width.upper()}"]
    if cell == PROSTHESIS:
        return Reading(None, Problem.REPLACED)
    try:
        jsw = decimal(cell)
    except ValueError:
        return Reading(None, Problem.NO_NUMBER)
    # Where bone touches bone the software measures nothing, and the reader sets the minimum to 0:
    # that is a value.
    is_closed = width == MINIMUM and jsw == 0 and _flag(record, f"{prefix}{_BONE_ON_BONE}")
    is_flagged = any(_flag(record, f"{prefix}{flag}") for flag in _flags_of(width))
    if is_flagged and not is_closed:
        return Reading(None, Problem.NOT_MEASURABLE)
    if jsw is None:
        return Reading(None, Problem.MISSING)
    if jsw < 0:
        return Reading(None, Problem.NO_NUMBER)
    return Reading(jsw)


def _flags_of(width: str) -> tuple[str, ...]:
    if width == MINIMUM:
        return _MINIMUM_FLAGS
    return _LATERAL_FLAGS if width.startswith("ljsw") else _MEDIAL_FLAGS


def _flag(record: Record, column: str) -> bool:
    return code(record.get(column, ".")) == "1"


def _version(record: Record) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", record.get("VERSION", "")))
