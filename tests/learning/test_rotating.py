"""The default training: linear parts and networks, with every inner fold set aside in turn."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from oatools.core.errors import UsageError
from oatools.learning.course import training_loss
from oatools.learning.files import load_model, save_model
from oatools.learning.folds import split_training
from oatools.learning.linear import STRENGTHS
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.model import NETWORK, Networks, predict
from oatools.learning.settings import PRESETS, VIEWS, Settings, preset
from oatools.learning.training import fit

from .conftest import fit_on, with_features

SMALL = Settings(units=8, hidden=8, epochs=4, patience=4, learning_rate=3e-3)


def weights_of(model):
    return {part["name"]: part["weight"] for part in model.record["parts"]}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make, tmp_path):
    cohort = make()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)  # the state outside must not matter
        save_model(tmp_path / name, fit(cohort, SMALL, seed))
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_nothing_of_the_test_fold_reaches_the_model(make, tmp_path):
    cohort = make()
    train, test = np.arange(20, 80), np.arange(20)
    clinical, label = cohort.clinical.copy(), cohort.label.copy()
    clinical[test], label[test] = -1e6, 1 - label[test]
    wild = with_features(
        cohort, lambda i, v: np.full((30, v.shape[1]), 1e4, np.float32) if i in test else v
    )
    wild = replace(wild, clinical=clinical, label=label)
    save_model(tmp_path / "a", fit_on(cohort, train, SMALL, 0))
    save_model(tmp_path / "b", fit_on(wild, train, SMALL, 0))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_patient_is_set_apart_from_fitting(make):
    cohort = make(knees=60)
    model = fit_on(cohort, np.arange(40), SMALL, 0)
    assert model.record["training_knees"] == list(cohort.knee[:40])
    means = np.stack([cohort.slices(i).mean(axis=0) for i in range(40)])
    part = fit(cohort.take(np.arange(40)), replace(SMALL, network=False, linear=("mean",)), 0)
    np.testing.assert_allclose(
        part.module.each_linear()[0].mean.numpy(), means.mean(axis=0), rtol=1e-4, atol=1e-5
    )
    if model.module.networks is not None:
        assert model.module.networks.members == split_training(cohort, 0.2, 0).parts


def test_a_clear_signal_in_two_slices_is_found_and_the_file_gives_the_same_again(make, tmp_path):
    cohort = make(knees=200, strength=3.0)
    train, test = np.arange(130), np.arange(130, 200)
    model = save_model(tmp_path / "m.safetensors", fit_on(cohort, train, SMALL, 0))
    probability, attention = predict(model, *cohort.scored(test))
    assert roc_auc(cohort.label[test], probability) > 0.9
    again = load_model(tmp_path / "m.safetensors")
    assert (predict(again, *cohort.scored(test))[0] == probability).all()
    assert all(abs(each.sum() - 1) < 1e-5 for each in attention)
    assert again.record["parts"] == model.record["parts"]
    assert again.module.part_names() == [name for name, w in weights_of(model).items() if w]


def test_the_log_odds_of_a_model_are_the_weighted_sum_of_those_of_its_parts(make):
    cohort = make(knees=120, strength=3.0)
    settings = replace(SMALL, linear=("mean",), units=16, hidden=0, epochs=15, patience=15)
    model = fit(cohort, settings, 0)
    module = model.module
    knee = torch.from_numpy(cohort.slices(3))[None]
    mask, clinical = torch.ones(1, knee.shape[1], dtype=torch.bool), torch.tensor([[0.5]])
    with torch.no_grad():
        logits, attention = module(knee, mask, clinical)
    by_hand = float(module.intercept)
    for weight, part in zip(module.weights.tolist(), module.each_linear(), strict=False):
        by_hand += weight * float(part(knee, mask, clinical)[0])
    if module.networks is not None:
        answers = []
        for number in range(module.networks.members):
            alone = Networks(1, cohort.channels, 1, settings)
            state = dict(module.networks.named_buffers())
            for name, value in module.networks.named_parameters():
                state[name] = value[number : number + 1]
            alone.load_state_dict(state)
            with torch.no_grad():
                answers.append(alone(knee, mask, clinical))
        odds = np.mean([float(each[0, 0, 1] - each[0, 0, 0]) for each, _ in answers])
        by_hand += module.weights.tolist()[-1] * odds
        seen = torch.stack([each[0, 0] for _, each in answers]).mean(dim=0)
        torch.testing.assert_close(attention[0], seen)
    assert float(logits[0, 1] - logits[0, 0]) == pytest.approx(by_hand, abs=1e-5)


def test_the_networks_are_kept_where_the_linear_parts_cannot_see_the_signal(make):
    """Whether one channel of a slice is large together with another is in no view of single ones."""
    random = np.random.default_rng(4)
    cohort = make(knees=240, strength=0.0, clinical=0.0)
    signs = random.choice([-1.0, 1.0], size=(240, 2))

    def crossed(i, values):
        values = 0.1 * values
        values[:, 0], values[:, 1] = 2 * signs[i, 0], 2 * signs[i, 1]
        return values

    cohort = replace(with_features(cohort, crossed), label=(signs[:, 0] * signs[:, 1] > 0) * 1)
    settings = replace(SMALL, units=16, hidden=32, dropout=0.0, epochs=80, patience=80)
    model = fit_on(cohort, np.arange(160), replace(settings, learning_rate=1e-2), 0)
    probability, _ = predict(model, *cohort.scored(np.arange(160, 240)))
    assert weights_of(model)[NETWORK] > 0.1
    assert roc_auc(cohort.label[160:], probability) > 0.85
    assert model.record["linear_roc_auc"] < 0.65 < 0.8 < model.record["validation_roc_auc"]


def test_without_a_signal_nothing_is_claimed(make):
    cohort = make(knees=200, strength=0.0, clinical=0.0)
    cohort = replace(cohort, label=np.random.default_rng(3).permutation(cohort.label))
    model = fit_on(cohort, np.arange(140), SMALL, 0)
    probability, _ = predict(model, *cohort.scored(np.arange(140, 200)))
    share = cohort.label[:140].mean()
    assert abs(probability.mean() - share) < 0.06 and probability.std() < 0.15


@pytest.mark.parametrize("share", [0.08, 0.3])
def test_mean_probability_is_the_share_of_positives_and_the_slope_is_one(make, share):
    """What class weights and mini-batches did to calibration, they do no more: on fresh knees."""
    cohort = make(knees=700, strength=1.0)
    positive = np.flatnonzero(cohort.label == 1)
    wanted = int(share / (1 - share) * (cohort.label == 0).sum())
    kept = np.sort(np.concatenate([np.flatnonzero(cohort.label == 0), positive[:wanted]]))
    data = cohort.take(kept)
    train = np.flatnonzero(np.arange(len(data)) // 2 % 2 == 0)
    test = np.setdiff1d(np.arange(len(data)), train)
    model = fit_on(data, train, replace(SMALL, batch=8), 0)
    probability, _ = predict(model, *data.scored(test))
    assert 0.75 < probability.mean() / data.label[test].mean() < 1.33


def test_clinical_variables_are_a_part_of_their_own_and_noise_in_them_gets_no_weight(make):
    cohort = make(knees=240, channels=320, strength=0.0, clinical=4.0)
    model = fit_on(cohort, np.arange(160), SMALL, 0)
    probability, _ = predict(model, *cohort.scored(np.arange(160, 240)))
    assert roc_auc(cohort.label[160:], probability) > 0.8
    assert weights_of(model)["clinical"] > 0.5
    noise = replace(
        make(knees=240, strength=3.0),
        clinical=np.random.default_rng(0).normal(size=(240, 10)),
        clinical_names=tuple(f"c{i}" for i in range(10)),
    )
    weights = weights_of(fit_on(noise, np.arange(160), SMALL, 0))
    assert weights["clinical"] < 0.2


def test_the_threshold_is_chosen_on_knees_that_were_set_aside(make):
    """With one linear part it can be done again by hand, with NumPy's SVD and scikit-learn."""
    cohort = make(knees=80, strength=2.0).without_clinical()
    model = fit(cohort, replace(SMALL, network=False, linear=("mean",)), 0)
    (part,) = model.record["parts"]
    split = split_training(cohort, 0.2, 0)
    means = cohort.means()
    scaled = (means - means.mean(axis=0)) / means.std(axis=0) / means.shape[1] ** 0.5
    left, lengths, _ = np.linalg.svd(scaled.astype(np.float64), full_matrices=False)
    found, nats = [], []
    for power, strength in itertools.product((0.75, 1.0, 1.5), STRENGTHS):
        columns = left * lengths**power
        columns *= np.sqrt((scaled**2).sum() / (columns**2).sum())
        odds = np.empty(80)
        for number in range(1, split.parts + 1):
            held = split.part == number
            ridge = LogisticRegression(C=strength, max_iter=1000, tol=1e-6)
            ridge.fit(columns[~held], cohort.label[~held])
            odds[held] = ridge.decision_function(columns[held])
        found.append(odds)
        nats.append(log_loss(cohort.label, expit(odds), normalize=False))
    odds = np.average(found, axis=0, weights=np.exp(-np.array(nats)))
    best = list(itertools.product((0.75, 1.0, 1.5), STRENGTHS))[int(np.argmin(nats))]
    assert (part["power"], part["strength"]) == best
    assert part["roc_auc"] == pytest.approx(roc_auc(cohort.label, odds), abs=0.005)
    again = LogisticRegression(C=np.inf, tol=1e-9).fit(odds[:, None], cohort.label)
    probability = again.predict_proba(odds[:, None])[:, 1]
    expected = choose_threshold(cohort.label, probability, "youden")
    assert model.threshold == pytest.approx(expected, abs=0.02)
    assert "had not seen its patient" in model.record["threshold_rule"]


def test_a_network_is_judged_on_knees_that_it_has_not_learnt_from(make):
    """It learns noise by heart, and would know every one of its own."""
    cohort = make(knees=80, strength=0.0)
    settings = replace(SMALL, linear=(), dropout=0.0, epochs=12, patience=12, learning_rate=1e-2)
    (part,) = fit(cohort, settings, 0).record["parts"]
    assert part["name"] == NETWORK and 0.2 < part["roc_auc"] < 0.75


def test_the_record_says_how_the_classes_weighed_in_the_loss(make):
    cohort = make(knees=40)
    small = replace(SMALL, linear=(), epochs=1)
    positive = int(cohort.label.sum())
    expected = [40 / (2 * (40 - positive)), 40 / (2 * positive)]
    balanced = fit(cohort, replace(small, balanced=True), 0)
    assert balanced.record["class_weights"] == pytest.approx(expected)
    assert fit(cohort, small, 0).record["class_weights"] == [1.0, 1.0]


def test_a_model_of_linear_parts_alone_shares_its_attention(make):
    cohort = make(knees=60)
    model = fit(cohort, replace(SMALL, network=False), 0)
    assert model.module.networks is None and model.record["epochs"] == 0
    _, attention = predict(model, *cohort.scored([0]))
    np.testing.assert_allclose(attention[0], 1 / len(cohort.slices(0)), rtol=1e-6)


def test_the_loss_of_a_rare_class_does_not_depend_on_the_mini_batch():
    """Two batches, one positive of four knees in all: the sum is that of the whole cohort."""
    logits, label = torch.tensor([[0.3, -0.2]] * 4), torch.tensor([1, 0, 0, 0])
    weights = torch.tensor([[4 / 6, 4 / 2]])  # inverse frequency

    def loss(a, b, settings):
        fits = torch.ones(1, b - a, dtype=torch.bool)
        return training_loss(
            logits[None, a:b], label[None, a:b], torch.zeros(0), weights, fits, settings
        )[0]

    whole = loss(0, 4, Settings(balanced=True))
    halves = [loss(a, b, Settings(balanced=True)) for a, b in ((0, 2), (2, 4))]
    torch.testing.assert_close(torch.stack(halves).mean(), whole)
    paper = [loss(a, b, preset("paper")) for a, b in ((0, 2), (2, 4))]
    assert abs(torch.stack(paper).mean() - whole) > 0.01


def test_settings_that_leave_nothing_are_refused():
    assert Settings().linear == VIEWS and preset("paper").inner == "single"
    assert set(PRESETS) == {"default", "paper"}
    for wrong in (
        {"linear": (), "network": False},
        {"inner": "single"},
        {"inner": "single", "linear": (), "network": False},
        {"linear": ("mean", "mean")},
        {"linear": ("median",)},
    ):
        with pytest.raises(UsageError):
            Settings(**wrong)
    with pytest.raises(UsageError, match="there are default, paper"):
        preset("papers")
