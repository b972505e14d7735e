"""DICOM headers, read as far as they are needed from files that may be anything."""

import io
import warnings
from pathlib import Path

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

# What pydicom finds odd about a value is of no interest to people who convert fifty thousand
# series.
warnings.filterwarnings("ignore", module="pydicom")
pydicom.config.logger.setLevel("CRITICAL")

_DIRECTORY = "1.2.840.10008.1.3.10"  # media storage of a DICOMDIR


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is DICOM.

    Part 10 files carry a mark; older ones begin at once with group 0008 (or 0002), in either byte
    order.
    """
    return head[128:132] == b"DICM" or head[:2] in (
        b"\x08\x00",
        b"\x02\x00",
        b"\x00\x08",
        b"\x00\x02",
    )


def read_header(source: Path | bytes, keywords: tuple[str, ...]) -> FileDataset | None:
    """The elements of those keywords from a file or its bytes, None if it is no DICOM image.

    Nothing behind the last of them is read. Raises an `OSError` if the file cannot be.
    """
    wanted = [Tag(tag_for_keyword(keyword)) for keyword in keywords]
    last = max(wanted)

    def behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag > last

    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        head = stream.read(132)
        if not looks_like_dicom(head):
            return None
        stream.seek(0)
        try:
            header = read_partial(stream, behind, force=head[128:] != b"DICM", specific_tags=wanted)
        except OSError:
            raise
        except Exception:  # what a parser can raise on arbitrary bytes is not a closed list
            return None
    return None if header.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY else header


def text(header: FileDataset, keyword: str) -> str:
    """An element as one line of text, empty where it is absent."""
    try:
        value = header.get(keyword)
    except Exception:  # values are decoded when they are asked for
        return ""
    return "" if value is None else " ".join(str(value).split())
