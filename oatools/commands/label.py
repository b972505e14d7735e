"""oa-label: labels and clinical variables of knees, from a study's tables."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from click.core import ParameterSource

from oatools.commands.label_flow import (
    check_curve,
    check_flows,
    draw_curve,
    tell_flow,
    tell_reliable_change,
    write_flow,
)
from oatools.core import manifest
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, argument, heading
from oatools.oai.clinical import variable_rows
from oatools.oai.endpoints import ENDPOINTS, TIMED_ALONE, Endpoint, Kind, endpoint_of
from oatools.oai.labels import Labels, checked_cut, label_tables, open_tables, unlabelled_knees
from oatools.oai.reliability import MeasurementError
from oatools.oai.rules import LabelledKnee
from oatools.oai.timed_endpoints import Replaced, timed_endpoint_of
from oatools.oai.timed_labels import TimedLabels, time_knees
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


@command(
    "oa-label",
    examples=(
        Example(
            "Labels for narrowing at 12 months, and the flow of the cohort as a table and as a "
            "figure",
            "oa-label OAI/tables --endpoint jsn12 --flow flow.tsv --flow flow.svg > labels.tsv",
        ),
        Example(
            "The time to a knee replacement, followed for eight years",
            "oa-label OAI/tables --endpoint tkr --until 96m > times.tsv",
        ),
    ),
)
@argument(
    "source",
    "Folder of the tables of OAI, NDA or MOST, or a table of your own.",
    metavar="TABLES",
    type=click.Path(exists=True, path_type=Path),
)
@heading("Endpoint")
@click.option(
    "--endpoint",
    type=click.Choice([*ENDPOINTS, *TIMED_ALONE]),
    help="Definition of a positive knee, or, with --until, of an event (tkr, jsn, kl, "
    "jsn-grade); needed but for --expect.",
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
    help="Use this cut instead: mm (jsn, jsn12, jsn24: -0.5), % (jsn12-relative: -25), WOMAC "
    "points (pain: 2) or grades (kl: 1).",
)
@heading("Time to an event")
@click.option(
    "--until",
    metavar="VISIT",
    help="Print the time to the first event up to this visit, e.g. 96m, in place of a label: to "
    "a replacement (tkr), a loss of width (jsn) or of grades (kl, jsn-grade).",
)
@click.option(
    "--replaced",
    type=click.Choice([strategy.value for strategy in Replaced]),
    help="What a replacement is to jsn, kl and jsn-grade: the event itself (event, the default), "
    "the end of the follow-up (censored), or another event, after which none comes (never).",
)
@heading("Cut by measurement error")
@click.option(
    "--reliable-change",
    is_flag=True,
    help="Cut at the smallest loss that measurement error does not explain; the error is given "
    "by --reliability or --sem, or else all change is taken for error.",
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
@heading("Widths and columns")
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
@click.option("--partial", is_flag=True, hidden=True)
@click.option(
    "--outcome",
    default="outcome",
    show_default=True,
    metavar="COLUMN",
    help="The column of a plain table that --endpoint given passes through.",
)
@heading("What is printed")
@click.option(
    "--expect",
    type=click.Choice(["oai"]),
    help="Label nothing; print what a full download of OAI must give beside what TABLES give.",
)
@click.option(
    "--all",
    "everyone",
    is_flag=True,
    help="Print the knees without a label or time, too, with n/a for it and their clinical "
    "variables.",
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
    "--curve",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --until, draw the Kaplan-Meier curve of all knees at risk: .svg or .png.",
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
    endpoint: str | None,
    visit: str,
    horizon: str | None,
    threshold: Decimal | None,
    until: str | None,
    replaced: str | None,
    reliable_change: bool,
    reliability: float | None,
    sem: float | None,
    width: str,
    old_width: str | None,
    partial: bool,
    outcome: str,
    expect: str | None,
    everyone: bool,
    flows: tuple[Path, ...],
    curve: Path | None,
) -> None:
    """Label the knees of a study from its TABLES.

    TABLES is a folder of the tables of OAI (as ASCII, SAS or NDA have them) or of MOST, or one
    plain text table of any other study.

    Prints one row for each labelled knee: label, joint space width, clinical variables; with
    --until, the time to an event in place of the label. Knees that cannot be labelled are left
    out, unless --all, and counted by reason on standard error.
    """
    if partial:
        console.note("warning: --partial is not needed any more: labels need only their own tables")
    if expect is not None:
        _print_expectations(console, source)
        return
    if endpoint is None:
        raise UsageError("say what makes a knee positive", "give --endpoint jsn12, for example")
    if old_width is not None:
        _refuse_both_names()
        console.note("warning: --jsw is now called --width")
        width = old_width
    check_flows(flows, source)
    check_curve(curve, source, flows, is_timed=until is not None)
    if until is not None:
        _refuse_beside_until()
        timed = timed_endpoint_of(endpoint, until, visit, threshold, width, replaced)
        times = time_knees(source, timed, visit)
        if curve is not None and times.knees:
            draw_curve(curve, times)
        _finish(console, source, times, flows, everyone)
        return
    if replaced is not None:
        raise UsageError("--replaced is for times to an event", "give --until, too")
    chosen = endpoint_of(endpoint, horizon, visit, width)
    if chosen.kind is not Kind.GIVEN and _is_given("outcome"):
        raise UsageError("--outcome names the column of --endpoint given", "leave it out")
    error = _measurement_error(chosen, threshold, reliable_change, reliability, sem)
    cut = checked_cut(chosen, error or threshold)
    labels = label_tables(open_tables(source, chosen, visit, outcome), cut)
    _finish(console, source, labels, flows, everyone)


def _finish(
    console: Console,
    source: Path,
    labels: Labels | TimedLabels,
    flows: Sequence[Path],
    everyone: bool,
) -> None:
    """Tell of the knees that were found, and print them."""
    for note in labels.notes:
        console.note(note)
    if isinstance(labels, Labels) and labels.reliable_change is not None:
        tell_reliable_change(console, labels, labels.reliable_change)
    tell_flow(console, labels)
    for path in flows:
        write_flow(path, labels)
    if not labels.members:
        name = labels.endpoint.name
        if isinstance(labels, TimedLabels):
            raise UsageError(f"no knee of {source} is at risk for {name} at {labels.visit}")
        raise UsageError(f"no knee of {source} can be labelled for {name} at {labels.visit}")
    unlabelled = unlabelled_knees(source, labels) if everyone else []
    _print_labels(console, labels, unlabelled)


def _refuse_beside_until() -> None:
    """Raise a `UsageError` for an option that a time to an event does not have."""
    for parameter in ("horizon", "reliable_change", "reliability", "sem", "outcome"):
        if _is_given(parameter):
            name = parameter.replace("_", "-")
            raise UsageError(f"--{name} is not for times to an event (--until)", "leave it out")


def _print_labels(
    console: Console, labels: Labels | TimedLabels, unlabelled: Sequence[LabelledKnee]
) -> None:
    rows = [*labels.rows(), *map(labels.row, unlabelled)]
    manifest.print_table(labels.columns(), sorted(rows, key=lambda row: row["knee"]))
    if unlabelled:
        what = "time" if isinstance(labels, TimedLabels) else "label"
        console.note(f"{len(unlabelled)} more knees listed, with {what} n/a")


def _print_expectations(console: Console, source: Path) -> None:
    """Print the numbers of a full download beside those of the tables below a folder."""
    from oatools.oai.expectations import COLUMNS, agreement, expectations
    from oatools.oai.tables import find_tables

    found = expectations(find_tables(source))
    if all(item.found is None for item in found):
        raise UsageError(f"no table of OAI anywhere below {source}", "unpack the tables there")
    manifest.print_table(COLUMNS, [item.row() for item in found])
    console.note(agreement(found))


def _is_given(parameter: str) -> bool:
    """Tell whether an option was given, be it with its default."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is not ParameterSource.DEFAULT


def _refuse_both_names() -> None:
    """Raise a `UsageError` if `--width` is given beside `--jsw`, its former name."""
    if _is_given("width"):
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
    if endpoint.kind is not Kind.WIDTH or endpoint.relative or threshold is not None:
        raise UsageError(
            "--reliable-change is a cut in mm of its own: "
            "not for pain, grades or a relative endpoint, or with --threshold"
        )
    if reliability is not None and sem is not None:
        raise UsageError("--reliable-change takes --reliability R or --sem MM, one of them only")
    return MeasurementError(reliability, sem)
