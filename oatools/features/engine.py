"""What computes features: PyTorch, or on the CPU OpenVINO, which is two to five times as fast.

An engine takes images in [0, 1] as `slices.images` makes them, at most `batch` at a time, and may
be called from several threads at once. Batches that are not full are filled up with black images,
so that a slice's features do not depend on how many others share its batch.
"""

import ctypes
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.features.backbone_record import BackboneRecord

CPU_BATCH = 2  # more only spills out of the cache
CUDA_BATCH = 256
FLOAT32, FLOAT16, BF16 = "float32", "float16", "bf16"


@dataclass(frozen=True)
class EngineSettings:
    """Which backbone, and how it is computed.

    `weights` as in `backbone.load_backbone`; `engine` is auto, torch or openvino; `device` cpu,
    cuda or cuda:N; `precision` float32, bf16, or on a GPU float16; `batch` images at a time, None
    for what suits the device; `threads` batches side by side.
    """

    backbone: str
    weights: str
    seed: int = 0
    engine: str = "auto"
    device: str = "cpu"
    precision: str = FLOAT32
    batch: int | None = None
    threads: int = 1
    channels: int = 1


class Engine(Protocol):
    """A backbone ready to run: `name` says with what and which version, `notes` what the user should know."""

    record: BackboneRecord
    name: str
    batch: int
    notes: tuple[str, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (n, channels), float32, of images (n, 1 or 3, size, size), float32, with n up to `batch`."""


def open_engine(settings: EngineSettings) -> Engine:
    """The engine that the settings ask for.

    `auto` is OpenVINO on a CPU, unless it is not installed or cannot take the network, and PyTorch
    on a GPU. Raises `UsageError` for a backbone, weights or a device that cannot be had.
    """
    if settings.engine == "openvino" and settings.device != "cpu":
        raise UsageError(
            f"the engine openvino computes on the CPU, not on {settings.device}; use --engine torch"
        )
    if settings.device != "cpu" or settings.engine == "torch":
        return TorchEngine(settings)
    if importlib.util.find_spec("openvino") is None:
        if settings.engine == "openvino":
            raise UsageError(
                "openvino is not installed; run pip install openvino, or use --engine torch"
            )
        return TorchEngine(
            settings, ("openvino is not installed: PyTorch computes, several times slower",)
        )
    from oatools.features.openvino import ExportError, OpenVinoEngine

    try:
        return OpenVinoEngine(settings)
    except ExportError as error:
        if settings.engine == "openvino":
            raise UsageError(
                f"openvino cannot take {settings.backbone} ({error}); use --engine torch"
            ) from None
        return TorchEngine(
            settings,
            (f"openvino cannot take {settings.backbone} ({error}): PyTorch computes, slower",),
        )


def best_device(device: str) -> str:
    """`auto` as the device it stands for here: the first CUDA device, else the CPU.

    PyTorch, which takes a second to start, is only asked where the system shows a GPU's driver.
    """
    if device != "auto":
        return device
    drivers = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not any(map(os.path.exists, drivers)):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class TorchEngine:
    """PyTorch, channels last: eager on the CPU, cuDNN on a GPU (see `Engine`)."""

    def __init__(self, settings: EngineSettings, notes: tuple[str, ...] = ()) -> None:
        import torch

        from oatools.features.backbone import load_backbone

        torch.set_num_threads(1)  # batches run side by side, each on one thread
        if settings.device == "cpu":
            _keep_freed_memory()
        backbone = load_backbone(
            settings.backbone, settings.weights, settings.seed, settings.device
        )
        self.record, self.notes = backbone.record, notes
        self.name = f"torch {torch.__version__}"
        self.batch = settings.batch or (CPU_BATCH if settings.device == "cpu" else CUDA_BATCH)
        self._device = backbone.device
        # Float32 means float32: no TF32 in convolutions, and the same algorithm in every run.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self._parts = [
            (module.to(dtype=type_, memory_format=torch.channels_last).eval(), type_)
            for module, type_ in backbone.parts(settings.precision)
        ]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        import torch

        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(filled(images, self.batch)))
            if self._device.type == "cuda":
                values = values.pin_memory().to(self._device, non_blocking=True)
            try:
                for module, type_ in self._parts:
                    values = module(values.to(type_) if type_ == torch.bfloat16 else values)
                return values[: len(images)].float().cpu().numpy()
            except torch.OutOfMemoryError:
                raise ItemError(
                    f"a batch of {self.batch} slices is too large for the memory of {self._device}; "
                    "use a smaller --batch-size"
                ) from None


def filled(images: np.ndarray, batch: int) -> np.ndarray:
    """Images followed by as many black ones as make up a batch."""
    if len(images) == batch:
        return images
    return np.concatenate(
        [images, np.zeros((batch - len(images), *images.shape[1:]), images.dtype)]
    )


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: an eager forward pass would otherwise spend its time on page faults."""
    if sys.platform == "linux":
        largest, trim_threshold, mmap_threshold = 2**31 - 1, -1, -3
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(trim_threshold, largest)
            mallopt(mmap_threshold, 1 << 30)


def cache_folder() -> Path:
    """Where exported networks are kept: OATOOLS_CACHE, else oatools in the user's cache folder."""
    if given := os.environ.get("OATOOLS_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oatools"
