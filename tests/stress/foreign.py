"""Files of foreign formats that are whole as such, and hold what nobody expects."""

import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stress.mutations import NUMBERS, TEXTS, damage_bytes


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
    """Lose, copy, rename, empty or cut files of a series: it is the same volume then, or none."""
    files = sorted(folder.iterdir())
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
