"""oa-doctor: can the commands work here?"""

from collections.abc import Iterator
from pathlib import Path

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.helptext import OUTPUT, Example, heading
from oatools.core.manifest import Row, as_cell, print_table
from oatools.core.options import OutPath

COLUMNS = ["check", "state", "detail"]


@command(
    "oa-doctor",
    examples=(
        Example("Before days of work, where they are to be done", "oa-doctor -o /scratch/oa"),
        Example("For a report of a fault, as Markdown", "oa-doctor --deep --report"),
    ),
    status="0: nothing fails; 1: something does, which its row tells; 2: unusable call.",
)
@heading("What is looked at")
@click.option("--deep", is_flag=True, help="Start PyTorch, too, and ask it for GPUs.")
@click.option(
    "-o",
    "--out",
    "out_dir",
    metavar="DIR",
    type=OutPath(),
    help="Try this folder, or where it would be made, as a place for outputs.",
)
@heading(OUTPUT)
@click.option(
    "--report", is_flag=True, help="Print Markdown, without paths and names, to show to others."
)
def main(console: Console, out_dir: Path | None, deep: bool, report: bool) -> int:
    """Tell whether this machine has what the commands need.

    Prints a row for each thing that was looked at (check, state, detail); its state is ok, warn or
    FAIL. Nothing is changed, and no connection is opened.
    """
    from oatools.checking.workplace import FAIL, as_markdown, examine

    checks = []

    def rows() -> Iterator[Row]:
        for each in examine(out_dir, deep):
            checks.append(each)
            told = f"{each.detail} ({each.private})" if each.private else each.detail
            yield {"check": each.name, "state": each.state, "detail": as_cell(told)}

    if report:
        checks += examine(out_dir, deep)
        click.echo(as_markdown(checks), nl=False)
    else:
        print_table(COLUMNS, rows())
    return 1 if any(each.state == FAIL for each in checks) else 0
