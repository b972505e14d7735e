"""oa-label: labels and clinical variables of knees, from a study's tables."""

from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click

from oatools.core import manifest
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import Row
from oatools.oai import clinical, endpoints
from oatools.oai.endpoints import ENDPOINTS, LOCATIONS, MINIMUM, Endpoint
from oatools.oai.labels import Study, assessed_patients, open_study


def _list_variables(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        manifest.print_table(
            ["variable", "unit", "description", "source"], clinical.variable_rows()
        )
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
    help="What makes a knee positive.",
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
    help="Another cut: mm (jsn12, jsn24: -0.5), % (jsn12-relative: -25) or WOMAC points (pain: 2).",
)
@click.option(
    "--reliable-change",
    is_flag=True,
    help="Cut at the smallest loss that measurement error does not explain; needs --reliability or --sem.",
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
    "--jsw",
    "location",
    type=click.Choice(list(LOCATIONS)),
    default=MINIMUM,
    show_default=True,
    metavar="WIDTH",
    help="The width: the medial minimum, or at a fixed place, medial jsw150 to jsw300 or lateral ljsw700 to ljsw900.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Do without the tables of clinical variables that are not there: n/a in their columns.",
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
    location: str,
    partial: bool,
    flows: tuple[Path, ...],
) -> None:
    """Label the knees of a study from its TABLES: a folder of the Initiative's, or one plain TSV or CSV file.

    Prints one row a labelled knee: label, joint space width, clinical variables. Knees that cannot
    be labelled are left out and counted by reason on standard error.
    """
    chosen = endpoints.endpoint_of(endpoint, horizon, visit, location)
    _check_reliable(chosen, threshold, reliable_change, reliability, sem)
    cut = endpoints.checked_threshold(chosen, threshold)
    study = open_study(source, chosen, visit, location, partial)
    for note in study.notes:
        console.note(note)
    if reliable_change:
        cut = _reliable_cut(console, study, chosen, visit, reliability, sem)
    rows, left_out = _label(study, chosen, visit, cut)
    for row in rows:
        row |= study.values.get((row["subject"], row["side"]), {})
    _report(console, rows, left_out)
    for path in flows:
        _write_flow(path, study, rows, left_out)
    if not rows:
        raise UsageError(f"no knee of {source} can be labelled for {chosen.name} at {visit}")
    columns = [
        "knee",
        "subject",
        "visit",
        "side",
        "label",
        "jsw",
        *(["jsn"] if chosen.months else []),
    ]
    named = [{**row, "endpoint": chosen.name} for row in rows]
    manifest.print_table([*columns, *clinical.CLINICAL_COLUMNS, "readprj", "endpoint"], named)


def _label(
    study: Study, endpoint: Endpoint, visit: str, cut: Decimal
) -> tuple[list[Row], Counter[str]]:
    if endpoint.months:
        return endpoints.jsn_labels(
            study.first, study.second, endpoint, visit, cut, study.enrolled, study.replaced
        )
    return endpoints.pain_labels(study.scores, endpoint, visit, cut, study.replaced, study.first)


def _check_reliable(
    endpoint: Endpoint,
    threshold: Decimal | None,
    wanted: bool,
    reliability: float | None,
    sem: float | None,
) -> None:
    if not wanted:
        if (reliability, sem) != (None, None):
            raise UsageError(
                "--reliability and --sem say how --reliable-change is computed; give that, too"
            )
        return
    if not endpoint.months or endpoint.relative or threshold is not None:
        raise UsageError(
            "--reliable-change is a cut in mm of its own: not for pain, for a relative endpoint, or with "
            "--threshold"
        )
    if (reliability is None) == (sem is None):
        raise UsageError(
            "--reliable-change needs --reliability R or --sem MM, and one of them only"
        )


def _reliable_cut(
    console: Console,
    study: Study,
    endpoint: Endpoint,
    visit: str,
    reliability: float | None,
    sem: float | None,
) -> Decimal:
    """The cut by reliable change over the knees that can be labelled, and how it came about, said step by step."""
    rows, _ = _label(study, endpoint, visit, endpoint.threshold)
    before = [Decimal(row["jsw"]) for row in rows]
    after = [Decimal(row["jsw"]) + Decimal(row["jsn"]) for row in rows]
    found = endpoints.reliable_change(before, after, reliability, sem)
    patients = len({row["subject"] for row in rows})
    console.note(
        f"reliable change: SD {found.sds[0]:.3f} mm at {visit} and {found.sds[1]:.3f} mm {endpoint.months} "
        f"months later, over {found.knees} knees of {patients} patients (both knees count)"
    )
    how = "as given" if sem is not None else f"SD sqrt(1 - {reliability:g})"
    console.note(
        f"reliable change: SEM {found.sems[0]:.3f} and {found.sems[1]:.3f} mm ({how}), S_diff = "
        f"sqrt(SEM1^2 + SEM2^2) = {found.s_diff:.3f} mm"
    )
    console.note(f"reliable change: threshold -1.96 S_diff = {found.threshold} mm")
    return found.threshold


def _report(console: Console, rows: list[Row], left_out: Counter[str]) -> None:
    for reason, count in left_out.most_common():
        console.note(f"{count} knee{'s' * (count != 1)} left out: {reason}")
    empty = [name for name, count in clinical.missing_counts(rows).items() if count == len(rows)]
    if empty:
        console.note(f"no knee has a value of {', '.join(empty)}")
    positive = _positive(rows)
    if rows and positive in (0, len(rows)):
        console.note("all labels are the same: nothing can be learned from this table")
    share = f" ({100 * positive / len(rows):.1f} %)" if rows else ""
    patients = len({row["subject"] for row in rows})
    console.note(f"{len(rows)} knees of {patients} patients labelled, {positive} positive{share}")


def _write_flow(path: Path, study: Study, rows: list[Row], left_out: Counter[str]) -> None:
    assessed, positive = len(rows) + left_out.total(), _positive(rows)
    if path.suffix.lower() == ".tsv":
        reasons = [
            {"reason": reason, "knees": str(count)} for reason, count in left_out.most_common()
        ]
        ends = [("labelled", len(rows)), ("positive", positive)]
        manifest.write_table(
            path,
            ["reason", "knees"],
            [
                {"reason": "assessed", "knees": str(assessed)},
                *reasons,
                *({"reason": name, "knees": str(count)} for name, count in ends),
            ],
        )
        return
    from oatools.report.flow import draw_flow

    people = assessed_patients({*study.enrolled, *study.first, *study.second})
    patients = len({row["subject"] for row in rows})
    lost = [
        f"{left_out.total():,} knees left out",
        *(f"  {n:,} {reason}" for reason, n in left_out.most_common()),
    ]
    draw_flow(
        path,
        f"{assessed:,} knees assessed\n({people:,} patients)",
        lost,
        f"{len(rows):,} knees labelled\n({patients:,} patients)",
        [f"{positive:,}\npositive", f"{len(rows) - positive:,}\nnegative"],
    )


def _positive(rows: list[Row]) -> int:
    return sum(row["label"] == "1" for row in rows)
