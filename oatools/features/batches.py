"""Batches across volumes.

Threads that prepare slices hand them in, and full batches go to the engine.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from oatools.core.errors import ItemError
from oatools.features.backbone_record import BackboneRecord
from oatools.features.engine import Engine
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume

_LINGER_S = 0.02


class Batcher:
    """An engine in `threads` threads of its own, fed with the slices of many volumes.

    Callers wait for their features. A batch that is not full waits while a caller is `preparing`
    more slices, and a moment longer, before it runs.
    """

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._changed = threading.Condition()  # guards all that follows
        self._waiting: deque[_Volume] = deque()
        self._slices = 0  # of the waiting volumes, without those that a batch has taken
        self._preparing = 0  # callers whose slices are on their way
        self._last = 0.0  # when slices came, or were no longer to be waited for
        for _ in range(threads):
            threading.Thread(target=self._serve, daemon=True).start()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Say that slices are on their way, so that a batch which is not full waits for them."""
        with self._changed:
            self._preparing += 1
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    @property
    def record(self) -> BackboneRecord:
        """The backbone that computes."""
        return self.engine.record

    @property
    def name(self) -> str:
        """The software that computes, with its version."""
        return self.engine.name

    def volume_features(self, volume: Volume, preprocessing: Preprocessing) -> np.ndarray:
        """Return features (n, channels) of the images that the engine makes of a volume."""
        with self.preparing():
            images = self.engine.images(volume, preprocessing)
        return self.features(images)

    def features(self, images: Any) -> np.ndarray:
        """Return features (n, channels) of images (n, ...), an array or a tensor of the engine's.

        Raises what the engine raised, and an `ItemError` for no images, which no batch would ever
        hold.
        """
        if len(images) == 0:
            raise ItemError("there are no slices to compute features of", "choose other `slices`")
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
        """Compute batches for ever, and give the volumes their features or the engine's error."""
        while True:
            shares = self._next_batch()
            images = [share.images for share in shares]
            found: np.ndarray | None = None
            error: BaseException | None = None
            try:
                found = self.engine(images[0] if len(images) == 1 else _together(images))
            except BaseException as raised:
                error = raised
            with self._changed:
                first = 0
                for share in shares:
                    if found is None:
                        share.volume.error = error
                    else:
                        share.volume.places[share.start] = found[first : first + share.count]
                    first += share.count
                    share.volume.finish(share.count)

    def _next_batch(self) -> list["_Share"]:
        """Wait for a batch, and return the volumes that share it with the slices of each."""
        with self._changed:
            while not self._due():
                # Only a batch that is not full falls due by time alone.
                falls_due = self._slices and not self._preparing
                self._changed.wait(_LINGER_S if falls_due else None)
            shares, room = [], self.engine.batch
            while room and self._waiting:
                volume = self._waiting[0]
                stop = min(volume.started + room, len(volume.images))
                share = _Share(volume, volume.started, stop)
                shares.append(share)
                room -= share.count
                self._slices -= share.count
                volume.started += share.count
                if volume.started == len(volume.images):
                    self._waiting.popleft()
            return shares

    def _due(self) -> bool:
        if self._slices >= self.engine.batch:
            return True
        has_lingered = time.monotonic() - self._last >= _LINGER_S
        return self._slices > 0 and not self._preparing and has_lingered


def _together(images: list[Any]) -> Any:
    """Return the images of several volumes as one array, or one tensor."""
    if all(isinstance(each, np.ndarray) for each in images):
        return np.concatenate(images)
    import torch

    device = next(each.device for each in images if not isinstance(each, np.ndarray))
    return torch.cat([torch.as_tensor(each, device=device) for each in images])


class _Volume:
    """The slices of one volume, and the features that have come back.

    `started` counts the slices that batches have taken, and `left` those without features.
    """

    def __init__(self, images: Any) -> None:
        self.images = images
        self.started = 0
        self.left = len(images)
        self.places: dict[int, np.ndarray] = {}  # features by the first slice of their share
        self.error: BaseException | None = None
        self.ready = threading.Event()

    @property
    def parts(self) -> list[np.ndarray]:
        """The features in the order of the slices, whatever the order of the batches."""
        return [self.places[start] for start in sorted(self.places)]

    def finish(self, count: int) -> None:
        """Note that `count` more slices have been computed."""
        self.left -= count
        if self.left == 0:
            self.ready.set()


@dataclass(frozen=True)
class _Share:
    """The slices of a volume from `start` that go into one batch: those before `stop`."""

    volume: _Volume
    start: int
    stop: int

    @property
    def images(self) -> Any:
        return self.volume.images[self.start : self.stop]

    @property
    def count(self) -> int:
        return self.stop - self.start
