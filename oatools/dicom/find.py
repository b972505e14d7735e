"""Finding DICOM series on disk, in folders of any depth, archives, files and inventories."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import BadRow, Row
from oatools.dicom.archives import SUFFIXES
from oatools.dicom.conventions import Conventions, InventoryEntry
from oatools.dicom.files import files_of
from oatools.dicom.series import Overrides, Series, describe, sequence_of

_NO_OVERRIDES = Overrides()
# Repeats stand in one folder with a dozen others. In a folder of more series than this, none waits
# for the rest.
_MOST_SIBLINGS = 200
_OTHER_SEQUENCES = "series of other sequences"
_NO_IMAGE = "X-rays and other files without an MR image"


def find_series(
    places: Iterable[str],
    conventions: Conventions,
    known: Overrides = _NO_OVERRIDES,
    wanted: Sequence[str] = (),
    left_out: Counter[str] | None = None,
) -> Iterator[Row | BadRow]:
    """Yield a row for every MR series in folders, archives, files or inventories, as it is found.

    `conventions` are those of the study (`oatools.oai.release`), and `wanted` the sequences to take
    (all, if empty). Of repeats, which OAI ships as series of the same study folder with the same
    knee and sequence, the complete one is yielded, the last of several, and the others are left out
    by name. `left_out` counts what was passed over, by reason.
    """
    counts = Counter() if left_out is None else left_out
    search = _Search(conventions, known, wanted, counts)
    for place in places:
        for found in search.at(place):
            yield found.row() if isinstance(found, Series) else found


@dataclass(frozen=True)
class _Source:
    """Something that may hold a series, with the names of its files where they are known."""

    path: Path
    names: list[str] | None = None


@dataclass
class _Inventories:
    """The descriptions in the inventories met so far, read when a header first is silent."""

    conventions: Conventions
    unread: list[Path] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)

    def description(self, key: str | None) -> str:
        """Return what an inventory calls the series of that key; empty if none does."""
        if key is None:
            return ""
        while self.unread and key not in self.descriptions:
            self._read(self.unread.pop(0))
        return self.descriptions.get(key, "")

    def _read(self, path: Path) -> None:
        try:
            listed = list(self.conventions.read_inventory(path))
        except UsageError:  # something else under the name of an inventory
            return
        for entry in listed:
            self.descriptions[entry.key] = entry.description


class _Search:
    """A search for the wanted series of one study."""

    def __init__(
        self,
        conventions: Conventions,
        known: Overrides,
        wanted: Sequence[str],
        left_out: Counter[str],
    ) -> None:
        self.conventions = conventions
        self.known = known
        self.wanted = wanted
        self.left_out = left_out
        self.inventories = _Inventories(conventions)

    def at(self, place: str) -> Iterator[Series | BadRow]:
        """Yield the series of one folder, archive, file or inventory."""
        path = Path(place)
        if not path.exists():
            yield BadRow(place, "no such file or folder")
        elif path.is_file() and self.conventions.may_be_inventory(path):
            yield from self._in_inventory(path)
        else:
            yield from self._in_tree(place)

    def _in_tree(self, place: str) -> Iterator[Series | BadRow]:
        """Yield the wanted series of a folder of any depth, or of a single archive or file."""
        is_empty = True
        for group in self._groups(Path(place)):
            if isinstance(group, BadRow):
                is_empty = False
                yield group
                continue
            taken: list[Series | BadRow] = []
            for source in group:
                found = self._in_source(source)
                is_empty = is_empty and not found
                taken += self._only_wanted(found)
            yield from _without_repeats(taken)
        if is_empty:
            yield BadRow(place, "no DICOM series found", remedy="check the path")

    def _in_source(self, source: _Source) -> Sequence[Series | BadRow]:
        """Find the series of one source, wanted or not."""
        try:
            found = describe(source.path, self.conventions, self.known, source.names)
            if any(not series.sequence for series in found):
                key = self.conventions.place_of(source.path.absolute()).key
                listed = self.inventories.description(key)
                if listed:
                    found = describe(
                        source.path, self.conventions, self.known, source.names, listed
                    )
        except ItemError as error:
            return [_failed(source.path, error)]
        if not found:
            self.left_out[_NO_IMAGE] += 1
        return found

    def _only_wanted(self, found: Sequence[Series | BadRow]) -> Iterator[Series | BadRow]:
        for series in found:
            if isinstance(series, BadRow) or self._is_wanted(series.sequence):
                yield series
            else:
                self.left_out[_OTHER_SEQUENCES] += 1

    def _is_wanted(self, sequence: str | None) -> bool:
        return not self.wanted or sequence in self.wanted

    def _in_inventory(self, inventory: Path) -> Iterator[Series | BadRow]:
        """Yield the series of an inventory that are wanted and on disk, and open no others."""
        folder = inventory.parent
        absent = f"series that {inventory.name} lists but that are not below {folder}"
        is_empty = True
        for examination in self._wanted_entries(inventory):
            found: list[Series | BadRow] = []
            for listed in examination:
                source = self.conventions.locate(listed, folder)
                if source is None:
                    self.left_out[absent] += 1
                    continue
                try:
                    found += describe(
                        source, self.conventions, self.known, listed=listed.description
                    )
                except ItemError as error:
                    found.append(_failed(source, error))
            is_empty = is_empty and not found
            yield from _without_repeats(found)
        if is_empty:
            yield BadRow(
                str(inventory),
                f"none of the series that it lists and that are wanted is below {folder}",
            )

    def _wanted_entries(self, inventory: Path) -> list[list[InventoryEntry]]:
        """Return the wanted entries of an inventory by examination; of one key, the last."""
        examinations: dict[str, dict[str, InventoryEntry]] = defaultdict(dict)
        for listed in self.conventions.read_inventory(inventory):
            if self._is_wanted(sequence_of(listed.description)):
                examinations[listed.examination][listed.key] = listed
            else:
                self.left_out[_OTHER_SEQUENCES] += 1
        return [list(entries.values()) for entries in examinations.values()]

    def _groups(self, place: Path) -> Iterator[list[_Source] | BadRow]:
        """Yield sources in groups that share a folder, as repeats do in OAI's study folders."""
        if not place.is_dir():
            yield [_Source(place)]
            return
        try:
            names = files_of(place)
        except OSError as error:
            yield BadRow(str(place), f"cannot be read: {error.strerror}")
            return
        if names:
            yield [_Source(place, names)]
        if not self._is_one_series(place, names):
            yield from self._groups_below(place, {place.resolve()})

    def _groups_below(self, folder: Path, above: set[Path]) -> Iterator[list[_Source] | BadRow]:
        """Yield the groups below a folder, deepest first.

        `above` holds the folders that lead here by a link, so that a link back is not taken.
        """
        folders, group = self._entries(folder)
        for name, is_link in folders:
            path = folder / name
            if is_link and path.resolve() in above:
                continue
            leading = {*above, path.resolve()} if is_link else above
            try:
                names = files_of(path)
                if names:
                    group.append(_Source(path, names))
                if not self._is_one_series(path, names):
                    yield from self._groups_below(path, leading)
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
                yield BadRow(str(path), reason, remedy="check the permissions")
        group.sort(key=lambda source: source.path)
        if len(group) > _MOST_SIBLINGS:
            for source in group:
                yield [source]
        elif group:
            yield group

    def _entries(self, folder: Path) -> tuple[list[tuple[str, bool]], list[_Source]]:
        """Return a folder's own folders, sorted, each with whether it is a link, and its archives.

        Inventories are noted for later.
        """
        folders: list[tuple[str, bool]] = []
        archives: list[_Source] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append((entry.name, entry.is_symlink()))
                elif self.conventions.may_be_inventory(entry.name):
                    self.inventories.unread.append(folder / entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    archives.append(_Source(folder / entry.name))
        return sorted(folders), archives

    def _is_one_series(self, folder: Path, names: list[str]) -> bool:
        """Tell whether a folder is one series of the study's layout.

        What lies deeper in it (OAI has folders `efs`) is no part of the series.
        """
        return bool(names) and self.conventions.place_of(folder.absolute()).key is not None


def _failed(path: Path, error: ItemError) -> BadRow:
    return BadRow(str(path), error.reason, remedy=error.remedy)


def _without_repeats(found: Sequence[Series | BadRow]) -> Iterator[Series | BadRow]:
    """Yield one series of each set of repeats, and say of the others which one was taken."""
    repeats: dict[tuple[object, ...], list[Series]] = defaultdict(list)
    for series in found:
        if isinstance(series, Series):
            repeats[_repeat_key(series)].append(series)
    taken = {key: _choose(same) for key, same in repeats.items()}
    for series in found:
        if isinstance(series, BadRow):
            yield series
            continue
        best, why = taken[_repeat_key(series)]
        if series is best:
            yield series
        else:
            reason = f"a repeat of {best.path}, {why}; left out"
            yield BadRow(str(series.path), reason, left_out=True)


def _choose(same: list[Series]) -> tuple[Series, str]:
    """Choose the complete one of repeats with most slices, the last of several, and say why.

    If none is complete, the last is chosen.
    """
    if len(same) == 1:
        return same[0], ""
    from oatools.dicom.geometry import assess  # NumPy, for which a plain listing need not wait

    best, most = None, 0
    for series in same:
        try:
            stack = assess(series.path, series.series)
        except (ItemError, OSError):
            continue
        if not stack.problem and stack.slices >= most:
            best, most = series, stack.slices
    if best is None:
        return same[-1], f"the last of {len(same)}, of which none is complete"
    return best, f"which has {most} slices without a gap"


def _repeat_key(series: Series) -> tuple[object, ...]:
    """Return what two repeats have in common.

    Where a header does not say what a series is, that is nothing but itself.
    """
    known = (series.subject, series.visit, series.side, series.sequence)
    return known if all(known) else (series.path, series.series)
