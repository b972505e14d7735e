"""oa-label: labels and clinical variables of knees, from the study's ASCII tables."""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click

from oatools.core import manifest
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import Row
from oatools.core.options import command
from oatools.oai import clinical, endpoints
from oatools.oai.endpoints import ENDPOINTS, Endpoint
from oatools.oai.tables import SIDES, VISITS, XRAY_VISITS, Knee, Record, Tables, find_tables, read_table


def _list_variables(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        manifest.print_table(["variable", "unit", "description", "source"], clinical.variable_rows())
        context.exit()


def _decimal(_: click.Context, __: click.Parameter, text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        raise click.BadParameter(f"'{text}' is no number") from None


@command("oa-label")
@click.argument("tables_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--endpoint", type=click.Choice(list(ENDPOINTS)), required=True, help="What makes a knee positive.")
@click.option(
    "--visit",
    type=click.Choice(list(VISITS)),
    default="00m",
    show_default=True,
    help="The visit that predictions start from.",
)
@click.option(
    "--threshold",
    callback=_decimal,
    metavar="X",
    help="Another cut: mm (jsn12, jsn24: -0.5), % (jsn12-relative: -25) or WOMAC points (pain: 2).",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Do without the tables of clinical variables that are not there: n/a in their columns.",
)
@click.option(
    "--flow",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the cohort's flow (reason, knees) as a table.",
)
@click.option("--list-variables", is_flag=True, is_eager=True, expose_value=False, callback=_list_variables,
              help="Print the clinical variables, their units and source columns, and exit.")  # fmt: skip
def main(
    console: Console, tables_dir: Path, endpoint: str, visit: str, threshold: Decimal | None, partial: bool,
    flow: Path | None,
) -> None:  # fmt: skip
    """Label the knees of the study whose ASCII tables lie anywhere below TABLES_DIR.

    Prints one row a labelled knee: label, joint space width, clinical variables. Knees that cannot be labelled
    are left out and counted by reason on standard error.
    """
    chosen = ENDPOINTS[endpoint]
    horizon = endpoints.horizon_of(chosen, visit)
    cut = endpoints.checked_threshold(chosen, threshold)
    tables = find_tables(tables_dir)
    needed = [] if chosen.months else list(endpoints.pain_columns(visit).values())
    people = clinical.read_people(tables, visit, horizon, partial, needed)
    grades = _grades(tables, visit, partial)
    replaced = clinical.replaced_knees(people, horizon, grades)
    rows, left_out = _label(console, tables, chosen, visit, cut, people, replaced)
    for row in rows:
        knee = (row["subject"], row["side"])
        row |= clinical.clinical_values(people.get(knee[0], {}), knee, visit, grades.get(knee, manifest.MISSING))
    _report(console, rows, left_out)
    if flow is not None:
        manifest.write_table(flow, ["reason", "knees"], _flow_rows(rows, left_out))
    if not rows:
        raise UsageError(f"no knee below {tables_dir} can be labelled for {endpoint} at {visit}")
    columns = ["knee", "subject", "visit", "side", "label", "jsw", *(["jsn"] if chosen.months else [])]
    manifest.print_table(
        [*columns, *clinical.CLINICAL_COLUMNS, "readprj", "endpoint"], [{**row, "endpoint": endpoint} for row in rows]
    )


def _label(
    console: Console, tables: Tables, endpoint: Endpoint, visit: str, cut: Decimal, people: dict[str, Record],
    replaced: set[Knee],
) -> tuple[list[Row], Counter[str]]:  # fmt: skip
    if not endpoint.months:
        widths = _widths(console, tables, visit) if visit in XRAY_VISITS and tables.has(_jsw_name(visit)) else []
        jsw = endpoints.readings(widths, visit)
        return endpoints.pain_labels(people, endpoint, visit, cut, replaced, jsw)
    enrolled = [(subject, side) for subject in people for side in SIDES.values()]
    first = _widths(console, tables, visit)
    second = _widths(console, tables, endpoints.horizon_of(endpoint, visit))
    return endpoints.jsn_labels(first, second, endpoint, visit, cut, enrolled, replaced)


def _widths(console: Console, tables: Tables, visit: str) -> list[Record]:
    records = read_table(tables, _jsw_name(visit), *endpoints.jsw_columns(visit))
    for what, count in endpoints.irregular_records(records).items():
        console.note(f"{_jsw_name(visit)}: {count} records {what}, not used")
    return records


def _jsw_name(visit: str) -> str:
    return f"kxr_qjsw_duryea{VISITS[visit]:02d}"


def _grades(tables: Tables, visit: str, partial: bool) -> dict[Knee, str]:
    name = f"kxr_sq_bu{VISITS[visit]:02d}"
    if visit not in XRAY_VISITS or (partial and not tables.has(name)):
        return {}
    needed = ["ID", "SIDE", "READPRJ", f"V{VISITS[visit]:02d}XRKL"]
    return clinical.kl_grades(read_table(tables, name, needed), visit)


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


def _flow_rows(rows: list[Row], left_out: Counter[str]) -> Iterable[Row]:
    yield {"reason": "assessed", "knees": str(len(rows) + left_out.total())}
    for reason, count in left_out.most_common():
        yield {"reason": reason, "knees": str(count)}
    yield {"reason": "labelled", "knees": str(len(rows))}
    yield {"reason": "positive", "knees": str(_positive(rows))}


def _positive(rows: list[Row]) -> int:
    return sum(row["label"] == "1" for row in rows)
