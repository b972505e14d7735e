"""The forms of a table with one file of its own: text, and SAS (`.sas7bdat`).

Text comes as the studies and other programs write it: separated by `|` (which quotes nothing,
unless it quotes the header), by tabs, semicolons or commas (quoted where needed), with points or
commas in decimals, in UTF-8, UTF-16 or latin-1.
"""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oatools.core.errors import ItemError, UsageError
from oatools.core.limits import VARIABLE, allowance, in_units, require_memory
from oatools.core.paths import require_readable
from oatools.oai.codes import Record, cell_of

#: The mark of UTF-8 at the beginning of a file, read as latin-1.
BOM = "\u00ef\u00bb\u00bf"
# In this order: a header with a bar is separated by bars, whatever else is in it.
_DELIMITERS = "|\t;"
_SHOWN_COLUMNS = 12
# A cell of the longest tables passes the csv module's default of 128 KiB.
_LONGEST_CELL = 1 << 24
_HEADER_BYTES = 1 << 20
# Of memory: of text, so many times its length on the way to its cells; of a line, and of a SAS
# table's cell, as they are kept.
_TIMES_HELD, _LINE_BYTES, _CELL_BYTES = 12, 512, 100
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# Spreadsheets may state the separator in a line above the header.
_STATED = re.compile(r'"?sep=([|\t;,])"?\r?\n', re.IGNORECASE)
#: The marks at the beginning of a file in UTF-16.
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class TextTable:
    """A text table: its header, and the lines below it.

    `lines` have the number of the line in the file and as many cells as the header, to be read with
    `clean`.
    """

    path: Path
    header: list[str]
    lines: Iterator[tuple[int, list[str]]]


def read_text(path: str | Path) -> TextTable:
    """Open a text table.

    Empty lines are passed over, and cells of nothing behind the last column. Raises a `UsageError`
    for what cannot be read, and for a line of another length.
    """
    path = Path(path)
    require_readable(path)
    try:
        allowed = allowance(path)
        text = _decoded(_content(path, allowed // _TIMES_HELD))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if "\0" in text:
        raise UsageError(f"{path}: it is no text", "give a table of text, or a folder of tables")
    if len(text) > _HEADER_BYTES and "\n" not in text[:_HEADER_BYTES]:
        raise UsageError(f"{path}: its first line is longer than 1 MiB, so that it is no header")
    rows = _split(path, text)
    _, names = next(rows, (1, [""]))
    header = [clean(name) for name in names]
    while len(header) > 1 and not header[-1]:
        header.pop()
    return TextTable(path, header, _lines(path, header, rows, allowed // _LINE_BYTES))


def clean(cell: str) -> str:
    """A cell without blanks around it; a number with a decimal comma comes out with a point."""
    bare = cell.strip()
    return bare.replace(",", ".") if _DECIMAL_COMMA.fullmatch(bare) else bare


def column_names(path: Path) -> list[str]:
    """The names in the header of a text file as they stand; empty if it cannot be read."""
    try:
        with path.open("rb") as stream:
            first = _next_line(stream)
            if states_separator(_decoded(first)):
                first += _next_line(stream, first)
    except OSError:
        return []
    _, header = next(_split(path, _decoded(first).strip("\r\n\0")), (1, []))
    return [clean(name) for name in header]


def read_ascii(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a text table: a record for each line, of cells as `codes.cell_of` gives them.

    `columns` (upper case) limits what is kept. Raises a `UsageError` for a required column that is
    not there and for a line of another length.
    """
    table = read_text(path)
    header = [name.upper() for name in table.header]
    _require(table.path, header, required)
    kept = []
    for position, name in enumerate(header):
        if name and (columns is None or name in columns):
            kept.append((position, name))
    records = []
    for _, cells in table.lines:
        records.append({name: cell_of(clean(cells[position])) for position, name in kept})
    return records


def read_sas(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a SAS table as `read_ascii` reads text; special missing values become `.`."""
    try:
        import pandas
    except ImportError:
        raise UsageError(
            f"{path}: SAS tables need pandas", "install it, or use the study's text tables"
        ) from None
    path = Path(path)
    try:
        with pandas.read_sas(path, encoding="cp1252", iterator=True) as reader:
            rows, width = reader.row_count, reader.column_count
            stated = f"{path}: its header states {rows} lines of {width} cells"
            require_memory(rows * width * _CELL_BYTES, allowance(path), stated)
            frame = reader.read()
    except ItemError as error:
        raise UsageError(error.reason, error.remedy) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # of arbitrary bytes: what can be raised is no closed list
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(
            f"{path}: not a readable SAS table ({reason})", "download it again"
        ) from None
    names = [str(name).strip().upper() for name in frame.columns]
    _require(path, names, required)
    kept_names = []
    kept_cells = []
    for original, name in zip(frame.columns, names, strict=True):
        if columns is None or name in columns:
            kept_names.append(name)
            kept_cells.append([_cell(value) for value in frame[original]])
    lines = zip(*kept_cells, strict=True)
    return [dict(zip(kept_names, cells, strict=True)) for cells in lines]


def _content(path: Path, most: int) -> bytes:
    """Return the bytes of a file or pipe; a `UsageError` for more than there is memory for."""
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise UsageError(
            f"{path}: it is longer than {in_units(most)}",
            f"if it is the table that it should be, set {VARIABLE} to more",
        )
    return content


def _decoded(content: bytes) -> str:
    if content.startswith(UTF_16):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1").removeprefix(BOM)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _next_line(stream: BinaryIO, above: bytes = b"") -> bytes:
    """The next line of a text file, of which the bytes `above` were read."""
    line = stream.readline(_HEADER_BYTES)
    # There a line ends with two bytes, of which the second is no line end to `readline`.
    is_cut = (above or line).startswith(codecs.BOM_UTF16_LE)
    return line + stream.read(1) if is_cut else line


def states_separator(line: str) -> bool:
    """Tell whether a line, with its end, does nothing but state the separator (`sep=;`)."""
    return _STATED.fullmatch(line) is not None


def delimiter_of(text: str) -> str:
    """What separates the cells of a text: as it states, or by its header."""
    stated = _STATED.match(text)
    if stated:
        return stated[1]
    header = text.lstrip().partition("\n")[0]
    bare = re.sub(r'"[^"]*"', "", header)
    return next((mark for mark in _DELIMITERS if mark in bare), ",")


def _split(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of the lines that are not empty, with the numbers of the lines."""
    csv.field_size_limit(_LONGEST_CELL)
    delimiter = delimiter_of(text)
    # The study's own tables hold single quotes as text; R's have every name in quotes.
    is_bare = delimiter == "|" and not text.lstrip().startswith('"')
    # On line ends alone: text may hold characters that str.splitlines takes for them.
    rows = csv.reader(
        io.StringIO(text, newline="\n"),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if is_bare else csv.QUOTE_MINIMAL,
    )
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            raise UsageError(
                f"{path} line {rows.line_num}: {error}", "save the table again"
            ) from None
        if cells is None:
            return
        is_stated = rows.line_num == 1 and _STATED.match(text)
        if not is_stated and not _is_blank(cells):
            yield rows.line_num, cells


def _lines(
    path: Path, header: Sequence[str], rows: Iterable[tuple[int, list[str]]], most: int
) -> Iterator[tuple[int, list[str]]]:
    for number, cells in rows:
        if number > most:
            raise UsageError(
                f"{path}: it has more than {most} lines",
                f"if it is the table that it should be, set {VARIABLE} to more",
            )
        if len(cells) > len(header) and _is_blank(cells[len(header) :]):
            del cells[len(header) :]
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {number}: {len(cells)} cells where the header has {len(header)}",
                "a cell may hold a line break, or the download be cut off",
            )
        yield number, cells


def _is_blank(cells: Iterable[str]) -> bool:
    return not "".join(cells).strip()


def _require(path: Path, header: Sequence[str], required: Iterable[str]) -> None:
    """Refuse a table without one of the columns, with a `UsageError` that names those present."""
    for column in required:
        if column in header:
            continue
        shown = ", ".join(header[:_SHOWN_COLUMNS])
        if len(header) > _SHOWN_COLUMNS:
            shown += f" and {len(header) - _SHOWN_COLUMNS} more"
        raise UsageError(f"{path}: no column {column}; it has {shown}")


def _cell(value: object) -> str:
    """The text of a value, as the ASCII tables have it."""
    if value is None or value != value:  # NaN, and pandas' NaT
        return "."
    if not isinstance(value, float):
        return cell_of(str(value))
    # The shortest text of the same double: 4.1 is stored as its nearest double and comes back as
    # 4.1.
    return cell_of(repr(int(value)) if value.is_integer() else repr(value))
