import numpy as np
import pytest
import torch

from oatools.learning.model import FittedModel, build, middle_slices, predict
from oatools.learning.scaling import ClinicalScaling, fit_clinical, fit_features
from oatools.learning.settings import Settings


def fitted(channels=16, clinical=1, slices=None, seed=0):
    torch.manual_seed(seed)
    settings = Settings(slices=slices, conv=8, units=8, hidden=8)
    names = tuple(f"c{i}" for i in range(clinical))
    scaling = ClinicalScaling(
        names, np.full(clinical, 2.0), np.ones(clinical), np.full(clinical, 3.0)
    )
    return FittedModel(build(settings, channels, clinical).eval(), settings, scaling, 0.5)


@pytest.mark.parametrize(
    ("slices", "wanted", "expected"),
    [
        (36, 8, (14, 22)),
        (37, 8, (14, 22)),
        (36, 7, (14, 21)),
        (37, 7, (15, 22)),
        (5, 8, (0, 5)),
        (8, 8, (0, 8)),
        (30, None, (0, 30)),
    ],
)
def test_the_window_is_centred_with_the_odd_slice_left_over_at_the_end(slices, wanted, expected):
    found = middle_slices(slices, wanted)
    assert (found.start, found.stop) == expected


def test_attention_is_exactly_zero_on_padding_and_sums_to_one():
    module = fitted().module
    mask = torch.tensor([[True] * 3 + [False] * 4, [True] * 7])
    features = torch.randn(2, 7, 16)
    _, attention = module(features, mask, torch.zeros(2, 1))
    assert (attention[0, 3:] == 0).all()
    assert (attention[0, :3] > 0).all()
    assert torch.allclose(attention.sum(1), torch.ones(2))


def test_a_knee_gives_the_same_alone_and_beside_longer_ones_whatever_lies_in_its_padding():
    module = fitted().module
    knee, longer = torch.randn(3, 16), torch.randn(9, 16)
    padded = torch.full((9, 16), 1e6)
    padded[:3] = knee
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, :3], mask[1] = True, True
    together, weights = module(torch.stack([padded, longer]), mask, torch.zeros(2, 1))
    alone, own = module(knee[None], torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 1))
    torch.testing.assert_close(together[0], alone[0])
    torch.testing.assert_close(weights[0, :3], own[0])


def test_probabilities_depend_neither_on_order_nor_on_company_nor_on_repetition():
    model = fitted()
    random = np.random.default_rng(0)
    knees = [random.normal(size=(n, 16)).astype(np.float32) for n in (3, 9, 5, 7)]
    clinical = random.normal(size=(4, 1))
    first, _ = predict(model, knees, clinical)
    assert (first == predict(model, knees, clinical)[0]).all()
    assert (first[::-1] == predict(model, knees[::-1], clinical[::-1])[0]).all()
    assert first[2] == predict(model, knees[2:3], clinical[2:3])[0][0]


def test_scoring_switches_dropout_off_even_after_training_mode():
    model = fitted()
    knee = [np.ones((4, 16), dtype=np.float32)]
    before = predict(model, knee, np.zeros((1, 1)))[0]
    model.module.train()
    assert predict(model, knee, np.zeros((1, 1)))[0] == before


def test_slices_outside_the_window_have_no_attention_no_gradient_and_no_influence():
    model = fitted(slices=4)
    features = torch.randn(10, 16, requires_grad=True)
    logits, attention = model.logits(features, np.array([1.0]))
    logits[1].backward()
    inside = middle_slices(10, 4)
    outside = [i for i in range(10) if not inside.start <= i < inside.stop]
    assert (attention[outside] == 0).all() and attention.shape == (10,)
    assert (features.grad[outside] == 0).all() and (features.grad[inside] != 0).any()
    other = features.detach().clone()
    other[outside] = 99.0
    torch.testing.assert_close(model.logits(other, np.array([1.0]))[0], logits.detach())


def test_the_gradient_is_that_of_finite_differences():
    model = fitted(channels=5)
    model.module.double()
    features = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        model.module.networks.branches[0].feature_mean += 0.3
    mask, clinical = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: model.module(x[None], mask, clinical), (features,))


def test_a_missing_clinical_value_counts_as_the_recorded_one():
    model = fitted()
    knee = [np.random.default_rng(1).normal(size=(4, 16)).astype(np.float32)]
    missing = predict(model, knee, np.array([[np.nan]]))[0]
    assert missing == predict(model, knee, np.array([[2.0]]))[0] == predict(model, knee)[0]
    assert missing != predict(model, knee, np.array([[5.0]]))[0]


def test_clinical_scaling_imputes_the_median_then_standardises():
    scaling = fit_clinical(
        np.array([[1.0, 5.0], [2.0, 5.0], [np.nan, 5.0], [6.0, 5.0]]), ("a", "constant")
    )
    assert scaling.fill.tolist() == [2.0, 5.0]
    filled = np.array([1.0, 2.0, 2.0, 6.0])
    expected = (filled - filled.mean()) / filled.std()
    np.testing.assert_allclose(
        scaling.apply(np.array([[1.0, 5], [2, 5], [np.nan, 5], [6, np.nan]]))[:, 0],
        expected,
        rtol=1e-6,
    )
    assert scaling.apply(np.array([3.0, 5.0]))[1] == 0


def test_feature_scaling_leaves_padding_out():
    random = np.random.default_rng(2)
    short, long = random.normal(5, 2, (3, 4)), random.normal(5, 2, (6, 4))
    padded = np.zeros((2, 6, 4), dtype=np.float32)
    padded[0, :3], padded[1] = short, long
    mean, sd = fit_features([padded[0, :3], padded[1, :6]])
    both = np.concatenate([short, long])
    np.testing.assert_allclose(mean, both.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sd, both.std(axis=0), rtol=1e-5)
