"""Finding DICOM series on disk, and who, when, which side and which sequence each of them is.

One header a series is read, never all. The header decides on sequence and side (OAI names both in
SeriesDescription); folder names add the visit and serve where the header is silent.
"""

import hashlib
import os
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pydicom
from pydicom.errors import InvalidDicomError

from oatools.core.errors import ItemError
from oatools.core.manifest import IDENTITY, MISSING, BadRow, Row

COLUMNS = [*IDENTITY, "description", "files"]

# OAI's release folder: visit number, group, version.
_RELEASE = re.compile(r"(\d{1,2})\.[A-G]\.\d+")
_MONTHS = {0: 0, 1: 12, 2: 18, 3: 24, 4: 30, 5: 36, 6: 48, 7: 60, 8: 72, 9: 84, 10: 96}
_STUDY_MONTH = re.compile(r"\^(\d+) MONTH", re.IGNORECASE)
_SIDE = re.compile(r"[_ ]?(LEFT|RIGHT)$", re.IGNORECASE)
_PARTICIPANT = re.compile(r"9\d{6}")

_PROJECTIONS = {"CR", "DX", "RG", "XA", "SR", "PR", "KO", "SEG", "RTSTRUCT"}
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
_OTHER_FILES = (".csv", ".txt", ".tsv", ".json", ".nii", ".nii.gz", ".h5", ".png", ".md", ".pdf", ".xml", ".html")
_TAGS = ["PatientID", "StudyDescription", "SeriesDescription", "Modality", "Laterality", "ImageLaterality",
         "SeriesInstanceUID", "NumberOfFrames"]  # fmt: skip
_HEADER_TRIES = 4


@dataclass(frozen=True)
class Known:
    """What the user says of all series at once; None leaves it to header and path."""

    subject: str | None = None
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    keep_ids: bool = False


def find_series(places: Iterable[str], known: Known, wanted: tuple[str, ...]) -> Iterator[Row | BadRow]:
    """Yield a row for every MR series below the given folders, archives or files, in sorted order.

    `wanted` names the sequences to take (all, if empty). Of repeats, which OAI ships as series of the same study
    folder with the same knee and sequence, the one with most files is yielded, the last of several; the others
    are left out by name.
    """
    for place in places:
        path = Path(place)
        if not path.exists():
            yield BadRow(place, "no such file or folder")
            continue
        found, reasons = False, []
        for group in _studies(path):
            rows = []
            for source in group:
                try:
                    row = describe(source, known)
                except ItemError as error:
                    reasons.append(BadRow(str(source), str(error)))
                    continue
                found = found or row is not None
                if row is not None and (not wanted or row["sequence"] in wanted):
                    rows.append(row)
            yield from _without_repeats(rows)
        yield from reasons
        if not found and not reasons:
            yield BadRow(place, "no DICOM series found; check the path, or unpack the archive first")


def describe(source: Path, known: Known) -> Row | None:
    """The row of one series folder, archive or multi-frame file; None where there is no MR image in it."""
    header, files = _first_header(source)
    if header is None or str(header.get("Modality", "MR")) in _PROJECTIONS:
        return None
    description = str(header.get("SeriesDescription", "")).strip()
    parts = [unquote(part) for part in source.absolute().parts]
    side = known.side or _side(header, description)
    sequence = known.sequence or slug(_SIDE.sub("", description))
    subject = known.subject or _subject(header, parts, known.keep_ids)
    visit = known.visit or _visit(header, parts)
    identity = [part for part in (subject, visit, side) if part]
    return {
        "knee": "_".join(identity), "subject": subject, "visit": visit or MISSING, "side": side or MISSING,
        "sequence": sequence or MISSING, "path": str(source), "description": slug(description) or MISSING,
        "files": str(files),
    }  # fmt: skip


def is_phantom(source: Path) -> bool:
    """Whether a series was written by `oa-phantom`, which signs the file headers; so that its numbers say so."""
    header, _ = _first_header(source)
    return header is not None and header.file_meta.get("ImplementationVersionName") == "OATOOLS_PHANTOM"


def slug(text: str) -> str:
    """Lower case, with single hyphens for whatever is no letter or digit: `COR_IW_TSE` becomes `cor-iw-tse`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive's regular files under names of our own, so that no path in it is trusted."""
    try:
        for count, (_, read) in enumerate(_members(archive)):
            (folder / f"{count:06d}").write_bytes(read())
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ItemError(f"the archive cannot be read ({error}); download it again") from None


def is_archive(path: Path) -> bool:
    """Whether a path is a file that `unpack` takes."""
    return path.is_file() and path.name.lower().endswith(_ARCHIVES)


def _studies(place: Path) -> Iterator[list[Path]]:
    """Lists of series that share a parent folder: OAI's study folders, in which repeats stand side by side."""
    if place.is_file() or _has_files(place):
        yield [place]
    if place.is_dir():
        for folder, names, files in os.walk(place, followlinks=False):
            names.sort()
            archives = [Path(folder, f) for f in sorted(files) if f.lower().endswith(_ARCHIVES)]
            series = [Path(folder, n) for n in names if _has_files(Path(folder, n))]
            if group := sorted(archives + series):
                yield group


def _has_files(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(_may_be_dicom(e.name) and e.is_file() for e in entries)


def _may_be_dicom(name: str) -> bool:
    return not name.startswith(".") and not name.lower().endswith(_OTHER_FILES + _ARCHIVES)


def _first_header(source: Path) -> tuple[pydicom.Dataset | None, int]:
    """The header of the first file that is DICOM, and the number of files."""
    if is_archive(source):
        return _archive_header(source)
    files = [source]
    if source.is_dir():
        files = sorted(p for p in source.iterdir() if _may_be_dicom(p.name) and p.is_file())
    for path in files[:_HEADER_TRIES]:
        try:
            return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS), len(files)
        except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError):
            continue
        except OSError as error:
            raise ItemError(f"cannot be read: {error.strerror}") from None
    return None, len(files)


def _archive_header(archive: Path) -> tuple[pydicom.Dataset | None, int]:
    header, files = None, 0
    try:
        for name, read in _members(archive):
            files += 1
            if header is None and files <= _HEADER_TRIES and _may_be_dicom(Path(name).name):
                try:
                    content = pydicom.filebase.DicomBytesIO(read())
                    header = pydicom.dcmread(content, stop_before_pixels=True, specific_tags=_TAGS)
                except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError):
                    continue
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ItemError(f"the archive cannot be read ({error}); download it again") from None
    return header, files


def _members(archive: Path) -> Iterator[tuple]:
    """The regular files of an archive: name, and a function that gives the bytes."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if not entry.is_dir():
                    yield entry.filename, lambda entry=entry: opened.read(entry)
    else:
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isreg():
                    yield member.name, lambda member=member: opened.extractfile(member).read()


def _without_repeats(rows: list[Row]) -> Iterator[Row | BadRow]:
    best: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = _repeat_key(row)
        if key not in best or int(row["files"]) >= int(best[key]["files"]):
            best[key] = row
    for row in rows:
        chosen = best[_repeat_key(row)]
        if row is chosen:
            yield row
        else:
            yield BadRow(
                row["path"], f"a repeat of {chosen['path']}, which has {chosen['files']} files; left out", left_out=True
            )


def _repeat_key(row: Row) -> tuple[str, ...]:
    """What two repeats have in common; where a header does not say what the series is, every series is its own."""
    known = (row["subject"], row["visit"], row["side"], row["sequence"])
    return known if MISSING not in known else (row["path"],)


def _side(header: pydicom.Dataset, description: str) -> str | None:
    if match := _SIDE.search(description):
        return match[1].lower()
    letter = str(header.get("Laterality", "") or header.get("ImageLaterality", "") or "").strip().upper()
    return {"L": "left", "R": "right"}.get(letter)


def _visit(header: pydicom.Dataset, parts: list[str]) -> str | None:
    for part in reversed([piece for whole in parts for piece in whole.split("/")]):
        if (match := _RELEASE.fullmatch(part)) and int(match[1]) in _MONTHS:
            return f"{_MONTHS[int(match[1])]:02d}m"
    study = str(header.get("StudyDescription", ""))
    if "ENROLLMENT" in study.upper():
        return "00m"
    return f"{int(match[1]):02d}m" if (match := _STUDY_MONTH.search(study)) else None


def _subject(header: pydicom.Dataset, parts: list[str], keep_ids: bool) -> str:
    """OAI's participant number; of any other study a digest of its patient id, which may be a hospital's own number."""
    patient = str(header.get("PatientID", "")).strip()
    if _PARTICIPANT.fullmatch(patient):
        return patient
    for part in reversed(parts):
        if _PARTICIPANT.fullmatch(part):
            return part
    if keep_ids and patient:
        return slug(patient) or "unknown"
    unique = patient or str(header.get("SeriesInstanceUID", ""))
    return "anon-" + hashlib.sha256(unique.encode()).hexdigest()[:8]
