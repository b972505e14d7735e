"""Exported networks, kept on disk, so that later processes need no PyTorch or timm.

A network is a folder in that of `cache_folder()`, named by the digest of what made it. It is taken
only if it is whole and can be trusted: a record beside its files, which carries its own digest, has
the digest of each; and nobody can have put them there but this user, root, or those who were given
the folder to write into by name, not all the world.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oatools.core.errors import ItemError
from oatools.core.files import (
    alone_in,
    digest,
    digest_json,
    record_digest,
    scratch_folder,
    write_new,
)
from oatools.core.records import Fields, RecordError, parse_json

_RECORD = "record.json"
_MOST_BYTES = 1 << 20  # of a record


class NotKept(Exception):
    """A network cannot be kept; the text says where and why."""


@dataclass(frozen=True)
class Kept:
    """The files of a network, in order of name, and the record that was kept with it."""

    files: list[Path]
    record: Fields


def cache_folder() -> Path | None:
    """Return the folder of exported networks: OATOOLS_CACHE, or oatools in the user's cache.

    None for a user who has no home, as in a container.
    """
    given = os.environ.get("OATOOLS_CACHE")
    if given:
        return Path(given)
    user_cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(user_cache or Path.home() / ".cache") / "oatools"
    except RuntimeError:  # the system does not know the user, either
        return None


def find(made_from: Mapping[str, Any]) -> Kept | None:
    """Return the network that was made from just this; None where there is none to be taken."""
    cache = cache_folder()
    if cache is None:
        return None
    try:
        return _read(cache / digest_json(made_from), made_from)
    except (OSError, ItemError, RecordError):
        return None


def keep(
    made_from: Mapping[str, Any], record: Mapping[str, Any], save: Callable[[Path], None]
) -> None:
    """Keep a network, with a record as JSON can hold it. `save` writes its files into a folder.

    Others may read it as far as the umask lets them. Of several processes that keep the same one,
    the first does. Raises `NotKept` if it cannot be written.
    """
    cache = cache_folder()
    if cache is None:
        raise NotKept("the user has no home folder")
    folder = cache / digest_json(made_from)
    try:
        with scratch_folder(cache, mode=0o775) as temporary:
            save(temporary)
            files = {path.name: digest(path) for path in sorted(temporary.iterdir())}
            recorded: dict[str, Any] = {"made_from": dict(made_from), "record": dict(record)}
            recorded["files"] = files
            recorded["sha256"] = record_digest(recorded, "sha256")
            write_new(temporary / _RECORD, _as_bytes(recorded))
            for path in temporary.iterdir():
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_IWOTH)
            with alone_in(cache):
                _put(temporary, folder, made_from)
    except OSError as error:
        raise NotKept(f"{cache}: {error.strerror or error}") from None
    except ItemError as error:
        raise NotKept(error.reason) from None


def _put(temporary: Path, folder: Path, made_from: Mapping[str, Any]) -> None:
    """Give a network its folder, unless there is a good one by now."""
    with contextlib.suppress(OSError, ItemError, RecordError):
        _read(folder, made_from)
        return
    import shutil

    shutil.rmtree(folder, ignore_errors=True)  # damaged, or there is none
    temporary.rename(folder)


def _read(folder: Path, made_from: Mapping[str, Any]) -> Kept:
    """Return a network; an `OSError`, `ItemError` or `RecordError` for one not to be taken."""
    _require_trust(folder)
    with (folder / _RECORD).open("rb") as stream:
        recorded = Fields.of(parse_json(stream.read(_MOST_BYTES)))
    if recorded.text("sha256") != record_digest(recorded.values, "sha256"):
        raise RecordError("it was changed since it was made")
    if digest_json(recorded.part("made_from").values) != digest_json(made_from):
        raise RecordError("it is of another network")
    files = recorded.part("files")
    for name in files.values:
        if Path(name).name != name or digest(folder / name) != files.text(name):
            raise RecordError(f"'{name}' was changed since it was made")
    return Kept([folder / name for name in sorted(files.values)], recorded.part("record"))


def _require_trust(folder: Path) -> None:
    """Raise a `RecordError` for a network that anybody can have put there, or have changed."""
    made = folder.lstat()
    if not stat.S_ISDIR(made.st_mode):
        raise RecordError("it is not a folder")
    if _is_open_to_all(folder.parent.stat()) and made.st_uid not in (os.geteuid(), 0):
        raise RecordError("anybody can have put it there")
    for path in (folder, *folder.iterdir()):
        found = path.lstat()
        if not (path == folder or stat.S_ISREG(found.st_mode)) or _is_open_to_all(found):
            raise RecordError(f"anybody can have changed '{path.name}'")


def _is_open_to_all(found: os.stat_result) -> bool:
    return bool(found.st_mode & stat.S_IWOTH)


def _as_bytes(recorded: Mapping[str, Any]) -> bytes:
    import json

    return json.dumps(recorded, indent=1).encode()
