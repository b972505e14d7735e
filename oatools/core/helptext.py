"""What `--help` shows of a command, and in which order: options in named groups, and examples.

The man pages are built from the same parts.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Groups of options that many commands have; a command names its own.
INPUT, OUTPUT, RUNNING, GENERAL = "Input", "Output", "Running", "Messages and help"
#: The group of options that are in none.
OTHERS = "Options"

EXIT_STATUS = "0: all done; 1: some items failed; 2: unusable call, nothing done."

_groups: "WeakKeyDictionary[click.Parameter, str]" = WeakKeyDictionary()
_abouts: "WeakKeyDictionary[click.Parameter, str]" = WeakKeyDictionary()


class Example(NamedTuple):
    """A line, or some, that a user could type, and what it is for."""

    what: str
    line: str


class Group(NamedTuple):
    """A group of options: its title, and each option as it is written and what it does."""

    title: str
    options: list[tuple[str, str]]


class Manual(NamedTuple):
    """What help and man page say of a command beside its options."""

    examples: Sequence[Example] = ()
    status: str = EXIT_STATUS


def heading(title: str) -> Decorator:
    """Put the options below this decorator into the group of that title.

    It goes down to the next heading; options that commands share have groups of their own.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for parameter in _parameters(function):
            _groups.setdefault(parameter, title)
        return function

    return decorate


def grouped(title: str, add: Decorator) -> Decorator:
    """Return a decorator that adds options as `add` does, and puts these alone into a group."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        before = len(_parameters(function))
        function = add(function)
        for parameter in _parameters(function)[before:]:
            _groups.setdefault(parameter, title)
        return function

    return decorate


def argument(name: str, about: str, **attributes: Any) -> Decorator:
    """Add an argument, as `click.argument` does, with a text for the help."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.argument(name, **attributes)(function)
        _abouts[_parameters(function)[-1]] = about
        return function

    return decorate


def _parameters(function: Callable[..., Any]) -> list[click.Parameter]:
    """The parameters that decorators have added so far, the last one first in the call."""
    return getattr(function, "__click_params__", [])


def arguments_of(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    """Return how each argument is written, and what it is."""
    found = []
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Argument):
            found.append((parameter.make_metavar(context), _abouts.get(parameter, "")))
    return found


def option_groups(command: click.Command, context: click.Context) -> list[Group]:
    """Return the options of a command in their groups, in the order of the first of each."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or isinstance(parameter, click.Argument):
            continue
        usual = GENERAL if parameter is command.get_help_option(context) else OTHERS
        title = _groups.get(parameter, usual)
        groups.setdefault(title, []).append(record)
    last = [title for title in (OUTPUT, RUNNING, GENERAL) if title in groups]
    titles = [title for title in groups if title not in last] + last
    return [Group(title, groups[title]) for title in titles]


def write_help(
    command: click.Command, manual: Manual, context: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write the whole help of a command."""
    command.format_usage(context, formatter)
    command.format_help_text(context, formatter)
    arguments = arguments_of(command, context)
    if arguments:
        with formatter.section("Arguments"):
            formatter.write_dl(arguments)
    if isinstance(command, click.Group):
        with formatter.section("Commands"):
            formatter.write_dl(list(_subcommands(command)))
    for group in option_groups(command, context):
        with formatter.section(group.title):
            formatter.write_dl(group.options)
    if manual.examples:
        formatter.write_paragraph()
        formatter.write_heading("Examples")
        for example in manual.examples:
            formatter.write(f"  # {example.what}\n")
            formatter.write("".join(f"  {line}\n" for line in example.line.splitlines()))
    formatter.write_paragraph()
    page = context.command_path.split()[0]
    formatter.write(f"Exit status: {manual.status}\nManual: man {page}\n")


def _subcommands(command: click.Group) -> Iterator[tuple[str, str]]:
    """Yield the name of each subcommand, and its first sentence, whole."""
    for name, part in command.commands.items():
        yield name, first_sentence(part)


def first_sentence(command: click.Command) -> str:
    """Return what a command does, in one sentence: the first paragraph of its help."""
    text = inspect.cleandoc(command.help or "").split("\f")[0]
    return " ".join(text.split("\n\n")[0].split())
