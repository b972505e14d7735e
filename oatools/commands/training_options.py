"""The options that oa-train and oa-cv share, and the loading of the knees that both begin with."""

import dataclasses
import functools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, BadRow, Row, Table, read_rows, read_table, write_table
from oatools.core.options import Numbers, require_inputs
from oatools.core.runner import item_name
from oatools.learning.settings import CHOICES, TUNABLE, Settings

if TYPE_CHECKING:
    from oatools.learning.cohort import Cohort, Flow

# What says how a run went about its work, not what came out of it.
_NOT_RERUN = ("jobs", "force", "quiet", "verbose", "failed", "fail_fast", "resume")


@dataclass(frozen=True)
class Study:
    """What is asked of a training run: the tables, what to take from them, and the settings."""

    inputs: tuple[str, ...]
    null_separated: bool
    labels: str
    clinical: str | None
    endpoint: str | None
    sequence: tuple[str, ...]
    failed: Path | None
    fail_fast: bool
    allow_telltale: bool
    tune: tuple[tuple[str, tuple], ...]
    settings: Settings


def study_options(function: Callable) -> Callable:
    """`--labels`, `--clinical` and the rest, with one option a training setting, handed over as one `Study`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **values: Any) -> Any:
        settings = Settings(**{f.name: values.pop(f.name) for f in dataclasses.fields(Settings)})
        own = {
            f.name: values.pop(f.name) for f in dataclasses.fields(Study) if f.name != "settings"
        }
        return function(*args, study=Study(**own, settings=settings), **values)

    for option in reversed(
        [
            *_table_options(),
            *map(_setting_option, dataclasses.fields(Settings)),
            *_failure_options(),
        ]
    ):
        wrapper = option(wrapper)
    return wrapper


def open_cohort(
    console: Console, study: Study, also: Sequence[str] = ()
) -> "tuple[Cohort, str | None, Flow, int]":
    """Read the knees that have features and a label, and say what was left out; keep the columns `also` of the labels.

    Returns the cohort, the endpoint that its labels are of, how the tables became the cohort, and
    the exit status so far: 1 if a feature file could not be used.
    """
    require_inputs(study.inputs)
    if len(set(study.sequence)) < len(study.sequence):
        raise UsageError("a sequence is named twice; each is joined once")
    if study.labels == "-" and (not study.inputs or "-" in study.inputs):
        raise UsageError(
            "standard input cannot be both the features and the labels; name a file for one of them"
        )
    from oatools.learning.cohort import load_cohort, telltales
    from oatools.oai.clinical import clinical_set

    features = read_rows(study.inputs, study.null_separated)
    labels = read_table(study.labels)
    labels, named = (labels, None) if study.endpoint else _endpoint_of(labels)
    endpoint = study.endpoint or named
    names = clinical_set(study.clinical or "none", endpoint or "")
    wanted = study.settings
    cohort, flow = load_cohort(
        features,
        labels,
        names,
        wanted.slices,
        study.sequence,
        study.fail_fast,
        wanted.augmented,
        also,
    )
    for row, error in flow.failed:
        console.error(f"{item_name(row)}: {error}")
    if study.failed is not None:
        rows = [
            {**row, "error": " ".join(error.split())}
            for row, error in flow.failed
            if not isinstance(row, BadRow)
        ]
        write_table(study.failed, [*[c for c in features.columns if c != "error"], "error"], rows)
    if flow.failed and study.fail_fast:
        raise click.exceptions.Exit(1)
    _say_counts(console, cohort, flow)
    if found := telltales(cohort):
        text = f"{found[0]} alone tells the two classes apart without an error: was it made from the label?"
        if not study.allow_telltale:
            raise UsageError(f"{text} leave it out, or go on with --allow-telltale")
        console.note(f"warning: {text}")
    return cohort, endpoint, flow, 1 if flow.failed else 0


def _endpoint_of(labels: Table[Row]) -> tuple[Table[Row], str | None]:
    """The labels with their rows in memory, and the endpoint that their own column names.

    None where there is no such column; a `UsageError` where rows name different ones.
    """
    if "endpoint" not in labels.columns:
        return labels, None
    rows = list(labels.rows)
    named = {row["endpoint"] for row in rows} - {MISSING}
    if len(named) > 1:
        listed = ", ".join(sorted(named))
        raise UsageError(f"{labels.name} holds labels of several endpoints ({listed})", "keep one")
    return labels.with_rows(rows), named.pop() if named else None


def rerun_line(context: click.Context) -> str:
    """The command line that gives the same result. Folders of absolute paths are left out: they say where, not what."""
    inputs, options = [], []
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if isinstance(parameter, click.Argument):
            inputs = [_shown(v) for v in value or ["-"]]
        elif (
            name not in _NOT_RERUN
            and context.get_parameter_source(name) is not ParameterSource.DEFAULT
        ):
            flags = parameter.secondary_opts if value is False else parameter.opts
            flag = next(flag for flag in flags if flag.startswith("--"))
            for given in value if parameter.multiple else [value]:
                options += [flag] if isinstance(given, bool) else [flag, _shown(given)]
    return shlex.join([context.command.name or "", *inputs, *options])


def _shown(value: Any) -> str:
    if isinstance(value, tuple):  # a setting with values to try, or a list of units
        name, values = value if value and isinstance(value[-1], tuple) else ("", value)
        return f"{name.replace('_', '-')}=" * bool(name) + ",".join(map(str, values))
    path = Path(str(value))
    return path.name if path.is_absolute() else str(value)


def _say_counts(console: Console, cohort: "Cohort", flow: "Flow") -> None:
    import numpy as np

    positives, knees = int(cohort.label.sum()), len(cohort)
    console.note(
        f"{knees} knees of {len(set(cohort.subject))} patients used, {positives} positive "
        f"({100 * positives / knees:.1f} %); {flow.without_label} without label, {flow.without_features} "
        f"without features{_incomplete(flow)}, {len(flow.failed)} with unusable features"
    )
    for name, missing in zip(
        cohort.clinical_names, np.isnan(cohort.clinical).sum(axis=0), strict=True
    ):
        if missing:
            console.note(
                f"'{name}' is missing in {missing} of {knees} knees: the training knees' median is put in"
            )
    for caution in cohort.cautions:
        console.note(
            f"the features come from {caution}: they show that the pipe works, and nothing about patients"
        )


def _incomplete(flow: "Flow") -> str:
    return f" (of which {flow.incomplete} lack a sequence)" if flow.incomplete else ""


def _table_options() -> list[Callable]:
    return [
        click.option(
            "-l",
            "--labels",
            required=True,
            metavar="TABLE.tsv",
            help="Labels: knee, subject, label, and the clinical variables.",
        ),
        click.option(
            "-c",
            "--clinical",
            metavar="bmi|paper10|NAME,...",
            help="Clinical variables to add (none).",
        ),
        click.option(
            "--endpoint", metavar="NAME", help="What the label is, if the labels do not say."
        ),
        click.option(
            "-s",
            "--sequence",
            multiple=True,
            metavar="NAME",
            help="The sequence, where a knee has rows of several. Repeated, they are joined, each with its "
            "own pooling.",
        ),
        click.option(
            "--allow-telltale",
            is_flag=True,
            help="Go on although one variable or channel separates the classes without an error.",
        ),
        click.option(
            "--tune",
            multiple=True,
            type=_Values(),
            metavar="SETTING=X,X...",
            help="Try these values of a setting below; the lowest validation loss decides. Repeatable.",
        ),
    ]


def _failure_options() -> list[Callable]:
    return [
        click.option(
            "--failed",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write the rows that failed, with a column 'error', as a table to run again.",
        ),
        click.option(
            "--fail-fast", is_flag=True, help="Stop at the first feature file that fails."
        ),
    ]


def _setting_option(setting: dataclasses.Field) -> Callable:
    flag, text = "--" + setting.name.replace("_", "-"), setting.metadata["help"]
    if setting.name == "balanced":
        return click.option(
            "--balanced/--unbalanced", default=setting.default, show_default=True, help=text
        )
    if setting.name == "augmented":
        return click.option("--augmented", is_flag=True, help=text)
    kind = click.Choice(CHOICES[setting.name]) if setting.name in CHOICES else type(setting.default)
    kind = {"slices": int, "instance": Numbers("whole numbers, such as 256,128,64")}.get(
        setting.name, kind
    )
    metavar = {int: "N", float: "X"}.get(kind)
    shown = setting.default not in (None, ())
    return click.option(
        flag, type=kind, default=setting.default, show_default=shown, metavar=metavar, help=text
    )


class _Values(click.ParamType):
    """A setting and the values to try: `dropout=0.2,0.5`."""

    name = "SETTING=X,X..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, tuple]:
        """Turn the text into the setting's name and its values, of the setting's own type."""
        if isinstance(value, tuple):
            return value
        flag, _, text = value.partition("=")
        settings = {
            f.name.replace("_", "-"): f for f in dataclasses.fields(Settings) if f.name in TUNABLE
        }
        if flag not in settings or not text:
            self.fail(
                f"'{value}' is not SETTING=X,X... with one of {', '.join(settings)}", param, ctx
            )
        setting = settings[flag]
        kind = click.types.convert_type(
            click.Choice(CHOICES[setting.name])
            if setting.name in CHOICES
            else type(setting.default)
        )
        return setting.name, tuple(kind.convert(v, param, ctx) for v in text.split(","))
