"""Files that appear whole or not at all, and the digests that identify them."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oatools.core.errors import UsageError
from oatools.core.paths import require_file

if TYPE_CHECKING:
    import hashlib

#: ISA-L's level for volumes; files are as small as those of zlib's default level, 6.
COMPRESSION = 2


@contextlib.contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which is gone after the block.

    Its name holds host and process, so that two processes never share one; those that a killed
    process of this host left for the same target are removed first. The name keeps the target's
    extension, which nibabel and matplotlib go by.
    """
    import socket

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    _remove_abandoned(path, host)
    temporary = path.with_name(f".{host}.{os.getpid()}.{path.name}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path as `scratch` does, and rename it to `path` when the block succeeds.

    A block that raises leaves an older file of that name as it was.
    """
    with scratch(path) as temporary:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Iterable[str | Path] = (), force: bool = False
) -> None:
    """Raise a `UsageError` for an output file that cannot be written, or would destroy something.

    `outputs` maps what messages call each output to its file, None where it is not wanted. Refused
    are folders, devices and `-`, a file that is also one of the `inputs` or another output, and,
    without `force`, a file that exists.
    """
    taken = {Path(path).resolve(): f"{path} is also read" for path in inputs if path != "-"}
    for name, path in outputs.items():
        if path is None:
            continue
        is_other_kind = path.exists() and not path.is_file()
        if is_other_kind or str(path) == "-":
            raise UsageError(
                f"{name} {path}: a plain file is needed", "standard output has the table"
            )
        resolved = path.resolve()
        if resolved in taken:
            raise UsageError(f"{name} {path}: {taken[resolved]}", "give it another name")
        taken[resolved] = f"{name} writes {path}, too"
        if path.exists() and not force:
            raise UsageError(f"{name} {path} exists", "use `force` to replace it, or another name")


def digest(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes.

    Raises an `ItemError` for what is not a file, which is not read.
    """
    import hashlib  # loads OpenSSL, a tenth of the time in which a command shows its help

    require_file(path)
    total = hashlib.sha256()
    _update(total, Path(path))
    return total.hexdigest()


def tree_digest(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file, or of a folder and all files in it.

    A file's is its `digest`. A folder's is that of the relative names, sizes and bytes of its
    files, in sorted order; times do not count.
    """
    import hashlib

    path = Path(path)
    if not path.is_dir():
        return digest(path)
    total = hashlib.sha256()
    members = [member for member in path.rglob("*") if member.is_file()]
    for member in sorted(members):
        name = os.fsencode(member.relative_to(path))
        size = member.stat().st_size
        # With both lengths in it, no two folders give the same stream of bytes.
        total.update(len(name).to_bytes(8, "big") + name + size.to_bytes(8, "big"))
        _update(total, member)
    return total.hexdigest()


def file_stamp(path: str | Path) -> tuple[str, int, int]:
    """Identify a file's present content without reading it: resolved path, time (ns) and size.

    This is the key under which something read from a file may be kept in memory. The time and size
    of a missing file are 0.
    """
    resolved = Path(path).resolve()
    try:
        found = resolved.stat()
    except OSError:
        return str(resolved), 0, 0
    return str(resolved), found.st_mtime_ns, found.st_size


def digest_json(value: Any) -> str:
    """SHA-256 (hexadecimal) of a value's canonical JSON: sorted keys, no white space."""
    import hashlib

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _update(total: "hashlib._Hash", path: Path) -> None:
    """Add the bytes of a file to a digest, a mebibyte at a time."""
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)


def _remove_abandoned(path: Path, host: str) -> None:
    """Remove the temporary files for `path` of processes of this host that have ended."""
    import glob

    prefix = f".{host}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*.{glob.escape(path.name)}"):
        pid = left.name.removeprefix(prefix).split(".", 1)[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            left.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
