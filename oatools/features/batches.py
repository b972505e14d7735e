"""Batches across volumes: threads that prepare slices hand them in, and full batches go to the engine."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from oatools.features.engine import Engine

_LINGER_S = 0.02


class Batcher:
    """Runs an engine in `threads` threads of its own on slices of many volumes; callers wait for their features.

    A batch that is not full waits while a caller is `preparing` more slices, and a moment longer,
    before it runs.
    """

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._changed = threading.Condition()
        self._waiting: deque[_Volume] = deque()
        self._slices = 0
        self._preparing = 0
        self._last = 0.0
        for _ in range(threads):
            threading.Thread(target=self._serve, daemon=True).start()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Says that slices are on their way, so that a batch which is not full waits for them."""
        with self._changed:
            self._preparing += 1
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features (n, channels) of images (n, ...); blocks until they are there. Raises what the engine raised."""
        volume = _Volume(images)
        with self._changed:
            self._waiting.append(volume)
            self._slices += len(images)
            self._last = time.monotonic()
            self._changed.notify_all()
        volume.ready.wait()
        if volume.error is not None:
            raise volume.error
        return np.concatenate(volume.parts)

    def _serve(self) -> None:
        while True:
            shares = self._next_batch()
            images = [volume.images[start:stop] for volume, start, stop in shares]
            try:
                found = self.engine(images[0] if len(images) == 1 else np.concatenate(images))
                error = None
            except BaseException as raised:
                found, error = None, raised
            with self._changed:
                first = 0
                for volume, start, stop in shares:
                    part = None if found is None else found[first : first + stop - start]
                    volume.take(start, stop, part, error)
                    first += stop - start

    def _next_batch(self) -> list[tuple["_Volume", int, int]]:
        """Wait for a batch; the volumes that share it, with the slices of each."""
        with self._changed:
            while not self._due():
                # Only a batch that is not full falls due by time alone.
                self._changed.wait(_LINGER_S if self._slices and not self._preparing else None)
            shares, room = [], self.engine.batch
            while room and self._waiting:
                volume = self._waiting[0]
                stop = min(len(volume.images), volume.started + room)
                shares.append((volume, volume.started, stop))
                room -= stop - volume.started
                self._slices -= stop - volume.started
                volume.started = stop
                if stop == len(volume.images):
                    self._waiting.popleft()
            return shares

    def _due(self) -> bool:
        if self._slices >= self.engine.batch:
            return True
        return (
            self._slices > 0 and not self._preparing and time.monotonic() - self._last >= _LINGER_S
        )


class _Volume:
    """The slices of one volume: those that a batch has taken so far, and the features that came back."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.started = 0
        self.left = len(images)
        self.places: dict[int, np.ndarray] = {}
        self.error: BaseException | None = None
        self.ready = threading.Event()

    @property
    def parts(self) -> list[np.ndarray]:
        """The features in the order of the slices, whatever the order of the batches."""
        return [self.places[start] for start in sorted(self.places)]

    def take(
        self, start: int, stop: int, part: np.ndarray | None, error: BaseException | None
    ) -> None:
        if part is None:
            self.error = error
        else:
            self.places[start] = part
        self.left -= stop - start
        if self.left == 0:
            self.ready.set()
