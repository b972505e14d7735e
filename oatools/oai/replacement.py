"""Knees with a prosthesis: what was adjudicated (Outcomes99), and what people reported.

An adjudicated outcome goes before a report. A report alone never takes a knee away that was
measured at both visits: the X-ray is the better witness.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from oatools.oai.codes import (
    VISITS,
    KneeId,
    Record,
    code,
    is_missing,
    is_yes,
    number_or_none,
    subject_of,
)

#: The table of adjudicated outcomes.
OUTCOMES = "Outcomes99"

#: Days in the mean month.
DAYS_A_MONTH = Decimal("30.4375")
#: Questionnaires: a knee replaced before entry, and within the last twelve months.
REPORTS = {"right": ("P01KRSR", "VxxKRSR12"), "left": ("P01KRSL", "VxxKRSL12")}


@dataclass(frozen=True)
class OutcomeColumns:
    """The columns of Outcomes99 of one side.

    `day` counts from enrolment, `reported` is the number of the visit that reported the
    replacement and `before` that of the last contact before it, `at_entry` tells of a prosthesis
    that was there at baseline, and `confirmation` is 0 where the adjudication failed to confirm.
    """

    day: str
    reported: str
    at_entry: str
    confirmation: str
    before: str


#: The columns of Outcomes99 by side.
OUTCOME_COLUMNS = {
    "right": OutcomeColumns("V99ERKDAYS", "V99ERKVSRP", "V99ERKBLRP", "V99ERKRPCF", "V99ERKVSPR"),
    "left": OutcomeColumns("V99ELKDAYS", "V99ELKVSRP", "V99ELKBLRP", "V99ELKRPCF", "V99ELKVSPR"),
}


@dataclass(frozen=True)
class Replacements:
    """Knees with a prosthesis at a visit, and those that got one until the horizon.

    `at_visit` and `later` are beyond doubt (adjudicated, seen on an X-ray, or stated by a study
    itself), `reported_at_visit` and `reported_later` are what people said and nobody refuted.
    `osteotomies` are knees whose bones were cut between the visit and the horizon.
    """

    at_visit: frozenset[KneeId] = frozenset()
    later: frozenset[KneeId] = frozenset()
    reported_at_visit: frozenset[KneeId] = frozenset()
    reported_later: frozenset[KneeId] = frozenset()
    osteotomies: frozenset[KneeId] = frozenset()

    @property
    def by_horizon(self) -> frozenset[KneeId]:
        """The knees that have a prosthesis at the horizon, beyond doubt."""
        return self.at_visit | self.later

    @property
    def reported(self) -> frozenset[KneeId]:
        """The knees that have one at the horizon by report alone."""
        return self.reported_at_visit | self.reported_later


@dataclass(frozen=True)
class Adjudicated:
    """What Outcomes99 says: the knees replaced at a visit, later, and those that were not.

    `not_at_entry` and `not_later` are refuted explicitly; where a cell is blank nothing is.
    `undated` are the knees of which something is said, but neither a day nor a visit.
    """

    at_visit: frozenset[KneeId] = frozenset()
    later: frozenset[KneeId] = frozenset()
    not_at_entry: frozenset[KneeId] = frozenset()
    not_later: frozenset[KneeId] = frozenset()
    undated: frozenset[KneeId] = frozenset()


def outcome_columns() -> list[str]:
    """The columns of Outcomes99 that `adjudicated` reads."""
    names = []
    for side in OUTCOME_COLUMNS.values():
        names += [side.day, side.reported, side.at_entry, side.confirmation]
    return names


def report_sources() -> list[str]:
    """The columns of the questionnaires that `reported` reads, with `Vxx` for the visit."""
    return [*REPORTS["right"], *REPORTS["left"]]


def adjudicated(records: Iterable[Record], visit: str, horizon: str) -> Adjudicated:
    """Read the knees that Outcomes99 has as replaced at the visit, and those until the horizon.

    A knee that was replaced at entry is replaced at every visit. Of the day and of the visit that
    reported it the earlier counts, so that no width of a prosthesis is taken for one of cartilage.
    A replacement that adjudication failed to confirm counts for nothing, whatever its day.
    """
    found: dict[str, set[KneeId]] = defaultdict(set)
    for record in records:
        subject = subject_of(record)
        if subject is None:
            continue
        for side, columns in OUTCOME_COLUMNS.items():
            for told in _told_by(record, columns, visit, horizon):
                found[told].add(KneeId(subject, side))
    found["undated"] -= found["at_visit"] | found["later"]
    return Adjudicated(**{told: frozenset(knees) for told, knees in found.items()})


def _told_by(record: Record, columns: OutcomeColumns, visit: str, horizon: str) -> Iterator[str]:
    """Yield the fields of `Adjudicated` in which a record puts the knee of those columns."""
    at_entry = record.get(columns.at_entry, ".")
    if is_yes(at_entry):
        yield "at_visit"
        return
    if not is_missing(at_entry):
        yield "not_at_entry"
    confirmation = record.get(columns.confirmation, ".")
    if code(confirmation) == "0":
        yield "not_later"
        return
    when = [record.get(name, ".") for name in (columns.day, columns.reported)]
    day, reported = map(number_or_none, when)
    if _is_by(visit, day, reported):
        yield "at_visit"
    elif _is_by(horizon, day, reported):
        yield "later"
    elif day is not None or reported is not None:
        yield "not_later"
    elif not all(map(is_missing, (*when, confirmation))):
        yield "undated"


def _is_by(visit: str, day: Decimal | None, reported: Decimal | None) -> bool:
    by_day = day is not None and day <= int(visit[:-1]) * DAYS_A_MONTH
    return by_day or (reported is not None and reported <= VISITS[visit])


def replacements(
    people: Mapping[str, Record],
    outcomes: Adjudicated,
    on_x_ray: tuple[Iterable[KneeId], Iterable[KneeId]],
    visit: str,
    horizon: str,
) -> Replacements:
    """Bring together outcomes, X-rays with a prosthesis at visit and horizon, and reports."""
    reported_at_visit = set[KneeId]()
    reported_later = set[KneeId]()
    known = outcomes.at_visit | outcomes.later
    for side, (at_entry, at_follow_up) in REPORTS.items():
        for subject, person in people.items():
            knee = KneeId(subject, side)
            if knee in known:
                continue
            if knee not in outcomes.not_at_entry and is_yes(person.get(at_entry, ".")):
                reported_at_visit.add(knee)
            if knee in outcomes.not_later:
                continue
            for number in range(VISITS[horizon] + 1):
                if is_yes(person.get(f"V{number:02d}{at_follow_up[3:]}", ".")):
                    when = reported_at_visit if number <= VISITS[visit] else reported_later
                    when.add(knee)
    seen_at_visit, seen_later = map(frozenset, on_x_ray)
    return Replacements(
        at_visit=outcomes.at_visit | seen_at_visit,
        later=(outcomes.later | seen_later) - outcomes.at_visit - seen_at_visit,
        reported_at_visit=frozenset(reported_at_visit),
        reported_later=frozenset(reported_later),
    )
