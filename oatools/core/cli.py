"""The frame in which every command runs: one-line errors, signals, exit status."""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from oatools.core.console import Console, silence_libraries
from oatools.core.errors import ItemError, UsageError
from oatools.core.forms import watched
from oatools.core.signals import INTERRUPTED, unwinding
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

_CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _ClosedPipe(Exception):
    """Standard output was closed by its reader."""


class _Framed(click.Command):
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
            Console(command).error(f"{error.format_message()} (see {command} --help)")
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


def command(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command, called with a `Console` first and then with its options.

    The function returns an exit status, or None for 0.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        make = click.command(name, cls=Command, context_settings=_CONTEXT_SETTINGS, **attributes)
        return make(_with_console(function))

    return decorate


def group(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Group]:
    """Make a function the head of a command with subcommands, which `add_command` adds."""

    def decorate(function: Callable[..., Any]) -> Group:
        make = click.group(name, cls=Group, context_settings=_CONTEXT_SETTINGS, **attributes)
        return make(_version(function))

    return decorate


def subcommand(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a subcommand, for `Group.add_command`, with a `Console` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        make = click.command(name, context_settings=_CONTEXT_SETTINGS, **attributes)
        return make(_with_console(function, versioned=False))

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


def _version(function: Callable[..., Any]) -> Callable[..., Any]:
    option = click.version_option(
        __version__,
        "--version",
        message="%(prog)s %(version)s",
        help="Show the version and exit.",
    )
    return option(function)


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
    wrapper = quiet_option(verbose_option(wrapper))
    return _version(wrapper) if versioned else wrapper


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
