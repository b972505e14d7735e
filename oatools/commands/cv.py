"""oa-cv: how good a model is, by cross-validation grouped by patient."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.commands.training_data import read_training_data, require_safe
from oatools.commands.training_options import (
    ColumnValue,
    TrainingRun,
    rerun_line,
    training_options,
    without_folders,
)
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.files import is_temporary
from oatools.core.helptext import Example, heading
from oatools.core.manifest import print_table, write_table
from oatools.core.options import (
    at_option,
    inputs_argument,
    jobs_option,
    out_dir_option,
    replacing_options,
    seed_option,
)
from oatools.core.replacing import Replace
from oatools.oai.reliability import SEM

if TYPE_CHECKING:
    from oatools.learning.results import CrossValidation

# Of these a cross-validation has one, however far it came.
_OWN = {"folds.tsv", "metrics.tsv", "predictions.tsv", "checksums.sha256", "fold-1.safetensors"}
# The tables of results, beside folds.tsv.
_TABLES = ("predictions.tsv", "metrics.tsv", "null.tsv", "left-out.tsv")


@command(
    "oa-cv",
    examples=(
        Example(
            "Two folds at a time",
            "oa-cv features.tsv --labels labels.tsv --clinical bmi --slices 8 -j 2 -o cv > "
            "predictions.tsv",
        ),
        Example(
            "From volumes, in one pipe",
            "oa-embed -o features < n4.tsv | oa-cv --labels labels.tsv -o cv > predictions.tsv",
        ),
    ),
)
@inputs_argument("[FEATURES.tsv|-]...", "Tables of features, as oa-embed prints them.")
@out_dir_option("folds, models, metrics and report")
@heading("Folds")
@click.option(
    "-k", "--folds", type=click.IntRange(2), metavar="N", help="Number of folds (default: 5)."
)
@click.option(
    "--folds-file", metavar="TABLE.tsv", help="Take the folds from this table (knee, fold) instead."
)
@click.option(
    "--hold-out",
    type=ColumnValue(),
    metavar="COLUMN=VALUE",
    help="Use no folds: test on the knees with this value in the labels, train on the others.",
)
@click.option(
    "--leave-out",
    metavar="COLUMN",
    help="Make each value of this column of the labels a fold, such as site, and tell how well it "
    "can be read from the features.",
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
    metavar="N",
    help="Cross-validate N times, with other folds and seeds (default: 5 below 1,000 patients).",
)
@click.option(
    "--leaky",
    is_flag=True,
    help="Split knees, not patients. For comparison only: results are optimistically biased.",
)
@heading("Comparison")
@click.option(
    "--compare/--no-compare",
    default=True,
    show_default=True,
    help="Also score images alone, clinical variables alone and a linear model.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="TABLE.tsv",
    help="Compare with these out-of-fold predictions (knee, label, probability, fold) of another "
    "run or program, in the same folds. Repeatable.",
)
@heading("Report")
@click.option(
    "--flow",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FLOW.tsv",
    help="Begin the report's flow of knees with this one, which oa-label --flow wrote with the "
    "labels.",
)
@click.option(
    "--sem",
    type=click.FloatRange(0, min_open=True),
    default=SEM,
    show_default=True,
    metavar="MM",
    help="Standard error of measurement of the joint space width, for what measurement error alone "
    "tells of a label that is made from it.",
)
@click.option(
    "--permute-labels",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Cross-validate N more times with permuted labels, to show what no signal looks like.",
)
@at_option("Judge risks at so many months, where knees are followed")
@training_options
@seed_option
@replacing_options
@jobs_option("models")
def main(
    console: Console,
    run: TrainingRun,
    out_dir: Path,
    folds: int | None,
    folds_file: str | None,
    hold_out: tuple[str, str] | None,
    leave_out: str | None,
    stratify: tuple[str, ...],
    repeats: int | None,
    leaky: bool,
    compare: bool,
    against: tuple[str, ...],
    flow: str | None,
    sem: float,
    permute_labels: int,
    at: tuple[float, ...],
    seed: int,
    replacing: Replace,
    jobs: int,
) -> int:
    """Cross-validate a model: folds grouped by patient and stratified by label.

    Prints the out-of-fold predictions, and writes to -o: folds.tsv (before any training), one model
    per fold, predictions.tsv, metrics.tsv, figures, report.html and model-card.md. Baselines are
    scored in the same folds.
    """
    ways = {
        "--folds": folds,
        "--folds-file": folds_file,
        "--hold-out": hold_out,
        "--leave-out": leave_out,
    }
    _check_division(ways, has_more=(repeats or 1) > 1 or bool(stratify))
    tables = {f"-o: {name}": out_dir / name for name in _TABLES}
    require_safe(run, tables, [folds_file, flow, *against])
    _refuse_own(against, out_dir)
    _require_own(out_dir, replacing)
    folds_table = {"-o: folds.tsv": out_dir / "folds.tsv"}  # it may be taken for --folds-file
    require_safe(run, folds_table)
    columns = [*stratify, *(hold_out or ())[:1], *([leave_out] if leave_out else [])]
    loaded = read_training_data(console, run, columns)
    from oatools.report.participants import read_label_flow

    labelling = read_label_flow(flow, loaded.flow.labelled) if flow else None
    from oatools.core.provenance import Caution
    from oatools.features.engine import best_device
    from oatools.learning import crossval
    from oatools.learning.against import put_beside, read_others
    from oatools.learning.cautions import MEANINGS
    from oatools.learning.folds import Splitter
    from oatools.learning.followup import times_of_cohort
    from oatools.learning.predictions import prediction_rows
    from oatools.learning.results import CONCORDANCE, MEAN, ROC_AUC, headlines
    from oatools.report.content import Report
    from oatools.report.crossval import write_report
    from oatools.report.yardstick import measurement_error
    from oatools.survival.crossval import follow_up_metrics

    if leaky:
        console.note(f"warning: {MEANINGS[Caution.LEAKY_SPLIT]}; for comparison only")
    plan = crossval.Plan(
        device=best_device(run.device),
        candidates=crossval.candidates(run.settings, run.tune),
        seed=seed,
        splitter=Splitter(folds or 5, folds_file, hold_out, leave_out, stratify, leaky),
        endpoint=loaded.endpoint,
        compare=compare,
        jobs=jobs,
        replacing=replacing,
        at=times_of_cohort(loaded.cohort.follow_up, at),
    )
    times = repeats or crossval.default_repeats(loaded.cohort, plan.splitter)
    others = {}
    if against:
        folds_of_runs = [plan.splitter.split(loaded.cohort, seed + n) for n in range(times)]
        others = read_others(against, loaded.cohort, folds_of_runs, plan.at)
    result = crossval.divide_and_validate(loaded.cohort, plan, out_dir, console)
    if leave_out:
        _tell_left_out(console, result, leave_out, out_dir / "left-out.tsv", seed)
    if permute_labels:
        null = crossval.null_distribution(
            loaded.cohort, result.fold, plan, out_dir, permute_labels, console
        )
        result = replace(result, null=null)
        area = CONCORDANCE if plan.at else ROC_AUC
        _write_null(out_dir / "null.tsv", area, null.tolist())
    result = put_beside(crossval.repeat(result, plan, out_dir, times, console), others)
    metrics = result.metrics() if not result.at else follow_up_metrics(result)
    paths = [run.labels, *(row["path"] for row in loaded.cohort.rows)]
    report = Report(
        result=result,
        flow=loaded.flow,
        labels=loaded.labels,
        doubts=[without_folders(doubt, paths) for doubt in loaded.warnings()],
        sem=sem,
        labelling=labelling,
        metrics=metrics,
        cautions=result.cautions,
        command=rerun_line(click.get_current_context()),
        seed=seed,
    )
    lost = write_report(out_dir, report)
    print_table(result.columns(), prediction_rows(result, order=loaded.flow.order))
    for line in [*headlines(metrics), *filter(None, [measurement_error(report)])]:
        console.note(line)
    if math.isnan(metrics.get(result.name, MEAN, metrics.main).low):
        console.note(
            "no interval: a class has no more patients than there are folds, or no knee is on the "
            "wrong side"
        )
    if plan.at and any(math.isnan(metric.value) for metric in metrics.in_scope(MEAN)):
        console.note(
            "n/a: in a fold nothing had happened by then, or nobody was followed for longer; give "
            "--at other times, or fewer --folds"
        )
    trained = sum(each.trained for each in result.runs)
    kept = sum(each.kept for each in result.runs)
    console.note(f"{trained} models trained, {kept} kept; see {out_dir / 'report.html'}")
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        said = f"{out_dir / lost[0]}{more} was removed since it was written"
        console.error(f"{said}; run the same command again")
    return 1 if loaded.flow.failed or lost else 0


def _check_division(
    ways: Mapping[str, object],
    has_more: bool,
) -> None:
    """Raise a `UsageError` for options that exclude each other."""
    given = [option for option, value in ways.items() if value]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other: each says how the knees are divided"
        )
    if has_more and given and given != ["--folds"]:
        raise UsageError(f"{given[0]} leaves nothing for --repeats or --stratify to decide")


def _tell_left_out(
    console: Console, result: "CrossValidation", column: str, path: Path, seed: int
) -> None:
    """Say and write which value each fold leaves out, and how well features give it away."""
    from oatools.learning.folds import LEFT_OUT_COLUMNS, left_out_rows
    from oatools.learning.probe import probe

    rows = left_out_rows(result.cohort, result.fold, column)
    write_table(path, LEFT_OUT_COLUMNS, rows)
    listed = ", ".join(f"{row['value']} in {row['fold']}" for row in rows if row["fold"] != "0")
    console.note(f"folds leave out {column} {listed}")
    rare = [row["value"] for row in rows if row["fold"] == "0"]
    if rare:
        console.note(f"{column} {', '.join(rare)}: one class alone, so that it is trained on only")
    found = probe(result.cohort, [row[column] for row in result.cohort.rows], seed)
    if found is None:
        console.note(f"too few patients to tell how well {column} can be read from the features")
        return
    console.note(
        f"{column} can be read from the features with an area of {found.area:.2f} (0.5 by chance), "
        f"and {100 * found.accuracy:.0f} % are right ({100 / found.values:.0f} % by chance); hold "
        "these folds against drawn ones with oa-validate --against"
    )


def _refuse_own(against: Sequence[str], out_dir: Path) -> None:
    """Raise a `UsageError` for a table to compare with that the run itself would write."""
    for path in against:
        if Path(path).resolve().parent == out_dir.resolve():
            raise UsageError(
                f"--against {path} is of the run itself", "name predictions of another one"
            )


def _require_own(out_dir: Path, replacing: Replace) -> None:
    """Raise a `UsageError` for a folder of other things, so that results are not strewn in it."""
    if replacing is Replace.ANYTHING or not out_dir.is_dir():
        return
    names = {path.name for path in out_dir.iterdir() if not is_temporary(path.name)}
    if names and not names & _OWN:
        raise UsageError(
            f"-o {out_dir} holds {min(names)}, and no cross-validation", "give a new folder"
        )


def _write_null(path: Path, name: str, areas: Sequence[float]) -> None:
    rows = []
    for number, area in enumerate(areas, start=1):
        rows.append({"permutation": str(number), name: f"{area:.6f}"})
    write_table(path, ["permutation", name], rows)
