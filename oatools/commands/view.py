"""oa-view: look at knees in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import scratch_folder
from oatools.core.helptext import Example, heading
from oatools.core.manifest import (
    BadRow,
    Row,
    Table,
    naming_table,
    print_table,
    read_rows,
    read_table,
    tables_among,
)
from oatools.core.options import (
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
)
from oatools.core.outfolder import PAGE, names_file
from oatools.core.runner import RunOptions, run_rows
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.viewing.knee import Volumes

# From here on browsers take long to open one file.
_MUCH_MB = 300


@command(
    "oa-view",
    examples=(
        Example(
            "What the model sees, in one pipe",
            "oa-cam jsn12.safetensors --with-clinical labels.tsv -o cam < n4.tsv | oa-view "
            "--with-clinical labels.tsv -o view",
        ),
        Example("A first look at a scan, without any model", "oa-view scan.nii.gz -o look.html"),
    ),
)
@inputs_argument()
@out_dir_option("the page, with index.html", one=PAGE, of_one="with all in one file")
@heading("Input")
@click.option(
    "--volumes",
    metavar="TABLE.tsv",
    help="Find the volumes in this table, by knee and sequence; else in the rows.",
)
@click.option(
    "--with-clinical",
    "clinical",
    metavar="TABLE.tsv",
    type=click.Path(exists=True, dir_okay=False),
    help="Show clinical values from this table, by knee; else from the rows' own columns.",
)
@heading("Page")
@click.option("--show-label", is_flag=True, help="Show the label, too, which is hidden otherwise.")
@click.option(
    "--size",
    type=click.IntRange(64, 2048),
    default=512,
    show_default=True,
    metavar="PIXELS",
    help="Make images smaller that have more pixels than this a side.",
)
@click.option(
    "--title", default="Knees", show_default=True, metavar="TEXT", help="Title of the page."
)
@partial(force_option, help="Replace an existing page.")
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    volumes: str | None,
    clinical: str | None,
    show_label: bool,
    size: int,
    title: str,
    force: bool,
    run: RunOptions,
) -> int:
    """Look at knees in a browser: scans, heat maps, and what is known of each.

    Takes the table of oa-cam, or any volumes. Makes a folder whose index.html opens from disk, or
    with -o NAME.html one file; there is no server, and nothing is fetched. Prints the rows of the
    knees that it shows.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.learning.clinical import read_clinical
    from oatools.viewing.knee import show_row
    from oatools.viewing.page import CLINICAL, ViewSettings, finish_page, plan_view

    bad: list[BadRow] = []
    rows = list(_apart(table, bad))
    plan = plan_view(
        rows,
        table.columns,
        ViewSettings(title, size, show_label),
        None if clinical is None else read_clinical(clinical, [], CLINICAL),
        None if volumes is None else _read_volumes(volumes),
    )
    source = plan.source()
    is_one = names_file(out_dir, PAGE)
    page = out_dir if is_one else out_dir / "index.html"
    columns = [*(name for name in table.columns if name not in ("page", "error")), "page"]
    if _is_kept(console, out_dir, is_one, source, force) and not bad:
        console.note(f"{counted(len(plan.rows), 'row')} in {page}, kept")
        print_table(columns, ({**row, "page": str(page)} for row in plan.rows), run.header)
        return 0
    if not show_label and plan.has_label(table.columns):
        console.note("the label is hidden: --show-label would show it")

    done: list[Row] = []

    def take(row: Row, cells: Row) -> None:
        done.append({**row, **cells})

    with _new_page(out_dir, is_one) as folder:
        work = partial(
            show_row, folder=folder, volumes=plan.volumes, clinical=plan.clinical, size=size
        )
        items: list[Row | BadRow] = [*bad, *plan.rows]
        every = table.with_rows(items, len(items))
        given = [path for path in (clinical, volumes) if path]
        reads = [*tables_among(inputs), *given]
        status = run_rows(console, every, work, run, on_done=take, print_rows=False, reads=reads)
        if bool(status) and run.fail_fast:
            done.clear()
        if done:
            finish_page(folder, plan, done, source, out_dir if is_one else None)
    if not done:
        console.note("no page is made")
        return status
    print_table(columns, ({**row, "page": str(page)} for row in done), run.header)
    size_mb = sum(each.stat().st_size for each in _files(out_dir)) / 1e6
    console.note(f"{counted(len(done), 'row')} in {page} ({size_mb:.0f} MB)")
    if is_one and size_mb > _MUCH_MB:
        console.note("a file of that size is slow to open: with -o DIR scans are loaded one by one")
    return status


def _apart(table: Table[Row | BadRow], bad: list[BadRow]) -> Iterator[Row]:
    """The rows of a table that are rows; the others go to `bad`."""
    for row in table.rows:
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            yield row


def _read_volumes(path: str) -> "Volumes":
    """Read the table that says where volumes are."""
    from oatools.viewing.knee import Volumes

    with naming_table(path):
        return Volumes(read_table(path, ["knee", "path"]).rows)


def _is_kept(console: Console, out_dir: Path, is_one: bool, source: str, force: bool) -> bool:
    """Tell whether the page is there already, whole and the same.

    Raises a `UsageError` for what is no page, and for a page of something else unless `force`.
    """
    from oatools.viewing.page import PARTIAL, find_page

    found = find_page(out_dir, is_one)
    if found is None or force:
        return False
    if found in ("", PARTIAL):
        what = "lacks knees" if found else "was damaged since it was made"
        console.note(f"{out_dir} {what}; it is made again")
        return False
    if found != source:
        raise UsageError(
            f"{out_dir} exists, and is a page of other knees, values or settings",
            "use `force` to replace it, or another `out_dir`",
        )
    return True


@contextmanager
def _new_page(out_dir: Path, is_one: bool) -> Iterator[Path]:
    """Yield a folder for the parts of a page, which becomes the page unless that is one file."""
    from oatools.reading.pagefolder import new_folder
    from oatools.viewing.page import VIEWING

    if not is_one:
        with new_folder(out_dir, replace=True, form=VIEWING) as folder:
            yield folder
        return
    with scratch_folder(out_dir.parent) as folder:
        (folder / "volumes").mkdir()
        yield folder


def _files(out: Path) -> Iterator[Path]:
    """The files of a page."""
    yield from (path for path in out.rglob("*") if path.is_file()) if out.is_dir() else [out]
