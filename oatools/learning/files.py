"""Models as safetensors: weights, and one JSON text from which the model is rebuilt.

Reading one runs no code.
"""

import hashlib
import json
import platform
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from oatools.core.errors import UsageError
from oatools.core.files import write_bytes
from oatools.core.provenance import may_keep
from oatools.learning.model import FittedModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings
from oatools.version import __version__

# One key for all: safetensors writes several in no fixed order, and the same model must be the same
# bytes.
KEY = "oatools"
FORMAT = 4

# The digest of all else in the file, by which damage is noticed; models of before have none.
_CONTENT = "content_sha256"
_START = f'{{"__metadata__":{{"{KEY}":'.encode()


def save_model(path: str | Path, model: FittedModel, **more: Any) -> FittedModel:
    """Write a model atomically, and return it with the record that its file holds.

    `more`, such as `endpoint="jsn12"`, is added to the record.
    """
    record = {
        "format": FORMAT,
        "architecture": f"{model.settings.pooling} pooling over slices, perceptron",
        **model.record,
        **more,
        "settings": model.settings.as_dict(),
        "channels": model.module.channels,
        "clinical": model.scaling.as_records(),
        "threshold": model.threshold,
        "versions": versions(),
    }
    tensors = {}
    for name, value in model.module.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()
    record[_CONTENT] = _digest(record, tensors)
    metadata = {KEY: json.dumps(record, sort_keys=True, allow_nan=True)}
    write_bytes(path, save(tensors, metadata))
    return replace(model, record=record)


def load_model(path: str | Path) -> FittedModel:
    """Rebuild a model from its file, in evaluation mode.

    Raises a `UsageError` for a file that `save_model` has not written.
    """
    record = read_record(path)
    try:
        settings = Settings(**record["settings"])
        scaling = ClinicalScaling.from_records(record["clinical"])
        sequences = len(record["joined"]) or 1
        module = build(settings, record["channels"], len(scaling.names), sequences)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if record.get(_CONTENT, _digest(record, tensors)) != _digest(record, tensors):
            raise ValueError("its content is not what was written")
        module.load_state_dict(tensors)
        return FittedModel(module.eval(), settings, scaling, float(record["threshold"]), record)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{path} is damaged or of another version of oatools ({reason})", "train it again"
        ) from None


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what a model file says of itself, without its weights; errors as for `load_model`."""
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
        record = json.loads(text) if text else None
    except FileNotFoundError:
        raise UsageError(f"{path}: no such model") from None
    except (SafetensorError, OSError, ValueError):
        raise UsageError(
            f"{path} is not a model that oa-train or oa-cv wrote (no safetensors file)"
        ) from None
    if not isinstance(record, dict):
        raise UsageError(
            f"{path} is a safetensors file, but not a model that oa-train or oa-cv wrote"
        )
    if record.get("format") != FORMAT:
        raise UsageError(
            f"{path} has format {record.get('format')}, and this version reads {FORMAT}",
            "use the oatools that wrote it, or train it again",
        )
    return record


def is_done(
    path: str | Path, made_from: str, force: bool, say: Callable[[str], None] | None = None
) -> bool:
    """Tell whether the model at `path` is what would be trained.

    One that was damaged since it was made (cut, emptied, changed) is not, which `say` is told.
    Raises a `UsageError` where it is another, unless `force`.
    """
    if not force and _is_damaged(Path(path), made_from):
        if say is not None:
            say(f"warning: {path} was damaged since it was made; it is made again")
        return False

    def why_not() -> str:
        if read_record(path).get("made_from") == made_from:
            return ""
        return "was made from other inputs or settings"

    return may_keep(Path(path), why_not, force, UsageError)


def versions() -> dict[str, str]:
    """Return the versions of everything that decides the numbers."""
    return {
        "oatools": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def _is_damaged(path: Path, made_from: str) -> bool:
    """Tell whether a file is what is left of the model that would be trained."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(8 + len(_START))
        if start[8:] != _START:
            return not start  # else a file of somebody else
        try:
            length = struct.unpack("<Q", start[:8])[0]
            file.seek(8)
            record = json.loads(json.loads(file.read(length))["__metadata__"][KEY])
        except (struct.error, ValueError, KeyError, TypeError, OverflowError):
            return True
    if record.get("made_from") != made_from or record.get("format") != FORMAT:
        return False  # another model, whole or not, which is for its owner to decide on
    try:
        load_model(path)
    except UsageError:
        return True
    return False


def _digest(record: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a model file holds, but for this digest itself."""
    said = {key: value for key, value in record.items() if key != _CONTENT}
    plain = json.loads(json.dumps(said))  # as it will be read
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        total.update(f"\n{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()
