"""An account of all files of a series' folder or archive: read, passed over, or missing.

Nothing is dropped without a word. A file is an image of the series, or it is named with the reason
why it is not: a copy, no image (a presentation state, a scanner's raw data), not DICOM. What bears
the name of an image and holds none (empty, a link that leads nowhere, garbled) fails the series, as
it may be one of its slices.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from oatools.core.errors import ItemError
from oatools.dicom.bare import in_part_10
from oatools.dicom.files import all_contents, digest_of, is_folder, may_be_dicom
from oatools.dicom.frames import Image, pixel_bytes, read_image, series_number
from oatools.dicom.survey import holds_image, is_damaged, some

# Names of random letters and digits have as many forms as there are files.
_MANY_FORMS = 4


@dataclass
class Stock:
    """The images of a series, in order of their names, and what lies beside them, by reason."""

    images: list[Image] = field(default_factory=list)
    beside: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def notes(self) -> list[str]:
        """Return a line for each reason for which files were passed over."""
        return [
            f"passed over: {len(names)} {reason} ({some(names)})"
            for reason, names in self.beside.items()
        ]


def take_stock(source: Path, series: str | None = None, spool: Path | None = None) -> Stock:
    """Account for every file of a source; `series` is one of several in it (see `files`).

    With `spool`, a folder, images of an archive are written there, under numbers, and not held in
    memory. Raises an `ItemError` where a file that should be an image is none, where there is no
    image at all, and where images of several series are mixed though one is expected.
    """
    stock = Stock()
    if source.is_dir():
        stock.beside["files by their names"] += _never_read(source)
    lost: dict[str, list[str]] = defaultdict(list)
    mine: list[Image] = []
    for name, content in all_contents(source):
        fault = _fault(content)
        image = None if fault else read_image(name, content)
        if fault or image is None:
            lost[fault or "not DICOM"].append(name)
        elif not holds_image(image.header):
            if is_damaged(image.header):
                lost["damaged in their header"].append(name)
            else:
                stock.beside["DICOM files without an image"].append(name)
        elif not image.header.text("Rows"):
            lost["cut within their header"].append(name)
        elif series is None or _digest(image) == series:
            image = _whole(image)
            mine.append(image if spool is None else _spooled(image, spool / f"{len(mine):06d}"))
        else:
            stock.beside["images of other series"].append(name)
    _refuse_lost(lost, [image.name for image in mine], len(mine))
    for reason, names in lost.items():
        stock.beside[f"files: {reason}"] += names
    if series is None:
        _refuse_several(mine)
    stock.images, copies = _without_copies(mine)
    stock.beside["copies of other files"] += copies
    stock.beside = {reason: names for reason, names in stock.beside.items() if names}
    return stock


def _whole(image: Image) -> Image:
    """Return an image with the meta information that it lacks."""
    header = image.header
    try:
        content = in_part_10(
            image.content, header.text("SOPClassUID"), header.text("SOPInstanceUID")
        )
    except ItemError as error:
        raise ItemError(f"{image.name}: {error.reason}", error.remedy) from None
    return image if content is None else replace(image, content=content)


def _spooled(image: Image, path: Path) -> Image:
    if isinstance(image.content, bytes):
        path.write_bytes(image.content)
        return replace(image, content=path)
    return image


def _never_read(folder: Path) -> list[str]:
    """Return the names of files that are not read, as they are hidden or say what else they are."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not may_be_dicom(entry.name) and not is_folder(entry)
        )


def _fault(content: Path | bytes) -> str:
    """Return why a file cannot be read at all; empty if it can."""
    if isinstance(content, bytes):
        return "" if content else "empty, or links within the archive"
    try:
        return "" if content.stat().st_size else "empty"
    except OSError:
        if content.exists():
            raise
        return "links that lead nowhere"


def _refuse_lost(lost: dict[str, list[str]], images: Sequence[str], count: int) -> None:
    """Raise an `ItemError` if a file that cannot be read bears the name of an image."""
    everything = sum(map(len, lost.values())) + count
    if not images:
        said = "; ".join(f"{len(names)} {why} ({some(names)})" for why, names in lost.items())
        raise ItemError(
            "no image can be read from it" + (f": {said}" if said else ""),
            "give the folder or archive that holds the images, or get them again",
        )
    forms = {_form(name) for name in images}
    endings = {_ending(name) for name in images}

    def is_alike(name: str) -> bool:
        has_ending = _ending(name) in endings or _ending(name)[1:].isdecimal()
        is_any = len(forms) >= _MANY_FORMS and has_ending and any(map(str.isdigit, name))
        return _form(name) in forms or is_any

    failing = []
    for why, names in lost.items():
        alike = [name for name in names if is_alike(name)]
        if alike:
            failing.append(f"{len(alike)} of {everything} files are {why} ({some(alike)})")
    if failing:
        said = "; ".join(failing)
        raise ItemError(said, "get them again, or take them away if they are no slices")


def _form(name: str) -> str:
    """Return a name with each number in it as 0, and without a mark of a copy: `im(1)` is `im`."""
    stem = re.sub(r"( ?\(\d+\)| copy( \d+)?)(?=\.|$)", "", name)
    return re.sub(r"\d+", "0", stem).lower()


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _digest(image: Image) -> str:
    return digest_of(image.header.text("SeriesInstanceUID"))


def _refuse_several(images: Sequence[Image]) -> None:
    of_series: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        of_series[image.header.text("SeriesInstanceUID")].append(image)
    if len(of_series) < 2:
        return
    fewest = min(of_series.values(), key=len)
    numbers = sorted({series_number(image) for image in images}, key=_by_value)
    names = some(image.name for image in fewest)
    raise ItemError(
        f"{len(of_series)} series in one folder (numbers {', '.join(numbers)}; of the smallest are "
        f"{names})",
        "give each a folder of its own",
    )


def _by_value(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() else 0, number)


def _without_copies(images: Sequence[Image]) -> tuple[list[Image], list[str]]:
    """Return images without those of which another holds the same, and the names of these."""
    alike: dict[tuple[str, ...], list[Image]] = defaultdict(list)
    for image in images:
        header = image.header
        known = ("SOPInstanceUID", "ImagePositionPatient", "InstanceNumber", "EchoNumbers")
        alike[tuple(header.text(keyword) for keyword in known)].append(image)
    copies: set[int] = set()
    for group in alike.values():
        if len(group) < 2:
            continue
        seen: set[bytes] = set()
        for image in sorted(group, key=lambda image: (len(image.name), image.name)):
            digest = _pixel_digest(image)
            if digest in seen:
                copies.add(id(image))
            seen.add(digest)
    kept = [image for image in images if id(image) not in copies]
    return kept, [image.name for image in images if id(image) in copies]


def _pixel_digest(image: Image) -> bytes:
    """Return a digest of an image's pixels alone: PACS write other headers when they send again."""
    pixels = pixel_bytes(image)
    if pixels is None:
        content = image.content
        pixels = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(pixels).digest()
