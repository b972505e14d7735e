"""oa-cv: how good a model is, by cross-validation grouped by patient."""

from pathlib import Path

import click

from oatools.commands.training_options import Study, open_cohort, rerun_line, study_options
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import print_table
from oatools.core.options import command, force_option, inputs_argument, jobs_option, out_dir_option, seed_option

LEAKY = "knees and not patients are split, so that both knees of a person can be on both sides: results are too good"


@command("oa-cv")
@inputs_argument("[FEATURES.tsv|-]...")
@out_dir_option("folds, models, metrics and report")
@click.option("-k", "--folds", type=click.IntRange(2), metavar="N", help="Number of folds (default: 5).")
@click.option("--folds-file", metavar="TABLE.tsv", help="Take the folds from this table (knee, fold) instead.")
@click.option("--leaky", is_flag=True, help="Split knees, not patients. For comparison only: results are too good.")
@study_options
@click.option("--bootstrap", type=click.IntRange(10), default=1000, show_default=True, metavar="N",
              help="Draws of patients for the 95 % intervals.")  # fmt: skip
@seed_option
@force_option
@jobs_option("folds")
def main(
    console: Console, study: Study, out_dir: Path, folds: int | None, folds_file: str | None, leaky: bool,
    bootstrap: int, seed: int, force: bool, jobs: int,
) -> int:  # fmt: skip
    """Cross-validate a model: folds grouped by patient and stratified by label.

    Prints the out-of-fold predictions, and writes to -o: folds.tsv (before any training), a model a fold,
    predictions.tsv, metrics.tsv, figures and report.html. The clinical variables alone, if any, are scored beside.
    """
    if folds and folds_file:
        raise UsageError("--folds and --folds-file exclude each other: the table says how many folds there are")
    cohort, endpoint, order, status = open_cohort(console, study)
    from oatools.learning import crossval
    from oatools.learning import folds as splits
    from oatools.report.crossval import write_report

    if leaky:
        console.note(f"warning: {LEAKY}; for comparison only")
    if folds_file:
        fold = splits.read_folds(folds_file, cohort.knee, cohort.subject)
    else:
        fold = splits.assign_folds(cohort.subject, cohort.label, folds or 5, seed, leaky)
    if not leaky:
        splits.check_patients(cohort.subject, fold)
    splits.check_classes(cohort.label, fold)
    splits.write_folds(out_dir / "folds.tsv", cohort.knee, cohort.subject, fold, force)
    for line in splits.describe(cohort.subject, cohort.label, fold):
        console.note(line)
    if force:
        crossval.remove_models(out_dir)
    result = crossval.cross_validate(cohort, fold, study.settings, seed, out_dir, jobs, force, leaky,
                                     endpoint, console.detail)  # fmt: skip
    rows = {row["knee"]: row for row in crossval.prediction_rows(cohort, result)}
    metrics = crossval.all_metric_rows(cohort, result, bootstrap, seed)
    cautions = [*cohort.cautions, *([LEAKY] if leaky else [])]
    write_report(out_dir, cohort, result, [rows[knee] for knee in order], metrics, cautions,
                 rerun_line(click.get_current_context()), {"seed": seed, "bootstrap draws": bootstrap})  # fmt: skip
    print_table(crossval.PREDICTION_COLUMNS, [rows[knee] for knee in order])
    for line in crossval.headlines(metrics):
        console.note(line)
    console.note(
        f"{len(result.records) - result.kept} folds trained, {result.kept} kept; see {out_dir / 'report.html'}"
    )
    return status
