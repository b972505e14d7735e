"""Joint space widths (kxr_qjsw_duryeaNN): their columns, their flags, and what a reading says."""

import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from oatools.oai.codes import (
    PROSTHESIS,
    VISITS,
    KneeId,
    Record,
    code,
    decimal,
    is_missing,
    is_yes,
    knee_of,
)
from oatools.oai.readings import Measure, Problem, Reading

#: The width of a joint space, mm. Project 16 is the study's longitudinal one.
WIDTH = Measure("JSW", ("16",))
#: Project 20 read the same X-rays again, to test the readers: it is never a source of labels.
RETEST_PROJECT = "20"

#: The width that is taken unless another is asked for: the minimum of the medial compartment.
MINIMUM = "mcmjsw"
#: All widths of the study's tables: that minimum, and those at fixed places (0.150 to 0.300 and
#: 0.700 to 0.900).
WIDTHS = (
    MINIMUM,
    *(f"jsw{x}" for x in range(150, 301, 25)),
    *(f"ljsw{x}" for x in range(700, 901, 25)),
)
#: Wider is a width in another unit.
WIDEST_MM = 20
# Flags of what could not be measured, for each kind of width, and of bone on bone. NOMJSWX is about
# the widths at fixed places alone; knees that have it may well have a minimum.
_MINIMUM_FLAG, _MEDIAL_FLAG, _LATERAL_FLAG = "NOMMJSW", "NOMJSWX", "NOLJSWX"
_BONE_ON_BONE = "MJSWBB"
_FLAGS = (_MINIMUM_FLAG, _MEDIAL_FLAG, _LATERAL_FLAG, _BONE_ON_BONE)


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
    id, side or project belongs to no knee, and one of the test-retest project is not used.
    """
    found: dict[KneeId, dict[str, Reading]] = defaultdict(dict)
    ranks: dict[tuple[KneeId, str], tuple[bool, tuple[int, ...]]] = {}
    for record in records:
        knee, project = knee_of(record), code(record["READPRJ"])
        if knee is None or is_missing(project) or project == RETEST_PROJECT:
            continue
        reading = _reading(record, _prefix(visit), width)
        rank = (reading.value is not None, _version(record))
        if (knee, project) not in ranks or rank > ranks[knee, project]:
            ranks[knee, project] = rank
            found[knee][project] = reading
    return dict(found)


def retests(records: Iterable[Record]) -> int:
    """Count the records of the test-retest project."""
    return sum(code(record["READPRJ"]) == RETEST_PROJECT for record in records)


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
    if _flag(record, f"{prefix}{_flag_of(width)}") and not is_closed:
        return Reading(None, Problem.NOT_MEASURABLE)
    return width_reading(jsw)


def width_reading(width: Decimal | None) -> Reading:
    """The reading of a width in mm that may be missing; no joint space is negative, or so wide."""
    if width is None:
        return Reading(None, Problem.MISSING)
    if not 0 <= width <= WIDEST_MM:
        return Reading(None, Problem.NO_NUMBER)
    return Reading(width)


def _flag_of(width: str) -> str:
    if width == MINIMUM:
        return _MINIMUM_FLAG
    return _LATERAL_FLAG if width.startswith("ljsw") else _MEDIAL_FLAG


def _flag(record: Record, column: str) -> bool:
    return is_yes(record.get(column, "."))


def _version(record: Record) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", record.get("VERSION", "")))
