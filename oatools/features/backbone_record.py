"""The description of a backbone, in words and numbers, without the network itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from oatools.core.files import digest, file_stamp
from oatools.core.provenance import Provenance
from oatools.core.records import Fields, RecordError, plain_text

PRETRAINED: Literal["pretrained"] = "pretrained"
RANDOM: Literal["random"] = "random"
FILE: Literal["file"] = "file"

Source = Literal["pretrained", "random", "file"]
_SOURCES: dict[str, Source] = {PRETRAINED: PRETRAINED, RANDOM: RANDOM, FILE: FILE}
MOST_PIXELS = 1 << 12  # a side of an image

#: What a vision transformer's features may be made of: the class token, the patches' mean, or both.
CLASS, MEAN, BOTH = TOKENS = ("cls", "mean", "cls+mean")


@dataclass(frozen=True)
class Weights:
    """The origin of a backbone's weights.

    `sha256` is the digest of all of them, and alone decides whether weights are the same. `seed`
    belongs to random ones. `name` is timm's, with its tag, or that of the file; it is empty where
    a record does not hold it. `averaged` is what a file calls the averaged weights that were taken
    from it, empty where it holds none.
    """

    source: Source
    sha256: str
    seed: int | None = None
    name: str = ""
    averaged: str = ""

    @classmethod
    def from_provenance(cls, attributes: Mapping[str, Any]) -> "Weights | None":
        """Read the attributes of a feature file: its oa-embed step, and the weights' digest.

        None where the attributes hold no such step, or no digest.
        """
        step = Provenance.from_fields(attributes).latest("oa-embed")
        sha256 = attributes.get("weights_sha256")
        if step is None or not isinstance(sha256, str):
            return None
        given = step.parameters.get("weights")
        if given == RANDOM:
            parameters = Fields(step.parameters)
            seed = parameters.whole("seed") if parameters.has("seed") else 0
            return cls(RANDOM, sha256, seed=seed)
        if given == PRETRAINED:
            return cls(PRETRAINED, sha256)
        # A step records weights from a file by the file's digest.
        return None if given is None else cls(FILE, sha256)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Weights":
        """Rebuild weights from what `to_json` gave; a `RecordError` for anything else."""
        fields = Fields.of(values, "the record of the weights")
        source = fields.text("source")
        if source not in _SOURCES:
            raise RecordError(f"there are no weights '{plain_text(source)}'")
        return cls(
            _SOURCES[source],
            fields.text("sha256"),
            fields.whole("seed") if fields.has("seed") else None,
            fields.text("name") if fields.has("name") else "",
            fields.text("averaged") if fields.has("averaged") else "",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them, `averaged` only where it says something."""
        values = asdict(self)
        if not self.averaged:
            del values["averaged"]
        return values

    @property
    def is_random(self) -> bool:
        """True for weights that were never trained, whose features mean nothing."""
        return self.source == RANDOM

    def label(self) -> str:
        """Return the words that name the weights for a reader, such as `random, seed 3`."""
        if self.is_random:
            return f"random, seed {self.seed}"
        label = f"{self.source} {self.name}".rstrip()
        return f"{label}, averaged ({self.averaged})" if self.averaged else label

    def note(self) -> str:
        """Return what a user should be told of them; mostly an empty text."""
        if not self.averaged:
            return ""
        return f"{self.name} holds averaged weights ('{self.averaged}'), which are taken"


@dataclass(frozen=True)
class BackboneRecord:
    """A backbone's name, its weights, and the images that they expect.

    `mean` and `std` (three each) apply to images in [0, 1] of `size` pixels a side; `channels` is
    the length of a feature vector. `tokens` are those of a vision transformer that make the
    features, where they were asked for (see `architectures.TokenFeatures`).
    """

    name: str
    weights: Weights
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    channels: int
    tokens: str = ""

    def attributes(self) -> dict[str, Any]:
        """Return the backbone's part of a feature file's attributes."""
        attributes = {
            "backbone": self.name,
            "weights": self.weights.label(),
            "weights_sha256": self.weights.sha256,
        }
        return attributes | ({"tokens": self.tokens} if self.tokens else {})

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON can hold them, `tokens` only where they were asked for."""
        values = asdict(self)
        if not self.tokens:
            del values["tokens"]
        values["weights"] = self.weights.to_json()
        values["mean"], values["std"] = list(self.mean), list(self.std)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "BackboneRecord":
        """Rebuild a record from what `to_json` gave; a `RecordError` for anything else."""
        fields = Fields.of(values, "the record of the backbone")
        return cls(
            name=fields.text("name"),
            weights=Weights.from_json(fields.part("weights").values),
            size=fields.whole("size", 1, MOST_PIXELS),
            mean=tuple(fields.numbers("mean", 3)),
            std=tuple(fields.numbers("std", 3)),
            interpolation=fields.text("interpolation"),
            channels=fields.whole("channels", 1),
            tokens=fields.text("tokens") if fields.has("tokens") else "",
        )


def weights_id(weights: str) -> str:
    """Return what identifies weights in the record of a run: the word, or the file's digest."""
    if weights in (PRETRAINED, RANDOM) or not Path(weights).is_file():
        return weights
    return _digest(weights, file_stamp(weights))


@lru_cache(maxsize=8)
def _digest(path: str, stamp: tuple[str, int, int]) -> str:
    """Return the digest of a file, which is read once for all rows of a run unless it changes."""
    return digest(path)
