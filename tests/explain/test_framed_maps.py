"""A map of what a crop and a compartment show lies in the whole volume where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oatools.core.errors import ItemError, UsageError
from oatools.explain.explanation import explain_volume
from oatools.explain.knee import prepare, preprocessing_of
from oatools.features.backbone import load_backbone
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings
from oatools.phantom import anatomy, rendering

# Slices of 1.0 x 1.25 mm, 5 mm apart, a little oblique; the joint is 22 mm behind the middle of the
# field and 15 mm above it.
SHAPE, SPACING = (170, 140, 22), (1.0, 1.25, 5.0)
SPOT = (58, 93, 15)  # of the volume, in the medial compartment of a left knee
SETTINGS = Settings(slices=None, conv=8, units=8, hidden=16)


@pytest.fixture(scope="module")
def knee():
    """A left knee in sagittal slices from left to right, so that the medial ones come last."""
    made = replace(anatomy.random_knee(np.random.default_rng(5), "left"), rotation=(0.0, 0.0, 0.0))
    lateral, anterior, superior = made.centre
    turn = np.radians(6)
    directions = np.array(
        [[np.sin(turn), 0, np.cos(turn)], [np.cos(turn), 0, -np.sin(turn)], [0, 1, 0]]
    )
    affine = np.eye(4)
    affine[:3, :3] = directions * SPACING
    middle = np.array([-lateral, anterior + 22, superior - 15])
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Volume(rendering.render(made, SHAPE, affine, "iw-fs"), affine)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("mobilenetv2_100", "random", seed=3)


def prepared(backbone, **more):
    r = backbone.record
    return Preprocessing((0.0, 100.0), r.size, r.interpolation, r.mean, r.std, **more)


def model_of(recorded):
    torch.manual_seed(1)
    module = build(SETTINGS, 1280, 0).eval()
    scaling = ClinicalScaling((), np.zeros(0), np.zeros(0), np.zeros(0))
    space = {"feature_space": {"preprocessing": recorded}}
    return FittedModel(module, SETTINGS, scaling, 0.5, space)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"crop": 90.0},
        {"crop": 250.0},
        {"compartment": "medial", "slices": 6},
        {"crop": 110.0, "compartment": "both", "slices": 4},
    ],
    ids=str,
)
def test_a_bright_spot_lights_up_at_its_own_voxel(knee, backbone, more):
    """The map is here the image itself, so that its brightest place is that of the spot."""
    data = knee.data.copy()
    i, j, k = SPOT
    data[i - 1 : i + 2, j - 1 : j + 2, k] = 3 * data.max()
    seen = prepare(
        [Volume(data, knee.affine)], model_of(prepared(backbone, **more).record()), "left"
    )
    (heat,) = seen.to_volumes(seen.pixels[:, 0])
    assert heat.shape == SHAPE and heat[SPOT] > 0.8
    found = np.unravel_index(heat.argmax(), SHAPE)
    assert np.abs(np.array(found) - SPOT).max() <= 1 and found[2] == k
    # Nothing lights up a centimetre away.
    far = heat.copy()
    far[i - 8 : i + 9, j - 8 : j + 9, k] = 0
    assert far.max() < 0.5


@pytest.mark.parametrize(("compartment", "count"), [("lateral", 3), ("both", 6)])
def test_there_is_heat_and_attention_where_the_model_looked_and_nowhere_else(
    knee, backbone, compartment, count
):
    settings = prepared(backbone, crop=90.0, compartment=compartment, slices=3)
    model = model_of(settings.record())
    found, against = (
        explain_volume(model, knee, "hirescam", positive=c, backbone=backbone, side="left")
        for c in (True, False)
    )
    slices = np.flatnonzero(found.attention)
    assert len(slices) == count and found.attention.sum() == pytest.approx(1)
    assert (slices < 10).sum() == 3 and (slices > 11).sum() == count - 3
    hot = found.heat + against.heat > 0  # whichever class a place speaks for
    assert np.flatnonzero(hot.any(axis=(0, 1))).tolist() == slices.tolist()
    columns, rows = hot.any(axis=(1, 2)), hot.any(axis=(0, 2))
    assert 45 < columns.sum() <= 90 and 36 < rows.sum() <= 72  # of 170 and 140


def test_without_the_side_of_the_knee_a_compartment_is_not_guessed(knee, backbone):
    model = model_of(prepared(backbone, compartment="medial", slices=3).record())
    with pytest.raises(ItemError, match="its side is not known"):
        explain_volume(model, knee, backbone=backbone)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"crop": -5}, "'crop' is '-5', not a finite number from 20 to 500"),
        ({"crop": "large"}, "'crop' is 'large', not a finite number"),
        ({"compartment": "patella"}, "'compartment' is not one of them"),
        ({"joint": "by a network, 7"}, "the joint was found by another version of oatools"),
        ({"joint": None}, "joint"),
    ],
)
def test_a_record_that_cannot_be_followed_is_refused(backbone, changed, said):
    record = prepared(backbone, crop=90.0, compartment="medial").record() | changed
    with pytest.raises(UsageError, match="does not say how its features were made") as refused:
        preprocessing_of(model_of(record))
    assert said in str(refused.value)
