"""The rules of endpoints of time: when an event befell a knee, or until when it had none.

A reading finds what happened since the last visit that was read, so that its event lies in an
interval; a replacement has a day. The first visit that finds it counts, whatever a later one says.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from oatools.oai.codes import KneeId
from oatools.oai.course import Course, Ended, TimedKnee
from oatools.oai.endpoints import Kind
from oatools.oai.followup import FollowUp
from oatools.oai.grades import first_projects, is_worse, whole
from oatools.oai.readings import (
    LeftOut,
    Measure,
    Pair,
    Reading,
    first_reading,
    is_replaced,
    pair_of,
    why_unread,
)
from oatools.oai.timed_endpoints import Replaced
from oatools.oai.widths import WIDTH

# The project that reads grades at 72 and 96 months has read them again at 48, where it begins.
_LAST_EARLY_MONTH = 48
_NO_READING = dict[str, Reading]()


@dataclass
class SortedByTime:
    """The knees at risk, and the others counted by the reason."""

    knees: list[TimedKnee] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def sort_by_time(study: FollowUp) -> SortedByTime:
    """Follow the knees of a study from its visit on by its endpoint."""
    found = SortedByTime()
    for knee in study.knees:
        said = _gone(study, knee) or _course(study, knee)
        if isinstance(said, LeftOut):
            found.left_out[said.reason] += 1
        else:
            found.knees.append(_timed(study, knee, said))
    return found


def has_no_room(study: FollowUp, knee: KneeId) -> bool:
    """Tell whether a knee cannot lose at all what the endpoint asks for."""
    endpoint = study.endpoint
    if endpoint.kind is None:
        return False
    found = first_reading(study.readings[study.begin].get(knee, _NO_READING), _measure(study, 0))
    if found is None:
        return False
    value, cut = found[1], endpoint.threshold or Decimal(0)
    if endpoint.kind is Kind.WIDTH:
        return value + cut < 0
    highest = Decimal(0 if endpoint.grade is None else endpoint.grade.highest)
    if endpoint.kind is Kind.KL:
        return whole(value) + cut > highest
    # Within the highest grade a fraction is the last step.
    return value > highest


def is_kept_by_x_ray(study: FollowUp, knee: KneeId) -> bool:
    """Tell whether a knee was read at the visit that a replacement was reported at, or later.

    A report alone never takes a knee away that was measured: the X-ray is the better witness.
    """
    if knee not in study.reported:
        return False
    by = study.reported[knee].by
    return any(_is_read(study, month, knee) for month in study.readings if month >= by)


def _gone(study: FollowUp, knee: KneeId) -> LeftOut | None:
    """The reason why a knee is not at risk at the visit, for every endpoint."""
    start = study.start
    projects = study.readings.get(study.begin, start.first).get(knee, _NO_READING)
    if knee in start.replaced.at_visit or is_replaced(projects):
        return LeftOut(f"knee replaced by {study.visit}")
    is_measured = any(reading.value is not None for reading in projects.values())
    clinical = start.clinical.get(knee, {})
    is_measured = is_measured or clinical.get("kl") is not None
    if knee in start.replaced.reported_at_visit and not is_measured:
        return LeftOut(f"knee replaced by {study.visit}, as reported")
    if knee in study.undated:
        return LeftOut("knee replaced, at no time that can be read")
    return None


def _course(study: FollowUp, knee: KneeId) -> Course | LeftOut:
    return _replacement(study, knee) if study.endpoint.kind is None else _reading(study, knee)


def _replacement(study: FollowUp, knee: KneeId) -> Course | LeftOut:
    """The time to the replacement itself."""
    begin, until = Decimal(study.begin), Decimal(study.endpoint.months)
    when = study.replaced.get(knee)
    if when is not None and when.by <= until:
        return Course(max(begin, when.after), when.by, Ended.EVENT, is_replacement=True)
    if when is not None:
        # It may lie before the end where nobody knows its day.
        end, ended = when.after, Ended.REPLACED
    elif knee in study.reported:
        end, ended = study.reported[knee].after, Ended.REPLACED
    elif knee in study.died:
        end, ended = study.died[knee], Ended.DIED
    else:
        end, ended = study.contact.get(knee, begin), Ended.LOST
    if end >= until:
        end, ended = until, Ended.END
    if end > begin:
        return Course(end, None, ended)
    if knee in study.reported:
        return LeftOut(f"knee replaced soon after {study.visit}, as reported")
    return LeftOut(f"no contact after {study.visit}")


def _reading(study: FollowUp, knee: KneeId) -> Course | LeftOut:
    """The time to the first visit whose reading shows the event, or to a replacement."""
    unread = why_unread(
        study.readings[study.begin].get(knee, _NO_READING), _measure(study, 0), study.visit
    )
    if unread is not None:
        return unread
    strategy, until = study.endpoint.replaced, Decimal(study.endpoint.months)
    if strategy is not Replaced.EVENT and has_no_room(study, knee):
        return LeftOut(_no_room(study))
    if has_no_room(study, knee):
        # No reading can show it any more, so that X-rays do not bound how long it is followed.
        return _replacement(study, knee)
    last, project = study.begin, None
    for month, pair, is_event in _readings(study, knee):
        if is_event:
            return Course(Decimal(last), Decimal(month), Ended.EVENT, pair.project)
        last, project = month, pair.project
    when = study.replaced.get(knee)
    if when is not None and when.by <= until:
        if strategy is Replaced.EVENT:
            return Course(Decimal(last), when.by, Ended.EVENT, project, is_replacement=True)
        if strategy is Replaced.NEVER:
            return Course(until, None, Ended.REPLACED, project)
    if last == study.begin:
        return _never_read(study, knee)
    return Course(Decimal(last), None, _why_ended(study, knee, last), project)


def _readings(study: FollowUp, knee: KneeId) -> Iterator[tuple[int, Pair, bool]]:
    """Yield the later visits that can be compared with the first, and whether they show the event.

    Nothing that was read once the knee had a prosthesis is among them.
    """
    before = study.readings[study.begin].get(knee, _NO_READING)
    at_last_early: Pair | None = None
    for month, readings in study.readings.items():
        after = readings.get(knee, _NO_READING)
        if month == study.begin or not _is_own_joint(study, knee, month):
            continue
        measure = _measure(study, month)
        pair = pair_of(before, after, measure)
        gained = Decimal(0)
        if pair is None and at_last_early is not None and study.endpoint.grade is not None:
            # The later project has not read the first visit, but the one where the other ended.
            again = study.readings[_LAST_EARLY_MONTH].get(knee, _NO_READING)
            pair = pair_of(again, after, measure)
            gained = whole(at_last_early.after) - whole(at_last_early.before)
        if pair is None:
            continue
        if month == _LAST_EARLY_MONTH:
            at_last_early = pair
        yield month, pair, _is_event(study, pair, gained)


def _is_own_joint(study: FollowUp, knee: KneeId, month: int) -> bool:
    when = study.replaced.get(knee)
    if when is not None and month >= when.seen:
        return False
    report = study.reported.get(knee)
    return report is None or month < report.by or is_kept_by_x_ray(study, knee)


def _is_event(study: FollowUp, pair: Pair, gained: Decimal) -> bool:
    """Tell whether two readings show the event; `gained` are grades that were lost before both."""
    endpoint = study.endpoint
    cut = endpoint.threshold or Decimal(0)
    if endpoint.kind is Kind.WIDTH:
        return pair.change <= cut
    if endpoint.kind is Kind.KL:
        return gained + whole(pair.after) - whole(pair.before) >= cut
    return is_worse(pair.before, pair.after)


def _measure(study: FollowUp, month: int) -> Measure:
    """What is read at a month, with the projects that come first there."""
    grade = study.endpoint.grade
    if grade is None:
        return WIDTH
    return Measure(grade.measure.name, first_projects(month <= _LAST_EARLY_MONTH))


def _no_room(study: FollowUp) -> str:
    if study.endpoint.kind is Kind.WIDTH:
        return f"JSW at {study.visit} is less than the loss asked for"
    return f"no grade left to lose at {study.visit}"


def _never_read(study: FollowUp, knee: KneeId) -> LeftOut:
    """The reason why a knee was not followed."""
    visit = study.visit
    when = study.replaced.get(knee)
    if when is not None and when.by <= study.endpoint.months:
        return LeftOut(f"knee replaced before it was read again after {visit}")
    if knee in study.reported and not is_kept_by_x_ray(study, knee):
        return LeftOut(f"knee replaced before it was read again after {visit}, as reported")
    if knee in study.end_stage and study.begin == _LAST_EARLY_MONTH:
        return LeftOut(f"no joint space left at {visit}, and not X-rayed again")
    later: dict[str, Reading] = {}
    for month, readings in study.readings.items():
        if month == study.begin:
            continue
        for project, reading in readings.get(knee, _NO_READING).items():
            later[f"{month} {project}"] = reading
    measure = _measure(study, 0)
    unread = why_unread(later, measure, f"any visit after {visit}")
    if unread is not None:
        return unread
    return LeftOut(f"{measure.name} at {visit} and later from different reading projects only")


def _why_ended(study: FollowUp, knee: KneeId, last: int) -> Ended:
    """Why nothing was read after the month `last` of a knee without an event."""
    if last == study.last_read:
        return Ended.END
    when, report = study.replaced.get(knee), study.reported.get(knee)
    until = study.endpoint.months
    # Where nobody knows its day it may lie before the end.
    if when is not None and (when.seen <= until or when.after < until):
        return Ended.REPLACED
    if report is not None and not is_kept_by_x_ray(study, knee):
        return Ended.REPLACED
    died = study.died.get(knee)
    after_end_stage = [month for month in study.readings if month > _LAST_EARLY_MONTH]
    if knee in study.end_stage and last <= _LAST_EARLY_MONTH and after_end_stage:
        was_there = knee not in study.stated or study.contact[knee] >= after_end_stage[0]
        if was_there and (died is None or died >= after_end_stage[0]):
            return Ended.UNMEASURED
    if died is not None and died <= study.endpoint.months:
        return Ended.DIED
    return Ended.LOST


def _is_read(study: FollowUp, month: int, knee: KneeId) -> bool:
    projects = study.readings[month].get(knee, _NO_READING)
    return any(reading.value is not None for reading in projects.values())


def _timed(study: FollowUp, knee: KneeId, course: Course) -> TimedKnee:
    is_width = study.endpoint.kind is Kind.WIDTH
    widths = study.readings[study.begin] if is_width else study.start.first
    own_project, width = first_reading(widths.get(knee, _NO_READING), WIDTH) or (None, None)
    if not is_width and study.endpoint.grade is not None:
        at_visit = study.readings[study.begin].get(knee, _NO_READING)
        own_project, _ = first_reading(at_visit, _measure(study, 0)) or (None, None)
    return TimedKnee(
        knee=knee,
        visit=study.visit,
        label=None,
        jsw=width,
        readprj=course.project or own_project,
        clinical=study.start.clinical.get(knee, {}),
        course=course,
    )
