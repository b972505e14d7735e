"""The Initiative's tables of all visits after one, as far as an endpoint of time needs them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal

from oatools.core.errors import UsageError
from oatools.oai import grades, widths
from oatools.oai.clinical import column_at
from oatools.oai.codes import (
    SIDES,
    XRAY_VISITS,
    KneeId,
    Record,
    is_yes,
    subject_of,
)
from oatools.oai.contacts import Contacts, all_x_rays, contact_before, read_contacts
from oatools.oai.endpoints import endpoint_of, month_of
from oatools.oai.followup import FollowUp, Report
from oatools.oai.grades import KL
from oatools.oai.initiative import TableReader, open_initiative
from oatools.oai.outcomes import (
    CONTACTS,
    DEATH_COLUMNS,
    ENROLMENT_DATE,
    LAST_CONTACT,
    Prosthesis,
    contact_months,
    date_of,
    death,
    is_refuted,
    is_undated,
    prosthesis,
)
from oatools.oai.readings import Readings, first_reading, is_replaced
from oatools.oai.replacement import (
    OUTCOME_COLUMNS,
    OUTCOMES,
    REPORTS,
    outcome_columns,
)
from oatools.oai.tables import Tables, read_table
from oatools.oai.timed_endpoints import TimedEndpoint
from oatools.oai.widths import WIDTH

#: From this visit on the study made no X-rays of knees that had no joint space left at it.
LAST_OF_END_STAGE = 48


def open_initiative_followup(tables: Tables, endpoint: TimedEndpoint, visit: str) -> FollowUp:
    """Read the Initiative's tables from a visit on; a `UsageError` for tables that cannot serve."""
    notes: list[str] = []
    read = TableReader(tables, notes)
    if endpoint.read is None:
        start = open_initiative(tables, endpoint_of("none"), visit)
        # They say who was seen when, and nothing that is to be told of.
        x_rays = all_x_rays(TableReader(tables, []), endpoint.months)
        readings: dict[int, Readings] = {}
    else:
        readings = _readings(read, endpoint, visit)
        later = min(month for month in readings if month > month_of(visit))
        at_first = replace(endpoint.read, months=later - month_of(visit))
        start = open_initiative(tables, at_first, visit)
        x_rays = list(readings.items())
    contacts = read_contacts(tables, endpoint.months, x_rays)
    outcomes = _outcomes(tables)
    found = FollowUp(
        endpoint=endpoint,
        start=start,
        readings=readings,
        end_stage=_end_stage(tables, endpoint, readings),
        has_outcomes=bool(outcomes),
    )
    found = _with_replacements(found, outcomes, contacts, x_rays)
    found = _with_people(found, tables, outcomes, contacts)
    return replace(found, notes=list(dict.fromkeys([*start.notes, *notes, *found.notes])))


def _readings(read: TableReader, endpoint: TimedEndpoint, visit: str) -> dict[int, Readings]:
    """What the endpoint is read from, at the visit and at all later ones that are there."""
    if visit not in XRAY_VISITS:
        raise UsageError(
            f"{endpoint.name} at {visit} needs X-rays at {visit}",
            f"there are X-rays at {', '.join(XRAY_VISITS)}; choose with `visit`",
        )
    of_table = widths.table_name if endpoint.grade is None else grades.table_name
    found: dict[int, Readings] = {}
    absent = []
    for at in XRAY_VISITS:
        if not month_of(visit) <= month_of(at) <= endpoint.months:
            continue
        if at != visit and not read.tables.has(of_table(at)):
            absent.append(at)
            continue
        if endpoint.grade is None:
            readings = read.widths(at, endpoint.width)
        else:
            readings = read.grades(at, endpoint.grade)
        # A structure of all visits need not have lines of each.
        if readings or at == visit:
            found[month_of(at)] = readings
        else:
            absent.append(at)
    if len(found) < 2:
        raise UsageError(
            f"no X-ray was read after {visit} up to {endpoint.until}: "
            f"no table such as {of_table(absent[0]) if absent else of_table(visit)}",
            "unpack the tables of later visits there, or choose with `until`",
        )
    if absent:
        read.notes.append(
            f"no readings at {', '.join(absent)} (tables such as {of_table(absent[0])}): "
            "what happened there is found at a later visit, or not at all"
        )
    return found


def _outcomes(tables: Tables) -> dict[str, Record]:
    """The records of outcomes by subject; none where there is no such table."""
    if not tables.has(OUTCOMES):
        return {}
    before = [columns.before for columns in OUTCOME_COLUMNS.values()]
    columns = [*outcome_columns(), *before, LAST_CONTACT, *DEATH_COLUMNS]
    found = {}
    for record in read_table(tables, OUTCOMES, ["ID"], columns):
        subject = subject_of(record)
        if subject is not None:
            found[subject] = record
    return found


def _with_replacements(
    found: FollowUp,
    outcomes: Mapping[str, Record],
    contacts: Contacts,
    x_rays: Iterable[tuple[int, Readings]],
) -> FollowUp:
    """Add when knees were replaced, by adjudication, by an X-ray, and by report alone."""
    replaced, undated, refuted = _adjudicated(outcomes, found.start.replaced.at_visit)
    for knee, month in _first_seen(x_rays, found.begin).items():
        before = contact_before(contacts, knee, month, found.begin)
        replaced.setdefault(knee, Prosthesis(before, Decimal(month), Decimal(month)))
    decided = {*found.start.replaced.at_visit, *replaced, *undated, *refuted}
    reported = _reported(found, contacts, decided)
    if not outcomes:
        # Nobody adjudicated, so that what people say is all that is known.
        for knee, report in reported.items():
            replaced[knee] = Prosthesis(report.after, report.by, report.by, is_confirmed=False)
        reported = {}
    return replace(found, replaced=replaced, reported=reported, undated=frozenset(undated))


def _adjudicated(
    outcomes: Mapping[str, Record], at_visit: Collection[KneeId]
) -> tuple[dict[KneeId, Prosthesis], set[KneeId], set[KneeId]]:
    """The knees replaced after the visit, those replaced at no known time, and those not at all."""
    replaced: dict[KneeId, Prosthesis] = {}
    undated, refuted = set(), set()
    for subject, record in outcomes.items():
        for side, columns in OUTCOME_COLUMNS.items():
            knee, when = KneeId(subject, side), prosthesis(record, columns)
            if knee in at_visit:
                continue
            if when is not None:
                replaced[knee] = when
            elif is_refuted(record, columns):
                refuted.add(knee)
            elif is_undated(record, columns):
                undated.add(knee)
    return replaced, undated, refuted


def _first_seen(x_rays: Iterable[tuple[int, Readings]], begin: int) -> dict[KneeId, int]:
    """The month of the first X-ray with a prosthesis of each knee, after the visit."""
    found: dict[KneeId, int] = {}
    for month, readings in sorted(x_rays, key=lambda item: item[0]):
        for knee, projects in readings.items():
            if month > begin and is_replaced(projects):
                found.setdefault(knee, month)
    return found


def _reported(found: FollowUp, contacts: Contacts, decided: set[KneeId]) -> dict[KneeId, Report]:
    """The first report of each knee after the visit, but those that the outcomes decide on."""
    reported = {}
    for subject, visits in contacts.items():
        for side, (_, source) in REPORTS.items():
            knee = KneeId(subject, side)
            said = []
            for month, record in visits.items():
                column = column_at(source, CONTACTS.index(month))
                if month > found.begin and is_yes(record.get(column, ".")):
                    said.append(month)
            if said and knee not in decided:
                before = contact_before(contacts, knee, min(said), found.begin)
                reported[knee] = Report(before, Decimal(min(said)))
    return reported


def _with_people(
    found: FollowUp, tables: Tables, outcomes: Mapping[str, Record], contacts: Contacts
) -> FollowUp:
    """Add the last contact with each person, and their deaths."""
    enrolled = _enrolment_dates(tables)
    last: dict[KneeId, Decimal] = {}
    died: dict[KneeId, Decimal] = {}
    stated: set[KneeId] = set()
    without = 0
    for subject in {knee.subject for knee in found.knees}:
        record = outcomes.get(subject, {})
        knees = [KneeId(subject, side) for side in SIDES.values()]
        contact = contact_months(record.get(LAST_CONTACT, "."))
        if contact is None:
            contact = Decimal(max(contacts.get(subject, {}), default=0))
            without += 1
        else:
            stated.update(knees)
        last.update(dict.fromkeys(knees, contact))
        dead = death(record, enrolled.get(subject))
        if dead is not None:
            when = contact if dead.months is None else dead.months
            died.update(dict.fromkeys(knees, when))
    notes = []
    if without:
        people = "1 person" if without == 1 else f"{without} people"
        notes.append(
            f"nothing says when the contact with {people} ended ({LAST_CONTACT}): their last "
            "visit with data is taken for it"
        )
    if not any(name in record for record in outcomes.values() for name in DEATH_COLUMNS[:2]):
        notes.append(f"no column of deaths ({DEATH_COLUMNS[0]}): who died is not known")
    return replace(found, contact=last, stated=frozenset(stated), died=died, notes=notes)


def _enrolment_dates(tables: Tables) -> dict[str, date]:
    """The date of enrolment of each person, where the tables have it."""
    found: dict[str, date] = {}
    for name in ("Enrollees", "AllClinical00"):
        if not tables.has(name, [ENROLMENT_DATE]):
            continue
        for record in read_table(tables, name, ["ID"], [ENROLMENT_DATE]):
            subject, day = subject_of(record), date_of(record.get(ENROLMENT_DATE, "."))
            if subject is not None and day is not None:
                found.setdefault(subject, day)
    return found


def _end_stage(
    tables: Tables, endpoint: TimedEndpoint, readings: Mapping[int, Readings]
) -> frozenset[KneeId]:
    """The knees of the highest grade, or without a width, when the last of them were X-rayed."""
    is_begun = bool(readings) and min(readings) <= LAST_OF_END_STAGE
    if not is_begun or endpoint.months <= LAST_OF_END_STAGE:
        return frozenset()
    visit = f"{LAST_OF_END_STAGE}m"
    read = TableReader(tables, [])
    graded = read.grades_if_there(visit, KL)
    found = {knee for knee, of in graded.items() if grades.at_visit(of, visit) == KL.highest}
    measured: Readings = {}
    if endpoint.grade is None:
        measured = readings.get(LAST_OF_END_STAGE, {})
    else:
        measured = read.widths_if_there(visit)
    for knee, projects in measured.items():
        _, width = first_reading(projects, WIDTH) or (None, None)
        if width == 0:
            found.add(knee)
    return frozenset(found)
