"""The study's clinical and reading tables as they are released in ASCII: where they are and what a cell means.

Files are latin-1 text with CRLF line ends, cells separated by `|` and not quoted, under names and column names
whose case varies between releases. They lie in one folder or in many; they are found by name at any depth.
"""

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from oatools.core.errors import UsageError

#: Months since enrolment -> the number in file names (`AllClinical03`) and column prefixes (`V03`).
VISITS = {"00m": 0, "12m": 1, "18m": 2, "24m": 3, "30m": 4, "36m": 5, "48m": 6, "72m": 8, "96m": 10}
#: The visits at which knees were X-rayed.
XRAY_VISITS = ("00m", "12m", "24m", "36m", "48m", "72m", "96m")
SIDES = {"1": "right", "2": "left"}
#: The code of a knee that was replaced.
PROSTHESIS = ".P"

Record = dict[str, str]
Knee = tuple[str, str]

# Retest readings share the column names of the readings proper, and format lists are no data.
_NOT_DATA = re.compile(r"_rel_duryea|_formats$", re.IGNORECASE)
_MISSING = re.compile(r"\.[A-Z]?")


@dataclass(frozen=True)
class Tables:
    """The tables below a folder: lower-case name without extension -> the files of that name."""

    folder: Path
    paths: dict[str, list[Path]]

    def has(self, name: str) -> bool:
        """Whether there is a table of that name, whatever its case."""
        return name.lower() in self.paths


def find_tables(folder: str | Path) -> Tables:
    """Look for `.txt` tables at any depth below a folder; retest (`_rel_duryea`) and `_Formats` files are no tables."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds the study's ASCII tables")
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".txt" and not _NOT_DATA.search(path.stem) and path.is_file():
            paths.setdefault(path.stem.lower(), []).append(path)
    return Tables(folder, paths)


def read_table(tables: Tables, name: str, required: Iterable[str], optional: Iterable[str] = ()) -> list[Record]:
    """Read some columns of the table of that name (`kxr_qjsw_duryea00`); see `read_ascii` for the cells.

    Raises a `UsageError` where there is no such table, where files of that name differ, or where a required column
    is missing.
    """
    found = tables.paths.get(name.lower(), [])
    if not found:
        raise UsageError(f"no table {name}.txt anywhere below {tables.folder}; unpack it there (any folder, any case)")
    contents = {path.read_bytes() for path in found} if len(found) > 1 else set()
    if len(contents) > 1:
        raise UsageError(f"{name}: {found[0]} and {found[1]} differ; keep the one to use below {tables.folder}")
    required = [column.upper() for column in required]
    return read_ascii(found[0], [*required, *(column.upper() for column in optional)], required)


def read_ascii(path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()) -> list[Record]:
    """Read a table: upper-case column name -> cell, one record a line.

    `1: Right` becomes `1`; a missing value is its dot code without label (`.`, `.P`, `.A`, ...), `.` for a blank
    cell. `columns` (upper case) limits what is kept. The delimiter is `|`, or a tab where the header has no `|`.
    Raises a `UsageError` for a required column that is not there and for a line of another length.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    # On line feeds alone: latin-1 text may hold characters that str.splitlines takes for line ends.
    lines = text.removeprefix("\u00ef\u00bb\u00bf").split("\n")
    delimiter = "|" if "|" in lines[0] else "\t"
    header = [name.strip().upper() for name in lines[0].split(delimiter)]
    for column in required:
        if column not in header:
            raise UsageError(f"{path}: no column {column}; it has {_listed(header)}")
    kept = [(i, name) for i, name in enumerate(header) if name and (columns is None or name in columns)]
    records = []
    for count, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split(delimiter)
        if len(cells) != len(header):
            raise UsageError(f"{path} line {count}: {len(cells)} cells where the header has {len(header)}")
        records.append({name: _cell(cells[i]) for i, name in kept})
    return records


def is_missing(cell: str) -> bool:
    """Whether a cell of `read_ascii` is one of the missing codes."""
    return _MISSING.fullmatch(cell) is not None


def decimal(cell: str) -> Decimal | None:
    """The exact finite number in a cell, None for a missing code; a `ValueError` for any other text."""
    if is_missing(cell):
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        raise ValueError(f"{cell!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{cell!r} is no finite number")
    return value


def code(cell: str) -> str:
    """A category's or project's code as text: `1.0`, `01` and `1` are the same, missing codes stay."""
    try:
        value = decimal(cell)
    except ValueError:
        return cell
    return cell if value is None or value != value.to_integral_value() else str(int(value))


def plain(value: Decimal) -> str:
    """A number without exponent and trailing zeros: `4.10` is `4.1`, `0.0` is `0`."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def knee_of(record: Record) -> Knee | None:
    """Subject and side (`left`, `right`) of a record with the columns ID and SIDE; None if either is unusable."""
    subject, side = subject_of(record), SIDES.get(code(record["SIDE"]))
    return None if side is None or subject is None else (subject, side)


def subject_of(record: Record) -> str | None:
    """The participant's id as text (a spreadsheet's `9000099.0` is `9000099`), None where it is missing."""
    return None if is_missing(record["ID"]) else record["ID"].removesuffix(".0")


def _cell(text: str) -> str:
    value = text.partition(":")[0].strip()
    if not value:
        return "."
    return value.upper() if len(value) <= 2 and _MISSING.fullmatch(value.upper()) else value


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
