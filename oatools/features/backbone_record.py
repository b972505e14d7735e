"""What a backbone is, in words and numbers, without the network itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oatools.core.files import digest

PRETRAINED, RANDOM = "pretrained", "random"


@dataclass(frozen=True)
class BackboneRecord:
    """A backbone's timm name, its weights, and the images that they expect.

    `weights` says in words where the weights come from, `weights_sha256` is the digest of all of
    them; `mean` and `std` (three each) apply to images in [0, 1] of `size` pixels a side;
    `channels` is the length of a feature vector.
    """

    name: str
    weights: str
    weights_sha256: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    channels: int

    def attributes(self) -> dict[str, Any]:
        """The backbone's part of a feature file's attributes."""
        return {
            "backbone": self.name,
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
        }

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "BackboneRecord":
        """A record as `to_json` gave it."""
        return cls(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in values.items()
            }
        )


def weights_id(weights: str) -> str:
    """What identifies the weights among the settings of a run: the word, or the digest of the file."""
    return (
        weights
        if weights in (PRETRAINED, RANDOM) or not Path(weights).is_file()
        else digest(weights)
    )


def weights_label(weights: str) -> str | None:
    """How a record calls weights from a file, which go by their own name; None for other weights."""
    return None if weights in (PRETRAINED, RANDOM) else f"file {Path(weights).name}"
