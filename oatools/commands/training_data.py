"""The reading of training data that oa-train and oa-cv begin with, and what is said of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.commands.training_options import TrainingRun
from oatools.core.claims import inputs_of
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.failures import FailedTable
from oatools.core.files import check_outputs, is_same_file
from oatools.core.manifest import MISSING, BadRow, Row, read_rows, read_table, tables_among
from oatools.core.options import require_inputs
from oatools.core.repeats import Repeats
from oatools.core.runner import item_name

if TYPE_CHECKING:
    from oatools.learning.load import Loaded


def read_training_data(console: Console, run: TrainingRun, columns: Sequence[str] = ()) -> "Loaded":
    """Read the knees that have features and a label, and say what was left out.

    `columns` of the labels are kept in the rows of the cohort.
    """
    require_inputs(run.inputs)
    if len(set(run.sequences)) < len(run.sequences):
        raise UsageError("a sequence is named twice", "each is joined once")
    if run.labels == "-" and (not run.inputs or "-" in run.inputs):
        raise UsageError(
            "standard input cannot be both the features and the labels",
            "name a file for one of them",
        )
    if run.labels != "-":
        Path(run.labels).stat()  # what is not there is told before libraries are loaded for seconds
    from oatools.learning.load import load_training_data
    from oatools.learning.reader import Selection

    features = read_rows(run.inputs, run.null_separated)
    failures = None
    if run.failed is not None:
        kept = [column for column in features.columns if column != "error"]
        failures = FailedTable(run.failed, kept)
        features = features.with_rows(_noted(features.rows, failures), features.total)
    selection = Selection(
        clinical=(run.clinical,) if run.clinical else (),
        slices=run.settings.slices,
        sequences=run.sequences,
        augmented=run.settings.augmented,
        columns=tuple(columns),
        on_failure="stop" if run.fail_fast else "leave out",
        any_sequence=run.any_sequence,
        allow_label_leakage=run.allow_label_leakage,
    )
    loaded = load_training_data(features, read_table(run.labels), selection, run.endpoint)
    _report_failures(console, loaded, failures)
    if loaded.flow.failed and run.fail_fast:
        raise click.exceptions.Exit(1)
    _say_counts(console, loaded)
    for doubt in loaded.doubts:
        console.note(f"warning: {doubt}")
    if loaded.leaks and run.allow_label_leakage:
        console.note(f"warning: {loaded.leak_message()}")
    elif loaded.leaks:
        loaded.refuse_leaks()
    return loaded


def require_safe(
    run: TrainingRun, outputs: Mapping[str, Path], more: Iterable[str | None] = ()
) -> None:
    """Raise a `UsageError` if an output, or the table of failures, would destroy a table.

    The tables are those of the run, and `more`. The features may be a table of failures
    themselves: what has been done since is taken out of it.
    """
    named = [run.labels, run.clinical, *more]
    read = [*tables_among(run.inputs), *(path for path in named if path is not None)]
    check_outputs(outputs, read, force=True)
    check_outputs({**outputs, "--failed": run.failed}, force=True)


def require_no_features(path: Path, rows: Iterable[Row]) -> None:
    """Raise a `UsageError` if a file that is to be replaced holds the features of a row."""
    if not path.exists():
        return
    for row in rows:
        for name in inputs_of(row):
            if is_same_file(path, Path(name)):
                raise UsageError(f"{path} holds features that are read", "give another `out_dir`")


def _noted(rows: Iterator[Row | BadRow], failures: FailedTable) -> Iterator[Row | BadRow]:
    """Pass the rows on, and note in the table of failures that this run has dealt with them."""
    for row in rows:
        if not isinstance(row, BadRow):
            failures.tried(row)
        yield row


def _report_failures(console: Console, loaded: "Loaded", failures: FailedTable | None) -> None:
    repeats = Repeats(console)
    for row, error in loaded.flow.failed:
        message = console.describe(error)
        repeats.error(item_name(row), message, row)
        if failures is not None and not isinstance(row, BadRow):
            failures.add({**row, "error": " ".join(message.split())})
    repeats.say_rest()
    if failures is not None:
        failures.finish()


def _say_counts(console: Console, loaded: "Loaded") -> None:
    import numpy as np

    from oatools.learning.cautions import features_warning
    from oatools.learning.sequences import several

    cohort, flow = loaded.cohort, loaded.flow
    knees, patients, positive = len(cohort), len(set(cohort.subject)), int(cohort.label.sum())
    share = 100 * positive / knees
    kind, lacked = "positive", "label"
    if cohort.follow_up is not None:
        kind, lacked = "with the event", "follow-up"
    lacking = f" (of which {flow.incomplete} lack a sequence)" if flow.incomplete else ""
    console.note(
        f"{knees} knees of {patients} patients used, {positive} {kind} ({share:.1f} %); "
        f"{flow.without_label} without {lacked}, "
        f"{flow.without_features} without features{lacking}, "
        f"{len(flow.failed)} with unusable features"
    )
    found = [] if cohort.joined else [row.get("sequence", MISSING) for row in cohort.rows]
    if several(found):
        console.note(f"warning: knees of several sequences are taken for one: {several(found)}")
    unknown = found.count(MISSING)
    if unknown:
        console.note(
            f"the sequence of {unknown} of {knees} knees is not known: name it in the column "
            "'sequence', so that the model can tell other images from its own"
        )
    for name, values in zip(cohort.clinical_names, cohort.clinical.T, strict=True):
        missing = int(np.isnan(values).sum())
        if missing:
            console.note(
                f"'{name}' is missing in {missing} of {knees} knees: "
                "the training knees' median is put in"
            )
    for caution in cohort.cautions:
        console.note(features_warning(caution))
