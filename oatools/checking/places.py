"""What there is to check: files named one by one, folders that are walked, rows of tables."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from oatools.checking.folders import (
    CROSSVAL_FILES,
    FOLD_MODEL,
    PAGE_FILES,
    REPEAT,
    Folders,
    expected_of_crossval,
    expected_of_page,
)
from oatools.core import outfolder
from oatools.core.errors import UsageError
from oatools.core.files import is_temporary
from oatools.core.manifest import MISSING, BadRow, Row, Table, is_table, read_rows
from oatools.core.paths import other_kind
from oatools.reading.pagefolder import READING
from oatools.viewing.page import VIEWING, is_one_file

VOLUME, SIDECAR, FEATURES, MODEL, TABLE = "volume", "sidecar", "features", "model", "table"
CROSSVAL, OTHER = "cross-validation", "file"
#: Pages, by their forms.
PAGE, VIEW = READING.what, VIEWING.what


_VOLUMES = (".nii.gz", ".nii")
_KINDS = {".nii.gz": VOLUME, ".nii": VOLUME, ".h5": FEATURES, ".safetensors": MODEL, ".tsv": TABLE}
# Files that belong to the volume of the same name.
_BESIDE = (".json", ".tsv", ".png")


@dataclass(frozen=True)
class Place:
    """A file to check: its path, and what it should be by its name and its folder.

    `is_named` is False for one that was found in a folder, where files of others are passed over.
    `folder` is that of a cross-validation or page that it belongs to. Feature files of one `group`
    must belong together. `knee` is that of the row that names the file.
    """

    path: str
    kind: str
    is_named: bool = True
    folder: str = ""
    group: str = ""
    knee: str = MISSING

    def row(self) -> Row:
        """Return the place as cells, from which `from_row` makes it again."""
        return {**asdict(self), "is_named": "yes" if self.is_named else ""}

    @classmethod
    def from_row(cls, row: Row) -> "Place":
        """Make a place of its cells."""
        return cls(**{**row, "is_named": bool(row["is_named"])})  # type: ignore[arg-type]


@dataclass
class Search:
    """A search for files to check, and the account of what it passed over.

    `passed_over` counts files that are not for this to judge; `leftovers` are what killed runs left
    behind, or others are still writing.
    """

    passed_over: int = 0
    leftovers: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _folders: Folders = field(default_factory=Folders)

    def places(
        self, arguments: Sequence[str], null_separated: bool = False
    ) -> Iterator[Place | BadRow]:
        """Yield what there is to check: files, what folders hold, and what tables name.

        Without arguments, a table or paths are read from standard input. A table that is an
        argument is itself checked, too. Folders that cannot be read, and lines of standard input
        that are no rows, come out as `BadRow`. Raises a `UsageError` where standard input holds no
        table.
        """
        if not arguments:
            yield from self._rows(read_rows([], null_separated), keep_bad=True)
        for argument in arguments:
            if argument == "-":
                yield from self._rows(read_rows(["-"]), keep_bad=True)
            elif is_table(argument) and not other_kind(argument):
                yield from self._path(argument)
                try:
                    yield from self._rows(read_rows([argument]), keep_bad=False)
                except UsageError:
                    continue  # the table's own check says why
            else:
                yield from self._path(argument)

    def _rows(self, table: Table[Row | BadRow], keep_bad: bool) -> Iterator[Place | BadRow]:
        """Yield the files that the rows of a table name, in the column `path` and others."""
        for row in table.rows:
            if isinstance(row, BadRow):
                if keep_bad:
                    yield row
                continue
            for column, cell in row.items():
                if cell != MISSING and (column == "path" or _extension(cell)):
                    own = row if table.headed else {}
                    yield from self._path(cell, own, table.name)

    def _path(self, path: str, row: Row | None = None, group: str = "") -> Iterator[Place | BadRow]:
        if other_kind(path) == "a folder":
            yield from self._folder(Path(path))
        else:
            yield from self._file(Path(path), True, row or {}, group)

    def _folder(self, top: Path) -> Iterator[Place | BadRow]:
        unreadable: list[OSError] = []
        for name, folders, files in os.walk(top, onerror=unreadable.append):
            folder = Path(name)
            self.leftovers += [str(folder / each) for each in folders if is_temporary(each)]
            folders[:] = sorted(each for each in folders if not is_temporary(each))
            form = self._folders.page(folder)
            if form is not None:
                yield from self._expected(expected_of_page(folder, form), form.what, folder)
            elif self._folders.is_crossval(folder):
                yield from self._expected(expected_of_crossval(folder), CROSSVAL, folder)
            for each in sorted(files):
                yield from self._file(folder / each, False, {}, "")
        for error in unreadable:
            yield BadRow(str(error.filename or top), error.strerror or str(error))

    def _expected(self, names: Iterable[str], kind: str, folder: Path) -> Iterator[Place]:
        """Yield what must be in a folder, there or not."""
        for name in sorted(names):
            place = Place(str(folder / name), kind, is_named=False, folder=str(folder))
            if place.path not in self._seen:
                self._seen.add(place.path)
                yield place

    def _file(self, path: Path, is_named: bool, row: Row, group: str) -> Iterator[Place]:
        """Yield a file, unless it was there before, or is none that could be ours."""
        if is_temporary(path.name):
            self.leftovers.append(str(path))
            return
        place = self._placed(path, is_named)
        if place is None:
            self.passed_over += 1
            return
        if place.path in self._seen:
            return
        self._seen.add(place.path)
        yield replace(place, knee=row.get("knee", MISSING), group=group or str(path.parent))

    def _placed(self, path: Path, is_named: bool) -> Place | None:
        """Return what a file should be; None for one that no command writes."""
        home = self._home(path.parent, path.name)
        if home is not None:
            kind, top = home
            return Place(str(path), kind, is_named, folder=str(top))
        if path.name.endswith(_BESIDE):
            for suffix in _VOLUMES:
                volume = path.with_name(path.stem + suffix)
                if volume.is_file():
                    return Place(str(volume), VOLUME, is_named)
        if path.name.endswith(".json"):
            return Place(str(path), SIDECAR, is_named)
        if path.name.endswith(outfolder.PAGE) and path.is_file() and is_one_file(path):
            return Place(str(path), VIEW, is_named)
        extension = _extension(path.name)
        if extension:
            return Place(str(path), _KINDS[extension], is_named)
        return Place(str(path), OTHER) if is_named and not path.is_file() else None

    def _home(self, folder: Path, name: str) -> tuple[str, Path] | None:
        """Return the folder of a cross-validation or page that a file belongs to, and its kind."""
        is_model = bool(FOLD_MODEL.fullmatch(name))
        folders, outer = self._folders, folder.parent
        form = folders.page(folder)
        if form is not None:
            if name in PAGE_FILES or name in folders.listed(folder):
                return form.what, folder
        elif folders.is_crossval(folder):
            is_repeat = REPEAT.fullmatch(folder.name) and folders.is_crossval(outer)
            if is_model or name in CROSSVAL_FILES or name in folders.listed(folder):
                return CROSSVAL, outer if is_repeat else folder
        elif is_model and folder.name == "images" and folders.is_crossval(outer):
            return CROSSVAL, outer
        elif name.endswith(".js") and folder.name == "volumes":
            form = folders.page(outer)
            return None if form is None else (form.what, outer)
        return None


def _extension(name: str) -> str:
    """Return the extension of a file that a command could have written; empty for others."""
    return next((each for each in _KINDS if name.endswith(each)), "")
