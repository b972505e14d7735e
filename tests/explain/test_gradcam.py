import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from oatools.core.errors import UsageError
from oatools.explain.explanation import explain as explain_chain
from oatools.explain.gradcam import weighted
from oatools.explain.knee import EndToEnd, prepare, to_grid
from oatools.features.backbone import load_backbone
from oatools.features.slices import Preprocessing, images
from oatools.imaging import orient
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, build, predict
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mobilenetv2_100", "random", seed=3)


@pytest.fixture(scope="module")
def knee():
    from oatools.phantom import anatomy, rendering, series

    made = anatomy.random_knee(np.random.default_rng(5), "right")
    shape, affine = series.grid(series.SEQUENCES["cor-iw-tse"], 64, "right", (95.0, 0.0, 0.0), 5.0)
    volume = Volume(rendering.render(made, shape, affine, "iw"), affine)
    return orient.apply(volume, orient.canonical(volume, "coronal", "right"))


@pytest.fixture(scope="module", params=["a network", "all parts"])
def model(request, backbone):
    torch.manual_seed(0)
    settings = Settings(slices=4, conv=8, units=8, hidden=16)
    scaling = ClinicalScaling(("bmi",), np.array([27.0]), np.array([28.0]), np.array([4.0]))
    module = build(settings, 1280, 1).eval()
    if request.param == "all parts":
        views = ("mean", "max", "sd", "position", "clinical")
        module = build(settings, 1280, 1, linear=views, networks=3).eval()
        module.weights.copy_(torch.tensor([0.3, 0.2, 0.4, 0.5, 0.1, 0.6]))
        for part in module.each_linear():
            part.mean.fill_(0.4)
            part.scale.fill_(1.5)
            part.weight.normal_(std=0.03)
    module.networks.branches[0].feature_mean.fill_(0.4)
    module.networks.branches[0].feature_sd.fill_(0.7)
    recorded = prepared_for(backbone).record()
    return FittedModel(
        module, settings, scaling, 0.5, {"feature_space": {"preprocessing": recorded}}
    )


def explain(volume, model, backbone, clinical, method="gradcam", sign=1):
    (found,), _ = explain_chain(
        EndToEnd(model, backbone, clinical, sign), prepare([volume], model), method
    )
    return found


def prepared_for(backbone):
    record = backbone.record
    return Preprocessing(
        (1.0, 99.0), record.size, record.interpolation, record.mean, record.std, slices=6
    )


def prepared(volume, backbone):
    return backbone.normalise(torch.from_numpy(images(volume, prepared_for(backbone))))


def test_probability_and_attention_are_those_of_the_prediction_from_features(knee, model, backbone):
    found = explain(knee, model, backbone, np.array([31.0]))
    with torch.no_grad():
        features = backbone.network(prepared(knee, backbone)).numpy()
    probability, attention = predict(model, [features], np.array([[31.0]]))
    assert found.probability == pytest.approx(probability[0], abs=1e-6)
    np.testing.assert_allclose(found.attention[14:20], attention[0], atol=1e-6)
    assert found.attention.shape == (35,) and found.attention.sum() == pytest.approx(1, abs=1e-6)


def test_slices_that_the_model_does_not_see_have_neither_attention_nor_heat(knee, model, backbone):
    found = explain(knee, model, backbone, np.array([31.0]))
    unseen = [k for k in range(35) if not 15 <= k < 19]
    assert not found.attention[unseen].any() and not found.heat[:, :, unseen].any()
    assert found.heat.shape == knee.data.shape and found.heat.max() > 0 and found.heat.min() == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_the_map_is_captums_layer_grad_cam_of_the_whole_network(knee, model, backbone, sign):
    def log_odds(pixels):
        logits, _ = model.logits(backbone.network(pixels), np.array([31.0]))
        return sign * (logits[1] - logits[0])[None]

    oracle = LayerGradCam(log_odds, backbone.network.bn2)
    expected = oracle.attribute(prepared(knee, backbone), relu_attributions=True)[:, 0].detach()
    found = explain(knee, model, backbone, np.array([31.0]), sign=sign)
    assert expected.max() > 0
    np.testing.assert_allclose(found.heat[:, :, 14:20], to_grid(expected, knee), atol=1e-5)
    assert found.probability == explain(knee, model, backbone, np.array([31.0])).probability


@pytest.mark.parametrize(("linear", "networks"), [((), 1), (("mean", "position"), 2)])
def test_hirescam_adds_up_to_the_log_odds_where_the_model_is_linear(
    knee, backbone, linear, networks
):
    """Draelos and Carin (2020): after mean pooling, the map is the score, place by place."""
    settings = Settings(pooling="mean", hidden=0)
    torch.manual_seed(1)
    scaling = ClinicalScaling((), np.zeros(0), np.zeros(0), np.zeros(0))
    recorded = {"feature_space": {"preprocessing": prepared_for(backbone).record()}}
    module = build(settings, 1280, 0, linear=linear, networks=networks).eval()
    for part in module.each_linear():
        part.scale.fill_(1.0)
        part.weight.normal_()
    chain = EndToEnd(
        FittedModel(module, settings, scaling, 0.5, recorded),
        backbone,
        np.zeros(0),
    )
    seen = prepare([knee], chain.model)
    maps = chain.maps(seen.pixels).requires_grad_(True)
    log_odds, _ = chain.log_odds(chain.pooled(maps)[None], seen.extents)
    (gradient,) = torch.autograd.grad(log_odds[0], maps)
    nothing, _ = chain.log_odds(chain.pooled(torch.zeros_like(maps))[None], seen.extents)
    total = weighted(maps.detach(), gradient, "hirescam").sum()
    torch.testing.assert_close(total, (log_odds - nothing)[0].detach(), rtol=1e-4, atol=1e-5)
    # Grad-CAM spreads the gradient over space, so where a head pools by the mean, both are the same
    # here.
    torch.testing.assert_close(
        weighted(maps.detach(), gradient, "gradcam"), weighted(maps.detach(), gradient, "hirescam")
    )


def test_the_methods_weigh_gradients_as_their_papers_say():
    random = np.random.default_rng(0)
    maps, gradient = random.random((2, 3, 4, 4)), random.normal(size=(2, 3, 4, 4))
    gradient[0, 1, 2] = 0
    plus, cam, high = (np.zeros((2, 4, 4)) for _ in range(3))
    for n in range(2):
        for c in range(3):
            weight = 0.0
            for i in range(4):
                for j in range(4):
                    g = gradient[n, c, i, j]
                    if g > 0:
                        weight += g**2 / (2 * g**2 + maps[n, c].sum() * g**3) * g
            plus[n] += weight * maps[n, c]
            cam[n] += gradient[n, c].mean() * maps[n, c]
            high[n] += gradient[n, c] * maps[n, c]
    for method, expected in (("gradcam++", plus), ("gradcam", cam), ("hirescam", high)):
        found = weighted(torch.from_numpy(maps), torch.from_numpy(gradient), method)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_hot_corner_lands_in_the_same_corner_of_the_volume():
    volume = Volume(np.zeros((40, 60, 1), np.float32), np.diag([1.0, 1.0, 3.0, 1.0]))
    heat = torch.zeros(1, 6, 6)
    heat[0, 0, 4] = 1  # the top row of the image: superior; its fifth sixth from the left
    grid = to_grid(heat, volume)
    i, j = np.unravel_index(grid[:, :, 0].argmax(), (40, 60))
    # 60 pixels across, 10 of padding on either side of the 40 columns: the fifth sixth is 40 to 50,
    # so 30 to 40 here.
    assert 30 <= i < 40 and 50 <= j < 60


def test_the_map_of_a_mirrored_knee_overlays_its_scan_as_it_was(knee):
    """Brought back by the inverse orientation, heat lies on voxels of the same coordinates."""
    original = orient.apply(knee, orient.Orientation((2, 0, 1), (True, False, True)))
    orientation = orient.canonical(original, "coronal", "right")
    oriented = orient.apply(original, orientation)
    heat = np.zeros(oriented.data.shape, np.float32)
    heat[50, 20, 16] = 1
    back = orient.apply(Volume(heat, oriented.affine), orient.inverse(orientation))
    np.testing.assert_allclose(back.affine, original.affine, atol=1e-9)
    place = np.argwhere(back.data == 1)[0]
    assert original.data[tuple(place)] == oriented.data[50, 20, 16]
    np.testing.assert_allclose(
        original.affine @ [*place, 1], oriented.affine @ [50, 20, 16, 1], atol=1e-9
    )


def test_explaining_twice_gives_the_same_numbers(knee, model, backbone):
    first, second = (explain(knee, model, backbone, np.array([np.nan])) for _ in range(2))
    assert np.array_equal(first.heat, second.heat) and first.probability == second.probability


def test_a_backbone_without_spatial_features_is_refused(knee, model):
    mixer = load_backbone("gmixer_12_224", "random")
    with pytest.raises(UsageError, match="no spatial feature maps; use method occlusion"):
        explain(knee, model, mixer, np.array([31.0]))
