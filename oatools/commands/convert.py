"""oa-convert: DICOM series to NIfTI volumes."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import ItemError, UsageError
from oatools.core.helptext import Example, heading
from oatools.core.ids import subject_id
from oatools.core.manifest import (
    BadRow,
    Row,
    Table,
    emit,
    format_header,
    format_row,
    is_table,
    read_rows,
    row_from_path,
)
from oatools.core.options import (
    compress_option,
    inputs_argument,
    out_dir_option,
    replacing_options,
    require_inputs,
    run_options,
)
from oatools.core.outfolder import IntoFolder
from oatools.core.repeats import Repeats
from oatools.core.replacing import Replace
from oatools.core.runner import RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.dicom.idtable import IdTable
    from oatools.dicom.pseudonyms import Pseudonyms
    from oatools.dicom.series import Overrides

_VISIT = re.compile(r"(\d\d|[1-9]\d{2,})m", re.ASCII)


@command(
    "oa-convert",
    examples=(
        Example(
            "What is there, without converting",
            "oa-convert --list OAI/00m | cut -f 5 | sort | uniq -c",
        ),
        Example(
            "All coronal scans of the baseline visit, four at a time",
            "oa-convert OAI/00m --sequence cor-iw-tse -j 4 -o nii > volumes.tsv",
        ),
    ),
)
@inputs_argument(
    "[DIR|SERIES|ARCHIVE|TABLE.tsv|-]...",
    "Folders that are searched, series, archives, inventories, or a table from --list.",
)
@out_dir_option("the volumes", required=False)
@heading("Which series")
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
    help="Reject series that cover less than this across their slices (cut short).",
)
@heading("Who and what they are")
@click.option(
    "--subject",
    metavar="ID",
    help="Take this subject for all series, instead of what headers and folders say.",
)
@click.option("--visit", metavar="VISIT", help="Take this visit for all series, e.g. 00m.")
@click.option("--side", type=click.Choice(["left", "right"]), help="Take this side for all series.")
@click.option(
    "--side-check",
    type=click.Choice(["fail", "warn", "trust"]),
    default="warn",
    show_default=True,
    help="What to do with a scan that lies on the other side than is stated; trust: take the side "
    "as the description states it, and compare it with nothing.",
)
@click.option("--name", metavar="NAME", help="Take this sequence for all series, e.g. sag-3d-dess.")
@heading("Privacy")
@click.option(
    "--keep-ids",
    is_flag=True,
    help="Keep patient ids that are not OAI's, instead of replacing them by a digest.",
)
@click.option(
    "--id-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Make the digests of ids with the key in this file; by default with DIR/id.key, which is "
    "made if missing.",
)
@click.option(
    "--id-table",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write down which patient id and series description stand behind which names.",
)
@heading("Input")
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Look for the series of an inventory below this folder, too; repeatable.",
)
@click.option(
    "--bids",
    is_flag=True,
    help="Write a data set of the Brain Imaging Data Structure (sub-*/ses-*/anat/...).",
)
@compress_option
@replacing_options
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
    side_check: str,
    name: str | None,
    keep_ids: bool,
    id_key: Path | None,
    id_table: Path | None,
    roots: tuple[Path, ...],
    bids: bool,
    compression: int,
    replacing: Replace,
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
    from oatools.dicom.series import Overrides, slug

    subject, visit = _checked_subject(subject), _checked_visit(visit)
    left_out: Counter[str] = Counter()
    if roots:
        _require_inventory(inputs)
    pseudonyms = _pseudonyms(console, id_key, out_dir, list_only)
    ids = _id_table(id_table, id_key, out_dir, list_only)
    table = _read(inputs, null_separated)
    stated = {"subject": subject, "visit": visit, "side": side, "sequence": name}
    by_hand = tuple(column for column, value in stated.items() if value is not None)
    if table.headed:
        _say_not_taken(console, [*stated.values(), sequences or None])
        by_hand = ()
    else:
        sequence = slug(name) if name else None
        is_trusted = side_check == "trust"
        known = Overrides(subject, visit, side, sequence, keep_ids, is_trusted, pseudonyms)
        wanted = [slug(each) for each in sequences]
        table = _find(table, known, wanted, left_out, roots, ids)
    if list_only or out_dir is None:
        status = _list(console, table)
        if pseudonyms.is_used and not _has_key(id_key, out_dir):
            console.note(
                "names with a digest (anon-..., ...-x...) are of this listing alone: they have no "
                "key; give one with --id-key, and they are the same in every run"
            )
    else:
        from oatools.dicom.rows import ConvertSettings, convert_series
        from oatools.imaging.rows import VolumeWriter

        out = VolumeWriter(out_dir, compression, replacing)
        if bids:
            from oatools.dicom.bids import BidsWriter, describe

            out = BidsWriter(out_dir, compression, replacing, echo=echo)
        settings = ConvertSettings(echo, coverage, side_check, run.timeout, by_hand)
        convert_one = partial(convert_series, out=out, settings=settings)
        work = IntoFolder(out_dir, convert_one, touches=replacing is Replace.OUTDATED)
        status = run_rows(console, table, work, run, target=out.claim, workers="threads")
        if bids and out_dir.is_dir():
            describe(out_dir)
    for reason, count in left_out.most_common():
        console.note(f"not taken: {count} {reason}")
    return status


def _has_key(id_key: Path | None, out_dir: Path | None) -> bool:
    """Tell whether there is a key that will be the same the next time."""
    from oatools.dicom.pseudonyms import KEY_NAME

    return id_key is not None or (out_dir is not None and os.path.lexists(out_dir / KEY_NAME))


def _pseudonyms(
    console: Console, id_key: Path | None, out_dir: Path | None, list_only: bool
) -> "Pseudonyms":
    """Return the names by the key that is given, or else by that of the output folder.

    A listing uses that one where it is there, and makes none.
    """
    from oatools.dicom.pseudonyms import (
        KEY_NAME,
        Pseudonyms,
        folder_key,
        is_open_to_others,
        read_key,
    )

    def said(made: Path) -> None:
        console.note(
            f"made the key of ids {made}: keep it to yourself, and with it a person has the same "
            "id in every run (--id-key)"
        )

    if id_key is not None:
        path, key = id_key, partial(read_key, id_key)
    elif out_dir is not None and (not list_only or _has_key(None, out_dir)):
        path, key = out_dir / KEY_NAME, partial(folder_key, out_dir, said)
    else:
        return Pseudonyms()
    if id_key is not None or _has_key(None, out_dir):
        given = read_key(path)  # what is wrong with it is said before any work is done
        beside = None if out_dir is None else out_dir / KEY_NAME
        if beside is not None and _has_key(None, out_dir) and read_key(beside) != given:
            console.note(f"warning: {beside} is another key; ids made with it are not these")
    if path.exists() and is_open_to_others(path):
        console.note(f"warning: everybody can read {path}; keep it to yourself: chmod 600 {path}")
    return Pseudonyms(key)


def _id_table(
    path: Path | None, id_key: Path | None, out_dir: Path | None, list_only: bool
) -> "IdTable | None":
    """Return the table of who is who, if it is wanted; a `UsageError` for one of no use."""
    if path is None:
        return None
    from oatools.dicom.idtable import IdTable

    if list_only and not _has_key(id_key, out_dir):
        raise UsageError(
            "a listing without a key has other ids each time, of which a table is of no use",
            "give a key with `id_key`",
        )
    return IdTable(path)


def _checked_subject(subject: str | None) -> str | None:
    """Return the id in its one form; a `UsageError` for one that no file can be named by."""
    if subject is None:
        return None
    try:
        return subject_id(subject)
    except ItemError as error:
        raise UsageError(error.reason, error.remedy) from None


def _checked_visit(visit: str | None) -> str | None:
    """Return a visit as it is; a `UsageError` for what is not written as in tables."""
    if visit is not None and _VISIT.fullmatch(visit) is None:
        raise UsageError(
            f"the visit {visit!r} is not a number of months in two digits or more",
            "write it as in 00m, 06m, 12m or 120m",
        )
    return visit


def _require_inventory(inputs: tuple[str, ...]) -> None:
    """Raise a `UsageError` where there is no inventory whose images could lie elsewhere."""
    from oatools.oai.release import may_be_inventory

    # A table may list inventories.
    if inputs and not any(is_table(name) or may_be_inventory(name) for name in inputs):
        raise UsageError(
            "--root says where the images of an inventory are, and no inventory is given",
            "name a contents.csv or image03.txt, or give the folders of the images themselves",
        )


def _say_not_taken(console: Console, values: Sequence[object]) -> None:
    """Say which options a table with a header, which is taken as it stands, leaves without work."""
    names = ("--subject", "--visit", "--side", "--name", "--sequence")
    idle = [name for name, value in zip(names, values, strict=True) if value is not None]
    if idle:
        console.note(
            f"warning: a table with a header is taken as it stands, without {', '.join(idle)}; "
            "edit its columns, or give the folders"
        )


def _read(inputs: tuple[str, ...], null_separated: bool) -> Table[Row | BadRow]:
    """Open what is named; an inventory may end in .txt or .tsv, and is not a table of rows."""
    from oatools.oai.release import may_be_inventory

    if not any(may_be_inventory(name) for name in inputs):
        return read_rows(inputs, null_separated).require("path")
    rows = (row_from_path(name) for name in inputs)
    return Table([], rows, "the command line", headed=False)


def _find(
    places: Table[Row | BadRow],
    known: "Overrides",
    wanted: list[str],
    left_out: Counter[str],
    roots: Sequence[Path],
    ids: "IdTable | None",
) -> Table[Row | BadRow]:
    """Find the series in the places that the rows of a table name."""
    from oatools.dicom.find import find_series
    from oatools.dicom.series import COLUMNS
    from oatools.oai import release

    names = (row.name if isinstance(row, BadRow) else row["path"] for row in places.rows)
    rows = find_series(names, release, known, wanted, left_out, roots, ids)
    return Table(COLUMNS, rows, "the series found")


def _list(console: Console, table: Table[Row | BadRow]) -> int:
    """Print the series, and return the exit status."""
    found = failed = left_out = 0
    repeats = Repeats(console, "place")
    emit(format_header(table.columns))
    for row in table.rows:
        if not isinstance(row, BadRow):
            try:
                line = format_row(table.columns, row)
            except ItemError as error:  # a line break in the path
                row = BadRow.of(row["path"], error)
            else:
                emit(line)
                found += 1
                continue
        if row.left_out:
            repeats.note(row.name, row.error, row)
            left_out += 1
        else:
            reason = console.describe(ItemError(row.error, row.remedy))
            repeats.error(row.name, reason, row)
            failed += 1
    repeats.say_rest()
    summary = f"{found} series found, {failed} failed"
    console.note(f"{summary}, {left_out} left out" if left_out else summary)
    return 1 if failed else 0
