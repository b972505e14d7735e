"""What a path is, looked at before anything is read: a pipe, a device or a folder has no end.

Readers of volumes, features, models and tables ask here first, so that none of them waits for a
pipe that nobody writes to, or reads a device for ever.
"""

import os
import re
import stat
from pathlib import Path

from oatools.core.errors import ItemError, UsageError

# What a path names that is no file, by the type in its mode.
_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# Where a process finds what it was given open: by the shell's `<(...)`, or as standard input.
_GIVEN = re.compile(r"/dev/stdin|(?:/dev/fd|/proc/self/fd)/(\d+)")


def other_kind(path: str | Path) -> str:
    """Return what a path is that is neither a file nor missing: `a folder`, `a pipe (FIFO)` ...

    Empty for a file, and for what is not there. Links are followed; nothing is opened.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - of a text, too, without making it a Path
    except OSError:
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "")


def require_file(path: str | Path, what: str = "a file") -> None:
    """Raise an `ItemError` for a path that is not a file, named as `what` should be there."""
    kind = other_kind(path)
    if kind == "a folder":
        raise ItemError(f"{path} is a folder, not {what}", "give the file")
    if kind:
        raise ItemError(f"{path} is {kind}, not {what}", "give a plain file")
    if not Path(path).is_file():
        what_it_is = " (a link that leads nowhere)" if Path(path).is_symlink() else ""
        raise ItemError(
            f"{path}: no such file{what_it_is}", "check the column 'path' and the current directory"
        )


def require_readable(path: str | Path) -> None:
    """Raise a `UsageError` for a table that has no end, or none that can be waited for.

    A table may come from a pipe that the process was given open (`<(...)`, `/dev/stdin`), from a
    terminal, or be `/dev/null`. A pipe with a name of its own, which perhaps nobody writes to, is
    refused, as are folders and other devices. What is not there is left to `open`.
    """
    kind = other_kind(path)
    given = _GIVEN.fullmatch(str(path))
    if kind == "a pipe (FIFO)" and given is None:
        raise UsageError(f"{path} is a pipe", "give a file, or `-` with the pipe as standard input")
    if kind == "a device" and not _ends(path, given):
        raise UsageError(f"{path} is a device, not a table", "give a file")
    if kind in ("a folder", "a socket"):
        raise UsageError(f"{path} is {kind}, not a table", "give a file")


def _ends(path: str | Path, given: re.Match[str] | None) -> bool:
    """Tell whether what comes from a device ends: nothing does, and what somebody types."""
    if given is not None and os.isatty(int(given[1] or 0)):
        return True
    return os.stat(path).st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116
