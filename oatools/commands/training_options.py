"""The options that oa-train and oa-cv share."""

import dataclasses
import functools
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from oatools.core.console import Console
from oatools.core.helptext import RUNNING, Decorator, grouped
from oatools.core.options import Numbers
from oatools.core.suggestions import with_meant
from oatools.learning.settings import MODEL, PRESETS, TRAINING, Option, Settings, options

# Parameters that say how a run went about its work, not what came out of it.
_NOT_RERUN = ("jobs", "force", "update", "quiet", "verbose", "failed", "fail_fast", "resume")

_FOLDERS = re.compile(r"(?<![^\s'\"(])/(?:[^/\s]+/)+")

# A group of options in the help, beside those of the settings.
_DATA = "Labels and features"

Tuned = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True)
class TrainingRun:
    """A training run as it is asked for: tables, what to take from them, and settings.

    `tune` holds settings and the values to try.
    """

    inputs: tuple[str, ...]
    null_separated: bool
    labels: str
    clinical: str | None
    endpoint: str | None
    sequences: tuple[str, ...]
    failed: Path | None
    fail_fast: bool
    any_sequence: bool
    allow_label_leakage: bool
    device: str
    tune: tuple[Tuned, ...]
    settings: Settings


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--labels`, `--clinical` and the rest, and one option for each training setting.

    They are handed over together as `run`, a `TrainingRun`.
    """

    @functools.wraps(function)
    def wrapper(console: Console, *args: Any, allow_telltale: bool, **values: Any) -> Any:
        if allow_telltale:
            console.note("warning: --allow-telltale is now called --allow-label-leakage")
            values["allow_label_leakage"] = True
            # For `rerun_line`, as if it had been given by its present name.
            context = click.get_current_context()
            context.params["allow_label_leakage"] = True
            context.set_parameter_source("allow_label_leakage", ParameterSource.COMMANDLINE)
        settings = _settings(values.pop("preset"), values)
        own = {}
        for field in dataclasses.fields(TrainingRun):
            if field.name != "settings":
                own[field.name] = values.pop(field.name)
        return function(console, *args, run=TrainingRun(**own, settings=settings), **values)

    decorated: Callable[..., Any] = wrapper
    settings_options = [grouped(MODEL, _preset_option())]
    for name, option in options().items():
        settings_options.append(grouped(option.group, _setting_option(name, option)))
    failure_options = [grouped(RUNNING, add) for add in _failure_options()]
    table_options = [grouped(title, add) for title, add in _table_options()]
    run_options = [grouped(title, add) for title, add in _run_options()]
    given = [*table_options, *settings_options, *run_options, *failure_options]
    for decorate in reversed(given):
        decorated = decorate(decorated)
    return decorated


def _settings(preset: str, values: dict[str, Any]) -> Settings:
    """Take the settings out of the options: those of the preset, but for what was given."""
    context = click.get_current_context()
    chosen = {name: values.pop(name) for name in options()}
    for name, value in PRESETS[preset].items():
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            chosen[name] = value
    return Settings(**chosen)


def rerun_line(context: click.Context) -> str:
    """Return the command line that gives the same result.

    Folders of absolute paths are left out: they say where, not what.
    """
    inputs: list[str] = []
    given: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if isinstance(parameter, click.Argument):
            inputs = [_path_text(each) for each in value or ["-"]]
            continue
        is_default = context.get_parameter_source(name) is ParameterSource.DEFAULT
        is_former = isinstance(parameter, click.Option) and parameter.hidden
        if name not in _NOT_RERUN and not is_default and not is_former:
            given += _option_words(parameter, value)
    return shlex.join([context.command.name or "", *inputs, *given])


def without_folders(text: str, paths: Iterable[str]) -> str:
    """Return a message for a report: folders of absolute paths say where, not what.

    `paths` are those that are known, so that blanks in them do not hide where they end.
    """
    for path in paths:
        text = text.replace(path, _path_text(path))
    return _FOLDERS.sub("", text)


def _option_words(parameter: click.Parameter, value: Any) -> Iterator[str]:
    flags = parameter.secondary_opts if value is False else parameter.opts
    flag = next(flag for flag in flags if flag.startswith("--"))
    for each in value if parameter.multiple else [value]:
        yield flag
        if not isinstance(each, bool):
            yield _value_text(parameter.type, each)


def _value_text(kind: "click.ParamType[Any]", value: Any) -> str:
    if isinstance(kind, ColumnValue | SettingValues):
        return kind.text(value)
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return _path_text(value)


def _path_text(value: Any) -> str:
    path = Path(str(value))
    return path.name if path.is_absolute() else str(value)


def _table_options() -> list[tuple[str, Decorator]]:
    return [
        (
            _DATA,
            click.option(
                "-l",
                "--labels",
                required=True,
                metavar="TABLE.tsv",
                help="Labels: knee, subject, label, and the clinical variables.",
            ),
        ),
        (
            _DATA,
            click.option(
                "-c",
                "--clinical",
                metavar="bmi|paper10|NAME,...",
                help="Clinical variables to add (default: none).",
            ),
        ),
        (
            _DATA,
            click.option(
                "--endpoint",
                metavar="NAME",
                help="Name of the endpoint, if the labels have no such column.",
            ),
        ),
        (
            _DATA,
            click.option(
                "-s",
                "--sequence",
                "sequences",
                multiple=True,
                metavar="NAME",
                help="Sequence to use if a knee has several; repeat to join sequences, each with "
                "its "
                "own pooling.",
            ),
        ),
        (
            _DATA,
            click.option(
                "--any-sequence",
                is_flag=True,
                help="Train on knees of different sequences as if they were of one.",
            ),
        ),
        (
            _DATA,
            click.option(
                "--allow-label-leakage",
                is_flag=True,
                help="Continue even if one variable or channel alone (nearly) tells the classes "
                "apart.",
            ),
        ),
        (_DATA, click.option("--allow-telltale", is_flag=True, hidden=True)),  # its former name
    ]


def _run_options() -> list[tuple[str, Decorator]]:
    return [
        (
            TRAINING,
            click.option(
                "--tune",
                multiple=True,
                type=SettingValues(),
                metavar="SETTING=X,X...",
                help="Try these values of a training setting; the lowest validation loss decides. "
                "Repeatable.",
            ),
        ),
        (
            RUNNING,
            click.option(
                "--device",
                default="cpu",
                show_default=True,
                metavar="cpu|cuda[:N]|auto",
                help="Device to train networks on; auto is the first GPU, or the CPU if there is "
                "none.",
            ),
        ),
    ]


def _failure_options() -> list[Decorator]:
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


def _preset_option() -> Decorator:
    return click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="default",
        show_default=True,
        help="Settings by name; paper is the model of Schiratti et al. (2021), one network alone. "
        "Other options change single settings of it.",
    )


def _setting_option(name: str, option: Option) -> Decorator:
    flag = _flag(name)
    default = getattr(Settings(), name)
    if option.opposite:
        return click.option(
            f"{flag}/--{option.opposite}", default=default, show_default=True, help=option.help
        )
    if option.kind is bool:
        return click.option(flag, is_flag=True, help=option.help)
    return click.option(
        flag,
        type=_kind(option),
        default=default,
        show_default=default not in (None, ()),
        metavar={int: "N", float: "X"}.get(option.kind) or _metavar(option),
        help=option.help,
    )


def _metavar(option: Option) -> str | None:
    """How a value is written, where click would put the name of its type in capitals."""
    return Words.name if option.kind is tuple and option.choices else None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(option: Option) -> "click.ParamType[Any]":
    if option.kind is tuple and option.choices:
        return Words(option.choices)
    if option.choices:
        return click.Choice(option.choices)
    if option.kind is tuple:
        return Numbers("whole numbers, such as 256,128,64")
    return click.types.convert_type(option.kind)


class Words(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """Some of a few words, separated by commas, or `none`."""

    name = "WORD,...|none"

    def __init__(self, choices: tuple[str, ...]) -> None:
        self.choices = choices

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Turn the text into words; what is a tuple already stays."""
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(",") if word.strip())
        if words == ("none",):
            return ()
        for word in words:
            if word not in self.choices:
                known = ", ".join(self.choices)
                told = f"'{word}' is none of {known}; give some of them, or none"
                self.fail(with_meant(told, word, self.choices), param, ctx)
        return words


class ColumnValue(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """A column and one of its values: `site=E`."""

    name = "COLUMN=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Turn the text into its two halves; a value that is a pair already stays."""
        if isinstance(value, tuple):
            return value
        column, _, of_column = value.partition("=")
        if not column or not of_column:
            self.fail(f"'{value}' is not COLUMN=VALUE, such as site=E", param, ctx)
        return column, of_column

    def text(self, value: tuple[str, str]) -> str:
        """Return the text that `convert` turns into a value."""
        return "=".join(value)


class SettingValues(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """A setting and the values to try: `dropout=0.2,0.5`."""

    name = "SETTING=X,X..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Tuned:
        """Turn the text into the setting's name and its values, of the setting's own type."""
        if isinstance(value, tuple):
            return value
        shown, _, text = value.partition("=")
        name = shown.replace("-", "_")
        tunable = {each: option for each, option in options().items() if option.tunable}
        if _flag(name) != f"--{shown}" or name not in tunable or not text:
            names = ", ".join(each.replace("_", "-") for each in tunable)
            told = f"'{value}' is not SETTING=X,X... with one of {names}"
            self.fail(with_meant(told, shown, names.split(", ")), param, ctx)
        kind = _kind(tunable[name])
        return name, tuple(kind.convert(each, param, ctx) for each in text.split(","))

    def text(self, value: Tuned) -> str:
        """Return the text that `convert` turns into a value."""
        name, values = value
        return f"{name.replace('_', '-')}={','.join(map(str, values))}"
