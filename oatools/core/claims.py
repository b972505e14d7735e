"""The files that the rows of a run read and write: none is written that another one needs."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.manifest import Row, without_extension

_SEPARATELY = "give them to runs of their own, or another `out_dir`"


@dataclass
class FilesOfRun:
    """Who reads and who writes which file, so far.

    Rows are entered in their order. A row whose files clash with those of an earlier one is
    refused, whatever became of that: so it does not depend on who was faster. A row whose own files
    clash is for its work to refuse.

    A row's first output is what it is known by; where that is without an extension it stands for
    all files of that name. Rows with the same first output are not refused here, as one of them may
    take the place of another that failed.
    """

    _readers: dict[str, str] = field(default_factory=dict)
    _writers: dict[str, str] = field(default_factory=dict)
    # The first output of the row that writes a further one.
    _first: dict[str, str] = field(default_factory=dict)
    _folders: set[str] = field(default_factory=set)
    _resolved: dict[str, str] = field(default_factory=dict)

    def reserve(self, reads: Iterable[str | Path], writes: Iterable[str | Path]) -> None:
        """Enter what the run reads and writes beside its rows."""
        for path in reads:
            for name in self._names(str(path)):
                self._readers[name] = "the run itself"
        for path in writes:
            name = self._name(str(path))
            self._writers[name], self._first[name] = "the run itself", ""

    def enter(self, row: Row, writes: Sequence[str], owner: str) -> None:
        """Enter a row that is called `owner` in messages; an `ItemError` where its files clash."""
        names = [self._name(path) for path in writes]
        read = {path: self._names(path) for path in inputs_of(row)}
        self._refuse(writes, names, read)
        for name in names:
            self._writers.setdefault(name, owner)
            self._folders.add(_folder(name))
        for name in names[1:]:
            self._first.setdefault(name, names[0])
        for known in read.values():
            # A file elsewhere is none that a row could write.
            if _folder(known[0]) in self._folders:
                for name in known:
                    self._readers.setdefault(name, owner)

    def _refuse(
        self, writes: Sequence[str], names: Sequence[str], read: dict[str, list[str]]
    ) -> None:
        for index, (path, name) in enumerate(zip(writes, names, strict=True)):
            if name in self._readers:
                raise ItemError(f"{path} is also read, by {self._readers[name]}", _SEPARATELY)
            is_taken = name in self._writers if index else name in self._first
            if is_taken and self._first.get(name) != names[0]:
                raise ItemError(
                    f"{path} is already the output of {self._writers[name]}",
                    "give the rows different knees or sequences",
                )
        for path, known in read.items():
            for name in known:
                if name in self._writers and name != names[0]:
                    raise ItemError(
                        f"{path} is the output of {self._writers[name]} in this run", _SEPARATELY
                    )

    def _names(self, path: str) -> list[str]:
        """The names by which an input may be known as an output: with and without extension."""
        # The file that a link leads to.
        name = os.path.realpath(path) if Path(path).is_symlink() else self._name(path)
        return list(dict.fromkeys([name, without_extension(name)]))

    def _name(self, path: str) -> str:
        """One name for all paths to a file, links to its folder and `./` among them."""
        folder, name = os.path.split(path)
        if folder not in self._resolved:
            self._resolved[folder] = os.path.realpath(folder)
        return f"{self._resolved[folder]}/{name}"


def _folder(path: str) -> str:
    return os.path.split(path)[0]


def inputs_of(row: Row) -> list[str]:
    """Return the files that a row reads, several where rows were joined."""
    return [cell for column, cell in row.items() if column == "path" or column[:5] == "path:"]
