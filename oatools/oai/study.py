"""The knees of a study as far as one endpoint at one visit needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from oatools.oai.clinical import ClinicalValue
from oatools.oai.codes import KneeId, decimal
from oatools.oai.endpoints import Endpoint
from oatools.oai.readings import Problem, Readings
from oatools.oai.replacement import Replacements

_HIGHEST_SCORE = 20


@dataclass(frozen=True)
class PainScore:
    """The WOMAC pain of a knee (0 to 20), or the reason why there is none."""

    value: Decimal | None
    problem: Problem | None = None

    @classmethod
    def from_cell(cls, cell: str) -> "PainScore":
        """Read a cell of AllClinicalNN."""
        try:
            return cls.of(decimal(cell))
        except ValueError:
            return cls(None, Problem.NO_NUMBER)

    @classmethod
    def of(cls, value: Decimal | None) -> "PainScore":
        """A score that may be missing; a number out of range is a problem."""
        if value is None:
            return cls(None, Problem.MISSING)
        if not 0 <= value <= _HIGHEST_SCORE:
            return cls(None, Problem.NO_NUMBER)
        return cls(value)


@dataclass(frozen=True)
class StudyTables:
    """The knees of a study as far as one endpoint at one visit needs them.

    `first` and `second` are the widths at the visit and at the horizon, `first_grades` and
    `second_grades` the grades that the endpoint is made from, `scores` the WOMAC pain at the visit,
    `outcomes` the study's own labels (None where there is none), `enrolled` the knees that count as
    assessed, `replaced` those with a prosthesis, `clinical` the clinical variables at the visit.
    `notes` tell what was found odd on the way. `are_synthetic` marks those that `oa-phantom` wrote.
    """

    endpoint: Endpoint
    visit: str
    first: Readings = field(default_factory=dict)
    second: Readings = field(default_factory=dict)
    first_grades: Readings = field(default_factory=dict)
    second_grades: Readings = field(default_factory=dict)
    scores: Mapping[KneeId, PainScore] = field(default_factory=dict)
    outcomes: Mapping[KneeId, bool | None] = field(default_factory=dict)
    enrolled: Sequence[KneeId] = ()
    replaced: Replacements = field(default_factory=Replacements)
    clinical: Mapping[KneeId, Mapping[str, ClinicalValue]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    are_synthetic: bool = False

    @property
    def horizon(self) -> str:
        """The visit at which the outcome is measured."""
        return self.endpoint.horizon(self.visit)

    @property
    def knees(self) -> list[KneeId]:
        """The knees that were enrolled, read or scored, in order."""
        read = (self.first, self.second, self.first_grades, self.second_grades)
        return sorted(set(self.enrolled).union(*read, self.scores, self.outcomes))

    def assessed_patients(self) -> int:
        """The number of people with such knees."""
        return len({knee.subject for knee in self.knees})
