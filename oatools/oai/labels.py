"""Labels of knees: one call from a study's tables to positive and negative knees.

labels = oatools.label_knees("OAI/tables", endpoint="jsn12")
labels.positive, len(labels.knees), labels.left_out.most_common()
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row
from oatools.oai.clinical import CLINICAL_COLUMNS, ClinicalValue, clinical_cells
from oatools.oai.codes import KneeId, plain
from oatools.oai.endpoints import PAIN_FREE_BELOW, Endpoint, checked_threshold, endpoint_of
from oatools.oai.initiative import open_initiative
from oatools.oai.plain import open_plain
from oatools.oai.reliability import MeasurementError, ReliableChange, reliable_change
from oatools.oai.study import StudyTables
from oatools.oai.widths import (
    MINIMUM,
    LeftOut,
    Problem,
    WidthPair,
    first_reading,
    is_replaced,
    pair_of,
    why_unpaired,
)

#: A cut: in mm, % or points of WOMAC; or at the smallest loss that an error does not explain.
Cut = Decimal | MeasurementError


@dataclass(frozen=True)
class LabelledKnee:
    """One labelled knee at a visit, with what was measured.

    `jsw` is the joint space width and `jsn` its change to the horizon, both in mm, `readprj` the
    reading project of both.
    """

    knee: KneeId
    visit: str
    label: int
    jsw: Decimal | None = None
    jsn: Decimal | None = None
    readprj: str | None = None
    clinical: Mapping[str, ClinicalValue] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The knee's token in tables, such as 9000099_00m_right."""
        return self.knee.at(self.visit)

    @property
    def subject(self) -> str:
        """The participant's id."""
        return self.knee.subject

    @property
    def side(self) -> str:
        """The side, `left` or `right`."""
        return self.knee.side

    def row(self) -> Row:
        """The knee as a row of the table of labels, without the endpoint."""
        return {
            "knee": self.name,
            "subject": self.subject,
            "visit": self.visit,
            "side": self.side,
            "label": str(self.label),
            "jsw": _cell(self.jsw),
            "jsn": _cell(self.jsn),
            **clinical_cells(self.clinical),
            "readprj": self.readprj or MISSING,
        }


@dataclass(frozen=True)
class FlowStep:
    """A number of knees in the flow of a cohort: assessed, left out for a reason, labelled, ..."""

    name: str
    knees: int


@dataclass(frozen=True)
class Labels:
    """The knees of a study that can be labelled, in the order of their names, and the others.

    `left_out` counts the others by the reason. `threshold` is the cut in mm, % or points of WOMAC,
    and `reliable_change` its derivation where it comes from a measurement error.
    """

    endpoint: Endpoint
    visit: str
    threshold: Decimal
    knees: Sequence[LabelledKnee]
    left_out: Counter[str]
    assessed_patients: int
    notes: Sequence[str] = ()
    reliable_change: ReliableChange | None = None

    @property
    def positive(self) -> int:
        """The number of positive knees."""
        return sum(knee.label for knee in self.knees)

    @property
    def patients(self) -> int:
        """The number of people whose knees are labelled."""
        return len({knee.subject for knee in self.knees})

    @property
    def assessed(self) -> int:
        """The number of knees that are labelled or left out."""
        return len(self.knees) + self.left_out.total()

    def variables_without_value(self) -> list[str]:
        """The clinical variables that no labelled knee has; none where no knee is labelled."""
        if not self.knees:
            return []
        absent = []
        for name in CLINICAL_COLUMNS:
            if all(knee.clinical.get(name) is None for knee in self.knees):
                absent.append(name)
        return absent

    def flow(self) -> list[FlowStep]:
        """The flow of the cohort: assessed, left out by reason, labelled, positive."""
        left_out = [FlowStep(reason, count) for reason, count in self.left_out.most_common()]
        return [
            FlowStep("assessed", self.assessed),
            *left_out,
            FlowStep("labelled", len(self.knees)),
            FlowStep("positive", self.positive),
        ]

    def columns(self) -> list[str]:
        """The columns of the table of labels."""
        measured = ["label", "jsw", "jsn"] if self.endpoint.months else ["label", "jsw"]
        identity = ["knee", "subject", "visit", "side"]
        return [*identity, *measured, *CLINICAL_COLUMNS, "readprj", "endpoint"]

    def rows(self) -> list[Row]:
        """The rows of the table of labels."""
        return [{**knee.row(), "endpoint": self.endpoint.name} for knee in self.knees]


def label_knees(
    source: str | Path,
    endpoint: str | Endpoint = "jsn12",
    visit: str = "00m",
    threshold: Decimal | float | MeasurementError | None = None,
    partial: bool = False,
) -> Labels:
    """Label the knees of a study from its tables.

    `source` is a folder of the Initiative's tables, or a file with a plain table (`oai.plain`).
    `endpoint` is a name of `ENDPOINTS`, or one of `endpoint_of` with another horizon or width.
    `threshold` moves the cut; a `MeasurementError` puts it at the smallest loss that the error does
    not explain. `partial` does without clinical tables that are not there. Raises a `UsageError`
    for tables and cuts that cannot serve.
    """
    chosen = endpoint_of(endpoint) if isinstance(endpoint, str) else endpoint
    cut = checked_cut(chosen, threshold)
    return label_tables(open_tables(source, chosen, visit, partial), cut)


def open_tables(
    source: str | Path, endpoint: Endpoint, visit: str = "00m", partial: bool = False
) -> StudyTables:
    """Read a study's tables as far as an endpoint at a visit needs them; see `label_knees`."""
    source = Path(source)
    if source.is_dir():
        return open_initiative(source, endpoint, visit, partial)
    if endpoint.width != MINIMUM:
        raise UsageError(
            f"width {endpoint.width}: a plain table has one column of widths, jsw",
            "put there what you need",
        )
    return open_plain(source, endpoint, visit)


def label_tables(
    tables: StudyTables, threshold: Decimal | float | MeasurementError | None = None
) -> Labels:
    """Label the knees of opened tables; see `label_knees`."""
    cut = checked_cut(tables.endpoint, threshold)
    if tables.endpoint.months or isinstance(cut, MeasurementError):
        return _label_narrowing(tables, cut)
    return _label_pain(tables, cut)


def checked_cut(
    endpoint: Endpoint, threshold: Decimal | float | MeasurementError | None = None
) -> Cut:
    """The cut of an endpoint, its own or another one; a `UsageError` for one without meaning."""
    if isinstance(threshold, MeasurementError):
        if not endpoint.months or endpoint.relative:
            raise UsageError(
                f"reliable change is a loss in mm, which does not cut {endpoint.name}",
                "give `threshold` as a number",
            )
        return threshold
    if threshold is None or isinstance(threshold, Decimal):
        return checked_threshold(endpoint, threshold)
    return checked_threshold(endpoint, Decimal(str(threshold)))


def _label_narrowing(tables: StudyTables, cut: Cut) -> Labels:
    """Label knees by the change of their joint space width between the visit and the horizon.

    Both widths come from one reading project. Positive: change <= cut, in mm, or in % of the width
    at the visit for a relative endpoint.
    """
    pairs: dict[KneeId, WidthPair] = {}
    left_out = Counter[str]()
    for knee in sorted({*tables.first, *tables.second, *tables.enrolled}):
        found = _pair(tables, knee)
        if isinstance(found, LeftOut):
            left_out[found.reason] += 1
        else:
            pairs[knee] = found
    change = None
    if isinstance(cut, MeasurementError):
        before = [pair.before for pair in pairs.values()]
        after = [pair.after for pair in pairs.values()]
        change = reliable_change(before, after, cut)
        threshold = change.threshold
    else:
        threshold = cut
    knees = []
    for knee, pair in pairs.items():
        label = int(_is_positive(pair, threshold, tables.endpoint.relative))
        knees.append(
            LabelledKnee(
                knee=knee,
                visit=tables.visit,
                label=label,
                jsw=pair.before,
                jsn=pair.change,
                readprj=pair.project,
                clinical=tables.clinical.get(knee, {}),
            )
        )
    return _labels(tables, threshold, knees, left_out, change)


def _pair(tables: StudyTables, knee: KneeId) -> WidthPair | LeftOut:
    """The two widths of a knee, or the reason why they cannot be compared."""
    before, after = tables.first.get(knee, {}), tables.second.get(knee, {})
    if knee in tables.replaced or is_replaced(before) or is_replaced(after):
        return LeftOut(f"knee replaced by {tables.horizon}")
    pair = pair_of(before, after)
    if pair is None:
        return why_unpaired(before, after, tables.visit, tables.horizon)
    if tables.endpoint.relative and pair.before == 0:
        return LeftOut(f"JSW is 0 at {tables.visit}, so that no relative change is defined")
    return pair


def _is_positive(pair: WidthPair, threshold: Decimal, relative: bool) -> bool:
    if relative:
        return 100 * pair.change <= threshold * pair.before
    return pair.change <= threshold


def _label_pain(tables: StudyTables, threshold: Decimal) -> Labels:
    """Label knees by their WOMAC pain at the visit.

    Positive: pain >= threshold; negative: pain < 1; left out in between.
    """
    knees = []
    left_out = Counter[str]()
    for knee in tables.scores:
        found = _pain_label(tables, knee, threshold)
        if isinstance(found, LeftOut):
            left_out[found.reason] += 1
        else:
            knees.append(found)
    return _labels(tables, threshold, knees, left_out)


def _pain_label(tables: StudyTables, knee: KneeId, threshold: Decimal) -> LabelledKnee | LeftOut:
    score = tables.scores[knee]
    projects = tables.first.get(knee, {})
    visit = tables.visit
    if knee in tables.replaced or is_replaced(projects):
        return LeftOut(f"knee replaced by {visit}")
    if score.problem is Problem.NO_NUMBER:
        return LeftOut(f"WOMAC pain is no number from 0 to 20 at {visit}")
    if score.value is None:
        return LeftOut(f"no WOMAC pain at {visit}")
    if PAIN_FREE_BELOW <= score.value < threshold:
        return LeftOut(f"WOMAC pain from {PAIN_FREE_BELOW} to below {plain(threshold)} at {visit}")
    project, width = first_reading(projects) or (None, None)
    return LabelledKnee(
        knee=knee,
        visit=visit,
        label=int(score.value >= threshold),
        jsw=width,
        readprj=project,
        clinical=tables.clinical.get(knee, {}),
    )


def _labels(
    tables: StudyTables,
    threshold: Decimal,
    knees: Sequence[LabelledKnee],
    left_out: Counter[str],
    change: ReliableChange | None = None,
) -> Labels:
    return Labels(
        endpoint=tables.endpoint,
        visit=tables.visit,
        threshold=threshold,
        knees=sorted(knees, key=lambda knee: knee.name),
        left_out=left_out,
        assessed_patients=tables.assessed_patients(),
        notes=tables.notes,
        reliable_change=change,
    )


def _cell(value: Decimal | None) -> str:
    return MISSING if value is None else plain(value)
