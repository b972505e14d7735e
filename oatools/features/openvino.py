"""Backbones in OpenVINO, exported once and kept, so that later processes need neither PyTorch nor timm.

An exported network is kept in `cache_folder()` under the digest of what made it: the backbone, its
weights, and the versions of everything between. It is opened only if its files have the digests
that were recorded with them.
"""

import importlib.metadata
import json
import shutil
import tempfile
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino

from oatools.core.files import digest, digest_json
from oatools.features.backbone_record import FILE, BackboneRecord, weights_id
from oatools.features.engine import CPU_BATCH, EngineSettings, cache_folder, filled

_FORMAT = 2
_RECORD = "record.json"
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
        networks, self.record, self.notes = _networks(core, settings)
        self.batch = settings.batch or CPU_BATCH
        self.name = f"openvino {importlib.metadata.version('openvino')}"
        try:
            self._compiled = [
                _compile(core, network, self.batch, settings.threads) for network in networks
            ]
        except RuntimeError as error:
            raise ExportError(_first_line(error)) from None
        self._own = threading.local()
        # OpenVINO's bindings look up Python's types at their first call, under a lock of their own,
        # and two threads that make it at once can wait for each other for ever: one has that lock,
        # and one the interpreter's. So the first call is made here, by one thread.
        self(np.zeros((1, settings.channels, self.record.size, self.record.size), np.float32))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See `engine.Engine`."""
        if not hasattr(self._own, "requests"):
            self._own.requests = [compiled.create_infer_request() for compiled in self._compiled]
        values = np.ascontiguousarray(filled(images, self.batch))
        for request in self._own.requests:
            request.set_input_tensor(openvino.Tensor(values, shared_memory=True))
            request.infer()
            values = request.get_output_tensor(0).data
        return values[: len(images)].copy()


def _compile(
    core: openvino.Core, network: openvino.Model, batch: int, threads: int
) -> openvino.CompiledModel:
    network.reshape([batch, *list(network.input(0).partial_shape)[1:]])
    return core.compile_model(
        network,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": network.get_rt_info(_PRECISION).value,
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # processes side by side would all be pinned to the same cores
        },
    )


def _networks(
    core: openvino.Core, settings: EngineSettings
) -> tuple[list[openvino.Model], BackboneRecord, tuple[str, ...]]:
    """The parts of the network from the cache, or exported into it."""
    # What decides the numbers of the export; its precision only says where it is cut.
    key = {
        "format": _FORMAT,
        "backbone": settings.backbone,
        "weights": weights_id(settings.weights),
        "seed": settings.seed,
        "channels": settings.channels,
        "precision": settings.precision,
        **{name: importlib.metadata.version(name) for name in ("openvino", "timm", "torch")},
    }
    folder = cache_folder() / digest_json(key)
    found = _read(core, folder)
    if found is not None:
        networks, record = found
        if record.weights.source == FILE:  # which may have had another name when it was exported
            named = replace(record.weights, name=Path(settings.weights).name)
            record = replace(record, weights=named)
        return networks, record, ()
    networks, record = _export(settings)
    try:
        _write(folder, networks, record, key)
        return networks, record, ()
    except OSError as error:
        note = (
            f"the exported network cannot be kept in {cache_folder()} ({error.strerror}), so every process "
            "exports it anew; set OATOOLS_CACHE to a folder that can be written"
        )
        return networks, record, (note,)


def _read(core: openvino.Core, folder: Path) -> tuple[list[openvino.Model], BackboneRecord] | None:
    try:
        recorded = json.loads((folder / _RECORD).read_text())
        if any(digest(folder / name) != sha256 for name, sha256 in recorded["files"].items()):
            return None
        networks = [
            core.read_model(folder / name)
            for name in sorted(recorded["files"])
            if name.endswith(".xml")
        ]
        return networks, BackboneRecord.from_json(recorded["backbone"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def _write(folder: Path, networks: list[openvino.Model], record: BackboneRecord, key: dict) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        try:
            for number, network in enumerate(networks):
                openvino.save_model(
                    network, temporary / f"network{number}.xml", compress_to_fp16=False
                )
        except RuntimeError as error:
            raise OSError(0, _first_line(error)) from None
        files = {path.name: digest(path) for path in sorted(temporary.iterdir())}
        recorded = {"key": key, "backbone": record.to_json(), "files": files}
        (temporary / _RECORD).write_text(json.dumps(recorded, indent=1))
        shutil.rmtree(folder, ignore_errors=True)  # damaged, or there is none
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same network
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _export(settings: EngineSettings) -> tuple[list[openvino.Model], BackboneRecord]:
    """Load the backbone and hand it to OpenVINO's PyTorch frontend, without its converter, which sends telemetry."""
    import torch

    from oatools.features.backbone import load_backbone

    backbone = load_backbone(settings.backbone, settings.weights, settings.seed)
    example = torch.rand(2, settings.channels, backbone.record.size, backbone.record.size)
    networks = []
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for module, type_ in backbone.parts(settings.precision):
                network = _convert(module.eval(), example)
                network.set_rt_info("bf16" if type_ == torch.bfloat16 else "f32", _PRECISION)
                networks.append(network)
                example = module(example)
    except Exception as error:  # tracing and conversion raise whatever the network's code does
        raise ExportError(_first_line(error)) from None
    return networks, backbone.record


def _convert(module, example) -> openvino.Model:  # noqa: ANN001
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    decoder = TorchScriptPythonDecoder(module, example_input=example)  # must outlive the conversion
    frontend = FrontEndManager().load_by_framework("pytorch")
    network = frontend.convert(frontend.load(decoder))
    network.reshape([-1, *example.shape[1:]])
    return network


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
