"""One row of a table as the page shows it: its scans, with heat and attention over them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oatools.core import provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest
from oatools.core.manifest import MISSING, Row, number
from oatools.core.people import normal_knee
from oatools.core.provenance import CAUTION_COLUMN, Step
from oatools.core.runner import Done
from oatools.features.framing import stated_side
from oatools.imaging.orient import SIDES, apply, canonical, check_side, plane_of, side_of
from oatools.imaging.volume import Volume, read_volume
from oatools.learning.cautions import as_sentence, model_warning
from oatools.learning.clinical import ClinicalTable
from oatools.reading.images import LEVELS, grey_planes, planes_of, write_script
from oatools.reading.page import ALONG, ENDS
from oatools.viewing.heat import Heat, attention_over, over, read_heat

#: The cell of a row with its place in the page; no column of a table is called so.
PLACE = ""
#: The cell with what was made of a row, as JSON.
CONTENT = "\n"
# Files that rows have as their path in the tables of other commands.
_NO_VOLUMES = (".png", ".h5", ".pt")
_GIVE_VOLUMES = "give `volumes`, the table that oa-embed or oa-cam took"
# What lies above and below a slice, by plane.
_UP = {
    "coronal": ("superior", "inferior"),
    "sagittal": ("superior", "inferior"),
    "axial": ("anterior", "posterior"),
}
# Tables round what sidecars have in full.
_SAME_PROBABILITY = 1e-3
# The ends of a left-right axis where the knee's side is not known.
_PATIENT = ("patient's left", "patient's right")


class Part(NamedTuple):
    """A scan of a row: its sequence, its volume, and its heat map, or None."""

    sequence: str
    volume: Path
    heat: Path | None


class Volumes:
    """The volumes of a table, by knee and sequence.

    A `UsageError` where a knee has two of one sequence.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._paths: dict[str, dict[str, str]] = {}
        for row in rows:
            own = self._paths.setdefault(normal_knee(row["knee"]), {})
            sequence = row.get("sequence", MISSING)
            if own.setdefault(sequence, row["path"]) != row["path"]:
                raise UsageError(f"{row['knee']} has two volumes of {sequence}", "keep one of them")

    def find(self, knee: str, sequence: str) -> str:
        """Return the path of a volume; n/a where there is none.

        The only volume of a knee is also that of a sequence that is not known.
        """
        own = self._paths.get(normal_knee(knee), {})
        if sequence == MISSING and len(own) == 1:
            return next(iter(own.values()))
        return own.get(sequence, MISSING)


def parts_of(row: Row, volumes: Volumes | None = None) -> list[Part]:
    """Return the scans of a row, in its order of sequences.

    A row of oa-cam names its volumes (`volume`) and maps (`heat`), those of further sequences of
    one model in columns such as `heat:b`. Other rows have a volume as their `path`. `volumes`, if
    given, says where they are instead. Raises an `ItemError` where a volume is not known.
    """
    further = [name.split(":", 1)[1] for name in row if name.startswith(("path:", "heat:"))]
    own = row.get("sequence", MISSING)
    parts = []
    for sequence in dict.fromkeys(["", *further]):
        suffix = f":{sequence}" if sequence else ""
        if sequence and {row.get(f"path{suffix}"), row.get(f"heat{suffix}")} <= {MISSING, None}:
            continue
        name = sequence or (own.split("+")[0] if further else own)
        parts.append(_part(row, name, suffix, volumes))
    return parts


def _part(row: Row, sequence: str, suffix: str, volumes: Volumes | None) -> Part:
    heat = row.get(f"heat{suffix}", MISSING)
    if volumes is None:
        path = row.get(f"volume{suffix}", MISSING)
        if path == MISSING:
            path = row.get(f"path{suffix}", MISSING)
    else:
        path = volumes.find(row.get("knee", MISSING), sequence)
        if path == MISSING:
            raise ItemError(f"no volume of {sequence} in the table of volumes", "add it")
    if path == MISSING:
        raise ItemError("the row names no volume", _GIVE_VOLUMES)
    if path.lower().endswith(_NO_VOLUMES):
        raise ItemError(f"{path} is no volume", _GIVE_VOLUMES)
    return Part(sequence, Path(path), None if heat == MISSING else Path(heat))


def identity_of(row: Row, volumes: Volumes | None) -> list[Any]:
    """Return the digests of all that a row shows, by which a page is known again."""
    try:
        found: list[Any] = []
        for part in parts_of(row, volumes):
            files = [part.volume, provenance.sidecar(part.volume)]
            if part.heat is not None:
                files += [part.heat, provenance.sidecar(part.heat)]
            found.append([part.sequence, *[digest(f) if f.is_file() else "" for f in files]])
        return found
    except (ItemError, OSError):
        return []


def show_row(
    row: Row,
    folder: Path,
    volumes: Volumes | None = None,
    clinical: ClinicalTable | None = None,
    size: int = 512,
) -> Done:
    """Write the scans and maps of a row as files of the page, and say what it shows in `CONTENT`.

    Images have at most `size` pixels a side. Raises an `ItemError` for what cannot be shown, and
    for a knee whose values in `clinical` may be another patient's.
    """
    if clinical is not None:
        clinical.check(row)
    parts = parts_of(row, volumes)
    seen = []
    for part in parts:
        seen += [provenance.seen(each) for each in (part.volume, part.heat) if each is not None]
    heats = [None if part.heat is None else read_heat(part.heat) for part in parts]
    top = max((heat.top for heat in heats if heat is not None), default=0.0)
    said = _Said()
    series = []
    for count, (part, heat) in enumerate(zip(parts, heats, strict=True), start=1):
        name = f"{row[PLACE]}-{count}"
        series.append(_write_series(row, part, heat, top, name, folder, size, said))
        if volumes is None and heat is not None and _is_of_another(part, heat):
            said.warn(f"{part.volume.name} is not the volume that its heat map was made of")
    for snapshot in seen:
        snapshot.require()
    first = next((heat for heat in heats if heat is not None), None)
    said.note(*_cautions(row))
    probability = _probability(row, first)
    if first is not None and _is_of_another_run(probability, first):
        said.warn(
            f"the table's probability is {probability:.3f}, and {first.probability:.3f} where the "
            "heat map was made; take the table that oa-cam printed with it"
        )
    content = {
        "probability": probability,
        "threshold": None if first is None else first.threshold,
        "series": series,
        "said": said.lines,
    }
    return Done({CONTENT: json.dumps(content)}, warnings=tuple(said.warnings))


class _Said:
    """What is said of a row, on the page, and of that what is a warning of the command, too."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def note(self, *lines: str) -> None:
        """Say lines on the page, each once."""
        self.lines += [line for line in dict.fromkeys(lines) if line not in self.lines]

    def warn(self, text: str) -> None:
        """Say a text on the page, and as a warning of the command."""
        self.note(as_sentence(text))
        self.warnings.append(text)


@dataclass(frozen=True)
class _View:
    """How a volume is laid out for the page."""

    volume: Volume
    plane: str
    side: str | None
    pixel: float

    @property
    def turned_as(self) -> str:
        """The side by which axes are turned: an unknown one is not mirrored."""
        return self.side or "left"


def _write_series(
    row: Row,
    part: Part,
    heat: Heat | None,
    top: float,
    name: str,
    folder: Path,
    size: int,
    said: _Said,
) -> dict[str, Any]:
    """Write a scan and its map, and return what the page says of them."""
    volume = read_volume(part.volume)
    fields = provenance.read_sidecar(part.volume)
    made = provenance.Provenance.from_fields(fields)
    view = _laid_out(row, part, volume, fields, size, said)
    if made.is_phantom:
        said.note("This knee is a synthetic phantom.")
    shown = apply(volume, canonical(volume, view.plane, view.turned_as))
    grey = grey_planes(shown, view.pixel)
    check = write_script(folder / "volumes" / f"{name}-s.js", f"{name}-s", grey)
    slices, rows, columns = grey.shape
    ends, along = ENDS[view.plane], ALONG[view.plane]
    if view.side is None:
        is_across = view.plane == "sagittal"
        ends, along = (ends, _PATIENT) if is_across else (_PATIENT, along)
    content: dict[str, Any] = {
        "sequence": part.sequence,
        "plane": view.plane,
        "side": view.side,
        "file": f"{name}-s",
        "check": check,
        "columns": columns,
        "rows": rows,
        "slices": slices,
        "pixel": view.pixel,
        "thick": float(shown.spacing[2]),
        "voxels": [list(shown.shape), [round(float(each), 4) for each in shown.spacing]],
        "ends": ends,
        "up": _UP[view.plane],
        "along": along,
        "steps": [_step_text(step) for step in made.steps],
        "heat": None,
        "attention": [],
    }
    if heat is not None:
        content["heat"] = _write_heat(heat, volume, view, top, name, folder, said)
        content["attention"] = attention_over(heat, view.plane, view.turned_as)
        if heat.step is not None:
            content["steps"].append(_step_text(heat.step))
        said.note(*heat.notes)
    return content


def _laid_out(
    row: Row, part: Part, volume: Volume, fields: Mapping[str, Any], size: int, said: _Said
) -> _View:
    """Decide on the plane and the side of a volume, and the size of its pixels on the page."""
    plane = plane_of(volume, part.sequence)
    side = stated_side(row, fields)
    if side not in SIDES:
        side = side_of(volume)
        if side is not None:
            said.note(f"The side, {side}, is that of the scan's place; nothing else states it.")
    else:
        try:
            check_side(volume, side, "file")
        except ItemError as error:
            said.warn(f"{error.reason}; look whether lateral and medial are where the page says")
    axes = list(canonical(volume, plane, side or "left").axes)
    wide, high = (float(volume.shape[axis] * volume.spacing[axis]) for axis in axes[:2])
    finest = float(min(volume.spacing[axis] for axis in axes[:2]))
    pixel = max(finest, max(wide, high) / size)
    if min(wide, high) < pixel / 2:
        raise ItemError(
            f"its slices are {wide:.3g} x {high:.3g} mm, which no image can show", "drop the row"
        )
    return _View(volume, plane, side, pixel)


def _write_heat(
    heat: Heat, volume: Volume, view: _View, top: float, name: str, folder: Path, said: _Said
) -> dict[str, Any]:
    """Write a map over a volume, in 255 steps up to `top`."""
    if float(heat.volume.data.min()) < 0:
        said.warn("the heat map has values below 0, which are not shown")
    placed = over(heat.volume, volume, view.plane, view.turned_as)
    planes = planes_of(placed, view.pixel)
    steps = np.rint(np.clip(planes / (top or 1.0), 0, 1) * LEVELS).astype(np.uint8)
    check = write_script(folder / "volumes" / f"{name}-h.js", f"{name}-h", steps)
    hottest = int(planes.max(axis=(1, 2)).argmax()) if top else None
    if not top:
        said.note("The heat map is zero everywhere.")
    return {
        "file": f"{name}-h",
        "check": check,
        "top": top,
        "unit": heat.unit,
        "hottest": hottest,
    }


def _is_of_another(part: Part, heat: Heat) -> bool:
    """Tell whether a map records another input than the volume that its row names."""
    if heat.step is None or len(heat.step.input_sha256) != len(digest(part.volume)):
        return False
    return heat.step.input_sha256 != digest(part.volume)


def _is_of_another_run(probability: float | None, heat: Heat) -> bool:
    """Tell whether a row's probability is not the one that its map records, as of an older table.

    What the map says of the knee, positive or negative, would contradict the number beside it.
    """
    if probability is None or heat.probability is None:
        return False
    return abs(probability - heat.probability) > _SAME_PROBABILITY


def _probability(row: Row, heat: Heat | None) -> float | None:
    """The probability in a row, or else that which its map records."""
    found = number(row, "probability")
    if found is None and heat is not None:
        found = heat.probability
    if found is not None and not 0 <= found <= 1:
        raise ItemError(f"column 'probability' holds {found:g}", "give a number from 0 to 1")
    return found


def _cautions(row: Row) -> list[str]:
    """What the cautions of a row say of the model that scored it."""
    cautions = sorted(
        provenance.cautions_in(row.get(CAUTION_COLUMN, MISSING)), key=lambda each: each.value
    )
    warning = model_warning(cautions)
    return [as_sentence(warning)] if warning else []


def _step_text(step: Step) -> str:
    """A step as a line: its tool and version, and its settings in their recorded order."""
    settings = [f"{name} {_setting_text(value)}" for name, value in step.parameters.items()]
    tool = f"{step.tool} {step.version}".rstrip()
    return f"{tool}: {', '.join(settings)}" if settings else tool


def _setting_text(value: Any) -> str:
    text = json.dumps(value).replace('"', "")
    return text if len(text) <= 40 else f"{text[:12]}…"
