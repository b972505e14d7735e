"""Tensors and one record in a safetensors file, sealed by a digest of both.

Reading one runs no code, and allocates no more than the file holds. Whatever was changed in it
since it was written, the digest tells.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from oatools.core.files import unsealed, write_bytes
from oatools.core.paths import other_kind
from oatools.core.records import Fields, RecordError, as_read, parse_json

#: The field of a record that holds the digest of all else in the file.
SEAL = "content_sha256"

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 1 << 27  # bytes; a record names every knee that a model was trained on


class NotSealed(Exception):
    """A file that holds no such record; the text says what it is instead."""


def write_sealed(
    path: str | Path, key: str, record: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """Write a file atomically, and return the record with its seal.

    `key` tells what the file is. The same content gives the same bytes.
    """
    sealed = {**record, SEAL: _digest(record, tensors)}
    # One key for all: safetensors writes several in no fixed order.
    text = json.dumps(sealed, sort_keys=True, allow_nan=True)
    write_bytes(path, save(dict(tensors), {key: text}))
    return sealed


def start_of(key: str) -> bytes:
    """Return what follows the first eight bytes of a file that `write_sealed` wrote."""
    return f'{{"__metadata__":{{"{key}":'.encode()


def read_record(path: str | Path, key: str) -> dict[str, Any]:
    """Return the record of a file, which may be broken, without its tensors.

    Raises `NotSealed` for a file that has none, a `RecordError` for what is no record, and a
    `FileNotFoundError`.
    """
    path = Path(path)
    if not path.is_file():
        if path.exists():
            raise NotSealed(other_kind(path) or "no file")
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return _record(file.read(_LENGTH.size), file.read, key)


def read_sealed(path: str | Path, key: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the record and the tensors of a file, which are those that were written.

    Raises as `read_record` does, and a `RecordError` where the digest is another, or missing.
    """
    record = read_record(path, key)
    content = Path(path).read_bytes()
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise RecordError(
            f"its tensors cannot be read: {' '.join(str(error).split())[:120]}"
        ) from None
    if SEAL not in record:
        raise RecordError("it has no digest of its content")
    if Fields(record).text(SEAL) != _digest(record, tensors):
        raise RecordError("its content is not what was written")
    for name, value in sorted(tensors.items()):
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise RecordError(f"tensor '{name}' holds numbers that are not finite")
    return record, tensors


def _record(start: bytes, read: Any, key: str) -> dict[str, Any]:
    if len(start) < _LENGTH.size:
        raise NotSealed("no safetensors file")
    length = _LENGTH.unpack(start)[0]
    if length > _LONGEST_HEADER:
        raise NotSealed("no safetensors file")
    content = read(length)
    if len(content) < length or content[:1] != b"{":
        raise NotSealed("no safetensors file")
    header = parse_json(content)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(key) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise NotSealed("a safetensors file")
    return dict(Fields.of(parse_json(text)).values)


def _digest(record: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of all that a file holds, but for this digest itself."""
    # Not `record_digest`: all models that were ever sealed have white space in this JSON.
    said = json.dumps(as_read(unsealed(record, SEAL)), sort_keys=True)
    total = hashlib.sha256(said.encode())
    for name, value in sorted(tensors.items()):
        total.update(f"\n{name} {tuple(value.shape)} {value.dtype}\n".encode())
        total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
