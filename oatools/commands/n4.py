"""oa-n4: correction of the bias field."""

from functools import partial
from pathlib import Path

import click

from oatools.core.console import Console
from oatools.core.manifest import file_stem, read_rows
from oatools.core.options import (
    command,
    compress_option,
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
)
from oatools.core.runner import RunOptions, run_rows


class _Iterations(click.ParamType):
    name = "N,N,..."

    def convert(self, value, param, ctx):  # noqa: ANN001, ANN201
        """Turn `50,50,30` into a tuple of positive numbers, one a level."""
        if isinstance(value, tuple):
            return value
        try:
            levels = tuple(int(part) for part in value.split(","))
        except ValueError:
            levels = ()
        if not levels or min(levels) < 1 or len(levels) > 8:
            self.fail(f"{value!r} is no list of 1 to 8 positive numbers, such as 50,50,50,50", param, ctx)
        return levels


@command("oa-n4")
@inputs_argument()
@out_dir_option("the corrected volumes")
@click.option(
    "--mask",
    default="otsu",
    show_default=True,
    metavar="otsu|none|FILE",
    help="Voxels that the field is fitted to: Otsu's threshold, all positive ones, or a mask on the same grid.",
)
@click.option(
    "--shrink",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Fit on a grid coarser by this factor, along the axes that are not thick slices.",
)
@click.option(
    "--iterations",
    type=_Iterations(),
    default="50,50,50,50",
    show_default=True,
    help="Most iterations at each resolution of the field, coarse to fine.",
)
@click.option(
    "--convergence",
    type=click.FloatRange(0, min_open=True),
    default=0.001,
    show_default=True,
    help="Stop a level once the field changes by less (coefficient of variation).",
)
@click.option(
    "--fwhm",
    type=click.FloatRange(0, min_open=True),
    default=0.15,
    show_default=True,
    help="Full width at half maximum of the field's log histogram.",
)
@click.option(
    "--noise",
    type=click.FloatRange(0, min_open=True),
    default=0.01,
    show_default=True,
    help="Noise of the Wiener filter that sharpens the histogram.",
)
@click.option("--bins", type=click.IntRange(16, 4096), default=200, show_default=True, help="Histogram bins.")
@click.option(
    "--field",
    "field_dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the natural logarithm of the bias fields here.",
)
@compress_option
@force_option
@run_options
def main(console: Console, inputs: tuple[str, ...], null_separated: bool, out_dir: Path, field_dir: Path | None,
         compression: int, force: bool, run: RunOptions, **settings) -> int:  # noqa: ANN003  # fmt: skip
    """Correct the intensity bias that the coil leaves on a volume (N4).

    The output is float32, on the same grid, divided by the field; it is not rescaled.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.imaging.stages import N4Settings, Output, correct_volume

    out = Output(out_dir, compression, force)
    work = partial(correct_volume, out=out, settings=N4Settings(**settings), field_dir=field_dir)
    return run_rows(console, table, work, run, target=lambda row: str(out_dir / file_stem(row)))
