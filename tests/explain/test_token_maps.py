"""Heat maps of vision transformers, against gradients through the whole network."""

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from oatools.explain.gradcam import gradient_map
from oatools.explain.knee import EndToEnd, KneeImages, backbone_of, prepare
from oatools.features.backbone import load_backbone
from oatools.features.embed import EmbedSettings, embed_volume
from oatools.features.engine import EngineSettings
from oatools.features.featurefile import feature_space
from oatools.features.framing import Framing
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings

NAMES = {"vit_tiny_patch16_224": 1, "vit_small_patch16_dinov3": 5}  # tokens beside the patches


CHAINS = [
    ("vit_tiny_patch16_224", "cls"),
    ("vit_tiny_patch16_224", "cls+mean"),
    ("vit_tiny_patch16_224", ""),
    ("vit_small_patch16_dinov3", "mean"),
]


@pytest.fixture(scope="module", params=CHAINS)
def chain(request):
    name, tokens = request.param
    if name not in timm.list_models():
        pytest.skip(f"this timm has no {name}")
    backbone = load_backbone(name, "random", seed=2, size=96, tokens=tokens)
    settings = Settings(slices=4, conv=8, units=8, hidden=16)
    torch.manual_seed(0)
    module = build(settings, backbone.record.channels, 0).eval()
    module.networks.branches[0].feature_sd.fill_(0.2)
    scaling = ClinicalScaling((), np.zeros(0), np.zeros(0), np.zeros(0))
    return EndToEnd(FittedModel(module, settings, scaling, 0.5, {}), backbone, np.zeros(0))


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_the_map_is_that_of_the_tokens_that_the_last_block_looks_at(chain, method):
    pixels = torch.rand(5, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    record = chain.backbone.record
    seen = Preprocessing((1, 99), 96, record.interpolation, record.mean, record.std)
    volume = Volume(np.zeros((4, 4, 5), np.float32), np.eye(4))
    framings = (Framing(volume, seen, tuple(range(5))),)
    heat, log_odds, _ = gradient_map(
        chain, KneeImages((volume,), pixels, framings, np.arange(5)), method
    )
    network = chain.backbone.network
    inner, beside = getattr(network, "network", network), NAMES[chain.backbone.record.name]
    kept = []

    def keep(_, __, output):
        kept.append(output.detach().requires_grad_(True))
        return kept[0]

    hook = inner.blocks[-1].norm1.register_forward_hook(keep)
    features = network(chain.backbone.normalise(pixels))
    hook.remove()
    expected, _ = chain.log_odds(features[None], (5,))
    (gradient,) = torch.autograd.grad(expected[0], kept[0])
    patches, slopes = kept[0][:, beside:].detach(), gradient[:, beside:]
    if method == "gradcam":
        slopes = slopes.mean(dim=1, keepdim=True)
    by_hand = functional.relu((slopes * patches).sum(dim=2)).reshape(5, 6, 6)
    assert by_hand.max() > 0
    assert log_odds == pytest.approx(float(expected[0].detach()), abs=1e-5)
    scale = float(by_hand.max())
    np.testing.assert_allclose(heat / scale, by_hand.detach() / scale, atol=1e-4)


def test_the_features_are_made_again_with_the_size_and_the_tokens_of_the_record(tmp_path):
    torch.manual_seed(6)
    weights = tmp_path / "vit.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), weights)
    engine = EngineSettings(
        "vit_tiny_patch16_224", str(weights), engine="torch", device="cpu", size=96,
        tokens="cls+mean",
    )  # fmt: skip
    ramp = np.random.default_rng(0).random((40, 48, 3), dtype=np.float32)
    volume = Volume(np.asfortranarray(ramp), np.diag([0.5, 0.5, 3, 1]))
    made = embed_volume(volume, EmbedSettings(engine))
    record = {
        "feature_space": feature_space(made.provenance),
        "weights": {"source": "file", "sha256": made.provenance["weights_sha256"], "seed": None},
    }
    settings = Settings()
    scaling = ClinicalScaling((), np.zeros(0), np.zeros(0), np.zeros(0))
    model = FittedModel(build(settings, 384, 0).eval(), settings, scaling, 0.5, record)
    backbone = backbone_of(model, str(weights))
    assert (backbone.record.size, backbone.record.tokens) == (96, "cls+mean")
    again = EndToEnd(model, backbone, np.zeros(0)).features(prepare([volume], model).pixels)
    np.testing.assert_allclose(again, made.features, rtol=1e-4, atol=1e-5)
