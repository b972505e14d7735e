"""Feature files: one HDF5 file a volume, which says exactly how its features were made."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import atomic
from oatools.core.provenance import Provenance, Step

# Attributes that two files must share for their features to mean the same.
SPACE = ("backbone", "weights", "weights_sha256", "preprocessing", "precision")

_CONTENT = "features_sha256"


@dataclass(frozen=True)
class Features:
    """The features of one volume.

    `features` (slices, channels), float32 or float16; `position` (slices,), each slice's place
    along the slice axis in mm, RAS coordinate of its centre projected on that axis; `provenance`,
    the attributes of the file: backbone, weights, weights_sha256, preprocessing (a dict),
    precision, source_sha256, OatoolsSteps, versions, identity of the knee; `augmented` (variants,
    slices, channels), the features of varied images, where they were asked for.
    """

    features: np.ndarray
    position: np.ndarray
    provenance: dict[str, Any]
    augmented: np.ndarray | None = None

    def digest(self) -> str:
        """SHA-256 of all numbers in the file."""
        total = hashlib.sha256()
        for name, array in self.arrays().items():
            total.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """The datasets of the file by name."""
        arrays = {"features": self.features, "position": self.position.astype(np.float64)}
        return arrays if self.augmented is None else {**arrays, "augmented": self.augmented}


def feature_space(provenance: dict[str, Any]) -> dict[str, Any]:
    """The part of the provenance that must agree between files that are used together."""
    return {key: provenance.get(key) for key in SPACE}


def space_difference(space: dict[str, Any], reference: dict[str, Any]) -> str:
    """What differs between two feature spaces, as text: `backbone resnet18, not efficientnet_b0`; empty if nothing.

    Weights are the same by their digest, whatever the file was called.
    """
    flat, expected = _flatten(space), _flatten(reference)
    names = [n for n in sorted(flat.keys() | expected.keys()) if flat.get(n) != expected.get(n)]
    if "weights_sha256" not in names:
        names = [n for n in names if n != "weights"]
    return ", ".join(
        f"{n} {flat.get(n, 'not stated')}, not {expected.get(n, 'not stated')}" for n in names[:3]
    )


def write_features(path: str | Path, features: Features) -> None:
    """Write a feature file, atomically; equal features give equal bytes. Dicts and lists are stored as JSON.

    The attribute features_sha256 is added, the digest of all numbers, by which `check_features`
    knows them again.
    """
    # libver fixed and no times, so that the bytes depend on the content alone.
    with atomic(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
        for name, array in features.arrays().items():
            file.create_dataset(name, data=array, track_times=False)
        for key, value in {**features.provenance, _CONTENT: features.digest()}.items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict | list) else value


def read_features(path: str | Path, augmented: bool = False) -> Features:
    """Read a feature file, numbers in the type that they have there; `augmented` ones only if asked for.

    An `ItemError` says what is wrong with one that is missing, damaged or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ItemError(f"{path}: no such file; check the column 'path' and the current directory")
    try:
        with h5py.File(path, "r") as file:
            features, position = file["features"][...], file["position"][...]
            varied = file["augmented"][...] if augmented and "augmented" in file else None
            provenance = _attributes(file)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ItemError(
            f"{path}: not a readable feature file ({error}); embed the volume again"
        ) from None
    if features.ndim != 2 or 0 in features.shape or position.shape != features.shape[:1]:
        raise ItemError(
            f"{path}: features of shape {features.shape} and positions of shape {position.shape} "
            "are no feature file's; embed the volume again"
        )
    if varied is not None and varied.shape[1:] != features.shape:
        raise ItemError(
            f"{path}: augmented features of shape {varied.shape} do not belong to features of shape "
            f"{features.shape}; embed the volume again"
        )
    for array in [features] if varied is None else [features, varied]:
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ItemError(f"{path}: features are not finite numbers; embed the volume again")
    return Features(features, position, provenance, varied)


def check_features(path: str | Path) -> dict[str, Any]:
    """Read a feature file and examine all that it says of itself; its feature space, see `feature_space`.

    Raises an `ItemError` as `read_features` does, and where the attributes that tell how it was
    made are missing, its numbers are not those that were written, its slices are all alike, or
    their positions do not go one way.
    """
    found = read_features(path, augmented=True)
    missing = [key for key in (*SPACE, "source_sha256", _CONTENT) if key not in found.provenance]
    if missing:
        raise ItemError(
            f"{path}: does not say how it was made (no {', '.join(missing)}); embed the volume again"
        )
    if found.digest() != found.provenance[_CONTENT]:
        raise ItemError(
            f"{path}: its numbers are not those that were written; embed the volume again"
        )
    if len(found.features) > 1 and not np.ptp(found.features, axis=0).any():
        raise ItemError(
            f"{path}: all slices have the same features; check the volume and the weights"
        )
    steps = np.diff(found.position)
    if not np.isfinite(found.position).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise ItemError(f"{path}: the slices' positions are not in order; embed the volume again")
    return feature_space(found.provenance)


def recorded_step(path: str | Path) -> Step | None:
    """The step that made a feature file, None where the file is missing or does not say."""
    try:
        with h5py.File(path, "r") as file:
            return Provenance.from_fields(_attributes(file)).last
    except OSError:
        return None


def _attributes(file: h5py.File) -> dict[str, Any]:
    provenance = {}
    for key, value in file.attrs.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = json.loads(value)
        provenance[key] = value.item() if isinstance(value, np.generic) else value
    return provenance


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flatten(value, f"{prefix}{key} ")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat
