"""Processes of one thread that have loaded what a command loads, from which its trials are forked.

A trial that starts an interpreter spends its time on loading libraries. A zygote has loaded those that its earlier
trials loaded, no others, so that a fork of it is small and takes a few milliseconds.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

#: The most bytes of an order.
_MOST = 1 << 16
# What starts threads as it is loaded is left to each child.
_THREADED = {"openvino"}
_HUGE = 1 << 21
_MADV_COLLAPSE = 25


class Zygote:
    """A process that forks children, each of which does `work` on an order; it is started again if it dies."""

    def __init__(self, work: Callable[[str, int], object]) -> None:
        self._work = work
        self._start()

    def fork(self, order: str, writer: int) -> int:
        """Have a child forked that is given an order and a pipe to write to; return its process id."""
        for _ in range(2):
            with contextlib.suppress(OSError):
                socket.send_fds(self._socket, [order.encode()], [writer])
                if answer := self._socket.recv(_MOST):
                    return int(answer)
            self.close()
            self._start()
        raise RuntimeError(f"no process could be forked for {order}")

    def close(self) -> None:
        """End the process; its children go on."""
        self._socket.close()
        os.waitpid(self._pid, 0)

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _close_all_but(theirs)
                _serve(theirs, self._work)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()


def _close_all_but(orders: socket.socket) -> None:
    """Close what is open but the standard streams: a pipe ends only when nobody has its end any more."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != orders.fileno():
            with contextlib.suppress(OSError):
                os.close(int(name))


class _Record:
    """A finder of modules that finds none, and writes down what is looked for, in all forked processes alike."""

    def __init__(self) -> None:
        self._file = os.memfd_create("modules")  # they share its end
        self._read = 0

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        os.write(self._file, f"{name}\n".encode())

    def new(self) -> list[str]:
        """The names since the last call."""
        text = os.pread(self._file, 1 << 24, self._read)
        self._read += len(text)
        return list(dict.fromkeys(text.decode().split()))


def _serve(orders: socket.socket, work: Callable[[str, int], object]) -> None:
    record = _Record()
    sys.meta_path.insert(0, record)
    while True:
        order, pipes, _, _ = socket.recv_fds(orders, _MOST, 1)
        _reap()
        if not order:
            return
        _load(record.new())
        record.new()
        pid = os.fork()
        if pid == 0:
            orders.close()
            work(order.decode(), pipes[0])
            os._exit(0)
        os.close(pipes[0])
        orders.send(str(pid).encode())


def _reap() -> None:
    """Let go of children that have ended: nobody waits for them, as their pipe ends with them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load(names: list[str]) -> None:
    """Load modules that a child has loaded; a module that starts a thread would make forks unsafe."""
    wanted = [
        name for name in names if name not in sys.modules and not _THREADED & {*name.split(".")}
    ]
    for name in wanted:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            raise RuntimeError(f"loading {name} started {threads - 1} threads")
    if wanted:
        gc.collect()
        gc.freeze()  # or the collector copies its pages in each child
        _join_pages()


def _join_pages() -> None:
    """Have this process's memory lie in huge pages, where the kernel can: a fork copies a table of all pages."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *name = line.split()
        if "w" in rights and name in ([], ["[heap]"]):
            start, end = (int(part, 16) for part in span.split("-"))
            start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
            if start < end:
                libc.madvise(start, end - start, _MADV_COLLAPSE)
