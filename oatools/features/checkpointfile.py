"""Files that `torch.save` or safetensors wrote, opened without executing anything in them."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from oatools.core.errors import UsageError
from oatools.core.paths import other_kind

#: Classes of plain values, which hide nothing; other builtins are a reason to close a file.
_HARMLESS = frozenset(
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in (
        *("object", "bool", "int", "float", "complex", "str", "bytes", "bytearray"),
        *("list", "dict", "set", "frozenset", "tuple", "slice", "range"),
    )
)
#: What PyTorch says of a file that it does not open, and what we do.
_REASONS = {
    r"Unsupported global: GLOBAL (\S+) was": "it names {}, which is not executed",
    r"whose module (\S+) is blocked": "it names functions of {}, which are not executed",
    r"WeightsUnpickler error:\s*([^\n]+)": "{}",
}
#: No checkpoint of a network needs these; one that names them wants something to be executed.
_SUSPECT = ("builtins", "__builtin__", "os", "posix", "nt", "sys", "subprocess", "shutil", "runpy")
_SAVE_AGAIN = "download or copy it again, or save it again"
_NOT_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS and not the weights; `git lfs pull` "
    "fetches them",
    b"<!DOCTYPE": "is a page of the web and not the weights",
    b"<html": "is a page of the web and not the weights",
    b"\x89HDF": "is an HDF5 file",
}


def read_checkpoint(path: Path) -> Any:
    """Return what a weights file holds, which is opened without executing code.

    Safetensors or what `torch.save` wrote, whatever the file is called. Objects of other classes
    than tensors and plain values, such as the settings of a training run, are replaced by empty
    stand-ins. Raises a `UsageError` for anything else.
    """
    kind = other_kind(path)
    if kind:
        raise UsageError(f"{path} is {kind}, not a file of weights", "give a file")
    if not path.is_file():
        raise UsageError(f"{path}: no such weights file", "give a path, 'pretrained' or 'random'")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UsageError(f"{path}: the file is empty", "download or copy it again")
    for mark, what in _NOT_WEIGHTS.items():
        if start.lstrip().startswith(mark):
            raise UsageError(f"{path}: {what}", "give a file of weights")
    is_header = start[5:9] == b"\0\0\0{"  # eight bytes of a length, then JSON
    if is_header or (path.suffix == ".safetensors" and not start.startswith(b"PK")):
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{path}: not a readable safetensors file ({error})") from None
    if start.startswith(b"PK"):
        _check_archive(path)
    return _unpickled(path)


def _unpickled(path: Path) -> Any:
    """Return what `torch.save` wrote, opened by PyTorch's restricted unpickler."""
    try:
        # Opened here, as newer PyTorch goes by the name of a file that it opens itself.
        with warnings.catch_warnings(), safe_globals(_stand_ins(path)), path.open("rb") as file:
            warnings.simplefilter("ignore")  # of old forms, which are read all the same
            return torch.load(file, map_location="cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # torch raises whatever the unpickler does
        raise UsageError(
            f"{path}: cannot be opened as plain tensors ({_reason(error)})",
            "save tensors only",
        ) from None


def _check_archive(path: Path) -> None:
    """Raise a `UsageError` for an archive that is larger than it looks, or was changed.

    What `torch.save` writes is as large unpacked. PyTorch does not compare the checksums in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.filename.endswith("/constants.pkl") for member in members):
                return  # a program of TorchScript, which is refused by name
            is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if is_packed or sum(m.file_size for m in members) > path.stat().st_size:
                raise UsageError(f"{path}: is packed, as torch.save packs nothing", _SAVE_AGAIN)
            damaged = archive.testzip()
    except UsageError:
        raise
    except Exception as error:  # of the many things that can be wrong with an archive
        raise UsageError(
            f"{path}: cannot be opened as plain tensors ({_reason(error)})", _SAVE_AGAIN
        ) from None
    if damaged is not None:
        raise UsageError(f"{path}: is damaged, by the checksum of {damaged}", _SAVE_AGAIN)


def _reason(error: Exception) -> str:
    """What is wrong with a file, without PyTorch's advice to execute it all the same."""
    text = str(error)
    for pattern, words in _REASONS.items():
        match = re.search(pattern, text)
        if match:
            return words.format(match[1].strip()[:120])
    first = text.strip().splitlines()[:1]
    is_plain = bool(first) and " " in first[0] and "weights_only" not in first[0]
    return first[0][:120] if is_plain else "torch.save did not write it, or it is damaged"


def kind_of(value: Any) -> str:
    """Return what a message calls a thing that a file holds in the place of tensors."""
    kind = type(value)
    if issubclass(kind, _StandIn):
        return f"a whole object of {kind.__module__}.{kind.__qualname__}"
    return f"one {kind.__name__}"


class _StandIn:
    """Stands where a file has an object of a class that is not loaded: it takes all, and is empty.

    PyTorch's restricted unpickler makes one instead of importing the class that a file names.
    """

    def __new__(cls, *_: Any, **__: Any) -> "_StandIn":
        """Make an empty one, whatever it is made from."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what the real one would be made from."""

    def __setstate__(self, state: Any) -> None:
        """Pass over what the real one would hold."""


def _stand_ins(path: Path) -> list[Any]:
    """Return a class that does nothing for each that a file names and PyTorch does not load."""
    try:
        named = get_unsafe_globals_in_checkpoint(str(path))
    except ValueError as error:
        if "torchscript" in str(error).casefold():
            raise UsageError(
                f"{path}: holds a program of TorchScript and not plain weights",
                "save its state dict alone",
            ) from None
        return []  # an older form than a ZIP archive, which then holds plain values or fails
    classes = []
    for whole in sorted(named):
        module, _, name = whole.rpartition(".")
        if whole not in _HARMLESS and module.split(".")[0] in _SUSPECT:
            return []  # the unpickler then refuses the file
        classes.append(type(name, (_StandIn,), {"__module__": module, "__qualname__": name}))
    return classes
