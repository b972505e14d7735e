"""oa-predict: a trained model's probability for every knee."""

import functools

import click

from oatools.commands.missing import MissingVariables
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import read_rows
from oatools.core.options import at_option, inputs_argument, require_inputs, run_options
from oatools.core.runner import RunOptions, run_rows


@command(
    "oa-predict",
    examples=(
        Example(
            "A table of features, with clinical variables from the labels",
            "oa-predict jsn12.safetensors --with-clinical labels.tsv < features.tsv > "
            "predicted.tsv",
        ),
        Example(
            "From volumes, in one pipe; the knees of highest risk first",
            "oa-embed -o features < n4.tsv | oa-predict jsn12.safetensors | mlr --tsv sort -nr "
            "probability",
        ),
    ),
)
@argument("model", "A model of oa-train or oa-cv.", metavar="MODEL.safetensors")
@inputs_argument("[FEATURES.tsv|FILE.h5|-]...", "Feature files, or tables of them.")
@heading("Input")
@click.option(
    "--with-clinical",
    "clinical",
    metavar="TABLE.tsv",
    help="Take clinical variables by knee from this table, such as labels.tsv (default: columns "
    "of the input).",
)
@click.option(
    "--any-sequence",
    is_flag=True,
    help="Score images of a sequence or plane that the model was not trained on, too.",
)
@click.option(
    "--recalibration",
    metavar="FILE.json",
    help="Recalibrate the probabilities by this file of oa-validate; what is predicted stays.",
)
@at_option("Tell the risk within so many months, of a model of follow-up")
@run_options
def main(
    console: Console,
    model: str,
    inputs: tuple[str, ...],
    null_separated: bool,
    clinical: str | None,
    any_sequence: bool,
    recalibration: str | None,
    at: tuple[float, ...],
    run: RunOptions,
) -> int:
    """Give every knee the probability of the positive class.

    Adds the columns probability, predicted (1 from the model's threshold) and caution (phantoms,
    random weights); of a model of follow-up, risk_12m and so on in place of predicted. A clinical
    variable that is missing is filled in as the model records, and counted on standard error.
    """
    require_inputs(inputs)
    recalibrated = None
    if recalibration is not None:
        from oatools.learning.recalibration import read_recalibration

        recalibrated = read_recalibration(recalibration)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.learning.cautions import model_warning
    from oatools.learning.files import load_model
    from oatools.learning.rows import open_scoring, score_row, scored_columns, times_of

    fitted = load_model(model)
    times = times_of(fitted, at)
    if times and recalibrated is not None:
        raise UsageError(
            f"{model} tells risks by time, which --recalibration does not change", "leave it out"
        )
    scoring = open_scoring(fitted, table, clinical)
    if scoring.absent:
        console.note(f"{scoring.absent_warning()}; give a table with --with-clinical")
    if fitted.cautions:
        console.note(model_warning(fitted.cautions))
    missing = MissingVariables(scoring, dict.fromkeys(fitted.scaling.names, 0))
    work = functools.partial(
        score_row,
        model_path=model,
        clinical=scoring.clinical,
        any_sequence=any_sequence,
        recalibration=recalibrated,
        at=times,
    )
    added = scored_columns(fitted, times)
    status = run_rows(console, missing.counted(), work, run, added=added)
    missing.tell(console)
    return status
