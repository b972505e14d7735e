"""Networks by name, timm's and those of `catalogue.OWN`, for the size of image asked for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from oatools.core.errors import UsageError
from oatools.core.suggestions import with_meant
from oatools.features.backbone_record import BOTH, CLASS, MEAN
from oatools.features.catalogue import KNOWN, OWN

_FLAT = 1e-6  # the deviation below which an image is flat, as Curia's own preprocessing has it


class CuriaTransformer(VisionTransformer):
    """Curia's vision transformer, which sees each image less its own mean over its own deviation.

    So its authors prepare images, which makes the intensity window a matter of what is cut off.
    """

    def forward_features(self, x: torch.Tensor, *arguments: Any, **more: Any) -> torch.Tensor:
        """Return all tokens of images (n, 3, size, size)."""
        tokens: torch.Tensor = super().forward_features(standardised(x), *arguments, **more)
        return tokens


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Return images (n, channels, h, w), each channel with mean 0 and deviation 1; flat ones 0."""
    values = images.float()
    mean = values.mean(dim=(2, 3), keepdim=True)
    std = values.std(dim=(2, 3), keepdim=True)
    return ((values - mean) / torch.where(std < _FLAT, 1.0, std)).to(images.dtype)


def _curia(**options: Any) -> Any:
    """Make Curia's network: DINOv2's ViT-B with patches of 16 pixels and gated layers."""
    gated: dict[str, Any] = {"mlp_ratio": 16 / 3, "mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    return CuriaTransformer(
        **{"img_size": OWN["curia"].size, "init_values": 1e-5, **gated, **options}
    )


_MAKERS: dict[str, Callable[..., Any]] = {
    "radimagenet_resnet50": partial(timm.create_model, "resnet50"),
    "mri_core": partial(timm.create_model, "vit_base_patch16_224"),
    "curia": _curia,
}


def check_name(name: str) -> None:
    """Raise a `UsageError` that lists names near to one that there is not."""
    if name in OWN or name in timm.list_models():
        return
    if any(name == known.name for known in KNOWN):
        raise UsageError(f"timm {timm.__version__} does not have {name}", "install a newer timm")
    family = name.split("_")[0]
    own = [each for each in OWN if family in each]
    near = ", ".join([*own, *timm.list_models(f"*{family}*")][:5])
    remedy = f"near: {near or 'see timm.list_models()'}"
    known = [*OWN, *timm.list_models()]
    raise UsageError(f"no timm model is called '{name}'", with_meant(remedy, name, known))


def native_size(name: str) -> int | None:
    """Return the size of image that a network is made for; None where timm does not say."""
    if name in OWN:
        return OWN[name].size
    config = timm.get_pretrained_cfg(name)
    return None if config is None else int(config.input_size[1])


def create(name: str, size: int | None = None, **options: Any) -> Any:
    """Make a network without classifier, for images of a size that is not its own, if given.

    Its weights are random, unless `options` of timm's ask for others. Vision transformers get
    position embeddings for that size. Raises a `UsageError` for a size that the network does not
    take.
    """
    make = _MAKERS.get(name, partial(timm.create_model, name))
    if size is None or size == native_size(name):
        return make(num_classes=0, **options)
    sized = _check_size(name, make, size)
    return make(num_classes=0, **sized, **options)


def _check_size(name: str, make: Callable[..., Any], size: int) -> dict[str, int]:
    """Return what makes a network for a size of image; a `UsageError` for one it does not take.

    It is tried on tensors without numbers, at little cost, before anything is downloaded.
    """
    sized = {"img_size": size}
    try:
        with torch.random.fork_rng(devices=[]):
            network = make(num_classes=0, **sized)
    except TypeError:  # a network of convolutions has no size of its own
        with torch.random.fork_rng(devices=[]):
            network, sized = make(num_classes=0), {}
    except (AssertionError, ValueError, RuntimeError) as error:
        raise _refused(name, size, str(error)) from None
    _check_patches(name, network, size)
    _check_runs(name, network, size)
    return sized


def _check_patches(name: str, network: Any, size: int) -> None:
    """Raise a `UsageError` where patches do not fill the image, so that its edge went unseen."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if patch is None:
        return
    side = patch[0] if isinstance(patch, tuple) else int(patch)
    if size % side:
        below = max(size // side, 1) * side
        raise UsageError(
            f"size {size} is no multiple of {side}, the patch of {name}",
            f"give `size` as {below} or {below + side}",
        )


def _check_runs(name: str, network: nn.Module, size: int) -> None:
    """Raise a `UsageError` for a network that does not take images of a size."""
    try:
        network.eval().to("meta")(torch.empty(2, 3, size, size, device="meta"))
    except Exception as error:  # whatever a network's code raises over shapes
        raise _refused(name, size, str(error)) from None


def _refused(name: str, size: int, reason: str) -> UsageError:
    first = next(iter(reason.strip().splitlines()), "")[:100]
    return UsageError(
        f"{name} does not take images of size {size} ({first})",
        f"give another `size`; its own is {native_size(name)}",
    )


class TokenFeatures(nn.Module):
    """A vision transformer whose features are those of its tokens that are asked for.

    cls is its class token, mean the mean of the patches' (registers are left out), cls+mean the one
    after the other; all after the last normalisation.
    """

    def __init__(self, network: Any, kind: str) -> None:
        super().__init__()
        self.network = network
        self.kind = kind

    @property
    def width(self) -> int:
        """How many times as long as a token the features are."""
        return 2 if self.kind == BOTH else 1

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Return all tokens (n, tokens, channels)."""
        tokens: torch.Tensor = self.network.forward_features(images)
        return tokens

    def forward_head(self, tokens: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return the features (n, channels, or twice as many) of tokens."""
        patches = tokens[:, self.network.num_prefix_tokens :].mean(dim=1)
        parts = {CLASS: [tokens[:, 0]], MEAN: [patches], BOTH: [tokens[:, 0], patches]}[self.kind]
        return torch.cat([self.network.fc_norm(part) for part in parts], dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images."""
        return self.forward_head(self.forward_features(images))


def with_tokens(network: Any, name: str, kind: str) -> TokenFeatures:
    """Return a network with features of the tokens that are asked for.

    Raises a `UsageError` for one that has none, or no class token.
    """
    if not has_tokens(network):
        raise UsageError(
            f"{name} is no vision transformer with tokens", "leave out `tokens`, or take another"
        )
    if kind != MEAN and network.cls_token is None:
        raise UsageError(f"{name} has no class token", "give `tokens` as mean")
    return TokenFeatures(network, kind)


def has_tokens(network: Any) -> bool:
    """Tell whether a network is a vision transformer that keeps its tokens in a row."""
    parts = ("blocks", "num_prefix_tokens", "cls_token", "fc_norm")
    return all(hasattr(network, part) for part in parts)
