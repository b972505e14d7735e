"""One row of a table through oa-cam: from its volumes to heat maps, tables and pictures."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import digest, file_stamp
from oatools.core.manifest import MISSING, Row, file_stem, table_bytes, without_extension
from oatools.core.provenance import Provenance
from oatools.core.replacing import Replace
from oatools.core.runner import Done
from oatools.explain.explanation import Explanation, explain, unit_of
from oatools.explain.faithfulness import COLUMNS as FAITHFULNESS
from oatools.explain.faithfulness import faithfulness
from oatools.explain.knee import EndToEnd, backbone_of, prepare, preprocessing_of
from oatools.explain.mean import FinishedMap
from oatools.explain.montage import Montage, draw_montage
from oatools.features.backbone import Backbone
from oatools.features.engine import best_device
from oatools.features.framing import stated_side
from oatools.imaging import kept, orient
from oatools.imaging.recorded import beside_path, write_recorded
from oatools.imaging.rows import refuse_same
from oatools.imaging.volume import Shown, Volume, read_volume
from oatools.learning.cautions import as_sentence, model_warning
from oatools.learning.clinical import CODES, ClinicalTable
from oatools.learning.files import load_model
from oatools.learning.model import FittedModel
from oatools.learning.rows import checked_clinical, input_paths
from oatools.learning.sequences import check_kind, image_kind

# The endings of the files beside a heat map: the table of its slices, and the picture.
_TABLE, _PICTURE = ".tsv", ".png"
# Heat below this part of the largest is not shown by viewers at first: it is nearly everywhere.
_COLD = 0.1
SLICE_COLUMNS = ["slice", "attention", "heat_mean", "heat_max"]


@dataclass(frozen=True)
class CamSettings:
    """The settings of a map: the model, its backbone's weights, the method, the class, the picture.

    `weights` is the file that the backbone's weights come from, None where the model's record is
    enough; `montage` the number of slices in the picture; `positive` whether heat speaks for the
    positive class; `grid` is scan or input, see `on_grid`; `any_sequence` whether volumes of a
    sequence or plane that the model was not trained on are explained all the same; `at` the months
    within which a model of follow-up tells the risk, None for its horizon.
    """

    model: Path
    weights: str | None = None
    device: str = "auto"
    montage: int = 12
    method: str = "gradcam"
    positive: bool = True
    faithful: bool = False
    grid: str = "scan"
    any_sequence: bool = False
    at: float | None = None

    @property
    def class_name(self) -> str:
        """The class that heat speaks for."""
        return "positive" if self.positive else "negative"

    def parameters(self) -> dict[str, Any]:
        """Return what decides the outputs of every row, as a sidecar records it."""
        parameters = {
            "model": digest(self.model),
            "method": self.method,
            "class": int(self.positive),
            "montage": self.montage,
            "grid": self.grid,
            "faithfulness": self.faithful,
        }
        return parameters if self.at is None else parameters | {"at": self.at}


def load(settings: CamSettings) -> tuple[FittedModel, Backbone]:
    """Return the model, as its file is now, and the backbone of its features, once a process."""
    return _load(settings, file_stamp(settings.model))


def explain_row(
    row: Row,
    out_dir: Path,
    settings: CamSettings,
    clinical: ClinicalTable | None,
    replacing: Replace,
) -> Done:
    """Explain a row's volume, or those of a row that `learning.rows.join_rows` made.

    Writes for each `KNEE_SEQUENCE.nii.gz` (heat), its sidecar, `.tsv` (slices) and `.png`
    (montage). `clinical` gives the clinical variables by knee; None takes them from the row. The
    row's path becomes the (first) picture's; `columns` are appended, of which `hottest_slice` is
    counted from 1.
    """
    model, backbone = load(settings)
    seen = [provenance.seen(Path(path)) for path in input_paths(row, model.joined)]
    plan = _plan(row, out_dir, settings, model, clinical)
    first = plan.outputs[0]
    named = first.cells() | {
        provenance.CAUTION_COLUMN: provenance.caution_cell(model.cautions_about(row))
    }
    for other in plan.outputs[1:]:
        named |= {f"{name}:{other.sequence}": cell for name, cell in other.cells().items()}
    is_done = [output.is_done(replacing) for output in plan.outputs]
    if all(is_done):
        cells = provenance.recorded_cells(first.heat)
        return Done(cells | named, kept=True, remarks=plan.remarks)

    sidecars: list[dict[str, Any]] = []
    warnings: list[str] = []
    for output in plan.outputs:
        warnings += kept.repairs(output.heat, output.step, replacing)
        described = provenance.load_sidecar(output.source)
        sidecars.append(described.fields)
        warnings += described.warnings
        warnings += _check_preparation(output.source, described.fields, model)
    result = _compute(plan, settings, model, backbone)
    for snapshot in seen:
        snapshot.require()
    if result.is_zero:
        name = settings.class_name
        warnings.append(f"the map is zero: nothing in this knee speaks for the {name} class")
    _write(plan, settings, model, sidecars, result, replacing)
    return Done(result.cells | named, warnings=tuple(warnings), remarks=plan.remarks)


def columns(model: FittedModel, faithful: bool) -> list[str]:
    """Return the columns that are added to a row: files of further sequences behind their names."""
    others = []
    for sequence in model.joined[1:]:
        others += [f"{name}:{sequence}" for name in ("path", "heat", "volume")]
    measures = FAITHFULNESS if faithful else ()
    own = ["heat", "volume", "probability", "hottest_slice"]
    return [*own, *measures, provenance.CAUTION_COLUMN, *others]


def claims(row: Row, out_dir: Path, model: FittedModel) -> list[str]:
    """Return the paths of all files of a row, those of volumes without extension.

    No two rows may share one.
    """
    sequences = model.joined or (row.get("sequence", MISSING),)
    names = [str(out_dir / file_stem(row))]
    for sequence in sequences:
        heat = _heat_path(row, sequence, out_dir)
        beside = [str(beside_path(heat, suffix)) for suffix in (_TABLE, _PICTURE)]
        names += [without_extension(str(heat)), *beside]
    return list(dict.fromkeys(names))


def finished_maps(row: Row, out_dir: Path, model: FittedModel, label: str) -> list[FinishedMap]:
    """Return the maps that `explain_row` made of a row, for the mean of all knees."""
    sequences = model.joined or (row.get("sequence", MISSING),)
    finished = []
    for sequence, source in zip(sequences, input_paths(row, model.joined), strict=True):
        heat = _heat_path(row, sequence, out_dir)
        side = row.get("side", MISSING)
        finished.append(FinishedMap(Path(source), heat, sequence, side, label))
    return finished


def on_grid(heat: Volume, sidecar: dict[str, Any], grid: str) -> Volume:
    """Return a map of a volume with such a sidecar on the grid of the volume or of its scan.

    `input` is the volume's own grid; `scan` is that which came from the scanner, before oa-orient
    permuted and reversed the axes. The affine is true in both.
    """
    turned = Provenance.from_fields(sidecar).orientation()
    if grid == "input" or turned is None or turned.axes is None or turned.flips is None:
        return heat
    return orient.apply(heat, orient.inverse(orient.Orientation(turned.axes, turned.flips)))


@dataclass(frozen=True)
class _Output:
    """One volume of a knee, the heat map that is made of it, and the step that makes it."""

    source: Path
    heat: Path
    sequence: str
    step: provenance.Step

    @property
    def stem(self) -> str:
        return self.heat.name.removesuffix(".nii.gz")

    @property
    def picture(self) -> Path:
        return beside_path(self.heat, _PICTURE)

    def cells(self) -> Row:
        """Return the cells that name the files."""
        volume = str(self.source)
        return {"path": str(self.picture), "heat": str(self.heat), "volume": volume}

    def is_done(self, replacing: Replace) -> bool:
        """Return True if the map is there and whole; an `ItemError` if it was made otherwise."""
        return kept.is_done(self.heat, self.step, replacing)


@dataclass(frozen=True)
class _Plan:
    """The work on one row: its outputs, one a sequence, and the knee's clinical variables.

    `remarks` are about its sequence, see `learning.sequences.check_kind`; `side` is None where it
    is not known.
    """

    outputs: list[_Output]
    clinical: np.ndarray
    remarks: tuple[str, ...]
    side: str | None


@dataclass(frozen=True)
class _Result:
    """The explanations of a knee, volume by volume, and the cells of its row."""

    volumes: list[Volume]
    explanations: list[Explanation]
    cells: Row
    is_zero: bool

    @property
    def heat_top(self) -> float:
        """The largest heat of all volumes, which share one scale; 0 where there is none."""
        return max(float(each.heat.max()) for each in self.explanations)

    @property
    def top(self) -> float:
        """The heat at which the scale ends."""
        return self.heat_top or 1.0


def _plan(
    row: Row,
    out_dir: Path,
    settings: CamSettings,
    model: FittedModel,
    clinical: ClinicalTable | None,
) -> _Plan:
    """Name the files of a row, and make the steps that lead to them."""
    sources = [Path(path) for path in input_paths(row, model.joined)]
    sequences = model.joined or (row.get("sequence", MISSING),)
    targets = [_heat_path(row, sequence, out_dir) for sequence in sequences]
    for source in sources:
        if source.suffix in (".h5", ".pt"):
            raise ItemError(f"{source} holds features", "give the volume that they were made from")
    refuse_same(sources, targets)
    kind = image_kind(row, provenance.read_sidecar(sources[0]))
    remarks = check_kind(kind, model, settings.any_sequence)
    values = checked_clinical(row, clinical, model.scaling.names)
    parameters = settings.parameters()
    parameters["with"] = [digest(path) for path in sources[1:]]
    parameters["clinical"] = _without_nan(values)
    side = stated_side(row, provenance.read_sidecar(sources[0]))
    if preprocessing_of(model).compartment is not None:
        parameters["side"] = side
    outputs = []
    for source, target, sequence in zip(sources, targets, sequences, strict=True):
        step = provenance.step("oa-cam", parameters, source)
        outputs.append(_Output(source, target, sequence, step))
    return _Plan(outputs, values, remarks, side)


def _without_nan(values: np.ndarray) -> list[float | None]:
    """Return numbers as JSON can hold them, with None for NaN."""
    plain: list[float | None] = []
    for value in values:
        plain.append(None if math.isnan(value) else float(value))
    return plain


def _heat_path(row: Row, sequence: str, out_dir: Path) -> Path:
    stem = file_stem({**row, "sequence": sequence})
    return out_dir / f"{stem}.nii.gz"


def _compute(plan: _Plan, settings: CamSettings, model: FittedModel, backbone: Backbone) -> _Result:
    """Read the volumes of a row and explain them, each in the light of the others."""
    volumes = [read_volume(output.source) for output in plan.outputs]
    sign = 1 if settings.positive else -1
    chain = EndToEnd(model, backbone, plan.clinical, sign, settings.at)
    knee = prepare(volumes, model, plan.side)
    found, heat = explain(chain, knee, settings.method)
    first = found[0]
    cells = {
        "probability": f"{first.probability:.6f}",
        "hottest_slice": str(first.hottest_slice + 1),
    }
    if settings.faithful:
        cells |= faithfulness(chain, knee, heat, settings.method).row()
    return _Result(volumes, found, cells, is_zero=not heat.any())


def _write(
    plan: _Plan,
    settings: CamSettings,
    model: FittedModel,
    sidecars: list[dict[str, Any]],
    result: _Result,
    replacing: Replace,
) -> None:
    """Write the heat maps of a row, each with its sidecar, table and picture."""
    parts = list(zip(plan.outputs, sidecars, result.volumes, result.explanations, strict=True))
    drawn = []
    for output, sidecar, volume, found in parts:
        notes = _notes(plan, settings, model, found.probability, Provenance.from_fields(sidecar))
        turned = Provenance.from_fields(sidecar).orientation()
        montage = Montage(
            volume=volume,
            explanation=found,
            title=f"{output.stem.replace('_', ' ')}: {_told(model)} {found.probability:.2f}",
            notes=notes,
            plane=orient.plane_of(volume, output.sequence),
            reference="left" if turned is None else turned.reference,
            count=settings.montage,
            scale=_scale(settings, model),
            top=result.top,
        )
        beside = {
            _TABLE: table_bytes(SLICE_COLUMNS, _slice_rows(found)),
            _PICTURE: draw_montage(montage),
        }
        drawn.append((notes, beside))
    for (output, sidecar, volume, found), (notes, beside) in zip(parts, drawn, strict=True):
        fields = _sidecar(sidecar, found, settings, notes, model)
        fields[provenance.CELLS] = result.cells
        fields[provenance.STEPS] = provenance.with_step(sidecar, output.step)[provenance.STEPS]
        heat = on_grid(Volume(found.heat, volume.affine), sidecar, settings.grid)
        write_recorded(
            output.heat,
            heat,
            fields,
            beside=beside,
            replacing=replacing,
            shown=Shown(settings.method, _COLD * result.heat_top, result.heat_top),
        )


def _sidecar(
    fields: dict[str, Any],
    found: Explanation,
    settings: CamSettings,
    notes: Sequence[str],
    model: FittedModel,
) -> dict[str, Any]:
    """Return the fields of a volume's sidecar with those of its heat map."""
    unit = unit_of(settings.method, model)
    months = settings.at or model.horizon
    told = {"Threshold": model.threshold} if months is None else {"WithinMonths": months}
    return {
        **fields,
        "Description": f"{settings.method} of the {settings.class_name} class, {unit}",
        "Probability": found.probability,
        **told,
        # A model that takes all slices alike has none, and pages that show it show none.
        "Attention": [round(float(value), 6) for value in found.attention if found.has_attention],
        "Notes": list(notes),
    }


def _slice_rows(found: Explanation) -> list[Row]:
    """Return the rows of the table of slices, with the columns `SLICE_COLUMNS`."""
    rows = []
    for k, attention in enumerate(found.attention):
        heat = found.heat[:, :, k]
        row = {
            "slice": str(k + 1),
            "attention": f"{attention:.6f}" if found.has_attention else MISSING,
            "heat_mean": f"{heat.mean():.6g}",
            "heat_max": f"{heat.max():.6g}",
        }
        rows.append(row)
    return rows


def _check_preparation(source: Path, sidecar: dict[str, Any], model: FittedModel) -> list[str]:
    """Raise an `ItemError` for a volume that was prepared otherwise than the model's.

    Returns a warning where it is not known how the volume was prepared.
    """
    wanted = model.record.get("volume_steps")
    if wanted is None:
        return []
    made = Provenance.from_fields(sidecar)
    if not made.is_recorded:
        steps = ", ".join(wanted) or "neither oa-orient nor oa-n4"
        return [
            f"nothing is known of how {source.name} was prepared; the model's volumes went through "
            f"{steps}"
        ]
    if list(made.preparation()) != wanted:
        steps = ", ".join(made.preparation()) or "neither oa-orient nor oa-n4"
        raise ItemError(
            f"{source} went through {steps}, and the model's volumes through "
            f"{', '.join(wanted) or 'neither'}",
            "prepare it alike",
        )
    return []


def _notes(
    plan: _Plan,
    settings: CamSettings,
    model: FittedModel,
    probability: float,
    made: Provenance,
) -> list[str]:
    """Return what a reader of the picture must know, a line each."""
    endpoint = model.record.get("endpoint") or "the positive class"
    months = settings.at or model.horizon
    if months is None:
        verdict = "positive" if probability >= model.threshold else "negative"
        first = f"{endpoint}: {verdict} at the model's threshold {model.threshold:.2f}"
    else:
        first = f"{endpoint}: risk {probability:.2f} within {months:g} months"
    clinical = _clinical_note(model, plan.clinical)
    lines = [f"{first}; {clinical}" if clinical else first]
    turned = made.orientation()
    if turned is not None and plan.side is not None and plan.side != turned.reference:
        lines.append(f"A {plan.side} knee, mirrored so that it lies as a {turned.reference} one.")
    if not model.has_attention:
        lines.append(
            "The model takes all slices alike and has no attention; those with most heat are shown."
        )
    if not settings.positive:
        lines.append("Heat: what speaks for the negative class.")
    if model.cautions:
        lines.append(as_sentence(model_warning(model.cautions)))
    if made.is_phantom:
        lines.append("This knee is a synthetic phantom.")
    lines += map(as_sentence, plan.remarks)
    return lines


def _told(model: FittedModel) -> str:
    """What the number above a picture is called."""
    return "probability" if model.hazards is None else "risk"


def _clinical_note(model: FittedModel, values: np.ndarray) -> str:
    """Return the clinical variables of a knee, and what was put in for those that are missing."""
    scaling = model.scaling
    said = []
    for name, value, fill in zip(scaling.names, values, scaling.fill, strict=True):
        missing = f"missing, imputed as {_value_text(name, fill)}"
        said.append(f"{name} {missing if math.isnan(value) else _value_text(name, value)}")
    return ", ".join(said)


def _value_text(name: str, value: float) -> str:
    """Return a clinical variable as a person says it: `female`, `27.5`."""
    words = {code: word for word, code in CODES.get(name, {}).items()}
    return words.get(value, format(value, ".4g"))


def _scale(settings: CamSettings, model: FittedModel) -> str:
    """Return what stands beside the colours."""
    shared = "one scale for all slices"
    if model.joined:
        shared += f" of {' and '.join(model.joined)}"
    return f"{settings.method} ({unit_of(settings.method, model)}), {shared}"


@functools.lru_cache(maxsize=1)
def _load(settings: CamSettings, stamp: tuple[str, int, int]) -> tuple[FittedModel, Backbone]:
    torch.set_num_threads(1)
    model = load_model(settings.model)
    device = best_device(settings.device)
    backbone = backbone_of(model, settings.weights, device)
    model.module.to(device)
    return model, backbone
