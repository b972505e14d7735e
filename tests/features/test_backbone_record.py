import json

import pytest

from oatools.core.provenance import STEPS, Step
from oatools.features.backbone_record import BackboneRecord, Weights

SHA = "ab" * 32


def attributes(weights, seed=3, **more):
    """The attributes of a feature file whose step names these weights."""
    step = Step("oa-embed", {"weights": weights, "seed": seed}, "a.nii.gz", "cd" * 32)
    return {
        "weights": "whatever the label says",
        "weights_sha256": SHA,
        STEPS: [step.to_json()],
    } | more


@pytest.mark.parametrize(
    "recorded, expected",
    [
        ("random", Weights("random", SHA, seed=3)),
        ("pretrained", Weights("pretrained", SHA)),
        ("0f" * 32, Weights("file", SHA)),
    ],
)
def test_weights_are_read_from_the_step_and_the_digest(recorded, expected):
    assert Weights.from_provenance(attributes(recorded)) == expected
    assert expected.is_random == (recorded == "random")


@pytest.mark.parametrize("lacking", ["weights_sha256", STEPS])
def test_a_file_that_does_not_record_its_weights_has_none_to_read(lacking):
    found = attributes("random")
    del found[lacking]
    assert Weights.from_provenance(found) is None


def test_a_step_of_another_tool_says_nothing_of_weights():
    step = Step("oa-n4", {"weights": "random", "seed": 0}, "a.nii.gz", "cd" * 32)
    assert Weights.from_provenance(attributes("random") | {STEPS: [step.to_json()]}) is None


@pytest.mark.parametrize(
    "weights, label",
    [
        (Weights("random", SHA, seed=7), "random, seed 7"),
        (Weights("pretrained", SHA, name="resnet18.a1_in1k"), "pretrained resnet18.a1_in1k"),
        (Weights("file", SHA, name="w.safetensors"), "file w.safetensors"),
        (Weights("file", SHA), "file"),
    ],
)
def test_labels_of_weights(weights, label):
    assert weights.label() == label


def test_records_survive_json():
    weights = Weights("random", SHA, seed=7)
    made = BackboneRecord(
        "resnet18", weights, 224, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), "bicubic", 512
    )
    assert BackboneRecord.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert Weights.from_json(json.loads(json.dumps(weights.to_json()))) == weights
    short = {"source": "random", "seed": 7, "sha256": SHA}
    assert Weights.from_json(short) == weights
