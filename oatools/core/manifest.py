"""The one table that passes between commands: TSV, a header line, `n/a` for a missing value.

Splitting is on tabs alone, with no quoting, so that awk, cut, join, sort and Miller read the same cells. Rows
stream: a table is read line by line and never held whole unless its reader asks for that.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import atomic

MISSING = "n/a"
IDENTITY = ["knee", "subject", "visit", "side", "sequence", "path"]
TABLE_SUFFIXES = (".tsv", ".txt")

Row = dict[str, str]

_NAME = re.compile(r"(?P<knee>(?P<subject>[^_]+)_(?P<visit>\d+m)_(?P<side>left|right))(_(?P<sequence>[^_]+))?")
_EXTENSIONS = (".nii.gz", ".nii", ".h5", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class BadRow:
    """A line that is no row: where it stands and why. It fails as an item, unless it was left out by intent."""

    name: str
    error: str
    left_out: bool = False


@dataclass
class Table:
    """Columns in order, rows that can be iterated once, and the name by which messages call the table.

    `headed` is False where the input was a list of paths, whose columns come from the file names.
    """

    columns: list[str]
    rows: Iterator[Row | BadRow]
    name: str
    total: int | None = None
    headed: bool = True

    def require(self, *columns: str) -> "Table":
        """Return the table itself, or raise a `UsageError` that names the first column missing."""
        for column in columns:
            if column not in self.columns:
                if not self.headed:
                    raise UsageError(f"{self.name}: no column '{column}': its first line holds no tab, so its lines "
                                     "were taken for paths; save a table separated by tabs, with a header")  # fmt: skip
                raise UsageError(f"{self.name}: no column '{column}'; columns present: {', '.join(self.columns)}")
        return self


def read_table(source: str | Path, required: Sequence[str] = ()) -> Table:
    """Open a table with a header (`-` is standard input); a line that is no row raises a `UsageError`.

    For tables that are needed whole (labels, folds): there one broken line makes the table unusable.
    """
    table = _open_table(str(source)).require(*required)
    return Table(table.columns, _strict(table), table.name, headed=table.headed)


def read_rows(arguments: Sequence[str], null_separated: bool = False) -> Table:
    """Open what a command was given: artefact paths, tables (`.tsv`, `.txt`), `-`, or nothing (standard input).

    A table without a header, whose lines are paths, is accepted wherever a table is. Broken lines come out as
    `BadRow`, so that one of them does not stop the others.
    """
    if null_separated and not arguments:
        paths = [p for p in _stdin().read().decode("utf-8", "surrogateescape").split("\0") if p]
        return _paths_table(paths, "standard input", len(paths))
    if all(not is_table(argument) for argument in arguments) and arguments:
        return _paths_table(arguments, "the command line", len(arguments))
    tables = [_open_table(a) if is_table(a) else _paths_table([a], a, 1) for a in arguments or ["-"]]
    for table in tables[1:]:
        if table.columns != tables[0].columns:
            raise UsageError(f"{table.name}: its columns differ from those of {tables[0].name}; give them one by one")
    return Table(
        tables[0].columns,
        chain.from_iterable(t.rows for t in tables),
        tables[0].name,
        headed=all(t.headed for t in tables),
    )


def row_from_path(path: str) -> Row:
    """The identity columns, from a file name like `9000099_00m_right_cor-iw-tse.nii.gz`; else `knee` is the stem."""
    stem = Path(path).name
    stem = next((stem[: -len(e)] for e in _EXTENSIONS if stem.lower().endswith(e) and len(stem) > len(e)), stem)
    match = _NAME.fullmatch(stem)
    known = match.groupdict() if match else {"knee": stem}
    return {column: known.get(column) or MISSING for column in IDENTITY[:-1]} | {"path": path}


def file_stem(row: Row) -> str:
    """`KNEE_SEQUENCE`, the name without extension of the files made from this row; `KNEE` if no sequence is known."""
    parts = [row[c] for c in ("knee", "sequence") if row.get(c, MISSING) != MISSING]
    if not parts or "/" in (stem := "_".join(parts)) or stem.startswith("."):
        raise ItemError("knee and sequence give no usable file name; set the columns 'knee' and 'sequence'")
    return stem


def number(row: Row, column: str) -> float | None:
    """A finite number from a cell, None where it is `n/a` or the column is absent, else an `ItemError`."""
    text = row.get(column, MISSING)
    if text == MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ItemError(f"column '{column}' holds '{text}', which is no finite number; correct it or write n/a")
    return value


def format_header(columns: Sequence[str]) -> str:
    """The header line, with its line feed."""
    return _join(columns)


def format_row(columns: Sequence[str], row: Row) -> str:
    """A row as a line; an absent or empty cell becomes `n/a`, a tab or line break in one is an `ItemError`."""
    return _join([row.get(column) or MISSING for column in columns])


def table_bytes(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """The bytes that `write_table` writes."""
    text = format_header(columns) + "".join(format_row(columns, row) for row in rows)
    return text.encode("utf-8", "surrogateescape")


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a whole table, atomically."""
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as out,
    ):
        out.write(format_header(columns))
        out.writelines(format_row(columns, row) for row in rows)


def print_table(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table to standard output, flushed row by row."""
    emit(format_header(columns))
    for row in rows:
        emit(format_row(columns, row))


def emit(line: str) -> None:
    """Write one line to standard output at once; a file name that is not UTF-8 keeps its bytes."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(line)
    else:
        buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _join(cells: Sequence[str]) -> str:
    for cell in cells:
        if any(c in cell for c in "\t\n\r"):
            raise ItemError(f"a tab or line break in the value {cell!r} cannot be written to a table; remove it")
    return "\t".join(cells) + "\n"


def is_table(argument: str) -> bool:
    """Whether an argument names a table (or standard input) rather than an artefact."""
    return argument == "-" or argument.lower().endswith(TABLE_SUFFIXES)


def _stdin() -> BinaryIO:
    # A reader of our own: the interpreter locks sys.stdin at shutdown, and a thread may still wait in it.
    return getattr(sys.stdin, "buffer", None) if _stdin_is_replaced() else open(0, "rb", closefd=False)  # noqa: PTH123


def _stdin_is_replaced() -> bool:
    try:
        return sys.stdin.fileno() != 0
    except (AttributeError, OSError, ValueError):
        return True


def _open_table(source: str) -> Table:
    name = "standard input" if source == "-" else source
    try:
        stream = _stdin() if source == "-" else open(source, "rb")  # noqa: SIM115, PTH123
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
    if stream is None:
        raise UsageError("standard input is closed; give a table or paths")
    lines = _lines(stream)
    first = next(lines, None)
    if first is None:
        raise UsageError(f"{name} is empty; a table with a header line, or one path a line, was expected")
    if "\0" in first:
        raise UsageError(f"{name} is no table: its first line holds binary data (or UTF-16; save it as UTF-8)")
    cells = first.removeprefix("\ufeff").split("\t")
    if len(cells) == 1 and cells[0] not in IDENTITY:
        return _paths_table(chain([first], lines), name)
    if "" in cells:
        raise UsageError(f"{name}: the header has a column without a name; name it, or delete it")
    if doubled := sorted({c for c in cells if cells.count(c) > 1}):
        raise UsageError(f"{name}: the header has two columns {doubled[0]!r}")
    return Table(cells, _rows(cells, lines, name), name)


def _lines(stream: BinaryIO) -> Iterator[str]:
    for line in stream:
        yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _rows(columns: list[str], lines: Iterable[str], name: str) -> Iterator[Row | BadRow]:
    for count, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if cells == columns or not any(cells):
            continue  # spreadsheets end tables with rows of nothing
        if cells[0] == columns[0] == "knee":
            yield BadRow(
                f"{name} line {count}", "a second header that differs from the first; give such tables one by one"
            )
        elif len(cells) != len(columns):
            yield BadRow(
                f"{name} line {count}", f"{len(cells)} fields where the header has {len(columns)}; correct the line"
            )
        else:
            yield {column: cell or MISSING for column, cell in zip(columns, cells, strict=True)}


def _strict(table: Table) -> Iterator[Row]:
    for row in table.rows:
        if isinstance(row, BadRow):
            raise UsageError(f"{row.name}: {row.error}")
        yield row


def _paths_table(paths: Iterable[str], name: str, total: int | None = None) -> Table:
    return Table(list(IDENTITY), (row_from_path(path) for path in paths if path), name, total, headed=False)
