"""Labels of knees: one call from a study's tables to positive and negative knees.

labels = oatools.label_knees("OAI/tables", endpoint="jsn12")
labels.positive, len(labels.knees), labels.left_out.most_common()
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import overload

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, naming_table
from oatools.core.provenance import CAUTION_COLUMN, Caution
from oatools.oai.clinical import CLINICAL_COLUMNS
from oatools.oai.codes import plain
from oatools.oai.endpoints import Endpoint, Kind, checked_threshold, endpoint_of
from oatools.oai.initiative import open_initiative
from oatools.oai.kneelist import IDENTITY, FlowStep, KneeList, number_cell
from oatools.oai.most import is_most, open_most
from oatools.oai.plain import open_plain, require_plain_width
from oatools.oai.reliability import MeasurementError, ReliableChange, reliable_change
from oatools.oai.rules import LabelledKnee, Sorted, sort_knees, width_pairs
from oatools.oai.study import StudyTables
from oatools.oai.tables import find_tables
from oatools.oai.timed_endpoints import timed_endpoint_of
from oatools.oai.timed_labels import TimedLabels, time_knees
from oatools.oai.widths import MINIMUM
from oatools.phantom.stamp import is_of_phantom

#: A cut: in mm, % or points of WOMAC or grades; or at the smallest loss that an error does not
#: explain; or none, for endpoints without one.
Cut = Decimal | MeasurementError | None

# The column of what a label is made from, by the kind of endpoint.
_CHANGES = {Kind.WIDTH: "jsn", Kind.KL: "kl_change", Kind.NARROWING: "jsm_change"}


@dataclass(frozen=True, kw_only=True)
class Labels(KneeList):
    """The knees of a study that can be labelled, in the order of their names, and the others.

    `threshold` is the cut in mm, %, points of WOMAC or grades, None for an endpoint without one,
    and `reliable_change` its derivation where it comes from a measurement error.
    """

    endpoint: Endpoint
    threshold: Decimal | None
    knees: Sequence[LabelledKnee]
    reliable_change: ReliableChange | None = None

    @property
    def members(self) -> Sequence[LabelledKnee]:
        """The knees that are labelled."""
        return self.knees

    @property
    def endpoint_name(self) -> str:
        """The endpoint with its cut, where that is not the usual one: `jsn36@-0.7`."""
        if self.threshold is None or self.threshold == self.endpoint.threshold:
            return self.endpoint.name
        return f"{self.endpoint.name}@{plain(self.threshold)}"

    @property
    def positive(self) -> int:
        """The number of positive knees."""
        return sum(knee.label or 0 for knee in self.knees)

    @property
    def are_labelled(self) -> bool:
        """False where the knees are listed without a label (endpoint `none`)."""
        return self.endpoint.kind is not Kind.NONE

    def flow(self) -> list[FlowStep]:
        """The flow of the cohort: assessed, left out by reason, labelled, positive."""
        steps = self.left_out_steps()
        if not self.are_labelled:
            return [*steps, FlowStep("listed", len(self.knees))]
        return [
            *steps,
            FlowStep("labelled", len(self.knees)),
            FlowStep("positive", self.positive),
        ]

    def columns(self) -> list[str]:
        """The columns of the table of labels."""
        if not self.are_labelled:
            return [*IDENTITY, "jsw", *CLINICAL_COLUMNS, "readprj", CAUTION_COLUMN]
        measured = ["label", "jsw"]
        if self.endpoint.kind in _CHANGES:
            measured.append(_CHANGES[self.endpoint.kind])
        return [*IDENTITY, *measured, *CLINICAL_COLUMNS, "readprj", "endpoint", CAUTION_COLUMN]

    def rows(self) -> list[Row]:
        """The rows of the table of labels."""
        return [self.row(knee) for knee in self.knees]

    def row(self, knee: LabelledKnee) -> Row:
        """One knee as a row of the table of labels."""
        row = self.common_cells(knee)
        row["label"] = MISSING if knee.label is None else str(knee.label)
        row["endpoint"] = self.endpoint_name
        change = _CHANGES.get(self.endpoint.kind)
        if change is not None:
            row[change] = number_cell(knee.change)
        return {column: row[column] for column in self.columns()}


@overload
def label_knees(
    source: str | Path,
    endpoint: str | Endpoint = "jsn12",
    visit: str = "00m",
    threshold: Decimal | float | MeasurementError | None = None,
) -> Labels: ...


@overload
def label_knees(
    source: str | Path,
    endpoint: str,
    visit: str = "00m",
    threshold: Decimal | float | None = None,
    *,
    until: str,
    replaced: str | None = None,
) -> TimedLabels: ...


def label_knees(
    source: str | Path,
    endpoint: str | Endpoint = "jsn12",
    visit: str = "00m",
    threshold: Decimal | float | MeasurementError | None = None,
    until: str | None = None,
    replaced: str | None = None,
) -> Labels | TimedLabels:
    """Label the knees of a study from its tables, or give the time until what befell them.

    `source` is a folder of the tables of OAI or of MOST, or a file with a plain table
    (`oai.plain`). `endpoint` is a name of `ENDPOINTS`, or one of `endpoint_of` with another horizon
    or width. `threshold` moves the cut; a `MeasurementError` puts it at the smallest loss that the
    error does not explain. With `until`, a visit, the endpoint is one of `TIMED`, and `replaced`
    says what a replacement counts for (`Replaced`); other widths are had from `time_knees`. Raises
    a `UsageError` for tables and cuts that cannot serve.
    """
    if until is not None:
        name = endpoint if isinstance(endpoint, str) else endpoint.name
        if isinstance(threshold, MeasurementError):
            raise UsageError("a time to an event has no reliable change", "give `threshold`")
        timed = timed_endpoint_of(name, until, visit, threshold, replaced=replaced)
        return time_knees(source, timed, visit)
    if replaced is not None:
        raise UsageError("replaced is for times to an event", "give `until`, too")
    chosen = endpoint_of(endpoint) if isinstance(endpoint, str) else endpoint
    cut = checked_cut(chosen, threshold)
    return label_tables(open_tables(source, chosen, visit), cut)


def unlabelled_knees(source: str | Path, labels: Labels | TimedLabels) -> list[LabelledKnee]:
    """The knees that are there at the visit of `labels`, but not among them, without a label.

    They are those of the endpoint `none`, in the order of their names: a model may be asked about
    knees whose outcome nobody knows, and needs their clinical variables. Their width is the medial
    minimum, and none where the labels are of another one.
    """
    everyone = label_tables(open_tables(source, endpoint_of("none"), labels.visit))
    labelled = {knee.name for knee in labels.members}
    found = [knee for knee in everyone.knees if knee.name not in labelled]
    if labels.endpoint.width != MINIMUM:
        found = [replace(knee, jsw=None) for knee in found]
    return found


def open_tables(
    source: str | Path, endpoint: Endpoint, visit: str = "00m", outcome: str = "outcome"
) -> StudyTables:
    """Read a study's tables as far as an endpoint at a visit needs them; see `label_knees`.

    `outcome` is the column of a plain table that the endpoint `given` passes through.
    """
    source = Path(source)
    if not source.is_dir():
        require_plain_width(endpoint.width)
        with naming_table(source):
            return open_plain(source, endpoint, visit, outcome)
    if endpoint.kind is Kind.GIVEN:
        raise UsageError(
            f"{source} is a folder: a study's own outcome comes from one plain table",
            "give that file, or another `endpoint`",
        )
    tables = find_tables(source)
    opened = open_most if is_most(tables) else open_initiative
    return replace(opened(tables, endpoint, visit), are_synthetic=is_of_phantom(source))


def label_tables(
    tables: StudyTables, threshold: Decimal | float | MeasurementError | None = None
) -> Labels:
    """Label the knees of opened tables; see `label_knees`."""
    cut = checked_cut(tables.endpoint, threshold)
    if not isinstance(cut, MeasurementError):
        return _labels(tables, cut, sort_knees(tables, cut))
    pairs = width_pairs(tables).values()
    change = reliable_change([pair.before for pair in pairs], [pair.after for pair in pairs], cut)
    found = sort_knees(tables, change.threshold)
    return _labels(tables, change.threshold, found, change)


def checked_cut(
    endpoint: Endpoint, threshold: Decimal | float | MeasurementError | None = None
) -> Cut:
    """The cut of an endpoint, its own or another one; a `UsageError` for one without meaning."""
    if isinstance(threshold, MeasurementError):
        if endpoint.kind is not Kind.WIDTH or endpoint.relative:
            raise UsageError(
                f"reliable change is a loss in mm, which does not cut {endpoint.name}",
                "give `threshold` as a number",
            )
        return threshold
    if threshold is None or isinstance(threshold, Decimal):
        return checked_threshold(endpoint, threshold)
    return checked_threshold(endpoint, Decimal(str(threshold)))


def _labels(
    tables: StudyTables,
    threshold: Decimal | None,
    found: Sorted,
    change: ReliableChange | None = None,
) -> Labels:
    return Labels(
        endpoint=tables.endpoint,
        visit=tables.visit,
        threshold=threshold,
        knees=sorted(found.knees, key=lambda knee: knee.name),
        left_out=found.left_out,
        assessed_patients=tables.assessed_patients(),
        notes=[*tables.notes, *found.notes],
        reliable_change=change,
        cautions=(Caution.PHANTOMS,) if tables.are_synthetic else (),
    )
