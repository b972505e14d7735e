"""oa-cam: where the model looks."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.commands.missing import MissingVariables
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import is_same_file
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import MISSING, Row, read_rows, tables_among
from oatools.core.options import (
    Months,
    inputs_argument,
    out_dir_option,
    replacing_options,
    require_inputs,
    run_options,
)
from oatools.core.outfolder import IntoFolder
from oatools.core.replacing import Replace
from oatools.core.runner import RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.explain.mean import FinishedMap
    from oatools.explain.rows import CamSettings
    from oatools.learning.model import FittedModel

METHODS = ["gradcam", "gradcam++", "hirescam", "occlusion", "occlusion-stack"]


@command(
    "oa-cam",
    examples=(
        Example(
            "One knee, from the scanner's folder to a picture",
            "oa-convert SERIES -o nii | oa-orient -o oriented | oa-n4 -o n4 | oa-cam "
            "jsn12.safetensors -o cam",
        ),
        Example(
            "The mean map of all knees, by outcome",
            "oa-cam jsn12.safetensors --with-clinical labels.tsv --mean -j 4 -o cam < n4.tsv > "
            "cam.tsv",
        ),
    ),
)
@argument(
    "model",
    "A model of oa-train or oa-cv.",
    metavar="MODEL.safetensors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@inputs_argument()
@out_dir_option("heat maps, tables and pictures")
@heading("Map")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="gradcam",
    show_default=True,
    help="Method that makes the map; both occlusions are slow but exact.",
)
@click.option(
    "--class",
    "of_class",
    type=click.Choice(["1", "0"]),
    default="1",
    show_default=True,
    help="Class whose evidence the map shows: the positive one (1) or the negative one (0).",
)
@click.option(
    "--at",
    type=Months(1),
    metavar="MONTHS",
    help="Tell the risk within so many months, such as 48m, of a model of follow-up (default: the "
    "longest it has learnt of).",
)
@heading("Input")
@click.option(
    "--with-clinical",
    "clinical",
    metavar="TABLE.tsv",
    type=click.Path(exists=True, dir_okay=False),
    help="Take clinical variables from this table, by knee; else from the rows' own columns.",
)
@click.option(
    "--weights",
    metavar="pretrained|FILE",
    help="Take the backbone's weights from this file, if the model's came from one.",
)
@heading("Output")
@click.option(
    "--grid",
    type=click.Choice(["scan", "input"]),
    default="scan",
    show_default=True,
    help="Grid of the heat map: that of the scan before oa-orient turned it, or of the input.",
)
@click.option(
    "--montage",
    type=click.IntRange(1, 60),
    default=12,
    show_default=True,
    metavar="N",
    help="Number of slices in the picture: those with most attention.",
)
@click.option(
    "--mean",
    is_flag=True,
    help="Also write mean maps of all knees, by the label (or event) in the rows or in "
    "--with-clinical.",
)
@click.option(
    "--faithfulness",
    is_flag=True,
    help="Measure each map by deletion, insertion, and models with random weights.",
)
@heading("Computing")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Device to compute on; auto is the first GPU, or the CPU if there is none.",
)
@click.option(
    "--any-sequence",
    is_flag=True,
    help="Explain images of a sequence or plane that the model was not trained on, too.",
)
@replacing_options
@run_options
def main(
    console: Console,
    model: Path,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path,
    method: str,
    of_class: str,
    at: tuple[float, ...] | None,
    clinical: str | None,
    weights: str | None,
    grid: str,
    montage: int,
    mean: bool,
    faithfulness: bool,
    device: str,
    any_sequence: bool,
    replacing: Replace,
    run: RunOptions,
) -> int:
    """Show where a trained model looks in a volume.

    Takes the volumes that were embedded (not their features). Writes for each a NIfTI heat map that
    overlays the scan, a PNG of the slices with most attention, and a table of all slices. Prints
    the rows with the probability added.
    """
    require_inputs(inputs)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.explain.rows import (
        CamSettings,
        claims,
        columns,
        explain_row,
        finished_maps,
        load,
    )
    from oatools.learning.cautions import model_warning
    from oatools.learning.followup import EVENT
    from oatools.learning.rows import clinical_cells, open_scoring, times_of

    settings = CamSettings(
        model=model,
        weights=weights,
        device=device,
        montage=montage,
        method=method,
        positive=of_class == "1",
        faithful=faithfulness,
        grid=grid,
        any_sequence=any_sequence,
        at=at[0] if at else None,
    )
    fitted, _ = load(settings)
    times_of(fitted, at or ())
    scoring = open_scoring(fitted, table, clinical, also=["label", EVENT])
    if scoring.absent:
        console.note(f"{scoring.absent_warning()}; give a table with --with-clinical")
    if fitted.cautions:
        console.note(model_warning(fitted.cautions))
    if mean:
        _check_folder(out_dir / "mean")
    clinical_rows = scoring.clinical
    finished: list[FinishedMap] = []

    def remember(row: Row, cells: Row) -> None:
        cells_of = clinical_cells(row, clinical_rows)
        label = cells_of.get("label", cells_of.get(EVENT, MISSING))
        finished.extend(finished_maps(row, out_dir, fitted, label))

    work = partial(
        explain_row,
        out_dir=out_dir,
        settings=settings,
        clinical=clinical_rows,
        replacing=replacing,
    )
    missing = MissingVariables(scoring, dict.fromkeys(fitted.scaling.names, 0))
    status = run_rows(
        console,
        missing.counted(),
        IntoFolder(out_dir, work, touches=replacing is Replace.OUTDATED),
        run,
        added=columns(fitted, faithfulness),
        target=lambda row: claims(row, out_dir, fitted),
        reads=[*tables_among(inputs), model, *(path for path in (clinical, weights) if path)],
        on_done=remember if mean else None,
    )
    missing.tell(console)
    if mean:
        _write_means(console, finished, settings, fitted, out_dir / "mean")
    return status


def _check_folder(folder: Path) -> None:
    """Raise a `UsageError` for a path that cannot become a folder."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "choose another `out_dir`")


def _write_means(
    console: Console,
    finished: "list[FinishedMap]",
    settings: "CamSettings",
    model: "FittedModel",
    folder: Path,
) -> None:
    """Write the mean of all maps, and name its pictures.

    Maps may be on the volumes' own axes or on the scans': their affines say where they lie.
    """
    from oatools.explain.explanation import unit_of
    from oatools.explain.mean import mean_maps
    from oatools.learning.cautions import as_sentence, model_warning

    if any(is_same_file(each.volume.parent, folder) for each in finished):
        raise UsageError(f"{folder} holds volumes that were read", "choose another `out_dir`")
    scale = f"{settings.method} ({unit_of(settings.method, model)}), one scale for all slices"
    notes = [as_sentence(model_warning(model.cautions))] if model.cautions else []
    for picture in mean_maps(finished, folder, scale, notes):
        console.note(f"mean of {len(finished)} maps: {picture}")
