"""The options that commands share, and the frame in which each of them runs: messages, signals, exit status."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import oatools
from oatools.core.console import Console
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import COMPRESSION
from oatools.core.runner import RunOptions

Decorator = Callable[[Callable], Callable]

# One item, one thread: parallel work is asked for with -j or GNU parallel, which would otherwise oversubscribe.
_PINNED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


class _ClosedPipe(Exception):
    """Standard output was closed by its reader."""


class _Framed:
    """Gives a click command one-line errors and the exit statuses that shells and schedulers rely on."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; click itself would answer a closed pipe with status 1."""
        try:
            return super().invoke(context)  # type: ignore[misc]
        except BrokenPipeError:
            raise _ClosedPipe from None

    def main(self, args: Any = None, prog_name: str | None = None, **_: Any) -> None:
        name = self.name or prog_name or "oatools"
        if sys.stderr is None:  # oa-n4 2>&-
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
        if sys.stdout is None:  # oa-n4 >&-
            sys.exit(141)
        console = Console(name)
        try:
            _prepare()
            status = super().main(args, name, standalone_mode=False, obj=console)  # type: ignore[misc]
            sys.stdout.flush()
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else name
            Console(command).error(f"{error.format_message()} (see {command} --help)")
            status = 2
        except (UsageError, click.ClickException) as error:
            console.error(error.format_message() if isinstance(error, click.ClickException) else str(error))
            status = 2
        except ItemError as error:
            console.error(str(error))
            status = 1
        except (_ClosedPipe, BrokenPipeError):
            # To see it: oa-n4 *.nii.gz -o n4 | head -n 1
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = 141
        except (KeyboardInterrupt, click.Abort):
            console.error("interrupted")
            status = 130
        except OSError as error:
            console.error(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
            status = 1
        sys.exit(status or 0)


class Command(_Framed, click.Command):
    """A command of the toolkit."""


class Group(_Framed, click.Group):
    """A command with subcommands."""

    command_class = click.Command


def command(name: str, **attributes: Any) -> Callable[[Callable], Command]:
    """Make a function a command: it gets a `Console` first, then its options, and returns an exit status or None."""

    def decorate(function: Callable) -> Command:
        return click.command(name, cls=Command, **_settings(attributes))(_with_console(function))

    return decorate


def group(name: str, **attributes: Any) -> Callable[[Callable], Group]:
    """Make a function the head of a command with subcommands (`@head.command("draw")` with `verbosity`)."""

    def decorate(function: Callable) -> Group:
        return click.group(name, cls=Group, **_settings(attributes))(_version(function))

    return decorate


def subcommand(parent: Group, name: str, **attributes: Any) -> Callable[[Callable], click.Command]:
    """Make a function a subcommand of a group, with a `Console` first, as in `command`."""

    def decorate(function: Callable) -> click.Command:
        return parent.command(name, **_settings(attributes))(_with_console(function, versioned=False))

    return decorate


def inputs_argument(metavar: str = "[PATH|TABLE.tsv|-]...") -> Decorator:
    """What the command works on: paths or tables, standard input by default."""

    def decorate(function: Callable) -> Callable:
        function = click.argument("inputs", nargs=-1, metavar=metavar)(function)
        return click.option(
            "-0",
            "--null",
            "null_separated",
            is_flag=True,
            help="Paths on standard input are separated by NUL (find -print0).",
        )(function)

    return decorate


def out_dir_option(what: str, required: bool = True) -> Decorator:
    """The folder that outputs go to."""
    return click.option(
        "-o",
        "--out",
        "out_dir",
        required=required,
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Folder for {what}; made if missing.",
    )


def compress_option(function: Callable) -> Callable:
    """How volumes are compressed, as `compression`."""
    return click.option(
        "--compress",
        "compression",
        type=click.IntRange(0, 3),
        default=COMPRESSION,
        show_default=True,
        metavar="LEVEL",
        help="1 (fast) to 3 (small) writes .nii.gz, 0 writes .nii.",
    )(function)


def force_option(function: Callable) -> Callable:
    """Do the work again even where it was done."""
    return click.option("-f", "--force", is_flag=True, help="Do work again that is already done, and replace it.")(
        function
    )


def seed_option(function: Callable) -> Callable:
    """The seed of everything random."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of everything random.",
    )(function)


def jobs_option(what: str = "items") -> Decorator:
    """How many items are worked on at a time."""
    return click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 512),
        default=1,
        show_default=True,
        envvar="OA_JOBS",
        metavar="N",
        help=f"{what[0].upper()}{what[1:]} at a time; the results do not depend on it.",
    )


def run_options(function: Callable) -> Callable:
    """`-j`, `--failed` and `--fail-fast`, handed over together as `run`, a `RunOptions`."""

    @functools.wraps(function)
    def wrapper(*args: Any, jobs: int, failed: Path | None, fail_fast: bool, **kwargs: Any) -> Any:
        return function(*args, run=RunOptions(jobs, failed, fail_fast), **kwargs)

    wrapper = click.option("--fail-fast", is_flag=True, help="Stop at the first item that fails.")(wrapper)
    wrapper = click.option(
        "--failed",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the rows that failed, with a column 'error', as a table to run again.",
    )(wrapper)
    return jobs_option()(wrapper)


def require_inputs(inputs: tuple[str, ...]) -> None:
    """Refuse to wait for a person at a terminal to type a table."""
    if not inputs and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("nothing to do: name files, or pipe a table or paths to standard input (see --help)")


def _settings(attributes: dict[str, Any]) -> dict[str, Any]:
    return {"context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100}, **attributes}


def _version(function: Callable) -> Callable:
    return click.version_option(
        oatools.__version__, "--version", message="%(prog)s %(version)s", help="Show the version and exit."
    )(function)


def _with_console(function: Callable, versioned: bool = True) -> Callable:
    @functools.wraps(function)
    def wrapper(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        context = click.get_current_context()
        console = context.obj if isinstance(context.obj, Console) else Console(context.info_name or "oatools")
        console.quiet, console.verbose = quiet, verbose
        return function(console, *args, **kwargs)

    wrapper = click.option("-v", "--verbose", is_flag=True, help="One line an item on standard error.")(wrapper)
    wrapper = click.option("-q", "--quiet", is_flag=True, help="Only errors on standard error.")(wrapper)
    return _version(wrapper) if versioned else wrapper


def _prepare() -> None:
    """Pin thread pools; let SIGTERM (Slurm's) and SIGHUP (a lost terminal) unwind, so that temporary files go."""
    for variable in _PINNED:
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")  # locks hang on network file systems; renames decide here
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is kept
                signal.signal(number, lambda received, _: sys.exit(128 + received))
