"""What a cell of the study's tables means, whatever file it came from: missing codes, exact numbers, codes, knees."""

import math
import re
from decimal import Decimal, InvalidOperation

#: Months since enrolment -> the number in file names (`AllClinical03`) and column prefixes (`V03`).
VISITS = {"00m": 0, "12m": 1, "18m": 2, "24m": 3, "30m": 4, "36m": 5, "48m": 6, "72m": 8, "96m": 10}
#: The visits at which knees were X-rayed.
XRAY_VISITS = ("00m", "12m", "24m", "36m", "48m", "72m", "96m")
SIDES = {"1": "right", "2": "left"}
#: The code of a knee that was replaced.
PROSTHESIS = ".P"

Record = dict[str, str]
Knee = tuple[str, str]

_MISSING = re.compile(r"\.[A-Z]?")


def cell_of(text: str) -> str:
    """A cell as a code: `1: Right` is `1`, a missing value its dot code without label, `.` for a blank one."""
    value = text.partition(":")[0].strip()
    if not value:
        return "."
    return value.upper() if len(value) <= 2 and _MISSING.fullmatch(value.upper()) else value


def is_missing(cell: str) -> bool:
    """Whether a cell is one of the missing codes."""
    return _MISSING.fullmatch(cell) is not None


def decimal(cell: str) -> Decimal | None:
    """The exact finite number in a cell, None for a missing code; a `ValueError` for any other text."""
    if is_missing(cell):
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        raise ValueError(f"{cell!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{cell!r} is no finite number")
    return value


def code(cell: str) -> str:
    """A category's or project's code as text: `1.0`, `01` and `1` are the same, missing codes stay."""
    try:
        value = decimal(cell)
    except ValueError:
        return cell
    return cell if value is None or value != value.to_integral_value() else str(int(value))


def plain(value: Decimal) -> str:
    """A number without exponent and trailing zeros: `4.10` is `4.1`, `0.0` is `0`."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def knee_of(record: Record) -> Knee | None:
    """Subject and side (`left`, `right`) of a record with the columns ID and SIDE; None if either is unusable."""
    subject, side = subject_of(record), SIDES.get(code(record["SIDE"]))
    return None if side is None or subject is None else (subject, side)


def subject_of(record: Record) -> str | None:
    """The participant's id as text (a spreadsheet's `9000099.0` is `9000099`), None where it is missing."""
    return None if is_missing(record["ID"]) else record["ID"].removesuffix(".0")
