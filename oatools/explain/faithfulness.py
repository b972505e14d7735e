"""Tests of a map, whether it shows what the model used.

They are deletion and insertion, and the comparison with models that have learnt nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional

from oatools.core.manifest import MISSING, Row
from oatools.explain.gradcam import gradient_map
from oatools.explain.knee import EndToEnd, KneeImages
from oatools.explain.occlusion import SLICE, STACK, out_of_focus
from oatools.learning.model import KneeModel, build, copy_scaling

STEPS = 16
RANDOM_MODELS = 5
#: Side of the grid of the noise that a map is compared with: as coarse as the maps of a
#: convolutional network.
NOISE = 7
COLUMNS = ("deletion", "deletion_chance", "insertion", "insertion_chance", "randomised")


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of the class's probability against the share of pixels, 0 to 1.

    Deletion covers the hottest pixels first: the less, the more faithful. Insertion starts from the
    knee out of focus and shows the hottest first: the more, the more faithful. `chance` is the same
    of a map of smooth noise. `randomised` is the rank correlation between the map and those of
    models that have the same shape and random weights, averaged: near 1, the map would tell nothing
    of what was learnt; NaN where no map varies.
    """

    deletion: float
    deletion_chance: float
    insertion: float
    insertion_chance: float
    randomised: float

    def row(self) -> Row:
        """Return the cells of a table, in the columns `COLUMNS`."""
        cells = {}
        for name in COLUMNS:
            value = getattr(self, name)
            cells[name] = MISSING if np.isnan(value) else f"{value:.4f}"
        return cells


def faithfulness(
    chain: EndToEnd, knee: KneeImages, heat: torch.Tensor, method: str, seed: int = 0
) -> Faithfulness:
    """Measure a map (slices, h, w) of any size.

    Deletion and insertion are those of Petsiuk et al. (BMVC 2018), random models those of Adebayo
    et al. (NeurIPS 2018). The random models' maps are made by `method`, or by `gradcam` where that
    is occlusion, which would take too long.
    """
    random = torch.Generator().manual_seed(seed)
    noise = torch.rand((len(heat), NOISE, NOISE), generator=random)
    deletion, insertion = areas(chain, knee, heat)
    deletion_chance, insertion_chance = areas(chain, knee, noise)
    fast = "gradcam" if method in (SLICE, STACK) else method
    return Faithfulness(
        deletion=deletion,
        deletion_chance=deletion_chance,
        insertion=insertion,
        insertion_chance=insertion_chance,
        randomised=randomised(chain, knee, fast, seed),
    )


def areas(
    chain: EndToEnd, knee: KneeImages, heat: torch.Tensor, steps: int = STEPS
) -> tuple[float, float]:
    """Return the areas under the deletion and the insertion curve.

    Both are over the slices within the model's window.
    """
    sharp = knee.pixels[knee.seen]
    blurred = out_of_focus(sharp)
    rank = _ranks(heat[knee.seen], sharp.shape[-2:])
    features = chain.features(knee.pixels)

    def probability(pixels: torch.Tensor) -> float:
        changed = features.clone()
        changed[knee.seen] = chain.features(pixels)
        with torch.no_grad():
            log_odds, _ = chain.log_odds(changed[None], knee.extents)
        return float(torch.sigmoid(log_odds[0].double()))

    deletion, insertion = [], []
    for step in range(steps + 1):
        is_hot = rank < step * rank.numel() // steps
        deletion.append(probability(torch.where(is_hot, blurred, sharp)))
        insertion.append(probability(torch.where(is_hot, sharp, blurred)))
    return _area(deletion), _area(insertion)


def randomised(chain: EndToEnd, knee: KneeImages, method: str, seed: int = 0) -> float:
    """Return the mean rank correlation between the model's map and those of random models.

    NaN where the maps do not vary.
    """
    maps = chain.maps(knee.pixels)
    own, _, _ = gradient_map(chain, knee, method, maps)
    correlations = []
    for number in range(RANDOM_MODELS):
        module = _random_module(chain, chain.backbone.record.channels, seed=1000 * seed + number)
        model = replace(chain.model, module=module.to(maps.device).eval())
        other, _, _ = gradient_map(replace(chain, model=model), knee, method, maps)
        correlations.append(_rank_correlation(own[knee.seen], other[knee.seen]))
    known = [value for value in correlations if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _random_module(chain: EndToEnd, channels: int, seed: int) -> KneeModel:
    """Make a model of the same parts that has learnt nothing but the scaling of features."""
    trained = chain.model.module
    clinical = len(chain.model.scaling.names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(
            chain.model.settings,
            channels,
            clinical,
            trained.sequences,
            list(trained.linear),
            trained.networks.members if trained.networks is not None else 0,
        )
        for own, part in zip(module.each_linear(), trained.each_linear(), strict=True):
            own.mean.copy_(part.mean)
            own.scale.copy_(part.scale)
            own.weight.normal_().mul_(part.weight.std().cpu())
    if module.networks is not None and trained.networks is not None:
        copy_scaling(trained.networks, module.networks)
    module.weights.copy_(trained.weights)
    return module


def _ranks(heat: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Return the rank of every pixel's heat at another size (slices, 1, h, w), hottest first."""
    large = functional.interpolate(heat[:, None].float(), size, mode="bilinear")
    order = torch.argsort(large.flatten(), descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return rank.view(large.shape)


def _area(curve: Sequence[float]) -> float:
    """Return the area under a curve over [0, 1], by trapezoids."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def _rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's rank correlation, NaN where a map does not vary."""
    if not np.ptp(one.numpy()) or not np.ptp(other.numpy()):
        return np.nan
    return float(np.corrcoef(rankdata(one.flatten()), rankdata(other.flatten()))[0, 1])
