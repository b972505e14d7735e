"""Elements of a DICOM header as bytes, read without a library.

pydicom takes about 1 ms for the header of an image, most of it for elements that nobody asked for.
Where a hundred thousand headers are read, the few that matter are found here, at a twentieth of
that, by stepping from length to length. Whatever is not plain (big endian, deflated, sequences of
undefined length, a header longer than the block that is read) is left to pydicom.
"""

import io
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

#: More than the meta information of a file takes.
HEAD_BYTES = 1 << 10
_BLOCK_BYTES = 1 << 14
_MARK_AT = 128
_MARK = b"DICM"
_META_GROUP = 0x0002
_META_END = 0x00030000
_SYNTAX = 0x00020010
_IMPLICIT = b"1.2.840.10008.1.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_DEFLATED_OR_BIG = (_DEFLATED, b"1.2.840.10008.1.2.2")
# No image of a knee is larger; a file of a few kB can deflate to gigabytes.
_INFLATED_BYTES = 1 << 27
_UNDEFINED = 0xFFFFFFFF
# VRs whose length takes four bytes, behind two that are reserved.
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"))
_LONG_TOO = frozenset((b"UT", b"UV"))
_IS_LONG = _LONG | _LONG_TOO

# Files from before part 10 begin with group 0008, and some of later with their meta information.
_FIRST_GROUPS = (_META_GROUP, 0x0008)
_FIRST_BYTES = 512  # no value at a header's beginning is longer
_VRS = (
    _IS_LONG
    | frozenset(
        (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN")
    )
    | frozenset((b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"))
)
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"

_explicit = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_length = struct.Struct("<I").unpack_from


def bare_start(head: bytes) -> tuple[int, str] | None:
    """Return in which group and transfer syntax a file begins that lacks the mark of part 10.

    None where its first bytes (some hundred) are no elements: where it is no DICOM. That are two
    elements, in order, of groups and lengths with which a header begins.
    """
    for order, syntaxes in (("<", (EXPLICIT, IMPLICIT)), (">", (BIG_ENDIAN,))):
        for syntax in syntaxes:
            group = _begins(head, order, syntax != IMPLICIT)
            if group is not None:
                return group, syntax
    return None


def _begins(head: bytes, order: str, is_explicit: bool) -> int | None:
    """Return the group of the first of two elements; None where there are none."""
    tags: list[tuple[int, int]] = []
    place = 0
    try:
        while len(tags) < 2 and place <= _FIRST_BYTES:
            group, element, vr, length = struct.unpack_from(order + "HH2sH", head, place)
            start = place + 8
            if is_explicit and vr not in _VRS:
                return None
            if is_explicit and vr in _IS_LONG:
                length, start = struct.unpack_from(order + "I", head, place + 8)[0], place + 12
            elif not is_explicit:
                length = struct.unpack_from(order + "I", head, place + 4)[0]
            tags.append((group, element))
            if length > _FIRST_BYTES:
                return None
            place = start + length
    except struct.error:
        return None
    first, second = tags
    is_ordered = first < second and second[0] <= _FIRST_GROUPS[-1] + 8
    return first[0] if first[0] in _FIRST_GROUPS and is_ordered else None


def open_plain(source: Path | bytes) -> BinaryIO:
    """Open a file or its bytes; a file whose data are deflated as one whose data are not.

    Raises a `ValueError` if such data are damaged, or larger than an image is, and an `OSError` if
    the file cannot be read.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if not is_deflated(head):
        return stream
    with stream:
        return io.BytesIO(_inflated(stream.read()))


def is_deflated(head: bytes) -> bool:
    """Tell whether the data of a file that begins with these `HEAD_BYTES` are deflated."""
    return head.startswith(_MARK, _MARK_AT) and _DEFLATED in head


def _inflated(source: bytes) -> bytes:
    try:
        end = _end_of_meta(source)
        opened = zlib.decompressobj(-zlib.MAX_WBITS)
        data = opened.decompress(source[end:], _INFLATED_BYTES)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"its deflated data are damaged: {error}") from None
    if opened.unconsumed_tail:
        raise ValueError(f"its deflated data are larger than {_INFLATED_BYTES >> 20} MiB")
    syntax = EXPLICIT.encode().ljust(len(_DEFLATED), b"\0")
    return source[:end].replace(_DEFLATED, syntax) + data


def _end_of_meta(source: bytes) -> int:
    """Return where the elements of group 0002 end."""
    place = _MARK_AT + 4
    while True:
        group, _, vr, _ = _explicit(source, place)
        if group != _META_GROUP:
            return place
        start, length = _extent(source, place, vr, is_explicit=True)
        place = start + length


def raw_elements(source: Path | bytes, tags: Collection[int]) -> dict[int, bytes] | None:
    """Return the bytes of those of the elements `tags` (group and number, 32 bits) that are there.

    None where the file is not plain, or no DICOM part 10: ask pydicom. Raises an `OSError` if the
    file cannot be read.
    """
    if isinstance(source, bytes):
        block, size = source[:_BLOCK_BYTES], len(source)
    else:
        with source.open("rb", buffering=0) as stream:
            block = stream.read(_BLOCK_BYTES)
            size = len(block) if len(block) < _BLOCK_BYTES else _BLOCK_BYTES + 1
    if block[_MARK_AT : _MARK_AT + 4] != _MARK:
        return None
    try:
        return _walk(block, tags, is_whole=size == len(block))
    except struct.error:  # it goes on behind the block, or is cut
        return None


def _walk(block: bytes, tags: Collection[int], is_whole: bool) -> dict[int, bytes] | None:
    found: dict[int, bytes] = {}
    last = max(tags)
    place, end = _MARK_AT + 4, len(block)
    is_explicit, before = True, 0
    while place < end:
        group, element, vr, _ = _explicit(block, place)
        tag = group << 16 | element
        if tag >= _META_END > before:
            syntax = found.get(_SYNTAX, b"").rstrip(b"\0 ")
            if not syntax or syntax in _DEFLATED_OR_BIG:
                return None
            is_explicit = syntax != _IMPLICIT
        if tag > last:
            return found
        start, length = _extent(block, place, vr, is_explicit)
        # Elements ascend in a plain header.
        if tag <= before or length == _UNDEFINED:
            return None
        if tag in tags or tag == _SYNTAX:
            if start + length > end:
                return None
            found[tag] = block[start : start + length]
        place, before = start + length, tag
    return found if is_whole and place == end else None


def _extent(block: bytes, place: int, vr: bytes, is_explicit: bool) -> tuple[int, int]:
    """Return where the content of the element at `place` begins, and its length in bytes."""
    if not is_explicit:
        return place + 8, _implicit(block, place)[2]
    if vr in _IS_LONG:
        return place + 12, _length(block, place + 8)[0]
    # What is no VR has no length either.
    return place + 8, _explicit(block, place)[3] if vr.isalpha() else _UNDEFINED
