"""Feature files: one HDF5 file a volume, which says exactly how its features were made."""

import contextlib
import hashlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from oatools.core.errors import ItemError
from oatools.core.files import record_digest, write_bytes
from oatools.core.guard import guarded
from oatools.core.manifest import IDENTITY, without_extension
from oatools.core.paths import require_file
from oatools.core.provenance import PHANTOM_ATTRIBUTE, STEPS, Provenance, Step, passed_on
from oatools.core.records import Fields, parse_json, plain_text
from oatools.features.otherlayouts import (
    LAYOUT,
    TENSOR,
    TENSOR_LAYOUT,
    is_in_other_layout,
    read_numbers,
    store_as,
)

# Attributes that two files must share for their features to mean the same.
SPACE = ("backbone", "weights", "weights_sha256", "preprocessing", "precision")
# Only features that were asked for otherwise, or those of other programs, have these.
_SPACE_IF_SAID = ("tokens", LAYOUT)

#: What is said of a file without a digest, which oa-embed did not write.
NO_DIGEST = "holds no digest of its numbers, so that damage to them would not be seen"

_CONTENT = "features_sha256"
_RECORD = "record_sha256"  # of all other attributes
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The attributes that are texts, and those that are objects, where they are there.
_TEXTS = (
    *("backbone", "weights", "weights_sha256", "precision", "engine", "source_sha256"),
    *("tokens", "version", _CONTENT),
)
_OBJECTS = ("preprocessing", "augmentation", "framing")
_KNOWN = {name.encode() for name in (*_TEXTS, *_OBJECTS, STEPS)}
_NUMBERS = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeEnumID)
_TEXT = h5py.string_dtype()
_LONGEST_REASON = 120  # characters of what HDF5 says
_MODEL = np.dtype(np.float32)  # the type in which models take features
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

    @property
    def has_digest(self) -> bool:
        """True where the file holds the digest of its numbers, by which they were checked.

        Those of other programs do not.
        """
        return _CONTENT in self.provenance

    @property
    def making_is_recorded(self) -> bool:
        """Whether the file says anything of how its features were made of the images.

        Those of other programs do not.
        """
        return "backbone" in self.provenance or STEPS in self.provenance

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the datasets of the file by name."""
        arrays = {"features": self.features, "position": self.position.astype(np.float64)}
        if self.augmented is not None:
            arrays["augmented"] = self.augmented
        return arrays


def feature_space(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the provenance that must agree between files that are used together."""
    said = [key for key in _SPACE_IF_SAID if key in provenance]
    return {key: provenance.get(key) for key in (*SPACE, *said)}


def space_difference(space: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """Return what differs between two feature spaces, an empty text if nothing does.

    The text reads `backbone resnet18, not efficientnet_b0`. Weights are the same by their digest,
    whatever the file was called.
    """
    is_known = [bool(each.get("backbone")) for each in (space, reference)]
    if is_known[0] != is_known[1]:
        return "of one it is recorded how they were made, of the other not"
    found, expected = _flatten(space), _flatten(reference)
    names = sorted(found.keys() | expected.keys())
    different = [name for name in names if found.get(name) != expected.get(name)]
    if "weights_sha256" not in different and "weights" in different:
        different.remove("weights")
    said = []
    for name in different[:3]:
        here, there = (plain_text(each.get(name, "none")) for each in (found, expected))
        said.append(f"{plain_text(name)} {here}, not {there}")
    return ", ".join(said)


def write_features(
    path: str | Path,
    features: Features,
    before: Callable[[], None] | None = None,
    also_as: tuple[str, ...] = (),
) -> None:
    """Write a feature file, atomically; equal features give equal bytes.

    Dicts and lists are stored as JSON. The attribute features_sha256 is added, the digest of all
    numbers, by which `read_features` knows them again, and record_sha256, that of all other
    attributes, for `check_features`. The programs `also_as` then read the file as one of theirs
    (see `otherlayouts.store_as`). For `before` see `atomic`.
    """
    attributes = {**features.provenance, _CONTENT: features.digest()}
    attributes.pop(_RECORD, None)
    stored = partial(
        store_as, programs=also_as, attributes=attributes, name=without_extension(Path(path).name)
    )
    write_bytes(path, _encoded(features.arrays(), attributes, stored), before)


def _encoded(
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    add: Callable[[h5py.File], None],
) -> bytes:
    """Return the bytes of a file with these datasets and attributes, and what `add` puts there.

    It is made in memory: HDF5 itself crashes where a disk is full. As a whole file in Python's
    hands, since the image of an open one has checksums that do not fit, before HDF5 2.0.
    """
    buffer = io.BytesIO()
    # libver fixed and no times, so that the bytes depend on the content alone.
    with h5py.File(buffer, "w", libver=("v108", "v108")) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        for key, value in attributes.items():
            file.attrs[key] = json.dumps(value) if isinstance(value, dict | list) else value
        add(file)
        file.attrs[_RECORD] = record_digest(_attributes(file["/"].id, sys.maxsize), _RECORD)
    return buffer.getvalue()


def read_features(path: str | Path, augmented: bool = False) -> Features:
    """Read a feature file, with numbers in the type that they have there.

    The features of augmented copies are returned only if they are asked for. Files in the layouts
    of CLAM, STAMP and TRIDENT are read, too: their rows are the slices, in the order in which they
    are stored, `position` is their number, and `provenance` names the layout alone. Nothing of the
    file is followed out of it, and nothing is allocated that it does not hold. Raises an
    `ItemError` for a file that is missing or damaged, whose numbers or attributes are not those
    that were written, or whose numbers are not finite; and for one of oa-embed without the digests
    of both.
    """
    _require_file(path)
    if Path(path).suffix == TENSOR:
        # Imported here, since it takes PyTorch.
        from oatools.features.tensorfile import read_tensor

        return _of_another(path, guarded(read_tensor, path), TENSOR_LAYOUT)
    contents = guarded(_contents, path, augmented)
    if contents.numbers is not None:
        return _of_another(path, contents.numbers, str(contents.attributes[LAYOUT]))
    attributes = dict(contents.attributes)
    _require_digests(path, attributes)
    record = attributes.pop(_RECORD, None)
    found = Features(provenance=attributes, **_numbers(path, contents.places))
    _check_arrays(path, found)
    if found.has_digest and found.digest() != attributes[_CONTENT]:
        raise ItemError(f"{path}: its numbers are not those that were written", _REMEDY)
    if record is not None and record != record_digest(attributes, _RECORD):
        raise ItemError(f"{path}: its attributes are not those that were written", _REMEDY)
    return found if augmented else replace(found, augmented=None)


def _of_another(path: str | Path, numbers: np.ndarray, layout: str) -> Features:
    """Return the features of another program's file, in numbers as this machine has them."""
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    found = Features(numbers, np.arange(len(numbers), dtype=np.float64), {LAYOUT: layout})
    _check_arrays(path, found)
    return found


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


@dataclass(frozen=True)
class Recorded:
    """What a feature file says of itself; nothing for one that is missing or cannot be read.

    `is_ruin` is True for a file that is empty, or HDF5 by its start and cannot be read as such:
    that is what a full disk, a copy that was cut or damage leaves of a feature file.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_ruin: bool = False

    @property
    def step(self) -> Step | None:
        """The step that made the file; None if it does not say."""
        return Provenance.from_fields(self.attributes).last

    @property
    def identity(self) -> dict[str, Any]:
        """What the file says of its knee and sequence; empty if it does not say."""
        return {name: self.attributes[name] for name in IDENTITY if name in self.attributes}

    @property
    def told(self) -> Mapping[str, Any]:
        """What may be told of the file: all of a record that carries our own digest of itself.

        Of any other, what it says of how its features were made, and of its steps what these
        commands write; a stranger may have typed a name into all else.
        """
        if _RECORD in self.attributes and not self.is_changed:
            return self.attributes
        known = (*SPACE, *_SPACE_IF_SAID, "source_sha256")
        told = {name: value for name, value in self.attributes.items() if name in known}
        if self.attributes.get(PHANTOM_ATTRIBUTE):
            told[PHANTOM_ATTRIBUTE] = True
        return told | passed_on({STEPS: self.attributes.get(STEPS)})

    @property
    def is_changed(self) -> bool:
        """Whether the attributes are not those that were written with the file."""
        said = self.attributes.get(_RECORD)
        return said is not None and said != record_digest(self.attributes, _RECORD)


def read_recorded(path: str | Path) -> Recorded:
    """Read what a feature file says of itself, without its numbers; the file is opened once."""
    path = Path(path)
    if not path.is_file():
        return Recorded()
    with path.open("rb") as file:
        start = file.read(len(_SIGNATURE))
    try:
        return Recorded(guarded(_said, path))
    except ItemError:
        return Recorded(is_ruin=_SIGNATURE.startswith(start))


def read_outline(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays in a feature file, by name; the numbers are not read.

    Raises an `ItemError` for a file that is missing or damaged.
    """
    _require_file(path)
    contents = guarded(_contents, Path(path), True)
    if contents.numbers is not None:
        return {"features": contents.numbers.shape}
    return {name: place.shape for name, place in contents.places.items()}


def _require_digests(path: str | Path, attributes: Mapping[str, Any]) -> None:
    """Raise an `ItemError` for a file of oa-embed that lacks one of its two digests."""
    is_ours = Provenance.from_fields(attributes).latest("oa-embed") is not None
    missing = [name for name in (_CONTENT, _RECORD) if name not in attributes]
    if missing and (is_ours or len(missing) == 1):
        raise ItemError(f"{path}: a digest that it had was removed ({missing[0]})", _REMEDY)


def _require_file(path: str | Path) -> None:
    require_file(path, "a feature file")


class _Place(NamedTuple):
    """Where in a file the numbers of an array lie, one after the other, and what they are."""

    offset: int
    shape: tuple[int, ...]
    kind: np.dtype[Any]


class _Contents(NamedTuple):
    """What HDF5 is asked of a file: its attributes, and where its arrays lie.

    Of a file in the layout of another program, the features themselves: its arrays may lie in
    pieces, or packed.
    """

    attributes: dict[str, Any]
    places: dict[str, _Place]
    numbers: np.ndarray | None = None


def _contents(path: str | Path, augmented: bool) -> _Contents:
    """Ask HDF5 for the contents of a file, in a process that may hang or crash over it."""
    with _reading(path), _opened(path) as file:
        size = Path(path).stat().st_size
        attributes = _attributes(file, size)
        is_ours = _CONTENT in attributes or STEPS in attributes
        if is_in_other_layout(file) and not is_ours:
            numbers, layout = read_numbers(file, attributes, path)
            return _Contents({LAYOUT: layout}, {}, numbers)
        _check_record(attributes)
        names = ["features", "position"]
        if file.links.exists(b"augmented") and (augmented or _CONTENT in attributes):
            names.append("augmented")
        return _Contents(attributes, {name: _place(file, name, size) for name in names})


def _numbers(path: str | Path, places: Mapping[str, _Place]) -> dict[str, np.ndarray]:
    """Read the arrays of a file, each at its place."""
    arrays = {}
    with _reading(path), Path(path).open("rb") as file:
        for name, place in places.items():
            file.seek(place.offset)
            count = math.prod(place.shape)
            arrays[name] = np.fromfile(file, place.kind, count).reshape(place.shape)
    return arrays


def _said(path: str | Path) -> dict[str, Any]:
    """The attributes of a file; none where those of another program make no sense here."""
    with _reading(path), _opened(path) as file:
        try:
            return _attributes(file, Path(path).stat().st_size)
        except ValueError:
            if h5py.h5a.exists(file, _RECORD.encode()):  # it is ours
                raise
            return {}


@contextlib.contextmanager
def _opened(path: str | Path) -> "Iterator[h5py.h5g.GroupID]":
    """Yield the root of a file, through the lower layer of h5py, in half the upper one's time."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    # Closed with all that was opened in it, which an error may hold on to: else the lock stays.
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, access)
    try:
        yield h5py.h5g.open(file, b"/")
    finally:
        file.close()


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn whatever the block raises over a file into an `ItemError`."""
    try:
        yield
    except Exception as error:  # h5py raises what each of its many layers does
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ItemError(f"{path}: not a readable feature file ({reason})", _REMEDY) from None


def _place(file: h5py.h5g.GroupID, name: str, size: int) -> _Place:
    """Find an array of a file of so many bytes, in the one form in which it is written.

    It lies in the file, in one piece and unpacked, so that there are as many bytes as it takes.
    Links and external storage lead to other files, filters unpack to any size.
    """
    key = name.encode()
    if not file.links.exists(key) or file.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"'{name}' is missing, or a link")
    dataset = h5py.h5o.open(file, key)
    if not isinstance(dataset, h5py.h5d.DatasetID):
        raise ValueError(f"'{name}' is no array")
    form = dataset.get_create_plist()
    is_here = form.get_layout() == h5py.h5d.CONTIGUOUS and not form.get_external_count()
    if not is_here or form.get_nfilters():
        raise ValueError(f"'{name}' is not stored as it is, but packed, in pieces, or elsewhere")
    kind, shape = dataset.dtype, dataset.shape
    if kind.kind != "f" or not dataset.get_type().equal(h5py.h5t.py_create(kind)):
        raise ValueError(f"'{name}' holds {plain_text(kind)}, not floating-point numbers")
    length, offset = math.prod(shape) * kind.itemsize, dataset.get_offset()
    if length > size:
        raise ValueError(f"'{name}' of shape {shape} is larger than the file")
    if offset is None or not 0 <= offset <= size - length:
        raise ValueError(f"the file holds no numbers of '{name}'")
    return _Place(offset, shape, kind)


def _check_record(attributes: Mapping[str, Any]) -> None:
    """Raise a `RecordError` for an attribute of another kind than oa-embed writes."""
    fields = Fields(attributes)
    for name in _TEXTS:
        if name in attributes:
            fields.text(name)
    for name in _OBJECTS:
        if name in attributes:
            fields.part(name)
    if "first_slice" in attributes:
        fields.whole("first_slice")
    for step in fields.parts(STEPS) if STEPS in attributes else ():
        _check_step(step)


def _check_step(step: Fields) -> None:
    """Raise a `RecordError` for the record of a step that no command has written."""
    tool = step.text("tool")
    parameters = step.part("parameters") if step.has("parameters") else Fields({})
    if step.has("input"):
        source = step.part("input")
        for name in ("name", "sha256"):
            if source.has(name):
                source.text(name)
    if tool == "oa-embed" and parameters.has("seed"):
        parameters.whole("seed")
    if tool == "oa-embed" and parameters.has("weights"):
        parameters.text("weights")


def _check_arrays(path: str | Path, found: Features) -> None:
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
    for name, array in found.arrays().items():
        if not np.isfinite(array).all():
            raise ItemError(f"{path}: '{name}' holds numbers that are not finite", _REMEDY)
        if array.itemsize > _MODEL.itemsize and np.abs(array).max() > np.finfo(_MODEL).max:
            raise ItemError(f"{path}: '{name}' holds numbers too large for {_MODEL}", _REMEDY)


def _attributes(file: h5py.h5g.GroupID, size: int) -> dict[str, Any]:
    """Return the attributes of a file of so many bytes, with numbers as Python's and JSON read.

    Those that hold neither a text nor a number, which no command writes, are passed over.
    """
    attributes: dict[str, Any] = {}
    names: list[bytes] = []
    h5py.h5a.iterate(file, lambda name, *_: names.append(name))
    for name in names:
        attribute = h5py.h5a.open(file, name)
        kind = attribute.get_type()
        is_text = isinstance(kind, h5py.h5t.TypeStringID)
        is_plain = is_text or isinstance(kind, _NUMBERS)
        if attribute.shape != () or not is_plain or kind.get_size() > size:
            if name in _KNOWN:
                raise ValueError(f"'{name.decode()}' is no text or number")
            continue
        held = np.empty((), _TEXT if is_text and kind.is_variable_str() else kind.dtype)
        attribute.read(held)
        value = held[()]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = parse_json(value)
        attributes[name.decode()] = value
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
