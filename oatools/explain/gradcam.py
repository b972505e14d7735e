"""Grad-CAM through the two stages: classifier and attention, then the backbone, slice by slice.

Selvaraju et al., ICCV 2017: the map of a class is relu(sum over channels of a_c A_c), where A are the backbone's last
spatial features and a_c is the mean over space of the class score's gradient with respect to A_c. Here the score
depends on every slice of the knee, through the attention too, so one backward pass gives the maps of all slices.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from oatools.core.errors import ItemError, UsageError
from oatools.features.backbone import Backbone
from oatools.features.slices import Preprocessing, chosen, images, square_padding
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel

_BATCH = 16


@dataclass(frozen=True)
class Explanation:
    """What the model made of one knee.

    `probability` of the positive class; `attention` (slices,), which sums to 1 and is 0 where the model does not
    look; `heat` (i, j, slices), float32, not negative, on the volume's own grid: how much each place spoke for the
    positive class, in units of its log odds.
    """

    probability: float
    attention: np.ndarray
    heat: np.ndarray


def explain(volume: Volume, model: FittedModel, backbone: Backbone, clinical: np.ndarray) -> Explanation:
    """Probability, attention and Grad-CAM of a volume whose slices lie in the last axis.

    `clinical` (variables,) are raw values, NaN where missing. The pixels are prepared as the model's record says
    that its features were. Raises `UsageError` for a backbone without spatial features.
    """
    settings = Preprocessing.from_record(model.record["feature_space"]["preprocessing"])
    indices = chosen(volume.data.shape[2], settings.slices)
    maps = _spatial_features(torch.from_numpy(images(volume, settings)), backbone)
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN's GRU has no backward in evaluation
        maps.requires_grad_(True)
        features = backbone.network.forward_head(maps, pre_logits=True)
        logits, attention = model.logits(features, clinical)
        log_odds = logits[1] - logits[0]
        (gradient,) = torch.autograd.grad(log_odds, maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = functional.relu((weights * maps).sum(dim=1)).detach().cpu()
    if not torch.isfinite(heat).all():
        raise ItemError("the heat map is not finite; were the features made from this very volume?")
    full = np.zeros(volume.data.shape, dtype=np.float32)
    full[:, :, indices.start : indices.stop] = _to_grid(heat, volume, settings.size)
    everywhere = np.zeros(volume.data.shape[2])
    everywhere[indices.start : indices.stop] = attention.detach().cpu().numpy()
    return Explanation(float(torch.sigmoid(log_odds.detach().double())), everywhere, full)


def _spatial_features(pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """The backbone's last feature maps (slices, channels, height, width); no gradient is needed below them."""
    with torch.no_grad():
        parts = [backbone.network.forward_features(backbone.normalise(part.to(backbone.device)))
                 for part in pixels.split(_BATCH)]  # fmt: skip
    maps = torch.cat(parts)
    if maps.ndim != 4:
        raise UsageError(f"the backbone {backbone.record.name} has no spatial feature maps, which Grad-CAM needs")
    return maps.clone()


def _to_grid(heat: torch.Tensor, volume: Volume, size: int) -> np.ndarray:
    """Maps (slices, h, w) of square images, enlarged to the volume's own slices: (i, j, slices)."""
    columns, rows = volume.data.shape[:2]
    left, right, top, bottom = square_padding(volume)
    shape = (rows + top + bottom, columns + left + right)
    large = functional.interpolate(heat[:, None], shape, mode="bilinear", align_corners=False)[:, 0].numpy()
    inside = large[:, top : top + rows, left : left + columns]
    return inside[:, ::-1].transpose(2, 1, 0)
