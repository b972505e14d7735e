"""oa-info: what files say of themselves."""

import json
import sys
from collections.abc import Iterator

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import OUTPUT, Example, heading
from oatools.core.manifest import BadRow, Row, Table, emit, format_header, format_row, read_rows
from oatools.core.options import inputs_argument, require_inputs, run_options
from oatools.core.runner import RunOptions, run_rows
from oatools.core.terminal import printable

COLUMNS = ["path", "kind", "key", "value"]


@command(
    "oa-info",
    examples=(
        Example("How a volume was made", "oa-info n4/9000099_00m_right_cor-iw-tse.nii.gz"),
        Example(
            "The backbone of every feature file",
            "oa-info --table features/*.h5 | awk -F '\\t' '$3 == \"backbone\"'",
        ),
    ),
)
@inputs_argument(
    "[PATH|-]...",
    "Volumes, feature files, models, tables, folders of oa-cv, of pages, of DICOM, and others.",
)
@heading(OUTPUT)
@click.option(
    "--text/--table",
    "is_text",
    default=None,
    help="Aligned text, or a table; by default text where standard output is a terminal.",
)
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    is_text: bool | None,
    run: RunOptions,
) -> int:
    """Tell what files say of themselves: headers, records, how they were made.

    Prints a row for each fact (path, kind, key, value). A table that is named is described itself;
    the rows of one on standard input name files. Voxels, features and weights are not read.
    """
    require_inputs(inputs)
    from oatools.checking.facts import facts_row

    if is_text is None:
        is_text = sys.stdout.isatty()

    def show(row: Row, cells: Row) -> None:
        told = [each for fact in json.loads(cells["facts"]) for each in _with_options(*fact)]
        facts = [(printable(key), printable(value)) for key, value in told]
        path, kind = printable(row["path"]), cells["kind"]
        if is_text:
            width = max(len(key) for key, _ in facts)
            lines = [f"  {key:<{width}}  {value}\n" for key, value in facts]
            emit("".join([f"{path}: {kind}\n", *lines]))
            return
        for key, value in facts:
            cells = {"path": path, "kind": kind, "key": key, "value": value}
            emit(format_row(COLUMNS, cells))

    if run.header and not is_text:
        emit(format_header(COLUMNS))
    table = _files(inputs, null_separated)
    return run_rows(console, table, facts_row, run, on_done=show, print_rows=False)


def _with_options(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Put the command lines that take DICOM in the place of where it is."""
    from oatools.checking.foreign import CONVERT, TRY

    if key != CONVERT:
        yield key, value
        return
    yield TRY, f"oa-convert --list {value}"
    yield TRY, f"oa-convert {value} -o nii"


def _files(inputs: tuple[str, ...], null_separated: bool) -> Table[Row | BadRow]:
    """Return rows that name files: the arguments, tables among them, or what `-` has."""
    if not inputs or inputs == ("-",):
        return read_rows(inputs, null_separated).require("path")
    if "-" in inputs:
        raise UsageError("- stands for all inputs", "give it alone")
    return Table(["path"], iter([{"path": path} for path in inputs]), "the files", len(inputs))
