"""Who took part: the flow from tables to the cohort, in words and as a figure, and who they are."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from oatools.report.characteristics import Characteristic, characteristics
from oatools.report.content import CohortCounts, Report
from oatools.report.flow import flow_figure

FLOW_CAPTION = "Flow of knees from the tables of labels and features to the cohort."


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


def cohort_flow(report: Report) -> CohortFlow:
    """Return the flow of a report's knees."""
    flow, counts = report.flow, CohortCounts.of(report.result.cohort)
    lacking = f" ({flow.incomplete:,} lack a sequence)" if flow.incomplete else ""
    reasons = {
        f"with a label, but without features{lacking}": flow.without_features,
        "with features, but without a label": flow.without_label,
        "with features that cannot be used": len(flow.failed),
    }
    left_out = sum(reasons.values())
    told = [f"  {knees:,} {reason}" for reason, knees in reasons.items() if knees]
    return CohortFlow(
        assessed=f"{counts.knees + left_out:,} knees with a label or features",
        left_out=(f"{left_out:,} {'knee' if left_out == 1 else 'knees'} left out", *told),
        used=f"{counts.knees:,} knees used\n({counts.patients:,} patients)",
        groups=(
            f"{counts.positive:,}\npositive",
            f"{counts.knees - counts.positive:,}\nnegative",
        ),
    )


def cohort_characteristics(report: Report) -> list[Characteristic]:
    """Return the lines of the table of characteristics by label."""
    data = report.result.cohort
    rows = [report.labels[knee] for knee in data.knee]
    return characteristics(data.subject, data.label, rows, data.clinical_names)
