"""The features of one volume, as numbers: every slice through the backbone."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from oatools.core import provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.records import as_read
from oatools.features.augment import Augmentation, augmented_copies
from oatools.features.backbone_record import BackboneRecord, weights_id
from oatools.features.engine import FLOAT16, FLOAT32, EngineSettings
from oatools.features.engines import shared_batcher
from oatools.features.featurefile import Features
from oatools.features.framing import Framing, framed
from oatools.features.joint import METHOD
from oatools.features.otherlayouts import PROGRAMS
from oatools.features.slices import (
    BOTH,
    COMPARTMENTS,
    LEAST_CROP,
    MOST_CROP,
    Preprocessing,
    Slices,
    images,
    slice_positions,
)
from oatools.imaging.volume import Volume
from oatools.version import __version__


@dataclass(frozen=True)
class EmbedSettings:
    """The settings that decide the features of a volume, and the engine that computes them.

    `slices`, `triplet`, `crop` and `compartment` as in `Preprocessing`, `window` in percentiles;
    `augment` is the number of augmented copies (see `augment`), drawn with the engine's seed;
    `dtype` that of the features, float32 or float16; `also_as` names programs that are to read the
    file as one of theirs (`otherlayouts.PROGRAMS`). Raises a `UsageError` for slices or a window
    that hold nothing, a compartment or a crop that make no sense, an unknown `dtype`, or a negative
    number of copies.
    """

    engine: EngineSettings = EngineSettings()
    slices: Slices = None
    window: tuple[float, float] = (1.0, 99.0)
    triplet: bool = False
    augment: int = 0
    dtype: str = FLOAT32
    crop: float | None = None
    compartment: str | None = None
    also_as: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_slices()
        self._check_compartment()
        if self.crop is not None and not LEAST_CROP <= self.crop <= MOST_CROP:
            raise UsageError(
                f"crop is {self.crop:g}",
                f"give `crop` as {LEAST_CROP:g} to {MOST_CROP:g} mm, such as 100",
            )
        low, high = self.window
        if not 0 <= low < high <= 100:
            raise UsageError(
                f"the window is {low:g} to {high:g}",
                "give `window` as two percentiles, the lower first, such as 1 and 99",
            )
        if self.augment < 0:
            raise UsageError(f"augment is {self.augment}", "give `augment` as 0 or more copies")
        if self.dtype not in (FLOAT32, FLOAT16):
            raise UsageError(f"no dtype '{self.dtype}'", "give `dtype` as float32 or float16")
        for program in self.also_as:
            if program not in PROGRAMS:
                raise UsageError(
                    f"the layout of '{program}' is not known",
                    f"give `also_as` as {', '.join(PROGRAMS)}",
                )

    def _check_slices(self) -> None:
        if self.slices is None:
            return
        if isinstance(self.slices, int):
            if self.slices < 1:
                raise UsageError(f"slices is {self.slices}", "give `slices` of at least 1")
            return
        first, last = self.slices
        if not 1 <= first <= last:
            raise UsageError(
                f"slices are {first} to {last}",
                "give `slices` as the first and the last one, counted from 1",
            )

    def _check_compartment(self) -> None:
        if self.compartment is None:
            return
        if self.compartment not in COMPARTMENTS:
            raise UsageError(
                f"no compartment is called '{self.compartment}'",
                f"give `compartment` as {', '.join(COMPARTMENTS)}",
            )
        if isinstance(self.slices, tuple):
            raise UsageError("a compartment and a range of slices exclude each other", "give one")
        if self.compartment == BOTH and self.slices is None:
            raise UsageError(
                "both compartments without a number of slices are all slices",
                "say with `slices` how many of each, or leave out `compartment`",
            )

    def resolve(self, jobs: int | None = None) -> "EmbedSettings":
        """Return the settings with the engine's settled; see `EngineSettings.resolve`."""
        channels = 3 if self.triplet else 1
        engine = replace(self.engine, channels=channels).resolve(jobs)
        return replace(self, engine=engine)

    def parameters(self, side: str | None = None) -> dict[str, Any]:
        """Return what decides the numbers, as a file's provenance records it.

        `side` is that of the knee, which counts where there is a compartment.
        """
        recorded: dict[str, Any] = {
            "backbone": self.engine.backbone,
            "weights": weights_id(self.engine.weights),
            "seed": self.engine.seed,
            "slices": self.slices,
            "window": self.window,
            "triplet": self.triplet,
            "augment": self.augment,
            "precision": self.engine.precision,
            "dtype": self.dtype,
            **self.engine.of_features(),
        }
        # Where they are not asked for, the record is that of earlier versions.
        if self.crop is not None:
            recorded |= {"crop": self.crop, "joint": METHOD}
        if self.compartment is not None:
            recorded |= {"compartment": self.compartment, "side": side, "joint": METHOD}
        if self.also_as:
            recorded["also_as"] = sorted(set(self.also_as))
        return recorded

    def preprocessing(self, record: BackboneRecord) -> Preprocessing:
        """Return the backbone's own normalisation, with the window and slices of the settings."""
        return Preprocessing(
            window=self.window,
            size=record.size,
            interpolation=record.interpolation,
            mean=record.mean,
            std=record.std,
            slices=self.slices,
            triplet=self.triplet,
            crop=self.crop,
            compartment=self.compartment,
        )


@dataclass(frozen=True)
class Origin:
    """The history of a volume, which its features record.

    `step` is the step by which the features are made, `fields` the volume's sidecar, `identity` the
    names of the knee, such as `{"knee": "9000099_00m_right", "side": "right"}`.
    """

    step: provenance.Step
    fields: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def in_memory(
        cls, volume: Volume, settings: EmbedSettings, side: str | None = None
    ) -> "Origin":
        """Return the origin of a volume that comes from no file: its voxels and affine alone.

        `side` is that of the knee, where it is known.
        """
        total = hashlib.sha256(f"{volume.shape} {volume.data.dtype.str}\n".encode())
        total.update(np.ascontiguousarray(volume.data).tobytes())
        total.update(volume.affine.astype(np.float64).tobytes())
        plain = as_read(settings.parameters(side))
        step = provenance.Step("oa-embed", plain, "", total.hexdigest())
        return cls(step, identity={} if side is None else {"side": side})


def embed_volume(
    volume: Volume,
    settings: EmbedSettings = EmbedSettings(),
    origin: Origin | None = None,
    side: str | None = None,
) -> Features:
    """Return the features of a volume whose slices lie in the last axis, as oa-orient leaves them.

    The backbone is loaded at the first call with its settings, and kept. `origin` is recorded with
    the features, and `Origin.in_memory` in its place. `side`, left or right, is needed for a
    compartment where the origin does not name it. Raises an `ItemError` for a volume without
    contrast or with too few slices, or where there is no joint to be found; and a `UsageError` for
    a backbone that cannot be had.
    """
    settings = settings.resolve()
    batcher, notes = shared_batcher(settings.engine)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    known = origin or Origin.in_memory(volume, settings, side)
    return embed_with(batcher, volume, settings, known)


class Embedder(Protocol):
    """An engine that runs already, here (a `Batcher`) or in another process (`served`)."""

    @property
    def record(self) -> BackboneRecord:
        """The backbone that computes."""

    @property
    def name(self) -> str:
        """The software that computes, with its version."""

    def volume_features(self, volume: Volume, preprocessing: Preprocessing) -> np.ndarray:
        """Return the features of the chosen slices of a volume."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the features of images, as `slices.images` makes them."""


def embed_with(
    embedder: Embedder, volume: Volume, settings: EmbedSettings, origin: Origin
) -> Features:
    """Return the features of a volume by an engine that runs already; see `embed_volume`."""
    preprocessing = settings.preprocessing(embedder.record)
    seen = framed(volume, preprocessing, origin.identity.get("side"))
    features = checked(embedder.volume_features(seen.volume, seen.settings))
    copies = []
    if settings.augment:
        pixels = images(seen.volume, seen.settings)
        sha256 = origin.step.input_sha256
        for copy in augmented_copies(pixels, settings.augment, settings.engine.seed, sha256):
            copies.append(checked(embedder.features(copy)))

    attributes = _attributes(embedder, settings, origin, seen, volume)
    dtype = np.dtype(settings.dtype)
    if dtype == np.float16 and np.abs(features).max() > np.finfo(np.float16).max:
        raise ItemError("features are too large for float16", "use `dtype` float32")
    augmented = np.stack(copies).astype(dtype) if copies else None
    positions = slice_positions(volume, seen.slices)
    return Features(features.astype(dtype), positions, attributes, augmented)


def checked(features: np.ndarray) -> np.ndarray:
    """Return features (slices, channels).

    Raises an `ItemError` for those that are of no use: not finite, or the same for every slice.
    """
    if not np.isfinite(features).all():
        raise ItemError(
            "the backbone's features are not finite",
            "check its weights, or use `precision` float32",
        )
    slices_are_alike = len(features) > 1 and not np.ptp(features, axis=0).any()
    if features.std() == 0 or slices_are_alike:
        raise ItemError("the backbone's features are all the same", "check its weights")
    return features


def _attributes(
    embedder: Embedder, settings: EmbedSettings, origin: Origin, seen: Framing, volume: Volume
) -> dict[str, Any]:
    """Return all that tells how features were made, in the order in which a file keeps it."""
    record = embedder.record
    attributes = record.attributes()
    attributes["preprocessing"] = settings.preprocessing(record).record()
    attributes["precision"] = settings.engine.precision
    attributes["engine"] = embedder.name
    if settings.augment:
        drawn = {"count": settings.augment, "seed": settings.engine.seed}
        attributes["augmentation"] = {**drawn, **Augmentation().record()}
    attributes["source_sha256"] = origin.step.input_sha256
    if origin.fields.get(provenance.PHANTOM_FIELD):
        attributes[provenance.PHANTOM_ATTRIBUTE] = True
    attributes |= origin.identity
    attributes["first_slice"] = seen.slices[0]
    if seen.joint is not None:
        attributes["framing"] = seen.record(volume)
    attributes["version"] = __version__
    steps = provenance.with_step(dict(origin.fields), origin.step)
    attributes[provenance.STEPS] = steps[provenance.STEPS]
    return attributes
