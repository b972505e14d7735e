"""The meaning of a cell of the study's tables, whatever file it came from.

Missing codes, exact numbers, categories, visits and knees.
"""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from oatools.core.errors import ItemError, UsageError
from oatools.core.forms import note_form
from oatools.core.ids import subject_id

#: Months since enrolment -> the number in file names (`AllClinical03`) and column prefixes (`V03`).
VISITS = {"00m": 0, "12m": 1, "18m": 2, "24m": 3, "30m": 4, "36m": 5, "48m": 6, "72m": 8, "96m": 10}
#: The visits at which knees were X-rayed.
XRAY_VISITS = ("00m", "12m", "24m", "36m", "48m", "72m", "96m")
SIDES = {"1": "right", "2": "left"}
#: What other programs write into the cell of a missing value, in small letters: R's NA and such.
MISSING_WORDS = ("na", "n/a", "#n/a", "<na>", "nan", "null", "none")
#: The code of a knee that was replaced.
PROSTHESIS = ".P"

#: One line of a table: upper-case column name -> cell, as `cell_of` gives it.
Record = dict[str, str]

_MISSING = re.compile(r"\.[A-Z]?")
_SIDE_WORDS = {"right": "1", "r": "1", "left": "2", "l": "2"}
# Finer than any measurement of the study, and coarser than what programs leave of a number that
# they computed or kept in single precision (3.9000000953674316).
_NOISE = Decimal("0.00001")
_NOISE_DIGITS = 5


class KneeId(NamedTuple):
    """One knee of one person: the participant's id, and `left` or `right`."""

    subject: str
    side: str

    def at(self, visit: str) -> str:
        """The knee's token in tables, such as 9000099_00m_right."""
        return f"{self.subject}_{visit}_{self.side}"


def cell_of(text: str) -> str:
    """The code in a cell: `1: Right` is `1`, a missing value its dot code, a blank cell `.`.

    So is the word that another program left for a missing value (`MISSING_WORDS`).
    """
    value = text.partition(":")[0].strip()
    if not value or value.lower() in MISSING_WORDS:
        return "."
    if len(value) <= 2 and is_missing(value.upper()):
        return value.upper()
    return value


def is_missing(cell: str) -> bool:
    """Tell whether a cell is one of the missing codes."""
    return _MISSING.fullmatch(cell) is not None


def decimal(cell: str) -> Decimal | None:
    """The exact finite number in a cell, to 0.00001; None for a missing code.

    Raises a `ValueError` for any other text.
    """
    if is_missing(cell):
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        raise ValueError(f"{cell!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{cell!r} is no finite number")
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -_NOISE_DIGITS:
        return value
    try:
        return value.quantize(_NOISE).normalize()
    except InvalidOperation:  # it has more digits than arithmetic keeps
        raise ValueError(f"{cell!r} is no number that anybody measured") from None


def number_or_none(cell: str) -> Decimal | None:
    """The exact finite number in a cell, None for a missing code and for any other text."""
    try:
        return decimal(cell)
    except ValueError:
        return None


def comparable(cell: str) -> str:
    """A cell in a form in which the same number is the same text, and missing is missing."""
    if is_missing(cell):
        return "."
    value = number_or_none(cell)
    return cell if value is None else plain(value)


def code(cell: str) -> str:
    """The code of a category or project: `1.0`, `01` and `1` are the same, other text stays."""
    value = number_or_none(cell)
    if value is None or value != value.to_integral_value():
        return cell
    return str(int(value))


def plain(value: Decimal) -> str:
    """A number without exponent and trailing zeros: `4.10` is `4.1`, `0.0` is `0`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def knee_of(record: Record) -> KneeId | None:
    """The knee of a record with the columns ID and SIDE; None if either is unusable.

    The side is coded, or a word where another program wrote the label alone.
    """
    said = record["SIDE"]
    subject, side = subject_of(record), SIDES.get(_SIDE_WORDS.get(said.lower(), code(said)))
    return None if side is None or subject is None else KneeId(subject, side)


def subject_of(record: Record) -> str | None:
    """The participant's id in the form of `core.ids`, None where it is missing.

    Raises a `UsageError` for an id that cannot be part of a name.
    """
    cell = record["ID"]
    if is_missing(cell):
        return None
    try:
        subject = subject_id(cell)
    except ItemError as error:
        raise UsageError(error.reason, error.remedy) from None
    note_form(subject, cell, "the study's tables")
    return subject


def is_yes(cell: str) -> bool:
    """Tell whether a coded cell says yes (`1`, `1.0`, `1: Yes`)."""
    return code(cell) == "1"
