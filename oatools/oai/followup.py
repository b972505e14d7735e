"""What becomes of the knees of a study after a visit: readings, replacements, contacts, deaths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from oatools.oai.codes import KneeId
from oatools.oai.endpoints import month_of
from oatools.oai.outcomes import Prosthesis
from oatools.oai.readings import Readings
from oatools.oai.study import StudyTables
from oatools.oai.timed_endpoints import TimedEndpoint


@dataclass(frozen=True)
class Report:
    """A replacement that a person told of and nobody adjudicated, in months since enrolment.

    `by` is the visit that heard of it, and `after` the last contact before that.
    """

    after: Decimal
    by: Decimal


@dataclass(frozen=True)
class FollowUp:
    """The knees of a study from a visit on; all times are months since enrolment.

    `start` holds the study at the visit. `readings` are what the endpoint is read from, by month,
    that of the visit first. `replaced` are the knees that get a prosthesis after the visit,
    `reported` those that do so by report alone, `undated` those that do at no time that is known.
    `contact` is the last contact with the knee's person, among `stated` where the study says so
    and else the last visit with data. `end_stage` are the knees that had no joint space left at 48
    months, which the study did not X-ray again. `has_outcomes` tells whether replacements were
    adjudicated. `notes` tell what was found odd on the way.
    """

    endpoint: TimedEndpoint
    start: StudyTables
    readings: Mapping[int, Readings] = field(default_factory=dict)
    replaced: Mapping[KneeId, Prosthesis] = field(default_factory=dict)
    reported: Mapping[KneeId, Report] = field(default_factory=dict)
    undated: frozenset[KneeId] = frozenset()
    contact: Mapping[KneeId, Decimal] = field(default_factory=dict)
    stated: frozenset[KneeId] = frozenset()
    died: Mapping[KneeId, Decimal] = field(default_factory=dict)
    end_stage: frozenset[KneeId] = frozenset()
    has_outcomes: bool = False
    notes: Sequence[str] = ()

    @property
    def visit(self) -> str:
        """The visit from which time counts."""
        return self.start.visit

    @property
    def begin(self) -> int:
        """The months of that visit."""
        return month_of(self.start.visit)

    @property
    def last_read(self) -> int:
        """The months of the last visit that was read."""
        return max(self.readings, default=self.begin)

    @property
    def knees(self) -> list[KneeId]:
        """The knees that were enrolled or read at any visit, in order."""
        return sorted(set(self.start.knees).union(*self.readings.values()))

    def assessed_patients(self) -> int:
        """The number of people with such knees."""
        return len({knee.subject for knee in self.knees})
