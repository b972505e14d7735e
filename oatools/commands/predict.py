"""oa-predict: a trained model's probability for every knee."""

import functools
from collections.abc import Iterator

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.manifest import MISSING, BadRow, Row, read_rows
from oatools.core.options import inputs_argument, require_inputs, run_options
from oatools.core.runner import RunOptions, run_rows


@command("oa-predict")
@click.argument("model", metavar="MODEL.safetensors")
@inputs_argument("[FEATURES.tsv|FILE.h5|-]...")
@click.option(
    "--with-clinical",
    "clinical_table",
    metavar="TABLE.tsv",
    help="Clinical variables by knee, such as labels.tsv (default: columns of the input).",
)
@run_options
def main(
    console: Console,
    model: str,
    inputs: tuple[str, ...],
    null_separated: bool,
    clinical_table: str | None,
    run: RunOptions,
) -> int:
    """Give every knee the probability of the positive class.

    Adds the columns probability and predicted (1 from the model's threshold). A clinical variable
    that is missing is filled in as the model records, and counted on standard error.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.learning.files import load_model
    from oatools.learning.rows import join_rows, read_clinical, score_row

    fitted = load_model(model)
    if fitted.joined:
        rows = join_rows(table.require("knee", "sequence").rows, fitted.joined)
        table = table.with_rows(rows)
    names = fitted.scaling.names
    known = read_clinical(clinical_table, names) if clinical_table else None
    absent = [n for n in names if clinical_table is None and n not in table.columns]
    if absent:
        console.note(
            f"{table.name} has no column {', '.join(map(repr, absent))}: every knee gets the model's median; "
            "give a table with --with-clinical"
        )
    for caution in fitted.record.get("cautions", []):
        console.note(
            f"the model was trained on features from {caution}: it says nothing about patients"
        )
    counts = dict.fromkeys(names, 0)
    counted = table.with_rows(_count_missing(table.rows, known, counts), table.total)
    work = functools.partial(score_row, model_path=model, clinical=known)
    status = run_rows(console, counted, work, run, added=["probability", "predicted"])
    for name, count in counts.items():
        if count and name not in absent:
            console.note(f"'{name}' is missing in {count} rows: the model's median was put in")
    return status


def _count_missing(
    rows: Iterator[Row | BadRow], known: dict[str, Row] | None, counts: dict[str, int]
) -> Iterator[Row | BadRow]:
    """Pass the rows on, and count the clinical variables that they lack."""
    for row in rows:
        if not isinstance(row, BadRow):
            source = row if known is None else known.get(row.get("knee", MISSING), {})
            for name in counts:
                counts[name] += source.get(name, MISSING) == MISSING
        yield row
