"""Net benefit against the dcurves package's own numbers on its own example."""

import numpy as np
import pytest

from oatools.scored.knees import ScoredKnees
from oatools.trial.decision import decision_curve, net_benefit

# dcurves 1.1.7 (Sjoberg), dca() of df_binary: 750 patients, outcome cancer, models famhistory and
# cancerpredmarker, and treating all.
THRESHOLDS = (0.05, 0.1, 0.2, 0.35, 0.5)
FAMILY = (0.025614, 0.018519, 0.001667, -0.033333, -0.089333)
MARKER = (0.105544, 0.087407, 0.067333, 0.050154, 0.021333)
EVERYBODY = (0.094737, 0.044444, -0.075000, -0.323077, -0.720000)
# How many have no cancer, and cancer: without and with a family history; and by the marker's
# probability, below each threshold in turn and above the last.
BY_FAMILY = ((554, 81), (91, 24))
BY_MARKER = ((325, 9), (127, 9), (95, 12), (62, 18), (19, 24), (17, 33))
BETWEEN = (0.02, 0.07, 0.15, 0.3, 0.4, 0.6)


def written_out(counts, probabilities):
    label, probability = [], []
    for (without, cancer), value in zip(counts, probabilities, strict=True):
        label += [0] * without + [1] * cancer
        probability += [value] * (without + cancer)
    return np.array(label), np.array(probability)


@pytest.mark.parametrize(
    ("counts", "probabilities", "expected"),
    [(BY_FAMILY, (0.0, 1.0), FAMILY), (BY_MARKER, BETWEEN, MARKER)],
)
def test_net_benefit_is_that_of_dcurves(counts, probabilities, expected):
    label, probability = written_out(counts, probabilities)
    curve = decision_curve(candidates(label, m=probability), THRESHOLDS, draws=200)
    assert [d.benefit.value for d in curve] == pytest.approx(expected, abs=1e-6)
    assert [d.enroll_all for d in curve] == pytest.approx(EVERYBODY, abs=1e-6)
    for threshold, value in zip(THRESHOLDS, expected, strict=True):
        own = net_benefit(label, probability >= threshold, threshold)
        assert own == pytest.approx(value, abs=1e-6)
    for decision in curve:
        better = max(decision.enroll_all, 0)
        assert decision.gain.value == pytest.approx(decision.benefit.value - better)
        assert decision.benefit.low < decision.benefit.value < decision.benefit.high


def test_a_perfect_model_gains_the_prevalence_at_every_threshold():
    label = np.repeat([0, 1], [80, 20])
    for decision in decision_curve(candidates(label, m=label * 1.0), draws=100):
        assert decision.benefit.value == pytest.approx(0.2)


def candidates(label, **scores):
    return ScoredKnees(
        knee=tuple(map(str, range(len(label)))),
        subject=np.arange(len(label)),
        label=label,
        fold=np.zeros(len(label), int),
        scores=scores,
    )
