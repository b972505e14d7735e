"""A list of knees with what was found of them: what labels and times to an event have in common."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import CAUTION_COLUMN, Caution, caution_cell
from oatools.oai.clinical import CLINICAL_COLUMNS, clinical_cells
from oatools.oai.codes import plain
from oatools.oai.rules import LabelledKnee

#: The columns that begin the table.
IDENTITY = ["knee", "subject", "visit", "side"]


@dataclass(frozen=True)
class FlowStep:
    """A number of knees in the flow of a cohort: assessed, left out for a reason, labelled, ..."""

    name: str
    knees: int


@dataclass(frozen=True, kw_only=True)
class KneeList:
    """The knees of a study that serve, in the order of their names, and the others.

    `left_out` counts the others by the reason. `cautions` say that the tables are of no people.
    """

    visit: str
    left_out: Counter[str]
    assessed_patients: int
    notes: Sequence[str] = ()
    cautions: tuple[Caution, ...] = ()

    @property
    def members(self) -> Sequence[LabelledKnee]:
        """The knees that serve."""
        raise NotImplementedError

    @property
    def patients(self) -> int:
        """The number of people whose knees serve."""
        return len({knee.subject for knee in self.members})

    @property
    def assessed(self) -> int:
        """The number of knees that serve or are left out."""
        return len(self.members) + self.left_out.total()

    def variables_without_value(self) -> list[str]:
        """The clinical variables that no knee has; none where there is no knee."""
        if not self.members:
            return []
        absent = []
        for name in CLINICAL_COLUMNS:
            if all(knee.clinical.get(name) is None for knee in self.members):
                absent.append(name)
        return absent

    def left_out_steps(self) -> list[FlowStep]:
        """The flow of the cohort as far as knees are left out: assessed, and by reason."""
        left_out = [FlowStep(reason, count) for reason, count in self.left_out.most_common()]
        return [FlowStep("assessed", self.assessed), *left_out]

    def common_cells(self, knee: LabelledKnee) -> Row:
        """The cells of a knee that do not depend on what was found of it."""
        return {
            "knee": knee.name,
            "subject": knee.subject,
            "visit": knee.visit,
            "side": knee.side,
            "jsw": number_cell(knee.jsw),
            **clinical_cells(knee.clinical),
            "readprj": knee.readprj or MISSING,
            CAUTION_COLUMN: caution_cell(self.cautions),
        }


def number_cell(value: Decimal | None) -> str:
    """The cell of a number that may be missing."""
    return MISSING if value is None else plain(value)
