"""Volumes to feature files: every slice through the backbone."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import oatools
from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.features.backbone import Backbone, describe, file_digest, load_backbone
from oatools.features.featurefile import Features, recorded_step, write_features
from oatools.features.slices import Preprocessing, images, middle, slice_positions
from oatools.imaging.volume import Volume, read_volume


@dataclass(frozen=True)
class EmbedSettings:
    """What decides the features of a volume, and where they are computed."""

    backbone: str = "efficientnet_b0"
    weights: str = "pretrained"
    seed: int = 0
    slices: int | None = None
    window: tuple[float, float] = (1.0, 99.0)
    batch_size: int = 16
    device: str = "auto"


def embed(volume: Volume, backbone: Backbone, settings: EmbedSettings) -> tuple[np.ndarray, np.ndarray]:
    """Features (slices, channels), float32, and slice positions (slices,), mm, of a volume."""
    indices = middle(volume.data.shape[2], settings.slices)
    pixels = images(volume, indices, preprocessing(backbone, settings))
    with torch.inference_mode():
        parts = [backbone.network(part.to(backbone.device)).float().cpu() for part in pixels.split(settings.batch_size)]
    features = torch.cat(parts).numpy()
    if not np.isfinite(features).all() or features.std() == 0:
        raise ItemError("the backbone's features are not finite or all the same; check its weights")
    return features, slice_positions(volume, indices)


def preprocessing(backbone: Backbone, settings: EmbedSettings) -> Preprocessing:
    """The backbone's own normalisation, with the window that the settings name."""
    return Preprocessing(settings.window, backbone.size, backbone.interpolation, backbone.mean, backbone.std)


@lru_cache(maxsize=1)
def shared_backbone(name: str, weights: str, seed: int, device: str) -> Backbone:
    """The backbone, loaded once a process."""
    torch.set_num_threads(max(1, torch.get_num_threads() if device != "cpu" else 1))
    return load_backbone(name, weights, seed, device)


def best_device(device: str) -> str:
    """`auto` as the device it stands for here: the first CUDA device, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def embed_volume(row: Row, out_dir: Path, settings: EmbedSettings, force: bool) -> Done:
    """Embed a row's volume into `KNEE_SEQUENCE.h5`; adds the column `slices`."""
    source, target = Path(row["path"]), out_dir / f"{file_stem(row)}.h5"
    parameters = {"backbone": settings.backbone, "weights": file_digest(settings.weights), "seed": settings.seed,
                  "slices": settings.slices, "window": settings.window}  # fmt: skip
    wanted = provenance.step("oa-embed", parameters, source)
    if not force and provenance.may_keep(target, recorded_step(target), wanted):
        return Done({"path": str(target)}, kept=True)
    backbone = shared_backbone(settings.backbone, settings.weights, settings.seed, best_device(settings.device))
    volume = read_volume(source)
    features, position = embed(volume, backbone, settings)
    sidecar = provenance.read_sidecar(source)
    attributes = {
        **describe(backbone),
        "preprocessing": preprocessing(backbone, settings).record() | {"slices": settings.slices},
        "source_sha256": wanted["input"]["sha256"],
        **({"phantom": True} if sidecar.get("Phantom") else {}),
        **{
            key: row[key]
            for key in ("knee", "subject", "visit", "side", "sequence")
            if row.get(key, MISSING) != MISSING
        },
        "first_slice": middle(volume.data.shape[2], settings.slices).start,
        "version": oatools.__version__,
        "torch": str(torch.__version__),
        provenance.STEPS: [*sidecar.get(provenance.STEPS, []), wanted],
    }
    write_features(target, Features(features, position, attributes))
    return Done({"path": str(target)})
