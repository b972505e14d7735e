"""Volumes read in processes of their own, beside the threads that compute.

The bytes of a volume come from anywhere, and libraries in C unpack them. Whatever that does, the
engine and the other volumes in hand go on. Sending the voxels over takes a hundredth of the time
that computing their features does.
"""

import threading
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.process import Child, Children, Died, TimedOut
from oatools.imaging.volume import Volume, read_volume


class VolumeReaders:
    """Processes that read volumes, as many as are asked for at a time.

    They should be made before threads are started, by which they are cheap. `seconds` is the time
    that one volume may take, None for any.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._children = Children(read_volume)
        self._lock = threading.Lock()
        self._idle: list[Child] = []

    def read(self, path: Path) -> Volume:
        """Return a volume, as `read_volume` does.

        Raises an `ItemError` also where reading takes too long, or ends the process that does it.
        """
        with self._lock:
            child = self._idle.pop() if self._idle else self._children.start()
        try:
            volume: Volume = child.do(path, self._seconds)
        except TimedOut:
            raise ItemError(
                f"reading it took more than {self._seconds:g} s and was stopped",
                "it may be damaged: try it alone, or give it more time (`timeout`)",
            ) from None
        except Died as death:
            raise ItemError(
                f"reading it ended the process that did ({death})",
                "it may be damaged or memory too short: try it alone",
            ) from None
        finally:
            with self._lock:
                self._idle.append(child)
        return volume
