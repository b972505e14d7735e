"""Finding DICOM series on disk, in folders of any depth, archives, files and inventories.

Rows leave as series are found, and yet none leaves twice: before the search, the names of folders
are looked through, down to those of participants, for people who occur in several places (two
releases, packages or folders given) at the same visit. Only their series are held back, until all
of these places are seen.
"""

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import BadRow, Row
from oatools.core.paths import other_kind
from oatools.dicom.archives import CONTROL_FILE, OTHERS, SUFFIXES, finished_name, require_read
from oatools.dicom.conventions import Conventions, InventoryEntry
from oatools.dicom.files import files_of, is_folder
from oatools.dicom.idtable import IdTable
from oatools.dicom.repeats import Repeats
from oatools.dicom.series import Contents, Overrides, Series, describe, sequence_of

_NO_OVERRIDES = Overrides()
# Repeats stand in one folder with a dozen others. In a folder of more series than this, none waits
# for the rest.
_MOST_SIBLINGS = 200
_OTHER_SEQUENCES = "series of other sequences"
_X_RAYS = "X-rays"
_NO_IMAGE = "reports and other files without an MR image"
_DOWNLOAD = "download it again"
_FOLDER = "a folder"
_TAKE_AWAY = "give a folder, an archive or a file"


def find_series(
    places: Iterable[str],
    conventions: Conventions,
    known: Overrides = _NO_OVERRIDES,
    wanted: Sequence[str] = (),
    left_out: Counter[str] | None = None,
    roots: Sequence[Path] = (),
    ids: IdTable | None = None,
) -> Iterator[Row | BadRow]:
    """Yield a row for every MR series in folders, archives, files or inventories, as it is found.

    `conventions` are those of the study (`oatools.oai.release`), and `wanted` the sequences to take
    (if empty, all but those that the study sets aside). The series of an inventory are looked for
    below its folder and below `roots`. `left_out` counts what was passed over, by reason, and `ids`
    is told of each series whose it is.

    No knee, visit and sequence is yielded twice. Of repeats in the study's layout, wherever they
    lie, the one is taken whose centre does not lie on the other side than is stated, then one that
    is complete, then the one with most slices, then the last; the others are left out by name.
    Elsewhere a second series of the same name fails, unless it is a copy. All `places` are known
    before the search begins.
    """
    counts = Counter() if left_out is None else left_out
    search = _Search(conventions, known, wanted, counts, roots)
    for found in search.through(list(places)):
        if isinstance(found, BadRow):
            yield found
            continue
        if ids is not None:
            ids.add(found.subject, found.patient_id, found.sequence or "", found.typed)
        yield found.row()


@dataclass(frozen=True)
class _Source:
    """Something that may hold a series, with the names of its files where they are known."""

    path: Path
    names: list[str] | None = None


@dataclass
class _Group:
    """Sources that may be repeats of each other, and what cannot be read among them.

    `person_visit` is set where they are all that lies in a participant's folder at a visit.
    """

    sources: list[_Source] = field(default_factory=list)
    failed: list[BadRow] = field(default_factory=list)
    person_visit: str | None = None


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


#: The entries of an inventory that share a person and visit, or an examination.
_Entries = dict[str, list[InventoryEntry]]


class _Search:
    """A search for the wanted series of one study."""

    def __init__(
        self,
        conventions: Conventions,
        known: Overrides,
        wanted: Sequence[str],
        left_out: Counter[str],
        roots: Sequence[Path],
    ) -> None:
        self.conventions = conventions
        self.known = known
        self.wanted = wanted
        self.left_out = left_out
        self.roots = roots
        self.inventories = _Inventories(conventions)
        self.listed: dict[str, _Entries] = {}
        self.repeats = Repeats(known.trust_side)

    def through(self, places: list[str]) -> Iterator[Series | BadRow]:
        """Yield the series of all places."""
        for place in places:
            with contextlib.suppress(OSError):  # said when it is searched
                self.repeats.expect(self._people_of(place))
        for place in places:
            try:
                yield from self._at(place)
            except Exception as error:  # whatever is in one place, the others are searched
                yield BadRow.of(place, error)
        yield from self.repeats.rest()

    def _at(self, place: str) -> Iterator[Series | BadRow]:
        """Yield the series of one folder, archive, file or inventory."""
        path = Path(place)
        if not path.exists():
            yield BadRow(place, "no such file or folder")
        elif place in self.listed:
            yield from self._in_inventory(path, self.listed.pop(place))
        elif self._is_inventory(path):  # named twice
            yield from self._in_inventory(path, self._wanted_entries(path))
        else:
            yield from self._in_tree(place)

    def _is_inventory(self, path: Path) -> bool:
        return path.is_file() and self.conventions.may_be_inventory(path)

    # What lies where: names alone, before anything is opened

    def _people_of(self, place: str) -> Iterator[str]:
        """Yield the `person_visit` of each place that holds one's series, from names alone."""
        path = Path(place)
        if self._is_inventory(path):
            self.listed[place] = self._wanted_entries(path)
            yield from self.listed[place]
        elif path.exists():
            yield from self._people_below(path.absolute(), None)

    def _people_below(self, path: Path, above: set[Path] | None) -> Iterator[str]:
        """Go on below a folder; `above` holds those that lead there by a link."""
        person_visit = self.conventions.place_of(path).person_visit
        if person_visit is not None:
            yield person_visit
            return
        above = {path.resolve()} if above is None else above
        try:
            folders, archives = self._entries(path) if path.is_dir() else ([], [])
            for archive in archives:
                owner = self.conventions.place_of(archive.path).person_visit
                if owner is not None:
                    yield owner
            for name, is_link in folders:
                below = path / name
                if is_link and below.resolve() in above:
                    continue
                leading = {*above, below.resolve()} if is_link else above
                yield from self._people_below(below, leading)
        except (OSError, RecursionError):  # said when it is searched
            return

    # Trees

    def _in_tree(self, place: str) -> Iterator[Series | BadRow]:
        """Yield the wanted series of a folder of any depth, or of a single archive or file."""
        is_empty = True
        for group in self._groups(Path(place)):
            found: list[Series | BadRow] = list(group.failed)
            for source in group.sources:
                described = self._in_source(source)
                found += self._only_wanted(described.series)
                is_empty = is_empty and not (described.series or described.x_rays)
            is_empty = is_empty and not group.failed
            yield from self.repeats.settle(found, group.person_visit)
        if is_empty:
            yield BadRow(place, "no DICOM series found", remedy="check the path")

    def _in_source(self, source: _Source, listed: str = "") -> Contents:
        """Find the series of one source, wanted or not."""
        try:
            kind = other_kind(source.path)
            if kind not in ("", _FOLDER):  # which nobody may ever write to, or which has no end
                return Contents([BadRow(str(source.path), f"is {kind}", remedy=_TAKE_AWAY)])
            _refuse_unfinished(source.path)
            if not source.path.is_dir():
                require_read(source.path)
            found = describe(source.path, self.conventions, self.known, source.names, listed)
            if not listed and any(_is_silent(series) for series in found.series):
                key = self.conventions.place_of(source.path.absolute()).key
                listed = self.inventories.description(key)
                if listed:
                    found = describe(
                        source.path, self.conventions, self.known, source.names, listed
                    )
        except Exception as error:  # whatever is in one source, the others are searched
            return Contents([BadRow.of(str(source.path), error)])
        # A count of 0 would be shown.
        if found.x_rays:
            self.left_out[_X_RAYS] += found.x_rays
        if found.others:
            self.left_out[_NO_IMAGE] += found.others
        return found

    def _only_wanted(self, found: Sequence[Series | BadRow]) -> Iterator[Series | BadRow]:
        for series in found:
            if isinstance(series, BadRow):
                yield series
                continue
            reason = self._why_not(series.sequence, series.subject)
            if reason is None:
                yield series
            else:
                self.left_out[reason] += 1

    def _why_not(self, sequence: str | None, participant: str | None) -> str | None:
        """Return why a sequence is not taken; None if it is."""
        if self.wanted:
            return None if sequence in self.wanted else _OTHER_SEQUENCES
        if self.known.sequence is not None:
            return None
        return self.conventions.set_aside(sequence or "", participant)

    def _groups(self, place: Path) -> Iterator[_Group]:
        """Yield sources in groups that share a folder, as repeats do in OAI's study folders.

        All that lies in the folder of a participant at a visit is one group.
        """
        person_visit = self.conventions.place_of(place.absolute()).person_visit
        if not place.is_dir() or finished_name(place.name) is not None:
            yield _Group([_Source(place)], person_visit=person_visit)
            return
        try:
            names = files_of(place)
        except OSError as error:
            yield _Group(failed=[_unreadable(place, error)], person_visit=person_visit)
            return
        within = self._groups_within(place, names, {place.resolve()})
        yield from within if person_visit is None else [_joined(within, person_visit)]

    def _groups_within(self, place: Path, names: list[str], above: set[Path]) -> Iterator[_Group]:
        """Yield a folder itself, if it has files, and the groups below it."""
        if names:
            yield _Group([_Source(place, names)])
        if not self._is_one_series(place, names):
            yield from self._groups_below(place, above)

    def _groups_below(self, folder: Path, above: set[Path]) -> Iterator[_Group]:
        """Yield the groups below a folder, deepest first.

        `above` holds the folders that lead here by a link, so that a link back is not taken.
        """
        folders, archives = self._entries(folder)
        siblings: list[_Source] = []
        for name, is_link in folders:
            path = folder / name
            if is_link and path.resolve() in above:
                continue
            if finished_name(name) is None:
                leading = {*above, path.resolve()} if is_link else above
                yield from self._groups_of_one(path, leading, siblings)
            else:
                archives.append(_Source(path))
        for archive in archives:
            person_visit = self._person_visit_of(archive.path)
            if person_visit is None:
                siblings.append(archive)
            else:
                yield _Group([archive], person_visit=person_visit)
        siblings.sort(key=lambda source: source.path)
        if len(siblings) > _MOST_SIBLINGS:
            for source in siblings:
                yield _Group([source])
        elif siblings:
            yield _Group(siblings)

    def _groups_of_one(
        self, path: Path, above: set[Path], siblings: list[_Source]
    ) -> Iterator[_Group]:
        """Yield the groups below one of a folder's folders, which itself is one of `siblings`."""
        person_visit = self._person_visit_of(path)
        try:
            names = files_of(path)
            if person_visit is not None:
                yield _joined(self._groups_within(path, names, above), person_visit)
                return
            if names:
                siblings.append(_Source(path, names))
            if not self._is_one_series(path, names):
                yield from self._groups_below(path, above)
        except OSError as error:
            yield _Group(failed=[_unreadable(path, error)], person_visit=person_visit)
        except RecursionError:
            deep = BadRow(str(path), "lies too deep", remedy="move it, or what is below it, up")
            yield _Group(failed=[deep], person_visit=person_visit)

    def _person_visit_of(self, path: Path) -> str | None:
        """Return whose a path is, at which visit, unless the folder around it is theirs already.

        Such a folder is one group as a whole.
        """
        place = path.absolute()
        if self.conventions.place_of(place.parent).person_visit is not None:
            return None
        return self.conventions.place_of(place).person_visit

    def _entries(self, folder: Path) -> tuple[list[tuple[str, bool]], list[_Source]]:
        """Return a folder's own folders, sorted, each with whether it is a link, and its archives.

        Inventories are noted for later. Unfinished downloads of archives count as archives.
        """
        folders: list[tuple[str, bool]] = []
        archives: list[_Source] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = folder / entry.name
                if is_folder(entry):
                    folders.append((entry.name, entry.is_symlink()))
                elif self.conventions.may_be_inventory(entry.name):
                    if path not in self.inventories.unread:
                        self.inventories.unread.append(path)
                elif _is_archive_or_part(path):
                    archives.append(_Source(path))
        return sorted(folders), sorted(archives, key=lambda source: source.path)

    def _is_one_series(self, folder: Path, names: list[str]) -> bool:
        """Tell whether a folder is one series of the study's layout.

        What lies deeper in it (OAI has folders `efs`) is no part of the series.
        """
        return bool(names) and self.conventions.place_of(folder.absolute()).key is not None

    # Inventories

    def _in_inventory(self, inventory: Path, entries: _Entries) -> Iterator[Series | BadRow]:
        """Yield the series of an inventory that are wanted and on disk, and open no others."""
        places = [inventory.parent, *self.roots]
        below = " or ".join(map(str, places))
        absent = f"series that {inventory.name} lists but that are not below {below}"
        is_empty = bool(entries)
        for person_visit, listed_here in entries.items():
            found: list[Series | BadRow] = []
            for listed in listed_here:
                source = self._located(listed, places)
                if source is None:
                    self.left_out[absent] += 1
                    continue
                is_empty = False
                described = self._in_source(_Source(source), listed.description)
                # The header may say another sequence than the inventory, unless the user says it.
                is_said = self.known.sequence is not None
                found += described.series if is_said else self._only_wanted(described.series)
            yield from self.repeats.settle(found, person_visit)
        if is_empty:
            yield BadRow(
                str(inventory),
                f"none of the series that it lists and that are wanted is below {below}",
                remedy="say where the images are with `roots`",
            )

    def _located(self, listed: InventoryEntry, places: Sequence[Path]) -> Path | None:
        found = (self.conventions.locate(listed, place) for place in places)
        return next((path for path in found if path is not None), None)

    def _wanted_entries(self, inventory: Path) -> _Entries:
        """Return the wanted entries of an inventory by person and visit; of one key, the last."""
        grouped: dict[str, dict[str, InventoryEntry]] = defaultdict(dict)
        for listed in self.conventions.read_inventory(inventory):
            place = self.conventions.place_of(listed.key)
            sequence = sequence_of(listed.description, self.known.pseudonyms)
            reason = self._why_not(sequence, place.participant)
            if reason is None:
                grouped[place.person_visit or listed.examination][listed.key] = listed
            else:
                self.left_out[reason] += 1
        return {person: list(entries.values()) for person, entries in grouped.items()}


def _is_silent(series: Series | BadRow) -> bool:
    """Tell whether a header does not say which sequence its series is."""
    return isinstance(series, Series) and not series.sequence


def _unreadable(path: Path, error: OSError) -> BadRow:
    return BadRow(str(path), f"cannot be read: {error.strerror}", remedy="check the permissions")


def _is_archive_or_part(path: Path) -> bool:
    """Tell by its name whether a file is an archive, or will be one once it is downloaded."""
    name = finished_name(path.name) or path.name
    return name.lower().endswith((*SUFFIXES, *OTHERS))


def _refuse_unfinished(path: Path) -> None:
    """Raise an `ItemError` for what is still being downloaded, by its name or that beside it."""
    is_part = finished_name(path.name) is not None
    if is_part or path.with_name(f"{path.name}{CONTROL_FILE}").exists():
        raise ItemError("not finished", _DOWNLOAD)


def _joined(groups: Iterable[_Group], person_visit: str) -> _Group:
    """Return one group of all that several hold."""
    joined = _Group(person_visit=person_visit)
    for group in groups:
        joined.sources += group.sources
        joined.failed += group.failed
    return joined
