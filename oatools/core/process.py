"""Child processes that do work on one thing after the other, and can be stopped at any moment.

Libraries that parse foreign bytes in native code can hang, where no signal that Python answers has
an effect, and crash. Such work is done by a child, which is killed and replaced. Children are
forked from a process of one thread, the nursery, as a fork of several threads copies the locks that
they hold; it is itself forked from this process while this has one thread only, and started anew
otherwise. Neither outlives its parent (on Linux).
"""

import contextlib
import gc
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from oatools.core.console import silence_libraries
from oatools.core.files import remove_own

#: Seconds that a child has, once told to end, for removing its temporary files.
GRACE_SECONDS = 5.0
#: The exit status of a child that was told to end.
TOLD_TO_END = 128 + signal.SIGTERM

_LENGTH = struct.Struct("!Q")
_NUMBER = struct.Struct("!q")
_PR_SET_PDEATHSIG = 1

_is_child = False


class Died(Exception):
    """A child ended in the middle of its work; the text is the cause, such as `SIGKILL`."""


class TimedOut(Exception):
    """A child took too long, and was killed."""


class Stopped(Exception):
    """A child was told to end in the middle of its work."""


def is_child() -> bool:
    """Tell whether this process is such a child itself."""
    return _is_child


class Children:
    """Processes that do the same work, each on one thing at a time.

    `work` is called with one argument in the children. It must be picklable if this process has
    more than one thread by now.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._is_closed = False
        self._start_nursery()

    def _start_nursery(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            if _has_one_thread():
                self._pid = _fork(theirs, ours, self._work)
            else:
                self._pid = _start_anew(theirs)
                _Channel(ours).send(self._work)
        self._nursery = ours

    def start(self) -> "Child":
        """Start one more child."""
        return Child(self)

    def close(self) -> None:
        """End what is left of them."""
        self._is_closed = True
        self._end_nursery()

    def _end_nursery(self) -> None:
        self._nursery.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def fork(self) -> tuple[int, "_Channel"]:
        """Have a child forked; return its process id and the way to it.

        A nursery that was killed, as the system does when memory ends, is replaced.
        """
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            try:
                pid = self._order_child(theirs)
            except (EOFError, OSError):
                if self._is_closed:
                    raise
                self._end_nursery()
                self._start_nursery()
                pid = self._order_child(theirs)
        if pid < 0:
            ours.close()
            raise OSError(-pid, os.strerror(-pid))
        return pid, _Channel(ours)

    def exit_code(self, pid: int) -> int:
        """Wait for the end of a child, and return its exit code; negative for a signal."""
        with self._lock:
            try:
                self._nursery.sendall(b"w" + _NUMBER.pack(pid))
                return self._number()
            except (EOFError, OSError):  # the nursery was killed, and its children with it
                return -signal.SIGKILL

    def _order_child(self, theirs: socket.socket) -> int:
        socket.send_fds(self._nursery, [b"f"], [theirs.fileno()])
        return self._number()

    def _number(self) -> int:
        number: int = _NUMBER.unpack(_exactly(self._nursery, _NUMBER.size))[0]
        return number


class Child:
    """One of the children; replaced by a new one when it dies or is killed."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._is_closed = False
        self._pid, self._channel = children.fork()

    def do(self, item: Any, seconds: float | None = None) -> Any:
        """Return what the work makes of an item, or raise what it raises.

        Raises `Died` if the child ends, `TimedOut` if it has not answered after so many seconds of
        wall clock, and `Stopped` if it is closed meanwhile, from another thread.
        """
        try:
            self._channel.send(item)
            if not self._channel.wait(seconds):
                self._replace()
                raise TimedOut
            is_result, answer = self._channel.receive()
        except (EOFError, OSError):
            if self._is_closed:
                raise Stopped from None
            raise Died(self._replace()) from None
        except (KeyboardInterrupt, SystemExit):
            self._replace()  # or its answer would be taken for that of the next item
            raise
        if is_result:
            return answer
        raise answer

    def close(self) -> None:
        """End the child: gently first, and after a few seconds whatever it is doing."""
        self._is_closed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)

    def wait(self, until: float) -> None:
        """Wait for the end of a child that was closed, and kill it at a time (monotonic)."""
        if not self._channel.has_ended(max(0.0, until - time.monotonic())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._channel.close()

    def _replace(self) -> str:
        """Start a new child in place of this one, and return what this one died of."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        code = self._children.exit_code(self._pid)
        self._channel.close()
        self._pid, self._channel = self._children.fork()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


class _Channel:
    """Objects sent and received over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def send(self, value: Any) -> None:
        packed = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(_LENGTH.pack(len(packed)))
        self._socket.sendall(packed)

    def receive(self) -> Any:
        """Wait for an object; raises an `EOFError` at the end."""
        (length,) = _LENGTH.unpack(_exactly(self._socket, _LENGTH.size))
        return pickle.loads(_exactly(self._socket, length))

    def wait(self, seconds: float | None) -> bool:
        """Tell whether there is something to receive, the end included, within the time."""
        return self._poll(select.POLLIN, seconds)

    def has_ended(self, seconds: float) -> bool:
        """Tell whether the other side closes within the time; nothing is received."""
        return self._poll(0, seconds)

    def _poll(self, events: int, seconds: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._socket, events)
        return bool(waiting.poll(None if seconds is None else 1000 * seconds))

    def close(self) -> None:
        self._socket.close()


def _exactly(connection: socket.socket, length: int) -> bytearray:
    """Receive so many bytes; raises an `EOFError` where there are fewer."""
    received = bytearray(length)
    view, count = memoryview(received), 0
    while count < length:
        step = connection.recv_into(view[count:])
        if not step:
            raise EOFError
        count += step
    return received


def _has_one_thread() -> bool:
    """Tell whether this process has one thread, those of libraries included."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:  # no Linux: forks are unsafe with macOS's own libraries, too
        return False


def _fork(theirs: socket.socket, ours: socket.socket, work: Callable[[Any], Any]) -> int:
    """Fork the nursery from this process."""
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # or a child writes it once more
    deaf = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf)
    try:
        # What is there by now stays: the collector would only copy its pages by looking at it.
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _nurse(theirs, work, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _start_anew(theirs: socket.socket) -> int:
    """Start the nursery as a new interpreter, which gets the work as the first message."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from oatools.core.process import nursery; nursery({os.getpid()})"
    )
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program],
        os.environ,
        file_actions=actions,
        setsigmask=[signal.SIGINT, signal.SIGHUP, signal.SIGTERM],
    )


def nursery(parent: int) -> NoReturn:
    """Be the nursery of a process, on a socket that is standard input."""
    theirs = socket.socket(fileno=os.dup(0))
    _nurse(theirs, _Channel(theirs).receive(), parent)


def _nurse(theirs: socket.socket, work: Callable[[Any], Any], parent: int) -> NoReturn:
    """Fork a child whenever one is asked for, until the parent closes its end or dies."""
    # The parent decides, and ends the children. Schedulers signal all processes of a job.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or exit codes of children are lost
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    end_with_parent(parent)
    # Standard output carries the table: whatever a library prints goes to standard error. Standard
    # input is the parent's.
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)
    with contextlib.suppress(OSError, EOFError):
        while True:
            order, handles, _, _ = socket.recv_fds(theirs, 1, 1)
            if order == b"f":
                connection = socket.socket(fileno=handles[0])
                try:
                    pid = os.fork()
                except OSError as error:
                    pid = -(error.errno or 1)
                if pid == 0:
                    theirs.close()
                    _serve(_Channel(connection), work)
                connection.close()
                theirs.sendall(_NUMBER.pack(pid))
            elif order == b"w":
                (pid,) = _NUMBER.unpack(_exactly(theirs, _NUMBER.size))
                try:
                    _, status = os.waitpid(pid, 0)
                    code = os.waitstatus_to_exitcode(status)
                except ChildProcessError:  # of the nursery before, which was killed
                    code = -signal.SIGKILL
                theirs.sendall(_NUMBER.pack(code))
            else:
                break
    os._exit(0)


def _serve(channel: _Channel, work: Callable[[Any], Any]) -> NoReturn:
    """Do the work on whatever the channel brings, until it is closed."""
    global _is_child
    _is_child = True
    status = 0
    try:
        # Unwinds, so that temporary files are removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TOLD_TO_END))
        end_with_parent(os.getppid())
        silence_libraries()
        while True:
            channel.send(_answer(work, channel.receive()))
    except (EOFError, OSError):
        pass
    except SystemExit:
        status = TOLD_TO_END
        remove_own()
    finally:
        # Nothing is left to unwind, and a SIGTERM that comes now must not raise in an exit handler.
        os._exit(status)


def _answer(work: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """Return whether there is a result, and that or the exception."""
    try:
        return True, work(item)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # of whatever kind: some libraries' exceptions cannot be sent
            return False, RuntimeError(f"{type(error).__name__}: {error}")
        return False, error


def end_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, even by SIGKILL (on Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)
