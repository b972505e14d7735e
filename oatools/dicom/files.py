"""The files of a source: a folder, one of several series in it, an archive, a multi-frame file."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from oatools.core.provenance import PHANTOM_IMPLEMENTATION
from oatools.dicom.archives import OTHERS, SUFFIXES, finished_name, is_archive, members
from oatools.dicom.headers import read_header

_NOT_DICOM = (
    *SUFFIXES,
    *OTHERS,
    ".csv",
    ".txt",
    ".tsv",
    ".json",
    ".nii",
    ".nii.gz",
    ".h5",
    ".png",
    ".jpg",
    ".md",
    ".pdf",
    ".xml",
    ".html",
    ".htm",
    ".exe",
    ".inf",
    ".py",
)


def may_be_dicom(name: str) -> bool:
    """Tell whether a file of that name may be a DICOM image, which often has no extension.

    A download that is not finished may be what it will be.
    """
    lower = (finished_name(name) or name).lower()
    is_hidden = lower.startswith(".")
    return not is_hidden and lower != "dicomdir" and not lower.endswith(_NOT_DICOM)


def files_of(folder: Path) -> list[str]:
    """Return the sorted names of a folder's own files, not of those below it, that may be DICOM.

    Links that lead nowhere are among them: whoever reads them says so.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if may_be_dicom(entry.name) and _is_file(entry)]
    return sorted(names)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry of a folder is one itself; a link that leads back to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:  # a link that leads back to itself
        return True


def all_contents(source: Path) -> Iterator[tuple[str, Path | bytes]]:
    """Yield name and file (or bytes) of whatever in a source may be an image by its name."""
    yield from _images(source)


def contents(source: Path, series: str | None = None) -> Iterator[tuple[str, Path | bytes]]:
    """Yield name and file (or, from an archive, bytes) of each image of a source.

    `series` is the `series_digest` of one of several series that share a folder or an archive. What
    has no content (a link that leads nowhere) is passed over; `stock.take_stock` tells of it.
    """
    for name, content in _images(source):
        if isinstance(content, Path) and not content.exists():
            continue
        if series is None or series_digest(content) == series:
            yield name, content


def series_digest(content: Path | bytes) -> str | None:
    """Return eight hexadecimal digits by which series of one folder differ; None for no image.

    The identifier itself is not stated.
    """
    header = read_header(content, ("SeriesInstanceUID",))
    return None if header is None else digest_of(header.text("SeriesInstanceUID"))


def listing(source: Path) -> tuple[tuple[str, int], ...]:
    """Return name and size of each file of a folder, or of a single file, by which copies agree."""
    if not source.is_dir():
        return ((source.name, source.stat().st_size),)
    return tuple((name, _size(source / name)) for name in files_of(source))


def _size(path: Path) -> int:
    """Return a file's size in bytes; of a link that leads nowhere, -1."""
    return path.stat().st_size if path.exists() else -1


def instances(source: Path, series: str | None = None) -> set[str]:
    """Return the identifiers of a series' images, by which copies of it are known."""
    found = set()
    for _, content in contents(source, series):
        header = read_header(content, ("SOPInstanceUID",))
        if header is not None:
            found.add(header.text("SOPInstanceUID"))
    return found


def digest_of(identifier: str) -> str:
    """Return the first eight hexadecimal digits of an identifier's SHA-256."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:8]


def is_phantom(source: Path, series: str | None = None) -> bool:
    """Tell whether a series was written by `oa-phantom`, which signs the headers of its files."""
    for _, content in contents(source, series):
        header = read_header(content, ("ImplementationVersionName",))
        return (
            header is not None
            and header.text("ImplementationVersionName") == PHANTOM_IMPLEMENTATION
        )
    return False


def _images(source: Path) -> Iterator[tuple[str, Path | bytes]]:
    if is_archive(source):
        for path, content in members(source, links=True):
            name = Path(path).name
            if may_be_dicom(name):
                yield name, content
    elif source.is_dir():
        for name in files_of(source):
            yield name, source / name
    else:
        yield source.name, source
