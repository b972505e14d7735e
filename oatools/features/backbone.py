"""Image backbones from timm, with weights that say where they come from."""

import copy
import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from oatools.core.errors import UsageError
from oatools.features.backbone_record import FILE, PRETRAINED, RANDOM, BackboneRecord, Weights

_FLOAT32_STAGES = 2


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode that turns normalised images (n, 3, size, size) into features (n, channels)."""

    network: nn.Module
    record: BackboneRecord
    device: torch.device

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 1 or 3, size, size) in [0, 1] as the network wants them: (n, 3, size, size)."""
        record = self.record
        mean, std = (
            torch.tensor(v, device=images.device).view(1, 3, 1, 1)
            for v in (record.mean, record.std)
        )
        return (images.expand(-1, 3, -1, -1) - mean) / std

    def parts(self, precision: str) -> list[tuple[nn.Module, torch.dtype]]:
        """Modules to run one after the other, from images in [0, 1] to features, and the type of each.

        bf16 has 8 bits of mantissa. Networks of depthwise convolutions feel the rounding of their
        first weights most: with all of MobileNetV2 in bf16, the cosine to float32 falls to 0.995 on
        knees, and with its stem and first two stages left in float32 it is above 0.999, at four
        fifths of the speed. So these stay float32.
        """
        types = {"float32": torch.float32, "float16": torch.float16, "bf16": torch.bfloat16}
        network = self.network
        if precision != "bf16" or not (
            hasattr(network, "conv_stem") and hasattr(network, "blocks")
        ):
            return [(_Normalised(self, network), types[precision])]
        first = nn.Sequential(network.conv_stem, network.bn1, network.blocks[:_FLOAT32_STAGES])
        rest = copy.copy(network)
        rest._modules = {
            **network._modules,
            "conv_stem": nn.Identity(),
            "bn1": nn.Identity(),
            "blocks": network.blocks[_FLOAT32_STAGES:],
        }
        return [(_Normalised(self, first), torch.float32), (rest, torch.bfloat16)]


class _Normalised(nn.Module):
    """A network behind its backbone's normalisation, which is done in float32."""

    def __init__(self, backbone: Backbone, network: nn.Module) -> None:
        super().__init__()
        self.backbone, self.network = backbone, network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        type_ = next(self.network.parameters()).dtype
        return self.network(
            self.backbone.normalise(images.float()).to(type_, memory_format=torch.channels_last)
        )


def load_backbone(name: str, weights: str, seed: int = 0, device: str = "cpu") -> Backbone:
    """Make a backbone by its timm name.

    `weights` is `pretrained` (timm's download and cache), `random` (seeded, see `initialise`), or
    the path of a `.safetensors` file or torch state dict, which is opened without executing code.
    Raises `UsageError` for an unknown name, weights that cannot be had, or a file that does not
    fit, by its first tensor that does not.
    """
    if name not in timm.list_models():
        near = (
            ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        )
        raise UsageError(f"no timm model is called '{name}'; near: {near}")
    network, origin = _network(name, weights, seed)
    data = timm.data.resolve_model_data_config(network)
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device '{device}' cannot be used ({str(error).splitlines()[0]}); try --device cpu"
        ) from None
    channels = (
        network.head_hidden_size if hasattr(network, "head_hidden_size") else network.num_features
    )
    record = BackboneRecord(
        name=name,
        weights=origin,
        size=int(data["input_size"][1]),
        mean=tuple(map(float, data["mean"])),
        std=tuple(map(float, data["std"])),
        interpolation=data["interpolation"],
        channels=int(channels),
    )
    return Backbone(network, record, torch.device(device))


def _network(name: str, weights: str, seed: int) -> tuple[nn.Module, Weights]:
    """Make the network in evaluation mode, with the weights that `load_backbone` was asked for."""
    if weights == PRETRAINED:
        network = _pretrained(name).eval().requires_grad_(False)
        tag = network.pretrained_cfg.get("tag") or "default"
        return network, Weights(PRETRAINED, weights_digest(network), name=f"{name}.{tag}")
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            network = timm.create_model(name, pretrained=False, num_classes=0)
            initialise(network, seed)
        network = network.eval().requires_grad_(False)
        return network, Weights(RANDOM, weights_digest(network), seed=seed)
    network = timm.create_model(name, pretrained=False, num_classes=0)
    load_weights(network, Path(weights))
    network = network.eval().requires_grad_(False)
    return network, Weights(FILE, weights_digest(network), name=Path(weights).name)


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, by name, in order of name."""
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
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and (
            module.in_channels == 3 or module.groups == module.in_channels > 1
        ):
            module.weight.copy_(_smoothing(module, generator))
        elif hasattr(module, "conv_reduce") and hasattr(module, "conv_expand"):
            nn.init.zeros_(module.conv_expand.weight)
    for block in network.modules():
        if getattr(block, "has_skip", False) and hasattr(block, "bn3"):
            nn.init.zeros_(block.bn3.weight)
    _record_statistics(network, norms, _leaves(32, 224, generator))


def _record_statistics(network: nn.Module, norms: list[nn.Module], images: torch.Tensor) -> None:
    """Run images through the network and make each normalisation keep the mean and variance that it sees."""
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
        norm.train()
    network(images)
    network.eval()


def _smoothing(convolution: nn.Conv2d, generator: torch.Generator) -> torch.Tensor:
    """Gaussians of random width and sign in the shape of a convolution's weight; magnitudes sum to one."""
    out, depth, height, width = convolution.weight.shape
    y = (torch.arange(height) - (height - 1) / 2)[:, None]
    x = (torch.arange(width) - (width - 1) / 2)[None, :]
    sigma = 0.6 + torch.rand(out, 1, 1, generator=generator) * max(width / 3 - 0.6, 0.1)
    sign = torch.where(torch.rand(out, 1, 1, generator=generator) < 0.5, 1.0, -1.0)
    kernel = torch.exp(-(x * x + y * y) / (2 * sigma**2))
    kernel = sign * kernel / kernel.sum(dim=(1, 2), keepdim=True)
    return kernel[:, None].expand(-1, depth, -1, -1) / depth


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict from a file into a network without classifier; tensors of a classifier in it are dropped."""
    if not path.is_file():
        raise UsageError(f"{path}: no such weights file; give a path, 'pretrained' or 'random'")
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{path}: not a readable safetensors file ({error})") from None
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever the unpickler does
            first = str(error).strip().splitlines()[0][:120]
            raise UsageError(
                f"{path}: cannot be opened as a plain state dict ({first}); save tensors only"
            ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    wanted = network.state_dict()
    state = {
        key.removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    if "features.0.0.weight" in state:
        state = _from_torchvision(state, wanted, path)
    for key, tensor in wanted.items():
        if key.endswith("num_batches_tracked") and key not in state:
            state[key] = tensor
        if key not in state:
            raise UsageError(
                f"{path}: has no tensor '{key}', which the backbone needs; is --backbone right?"
            )
        if state[key].shape != tensor.shape:
            shapes = f"{tuple(state[key].shape)}, not {tuple(tensor.shape)}"
            raise UsageError(f"{path}: tensor '{key}' has shape {shapes}; is --backbone right?")
        if not torch.isfinite(state[key]).all():
            raise UsageError(
                f"{path}: tensor '{key}' holds numbers that are not finite; the file is damaged"
            )
    network.load_state_dict({key: state[key] for key in wanted})


def _from_torchvision(
    state: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    """The state dict of torchvision's EfficientNet or MobileNet under timm's names.

    Both list the same layers in the same order; every pair must agree in its last name and in
    shape.
    """
    theirs = [key for key in state if key.startswith("features.")]
    for ours, key in zip(wanted, theirs, strict=False):
        if (
            ours.rpartition(".")[2] != key.rpartition(".")[2]
            or wanted[ours].shape != state[key].shape
        ):
            shapes = f"{tuple(state[key].shape)}, where '{ours}' has {tuple(wanted[ours].shape)}"
            raise UsageError(
                f"{path}: torchvision's tensor '{key}' has shape {shapes}; is --backbone right?"
            )
    if len(theirs) != len(wanted):
        counts = f"{len(theirs)} of torchvision's tensors, not {len(wanted)}"
        raise UsageError(f"{path}: holds {counts}; is --backbone right?")
    return {ours: state[key] for ours, key in zip(wanted, theirs, strict=True)}


def _pretrained(name: str) -> nn.Module:
    # The hub client tells of every retry; one line at the end is enough.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except (
        Exception
    ) as error:  # the hub client, its cache and the network raise each their own kinds
        config = timm.get_pretrained_cfg(name)
        where = config.hf_hub_id if config is not None and config.hf_hub_id else name
        raise UsageError(
            f"pretrained weights of {name} are neither cached nor reachable ({type(error).__name__}); on a machine "
            f"with network download huggingface.co/{where} (model.safetensors) and give it as --weights FILE, or "
            "copy its cache and set HF_HOME; --weights random needs no download, but knows nothing of images"
        ) from None


def _leaves(count: int, size: int, generator: torch.Generator, discs: int = 150) -> torch.Tensor:
    """Grey images (count, 3, size, size) of discs that hide each other, of mean 0 and variance 1.

    The dead leaves model (Lee, Mumford and Huang, Int J Comput Vision 2001): edges, flat regions
    and scales as in natural images. Radii follow a power law between a fiftieth and six tenths of
    the image.
    """
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    images = torch.empty(count, 1, size, size)
    for image in images[:, 0]:
        image.fill_(torch.rand(1, generator=generator).item())
        for left, top, wide, grey in torch.rand(discs, 4, generator=generator).tolist():
            radius = size * min(0.02 / math.sqrt(max(wide, 1e-3)), 0.6)
            image[(x - left * size) ** 2 + (y - top * size) ** 2 < radius**2] = grey
    return ((images - images.mean()) / images.std()).expand(-1, 3, -1, -1)
