"""The frame in which every command runs: one-line errors, signals, exit status."""

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from oatools.core.console import Console, silence_libraries
from oatools.core.errors import ItemError, UsageError
from oatools.core.forms import watched
from oatools.core.helptext import EXIT_STATUS, GENERAL, Example, Manual, grouped, write_help
from oatools.core.signals import INTERRUPTED, unwinding
from oatools.core.suggestions import did_you_mean, with_meant
from oatools.version import __version__

# What libraries take from the environment, unless it is set there.
_ENVIRONMENT = {
    # One thread an item: parallel work is asked for with -j or GNU parallel, and would otherwise
    # oversubscribe the cores.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    # Locks hang on network file systems; here renames decide.
    "HDF5_USE_FILE_LOCKING": "FALSE",
    # PyTorch makes this folder as soon as its compiler is imported, as by an optimiser. Nothing is
    # compiled here, so it is one that is there already.
    "TORCHINDUCTOR_CACHE_DIR": os.sep,
    # A download of weights says what for, and no more.
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

# Options that messages call by their short form; all others go by the long one.
_CALLED_BY_SHORT_FORM = ("-j", "-o", "-v")

# How click begins to tell of a value that is none of the choices.
_REFUSED = re.compile(r"'([^']*)' is not ")

_CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _ClosedPipe(Exception):
    """Standard output was closed by its reader."""


class _Explained(click.Command):
    """Gives a click command the toolkit's form of help."""

    manual = Manual()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does, its arguments, groups of options, and examples."""
        write_help(self, self.manual, ctx, formatter)


class _Framed(_Explained):
    """Gives a click command one-line errors and the exit statuses that schedulers rely on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Click itself would answer a closed pipe with status 1, and take the end of a file for an
        interrupt.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ClosedPipe from None
        except EOFError as error:
            raise OSError(str(error) or "a file ends too early") from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command and end the process with its exit status."""
        name = self.name or prog_name or "oatools"
        _prepare()
        console = Console(name)
        try:
            with unwinding():
                status = super().main(args, name, standalone_mode=False, obj=console)
            sys.stdout.flush()
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else name
            Console(command).error(f"{_told(error)} (see {command} --help)")
            status = 2
        except click.ClickException as error:
            console.error(error.format_message())
            status = 2
        except (UsageError, ItemError) as error:
            console.error(console.describe(error))
            status = 2 if isinstance(error, UsageError) else 1
        except (_ClosedPipe, BrokenPipeError):
            # To see it: oa-n4 *.nii.gz -o n4 | head -n 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = 141
        except (KeyboardInterrupt, click.Abort):
            status = INTERRUPTED
        except SystemExit as end:
            status = end.code
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            console.error(f"{where}{error.strerror or error}")
            status = 1
        if status == INTERRUPTED:
            console.error("interrupted")
        sys.exit(status or 0)


class Command(_Framed):
    """A command of the toolkit."""


class Group(_Framed, click.Group):
    """A command with subcommands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that is called, or say which one is like it."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            meant = did_you_mean(name, self.commands) or f"there are {', '.join(self.commands)}"
            ctx.fail(f"there is no subcommand '{name}'; {meant}")
        return super().resolve_command(ctx, args)


def command(
    name: str,
    examples: Sequence[Example] = (),
    status: str = EXIT_STATUS,
    **attributes: Any,
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command, called with a `Console` first and then with its options.

    The function returns an exit status, or None for 0. Help and man page show the examples, and the
    help what the exit `status` means.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        make = click.command(name, cls=Command, context_settings=_CONTEXT_SETTINGS, **attributes)
        made = make(_with_console(function))
        made.manual = Manual(examples, status)
        return made

    return decorate


def group(
    name: str, examples: Sequence[Example] = (), **attributes: Any
) -> Callable[[Callable[..., Any]], Group]:
    """Make a function the head of a command with subcommands, which `add_command` adds."""

    def decorate(function: Callable[..., Any]) -> Group:
        make = click.group(name, cls=Group, context_settings=_CONTEXT_SETTINGS, **attributes)
        made = make(_version(function))
        made.manual = Manual(examples)
        return made

    return decorate


def subcommand(
    name: str, examples: Sequence[Example] = (), **attributes: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a subcommand, for `Group.add_command`, with a `Console` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        make = click.command(name, cls=_Explained, context_settings=_CONTEXT_SETTINGS, **attributes)
        made = make(_with_console(function, versioned=False))
        made.manual = Manual(examples)
        return made

    return decorate


def option_names(command: click.Command) -> dict[str, str]:
    """Map each parameter of a command to the option that messages name: `out_dir` to `-o`.

    An option that is hidden, such as an old name kept for a release, is never named.
    """
    names = {}
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.name is None or parameter.hidden:
            continue
        flags = [*parameter.opts, *parameter.secondary_opts]
        short = [flag for flag in flags if flag in _CALLED_BY_SHORT_FORM]
        long = [flag for flag in flags if flag.startswith("--")]
        names[parameter.name] = (short or long or flags)[0]
    return names


def _told(error: click.UsageError) -> str:
    """Return what is wrong with a call, and which option or value may have been meant."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        flags = [flag for each in error.ctx.command.params for flag in _flags(each)]
        told = f"there is no option {error.option_name}"
        return with_meant(told, error.option_name, [*flags, "--help"])
    told = error.format_message()
    if isinstance(error, click.BadParameter) and isinstance(error.param, click.Option):
        word = _REFUSED.match(error.message)
        if word and isinstance(error.param.type, click.Choice):
            return with_meant(told.rstrip("."), word[1], map(str, error.param.type.choices))
    return told


def _flags(parameter: click.Parameter) -> list[str]:
    """Return the long forms of an option that is shown."""
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return []
    return [each for each in (*parameter.opts, *parameter.secondary_opts) if each[:2] == "--"]


def _version(function: Callable[..., Any]) -> Callable[..., Any]:
    option = click.version_option(
        __version__,
        "--version",
        message="%(prog)s %(version)s",
        help="Show the version and exit.",
    )
    return grouped(GENERAL, option)(function)


def _with_console(function: Callable[..., Any], versioned: bool = True) -> Callable[..., Any]:
    """Hand a `Console` to a function, first, and add the options `--quiet` and `--verbose`."""

    @functools.wraps(function)
    def wrapper(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        silence_libraries()
        context = click.get_current_context()
        console = context.obj
        if not isinstance(console, Console):
            console = Console(context.info_name or "oatools")
        console.quiet, console.verbose = quiet, verbose
        console.options = option_names(context.command)
        with watched() as forms:
            status = function(console, *args, **kwargs)
        for line in forms.said():
            console.note(line)
        return status

    verbose_option = click.option(
        "-v", "--verbose", is_flag=True, help="Print one line for each item on standard error."
    )
    quiet_option = click.option(
        "-q", "--quiet", is_flag=True, help="Print only errors on standard error."
    )
    with_options = grouped(GENERAL, quiet_option)(grouped(GENERAL, verbose_option)(wrapper))
    return _version(with_options) if versioned else with_options


def _prepare() -> None:
    """See to what every command needs: somewhere to write, and libraries that are told what to do.

    Ends the process where standard output is closed.
    """
    if sys.stderr is None:  # oa-n4 2>&-
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if sys.stdout is None:  # oa-n4 >&-
        sys.exit(141)
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
