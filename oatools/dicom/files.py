"""What a series is read from: a folder of files, one of several series in a folder, an archive, a multi-frame file."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from oatools.dicom.archives import SUFFIXES, is_archive, members
from oatools.dicom.headers import read_header, text

_OTHER = (
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
    """Whether a file of that name, which in this study has no extension, may be a DICOM image."""
    lower = name.lower()
    return (
        not lower.startswith(".") and lower != "dicomdir" and not lower.endswith(_OTHER + SUFFIXES)
    )


def files_of(folder: Path) -> list[str]:
    """The names of a folder's own files that may be DICOM, sorted; what lies deeper is another's."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if may_be_dicom(entry.name) and entry.is_file()
        )


def contents(source: Path, series: str | None = None) -> Iterator[tuple[str, Path | bytes]]:
    """Yield name and file (or, from an archive, bytes) of each image of a source.

    `series` is the `series_digest` of one of several series that share a folder or an archive.
    """
    if is_archive(source):
        found = (
            (Path(name).name, content)
            for name, content in members(source)
            if may_be_dicom(Path(name).name)
        )
    elif source.is_dir():
        found = ((name, source / name) for name in files_of(source))
    else:
        found = iter([(source.name, source)])
    for name, content in found:
        if series is None or series_digest(content) == series:
            yield name, content


def series_digest(content: Path | bytes) -> str | None:
    """Eight hexadecimal digits that tell the series of one folder apart, without stating the identifier itself."""
    header = read_header(content, ("SeriesInstanceUID",))
    return None if header is None else digest_of(text(header, "SeriesInstanceUID"))


def digest_of(identifier: str) -> str:
    """The first eight hexadecimal digits of an identifier's SHA-256."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:8]
