"""The contacts of the Initiative with its people: who was seen or called, and what they said."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from oatools.oai.clinical import VARIABLES, column_at
from oatools.oai.codes import XRAY_VISITS, KneeId, Record, is_missing, subject_of
from oatools.oai.endpoints import month_of
from oatools.oai.grades import KL
from oatools.oai.initiative import TableReader
from oatools.oai.outcomes import CONTACTS
from oatools.oai.readings import Readings
from oatools.oai.replacement import report_sources
from oatools.oai.tables import Tables, read_table

#: Subject -> months of a contact -> what was said at it.
Contacts = Mapping[str, Mapping[int, Record]]


def all_x_rays(read: TableReader, months: int) -> list[tuple[int, Readings]]:
    """All widths and grades up to a month, for what they say of who was seen."""
    found: list[tuple[int, Readings]] = []
    for at in XRAY_VISITS:
        if month_of(at) > months:
            break
        found.append((month_of(at), read.grades_if_there(at, KL)))
        found.append((month_of(at), read.widths_if_there(at)))
    return found


def read_contacts(tables: Tables, months: int, x_rays: Iterable[tuple[int, Readings]]) -> Contacts:
    """The contacts with each person, up to a month, from which there is any data."""
    found: dict[str, dict[int, Record]] = defaultdict(dict)
    for number, month in enumerate(CONTACTS):
        name, columns = f"AllClinical{number:02d}", _asked_at(number)
        if month > months or not tables.has(name, columns):
            continue
        for record in read_table(tables, name, ["ID"], columns):
            subject = subject_of(record)
            said = {name: cell for name, cell in record.items() if name in columns}
            if subject is not None and not all(map(is_missing, said.values())):
                found[subject][month] = said | found[subject].get(month, {})
    for month, readings in x_rays:
        for knee, projects in readings.items():
            if any(reading.value is not None for reading in projects.values()):
                found[knee.subject].setdefault(month, {})
    return found


def _asked_at(number: int) -> list[str]:
    """The columns of questionnaires and measurements at a visit."""
    sources = report_sources()
    for variable in VARIABLES:
        sources += variable.right + variable.left
    at_visits = {source for source in sources if source.startswith("Vxx")}
    return sorted(column_at(source, number) for source in at_visits)


def contact_before(contacts: Contacts, knee: KneeId, month: int, begin: int) -> Decimal:
    """The last contact before a month, or the beginning if there is none, in months."""
    earlier = (at for at in contacts.get(knee.subject, {}) if at < month)
    return Decimal(max((begin, *earlier)))
