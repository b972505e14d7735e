"""The engine that a machine and a network call for.

On the CPU that is OpenVINO, which is two to five times as fast as PyTorch, and PyTorch where it
cannot take the network; on a GPU it is PyTorch.
"""

import threading

from oatools.core.errors import UsageError
from oatools.features.batches import Batcher
from oatools.features.engine import BF16, OPENVINO, TORCH, Engine, EngineSettings, lacks_bf16

_opening = threading.Lock()
_open: dict[EngineSettings, Batcher] = {}


def open_engine(settings: EngineSettings) -> Engine:
    """Open the engine that the settings ask for.

    Raises `UsageError` for a backbone, weights or a device that cannot be had, and for an engine
    that cannot compute it.
    """
    settings = settings.resolve()
    if settings.engine == TORCH or settings.on_gpu:
        if settings.engine == OPENVINO:
            raise UsageError(
                f"the engine openvino computes on the CPU, not on {settings.device}",
                "use `engine` torch",
            )
        return _torch(settings)
    from oatools.features.openvino import ExportError, OpenVinoEngine

    try:
        return OpenVinoEngine(settings)
    except ExportError as error:
        reason = f"openvino cannot take {settings.backbone} ({error})"
        if settings.engine == OPENVINO:
            raise UsageError(reason, "use `engine` torch") from None
        return _torch(settings, f"{reason}: PyTorch computes, slower")


def shared_batcher(settings: EngineSettings) -> tuple[Batcher, tuple[str, ...]]:
    """Return the engine with its threads, which is started once a process.

    With it come the engine's notes, for the first caller alone.
    """
    settings = settings.resolve()
    with _opening:
        if settings in _open:
            return _open[settings], ()
        engine = open_engine(settings)
        _open[settings] = Batcher(engine, settings.threads or 1)
        notes = [*engine.notes, engine.record.weights.note()]
        if settings.precision == BF16 and not settings.on_gpu and lacks_bf16():
            notes.append("this processor does not compute in bf16: float32 is closer, and faster")
        return _open[settings], tuple(note for note in notes if note)


def _torch(settings: EngineSettings, *notes: str) -> Engine:
    # PyTorch takes a second to start, which the other engine saves.
    from oatools.features.torch_engine import TorchEngine

    return TorchEngine(settings, notes)
