"""Reading files with libraries that may hang, crash or take all memory over foreign bytes."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from oatools.core.errors import ItemError
from oatools.core.process import Child, Children, Died, TimedOut, is_child
from oatools.core.signals import ENDED

Result = TypeVar("Result")

#: Limits of one call: processor time, wall clock (networks are slow), memory beyond that in use.
PROCESSOR_SECONDS, WALL_SECONDS, MEMORY_BYTES = 3, 600.0, 2 << 30

_REMEDY = "the file is damaged or was made to do harm: make it again"
# No file does this: a person or a scheduler ends processes so, and the system if memory is short.
# Of those that it answers it ends with the status that a shell would give.
_FROM_OUTSIDE = ("SIGKILL", *(f"exit status {status}" for status in ENDED))
_ENDED_FROM_OUTSIDE = "it was killed from outside, or memory is short: run it again"
_lock = threading.Lock()
_reader: Child | None = None


def guarded(
    function: Callable[..., Result], path: str | Path, *arguments: Any, **named: Any
) -> Result:
    """Return what a function makes of a file, called where a hang or crash of it can be survived.

    The function is called in a process of its own, kept for the next call, unless this is a child
    of a run over rows already, which its parent survives. It and its arguments must be picklable.
    It must not take more than 3 s of processor time, or 2 GiB of memory.

    Raises whatever the function raises; and an `ItemError` if it hangs, crashes, or takes more.
    """
    global _reader
    call = (PROCESSOR_SECONDS, function, path, arguments, named)
    if is_child():
        result: Result = _within_limits(call)
        return result
    folder = Path.cwd()  # the process is kept, and paths may be relative
    with _lock:
        if _reader is None:
            _reader = Children(_in_folder).start()
        try:
            result = _reader.do((folder, call), WALL_SECONDS)
        except TimedOut:
            raise ItemError(f"{path}: reading it took over {WALL_SECONDS:g} s", _REMEDY) from None
        except Died as death:
            error = over_time(death) or ItemError(
                f"reading it ended the process that did ({death})",
                _ENDED_FROM_OUTSIDE if str(death) in _FROM_OUTSIDE else _REMEDY,
            )
            raise ItemError(f"{path}: {error.reason}", error.remedy) from None
    return result


def over_time(death: Died) -> ItemError | None:
    """Return the error of a file over which the system ended a process for its processor time.

    None where it died of something else.
    """
    if str(death) != signal.SIGXCPU.name:
        return None
    return ItemError(f"reading it took over {PROCESSOR_SECONDS} s of processor time", _REMEDY)


def _in_folder(order: tuple[Path, tuple[Any, ...]]) -> Any:
    folder, call = order
    if Path.cwd() != folder:
        os.chdir(folder)
    return _within_limits(call)


def _within_limits(call: tuple[Any, ...]) -> Any:
    seconds, function, path, arguments, named = call
    try:
        with _limits(seconds):
            return function(path, *arguments, **named)
    except MemoryError:
        raise ItemError(f"{path}: reading it takes too much memory", _REMEDY) from None


@contextlib.contextmanager
def _limits(seconds: int) -> Iterator[None]:
    """Have the system end this process, or refuse it memory, if the block takes more."""
    import resource

    limits = {resource.RLIMIT_CPU: math.ceil(time.process_time()) + seconds}
    with contextlib.suppress(OSError):  # where there is no /proc, processor time alone is limited
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MEMORY_BYTES
    before = {what: resource.getrlimit(what) for what in limits}
    for what, most in limits.items():
        soft, hard = before[what]
        if soft != resource.RLIM_INFINITY:
            most = min(most, soft)  # what the user's own limit leaves
        resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        for what, limit in before.items():
            resource.setrlimit(what, limit)
