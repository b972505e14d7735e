"""Volumes to feature files: every slice through the backbone."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import oatools
from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.features.augment import Augmentation, variants
from oatools.features.backbone_record import BackboneRecord, weights_id
from oatools.features.batches import Batcher
from oatools.features.engine import EngineSettings, open_engine
from oatools.features.featurefile import Features, recorded_step, write_features
from oatools.features.slices import Preprocessing, Slices, chosen, images, slice_positions
from oatools.imaging.volume import Volume, read_volume


@dataclass(frozen=True)
class EmbedSettings:
    """What decides the features of a volume, and the engine that computes them.

    `slices` and `triplet` as in `Preprocessing`, `window` in percentiles; `augment` is the number
    of varied copies (see `augment`), drawn with `seed`; `dtype` that of the file, float32 or
    float16.
    """

    engine: EngineSettings
    slices: Slices = None
    window: tuple[float, float] = (1.0, 99.0)
    triplet: bool = False
    augment: int = 0
    seed: int = 0
    dtype: str = "float32"

    def parameters(self) -> dict:
        """What decides the numbers, as a file's provenance records it."""
        engine = self.engine
        return {
            "backbone": engine.backbone,
            "weights": weights_id(engine.weights),
            "seed": self.seed,
            "slices": self.slices,
            "window": self.window,
            "triplet": self.triplet,
            "augment": self.augment,
            "precision": engine.precision,
            "dtype": self.dtype,
        }

    def preprocessing(self, record: BackboneRecord) -> Preprocessing:
        """The backbone's own normalisation, with the window and slices that the settings name."""
        return Preprocessing(
            self.window,
            record.size,
            record.interpolation,
            record.mean,
            record.std,
            self.slices,
            self.triplet,
        )


def embed(pixels: np.ndarray, forward: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Features (slices, channels), float32, of prepared images (slices, channels, size, size).

    Raises an `ItemError` where they are no use: not finite, or the same for every slice.
    """
    features = forward(pixels)
    if not np.isfinite(features).all():
        raise ItemError(
            "the backbone's features are not finite; check its weights, or use --precision float32"
        )
    if features.std() == 0 or (len(features) > 1 and not np.ptp(features, axis=0).any()):
        raise ItemError("the backbone's features are all the same; check its weights")
    return features


_opening = threading.Lock()
_open: dict[EngineSettings, Batcher] = {}


def shared_batcher(settings: EngineSettings) -> tuple[Batcher, tuple[str, ...]]:
    """The engine with its threads, started once a process, and for the first to ask what the user should know."""
    with _opening:
        if settings in _open:
            return _open[settings], ()
        engine = open_engine(settings)
        _open[settings] = Batcher(engine, settings.threads)
        return _open[settings], engine.notes


def embed_volume(row: Row, out_dir: Path, settings: EmbedSettings, force: bool) -> Done:
    """Embed a row's volume into `KNEE_SEQUENCE.h5`."""
    source, target = Path(row["path"]), out_dir / f"{file_stem(row)}.h5"
    wanted = provenance.step("oa-embed", settings.parameters(), source)
    if provenance.step_is_done(target, wanted, lambda: recorded_step(target), force):
        return Done({"path": str(target)}, kept=True)
    volume = read_volume(source)
    batcher, notes = shared_batcher(settings.engine)
    sha256 = wanted.input_sha256
    with batcher.preparing():
        pixels = images(volume, settings.preprocessing(batcher.engine.record))
    features = embed(pixels, batcher.features)
    varied = [
        embed(other, batcher.features)
        for other in variants(pixels, settings.augment, settings.seed, sha256)
    ]
    write_features(target, _described(row, volume, settings, batcher, wanted, features, varied))
    return Done({"path": str(target)}, warnings=notes)


def _described(
    row: Row,
    volume: Volume,
    settings: EmbedSettings,
    batcher: Batcher,
    wanted: provenance.Step,
    features: np.ndarray,
    varied: list[np.ndarray],
) -> Features:
    """The features with all that tells how they were made."""
    record, source = batcher.engine.record, Path(row["path"])
    indices = chosen(volume.data.shape[2], settings.slices)
    sidecar = provenance.read_sidecar(source)
    augmentation = {"count": settings.augment, "seed": settings.seed, **Augmentation().record()}
    attributes = {
        **record.attributes(),
        "preprocessing": settings.preprocessing(record).record(),
        "precision": settings.engine.precision,
        "engine": batcher.engine.name,
        **({"augmentation": augmentation} if varied else {}),
        "source_sha256": wanted.input_sha256,
        **({provenance.PHANTOM_ATTRIBUTE: True} if sidecar.get(provenance.PHANTOM_FIELD) else {}),
        **{
            key: row[key]
            for key in ("knee", "subject", "visit", "side", "sequence")
            if row.get(key, MISSING) != MISSING
        },
        "first_slice": indices.start,
        "version": oatools.__version__,
        provenance.STEPS: provenance.with_step(sidecar, wanted)[provenance.STEPS],
    }
    dtype = np.dtype(settings.dtype)
    if dtype == np.float16 and np.abs(features).max() > np.finfo(np.float16).max:
        raise ItemError("features are too large for float16; use --dtype float32")
    plain = Features(features.astype(dtype), slice_positions(volume, indices), attributes)
    return replace(plain, augmented=np.stack(varied).astype(dtype)) if varied else plain
