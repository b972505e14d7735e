"""An engine that computes for other processes of this machine.

A GPU computes faster than the threads of one process can read: they wait for each other. So volumes
are read, and features written, in processes of their own, and the process with the engine gets
voxels in memory that both share, and gives features back. Linux only, as are PyTorch's builds for
CUDA.
"""

import mmap
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import numpy as np

from oatools.core.errors import OatoolsError
from oatools.features.backbone_record import BackboneRecord
from oatools.features.batches import Batcher
from oatools.features.engine import EngineSettings
from oatools.features.engines import shared_batcher
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume

_WAITING = 256  # processes that may ask to be served at the same moment
_WAIT_S = 60.0


@dataclass(frozen=True)
class Address:
    """Where an engine is served, and the key by which its own processes are known."""

    name: str
    key: bytes


@dataclass(frozen=True)
class _Opened:
    """What the engine is, and what is to be said of it (see `engines.shared_batcher`)."""

    record: BackboneRecord
    name: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Request:
    """An array in shared memory: images, or where there is preprocessing, a volume's voxels.

    `new_bytes` is the size of the shared memory where it is new, which then follows.
    """

    shape: tuple[int, ...]
    dtype: str
    order: Any
    new_bytes: int
    affine: np.ndarray | None = None
    preprocessing: Preprocessing | None = None

    def array(self, memory: mmap.mmap) -> np.ndarray:
        """Return the array that it is about, in the memory."""
        return np.ndarray(self.shape, self.dtype, memory, order=self.order)


class EngineServer:
    """Engines of this process that serve others, each on a device of its own.

    They are opened when they are first asked for. Processes are dealt to them in turn. Leaving it
    as a context waits for what is still computed: C++ aborts over threads that a process which ends
    takes away.
    """

    def __init__(self, engines: Sequence[EngineSettings]) -> None:
        # In the abstract namespace, which leaves no file behind. Whoever connects proves that they
        # have the key before anything they send is looked at.
        self.address = Address(f"\0oatools-{os.urandom(16).hex()}", os.urandom(32))
        self._listener = Listener(
            self.address.name, "AF_UNIX", backlog=_WAITING, authkey=self.address.key
        )
        self._engines = cycle(engines)
        self._opening = threading.Lock()
        self._failed: dict[EngineSettings, Exception] = {}
        self._serving: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "EngineServer":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the threads that serve; those whom they serve must have ended."""
        for thread in self._serving:
            thread.join(_WAIT_S)

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, OSError):  # it has not the key, or went away
                continue
            thread = threading.Thread(
                target=self._serve, args=(connection, next(self._engines)), daemon=True
            )
            thread.start()
            self._serving.append(thread)

    def _serve(self, connection: Connection, settings: EngineSettings) -> None:
        """Compute what one process asks for, until it ends."""
        try:
            with connection:
                try:
                    batcher, notes = self._opened(settings)
                except Exception as error:
                    connection.send(_sendable(error))
                    return
                connection.send(_Opened(batcher.record, batcher.name, notes))
                _answer_all(connection, batcher)
        except (EOFError, OSError):  # it ended, or was ended
            pass

    def _opened(self, settings: EngineSettings) -> tuple[Batcher, tuple[str, ...]]:
        """Return the engine, which is opened once; what could not be is not tried again."""
        with self._opening:
            if settings in self._failed:
                raise self._failed[settings]
            try:
                return shared_batcher(settings)
            except Exception as error:
                self._failed[settings] = error
                raise


def _answer_all(connection: Connection, batcher: Batcher) -> None:
    """Answer requests with features, or the error in their place, until the other side ends."""
    memory = mmap.mmap(-1, 1)
    while True:
        request = connection.recv()
        if request.new_bytes:
            handle = recv_handle(connection)
            memory = mmap.mmap(handle, request.new_bytes)
            os.close(handle)
        try:
            answer: Any = _features(request, request.array(memory), batcher)
        except Exception as error:
            answer = _sendable(error)
        connection.send(answer)


def _features(request: _Request, array: np.ndarray, batcher: Batcher) -> np.ndarray:
    if request.preprocessing is None or request.affine is None:
        return batcher.features(array)
    return batcher.volume_features(Volume(array, request.affine), request.preprocessing)


def _sendable(error: Exception) -> Exception:
    """Return an error that another process can read: libraries' own may need their modules."""
    if isinstance(error, OatoolsError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


class ServedEngine:
    """The engine of another process; see `embed.Embedder`."""

    def __init__(self, address: Address) -> None:
        self._connection = Client(address.name, "AF_UNIX", authkey=address.key)
        self._memory = mmap.mmap(-1, 1)
        opened = self._received()
        self.record, self.name, self.notes = opened.record, opened.name, opened.notes

    def volume_features(self, volume: Volume, preprocessing: Preprocessing) -> np.ndarray:
        """Return the features of a volume; see `embed.Embedder`."""
        return self._ask(volume.data, volume.affine, preprocessing)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the features of images; see `embed.Embedder`."""
        return self._ask(images)

    def _ask(
        self,
        array: np.ndarray,
        affine: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> np.ndarray:
        order = "F" if array.flags.f_contiguous else "C"
        handle, needed = -1, max(array.nbytes, 1)
        if needed > len(self._memory):
            handle = os.memfd_create("oatools")
            os.truncate(handle, needed)
            self._memory = mmap.mmap(handle, needed)
        size = len(self._memory) if handle >= 0 else 0
        request = _Request(array.shape, array.dtype.str, order, size, affine, preprocessing)
        request.array(self._memory)[...] = array
        self._connection.send(request)
        if handle >= 0:
            send_handle(self._connection, handle, None)
            os.close(handle)
        features: np.ndarray = self._received()
        return features

    def _received(self) -> Any:
        """Return what is sent, or raise it."""
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@lru_cache(maxsize=1)
def _connected(address: Address) -> ServedEngine:
    return ServedEngine(address)


def served_engine(
    address: Address, settings: EngineSettings
) -> tuple[ServedEngine, tuple[str, ...]]:
    """Return the engine at an address, to which this process connects once, and its notes.

    The notes are for one caller alone; the settings were the server's business.
    """
    engine = _connected(address)
    notes, engine.notes = engine.notes, ()
    return engine, notes
