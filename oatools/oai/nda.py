"""The study's tables as NDA's structures: one file for all visits, by `src_subject_id` and `visit`.

NDA gave the columns names of its own. Which of them stands for which column of the study's own
tables is `_NAMES`; where a column is not in it, NDA kept the study's name without the prefix of the
visit (`mcmjsw` at the visit `V00` is `V00MCMJSW`). A structure is known by its columns, since
people save the files again under other names: as `.csv`, as `.tsv`, without the line of
descriptions.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.files import file_stamp
from oatools.core.ids import normal_id
from oatools.oai.codes import VISITS, Record, cell_of, is_missing, number_or_none
from oatools.oai.forms import clean, read_text

#: The column of the participant's id, by which a structure is known.
ID = "src_subject_id"

# The study's columns without prefix -> NDA's.
_NAMES = {
    "ID": ID,
    # oai_koos_womac01
    "WOMKPR": "womac_pain_right",
    "WOMKPL": "womac_pain_left",
    "WOMSTFR": "womac_stiffness_right",
    "WOMSTFL": "womac_stiffness_left",
    "WOMADLR": "womac_disability_right",
    "WOMADLL": "womac_disability_left",
    "WOMTSR": "womac_total_right",
    "WOMTSL": "womac_total_left",
    "KOOSKPR": "koos_rkpain",
    "KOOSKPL": "koos_lkpain",
    "KOOSYMR": "koos_rksymptoms",
    "KOOSYML": "koos_lksymptoms",
    # oai_oarisk01
    "HEIGHT": "height_av",
    "WEIGHT": "weight_met",
    "BMI": "bmi",
    "KSURGR": "ksurgr",
    "KSURGL": "ksurgl",
    "INJR": "injr",
    "INJL": "injl",
    # oai_enrollee01
    "COHORT": "e_cohort",
    "RACE": "race",
    "SEX": "sex",
    "SITE": "site",
    "AGE": "ageyears",
    # oai_outcome01
    "ERKDAYS": "rkdays",
    "ELKDAYS": "lkdays",
    "ERKVSRP": "rkvsrp",
    "ELKVSRP": "lkvsrp",
    "ERKBLRP": "rkblrp",
    "ELKBLRP": "lkblrp",
    "ERKRPCF": "rkrpcf",
    "ELKRPCF": "lkrpcf",
    "ERKVSPR": "rkvspr",
    "ELKVSPR": "lkvspr",
    "EDDCF": "ddcf",
    "EDDDATE": "dthdate",
    "EDDVSPR": "ddvspr",
}
# The age in months stands in every structure, and serves where `ageyears` does not.
_AGE_IN_MONTHS = "interview_age"
# The columns that mark the structure of a table of readings or outcomes, one of them each.
_MARKS = {
    "kxr_qjsw_duryea": ("mcmjsw",),
    "kxr_sq_bu": ("xrkl",),
    "outcomes": ("rkdays", "lkdays"),
}
_ALL_MARKS = set[str]().union(*_MARKS.values())
# Lists of images hold ages and sexes, too, one line an image, and are no tables of people.
_IMAGE_MARKS = {"image_file", "image_description", "image_modality", "mrbarcd", "xrbarcd"}
# Readings of hips may have columns of the same names.
_OF_HIPS = re.compile(r"hip|hxr", re.IGNORECASE)
_PEOPLE = ("enrollees", "allclinical", "subjectchar")
# Columns that nearly every structure has, so that they say nothing of what it holds.
_EVERYWHERE = {ID, "sex", "ageyears", _AGE_IN_MONTHS}
_PREFIX = re.compile(r"^[VP]\d\d")
_PARTICIPANT = re.compile(r"9\d{6}")
_SEX = {"m": "1", "male": "1", "f": "2", "female": "2"}
# The beginnings of NDA's texts, by the study's codes. Whoever is none of these is not told apart by
# the study: `Other Non-white`.
_RACES = {
    "1": ("white", "caucasian"),
    "2": ("black", "african"),
    "3": ("asian",),
    "0": (
        "other",
        "american indian",
        "alaska",
        "hawaiian",
        "native hawaiian",
        "pacific",
        "more than one",
        "multi",
    ),
}
_VISIT = re.compile(r"v?(\d\d)(m?)", re.IGNORECASE)
# Visits of the entry: in words, and P01 and P02, the screening.
_ENTRY_VISIT = re.compile(r"p0[12]|(baseline|enrol|screening).*", re.IGNORECASE)
_OUTCOME_VISIT = 99
# A number of months that is no visit of the study, and words that are no visit at all.
_OTHER_VISIT, _UNKNOWN_VISIT = -1, -2


@dataclass(frozen=True)
class StructureRecords:
    """The records of a structure at a visit, and what of it is not used.

    `foreign` counts its lines of other studies, `unplaced` those that name no visit that is known,
    or, of readings, none at all.
    """

    records: list[Record]
    foreign: int
    unplaced: int


def is_structure(names: Sequence[str]) -> bool:
    """Tell by the column names (lower case) whether a text table is a structure of people."""
    return ID in names and not _IMAGE_MARKS & set(names)


def find_structure(
    structures: Mapping[Path, list[str]], name: str, columns: Iterable[str]
) -> list[Path]:
    """Find the structures that stand in for the study's table of that name.

    For a table of people these are all that hold one of `columns`.
    """
    stem = name.lower().rstrip("0123456789")
    if stem in _MARKS:
        marks = set(_MARKS[stem])
        found = [path for path, names in structures.items() if marks & set(names)]
        return [path for path in found if _OF_HIPS.search(path.stem) is None]
    if stem not in _PEOPLE:
        return []
    people = [path for path, names in structures.items() if not _ALL_MARKS & set(names)]
    if stem == "enrollees":
        marked = [path for path in people if "e_cohort" in structures[path]]
        return marked or [path for path in people if "enrollee" in path.stem.lower()]
    wanted: set[str] = set()
    for column in columns:
        wanted.update(_names(column))
    wanted -= _EVERYWHERE
    return [path for path in people if not wanted or wanted & set(structures[path])]


def are_of_one_kind(names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether two structures hold the same readings or outcomes, or are one and the same.

    A program that saves a structure again may add columns to it.
    """
    first, second = set(names), set(others)
    return bool(first & second & _ALL_MARKS) or first <= second or second <= first


def holds(names: Sequence[str], column: str) -> bool:
    """Tell whether one of these column names is what the study's tables call `column`."""
    return any(name in names for name in _names(column))


def read_structure(
    path: Path, number: int | None, columns: Iterable[str], required: Iterable[str]
) -> StructureRecords:
    """Read the records of a structure at the visit of that number (all, if None).

    `columns` are upper-case names of the study's own tables, under which the cells are returned; of
    `required`, those that the structure lacks are missing in every record. A line of descriptions
    below the header is passed over, and lines of people of other studies (whose ids are not
    9xxxxxx) are counted. Raises a `UsageError` for a file that cannot be read, and for readings
    without a column of visits.
    """
    wanted = list(columns)
    names = sorted({name for column in wanted for name in _names(column)})
    content = _content(path, file_stamp(path), tuple(names))
    needs_visit = number is not None and content.is_of_readings
    if needs_visit and not content.has_visits:
        raise UsageError(
            f"{path}: no column visit, so that nothing says which reading is of which visit",
            "download it again, or move it away",
        )
    # A table of people without visits describes the entry.
    of_visit = number if content.has_visits else None
    sources = {}
    for column in wanted:
        found = [name for name in _names(column) if name in content.places]
        if found and _is_of(column, of_visit):
            sources[column] = found
    lacking = {column: "." for column in required if column not in sources}
    # A line about a person may leave the visit blank; a reading without one belongs to none.
    accepted = (number,) if content.is_of_readings else (number, None)
    records = []
    for visit, cells in content.lines:
        if number is not None and content.has_visits and visit not in accepted:
            continue
        read = {}
        for column, found in sources.items():
            values = (_cell(name, cells[content.places[name]]) for name in found)
            read[column] = next((value for value in values if not is_missing(value)), ".")
        records.append(lacking | read)
    unknown = (None, _UNKNOWN_VISIT) if needs_visit else (_UNKNOWN_VISIT,)
    unplaced = sum(visit in unknown for visit, _ in content.lines) if number is not None else 0
    return StructureRecords(records, content.foreign, unplaced)


@dataclass(frozen=True)
class _Content:
    """Some columns of a structure: their places in the lines, which have the visit's number."""

    places: dict[str, int]
    lines: list[tuple[int | None, tuple[str, ...]]]
    has_visits: bool
    is_of_readings: bool
    foreign: int


@functools.lru_cache(maxsize=32)
def _content(path: Path, stamp: object, names: tuple[str, ...]) -> _Content:
    """Read some columns of a structure, once for all visits.

    `stamp` is that of the file, so that one which has changed is read again.
    """
    table = read_text(path)
    header = [name.lower() for name in table.header]
    kept = [name for name in names if name in header]
    positions = [header.index(name) for name in kept]
    if ID not in header:
        raise UsageError(f"{path}: no column {ID}", "download it again")
    id_place = header.index(ID)
    visit_place = header.index("visit") if "visit" in header else None
    lines = []
    foreign = 0
    for count, (_, cells) in enumerate(table.lines):
        subject = clean(cells[id_place])
        if _PARTICIPANT.fullmatch(normal_id(subject)) is None:
            is_description = count == 0 and _is_description(header, cells)
            foreign += not is_description and bool(subject) and subject.lower() != ID
            continue
        visit = None if visit_place is None else _visit_number(cells[visit_place])
        lines.append((visit, tuple(cells[position] for position in positions)))
    return _Content(
        places={name: place for place, name in enumerate(kept)},
        lines=lines,
        has_visits=visit_place is not None,
        is_of_readings=bool(_ALL_MARKS & set(header)),
        foreign=foreign,
    )


def _is_description(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Tell whether the first line below the header describes the columns.

    Descriptions are sentences, also where a line about a person holds an id or a number.
    """
    known = [name for name in (ID, "subjectkey", _AGE_IN_MONTHS) if name in header]
    return any(" " in clean(cells[header.index(name)]) for name in known)


def _names(column: str) -> list[str]:
    """The names that a structure may give a column of the study's tables, the likeliest first."""
    bare = _PREFIX.sub("", column, count=1)
    names = [_NAMES.get(bare, bare.lower())]
    if bare == "AGE":
        names.append(_AGE_IN_MONTHS)
    return names


def _cell(name: str, text: str) -> str:
    value = cell_of(clean(text))
    word = value.lower()
    if name == "sex":
        return _SEX.get(word, value)
    if name == "race":
        return _race(word, value)
    if name == _AGE_IN_MONTHS:
        months = number_or_none(value)
        return value if months is None else str(int(months) // 12)
    return value


def _race(word: str, value: str) -> str:
    """The study's code of a race that NDA writes out."""
    for code, starts in _RACES.items():
        if word.startswith(starts):
            return code
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
    """The number of a visit written `V01` or `12m`; None where the cell is missing."""
    word = cell_of(clean(text))
    match = _VISIT.fullmatch(word)
    if match is not None:
        digits, is_month = match[1], match[2]
        return VISITS.get(f"{digits}m", _OTHER_VISIT) if is_month else int(digits)
    if is_missing(word):
        return None
    return 0 if _ENTRY_VISIT.fullmatch(word) else _UNKNOWN_VISIT
