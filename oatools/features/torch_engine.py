"""Backbones in PyTorch: on a GPU, and on a CPU for networks that OpenVINO cannot take."""

import math
import threading
from typing import Any

import numpy as np
import torch

from oatools.core.errors import ItemError
from oatools.features import slices
from oatools.features.backbone import load_backbone
from oatools.features.engine import CPU_BATCH, CUDA_BATCH, EngineSettings
from oatools.features.slices import Preprocessing
from oatools.features.tensor_images import tensor_images
from oatools.imaging.volume import Volume


class TorchEngine:
    """A backbone in PyTorch, channels last: eager on the CPU, a CUDA graph on a GPU.

    See `engine.Engine`. On a GPU images are made there, too, and images may be tensors.
    """

    def __init__(self, settings: EngineSettings, notes: tuple[str, ...] = ()) -> None:
        torch.set_num_threads(1)  # batches run side by side, each on one thread
        # Float32 means float32: no TF32 in convolutions, and the same algorithm in every run.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        backbone = load_backbone(
            settings.backbone,
            settings.weights,
            settings.seed,
            device=settings.device,
            **settings.of_features(),
        )
        self.record, self.notes = backbone.record, notes
        self.name = f"torch {torch.__version__}"
        self.batch = settings.batch or (CUDA_BATCH if settings.on_gpu else CPU_BATCH)
        self._device = backbone.device
        self._parts = []
        for module, dtype in backbone.parts(settings.precision):
            module = module.to(dtype=dtype).to(memory_format=torch.channels_last).eval()
            self._parts.append((module, dtype))
        self._own = threading.local()
        self._graph: _Graph | None = None
        if self._device.type == "cuda":
            shape = (self.batch, settings.channels, self.record.size, self.record.size)
            self._graph = self._within_memory(_recorded, self._forward, shape, self._device)

    def images(self, volume: Volume, preprocessing: Preprocessing) -> Any:
        """Return the images of a volume; see `engine.Engine`."""
        if self._device.type != "cuda":
            return slices.images(volume, preprocessing)
        # A stream for each thread, so that none waits for the network at work on other volumes.
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)
        with torch.inference_mode(), torch.cuda.stream(self._own.stream):
            made = self._within_memory(tensor_images, volume, preprocessing, self._device)
            self._own.stream.synchronize()
        return made

    def __call__(self, images: Any) -> np.ndarray:
        """Return features; see `engine.Engine`."""
        with torch.inference_mode():
            values = torch.as_tensor(images, dtype=torch.float32).to(self._device)
            if self._graph is not None:
                return self._graph(values).cpu().numpy()
            black = torch.zeros(self.batch - len(values), *values.shape[1:], device=self._device)
            features = self._within_memory(self._forward, torch.cat([values, black]))
            return features[: len(values)].cpu().numpy()

    def _forward(self, values: torch.Tensor) -> torch.Tensor:
        for module, dtype in self._parts:
            if dtype == torch.bfloat16:
                values = values.to(dtype)
            values = module(values)
        return values.float()

    def _within_memory(self, work: Any, *arguments: Any) -> Any:
        """Do work on a batch; an `ItemError` where the device has no room for it."""
        try:
            return work(*arguments)
        except torch.cuda.OutOfMemoryError:
            raise ItemError(
                f"a batch of {self.batch} slices is too large for the memory of {self._device}",
                "use a smaller `batch_size`",
            ) from None


class _Graph:
    """The work of a network on one batch, recorded once: Python only starts it.

    Launched one by one, the kernels of a small network take as long as they compute, and keep the
    interpreter from the threads that feed them.
    """

    def __init__(self, forward: Any, shape: tuple[int, ...], device: torch.device) -> None:
        self._lock = threading.Lock()
        with torch.inference_mode(), torch.cuda.device(device):
            self._images = torch.zeros(shape, device=device)
            aside = torch.cuda.Stream(device)
            with torch.cuda.stream(aside):
                for _ in range(3):  # chooses algorithms, which cannot be recorded
                    forward(self._images)
            torch.cuda.synchronize(device)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._features = forward(self._images)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images on the device, no more than the batch; others are black."""
        with self._lock:  # the stream does one after the other what is asked for in here
            self._images[: len(images)].copy_(images)
            self._images[len(images) :].zero_()
            self._graph.replay()
            return self._features[: len(images)].clone()


def _recorded(forward: Any, shape: tuple[int, ...], device: torch.device) -> _Graph | None:
    """Record the work on a batch; None for a network that cannot be recorded.

    It waits for its own numbers, or does otherwise once they are others.
    """
    try:
        graph = _Graph(forward, shape, device)
        images = torch.linspace(0, 1, math.prod(shape), device=device).view(shape)
        with torch.inference_mode():
            return graph if torch.equal(graph(images), forward(images)) else None
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:
        return None
