"""The interface of all engines that compute features, and their settings for a machine.

An engine makes images in [0, 1] of a volume, as `slices.images` does, or takes those that were made
otherwise, at most `batch` at a time, and may be called from several threads at once. Batches that
are not full are filled up with black images, so that a slice's features do not depend on how many
others share its batch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oatools.core.errors import UsageError
from oatools.features.backbone_record import MOST_PIXELS, PRETRAINED, TOKENS, BackboneRecord
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume

AUTO = "auto"
OPENVINO, TORCH = "openvino", "torch"
FLOAT32, FLOAT16, BF16 = "float32", "float16", "bf16"
ENGINES = (AUTO, OPENVINO, TORCH)
PRECISIONS = (AUTO, FLOAT32, BF16, FLOAT16)

CPU_BATCH = 2  # more only spills out of the cache
CUDA_BATCH = 256

_GPU_READERS = 32  # volumes read side by side; for an H200 16 cores are too few
_GPU_THREADS = 2  # one batch is copied while another is computed
_READ_AHEAD = 2  # one volume is read while another is written

_CPUINFO = Path("/proc/cpuinfo")
#: How Linux calls arithmetic in bf16, of x86 and of Arm.
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}

#: Files that a system with a driver for a GPU has.
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


class Engine(Protocol):
    """A backbone ready to run.

    `name` says what computes, with its version; `notes` are what the user should know.
    """

    record: BackboneRecord
    name: str
    batch: int
    notes: tuple[str, ...]

    def images(self, volume: Volume, preprocessing: Preprocessing) -> Any:
        """Return the images of a volume where the engine computes: an array or a tensor."""

    def __call__(self, images: Any) -> np.ndarray:
        """Return features (n, channels), float32.

        Images are (n, 1 or 3, size, size), float32, with n up to `batch`.
        """


@dataclass(frozen=True)
class EngineSettings:
    """The choice of a backbone, and of how it is computed.

    `weights`, `seed`, `size` and `tokens` as in `backbone.load_backbone`; `engine` is openvino or
    torch; `device` cpu, cuda or cuda:N; `precision` float32, bf16, or on a GPU float16. Each of
    these three may be auto, until `resolve` settles it. `batch` is the number of images at a time,
    None for what suits the device; `threads` the number of batches side by side, None until it is
    settled; `channels` those of the images, 1 or 3. Raises a `UsageError` for an unknown engine,
    precision or kind of tokens, or a number out of its range.
    """

    backbone: str = "tf_efficientnet_lite0"
    weights: str = PRETRAINED
    seed: int = 0
    engine: str = AUTO
    device: str = AUTO
    precision: str = AUTO
    batch: int | None = None
    threads: int | None = None
    channels: int = 1
    size: int | None = None
    tokens: str = ""

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= MOST_PIXELS:
            raise UsageError(f"size is {self.size}", f"give `size` from 1 to {MOST_PIXELS}")
        if self.tokens:
            _check_choice("tokens", self.tokens, TOKENS)
        _check_choice("engine", self.engine, ENGINES)
        _check_choice("precision", self.precision, PRECISIONS)
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch is {self.batch}", "it must be at least 1")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}", "it must be at least 1")

    def of_features(self) -> dict[str, Any]:
        """Return what decides the features beside the backbone and its weights, where it is given.

        What is left out is as the backbone itself has it.
        """
        given = {"size": self.size, "tokens": self.tokens}
        return {name: value for name, value in given.items() if value}

    @property
    def on_gpu(self) -> bool:
        """True where the device is not the CPU."""
        return self.device != "cpu"

    def resolve(self, jobs: int | None = None) -> "EngineSettings":
        """Return the settings with device, precision and threads settled for this machine.

        A CPU computes as many batches side by side as there are `jobs` (1 where that is None). The
        engine itself may stay auto: whether OpenVINO takes a network shows when it is opened.
        Raises a `UsageError` for a precision that the device does not have.
        """
        settled = replace(self, device=best_device(self.device))
        if self.precision == AUTO:
            settled = replace(settled, precision=FLOAT16 if settled.on_gpu else FLOAT32)
        elif self.precision == FLOAT16 and not settled.on_gpu:
            raise UsageError("the precision float16 is for a GPU", "use bf16 on a CPU")
        if self.threads is None:
            threads = _GPU_THREADS if settled.on_gpu else (jobs or 1)
            settled = replace(settled, threads=threads)
        return settled

    def volumes_in_hand(self, jobs: int | None = None) -> int:
        """Return how many volumes to work on at a time, for settled settings.

        They are more than the threads that compute, so that none of these has to wait. Without
        `jobs`, a GPU gets a reader for each core, up to 32.
        """
        if jobs is None:
            jobs = min(_GPU_READERS, usable_cores()) if self.on_gpu else 1
        return jobs + _READ_AHEAD


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"no {name} '{value}'", f"give `{name}` as one of {', '.join(choices)}")


def best_device(device: str) -> str:
    """Return a device, with `auto` replaced by the first CUDA device, or the CPU if there is none.

    PyTorch, which takes a second to start, is only asked where the system shows a GPU's driver.
    """
    if device != AUTO:
        return device
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
    has_driver = any(Path(driver).exists() for driver in _GPU_DRIVERS)
    if is_hidden or not has_driver:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def moved(value: Any, device: str) -> Any:
    """Return a tensor or network on a device; a `UsageError` where that cannot be used."""
    try:
        return value.to(device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"device '{device}' cannot be used ({first})", "try `device` cpu"
        ) from None


def lacks_bf16() -> bool:
    """Tell whether this machine's CPU has no arithmetic for bf16; False where nothing tells."""
    try:
        words = set(_CPUINFO.read_text().split())
    except OSError:
        return False
    return not words & _BF16_FLAGS


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def filled(images: np.ndarray, batch: int) -> np.ndarray:
    """Return images followed by as many black ones as make up a batch."""
    if len(images) == batch:
        return images
    black = np.zeros((batch - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, black])
