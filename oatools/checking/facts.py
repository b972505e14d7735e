"""What files and folders say of themselves, above all those that the commands wrote: `oa-info`.

Headers and records alone are read, and no voxels, features or weights.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from oatools.checking import foreign
from oatools.checking.contents import HEAT_MAP
from oatools.checking.folders import Folders, read_listed, volumes_of
from oatools.checking.places import CROSSVAL, FEATURES, MODEL, PAGE, TABLE, VIEW, VOLUME
from oatools.core import provenance
from oatools.core.errors import ItemError, OatoolsError, item_error
from oatools.core.manifest import MISSING, BadRow, Row, is_table, read_rows
from oatools.core.paths import other_kind, require_file
from oatools.core.runner import Done

# Of a list that is longer, the length is told.
_MOST_VALUES = 8
# Of a value that is longer, the beginning.
_MOST_CHARACTERS = 300
# Columns of which it is told how many values there are, and how many rows have each.
_NAMED = ("knee", "subject")
_COUNTED = ("label", "event", "ended", "side", "visit", "sequence", "fold", "caution")
_OF_PAGE = ("title", "made", "id", "source")
_KINDS = {".nii.gz": VOLUME, ".nii": VOLUME, ".h5": FEATURES, ".safetensors": MODEL}


class Facts(NamedTuple):
    """The kind of a file or folder, and what it says of itself, by names that may be repeated."""

    kind: str
    values: list[tuple[str, str]]


def facts_row(row: Row) -> Done:
    """Return kind and facts of the file that a row names, as the cells `kind` and `facts` (JSON).

    Raises an `ItemError` as `facts_of` does.
    """
    found = facts_of(Path(row["path"]))
    return Done({"kind": found.kind, "facts": json.dumps(found.values)})


def facts_of(path: Path) -> Facts:
    """Return what a file or folder says of itself.

    Raises an `ItemError` for one that cannot be read, or that is of no known kind.
    """
    try:
        kind = _kind_of(path)
        return Facts(_kind_told(path, kind), [each for each in _READERS[kind](path) if each[1]])
    except ItemError:
        raise
    except OatoolsError as error:  # a table, or a model: here it is one item of many
        raise ItemError(error.reason, error.remedy) from None
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:  # of readers of many formats, on files of whatever content
        raise item_error(error) from None


def _kind_of(path: Path) -> str:
    if other_kind(str(path)) == "a folder":
        folders = Folders()
        page = folders.page(path)
        if page is not None:
            return page.what
        if folders.is_crossval(path):
            return CROSSVAL
        return foreign.kind_of_folder(path)
    require_file(path)
    for extension, kind in _KINDS.items():
        if path.name.endswith(extension):
            return kind
    if is_table(str(path)):
        return TABLE
    other = foreign.kind_of_file(path)
    if other is not None:
        return other
    raise ItemError(
        f"{path} is of no kind that oatools reads or writes",
        f"known are {', '.join(_KINDS)}, .tsv, DICOM and archives of it",
    )


def _kind_told(path: Path, kind: str) -> str:
    """The kind, in which a volume of oa-cam is a heat map."""
    if kind != VOLUME:
        return kind
    last = provenance.read_provenance(path).last
    return HEAT_MAP if last is not None and last.tool == "oa-cam" else VOLUME


def _of_volume(path: Path) -> Iterator[tuple[str, str]]:
    import nibabel

    from oatools.imaging.volume import maker_of, read_geometry

    geometry = read_geometry(path)
    spacing = geometry.spacing
    extent = [count * size for count, size in zip(geometry.shape, spacing, strict=True)]
    yield "voxels", _times(geometry.shape)
    yield "spacing_mm", _times(spacing)
    yield "extent_mm", _times(extent)
    yield "axes", "".join(nibabel.orientations.aff2axcodes(geometry.affine))
    yield "bytes", str(path.stat().st_size)
    yield "written_by", maker_of(path)
    read = provenance.load_sidecar(path)
    yield from _flat(read.fields)
    lost = provenance.lost_sidecar(path) if maker_of(path) else ""
    yield "caution", read.doubt or lost


def _of_features(path: Path) -> Iterator[tuple[str, str]]:
    from oatools.features.featurefile import read_outline, read_recorded

    outline = read_outline(path)
    for name, shape in outline.items():
        yield f"shape.{name}", _times(shape)
    yield "bytes", str(path.stat().st_size)
    recorded = read_recorded(path)
    yield from _flat(recorded.told)
    if recorded.is_changed:
        yield "caution", "the record was changed since it was made"


def _of_model(path: Path) -> Iterator[tuple[str, str]]:
    from oatools.learning.files import read_record

    yield "bytes", str(path.stat().st_size)
    record = dict(read_record(path))
    if record.get("hazards") is not None:
        record = _of_follow_up(record)
    yield from _flat(record)


def _of_follow_up(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a model of follow-up: without a threshold, its areas called concordances."""
    found = {name: value for name, value in record.items() if not name.startswith("threshold")}
    return {name.replace("roc_auc", "concordance"): value for name, value in found.items()}


def _of_table(path: Path) -> Iterator[tuple[str, str]]:
    table = read_rows([str(path)])
    counts: dict[str, Counter[str]] = {column: Counter() for column in (*_NAMED, *_COUNTED)}
    rows = 0
    for row in table.rows:
        if isinstance(row, BadRow):
            raise ItemError(f"{path}, {row.name}: {row.error}", row.remedy)
        rows += 1
        for column in counts.keys() & row.keys():
            counts[column][row[column]] += 1
    yield "rows", str(rows)
    yield "columns", ", ".join(table.columns)
    for column in _NAMED:
        named = len(counts[column].keys() - {MISSING})
        yield f"{column}s", str(named) if named else ""
    for column in _COUNTED:
        counter = counts[column]
        if len(counter) > 3 * _MOST_VALUES:
            yield column, f"{len(counter)} values"
            continue
        for value, count in sorted(counter.items()):
            yield f"{column}.{value}", str(count)


def _of_crossval(folder: Path) -> Iterator[tuple[str, str]]:
    folds = list(_of_table(folder / "folds.tsv"))
    for name, value in folds:
        if name in ("knees", "subjects") or name.startswith("fold"):
            yield name, value
    yield "models", str(len(list(folder.glob("fold-*.safetensors"))))
    yield "repeats", str(1 + len(list(folder.glob("repeat-*/folds.tsv"))))
    if read_listed(folder) is None:
        yield "caution", "its run did not end"
        return
    for row in read_rows([str(folder / "metrics.tsv")]).rows:
        if isinstance(row, BadRow):
            raise ItemError(f"{folder / 'metrics.tsv'}, {row.name}: {row.error}", row.remedy)
        if row.get("scope") == "mean":  # over folds, and repeats
            name = ".".join(row.get(part, MISSING) for part in ("model", "metric"))
            ends = [row.get(end, MISSING) for end in ("ci_low", "ci_high")]
            interval = "" if MISSING in ends else f" ({ends[0]} to {ends[1]})"
            yield name, f"{row.get('value', MISSING)}{interval}"


def _of_page(folder: Path) -> Iterator[tuple[str, str]]:
    from oatools.reading.pagefolder import STUDY, read_study

    study = read_study(folder)
    if not study:
        raise ItemError(f"{folder / STUDY} cannot be read", "make the page again")
    for name, value in study.items():
        if isinstance(value, list | dict):
            yield name, f"{len(value)} values" if value else ""
        elif name in _OF_PAGE:
            yield name, _text(value)
    volumes = len(volumes_of(study))
    yield "volumes", str(volumes) if volumes else ""
    if read_listed(folder) is None:
        yield "caution", "the digests of its files are missing"


_READERS: dict[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    VOLUME: _of_volume,
    FEATURES: _of_features,
    MODEL: _of_model,
    TABLE: _of_table,
    CROSSVAL: _of_crossval,
    PAGE: _of_page,
    VIEW: _of_page,
    foreign.FOLDER: foreign.facts_of_folder,
    foreign.SERIES: foreign.facts_of_series,
    foreign.DOWNLOAD: foreign.facts_of_download,
    foreign.IMAGE: foreign.facts_of_image,
    foreign.ARCHIVE: foreign.facts_of_archive,
}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a record by dotted names, the steps of the commands by their order."""
    for name, value in values.items():
        if name == provenance.STEPS and isinstance(value, list):
            for number, step in enumerate(value, start=1):
                yield from _flat(step, f"step.{number}.")
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _text(value)


def _text(value: Any) -> str:
    """Return a value of JSON, or an array, on one line."""
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, list | tuple) and len(value) > _MOST_VALUES:
        return f"{len(value)} values"
    if isinstance(value, list | tuple) and all(
        isinstance(each, str | int | float) for each in value
    ):
        text = ", ".join(map(str, value))
    else:
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        )
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _times(numbers: Any) -> str:
    """Return sizes as people write them: `384 x 384 x 36`."""
    return " x ".join(f"{number:.4g}" if number % 1 else str(int(number)) for number in numbers)
