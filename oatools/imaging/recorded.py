"""Volumes written together with the sidecar that says how they were made."""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION, UnderWay, alone_in, under_way
from oatools.core.replacing import Replace
from oatools.imaging import kept
from oatools.imaging.volume import Shown, Volume, encode_volume

_REMEDY = "move it away, or use `force` or another `out_dir`"


def write_recorded(
    target: Path,
    volume: Volume,
    fields: Mapping[str, Any],
    compression: int = COMPRESSION,
    beside: Mapping[str, bytes] | None = None,
    replacing: Replace = Replace.NOTHING,
    shown: Shown | None = None,
) -> None:
    """Write a volume, its sidecar with these fields, and files of the same name `beside` it.

    `beside` gives their contents by extension (`.png`). All of them are on the disk before any has
    its name, and the volume gets its own last: where it is, the work is done. `shown` is how
    viewers show it, see `volume.Shown`.

    The fields record the volume's digest. Unless `replacing` is ANYTHING, raises an `ItemError`
    where another run has put a volume there meanwhile that was made otherwise (see
    `provenance.step_is_done`), and where a file that would go beside it is there without a volume,
    and is not what an interrupted run of the same step leaves. Of two runs that do the same, either
    may be the one whose files stay. With ANYTHING, an older volume goes, also one in the other
    form, compressed or not, as both would share the sidecar.
    """
    wanted = provenance.Provenance.from_fields(fields).last
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(under_way(target))
        maker = "" if wanted is None else wanted.tool
        packed = compression if target.name.endswith(".gz") else None
        encode_volume(file.stream, volume, packed, maker, shown)
        file.finish()
        record = provenance.output_record(file.temporary)
        others = []
        if beside:
            record["beside"] = {}
        for suffix, content in (beside or {}).items():
            other = stack.enter_context(under_way(beside_path(target, suffix)))
            other.stream.write(content)
            other.finish()
            record["beside"][suffix] = hashlib.sha256(content).hexdigest()
            others.append(other)
        sidecar = stack.enter_context(under_way(provenance.sidecar(target)))
        text = provenance.sidecar_text({**fields, provenance.OUTPUT: record})
        sidecar.stream.write(text.encode())
        sidecar.finish()
        # One run at a time, so that a sidecar and a volume of two runs do not come together.
        with alone_in(target.parent):
            if wanted is not None and replacing is not Replace.ANYTHING:
                if kept.is_done(target, wanted, replacing):
                    return
                _refuse_others(target, wanted, beside or {}, replacing)
            # The older volume goes first: at no moment does a sidecar stand beside a volume that it
            # does not describe, whenever the process is killed.
            target.unlink(missing_ok=True)
            if replacing is Replace.ANYTHING:
                other_form(target).unlink(missing_ok=True)
            _publish([*others, sidecar, file])


def beside_path(volume: Path, suffix: str) -> Path:
    """Return the path of the file beside a volume that has its name and this extension."""
    return provenance.sidecar(volume).with_suffix(suffix)


def other_form(volume: Path) -> Path:
    """Return the name of a compressed volume without compression, and the other way round."""
    if volume.suffix == ".gz":
        return volume.with_suffix("")
    return volume.with_name(f"{volume.name}.gz")


def _refuse_others(
    target: Path, wanted: provenance.Step, beside: Mapping[str, bytes], replacing: Replace
) -> None:
    """Raise an `ItemError` for a file of somebody else's that would be replaced."""
    if target.exists():
        return
    for suffix, content in beside.items():
        path = beside_path(target, suffix)
        is_same = path.is_file() and path.read_bytes() == content
        if os.path.lexists(path) and not is_same:
            raise ItemError(f"{path} is there without {target.name}, and is another's", _REMEDY)
    path = provenance.sidecar(target)
    if os.path.lexists(path):
        made = provenance.read_provenance(target).last
        is_outdated = made is not None and made.tool == wanted.tool
        if is_outdated and replacing is Replace.OUTDATED:
            return
        if made is None or wanted.difference_from(made):
            raise ItemError(f"{path} is there without {target.name}, and is another's", _REMEDY)


def _publish(files: list[UnderWay]) -> None:
    """Give all files their names, in this order, or none."""
    published: list[UnderWay] = []
    try:
        for file in files:
            file.publish()
            published.append(file)
    except OSError:
        for file in published:
            file.path.unlink(missing_ok=True)
        raise
