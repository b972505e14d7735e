"""What folders, DICOM files and archives are that no command here wrote, and what can be done next.

A few headers of DICOM files are read, and nothing of them that could name a person is told.
"""

import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from oatools.checking.places import FEATURES, MODEL, TABLE, VOLUME
from oatools.core.manifest import without_extension
from oatools.dicom.archives import is_archive
from oatools.dicom.files import files_of
from oatools.dicom.headers import looks_like_dicom

#: Kinds of what is no work of these commands.
FOLDER, SERIES, DOWNLOAD = "folder", "DICOM files", "folder with DICOM files"
IMAGE, ARCHIVE = "DICOM file", "archive"
#: What `oa-info` calls the command lines that it suggests.
TRY = "try"
#: What it is to say how to convert: the place of series, as the shell takes it.
CONVERT = "convert"

# Enough of a file to tell whether it is DICOM.
_HEAD_BYTES = 512
# Entries that are looked at for a DICOM file before a folder is taken for one without.
_MOST_ENTRIES = 2000
# Of the files of one folder, those that are opened: readme files may lie before the images.
_MOST_OPENED = 5
_PATTERNS = {VOLUME: "*.nii*", FEATURES: "*.h5", MODEL: "*.safetensors", TABLE: "*.tsv"}


def kind_of_folder(folder: Path) -> str:
    """Return what a folder is, by the first files in it and below it."""
    first = _dicom_below(folder)
    if first is None:
        return FOLDER
    return SERIES if first.parent == folder else DOWNLOAD


def kind_of_file(path: Path) -> str | None:
    """Return what a file is that no command here writes; None where that is not known."""
    if is_archive(path):
        return ARCHIVE
    return IMAGE if _is_dicom(path) else None


def facts_of_series(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield how many series the DICOM files of a folder are of, and how they are converted."""
    from oatools.dicom.series import Overrides, describe
    from oatools.oai import release

    found = describe(folder, release, Overrides())
    yield "files", str(len(files_of(folder)))
    yield "series", str(len(found.series))
    yield "x_rays", str(found.x_rays) if found.x_rays else ""
    yield "others", str(found.others) if found.others else ""
    yield from _conversion(folder)


def facts_of_download(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what lies in a folder with DICOM files further down."""
    yield from _contents(folder)
    first = _dicom_below(folder)
    yield "first", "" if first is None else str(first.relative_to(folder))
    yield from _conversion(folder)


def facts_of_folder(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield how many files of which ending lie in any other folder."""
    yield from _contents(folder)
    for pattern in _PATTERNS.values():
        if any(folder.glob(pattern)):
            yield TRY, f"oa-info {shlex.quote(str(folder))}/{pattern}"
    yield TRY, f"oa-check {shlex.quote(str(folder))}"


def facts_of_image(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what to do with one DICOM file, which mostly is a slice of the series beside it."""
    yield "bytes", str(path.stat().st_size)
    yield from _conversion(path.parent)


def facts_of_archive(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what to do with an archive, which is not opened here."""
    yield "bytes", str(path.stat().st_size)
    yield from _conversion(path)


def _conversion(source: Path) -> Iterator[tuple[str, str]]:
    yield CONVERT, shlex.quote(str(source))


def _contents(folder: Path) -> Iterator[tuple[str, str]]:
    folders, endings = 0, Counter[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                folders += 1
            elif not entry.name.startswith("."):
                endings[_ending(entry.name)] += 1
    yield "folders", str(folders) if folders else ""
    for ending, count in sorted(endings.items()):
        yield f"files.{ending}", str(count)


def _ending(name: str) -> str:
    stem = without_extension(name)
    return (name[len(stem) + 1 :] if stem != name else Path(name).suffix[1:]) or "without ending"


def _dicom_below(folder: Path) -> Path | None:
    """Return the first DICOM file in a folder or below, where one is found soon."""
    seen = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        seen += len(folders) + len(names)
        found = _first_dicom(Path(place), files_of(Path(place)))
        if found is not None or seen > _MOST_ENTRIES:
            return found
    return None


def _first_dicom(folder: Path, names: list[str]) -> Path | None:
    paths = (folder / name for name in names[:_MOST_OPENED])
    return next((path for path in paths if _is_dicom(path)), None)


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return looks_like_dicom(stream.read(_HEAD_BYTES))
    except OSError:
        return False
