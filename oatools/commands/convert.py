"""oa-convert: DICOM series to NIfTI volumes."""

from collections import Counter
from functools import partial
from pathlib import Path

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import (
    BadRow,
    Table,
    emit,
    file_stem,
    format_header,
    format_row,
    read_rows,
)
from oatools.core.options import (
    compress_option,
    force_option,
    inputs_argument,
    require_inputs,
    run_options,
)
from oatools.core.runner import RunOptions, run_rows


@command("oa-convert")
@inputs_argument("[DIR|SERIES|ARCHIVE|TABLE.tsv|-]...")
@click.option(
    "-o",
    "--out",
    "out_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the volumes; made if missing.",
)
@click.option(
    "-s",
    "--sequence",
    "sequences",
    multiple=True,
    metavar="NAME",
    help="Take this sequence only, e.g. cor-iw-tse, sag-iw-tse, sag-3d-dess; repeatable.",
)
@click.option(
    "-l", "--list", "list_only", is_flag=True, help="Print the series found, and convert nothing."
)
@click.option(
    "--echo", type=click.IntRange(1), metavar="N", help="Take this echo of a multi-echo series."
)
@click.option(
    "--coverage",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="MM",
    help="A series that covers less than this across its slices was cut short, and fails.",
)
@click.option(
    "--subject",
    metavar="ID",
    help="The subject of all series, instead of what headers and folders say.",
)
@click.option("--visit", metavar="VISIT", help="The visit of all series, e.g. 00m.")
@click.option("--side", type=click.Choice(["left", "right"]), help="The side of all series.")
@click.option(
    "--name", "named", metavar="NAME", help="The sequence of all series, e.g. sag-3d-dess."
)
@click.option(
    "--keep-ids",
    is_flag=True,
    help="Keep patient ids that are not OAI's, instead of a digest of them.",
)
@compress_option
@force_option
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path | None,
    sequences: tuple[str, ...],
    list_only: bool,
    echo: int | None,
    coverage: float,
    subject: str | None,
    visit: str | None,
    side: str | None,
    named: str | None,
    keep_ids: bool,
    compression: int,
    force: bool,
    run: RunOptions,
) -> int:
    """Find DICOM series and convert each to a NIfTI volume.

    Series are found in folders, archives (.tar.gz, .zip), multi-frame files or inventories
    (image03.txt, contents.csv), converted by dcm2niix, and named by knee and sequence. A table with
    a header, such as --list prints, is taken as it stands: its columns say what each series is.
    """
    require_inputs(inputs)
    if out_dir is None and not list_only:
        raise UsageError("say where the volumes go with -o DIR, or look first with --list")
    from oatools.dicom.find import COLUMNS, Overrides, find_series, slug
    from oatools.oai.release import may_be_inventory

    left_out: Counter[str] = Counter()
    if any(may_be_inventory(name) for name in inputs):  # a .txt or .tsv, but no table of ours
        table = Table(
            [], iter([{"path": name} for name in inputs]), "the command line", headed=False
        )
    else:
        table = read_rows(inputs, null_separated).require("path")
    if not table.headed:
        known = Overrides(subject, visit, side, slug(named) if named else None, keep_ids)
        places = (row.name if isinstance(row, BadRow) else row["path"] for row in table.rows)
        table = Table(
            COLUMNS,
            find_series(places, known, tuple(map(slug, sequences)), left_out),
            "the series found",
        )
    if list_only:
        status = _list(console, table)
    else:
        from oatools.dicom.rows import convert_series
        from oatools.imaging.rows import VolumeWriter

        work = partial(
            convert_series,
            out=VolumeWriter(out_dir, compression, force),
            echo=echo,
            coverage=coverage,
        )
        status = run_rows(
            console,
            table,
            work,
            run,
            target=lambda row: str(out_dir / file_stem(row)),
            workers="threads",
        )
    for reason, count in left_out.most_common():
        console.note(f"not taken: {count} {reason}")
    return status


def _list(console: Console, table: Table) -> int:
    found = failed = left_out = 0
    emit(format_header(table.columns))
    for row in table.rows:
        if isinstance(row, BadRow):
            console.error(f"{row.name}: {row.error}")
            failed += not row.left_out
            left_out += row.left_out
        else:
            emit(format_row(table.columns, row))
            found += 1
    console.note(
        f"{found} series found, {failed} failed" + (f", {left_out} left out" if left_out else "")
    )
    return 1 if failed else 0
