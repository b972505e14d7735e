import h5py
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from oatools.core.errors import ItemError, UsageError
from oatools.features.backbone import initialise, load_backbone, weights_digest
from oatools.features.embed import EmbedSettings, embed
from oatools.features.featurefile import Features, feature_space, read_features, write_features
from oatools.features.slices import images
from oatools.imaging.volume import Volume


@pytest.fixture(scope="module")
def knee():
    from oatools.phantom import anatomy, series

    made = anatomy.random_knee(np.random.default_rng(3), "left")
    shape, affine = series.grid(series.SEQUENCES["cor-iw-tse"], 64, "left", (95.0, 0.0, 0.0), 5.0)
    return Volume(anatomy.render(made, shape, affine, "iw"), affine)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_b0", "random", seed=1)


def test_features_are_timms_own_forward_pass_on_the_same_pixels(knee, backbone):
    settings = EmbedSettings(weights="random", slices=4, batch_size=3)
    features, position = embed(knee, backbone, settings)
    model = timm.create_model("efficientnet_b0", pretrained=False, num_classes=0)
    model.load_state_dict(backbone.network.state_dict())
    from oatools.features.embed import preprocessing

    with torch.no_grad():
        expected = model.eval()(images(knee, range(15, 19), preprocessing(backbone, settings))).numpy()
    assert features.shape == (4, 1280) and position.shape == (4,) and backbone.channels == 1280
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)


def test_random_weights_are_the_same_for_the_same_seed_and_make_features_that_differ(knee, backbone):
    again, other = (
        load_backbone("efficientnet_b0", "random", seed=1),
        load_backbone("efficientnet_b0", "random", seed=2),
    )
    assert again.weights_sha256 == backbone.weights_sha256 != other.weights_sha256
    assert backbone.weights == "random, seed 1"
    features, _ = embed(knee, backbone, EmbedSettings(slices=4))
    assert features.std(axis=0).mean() > 1e-2
    untouched = timm.create_model("efficientnet_b0", pretrained=False, num_classes=0).eval()
    with torch.no_grad():
        assert untouched(torch.randn(1, 3, 224, 224)).abs().max() < 1e-2  # what initialise is there for


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
    network = timm.create_model("mobilenetv2_100", pretrained=False)  # with its classifier, as published files have
    path = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    else:
        save_file(network.state_dict(), path)
    loaded = load_backbone("mobilenetv2_100", str(path))
    assert torch.equal(loaded.network.conv_stem.weight, network.conv_stem.weight)
    assert loaded.weights == f"file w.{suffix}"


def test_a_weights_file_that_does_not_fit_is_refused_by_its_first_tensor(tmp_path):
    save_file({"conv_stem.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"'conv_stem.weight' has shape \(16, 3, 3, 3\), not \(32, 3, 3, 3\)"):
        load_backbone("efficientnet_b0", str(tmp_path / "w.safetensors"))
    save_file({"other": torch.zeros(1)}, tmp_path / "o.safetensors")
    with pytest.raises(UsageError, match="has no tensor 'conv_stem.weight'"):
        load_backbone("efficientnet_b0", str(tmp_path / "o.safetensors"))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_weights_file_cannot_execute_code(tmp_path, capsys):
    torch.save({"conv_stem.weight": Evil()}, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="cannot be opened as a plain state dict"):
        load_backbone("efficientnet_b0", str(tmp_path / "w.pth"))
    assert "executed" not in capsys.readouterr().out


def test_an_unknown_backbone_is_refused_with_names_that_exist():
    with pytest.raises(UsageError, match="no timm model is called 'efficientnet_b99'.*efficientnet_b0"):
        load_backbone("efficientnet_b99", "random")


def test_real_weights_recognise_real_photographs_through_our_preprocessing(real_data):
    from PIL import Image
    from safetensors.torch import load_file

    weights = real_data / "weights" / "mobilenetv2_100.safetensors"
    labels = (real_data / "photos" / "imagenet_labels.txt").read_text().splitlines()[1:]
    backbone = load_backbone("mobilenetv2_100", str(weights))
    state = load_file(weights)
    expected = {"bird.bmp": "chickadee", "cat.bmp": "Egyptian cat", "hot_dog.jpg": "hotdog", "parrot.jpg": "macaw"}
    settings = EmbedSettings(window=(0.0, 100.0))
    from oatools.features.embed import preprocessing
    from oatools.features.slices import images as prepare

    for name, label in expected.items():
        grey = np.asarray(Image.open(real_data / "photos" / name).convert("RGB"), dtype=np.float32)
        # A photograph as a volume of its three colours: each goes the way of a slice, then they are one image.
        volume = Volume(grey[::-1].transpose(1, 0, 2), np.eye(4))
        planes = prepare(volume, range(3), preprocessing(backbone, settings))
        image = torch.stack([planes[c, c] for c in range(3)])[None]
        with torch.no_grad():
            logits = backbone.network(image) @ state["classifier.weight"].T + state["classifier.bias"]
        top = [labels[int(k)] for k in logits[0].topk(3).indices]
        assert any(label.lower() in t.lower() for t in top), (name, top)


def make_features(seed=0):
    rng = np.random.default_rng(seed)
    return Features(rng.standard_normal((5, 7)).astype(np.float32), np.arange(5.0),
                    {"backbone": "b", "weights": "w", "weights_sha256": "x", "preprocessing": {"size": 8}, "slices": 5})  # fmt: skip


def test_a_feature_file_reads_back_exactly_and_plainly_through_h5py(tmp_path):
    made = make_features()
    write_features(tmp_path / "a.h5", made)
    read = read_features(tmp_path / "a.h5")
    assert np.array_equal(read.features, made.features) and np.array_equal(read.position, made.position)
    assert read.provenance == made.provenance
    assert feature_space(read.provenance)["preprocessing"] == {"size": 8}
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].dtype == np.float32 and file.attrs["backbone"] == "b"


def test_equal_features_give_equal_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_features(tmp_path / name, make_features())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_broken_feature_files_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(ItemError, match="no such file"):
        read_features(path)
    write_features(path, make_features())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ItemError, match="not a readable feature file"):
        read_features(path)
    values = make_features()
    values.features[2, 3] = np.nan
    write_features(path, values)
    with pytest.raises(ItemError, match="not finite"):
        read_features(path)
