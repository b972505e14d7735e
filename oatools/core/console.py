"""Messages of a command on standard error, and how far it is."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oatools.core.errors import OatoolsError
from oatools.core.terminal import CLEAR, has_line, printable

if TYPE_CHECKING:
    from oatools.core.progress import Line

#: Pauses between lines of progress where there is no terminal: the first, and the longest.
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
    _line: "Line | None" = field(default=None, repr=False)
    _total: int | None = field(default=None, repr=False)
    _said: int = field(default=0, repr=False)
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
        """Show how far it is while the block runs: on a terminal whose rows go elsewhere, a line.

        `total` is the number of rows, None where it is not known.
        """
        self._total = total
        if self.quiet or not has_line():
            yield
            return
        from oatools.core.progress import Line

        with Line(self.name, total) as line:
            self._line = line
            try:
                yield
            finally:
                self._line = None

    def advance(self, state: str, count: int, failed: int) -> None:
        """Take the counts so far; without a line, say the `state` at growing intervals."""
        if self._line is not None:
            self._line.advance(count, failed)
            return
        now = time.monotonic()
        seconds = now - self._said_at
        if seconds > self._pause and count != self._total:
            from oatools.core.progress import left_text, rate_text

            lately = count - self._said
            left = left_text(count, self._total, lately, seconds)
            rate = rate_text(lately, seconds)
            self.note(", ".join(filter(None, [f"{state} so far", rate, left])))
            self._said_at, self._said = now, count
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    def _print(self, message: str) -> None:
        text = printable(" ".join(message.split()))
        # On a terminal, the line of a pipe may stand there.
        line = f"{CLEAR if has_line() else ''}{self.name}: {text}\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
            sys.stderr.flush()
