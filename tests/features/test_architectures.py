"""The size of images and the tokens of a backbone; timm's own networks are the measure."""

import numpy as np
import pytest
import timm
import torch

from oatools.core.errors import UsageError
from oatools.features import architectures, catalogue
from oatools.features.backbone import load_backbone
from oatools.features.engine import EngineSettings
from oatools.features.engines import open_engine

VIT = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """The file of a small vision transformer with seeded weights, and the network itself."""
    torch.manual_seed(3)
    network = timm.create_model(VIT, num_classes=0).eval()
    path = tmp_path_factory.mktemp("vit") / "vit.pth"
    torch.save(network.state_dict(), path)
    return network, str(path)


def test_a_vision_transformer_of_another_size_is_what_timm_makes_of_the_same_weights(vit):
    _, path = vit
    overlay = {"file": path, "custom_load": False}
    expected = timm.create_model(
        VIT, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=320
    ).eval()
    loaded = load_backbone(VIT, path, size=320)
    assert loaded.record.size == 320 and loaded.network.pos_embed.shape == (1, 401, 192)
    pixels = torch.rand(2, 3, 320, 320)
    with torch.no_grad():
        assert torch.equal(loaded.network(pixels), expected(pixels))


def test_its_own_size_said_is_the_same_network_as_its_own_size(vit):
    said, unsaid = (load_backbone(VIT, vit[1], size=size) for size in (224, None))
    assert said.record == unsaid.record and said.record.weights.sha256
    said, unsaid = (load_backbone(VIT, "random", seed=4, size=size) for size in (224, None))
    assert said.record == unsaid.record


def test_a_network_of_convolutions_has_the_same_weights_at_any_size(weights):
    file = str(weights("mobilenetv2_100"))
    own, larger = (load_backbone("mobilenetv2_100", file, size=size) for size in (None, 320))
    assert larger.record.weights == own.record.weights and larger.record.size == 320
    with torch.no_grad():
        assert larger.network(torch.rand(1, 3, 320, 320)).shape == (1, 1280)


@pytest.mark.parametrize(
    "name, size, said",
    [
        (VIT, 225, "size 225 is no multiple of 16, the patch of .*; give size as 224 or 240"),
        ("curia", 100, "size 100 is no multiple of 16, the patch of curia; give size as 96 or 112"),
        ("coatnet_nano_rw_224", 250, "does not take images of size 250 .* its own is 224"),
        ("xcit_nano_12_p16_224", 231, "does not take images of size 231 .*divide image dim"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_refused_in_one_line(name, size, said):
    with pytest.raises(UsageError, match=said) as refused:
        load_backbone(name, "random", size=size)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("tokens, width", [("cls", 192), ("mean", 192), ("cls+mean", 384)])
def test_tokens_are_those_that_timm_normalises_last(vit, tokens, width):
    network, path = vit
    loaded = load_backbone(VIT, path, tokens=tokens)
    pixels = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        found, all_tokens = loaded.network(pixels), network.forward_features(pixels)
    parts = {"cls": [all_tokens[:, 0]], "mean": [all_tokens[:, 1:].mean(dim=1)]}
    parts["cls+mean"] = [*parts["cls"], *parts["mean"]]
    assert torch.equal(found, torch.cat(parts[tokens], dim=1))
    assert (loaded.record.channels, loaded.record.tokens) == (width, tokens)
    # The weights are the same whatever is made of their tokens.
    assert loaded.record.weights == load_backbone(VIT, path).record.weights


@pytest.mark.parametrize(
    "name, tokens, said",
    [
        ("convnext_atto", "cls", "is no vision transformer with tokens; leave out tokens"),
        ("vit_medium_patch16_gap_240", "cls", "has no class token; give tokens as mean"),
        ("swin_tiny_patch4_window7_224", "mean", "is no vision transformer with tokens"),
    ],
)
def test_tokens_that_a_network_does_not_have_are_refused_in_one_line(name, tokens, said):
    with pytest.raises(UsageError, match=said) as refused:
        load_backbone(name, "random", tokens=tokens)
    assert "\n" not in str(refused.value)


def test_both_engines_compute_another_size_and_tokens_and_keep_exports_apart(vit, cosine):
    images = np.random.default_rng(0).random((2, 1, 256, 256), dtype=np.float32)
    small = {"backbone": VIT, "weights": vit[1], "device": "cpu"}
    opened = {}
    for tokens in ("cls", "cls+mean"):
        for engine in ("openvino", "torch"):
            settings = EngineSettings(**small, engine=engine, size=256, tokens=tokens)
            opened[engine, tokens] = open_engine(settings)(images)
        np.testing.assert_allclose(
            opened["openvino", tokens], opened["torch", tokens], rtol=1e-3, atol=1e-4
        )
        assert cosine(opened["openvino", tokens], opened["torch", tokens]) > 0.99999
    assert opened["openvino", "cls"].shape == (2, 192)
    assert opened["openvino", "cls+mean"].shape == (2, 384)
    # What was kept is not taken for another size.
    engine = open_engine(EngineSettings(**small, engine="openvino"))
    assert engine.record.size == 224 and engine.record.tokens == ""
    assert engine(images[:, :, :224, :224]).shape == (2, 192)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"size": 0}, "size is 0"),
        ({"size": 5000}, "size is 5000"),
        ({"tokens": "all"}, "no tokens"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, said):
    with pytest.raises(UsageError, match=said):
        EngineSettings(**options)


def test_weights_that_nobody_may_download_for_a_user_are_told_with_their_address():
    for name in catalogue.OWN:
        with pytest.raises(UsageError, match="are not downloaded .licence: ") as refused:
            load_backbone(name, "pretrained")
        assert "https://" in refused.value.remedy and "`weights`" in refused.value.remedy


def test_near_names_include_those_that_are_not_timms():
    with pytest.raises(UsageError, match="no timm model is called 'curia_vit'; near: curia"):
        load_backbone("curia_vit", "random")


@pytest.mark.parametrize("each", catalogue.KNOWN, ids=lambda each: each.name)
def test_the_table_says_what_timms_registry_and_the_networks_say(each, without_numbers):
    if each.name in catalogue.OWN:
        config = None
    elif each.name not in timm.list_models():
        pytest.skip(f"this timm has no {each.name}")
    else:
        config = timm.get_pretrained_cfg(each.name)
    network = without_numbers(each.name)
    assert sum(tensor.numel() for tensor in network.parameters()) == each.parameters
    assert getattr(network, "head_hidden_size", network.num_features) == each.features
    assert each.size == architectures.native_size(each.name)
    if config is not None and "dinov3" not in each.name:
        assert config.license in (None, each.licence.casefold())  # None in an old timm
    if config is not None and each.weights != "installed with oatools":
        assert f"https://huggingface.co/{config.hf_hub_id}" in each.weights
