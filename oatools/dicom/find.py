"""Finding DICOM series on disk, and who, when, which side and which sequence each of them is.

One header a series is read, never all. The header decides on sequence and side (OAI names both in
SeriesDescription); folder names add the visit, and inventories serve where the header is silent.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import FileDataset

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import IDENTITY, MISSING, BadRow, Row
from oatools.core.provenance import PHANTOM_IMPLEMENTATION
from oatools.dicom.archives import SUFFIXES, is_archive
from oatools.dicom.files import contents, digest_of, files_of
from oatools.dicom.headers import read_header, text
from oatools.oai.release import (
    PARTICIPANT,
    InventoryEntry,
    SeriesPath,
    locate,
    may_be_inventory,
    place_of,
    read_inventory,
)

COLUMNS = [*IDENTITY, "description", "files", "series"]

_STUDY_MONTH = re.compile(r"\^(\d+) MONTH", re.IGNORECASE)
_SIDE = re.compile(r"[_ ]?(LEFT|RIGHT)$", re.IGNORECASE)
_RELEASED = re.compile(r"\d{8}\.(tar\.gz|tgz|tar|zip)")  # one series, as the release packs it
_IMAGE_NAME = re.compile(r"\d+|.*\.(dcm|ima)", re.IGNORECASE)

_NO_VOLUMES = {"CR", "DX", "RG", "XA", "SR", "PR", "KO", "SEG", "RTSTRUCT"}
_KEYWORDS = (
    "PatientID",
    "PatientName",
    "StudyDescription",
    "SeriesDescription",
    "Modality",
    "Laterality",
    "ImageLaterality",
    "SeriesInstanceUID",
)
_HEADER_TRIES = 4
# Repeats stand in one study folder with a dozen others. In a folder of more series than this, none
# waits for the rest.
_MOST_SIBLINGS = 200


@dataclass(frozen=True)
class Overrides:
    """What the user says of all series at once; None leaves it to header and path."""

    subject: str | None = None
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    keep_ids: bool = False


@dataclass
class Inventories:
    """The descriptions in the inventories met so far, read when a header first is silent."""

    unread: list[Path] = field(default_factory=list)
    descriptions: dict[str, str] = field(default_factory=dict)

    def description(self, key: str | None) -> str:
        """What an inventory calls the series of that key; empty if none does."""
        while self.unread and key is not None and key not in self.descriptions:
            try:
                self.descriptions |= {
                    listed.key: listed.description for listed in read_inventory(self.unread.pop(0))
                }
            except UsageError:  # a file of that name that is none
                continue
        return self.descriptions.get(key or "", "")


def find_series(
    places: Iterable[str],
    known: Overrides,
    wanted: tuple[str, ...],
    left_out: Counter[str] | None = None,
) -> Iterator[Row | BadRow]:
    """Yield a row for every MR series in the given folders, archives, files or inventories, as it is found.

    `wanted` names the sequences to take (all, if empty). Of repeats, which OAI ships as series of
    the same study folder with the same knee and sequence, the complete one is yielded, the last of
    several, and the others are left out by name. `left_out` counts what was passed over, by reason.
    """
    left_out = Counter() if left_out is None else left_out
    inventories = Inventories()
    for place in places:
        path = Path(place)
        if not path.exists():
            yield BadRow(place, "no such file or folder")
        elif path.is_file() and may_be_inventory(path):
            yield from _from_inventory(path, known, wanted, left_out)
        else:
            found = False
            for group in _studies(path, inventories):
                if isinstance(group, BadRow):
                    found = True
                    yield group
                    continue
                rows = list(_described(group, known, wanted, inventories, left_out))
                found = found or bool(rows)
                yield from _without_repeats([row for row in rows if row is not None])
            if not found:
                yield BadRow(place, "no DICOM series found; check the path")


def describe(
    source: Path, known: Overrides, names: list[str] | None = None, listed: str = ""
) -> list[Row]:
    """The rows of one folder, archive or multi-frame file: one, unless a folder of no release mixes several series.

    Empty where there is no MR image. `names` are the folder's files, if they are known already;
    `listed` is what an inventory calls the series, for a header that does not say.
    """
    path = source.absolute()
    place = place_of(path)
    headers, files = _headers(source, place, names)
    rows = []
    for header in headers:
        if text(header, "Modality") not in _NO_VOLUMES:
            series = digest_of(text(header, "SeriesInstanceUID")) if len(headers) > 1 else MISSING
            rows.append(
                _row(
                    source,
                    header,
                    place,
                    known,
                    listed,
                    files if len(headers) == 1 else MISSING,
                    series,
                )
            )
    return rows


def is_phantom(source: Path, series: str | None = None) -> bool:
    """Whether a series was written by `oa-phantom`, which signs the file headers; so that its numbers say so."""
    for _, content in contents(source, series):
        header = read_header(content, ("Modality",))
        return (
            header is not None
            and header.file_meta.get("ImplementationVersionName") == PHANTOM_IMPLEMENTATION
        )
    return False


def slug(name: str) -> str:
    """Lower case, with single hyphens for whatever is no letter or digit: `COR_IW_TSE` becomes `cor-iw-tse`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@dataclass(frozen=True)
class _Source:
    """Something that may hold a series, with the names of its files where they are known."""

    path: Path
    names: list[str] | None = None


def _studies(place: Path, inventories: Inventories) -> Iterator[list[_Source] | BadRow]:
    """Lists of possible series that share a parent folder: OAI's study folders, in which repeats stand side by side."""
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
    if not (names and place_of(place.absolute()).key):
        yield from _below(place, inventories, {place.resolve()})


def _below(
    folder: Path, inventories: Inventories, above: set[Path]
) -> Iterator[list[_Source] | BadRow]:
    """The groups below a folder. `above` holds the folders that lead here, so that a link back to one is not taken."""
    group: list[_Source] = []
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append((entry.name, entry.is_symlink()))
            elif may_be_inventory(entry.name):
                inventories.unread.append(folder / entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                group.append(_Source(folder / entry.name))
    for name, is_link in sorted(folders):
        path = folder / name
        if is_link and path.resolve() in above:
            continue
        try:
            names = files_of(path)
            if names:
                group.append(_Source(path, names))
            # What lies inside a series of the release (`efs`) is no part of it.
            if not (names and place_of(path.absolute()).key):
                yield from _below(path, inventories, {*above, path.resolve()} if is_link else above)
        except OSError as error:
            yield BadRow(str(path), f"cannot be read: {error.strerror}; check the permissions")
    group.sort(key=lambda source: source.path)
    if len(group) > _MOST_SIBLINGS:
        yield from ([source] for source in group)
    elif group:
        yield group


def _described(
    group: list[_Source],
    known: Overrides,
    wanted: tuple[str, ...],
    inventories: Inventories,
    left_out: Counter[str],
) -> Iterator[Row | BadRow | None]:
    """The rows of a group; None for a series that is there but not wanted."""
    for source in group:
        try:
            rows = describe(source.path, known, source.names)
            if any(row["sequence"] == MISSING for row in rows):
                listed = inventories.description(place_of(source.path.absolute()).key)
                rows = describe(source.path, known, source.names, listed) if listed else rows
        except ItemError as error:
            yield BadRow(str(source.path), str(error))
            continue
        if not rows:
            left_out["X-rays and other files without an MR image"] += 1
        for row in rows:
            if wanted and row["sequence"] not in wanted:
                left_out["series of other sequences"] += 1
                yield None
            else:
                yield row


def _from_inventory(
    path: Path, known: Overrides, wanted: tuple[str, ...], left_out: Counter[str]
) -> Iterator[Row | BadRow]:
    """The series of an inventory that are wanted and on disk; of the others, nothing is opened."""
    studies: dict[str, list[InventoryEntry]] = defaultdict(list)
    for listed in read_inventory(path):
        if not wanted or slug(_SIDE.sub("", listed.description)) in wanted:
            studies[listed.key.rsplit("/", 1)[0]].append(listed)
        else:
            left_out["series of other sequences"] += 1
    found = False
    for study in studies.values():
        rows: list[Row | BadRow] = []
        for listed in {each.key: each for each in study}.values():
            source = locate(listed, path.parent)
            if source is None:
                left_out[f"series that {path.name} lists but that are not below {path.parent}"] += 1
                continue
            try:
                rows += describe(source, known, listed=listed.description)
            except ItemError as error:
                rows.append(BadRow(str(source), str(error)))
        found = found or bool(rows)
        yield from _without_repeats(rows)
    if not found:
        yield BadRow(
            str(path),
            f"none of the series that it lists and that are wanted is below {path.parent}",
        )


def _headers(
    source: Path, place: SeriesPath, names: list[str] | None
) -> tuple[list[FileDataset], str]:
    """One header of each series in a source, and the number of its files, `n/a` for an archive that was not read on."""
    try:
        if is_archive(source):
            one = place.key is not None or _RELEASED.fullmatch(source.name) is not None
            return _archive_headers(source, one)
        if not source.is_dir():
            header = read_header(source, _KEYWORDS)
            return ([] if header is None else [header]), "1"
        names = files_of(source) if names is None else names
        tries = (read_header(source / name, _KEYWORDS) for name in names[:_HEADER_TRIES])
        first = next((header for header in tries if header is not None), None)
        if first is None:
            if place.key or all(_IMAGE_NAME.fullmatch(name) for name in names[:_HEADER_TRIES]):
                raise ItemError(
                    f"none of its first files ({', '.join(names[:2])}, …) has a DICOM header; "
                    "download it again"
                )
            return [], str(len(names))
        if place.key is None and len(names) > 1:
            return _distinct(source, first, names), str(len(names))
        return [first], str(len(names))
    except OSError as error:
        raise ItemError(f"cannot be read: {error.strerror}") from None


def _distinct(folder: Path, first: FileDataset, names: list[str]) -> list[FileDataset]:
    """One header a series of a folder that is no release's: all are read where the middle or the last one differs."""
    identifier = text(first, "SeriesInstanceUID")
    probes = (read_header(folder / name, _KEYWORDS) for name in (names[len(names) // 2], names[-1]))
    if all(probe is None or text(probe, "SeriesInstanceUID") == identifier for probe in probes):
        return [first]
    headers = (read_header(folder / name, _KEYWORDS) for name in names)
    return list(
        {
            text(header, "SeriesInstanceUID"): header for header in headers if header is not None
        }.values()
    )


def _archive_headers(archive: Path, one: bool) -> tuple[list[FileDataset], str]:
    """The headers of an archive's series; of a release's archive, which holds one, only the first file is read."""
    found: dict[str, FileDataset] = {}
    files = 0
    for _, content in contents(archive):
        header = read_header(content, _KEYWORDS)
        files += header is not None
        if header is not None:
            found.setdefault(text(header, "SeriesInstanceUID"), header)
            if one:
                return list(found.values()), MISSING
    return list(found.values()), str(files)


def _row(
    source: Path,
    header: FileDataset,
    place: SeriesPath,
    known: Overrides,
    listed: str,
    files: str,
    series: str,
) -> Row:
    description = text(header, "SeriesDescription") or listed
    side = known.side or _side(header, description)
    subject = known.subject or _subject(header, place, known.keep_ids)
    visit = known.visit or _visit(header, place)
    public = _without_names(description, text(header, "PatientName"))
    sequence = known.sequence or slug(_SIDE.sub("", public))
    return {
        "knee": "_".join(part for part in (subject, visit, side) if part),
        "subject": subject,
        "visit": visit or MISSING,
        "side": side or MISSING,
        "sequence": sequence or MISSING,
        "path": str(source),
        "description": slug(public) or MISSING,
        "files": files,
        "series": series,
    }


def _without_names(description: str, person: str) -> str:
    """A description without the words of the patient's name, which some people type there."""
    words = {word.lower() for word in re.findall(r"\w{3,}", person)}
    return re.sub(
        r"[^\W_]+", lambda match: "" if match[0].lower() in words else match[0], description
    )


def _without_repeats(rows: list[Row | BadRow]) -> Iterator[Row | BadRow]:
    repeats: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not isinstance(row, BadRow):
            repeats[_repeat_key(row)].append(row)
    chosen = {
        key: _choose(same) if len(same) > 1 else (same[0], "") for key, same in repeats.items()
    }
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        best, why = chosen[_repeat_key(row)]
        yield (
            row
            if row is best
            else BadRow(row["path"], f"a repeat of {best['path']}, {why}; left out", left_out=True)
        )


def _choose(same: list[Row]) -> tuple[Row, str]:
    """Of repeats, the complete one with most slices, the last of several; if none is complete, the last."""
    from oatools.dicom.geometry import assess

    complete = []
    for row in same:
        try:
            stack = assess(Path(row["path"]), None if row["series"] == MISSING else row["series"])
        except (ItemError, OSError):
            continue
        if not stack.problem:
            complete.append((stack.slices, row))
    if not complete:
        return same[-1], f"the last of {len(same)}, of which none is complete"
    most = max(slices for slices, _ in complete)
    return [row for slices, row in complete if slices == most][
        -1
    ], f"which has {most} slices without a gap"


def _repeat_key(row: Row) -> tuple[str, ...]:
    """What two repeats have in common; where a header does not say what the series is, every series is its own."""
    known = (row["subject"], row["visit"], row["side"], row["sequence"])
    return known if MISSING not in known else (row["path"], row["series"])


def _side(header: FileDataset, description: str) -> str | None:
    if match := _SIDE.search(description):
        return match[1].lower()
    letter = (text(header, "Laterality") or text(header, "ImageLaterality")).upper()
    return {"L": "left", "R": "right"}.get(letter)


def _visit(header: FileDataset, place: SeriesPath) -> str | None:
    if place.visit and place.folder_visit and place.visit != place.folder_visit:
        raise ItemError(
            f"it lies in {place.folder_visit}, but its release is that of {place.visit}; move it, or say "
            "which with --visit"
        )
    if place.visit:
        return place.visit
    study = text(header, "StudyDescription")
    if "ENROLLMENT" in study.upper():
        return "00m"
    return f"{int(match[1]):02d}m" if (match := _STUDY_MONTH.search(study)) else None


def _subject(header: FileDataset, place: SeriesPath, keep_ids: bool) -> str:
    """OAI's participant number; of any other study a digest of its patient id, which may be a hospital's own number."""
    patient = text(header, "PatientID")
    participant = patient if PARTICIPANT.fullmatch(patient) else None
    if participant and place.key and participant != place.participant:
        raise ItemError(
            f"it lies in the folder of {place.participant}, but its header says {participant}; find out "
            "whose it is, or say so with --subject"
        )
    if participant or place.participant:
        return participant or place.participant or ""
    if keep_ids and patient:
        return slug(patient) or "unknown"
    return f"anon-{digest_of(patient or text(header, 'SeriesInstanceUID'))}"
