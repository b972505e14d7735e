"""Explanations of a model's answer: probability, attention, and the heat of each place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from oatools.core.errors import UsageError
from oatools.explain.gradcam import gradient_map
from oatools.explain.knee import EndToEnd, KneeImages, backbone_of, prepare
from oatools.explain.occlusion import SLICE, STACK, occlusion_map
from oatools.features.backbone import Backbone
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel
from oatools.learning.sequences import ImageKind, check_kind, plane_in

#: The methods, and the unit of their maps.
UNITS = {
    "gradcam": "log odds",
    "gradcam++": "arbitrary units",
    "hirescam": "log odds",
    SLICE: "log odds lost when covered",
    STACK: "log odds lost when covered in all slices",
}


def unit_of(method: str, model: FittedModel) -> str:
    """Return the unit of a method's maps of a model: of hazards where it is one of follow-up."""
    unit = UNITS[method]
    return unit if model.hazards is None else unit.replace("log odds", "log hazard")


@dataclass(frozen=True)
class Explanation:
    """A model's answer to one volume of a knee, and its reasons.

    `probability` of the positive class; `attention` (slices,), which sums to 1 and is 0 where the
    model does not look; `heat` (i, j, slices), float32, not negative, on the volume's own grid: how
    much each place spoke for the class that was asked for, in the unit of `unit_of`. Without
    `has_attention` the model takes all slices alike, and their shares say only which it took.
    """

    probability: float
    attention: np.ndarray
    heat: np.ndarray
    has_attention: bool = True

    @property
    def hottest_slice(self) -> int:
        """The index, from 0, of the slice with the largest heat."""
        return int(self.heat.max(axis=(0, 1)).argmax())


def explain_volume(
    model: FittedModel,
    volume: Volume,
    method: str = "gradcam",
    clinical: Mapping[str, float] | None = None,
    positive: bool = True,
    backbone: Backbone | None = None,
    sequence: str | None = None,
    any_sequence: bool = False,
    side: str | None = None,
) -> Explanation:
    """Explain what a model makes of the volume that was embedded; see `explain_volumes`."""
    found = explain_volumes(
        model, [volume], method, clinical, positive, backbone, sequence, any_sequence, side
    )
    return found[0]


def explain_volumes(
    model: FittedModel,
    volumes: Sequence[Volume],
    method: str = "gradcam",
    clinical: Mapping[str, float] | None = None,
    positive: bool = True,
    backbone: Backbone | None = None,
    sequence: str | None = None,
    any_sequence: bool = False,
    side: str | None = None,
) -> list[Explanation]:
    """Explain what a model makes of a knee, one entry for each of its volumes.

    There is one volume for each sequence that the model joins, in its order, as each was embedded.
    `method` is one of `UNITS`; `clinical` gives variables by name (sex is 0 female, 1 male), and
    those that are missing are imputed as the model does. Without `positive`, heat speaks for the
    negative class. `backbone` is by default that of `knee.backbone_of`, which needs to be told of
    weights from a file. Raises a `UsageError` for another number of volumes or an unknown method.

    `sequence` is that of the volume, where the model does not join several. An `ItemError` is
    raised for one that the model was not trained on, unless `any_sequence`; without it, nothing is
    checked. `side` is that of the knee, left or right, which a model of one compartment needs.
    """
    if method not in UNITS:
        raise UsageError(f"no method is called '{method}'", f"use one of {', '.join(UNITS)}")
    wanted = len(model.joined) or 1
    if len(volumes) != wanted:
        raise UsageError(
            f"the number of volumes is {len(volumes)}, and the model takes {wanted} of a knee",
            "give explain_volumes one for each sequence that the model joins",
        )
    if sequence is not None:
        check_kind(ImageKind(sequence, plane_in(sequence)), model, any_sequence)
    if backbone is None:
        device = model.module.weights.device
        backbone = backbone_of(model, device=str(device))
    given = clinical or {}
    values = np.array([given.get(name, np.nan) for name in model.scaling.names], dtype=np.float64)
    chain = EndToEnd(model, backbone, values, sign=1 if positive else -1)
    found, _ = explain(chain, prepare(volumes, model, side), method)
    return found


def explain(
    chain: EndToEnd, knee: KneeImages, method: str = "gradcam"
) -> tuple[list[Explanation], torch.Tensor]:
    """Explain a knee, one entry a volume.

    With the entries comes the map (slices, h, w) as it is before it goes to the volumes' grids.
    """
    if method in (SLICE, STACK):
        heat, log_odds, attention = occlusion_map(chain, knee, through=method == STACK)
    else:
        heat, log_odds, attention = gradient_map(chain, knee, method)
    positive = torch.tensor([0.0, chain.sign * log_odds])
    probability = chain.model.probability(positive, chain.at)
    attentions, heats = knee.by_slice(attention.numpy()), knee.to_volumes(heat)
    found, weighs = [], chain.model.has_attention
    for own_attention, own_heat in zip(attentions, heats, strict=True):
        found.append(Explanation(probability, own_attention, own_heat, weighs))
    return found, heat
