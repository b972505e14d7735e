"""Where a run writes: a folder, the same from its first row to its last, or one file."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, BadRow, Row, Table
from oatools.core.runner import Done, Work

#: The endings of the one file that `-o` may name: of a volume, a feature file, a page of oa-view.
VOLUME, FEATURES, PAGE = (".nii.gz", ".nii"), (".h5",), (".html", ".htm")

# The columns of a row that name the files made for it.
_MADE = ("path", "heat")


def names_file(out: Path, endings: Sequence[str]) -> bool:
    """Tell whether `-o` names the one file to write, by its ending, and not a folder."""
    return bool(endings) and out.name.endswith(tuple(endings)) and not out.is_dir()


def for_one_file(table: Table[Row | BadRow], out: Path) -> Table[Row | BadRow]:
    """Return a table of which the first row alone goes to the file `out`; all others fail."""

    def rows() -> Iterator[Row | BadRow]:
        for count, row in enumerate(table.rows, start=1):
            if count == 1 or isinstance(row, BadRow):
                yield row
            else:
                name = row.get("path", MISSING)
                reason = f"{out} is one file, and this is input {count}"
                yield BadRow(name, reason, remedy="give `out_dir` a folder")

    return table.with_rows(rows(), table.total)


@dataclass
class IntoFolder:
    """Work on rows that writes into a folder; a row fails if that was removed or exchanged.

    A folder that is made anew by the next row would hold only what came later, while the table
    lists all. One that is missing at first counts from the first row that finds it.

    With `touches`, outputs that are kept get the present time, by which make knows that they are
    newer than what they were made from.
    """

    folder: Path
    work: Work
    touches: bool = False
    # Open, so that no other folder is taken for it: numbers of inodes are used again.
    _descriptor: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._require()

    def __call__(self, row: Row) -> Done:
        """Do the work on a row."""
        self._require()
        done = self.work(row)
        self._require()
        if self.touches and done.kept:
            for column, path in done.cells.items():
                # Those of further sequences of a knee are called heat:SEQUENCE.
                if column.partition(":")[0] in _MADE:
                    os.utime(path)
        return done

    def after_rows(self, count: int) -> None:
        """Raise an `ItemError` if the folder that so many rows were written into is not there."""
        if self._descriptor is not None or (count and not self.folder.is_dir()):
            self._require_same()

    def __getstate__(self) -> tuple[Path, Work, bool]:
        return self.folder, self.work, self.touches

    def __setstate__(self, state: tuple[Path, Work, bool]) -> None:
        self.folder, self.work, self.touches = state
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
