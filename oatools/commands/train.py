"""oa-train: a model from the features and labels of all knees."""

from pathlib import Path

import click

from oatools.commands.training_options import Study, open_cohort, study_options
from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.manifest import print_table
from oatools.core.options import force_option, inputs_argument, seed_option

COLUMNS = [
    "path",
    "endpoint",
    "knees",
    "patients",
    "positives",
    "epochs",
    "best_epoch",
    "validation_knees",
    "validation_roc_auc",
    "threshold",
]


@command("oa-train")
@inputs_argument("[FEATURES.tsv|-]...")
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="MODEL.safetensors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The model to write.",
)
@study_options
@click.option(
    "--resume",
    is_flag=True,
    help="Go on where an interrupted run of the same inputs and settings stood.",
)
@seed_option
@force_option
def main(console: Console, study: Study, out: Path, resume: bool, seed: int, force: bool) -> int:
    """Train a model on all knees that have features and a label.

    A fifth of the patients is set apart to choose the epoch and the threshold. Prints one row: the
    model's path and how training went. How good the model is, oa-cv tells.
    """
    cohort, endpoint, _, status = open_cohort(console, study)
    import numpy as np

    from oatools.core.files import digest_json
    from oatools.learning.checkpoint import Checkpoint
    from oatools.learning.crossval import candidates, model_record
    from oatools.learning.files import is_done, load_model, save_model
    from oatools.learning.workers import fit_best

    everyone, tried = np.arange(len(cohort)), candidates(study.settings, study.tune)
    record = model_record(cohort, everyone, tried, seed, endpoint)
    if kept := is_done(out, record["made_from"], force):
        model = load_model(out)
    else:
        left = out.with_name(out.name + ".resume")
        if left.exists() and not resume:
            console.note(
                f"an interrupted run left {left}; --resume goes on from it, this run does not"
            )

        def train_one(*arguments):  # noqa: ANN002, ANN202
            made_from = digest_json([record["made_from"], arguments[2].as_dict()])
            return Checkpoint(left, made_from).fit(*arguments, resume=resume)

        model = save_model(out, fit_best(cohort, everyone, tried, seed, train_one), **record)
    said = model.record
    values = (
        out,
        endpoint,
        len(cohort),
        len(set(cohort.subject)),
        cohort.label.sum(),
        said["epochs"],
        said["best_epoch"],
        len(said["validation_knees"]),
        f"{said['validation_roc_auc']:.4f}",
        f"{model.threshold:.6f}",
    )
    print_table(
        COLUMNS, [{c: "" if v is None else str(v) for c, v in zip(COLUMNS, values, strict=True)}]
    )
    console.note(
        f"{out} kept"
        if kept
        else f"{out} trained, {said['epochs']} epochs, the best {said['best_epoch']}"
    )
    return status
