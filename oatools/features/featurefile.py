"""Feature files: one HDF5 file a volume, which says exactly how its features were made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNREADABLE = (OSError, KeyError, TypeError, ValueError, RuntimeError)  # what h5py raises
_REMEDY = "embed the volume again"


@dataclass(frozen=True)
class Features:
    """The features of one volume.

    `features` (slices, channels), float32 or float16; `position` (slices,), each slice's place
    along the slice axis in mm, RAS coordinate of its centre projected on that axis; `provenance`,
    the attributes of the file: backbone, weights, weights_sha256, preprocessing (a dict),
    precision, source_sha256, OatoolsSteps, versions, identity of the knee; `augmented` (copies,
    slices, channels), the features of augmented copies, where they were asked for.
    """

    features: np.ndarray
    position: np.ndarray
    provenance: dict[str, Any]
    augmented: np.ndarray | None = None

    def digest(self) -> str:
        """Return the SHA-256 of all numbers in the file."""
        total = hashlib.sha256()
        for name, array in self.arrays().items():
            total.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the datasets of the file by name."""
        arrays = {"features": self.features, "position": self.position.astype(np.float64)}
        if self.augmented is not None:
            arrays["augmented"] = self.augmented
        return arrays


def feature_space(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the provenance that must agree between files that are used together."""
    return {key: provenance.get(key) for key in SPACE}


def space_difference(space: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """Return what differs between two feature spaces, an empty text if nothing does.

    The text reads `backbone resnet18, not efficientnet_b0`. Weights are the same by their digest,
    whatever the file was called.
    """
    found, expected = _flatten(space), _flatten(reference)
    names = sorted(found.keys() | expected.keys())
    different = [name for name in names if found.get(name) != expected.get(name)]
    if "weights_sha256" not in different and "weights" in different:
        different.remove("weights")
    said = []
    for name in different[:3]:
        here, there = found.get(name, "not stated"), expected.get(name, "not stated")
        said.append(f"{name} {here}, not {there}")
    return ", ".join(said)


def write_features(path: str | Path, features: Features) -> None:
    """Write a feature file, atomically; equal features give equal bytes.

    Dicts and lists are stored as JSON. The attribute features_sha256 is added, the digest of all
    numbers, by which `check_features` knows them again.
    """
    attributes = {**features.provenance, _CONTENT: features.digest()}
    # libver fixed and no times, so that the bytes depend on the content alone.
    with atomic(path) as temporary, h5py.File(temporary, "w", libver=("v108", "v108")) as file:
        for name, array in features.arrays().items():
            file.create_dataset(name, data=array, track_times=False)
        for key, value in attributes.items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict | list) else value


def read_features(path: str | Path, augmented: bool = False) -> Features:
    """Read a feature file, with numbers in the type that they have there.

    The features of augmented copies are returned only if they are asked for. Raises an `ItemError`
    for a file that is missing or damaged, whose numbers are not those that were written, or not
    finite.
    """
    path = Path(path)
    if not path.is_file():
        raise ItemError(
            f"{path}: no such file", "check the column 'path' and the current directory"
        )
    copies = None
    try:
        with h5py.File(path, "r") as file:
            features, position = file["features"][...], file["position"][...]
            provenance = _attributes(file)
            if "augmented" in file and (augmented or _CONTENT in provenance):
                copies = file["augmented"][...]
    except _UNREADABLE as error:
        raise ItemError(f"{path}: not a readable feature file ({error})", _REMEDY) from None
    found = Features(features, position, provenance, copies)
    _check_arrays(path, found)
    if _CONTENT in provenance and found.digest() != provenance[_CONTENT]:
        raise ItemError(f"{path}: its numbers are not those that were written", _REMEDY)
    return found if augmented else replace(found, augmented=None)


def check_features(path: str | Path) -> dict[str, Any]:
    """Read a feature file, examine all that it says of itself, and return its feature space.

    Raises an `ItemError` as `read_features` does, and where the attributes that tell how it was
    made are missing, its slices are all alike, or their positions do not go one way.
    """
    found = read_features(path, augmented=True)
    missing = [key for key in (*SPACE, "source_sha256", _CONTENT) if key not in found.provenance]
    if missing:
        raise ItemError(f"{path}: does not say how it was made (no {', '.join(missing)})", _REMEDY)
    if len(found.features) > 1 and not np.ptp(found.features, axis=0).any():
        raise ItemError(
            f"{path}: all slices have the same features", "check the volume and the weights"
        )
    steps = np.diff(found.position)
    goes_one_way = (steps > 0).all() or (steps < 0).all()
    if not np.isfinite(found.position).all() or not goes_one_way:
        raise ItemError(f"{path}: the slices' positions are not in order", _REMEDY)
    return feature_space(found.provenance)


def recorded_step(path: str | Path) -> Step | None:
    """Return the step that made a feature file; None if it is missing or does not say."""
    try:
        with h5py.File(path, "r") as file:
            return Provenance.from_fields(_attributes(file)).last
    except _UNREADABLE:
        return None


def is_ruin(path: str | Path) -> bool:
    """Return True for a file that is empty, or HDF5 by its start and cannot be opened as such.

    That is what a full disk or a copy that was cut leaves of a feature file.
    """
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
    if not _SIGNATURE.startswith(start):
        return False
    try:
        with h5py.File(path, "r"):
            return False
    except _UNREADABLE:
        return True


def _check_arrays(path: Path, found: Features) -> None:
    """Raise an `ItemError` for arrays that are not those of a feature file."""
    features, position, copies = found.features, found.position, found.augmented
    if features.ndim != 2 or 0 in features.shape or position.shape != features.shape[:1]:
        raise ItemError(
            f"{path}: features of shape {features.shape} and positions of shape {position.shape} "
            "are no feature file's",
            _REMEDY,
        )
    if copies is not None and copies.shape[1:] != features.shape:
        raise ItemError(
            f"{path}: augmented features of shape {copies.shape} do not belong to features of "
            f"shape {features.shape}",
            _REMEDY,
        )
    for array in (features, copies):
        if array is None:
            continue
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ItemError(f"{path}: features are not finite numbers", _REMEDY)


def _attributes(file: h5py.File) -> dict[str, Any]:
    """Return the attributes of a file, with numbers as Python's and JSON read."""
    attributes = {}
    for key, value in file.attrs.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = json.loads(value)
        elif isinstance(value, np.generic):
            value = value.item()
        attributes[key] = value
    return attributes


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under names that join the levels by a blank."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flatten(value, f"{name} ")
        else:
            flat[name] = value
    return flat
