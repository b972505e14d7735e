"""The table of rows that failed (`--failed`), which processes side by side may share.

Under xargs and GNU parallel many processes name the same file, and each leaves its rows in it, as
they fail. A row that was in the table before and is done now is taken out at the end: the table
holds what still fails.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from sys import intern

from oatools.core import manifest
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import shared
from oatools.core.manifest import Row
from oatools.core.paths import other_kind

# What tells rows of the same columns apart.
_KEYS = ("knee", "sequence", "path")
_ERROR = "error"


@dataclass
class FailedTable:
    """The table at `path`, with the columns of a run's input and `error`.

    One with other columns is replaced. Raises a `UsageError` for a file that is there and is no
    such table: it would be lost.
    """

    path: Path
    columns: Sequence[str]
    # Of each row that was in the table before, a hash: there may be a million of them.
    _before: set[int] = field(default_factory=set)
    _tried: set[int] = field(default_factory=set)
    _failed_again: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind = other_kind(self.path)
        if kind:  # it would be waited for, or replaced
            raise UsageError(
                f"{self.path} is {kind}, not a table of failures", "give a file with `failed`"
            )
        self.columns = [*self.columns, _ERROR]
        with self._alone():
            self._before = {_key(row) for row in self._rows()}
            # Another file, whatever it held: a command may be reading the older one.
            manifest.write_table(self.path, self.columns, self._rows())

    def tried(self, row: Row) -> None:
        """Note that this run has dealt with a row, so that an older failure of it counts no more.

        Only rows that were in the table are kept in mind, however many there are.
        """
        if self._before:
            key = _key(row)
            if key in self._before:
                self._tried.add(key)

    def add(self, failed: Row) -> None:
        """Write a row that failed, with its `error`, into the table: all of it or nothing."""
        key = _key(failed)
        if key in self._before:  # where its row stands, at the end
            self._failed_again[key] = intern(failed.get(_ERROR, manifest.MISSING))
            return
        line = _line(self.columns, failed)
        with self._alone() as stream:
            end = os.fstat(stream.fileno()).st_size
            if (stream.write(line) or 0) < len(line):
                stream.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def finish(self) -> None:
        """Take out the rows that were in the table before and have not failed again."""
        if not self._tried and not self._failed_again:
            return
        with self._alone():
            manifest.write_table(self.path, self.columns, self._left())

    def _left(self) -> Iterator[Row]:
        for row in self._rows():
            key = _key(row)
            if key in self._failed_again:
                yield {**row, _ERROR: self._failed_again[key]}
            elif key not in self._tried:
                yield row

    def _rows(self) -> Iterator[Row]:
        """The rows of the table as it is now; none of one with other columns, which is replaced."""
        if not self.path.exists() or not self.path.stat().st_size:
            return
        try:
            table = manifest.read_table(self.path)
            if _ERROR not in table.columns:
                raise UsageError("no table of failures")
            for row in table.rows:
                if list(table.columns) == list(self.columns):
                    yield row
        except UsageError:
            raise UsageError(
                f"{self.path} is there and is no table of failures: it would be lost",
                "give another file with `failed`",
            ) from None

    def _alone(self) -> AbstractContextManager[FileIO]:
        """Keep other processes from the table, which is made where it is missing."""
        return shared(self.path, manifest.table_bytes(self.columns, []))


def _line(columns: Sequence[str], row: Row) -> bytes:
    """Return a row as the bytes of a line; what no table can hold is shown as U+FFFD."""
    try:
        line = manifest.format_row(columns, row)
    except ItemError:
        held = {name: "".join("\ufffd" if c in "\t\r\n" else c for c in row[name]) for name in row}
        line = manifest.format_row(columns, held)
    return line.encode("utf-8", "surrogateescape")


def _key(row: Row) -> int:
    return hash(tuple(row.get(column, manifest.MISSING) for column in _KEYS))
