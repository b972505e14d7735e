"""The table of rows that failed (`--failed`), which processes side by side may share.

Under xargs and GNU parallel many processes name the same file, and each leaves its rows in it. A
row that was in the table before and is done now is taken out: the table holds what still fails.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core import manifest
from oatools.core.errors import UsageError
from oatools.core.manifest import Row

# What tells rows of the same columns apart.
_KEYS = ("knee", "sequence", "path")
_ERROR = "error"

_Key = tuple[str, ...]


@dataclass
class FailedTable:
    """The table at `path`, with the columns of a run's input and `error`.

    Raises a `UsageError` for a file that is there and is no such table: it would be lost.
    """

    path: Path
    columns: Sequence[str]
    _before: set[_Key] = field(default_factory=set)
    _tried: set[_Key] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.columns = [*self.columns, _ERROR]
        if self.path.exists() and self.path.stat().st_size:
            self._before = {_key(row) for row in self._rows()}

    def tried(self, row: Row) -> None:
        """Note that this run has dealt with a row, so that an older failure of it counts no more.

        Only rows that were in the table are kept in mind, however many there are.
        """
        if self._before:
            key = _key(row)
            if key in self._before:
                self._tried.add(key)

    def add(self, failed: Iterable[Row]) -> None:
        """Write the table anew: what others left in it, and the rows that failed in this run."""
        with self._alone():
            others = [row for row in self._rows() if _key(row) not in self._tried]
            manifest.write_table(self.path, self.columns, [*others, *failed])

    def _rows(self) -> list[Row]:
        """The rows of the table as it is now; none of one with other columns, which is replaced."""
        if not self.path.exists() or not self.path.stat().st_size:
            return []
        try:
            table = manifest.read_table(self.path)
            is_ours = _ERROR in table.columns
            rows = list(table.rows)
        except UsageError:
            is_ours = False
        if not is_ours:
            raise UsageError(
                f"{self.path} is there and is no table of failures: it would be lost",
                "give another file with `failed`",
            )
        return rows if list(table.columns) == list(self.columns) else []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from the table.

        The lock is on the file itself, and goes with its last holder, whatever becomes of that. As
        a table is replaced by another file, a process that waited may hold that of a file which is
        gone.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # Appending makes a file where there is none, and changes nothing where there is one.
            with self.path.open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                if _is_still_at(self.path, stream.fileno()):
                    yield
                    return


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _key(row: Row) -> _Key:
    return tuple(row.get(column, manifest.MISSING) for column in _KEYS)
