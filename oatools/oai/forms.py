"""The forms of a table with one file of its own: text, and SAS (`.sas7bdat`)."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.oai.codes import Record, cell_of

#: The mark of UTF-8 at the beginning of a file, read as latin-1.
BOM = "\u00ef\u00bb\u00bf"
_SHOWN_COLUMNS = 12


def read_ascii(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a text table: a record for each line, of cells as `codes.cell_of` gives them.

    `columns` (upper case) limits what is kept. The delimiter is `|`, or, where the header has none,
    a tab, or a comma. Raises a `UsageError` for a required column that is not there and for a line
    of another length.
    """
    path = Path(path)
    lines = _lines(path)
    first = next(lines, "").removeprefix(BOM)
    delimiter = next((mark for mark in "|\t" if mark in first), ",")
    header = [unquoted(name).upper() for name in first.split(delimiter)]
    _require(path, header, required)
    kept = []
    for position, name in enumerate(header):
        if name and (columns is None or name in columns):
            kept.append((position, name))
    records = []
    for count, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = line.split(delimiter)
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {count}: {len(cells)} cells where the header has {len(header)}",
                "a cell may hold a line break, or the download be cut off",
            )
        records.append({name: cell_of(unquoted(cells[position])) for position, name in kept})
    return records


def read_sas(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a SAS table as `read_ascii` reads text; special missing values become `.`."""
    import pandas

    path = Path(path)
    try:
        frame = pandas.read_sas(path, encoding="cp1252")
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
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


def unquoted(cell: str) -> str:
    """A cell without blanks and quotes around it."""
    return cell.strip().strip('"')


def _lines(path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    # On line ends alone: latin-1 text may hold characters that str.splitlines takes for them.
    yield from content.replace("\r\n", "\n").replace("\r", "\n").split("\n")


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
