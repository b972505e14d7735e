"""Small files that ask for much: what they state, or unpack to, is more than memory holds.

None has more than 25 MB, and none may cost more than 2 GiB, or much time.
"""

import bz2
import gzip
import io
import random
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

from stress.foreign import unallocated
from stress.runs import last_line, run, wrongs
from stress.stand import Stand
from stress.trial import Place, Trial, Verdict

GIB = 1 << 30


def trials() -> list[Trial]:
    return [
        Trial("bombs", f"bomb {name}", partial(_explode, name), lambda stand: None)
        for name in BOMBS
    ]


def _explode(name: str, stand: Stand, place: Place, chance: random.Random) -> Verdict:
    """Give it to the command that reads such files, before good ones: it fails by name, and they are done."""
    path = place.work / name
    if name.endswith(".h5"):
        good = sorted((stand.material / "features").iterdir())[0]
        words = f"oa-predict {stand.material / 'model.safetensors'} {name} {good}"
        shutil.copy2(good, path)
        unallocated(path)
    else:
        path.write_bytes(BOMBS[name]())
        if ".nii" in name:
            good = sorted((stand.material / "nii").glob("*.nii.gz"))[0]
            words = f"oa-orient --side left --side-check trust -o out {name} {good}"
        else:
            good = sorted((stand.material / "oai/00m/0.E.1").glob("*/*/*"))[0]
            words = f"oa-convert -o out {name} {good}"
    assert path.stat().st_size < 25_000_000
    done = run(words.split(), place, stand.environment(place))
    found = wrongs(done)
    if len(done.out.splitlines()) < 2:
        found.append(f"the good row beside it is lost: {last_line(done.err)}")
    if done.status != 0 and name not in done.err:
        found.append(f"it is not named: {last_line(done.err)}")
    return Verdict(found, clean_error=done.status == 1 and not found)


def _zeros(gib: float) -> bytes:
    """Gzip members of 64 MiB of zeros, one after the other."""
    return gzip.compress(bytes(1 << 26), 9) * int(gib * 16)


def _member(size: int, kind: bytes) -> bytes:
    """The header of a member of a tar archive."""
    entry = tarfile.TarInfo("001")
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def _sparse(size: int) -> bytes:
    """A member that is all hole."""
    block = bytearray(_member(0, tarfile.GNUTYPE_SPARSE))
    for k in range(4):
        block[386 + 24 * k : 410 + 24 * k] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = bytes([0x80]) + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def _zip(packed: bytes, method: int, stated: int) -> bytes:
    """A ZIP archive of one member, whose size is stated freely."""
    local = (
        struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, method, 0, 0, 0, len(packed), stated, 3, 0)
        + b"001"
    )
    central = (
        struct.pack(
            "<IHHHHHHIIIHHHHHII",
            0x02014B50,
            20,
            20,
            0,
            method,
            0,
            0,
            0,
            len(packed),
            stated,
            3,
            0,
            0,
            0,
            0,
            0,
            0,
        )
        + b"001"
    )
    end = struct.pack(
        "<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(central), len(local) + len(packed), 0
    )
    return local + packed + central + end


def _deflated(gib: float) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)) * int(
        gib * 16
    ) + packer.flush()


def _many_members() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(150_000):
            archive.writestr(zipfile.ZipInfo(f"{i}"), b"")
    return out.getvalue()


def _volume(shape: tuple[int, int, int], code: int = 2, offset: float = 352) -> bytes:
    """The header of a NIfTI volume."""
    import nibabel

    header = nibabel.Nifti1Header()
    header["datatype"], header["dim"], header["vox_offset"] = code, [3, *shape, 1, 1, 1, 1], offset
    header["pixdim"][1:4], header["sform_code"], header["magic"] = 1, 1, b"n+1"
    header["srow_x"], header["srow_y"], header["srow_z"] = [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]
    return header.binaryblock + bytes(4)


def _packed(header: bytes, gib: float) -> bytes:
    return gzip.compress(header, mtime=0) + _zeros(gib)


BOMBS: dict[str, Callable[[], bytes]] = {
    "sparse.tar": lambda: _sparse(5 * GIB),
    "long-member.tar.gz": lambda: _packed(_member(5 * GIB, b"0"), 5),
    "many-members.tar.gz": lambda: gzip.compress(_member(0, b"0") * 20_000, 9) * 50,
    "long-header.tar.gz": lambda: _packed(_member(3 * GIB, b"x"), 3),
    "long-name.tar.gz": lambda: _packed(_member(3 * GIB, b"L"), 3),
    "name-in-gzip.tar.gz": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 20_000_000,
    "empty-streams.tar.gz": lambda: gzip.compress(b"", 9, mtime=0) * 1_000_000,
    "states-too-little.zip": lambda: _zip(_deflated(5), 8, 1000),
    "states-too-much.zip": lambda: _zip(b"x", 0, 0xFFFFFFF0),
    "bzip2.zip": lambda: _zip(bz2.compress(bytes(GIB)), 12, 1000),
    "many-members.zip": _many_members,
    "dimensions.nii.gz": lambda: _packed(_volume((32767,) * 3), 1),
    "voxels.nii.gz": lambda: _packed(_volume((1710,) * 3), 5),
    "tail.nii.gz": lambda: _packed(_volume((10, 10, 10)), 20),
    "offset.nii.gz": lambda: _packed(_volume((10, 10, 10), offset=6.0 * GIB), 7),
    "empty-streams.nii.gz": lambda: gzip.compress(b"", 9, mtime=0) * 1_000_000,
    "unallocated.h5": lambda: b"",
}
