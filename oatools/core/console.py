"""Messages of a command on standard error, and its progress bar where that is a terminal."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oatools.core.errors import OatoolsError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Pauses between lines of progress where there is no bar: the first, and the longest.
SPARSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3600.0


def silence_libraries() -> None:
    """Keep what libraries log off standard error, which has the lines of commands alone.

    Without a handler, Python prints their warnings there: of caches that they cannot write, for
    which they take a temporary folder, and of others that say nothing to a user.
    """
    import logging  # which a command that only prints its help need not wait for

    logging.getLogger().addHandler(logging.NullHandler())


@dataclass
class Console:
    """Messages of one command, each prefixed by its name.

    `quiet` leaves errors only, and `verbose` adds a line for each item. `options` maps parameter
    names to the command's options, by which `describe` calls them.
    """

    name: str
    quiet: bool = False
    verbose: bool = False
    options: dict[str, str] = field(default_factory=dict)
    _bar: "tuple[Progress, TaskID] | None" = field(default=None, repr=False)
    _said_at: float = field(default_factory=time.monotonic, repr=False)
    _pause: float = field(default=SPARSE_SECONDS, repr=False)

    def describe(self, error: OatoolsError) -> str:
        """Return an error as one line, with this command's options in place of parameter names."""
        return error.text(self.options)

    def error(self, message: str) -> None:
        """Say what failed, whatever the verbosity."""
        self._print(message)

    def note(self, message: str) -> None:
        """Say something that the user should know, unless quiet."""
        if not self.quiet:
            self._print(message)

    def detail(self, message: str) -> None:
        """Say something only when asked to be verbose."""
        if self.verbose:
            self._print(message)

    @contextlib.contextmanager
    def progress(self, total: int | None) -> Iterator[None]:
        """Show a bar while the block runs, if standard error is a terminal and rows go elsewhere.

        `total` is the number of rows, None where it is not known.
        """
        if self.quiet or not sys.stderr.isatty() or sys.stdout.isatty():
            yield
            return
        from rich.console import Console as Terminal
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = [
            TextColumn(self.name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(
            *columns, console=Terminal(stderr=True), transient=True, redirect_stdout=False
        ) as bar:
            task = bar.add_task(self.name, total=total, state="")
            self._bar = (bar, task)
            try:
                yield
            finally:
                self._bar = None

    def advance(self, state: str) -> None:
        """Count one more item; without a terminal, say the state at growing intervals."""
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, advance=1, state=state)
            return
        now = time.monotonic()
        if now - self._said_at > self._pause:
            self.note(f"{state} so far")
            self._said_at = now
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def _print(self, message: str) -> None:
        text = "".join(map(_shown, " ".join(message.split())))
        line = f"{self.name}: {text}\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            sys.stderr.flush()


def _shown(character: str) -> str:
    """Return the character, or U+FFFD for one that would move the cursor or end the line.

    Bytes of file names that are not UTF-8 stand as lone surrogates, which are written as they are.
    """
    is_undecoded_byte = "\udc80" <= character <= "\udcff"
    return character if character.isprintable() or is_undecoded_byte else "\ufffd"
