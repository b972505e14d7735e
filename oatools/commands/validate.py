"""oa-validate: how good predictions are, in all knees and in groups of them."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import check_outputs, write_outputs
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import print_table, table_bytes
from oatools.core.options import (
    bootstrap_option,
    figure_option,
    file_option,
    force_option,
    seed_option,
    time_option,
)
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.core.words import counted

if TYPE_CHECKING:
    from oatools.learning.recalibration import Recalibration
    from oatools.scored.knees import ScoredKnees
    from oatools.validation.groups import Grouping
    from oatools.validation.validate import Part, Validation


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
    status="0: all done; 1: a file cannot be read or written; 2: unusable call or table, nothing "
    "done.",
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
@time_option("Ask whether it had happened within so many months")
@click.option(
    "--by",
    "groupings",
    multiple=True,
    metavar="COLUMN",
    help="Validate in each group of a column, too, such as sex, or age=55,65, cut there; "
    "repeatable.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="TABLE.tsv",
    help="Compare with these predictions of the same knees, in whatever folds; repeatable.",
)
@click.option(
    "--within",
    metavar="COLUMN",
    help="Compare scores of knees with the same value alone, such as of one site.",
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
@file_option("--compare", "Write the differences of each two tables of predictions to this table.")
@click.option(
    "--recalibrate",
    type=click.Choice(["large", "logistic"]),
    help="Fit a recalibration to these knees: of the intercept, or of intercept and slope.",
)
@file_option("--recalibration", "Write it to this file, for oa-predict.", "FILE.json")
@figure_option("calibration, and a forest plot of the groups")
@file_option("--paragraph", "Write the result in sentences.")
@partial(force_option, help="Replace existing files.")
@heading("Statistics")
@bootstrap_option("of patients for the intervals")
@seed_option
def main(
    console: Console,
    predictions: str,
    labels: str | None,
    at: float | None,
    groupings: tuple[str, ...],
    against: tuple[str, ...],
    within: str | None,
    threshold: float | None,
    prevalence: float | None,
    compare: Path | None,
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
    from oatools.scored.followed import says_when
    from oatools.scored.knees import name_tables
    from oatools.validation.groups import parse_grouping
    from oatools.validation.tables import VALIDATION_COLUMNS, validation_rows
    from oatools.validation.validate import validate

    if compare is not None and not against:
        raise UsageError("--compare needs --against, the predictions to compare with")
    if (recalibrate is None) != (recalibration is None):
        raise UsageError("--recalibrate and --recalibration need each other: what, and where to")
    wanted = [parse_grouping(text) for text in groupings]
    _refuse_repeated(wanted)
    name, tables = name_tables(predictions, against)
    outputs = {
        "--compare": compare,
        "--recalibration": recalibration,
        "--figure": figure,
        "--paragraph": paragraph,
    }
    inputs = [path for path in (predictions, labels, *against) if path not in (None, "-")]
    check_outputs(outputs, inputs, force=True)  # what is there may be what is written

    if at is None and says_when(predictions, labels):
        _over_time(console, predictions, labels, wanted)
        return
    cells = list(dict.fromkeys([*(each.column for each in wanted), *([within] if within else [])]))
    knees = _read(console, predictions, labels, tables, cells, name, at)
    knees = _changed(knees, within, threshold)
    found = validate(knees, wanted, prevalence, bootstrap, seed)
    fitted = None
    if recalibrate is not None:
        from oatools.validation.calibration import recalibrate as fit

        fitted = fit(knees, recalibrate)
    made = _files(found, fitted, outputs)
    write_outputs(made, force)
    print_table(VALIDATION_COLUMNS, validation_rows(found))
    _tell_withheld(console, found.parts)


def _tell_withheld(console: Console, parts: "Iterable[Part]") -> None:
    withheld = sum(bool(part.reason) for part in parts)
    if withheld:
        console.note(f"the numbers of {counted(withheld, 'group')} are withheld (column reason)")


# What asks for one time, and has no meaning over all of them.
_OF_ONE_TIME = (
    *("against", "within", "threshold", "prevalence", "compare"),
    *("recalibrate", "recalibration", "figure", "paragraph"),
)


def _over_time(
    console: Console, predictions: str, labels: str | None, groupings: "Sequence[Grouping]"
) -> None:
    """Validate risks at all their times, where labels say when it happened."""
    from oatools.scored.followed import read_followed, remarks
    from oatools.validation.over_time import validate_over_time
    from oatools.validation.tables import VALIDATION_COLUMNS, part_rows

    context = click.get_current_context()
    for name in _OF_ONE_TIME:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise UsageError(
                f"--{name} is of one time, and the labels say when it happened",
                "say within which, with --at 24m for example",
            )
    knees = read_followed(predictions, labels, [each.column for each in groupings])
    for remark in remarks(knees):
        console.note(remark)
    caution = {CAUTION_COLUMN: caution_cell(knees.cautions)}
    parts = validate_over_time(knees, groupings)
    print_table(VALIDATION_COLUMNS, [row | caution for row in part_rows(parts)])
    _tell_withheld(console, parts)


def _read(
    console: Console,
    predictions: str,
    labels: str | None,
    tables: dict[str, str],
    cells: list[str],
    name: str,
    at: float | None,
) -> "ScoredKnees":
    from oatools.scored.knees import read_scored, remarks

    knees = read_scored(predictions, labels, tables, cells=cells, name=name, at=at)
    for remark in remarks(knees):
        console.note(remark)
    return knees


def _changed(knees: "ScoredKnees", within: str | None, threshold: float | None) -> "ScoredKnees":
    from oatools.scored.knees import with_threshold, within_cells

    if within is not None:
        knees = within_cells(knees, within)
    if threshold is not None:
        knees = with_threshold(knees, threshold)
    return knees


def _files(
    found: "Validation", fitted: "Recalibration | None", outputs: dict[str, Path | None]
) -> dict[str, tuple[Path, bytes]]:
    """The contents of the files that are asked for, by option."""
    made: dict[str, tuple[Path, bytes]] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if option == "--compare":
            from oatools.validation.tables import DIFFERENCE_COLUMNS, difference_rows

            made[option] = path, table_bytes(DIFFERENCE_COLUMNS, difference_rows(found))
        elif option == "--recalibration" and fitted is not None:
            from oatools.learning.recalibration import recalibration_bytes

            made[option] = path, recalibration_bytes(fitted)
        elif option == "--paragraph":
            from oatools.validation.paragraph import describe_validation

            made[option] = path, describe_validation(found, fitted).encode()
        elif option == "--figure":
            made[option] = path, _figure(path.suffix[1:], found)
    return made


def _refuse_repeated(groupings: "list[Grouping]") -> None:
    columns = [grouping.column for grouping in groupings]
    for column in columns:
        if columns.count(column) > 1:
            raise UsageError(f"--by {column} is there twice", "give it once")


def _figure(kind: str, found: "Validation") -> bytes:
    from oatools.report.figures import encode_marked
    from oatools.validation.calibration import calibration_curve
    from oatools.validation.figure import validation_figure

    figure = validation_figure(found, calibration_curve(found.knees))
    return encode_marked(figure, kind, found.knees.cautions)
