"""oa-n4: correction of the bias field."""

import functools
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, heading
from oatools.core.manifest import read_rows, tables_among
from oatools.core.options import (
    Numbers,
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
from oatools.n4.settings import N4Settings

_PATH = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(0, min_open=True)


class _Level(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """An intensity that is not negative, or `auto`, which becomes None."""

    name = "auto|X"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Turn the text into a number."""
        if value is None or value == "auto":
            return None
        level: float = click.FloatRange(0).convert(value, param, ctx)
        return level


def _with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Hand over the options that are fields of `N4Settings` together, as `settings`."""
    names = [field.name for field in fields(N4Settings)]

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        settings = N4Settings(**{name: options.pop(name) for name in names})
        return function(*args, settings=settings, **options)

    return wrapper


@command(
    "oa-n4",
    examples=(
        Example(
            "Volumes of a table, four at a time, in the order in which they came",
            "oa-n4 -j 4 -o n4 < oriented.tsv > n4.tsv",
        ),
        Example(
            "A whole pipe, from DICOM to corrected volumes",
            "oa-convert OAI/00m -o nii | oa-orient -o oriented | oa-n4 -o n4 > n4.tsv",
        ),
    ),
)
@inputs_argument()
@out_dir_option("the corrected volumes", one=VOLUME)
@heading("Field and mask")
@click.option(
    "--engine",
    type=click.Choice(["fast", "itk"]),
    default="fast",
    show_default=True,
    help="Use our own engine, or SimpleITK's filter with the same settings.",
)
@click.option(
    "--start",
    type=click.Choice(["gradient", "flat"]),
    default="gradient",
    show_default=True,
    help="Start from a field estimated from intensity gradients inside tissue, or from a flat one.",
)
@click.option(
    "--weights",
    type=click.Choice(["brightness", "equal"]),
    default="brightness",
    show_default=True,
    help="Weigh samples by the square of their intensity, or all alike; --engine itk knows no "
    "weights.",
)
@click.option(
    "--mask",
    default="air",
    show_default=True,
    metavar="air|log-otsu|otsu|none|FILE",
    help="Fit the field to these samples: all but air, those above Otsu's threshold of the "
    "logarithm or of the intensity itself, all positive ones, or a mask on the same grid.",
)
@click.option(
    "--floor",
    type=_Level(),
    default="auto",
    show_default=True,
    metavar="auto|X",
    help="Subtract the noise floor of air, at this intensity, before fitting; 0 subtracts "
    "nothing, auto estimates it.",
)
@click.option(
    "--shrink",
    type=Numbers("3 positive numbers, such as 8,8,1, or auto", (3,), auto=True),
    default="auto",
    show_default=True,
    metavar="auto|N,N,N",
    help="Fit to means over boxes of this many voxels along each axis; auto: boxes of about 3 mm.",
)
@click.option(
    "--iterations",
    type=Numbers("1 to 8 positive numbers, such as 20,8,4", range(1, 9)),
    default="20,8,4",
    show_default=True,
    help="Run at most this many iterations at each resolution of the field, coarse to fine.",
)
@click.option(
    "--convergence",
    type=click.FloatRange(0),
    default=0.001,
    show_default=True,
    metavar="X",
    help="End a level when the field changes by less than this coefficient of variation.",
)
@click.option(
    "--spans",
    type=Numbers("3 positive numbers, such as 2,2,2", (3,)),
    default="2,2,2",
    show_default=True,
    metavar="N,N,N",
    help="Divide the first level's spline into this many intervals along each axis; each further "
    "level doubles them.",
)
@heading("Histogram")
@click.option(
    "--fwhm",
    type=_POSITIVE,
    default=0.15,
    show_default=True,
    metavar="X",
    help="Assumed full width at half maximum of the log field's histogram.",
)
@click.option(
    "--noise",
    type=_POSITIVE,
    default=0.01,
    show_default=True,
    metavar="X",
    help="Sharpen the histogram with a Wiener filter for this noise.",
)
@click.option(
    "--bins",
    type=click.IntRange(16, 4096),
    default=200,
    show_default=True,
    metavar="N",
    help="Count the histogram in this many bins.",
)
@heading("Output")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "same"]),
    default="float32",
    show_default=True,
    help="Write voxels of this type; same: the input's, rounded and clipped.",
)
@click.option(
    "--field",
    type=_PATH,
    metavar="PATH",
    help="Write the natural logarithm of the field to this file or folder.",
)
@click.option(
    "--mask-out",
    type=_PATH,
    metavar="PATH",
    help="Write the mask of the samples used to this file or folder.",
)
@click.option(
    "--report",
    "report_path",
    type=_PATH,
    metavar="FILE",
    help="Add what the correction did to each volume to this table.",
)
@compress_option
@replacing_options
@run_options
@_with_settings
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    settings: N4Settings,
    dtype: Literal["float32", "same"],
    field: Path | None,
    mask_out: Path | None,
    report_path: Path | None,
    compression: int,
    replacing: Replace,
    run: RunOptions,
) -> int:
    """Correct the intensity bias that the coil leaves on a volume (N4).

    The output is float32, on the same grid, divided by the field; it is not rescaled.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.imaging.rows import VolumeWriter
    from oatools.n4.report import Report
    from oatools.n4.rows import Outputs, SideOutput, correct_volume

    volumes = VolumeWriter.at(out_dir, compression, replacing)
    out = Outputs(
        volumes,
        dtype,
        field=None if field is None else SideOutput(field),
        mask_out=None if mask_out is None else SideOutput(mask_out),
    )
    if table.total != 1 and out.names_one_file:
        raise UsageError(
            "--field and --mask-out name one file, but there may be many inputs",
            "give them a folder",
        )
    if volumes.file is not None:
        table = for_one_file(table, out_dir)
    shared = out.shared_folder
    if shared is not None:
        raise UsageError(
            f"{shared} would get two kinds of volumes under the same names",
            "give -o, --field and --mask-out folders of their own",
        )
    work = partial(correct_volume, out=out, settings=settings)
    report = None if report_path is None else Report(report_path)
    mask = settings.mask_file
    beside = [path for path in (mask, report_path) if path is not None]
    return run_rows(
        console,
        table,
        IntoFolder(volumes.folder, work, touches=replacing is Replace.OUTDATED),
        run,
        target=out.claims,
        on_done=None if report is None else report.add,
        reads=[*tables_among(inputs), *beside],
    )
