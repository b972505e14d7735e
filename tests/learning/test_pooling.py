import numpy as np
import pytest
import torch

from oatools.core.errors import UsageError
from oatools.learning.metrics import roc_auc
from oatools.learning.model import build, predict
from oatools.learning.pooling import (
    POOLINGS,
    Attention,
    Max,
    Mean,
    RecurrentAttention,
    Transformer,
    positions,
)
from oatools.learning.settings import Settings, options, preset

from .conftest import fit_on

SMALL = {"conv": 8, "units": 8, "hidden": 8}


def pooled(kind, values, mask, channels=6, **more):
    torch.manual_seed(0)
    return POOLINGS[kind](channels, Settings(pooling=kind, **SMALL, **more)).eval()(values, mask)


@pytest.fixture
def ragged():
    """Standardised values of a knee of three slices and one of seven, zero on padding, and their mask."""
    torch.manual_seed(1)
    mask = torch.tensor([[True] * 3 + [False] * 4, [True] * 7])
    return torch.randn(2, 7, 6).masked_fill(~mask[..., None], 0.0), mask


def test_every_pooling_has_its_name_among_the_settings():
    assert tuple(POOLINGS) == options()["pooling"].choices


@pytest.mark.parametrize("kind", POOLINGS)
def test_weights_sum_to_one_and_padding_has_none(kind, ragged):
    _, weights = pooled(kind, *ragged)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert (weights[0, 3:] == 0).all() and (weights >= 0).all()


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_knee_is_pooled_alike_alone_and_beside_a_longer_one(kind, ragged):
    values, mask = ragged
    together, weights = pooled(kind, values, mask)
    alone, own = pooled(kind, values[:1, :3], mask[:1, :3])
    torch.testing.assert_close(together[0], alone[0])
    torch.testing.assert_close(weights[0, :3], own[0])


@pytest.mark.parametrize("kind", POOLINGS)
def test_bfloat16_gives_nearly_the_same(kind, ragged):
    values, mask = ragged
    exact, weights = pooled(kind, values, mask)
    rough, roughly = pooled(kind, values.bfloat16(), mask)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.03, atol=0.03)
    if kind != "max":  # where two slices are near, the maximum may move
        torch.testing.assert_close(roughly, weights, rtol=0.05, atol=0.02)


def test_the_convolution_is_that_of_pytorch(ragged):
    values, _ = ragged
    pool = RecurrentAttention(6, Settings(kernel=5, **SMALL))
    theirs = torch.nn.Conv1d(6, 8, 5, padding=2)
    with torch.no_grad():
        theirs.weight.copy_(pool.taps.unflatten(0, (5, 8)).permute(1, 2, 0))
        theirs.bias.copy_(pool.bias)
        along = torch.relu(theirs(values[1:].transpose(1, 2)).transpose(1, 2))
        scores = pool.score(pool.gru(along)[0])[..., 0]
        expected = torch.softmax(scores, dim=1)
        found, weights = pool(values[1:], torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(found[0], expected[0] @ values[1])


@pytest.mark.parametrize("gated", [False, True])
def test_attention_is_the_formula_of_ilse(gated, ragged):
    values, mask = ragged
    pool = Attention(6, Settings(pooling="gated" if gated else "attention", **SMALL)).double()
    found, weights = pool(values.double(), mask)
    v, w = pool.value.weight.detach().numpy(), pool.score.weight.detach().numpy()[0]
    h = values[0, :3].double().numpy()
    hidden = np.tanh(h @ v.T + pool.value.bias.detach().numpy())
    if gated:
        u = h @ pool.gate.weight.detach().numpy().T + pool.gate.bias.detach().numpy()
        hidden *= 1 / (1 + np.exp(-u))
    scores = np.exp(hidden @ w)
    np.testing.assert_allclose(weights[0, :3].detach(), scores / scores.sum(), rtol=1e-10)
    np.testing.assert_allclose(found[0].detach(), (scores / scores.sum()) @ h, rtol=1e-10)


def test_mean_and_maximum_are_those_of_numpy(ragged):
    values, mask = ragged
    there = values[0, :3].numpy()
    np.testing.assert_allclose(
        Mean(6, Settings())(values, mask)[0][0], there.mean(axis=0), rtol=1e-6
    )
    largest, weights = Max(6, Settings())(values, mask)
    np.testing.assert_array_equal(largest[0], there.max(axis=0))
    np.testing.assert_allclose(weights[0, :3], np.bincount(there.argmax(axis=0), minlength=3) / 6)


def test_positions_are_counted_from_the_middle_of_each_knee(ragged):
    _, mask = ragged
    found = positions(mask, 8)
    torch.testing.assert_close(found[0, 1], found[1, 3])  # both middles
    torch.testing.assert_close(found[0, 0], found[1, 2])
    torch.testing.assert_close(found[0, 1, :4], torch.zeros(4))
    assert not torch.allclose(found[1, 0], found[1, 6])


def test_the_transformer_sees_the_order_of_slices_and_ilse_s_attention_does_not(ragged):
    values, mask = ragged
    turned = values[1:].flip(1)
    for kind, same in (("attention", True), ("transformer", False), ("gru", False)):
        first, _ = pooled(kind, values[1:], mask[1:])
        second, _ = pooled(kind, turned, mask[1:])
        assert torch.allclose(first, second, atol=1e-5) == same, kind


def test_a_transformer_needs_units_for_its_heads():
    with pytest.raises(UsageError, match="multiple of 8"):
        Settings(pooling="transformer", units=12)
    assert Transformer(6, Settings(pooling="transformer", units=16)).width == 16


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("instance", [(), (16, 8)])
def test_every_pooling_finds_a_signal_and_its_model_comes_back_from_its_file(
    kind, instance, make, tmp_path
):
    from oatools.learning.files import load_model, save_model

    cohort = make(knees=160, strength=4.0)
    settings = preset(
        "paper",
        pooling=kind,
        instance=instance,
        conv=16,
        units=16,
        hidden=16,
        epochs=40,
        patience=10,
        learning_rate=3e-3,
        dropout=0.2,
    )
    train, test = np.arange(100), np.arange(100, 160)
    model = save_model(tmp_path / "m.safetensors", fit_on(cohort, train, settings, 0))
    knees = [cohort.slices(i) for i in test]
    probability, attention = predict(model, knees, cohort.clinical[test])
    assert roc_auc(cohort.label[test], probability) > 0.85
    again = load_model(tmp_path / "m.safetensors")
    assert (predict(again, knees, cohort.clinical[test])[0] == probability).all()
    assert all(abs(a.sum() - 1) < 1e-5 for a in attention)


def test_without_a_hidden_layer_the_classifier_is_linear():
    module = build(Settings(hidden=0, pooling="mean"), 6, 1).eval()
    mask = torch.ones(1, 4, dtype=torch.bool)
    a, b, clinical = torch.randn(1, 4, 6), torch.randn(1, 4, 6), torch.zeros(1, 1)
    between = module((a + b) / 2, mask, clinical)[0]
    torch.testing.assert_close(
        between, (module(a, mask, clinical)[0] + module(b, mask, clinical)[0]) / 2
    )
