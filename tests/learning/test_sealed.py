"""Sealed files, as anyone can read and check them: the form of what was written years ago holds."""

import hashlib
import json
import struct

import numpy as np
import pytest
import torch

from oatools.core.records import RecordError
from oatools.learning.sealed import SEAL, read_sealed, write_sealed

RECORD = {"b": (1, "\u00e9"), "a": {2: 1.5}}
TENSORS = {"z": torch.tensor([1.0, 2.0]), "n": torch.tensor([[7]])}


def test_a_seal_is_the_digest_of_the_records_json_and_of_all_numbers(tmp_path):
    written = write_sealed(tmp_path / "a.safetensors", "key", RECORD, TENSORS)
    total = hashlib.sha256(b'{"a": {"2": 1.5}, "b": [1, "\\u00e9"]}')
    total.update(b"\nn (1, 1) torch.int64\n" + np.array([7], "<i8").tobytes())
    total.update(b"\nz (2,) torch.float32\n" + np.array([1, 2], "<f4").tobytes())
    assert written[SEAL] == total.hexdigest()
    record, tensors = read_sealed(tmp_path / "a.safetensors", "key")
    assert record == {"b": [1, "\u00e9"], "a": {"2": 1.5}, SEAL: written[SEAL]}
    assert {name: value.tolist() for name, value in tensors.items()} == {"z": [1, 2], "n": [[7]]}


def test_what_was_changed_since_is_told(tmp_path):
    path = tmp_path / "a.safetensors"
    write_sealed(path, "key", RECORD, TENSORS)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    said = json.loads(content[8 : 8 + length])["__metadata__"]["key"]
    assert json.loads(said)["a"] == {"2": 1.5}
    for changed in (content.replace(b"1.5", b"1.6"), content[:-1] + b"\x01"):
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(RecordError, match="not what was written"):
            read_sealed(path, "key")
