"""oa-cv: how good a model is, by cross-validation grouped by patient."""

from dataclasses import replace
from pathlib import Path

import click

from oatools.commands.training_options import Study, open_cohort, rerun_line, study_options
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import print_table, write_table
from oatools.core.options import (
    force_option,
    inputs_argument,
    jobs_option,
    out_dir_option,
    seed_option,
)

LEAKY = "knees and not patients are split, so that both knees of a person can be on both sides: results are too good"


class _Held(click.ParamType):
    """A column and one of its values: `site=E`."""

    name = "COLUMN=VALUE"

    def convert(self, value, param, ctx):  # noqa: ANN001, ANN201
        """Turn the text into its two halves."""
        column, _, of = value.partition("=")
        if not column or not of:
            self.fail(f"'{value}' is not COLUMN=VALUE, such as site=E", param, ctx)
        return column, of


@command("oa-cv")
@inputs_argument("[FEATURES.tsv|-]...")
@out_dir_option("folds, models, metrics and report")
@click.option(
    "-k", "--folds", type=click.IntRange(2), metavar="N", help="Number of folds (default: 5)."
)
@click.option(
    "--folds-file", metavar="TABLE.tsv", help="Take the folds from this table (knee, fold) instead."
)
@click.option(
    "--hold-out",
    type=_Held(),
    metavar="COLUMN=VALUE",
    help="No folds: test on the knees with this value in the labels, train on the others.",
)
@click.option(
    "--stratify",
    multiple=True,
    metavar="COLUMN",
    help="Spread this column of the labels over the folds too, such as site. Repeatable.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Do it all N times, with other folds and seeds.",
)
@click.option(
    "--leaky",
    is_flag=True,
    help="Split knees, not patients. For comparison only: results are too good.",
)
@click.option(
    "--compare/--no-compare",
    default=True,
    show_default=True,
    help="Score images alone, clinical variables alone and a linear model beside.",
)
@click.option(
    "--permute-labels",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Do it N times more with permuted labels: what no signal looks like.",
)
@study_options
@click.option(
    "--bootstrap",
    type=click.IntRange(10),
    default=1000,
    show_default=True,
    metavar="N",
    help="Draws of patients for the 95 % intervals.",
)
@seed_option
@force_option
@jobs_option("models")
def main(
    console: Console,
    study: Study,
    out_dir: Path,
    folds: int | None,
    folds_file: str | None,
    hold_out: tuple[str, str] | None,
    stratify: tuple[str, ...],
    repeats: int,
    leaky: bool,
    compare: bool,
    permute_labels: int,
    bootstrap: int,
    seed: int,
    force: bool,
    jobs: int,
) -> int:
    """Cross-validate a model: folds grouped by patient and stratified by label.

    Prints the out-of-fold predictions, and writes to -o: folds.tsv (before any training), a model a
    fold, predictions.tsv, metrics.tsv, figures, report.html and model-card.md. Simpler models are
    scored beside.
    """
    given = [
        name
        for name, on in (("--folds", folds), ("--folds-file", folds_file), ("--hold-out", hold_out))
        if on
    ]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other: each says how the knees are divided"
        )
    if (folds_file or hold_out) and (repeats > 1 or stratify):
        raise UsageError(f"{given[0]} leaves nothing for --repeats or --stratify to decide")
    cohort, endpoint, flow, status = open_cohort(
        console, study, [*stratify, *([hold_out[0]] if hold_out else [])]
    )
    from oatools.learning import crossval
    from oatools.learning.folds import Division
    from oatools.report.crossval import write_report

    if leaky:
        console.note(f"warning: {LEAKY}; for comparison only")
    division = Division(folds or 5, folds_file, hold_out, stratify, leaky)
    plan = crossval.Plan(
        crossval.candidates(study.settings, study.tune), seed, endpoint, leaky, compare, jobs, force
    )
    result = crossval.validate(cohort, division, plan, out_dir, console.note, console.detail)
    if permute_labels:
        null = crossval.null_distribution(
            cohort, result.fold, plan, out_dir, permute_labels, division.drawn, console.detail
        )
        result = replace(result, null=null)
        rows = [{"permutation": str(n), "roc_auc": f"{v:.6f}"} for n, v in enumerate(null, start=1)]
        write_table(out_dir / "null.tsv", ["permutation", "roc_auc"], rows)
    metrics = crossval.metric_rows(cohort, result, bootstrap, seed)
    if repeats > 1:
        metrics += crossval.repeat(
            cohort, division, plan, out_dir, result, repeats, console.note, console.detail
        )
    found = {row["knee"]: row for row in crossval.prediction_rows(cohort, result)}
    predictions = [found[knee] for knee in flow.order if knee in found]
    cautions = [*cohort.cautions, *([LEAKY] if leaky else [])]
    write_report(
        out_dir,
        cohort,
        flow,
        result,
        predictions,
        metrics,
        cautions,
        rerun_line(click.get_current_context()),
        {"seed": seed, "bootstrap draws": bootstrap, "repeats": repeats},
    )
    print_table(crossval.PREDICTION_COLUMNS, predictions)
    for line in crossval.headlines(metrics):
        console.note(line)
    console.note(
        f"{result.trained} models trained, {result.kept} kept; see {out_dir / 'report.html'}"
    )
    return status
