"""oa-validate: how good predictions are, in all knees and in groups of them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import check_outputs, write_outputs
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import print_table
from oatools.core.options import force_option, seed_option
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.learning.recalibration import Recalibration
    from oatools.validation.groups import Grouping
    from oatools.validation.validate import Validation


@command(
    "oa-validate",
    examples=(
        Example(
            "A model on another cohort",
            "oa-predict jsn12.safetensors --with-clinical most.tsv < features.tsv | "
            "oa-validate - --labels most.tsv > validation.tsv",
        ),
        Example(
            "Where a cross-validated model does worse than elsewhere",
            "oa-validate cv/predictions.tsv --labels labels.tsv --by sex --by age=55,65 --by kl "
            "--by site --figure groups.svg --paragraph groups.txt > groups.tsv",
        ),
    ),
    status="0: all done; 2: unusable call or table, nothing done.",
)
@argument(
    "predictions",
    "Table of predictions, of oa-cv, oa-predict or another program: columns knee and probability, "
    "maybe subject, label, fold and predicted.",
    metavar="PREDICTIONS.tsv",
)
@heading("Knees")
@click.option(
    "--labels",
    metavar="TABLE.tsv",
    help="Labels and clinical variables by knee (default: columns of the predictions).",
)
@click.option(
    "--by",
    "groupings",
    multiple=True,
    metavar="COLUMN",
    help="Validate in each group of a column, too, such as sex, or age=55,65, cut there; "
    "repeatable.",
)
@heading("What is measured")
@click.option(
    "--threshold",
    type=float,
    metavar="P",
    help="Call knees positive from this probability (default: column predicted).",
)
@click.option(
    "--prevalence",
    type=float,
    metavar="P",
    help="Give precision for a cohort of which this share has the event, too.",
)
@heading("Output")
@click.option(
    "--recalibrate",
    type=click.Choice(["large", "logistic"]),
    help="Fit a recalibration to these knees: of the intercept, or of intercept and slope.",
)
@click.option(
    "--recalibration",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.json",
    help="Write it to this file, for oa-predict.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw calibration, and a forest plot of the groups: .png or .svg.",
)
@click.option(
    "--paragraph",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the result in sentences.",
)
@partial(force_option, help="Replace existing files.")
@heading("Statistics")
@click.option(
    "--bootstrap",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    metavar="N",
    help="Number of draws of patients for the intervals.",
)
@seed_option
def main(
    console: Console,
    predictions: str,
    labels: str | None,
    groupings: tuple[str, ...],
    threshold: float | None,
    prevalence: float | None,
    recalibrate: str | None,
    recalibration: Path | None,
    figure: Path | None,
    paragraph: Path | None,
    bootstrap: int,
    force: bool,
    seed: int,
) -> None:
    """Tell how good predictions are, in all knees and in groups of them.

    Prints a row for each metric of all knees, and of each group: how well they are told apart, how
    far probabilities mean what they say, and the errors at the threshold, with 95 % intervals by
    patient.
    """
    from oatools.learning.against import name_of
    from oatools.scored.knees import read_scored, with_threshold
    from oatools.validation.groups import parse_grouping
    from oatools.validation.tables import VALIDATION_COLUMNS, validation_rows
    from oatools.validation.validate import validate

    if figure is not None and figure.suffix not in (".png", ".svg"):
        raise UsageError(f"--figure {figure}: a name that ends in .png or .svg is needed")
    if (recalibrate is None) != (recalibration is None):
        raise UsageError("--recalibrate and --recalibration need each other: what, and where to")
    wanted = [parse_grouping(text) for text in groupings]
    _refuse_repeated(wanted)
    outputs = {"--recalibration": recalibration, "--figure": figure, "--paragraph": paragraph}
    inputs = [path for path in (predictions, labels) if path not in (None, "-")]
    check_outputs(outputs, inputs, force=True)  # what is there may be what is written

    name = name_of(predictions) if predictions != "-" else "score"
    knees = read_scored(
        predictions, labels, cells=[grouping.column for grouping in wanted], name=name
    )
    if threshold is not None:
        knees = with_threshold(knees, threshold)
    if knees.unlabelled:
        console.note(f"{counted(knees.unlabelled, 'prediction')} without a label left out")
    if knees.unscored:
        console.note(f"{counted(knees.unscored, 'label')} without a prediction left out")
    found = validate(knees, wanted, prevalence, bootstrap, seed)
    made: dict[str, tuple[Path, bytes]] = {}
    fitted = None
    if recalibrate is not None and recalibration is not None:
        from oatools.learning.recalibration import recalibration_bytes
        from oatools.validation.calibration import recalibrate as fit

        fitted = fit(knees, recalibrate)
        made["--recalibration"] = recalibration, recalibration_bytes(fitted)
    if paragraph is not None:
        made["--paragraph"] = paragraph, _paragraph(found, fitted).encode()
    if figure is not None:
        made["--figure"] = figure, _figure(figure.suffix[1:], found)
    write_outputs(made, force)
    print_table(VALIDATION_COLUMNS, validation_rows(found))
    withheld = sum(bool(part.reason) for part in found.parts)
    if withheld:
        console.note(f"the numbers of {counted(withheld, 'group')} are withheld (column reason)")


def _refuse_repeated(groupings: "list[Grouping]") -> None:
    columns = [grouping.column for grouping in groupings]
    for column in columns:
        if columns.count(column) > 1:
            raise UsageError(f"--by {column} is there twice", "give it once")


def _paragraph(found: "Validation", fitted: "Recalibration | None") -> str:
    from oatools.validation.paragraph import describe_validation

    return describe_validation(found, fitted)


def _figure(kind: str, found: "Validation") -> bytes:
    from oatools.learning.cautions import figure_mark
    from oatools.report.figures import encode, mark
    from oatools.validation.calibration import calibration_curve
    from oatools.validation.figure import validation_figure

    figure = validation_figure(found, calibration_curve(found.knees))
    cautions = found.knees.cautions
    if cautions:
        mark(figure, ", ".join(sorted(map(figure_mark, cautions))))
    return encode(figure, kind)
