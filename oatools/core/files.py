"""Files that appear whole or not at all, and the digests by which they are recognised."""

import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: ISA-L's level for volumes; files are as small as those of zlib's default level, 6.
COMPRESSION = 2


@contextlib.contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which is gone after the block.

    Its name holds host and process, so that two processes never share one; those that a killed
    process of this host left for the same target are removed first. The name keeps the target's
    extension, which nibabel and matplotlib go by.
    """
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
    """Yield a temporary path as `scratch` does, which takes the name of `path` once the block has ended well."""
    with scratch(path) as temporary:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def digest(path: str | Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes, or of a folder: its files' relative names and bytes, in sorted order."""
    path = Path(path)
    total = hashlib.sha256()
    if not path.is_dir():
        _update(total, path)
        return total.hexdigest()
    for member in sorted(p for p in path.rglob("*") if p.is_file()):
        name = os.fsencode(member.relative_to(path))
        total.update(len(name).to_bytes(8, "big") + name + member.stat().st_size.to_bytes(8, "big"))
        _update(total, member)
    return total.hexdigest()


def file_stamp(path: str | Path) -> tuple[str, int, int]:
    """What tells a file from others and from what it is later, without reading it: where it is, its time and size.

    For what is kept in memory of a file; one that is not there has no time and no size.
    """
    where = Path(path).resolve()
    with contextlib.suppress(OSError):
        found = where.stat()
        return str(where), found.st_mtime_ns, found.st_size
    return str(where), 0, 0


def digest_json(value: Any) -> str:
    """SHA-256 (hexadecimal) of a value's canonical JSON: sorted keys, no white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _update(total: "hashlib._Hash", path: Path) -> None:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)


def _remove_abandoned(path: Path, host: str) -> None:
    for left in path.parent.glob(f".{_escape(host)}.*.{_escape(path.name)}"):
        pid = left.name[len(host) + 2 :].split(".", 1)[0]
        if pid.isdigit() and int(pid) != os.getpid() and not _alive(int(pid)):
            left.unlink(missing_ok=True)


def _escape(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
