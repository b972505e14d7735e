"""The Initiative's image release: what a path says of a series, and the inventories that some downloads hold.

    [<visit>m/[<visit>m/]]<release>/<participant>/<study date>/<series>[.tar.gz]
    e.g. 00m/0.E.1/9999999/20050131/10000001

A release's first number is the number of the visit. Whatever stands before the release differs
between downloads (`results/`, `Package_2/`, a visit folder twice, the whole path URL-quoted into
one name), so that it is looked for anywhere in a path.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from oatools.core.errors import UsageError

MONTHS = {
    0: "00m",
    1: "12m",
    2: "18m",
    3: "24m",
    4: "30m",
    5: "36m",
    6: "48m",
    7: "60m",
    8: "72m",
    9: "84m",
    10: "96m",
}
PARTICIPANT = re.compile(r"9\d{6}")

_RELEASE = re.compile(r"(\d{1,2})\.[A-G]\.\d+")
_VISIT = re.compile(r"(\d{2})m")
_SERIES = re.compile(
    r"(\d{1,2}\.[A-G]\.\d+)/(9\d{6})/(\d{8})/(\d{8})(?:\.tar\.gz|\.tgz|\.tar|\.zip)?"
)
# Column names of the inventories: what a series is called, and where it lies.
_CONTENTS = ("folder", "seriesdescription")
_NDA = ("image_file", "image_description")
# A cell of the longest inventories (comments) passes the csv module's default of 128 KiB.
_LONGEST_CELL = 1 << 24


@dataclass(frozen=True)
class SeriesPath:
    """What a path says: `visit` by the release, `folder_visit` by the folder above it, `participant`, and `key`.

    `key` is `release/participant/date/series`, by which inventories call a series; None where the
    path is not of that form, and each of the others where it is silent.
    """

    visit: str | None = None
    folder_visit: str | None = None
    participant: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class InventoryEntry:
    """One series of an inventory: its key (see `SeriesPath`), its description, and its path as the inventory states it."""

    key: str
    description: str
    path: str


def place_of(path: str | Path) -> SeriesPath:
    """Read a path, of which any part may be URL-quoted."""
    parts = [part for part in unquote(str(path)).split("/") if part]
    releases = [
        i for i, part in enumerate(parts) if (m := _RELEASE.fullmatch(part)) and int(m[1]) in MONTHS
    ]
    start = releases[-1] if releases else None
    key = None
    if start is not None and (match := _SERIES.fullmatch("/".join(parts[start : start + 4]))):
        key = "/".join(match.groups())
    return SeriesPath(
        None if start is None else MONTHS[int(parts[start].split(".")[0])],
        parts[start - 1] if start and _VISIT.fullmatch(parts[start - 1]) else None,
        next((part for part in reversed(parts) if PARTICIPANT.fullmatch(part)), None),
        key,
    )


def may_be_inventory(path: str | Path) -> bool:
    """Whether a path has the name of an inventory: `contents….csv` or `image03….txt`."""
    name = Path(path).name.lower()
    return (name.startswith("contents") and name.endswith(".csv")) or (
        name.startswith("image03") and name.endswith((".txt", ".tsv"))
    )


def read_inventory(path: str | Path) -> Iterator[InventoryEntry]:
    """Yield the series of a `contents.csv` (comma-separated) or of NDA's `image03.txt` (tab-separated, quoted).

    Columns are found by name in any case; lines whose path is not of a series (NDA's second header
    line among them) are passed over. Raises a `UsageError` for a file that is neither.
    """
    path = Path(path)
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="latin-1", newline="") as stream:
            first = stream.readline().removeprefix("\u00ef\u00bb\u00bf")
            delimiter = "\t" if "\t" in first else ","
            header = [
                name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])
            ]
            names = next((n for n in (_CONTENTS, _NDA) if set(n) <= set(header)), None)
            if names is None:
                raise UsageError(
                    f"{path}: no inventory: neither {' and '.join(_CONTENTS)} nor {' and '.join(_NDA)} "
                    "among its columns; give the folder of the images instead"
                )
            where, what = (header.index(name) for name in names)
            for cells in csv.reader(stream, delimiter=delimiter):
                if len(cells) > max(where, what) and (key := place_of(cells[where].strip()).key):
                    yield InventoryEntry(key, cells[what].strip(), cells[where].strip())
    except csv.Error as error:
        raise UsageError(f"{path}: {error}; give the folder of the images instead") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def locate(listed: InventoryEntry, base: Path) -> Path | None:
    """Find a listed series below the folder of its inventory, as a folder or an archive; None if it is not there.

    An inventory states the path in a bucket or from the release on; the local copy keeps some tail
    of it, below the inventory's own folder or one of the containers that downloads have.
    """
    parts = [part for part in unquote(listed.path).split("/") if part]
    start = len(parts) - 4
    visit = MONTHS[int(parts[start].split(".")[0])]
    tails = ["/".join(parts[i:]) for i in range(start, -1, -1)] + [
        f"{visit}/{'/'.join(parts[start:])}"
    ]
    for container in ("", "image03", "results"):
        for tail in tails:
            archive = base / container / tail
            for path in (archive, archive.with_name(parts[-1].split(".")[0])):
                if path.exists():
                    return path
    return None
