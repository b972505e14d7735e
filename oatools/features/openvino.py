"""Backbones in OpenVINO, exported once and kept, so that later processes need no PyTorch or timm.

An exported network is kept under what made it (see `networkcache`): the backbone, its weights, and
the versions of everything between.
"""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.records import RecordError
from oatools.features import networkcache, slices
from oatools.features.backbone_record import FILE, BackboneRecord, weights_id
from oatools.features.engine import CPU_BATCH, EngineSettings, filled
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume


@contextlib.contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Let modules that are not loaded be as if they were not installed."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


# OpenVINO loads its converter with itself, if that is there. The converter tells Google Analytics
# of it under an id that it keeps in the user's home, by a package that it does without, too.
# Neither is needed here, and an import takes a third less time.
with _without("openvino.tools.ovc", "openvino_telemetry"):
    import openvino

_FORMAT = 5
_PRECISION = "oatools_precision"  # what a part is computed in, kept in its file


class ExportError(Exception):
    """A network that OpenVINO cannot take, and why."""


class OpenVinoEngine:
    """A backbone that OpenVINO runs on the CPU (see `engine.Engine`).

    `threads` batches run side by side on a core each, so the numbers do not depend on how many
    there are.
    """

    def __init__(self, settings: EngineSettings) -> None:
        core = openvino.Core()
        exported, self.notes = _exported(core, settings)
        self.record = exported.record
        self.batch = settings.batch or CPU_BATCH
        self.name = f"openvino {version('openvino')}"
        threads = settings.threads or 1
        try:
            self._compiled = [
                _compile(core, network, self.batch, threads) for network in exported.networks
            ]
        except RuntimeError as error:
            raise ExportError(_last_line(error)) from None
        self._own = threading.local()
        # OpenVINO's bindings look up Python's types at their first call, under a lock of their own,
        # and two threads that make it at once can wait for each other for ever: one has that lock,
        # and one the interpreter's. So the first call is made here, by one thread.
        self(np.zeros((1, settings.channels, self.record.size, self.record.size), np.float32))

    def images(self, volume: Volume, preprocessing: Preprocessing) -> np.ndarray:
        """Return the images of a volume; see `engine.Engine`."""
        return slices.images(volume, preprocessing)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return features; see `engine.Engine`."""
        if not hasattr(self._own, "requests"):
            self._own.requests = [compiled.create_infer_request() for compiled in self._compiled]
        values = np.ascontiguousarray(filled(images, self.batch))
        for request in self._own.requests:
            request.set_input_tensor(openvino.Tensor(values, shared_memory=True))
            request.infer()
            values = request.get_output_tensor(0).data
        return values[: len(images)].copy()


@dataclass(frozen=True)
class _Exported:
    """The parts of a network, to run one after the other, and the record of their backbone."""

    networks: list[openvino.Model]
    record: BackboneRecord


def _compile(
    core: openvino.Core, network: openvino.Model, batch: int, threads: int
) -> openvino.CompiledModel:
    network.reshape([batch, *list(network.input(0).partial_shape)[1:]])
    options = {
        "INFERENCE_PRECISION_HINT": network.get_rt_info(_PRECISION).value,
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        # Pinned, processes side by side would all be on the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(network, "CPU", options)


def _exported(core: openvino.Core, settings: EngineSettings) -> tuple[_Exported, tuple[str, ...]]:
    """Return the network from the cache, or export it into the cache; and what is to be said."""
    made_from = _made_from(settings)
    kept = _read(core, made_from)
    if kept is not None:
        return _renamed(kept, settings), ()
    made = _export(settings)
    try:
        networkcache.keep(made_from, made.record.to_json(), lambda folder: _save(made, folder))
    except networkcache.NotKept as error:
        note = (
            f"the exported network cannot be kept ({error}), so every process exports it anew; set "
            "OATOOLS_CACHE to a folder that can be written"
        )
        return made, (note,)
    # As later processes have it: compiled from memory, a network in bf16 rounds otherwise.
    return _read(core, made_from) or made, ()


def _made_from(settings: EngineSettings) -> dict[str, Any]:
    """Return all that decides the numbers of an export; its precision only says where it is cut."""
    return {
        "format": _FORMAT,
        "backbone": settings.backbone,
        "weights": weights_id(settings.weights),
        "seed": settings.seed,
        "channels": settings.channels,
        "precision": settings.precision,
        **settings.of_features(),
        "openvino": version("openvino"),
        "timm": version("timm"),
        "torch": version("torch"),
    }


def _renamed(kept: _Exported, settings: EngineSettings) -> _Exported:
    """Return a kept export with the name that its weights file has now."""
    weights = kept.record.weights
    if weights.source != FILE:
        return kept
    weights = replace(weights, name=Path(settings.weights).name)
    return replace(kept, record=replace(kept.record, weights=weights))


def _read(core: openvino.Core, made_from: dict[str, Any]) -> _Exported | None:
    """Open a kept export; None where there is none."""
    kept = networkcache.find(made_from)
    if kept is None:
        return None
    try:
        networks = [core.read_model(path) for path in kept.files if path.suffix == ".xml"]
        return _Exported(networks, BackboneRecord.from_json(kept.record.values))
    except (RecordError, RuntimeError):
        return None


def _save(made: _Exported, folder: Path) -> None:
    """Write the parts of a network; an `OSError` if OpenVINO cannot."""
    for number, network in enumerate(made.networks):
        path = folder / f"network{number}.xml"
        try:
            openvino.save_model(network, path, compress_to_fp16=False)
        except RuntimeError as error:  # of whatever the system said, nothing is left
            raise OSError(0, f"not written, is the disk full? {_last_line(error)}") from None


def _export(settings: EngineSettings) -> _Exported:
    """Load the backbone and hand its parts to OpenVINO."""
    import torch

    from oatools.features.backbone import load_backbone

    backbone = load_backbone(
        settings.backbone, settings.weights, settings.seed, **settings.of_features()
    )
    example = torch.rand(2, settings.channels, backbone.record.size, backbone.record.size)
    networks = []
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for module, dtype in backbone.parts(settings.precision):
                network = _convert(module.eval(), example)
                computed_in = "bf16" if dtype == torch.bfloat16 else "f32"
                network.set_rt_info(computed_in, _PRECISION)
                networks.append(network)
                example = module(example)
    except Exception as error:  # tracing and conversion raise whatever the network's code does
        raise ExportError(_last_line(error)) from None
    return _Exported(networks, backbone.record)


def _convert(module: Any, example: Any) -> openvino.Model:
    """Convert a torch module by OpenVINO's frontend; its `convert_model` would send telemetry."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    decoder = TorchScriptPythonDecoder(module, example_input=example)  # must outlive the conversion
    frontend = FrontEndManager().load_by_framework("pytorch")
    network = frontend.convert(frontend.load(decoder))
    network.reshape([-1, *example.shape[1:]])
    return network


def _last_line(error: Exception) -> str:
    """Return the line of an error's text that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
