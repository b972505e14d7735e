"""Backbones in PyTorch: on a GPU, and on a CPU for networks that OpenVINO cannot take."""

import numpy as np
import torch

from oatools.core.errors import ItemError
from oatools.features.backbone import load_backbone
from oatools.features.engine import CPU_BATCH, CUDA_BATCH, EngineSettings, filled


class TorchEngine:
    """A backbone in PyTorch, channels last: eager on the CPU, cuDNN on a GPU (see `Engine`)."""

    def __init__(self, settings: EngineSettings, notes: tuple[str, ...] = ()) -> None:
        torch.set_num_threads(1)  # batches run side by side, each on one thread
        # Float32 means float32: no TF32 in convolutions, and the same algorithm in every run.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        backbone = load_backbone(
            settings.backbone, settings.weights, settings.seed, device=settings.device
        )
        self.record, self.notes = backbone.record, notes
        self.name = f"torch {torch.__version__}"
        self.batch = settings.batch or (CUDA_BATCH if settings.on_gpu else CPU_BATCH)
        self._device = backbone.device
        self._parts = []
        for module, dtype in backbone.parts(settings.precision):
            module = module.to(dtype=dtype).to(memory_format=torch.channels_last).eval()
            self._parts.append((module, dtype))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features; see `Engine`."""
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(filled(images, self.batch)))
            if self._device.type == "cuda":
                values = values.pin_memory().to(self._device, non_blocking=True)
            try:
                for module, dtype in self._parts:
                    if dtype == torch.bfloat16:
                        values = values.to(dtype)
                    values = module(values)
                features: np.ndarray = values[: len(images)].float().cpu().numpy()
            except torch.cuda.OutOfMemoryError:
                raise ItemError(
                    f"a batch of {self.batch} slices is too large for the memory of {self._device}",
                    "use a smaller `batch_size`",
                ) from None
        return features
