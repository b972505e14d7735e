"""The study's clinical and reading tables, in whichever form they were downloaded.

ASCII: text with CRLF line ends, cells separated by `|` and not quoted, under names and column names
whose case varies between releases. SAS: the same tables as `.sas7bdat`, with plain numbers for
codes. Both are read by `oai.forms`. NDA: one structure for all visits, under column names of its
own (`oai.nda`). All lie in one folder or in many, and text may have been saved again by another
program; they are found at any depth.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from oatools.core.errors import ItemError, UsageError
from oatools.core.ids import subject_id
from oatools.oai.codes import VISITS, Record, comparable, is_missing
from oatools.oai.forms import column_names, read_ascii, read_sas
from oatools.oai.nda import (
    ID,
    are_of_one_kind,
    find_structure,
    holds,
    is_structure,
    read_structure,
)

# The order of preference where a table is there in several forms.
_FORMS = (".txt", ".csv", ".tsv", ".sas7bdat")
# Retest readings share the column names of the readings proper, and format lists are no data.
_NOT_DATA = re.compile(r"_rel_duryea|_formats$", re.IGNORECASE)
_NUMBERED = re.compile(r".*?(\d\d)")
# What tells the records of a structure apart.
_KEYS = ("ID", "SIDE", "READPRJ", "VERSION")
_IDS = ("ID", "MOSTID")


@dataclass(frozen=True)
class Tables:
    """The tables below a folder.

    `paths` has the files of each table, best form first, by its name in lower case without
    extension. `structures` are NDA's, with their column names in lower case; of those that were
    read `foreign` counts the lines of other studies, `unplaced` those without a visit.
    """

    folder: Path
    paths: dict[str, list[Path]]
    structures: dict[Path, list[str]] = field(default_factory=dict)
    foreign: dict[Path, int] = field(default_factory=dict)
    unplaced: dict[Path, int] = field(default_factory=dict)

    def has(self, name: str, columns: Iterable[str] = ()) -> bool:
        """Tell whether there is a table of that name, or an NDA structure that takes its place.

        With `columns` that structure must hold one of them.
        """
        return name.lower() in self.paths or bool(self.stand_ins(name, columns))

    def stand_ins(self, name: str, columns: Iterable[str] = ()) -> list[Path]:
        """The NDA structures that take the place of a table for some of its columns."""
        return find_structure(self.structures, name, columns)

    def passed_over(self) -> list[Path]:
        """The files that are not read because their table is there in a better form, too."""
        passed = []
        for found in self.paths.values():
            passed += [path for path in found if _form(path) != _form(found[0])]
        return passed

    def structures_passed_over(self) -> list[Path]:
        """The NDA structures that are not read because the study's own tables are there, too."""
        if not self.paths:
            return []
        shadowed = set[Path]()
        for name in self.paths:
            shadowed.update(find_structure(self.structures, name, ()))
        return sorted(shadowed)

    def notes(self) -> list[str]:
        """What was found odd in the structures that were read."""
        notes = []
        for path, count in self.foreign.items():
            if count:
                notes.append(
                    f"{path}: {count} rows of other studies ({ID} is not 9xxxxxx), not used"
                )
        for path, count in self.unplaced.items():
            if count:
                notes.append(f"{path}: {count} rows without a visit such as V01, not used")
        return notes


def find_tables(folder: str | Path) -> Tables:
    """Look for tables at any depth below a folder.

    Retest readings (`_rel_duryea`) and lists of formats (`_Formats`) are passed over, and NDA's
    lists of images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give the one that holds the study's tables")
    paths: dict[str, list[Path]] = {}
    structures = {}
    for path in sorted(folder.rglob("*")):
        if _form(path) not in _FORMS or _NOT_DATA.search(path.stem) or not path.is_file():
            continue
        names = [] if _form(path) == ".sas7bdat" else column_names(path)
        names = [name.lower() for name in names if name]
        if ID not in names:
            paths.setdefault(path.stem.lower(), []).append(path)
        elif is_structure(names):
            structures[path] = names
    for found in paths.values():
        found.sort(key=lambda path: _FORMS.index(_form(path)))
    return Tables(folder, paths, structures)


def read_table(
    tables: Tables, name: str, required: Iterable[str], optional: Iterable[str] = ()
) -> list[Record]:
    """Read some columns of a table by its name, such as `kxr_qjsw_duryea00`.

    Raises a `UsageError` where there is no such table, where files of that name differ, or where a
    required column is missing.
    """
    needed = [column.upper() for column in required]
    columns = [*needed, *(column.upper() for column in optional)]
    found = tables.paths.get(name.lower(), [])
    if not found:
        return _read_stand_ins(tables, name, needed, columns)
    best = [path for path in found if _form(path) == _form(found[0])]
    _require_equal(best, name, tables.folder)
    read = read_sas if _form(best[0]) == ".sas7bdat" else read_ascii
    return _with_ids(best[0], read(best[0], columns, needed))


def _with_ids(path: Path, records: list[Record]) -> list[Record]:
    """Return records whose ids can be part of names; a `UsageError` where one cannot."""
    found = (record[column] for record in records for column in _IDS if column in record)
    for cell in dict.fromkeys(found):
        try:
            if not is_missing(cell):
                subject_id(cell)
        except ItemError as error:
            raise UsageError(f"{path}: {error.reason}", error.remedy) from None
    return records


def _read_stand_ins(
    tables: Tables, name: str, required: Sequence[str], columns: Sequence[str]
) -> list[Record]:
    """Read a table from the NDA structures that take its place."""
    paths = tables.stand_ins(name, columns)
    if not paths:
        raise UsageError(
            f"no table {name}.txt anywhere below {tables.folder}, "
            "nor an NDA structure or SAS table in its place",
            "unpack it there (any folder, any case)",
        )
    for column in required:
        if not any(holds(tables.structures[path], column) for path in paths):
            raise UsageError(
                f"{paths[0]}: no column for {column}, "
                f"nor in another structure below {tables.folder}"
            )
    visit = _visit_number(name)
    read = {}
    for path in paths:
        found = read_structure(path, visit, columns, required)
        tables.foreign[path] = found.foreign
        tables.unplaced[path] = found.unplaced
        read[path] = _with_ids(path, found.records)
    return _joined(tables, read)


def _joined(tables: Tables, read: dict[Path, list[Record]]) -> list[Record]:
    """The records of several structures, without those that a copy of a structure repeats.

    People download a structure twice, or save it again in another form. Raises a `UsageError` where
    two copies say different things of one knee or person.
    """
    repeated: set[int] = set()
    for (first, records), (second, others) in combinations(read.items(), 2):
        if not are_of_one_kind(tables.structures[first], tables.structures[second]):
            continue
        keys = [key for key in _KEYS if all(key in record for record in (*records, *others))]
        known, found = _by_key(records, keys), _by_key(others, keys)
        for key in known.keys() & found.keys():
            if not _agree(known[key], found[key]):
                raise UsageError(
                    f"{first} and {second} differ on {found[key][0]['ID']}",
                    f"keep the one to use below {tables.folder}",
                )
            repeated.update(id(record) for record in found[key])
    every = [record for records in read.values() for record in records]
    return [record for record in every if id(record) not in repeated]


def _by_key(records: Iterable[Record], keys: Sequence[str]) -> dict[tuple[str, ...], list[Record]]:
    """The records of each knee or person; numbers count as numbers (`16` and `16.0`)."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = tuple(comparable(record[column]) for column in keys)
        found.setdefault(key, []).append(record)
    return found


def _agree(records: Sequence[Record], others: Sequence[Record]) -> bool:
    """Tell whether two copies say the same of a knee, in the columns that both have."""
    shared = sorted(records[0].keys() & others[0].keys())
    said = [[comparable(record[column]) for column in shared] for record in records]
    said_again = [[comparable(record[column]) for column in shared] for record in others]
    return sorted(said) == sorted(said_again)


def _visit_number(name: str) -> int | None:
    """The number of the visit that a table's name ends with; None if it is of all visits."""
    match = _NUMBERED.fullmatch(name)
    if match is None or int(match[1]) not in VISITS.values():
        return None
    return int(match[1])


def _require_equal(paths: Sequence[Path], name: str, folder: Path) -> None:
    """Refuse files of one table and form that differ: nothing says which is the one to use."""
    if len(paths) > 1 and len({path.read_bytes() for path in paths}) > 1:
        raise UsageError(
            f"{name}: {paths[0]} and {paths[1]} differ", f"keep the one to use below {folder}"
        )


def _form(path: Path) -> str:
    return path.suffix.lower()
