"""Decision curves: whether acting on a probability does more good than acting on none or on all.

After Vickers and Elkin (Medical Decision Making 2006;26:565-574). At a threshold t a candidate is
enrolled whose probability is t or more, and one who is enrolled without the event counts t / (1 -
t) of one with it: so the threshold says how many of the former are worth one of the latter.
Probabilities are taken as they are, so that a model that is not calibrated pays for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oatools.learning.intervals import Estimate
from oatools.scored.knees import ScoredKnees
from oatools.scored.resampling import LINEAR, interval, of_cross_validation, patient_weights

THRESHOLDS = tuple(round(0.01 * n, 2) for n in range(1, 51))


@dataclass(frozen=True)
class Decision:
    """The net benefit of a model at a threshold, in events for each candidate.

    `enroll_all` is that of enrolling everybody; of enrolling nobody it is 0. `gain` is what the
    model adds to the better of the two.
    """

    model: str
    threshold: float
    enrolled: float
    benefit: Estimate
    enroll_all: float
    gain: Estimate


def net_benefit(label: np.ndarray, enrolled: np.ndarray, threshold: float) -> float:
    """Return the net benefit of enrolling some (knees,) where `label` is 1 for an event.

    TP / n - FP / n * t / (1 - t).
    """
    hits = float((enrolled & (label == 1)).sum())
    misses = float((enrolled & (label == 0)).sum())
    return (hits - misses * threshold / (1 - threshold)) / len(label)


def decision_curve(
    candidates: ScoredKnees,
    thresholds: Sequence[float] = THRESHOLDS,
    draws: int = 2000,
    seed: int = 0,
) -> list[Decision]:
    """Return the net benefit of each model at each threshold, with intervals by patient."""
    label = candidates.label.astype(np.float64)
    at = np.asarray(thresholds)
    price = at / (1 - at)
    worth = (
        label[:, None] - (1 - label)[:, None] * price
    )  # of enrolling a knee: (knees, thresholds)
    chosen = {name: p[:, None] >= at for name, p in candidates.scores.items()}
    of_all: list[np.ndarray] = []
    of_models: dict[str, list[np.ndarray]] = {name: [] for name in chosen}
    for weights in patient_weights(candidates.subject, draws, seed):
        total = weights.sum(axis=1, keepdims=True)
        of_all.append(weights @ worth / total)
        for name, is_chosen in chosen.items():
            of_models[name].append(weights @ (worth * is_chosen) / total)
    everybody = np.concatenate(of_all)
    found = []
    for name, parts in of_models.items():
        benefit = np.concatenate(parts)
        gain = benefit - np.maximum(everybody, 0)
        for place, threshold in enumerate(thresholds):
            enrolled = float(chosen[name][:, place].mean())
            widened = 1.0
            if candidates.is_out_of_fold:
                widened = of_cross_validation(enrolled, candidates.patients)
            found.append(
                Decision(
                    model=name,
                    threshold=threshold,
                    enrolled=enrolled,
                    benefit=_quantity(benefit[:, place], widened),
                    enroll_all=float(everybody[0, place]),
                    gain=_quantity(gain[:, place], widened),
                )
            )
    return found


def _quantity(values: np.ndarray, widened: float) -> Estimate:
    return Estimate(float(values[0]), *interval(values, LINEAR, widened))
