"""The one table that passes between commands: TSV, a header line, `n/a` for a missing value.

Splitting is on tabs alone, with no quoting, so that awk, cut, join, sort and Miller read the same
cells. Rows stream: a table is read line by line and never held whole unless its reader asks for
that.
"""

import contextlib
import math
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from oatools.core.bids import is_bids_name
from oatools.core.errors import ItemError, UsageError, item_error
from oatools.core.files import atomic
from oatools.core.forms import note_repeated
from oatools.core.paths import require_readable
from oatools.core.suggestions import did_you_mean

MISSING = "n/a"
IDENTITY = ["knee", "subject", "visit", "side", "sequence", "path"]
TABLE_SUFFIXES = (".tsv", ".txt")

Row = dict[str, str]

_NAME = re.compile(
    r"(?P<knee>(?P<subject>.+)_(?P<visit>\d+m)_(?P<side>left|right))(_(?P<sequence>[^_]+))?"
)
# By these names of columns, and by the absence of these characters, the header of a table is told
# from a path.
_KNOWN_COLUMNS = {*IDENTITY, "label", "probability", "id", "patient"}
_OF_PATHS = re.compile(r"[/.\\]")
# Bytes that are not UTF-8, as Python holds them in texts.
_UNDECODED = re.compile("[\udc80-\udcff]")
# Of a table; what is longer is something else, or was made to take all memory.
_LONGEST_LINE = 1 << 24
_BLOCK_BYTES = 1 << 20
_VOLUMES = (".nii.gz", ".nii.bz2", ".nii", ".img.gz", ".img", ".hdr.gz", ".hdr")
_EXTENSIONS = (*_VOLUMES, ".h5", ".pt", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class BadRow:
    """A line that is not a row: where it stands, why it cannot be used, and what to do about it.

    It fails as an item, unless it was left out on purpose. `remedy` is that of an `ItemError`.
    """

    name: str
    error: str
    left_out: bool = False
    remedy: str = ""

    @classmethod
    def of(cls, name: str, error: Exception) -> "BadRow":
        """Return the row that an exception has made of what is called so."""
        failed = item_error(error)
        return cls(name, failed.reason, remedy=failed.remedy)


#: What the rows of a table are: `Row`, or `Row | BadRow` where broken lines are items that fail.
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


@dataclass(frozen=True)
class Table(Generic[R_co]):
    """Columns in order, rows that can be iterated once, and the name that messages use.

    `total` is the number of rows where it is known. `headed` is False where the input was a list of
    paths, whose columns come from the file names.
    """

    columns: list[str]
    rows: Iterator[R_co]
    name: str
    total: int | None = None
    headed: bool = True

    def require(self, *columns: str) -> "Table[R_co]":
        """Return the table itself, or raise a `UsageError` that names the first column missing."""
        for column in columns:
            if column in self.columns:
                continue
            if not self.headed:
                raise UsageError(
                    f"{self.name}: no column '{column}': its first line holds no tab, so its lines "
                    "were taken for paths",
                    "save a table separated by tabs, with a header",
                )
            present = ", ".join(self.columns)
            meant = did_you_mean(column, self.columns)
            raise UsageError(
                f"{self.name}: no column '{column}'; columns present: {present}", meant
            )
        return self

    def with_rows(self, rows: Iterable[S], total: int | None = None) -> "Table[S]":
        """Return the table with other rows, of which there are `total` if that is known."""
        return Table(self.columns, iter(rows), self.name, total, self.headed)


def read_table(source: str | Path, required: Sequence[str] = ()) -> Table[Row]:
    """Open a table with a header (`-` is standard input) that is needed whole, such as labels.

    Raises `UsageError`, when the rows are read, at a line that is not a row. Identical rows are one
    row, here as in `read_rows`.
    """
    table = _open_table(str(source), _Seen(), counts=False).require(*required)
    return Table(table.columns, _strict(table), table.name, headed=table.headed)


def read_rows(arguments: Sequence[str], null_separated: bool = False) -> Table[Row | BadRow]:
    """Open what a command was given: artefact paths, tables (`.tsv`, `.txt`), or `-`.

    No arguments at all mean standard input. A table without a header, whose lines are paths, is
    accepted wherever a table is. Broken lines come out as `BadRow`, so that one of them does not
    stop the others. Rows that are identical are one row, as parallel with `--resume-failed` and
    `cat` leave them.
    """
    seen = _Seen()
    if null_separated and not arguments:
        stream = _stdin()
        listed = iter(()) if stream is None else _records(stream)
        return _paths_table(listed, "standard input", seen)
    if arguments and not any(map(is_table, arguments)):
        return _paths_table(arguments, "the command line", seen, len(arguments))
    tables = []
    for argument in arguments or ["-"]:
        if is_table(argument):
            tables.append(_open_table(argument, seen))
        else:
            tables.append(_paths_table([argument], argument, seen, 1))
    first = tables[0]
    for table in tables[1:]:
        if table.columns != first.columns:
            raise UsageError(
                f"{table.name}: its columns differ from those of {first.name}",
                "give them one by one",
            )
    totals = [table.total for table in tables]
    return Table(
        first.columns,
        chain.from_iterable(table.rows for table in tables),
        first.name,
        sum(filter(None, totals)) if None not in totals else None,
        headed=all(table.headed for table in tables),
    )


def row_from_path(path: str) -> Row:
    """Return the identity columns that a name like `9000099_00m_right_cor-iw-tse.nii.gz` gives.

    For any other name, `knee` is the stem, and the rest is what the sidecar of a volume says, if
    there is one (see `identified`).
    """
    stem = without_extension(Path(path).name)
    match = _NAME.fullmatch(stem)
    known = match.groupdict() if match else {"knee": stem}
    row = {column: known.get(column) or MISSING for column in IDENTITY}
    row["path"] = path
    if match or not path.lower().endswith(_VOLUMES):
        return row
    from oatools.core.provenance import read_sidecar

    fields = read_sidecar(path)
    return identified(row, {name: fields.get(name.capitalize()) for name in IDENTITY})


def identified(row: Row, stated: Mapping[str, object]) -> Row:
    """Complete the identity of a row that was made of a path alone by what the file's record says.

    Where the file has the name that its knee and sequence make, these are the row's, too; a file
    that was renamed since keeps its own name for the knee. What the row says itself stays.
    """
    stem = without_extension(Path(row["path"]).name)
    if row.get("knee") != stem:
        return row
    known = {c: stated[c] for c in IDENTITY if c != "path" and isinstance(stated.get(c), str)}
    names = [str(known[column]) for column in ("knee", "sequence") if column in known]
    is_so_named = stem in (known.get("knee"), "_".join(names)) or is_bids_name(stem, known)
    if "knee" not in known or not is_so_named:
        known.pop("sequence", None)
        known.pop("knee", None)
    more = {c: str(v) for c, v in known.items() if c == "knee" or row.get(c, MISSING) == MISSING}
    return {**row, **more}


def without_extension(path: str) -> str:
    """Return a path or name without the extension of a volume, feature file or archive."""
    for extension in _EXTENSIONS:
        stem = path[: -len(extension)]
        if path.lower().endswith(extension) and stem and not stem.endswith("/"):
            return stem
    return path


def tables_among(arguments: Sequence[str]) -> list[str]:
    """Return those of a command's inputs that are tables in files."""
    return [argument for argument in arguments if argument != "-" and is_table(argument)]


def stated_identity(row: Row) -> Row:
    """The cells that say which knee and sequence a row is about, without those that are missing.

    They go into records, so that one which is not UTF-8 is an `ItemError`.
    """
    named = [column for column in IDENTITY if column != "path"]
    stated = {column: row[column] for column in named if row.get(column, MISSING) != MISSING}
    for column, cell in stated.items():
        if not cell.isascii() and _UNDECODED.search(cell):
            raise ItemError(
                f"the name in column '{column}' is not UTF-8, and cannot be recorded",
                "rename the file, or set the column in a table",
            )
    return stated


def file_stem(row: Row) -> str:
    """Return `KNEE_SEQUENCE`, the name without extension of the files made from this row.

    `KNEE` alone where no sequence is known.
    """
    parts = [row[c] for c in ("knee", "sequence") if row.get(c, MISSING) != MISSING]
    stem = "_".join(parts)
    if not stem or "/" in stem or stem.startswith(".") or not is_cell(stem):
        raise ItemError(
            "knee and sequence give no usable file name",
            "set the columns 'knee' and 'sequence'",
        )
    return stem


def number(row: Row, column: str) -> float | None:
    """Return the finite number in a cell; None where it is `n/a` or the column is absent.

    Anything else is an `ItemError`.
    """
    text = row.get(column, MISSING)
    if text == MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ItemError(
            f"column '{column}' holds '{text}', which is no finite number",
            "correct it or write n/a",
        )
    return value


@contextlib.contextmanager
def naming_table(name: str | Path) -> Iterator[None]:
    """Have errors over what a table holds begin with its name, where they do not name it."""
    try:
        yield
    except (UsageError, ItemError) as error:
        if str(name) in error.reason:
            raise
        raise type(error)(f"{name}: {error.reason}", error.remedy) from None


def format_header(columns: Sequence[str]) -> str:
    """Return the header line, with its line feed."""
    return _join(columns)


def format_row(columns: Sequence[str], row: Row) -> str:
    """Return a row as a line, with `n/a` for an absent or empty cell.

    A tab or line break in a cell is an `ItemError`.
    """
    return _join([row.get(column) or MISSING for column in columns])


def table_bytes(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return the bytes that `write_table` writes."""
    lines = [format_header(columns)]
    lines += [format_row(columns, row) for row in rows]
    return _encoded("".join(lines))


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a whole table, atomically."""
    with atomic(path) as stream:
        stream.write(_encoded(format_header(columns)))
        stream.writelines(_encoded(format_row(columns, row)) for row in rows)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def print_table(columns: Sequence[str], rows: Iterable[Row], header: bool = True) -> None:
    """Write a table to standard output, flushed row by row, with its `header` or without."""
    if header:
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


def is_cell(text: str) -> bool:
    """Tell whether a text can be a cell: one with a tab or a line break cannot."""
    return "\t" not in text and "\n" not in text and "\r" not in text


def as_cell(text: str) -> str:
    """Return a text as it can be a cell, as of a file's name, which may hold a tab."""
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _join(cells: Sequence[str]) -> str:
    for cell in cells:
        if not is_cell(cell):
            raise ItemError(
                f"a tab or line break in the value {cell!r} cannot be written to a table",
                "remove it",
            )
    return "\t".join(cells) + "\n"


def is_table(argument: str) -> bool:
    """Return True for an argument that names a table (or standard input), not an artefact."""
    return argument == "-" or argument.lower().endswith(TABLE_SUFFIXES)


def _stdin() -> BinaryIO | None:
    """Standard input as bytes; None where it is closed."""
    if _stdin_is_replaced():
        return getattr(sys.stdin, "buffer", None)
    # A reader of our own: the interpreter locks sys.stdin at shutdown, and a thread may still wait
    # in it.
    return open(0, "rb", closefd=False)


def _stdin_is_replaced() -> bool:
    try:
        return sys.stdin.fileno() != 0
    except (AttributeError, OSError, ValueError):
        return True


class _Seen:
    """The lines of a command's tables so far, by digests: of millions, too, they are all held."""

    def __init__(self) -> None:
        from hashlib import blake2b  # loads OpenSSL, for which no help waits

        self._digest = blake2b
        self._digests: set[bytes] = set()

    def is_new(self, line: str, source: str) -> bool:
        """Tell whether a line of the table `source` has not been seen before."""
        digest = self._digest(_encoded(line), digest_size=16).digest()
        if digest in self._digests:
            note_repeated(source)
            return False
        self._digests.add(digest)
        return True


def _open_table(source: str, seen: _Seen, counts: bool = True) -> Table[Row | BadRow]:
    """Open a table or a list of paths, and read its first line, which says which of them it is.

    `counts` says whether the rows of a file are counted beforehand.
    """
    name = "standard input" if source == "-" else source
    if source != "-":
        require_readable(source)
    try:
        # Closed by `_lines`: the rows are read long after this function has returned.
        stream = _stdin() if source == "-" else open(source, "rb")  # noqa: SIM115, PTH123
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from None
    if stream is None:
        raise UsageError("standard input is closed", "give a table or paths")
    total = _lines_ahead(stream) if counts else None
    lines = _lines(stream, name, is_ours=source != "-")
    first = next(lines, None)
    if first is None:
        raise UsageError(
            f"{name} is empty", "a table with a header line, or one path a line, was expected"
        )
    if "\0" in first:
        raise UsageError(
            f"{name} is no table: its first line holds binary data (or UTF-16; save it as UTF-8)"
        )
    if "\r" in first:
        raise UsageError(
            f"{name} is no table: its first line holds a line break (CR) that no line feed follows",
            "save it again with line feeds",
        )
    cells = first.removeprefix("\ufeff").split("\t")
    if len(cells) == 1 and cells[0] not in IDENTITY:
        _refuse_other_separators(first, name)
        total = None if total is None else total + 1  # there is no header
        return _paths_table(chain([first], lines), name, seen, total)
    _check_header(cells, name)
    return Table(cells, _rows(cells, lines, name, seen), name, total)


def _lines_ahead(stream: BinaryIO) -> int | None:
    """Return the number of lines in a file behind the first; None for what is read but once."""
    try:
        number = stream.fileno()
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return None
        at = os.lseek(number, 0, os.SEEK_CUR)
        lines, last = 0, b""
        while block := os.pread(number, _BLOCK_BYTES, at):
            lines, last, at = lines + block.count(b"\n"), block, at + len(block)
    except (OSError, ValueError):
        return None
    is_ended = not last or last.endswith(b"\n")
    return max(0, lines - 1 if is_ended else lines)


def _refuse_other_separators(first: str, name: str) -> None:
    """Raise a `UsageError` for the header of a table that commas or semicolons separate.

    A list of paths is told from it by the names of columns, or the slashes and dots of paths.
    """
    for separator, called in ((",", "commas"), (";", "semicolons")):
        cells = [cell.strip(" \"'").lower() for cell in first.split(separator)]
        is_header = bool(_KNOWN_COLUMNS.intersection(cells)) or not _OF_PATHS.search(first)
        if len(cells) > 1 and is_header and not os.path.lexists(first):
            raise UsageError(
                f"{name}: its first line is separated by {called}", "save a table separated by tabs"
            )


def _check_header(cells: list[str], name: str) -> None:
    if "" in cells:
        raise UsageError(f"{name}: the header has a column without a name", "name it, or delete it")
    if len(set(cells)) < len(cells):
        doubled = min(cell for cell, count in Counter(cells).items() if count > 1)
        raise UsageError(f"{name}: the header has two columns {doubled!r}")


def _lines(stream: BinaryIO, name: str, is_ours: bool) -> Iterator[str]:
    """Yield the lines of a stream, and close it at the end if it is ours."""
    with stream if is_ours else contextlib.nullcontext():
        for line in iter(partial(stream.readline, _LONGEST_LINE), b""):
            if len(line) == _LONGEST_LINE:
                raise _too_long(name, "line")
            yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _records(stream: BinaryIO) -> Iterator[str]:
    """Yield the texts of standard input that NULs end, as soon as they are there."""
    begun = b""
    # Of a pipe, what is there already; a file of our own has no `read1`.
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK_BYTES):
        *whole, begun = (begun + block).split(b"\0")
        if len(begun) > _LONGEST_LINE:
            raise _too_long("standard input", "name")
        for record in whole:
            yield record.decode("utf-8", "surrogateescape")
    yield begun.decode("utf-8", "surrogateescape")


def _too_long(name: str, what: str) -> UsageError:
    return UsageError(
        f"{name}: a {what} is longer than {_LONGEST_LINE >> 20} MiB, so that it is no table"
    )


def _rows(
    columns: list[str], lines: Iterable[str], name: str, seen: _Seen
) -> Iterator[Row | BadRow]:
    """Yield the rows below the header; repeated headers, rows and empty lines are skipped."""
    for count, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if cells == columns or not any(cells):
            continue  # spreadsheets end tables with rows of nothing
        place = f"{name} line {count}"
        if "\0" in line or "\r" in line:
            held = "a NUL" if "\0" in line else "a line break within it (CR)"
            yield BadRow(place, f"the line holds {held}", remedy="save the table again as text")
        elif cells[0] == columns[0] == "knee":
            error = "a second header that differs from the first"
            yield BadRow(place, error, remedy="give such tables one by one")
        elif len(cells) != len(columns):
            fields = f"{len(cells)} fields where the header has {len(columns)}"
            yield BadRow(place, fields, remedy="correct the line")
        elif seen.is_new(line, name):
            yield {column: cell or MISSING for column, cell in zip(columns, cells, strict=True)}


def _strict(table: Table[Row | BadRow]) -> Iterator[Row]:
    """Yield the rows of a table, and raise a `UsageError` at the first line that is not one."""
    for row in table.rows:
        if isinstance(row, BadRow):
            raise UsageError(f"{row.name}: {row.error}", row.remedy)
        yield row


def _paths_table(
    paths: Iterable[str], name: str, seen: _Seen, total: int | None = None
) -> Table[Row | BadRow]:
    rows = (_row_or_bad(path) for path in paths if path and seen.is_new(path, name))
    return Table(list(IDENTITY), rows, name, total, headed=False)


def _row_or_bad(path: str) -> Row | BadRow:
    if "\0" in path:
        return BadRow(path, "no file has a NUL in its name", remedy="give a list of paths")
    return row_from_path(path)
