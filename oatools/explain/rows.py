"""From a row's volume, or volumes, to heat maps, tables and pictures."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oatools.core import provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest, file_stamp
from oatools.core.manifest import MISSING, Row, file_stem, write_table
from oatools.core.runner import Done
from oatools.explain.faithfulness import faithfulness
from oatools.explain.gradcam import UNITS, gradient_map
from oatools.explain.knee import EndToEnd, KneeImages, prepare
from oatools.explain.montage import draw_montage
from oatools.explain.occlusion import occlusion_map
from oatools.features.backbone import Backbone, load_backbone
from oatools.features.backbone_record import PRETRAINED, RANDOM
from oatools.features.engine import best_device
from oatools.imaging import orient
from oatools.imaging.volume import Volume, read_volume, write_volume
from oatools.learning.clinical import clinical_value
from oatools.learning.files import load_model
from oatools.learning.model import FittedModel
from oatools.learning.rows import input_paths, sequence_warning

SLICE_COLUMNS = ["slice", "attention", "heat_mean", "heat_max"]


@dataclass(frozen=True)
class CamSettings:
    """What a map is made with: the model, where its backbone's weights are, the method, the class, the picture."""

    model: Path
    weights: str | None = None
    device: str = "auto"
    montage: int = 12
    method: str = "gradcam"
    positive: bool = True
    faithful: bool = False
    grid: str = "scan"


@dataclass(frozen=True)
class Explanation:
    """What the model made of one volume of a knee.

    `probability` of the positive class; `attention` (slices,), which sums to 1 and is 0 where the
    model does not look; `heat` (i, j, slices), float32, not negative, on the volume's own grid: how
    much each place spoke for the class that was asked for, see `gradcam.UNITS`.
    """

    probability: float
    attention: np.ndarray
    heat: np.ndarray


def explain(
    chain: EndToEnd, knee: KneeImages, method: str = "gradcam"
) -> tuple[list[Explanation], torch.Tensor]:
    """Explain a knee, one entry a volume; and the map (slices, h, w) as it is before it goes to their grids."""
    if method == "occlusion":
        heat, log_odds, attention = occlusion_map(chain, knee)
    else:
        heat, log_odds, attention = gradient_map(chain, knee, method)
    probability = 1 / (1 + math.exp(-chain.sign * log_odds))
    parts = zip(knee.by_slice(attention.numpy()), knee.to_volumes(heat), strict=True)
    return [Explanation(probability, *part) for part in parts], heat


def load(settings: CamSettings) -> tuple[FittedModel, Backbone]:
    """The model, as its file is now, and the very backbone that its features came from, once a process."""
    return _load(settings, file_stamp(settings.model))


@lru_cache(maxsize=1)
def _load(settings: CamSettings, identity: tuple) -> tuple[FittedModel, Backbone]:
    model = load_model(settings.model)
    space = model.record["feature_space"]
    weights, seed = _weights(space["weights"], settings.weights)
    device = best_device(settings.device)
    torch.set_num_threads(1)
    backbone = load_backbone(space["backbone"], weights, seed, device)
    if backbone.record.weights.sha256 != space["weights_sha256"]:
        raise UsageError(
            f"the weights of {space['backbone']} are not those that the model's features came from "
            f"({space['weights']}); give these with --weights"
        )
    model.module.to(device)
    return model, backbone


def explain_row(
    row: Row, out_dir: Path, settings: CamSettings, clinical: dict[str, Row] | None, force: bool
) -> Done:
    """Explain a row's volume, or those of a row that `scoring.join_rows` made.

    Writes for each `KNEE_SEQUENCE.nii.gz` (heat), its sidecar, `.tsv` (slices) and `.png`
    (montage). `clinical` gives the clinical variables by knee; None takes them from the row. The
    row's path becomes the (first) picture's; columns `heat`, `probability`, `hottest_slice`
    (counted from 1) are appended, and those of `faithfulness.COLUMNS`.
    """
    model, backbone = load(settings)
    sources = [Path(p) for p in input_paths(row, model.joined)]
    stems = [file_stem({**row, "sequence": s}) for s in model.joined] or [file_stem(row)]
    targets = [out_dir / f"{stem}.nii.gz" for stem in stems]
    for source, target in zip(sources, targets, strict=True):
        if target.resolve() == source.resolve():
            raise ItemError(f"{target} is the input itself; choose another folder with -o")
        if source.suffix == ".h5":
            raise ItemError(f"{source} holds features; give the volume that they were made from")
    cells = row if clinical is None else clinical.get(row.get("knee", MISSING), {})
    values = np.array(
        [clinical_value(cells, name) for name in model.scaling.names], dtype=np.float64
    )
    parameters = {
        "model": digest(settings.model),
        "method": settings.method,
        "class": int(settings.positive),
        "montage": settings.montage,
        "grid": settings.grid,
        "faithfulness": settings.faithful,
        "with": [digest(path) for path in sources[1:]],
        "clinical": [None if math.isnan(v) else v for v in values],
    }
    wanted = [provenance.step("oa-cam", parameters, source) for source in sources]
    kept = [
        provenance.step_is_done(
            target, step, lambda t=target: provenance.read_provenance(t).last, force
        )
        for target, step in zip(targets, wanted, strict=True)
    ]
    if all(kept):
        return Done(provenance.read_sidecar(targets[0])["Cells"] | _places(targets[0]), kept=True)
    sidecars = [provenance.read_sidecar(source) for source in sources]
    warnings = list(sequence_warning(row, model))
    for source, sidecar in zip(sources, sidecars, strict=True):
        warnings += _check_steps(source, sidecar, model)
    volumes = [read_volume(source) for source in sources]
    chain = EndToEnd(model, backbone, values, 1 if settings.positive else -1)
    knee = prepare(volumes, model)
    found, heat = explain(chain, knee, settings.method)
    new = _cells(found[0])
    if settings.faithful:
        new |= faithfulness(chain, knee, heat, settings.method).cells()
    if not heat.any():
        name = "positive" if settings.positive else "negative"
        warnings.append(f"the map is zero: nothing in this knee speaks for the {name} class")
    out_dir.mkdir(parents=True, exist_ok=True)
    top = max(float(each.heat.max()) for each in found) or 1.0
    for n, (volume, each, sidecar) in enumerate(zip(volumes, found, sidecars, strict=True)):
        notes = _notes(model, settings, each.probability, values, sidecar)
        notes += [f"{text[0].upper()}{text[1:]}." for text in sequence_warning(row, model)]
        _write(targets[n], volume, each, sidecar, new, notes, wanted[n], settings)
        sequence = model.joined[n] if model.joined else row.get("sequence", MISSING)
        draw_montage(
            _picture(targets[n]),
            volume,
            each,
            f"{stems[n].replace('_', ' ')}: probability {each.probability:.2f}",
            notes,
            orient.plane_of(volume, sequence),
            _orientation(sidecar).get("reference", "left"),
            settings.montage,
            f"{settings.method} ({UNITS[settings.method]})",
            top,
        )
    # The volumes last: once they are there, the work is done.
    for target, volume, each, sidecar in zip(targets, volumes, found, sidecars, strict=True):
        write_volume(target, on_grid(Volume(each.heat, volume.affine), sidecar, settings.grid))
    return Done(new | _places(targets[0]), warnings=tuple(warnings))


def on_grid(heat: Volume, sidecar: dict[str, Any], grid: str) -> Volume:
    """A map of a volume with such a sidecar, on the volume's own grid (`input`) or on that of its scan (`scan`).

    That is, as it came from the scanner, before oa-orient permuted and reversed the axes; the
    affine is true in both.
    """
    turned = _orientation(sidecar)
    if grid == "input" or "axes" not in turned:
        return heat
    return orient.apply(
        heat, orient.inverse(orient.Orientation(tuple(turned["axes"]), tuple(turned["flips"])))
    )


def _orientation(sidecar: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the last oa-orient that a volume went through; empty if it did not."""
    steps = sidecar.get(provenance.STEPS) or []
    return next(
        (step["parameters"] for step in reversed(steps) if step.get("tool") == "oa-orient"), {}
    )


def _check_steps(source: Path, sidecar: dict[str, Any], model: FittedModel) -> list[str]:
    """An `ItemError` for a volume that was prepared otherwise than the model's; a word where that is not known."""
    wanted = model.record.get("volume_steps")
    if wanted is None:
        return []
    if provenance.STEPS not in sidecar:
        return [
            f"nothing is known of how {source.name} was prepared; the model's volumes went through "
            f"{', '.join(wanted) or 'neither oa-orient nor oa-n4'}"
        ]
    if (found := list(provenance.Provenance.from_fields(sidecar).preparation())) != wanted:
        raise ItemError(
            f"{source} went through {', '.join(found) or 'neither oa-orient nor oa-n4'}, and the model's "
            f"volumes through {', '.join(wanted) or 'neither'}; prepare it alike"
        )
    return []


def _write(
    target: Path,
    volume: Volume,
    found: Explanation,
    sidecar: dict[str, Any],
    cells: Row,
    notes: Sequence[str],
    step: provenance.Step,
    settings: CamSettings,
) -> None:
    """The sidecar of a heat map and the table of its slices."""
    heat = found.heat
    rows = [
        {
            "slice": str(k + 1),
            "attention": f"{a:.6f}",
            "heat_mean": f"{heat[:, :, k].mean():.6g}",
            "heat_max": f"{heat[:, :, k].max():.6g}",
        }
        for k, a in enumerate(found.attention)
    ]
    fields = {
        **sidecar,
        "Description": f"{settings.method} of the {'positive' if settings.positive else 'negative'} class, "
        f"{UNITS[settings.method]}",
        "Probability": found.probability,
        "Attention": [round(float(a), 6) for a in found.attention],
        "Notes": list(notes),
        "Cells": cells,
        provenance.STEPS: provenance.with_step(sidecar, step)[provenance.STEPS],
    }
    provenance.write_sidecar(target, fields)
    write_table(target.with_name(target.name.removesuffix(".nii.gz") + ".tsv"), SLICE_COLUMNS, rows)


def _cells(found: Explanation) -> Row:
    hottest = int(found.heat.max(axis=(0, 1)).argmax()) + 1
    return {"probability": f"{found.probability:.6f}", "hottest_slice": str(hottest)}


def _places(target: Path) -> Row:
    return {"path": str(_picture(target)), "heat": str(target)}


def _picture(target: Path) -> Path:
    return target.with_name(target.name.removesuffix(".nii.gz") + ".png")


def _weights(recorded: str, given: str | None) -> tuple[str, int]:
    """The weights to load, and the seed of random ones, from what the features say or from what the user gives."""
    if match := re.fullmatch(r"random, seed (\d+)", recorded):
        return RANDOM, int(match[1])
    if given is not None:
        return given, 0
    if recorded.startswith(PRETRAINED):
        return PRETRAINED, 0
    raise UsageError(
        f"the model's features came from the weights '{recorded}'; give that file with --weights"
    )


def cautions(model: FittedModel) -> list[str]:
    """Why a model's maps show nothing of patients, as a line; none if they may."""
    found = model.record.get("cautions")
    text = f"The model was trained on features from {' and '.join(found or ())}: it says nothing about patients."
    return [text] if found else []


def _notes(
    model: FittedModel,
    settings: CamSettings,
    probability: float,
    values: np.ndarray,
    sidecar: dict[str, Any],
) -> list[str]:
    """What a reader of the picture must know, a line each."""
    endpoint = model.record.get("endpoint") or "the positive class"
    verdict = "positive" if probability >= model.threshold else "negative"
    lines = [f"{endpoint}: {verdict} at the model's threshold {model.threshold:.2f}"]
    if model.scaling.names:
        shown = [
            f"{name} {f'missing, imputed as {fill:.4g}' if math.isnan(value) else f'{value:.4g}'}"
            for name, value, fill in zip(
                model.scaling.names, values, model.scaling.fill, strict=True
            )
        ]
        lines[0] += "; " + ", ".join(shown)
    if not settings.positive:
        lines.append("Heat: what speaks for the negative class.")
    lines += cautions(model)
    if sidecar.get("Phantom"):
        lines.append("This knee is a synthetic phantom.")
    return lines
