"""A table that a command writes beside its output, and that processes side by side may share.

Each adds the rows that are not there yet, one at a time, under a lock.
"""

import os
from collections.abc import Iterable, Sequence
from io import FileIO
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.files import shared
from oatools.core.manifest import MISSING


class SharedTable:
    """The table at `path` with such columns, for its owner alone if it is `private`.

    `what` it is and the `parameter` that names it stand in messages. A `UsageError` for a file that
    is there and is no such table.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], what: str, parameter: str, private: bool = False
    ) -> None:
        self.path = path
        self._header = "\t".join(columns) + "\n"
        self._what, self._parameter, self._private = what, parameter, private
        self._known: set[str] = set()
        self._read = 0
        self._add("")  # what is wrong with it is said before any work is done

    def add_row(self, cells: Iterable[str]) -> None:
        """Write a row, in the order of the columns, unless the same is there.

        Cells hold no tab or line break; an empty one is written as `n/a`.
        """
        line = "\t".join(_cell(text) for text in cells) + "\n"
        if line not in self._known:
            self._add(line)

    def _add(self, line: str) -> None:
        try:
            with shared(self.path, self._header.encode(), private=self._private) as stream:
                self._write(stream, line)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None

    def _write(self, stream: FileIO, line: str) -> None:
        """Read what other processes have added, and add a line that is not there yet."""
        size = stream.seek(0, os.SEEK_END)
        if size < self._read:  # it was replaced since
            self._known, self._read = set(), 0
        stream.seek(self._read)
        new = stream.readall() or b""
        if self._read == 0 and new and not new.startswith(self._header.encode()):
            raise UsageError(
                f"{self.path} is there and is no {self._what}: it would be lost",
                f"give another file with `{self._parameter}`",
            )
        self._known.update(new.decode("utf-8", "surrogateescape").splitlines(keepends=True))
        text = "" if line in self._known else line
        if not size:
            if self._private:
                os.fchmod(stream.fileno(), 0o600)  # where it was made empty beforehand
            text = self._header + text
        elif new and not new.endswith(b"\n"):  # the end of a process that was killed
            text = "\n" + text
        added = text.encode("utf-8", "surrogateescape")
        stream.write(added)
        self._read = size + len(added)
        self._known.add(line)


def _cell(text: str) -> str:
    """Return a text as a cell, without what would end it or the line."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split()) or MISSING
