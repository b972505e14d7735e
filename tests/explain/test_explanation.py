from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from oatools.core.errors import UsageError
from oatools.explain.explanation import explain_volume, explain_volumes
from oatools.explain.faithfulness import COLUMNS, Faithfulness
from oatools.explain.knee import backbone_of
from oatools.features.backbone import load_backbone
from oatools.features.backbone_record import Weights
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings


@pytest.fixture(scope="module")
def volume():
    noise = np.random.default_rng(1).random((64, 64, 5))
    smooth = gaussian_filter(noise, (3, 3, 0)).astype(np.float32)
    return Volume(smooth, np.diag([2.0, 2.0, 3.0, 1.0]))


@pytest.fixture(scope="module")
def model():
    """A model of three slices and bmi, with the record that training leaves."""
    record = load_backbone("mobilenetv2_100", "random", seed=3).record
    prepared = Preprocessing((1.0, 99.0), 128, record.interpolation, record.mean, record.std)
    settings = Settings(slices=3, conv=8, units=8, hidden=8)
    scaling = ClinicalScaling(("bmi",), np.array([27.0]), np.array([28.0]), np.array([4.0]))
    torch.manual_seed(1)
    space = {**record.attributes(), "preprocessing": prepared.record()}
    recorded = {"feature_space": space, "weights": record.weights.to_json()}
    module = build(settings, 1280, 1).eval()
    module.networks.branches[0].feature_mean.fill_(0.4)
    return FittedModel(module, settings, scaling, 0.5, recorded)


def test_a_volume_is_explained_from_the_model_alone(model, volume):
    found = explain_volume(model, volume, clinical={"bmi": 31.0})
    assert 0 < found.probability < 1
    assert found.heat.shape == volume.shape and found.heat.max() > 0
    assert found.attention.sum() == pytest.approx(1, abs=1e-6)
    assert found.attention[[0, 4]].tolist() == [0, 0]
    assert found.hottest_slice in (1, 2, 3)


def test_a_clinical_variable_counts_and_a_missing_one_is_imputed(model, volume):
    imputed = explain_volume(model, volume)
    assert explain_volume(model, volume, clinical={"bmi": 27.0}).probability == imputed.probability
    assert explain_volume(model, volume, clinical={"bmi": 40.0}).probability != imputed.probability


def test_each_class_has_its_own_heat_and_one_probability(model, volume):
    one, other = (explain_volume(model, volume, positive=positive) for positive in (True, False))
    assert one.probability == other.probability
    assert not np.array_equal(one.heat, other.heat)


def test_unknown_methods_and_missing_volumes_are_refused(model, volume):
    with pytest.raises(UsageError, match="no method is called 'lime'; use one of gradcam,"):
        explain_volume(model, volume, method="lime")
    joined = replace(model, record={**model.record, "joined": ["cor", "sag"]})
    with pytest.raises(UsageError, match="the number of volumes is 1, and the model takes 2"):
        explain_volumes(joined, [volume])


def test_random_weights_are_made_again_from_the_seed_of_the_record(model):
    assert backbone_of(model).record.weights == Weights.from_json(model.record["weights"])


def test_weights_from_a_file_must_be_given_and_be_the_models(model, tmp_path):
    from safetensors.torch import save_file

    weights = Weights("file", model.record["feature_space"]["weights_sha256"])
    from_file = replace(model, record={**model.record, "weights": weights.to_json()})
    with pytest.raises(UsageError, match="came from the weights '.*'; give that file with weights"):
        backbone_of(from_file)
    path = tmp_path / "w.safetensors"
    right = load_backbone("mobilenetv2_100", "random", seed=3)
    save_file(right.network.state_dict(), path)
    assert backbone_of(from_file, str(path)).record.weights.sha256 == weights.sha256
    other = load_backbone("mobilenetv2_100", "random", seed=4)
    save_file(other.network.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="are not those that the model's features came from"):
        backbone_of(from_file, str(tmp_path / "other.safetensors"))


def test_a_wrong_seed_in_the_record_is_found_by_the_digest(model):
    wrong = {**model.record["weights"], "seed": 5}
    with pytest.raises(UsageError, match="are not those that the model's features came from"):
        backbone_of(replace(model, record={**model.record, "weights": wrong}))


def test_measures_are_numbers_until_a_row_is_made():
    found = Faithfulness(0.25, 0.5, 0.75, 0.5, np.nan)
    assert list(found.row()) == list(COLUMNS)
    assert found.row()["deletion"] == "0.2500" and found.row()["randomised"] == "n/a"
