"""The series that a folder, archive or file holds, by the headers of its files.

Where a study's own layout says that a folder is one series, and its files are numbered without a
gap (001 to 035), one header is read. Anywhere else all are, whatever the files are called: a few
tell nothing about the others. That takes some 80 us a file.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.dicom import names
from oatools.dicom.archives import finished_name, is_archive
from oatools.dicom.files import all_contents, files_of
from oatools.dicom.headers import Header, read_header

#: Modalities of reports and marks.
NO_IMAGES = {"SR", "PR", "KO", "SEG", "RTSTRUCT"}
#: What says of a series whose it is and what it shows, and of a file whether it is an image.
KEYWORDS = (
    "SOPClassUID",
    "StudyDescription",
    "SeriesDescription",
    "Modality",
    "Laterality",
    "ImageLaterality",
    "SeriesInstanceUID",
    "Rows",
    *names.KEYWORDS,
)

_ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"  # MR images of several frames
_STORED = "1.2.840.10008.5.1.4.1.1."  # how classes of stored images and other things begin
_GROUPS = ("SharedFunctionalGroupsSequence",)
# Storage of what is no image: presentation states, waveforms, raw data, reports, documents,
# spectra, surfaces, measurements of eyes, contents and protocols, plans, structures and records of
# radiotherapy.
_NO_IMAGE_CLASSES = tuple(
    f"{_STORED}{number}"
    for number in (
        *("11.", "9.", "66", "88.", "104.", "4.2", "68.", "78.", "79.", "80.", "90.", "131"),
        *("200.", "201.", "481.3", "481.4", "481.5", "481.6", "481.7", "481.8", "481.9", "67"),
    )
)
_SPECTRA = f"{_STORED}4.2"
_UID = re.compile(r"\d+(\.\d+)+")
_HEADER_TRIES = 4
_SHOWN = 3


@dataclass(frozen=True)
class Survey:
    """One header of each series of a source, of images and of what is none.

    `files` is the number of image files; None where they were not counted. `beside` is the number
    of files that are no DICOM.
    """

    headers: list[Header] = field(default_factory=list)
    files: int | None = None
    beside: int = 0


def survey(source: Path, names: list[str] | None, in_layout: bool, is_one: bool) -> Survey:
    """Read one header of each series of a folder, archive or file.

    `names` are the folder's files, if they are known; `in_layout` says that the folder is one
    series by the study's layout, and `is_one` that an archive is one. Raises an `ItemError` if the
    source cannot be read.
    """
    try:
        if is_archive(source):
            return _archive(source, is_one)
        if source.is_dir():
            return _folder(source, files_of(source) if names is None else names, in_layout)
        return _single(source)
    except OSError as error:
        raise ItemError(f"cannot be read: {error.strerror}") from None


def read_identity(content: Path | bytes) -> Header | None:
    """Read the elements that say what a series is; None if it is no DICOM image."""
    header = read_header(content, KEYWORDS)
    if header is None or header.text("SOPClassUID") != _ENHANCED:
        return header
    # What is said of every frame stands behind everything else.
    groups = read_header(content, _GROUPS)
    return header if groups is None else Header({**header.elements, **groups.elements})


def holds_image(header: Header) -> bool:
    """Tell whether a header is of an image, and not of a report, a mark or a scanner's raw data."""
    kind = header.text("SOPClassUID")
    if header.text("Modality") in NO_IMAGES or kind.startswith(_NO_IMAGE_CLASSES):
        return False
    # An image without a size was cut within its header, which its series must fail for.
    return bool(header.text("Rows")) or kind.startswith(_STORED)


def is_damaged(header: Header) -> bool:
    """Tell whether a header of no image lacks what all stored things have, or has an image's size.

    Spectra alone have rows and are no images.
    """
    kind = header.text("SOPClassUID")
    if header.text("Rows"):
        is_other = kind.startswith(_SPECTRA) or header.text("Modality") in NO_IMAGES
        return kind.startswith(_NO_IMAGE_CLASSES) and not is_other
    return not all(_UID.fullmatch(name) for name in (kind, header.text("SeriesInstanceUID")))


def counted_names(names: Sequence[str]) -> bool:
    """Tell whether sorted names are the numbers from 1 on without a gap: 001, 002, ..."""
    if not names or not all(name.isdecimal() for name in names):
        return False
    return len(set(map(len, names))) == 1 and int(names[0]) == 1 and int(names[-1]) == len(names)


def some(names: Iterable[str], most: int = _SHOWN) -> str:
    """Return a few names for a message: `a, b, c, …`."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", …" if len(listed) > most else "")


def _single(source: Path) -> Survey:
    if source.is_symlink() and not source.exists():
        raise ItemError("it is a link that leads nowhere", "get the file that it stands for")
    header = read_identity(source)
    return Survey([] if header is None else [header], 1)


def _folder(folder: Path, names: list[str], in_layout: bool) -> Survey:
    unfinished = next((name for name in names if finished_name(name) is not None), None)
    if unfinished is not None:
        raise ItemError(f"{unfinished} in it is not finished", "download it again")
    if in_layout and counted_names(names):
        for name in names[:_HEADER_TRIES]:
            header = _readable(folder / name)
            if header is not None:
                return Survey([header], len(names))
        raise _no_header(folder, names)
    headers = ((name, _readable(folder / name)) for name in names)
    found = _by_series(headers)
    if not found.headers and (in_layout or any(map(_may_be_lost, names))):
        raise_for_lost(folder, names, in_layout)
    return found


def raise_for_lost(folder: Path, names: Sequence[str], in_layout: bool) -> None:
    """Raise an `ItemError` for a folder of which no file is DICOM, if its files should be."""
    lost = [name for name in names if is_lost(folder / name)]
    if in_layout or lost or all(_IMAGE_NAME.fullmatch(name) for name in names):
        raise _no_header(folder, names)


_IMAGE_NAME = re.compile(r"\d+|.*\.(dcm|ima)", re.IGNORECASE)


def is_lost(path: Path) -> bool:
    """Tell whether a file has no content: it is empty, or a link that leads nowhere."""
    try:
        return path.stat().st_size == 0
    except OSError:
        if path.exists():
            raise
        return True  # a link to itself is no FileNotFoundError


def _may_be_lost(name: str) -> bool:
    return any(letter.isdigit() for letter in name) or _IMAGE_NAME.fullmatch(name) is not None


def _no_header(folder: Path, names: Sequence[str]) -> ItemError:
    links = [name for name in names if not (folder / name).exists()]
    if len(links) == len(names):
        return ItemError(
            f"all of its {len(links)} files ({some(links)}) are links that lead nowhere",
            "get the files that they stand for",
        )
    if all(is_lost(folder / name) for name in names):
        return ItemError(
            f"all of its {len(names)} files ({some(names)}) are empty", "download it again"
        )
    return ItemError(
        f"none of its first files ({some(names, 2)}) has a DICOM header", "download it again"
    )


def _archive(archive: Path, is_one: bool) -> Survey:
    """Survey an archive; with `is_one` it is not read past its first image."""
    if not is_one:
        return _by_series((name, read_identity(content)) for name, content in all_contents(archive))
    for _, content in all_contents(archive):
        header = read_identity(content)
        if header is not None and holds_image(header):
            return Survey([header])
    return Survey()


def _by_series(headers: Iterable[tuple[str, Header | None]]) -> Survey:
    """Return one header of each series, that of an image where it has one."""
    images: dict[str, Header] = {}
    others: dict[str, Header] = {}
    cut: list[Header] = []
    files = beside = 0
    for _, header in headers:
        if header is None:
            beside += 1
        elif not holds_image(header):
            others.setdefault(header.text("SeriesInstanceUID"), header)
        else:
            files += 1
            if header.text("Rows"):
                images.setdefault(header.text("SeriesInstanceUID"), header)
            else:  # it does not say whose it is; the conversion of its folder says that it is cut
                cut.append(header)
    if not images and cut:
        images[cut[0].text("SeriesInstanceUID")] = cut[0]
    marks = [header for identifier, header in others.items() if identifier not in images]
    return Survey([*images.values(), *marks], files, beside)


def _readable(path: Path) -> Header | None:
    """Read a file of a folder; None, too, for a link that leads nowhere."""
    try:
        return read_identity(path)
    except OSError:
        if path.exists():
            raise
        return None
