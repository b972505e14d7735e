"""Feature files: one HDF5 file a volume, which says exactly how its features were made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import atomic
from oatools.core.provenance import STEPS, Step

# Attributes that two files must share for their features to mean the same.
SPACE = ("backbone", "weights", "weights_sha256", "preprocessing")


@dataclass(frozen=True)
class Features:
    """The features of one volume.

    `features` (slices, channels); `position` (slices,), each slice's place along the slice axis in mm, RAS
    coordinate of its centre projected on that axis; `provenance`, the attributes of the file: backbone, weights,
    weights_sha256, preprocessing (a dict), source_sha256, OatoolsSteps, versions, identity of the knee.
    """

    features: np.ndarray
    position: np.ndarray
    provenance: dict[str, Any]


def feature_space(provenance: dict[str, Any]) -> dict[str, Any]:
    """The part of the provenance that must agree between files that are used together."""
    return {key: provenance.get(key) for key in SPACE}


def write_features(path: str | Path, features: Features) -> None:
    """Write a feature file, atomically; equal features give equal bytes. Dicts and lists are stored as JSON."""
    # libver fixed and no times, so that the bytes depend on the content alone.
    with atomic(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
        file.create_dataset("features", data=features.features, track_times=False)
        file.create_dataset("position", data=features.position.astype(np.float64), track_times=False)
        for key, value in features.provenance.items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict | list) else value


def read_features(path: str | Path) -> Features:
    """Read a feature file; an `ItemError` says what is wrong with one that is missing, damaged or not finite."""
    path = Path(path)
    if not path.is_file():
        raise ItemError(f"{path}: no such file; check the column 'path' and the current directory")
    try:
        with h5py.File(path, "r") as file:
            features, position = file["features"][...], file["position"][...]
            provenance = _attributes(file)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ItemError(f"{path}: not a readable feature file ({error}); embed the volume again") from None
    if features.ndim != 2 or 0 in features.shape or position.shape != features.shape[:1]:
        raise ItemError(f"{path}: features of shape {features.shape} and positions of shape {position.shape} "
                        "are no feature file's; embed the volume again")  # fmt: skip
    if features.dtype.kind != "f" or not np.isfinite(features).all():
        raise ItemError(f"{path}: features are not finite numbers; embed the volume again")
    return Features(features.astype(np.float32), position, provenance)


def recorded_step(path: str | Path) -> Step | None:
    """The step that made a feature file, None where the file is missing or does not say."""
    try:
        with h5py.File(path, "r") as file:
            steps = _attributes(file).get(STEPS)
    except OSError:
        return None
    return steps[-1] if isinstance(steps, list) and steps else None


def _attributes(file: h5py.File) -> dict[str, Any]:
    provenance = {}
    for key, value in file.attrs.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = json.loads(value)
        provenance[key] = value.item() if isinstance(value, np.generic) else value
    return provenance
