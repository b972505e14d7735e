import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from oatools.commands.embed import main as command
from oatools.core.errors import ItemError, UsageError
from oatools.core.replacing import Replace
from oatools.features.backbone_record import Weights
from oatools.features.embed import EmbedSettings, embed_volume
from oatools.features.engine import EngineSettings
from oatools.features.featurefile import read_features, write_features
from oatools.features.rows import Checker, embed_row
from oatools.imaging.volume import Volume, read_volume

RANDOM = EngineSettings("mobilenetv2_100", "random", seed=4, device="cpu")


def test_a_volume_in_memory_has_the_features_of_its_file(knee_file, tmp_path):
    settings = EmbedSettings(RANDOM, slices=3)
    found = embed_volume(read_volume(knee_file), settings)
    row = {"knee": "a", "path": str(knee_file)}
    done = embed_row(row, tmp_path, settings.resolve(), replacing=Replace.NOTHING)
    kept = read_features(done.cells["path"])
    assert np.array_equal(found.features, kept.features)
    assert np.array_equal(found.position, kept.position)
    unshared = {"OatoolsSteps", "source_sha256", "features_sha256", "knee"}
    recorded = {k: v for k, v in kept.provenance.items() if k not in unshared}
    assert recorded == {k: v for k, v in found.provenance.items() if k not in unshared}


def test_the_page_on_feature_files_names_all_that_is_in_one(knee_file, tmp_path):
    page = (Path(__file__).parents[2] / "man/src/oa-features.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    identity = {"subject": "9000099", "visit": "00m", "side": "right", "sequence": "cor-iw-tse"}
    row = {"knee": "a", "path": str(knee_file), **identity}
    settings = EmbedSettings(RANDOM, slices=3, augment=1, also_as=())
    done = embed_row(row, tmp_path, settings.resolve(), replacing=Replace.NOTHING)
    with h5py.File(done.cells["path"]) as file:
        assert {"knee", "features_sha256"} < set(file.attrs) <= named
        assert set(file) == {"features", "position", "augmented"} <= named


def test_features_of_a_volume_in_memory_say_how_they_were_made(knee, tmp_path):
    found = embed_volume(knee, EmbedSettings(RANDOM, slices=2, augment=1))
    assert found.augmented.shape == (1, *found.features.shape)
    weights = Weights.from_provenance(found.provenance)
    assert weights.is_random and weights.seed == 4
    write_features(tmp_path / "a.h5", found)
    assert Weights.from_provenance(read_features(tmp_path / "a.h5").provenance) == weights


def test_the_defaults_are_those_of_the_command():
    options = command.make_context("oa-embed", ["-o", "features"]).params
    settings = EmbedSettings()
    shared = ("slices", "window", "triplet", "augment", "dtype")
    assert {name: options[name] for name in shared} == {n: getattr(settings, n) for n in shared}
    of_engine = ("backbone", "weights", "seed", "engine", "device", "precision", "size")
    engine = {name: getattr(settings.engine, name) for name in of_engine}
    assert {name: options[name] for name in of_engine} == engine


def test_a_volume_without_contrast_has_no_features(knee):
    flat = Volume(np.ones(knee.shape, np.float32), knee.affine)
    with pytest.raises(ItemError, match="do not vary"):
        embed_volume(flat, EmbedSettings(RANDOM))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"slices": 0}, "slices is 0; give slices of at least 1"),
        ({"slices": -2}, "slices is -2; give slices of at least 1"),
        ({"slices": (5, 3)}, "slices are 5 to 3; .* the first and the last one, counted from 1"),
        ({"slices": (0, 3)}, "slices are 0 to 3; .* counted from 1"),
        ({"window": (99.0, 1.0)}, "the window is 99 to 1; .* the lower first"),
        ({"window": (1.0, 1.0)}, "the window is 1 to 1; .* the lower first"),
        ({"window": (0.0, 101.0)}, "the window is 0 to 101; give window as two percentiles"),
        ({"dtype": "float64"}, "no dtype 'float64'; give dtype as float32 or float16"),
        ({"augment": -1}, "augment is -1; give augment as 0 or more copies"),
    ],
)
def test_settings_that_can_embed_nothing_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        EmbedSettings(RANDOM, **wrong)


def test_one_slice_is_enough():
    assert EmbedSettings(RANDOM, slices=1).slices == 1
    assert EmbedSettings(RANDOM, slices=(1, 1)).slices == (1, 1)


@pytest.fixture
def embedded(knee_file, weights, tmp_path):
    """Embed a knee into a folder, with a backbone and options of the engine; return the file."""

    def embed(folder, backbone="mobilenetv2_100", **options):
        given = {"device": "cpu", "engine": "torch", **options}
        engine = EngineSettings(backbone, str(weights(backbone)), **given)
        row = {"knee": "a", "path": str(knee_file)}
        settings = EmbedSettings(engine, slices=2).resolve()
        return embed_row(row, tmp_path / folder, settings, replacing=Replace.NOTHING)

    return embed


def test_features_of_another_size_are_others(embedded):
    small, own = embedded("f", size=160).cells["path"], embedded("g").cells["path"]
    recorded = read_features(small).provenance
    assert recorded["preprocessing"]["size"] == 160
    assert recorded["OatoolsSteps"][0]["parameters"]["size"] == 160
    assert "size" not in read_features(own).provenance["OatoolsSteps"][0]["parameters"]
    assert not np.allclose(read_features(small).features, read_features(own).features, rtol=0.1)
    for folder, options, said in (
        ("f", {}, "size 160, not None"),
        ("g", {"size": 160}, "size None, not 160"),
        ("f", {"size": 192}, "size 160, not 192"),
    ):
        with pytest.raises(ItemError, match=f"made with other settings .{said}"):
            embedded(folder, **options)
    assert embedded("f", size=160).kept
    check = Checker()
    check({"knee": "a", "path": own})
    with pytest.raises(ItemError, match="not belong together .* preprocessing size 160, not 224"):
        check({"knee": "a", "path": small})


def test_features_of_other_tokens_are_others(embedded, cosine):
    vit = "vit_tiny_patch16_224"
    both = embedded("f", vit, tokens="cls+mean").cells["path"]
    own = embedded("g", vit).cells["path"]
    found, plain = read_features(both), read_features(own)
    assert found.features.shape == (2, 384) and plain.features.shape == (2, 192)
    assert cosine(found.features[:, :192], plain.features) > 0.99999  # its own is its class token
    assert found.provenance["tokens"] == "cls+mean" and "tokens" not in plain.provenance
    for tokens, said in (("mean", "cls.mean, not mean"), ("", "cls.mean, not None")):
        with pytest.raises(ItemError, match=f"made with other settings .tokens {said}"):
            embedded("f", vit, tokens=tokens)
    check = Checker()
    check({"knee": "a", "path": own})
    with pytest.raises(ItemError, match=r"not belong together .*: tokens cls.mean"):
        check({"knee": "a", "path": both})
