"""oa-label: labels and clinical variables of knees, from a study's tables."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from click.core import ParameterSource

from oatools.core import manifest
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import check_outputs
from oatools.core.helptext import Example, argument, heading
from oatools.oai.clinical import variable_rows
from oatools.oai.endpoints import ENDPOINTS, Endpoint, Kind, endpoint_of
from oatools.oai.labels import Labels, checked_cut, label_tables, open_tables, unlabelled_knees
from oatools.oai.reliability import MeasurementError, ReliableChange
from oatools.oai.rules import LabelledKnee
from oatools.oai.widths import MINIMUM, WIDTHS

_FLOW_COLUMNS = ["reason", "knees"]
_FLOW_HEADER = manifest.table_bytes(_FLOW_COLUMNS, [])


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
            "How many progress, by Kellgren-Lawrence grade",
            "oa-label OAI/tables --endpoint jsn12 | mlr --tsv count -g kl,label",
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
    type=click.Choice(list(ENDPOINTS)),
    help="Definition of a positive knee; needed but for --expect.",
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
    help="Use this cut instead: mm (jsn12, jsn24: -0.5), % (jsn12-relative: -25), WOMAC "
    "points (pain: 2) or grades (kl: 1).",
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
    help="Print the knees without a label, too, with label n/a and their clinical variables.",
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
    endpoint: str | None,
    visit: str,
    horizon: str | None,
    threshold: Decimal | None,
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
) -> None:
    """Label the knees of a study from its TABLES.

    TABLES is a folder of the tables of OAI (as ASCII, SAS or NDA have them) or of MOST, or one
    plain text table of any other study.

    Prints one row for each labelled knee: label, joint space width, clinical variables. Knees that
    cannot be labelled are left out, unless --all, and counted by reason on standard error.
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
    _check_flows(flows, source)
    chosen = endpoint_of(endpoint, horizon, visit, width)
    if chosen.kind is not Kind.GIVEN and _is_given("outcome"):
        raise UsageError("--outcome names the column of --endpoint given", "leave it out")
    error = _measurement_error(chosen, threshold, reliable_change, reliability, sem)
    cut = checked_cut(chosen, error or threshold)
    labels = label_tables(open_tables(source, chosen, visit, outcome), cut)
    for note in labels.notes:
        console.note(note)
    if labels.reliable_change is not None:
        _tell_reliable_change(console, labels, labels.reliable_change)
    _tell_flow(console, labels)
    for path in flows:
        _write_flow(path, labels)
    if not labels.knees:
        raise UsageError(f"no knee of {source} can be labelled for {chosen.name} at {visit}")
    unlabelled = unlabelled_knees(source, labels) if everyone else []
    _print_labels(console, labels, unlabelled)


def _print_labels(console: Console, labels: Labels, unlabelled: Sequence[LabelledKnee]) -> None:
    rows = [*labels.rows(), *map(labels.row, unlabelled)]
    manifest.print_table(labels.columns(), sorted(rows, key=lambda row: row["knee"]))
    if unlabelled:
        console.note(f"{len(unlabelled)} more knees listed, with label n/a")


def _print_expectations(console: Console, source: Path) -> None:
    """Print the numbers of a full download beside those of the tables below a folder."""
    from oatools.oai.expectations import COLUMNS, agreement, expectations
    from oatools.oai.tables import find_tables

    found = expectations(find_tables(source))
    if all(item.found is None for item in found):
        raise UsageError(f"no table of OAI anywhere below {source}", "unpack the tables there")
    manifest.print_table(COLUMNS, [item.row() for item in found])
    console.note(agreement(found))


def _check_flows(flows: Sequence[Path], source: Path) -> None:
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


def _tell_reliable_change(console: Console, labels: Labels, change: ReliableChange) -> None:
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


def _tell_flow(console: Console, labels: Labels) -> None:
    for caution in labels.cautions:
        console.note(f"the tables are of {caution.value}: they say nothing about patients")
    for reason, count in labels.left_out.most_common():
        knees = "knee" if count == 1 else "knees"
        console.note(f"{count} {knees} left out: {reason}")
    absent = labels.variables_without_value()
    if absent:
        console.note(f"no knee has a value of {', '.join(absent)}")
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


def _write_flow(path: Path, labels: Labels) -> None:
    if path.suffix.lower() == ".tsv":
        rows = [{"reason": step.name, "knees": str(step.knees)} for step in labels.flow()]
        manifest.write_table(path, _FLOW_COLUMNS, rows)
        return
    from oatools.report.flow import draw_flow

    lost = [f"{labels.left_out.total():,} knees left out"]
    for reason, count in labels.left_out.most_common():
        lost.append(f"  {count:,} {reason}")
    total, positive = len(labels.knees), labels.positive
    done = "labelled" if labels.are_labelled else "listed"
    groups = [f"{positive:,}\npositive", f"{total - positive:,}\nnegative"]
    draw_flow(
        path,
        assessed=f"{labels.assessed:,} knees assessed\n({labels.assessed_patients:,} patients)",
        left_out=lost,
        labelled=f"{total:,} knees {done}\n({labels.patients:,} patients)",
        groups=groups if labels.are_labelled else [],
    )
