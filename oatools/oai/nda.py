"""The study's tables as NDA's structures: one file for all visits, by `src_subject_id` and `visit`.

A column `mcmjsw` of the visit `V00` is what the ASCII tables call `V00MCMJSW`. Which structure
holds which clinical variable, and whether an entry variable keeps its prefix (`p02sex`), is not
documented in one place; so a structure is known by its columns, and a variable is taken wherever it
stands, with or without its prefix.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.oai.codes import SIDES, VISITS, Record, cell_of
from oatools.oai.forms import BOM

# The columns that mark the structure of a table of readings or outcomes. Other tables are of
# people.
_MARKS = {
    "kxr_qjsw_duryea": ("mcmjsw",),
    "kxr_sq_bu": ("xrkl",),
    "outcomes": ("v99erkdays", "erkdays"),
}
_ALL_MARKS = set[str]().union(*_MARKS.values())
_PEOPLE = ("enrollees", "allclinical", "subjectchar")
# Columns that every structure has, so that they say nothing of what it holds.
_EVERYWHERE = {"src_subject_id", "sex", "interview_age"}
_PREFIX = re.compile(r"[VP]\d\d")
_WORDS = {"right": "1", "r": "1", "left": "2", "l": "2"}
_SEX = {"m": "1", "male": "1", "f": "2", "female": "2"}
_VISIT = re.compile(r"v?(\d\d)(m?)", re.IGNORECASE)
_ENTRY_VISITS = ("baseline", "enrollment")
_OUTCOME_VISIT = 99
_UNKNOWN_VISIT = -1
# A cell of the longest structures passes the csv module's default of 128 KiB.
_LONGEST_CELL = 1 << 24


def find_structure(
    structures: Mapping[Path, list[str]], name: str, columns: Iterable[str]
) -> list[Path]:
    """Find the structures that stand in for the table of that name.

    For a table of people these are all that hold one of `columns`.
    """
    stem = name.lower().rstrip("0123456789")
    if stem in _MARKS:
        marks = set(_MARKS[stem])
        return [path for path, names in structures.items() if marks & set(names)]
    if stem not in _PEOPLE:
        return []
    people = [path for path, names in structures.items() if not _ALL_MARKS & set(names)]
    if stem == "enrollees":
        return [path for path in people if "enrollee" in path.stem.lower()] or people
    wanted: set[str] = set()
    for column in columns:
        wanted.update(_names(column))
    wanted -= _EVERYWHERE
    found = [path for path in people if not wanted or wanted & set(structures[path])]
    # The age of the interview comes second.
    return sorted(found, key=lambda path: "age" not in structures[path])


def holds(names: Sequence[str], column: str) -> bool:
    """Tell whether one of these column names is what the ASCII tables call `column`."""
    return _place(column, names) is not None


def read_structure(
    path: Path, number: int | None, columns: Iterable[str], required: Iterable[str]
) -> list[Record]:
    """Read the records of a structure at the visit of that number (all, if None).

    `columns` are upper-case names of the ASCII tables, under which the cells are returned; of
    `required`, those that the structure lacks are missing in every record. Raises a `UsageError`
    for a file that cannot be read.
    """
    header, lines = _read_lines(path)
    places = {}
    for column in columns:
        place = _place(column, header) if _is_of(column, number) else None
        if place is not None:
            places[column] = place
    lacking = {column: "." for column in required if column not in places}
    visit_place = header.index("visit") if "visit" in header else None
    # A line about a person may leave the visit blank; a reading without one belongs to none.
    is_of_readings = bool(_ALL_MARKS & set(header))
    accepted = (number,) if is_of_readings else (number, None)
    records = []
    for count, cells in enumerate(lines, start=3):
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {count}: {len(cells)} cells where the header has {len(header)}"
            )
        is_wanted = True
        if number is not None and visit_place is not None:
            is_wanted = _visit_number(cells[visit_place]) in accepted
        if is_wanted:
            read = {column: _cell(column, header[p], cells[p]) for column, p in places.items()}
            records.append(lacking | read)
    return records


def _read_lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The column names of a structure in lower case, and its lines after the descriptions."""
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="latin-1", newline="") as stream:
            rows = csv.reader(stream, delimiter="\t")
            header = [name.strip().lower().removeprefix(BOM) for name in next(rows)]
            next(rows, None)  # descriptions
            lines = [cells for cells in rows if "".join(cells).strip()]
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error})", "download it again") from None
    return header, lines


def _names(column: str) -> list[str]:
    """The names that a structure may give a column of the ASCII tables, the likeliest first."""
    if column == "ID":
        return ["src_subject_id"]
    bare = _PREFIX.sub("", column, count=1).lower()
    names = [column.lower(), bare]
    if bare == "age":
        names.append("interview_age")
    return names


def _place(column: str, header: Sequence[str]) -> int | None:
    for name in _names(column):
        if name in header:
            return header.index(name)
    return None


def _cell(column: str, name: str, text: str) -> str:
    value = cell_of(text)
    word = value.lower()
    if column == "SIDE":
        return value if value in SIDES else _WORDS.get(word, value)
    if name == "sex":
        return _SEX.get(word, value)
    if name == "interview_age" and value.isdigit():
        return str(int(value) // 12)  # in months
    return value


def _is_of(column: str, number: int | None) -> bool:
    """Tell whether a column is of that visit, or of none.

    Those of the entry (P01, P02, V00) are of visit 0, and of a table without visits.
    """
    prefix = _PREFIX.match(column)
    if prefix is None:
        return True
    of_visit = 0 if prefix[0].startswith("P") else int(prefix[0][1:])
    return of_visit in (number or 0, _OUTCOME_VISIT)


def _visit_number(text: str) -> int | None:
    """The number of a visit written `V01` or `12m`; None where it says nothing of the kind."""
    word = text.strip()
    match = _VISIT.fullmatch(word)
    if match is None:
        return 0 if word.lower() in _ENTRY_VISITS else None
    digits, is_month = match[1], match[2]
    return VISITS.get(f"{digits}m", _UNKNOWN_VISIT) if is_month else int(digits)
