"""What oa-label tells of the flow of a cohort, on standard error, as a table and as a figure."""

from collections.abc import Sequence
from pathlib import Path

from oatools.core import manifest
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import check_outputs, write_bytes
from oatools.core.options import FIGURES
from oatools.oai.course import Ended
from oatools.oai.labels import Labels
from oatools.oai.reliability import ReliableChange
from oatools.oai.timed_labels import ENDINGS, TimedLabels

_FLOW_COLUMNS = ["reason", "knees"]
_FLOW_HEADER = manifest.table_bytes(_FLOW_COLUMNS, [])


def check_flows(flows: Sequence[Path], source: Path) -> None:
    """Raise a `UsageError` for a file of `--flow` that would destroy something.

    That is one given twice, one of the tables, or any table that is no flow.
    """
    named = {f"--flow {index}": path for index, path in enumerate(flows, start=1)}
    check_outputs(named, [source], force=True)
    for path in flows:
        if path.suffix.lower() != ".tsv" or not path.exists() or not path.stat().st_size:
            continue
        with path.open("rb") as stream:
            start = stream.read(len(_FLOW_HEADER))
        if start != _FLOW_HEADER:
            raise UsageError(
                f"--flow {path}: a table that is no flow is there, and would be lost",
                "give it another name",
            )


def check_curve(curve: Path | None, source: Path, flows: Sequence[Path], *, is_timed: bool) -> None:
    """Raise a `UsageError` for a file of `--curve` that cannot be drawn, or would destroy one."""
    if curve is None:
        return
    if not is_timed:
        raise UsageError("--curve is of times to an event", "give --until, too")
    if curve.suffix not in FIGURES:
        raise UsageError(f"--curve {curve}: a name that ends in .png or .svg is needed")
    named = {f"--flow {index}": path for index, path in enumerate(flows, start=1)}
    check_outputs({**named, "--curve": curve}, [source], force=True)


def draw_curve(path: Path, labels: TimedLabels) -> None:
    """Draw the Kaplan-Meier curve of the knees at risk, with the numbers of these below."""
    import numpy as np

    from oatools.learning.followup import read_follow_up
    from oatools.report.figures import encode_marked
    from oatools.report.timed import kaplan_meier_figure

    found = read_follow_up(labels.rows(), path.name)
    subject = np.unique([knee.subject for knee in labels.knees], return_inverse=True)[1]
    figure = kaplan_meier_figure(found, subject, labels.endpoint.name)
    write_bytes(path, encode_marked(figure, path.suffix[1:], labels.cautions))


def tell_reliable_change(console: Console, labels: Labels, change: ReliableChange) -> None:
    """Say by which steps the cut comes from a measurement error."""
    months = labels.endpoint.months
    first_sd, second_sd = change.sds
    console.note(
        f"reliable change: SD {first_sd:.3f} mm at {labels.visit} and {second_sd:.3f} mm "
        f"{months} months later, over {change.knees} knees of {labels.patients} patients "
        "(both knees count)"
    )
    _tell_error(console, change)
    console.note(f"reliable change: threshold -1.96 S_diff = {change.threshold} mm")
    console.note(
        f"reliable change: 1.96 SD of the change itself is {1.96 * change.sd_change:.3f} mm "
        f"(SD {change.sd_change:.3f}); the -1.1 mm of Schiratti et al. are 1.96 x 0.569, "
        "that of 12 months in OAI"
    )


def _tell_error(console: Console, change: ReliableChange) -> None:
    """Say where S_diff comes from."""
    if change.sems is None:
        console.note(
            "reliable change: no reliability is given, so that all change is taken for error: "
            f"S_diff = SD of the change = {change.s_diff:.3f} mm"
        )
        return
    if change.error.reliability is None:
        origin = "as given"
    else:
        origin = f"SD sqrt(1 - {change.error.reliability:g})"
    first_sem, second_sem = change.sems
    console.note(
        f"reliable change: SEM {first_sem:.3f} and {second_sem:.3f} mm ({origin}), "
        f"S_diff = sqrt(SEM1^2 + SEM2^2) = {change.s_diff:.3f} mm"
    )


def tell_flow(console: Console, labels: Labels | TimedLabels) -> None:
    """Say how many knees were left out, by reason, and what became of the others."""
    for caution in labels.cautions:
        console.note(f"the tables are of {caution.value}: they say nothing about patients")
    for reason, count in labels.left_out.most_common():
        knees = "knee" if count == 1 else "knees"
        console.note(f"{count} {knees} left out: {reason}")
    absent = labels.variables_without_value()
    if absent:
        console.note(f"no knee has a value of {', '.join(absent)}")
    if isinstance(labels, TimedLabels):
        _tell_times(console, labels)
    else:
        _tell_labels(console, labels)


def _tell_times(console: Console, labels: TimedLabels) -> None:
    total, events = len(labels.knees), labels.events
    if total and events in (0, total):
        console.note("all knees end alike: nothing can be learned from this table")
    ended = labels.ended()
    others = [f"{ended[why]} {name}" for why, name in ENDINGS.items() if ended[why]]
    if others:
        console.note(f"follow-up without an event: {', '.join(others)}")
    console.note(f"{total} knees of {labels.patients} patients at risk, {events} with an event")


def _tell_labels(console: Console, labels: Labels) -> None:
    total, positive = len(labels.knees), labels.positive
    if not labels.are_labelled:
        console.note(f"{total} knees of {labels.patients} patients listed, without labels")
        return
    if total and positive in (0, total):
        console.note("all labels are the same: nothing can be learned from this table")
    share = f" ({100 * positive / total:.1f} %)" if total else ""
    console.note(
        f"{total} knees of {labels.patients} patients labelled, {positive} positive{share}"
    )


def write_flow(path: Path, labels: Labels | TimedLabels) -> None:
    """Write the flow as a table or a figure, by the name of the file."""
    if path.suffix.lower() == ".tsv":
        rows = [{"reason": step.name, "knees": str(step.knees)} for step in labels.flow()]
        manifest.write_table(path, _FLOW_COLUMNS, rows)
        return
    from oatools.report.flow import draw_flow

    lost = [f"{labels.left_out.total():,} knees left out"]
    for reason, count in labels.left_out.most_common():
        lost.append(f"  {count:,} {reason}")
    done, groups = _groups(labels)
    from oatools.learning.cautions import figure_mark

    draw_flow(
        path,
        assessed=f"{labels.assessed:,} knees assessed\n({labels.assessed_patients:,} patients)",
        left_out=lost,
        labelled=f"{len(labels.members):,} knees {done}\n({labels.patients:,} patients)",
        groups=groups,
        marks=", ".join(map(figure_mark, labels.cautions)),
    )


def _groups(labels: Labels | TimedLabels) -> tuple[str, list[str]]:
    """What the knees that serve are called, and the texts of the groups that they make."""
    total = len(labels.members)
    if isinstance(labels, TimedLabels):
        ended = labels.ended()
        events = ended[Ended.EVENT]
        others = [f"{ended[why]:,} {name}" for why, name in ENDINGS.items() if ended[why]]
        without = [f"{total - events:,}", "without an event", *others]
        return "at risk", [f"{events:,}\nwith an event", "\n".join(without)]
    if not labels.are_labelled:
        return "listed", []
    positive = labels.positive
    return "labelled", [f"{positive:,}\npositive", f"{total - positive:,}\nnegative"]
