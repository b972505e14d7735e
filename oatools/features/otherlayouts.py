"""Feature files in the layouts of CLAM, STAMP and TRIDENT: theirs read, ours written as theirs.

The three keep features (tiles x channels) of slides of pathology, for the same kind of model:

- CLAM: `features` and `coords` in HDF5, and the features alone as a tensor of torch.save;
- TRIDENT: the same, with attributes on both (the features may have a first axis of length one);
- STAMP: `feats` and `coords`, in later versions with attributes of the file.

None of them says how the features were made of the images; STAMP names the extractor.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from oatools.core.limits import allowance

CLAM, STAMP, TRIDENT = PROGRAMS = ("clam", "stamp", "trident")
#: The attribute, of what was read and of no file, that names the layout of another program.
LAYOUT = "layout"
#: The extension of a tensor of torch.save.
TENSOR = ".pt"
TENSOR_LAYOUT = "tensor"

_STAMPS, _COMMON, _PLACES = b"feats", b"features", b"coords"
_WHOLE = ("slide", "patient")  # what STAMP's features may be of, where not of tiles
_EXTRACTOR = re.compile(r"[0-9A-Za-z._+-]{1,64}")
# Filters that come with HDF5 and h5py: any other would load a library that the file names.
_FILTERS = (
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
)
_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED, h5py.h5d.COMPACT)
_MICROMETRES = 1000.0  # in a millimetre


def is_in_other_layout(root: h5py.h5g.GroupID) -> bool:
    """Tell whether the datasets at the root of a file are those of another program.

    Ours has a `position` beside them.
    """
    names = root.links
    if names.exists(b"position"):
        return False
    return names.exists(_STAMPS) or (names.exists(_COMMON) and names.exists(_PLACES))


def read_numbers(
    root: h5py.h5g.GroupID, attributes: Mapping[str, Any], path: str | Path
) -> tuple[np.ndarray, str]:
    """Return the features (slices, channels) of such a file, as they are stored, and its layout.

    The layout is the name of the program, with STAMP's extractor. Rows stay in the order in which
    they are stored; coordinates only have to be as many. Raises a `ValueError` for what is no such
    file, or takes more memory than a file of its size may.
    """
    is_stamps = root.links.exists(_STAMPS)
    if attributes.get("feat_type") in _WHOLE:
        raise ValueError(f"the features are of a whole {attributes['feat_type']}, not of slices")
    dataset = _dataset(root, _STAMPS if is_stamps else _COMMON)
    features = slices_by_channels(_read(dataset, path))
    if root.links.exists(_PLACES):
        shape = tuple(_dataset(root, _PLACES).shape)
        if len(features) not in (shape[:1] or (0,)) and shape[:2] != (1, len(features)):
            raise ValueError(f"{len(features)} rows of features, but 'coords' of shape {shape}")
    if not is_stamps:
        return features, TRIDENT if h5py.h5a.get_num_attrs(dataset) else CLAM
    extractor = attributes.get("extractor")
    is_plain = isinstance(extractor, str) and _EXTRACTOR.fullmatch(extractor)
    return features, f"{STAMP} {extractor}" if is_plain else STAMP


def slices_by_channels(features: np.ndarray) -> np.ndarray:
    """Return features without a first axis of length one; a `ValueError` for any other shape."""
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features of shape {features.shape} are not slices by channels")
    return features


def store_as(
    file: h5py.File, programs: tuple[str, ...], attributes: Mapping[str, Any], name: str
) -> None:
    """Add to a feature file of ours, before it is closed, what other programs look for in theirs.

    `coords` (slices, 2), int32, are micrometres along the slice axis from the lowest slice, and 0;
    a tile is as large as slices are apart. STAMP's `feats` are the same numbers by a second name.
    """
    if not programs:
        return
    places = coordinates(file["position"][()])
    coords = file.create_dataset("coords", data=places, track_times=False)
    distance = int(np.median(np.abs(np.diff(places[:, 0])))) if len(places) > 1 else 0
    size = attributes["preprocessing"]["size"]
    if STAMP in programs:
        file["feats"] = file["features"]
        file.attrs["extractor"] = attributes["backbone"]
        file.attrs["unit"] = "um"
        file.attrs["tile_size_um"] = float(distance or _MICROMETRES)
        file.attrs["tile_size_px"] = size
        file.attrs["feat_type"] = "tile"
    if TRIDENT in programs:
        coords.attrs["patch_size"] = size
        coords.attrs["patch_size_level0"] = distance or int(_MICROMETRES)
        coords.attrs["overlap"] = 0
        coords.attrs["name"] = name


def coordinates(position: np.ndarray) -> np.ndarray:
    """Return places (slices, 2), int32: micrometres from the lowest slice, and 0."""
    along = np.rint((position - position.min()) * _MICROMETRES)
    return np.stack([along, np.zeros_like(along)], axis=1).astype(np.int32)


def _dataset(root: h5py.h5g.GroupID, key: bytes) -> h5py.h5d.DatasetID:
    """Return an array of a file that lies in this file."""
    name = key.decode()
    if root.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"'{name}' is a link")
    dataset = h5py.h5o.open(root, key)
    if not isinstance(dataset, h5py.h5d.DatasetID):
        raise ValueError(f"'{name}' is no array")
    form = dataset.get_create_plist()
    if form.get_layout() not in _LAYOUTS or form.get_external_count():
        raise ValueError(f"'{name}' is not stored in the file")
    filters = [form.get_filter(i)[0] for i in range(form.get_nfilters())]
    if not set(filters) <= set(_FILTERS):
        raise ValueError(f"'{name}' is packed by a filter that is not HDF5's own")
    return dataset


def _read(dataset: h5py.h5d.DatasetID, path: str | Path) -> np.ndarray:
    """Read floating-point numbers; a `ValueError` where the file does not hold them all."""
    kind, shape = dataset.dtype, dataset.shape
    if kind.kind != "f":
        raise ValueError(f"features are {kind}, not floating-point numbers")
    needed = math.prod(shape) * kind.itemsize
    allowed = allowance(Path(path))
    if not dataset.get_create_plist().get_nfilters():
        allowed = min(allowed, dataset.get_storage_size())
    if needed > allowed:
        raise ValueError(f"features of shape {shape} are larger than the file may hold")
    numbers = np.empty(shape, kind)
    if needed:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, numbers)
    return numbers
