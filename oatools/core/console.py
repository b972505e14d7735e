"""What a command says on standard error: one line a message, a progress bar on a terminal, a summary at the end."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

SPARSE_SECONDS = 60.0


@dataclass
class Console:
    """Messages of one command, each prefixed by its name. `quiet` leaves errors only; `verbose` adds a line an item."""

    name: str
    quiet: bool = False
    verbose: bool = False
    _bar: "object | None" = field(default=None, repr=False)
    _said_at: float = field(default_factory=time.monotonic, repr=False)
    _pause: float = field(default=SPARSE_SECONDS, repr=False)

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
        """Show a bar while the block runs, if standard error is a terminal and the rows do not already show there."""
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

        columns = [TextColumn(self.name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"),
                   TimeElapsedColumn(), TimeRemainingColumn()]  # fmt: skip
        with Progress(*columns, console=Terminal(stderr=True), transient=True, redirect_stdout=False) as bar:
            task = bar.add_task(self.name, total=total, state="")
            self._bar = (bar, task)
            try:
                yield
            finally:
                self._bar = None

    def advance(self, state: str) -> None:
        """Count one more item; without a terminal, say the state now and then, at growing intervals."""
        if self._bar is not None:
            bar, task = self._bar  # type: ignore[misc]
            bar.update(task, advance=1, state=state)
        elif time.monotonic() - self._said_at > self._pause:
            self.note(f"{state} so far")
            self._said_at, self._pause = time.monotonic(), min(self._pause * 2, 3600.0)

    def _print(self, message: str) -> None:
        # A cell may hold what would move a terminal's cursor, or end the line.
        shown = "".join(
            c if c.isprintable() or "\udc80" <= c <= "\udcff" else "\ufffd" for c in " ".join(message.split())
        )
        line = f"{self.name}: {shown}\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            sys.stderr.flush()
