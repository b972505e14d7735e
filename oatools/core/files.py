"""Files that appear whole or not at all, and the digests that identify them.

A file is written under a temporary name in the folder of its target, which nobody can foresee, and
which is made there and then: no link that somebody has put there is followed, and no file is
opened twice by name. The process that writes holds a lock on it. So what a killed process left is
known from what a living one writes, in another container of the same host, too, and is removed by
the next process that writes into the folder.
"""

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from oatools.core.errors import ItemError, UsageError
from oatools.core.paths import require_file

if TYPE_CHECKING:
    import hashlib

#: ISA-L's level for volumes; files are as small as those of zlib's default level, 6.
COMPRESSION = 2
#: How temporary names begin; the kernel that made them and 64 random bits follow.
TEMPORARY = ".oatools-"

# Locks are seen by all processes of a kernel, but not on every file system by those of another.
_ABANDONED_SECONDS = 7 * 24 * 3600.0
_UNKNOWN = "00000000"
_swept: set[str] = set()
# What this process has under a temporary name, or is about to: a signal that unwinds may come
# between any two steps, before the block that would remove it is entered, or while it is left.
_own: set[Path] = set()
os.register_at_fork(after_in_child=_own.clear)
# How systems answer where a file can have no second name.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)

# A file's path, device, inode, size and time.
_State = tuple[str, int, int, int, int]


class UnderWay:
    """A file under a temporary name: `stream` takes its bytes, and `publish` gives it its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary, self.stream = _create(path)

    def finish(self) -> None:
        """See to it that all bytes are on the disk."""
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def publish(self) -> None:
        """Give the file its name, in place of an older one.

        Raises an `OSError` where it, or its folder, was removed or exchanged since it was made.
        """
        written = os.fstat(self.stream.fileno())
        try:
            is_there = os.path.samestat(written, os.lstat(self.temporary))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            reason = "it or its folder was removed while it was written"
            raise FileNotFoundError(errno.ENOENT, reason, str(self.path))
        self.temporary.replace(self.path)

    def publish_new(self) -> bool:
        """Give the file its name, which must be free; False where it is not."""
        try:
            os.link(self.temporary, self.path)
        except FileExistsError:
            return False
        return True

    def close(self) -> None:
        """Remove the temporary name, if the file has no other by now."""
        self.temporary.unlink(missing_ok=True)
        _own.discard(self.temporary)
        # What could not be written was said before, and is not wanted any more.
        with contextlib.suppress(OSError):
            self.stream.close()


@contextlib.contextmanager
def under_way(path: str | Path) -> Iterator[UnderWay]:
    """Yield a file under a temporary name in the folder of `path`, which is made if missing.

    It is gone after the block unless it was published. Errors of writing name `path`.
    """
    path = Path(path)
    with naming(path):
        file = UnderWay(path)
        try:
            yield file
        finally:
            file.close()


@contextlib.contextmanager
def atomic(path: str | Path, before: Callable[[], None] | None = None) -> Iterator[BinaryIO]:
    """Yield a stream whose bytes are the file `path` when the block succeeds.

    A block that raises leaves an older file of that name as it was. `before` is called when all is
    written, with no other process that asks for it in the folder (`alone_in`), and may raise, too.
    """
    with under_way(path) as file:
        yield file.stream
        file.finish()
        if before is None:
            file.publish()
            return
        with alone_in(file.path.parent):
            before()
            file.publish()


def write_bytes(path: str | Path, content: bytes, before: Callable[[], None] | None = None) -> None:
    """Write a file, atomically; see `atomic`."""
    with atomic(path, before) as stream:
        stream.write(content)


def write_new(path: Path, content: bytes) -> None:
    """Write a file into a folder that is itself under way, which must not be there yet.

    Nothing is overwritten, and no link is followed.
    """
    with naming(path), path.open("xb") as stream:
        stream.write(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_first(path: Path, content: bytes, private: bool = False) -> bool:
    """Write a file that is not there yet; False, and nothing done, where it is.

    Of processes that do it at once one does, and nobody sees the file before it is whole. A
    `private` one is for its owner alone.
    """
    with under_way(path) as file:
        if private:
            os.fchmod(file.stream.fileno(), 0o600)
        file.stream.write(content)
        file.finish()
        try:
            return file.publish_new()
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        # No two names here, so that it may be seen half-written, but never be overwritten.
        return _exclusively(path, content, 0o600 if private else 0o666)


def _exclusively(path: Path, content: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return True


@contextlib.contextmanager
def shared(path: Path, beginning: bytes, private: bool = False) -> Iterator[FileIO]:
    """Yield a file that processes add to, open to be read and appended, with no other one in it.

    A file that is missing is made with its `beginning`, for its owner alone if it is `private`. The
    lock is on the file itself, and goes with its last holder, whatever becomes of that. As a file
    may be replaced by another one, a process that waited may hold the lock of one that is gone.

    Raises a `UsageError` for what is no file, which is not waited for.
    """
    while True:
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if not write_first(path, beginning, private) and not path.exists():
                raise UsageError(f"{path} is a link that leads nowhere", "give a file") from None
            continue
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path}: a plain file is needed", "give one")
            with contextlib.suppress(OSError):  # no locks here
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_still_at(path, descriptor):
                yield stream
                return


def is_still_at(path: Path, descriptor: int) -> bool:
    """Tell whether what was opened lies at a path, and was not removed or exchanged since."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def scratch(folder: str | Path) -> Iterator[BinaryIO]:
    """Yield a temporary file in a folder, which is gone after the block; `name` is its path."""
    with under_way(Path(folder) / "temporary file") as file:
        yield file.stream


@contextlib.contextmanager
def scratch_folder(parent: str | Path, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new folder in another, with the permissions that the umask leaves of `mode`.

    What is at its path after the block is removed: to keep the folder, rename it.
    """
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    while True:
        folder = parent / _temporary_name()
        with _known(folder):
            os.mkdir(folder, mode)  # noqa: PTH102
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            _own.discard(folder)
            if not parent.is_dir():
                raise
            continue  # somebody took it for abandoned before it was locked
        if _is_ours_alone(descriptor):
            break
        _own.discard(folder)
        os.close(descriptor)
    try:
        yield folder
    finally:
        _remove(folder)
        _own.discard(folder)
        os.close(descriptor)


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a folder that nobody else can read, where the system has its temporary files."""
    import tempfile

    with scratch_folder(tempfile.gettempdir(), mode=0o700) as folder:
        yield folder


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others that ask for the same from a folder, for as short as it takes to rename files.

    File systems that lock no folders let everybody in.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors name a file or folder that are of its temporary name, or of none."""
    try:
        yield
    except OSError as error:
        name = error.filename
        parts = Path(name).parts if isinstance(name, str) else ()
        if name is None or any(map(is_temporary, parts)):
            error.filename = str(path)
        raise


def remove_own() -> None:
    """Remove whatever this process has under temporary names, as it ends by a signal."""
    while _own:
        with contextlib.suppress(OSError):
            _remove(_own.pop())


def is_temporary(name: str) -> bool:
    """Tell whether a file or folder of that name is one that somebody is writing, or left."""
    return name.startswith(TEMPORARY)


class Snapshot(NamedTuple):
    """What files were like before they were read, of folders the files in them."""

    states: dict[Path, "list[_State]"]

    @classmethod
    def of(cls, *paths: Path) -> "Snapshot":
        """Take the state of files as they are now."""
        return cls({path: _states(path) for path in paths})

    def require(self) -> None:
        """Raise an `ItemError` for a file that has changed.

        Where none has, what is recorded of an input, such as its digest, is of the bytes that were
        worked on.
        """
        for path, states in self.states.items():
            if _states(path) != states:
                raise ItemError(f"{path} was changed while it was read", "run it again")


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, by links of any kind, or would if it were there."""
    with contextlib.suppress(OSError):
        if one.samefile(other):
            return True
    return one.name == other.name and one.parent.resolve() == other.parent.resolve()


def write_outputs(contents: Mapping[str, tuple[Path, bytes]], force: bool = False) -> None:
    """Write files, or keep those that hold the same already, as an interrupted run leaves them.

    `contents` maps what messages call each output to its file and bytes. Raises a `UsageError`,
    before anything is written, for a file that is there and holds something else, unless `force`;
    and a `FileNotFoundError` where one was removed before the last was written.
    """
    for name, (path, content) in contents.items():
        if path.exists() and not force and path.read_bytes() != content:
            raise UsageError(f"{name} {path} exists", "use `force` to replace it, or another name")
    for path, content in contents.values():
        if not path.exists() or path.read_bytes() != content:
            write_bytes(path, content)
    for path, _ in contents.values():
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "it was removed while others were written", path)


def first_repeated(paths: Sequence[Path]) -> Path | None:
    """Return the first path that leads to the file or folder of one before it, None if none."""
    for index, path in enumerate(paths):
        if any(is_same_file(path, other) for other in paths[:index]):
            return path
    return None


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Iterable[str | Path] = (), force: bool = False
) -> None:
    """Raise a `UsageError` for an output file that cannot be written, or would destroy something.

    `outputs` maps what messages call each output to its file, None where it is not wanted. Refused
    are folders, devices and `-`, a file that is also one of the `inputs` or another output, by
    whatever name, and, without `force`, a file that exists.
    """
    read = [Path(path) for path in inputs if path != "-"]
    written: dict[str, Path] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        is_other_kind = path.exists() and not path.is_file()
        if is_other_kind or str(path) == "-":
            raise UsageError(
                f"{name} {path}: a plain file is needed", "standard output has the table"
            )
        for other in read:
            if is_same_file(path, other):
                raise UsageError(f"{name} {path}: {other} is also read", "give it another name")
        for other_name, other in written.items():
            if is_same_file(path, other):
                raise UsageError(
                    f"{name} {path}: {other_name} writes {other}, too", "give it another name"
                )
        written[name] = path
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


def unsealed(record: Mapping[str, Any], seal: str) -> dict[str, Any]:
    """Return a record without its field `seal`, which holds a digest of the others."""
    return {name: value for name, value in record.items() if name != seal}


def record_digest(record: Mapping[str, Any], seal: str) -> str:
    """SHA-256 (hexadecimal) of a record as JSON without its field `seal`, which holds that."""
    return digest_json(unsealed(record, seal))


def _update(total: "hashlib._Hash", path: Path) -> None:
    """Add the bytes of a file to a digest, a mebibyte at a time."""
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)


def _create(path: Path) -> tuple[Path, BinaryIO]:
    """Make a temporary file in the folder of a path, locked, and return its path and it, open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    while True:
        temporary = path.parent / _temporary_name()
        with _known(temporary):
            # Exclusive, which follows no link; with the permissions that the umask leaves.
            stream = temporary.open("x+b")
        if _is_ours_alone(stream.fileno()):
            return temporary, stream
        _own.discard(temporary)
        stream.close()


@contextlib.contextmanager
def _known(temporary: Path) -> Iterator[None]:
    """Note a temporary name before the block gives it to something of ours."""
    _own.add(temporary)
    try:
        yield
    except OSError:  # there is nothing, or something that is not ours
        _own.discard(temporary)
        raise


def _temporary_name() -> str:
    return f"{TEMPORARY}{_kernel()}-{os.urandom(8).hex()}"


def _kernel() -> str:
    """Identify the running kernel, by 8 hexadecimal digits: all its processes see the same locks.

    `_UNKNOWN` where that is not known.
    """
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        identity = ""
    return identity[:8] if len(identity) >= 8 else _UNKNOWN


def _is_ours_alone(descriptor: int) -> bool:
    """Lock what was just made; False if somebody took it for abandoned before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        return True
    return os.fstat(descriptor).st_nlink > 0


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, once a process."""
    if str(folder) in _swept:
        return
    _swept.add(str(folder))
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if is_temporary(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(folder / name)


def _remove_if_abandoned(path: Path) -> None:
    """Remove a temporary file or folder that no process holds.

    One that a process of another kernel made, whose lock may not be seen, only when it is old.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return
    kernel = _kernel()
    is_locked_here = kernel != _UNKNOWN and path.name.startswith(f"{TEMPORARY}{kernel}-")
    is_old = time.time() - found.st_mtime > _ABANDONED_SECONDS
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # no locks here
            is_locked_here = False
        if is_locked_here or is_old:
            _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file, or a folder and what is in it; following no link."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _states(path: Path) -> list[_State]:
    """What changes with the content of a file or folder."""
    members = sorted(path.rglob("*")) if path.is_dir() else [path]
    states: list[_State] = []
    for member in members:
        try:
            found = member.stat()
        except OSError:
            states.append((str(member), 0, 0, 0, 0))
            continue
        if not stat.S_ISDIR(found.st_mode):
            state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            states.append((str(member), *state))
    return states
