"""The study's clinical and reading tables, in whichever form they were downloaded: where they are, and their records.

ASCII: latin-1 text with CRLF line ends, cells separated by `|` and not quoted, under names and
column names whose case varies between releases. SAS: the same tables as `.sas7bdat`, with plain
numbers for codes. NDA: one structure for all visits, tab-separated and quoted, a second line of
descriptions, and lower-case column names without the visit's prefix. All lie in one folder or in
many; they are found at any depth.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.oai.codes import VISITS, Record, cell_of
from oatools.oai.nda import find_structure, holds, read_structure

# The order of preference where a table is there in several forms.
_FORMS = (".txt", ".csv", ".sas7bdat")
# Retest readings share the column names of the readings proper, and format lists are no data.
_NOT_DATA = re.compile(r"_rel_duryea|_formats$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d\d)")
_BOM = "\u00ef\u00bb\u00bf"


@dataclass(frozen=True)
class Tables:
    """The tables below a folder: lower-case name without extension -> the files of that name, best form first.

    `structures` are NDA's: path -> its column names, lower case.
    """

    folder: Path
    paths: dict[str, list[Path]]
    structures: dict[Path, list[str]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether there is a table of that name, whatever its case, or an NDA structure that takes its place."""
        return name.lower() in self.paths or bool(self._standing_in(name, ()))

    def passed_over(self) -> list[Path]:
        """The files that are not read because their table is there in a better form, too."""
        return [
            path
            for found in self.paths.values()
            for path in found
            if path.suffix.lower() != _form(found)
        ]

    def _standing_in(self, name: str, columns: Iterable[str]) -> list[Path]:
        return find_structure(self.structures, name, columns)


def find_tables(folder: str | Path) -> Tables:
    """Look for tables at any depth below a folder; retest (`_rel_duryea`) and `_Formats` files are no tables."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds the study's tables")
    paths: dict[str, list[Path]] = {}
    structures = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _FORMS or _NOT_DATA.search(path.stem) or not path.is_file():
            continue
        names = _structure_names(path) if path.suffix.lower() == ".txt" else []
        if "src_subject_id" in names:
            structures[path] = names
        else:
            paths.setdefault(path.stem.lower(), []).append(path)
    for found in paths.values():
        found.sort(key=lambda path: _FORMS.index(path.suffix.lower()))
    return Tables(folder, paths, structures)


def read_table(
    tables: Tables, name: str, required: Iterable[str], optional: Iterable[str] = ()
) -> list[Record]:
    """Read some columns of the table of that name (`kxr_qjsw_duryea00`): upper-case name -> cell (see `cells`).

    Raises a `UsageError` where there is no such table, where files of that name differ, or where a
    required column is missing.
    """
    required = [column.upper() for column in required]
    columns = [*required, *(column.upper() for column in optional)]
    found = tables.paths.get(name.lower(), [])
    if not found:
        stand_ins = tables._standing_in(name, columns)
        if not stand_ins:
            raise UsageError(
                f"no table {name}.txt anywhere below {tables.folder}, nor an NDA structure or SAS table "
                "in its place; unpack it there (any folder, any case)"
            )
        for column in required:
            if not any(holds(tables.structures[path], column) for path in stand_ins):
                raise UsageError(
                    f"{stand_ins[0]}: no column for {column}, nor in another structure below {tables.folder}"
                )
        number = _NUMBERED.fullmatch(name)
        visit = (
            int(number["number"]) if number and int(number["number"]) in VISITS.values() else None
        )
        return [
            record
            for path in stand_ins
            for record in read_structure(path, visit, columns, required)
        ]
    best = [path for path in found if path.suffix.lower() == _form(found)]
    contents = {path.read_bytes() for path in best} if len(best) > 1 else set()
    if len(contents) > 1:
        raise UsageError(
            f"{name}: {best[0]} and {best[1]} differ; keep the one to use below {tables.folder}"
        )
    read = read_sas if _form(found) == ".sas7bdat" else read_ascii
    return read(best[0], columns, required)


def read_ascii(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a text table: upper-case column name -> cell (see `cells.cell_of`), one record a line.

    `columns` (upper case) limits what is kept. The delimiter is `|`, or, where the header has none,
    a tab, or a comma. Raises a `UsageError` for a required column that is not there and for a line
    of another length.
    """
    path = Path(path)
    lines = _lines(path)
    first = next(lines, "").removeprefix(_BOM)
    delimiter = next((mark for mark in "|\t" if mark in first), ",")
    header = [name.strip().strip('"').upper() for name in first.split(delimiter)]
    _require(path, header, required)
    kept = [
        (i, name) for i, name in enumerate(header) if name and (columns is None or name in columns)
    ]
    records = []
    for count, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = line.split(delimiter)
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {count}: {len(cells)} cells where the header has {len(header)}; "
                "a cell may hold a line break, or the download be cut off"
            )
        records.append({name: cell_of(cells[i].strip().strip('"')) for i, name in kept})
    return records


def read_sas(
    path: str | Path, columns: Collection[str] | None = None, required: Iterable[str] = ()
) -> list[Record]:
    """Read a SAS table (`.sas7bdat`) as `read_ascii` reads text; special missing values become `.`."""
    import pandas

    path = Path(path)
    try:
        frame = pandas.read_sas(path, encoding="cp1252")
    except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(
            f"{path}: not a readable SAS table ({reason}); download it again"
        ) from None
    header = [str(name).strip().upper() for name in frame.columns]
    _require(path, header, required)
    kept = [
        (frame[original], name)
        for original, name in zip(frame.columns, header, strict=True)
        if columns is None or name in columns
    ]
    texts = [[_sas_cell(value) for value in series] for series, _ in kept]
    return [
        dict(zip((name for _, name in kept), row, strict=True)) for row in zip(*texts, strict=True)
    ]


def _sas_cell(value: object) -> str:
    if isinstance(value, float):
        # The shortest text of the same double: 4.1 is stored as its nearest double and comes back
        # as 4.1.
        return (
            "."
            if value != value
            else cell_of(repr(int(value)) if value.is_integer() else repr(value))
        )  # noqa: PLR0124
    return "." if value is None or value != value else cell_of(str(value))  # noqa: PLR0124


def _form(found: list[Path]) -> str:
    return found[0].suffix.lower()


def _lines(path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    # On line ends alone: latin-1 text may hold characters that str.splitlines takes for them.
    yield from content.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _structure_names(path: Path) -> list[str]:
    """The column names of a tab-separated file, lower case; empty if it is not one or cannot be read."""
    try:
        with path.open("rb") as stream:
            first = stream.readline(1 << 20).decode("latin-1")
    except OSError:
        return []
    return (
        [name.strip().strip('"').lower() for name in first.removeprefix(_BOM).split("\t")]
        if "\t" in first
        else []
    )


def _require(path: Path, header: list[str], required: Iterable[str]) -> None:
    for column in required:
        if column not in header:
            shown = ", ".join(header[:12]) + (
                f" and {len(header) - 12} more" if len(header) > 12 else ""
            )
            raise UsageError(f"{path}: no column {column}; it has {shown}")
