"""The options that commands share."""

import functools
import math
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import click

from oatools.core.errors import UsageError
from oatools.core.files import COMPRESSION
from oatools.core.helptext import INPUT, OUTPUT, RUNNING, Decorator, argument, grouped
from oatools.core.outfolder import names_file
from oatools.core.replacing import Replace
from oatools.core.runner import RunOptions

#: Time for an item, unless another is given: far above that of any whole scan.
TIMEOUT_SECONDS = 1800.0


class Numbers(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """Whole numbers separated by commas, such as `50,50,30`, as a tuple.

    `lengths` says how many there may be; each is at least 1. With `auto`, that word
    is accepted too, and becomes None. `what` describes the list in messages.
    """

    def __init__(
        self,
        what: str,
        lengths: Container[int] = range(1, sys.maxsize),
        auto: bool = False,
    ) -> None:
        self.name = "auto|N,N,..." if auto else "N,N,..."
        self.what = what
        self.lengths = lengths
        self.auto = auto

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | None:
        """Turn the text into a tuple; a value that is one already stays."""
        if value is None or isinstance(value, tuple):
            return value
        if self.auto and value == "auto":
            return None
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in self.lengths or min(numbers, default=1) < 1:
            self.fail(f"{value!r} is not a list of {self.what}", param, ctx)
        return numbers


class Months(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """Months separated by commas, such as `12m,24m` or `12,24`, as a tuple; each more than 0.

    `most` says how many there may be.
    """

    name = "MONTHS"

    def __init__(self, most: int = sys.maxsize) -> None:
        self.most = most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn the text into a tuple; a value that is one already stays."""
        if isinstance(value, tuple):
            return value
        try:
            months = tuple(float(part.strip().removesuffix("m")) for part in value.split(","))
        except ValueError:
            months = ()
        if not months or not all(0 < each < math.inf for each in months):
            self.fail(f"{value!r} is not a list of months, such as 12m,24m", param, ctx)
        if len(months) > self.most:
            self.fail(f"{value!r} names {len(months)} times; one is asked for", param, ctx)
        return months


#: The endings of figures that are drawn.
FIGURES = (".png", ".svg")
# The endings of files that are made from data: a folder is not called so, but by mistake.
_OF_FILES = (
    *(".nii.gz", ".nii", ".img", ".hdr", ".h5", ".safetensors", ".pt", ".tsv", ".csv", ".txt"),
    *(".json", ".png", ".jpg", ".jpeg", ".pdf", ".svg", ".html", ".htm", ".xlsx", ".zip", ".gz"),
    ".dcm",
)


class OutPath(click.ParamType):  # type: ignore[type-arg]  # no generic class in older click
    """The folder that outputs go to, or, with one of the endings `one`, the one file to write."""

    name = "DIR"

    def __init__(self, one: tuple[str, ...] = ()) -> None:
        self.one = one

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Turn the text into a path that can become a folder, or such a file."""
        path = Path(value)
        if names_file(path, self.one) or path.is_dir():
            return path
        takes = "a folder" if not self.one else f"a folder, or the name of one {self.one[0]} file"
        if path.exists():
            self.fail(f"'{path}' is a file, and {takes} is needed", param, ctx)
        if path.name.lower().endswith(_OF_FILES):
            self.fail(f"'{path}' has the name of a file, and {takes} is needed", param, ctx)
        return path


def inputs_argument(
    metavar: str = "[PATH|TABLE.tsv|-]...",
    about: str = "Volumes, or tables of them (column 'path').",
) -> Decorator:
    """Add the inputs (paths or tables, by default standard input), and `-0`."""
    whole = f"{about} Without any, or for -, a table or paths are read from standard input."
    null_option = click.option(
        "-0",
        "--null",
        "null_separated",
        is_flag=True,
        help="Paths on standard input are separated by NUL (find -print0).",
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = argument("inputs", whole, nargs=-1, metavar=metavar)(function)
        return grouped(INPUT, null_option)(function)

    return decorate


def out_dir_option(
    what: str, required: bool = True, one: Sequence[str] = (), of_one: str = "for one input"
) -> Decorator:
    """Add `-o`, the folder for `what`, as `out_dir`.

    It may be the name of the one file to write, too, where that has one of the endings `one`:
    `of_one` says of what.
    """
    alone = f"; or NAME{one[0]}, {of_one}" if one else ""
    option = click.option(
        "-o",
        "--out",
        "out_dir",
        required=required,
        metavar="DIR|FILE" if one else "DIR",
        type=OutPath(tuple(one)),
        help=f"Folder for {what}, made if missing{alone}.",
    )
    return grouped(OUTPUT, option)


def compress_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--compress`, the level at which volumes are compressed, as `compression`."""
    option = click.option(
        "--compress",
        "compression",
        type=click.IntRange(0, 3),
        default=COMPRESSION,
        show_default=True,
        metavar="LEVEL",
        help="1 (fast) to 3 (small) writes .nii.gz, 0 writes .nii.",
    )
    return grouped(OUTPUT, option)(function)


def force_option(
    function: Callable[..., Any],
    help: str = "Do work again that is already done, and replace it.",
) -> Callable[..., Any]:
    """Add `--force`, to replace what is there already."""
    return grouped(OUTPUT, click.option("-f", "--force", is_flag=True, help=help))(function)


def replacing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--update` and `--force`, handed over as `replacing`, a `Replace`."""

    @functools.wraps(function)
    def wrapper(*args: Any, update: bool, force: bool, **kwargs: Any) -> Any:
        replacing = Replace.OUTDATED if update else Replace.NOTHING
        if force:
            replacing = Replace.ANYTHING
        return function(*args, replacing=replacing, **kwargs)

    update_option = click.option(
        "-u",
        "--update",
        is_flag=True,
        help="As for make: do work again whose input or settings have changed, and touch what is "
        "kept.",
    )
    return grouped(OUTPUT, update_option)(force_option(wrapper))


def file_option(flag: str, help: str, metavar: str = "FILE") -> Decorator:
    """Add an option for a file to write beside the table that is printed."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return grouped(OUTPUT, click.option(flag, type=kind, metavar=metavar, help=help))


def at_option(what: str) -> Decorator:
    """Add `--at`, months separated by commas, at which something is done."""
    return grouped(
        OUTPUT,
        click.option(
            "--at",
            type=Months(),
            default=(),
            metavar="MONTHS",
            help=f"{what}, such as 12m,24m [default: 12m,24m,48m,96m, as far as they go].",
        ),
    )


def time_option(what: str) -> Decorator:
    """Add `--at`, the months after which knees that are followed are asked for, by `what`."""

    def one(
        _context: click.Context, _parameter: click.Parameter, months: tuple[float, ...] | None
    ) -> float | None:
        return None if months is None else months[0]

    return click.option(
        "--at",
        type=Months(1),
        metavar="MONTHS",
        callback=one,
        help=f"{what}, such as 24m, where labels say when something happened; knees lost before "
        "have no label.",
    )


def figure_option(what: str) -> Decorator:
    """Add `--figure`, a file to draw `what` in, with one of the endings that are drawn."""

    def checked(
        _context: click.Context, _parameter: click.Parameter, path: Path | None
    ) -> Path | None:
        if path is not None and path.suffix not in FIGURES:
            raise UsageError(f"--figure {path}: a name that ends in .png or .svg is needed")
        return path

    option = click.option(
        "--figure",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        callback=checked,
        help=f"Draw {what}: .png or .svg.",
    )
    return grouped(OUTPUT, option)


def bootstrap_option(what: str) -> Decorator:
    """Add `--bootstrap`, the number of draws for `what`."""
    return click.option(
        "--bootstrap",
        type=click.IntRange(100),
        default=2000,
        show_default=True,
        metavar="N",
        help=f"Number of draws {what}.",
    )


def seed_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--seed`, the seed of all random numbers."""
    option = click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of all random numbers.",
    )
    return grouped(RUNNING, option)(function)


def jobs_option(what: str = "items") -> Decorator:
    """Add `-j`, the number of `what` to process at a time."""
    option = click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 512),
        default=1,
        show_default=True,
        envvar="OA_JOBS",
        metavar="N",
        help=f"Number of {what} to process at a time; the results do not depend on it.",
    )
    return grouped(RUNNING, option)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-j`, `--failed` and the other options of `RunOptions`, handed over as `run`."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        jobs: int,
        failed: Path | None,
        fail_fast: bool,
        timeout: float,
        no_header: bool,
        **kwargs: Any,
    ) -> Any:
        run = RunOptions(jobs, failed, fail_fast, timeout or None, header=not no_header)
        return function(*args, run=run, **kwargs)

    timeout_option = click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=TIMEOUT_SECONDS,
        show_default=f"{TIMEOUT_SECONDS:g}",
        metavar="SECONDS",
        help="Stop an item that takes longer, and let it fail; 0 for no limit.",
    )

    fail_fast_option = click.option(
        "--fail-fast", is_flag=True, help="Stop at the first item that fails."
    )
    failed_option = click.option(
        "--failed",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the rows that failed, with a column 'error', as a table to run again.",
    )
    no_header_option = click.option(
        "--no-header",
        is_flag=True,
        help="Print rows without the line of column names, to append them to a table.",
    )
    with_options: Callable[..., Any] = wrapper
    for option in (no_header_option, timeout_option, fail_fast_option, failed_option):
        with_options = grouped(RUNNING, option)(with_options)
    return jobs_option()(with_options)


def require_inputs(inputs: tuple[str, ...]) -> None:
    """Refuse to wait for a person at a terminal to type a table."""
    if not inputs and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(
            "nothing to do: name files, or pipe a table or paths to standard input (see --help)"
        )
