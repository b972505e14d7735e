"""oa-check: are these files whole, and what their records say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import ItemError
from oatools.core.helptext import Example
from oatools.core.manifest import BadRow, Row, Table, as_cell, emit, format_header, format_row
from oatools.core.options import inputs_argument, require_inputs, run_options
from oatools.core.runner import RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.checking.check import Finding


COLUMNS = ["path", "kind", "error"]


@command(
    "oa-check",
    examples=(
        Example(
            "All that a project has made",
            "oa-check nii oriented n4 features cv jsn12.safetensors",
        ),
        Example(
            "Find what a full disk has damaged, and make it again",
            "oa-check n4 || oa-n4 -j 8 -o n4 < oriented.tsv > n4.tsv",
        ),
    ),
    status="0: all files are whole; 1: some are not; 2: unusable call, nothing checked.",
)
@inputs_argument(
    "[PATH|TABLE.tsv|-]...", "Files, folders that are walked, or tables that name files."
)
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    run: RunOptions,
) -> int:
    """Check that files are whole, and what their records say.

    Prints the bad ones (path, kind, error); status 1 if there are any. Takes volumes with their
    sidecars, feature files, models, tables, heat maps, and the folders of oa-cv and oa-pairs page.
    Folders are walked, and tables followed to their files. Nothing is changed: to repair, run again
    what made them.
    """
    require_inputs(inputs)
    from oatools.checking.check import Damaged, Finding, Spaces, check_row
    from oatools.checking.places import TABLE, Place, Search

    search, spaces, findings = Search(), Spaces(), _Findings()
    whole = 0

    def pass_on(row: Row, cells: Row) -> None:
        nonlocal whole
        if not cells["kind"]:
            search.passed_over += 1
            return
        whole += 1
        console.detail(f"{row['path']}: {cells['kind']}, whole")
        spaces.add(Place.from_row(row), cells["space"])

    def fail(row: Row | BadRow, error: ItemError) -> None:
        if isinstance(error, Damaged):
            findings.add(error.finding)
        elif isinstance(row, BadRow):
            findings.add(Finding(row.name, TABLE, error.reason))
        else:
            findings.add(Finding(row["path"], row["kind"], error.reason))

    places = search.places(inputs, null_separated)
    rows = (each if isinstance(each, BadRow) else each.row() for each in places)
    table = Table(["path"], rows, "the files")
    if run.header:
        emit(format_header(COLUMNS))
    run_rows(console, table, check_row, run, on_done=pass_on, print_rows=False, on_failed=fail)
    for found in spaces.odd():
        findings.add(found)
    for path in search.leftovers:
        console.note(f"{path} is being written, or was left by a run that was killed")
    console.note(f"{whole} whole, {findings.count} bad, {search.passed_over} of others passed over")
    return 1 if findings.count else 0


@dataclass
class _Findings:
    """The table of bad files, printed as they are found."""

    count: int = 0

    def add(self, found: "Finding") -> None:
        """Print one."""
        self.count += 1
        path = as_cell(found.path)
        emit(format_row(COLUMNS, {"path": path, "kind": found.kind, "error": found.error}))
