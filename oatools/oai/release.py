"""The Initiative's image release: the paths of its series, and the inventories of some downloads.

    [<visit>m/[<visit>m/]]<release>/<participant>/<study date>/<series>[.tar.gz]
    e.g. 00m/0.E.1/9999999/20050131/10000001

A release's first number is the number of the visit. Whatever stands before the release differs
between downloads (`results/`, `Package_2/`, a visit folder twice, the whole path URL-quoted into
one name), so that it is looked for anywhere in a path.
"""

import csv
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from oatools.core.errors import ItemError, UsageError
from oatools.core.ids import normal_id
from oatools.dicom.archives import SUFFIXES, UNFINISHED
from oatools.dicom.conventions import InventoryEntry, SeriesPath
from oatools.dicom.headers import Header
from oatools.oai.forms import BOM, UTF_16, delimiter_of, states_separator

#: The number of a visit, with which its releases begin -> months since enrolment.
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
# Column names of the inventories: the path of a series, and its description.
_CONTENTS = ("folder", "seriesdescription")
_NDA = ("image_file", "image_description")
# A cell of the longest inventories (comments) passes the csv module's default of 128 KiB.
_LONGEST_CELL = 1 << 24
# A study's description names the visit in words: `OAI^MR^24 MONTH^LEFT`.
_MONTHS_IN_WORDS = re.compile(r"\^(\d{1,3}) MONTH", re.IGNORECASE)
_STUDY = re.compile(r"OAI\^", re.IGNORECASE)
_BARCODE = re.compile(r"0166[01]\d{7}")  # of a series, whose folder has its last eight digits
# One series, as the release packs it.
_PACKED = re.compile(r"\d{8}\.(tar\.gz|tgz|tar|zip)")
# What the release holds beside volumes of knees, as pattern of a sequence, and what it is called.
# The maps of T2 (`sag-t2-map`) are images of seven echoes, of which one must be chosen.
_SET_ASIDE = (
    (
        re.compile(r"(cor|ax|sag)-mpr(-.*)?|mp-locator(-.*)?|sag-t2-calc(-.*)?|prescription-thigh"),
        "reformats, locators and maps",
    ),
    (re.compile(r"sag-t2-map(-.*)?"), "multi-echo series for T2 maps"),
    (re.compile(r"ax-t1-thigh(-.*)?"), "scans of thighs"),
)
# Folders that a download may have between the inventory and the series.
_CONTAINERS = ("", "image03", "results")
# So many folders may stand between a folder of packages and a release.
_DEEPEST = 6


def place_of(path: str | Path) -> SeriesPath:
    """Read a path, of which any part may be URL-quoted."""
    parts = _parts(path)
    participants = [part for part in parts if PARTICIPANT.fullmatch(part)]
    participant = participants[-1] if participants else None
    releases = [position for position, part in enumerate(parts) if _visit_of(part) is not None]
    if not releases:
        return SeriesPath(participant=participant)
    start = releases[-1]
    above = parts[start - 1] if start > 0 else ""
    series = _SERIES.fullmatch("/".join(parts[start : start + 4]))
    visit = _visit_of(parts[start])
    owner = parts[start + 1] if start + 1 < len(parts) else ""
    return SeriesPath(
        visit=visit,
        folder_visit=above if _VISIT.fullmatch(above) else None,
        participant=participant,
        key=None if series is None else "/".join(series.groups()),
        person_visit=f"{owner}/{visit}" if PARTICIPANT.fullmatch(owner) else None,
    )


def may_be_inventory(path: str | Path) -> bool:
    """Tell whether a path has the name of an inventory: `contents….csv` or `image03….txt`.

    The latter may have been saved again, as `.tsv` or `.csv`.
    """
    name = Path(path).name.lower()
    is_contents = name.startswith("contents") and name.endswith(".csv")
    is_nda = name.startswith("image03") and name.endswith((".txt", ".tsv", ".csv"))
    return is_contents or is_nda


def read_inventory(path: str | Path) -> Iterator[InventoryEntry]:
    """Yield the series of an inventory.

    That is a `contents.csv` (comma-separated), or NDA's `image03.txt` (tab-separated, quoted), or
    either as another program saved it, with other separators or in UTF-16. Columns are found by
    name in any case; lines whose path is not of a series (NDA's second header line among them) are
    passed over. Raises a `UsageError` for a file that is neither.
    """
    path = Path(path)
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding=_encoding(path), errors="replace", newline="") as stream:
            first = stream.readline().removeprefix(BOM)
            delimiter = delimiter_of(first)
            if states_separator(first):
                first = stream.readline()
            path_column, description_column = _inventory_columns(path, first, delimiter)
            longest = max(path_column, description_column)
            for cells in csv.reader(stream, delimiter=delimiter):
                if len(cells) <= longest:
                    continue
                listed = cells[path_column].strip()
                key = place_of(listed).key
                if key is not None:
                    yield InventoryEntry(key, cells[description_column].strip(), listed)
    except csv.Error as error:
        raise UsageError(f"{path}: {error}", "give the folder of the images instead") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _encoding(path: Path) -> str:
    """Tell UTF-16 by its mark; what is read of anything else is the same in all encodings."""
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in UTF_16 else "latin-1"


def locate(listed: InventoryEntry, base: Path) -> Path | None:
    """Find a listed series below the folder of its inventory; None if it is not there.

    It is a folder or an archive. An inventory states the path in a bucket or from the release on;
    the local copy keeps some tail of it, below the inventory's own folder or one of the containers
    that downloads have. The inventory may also lie further down, in the folder of the visit or the
    release. An archive that is still being downloaded is found under the name that it has then.
    """
    places = [path for path in _copies(_parts(listed.path), base) if path.parent.is_dir()]
    for ending in ("", *UNFINISHED):
        for place in places:
            bare = place.name.split(".")[0]
            for name in dict.fromkeys([place.name, bare, *(bare + suffix for suffix in SUFFIXES)]):
                path = place.with_name(name + ending)
                if path.exists() or path.is_symlink():  # a link may lead nowhere, which is said
                    return path
    return None


def _copies(parts: list[str], base: Path) -> list[Path]:
    """Return where a download that `base` belongs to may have the path of an inventory."""
    start = len(parts) - 4
    tails = [parts[position:] for position in range(start, -1, -1)]
    tails.append([_visit_of(parts[start]) or "", *parts[start:]])
    places = [base / container / "/".join(tail) for container in _CONTAINERS for tail in tails]
    # From a folder on the way to the series: the last of `base` is the first of the path.
    around = base.absolute().parts
    for tail in tails:
        for shared in range(1, len(tail)):
            if around[-shared:] == tuple(tail[:shared]):
                places.append(base / "/".join(tail[shared:]))
    # Packages side by side, in whatever folders.
    from_release = "/".join(parts[start:])
    places += [folder / from_release for folder in _folders_with_releases(base)]
    return places


@functools.lru_cache(maxsize=64)
def _folders_with_releases(base: Path) -> tuple[Path, ...]:
    """The folders below `base` that hold releases, which are looked for once a run.

    The folders of a download above its releases are few and not deep; nothing is searched below a
    release, or where participants' folders begin.
    """
    found = []
    waiting = [(base, 0)]
    while waiting:
        folder, depth = waiting.pop(0)
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            continue
        if any(_visit_of(name) is not None for name in names):
            found.append(folder)
        if depth < _DEEPEST:
            further = (name for name in names if not _is_within_release(name))
            waiting += [(folder / name, depth + 1) for name in further]
    return tuple(found)


def _is_within_release(name: str) -> bool:
    return name.isdigit() or name.startswith(".") or _visit_of(name) is not None


def set_aside(sequence: str, participant: str | None) -> str | None:
    """What a series of the release is that is no volume of a knee; None for all others.

    Anybody else's series of such a name may be what its owner wants.
    """
    if participant is None or not PARTICIPANT.fullmatch(participant):
        return None
    for pattern, kind in _SET_ASIDE:
        if pattern.fullmatch(sequence):
            return kind
    return None


def holds_one_series(archive: Path) -> bool:
    """Tell by an archive's name whether it is one series, as the release packs it."""
    return _PACKED.fullmatch(archive.name) is not None


def subject_from(header: Header, place: SeriesPath) -> str | None:
    """The participant's number from the header's patient id and the path; None for anybody else.

    Numbers of hospitals have seven digits, too, and may begin with 9. So one counts where the path
    is of the release, or the header says by its study or its barcode that it is. Raises an
    `ItemError` if a series of the release has another one in its header than in its path.
    """
    is_placed = place.person_visit is not None
    if not is_placed and not _is_of_initiative(header):
        return None
    patient = normal_id(header.text("PatientID"))
    participant = patient if PARTICIPANT.fullmatch(patient) else None
    if participant and place.key and participant != place.participant:
        raise ItemError(
            f"it lies in the folder of {place.participant}, but its header says {participant}",
            "find out whose it is, or say so with `subject`",
        )
    return participant or place.participant


def _is_of_initiative(header: Header) -> bool:
    """Tell by a header alone whether it is the Initiative's, by `OAI^MR^24 MONTH^LEFT` and such."""
    has_study = _STUDY.match(header.text("StudyDescription")) is not None
    return has_study or _BARCODE.fullmatch(header.text("AccessionNumber")) is not None


def visit_from(study_description: str, place: SeriesPath) -> str | None:
    """The visit from the release in the path, else from the header's description of the study.

    None if neither says. Raises an `ItemError` if the folder above the release contradicts it.
    """
    if place.visit and place.folder_visit and place.visit != place.folder_visit:
        raise ItemError(
            f"it lies in {place.folder_visit}, but its release is that of {place.visit}",
            "move it, or say which with `visit`",
        )
    if place.visit:
        return place.visit
    if "ENROLLMENT" in study_description.upper():
        return "00m"
    months = _MONTHS_IN_WORDS.search(study_description)
    return None if months is None else f"{int(months[1]):02d}m"


def _parts(path: str | Path) -> list[str]:
    return [part for part in unquote(str(path)).split("/") if part]


def _visit_of(part: str) -> str | None:
    """The visit of a release such as `0.E.1`; None for any other part of a path."""
    release = _RELEASE.fullmatch(part)
    return None if release is None else MONTHS.get(int(release[1]))


def _inventory_columns(path: Path, first: str, delimiter: str) -> tuple[int, int]:
    """The positions of a series' path and description in the header line of an inventory."""
    cells = next(csv.reader([first], delimiter=delimiter), [])
    header = [cell.strip().lower() for cell in cells]
    for names in (_CONTENTS, _NDA):
        if set(names) <= set(header):
            path_name, description_name = names
            return header.index(path_name), header.index(description_name)
    raise UsageError(
        f"{path}: no inventory: neither {' and '.join(_CONTENTS)} nor {' and '.join(_NDA)} "
        "among its columns",
        "give the folder of the images instead",
    )
