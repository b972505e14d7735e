"""The series that a folder, archive or file holds, and who, when, which side and sequence each is.

One header a series is read, never all. The header decides on sequence and side (OAI names both in
SeriesDescription); the study's conventions decide on subject and visit.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.manifest import IDENTITY, MISSING, Row
from oatools.dicom.archives import is_archive
from oatools.dicom.conventions import Conventions, SeriesPath
from oatools.dicom.files import contents, digest_of, files_of
from oatools.dicom.headers import Header, read_header

#: The columns of `Series.row`.
COLUMNS = [*IDENTITY, "description", "files", "series"]

_SIDE = re.compile(r"[_ ]?(LEFT|RIGHT)$", re.IGNORECASE)
_SIDE_LETTERS = {"L": "left", "R": "right"}
_IMAGE_NAME = re.compile(r"\d+|.*\.(dcm|ima)", re.IGNORECASE)
# Modalities of X-rays, reports and marks.
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


@dataclass(frozen=True)
class Overrides:
    """Facts that the user states of all series at once; None leaves one to header and path."""

    subject: str | None = None
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    keep_ids: bool = False


@dataclass(frozen=True)
class Series:
    """One MR series: its place, and who, when, which side and which sequence it is.

    `path` is a folder, an archive or a file. `files` is None where they were not counted, and
    `series` (a `files.series_digest`) None where the series has its path for itself. The others are
    None where neither header nor path says.
    """

    path: Path
    subject: str
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    description: str | None = None
    files: int | None = None
    series: str | None = None

    def row(self) -> Row:
        """Return the series as a row of the table that oa-convert lists and converts."""
        known = [part for part in (self.subject, self.visit, self.side) if part]
        return {
            "knee": "_".join(known),
            "subject": self.subject,
            "visit": self.visit or MISSING,
            "side": self.side or MISSING,
            "sequence": self.sequence or MISSING,
            "path": str(self.path),
            "description": self.description or MISSING,
            "files": MISSING if self.files is None else str(self.files),
            "series": self.series or MISSING,
        }


def describe(
    source: Path,
    conventions: Conventions,
    known: Overrides,
    names: list[str] | None = None,
    listed: str = "",
) -> list[Series]:
    """Find the series of one folder, archive or multi-frame file; none where there is no MR image.

    There is one, unless a source that is not in the study's layout mixes several. `names` are the
    folder's files, if they are known already; `listed` is what an inventory calls the series, for a
    header that does not say. Raises an `ItemError` if the source cannot be read, or if header and
    path contradict each other.
    """
    place = conventions.place_of(source.absolute())
    headers, files = _headers(source, place, conventions, names)
    found = []
    for header in headers:
        if header.text("Modality") in _NO_VOLUMES:
            continue
        series = _identify(source, header, place, conventions, known, listed)
        if len(headers) == 1:
            found.append(replace(series, files=files))
        else:
            identifier = header.text("SeriesInstanceUID")
            found.append(replace(series, series=digest_of(identifier)))
    return found


def sequence_of(description: str) -> str:
    """Return the sequence that a description names: `COR_IW_TSE_RIGHT` is `cor-iw-tse`."""
    return slug(_SIDE.sub("", description))


def slug(name: str) -> str:
    """Return a name in lower case, with a hyphen for whatever is not a letter or digit.

    `COR_IW_TSE` becomes `cor-iw-tse`.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _headers(
    source: Path, place: SeriesPath, conventions: Conventions, names: list[str] | None
) -> tuple[list[Header], int | None]:
    """Read one header of each series of a source, and count its files where that costs nothing."""
    try:
        if is_archive(source):
            is_one = place.key is not None or conventions.holds_one_series(source)
            return _archive_headers(source, is_one)
        if source.is_dir():
            names = files_of(source) if names is None else names
            return _folder_headers(source, names, place.key is not None), len(names)
        header = read_header(source, _KEYWORDS)
        return ([] if header is None else [header]), 1
    except OSError as error:
        raise ItemError(f"cannot be read: {error.strerror}") from None


def _folder_headers(folder: Path, names: list[str], is_one: bool) -> list[Header]:
    """Read one header of each series of a folder, which with `is_one` holds a single series."""
    tried = names[:_HEADER_TRIES]
    headers = (read_header(folder / name, _KEYWORDS) for name in tried)
    first = next((header for header in headers if header is not None), None)
    if first is None:
        if is_one or all(_IMAGE_NAME.fullmatch(name) for name in tried):
            shown = ", ".join(names[:2])
            raise ItemError(
                f"none of its first files ({shown}, …) has a DICOM header", "download it again"
            )
        return []
    if is_one or len(names) == 1 or _is_uniform(folder, names, first):
        return [first]
    found = {}
    for name in names:
        header = read_header(folder / name, _KEYWORDS)
        if header is not None:
            found[header.text("SeriesInstanceUID")] = header
    return list(found.values())


def _is_uniform(folder: Path, names: list[str], first: Header) -> bool:
    """Tell whether the middle and the last file of a folder are of the first one's series."""
    identifier = first.text("SeriesInstanceUID")
    for name in (names[len(names) // 2], names[-1]):
        header = read_header(folder / name, _KEYWORDS)
        if header is not None and header.text("SeriesInstanceUID") != identifier:
            return False
    return True


def _archive_headers(archive: Path, is_one: bool) -> tuple[list[Header], int | None]:
    """Read one header of each series of an archive, and count its images.

    With `is_one` the archive holds a single series, and is not read past its first image.
    """
    found: dict[str, Header] = {}
    files = 0
    for _, content in contents(archive):
        header = read_header(content, _KEYWORDS)
        if header is None:
            continue
        files += 1
        found.setdefault(header.text("SeriesInstanceUID"), header)
        if is_one:
            return list(found.values()), None
    return list(found.values()), files


def _identify(
    source: Path,
    header: Header,
    place: SeriesPath,
    conventions: Conventions,
    known: Overrides,
    listed: str,
) -> Series:
    """Combine what the user, the header, the path and an inventory say, in this order."""
    description = header.text("SeriesDescription") or listed
    public = _without_names(description, header.text("PatientName"))
    side = known.side or _side(header, description)
    subject = known.subject or _subject(header, place, conventions, known.keep_ids)
    visit = known.visit or conventions.visit_from(header.text("StudyDescription"), place)
    return Series(
        path=source,
        subject=subject,
        visit=visit,
        side=side,
        sequence=known.sequence or sequence_of(public),
        description=slug(public),
    )


def _without_names(description: str, person: str) -> str:
    """Return a description without the words of the patient's name, which some type there."""
    words = {word.lower() for word in re.findall(r"\w{3,}", person)}

    def unless_named(match: re.Match[str]) -> str:
        return "" if match[0].lower() in words else match[0]

    return re.sub(r"[^\W_]+", unless_named, description)


def _side(header: Header, description: str) -> str | None:
    match = _SIDE.search(description)
    if match:
        return match[1].lower()
    letter = header.text("Laterality") or header.text("ImageLaterality")
    return _SIDE_LETTERS.get(letter.upper())


def _subject(header: Header, place: SeriesPath, conventions: Conventions, keep_ids: bool) -> str:
    """Return the study's id of a participant, and of anybody else a digest of the patient id.

    A patient id may be a hospital's own number, which is shown only with `keep_ids`.
    """
    patient = header.text("PatientID")
    participant = conventions.subject_from(patient, place)
    if participant is not None:
        return participant
    if keep_ids and patient:
        return slug(patient) or "unknown"
    return f"anon-{digest_of(patient or header.text('SeriesInstanceUID'))}"
