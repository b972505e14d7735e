"""DICOM headers, read as far as they are needed from files that may be anything."""

import functools
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from oatools.dicom.elements import HEAD_BYTES, bare_start, open_plain, raw_elements

_DIRECTORY = "1.2.840.10008.1.3.10"  # media storage of a DICOMDIR
_DIRECTORY_BYTES = _DIRECTORY.encode()
_META_GROUP = 0x0002
_MEDIA_STORAGE = Tag(0x0002, 0x0002)
_PREAMBLE_BYTES = 128
_MARK = b"DICM"
# Values that are text, or 16 bits, need no library unless their letters are not ASCII's.
_TEXTS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "TM", "UI", "ST"}
_ONE_TEXT = {"LT", "ST", "PN"}
_MOST_ELEMENTS = 20_000  # headers have some hundred, and one of many frames has them in sequences
_RARE_SEQUENCE = "OtherPatientIDsSequence"


@dataclass(frozen=True)
class Header:
    """The elements of an image that were asked for, by keyword, as pydicom decodes them."""

    elements: Mapping[str, Any]

    def text(self, keyword: str) -> str:
        """Return an element as one line of text, empty where it is absent."""
        value = self.elements.get(keyword)
        return "" if value is None else " ".join(str(value).split())

    def numbers(self, keyword: str) -> list[float] | None:
        """Return an element of several numbers; None where it is absent or holds something else."""
        held = self.elements.get(keyword)
        if held is None or isinstance(held, str):
            return None
        try:
            return [float(value) for value in held]
        except (TypeError, ValueError):
            return None

    def number(self, keyword: str) -> float | None:
        """Return an element of one number; None where it is absent or holds something else."""
        try:
            return float(self.elements.get(keyword, ""))
        except (TypeError, ValueError):
            return None


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes (some hundred) is DICOM."""
    return head.startswith(_MARK, _PREAMBLE_BYTES) or bare_start(head) is not None


def read_header(source: Path | bytes, keywords: tuple[str, ...]) -> Header | None:
    """Read the elements of those keywords from a file or its bytes; None if it is no DICOM image.

    Keywords of the file's meta information (group 0002) are read, too. Nothing behind the last
    element is. Raises an `OSError` if the file cannot be read.
    """
    return _read_plain(source, keywords) or _read_any(source, keywords)


def _read_plain(source: Path | bytes, keywords: tuple[str, ...]) -> Header | None:
    """Read a header without pydicom; None where that takes more than is done here."""
    places = _plain_tags(keywords)
    raw = None if places is None else raw_elements(source, places)
    if places is None or raw is None or raw.get(_MEDIA_STORAGE, b"").startswith(_DIRECTORY_BYTES):
        return None
    elements: dict[str, Any] = dict.fromkeys(keywords)
    for tag, (keyword, vr) in places.items():
        content = raw.get(tag)
        if content is None or not keyword:
            continue
        if vr == "SQ":
            return None
        if vr == "US":
            if len(content) != 2:
                return None
            elements[keyword] = int.from_bytes(content, "little")
        elif not content.isascii() or b"\x1b" in content:
            return None
        else:
            elements[keyword] = _plain_value(content.decode("ascii"), vr)
    return Header(elements)


def _plain_value(text: str, vr: str) -> str | list[str] | None:
    text = text.rstrip("\0 ")
    if vr in _ONE_TEXT or "\\" not in text:
        return text or None
    return [part.strip(" ") for part in text.split("\\")]


@functools.lru_cache
def _plain_tags(keywords: tuple[str, ...]) -> dict[int, tuple[str, str]] | None:
    """Return keyword and VR by tag; None if one of them is no text and no number of 16 bits.

    A sequence of other ids may be among them, which few headers have.
    """
    places = {int(_MEDIA_STORAGE): ("", "UI")}
    for keyword, tag in zip(keywords, _tags(keywords), strict=True):
        vr = dictionary_VR(tag)
        if vr not in _TEXTS and vr != "US" and keyword != _RARE_SEQUENCE:
            return None
        places[int(tag)] = (keyword, vr)
    return places


def _read_any(source: Path | bytes, keywords: tuple[str, ...]) -> Header | None:
    """Read a header with pydicom."""
    tags = _tags(keywords)
    last = max(tags)

    try:
        opened = open_plain(source)
    except ValueError:
        return None
    with opened as stream:
        head = stream.read(HEAD_BYTES)
        if not looks_like_dicom(head):
            return None
        stream.seek(0)
        is_bare = not head.startswith(_MARK, _PREAMBLE_BYTES)
        with SILENCE:
            try:
                dataset = read_partial(stream, up_to(last), force=is_bare, specific_tags=list(tags))
            except Exception as error:  # of arbitrary bytes: what can be raised is no closed list
                if is_of_the_disk(error):
                    raise
                return None
            meta = dataset.file_meta
            if _value(meta, _MEDIA_STORAGE) == _DIRECTORY:
                return None
            elements = {}
            for keyword, tag in zip(keywords, tags, strict=True):
                elements[keyword] = _value(meta if tag.group == _META_GROUP else dataset, tag)
    return Header(elements)


def up_to(last: int | None) -> Callable[[BaseTag, str | None, int], bool]:
    """Return what has pydicom stop behind an element, or, with None, at the end of a file.

    It raises a `ValueError` for more elements than a header has: millions take minutes.
    """
    count = 0

    def is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal count
        count += 1
        if count > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS} elements")
        return last is not None and tag > last

    return is_behind


def is_of_the_disk(error: Exception) -> bool:
    """Tell an error of reading a file from pydicom's own, which may be an OSError, too."""
    return isinstance(error, OSError) and error.errno is not None


@functools.lru_cache
def _tags(keywords: tuple[str, ...]) -> tuple[BaseTag, ...]:
    tags = []
    for keyword in keywords:
        number = tag_for_keyword(keyword)
        if number is None:
            raise ValueError(f"{keyword} is not a DICOM keyword")
        tags.append(Tag(number))
    return tuple(tags)


def _value(dataset: Dataset, tag: BaseTag) -> Any:
    """Return the value of an element; None where it is absent, or damaged beyond decoding."""
    present = dataset.keys()  # `tag in dataset` would convert the tag first, at a cost
    if tag not in present:
        return None
    try:
        return dataset[tag].value
    except Exception:
        return None


class _Silence:
    """Ignores pydicom's warnings while at least one thread reads a header.

    Its doubts about a value are of no use to people who convert fifty thousand series.
    `warnings.catch_warnings` alone would not do: it restores the filters that it found, and with
    threads those may be the ones of another reader.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._readers == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module="pydicom")
            self._readers += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._filters.__exit__(kind, error, trace)


SILENCE = _Silence()
