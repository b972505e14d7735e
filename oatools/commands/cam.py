"""oa-cam: where the model looks."""

from functools import partial
from pathlib import Path

import click

from oatools.core.console import Console
from oatools.core.manifest import file_stem, read_rows, read_table
from oatools.core.options import command, force_option, inputs_argument, out_dir_option, require_inputs, run_options
from oatools.core.runner import RunOptions, run_rows


@command("oa-cam")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@inputs_argument()
@out_dir_option("heat maps and pictures")
@click.option(
    "--with-clinical",
    "clinical",
    metavar="TABLE.tsv",
    type=click.Path(exists=True, dir_okay=False),
    help="Take clinical variables from this table, by knee; else from the rows' own columns.",
)
@click.option("--weights", metavar="pretrained|FILE", help="The backbone's weights, if they came from a file.")
@click.option(
    "--montage",
    type=click.IntRange(1, 60),
    default=12,
    show_default=True,
    metavar="N",
    help="Slices in the picture: those with most attention.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]", help="Where to compute.")
@force_option
@run_options
def main(
    console: Console,
    model: Path,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    clinical: str | None,
    weights: str | None,
    montage: int,
    device: str,
    force: bool,
    run: RunOptions,
) -> int:
    """Show where a trained model looks in a volume, by Grad-CAM of the positive class.

    Takes the volumes that were embedded (not their features). Writes for each a NIfTI heat map on the volume's own
    grid, a PNG of the slices with most attention, and prints the rows with the probability.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    cells = {row["knee"]: row for row in read_table(clinical, ["knee"]).rows} if clinical else {}
    from oatools.explain.stage import CamSettings, explain_volume, load

    settings = CamSettings(model, weights, device, montage)
    load(settings)
    keep = {"knee", "subject", "visit", "side", "sequence", "path"}
    cells = {knee: {c: v for c, v in row.items() if c not in keep} for knee, row in cells.items()}
    work = partial(explain_volume, out_dir=out_dir, settings=settings, clinical=cells, force=force)
    return run_rows(
        console,
        table,
        work,
        run,
        added=["heat", "probability", "hottest_slice"],
        target=lambda row: str(out_dir / file_stem(row)),
    )
