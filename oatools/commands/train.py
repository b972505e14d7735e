"""oa-train: a model from the features and labels of all knees."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oatools.commands.training_data import read_training_data, require_no_features, require_safe
from oatools.commands.training_options import TrainingRun, training_options
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, heading
from oatools.core.manifest import print_table
from oatools.core.options import inputs_argument, replacing_options, seed_option
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.core.replacing import Replace

if TYPE_CHECKING:
    from oatools.learning.cohort import Cohort
    from oatools.learning.folds import Split
    from oatools.learning.model import FittedModel
    from oatools.learning.settings import Settings

_CHOSEN = ["epochs", "best_epoch", "validation_knees"]
# Where knees are followed there are events in place of positives, and no threshold.
COLUMNS = [
    *("path", "endpoint", "knees", "patients", "positives"),
    *_CHOSEN,
    *("validation_roc_auc", "threshold", "parts", CAUTION_COLUMN),
]
FOLLOWED_COLUMNS = [
    *("path", "endpoint", "knees", "patients", "events"),
    *_CHOSEN,
    *("validation_concordance", "months", "parts", CAUTION_COLUMN),
]


@command(
    "oa-train",
    examples=(
        Example(
            "The paper's best inputs for narrowing at 12 months",
            "oa-train features.tsv --labels labels.tsv --clinical bmi --slices 8 -o "
            "jsn12.safetensors",
        ),
        Example(
            "From volumes, in one pipe",
            "oa-embed -o features < n4.tsv | oa-train --labels labels.tsv -o jsn12.safetensors",
        ),
    ),
)
@inputs_argument("[FEATURES.tsv|-]...", "Tables of features, as oa-embed prints them.")
@heading("Output")
@click.option(
    "-o",
    "--out",
    "out_dir",
    required=True,
    metavar="MODEL.safetensors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The model to write.",
)
@training_options
@heading("Running")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where an interrupted run of the same inputs and settings stopped.",
)
@seed_option
@replacing_options
def main(
    console: Console,
    run: TrainingRun,
    out_dir: Path,
    resume: bool,
    seed: int,
    replacing: Replace,
) -> int:
    """Train a model on all knees that have features and a label.

    Each fifth of the patients is set aside in turn, to choose strengths, epoch, weights and
    threshold by. Prints one row: the model's path and how training went. oa-cv tells how good the
    model is.
    """
    out = out_dir
    left = out.with_name(out.name + ".resume")
    require_safe(run, {"-o": out, "the state of -o": left})
    loaded = read_training_data(console, run)
    cohort = loaded.cohort
    require_no_features(out, cohort.rows)
    from oatools.core.files import digest_json
    from oatools.features.engine import best_device
    from oatools.learning.checkpoint import Checkpoint
    from oatools.learning.crossval import candidates, model_record, wanted_record
    from oatools.learning.files import is_done, load_model, save_model
    from oatools.learning.folds import split_training
    from oatools.learning.mixture import parts_text
    from oatools.learning.workers import Task, fit_best, fit_best_on_device

    device = best_device(run.device)
    if resume and device != "cpu":
        raise UsageError("--resume goes on with a training on a CPU", "leave out --device or it")
    tried = candidates(run.settings, run.tune)
    split = split_training(cohort, run.settings.validation, seed)
    record = model_record(cohort, split, tried, seed, loaded.endpoint)

    def train_one(
        cohort: "Cohort", settings: "Settings", seed: int, split: "Split"
    ) -> "FittedModel":
        made_from = digest_json([record["made_from"], settings.as_dict()])
        checkpoint = Checkpoint(left, made_from, say=console.note)
        return checkpoint.fit(cohort, settings, seed, split, resume)

    wanted = wanted_record(record, tried, seed)
    if is_done(out, record["made_from"], replacing, console.note, wanted=wanted):
        model = load_model(out)
        outcome = "kept"
        if replacing is Replace.OUTDATED:
            os.utime(out)
    else:
        if left.exists() and not resume:
            console.note(
                f"an interrupted run left {left}; --resume goes on from it, this run does not"
            )
        if device == "cpu":
            best = fit_best(cohort, tried, seed, split, train_one)
        else:
            best = fit_best_on_device(cohort, Task(str(out), split, tried, seed), device)
        model = save_model(out, best, **record)
        said = model.record
        outcome = f"trained: {parts_text(said)}"
        if said["epochs"]:
            outcome += f"; {said['epochs']} epochs, the best {said['best_epoch']}"
    row = _row(out, cohort, model)
    row |= {"parts": parts_text(model.record), CAUTION_COLUMN: caution_cell(model.cautions)}
    print_table(COLUMNS if model.hazards is None else FOLLOWED_COLUMNS, [row])
    console.note(f"{out} {outcome}")
    return 1 if loaded.flow.failed else 0


def _row(out: Path, cohort: "Cohort", model: "FittedModel") -> dict[str, str]:
    record: dict[str, Any] = model.record
    row = {
        "path": str(out),
        "endpoint": record["endpoint"] or "",
        "knees": str(len(cohort)),
        "patients": str(len(set(cohort.subject))),
        "epochs": str(record["epochs"]),
        "best_epoch": str(record["best_epoch"]),
        "validation_knees": str(len(record["validation_knees"])),
    }
    area = f"{record['validation_roc_auc']:.4f}"
    if model.horizon is None:
        threshold = f"{record['threshold']:.6f}"
        positives = str(cohort.label.sum())
        return row | {
            "positives": positives,
            "validation_roc_auc": area,
            "threshold": threshold,
        }
    return row | {
        "events": str(cohort.label.sum()),
        "validation_concordance": area,
        "months": f"{record['hazards']['ends'][-1]:g}",
    }
