"""The study's tables as NDA's structures: one file for all visits, keyed by `src_subject_id` and `visit`.

A column `mcmjsw` of the visit `V00` is what the ASCII tables call `V00MCMJSW`. Which structure
holds which clinical variable, and whether an entry variable keeps its prefix (`p02sex`), is not
documented in one place; so a structure is known by its columns, and a variable is taken wherever it
stands, with or without its prefix.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.oai.codes import SIDES, VISITS, Record, cell_of

# What marks the structure that stands in for a table of readings or outcomes. Other tables are of
# people.
_MARKS = {
    "kxr_qjsw_duryea": ("mcmjsw",),
    "kxr_sq_bu": ("xrkl",),
    "outcomes": ("v99erkdays", "erkdays"),
}
_PEOPLE = ("enrollees", "allclinical", "subjectchar")
_PREFIX = re.compile(r"[VP]\d\d")
_WORDS = {"right": "1", "r": "1", "left": "2", "l": "2"}
_SEX = {"m": "1", "male": "1", "f": "2", "female": "2"}
_VISIT = re.compile(r"v?(\d\d)(m?)", re.IGNORECASE)


def find_structure(
    structures: Mapping[Path, list[str]], name: str, columns: Iterable[str]
) -> list[Path]:
    """The structures that stand in for the table of that name; for a table of people, all with one of `columns`."""
    stem = name.lower().rstrip("0123456789")
    if stem in _MARKS:
        return [
            path
            for path, names in structures.items()
            if any(mark in names for mark in _MARKS[stem])
        ]
    if stem not in _PEOPLE:
        return []
    readings = {mark for marks in _MARKS.values() for mark in marks}
    people = [path for path, names in structures.items() if not readings & set(names)]
    wanted = {name for column in columns for name in _names(column)} - {
        "src_subject_id",
        "sex",
        "interview_age",
    }
    if stem == "enrollees":
        return [path for path in people if "enrollee" in path.stem.lower()] or people
    found = [path for path in people if not wanted or wanted & set(structures[path])]
    return sorted(
        found, key=lambda path: "age" not in structures[path]
    )  # the age of the interview comes second


def holds(names: list[str], column: str) -> bool:
    """Whether a structure with these column names has what the ASCII tables call `column` (upper case)."""
    return _place(column, names) is not None


def read_structure(
    path: Path, number: int | None, columns: Iterable[str], required: Iterable[str]
) -> list[Record]:
    """The records of a structure at the visit of that number (all, if None) under the ASCII tables' column names.

    `columns` are those names, upper case; of `required`, those that the structure lacks are missing
    in every record. Raises a `UsageError` for a file that cannot be read.
    """
    csv.field_size_limit(1 << 24)
    try:
        with path.open(encoding="latin-1", newline="") as stream:
            rows = csv.reader(stream, delimiter="\t")
            header = [
                name.strip().lower().removeprefix("\u00ef\u00bb\u00bf") for name in next(rows)
            ]
            next(rows, None)  # descriptions
            lines = [cells for cells in rows if any(cell.strip() for cell in cells)]
    except (OSError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); download it again") from None
    places = {column: _place(column, header) for column in columns if _is_of(column, number)}
    lacking = {column: "." for column in required if places.get(column) is None}
    visit = header.index("visit") if "visit" in header else None
    # A line about a person may leave the visit blank; a reading without one belongs to none.
    accepted = (
        (number,)
        if any(mark in header for marks in _MARKS.values() for mark in marks)
        else (number, None)
    )
    records = []
    for count, cells in enumerate(lines, start=3):
        if len(cells) != len(header):
            raise UsageError(
                f"{path} line {count}: {len(cells)} cells where the header has {len(header)}"
            )
        if number is None or visit is None or _number(cells[visit]) in accepted:
            records.append(
                lacking
                | {c: _cell(c, header[p], cells[p]) for c, p in places.items() if p is not None}
            )
    return records


def _names(column: str) -> list[str]:
    """How a structure may call a column of the ASCII tables, the likeliest first."""
    if column == "ID":
        return ["src_subject_id"]
    names = [column.lower(), _PREFIX.sub("", column, count=1).lower()]
    return [*names, "interview_age"] if names[1] == "age" else names


def _place(column: str, header: list[str]) -> int | None:
    return next((header.index(name) for name in _names(column) if name in header), None)


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
    """Whether a prefixed column is of that visit; those of the entry (P01, P02, V00) are of visit 0 and of no visit."""
    prefix = _PREFIX.match(column)
    at = 0 if prefix is None or prefix[0][0] == "P" else int(prefix[0][1:])
    return prefix is None or at == (number or 0) or at == 99


def _number(text: str) -> int | None:
    """The number of a visit written `V01` or `12m`; None where it says nothing of the kind."""
    match = _VISIT.fullmatch(text.strip())
    if match is None:
        return 0 if text.strip().lower() in ("baseline", "enrollment") else None
    return VISITS.get(f"{match[1]}m", -1) if match[2] else int(match[1])
