"""The folder that a run writes into, which must be the same from its first row to its last."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.manifest import Row
from oatools.core.runner import Done, Work


@dataclass
class IntoFolder:
    """Work on rows that writes into a folder; a row fails if that was removed or exchanged.

    A folder that is made anew by the next row would hold only what came later, while the table
    lists all. One that is missing at first counts from the first row that finds it.
    """

    folder: Path
    work: Work
    # Open, so that no other folder is taken for it: numbers of inodes are used again.
    _descriptor: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._require()

    def __call__(self, row: Row) -> Done:
        """Do the work on a row."""
        self._require()
        done = self.work(row)
        self._require()
        return done

    def after_rows(self, count: int) -> None:
        """Raise an `ItemError` if the folder that so many rows were written into is not there."""
        if self._descriptor is not None or (count and not self.folder.is_dir()):
            self._require_same()

    def __getstate__(self) -> tuple[Path, Work]:
        return self.folder, self.work

    def __setstate__(self, state: tuple[Path, Work]) -> None:
        self.folder, self.work = state
        self._descriptor = None
        self._require()

    def _require(self) -> None:
        if self._descriptor is None:
            self._open()
        else:
            self._require_same()

    def _require_same(self) -> None:
        is_same = False
        if self._descriptor is not None:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                is_same = os.path.samestat(os.fstat(self._descriptor), self.folder.stat())
        if not is_same:
            raise ItemError(
                f"{self.folder} was removed or exchanged since the run began",
                "what was in it is gone: run the same command again",
            )

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # not there yet, or said when something is written
            self._descriptor = None
