"""A validation beside the report of a cross-validation, and what was planted in groups."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from oatools.core.errors import UsageError
from oatools.learning.intervals import Fold, estimate_area
from oatools.scored.knees import ScoredKnees, within_cells
from oatools.validation.groups import Grouping
from oatools.validation.validate import validate


def knees(patients=400, seed=0, folds=1, skill=None, **cells):
    """Two knees a patient; `skill` (knees,) is how far the score goes with the event."""
    random = np.random.default_rng(seed)
    count = 2 * patients
    label = (random.random(count) < 0.25).astype(int)
    skill = np.ones(count) if skill is None else skill
    odds = -1.2 + skill * label + random.standard_normal(count)
    return ScoredKnees(
        knee=tuple(map(str, range(count))),
        subject=np.arange(patients).repeat(2),
        label=label,
        fold=np.arange(patients).repeat(2) % folds,
        scores={"m": expit(odds)},
        cells={name: tuple(values) for name, values in cells.items()},
        called=(odds > -0.5).astype(float),
    )


def test_the_area_of_all_knees_is_the_reports():
    cohort = knees(folds=5)
    folds = [
        Fold(cohort.label[at], cohort.subject[at], cohort.scores["m"][at])
        for at in (cohort.fold == number for number in range(5))
    ]
    expected = estimate_area([folds])
    found = validate(cohort, draws=100).parts[0]["roc_auc"]
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)


def test_a_group_has_the_numbers_of_its_knees_alone():
    side = ["left", "right"] * 400
    cohort = knees(side=side)
    found = {part.name: part for part in validate(cohort, [Grouping("side")], draws=100).parts}
    at = np.array(side) == "right"
    alone = validate(cohort.take(at), draws=100).parts[0]
    right = found["right"]
    assert (right.knees, right.patients, right.events) == (400, 400, int(cohort.label[at].sum()))
    for value in right.values:
        assert value.value == pytest.approx(alone[value.metric].value), value.metric
        assert value.low < value.value < value.high


def test_a_group_in_which_the_score_tells_nothing_is_found():
    sex = np.repeat(["female", "male"], 400)
    skill = np.where(sex == "male", 0.0, 1.5)
    found = validate(knees(skill=skill, sex=sex), [Grouping("sex")], draws=300)
    assert (found.worst().by, found.worst().name) == ("sex", "male")
    assert found.worst()["roc_auc"].low < 0.5 < found.worst()["roc_auc"].high
    assert found.heterogeneity[0].p < 1e-3


def test_groups_that_do_not_differ_have_small_p_as_often_as_chance():
    """Of 60 cohorts some 3 are below 0.05; more than 9 come in fewer than one of 1,000 runs."""
    low = 0
    for seed in range(60):
        cohort = knees(150, seed, site=list("AABBCC") * 50)
        low += validate(cohort, [Grouping("site")], draws=200).heterogeneity[0].p < 0.05
    assert low <= 9


def test_the_test_of_two_groups_is_that_of_their_difference():
    """Without folds, of groups that share nobody: by areas and their errors, by hand."""
    sex = np.repeat(["female", "male"], 400)
    cohort = knees(seed=4, sex=sex)
    found = validate(cohort, [Grouping("sex")], draws=4000)
    areas = []
    for name in ("female", "male"):
        at = sex == name
        own = estimate_area([[Fold(cohort.label[at], cohort.subject[at], cohort.scores["m"][at])]])
        # Delta method: the arcsine of the root of a share a has the slope 1 / (2 sqrt(a (1 - a))).
        error = (own.high - own.low) / (2 * 1.96)
        slope = 1 / (2 * math.sqrt(own.value * (1 - own.value)))
        areas.append((math.asin(math.sqrt(own.value)), error * slope))
    (a, ea), (b, eb) = areas
    expected = chi2.sf((a - b) ** 2 / (ea**2 + eb**2), 1)
    assert found.heterogeneity[0].p == pytest.approx(expected, abs=0.06)


def test_p_is_adjusted_for_all_columns_and_small_groups_are_withheld():
    sex = np.repeat(["female", "male"], 400)
    site = np.array(["A"] * 780 + ["B"] * 20)
    found = validate(knees(sex=sex, site=site), [Grouping("sex"), Grouping("site")], draws=100)
    small = next(part for part in found.parts if part.name == "B")
    assert "fewer than 10" in small.reason and not small.values
    assert math.isnan(small["roc_auc"].value)
    by = {test.by: test for test in found.heterogeneity}
    assert by["site"].groups == 1 and math.isnan(by["site"].p)
    assert by["sex"].holm == by["sex"].p  # the only one that is left


def test_another_prevalence_and_no_called_knees():
    cohort = knees()
    found = validate(cohort, prevalence=0.05, draws=100).parts[0]
    assert found["precision_at_prevalence_0.05"].value < found["precision"].value
    without = validate(replace(cohort, called=None), draws=100).parts[0]
    assert math.isnan(without["sensitivity"].value)
    assert without["sensitivity_at_specificity_0.9"].value > 0.1


def test_precision_of_hardly_any_called_has_no_interval():
    cohort = knees()
    score = cohort.scores["m"]
    few = replace(cohort, called=(score >= np.sort(score)[-9]).astype(float))
    found = validate(few, draws=100).parts[0]
    assert found["precision"].value > 0 and math.isnan(found["precision"].low)
    assert found["negative_precision"].low > 0 and found["sensitivity"].high > 0
    enough = replace(cohort, called=(score >= np.sort(score)[-10]).astype(float))
    assert validate(enough, draws=100).parts[0]["precision"].low > 0


def test_folds_widen_intervals_of_order_and_not_of_calibration_in_the_large():
    one = validate(knees(folds=1), draws=500, seed=1).parts[0]
    two = validate(knees(folds=2), draws=500, seed=1).parts[0]

    def reach(part, metric):
        return part[metric].high - part[metric].low

    assert 1.2 < reach(two, "sensitivity") / reach(one, "sensitivity") < 1.5
    assert reach(two, "observed_expected") == reach(one, "observed_expected")


def test_a_difference_is_that_of_the_areas_each_in_its_own_folds():
    cohort = knees(folds=4, seed=2)
    random = np.random.default_rng(9)
    other = np.clip(cohort.scores["m"] + 0.3 * random.standard_normal(800), 0.001, 0.999)
    fold = cohort.subject % 3
    both = replace(cohort, scores=cohort.scores | {"o": other}, other_folds={"o": fold})
    (found,) = validate(both, draws=300).differences

    def of_pairs(score, folds):
        areas, pairs = [], []
        for number in np.unique(folds):
            own = cohort.label[folds == number]
            areas.append(roc_auc_score(own, score[folds == number]))
            pairs.append(own.sum() * (1 - own).sum())
        return np.average(areas, weights=pairs)

    areas = (of_pairs(cohort.scores["m"], cohort.fold), of_pairs(other, fold))
    assert (found.one_area, found.other_area) == pytest.approx(areas)
    assert found.difference.value == pytest.approx(areas[0] - areas[1])
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.p == found.holm


def test_the_p_of_two_models_is_delongs():
    """Of one model each and one knee a patient, by a program of its own below."""
    base = knees(seed=7)
    alone = replace(base, subject=np.arange(800))
    noise = np.random.default_rng(1).standard_normal(800)
    other = expit(np.log(alone.scores["m"] / (1 - alone.scores["m"])) + 0.8 * noise)
    both = replace(alone, scores=alone.scores | {"o": other})
    (found,) = validate(both, draws=4000).differences
    events, rest = alone.label == 1, alone.label == 0
    components = []
    for score in (alone.scores["m"], other):
        above = (score[events][:, None] > score[rest]) + 0.5 * (
            score[events][:, None] == score[rest]
        )
        components.append((above.mean(axis=1), above.mean(axis=0)))
    (v1, w1), (v2, w2) = components
    error = math.sqrt((v1 - v2).var(ddof=1) / events.sum() + (w1 - w2).var(ddof=1) / rest.sum())
    expected = 2 * norm.sf(abs(v1.mean() - v2.mean()) / error)
    assert found.difference.value == pytest.approx(v1.mean() - v2.mean())
    assert found.p == pytest.approx(expected, rel=0.25)
    reach = (found.difference.high - found.difference.low) / (2 * 1.96)
    assert reach == pytest.approx(error, rel=0.08)


def test_of_three_models_all_pairs_are_adjusted_together():
    base = knees(seed=3)
    random = np.random.default_rng(4)
    scores = {
        "a": base.scores["m"],
        "b": np.clip(base.scores["m"] + 0.2 * random.standard_normal(800), 0.01, 0.99),
        "c": random.random(800),
    }
    found = validate(replace(base, scores=scores), draws=300).differences
    assert [(d.one, d.other) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = multipletests([d.p for d in found], method="holm")[1]
    assert [d.holm for d in found] == pytest.approx(expected)


def test_within_sites_only_knees_of_one_site_are_compared():
    """A score that is the site's share of events alone tells nothing within a site."""
    site = np.array(["A"] * 400 + ["B"] * 400)
    random = np.random.default_rng(0)
    label = (random.random(800) < np.where(site == "A", 0.1, 0.5)).astype(int)
    score = np.where(site == "A", 0.1, 0.5)
    cohort = replace(knees(site=site), label=label, scores={"m": score})
    assert validate(cohort, draws=100).parts[0]["roc_auc"].value > 0.65
    within = validate(within_cells(cohort, "site"), draws=100).parts[0]["roc_auc"]
    assert within.value == 0.5
    # One model made all scores: that they are compared within sites adds nothing to an interval.
    assert not within_cells(cohort, "site").is_out_of_fold


def test_what_cannot_be_told_is_said():
    with pytest.raises(UsageError, match="nothing can be told"):
        validate(replace(knees(), label=np.ones(800, int)))
    with pytest.raises(UsageError, match="a prevalence of 1.5"):
        validate(knees(), prevalence=1.5)
