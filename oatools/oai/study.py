"""The knees of a study as far as one endpoint at one visit needs them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from oatools.oai.clinical import ClinicalValue
from oatools.oai.codes import KneeId, decimal
from oatools.oai.endpoints import Endpoint
from oatools.oai.widths import Problem, Readings

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

    `first` and `second` are the widths at the visit and at the horizon, `scores` the WOMAC pain at
    the visit, `enrolled` the knees that count as assessed, `replaced` those with a prosthesis by
    the horizon, `clinical` the clinical variables at the visit. `notes` tell what was found odd on
    the way.
    """

    endpoint: Endpoint
    visit: str
    first: Readings = field(default_factory=dict)
    second: Readings = field(default_factory=dict)
    scores: Mapping[KneeId, PainScore] = field(default_factory=dict)
    enrolled: Sequence[KneeId] = ()
    replaced: Collection[KneeId] = frozenset()
    clinical: Mapping[KneeId, Mapping[str, ClinicalValue]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def horizon(self) -> str:
        """The visit at which the outcome is measured."""
        return self.endpoint.horizon(self.visit)

    def assessed_patients(self) -> int:
        """The number of people whose knees were enrolled or read."""
        knees = {*self.enrolled, *self.first, *self.second}
        return len({knee.subject for knee in knees})
