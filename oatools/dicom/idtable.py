"""The table of who is who: what stands in outputs, and what the headers say, for the user alone.

Nothing else that is written says it. The table is made where it is asked for, for its owner's eyes,
and processes side by side may share it: each adds the rows that are not there yet.
"""

import os
from io import FileIO
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.files import shared
from oatools.core.manifest import MISSING

COLUMNS = ("subject", "patient_id", "sequence", "description")

_HEADER = "\t".join(COLUMNS) + "\n"


class IdTable:
    """The table at `path`; a `UsageError` for a file that is there and is no such table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[str] = set()
        self._read = 0
        self._add("")  # what is wrong with it is said before any work is done

    def add(self, subject: str, patient_id: str, sequence: str, description: str) -> None:
        """Write down a series: as it is called, and whose it is by its header.

        Cells hold no tab or line break; an empty one is written as `n/a`. A row that is there is
        not written again.
        """
        cells = (_cell(text) for text in (subject, patient_id, sequence, description))
        line = "\t".join(cells) + "\n"
        if line not in self._known:
            self._add(line)

    def _add(self, line: str) -> None:
        try:
            with shared(self.path, _HEADER.encode(), private=True) as stream:
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
        if self._read == 0 and new and not new.startswith(_HEADER.encode()):
            raise UsageError(
                f"{self.path} is there and is no table of ids: it would be lost",
                "give another file with `id_table`",
            )
        self._known.update(new.decode("utf-8", "surrogateescape").splitlines(keepends=True))
        text = "" if line in self._known else line
        if not size:
            os.fchmod(stream.fileno(), 0o600)  # where it was made empty beforehand
            text = _HEADER + text
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
