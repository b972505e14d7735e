"""Series whose images lie in several folders or archives.

A series is what its identifier says. Where its images are spread, no folder holds a volume, and
each part could pass for one. All parts fail, and name each other.
"""

from collections import defaultdict
from collections.abc import Sequence

from oatools.core.manifest import BadRow
from oatools.dicom.files import digest_of, instances, listing
from oatools.dicom.series import Series


def whole_or_failed(found: Sequence[Series | BadRow]) -> list[Series | BadRow]:
    """Return what was found, with a failure for each part of a series that is spread.

    Parts have images that the others lack. What has all that another has is a copy, and stays, and
    so does what cannot be read to its end: a copy that was cut off must not cost the whole one.
    """
    spread: dict[int, BadRow] = {}
    for parts in _of_one_identifier(found):
        held = [images for part in parts if (images := _instances(part)) is not None]
        whole = max(held, key=len, default=set())
        if all(images <= whole for images in held):
            continue
        for part in parts:
            spread[id(part)] = part_of(part, [other for other in parts if other is not part])
    return [spread.get(id(series), series) for series in found]


def _instances(part: Series) -> set[str] | None:
    """Return the identifiers of a part's images; None where it cannot be read to its end."""
    try:
        return instances(part.path, part.series)
    except Exception:  # it is not taken of repeats, or its conversion says why
        return None


def part_of(series: Series, others: Sequence[Series]) -> BadRow:
    """Return the failure of a series of which others hold images, too."""
    places = ", ".join(str(other.path) for other in others)
    return BadRow(
        str(series.path),
        f"images of the same series lie in {places}",
        remedy="put all files of the series into one folder",
    )


def _of_one_identifier(found: Sequence[Series | BadRow]) -> list[list[Series]]:
    """Return series that have an identifier and what they are in common."""
    alike: dict[tuple[object, ...], list[Series]] = defaultdict(list)
    for series in found:
        if isinstance(series, Series) and series.identifier != digest_of(""):
            alike[identity(series)].append(series)
    several = [parts for parts in alike.values() if len({part.path for part in parts}) > 1]
    return [parts for parts in several if not _are_copied_archives(parts)]


def identity(series: Series) -> tuple[object, ...]:
    """Return what two parts of one series have in common."""
    return (series.identifier, series.subject, series.visit, series.side, series.sequence)


def _are_copied_archives(parts: Sequence[Series]) -> bool:
    """Tell by name and size whether all are copies of one archive, which need not be unpacked.

    Folders are not known so: the halves of a series may have the same names and sizes.
    """
    is_packed = all(part.path.is_file() for part in parts)
    return is_packed and len({listing(part.path) for part in parts}) == 1
