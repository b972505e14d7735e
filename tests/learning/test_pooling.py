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
from oatools.learning.recurrent import GatedRecurrence
from oatools.learning.settings import Settings, options, preset

from .conftest import fit_on

SMALL = {"conv": 8, "units": 8, "hidden": 8}


def pooled(kind, values, mask, channels=6, members=3, **more):
    torch.manual_seed(0)
    settings = Settings(pooling=kind, **SMALL, **more)
    return POOLINGS[kind](members, channels, settings)(values, mask)


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
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 2))
    assert (weights[:, 0, 3:] == 0).all() and (weights >= 0).all()


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_knee_is_pooled_alike_alone_and_beside_a_longer_one(kind, ragged):
    values, mask = ragged
    together, weights = pooled(kind, values, mask)
    alone, own = pooled(kind, values[:1, :3], mask[:1, :3])
    torch.testing.assert_close(together[:, 0], alone[:, 0])
    torch.testing.assert_close(weights[:, 0, :3], own[:, 0])


@pytest.mark.parametrize("kind", POOLINGS)
def test_values_that_members_share_are_pooled_as_if_each_had_its_own(kind, ragged):
    values, mask = ragged
    shared, weights = pooled(kind, values, mask)
    found, own = pooled(kind, values.expand(3, -1, -1, -1), mask)
    assert shared.shape[:2] == (3, 2) and weights.shape == (3, 2, 7)
    torch.testing.assert_close(found, shared)
    torch.testing.assert_close(own, weights)
    assert kind in ("mean", "max") or not torch.allclose(shared[0], shared[1], atol=1e-3)


@pytest.mark.parametrize("kind", POOLINGS)
def test_bfloat16_gives_nearly_the_same(kind, ragged):
    values, mask = ragged
    exact, weights = pooled(kind, values, mask)
    rough, roughly = pooled(kind, values.bfloat16(), mask)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.03, atol=0.03)
    if kind != "max":  # where two slices are near, the maximum may move
        torch.testing.assert_close(roughly, weights, rtol=0.05, atol=0.02)


def test_the_convolution_and_the_recurrent_layer_are_those_of_pytorch(ragged):
    values, _ = ragged
    pool = RecurrentAttention(2, 6, Settings(kernel=5, **SMALL))
    found, weights = pool(values[1:], torch.ones(1, 7, dtype=torch.bool))
    for member in range(2):
        conv, gru = torch.nn.Conv1d(6, 8, 5, padding=2), torch.nn.GRU(8, 8, batch_first=True)
        with torch.no_grad():
            conv.weight.copy_(pool.taps[member].unflatten(0, (5, 8)).permute(1, 2, 0))
            conv.bias.copy_(pool.bias[member])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(gru, f"{name}_l0").copy_(getattr(pool, name)[member])
            along = torch.relu(conv(values[1:].transpose(1, 2)).transpose(1, 2))
            scores = gru(along)[0] @ pool.score[member]
            expected = torch.softmax(scores, dim=1)
        torch.testing.assert_close(weights[member].detach(), expected)
        torch.testing.assert_close(found[member, 0].detach(), expected[0] @ values[1])


def test_gradients_of_the_recurrent_layer_are_those_of_pytorch():
    torch.manual_seed(0)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    theirs = [torch.nn.GRU(5, 7, batch_first=True).double() for _ in range(3)]
    weights = [torch.stack([getattr(g, name) for g in theirs]).detach() for name in names]
    inputs = torch.randn(3, 4, 6, 5, dtype=torch.double)
    for each in (inputs, *weights):
        each.requires_grad_()
    states, _ = GatedRecurrence.apply(inputs, *weights)
    states.sin().sum().backward()
    for member, gru in enumerate(theirs):
        own = inputs[member].detach().requires_grad_()
        expected = gru(own)[0]
        torch.testing.assert_close(states[member], expected, rtol=1e-10, atol=1e-12)
        expected.sin().sum().backward()
        torch.testing.assert_close(inputs.grad[member], own.grad, rtol=1e-9, atol=1e-12)
        for weight, name in zip(weights, names, strict=True):
            there = getattr(gru, name).grad
            torch.testing.assert_close(weight.grad[member], there, rtol=1e-9, atol=1e-12)


def test_the_transformer_is_made_of_pytorch_s_layers(ragged):
    values, mask = ragged
    pool = Transformer(2, 6, Settings(**SMALL | {"units": 16})).double()
    with torch.no_grad():
        for norm in (pool.before, pool.between, pool.after):
            norm.weight.normal_(1, 0.1)
            norm.bias.normal_()
        found, weights = pool(values.double(), mask)
    for member in range(2):
        attention = torch.nn.MultiheadAttention(16, 4, batch_first=True).double()

        def dense(layer, x, member=member):
            return torch.nn.functional.linear(x, layer.weight[member], layer.bias[member])

        def norm(layer, x, member=member):
            return torch.nn.functional.layer_norm(
                x, (16,), layer.weight[member], layer.bias[member]
            )

        with torch.no_grad():
            layers = (pool.query, pool.key, pool.value)
            attention.in_proj_weight.copy_(torch.cat([each.weight[member] for each in layers]))
            attention.in_proj_bias.copy_(torch.cat([each.bias[member] for each in layers]))
            attention.out_proj.weight.copy_(pool.mix.weight[member])
            attention.out_proj.bias.copy_(pool.mix.bias[member])
            slices = dense(pool.project, values.double()) + positions(mask, 16)
            states = torch.cat([pool.token[member].expand(2, 1, -1), slices], dim=1)
            normed = norm(pool.before, states)
            hidden = torch.nn.functional.pad(~mask, (1, 0))
            mixed, seen = attention(normed[:, :1], normed, normed, key_padding_mask=hidden)
            token = states[:, :1] + mixed
            inner = torch.nn.functional.gelu(dense(pool.up, norm(pool.between, token)))
            token = norm(pool.after, token + dense(pool.down, inner))[:, 0]
        torch.testing.assert_close(found[member], token)
        on_slices = seen[:, 0, 1:]
        torch.testing.assert_close(weights[member], on_slices / on_slices.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("gated", [False, True])
def test_attention_is_the_formula_of_ilse(gated, ragged):
    values, mask = ragged
    pool = Attention(2, 6, Settings(pooling="gated" if gated else "attention", **SMALL)).double()
    found, weights = pool(values.double(), mask)
    h = values[0, :3].double().numpy()
    for member in range(2):
        v, w = pool.value.weight[member].detach().numpy(), pool.score[member].detach().numpy()
        hidden = np.tanh(h @ v.T + pool.value.bias[member].detach().numpy())
        if gated:
            u, bias = pool.gate.weight[member].detach().numpy(), pool.gate.bias[member]
            hidden *= 1 / (1 + np.exp(-(h @ u.T + bias.detach().numpy())))
        scores = np.exp(hidden @ w)
        shares = scores / scores.sum()
        np.testing.assert_allclose(weights[member, 0, :3].detach(), shares, rtol=1e-10)
        np.testing.assert_allclose(found[member, 0].detach(), shares @ h, rtol=1e-10)


def test_mean_and_maximum_are_those_of_numpy(ragged):
    values, mask = ragged
    there = values[0, :3].numpy()
    np.testing.assert_allclose(
        Mean(1, 6, Settings())(values, mask)[0][0, 0], there.mean(axis=0), rtol=1e-6
    )
    largest, weights = Max(1, 6, Settings())(values, mask)
    np.testing.assert_array_equal(largest[0, 0], there.max(axis=0))
    np.testing.assert_allclose(
        weights[0, 0, :3], np.bincount(there.argmax(axis=0), minlength=3) / 6
    )


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
    assert Transformer(1, 6, Settings(pooling="transformer", units=16)).width == 16


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
        patience=40,  # two narrow layers may take a while until they begin
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
