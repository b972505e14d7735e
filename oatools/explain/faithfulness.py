"""Whether a map shows what the model used: deletion and insertion, and the map of a model that has learnt nothing."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional

from oatools.explain.gradcam import gradient_map
from oatools.explain.knee import EndToEnd, KneeImages
from oatools.explain.occlusion import out_of_focus
from oatools.learning.model import build

STEPS = 16
RANDOM_MODELS = 5
#: Grid of the maps of noise that a map is held against: as coarse as those of a convolutional
#: network.
NOISE = 7
COLUMNS = ("deletion", "deletion_chance", "insertion", "insertion_chance", "randomised")


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of the class's probability against the share of pixels covered or shown, 0 to 1.

    Deletion covers the hottest pixels first: the less, the more faithful. Insertion starts from the
    knee out of focus and shows the hottest first: the more, the more faithful. `chance` is the same
    of a map of smooth noise. `randomised` is the rank correlation between the map and those of
    models that have the same shape and random weights, averaged: near 1, the map would tell nothing
    of what was learnt.
    """

    deletion: float
    deletion_chance: float
    insertion: float
    insertion_chance: float
    randomised: float

    def cells(self) -> dict[str, str]:
        """As cells of a table."""
        return {
            name: "n/a" if np.isnan(v := getattr(self, name)) else f"{v:.4f}" for name in COLUMNS
        }


def faithfulness(
    chain: EndToEnd, knee: KneeImages, heat: torch.Tensor, method: str, seed: int = 0
) -> Faithfulness:
    """Measure a map (slices, h, w) of any size (Petsiuk et al., BMVC 2018; Adebayo et al., NeurIPS 2018).

    The random models' maps are made by `method`, or by `gradcam` where that is occlusion, which
    would take too long.
    """
    random = torch.Generator().manual_seed(seed)
    noise = torch.rand((len(heat), NOISE, NOISE), generator=random)
    deletion, insertion = areas(chain, knee, heat)
    deletion_chance, insertion_chance = areas(chain, knee, noise)
    fast = "gradcam" if method == "occlusion" else method
    return Faithfulness(
        deletion, deletion_chance, insertion, insertion_chance, randomised(chain, knee, fast, seed)
    )


def areas(
    chain: EndToEnd, knee: KneeImages, heat: torch.Tensor, steps: int = STEPS
) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve, over the slices within the model's window."""
    pixels = knee.pixels[knee.seen]
    blurred = out_of_focus(pixels)
    large = functional.interpolate(
        heat[knee.seen][:, None].float(), pixels.shape[-2:], mode="bilinear"
    )[:, 0]
    order = torch.argsort(large.flatten(), descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    rank = rank.view(large.shape)[:, None]
    features = chain.features(knee.pixels)
    curves: tuple[list[float], list[float]] = ([], [])
    for step in range(steps + 1):
        hot = rank < step * len(order) // steps
        for curve, (inside, outside) in zip(
            curves, ((blurred, pixels), (pixels, blurred)), strict=True
        ):
            changed = features.clone()
            changed[knee.seen] = chain.features(torch.where(hot, inside, outside))
            with torch.no_grad():
                log_odds, _ = chain.log_odds(changed[None], knee.extents)
            curve.append(float(torch.sigmoid(log_odds[0].double())))
    deletion, insertion = (
        (sum(curve) - (curve[0] + curve[-1]) / 2) / steps for curve in curves
    )  # trapezoids
    return deletion, insertion


def randomised(chain: EndToEnd, knee: KneeImages, method: str, seed: int = 0) -> float:
    """The mean rank correlation between the model's map and those of models with random weights; NaN for empty maps."""
    maps = chain.maps(knee.pixels)
    own = gradient_map(chain, knee, method, maps)[0][knee.seen]
    found = []
    for number in range(RANDOM_MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + number)
            trained = chain.model.module
            module = build(
                chain.model.settings,
                maps.shape[1],
                len(chain.model.scaling.names),
                len(trained.branches),
            )
        for branch, known in zip(module.branches, trained.branches, strict=True):
            branch.feature_mean.copy_(known.feature_mean)
            branch.feature_sd.copy_(known.feature_sd)
        other = replace(chain, model=replace(chain.model, module=module.to(maps.device).eval()))
        found.append(_rank_correlation(own, gradient_map(other, knee, method, maps)[0][knee.seen]))
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _rank_correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """Spearman's, NaN where a map does not vary."""
    if not (np.ptp(one.numpy()) and np.ptp(other.numpy())):
        return np.nan
    return float(np.corrcoef(rankdata(one.flatten()), rankdata(other.flatten()))[0, 1])
