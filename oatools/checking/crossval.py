"""The files of a cross-validation, by their digests and by what they say of each other."""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from oatools.checking.contents import Verdict, check_model, check_table
from oatools.checking.folders import FOLD_MODEL, damage_of_listed, read_folds
from oatools.checking.places import CROSSVAL, Place
from oatools.core import checksums
from oatools.core.errors import OatoolsError
from oatools.core.manifest import BadRow, Row, read_rows
from oatools.core.paths import require_file

_PNG = b"\x89PNG\r\n\x1a\n"
_ENDS = {".html": b"</html>", ".svg": b"</svg>"}
#: How the card of a model says that its folds part knees, and not patients.
_LEAKY = b"leaky"


def check_crossval_file(place: Place) -> Verdict:
    """Check one file of a folder of oa-cv."""
    path, top = Path(place.path), Path(place.folder)
    name = path.relative_to(top).as_posix()
    if name == checksums.NAME:
        return _check_listing(top)
    if not path.exists():
        return Verdict(CROSSVAL, "is missing")
    require_file(path)
    found = damage_of_listed(top, name)
    if found:
        return Verdict(CROSSVAL, found)
    folder = path.parent.parent if path.parent.name == "images" else path.parent
    model = FOLD_MODEL.fullmatch(path.name)
    if model:
        check_model(place)
        return Verdict(CROSSVAL, _model_error(path, int(model["number"]), _sound_folds(folder)))
    if path.suffix == ".tsv":
        return Verdict(CROSSVAL, _table_error(place, folder))
    return Verdict(CROSSVAL, _ending_error(path))


def _check_listing(top: Path) -> Verdict:
    if checksums.read_checksums(top) is not None:
        return Verdict(CROSSVAL)
    if (top / "predictions.tsv").is_file():
        return Verdict(CROSSVAL, "is missing")
    return Verdict(CROSSVAL, "its run did not end", str(top))


def _sound_folds(folder: Path) -> dict[str, int]:
    """The fold of each knee; empty where that table is at fault itself."""
    place = Place(str(folder / "folds.tsv"), CROSSVAL, folder=str(folder))
    try:
        damage = damage_of_listed(folder, "folds.tsv")
        is_sound = not (damage or _table_error(place, folder))
    except (OatoolsError, OSError):
        is_sound = False
    return read_folds(folder) if is_sound else {}


def _model_error(path: Path, number: int, folds: dict[str, int]) -> str:
    """Say how the model of a fold contradicts its name, or the table of folds."""
    from oatools.learning.files import read_record

    record = read_record(path)
    if record.get("fold", number) != number:
        return f"is the model of fold {record['fold']}, as the file itself says"
    used = [*record.get("training_knees", []), *record.get("validation_knees", [])]
    for knee in used if folds else ():
        if folds.get(knee) == number:
            return f"was trained on {knee}, which the table of folds has in fold {number}"
        if knee not in folds:
            return f"was trained on {knee}, which is not in the table of folds"
    return ""


def _table_error(place: Place, folder: Path) -> str:
    """Say what is wrong with a table of a cross-validation."""
    path = Path(place.path)
    verdict = check_table(place)
    if verdict.error:
        return verdict.error
    rows = [row for row in read_rows([place.path]).rows if not isinstance(row, BadRow)]
    if path.name == "folds.tsv":
        return _folds_error(rows, folder)
    if path.name.startswith("predictions"):
        return _predictions_error(rows, _sound_folds(folder))
    return ""


def _folds_error(rows: Iterable[Row], folder: Path) -> str:
    """Say where a knee is in two folds, or a patient, unless the folds are said to be leaky."""
    knees: set[str] = set()
    patients: dict[str, str] = {}
    for row in rows:
        knee, patient, fold = (row.get(column, "") for column in ("knee", "subject", "fold"))
        if not (knee and fold):
            return "lacks the column 'knee' or 'fold'"
        if knee in knees:
            return f"has {knee} twice"
        knees.add(knee)
        if patients.setdefault(patient, fold) != fold and not _is_leaky(folder):
            return f"has patient {patient} in folds {patients[patient]} and {fold}"
    numbers = sorted({int(fold) for fold in patients.values()} - {0})
    if numbers != list(range(1, len(numbers) + 1)):
        return f"has folds {', '.join(map(str, numbers))}, which lacks some"
    return ""


def _is_leaky(folder: Path) -> bool:
    card = folder / "model-card.md"
    return card.is_file() and _LEAKY in card.read_bytes()[: 1 << 20]


def _predictions_error(rows: Iterable[Row], folds: dict[str, int]) -> str:
    """Say how predictions contradict the table of folds: each tested knee has one, of its fold."""
    if not folds:
        return ""
    seen: set[str] = set()
    for row in rows:
        knee = row["knee"]
        if knee in seen:
            return f"has {knee} twice"
        seen.add(knee)
        if row.get("fold") != str(folds.get(knee)):
            return f"has {knee} in fold {row.get('fold')}, which the table of folds does not"
    missing = sorted(knee for knee, fold in folds.items() if fold and knee not in seen)
    return f"lacks {missing[0]} and {len(missing) - 1} more knees" if missing else ""


def _ending_error(path: Path) -> str:
    """Say that a page or picture is cut short or damaged, by its end and its own checksums."""
    content = path.read_bytes()
    if path.suffix == ".png":
        return "" if _is_png(content) else "is no whole picture"
    end = _ENDS.get(path.suffix)
    if not content or (end is not None and not content.rstrip().endswith(end)):
        return "is cut short" if content else "is empty"
    return ""


def _is_png(content: bytes) -> bool:
    """Tell whether bytes are a PNG picture: chunks that match their checksums, to the last."""
    if not content.startswith(_PNG):
        return False
    at = len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        end = at + 12 + length
        chunk, checksum = content[at + 4 : end - 4], content[end - 4 : end]
        if struct.pack(">I", zlib.crc32(chunk)) != checksum:
            return False
        if chunk[:4] == b"IEND":
            return end == len(content)
        at = end
    return False
