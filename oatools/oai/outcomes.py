"""What Outcomes99 says of when: a knee's replacement, a person's death and last contact.

All times are months since enrolment: a day by the mean month, a contact by its place in the study.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from oatools.oai.codes import Record, code, is_missing, number_or_none
from oatools.oai.replacement import DAYS_A_MONTH, OutcomeColumns

#: The months of the study's contacts by their number; 60, 84, 108 and 120 are calls.
CONTACTS = (0, 12, 18, 24, 30, 36, 48, 60, 72, 84, 96, 108, 120)
#: The columns of a person: the last contact, and whether, when and after which contact they died.
LAST_CONTACT = "V99RNTCNT"
DEATH_COLUMNS = ("V99EDDCF", "V99EDDDATE", "V99EDDVSPR")
#: The date of enrolment, from which days count (Enrollees).
ENROLMENT_DATE = "V00EVDATE"

_CONFIRMED, _NOT_CONFIRMED = "3", "0"
_DATES = ("%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d")


@dataclass(frozen=True)
class Prosthesis:
    """When a knee was replaced, in months since enrolment.

    It had its own joint `after`, and a prosthesis `by`; both are the day where that is known. From
    `seen` on an X-ray shows the prosthesis. `is_confirmed` is False where nobody confirmed it.
    """

    after: Decimal
    by: Decimal
    seen: Decimal
    is_confirmed: bool = True


def contact_months(cell: str) -> Decimal | None:
    """The months of a contact by its number (`11: 108-month`), None for anything else."""
    number = number_or_none(cell)
    if number is None or number != number.to_integral_value() or not 0 <= number < len(CONTACTS):
        return None
    return Decimal(CONTACTS[int(number)])


def is_refuted(record: Record, columns: OutcomeColumns) -> bool:
    """Tell whether adjudication failed to confirm a replacement."""
    return code(record.get(columns.confirmation, ".")) == _NOT_CONFIRMED


def prosthesis(record: Record, columns: OutcomeColumns) -> Prosthesis | None:
    """The replacement of the knee of those columns; None if there is none, or no time of it.

    Without a day it lies between the contact before it and the visit that reported it.
    """
    if is_refuted(record, columns):
        return None
    is_confirmed = code(record.get(columns.confirmation, ".")) == _CONFIRMED
    day = number_or_none(record.get(columns.day, "."))
    reported = contact_months(record.get(columns.reported, "."))
    if day is not None:
        at = day / DAYS_A_MONTH
        # A visit that reported it may have come before its month of the study.
        return Prosthesis(at, at, at if reported is None else min(at, reported), is_confirmed)
    if reported is None:
        return None
    before = contact_months(record.get(columns.before, "."))
    if before is None or before >= reported:
        earlier = [month for month in CONTACTS if month < reported]
        before = Decimal(earlier[-1] if earlier else 0)
    return Prosthesis(before, reported, reported, is_confirmed)


def is_undated(record: Record, columns: OutcomeColumns) -> bool:
    """Tell whether something is said of a replacement, but no time that can be read."""
    said = (columns.day, columns.reported, columns.confirmation)
    is_said = not all(is_missing(record.get(name, ".")) for name in said)
    is_known = prosthesis(record, columns) is not None
    return is_said and not is_known and not is_refuted(record, columns)


@dataclass(frozen=True)
class Death:
    """The death of a person, in months since enrolment; None where nothing says when."""

    months: Decimal | None


def death(record: Record, enrolled: date | None) -> Death | None:
    """The death that was confirmed or dated, None where there is none.

    Its date counts, or else the closest contact before it.
    """
    confirmation, died, before = (record.get(name, ".") for name in DEATH_COLUMNS)
    if code(confirmation) == _NOT_CONFIRMED or (is_missing(confirmation) and is_missing(died)):
        return None
    day = date_of(died)
    if day is not None and enrolled is not None and day >= enrolled:
        return Death(Decimal((day - enrolled).days) / DAYS_A_MONTH)
    return Death(contact_months(before))


def date_of(cell: str) -> date | None:
    """The date in a cell, `03/26/2012` or `03/26/12`, or as SAS tables are read; None for none."""
    word = cell.partition(" ")[0]
    for form in _DATES:
        try:
            return datetime.strptime(word, form).date()
        except ValueError:
            continue
    return None
