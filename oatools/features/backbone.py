"""Image backbones from timm, with weights that say where they come from."""

import copy
import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from timm.data.config import resolve_model_data_config
from torch import nn

from oatools.core.errors import UsageError
from oatools.features.architectures import check_name, create, with_tokens
from oatools.features.backbone_record import FILE, PRETRAINED, RANDOM, BackboneRecord, Weights
from oatools.features.catalogue import OWN
from oatools.features.engine import moved
from oatools.features.packaged import PACKAGED, load_packaged
from oatools.features.weightsfile import load_weights

TYPES = {"float32": torch.float32, "float16": torch.float16, "bf16": torch.bfloat16}

_FLOAT32_STAGES = 2


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode, and the record of what it is.

    It turns normalised images (n, 3, size, size) into features (n, channels).
    """

    network: Any  # an nn.Module of timm's, of which no two kinds have the same attributes
    record: BackboneRecord
    device: torch.device

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (n, 1 or 3, size, size) in [0, 1] as the network wants them.

        The result has three channels, with the mean and deviation of the images that the network
        was trained on taken out.
        """
        mean, std = (_by_channel(v, images.device) for v in (self.record.mean, self.record.std))
        return _normalised(images, mean, std)

    def parts(self, precision: str) -> list[tuple[nn.Module, torch.dtype]]:
        """Return the modules to run one after the other, and the type of each.

        The first takes images in [0, 1], the last gives features. bf16 has 8 bits of mantissa.
        Networks of depthwise convolutions feel the rounding of their first weights most: with all
        of MobileNetV2 in bf16, the cosine to float32 falls to 0.995 on knees, and with its stem and
        first two stages left in float32 it is above 0.999, at four fifths of the speed. So these
        stay float32.
        """
        network = self.network
        has_stages = hasattr(network, "conv_stem") and hasattr(network, "blocks")
        if precision != "bf16" or not has_stages:
            return [(_Normalised(self, network), TYPES[precision])]
        stages = network.blocks
        first = nn.Sequential(network.conv_stem, network.bn1, stages[:_FLOAT32_STAGES])
        rest = copy.copy(network)
        rest._modules = {
            **network._modules,
            "conv_stem": nn.Identity(),
            "bn1": nn.Identity(),
            "blocks": stages[_FLOAT32_STAGES:],
        }
        return [(_Normalised(self, first), torch.float32), (rest, torch.bfloat16)]


def _by_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _normalised(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return (images.expand(-1, 3, -1, -1) - mean) / std


class _Normalised(nn.Module):
    """A network behind its backbone's normalisation, which is done in float32."""

    def __init__(self, backbone: Backbone, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        # No buffers, which would become float16 with the network. They are on the device before it
        # computes: what is recorded as a CUDA graph may copy nothing there.
        self._mean = _by_channel(backbone.record.mean, backbone.device)
        self._std = _by_channel(backbone.record.std, backbone.device)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        dtype = next(self.network.parameters()).dtype
        normalised = _normalised(images.float(), self._mean, self._std)
        features: torch.Tensor = self.network(
            normalised.to(dtype, memory_format=torch.channels_last)
        )
        return features


def load_backbone(
    name: str,
    weights: str,
    seed: int = 0,
    device: str = "cpu",
    size: int | None = None,
    tokens: str = "",
) -> Backbone:
    """Make a backbone by its name, timm's or one of `catalogue.OWN`.

    `weights` is `pretrained` (those that are installed, see `packaged`, else timm's download and
    cache), `random` (seeded, see `initialise`), or the path of a file (see
    `weightsfile.load_weights`), which is opened without executing code. `size` is that of its
    images, None for its own; `tokens` those that make a vision transformer's features (see
    `architectures.TokenFeatures`), empty for what the network itself makes of them. Raises
    `UsageError` for an unknown name, weights that cannot be had, a file that does not fit, by its
    first tensors that do not, or a size or tokens that the network does not have.
    """
    check_name(name)
    network, origin = _network(name, weights, seed, size)
    # Some networks, such as MobileNetV3, widen their features in the head.
    channels = int(getattr(network, "head_hidden_size", network.num_features))
    images = _images(name, network)
    if tokens:
        network = with_tokens(network, name, tokens)
        channels *= network.width
    network = moved(network, device)
    record = BackboneRecord(
        name=name,
        weights=origin,
        size=size or images.size,
        mean=images.mean,
        std=images.std,
        interpolation=images.interpolation,
        channels=channels,
        tokens=tokens,
    )
    return Backbone(network, record, torch.device(device))


class _Images(NamedTuple):
    """The images that a network was trained on."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def _images(name: str, network: nn.Module) -> _Images:
    known = OWN.get(name)
    if known is not None:
        return _Images(known.size, known.mean, known.std, known.interpolation)
    data = resolve_model_data_config(network)
    return _Images(
        size=int(data["input_size"][1]),
        mean=tuple(map(float, data["mean"])),
        std=tuple(map(float, data["std"])),
        interpolation=data["interpolation"],
    )


def _network(name: str, weights: str, seed: int, size: int | None) -> tuple[Any, Weights]:
    """Make the network in evaluation mode, with the weights that `load_backbone` was asked for."""
    if weights == PRETRAINED:
        network, label = _pretrained(name, size)
        origin = Weights(PRETRAINED, weights_digest(network), name=label)
    elif weights == RANDOM:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            network = create(name, size)
            initialise(network, seed)
        origin = Weights(RANDOM, weights_digest(network), seed=seed)
    else:
        network = create(name, size)
        averaged = load_weights(network, Path(weights))
        sha256 = weights_digest(network)
        origin = Weights(FILE, sha256, name=Path(weights).name, averaged=averaged)
    return network.eval().requires_grad_(False), origin


def _pretrained(name: str, size: int | None) -> tuple[Any, str]:
    """Return the network with its pretrained weights, and the name of these."""
    network: Any
    if name in OWN:
        known = OWN[name]
        raise UsageError(
            f"the weights of {name} are not downloaded (licence: {known.licence})",
            f"get them from {known.weights} and give the file as `weights`",
        )
    if name in PACKAGED:
        network = create(name, size)
        packaged = load_packaged(network, name)
        if packaged is not None:
            return network, packaged.distribution
    # The hub client tells of every retry; one line at the end is enough.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    kept = _downloaded(name)
    overlay = {"file": str(kept)} if kept else None
    try:
        network = create(name, size, pretrained=True, pretrained_cfg_overlay=overlay)
    except UsageError:
        raise
    except Exception as error:  # the hub client, its cache and the network each raise their own
        config = timm.get_pretrained_cfg(name)
        where = config.hf_hub_id if config is not None and config.hf_hub_id else name
        raise UsageError(
            f"pretrained weights of {name} are neither cached nor reachable "
            f"({type(error).__name__})",
            f"on a machine with network download huggingface.co/{where} (model.safetensors) and "
            "give it as `weights` FILE, or copy its cache and set HF_HOME; the weights of "
            f"`backbone` {', '.join(PACKAGED)} are installed with oatools",
        ) from None
    return network, f"{name}.{network.pretrained_cfg.get('tag') or 'default'}"


def _downloaded(name: str) -> Path | None:
    """Return the file of pretrained weights that an earlier download left; None if there is none.

    Left to itself, the hub client asks its server at every use whether there is a newer one.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    found = try_to_load_from_cache(repository, "model.safetensors", revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def weights_digest(network: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, by name, in order of name."""
    total = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        total.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def initialise(network: nn.Module, seed: int) -> None:
    """Make an untrained network's features informative, in place.

    Untouched, they are not: activations of an EfficientNet-B0 shrink to 1e-5, since its batch
    normalisations have nothing recorded to normalise by; and once they have, a network so deep is
    chaotic (Poole et al., NeurIPS 2016): it amplifies the image's noise until its features tell of
    little else. So the network is kept calm: the first and the depthwise filters smooth, the
    branches beside skip connections and the gates of squeeze-and-excitation are silent. The batch
    normalisations then record the network's own response to invented images with the edges and
    scales of natural ones (see `_leaves`). Nothing of the user's images enters. Networks without
    batch normalisation, which have neither trouble, are left as they are.
    """
    kind = nn.modules.batchnorm._BatchNorm
    norms = [module for module in network.modules() if isinstance(module, kind)]
    if not norms:
        return
    generator = torch.Generator().manual_seed(seed)
    module: Any
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _sees_one_channel(module):
            module.weight.copy_(_smoothing(module, generator))
        elif hasattr(module, "conv_reduce") and hasattr(module, "conv_expand"):
            nn.init.zeros_(module.conv_expand.weight)
    for module in network.modules():
        if getattr(module, "has_skip", False) and hasattr(module, "bn3"):
            nn.init.zeros_(module.bn3.weight)
    _record_statistics(network, norms, _leaves(32, 224, generator))


def _sees_one_channel(convolution: nn.Conv2d) -> bool:
    """Return True for a depthwise convolution, or the first, whose channels see the same."""
    is_depthwise = convolution.groups == convolution.in_channels > 1
    return convolution.in_channels == 3 or is_depthwise


def _record_statistics(
    network: nn.Module, norms: list[nn.modules.batchnorm._BatchNorm], images: torch.Tensor
) -> None:
    """Make each normalisation keep the mean and variance that it sees when images pass through."""
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
        norm.train()
    network(images)
    network.eval()


def _smoothing(convolution: nn.Conv2d, generator: torch.Generator) -> torch.Tensor:
    """Return Gaussians of random width and sign in the shape of a convolution's weight.

    The magnitudes of a filter sum to one.
    """
    out, depth, height, width = convolution.weight.shape
    y = (torch.arange(height) - (height - 1) / 2)[:, None]
    x = (torch.arange(width) - (width - 1) / 2)[None, :]
    sigma = 0.6 + torch.rand(out, 1, 1, generator=generator) * max(width / 3 - 0.6, 0.1)
    sign = torch.where(torch.rand(out, 1, 1, generator=generator) < 0.5, 1.0, -1.0)
    kernel = torch.exp(-(x * x + y * y) / (2 * sigma**2))
    kernel = sign * kernel / kernel.sum(dim=(1, 2), keepdim=True)
    return kernel[:, None].expand(-1, depth, -1, -1) / depth


def _leaves(count: int, size: int, generator: torch.Generator, discs: int = 150) -> torch.Tensor:
    """Return grey images (count, 3, size, size) of discs that hide each other.

    The dead leaves model (Lee, Mumford and Huang, Int J Comput Vision 2001): edges, flat regions
    and scales as in natural images. Radii follow a power law between a fiftieth and six tenths of
    the image. The images have mean 0 and variance 1.
    """
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images = torch.empty(count, 1, size, size)
    for image in images[:, 0]:
        image.fill_(torch.rand(1, generator=generator).item())
        for left, top, wide, grey in torch.rand(discs, 4, generator=generator).tolist():
            radius = size * min(0.02 / math.sqrt(max(wide, 1e-3)), 0.6)
            image[(x - left * size) ** 2 + (y - top * size) ** 2 < radius**2] = grey
    return ((images - images.mean()) / images.std()).expand(-1, 3, -1, -1)
