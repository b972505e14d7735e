"""oa-n4: correction of the bias field."""

from functools import partial
from pathlib import Path

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import file_stem, read_rows
from oatools.core.options import (
    Numbers,
    compress_option,
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
)
from oatools.core.runner import RunOptions, run_rows


class _Level(click.ParamType):
    """An intensity that is not negative."""

    name = "auto|X"

    def convert(self, value, param, ctx):  # noqa: ANN001, ANN201
        """Turn the text into a number; `auto` is None."""
        return None if value in (None, "auto") else click.FloatRange(0).convert(value, param, ctx)


_PATH = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(0, min_open=True)


@command("oa-n4")
@inputs_argument()
@out_dir_option("the corrected volumes")
@click.option(
    "--engine",
    type=click.Choice(["fast", "itk"]),
    default="fast",
    show_default=True,
    help="Our own engine, or SimpleITK's filter with the same settings.",
)
@click.option(
    "--start",
    type=click.Choice(["gradient", "flat"]),
    default="gradient",
    show_default=True,
    help="Start N4 from the field that small steps inside tissues show, or from none.",
)
@click.option(
    "--mask",
    default="air",
    show_default=True,
    metavar="air|log-otsu|otsu|none|FILE",
    help="Samples that the field is fitted to: all but air, those above Otsu's threshold of the logarithm or of the "
    "intensity itself, all positive ones, or a mask on the same grid.",
)
@click.option(
    "--floor",
    type=_Level(),
    default="auto",
    show_default=True,
    metavar="auto|X",
    help="Intensity of air, whose noise is taken off the samples before fitting; 0 takes off nothing.",
)
@click.option(
    "--shrink",
    type=Numbers("3 positive numbers, such as 8,8,1, nor auto", (3,), auto=True),
    default="auto",
    show_default=True,
    metavar="auto|N,N,N",
    help="Fit to means over boxes of so many voxels along each axis; auto: boxes of about 3 mm.",
)
@click.option(
    "--iterations",
    type=Numbers("1 to 8 positive numbers, such as 50,50,50,50", range(1, 9)),
    default="50,50",
    show_default=True,
    help="Most iterations at each resolution of the field, coarse to fine.",
)
@click.option(
    "--convergence",
    type=click.FloatRange(0),
    default=0.001,
    show_default=True,
    help="End a level when the field changes by less, as a coefficient of variation.",
)
@click.option(
    "--spans",
    type=Numbers("3 positive numbers, such as 1,1,1", (3,)),
    default="1,1,1",
    show_default=True,
    metavar="N,N,N",
    help="Intervals of the first level's spline along each axis; each further level doubles them.",
)
@click.option(
    "--fwhm",
    type=_POSITIVE,
    default=0.15,
    show_default=True,
    help="Full width at half maximum of the field's log histogram.",
)
@click.option(
    "--noise",
    type=_POSITIVE,
    default=0.01,
    show_default=True,
    help="Noise of the Wiener filter that sharpens the histogram.",
)
@click.option(
    "--bins", type=click.IntRange(16, 4096), default=200, show_default=True, help="Histogram bins."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "same"]),
    default="float32",
    show_default=True,
    help="Voxel type of the output; same: the input's, rounded and clipped.",
)
@click.option(
    "--field",
    type=_PATH,
    metavar="PATH",
    help="Write the natural logarithm of the field: a file, or a folder.",
)
@click.option(
    "--mask-out",
    type=_PATH,
    metavar="PATH",
    help="Write the mask of the samples used: a file, or a folder.",
)
@compress_option
@force_option
@run_options
def main(
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    dtype: str,
    field: Path | None,
    mask_out: Path | None,
    compression: int,
    force: bool,
    run: RunOptions,
    **settings,
) -> int:  # noqa: ANN003
    """Correct the intensity bias that the coil leaves on a volume (N4).

    The output is float32, on the same grid, divided by the field; it is not rescaled.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.imaging.rows import VolumeWriter
    from oatools.n4.correct import N4Settings
    from oatools.n4.rows import SideOutput, correct_volume

    extras = [None if path is None else SideOutput(path) for path in (field, mask_out)]
    if table.total != 1 and any(extra is not None and extra.is_file for extra in extras):
        raise UsageError(
            "--field and --mask-out name one file, but there may be many inputs; give them a folder"
        )
    work = partial(
        correct_volume,
        out=VolumeWriter(out_dir, compression, force),
        settings=N4Settings(**settings),
        dtype=dtype,
        field=extras[0],
        mask=extras[1],
    )
    workers = "threads" if settings["engine"] == "fast" else "processes"
    return run_rows(
        console, table, work, run, target=lambda row: str(out_dir / file_stem(row)), workers=workers
    )
