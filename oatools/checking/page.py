"""The files of a page, by their digests and by what its content says of the volumes."""

import base64
import binascii
import math
import re
import zlib
from pathlib import Path
from typing import Any

from oatools.checking.contents import Verdict
from oatools.checking.folders import damage_of_listed, volumes_of
from oatools.checking.places import Place
from oatools.core import checksums
from oatools.core.paths import require_file
from oatools.reading.pagefolder import STUDY, read_study
from oatools.viewing.page import damage_of_file

_VOLUME = re.compile(
    rb'reading\.volume\("(?P<name>[^"\n]{1,200})","(?P<packed>[0-9A-Za-z+/=]*)"\);\n\n*'
)
_MOST_BYTES = 1 << 31  # of a volume


def check_page_file(place: Place) -> Verdict:
    """Check one file of the folder of a page, or a page that is one file and has no folder."""
    if not place.folder:
        require_file(place.path)
        return Verdict(place.kind, damage_of_file(Path(place.path)))
    path, folder = Path(place.path), Path(place.folder)
    if path.name == checksums.NAME:
        is_there = checksums.read_checksums(folder) is not None
        return Verdict(place.kind, "" if is_there else "is missing")
    if not path.exists():
        return Verdict(place.kind, "is missing")
    require_file(path)
    found = damage_of_listed(folder, path.relative_to(folder).as_posix())
    study = read_study(folder)
    if not found and path.parent.name == "volumes":
        found = _volume_error(path, study)
    if not found and path.name == STUDY and not study:
        found = "cannot be read"
    return Verdict(place.kind, found)


def _volume_error(path: Path, study: dict[str, Any]) -> str:
    """Say that the volume in a script is not the one that the page expects."""
    if path.stat().st_size > _MOST_BYTES:
        return "is larger than a volume can be"
    match = _VOLUME.fullmatch(path.read_bytes())
    if match is None:
        return "is cut short, or was changed since it was made"
    name = match["name"].decode("latin-1")
    if name != path.stem:
        return f"is the volume {name}, as the file itself says"
    try:
        packed = base64.b64decode(match["packed"], validate=True)
        unpacked = _unpacked_size(packed)
    except (binascii.Error, zlib.error):
        return "was changed since it was made"
    expected = volumes_of(study)
    if name not in expected:
        return ""  # the page does not show it, or its content is at fault itself
    check, number = expected[name]
    shape = study["sequences"][number]
    voxels = math.prod(shape[axis] for axis in ("columns", "rows", "slices"))
    is_so = packed[-4:].hex() == check and unpacked == voxels
    return "" if is_so else "is not the volume that the page expects"


def _unpacked_size(packed: bytes) -> int:
    """Unpack zlib data, whose checksum is compared, and return how many bytes come out."""
    unpacking = zlib.decompressobj()
    size, waiting = 0, packed
    while not unpacking.eof:
        part = unpacking.decompress(waiting, 1 << 20)
        size, waiting = size + len(part), unpacking.unconsumed_tail
        if not part and not waiting and not unpacking.eof:
            raise zlib.error("cut short")
    if unpacking.unused_data:
        raise zlib.error("more follows")
    return size
