"""NIfTI files as the standard says, and in one line why not, where a file does not follow it.

What is decided here is decided from the header: its form and byte order, type and place of the
voxels, their scaling, and where they lie. nibabel gives names to the header's bytes and turns
quaternions into matrices; it repairs nothing, because what it repairs it does not tell.

Where voxels lie is what the header states, in millimetres. The sform counts where it is there, else
the qform. Without either, and where both are there and contradict each other, nobody knows which
way is left: such a file is refused.
"""

import bz2
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip
from nibabel.spatialimages import HeaderDataError

from oatools.core.errors import ItemError
from oatools.core.limits import allowance, require_memory

Voxels = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]

#: How far sform and qform may put a voxel apart, as a part of its longest edge: a qform has no
#: shears, and its numbers fewer digits.
AGREES = 0.5

_AGAIN = "convert it again"
_NIFTI_FIRST = "convert it to NIfTI first"

_HEADS = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}
_SINGLE = {b"n+1\0": 348, b"n+2\0": 540}
_PAIR = {b"ni1\0": 348, b"ni2\0": 540}
_HEAD_BYTES = 540
_LINE_ENDS = b"\r\n\x1a\n"  # behind the magic of NIfTI-2
_MOST_FILLING = 512
_EXTENSION_FLAG = 4  # bytes behind the header, which voxels never begin before
_BLOCK_BYTES = 1 << 20

# Forms that a volume may be taken for, by their first bytes (at an offset), and what to do.
_OTHER_FORMS = [
    (0, b"\x28\xb5\x2f\xfd", "is packed with zstd", "unpack it, or pack it with gzip"),
    (0, b"\xfd7zXZ\0", "is packed with xz", "unpack it, or pack it with gzip"),
    (0, b"\x04\x22\x4d\x18", "is packed with lz4", "unpack it, or pack it with gzip"),
    (0, b"PK\x03\x04", "is a ZIP archive", "unpack it first"),
    (257, b"ustar", "is a tar archive", "unpack it first"),
    (128, b"DICM", "is DICOM", "convert it with oa-convert first"),
    (0, b"NRRD", "is NRRD", _NIFTI_FIRST),
    (0, b"ObjectType", "is MetaImage", _NIFTI_FIRST),
    (0, b"\x89HDF", "is HDF5 (MINC, or features)", "give the volume, as NIfTI"),
    (0, b"CDF\x01", "is MINC", _NIFTI_FIRST),
    (0, b"\0\0\0\x01\0\0", "is a volume of FreeSurfer (MGH)", _NIFTI_FIRST),
    (0, b"version https://git-lfs", "is a pointer of Git LFS, not the file", "fetch it first"),
]

# Voxel types that are intensities, by the header's code; the others by name.
_TYPES = {
    2: np.uint8,
    4: np.int16,
    8: np.int32,
    16: np.float32,
    64: np.float64,
    256: np.int8,
    512: np.uint16,
    768: np.uint32,
    1024: np.int64,
    1280: np.uint64,
}
_OTHER_TYPES = {
    0: "unknown",
    1: "single bits",
    32: "complex64",
    128: "colours (RGB)",
    255: "all",
    1536: "long double",
    1792: "complex128",
    2048: "complex256",
    2304: "colours (RGBA)",
}

_LAST_FORM = 5  # the codes of sform and qform: 1 to 5, and 0 for none
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {0: "no units, which counts as mm", 1: "metres", 2: "mm", 3: "micrometres"}
# Voxels of no scan: what lies beyond is a length in other units than the header says.
_LEAST_MM, _MOST_MM = 0.005, 100.0
_FARTHEST_MM = 1e5
_SPACING_AGREES = 0.05  # of the sform's own
_FLAT = 1e-3  # of the product of a voxel's edges: below this volume, its axes lie in one plane

# Level 9 of deflate, at its best, packs a thousand bytes into one.
_MOST_PACKED = 1100
# Bytes of memory that a voxel takes beside those that are stored: in the work on a volume, and
# while voxels are turned into numbers that every viewer opens.
_WORK_BYTES, _CONVERSION_BYTES = 12, 23
# Most that is unpacked before the voxels begin; extensions are texts.
_MOST_BEFORE = 1 << 26
# The least of a largest voxel, so that float32 still tells air from it.
_LEAST_TOP = 2.0**-110
_NARROWER = (np.int16, np.uint16, np.int32)


class Header(NamedTuple):
    """What a header states of its volume.

    `shape` is three integers, `affine` (4, 4) from voxel indices to RAS mm, `dtype` the type that
    voxels are stored in, `offset` the byte at which they begin. `slope` and `intercept` scale them;
    they are 1 and 0 where nothing is scaled. `in_pair` is True where the voxels have a file of
    their own.
    """

    shape: tuple[int, ...]
    affine: Affine
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    in_pair: bool

    @property
    def voxel_bytes(self) -> int:
        """The bytes that all voxels take."""
        count = 1
        for n in self.shape:
            count *= n  # of Python's integers, which do not overflow
        return count * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """Read the header of an existing file, and nothing else of it.

    Raises an `ItemError` for a file of another form or one that is damaged, a header that
    contradicts itself or leaves out what its voxels mean, and a volume that is not
    three-dimensional. Messages do not name the file.
    """
    with _reading(), _opened(_header_file(path)) as stream:
        head = _read(stream, _HEAD_BYTES)
    return _parsed(head, path)


def read(path: Path) -> tuple[Header, Voxels]:
    """Read an existing file: its header, and its voxels (i, j, k) as numbers in Fortran order.

    Voxels are scaled as the header says, and of a type that every viewer opens (see `portable`).
    Raises an `ItemError` as `read_header` and `portable` do, and for a file that is cut short.
    """
    header = read_header(path)
    voxel_file = _beside(path, ".img") if header.in_pair else path
    with _reading():
        stored = _stored(voxel_file, header)
    return header, portable(_scaled(stored, header))


def read_description(path: Path) -> str:
    """Return the text in an existing file's header that is free for whoever wrote it (`descrip`).

    Empty where there is none, or no header can be read.
    """
    try:
        with _reading(), _opened(_header_file(path)) as stream:
            head = _read(stream, _HEAD_BYTES)
        fields, _ = _fields(head, path)
        return bytes(fields["descrip"].item()).decode("latin-1")
    except ItemError:
        return ""


def portable(data: Voxels) -> Voxels:
    """Return voxels in a type that every viewer opens; those that have one stay as they are.

        uint8, int16, uint16, int32, float32    as they are
        bool                                    uint8
        int8                                    int16
        uint32, int64, uint64                   int16, uint16 or int32, the first that holds
                                                all of them, else float32
        float16, float64, longdouble            float32

    Raises an `ItemError` for numbers of other kinds, and for floating point of a range that float32
    does not have. What is not finite stays so.
    """
    kind, itemsize = data.dtype.kind, data.dtype.itemsize
    if kind == "b":
        return data.astype(np.uint8)
    if kind not in "iuf":
        raise ItemError(
            f"voxels of type {data.dtype} are no intensities", "convert it to numbers first"
        )
    data = data.astype(data.dtype.newbyteorder("="), copy=False)
    if kind == "f":
        return data if itemsize == 4 else _as_float32(data)
    if data.dtype == np.int8:
        return data.astype(np.int16)
    if itemsize < 4 or data.dtype == np.int32:
        return data
    low, high = (int(data.min()), int(data.max())) if data.size else (0, 0)
    for narrower in _NARROWER:
        limits = np.iinfo(narrower)
        if limits.min <= low and high <= limits.max:
            return data.astype(narrower)
    return data.astype(np.float32)


def apart(first: Affine, second: Affine, shape: Sequence[int]) -> float:
    """Return how far two affines put the same corner of a volume apart, at most, in mm."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij")).reshape(3, -1)
    difference = first - second
    moved = difference[:3, :3] @ corners + difference[:3, 3:]
    return float(np.sqrt((moved**2).sum(axis=0)).max())


def _as_float32(data: Voxels) -> Voxels:
    """Return floating point as float32; an `ItemError` where that has not its range."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        narrow = data.astype(np.float32)
    lost = np.isfinite(data) & ~np.isfinite(narrow)
    if lost.any():
        largest = float(np.abs(data[np.isfinite(data)]).max())
        raise ItemError(
            f"its voxels reach {largest:g}, and float32 ends at 3.4e+38",
            "scale it, or correct the header's slope",
        )
    top = float(np.abs(narrow[np.isfinite(narrow)]).max(initial=0))
    if top < _LEAST_TOP and data.any():
        largest = float(np.abs(data[np.isfinite(data)]).max(initial=0))
        raise ItemError(
            f"its largest voxel is {largest:g}, for which float32 has too few digits",
            "scale it, or correct the header's slope",
        )
    return narrow


# Files ---------------------------------------------------------------------------------------


@contextmanager
def _reading() -> Iterator[None]:
    """Give one line to whatever the system and the unpacking raise on a file."""
    try:
        yield
    except EOFError:
        raise _unreadable("it is cut short: its packed data ends too early") from None
    except (ItemError, MemoryError):
        raise
    except OSError as error:
        raise _unreadable(error.strerror or str(error)) from None
    except Exception as error:  # what unpacks damaged bytes raises errors of its own
        raise _unreadable(f"its packed data is damaged: {error}") from None


def _unreadable(reason: str) -> ItemError:
    return ItemError(f"not a readable NIfTI volume ({reason})", _AGAIN)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its bytes, unpacked where it is packed."""
    opener = {"": Path.open, "gzip": igzip.open, "bzip2": bz2.open}[_packing(path)]
    with opener(path, "rb") as stream:
        yield stream


def _packing(path: Path) -> str:
    """Return `gzip`, `bzip2` or an empty text for a file.

    A header shows whether it is packed, whatever its file is called; the bare voxels of a pair may
    begin with any bytes.
    """
    if path.name.endswith(".img"):
        return ""
    with path.open("rb") as raw:
        head = raw.read(3)
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    return "bzip2" if head == b"BZh" else ""


def _header_file(path: Path) -> Path:
    """Return the file that holds the header: beside an `.img` it is the `.hdr`."""
    if not path.name.endswith((".img", ".img.gz")):
        return path
    return _beside(path, ".hdr")


def _beside(path: Path, suffix: str) -> Path:
    """Return the other file of a pair, packed or not; an `ItemError` if it is not there."""
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    for name in (f"{stem}{suffix}", f"{stem}{suffix}.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    raise ItemError(f"half of a pair: there is no {stem}{suffix} beside it", "put both there")


def _read(stream: IO[bytes], count: int) -> bytes:
    """Read so many bytes, or all that there are."""
    parts = []
    while count > 0 and (part := stream.read(min(count, _BLOCK_BYTES))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _stored(path: Path, header: Header) -> Voxels:
    """The voxels as they are stored, in Fortran order."""
    needed, size = header.voxel_bytes, path.stat().st_size
    if not _packing(path):
        with path.open("rb") as raw:
            raw.seek(min(header.offset + needed, size))
            _check_length(size - header.offset, raw.read(_MOST_FILLING), header)
        _check_memory(header, path)
        return np.memmap(path, header.dtype, "c", header.offset, header.shape, "F").view(np.ndarray)
    if _packing(path) == "gzip" and needed > size * _MOST_PACKED:
        _check_length(0, b"", header)
    if header.offset > _MOST_BEFORE:
        raise _unreadable(f"its header lets voxels begin at byte {header.offset:g}")
    _check_memory(header, path)
    with _opened(path) as stream:
        skipped = _skip(stream, header.offset)
        voxels = np.empty(needed, np.uint8)
        filled = _fill(stream, voxels) if skipped == header.offset else 0
        # To the end, if it is near: there stands the checksum of all that was unpacked.
        tail = _read(stream, _BLOCK_BYTES)
    _check_length(filled + len(tail), tail[:_MOST_FILLING], header)
    return voxels.view(header.dtype).reshape(header.shape, order="F")


def _skip(stream: IO[bytes], count: int) -> int:
    """Read over so many bytes, or all that there are; return how many."""
    skipped = 0
    while skipped < count and (part := stream.read(min(count - skipped, _BLOCK_BYTES))):
        skipped += len(part)
    return skipped


def _fill(stream: Any, out: npt.NDArray[np.uint8]) -> int:
    """Read a stream into an array, and return how many bytes came."""
    filled = 0
    room = out.data
    while filled < len(room) and (count := stream.readinto(room[filled:])):
        filled += count
    return filled


def _check_memory(header: Header, path: Path) -> None:
    """Raise an `ItemError` for voxels that are more than a file of its size may take memory for."""
    is_converted = _is_scaled(header) or header.dtype.itemsize == 8
    work = _CONVERSION_BYTES if is_converted else _WORK_BYTES
    size = " x ".join(map(str, header.shape))
    require_memory(
        header.voxel_bytes // header.dtype.itemsize * (header.dtype.itemsize + work),
        allowance(path),
        f"its header states {size} voxels",
    )


def _check_length(found: int, tail: bytes, header: Header) -> None:
    """Raise an `ItemError` unless a file has the voxels that its header states, and no more.

    `tail` are the first bytes behind them. A few zeros there are filling, by which some programs
    round a file's size up; anything else means that the header is not that of the voxels.
    """
    needed = header.voxel_bytes
    if found < needed:
        raise _unreadable(f"it is cut short: {max(found, 0)} of {needed} bytes of voxels are there")
    if found - needed >= _MOST_FILLING or any(tail):
        at_least = "at least " if found - needed == _BLOCK_BYTES else ""
        raise _unreadable(
            f"its header states {needed} bytes of voxels, and {at_least}{found} are there"
        )


def _is_scaled(header: Header) -> bool:
    return (header.slope, header.intercept) != (1.0, 0.0)


def _scaled(stored: Voxels, header: Header) -> Voxels:
    """Voxels as numbers: in float64 where the header scales them, else as they are stored."""
    if not _is_scaled(header):
        return stored
    with np.errstate(over="ignore", invalid="ignore"):
        data = stored.astype(np.float64)
        if header.slope != 1:
            data *= header.slope
        if header.intercept != 0:
            data += header.intercept
    if stored.dtype.kind in "iu" and not np.isfinite(data).all():
        raise ItemError(
            f"its slope {header.slope:g} and intercept {header.intercept:g} scale voxels beyond "
            "all numbers",
            "correct the header, or convert it again",
        )
    return data


# Headers -------------------------------------------------------------------------------------


def _parsed(head: bytes, path: Path) -> Header:
    """Read a header's bytes."""
    fields, in_pair = _fields(head, path)
    slope, intercept = _scaling(fields)
    return Header(
        shape=_shape(fields),
        affine=_affine(fields),
        dtype=_dtype(fields),
        offset=_offset(fields, in_pair),
        slope=slope,
        intercept=intercept,
        in_pair=in_pair,
    )


def _fields(head: bytes, path: Path) -> tuple[Any, bool]:
    """Return the header under nibabel's names for its fields, and whether it is one of a pair."""
    size, in_pair = _form(head, path)
    if len(head) < size:
        raise _unreadable(f"it is cut short: {len(head)} bytes are no header")
    if size == 540 and head[8:12] not in (_LINE_ENDS, bytes(4)):
        raise _unreadable("its line ends were converted, as if it were a text")
    found = None
    for order in "<>":
        fields = _HEADS[size](head[:size], endianness=order, check=False)
        if int(fields["sizeof_hdr"]) == size:
            return fields, in_pair
        if found is None and 1 <= int(fields["dim"][0]) <= 7:
            found = fields
    if found is None:
        raise _unreadable("neither its size nor its dimensions are those of a header")
    return found, in_pair


def _form(head: bytes, path: Path) -> tuple[int, bool]:
    """Return a header's size and whether it is one of a pair; an `ItemError` for other forms."""
    if not head:
        raise _unreadable("it is empty")
    for magic in (head[344:348], head[4:8]):
        is_second = magic == head[4:8] and magic[2:3] == b"2"
        is_first = magic == head[344:348] and magic[2:3] == b"1"
        if not (is_first or is_second):
            continue
        if magic in _SINGLE:
            return _SINGLE[magic], False
        if magic in _PAIR:
            if path.name.endswith((".hdr", ".hdr.gz", ".img", ".img.gz")):
                return _PAIR[magic], True
            raise ItemError(
                "its header is that of a pair (.hdr and .img), without the voxels",
                "give the .img, with both files in one folder",
            )
    for start, signature, what, remedy in _OTHER_FORMS:
        if head[start : start + len(signature)] == signature:
            raise ItemError(f"{what}, not NIfTI", remedy)
    if head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):
        raise ItemError(
            "an Analyze volume (it lacks NIfTI's magic): nothing in it says where left is",
            "convert the scan to NIfTI again",
        )
    raise _unreadable("no NIfTI header")


def _shape(fields: Any) -> tuple[int, ...]:
    """The number of voxels along three axes; axes of length one behind them do not count."""
    dim = [int(n) for n in fields["dim"]]
    if not 1 <= dim[0] <= 7:
        raise _unreadable(f"its header states {dim[0]} dimensions")
    shape = dim[1 : dim[0] + 1]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    size = " x ".join(map(str, shape))
    if min(shape) < 1:
        raise _unreadable(f"its header states {size} voxels")
    if len(shape) != 3:
        raise ItemError(
            f"has {len(shape)} dimensions ({size}), not 3", "split it into volumes first"
        )
    return tuple(shape)


def _dtype(fields: Any) -> np.dtype[Any]:
    """The type of the stored voxels."""
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code not in _TYPES:
        name = _OTHER_TYPES.get(code, "not in the standard")
        raise ItemError(
            f"its voxels are of datatype {code} ({name}), which is no intensity that can be read",
            "convert it to 16-bit integers or float32 first",
        )
    dtype = np.dtype(_TYPES[code])
    if bits not in (0, 8 * dtype.itemsize):
        raise ItemError(
            f"its header contradicts itself: voxels are {dtype} (datatype {code}), and have {bits} "
            "bits",
            _AGAIN,
        )
    return dtype.newbyteorder(fields.endianness)


def _offset(fields: Any, in_pair: bool) -> int:
    """The byte at which voxels begin."""
    stated = float(fields["vox_offset"])
    least = 0 if in_pair else int(fields.template_dtype.itemsize) + _EXTENSION_FLAG
    if not (least <= stated < 2**62 and stated == int(stated)):
        raise _unreadable(f"its header lets voxels begin at byte {stated:g}")
    return int(stated)


def _scaling(fields: Any) -> tuple[float, float]:
    """Slope and intercept: a slope of 0, or one that is no number, scales nothing.

    So the standard has it for 0, and all programs do for the rest.
    """
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise ItemError(
            f"its voxels are scaled by {slope:g} and an intercept that is {intercept:g}",
            "correct the header's scl_inter, or convert it again",
        )
    return slope, intercept


def _affine(fields: Any) -> Affine:
    """The matrix (4, 4) from voxel indices to RAS mm, by sform or qform."""
    code = int(fields["xyzt_units"]) & 7
    if code not in _UNITS_MM:
        raise ItemError(
            f"its lengths are in units of code {code}, which NIfTI does not have",
            "correct the header's xyzt_units",
        )
    has_sform, has_qform = _has_form(fields, "sform"), _has_form(fields, "qform")
    if not (has_sform or has_qform):
        raise ItemError(
            "neither sform nor qform is set, so nothing says where left is",
            "convert it again, or set the sform",
        )
    sizes = np.asarray(fields["pixdim"][1:4], np.float64)
    if not np.isfinite(sizes).all() or not sizes.all():
        listed = " x ".join(f"{size:g}" for size in sizes)
        raise ItemError(f"its voxels have no size (pixdim {listed})", _AGAIN)
    sform = _sform(fields) if has_sform else None
    qform = _qform(fields, sizes) if has_qform else None
    affine = qform if sform is None else sform
    assert affine is not None
    affine[:3] *= _UNITS_MM[code]
    _check_plausible(affine, _UNIT_NAMES[code])
    if sform is not None:
        _check_sizes(affine, np.abs(sizes) * _UNITS_MM[code], _UNIT_NAMES[code])
        if qform is not None:
            qform[:3] *= _UNITS_MM[code]
            _check_agreement(affine, qform, fields)
    return affine


def _has_form(fields: Any, name: str) -> bool:
    code = int(fields[f"{name}_code"])
    if not 0 <= code <= _LAST_FORM:
        raise ItemError(
            f"its {name} has code {code}, which NIfTI does not have",
            f"correct the header's {name}_code, or convert it again",
        )
    return code > 0


def _sform(fields: Any) -> Affine:
    affine: Affine = np.asarray(fields.get_sform(), np.float64)
    if not np.isfinite(affine).all():
        raise ItemError("its sform holds numbers that are not finite", _AGAIN)
    return affine


def _qform(fields: Any, sizes: Affine) -> Affine:
    """The matrix of the qform; a handedness of 0 counts as 1, as NIfTI has it."""
    if (sizes < 0).any():
        raise ItemError("its qform has voxels of negative size", _AGAIN)
    handedness = float(fields["pixdim"][0])
    if handedness not in (-1, 0, 1):
        raise ItemError(
            f"its qform has the handedness {handedness:g} (pixdim[0]), not 1 or -1", _AGAIN
        )
    named = fields.copy()
    named["pixdim"][0] = handedness or 1
    numbers = [float(fields[name]) for name in ("quatern_b", "quatern_c", "quatern_d")]
    numbers += [float(fields[f"qoffset_{axis}"]) for axis in "xyz"]
    if not np.isfinite(numbers).all():
        raise ItemError("its qform holds numbers that are not finite", _AGAIN)
    try:
        affine: Affine = np.asarray(named.get_qform(), np.float64)
    except (HeaderDataError, ValueError):
        raise ItemError("its qform is no rotation", _AGAIN) from None
    return affine


def _edges(affine: Affine) -> Affine:
    """The length of a voxel along each axis."""
    edges: Affine = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return edges


def _check_plausible(affine: Affine, units: str) -> None:
    """Raise an `ItemError` for an affine that no scan of a body can have."""
    edges = _edges(affine)
    listed = " x ".join(f"{edge:.4g}" for edge in edges)
    if not edges.all() or abs(np.linalg.det(affine[:3, :3])) < _FLAT * np.prod(edges):
        raise ItemError("its affine is singular, so its axes have no direction", _AGAIN)
    if edges.min() < _LEAST_MM or edges.max() > _MOST_MM:
        raise ItemError(
            f"its voxels are {listed} mm, which is no scan of a body (its header says {units})",
            "correct the header's units (xyzt_units) or affine",
        )
    farthest = float(np.abs(affine[:3, 3]).max())
    if farthest > _FARTHEST_MM:
        raise ItemError(
            f"it lies {farthest:.4g} mm from the scanner's centre (its header says {units})",
            "correct the header's units (xyzt_units) or affine",
        )


def _check_sizes(affine: Affine, sizes: Affine, units: str) -> None:
    """Raise an `ItemError` where the sform's voxels are not those of `pixdim`."""
    edges = _edges(affine)
    if (np.abs(edges - sizes) > _SPACING_AGREES * edges).any():
        by_sform = " x ".join(f"{edge:.4g}" for edge in edges)
        by_sizes = " x ".join(f"{size:.4g}" for size in sizes)
        raise ItemError(
            f"its header contradicts itself: voxels are {by_sform} mm by the sform, and {by_sizes} "
            f"mm by pixdim (its units: {units})",
            "correct the wrong one, or convert it again",
        )


def _check_agreement(sform: Affine, qform: Affine, fields: Any) -> None:
    """Raise an `ItemError` where sform and qform put the same voxel to different places."""
    shape = [int(n) for n in fields["dim"][1:4]]
    distance = apart(sform, qform, shape)
    if distance > AGREES * _edges(sform).max():
        codes = f"codes {int(fields['sform_code'])} and {int(fields['qform_code'])}"
        raise ItemError(
            f"its sform and qform ({codes}) put the same voxel up to {distance:.4g} mm apart",
            "copy the right one onto the other, or convert it again",
        )
