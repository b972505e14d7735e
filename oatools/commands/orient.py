"""oa-orient: canonical axes, right knees mirrored onto left."""

from functools import partial
from pathlib import Path

import click
from click.core import ParameterSource

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, heading
from oatools.core.manifest import read_rows, tables_among
from oatools.core.options import (
    compress_option,
    inputs_argument,
    out_dir_option,
    replacing_options,
    require_inputs,
    run_options,
)
from oatools.core.outfolder import VOLUME, IntoFolder, for_one_file
from oatools.core.replacing import Replace
from oatools.core.runner import RunOptions, run_rows


@command(
    "oa-orient",
    examples=(
        Example(
            "Turn and mirror what oa-convert writes, as it comes",
            "oa-convert OAI/00m -o nii | oa-orient -o oriented > oriented.tsv",
        ),
        Example(
            "A volume of one's own, whose side its place in the scanner tells, into one file",
            "oa-orient knee.nii.gz --side geometry -o oriented.nii.gz",
        ),
    ),
)
@inputs_argument()
@out_dir_option("the oriented volumes", one=VOLUME)
@heading("Side and orientation")
@click.option(
    "--reference",
    type=click.Choice(["left", "right"]),
    default="left",
    show_default=True,
    help="Mirror knees of the other side onto this one.",
)
@click.option(
    "--side",
    type=click.Choice(["left", "right", "geometry"]),
    help="Take this side for all inputs instead of the column 'side'; geometry: decide by where "
    "the scan lies.",
)
@click.option(
    "--side-check",
    type=click.Choice(["fail", "warn", "trust"]),
    default="fail",
    show_default=True,
    help="What to do with a volume that lies on the other side than is stated, or that shows both "
    "knees; trust: take the side as it is stated.",
)
@click.option("--no-side-check", "unchecked", is_flag=True, hidden=True)
@compress_option
@replacing_options
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    reference: str,
    side: str | None,
    side_check: str,
    unchecked: bool,
    compression: int,
    replacing: Replace,
    run: RunOptions,
) -> int:
    """Bring volumes to canonical axes and mirror right knees onto left ones.

    Axes are permuted and reversed, never resampled, and the affine follows: every voxel keeps its
    place in the scanner's coordinates. Slices lie in the last axis, lateral to medial or posterior
    to anterior.
    """
    if unchecked:
        _refuse_both_names()
        console.note("warning: --no-side-check is now called --side-check trust")
        side_check = "trust"
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.imaging.rows import OrientSettings, VolumeWriter, orient_volume

    out = VolumeWriter.at(out_dir, compression, replacing)
    if out.file is not None:
        table = for_one_file(table, out_dir)
    settings = OrientSettings(reference, side, side_check, from_paths=not table.headed)
    work = partial(orient_volume, out=out, settings=settings)
    return run_rows(
        console,
        table,
        IntoFolder(out.folder, work, touches=replacing is Replace.OUTDATED),
        run,
        added=["side"],
        target=out.claim,
        reads=tables_among(inputs),
    )


def _refuse_both_names() -> None:
    """Raise a `UsageError` if `--side-check` is given beside its former name."""
    source = click.get_current_context().get_parameter_source("side_check")
    if source is not ParameterSource.DEFAULT:
        raise UsageError(
            "--no-side-check is now called --side-check trust, and both are given",
            "give --side-check alone",
        )
