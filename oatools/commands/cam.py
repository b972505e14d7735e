"""oa-cam: where the model looks."""

from functools import partial
from pathlib import Path

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, file_stem, read_rows
from oatools.core.options import (
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
)
from oatools.core.runner import RunOptions, run_rows

METHODS = ["gradcam", "gradcam++", "hirescam", "occlusion"]


@command("oa-cam")
@click.argument(
    "model",
    metavar="MODEL.safetensors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@inputs_argument()
@out_dir_option("heat maps, tables and pictures")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="gradcam",
    show_default=True,
    help="How the map is made; occlusion is the slow truth.",
)
@click.option(
    "--class",
    "of_class",
    type=click.Choice(["1", "0"]),
    default="1",
    show_default=True,
    help="What the heat speaks for: the positive class, or the negative one.",
)
@click.option(
    "--with-clinical",
    "clinical",
    metavar="TABLE.tsv",
    type=click.Path(exists=True, dir_okay=False),
    help="Take clinical variables from this table, by knee; else from the rows' own columns.",
)
@click.option(
    "--weights", metavar="pretrained|FILE", help="The backbone's weights, if they came from a file."
)
@click.option(
    "--grid",
    type=click.Choice(["scan", "input"]),
    default="scan",
    show_default=True,
    help="Voxels of the heat map: of the scan before oa-orient turned it, or of the input.",
)
@click.option(
    "--montage",
    type=click.IntRange(1, 60),
    default=12,
    show_default=True,
    metavar="N",
    help="Slices in the picture: those with most attention.",
)
@click.option(
    "--mean",
    is_flag=True,
    help="Also the mean maps of all knees, by the label in the rows or in --with-clinical.",
)
@click.option(
    "--faithfulness",
    is_flag=True,
    help="Measure each map: deletion, insertion, and models with random weights.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where to compute.",
)
@force_option
@run_options
def main(
    console: Console,
    model: Path,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    method: str,
    of_class: str,
    clinical: str | None,
    weights: str | None,
    grid: str,
    montage: int,
    mean: bool,
    faithfulness: bool,
    device: str,
    force: bool,
    run: RunOptions,
) -> int:
    """Show where a trained model looks in a volume.

    Takes the volumes that were embedded (not their features). Writes for each a NIfTI heat map that
    overlays the scan, a PNG of the slices with most attention, a table of all slices, and prints
    the rows with the probability.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.explain.faithfulness import COLUMNS
    from oatools.explain.gradcam import UNITS
    from oatools.explain.mean import mean_maps
    from oatools.explain.rows import CamSettings, cautions, explain_row, load
    from oatools.learning.rows import input_paths, open_scoring

    settings = CamSettings(
        model, weights, device, montage, method, of_class == "1", faithfulness, grid
    )
    fitted, _ = load(settings)
    scoring = open_scoring(fitted, table, clinical, also=["label"])
    table, known = scoring.table, scoring.clinical
    if scoring.absent:
        console.note(f"{scoring.absent_warning()}; give a table with --with-clinical")
    if mean and (out_dir / "mean").exists() and not (out_dir / "mean").is_dir():
        raise UsageError(f"{out_dir / 'mean'} is no folder; choose another -o")
    done: list[tuple[Row, Path, Path, str]] = []

    def ended(row: Row, cells: Row) -> None:
        label = (row if known is None else known.get(row["knee"], {})).get("label", MISSING)
        for sequence, source in zip(
            fitted.joined or [row.get("sequence", MISSING)],
            input_paths(row, fitted.joined),
            strict=True,
        ):
            own = {**row, "sequence": sequence}
            done.append((own, Path(source), out_dir / f"{file_stem(own)}.nii.gz", label))

    work = partial(explain_row, out_dir=out_dir, settings=settings, clinical=known, force=force)
    status = run_rows(
        console,
        table,
        work,
        run,
        added=["heat", "probability", "hottest_slice", *(COLUMNS if faithfulness else ())],
        target=lambda row: str(out_dir / file_stem(row)),
        on_done=ended if mean else None,
    )
    if mean:
        # Maps on the volumes' own axes and on the scans' alike: their affines say where they lie.
        for picture in mean_maps(
            done, out_dir / "mean", f"{method} ({UNITS[method]})", cautions(fitted)
        ):
            console.note(f"mean of {len(done)} maps: {picture}")
    return status
