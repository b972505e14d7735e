"""From a row's volume to its heat map and picture."""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oatools.core import provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.explain.gradcam import explain
from oatools.explain.montage import draw_montage
from oatools.features.backbone import Backbone, load_backbone
from oatools.features.engine import best_device
from oatools.features.record import PRETRAINED, RANDOM
from oatools.imaging.orient import plane_of
from oatools.imaging.volume import Volume, read_volume, write_volume
from oatools.learning.cohort import clinical_value
from oatools.learning.model import FittedModel
from oatools.learning.modelfile import load_model


@dataclass(frozen=True)
class CamSettings:
    """What a picture is made with: the model, where its backbone's weights are, how many slices are shown."""

    model: Path
    weights: str | None = None
    device: str = "auto"
    montage: int = 12


@lru_cache(maxsize=1)
def load(settings: CamSettings) -> tuple[FittedModel, Backbone]:
    """The model and the very backbone that its features came from, once a process."""
    model = load_model(settings.model)
    space = model.record["feature_space"]
    weights, seed = _weights(space["weights"], settings.weights)
    device = best_device(settings.device)
    torch.set_num_threads(1)
    backbone = load_backbone(space["backbone"], weights, seed, device)
    if backbone.record.weights_sha256 != space["weights_sha256"]:
        raise UsageError(
            f"the weights of {space['backbone']} are not those that the model's features came from "
            f"({space['weights']}); give these with --weights"
        )
    model.module.to(device)
    return model, backbone


def explain_volume(row: Row, out_dir: Path, settings: CamSettings, clinical: dict[str, Row], force: bool) -> Done:
    """Explain a row's volume: `KNEE_SEQUENCE.nii.gz` (heat), its sidecar (attention), `KNEE_SEQUENCE.png` (montage).

    `clinical` holds further cells by knee. The row's path becomes the picture's; columns `heat`, `probability` and
    `hottest_slice` (counted from 1) are appended.
    """
    source, stem = Path(row["path"]), file_stem(row)
    heat_path, picture = out_dir / f"{stem}.nii.gz", out_dir / f"{stem}.png"
    if heat_path.resolve() == source.resolve():
        raise ItemError(f"{heat_path} is the input itself; choose another folder with -o")
    model, backbone = load(settings)
    cells = {**row, **clinical.get(row["knee"], {})}
    values = np.array([clinical_value(cells, name) for name in model.scaling.names])
    parameters = {
        "model": digest(settings.model),
        "montage": settings.montage,
        "clinical": [None if math.isnan(v) else v for v in values],
    }
    wanted = provenance.step("oa-cam", parameters, source)
    recorded = provenance.read_sidecar(heat_path)
    if not force and provenance.may_keep(heat_path, provenance.last_step(recorded), wanted):
        return Done(_cells(picture, heat_path, recorded["Probability"], recorded["HottestSlice"]), kept=True)
    volume = read_volume(source)
    found = explain(volume, model, backbone, values)
    hottest = int(found.heat.max(axis=(0, 1)).argmax()) + 1
    sidecar = provenance.read_sidecar(source)
    notes = _notes(model, found.probability, values, sidecar)
    steps = sidecar.get(provenance.STEPS, [])
    reference = next((s["parameters"]["reference"] for s in reversed(steps) if s["tool"] == "oa-orient"), "left")
    title = f"{stem.replace('_', ' ')}: probability {found.probability:.2f}"
    out_dir.mkdir(parents=True, exist_ok=True)
    draw_montage(
        picture,
        volume,
        found,
        title,
        notes,
        plane_of(volume, row.get("sequence", MISSING)),
        reference,
        settings.montage,
    )
    fields: dict[str, Any] = {
        **sidecar,
        "Description": "Grad-CAM of the positive class, in log odds",
        "Probability": found.probability,
        "HottestSlice": hottest,
        "Attention": [round(float(a), 6) for a in found.attention],
        "Notes": notes,
        provenance.STEPS: [*steps, wanted],
    }
    # The volume last: once it is there, the work is done.
    provenance.write_sidecar(heat_path, fields)
    write_volume(heat_path, Volume(found.heat, volume.affine))
    warnings = ("the map is zero: nothing in this knee speaks for the positive class",) if not found.heat.any() else ()
    return Done(_cells(picture, heat_path, found.probability, hottest), warnings=warnings)


def _cells(picture: Path, heat: Path, probability: float, hottest: int) -> Row:
    return {"path": str(picture), "heat": str(heat), "probability": f"{probability:.6f}", "hottest_slice": str(hottest)}


def _weights(recorded: str, given: str | None) -> tuple[str, int]:
    """The weights to load, and the seed of random ones, from what the features say or from what the user gives."""
    if match := re.fullmatch(r"random, seed (\d+)", recorded):
        return RANDOM, int(match[1])
    if given is not None:
        return given, 0
    if recorded.startswith(PRETRAINED):
        return PRETRAINED, 0
    raise UsageError(f"the model's features came from the weights '{recorded}'; give that file with --weights")


def _notes(model: FittedModel, probability: float, values: np.ndarray, sidecar: dict[str, Any]) -> list[str]:
    """What a reader of the picture must know, a line each."""
    verdict = "positive" if probability >= model.threshold else "negative"
    lines = [f"{verdict} at the model's threshold {model.threshold:.2f}"]
    if model.scaling.names:
        shown = [
            f"{name} {f'missing, imputed as {fill:.4g}' if math.isnan(value) else f'{value:.4g}'}"
            for name, value, fill in zip(model.scaling.names, values, model.scaling.fill, strict=True)
        ]
        lines[0] += "; " + ", ".join(shown)
    if cautions := model.record.get("cautions"):
        lines.append(
            f"The model was trained on features from {' and '.join(cautions)}: it says nothing about patients."
        )
    if sidecar.get("Phantom"):
        lines.append("This knee is a synthetic phantom.")
    return lines
