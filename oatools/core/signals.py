"""What the signals that end a command do, at each time of its life.

Little is imported here, since this is what a command runs first.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

#: The interrupt key; the end of a Slurm job's time; the loss of a terminal.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 128 + signal.SIGINT
#: The exit statuses of a command that was ended by one of them.
ENDED = tuple(128 + number for number in _ENDING)
_IMPORTING = "<frozen importlib"  # how the files of Python's own import system are called
_LOOK_AGAIN_SECONDS = 0.01


def end_at_once(name: str) -> None:
    """Let SIGINT end the process with the line `NAME: interrupted` and status 130, from now on.

    Nothing is unwound: this is for times when nothing is open, such as while modules load, where an
    exception could be taken for something else. Once all is done and Python is taken down, an
    interrupt does nothing.
    """

    def end(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None:
                os.write(sys.stderr.fileno(), f"{name}: interrupted\n".encode())
        os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell sets for `command &`
        signal.signal(signal.SIGINT, end)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def leave(status: int) -> None:
    """End the process with what it has printed, and without taking down its libraries.

    These may still compute in threads of their own, as while a network is compiled, over which C++
    aborts.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Let the signals that end a job unwind the block, so that temporary files are removed.

    They raise a `SystemExit` with the status that a shell gives: 130 for SIGINT (`INTERRUPTED`),
    143 for SIGTERM, 129 for SIGHUP. A signal that is ignored, as nohup asks, stays so. Modules that
    are being imported are finished first: many a library turns an exception there into one of its
    own, and prints the first. A second signal does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can say what signals do, and answers them
        return
    heard = [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    received: list[int] = []

    def unwind(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _is_importing(frame) and len(received) == 1:
            _look_again()
        else:
            sys.exit(128 + number)

    def look_again(_: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            _look_again()
        else:
            sys.exit(128 + received[0])

    def unraisable(lost: "sys.UnraisableHookArgs") -> None:
        if received and isinstance(lost.exc_value, SystemExit):
            _look_again()  # it came in a callback, of which exceptions go nowhere
        else:
            report(lost)

    report, sys.unraisablehook = sys.unraisablehook, unraisable
    before = {number: signal.signal(number, unwind) for number in heard}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, look_again)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        sys.unraisablehook = report
        if received:
            from oatools.core.files import remove_own  # loaded by now, where there is a file

            remove_own()


def _look_again() -> None:
    signal.setitimer(signal.ITIMER_REAL, _LOOK_AGAIN_SECONDS)


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported where the main thread is."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False
