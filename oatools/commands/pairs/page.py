"""oa-pairs page: make the folder in which readers see the pairs."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import subcommand
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import (
    Row,
    Table,
    is_table,
    naming_table,
    print_table,
    read_table,
    row_from_path,
)
from oatools.core.options import force_option, out_dir_option, run_options
from oatools.core.runner import RunOptions, run_rows
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.reading.page import PagePlan, PageText


@subcommand(
    "page",
    examples=(
        Example(
            "The page of both sequences",
            "oa-pairs page pairs.tsv cor.tsv dess.tsv -j 8 -o reading > shown.tsv",
        ),
        Example(
            "Straight from the draw, one sequence alone",
            "oa-pairs draw labels.tsv --key key.tsv | oa-pairs page - n4.tsv --sequence "
            "cor-iw-tse -o reading > shown.tsv",
        ),
    ),
)
@argument("pairs_file", "Pairs, from oa-pairs draw.", metavar="PAIRS.tsv")
@argument("volumes", "Tables of volumes, or volumes.", nargs=-1, metavar="[VOLUMES.tsv|PATH]...")
@out_dir_option("the page, with index.html")
@heading("What readers see")
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    metavar="NAME",
    help="Sequence to show; repeatable, in this order.  [default: all in the volumes]",
)
@click.option(
    "--show",
    "shown",
    multiple=True,
    metavar="COLUMN",
    help="Show readers this clinical variable; repeatable.  [default: those of oa-label]",
)
@click.option(
    "--title",
    default="Reading study",
    show_default=True,
    metavar="TEXT",
    help="Title at the top of the page.",
)
@click.option(
    "--question",
    default="Which of the two knees will progress?",
    show_default=True,
    metavar="TEXT",
    help="Question that readers answer.",
)
@click.option(
    "--answer",
    default="progresses",
    show_default=True,
    metavar="TEXT",
    help='Text after "A" and "B" on the buttons.',
)
@click.option(
    "--about",
    default="",
    metavar="TEXT",
    help="Tell readers before they begin what is asked for, such as what counts as progression.",
)
@partial(force_option, help="Replace an existing page.")
@run_options
def page_command(
    console: Console,
    pairs_file: str,
    volumes: tuple[str, ...],
    out_dir: Path,
    sequences: tuple[str, ...],
    shown: tuple[str, ...],
    title: str,
    question: str,
    answer: str,
    about: str,
    force: bool,
    run: RunOptions,
) -> int:
    """Make a folder in which readers see the pairs of PAIRS.tsv (of oa-pairs draw).

    Readers open its index.html. VOLUMES.tsv are tables with knee, sequence and path, such as
    oa-orient's, or volumes; without any, PAIRS.tsv must have these columns. Prints the rows
    of the volumes with their file in the page, from which one can tell which knee is which.
    """
    from oatools.reading.page import (
        PageText,
        PageVolume,
        finish_page,
        kept_rows,
        plan_page,
        read_blinded_pairs,
        show_volume,
    )
    from oatools.reading.pagefolder import is_page, new_folder, require_free

    require_free(out_dir)
    table = read_table(pairs_file, ["knee", "side", "pair", "place"])
    if not volumes:
        _require_volumes(table)
    rows = list(table.rows)
    with naming_table(table.name):
        pairs = read_blinded_pairs(table.columns, rows)
    found = _volume_rows(volumes) if volumes else iter(rows)
    variables = _variables(table.columns, shown)
    plan, items = plan_page(table.columns, pairs, found, sequences, variables)
    text = PageText(title, question, answer, about)
    if _is_kept(console, out_dir, plan, items, text, force):
        print_table(_printed_columns(table), kept_rows(plan, items), run.header)
        return 0
    _say_shown(console, plan, say_hidden=not shown)

    written: list[PageVolume] = []

    def take(row: Row, cells: Row) -> None:
        written.append(PageVolume.from_cells(row, cells))

    # What is there by now may be replaced; what another run puts there may not.
    with new_folder(out_dir, replace=force or is_page(out_dir)) as folder:
        # The rows are true once the page is there, and are printed then.
        work = partial(show_volume, folder=folder, plan=plan)
        volume_table = table.with_rows(items, len(items))
        status = run_rows(console, volume_table, work, run, on_done=take, print_rows=False)
        is_stopped = bool(status) and run.fail_fast
        complete = [] if is_stopped else finish_page(folder, plan, written, text)
    printed = (v.printed_row() for v in written if v.pair in complete)
    print_table(_printed_columns(table), printed, run.header)
    _say_smaller(console, plan)
    if not is_stopped:
        _say_left_out(console, len(pairs), len(complete))
    made = f"{counted(len(complete), 'pair')} in {out_dir / 'index.html'}"
    console.note(made if complete else "no page is made")
    return status


def _is_kept(
    console: Console,
    out_dir: Path,
    plan: "PagePlan",
    rows: Sequence[Row],
    text: "PageText",
    force: bool,
) -> bool:
    """Tell whether the page is there already, whole and the same.

    Raises a `UsageError` for one that is not the same, unless `force`.
    """
    from oatools.reading.page import find_page

    found = None if force else find_page(out_dir, plan, rows, text)
    if found is None:
        return False
    if not found.is_same:
        is_other = "is the page of other pairs, volumes or words"
        if found.damage:
            is_other = f"cannot be told from another page, as {found.damage}"
        raise UsageError(
            f"{out_dir} exists, and {is_other}", "use `force` to replace it, or another `out_dir`"
        )
    if found.damage:
        console.note(f"warning: {found.damage}; the page is made again")
    elif found.missing:
        console.note(f"{out_dir} lacks {counted(found.missing, 'pair')}; it is made again")
    else:
        console.note(f"{counted(len(plan.pairs), 'pair')} in {out_dir / 'index.html'}, kept")
    return not found.damage and not found.missing


def _require_volumes(table: Table[Row]) -> None:
    """Refuse pairs that do not say where their volumes are."""
    if not {"sequence", "path"} <= set(table.columns):
        raise UsageError(
            f"{table.name} has no columns 'sequence' and 'path': give tables of volumes, such as "
            "oa-n4's"
        )


def _volume_rows(arguments: Sequence[str]) -> Iterator[Row]:
    """The rows of tables of volumes, and of volumes, whose names say their knee and sequence."""
    for each in arguments:
        if is_table(each):
            table = read_table(each)
            yield from table.require("knee", "sequence", "path").rows
        else:
            yield row_from_path(each)


def _variables(columns: Sequence[str], shown: Sequence[str]) -> list[str]:
    from oatools.reading.page import page_variables

    try:
        return page_variables(columns, shown)
    except UsageError as error:
        raise UsageError(f"--show {error.reason}", error.remedy) from None


def _printed_columns(table: Table[Row]) -> list[str]:
    """The columns of the pairs, and those of their volumes."""
    of_volumes = ["sequence", "path", "page"]
    of_pairs = [column for column in table.columns if column not in (*of_volumes[:2], "error")]
    return [*of_pairs, *of_volumes]


def _say_shown(console: Console, plan: "PagePlan", say_hidden: bool) -> None:
    """Say what readers see, and which columns they could see."""
    variables = ", ".join(plan.variables) or "no clinical variable"
    console.note(f"readers see {variables}, and {', '.join(plan.frames)}")
    if plan.hidden and say_hidden:
        console.note(f"and not {', '.join(plan.hidden)}: --show would show them")


def _say_smaller(console: Console, plan: "PagePlan") -> None:
    """Say how many volumes are smaller than others, which could go with the answer."""
    for sequence, frame in plan.frames.items():
        if frame.smaller:
            console.note(
                f"{frame.smaller} of {2 * len(plan.pairs)} volumes of {sequence} are smaller than "
                "the largest, and get black margins: look whether their size goes with the answer"
            )


def _say_left_out(console: Console, pairs: int, complete: int) -> None:
    if complete < pairs:
        left_out = f"{pairs - complete} of {pairs} pairs"
        console.note(f"{left_out} are left out, for want of a volume")
