"""Archives of DICOM files, read without trusting them.

No path in an archive is used, and none may grow without bound: what it declares is held against its
size (`core.limits`) before it is unpacked, and what comes between the files (long names, further
headers, maps of sparse files) is counted.
"""

import errno
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from isal import igzip

from oatools.core.errors import ItemError
from oatools.core.limits import VARIABLE, allowance, in_units, require_memory

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
#: Archives that are not read: what unpacks them gives no bound to what it takes, or is not at hand.
OTHERS = (
    *(".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz"),
    *(".tar.zst", ".tzst", ".tar.lz4", ".7z", ".rar"),
)
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
#: An archive may hold so many files, or one for each of so many of its own bytes, which is less
#: than an image is packed to.
MAX_FILES, BYTES_OF_A_FILE = 50_000, 1 << 12

# A file is held as it is, for its header, and as its pixels.
_TIMES_HELD = 3
# Headers of a tar: so much between two files, and so much for each in all (a name of the longest
# kind takes 4 KiB, usual ones 512 bytes).
_MOST_BETWEEN, _MOST_FOR_EACH = 1 << 20, 1 << 13
_OTHER_PACKINGS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA"}


def is_archive(path: Path) -> bool:
    """Tell by its name whether a path is a file that `members` reads."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def require_read(path: Path) -> None:
    """Raise an `ItemError` for a file that by its name is an archive of a kind that is not read."""
    for suffix in OTHERS:
        if path.name.lower().endswith(suffix):
            raise ItemError(
                f"an archive packed as {suffix} is not read", "unpack it, or pack it as .tar.gz"
            )


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
    archive is damaged, asks for a password, or states or holds more files or bytes than go with its
    size.
    """
    read = _zip if archive.name.lower().endswith(".zip") else _tar
    try:
        for name, content in read(archive):
            if content is not None:
                yield name, content
            elif links:
                yield name, b""
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # of arbitrary bytes: what can be raised is no closed list
        # A place before the beginning, which damaged numbers lead to, is no fault of the disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        first_line = str(error).strip().split("\n")[0]
        reason = first_line or type(error).__name__
        raise ItemError(f"the archive cannot be read ({reason})", "download it again") from None


class _Limits:
    """What an archive holds so far, against what one of its size may hold."""

    def __init__(self, archive: Path) -> None:
        self.allowed = allowance(archive)
        self.most_files = max(MAX_FILES, archive.stat().st_size // BYTES_OF_A_FILE)
        self.files = 0
        self.bytes = 0

    def add(self, size: int) -> None:
        """Count one more file of a stated size. Raises an `ItemError` if that is too much."""
        self.files += 1
        self.bytes += max(size, 0)
        if self.files > self.most_files:
            raise ItemError(
                f"the archive holds more than {self.most_files} files, which no series of its size "
                "does",
                "look at it by hand",
            )
        require_memory(
            _TIMES_HELD * size, self.allowed, f"a file in the archive is said to have {size} bytes"
        )
        if self.bytes > self.allowed:
            raise ItemError(
                f"the archive unpacks to more than {in_units(self.allowed)}",
                f"if it is what it should be, set {VARIABLE} to more",
            )


# Its stubs know the class of these errors alone.
_EMPTY: type[tarfile.HeaderError] = tarfile.EmptyHeaderError  # type: ignore[attr-defined]
_INVALID: type[tarfile.HeaderError] = tarfile.InvalidHeaderError  # type: ignore[attr-defined]
_CUT_SHORT: type[tarfile.HeaderError] = tarfile.TruncatedHeaderError  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """The header of one member of a tar, which is either right or an error.

    `tarfile` takes a header that is none, behind the first, for the end of the archive: what lies
    behind a damaged one would be missing without a word.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        """Read the next header. Raises a `ReadError` if it is damaged, cut short or not there."""
        try:
            return super().fromtarfile(archive)
        except _EMPTY:
            if archive.offset == 0:
                raise
            raise tarfile.ReadError("it ends without the mark of its end") from None
        except (_INVALID, _CUT_SHORT) as error:
            raise tarfile.ReadError(str(error)) from None


class _Headed:
    """The stream of a tar, of which headers are read up to a limit, and then its files."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._place = 0
        self._granted = _MOST_BETWEEN
        self._end = _MOST_BETWEEN

    def grant(self, content: int) -> None:
        """Let a file of so many bytes be read, and the headers of the next one."""
        self._granted += content + _MOST_FOR_EACH
        self._end = min(self._granted, self._place + content + _MOST_BETWEEN)

    def read(self, count: int) -> bytes:
        """Read so many bytes, or all that there are."""
        part = self.stream.read(count)
        self._place += len(part)
        if self._place > self._end:
            raise ItemError(
                "the archive has longer headers between its files than any has need of",
                "look at it by hand",
            )
        return part


def _tar(archive: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield what a tar holds; links without content."""
    is_zipped = archive.name.lower().endswith(("gz", "tgz"))
    limits = _Limits(archive)
    # As a stream: a member is read once, in order, and what follows the one that is wanted is not
    # unpacked.
    with igzip.open(archive) if is_zipped else archive.open("rb") as stream:
        headed = _Headed(stream)
        with tarfile.open(fileobj=headed, mode="r|", tarinfo=_Header) as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                stored = max(
                    tar.offset - member.offset_data, 0
                )  # a sparse file has less than its size
                limits.add(max(member.size, stored))
                headed.grant(stored)
                # Else all of them stay in memory, and the headers for all go into each.
                tar.members.clear()
                tar.pax_headers.clear()
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
                elif member.issym() or member.islnk():
                    yield member.name, None
            headed.grant(limits.allowed)
            _require_end(tar.fileobj)


def _require_end(stream: BinaryIO) -> None:
    """Read what follows the mark of a tar's end, up to the checksum of gzip; only zeros may.

    Raises a `ReadError` for anything else: zeros are where a header was, or one tar is behind
    another.
    """
    while rest := stream.read(_MOST_BETWEEN):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("there is more behind the mark of its end")


def _zip(archive: Path) -> Iterator[tuple[str, bytes | None]]:
    limits = _Limits(archive)
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            limits.add(entry.file_size)
        for entry in opened.infolist():
            if not entry.is_dir():
                yield entry.filename, _unzipped(opened, entry)


def _unzipped(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type in _OTHER_PACKINGS:
        raise ItemError(
            f"{Path(entry.filename).name} in the archive is packed with "
            f"{_OTHER_PACKINGS[entry.compress_type]}, which cannot be unpacked piece by piece",
            "pack it again as usual (deflate)",
        )
    with opened.open(entry) as stream:
        return stream.read(entry.file_size)  # no more is unpacked, whatever is in it
