"""Archives of DICOM files, read without trusting them.

No path in an archive is used, and none may grow without bound.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from isal import igzip

from oatools.core.errors import ItemError

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
#: What programs put behind the name of a file, or beside it, while they download it: NDA's tools,
#: wget, browsers, aria2, transfer programs.
UNFINISHED = (
    ".partial",
    ".part",
    ".crdownload",
    ".download",
    ".opdownload",
    ".filepart",
    ".aria2",
)
#: What aria2 puts beside a file, which has its whole size from the start, until it is finished.
CONTROL_FILE = ".aria2"
#: A series of the largest kind (a T2 map, an enhanced multi-frame) stays far below these.
MAX_BYTES = 8 << 30
MAX_FILES = 50_000

_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    zlib.error,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a path is a file that `members` reads."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def finished_name(name: str) -> str | None:
    """Return the name that a download will have once it is finished; None for any other name."""
    if not name.lower().endswith(UNFINISHED):
        return None
    bare, _, _ = name.rpartition(".")
    return bare or None


def members(archive: Path, links: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of an archive's regular files, in order.

    Folders, devices and links are passed over; with `links` these come with no bytes, so that they
    are counted. The bytes are never written anywhere under that name. Raises an `ItemError` if the
    archive is damaged, asks for a password, or states or holds more than `MAX_FILES` files or
    `MAX_BYTES` bytes.
    """
    read = _zip if archive.name.lower().endswith(".zip") else _tar
    try:
        for name, content in read(archive):
            if content is not None:
                yield name, content
            elif links:
                yield name, b""
    except _DAMAGED as error:
        first_line = str(error).strip().split("\n")[0]
        reason = first_line or type(error).__name__
        raise ItemError(f"the archive cannot be read ({reason})", "download it again") from None


def _tar(archive: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield what a tar holds; links without content."""
    is_zipped = archive.name.lower().endswith(("gz", "tgz"))
    # As a stream: a member is read once, in order, and what follows the one that is wanted is not
    # unpacked.
    with (
        igzip.open(archive) if is_zipped else archive.open("rb") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        total = 0
        for count, member in enumerate(tar, start=1):
            total += member.size
            _limit(count, total)
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content.read()
            elif member.issym() or member.islnk():
                yield member.name, None


def _zip(archive: Path) -> Iterator[tuple[str, bytes | None]]:
    with zipfile.ZipFile(archive) as opened:
        total = 0
        for count, entry in enumerate(opened.infolist(), start=1):
            total += entry.file_size
            _limit(count, total)
            if not entry.is_dir():
                with opened.open(entry) as stream:  # stops at the size stated, whatever is in it
                    yield entry.filename, stream.read()


def _limit(files: int, size: int) -> None:
    if files > MAX_FILES or size > MAX_BYTES:
        raise ItemError(
            f"the archive holds more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB, which no "
            "series does",
            "look at it by hand",
        )
