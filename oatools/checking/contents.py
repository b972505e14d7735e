"""Whether one file is whole and as its record says: volumes, features, models, tables.

Each check returns a `Verdict`, and raises an `OatoolsError` for a file that cannot be read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oatools.checking.places import FEATURES, MODEL, SIDECAR, TABLE, VOLUME, Place
from oatools.core import provenance
from oatools.core.bids import is_bids_name
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest_json
from oatools.core.manifest import IDENTITY, MISSING, BadRow, Row, number, read_rows, row_from_path
from oatools.core.paths import require_file
from oatools.core.people import People, normal_knee

HEAT_MAP = "heat map"
_LABELS = ("0", "1", MISSING)


@dataclass(frozen=True)
class Verdict:
    """What became of a check: `kind` is empty for a file of others, and `error` for a whole one.

    `path` is the file at fault, where that is not the one that was checked. `space` tells features
    apart that do not belong together.
    """

    kind: str
    error: str = ""
    path: str = ""
    space: str = ""


NOT_OURS = Verdict("")


def check_volume(place: Place) -> Verdict:
    """Check a volume, its sidecar, and the files that are recorded to lie beside it."""
    from oatools.imaging.volume import load_volume, maker_of

    path = Path(place.path)
    require_file(path, "a volume")
    is_empty = path.stat().st_size == 0
    lost = provenance.lost_sidecar(path)
    made = provenance.read_provenance(path)
    is_ours = bool(maker_of(path)) or provenance.is_recorded(path) or made.is_recorded
    if not (is_ours or is_empty or place.is_named):
        return NOT_OURS
    kind = HEAT_MAP if made.last is not None and made.last.tool == "oa-cam" else VOLUME
    if is_empty:
        return Verdict(kind, "is empty")
    beside = str(provenance.sidecar(path))
    if lost and is_ours:
        return Verdict(SIDECAR, lost, beside)
    damage = provenance.find_damage(path)
    others = _other_name(path, made.last)
    if damage and damage.path == path and others and _is_whole(path):
        return Verdict(SIDECAR, f"is that of {others}", beside)
    if damage:
        is_sidecar = damage.path.suffix == ".json"
        return Verdict(SIDECAR if is_sidecar else kind, damage.what, str(damage.path))
    if maker_of(path) and not provenance.is_recorded(path):
        return Verdict(SIDECAR, "was changed since it was made", beside)
    if others:
        return Verdict(kind, f"is of {others}, as its sidecar says")
    load_volume(path)
    return Verdict(kind)


def check_sidecar(place: Place) -> Verdict:
    """Check a sidecar that has no volume beside it."""
    path = Path(place.path)
    require_file(path, "a sidecar")
    volume = path.with_suffix(".nii.gz")
    if provenance.is_recorded(volume):
        return Verdict(SIDECAR, f"the volume that it describes ({volume.name}) is gone")
    return NOT_OURS


def check_feature_file(place: Place) -> Verdict:
    """Check a feature file: its digest, its numbers, and whose it is."""
    from oatools.features.featurefile import check_features, read_recorded

    path = Path(place.path)
    require_file(path, "a feature file")
    recorded = read_recorded(path)
    if not place.is_named and not recorded.is_ruin and recorded.step is None:
        return NOT_OURS
    space = digest_json(check_features(path))
    stated = recorded.identity
    knee, sequence = stated.get("knee"), stated.get("sequence")
    if isinstance(knee, str):
        stem = path.name.removesuffix(".h5")
        is_named_so = stem in (knee, f"{knee}_{sequence}")
        wanted = knee if place.knee == MISSING else place.knee
        if not is_named_so or normal_knee(wanted) != normal_knee(knee):
            return Verdict(FEATURES, f"is of {knee}, as the file itself says", space=space)
    return Verdict(FEATURES, space=space)


def check_model(place: Place) -> Verdict:
    """Check a model: its digest, its weights, and all that is needed to apply it."""
    from oatools.learning.files import load_model

    path = Path(place.path)
    require_file(path, "a model")
    if not place.is_named and not _is_our_model(path):
        return NOT_OURS
    load_model(path)
    return Verdict(MODEL)


def _is_our_model(path: Path) -> bool:
    """Tell whether a file begins as our models do, or holds nothing at all."""
    from oatools.learning.files import KEY
    from oatools.learning.sealed import start_of

    start = start_of(KEY)
    with path.open("rb") as stream:
        found = stream.read(8 + len(start))
    return found[8:] == start or not found


def check_table(place: Place) -> Verdict:
    """Check a table: its header, the number of fields of each line, and what known columns hold.

    A file of text that lists paths, one a line, is one, too.
    """
    path = Path(place.path)
    require_file(path, "a table")
    try:
        table = read_rows([place.path])
    except UsageError:
        if place.is_named or not path.stat().st_size:
            raise
        return NOT_OURS
    is_ours = table.headed and "knee" in table.columns
    if not (is_ours or place.is_named):
        return NOT_OURS
    rows: list[Row] = []
    for row in table.rows:
        if isinstance(row, BadRow):
            return Verdict(TABLE, f"{row.name}: {row.error}")
        rows.append(row)
        if is_ours:
            _check_row(row)
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        if stream.read(1) not in b"\r\n":
            return Verdict(TABLE, "its last line has no end, so that it may be cut short")
    if is_ours and "label" in table.columns and not {"path", "pair"} & set(table.columns):
        People().by_knee(rows, place.path)
    return Verdict(TABLE)


def _check_row(row: Row) -> None:
    """Raise an `ItemError` for a row that no command could use."""
    knee = row["knee"]
    if knee == MISSING:
        raise ItemError("a row names no knee")
    if row.get("label", MISSING) not in _LABELS:
        raise ItemError(f"{knee} has the label '{row['label']}', which is not 0, 1 or n/a")
    probability = number(row, "probability")
    if probability is not None and not 0 <= probability <= 1:
        raise ItemError(f"{knee} has the probability {row['probability']}")
    if "time" in row and "event" in row:
        _check_follow_up(row)
    if not row.get("fold", "0").isdecimal() and row["fold"] != MISSING:
        raise ItemError(f"{knee} has the fold '{row['fold']}', which is not a whole number")


def _check_follow_up(row: Row) -> None:
    """Raise an `ItemError` for times that cannot be."""
    from oatools.learning.followup import is_followed, read_follow_up

    try:
        if is_followed(row):
            read_follow_up([row], "the table")
    except UsageError as error:
        raise ItemError(error.reason.removeprefix("the table: ")) from None


def _other_name(path: Path, made: Any) -> str:
    """Return the knee and sequence that a volume's sidecar is about, if its name has others."""
    if made is None:
        return ""
    own = row_from_path(path.name)
    if made.tool == "oa-convert":
        fields = provenance.read_sidecar(path)
        knee, sequence = fields.get("Knee"), fields.get("Sequence")
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        stated = {column: fields.get(column.capitalize()) for column in IDENTITY}
        is_so = knee is None or stem in (knee, f"{knee}_{sequence}") or is_bids_name(stem, stated)
        return "" if is_so else f"{knee} {sequence or ''}".rstrip()
    source = row_from_path(made.input_name)
    if MISSING in (own["subject"], source["subject"]):
        return ""
    columns = ["knee", "sequence"]
    known = [column for column in columns if MISSING not in (own[column], source[column])]
    if all(own[column] == source[column] for column in known):
        return ""
    return " ".join(source[column] for column in known)


def _is_whole(path: Path) -> bool:
    from oatools.imaging.volume import load_volume

    try:
        load_volume(path)
    except ItemError:
        return False
    return True
