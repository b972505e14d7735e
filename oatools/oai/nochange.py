"""The labels that measurement error alone makes, where no knee changes at all.

A width that was measured too wide is followed by a narrower one, without any loss of joint space
(regression to the mean). So the width at the visit tells labels that are made from it, and a model
that knows it is to be held against that, not against an AUC of a half.
"""

import math
from dataclasses import dataclass

import numpy as np

from oatools.learning.metrics import roc_auc
from oatools.oai.endpoints import Endpoint
from oatools.oai.reliability import SEM

_SIMULATED = 500_000  # knees, so that chance moves no second decimal


@dataclass(frozen=True)
class NoChange:
    """The labels of knees that do not change, measured with an error of `sem` mm.

    `positive` is the share of them that the endpoint calls positive, and `area` the ROC AUC of the
    width at the visit for that label, NaN where there is only one class: the wider knees are the
    positive ones if `is_wider`, else the narrower ones.
    """

    sem: float
    positive: float
    area: float
    is_wider: bool


def no_change(widths: np.ndarray, endpoint: Endpoint, sem: float = SEM, seed: int = 0) -> NoChange:
    """Simulate labels of knees (widths in mm, of any number of knees) that do not change.

    The true widths are the observed ones, drawn together about their mean by the square root of
    their reliability, 1 - SEM^2 / SD^2, so that they vary as much as the observed ones without
    their error. Each is measured twice with independent normal errors, and never below 0. The
    endpoint, one of widths, labels the two measurements.
    """
    observed = np.asarray(widths, dtype=np.float64)
    mean, variance = observed.mean(), observed.var()
    reliability = max(0.0, 1 - sem**2 / variance) if variance else 0.0
    true = mean + math.sqrt(reliability) * (observed - mean)
    true = np.tile(true, -(-_SIMULATED // len(true)))
    random = np.random.default_rng(seed)
    before = np.clip(true + random.normal(0, sem, len(true)), 0, None)
    after = np.clip(true + random.normal(0, sem, len(true)), 0, None)
    cut = float(endpoint.threshold or 0)
    if endpoint.relative:
        before, after = before[before > 0], after[before > 0]
        label = 100 * (after - before) <= cut * before
    else:
        label = after - before <= cut
    area = roc_auc(label.astype(np.int64), before)
    is_wider = not area < 0.5
    return NoChange(sem, float(label.mean()), area if is_wider else 1 - area, is_wider)
