"""Files of DICOM data in other forms than dcm2niix reads, brought into that of part 10.

Old archives and programs that store what comes over the network write the bare data, without
preamble and meta information. How they are encoded is shown by their first elements. Data that are
deflated are inflated.
"""

from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from oatools.core.errors import ItemError
from oatools.dicom.elements import HEAD_BYTES, bare_start, is_deflated, open_plain

_PREFIX = bytes(128) + b"DICM"
_META_GROUP = 0x0002
# Pixels of undefined length are compressed: element, VR (explicit), length.
_PIXELS = b"\xe0\x7f\x10\x00"
_COMPRESSED = tuple(
    _PIXELS + how + b"\xff\xff\xff\xff" for how in (b"", b"OB\x00\x00", b"OW\x00\x00")
)


def in_part_10(content: Path | bytes, kind: str, instance: str) -> bytes | None:
    """Return an image file as part 10 has it, with data that are not deflated; None if it is so.

    `kind` and `instance` are its SOPClassUID and SOPInstanceUID. Raises an `ItemError` for pixels
    that are compressed in a way that nothing states.
    """
    head = _head(content)
    if is_deflated(head):
        try:
            with open_plain(content) as stream:
                return stream.read()
        except ValueError as error:
            raise ItemError(str(error), "get it again") from None
    start = None if head.startswith(b"DICM", 128) else bare_start(head)
    if start is None:
        return None
    group, syntax = start
    data = content if isinstance(content, bytes) else content.read_bytes()
    if group == _META_GROUP:
        return _PREFIX + data
    if any(mark in data for mark in _COMPRESSED):
        raise ItemError(
            "its pixels are compressed, and nothing says how, as it has no file meta information",
            "get it as DICOM part 10 files (.dcm), or without compression",
        )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(kind), UID(instance)
    meta.TransferSyntaxUID = UID(syntax)
    written = DicomBytesIO()
    write_file_meta_info(written, meta, enforce_standard=False)
    return _PREFIX + written.getvalue() + data


def _head(content: Path | bytes) -> bytes:
    if isinstance(content, bytes):
        return content[:HEAD_BYTES]
    with content.open("rb") as stream:
        return stream.read(HEAD_BYTES)
