"""Who took part: the flow from tables to the cohort, in words and as a figure, and who they are."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from oatools.core.errors import UsageError
from oatools.core.manifest import read_table
from oatools.report.characteristics import Characteristic, characteristics
from oatools.report.content import CohortCounts, LabelFlow, Report
from oatools.report.flow import flow_figure
from oatools.report.words import words_of

# The step of a flow whose knees can be learnt from.
_SERVE = ("labelled", "at risk")
FLOW_CAPTION = "Flow of knees to the cohort."


@dataclass(frozen=True)
class CohortFlow:
    """The boxes of the flow: in the tables, left out and why (a reason a line), used, by label."""

    assessed: str
    left_out: tuple[str, ...]
    used: str
    groups: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the flow as lines of text, of which reasons are indented."""
        boxes = [self.assessed, *self.left_out, self.used, *self.groups]
        return [box.replace("\n", " ") for box in boxes]

    def figure(self) -> Figure:
        """Draw it, with room for a mark above."""
        return flow_figure(self.assessed, self.left_out, self.used, self.groups, margin=0.15)


def read_label_flow(path: str | Path, labelled: int) -> LabelFlow:
    """Read the flow of knees up to the labels from the table that oa-label writes of it.

    `labelled` is the number of knees that the table of labels has now. Raises a `UsageError` for a
    table that is no such flow, or one in which fewer knees are labelled, so that it is of others.
    """
    rows = list(read_table(path, ["reason", "knees"]).rows)
    steps = [(row["reason"], row["knees"]) for row in rows]
    names = [name for name, _ in steps]
    # Labels end with those that are positive, times with the events and how the others ended.
    last = next((i for i, name in enumerate(names) if name in _SERVE), 0)
    is_flow = names[:1] == ["assessed"] and names[last + 1 : last + 2] in (["positive"], ["events"])
    if not is_flow or not all(knees.isdecimal() for _, knees in steps):
        raise UsageError(
            f"{path}: is no flow, from 'assessed' to 'labelled' and 'positive'",
            "give the table that oa-label writes of it",
        )
    left_out = tuple((reason, int(knees)) for reason, knees in steps[1:last])
    found = LabelFlow(int(steps[0][1]), left_out, int(steps[last][1]))
    if found.assessed != sum(knees for _, knees in left_out) + found.labelled:
        raise UsageError(f"{path}: the knees left out and labelled are not all that were assessed")
    if found.labelled < labelled:
        raise UsageError(
            f"{path}: {found.labelled} knees are labelled, and {labelled} in the labels",
            "give the `flow` of these labels",
        )
    return found


def cohort_flow(report: Report) -> CohortFlow:
    """Return the flow of a report's knees, from those assessed if it is known how they fared."""
    flow, counts = report.flow, CohortCounts.of(report.result.cohort)
    words = words_of(report.result)
    lacking = f" ({flow.incomplete:,} lack a sequence)" if flow.incomplete else ""
    reasons = [(f"with a label, but without features{lacking}", flow.without_features)]
    start = "with a label or features"
    if report.labelling is None:
        reasons.append(("with features, but without a label", flow.without_label))
    else:
        start = "assessed"
        taken_out = report.labelling.labelled - flow.labelled
        before = [*report.labelling.left_out, ("taken out of the labels", taken_out)]
        reasons = [*before, *reasons]
    reasons.append(("with features that cannot be used", flow.unusable))
    left_out = sum(knees for _, knees in reasons)
    told = [f"  {knees:,} {reason}" for reason, knees in reasons if knees]
    return CohortFlow(
        assessed=f"{counts.knees + left_out:,} knees {start}",
        left_out=(f"{left_out:,} {'knee' if left_out == 1 else 'knees'} left out", *told),
        used=f"{counts.knees:,} knees used\n({counts.patients:,} patients)",
        groups=(
            f"{counts.positive:,}\n{words.positive}",
            f"{counts.knees - counts.positive:,}\n{words.negative}",
        ),
    )


def cohort_characteristics(report: Report) -> list[Characteristic]:
    """Return the lines of the table of characteristics by label."""
    data = report.result.cohort
    rows = [report.labels[knee] for knee in data.knee]
    return characteristics(data.subject, data.label, rows, data.clinical_names)
