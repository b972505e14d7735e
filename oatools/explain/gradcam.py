"""Heat maps by gradients through the two stages of the model, slice by slice.

The stages are the classifier with its attention, and the backbone. With A the backbone's last
spatial features and G the gradient of the class's log odds with respect to them, all summed over
channels and cut off at 0:

    gradcam     mean over space of G, times A           Selvaraju et al., ICCV 2017
    gradcam++   sum over space of alpha relu(G), times A,
                alpha = G^2 / (2 G^2 + G^3 sum over space of A)
                                                        Chattopadhyay et al., WACV 2018, eq. 19
    hirescam    G times A                               Draelos and Carin, 2020

The score depends on every slice of the knee, through the attention too, so one backward pass gives
the maps of all slices. Libraries for such maps scale each image by itself to [0, 1], and so lose
that one slice speaks louder than another; hence these few lines.
"""

import torch
from torch.nn import functional

from oatools.explain.knee import EndToEnd, KneeImages


def gradient_map(
    chain: EndToEnd, knee: KneeImages, method: str, maps: torch.Tensor | None = None
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Return a map (slices, h, w), the log odds, and the attention (slices,).

    The map is not negative, and as coarse as the backbone's. `maps` are `chain.maps(knee.pixels)`
    where these are at hand. Raises `UsageError` for a backbone without them.
    """
    if maps is None:
        maps = chain.maps(knee.pixels)
    maps = maps.detach()
    with torch.enable_grad():
        maps.requires_grad_(True)
        log_odds, attention = chain.log_odds(chain.pooled(maps)[None], knee.extents)
        (gradient,) = torch.autograd.grad(log_odds[0], maps)
    heat = functional.relu(weighted(maps.detach(), gradient, method))
    return heat.cpu(), float(log_odds.detach()[0]), attention[0].detach().cpu()


def weighted(maps: torch.Tensor, gradient: torch.Tensor, method: str) -> torch.Tensor:
    """Return the sum over channels, (slices, h, w), of features weighted by their gradients.

    Both are (slices, channels, h, w).
    """
    if method == "hirescam":
        return (gradient * maps).sum(dim=1)
    if method == "gradcam":
        weights = gradient.mean(dim=(2, 3), keepdim=True)
    else:
        below = 2 * gradient**2 + gradient**3 * maps.sum(dim=(2, 3), keepdim=True)
        is_defined = below != 0
        alpha = torch.where(is_defined, gradient**2 / torch.where(is_defined, below, 1), 0)
        weights = (alpha * functional.relu(gradient)).sum(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(dim=1)
