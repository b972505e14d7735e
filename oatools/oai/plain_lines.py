"""The lines of a plain table: who, which knee, when, and what yes and no are written as."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oatools.core.errors import ItemError, UsageError
from oatools.core.forms import note_form
from oatools.core.ids import alike_in, alike_key, subject_id
from oatools.core.manifest import MISSING, Row
from oatools.core.suggestions import with_meant
from oatools.oai.codes import MISSING_WORDS, KneeId, cell_of, code, comparable, is_missing
from oatools.oai.endpoints import month_of, visit_of
from oatools.oai.forms import clean, read_text

#: Columns of a plain table, besides those of the clinical variables and the outcome.
PLAIN_COLUMNS = ("subject", "side", "visit", "jsw", "readprj", "replaced", "osteotomy")
_REQUIRED = ("subject", "side", "visit")
_BLANK = ("", ".", *MISSING_WORDS)
# A unit behind a name: `jsw (mm)`, `height [m]`.
_UNIT = re.compile(r"\s*[(\[][^()\[\]]*[)\]]$")
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_CODED_SIDES = {"1": "right", "2": "left"}
_YES_NO = {
    **dict.fromkeys(("1", "yes", "y", "true", "t"), True),
    **dict.fromkeys(("0", "no", "n", "false", "f"), False),
}


@dataclass(frozen=True)
class Line:
    """One line of the table: where it stands, its knee and visit, and its cells."""

    place: str
    knee: KneeId
    visit: str
    cells: Row

    @property
    def project(self) -> str:
        """The reading project, `n/a` where the table has no such column."""
        return code(before_label(self.cells.get("readprj", MISSING)))


@dataclass(frozen=True)
class PlainTable:
    """A plain table: its columns in small letters, its lines, and what was found odd in them."""

    path: Path
    columns: list[str]
    lines: list[Line]
    notes: list[str]


def read_lines(path: Path, also: str | None = None) -> PlainTable:
    """Read a plain table, with the knee and the visit of each line checked.

    Lines that repeat another one are used once. `also` is a column that is needed, too. Raises a
    `UsageError` for a line that names no knee, contradicts another one, or is of another length.
    """
    table = read_text(path)
    header = [column_name(name) for name in table.header]
    named = Counter(name for name in header if name)
    doubled = min((name for name, count in named.items() if count > 1), default="")
    if doubled:
        raise UsageError(f"{path}: two columns '{doubled}'", "keep one")
    needed = list(_REQUIRED) if also is None else [*_REQUIRED, column_name(also)]
    for column in needed:
        if column not in header:
            raise UsageError(
                f"{path}: no column '{column}'",
                with_meant(
                    f"a plain table needs {', '.join(needed)}, and it has {', '.join(header)}",
                    column,
                    header,
                ),
            )
    lines: list[Line] = []
    seen: dict[tuple[KneeId, str, str], Line] = {}
    repeated = coded = 0
    for number, cells in table.lines:
        line = _line(f"{path} line {number}", header, cells)
        coded += code(_text(header, cells, "side")) in _CODED_SIDES
        key = (line.knee, line.visit, line.project)
        if key not in seen:
            seen[key] = line
            lines.append(line)
        elif _is_same(seen[key].cells, line.cells):
            repeated += 1
        else:
            raise UsageError(
                f"{line.place}: a second line of {line.knee.subject} {line.knee.side} "
                f"at {line.visit}",
                "keep one, or tell readings apart by a column readprj",
            )
    if not lines:
        raise UsageError(f"{path}: there is no line below its header", "give the whole table")
    _require_one_form(path, {line.knee.subject for line in lines})
    notes = []
    if repeated:
        notes.append(f"{path}: {repeated} lines repeat another one, used once")
    if coded:
        notes.append(f"{path}: side 1 is taken for right and 2 for left")
    return PlainTable(path, header, lines, notes)


def column_name(text: str) -> str:
    """The name of a column without a unit behind it, in small letters."""
    return _UNIT.sub("", text).casefold()


def _is_same(row: Row, other: Row) -> bool:
    """Tell whether two lines say the same; numbers count as numbers."""
    return all(comparable(row[name]) == comparable(other[name]) for name in row)


def _line(place: str, header: Sequence[str], cells: Sequence[str]) -> Line:
    row = {name: _known(cell) for name, cell in zip(header, cells, strict=True) if name}
    side = _side(row["side"])
    if side is None or MISSING in (row["subject"], row["visit"]):
        raise UsageError(
            f"{place}: subject '{row['subject']}', side '{row['side']}' and visit "
            f"'{row['visit']}' make no knee",
            "write side as left or right",
        )
    try:
        subject = subject_id(row["subject"])
        note_form(subject, row["subject"], place.partition(" line ")[0])
        visit = visit_of(month_of(row["visit"].casefold()))
    except (ItemError, UsageError) as error:
        raise UsageError(f"{place}: {error.reason}", error.remedy) from None
    return Line(place, KneeId(subject, side), visit, row)


def _text(header: Sequence[str], cells: Sequence[str], column: str) -> str:
    return clean(cells[header.index(column)])


def _side(cell: str) -> str | None:
    """The side that a cell names, or codes as the Initiative does: `1`, `2.0`, `1: Right`."""
    named, _, label = cell.partition(":")
    coded = _CODED_SIDES.get(code(named.strip()))
    word = _SIDES.get(label.strip().casefold())
    if label and coded and word != coded:
        return None
    return coded or _SIDES.get(cell.casefold())


def _require_one_form(path: Path, subjects: Iterable[str]) -> None:
    """Refuse ids that differ by zeros or signs alone: nothing says whether they are one person."""
    seen: dict[str, str] = {}
    for subject in subjects:
        other = seen.setdefault(alike_key(subject), subject)
        if other != subject:
            first, second = sorted((subject, other))
            raise UsageError(
                f"{path}: subjects {first} and {second} differ in {alike_in(first, second)} alone",
                "write every person in one way",
            )


def _known(cell: str) -> str:
    bare = clean(cell)
    # The Initiative's own codes of missing values stay in tables that were made of its.
    is_coded = len(bare) > 1 and bare.startswith(".") and is_missing(cell_of(bare))
    return MISSING if bare.casefold() in _BLANK or is_coded else bare


def before_label(cell: str) -> str:
    """The code of a cell such as `2: Left`, or the whole of a cell without a label."""
    return cell.partition(":")[0].strip()


def as_yes(cell: str) -> bool | None:
    """What a cell of yes or no says, as any export writes it; None for anything else.

    `1`, `1.0`, `yes`, `TRUE` and `1: Yes` say yes; `1: No`, which some studies write, says nothing.
    """
    coded, _, label = cell.partition(":")
    said = _YES_NO.get(code(coded.strip()).casefold())
    labelled = _YES_NO.get(label.strip().casefold(), said)
    return said if said == labelled else None


def yes_or_no(line: Line, column: str) -> bool | None:
    """What a line says in a column of yes or no, None where it is missing.

    Raises a `UsageError` for anything else: a knee must not be mislabelled for a word.
    """
    cell = line.cells.get(column_name(column), MISSING)
    if cell == MISSING:
        return None
    said = as_yes(cell)
    if said is None:
        raise UsageError(f"{line.place}: {column} '{cell}' is neither yes nor no", "write 1 or 0")
    return said
