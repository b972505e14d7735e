"""Files of foreign formats that are whole as such, and hold what nobody expects."""

import contextlib
import json
import os
import pickle
import random
import shutil
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stress.mutations import NUMBERS, TEXTS, damage_bytes, damage_values
from stress.trial import NotHere


def damage_nifti_header(data: bytes, chance: random.Random) -> bytes:
    """Damage the header alone: the voxels are as they were."""
    return damage_bytes(data[:352], chance) + data[352:]


def damage_hdf5(path: Path, chance: random.Random) -> None:
    """Change an attribute or a dataset of a feature file into one of another type, shape or place."""
    import h5py

    with h5py.File(path, "r+") as file:
        if chance.random() < 0.5 and len(file.attrs):
            name = chance.choice(sorted(file.attrs))
            value = chance.choice(_attributes())
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
            return
        name = chance.choice(sorted(file))
        old = file[name][()]
        del file[name]
        put = chance.choice(_DATASETS)
        put(file, name, old)


def unallocated(path: Path) -> None:
    """Let a feature file state features that take 40 TB once read."""
    import h5py

    with h5py.File(path, "r+") as file:
        del file["features"]
        _unallocated(file, "features", None)


def _unallocated(file: Any, name: str, _: Any) -> None:
    """Numbers that take 40 TB once read, and nothing in the file."""
    file.create_dataset(name, (10**9, 10**4), "f4", chunks=(1024, 1024), compression="gzip")


def _of_another_file(file: Any, name: str, old: Any) -> None:
    file.create_dataset(name, old.shape, "f4", external=[("/dev/zero", 0, 10**9)])


def _linked(target: str, path: str | None) -> Callable[[Any, str, Any], None]:
    def put(file: Any, name: str, _: Any) -> None:
        import h5py

        file[name] = (
            h5py.SoftLink(target.format(name)) if path is None else h5py.ExternalLink(target, path)
        )

    return put


def _values(change: Callable[[Any], Any]) -> Callable[[Any, str, Any], None]:
    def put(file: Any, name: str, old: Any) -> None:
        file[name] = change(old)

    return put


_DATASETS: tuple[Callable[[Any, str, Any], object], ...] = (
    _unallocated,
    _of_another_file,
    _linked("/{}", None),
    _linked("/etc/hostname", "/x"),
    _values(lambda old: old * float("nan")),
    _values(lambda old: old.astype("f8") * 1e300),
    _values(lambda old: old[..., None]),
    _values(lambda old: old[:0]),
    _values(lambda old: old.astype("c8")),
    _values(lambda old: old[::-1]),
    _values(lambda old: ["text"] * 3),
    lambda file, name, _: file.create_group(name),
    lambda file, name, _: None,
)


def _attributes() -> list[Any]:
    import h5py
    import numpy as np

    return [None, 0, -1, 1e300, float("nan"), "", "x", "[" * 20_000, "{}", "[]", "null", '{"a": NaN}', np.arange(3), np.zeros((2, 2)), b"\xff\xfe", "é" * 5000, h5py.Empty("f"), np.bool_(True), "9" * 5000]  # fmt: skip


def forge_features(path: Path, chance: random.Random) -> None:
    """Write a feature file with other numbers as oatools writes it: its digests are right, the numbers are not."""
    import numpy as np

    from oatools.features.featurefile import read_features, write_features

    known = read_features(path)
    values = known.features.copy()
    values.flat[chance.randrange(values.size)] = chance.choice((np.nan, np.inf, 3e38, -3e38, 0))
    write_features(path, replace(known, features=values))


def forge_model(path: Path, chance: random.Random) -> None:
    """Write a model or checkpoint with another record or tensor, under a seal that is right."""
    try:
        from oatools.learning import sealed
    except ImportError:
        raise NotHere("models of this version carry no seal to forge") from None

    length = int.from_bytes(path.read_bytes()[:8], "little")
    key = next(iter(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]))
    record, tensors = sealed.read_sealed(path, key)
    record.pop(sealed.SEAL)
    if chance.random() < 0.7:
        record = json.loads(damage_values(record, chance))
    else:
        name = chance.choice(sorted(tensors))
        tensors[name] = chance.choice(_TENSORS)(tensors[name].float())
    with contextlib.suppress(TypeError, ValueError, RecursionError):  # too odd to be sealed
        sealed.write_sealed(
            path, key, record, {name: value.contiguous() for name, value in tensors.items()}
        )


_TENSORS: tuple[Callable[[Any], Any], ...] = (
    lambda tensor: tensor * float("nan"),
    lambda tensor: tensor * 1e38,
    lambda tensor: tensor.double(),
    lambda tensor: tensor.bfloat16(),
    lambda tensor: tensor.reshape(-1)[:1],
    lambda tensor: tensor.reshape(-1)[:0],
    lambda tensor: tensor.permute(*reversed(range(tensor.ndim))),
)


class _Program:
    """Pickled, it is a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def hide_program(path: Path, chance: random.Random) -> None:
    """Put a program into a weights file that makes the file `ran` beside it once it is run."""
    import torch

    ran = str(path.with_name("ran"))
    program = chance.choice(
        (
            _Program(os.system, f"touch {ran}"),
            _Program(eval, f"open({ran!r}, 'w')"),
            _Program(exec, f"open({ran!r}, 'w')"),
            _Program(subprocess.call, ["touch", ran]),
            _Program(open, ran, "w"),
            _Program(os.mkdir, ran),
            _Program(shutil.copy, "/etc/hostname", ran),
        )
    )
    content = chance.choice(
        (program, [program], {"state_dict": program}, {"state_dict": {}, "epoch": program})
    )
    if chance.random() < 0.3:
        path.write_bytes(pickle.dumps(content, chance.randrange(6)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=chance.random() < 0.5)


def damage_dicom(path: Path, chance: random.Random) -> None:
    """Change, add or remove elements of a DICOM file, whatever their kind says."""
    import pydicom
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    data = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom says that this is no DICOM
        for _ in range(chance.choice((1, 1, 2, 5))):
            element = chance.choice(list(data))
            how = chance.randrange(4)
            if how == 0:
                del data[element.tag]
                continue
            content = chance.choice((*TEXTS, *NUMBERS)).encode()[:60_000]
            if how == 1:  # two of them, or many
                content = b"\\".join([content] * chance.choice((2, 3, 100)))
            elif how == 2 and element.VR in ("US", "SS", "UL", "SL"):
                content = chance.choice((0, 1, 7, 32767, 65535)).to_bytes(2, "little")
            content += b" " * (len(content) % 2)
            tag = Tag(element.tag)
            raw = RawDataElement(tag, element.VR, len(content), content, 0, False, True)
            data._dict[tag] = raw
        data.save_as(path, enforce_file_format=False)


def damage_series(folder: Path, chance: random.Random) -> None:
    """Lose, copy, rename, empty or cut files of a series: it is the same volume then, or none.

    None at its ends, without which it is a whole series of fewer slices.
    """
    files = sorted(folder.iterdir())[1:-1]
    for _ in range(chance.choice((1, 1, 2))):
        path = chance.choice(files)
        if not path.exists():
            continue
        how = chance.randrange(6)
        if how == 0:
            path.unlink()
        elif how == 1:
            shutil.copy2(path, folder / f"copy of {path.name}")
        elif how == 2:
            path.rename(folder / f"z{path.name}")
        elif how == 3:
            path.write_bytes(b"")
        elif how == 4:
            path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])
        else:
            path.unlink()
            path.symlink_to("/nowhere")
