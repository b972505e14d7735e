"""The last spatial features of a vision transformer: its patches' tokens in the last block.

They are taken behind the first normalisation of that block, where its attention looks at them.
After the block they would be too late: where the class token alone makes the features, no gradient
reaches the patches' there any more. Before the normalisation, which does not see how long a token
is, the product of token and gradient is zero.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from oatools.core.errors import UsageError
from oatools.features.architectures import TokenFeatures, has_tokens
from oatools.features.backbone import Backbone

_BATCH = 16  # slices whose last block is kept in memory for its gradient


def is_made_of_tokens(backbone: Backbone) -> bool:
    """Tell whether a backbone is a vision transformer whose last block is known."""
    transformer = _transformer(backbone)
    return has_tokens(transformer) and isinstance(transformer.blocks[-1], Block | EvaBlock)


def token_maps(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
    """Return the patches' tokens in the last block as maps (n, channels, height, width).

    The first channels are the tokens behind the normalisation. No gradient reaches the others,
    which `pooled_tokens` needs: the tokens before it, and those beside the patches (class,
    registers), row by row. Raises a `UsageError` for patches without a square grid.
    """
    transformer = _transformer(backbone)
    tokens = _entering(transformer, images).tokens
    beside = _beside(transformer)
    side = math.isqrt(tokens.shape[1] - beside)
    if side * side != tokens.shape[1] - beside:
        raise UsageError(
            f"the patches of {backbone.record.name} lie in no square grid", "use `method` occlusion"
        )
    normalised = transformer.blocks[-1].norm1(tokens)
    patches = torch.cat([normalised, tokens], dim=2)[:, beside:].transpose(1, 2)
    others = tokens[:, :beside].flatten(1)
    rows = functional.pad(others, (0, -others.shape[1] % (side * side)))
    return torch.cat(
        [patches.unflatten(2, (side, side)), rows.unflatten(1, (-1, side, side))], dim=1
    )


def pooled_tokens(backbone: Backbone, maps: torch.Tensor) -> torch.Tensor:
    """Return the features (n, channels) of such maps; differentiable."""
    transformer = _transformer(backbone)
    size = backbone.record.size
    with torch.no_grad():
        blank = torch.zeros(1, 3, size, size, device=maps.device)
        more = _entering(transformer, blank).more
    block, width, beside = transformer.blocks[-1], transformer.embed_dim, _beside(transformer)

    def finish(part: torch.Tensor) -> torch.Tensor:
        patches, fixed = part[:, :width], part[:, width:].detach()
        others = fixed[:, width:].flatten(1)[:, : beside * width].unflatten(1, (beside, width))
        before = torch.cat([others, _in_a_row(fixed[:, :width])], dim=1)
        normalised = torch.cat([block.norm1(others), _in_a_row(patches)], dim=1)
        with _instead_of(block.norm1, normalised):
            tokens = transformer.norm(block(before, **more))
        features: torch.Tensor = backbone.network.forward_head(tokens, pre_logits=True)
        return features

    # What the last block computes for a slice is computed again for its gradient, and not kept.
    parts = [checkpoint(finish, part, use_reentrant=False) for part in maps.split(_BATCH)]
    return torch.cat(parts)


class _Entering(NamedTuple):
    """What a network gives its last block: tokens, and by name what is the same for all images."""

    tokens: torch.Tensor
    more: Mapping[str, Any]


def _transformer(backbone: Backbone) -> Any:
    network = backbone.network
    return network.network if isinstance(network, TokenFeatures) else network


def _beside(transformer: Any) -> int:
    """The number of tokens before those of the patches."""
    return int(transformer.num_prefix_tokens)


def _in_a_row(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (n, channels, h, w) as tokens (n, h w, channels)."""
    return maps.flatten(2).transpose(1, 2)


def _entering(transformer: Any, images: torch.Tensor) -> _Entering:
    caught: list[_Entering] = []

    def catch(_: Any, given: tuple[torch.Tensor], more: Mapping[str, Any]) -> None:
        caught.append(_Entering(given[0], more))

    hook = transformer.blocks[-1].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        transformer.forward_features(images)
    finally:
        hook.remove()
    return caught[0]


@contextmanager
def _instead_of(module: Any, output: torch.Tensor) -> Iterator[None]:
    """Let a module give this, whatever it is given."""
    hook = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()
