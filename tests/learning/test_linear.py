import warnings

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.model_selection import PredefinedSplit

from oatools.learning.folds import split_training
from oatools.learning.linear import (
    CLINICAL,
    PARTS,
    STRENGTHS,
    LinearPart,
    candidates,
    columns_of,
    fit_linear,
    fit_ridge,
    fit_view,
    position_weights,
    summarise,
    turned,
    views,
)
from oatools.learning.outcome import Classes

KNEE = torch.tensor([[[1.0, 8.0], [3.0, 2.0], [5.0, 2.0]]])
WHOLE = torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("mean", [3.0, 4.0]),
        ("max", [5.0, 8.0]),
        ("min", [1.0, 2.0]),
        # Over the slices themselves: ((1-3)^2 + 0 + (5-3)^2) / 3, (16 + 4 + 4) / 3
        ("sd", [1.632993, 2.828427]),
    ],
)
def test_a_view_is_what_hand_work_gives_and_padding_has_no_part_in_it(view, expected):
    torch.testing.assert_close(
        summarise(KNEE, WHOLE, view), torch.tensor([expected]), rtol=1e-5, atol=1e-6
    )
    padded = torch.cat([KNEE, torch.full((1, 4, 2), 1e6)], dim=1)
    mask = torch.tensor([[True] * 3 + [False] * 4])
    torch.testing.assert_close(summarise(padded, mask, view), summarise(KNEE, WHOLE, view))


def test_places_of_a_stack_of_sixteen_are_its_slices_by_hand():
    """Place j of 8 lies at the border of slices 2j and 2j + 1; the next ones are 1.5 / 16 away."""
    weights = position_weights(torch.ones(1, 16, dtype=torch.bool))[0]
    # Within reach (2 / 16) of place 1, at 3/16: slices at 1.5, 2.5, 3.5, 4.5 sixteenths.
    raw = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)
    torch.testing.assert_close(weights[1:5, 1], raw / 2)
    assert not weights[5:, 1].any() and not weights[0, 1]
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(PARTS, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 11, 37])
def test_every_place_of_every_stack_sees_the_slices_around_it(count):
    mask = torch.zeros(1, count + 6, dtype=torch.bool)
    mask[0, :count] = True
    weights = position_weights(mask)[0]
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(PARTS, dtype=torch.float64))
    assert not weights[count:].any()
    centre = (weights[:count] * (torch.arange(count)[:, None] + 0.5) / count).sum(dim=0)
    places = (np.arange(PARTS) + 0.5) / PARTS
    # At the ends only slices of one side are within reach.
    assert np.abs(centre.numpy() - places).max() <= 1 / min(count, PARTS)
    assert (np.diff(centre.numpy()) >= -1e-9).all()


def test_with_eight_slices_the_places_are_the_slices():
    values = torch.randn(2, 8, 3)
    found = summarise(values, torch.ones(2, 8, dtype=torch.bool), "position")
    torch.testing.assert_close(found, values.flatten(1))


def test_sequences_stand_side_by_side_each_with_its_own_slices():
    values = torch.cat([KNEE, KNEE + 10], dim=1)
    mask = torch.tensor([[1, 1, 1, 2, 2, 2]], dtype=torch.uint8)
    torch.testing.assert_close(views(values, mask, "max"), torch.tensor([[5.0, 8.0, 15.0, 18.0]]))
    assert columns_of("position", 2, 0, 2) == 2 * 2 * PARTS and columns_of(CLINICAL, 2, 3, 2) == 3


@pytest.mark.parametrize("view", ["mean", "max", "min", "sd", "position"])
def test_the_gradient_of_a_view_is_that_of_finite_differences(view):
    values = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert torch.autograd.gradcheck(lambda x: summarise(x, mask, view), (values,))


def planted(knees=240, columns=30, seed=0, strength=0.8):
    random = np.random.default_rng(seed)
    values = random.normal(size=(knees, columns))
    odds = strength * values[:, :4].sum(axis=1) - 1
    label = (random.random(knees) < 1 / (1 + np.exp(-odds))).astype(int)
    return values, label, random.integers(1, 6, knees)


def test_the_strength_is_the_one_that_scikit_learn_chooses():
    values, label, part = planted()
    best = min(candidates(values, Classes(label), part), key=lambda each: each.loss)
    theirs = LogisticRegressionCV(
        Cs=list(STRENGTHS),
        cv=PredefinedSplit(part),
        scoring="neg_log_loss",
        max_iter=1000,
    )
    with warnings.catch_warnings():  # of its own future
        warnings.simplefilter("ignore")
        theirs.fit(values, label)
    assert best.strength == pytest.approx(np.ravel(theirs.C_)[0])
    for number in range(1, 6):
        others, held = part != number, part == number
        model = LogisticRegression(C=best.strength, max_iter=1000, tol=1e-8)
        expected = model.fit(values[others], label[others]).decision_function(values[held])
        np.testing.assert_allclose(best.held_out[held], expected, atol=5e-3)
    probability = 1 / (1 + np.exp(-best.held_out))
    assert best.loss == pytest.approx(sklearn_log_loss(label, probability), rel=1e-9)


def test_no_knee_has_a_part_in_what_is_held_out_of_it():
    values, label, part = planted()
    held_out = candidates(values, Classes(label), part, strengths=[0.1])[0].held_out
    wild, other = values.copy(), label.copy()
    at = part == 2
    wild[at], other[at] = 50.0, 1 - other[at]
    for column in (wild, values):
        found = candidates(column, Classes(other), part, strengths=[0.1])[0].held_out
        # Their labels have no part in it, and neither has anything of theirs in the other folds'.
        if column is values:
            np.testing.assert_array_equal(found[at], held_out[at])
        assert (found[~at] != held_out[~at]).any()


def test_a_part_says_of_raw_columns_what_the_regression_says_of_scaled_ones():
    values, label, part = planted()
    raw = values * np.linspace(0.01, 100, 30) + np.linspace(-5, 500, 30)
    raw[:, 7] = 3.0  # does not vary
    fitted = fit_ridge(LinearPart("mean", 30), raw, Classes(label), part)
    scaled = np.delete(raw, 7, axis=1)
    scaled = (scaled - scaled.mean(axis=0)) / scaled.std(axis=0) / 30**0.5
    model = LogisticRegression(C=fitted.strength, max_iter=1000, tol=1e-8).fit(scaled, label)
    np.testing.assert_allclose(
        fitted.part.log_odds(raw), model.decision_function(scaled), atol=2e-3
    )


@pytest.mark.parametrize("knees", [240, 20])
def test_a_power_is_that_of_the_singular_values(knees):
    """Those of NumPy's own decomposition, for more knees than columns and for fewer."""
    values = planted(knees=knees)[0] * np.linspace(0.1, 3, 30)
    values = (values - values.mean(axis=0)).astype(np.float32)
    lengths = np.linalg.svd(values.astype(np.float64), compute_uv=False)
    lengths = lengths[lengths > 1e-4]
    for power, each in zip((0.5, 1.0, 2.0), turned(values, (0.5, 1.0, 2.0)), strict=True):
        found = np.linalg.svd(each.columns.astype(np.float64), compute_uv=False)[: len(lengths)]
        assert each.power == power
        np.testing.assert_allclose(found / found[0], (lengths / lengths[0]) ** power, rtol=1e-3)
        assert (found**2).sum() == pytest.approx((lengths**2).sum(), rel=1e-5)
        # Whatever is linear in the components is as linear in the columns.
        weight = np.arange(1.0, each.columns.shape[1] + 1)
        np.testing.assert_allclose(
            values @ each.back(weight), each.columns @ weight, rtol=1e-3, atol=1e-2
        )


def test_columns_that_do_not_vary_say_nothing():
    """As the SD of slices does in knees that have one slice each."""
    _, label, part = planted()
    fitted = fit_view(LinearPart("sd", 30), np.full((240, 30), 1e-4), Classes(label), part)
    odds = np.log(label.mean() / (1 - label.mean()))
    np.testing.assert_allclose(fitted.part.log_odds(np.full((3, 30), 1e-4)), odds, atol=1e-3)
    assert abs(fitted.held_out - odds).max() < 0.2


def test_candidates_are_averaged_by_their_likelihood_of_held_out_knees():
    """Against the candidates themselves, weighted by hand; ridge regression takes the best alone."""
    values, label, part = planted(knees=120)
    fitted = fit_view(LinearPart("mean", 30), values, Classes(label), part)
    scaled = (values - values.mean(axis=0)) / values.std(axis=0) / 30**0.5
    total, odds, held_out, best = 0.0, np.zeros(120), np.zeros(120), (np.inf, 0.0, 0.0)
    for each in turned(scaled, (0.75, 1.0, 1.5)):
        for found in candidates(each.columns, Classes(label), part):
            likelihood = np.exp(-sklearn_log_loss(label, expit(found.held_out), normalize=False))
            model = LogisticRegression(C=found.strength, max_iter=1000, tol=1e-8)
            odds += likelihood * model.fit(each.columns, label).decision_function(each.columns)
            held_out += likelihood * found.held_out
            total += likelihood
            best = min(best, (found.loss, found.strength, each.power))
    np.testing.assert_allclose(fitted.part.log_odds(values), odds / total, atol=0.02)
    np.testing.assert_allclose(fitted.held_out, held_out / total, atol=0.02)
    assert (fitted.strength, fitted.power) == best[1:]
    ridge = fit_ridge(LinearPart("mean", 30), values, Classes(label), part)
    alone = min(
        candidates(scaled.astype(np.float32), Classes(label), part), key=lambda found: found.loss
    )
    np.testing.assert_array_equal(ridge.held_out, alone.held_out)
    assert ridge.power == 1 and np.abs(ridge.held_out - fitted.held_out).max() > 0.01


def test_where_nothing_is_to_be_learnt_the_strongest_penalty_is_as_good_as_any():
    values, _, part = planted(strength=0.0)
    label = np.random.default_rng(9).permutation(np.arange(240) % 4 == 0).astype(int)
    fitted = fit_view(LinearPart("mean", 30), values, Classes(label), part)
    assert fitted.strength <= 0.1 and fitted.held_out.std() < 0.3
    assert Classes(np.array([1, 0])).loss(np.array([0.0, 0.0])) == pytest.approx(np.log(2))


def test_parts_are_fitted_on_the_training_knees_alone(make):
    cohort = make(knees=60)
    split = split_training(cohort, 0.2, 0, train=np.arange(40), test=np.arange(40, 60))
    clinical = cohort.clinical[:40].astype(np.float32)
    found = fit_linear(cohort, cohort.outcome(split.train), split, ("mean", "position"), clinical)
    assert list(found) == ["mean", "position", CLINICAL]
    means = np.stack([cohort.slices(i).mean(axis=0) for i in range(40)])
    np.testing.assert_allclose(
        found["mean"].part.mean.numpy(), means.mean(axis=0), rtol=1e-4, atol=1e-5
    )
    assert all(len(each.held_out) == 40 for each in found.values())


def test_a_trace_of_life_in_a_dead_channel_does_not_decide():
    """Zero in all training knees but one, which has 1e-7; a new knee with 0.02 is no such extreme."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(100, 20)).astype(np.float32)
    raw[:, 7] = 0
    raw[3, 7] = 1e-7
    label = (raw[:, 0] + rng.normal(size=100) > 0).astype(int)
    fitted = fit_view(LinearPart("mean", 20), raw, Classes(label), np.arange(100) % 5 + 1)
    new = rng.normal(size=(1, 20)).astype(np.float32)
    alive, dead = new.copy(), new.copy()
    alive[0, 7], dead[0, 7] = 0.02, 0
    one, other = fitted.part.log_odds(alive)[0], fitted.part.log_odds(dead)[0]
    most = np.abs(fitted.part.log_odds(raw)).max()
    assert abs(one - other) < most
    # What training knees had is taken as it was.
    ends = fitted.part.log_odds(np.stack([raw.max(axis=0), raw.max(axis=0) + 5]))
    assert ends[0] == pytest.approx(ends[1], abs=1e-5)


def test_what_lies_beyond_the_range_has_a_gradient_all_the_same():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(60, 5)).astype(np.float32)
    label = (raw[:, 0] > 0).astype(int)
    part = fit_view(LinearPart("mean", 5), raw, Classes(label), np.arange(60) % 5 + 1).part
    beyond = torch.full((1, 1, 5), 9.0, requires_grad=True)
    mask = torch.ones(1, 1, dtype=torch.bool)
    part(beyond, mask, torch.zeros(1, 0)).sum().backward()
    np.testing.assert_allclose(beyond.grad[0, 0], part.scale * part.weight, rtol=1e-6)
