"""How much memory one file may take, held against what it declares before anything is allocated.

A file of a few kilobytes can state, or unpack to, terabytes. What its content takes may be as much
as the variable `OATOOLS_MEMORY_LIMIT` says (2 GiB where it is not set), or 64 times the bytes that
the file has on disk, whichever is more: so no small file takes a machine, and a scan of any size
can be read, as scans are packed to a half, or at best to a tenth.
"""

import os
from pathlib import Path

from oatools.core.errors import ItemError, UsageError

#: The environment variable: a number of bytes, or one with K, M, G or T (powers of 1024).
VARIABLE = "OATOOLS_MEMORY_LIMIT"
_DEFAULT_BYTES = 2 << 30
_TIMES_ITS_SIZE = 64
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_BLOCK_BYTES = 512  # of `st_blocks`, by POSIX


def memory_limit() -> int:
    """Return the limit in bytes. Raises a `UsageError` for a variable that is no size."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return _DEFAULT_BYTES
    bare = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = bare[-1:] if bare[-1:] in "KMGT" else ""
    number = bare.removesuffix(unit).strip()
    try:
        limit = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UsageError(f"{VARIABLE} is {text!r}, which is no size", "write it as in 2G or 512M")
    return limit


def allowance(path: Path) -> int:
    """Return the bytes of memory that an existing file, or what is read of it, may take."""
    found = path.stat()
    # The holes of a sparse file have cost nobody anything; some file systems tell no blocks at all.
    on_disk = found.st_size
    if found.st_blocks:
        on_disk = min(on_disk, found.st_blocks * _BLOCK_BYTES)
    return allowance_of(on_disk)


def allowance_of(size: int) -> int:
    """Return the bytes of memory that what is read of files of so many bytes in all may take."""
    return max(memory_limit(), _TIMES_ITS_SIZE * size)


def require_memory(needed: int, allowed: int, what: str) -> None:
    """Raise an `ItemError` where `what` (as "its header states ...") takes more than is allowed."""
    if needed > allowed:
        raise ItemError(
            f"{what}, which takes {in_units(needed)} of memory where {in_units(allowed)} are the "
            "limit",
            f"if it is what it should be, set {VARIABLE}={-(-needed // (1 << 30))}G",
        )


def in_units(size: int) -> str:
    """Return a number of bytes as people write it: `1.5 GiB`."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g} {unit}"
    return f"{size} bytes"
