"""oa-label: labels and clinical variables of knees, from a study's tables."""

from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from click.core import ParameterSource

from oatools.core import manifest
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.oai.clinical import variable_rows
from oatools.oai.endpoints import ENDPOINTS, Endpoint, endpoint_of
from oatools.oai.labels import Labels, checked_cut, label_tables, open_tables
from oatools.oai.reliability import MeasurementError, ReliableChange
from oatools.oai.widths import MINIMUM, WIDTHS


def _list_variables(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        manifest.print_table(["variable", "unit", "description", "source"], variable_rows())
        context.exit()


def _decimal(_: click.Context, __: click.Parameter, text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"'{text}' is no number") from None


@command("oa-label")
@click.argument("source", metavar="TABLES", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--endpoint",
    type=click.Choice(list(ENDPOINTS)),
    required=True,
    help="Definition of a positive knee.",
)
@click.option(
    "--visit",
    default="00m",
    show_default=True,
    metavar="VISIT",
    help="The visit that predictions start from.",
)
@click.option("--horizon", metavar="VISIT", help="Measure the outcome at this visit, e.g. 36m.")
@click.option(
    "--threshold",
    callback=_decimal,
    metavar="X",
    help="Use this cut instead: mm (jsn12, jsn24: -0.5), % (jsn12-relative: -25) or WOMAC "
    "points (pain: 2).",
)
@click.option(
    "--reliable-change",
    is_flag=True,
    help="Cut at the smallest loss that measurement error does not explain; "
    "needs --reliability or --sem.",
)
@click.option(
    "--reliability",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="R",
    help="Reliability (ICC) of the width, 0 to 1, for --reliable-change.",
)
@click.option(
    "--sem",
    type=click.FloatRange(0, min_open=True),
    metavar="MM",
    help="Standard error of measurement of the width, mm, for --reliable-change.",
)
@click.option(
    "--width",
    type=click.Choice(list(WIDTHS)),
    default=MINIMUM,
    show_default=True,
    metavar="WIDTH",
    help="Joint space width: the medial minimum (mcmjsw), or the width at a fixed place, "
    "medial jsw150 to jsw300 or lateral ljsw700 to ljsw900.",
)
@click.option("--jsw", "old_width", type=click.Choice(list(WIDTHS)), hidden=True)
@click.option(
    "--partial",
    is_flag=True,
    help="Continue if tables of clinical variables are missing; their columns become n/a.",
)
@click.option(
    "--flow",
    "flows",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the cohort's flow: a table (.tsv) or a figure (.svg, .png, .pdf); repeatable.",
)
@click.option(
    "--list-variables",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_variables,
    help="Print the clinical variables, their units and source columns, and exit.",
)
def main(
    console: Console,
    source: Path,
    endpoint: str,
    visit: str,
    horizon: str | None,
    threshold: Decimal | None,
    reliable_change: bool,
    reliability: float | None,
    sem: float | None,
    width: str,
    old_width: str | None,
    partial: bool,
    flows: tuple[Path, ...],
) -> None:
    """Label the knees of a study from its TABLES.

    TABLES is a folder of the Initiative's tables, or one plain TSV or CSV file of another study.

    Prints one row for each labelled knee: label, joint space width, clinical variables. Knees that
    cannot be labelled are left out and counted by reason on standard error.
    """
    if old_width is not None:
        _refuse_both_names()
        console.note("warning: --jsw is now called --width")
        width = old_width
    chosen = endpoint_of(endpoint, horizon, visit, width)
    error = _measurement_error(chosen, threshold, reliable_change, reliability, sem)
    cut = checked_cut(chosen, error or threshold)
    tables = open_tables(source, chosen, visit, partial)
    for note in tables.notes:
        console.note(note)
    labels = label_tables(tables, cut)
    if labels.reliable_change is not None:
        _tell_reliable_change(console, labels, labels.reliable_change)
    _tell_flow(console, labels)
    for path in flows:
        _write_flow(path, labels)
    if not labels.knees:
        raise UsageError(f"no knee of {source} can be labelled for {chosen.name} at {visit}")
    manifest.print_table(labels.columns(), labels.rows())


def _refuse_both_names() -> None:
    """Raise a `UsageError` if `--width` is given beside `--jsw`, its former name."""
    source = click.get_current_context().get_parameter_source("width")
    if source is not ParameterSource.DEFAULT:
        raise UsageError("--jsw is now called --width, and both are given", "give --width alone")


def _measurement_error(
    endpoint: Endpoint,
    threshold: Decimal | None,
    is_wanted: bool,
    reliability: float | None,
    sem: float | None,
) -> MeasurementError | None:
    """The error that `--reliable-change` cuts by, None without that option."""
    if not is_wanted:
        if reliability is not None or sem is not None:
            raise UsageError(
                "--reliability and --sem say how --reliable-change is computed",
                "give that, too",
            )
        return None
    if not endpoint.months or endpoint.relative or threshold is not None:
        raise UsageError(
            "--reliable-change is a cut in mm of its own: "
            "not for pain, for a relative endpoint, or with --threshold"
        )
    if (reliability is None) == (sem is None):
        raise UsageError(
            "--reliable-change needs --reliability R or --sem MM, and one of them only"
        )
    return MeasurementError(reliability, sem)


def _tell_reliable_change(console: Console, labels: Labels, change: ReliableChange) -> None:
    months = labels.endpoint.months
    first_sd, second_sd = change.sds
    console.note(
        f"reliable change: SD {first_sd:.3f} mm at {labels.visit} and {second_sd:.3f} mm "
        f"{months} months later, over {change.knees} knees of {labels.patients} patients "
        "(both knees count)"
    )
    if change.error.reliability is None:
        origin = "as given"
    else:
        origin = f"SD sqrt(1 - {change.error.reliability:g})"
    first_sem, second_sem = change.sems
    console.note(
        f"reliable change: SEM {first_sem:.3f} and {second_sem:.3f} mm ({origin}), "
        f"S_diff = sqrt(SEM1^2 + SEM2^2) = {change.s_diff:.3f} mm"
    )
    console.note(f"reliable change: threshold -1.96 S_diff = {change.threshold} mm")


def _tell_flow(console: Console, labels: Labels) -> None:
    for reason, count in labels.left_out.most_common():
        knees = "knee" if count == 1 else "knees"
        console.note(f"{count} {knees} left out: {reason}")
    absent = labels.variables_without_value()
    if absent:
        console.note(f"no knee has a value of {', '.join(absent)}")
    total, positive = len(labels.knees), labels.positive
    if total and positive in (0, total):
        console.note("all labels are the same: nothing can be learned from this table")
    share = f" ({100 * positive / total:.1f} %)" if total else ""
    console.note(
        f"{total} knees of {labels.patients} patients labelled, {positive} positive{share}"
    )


def _write_flow(path: Path, labels: Labels) -> None:
    if path.suffix.lower() == ".tsv":
        rows = [{"reason": step.name, "knees": str(step.knees)} for step in labels.flow()]
        manifest.write_table(path, ["reason", "knees"], rows)
        return
    from oatools.report.flow import draw_flow

    lost = [f"{labels.left_out.total():,} knees left out"]
    for reason, count in labels.left_out.most_common():
        lost.append(f"  {count:,} {reason}")
    total, positive = len(labels.knees), labels.positive
    draw_flow(
        path,
        assessed=f"{labels.assessed:,} knees assessed\n({labels.assessed_patients:,} patients)",
        left_out=lost,
        labelled=f"{total:,} knees labelled\n({labels.patients:,} patients)",
        groups=[f"{positive:,}\npositive", f"{total - positive:,}\nnegative"],
    )
