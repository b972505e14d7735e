import numpy as np
import pytest

from oatools.commands.embed import main as command
from oatools.core.errors import ItemError, UsageError
from oatools.features.backbone_record import Weights
from oatools.features.embed import EmbedSettings, embed_volume
from oatools.features.engine import EngineSettings
from oatools.features.featurefile import read_features, write_features
from oatools.features.rows import embed_row
from oatools.imaging.volume import Volume, read_volume

RANDOM = EngineSettings("mobilenetv2_100", "random", seed=4, device="cpu")


def test_a_volume_in_memory_has_the_features_of_its_file(knee_file, tmp_path):
    settings = EmbedSettings(RANDOM, slices=3)
    found = embed_volume(read_volume(knee_file), settings)
    row = {"knee": "a", "path": str(knee_file)}
    done = embed_row(row, tmp_path, settings.resolve(), force=False)
    kept = read_features(done.cells["path"])
    assert np.array_equal(found.features, kept.features)
    assert np.array_equal(found.position, kept.position)
    unshared = {"OatoolsSteps", "source_sha256", "features_sha256", "knee"}
    recorded = {k: v for k, v in kept.provenance.items() if k not in unshared}
    assert recorded == {k: v for k, v in found.provenance.items() if k not in unshared}


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
    of_engine = ("backbone", "weights", "seed", "engine", "device", "precision")
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
