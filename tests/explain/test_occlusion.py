import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from scipy.ndimage import gaussian_filter

from oatools.explain.faithfulness import areas, faithfulness, randomised
from oatools.explain.knee import EndToEnd, prepare
from oatools.explain.occlusion import corner_places, occlusion_map, out_of_focus
from oatools.features.backbone import load_backbone
from oatools.features.slices import Preprocessing
from oatools.imaging.volume import Volume
from oatools.learning.model import FittedModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import Settings

SIZE = 56


@pytest.fixture(scope="module")
def chain():
    """A model that takes two of three slices, on a real backbone whose weights are random."""
    backbone = load_backbone("mobilenetv2_100", "random", seed=3)
    torch.manual_seed(1)
    settings = Settings(pooling="gru", slices=2, conv=8, units=8, hidden=0)
    record = backbone.record
    prepared = Preprocessing(
        (1.0, 99.0), SIZE, record.interpolation, record.mean, record.std
    ).record()
    module = build(settings, 1280, 0).eval()
    module.networks.branches[0].feature_mean.fill_(0.4)
    scaling = ClinicalScaling((), np.zeros(0), np.zeros(0), np.zeros(0))
    return EndToEnd(
        FittedModel(module, settings, scaling, 0.5, {"feature_space": {"preprocessing": prepared}}),
        backbone,
        np.zeros(0),
    )


@pytest.fixture(scope="module")
def knee(chain):
    smooth = gaussian_filter(np.random.default_rng(1).random((64, 64, 3)), (3, 3, 0)).astype(
        np.float32
    )
    return prepare([Volume(smooth, np.diag([2.0, 2.0, 3.0, 1.0]))], chain.model)


def test_the_map_is_captums_occlusion_of_the_whole_network(chain, knee):
    blurred = out_of_focus(knee.pixels)

    def log_odds(pixels):
        return chain.log_odds(chain.features(pixels[0])[None], knee.extents)[0]

    side, step = 8, 4
    expected = Occlusion(log_odds).attribute(
        knee.pixels[None],
        sliding_window_shapes=(1, 1, side, side),
        strides=(1, 1, step, step),
        baselines=blurred[None],
    )
    heat, value, attention = occlusion_map(chain, knee)
    assert knee.seen.tolist() == [0, 1]
    assert value == pytest.approx(float(log_odds(knee.pixels[None])[0]), abs=1e-5)
    assert attention[2] == 0 and not heat[2].any()
    wanted = expected[0, :, 0].clamp_min(0).numpy()
    assert wanted[:2].max() > 0.005
    np.testing.assert_allclose(heat.numpy()[:2], wanted[:2], atol=2e-4 * wanted.max() + 1e-5)


def test_a_square_is_covered_in_all_slices_of_a_stack_at_once(chain, knee):
    """Against captum's windows over whole stacks; the third slice is outside the model's window."""
    blurred = out_of_focus(knee.pixels)
    blurred[2] = knee.pixels[2]  # covered, it would make no difference to the model

    def log_odds(pixels):
        return chain.log_odds(chain.features(pixels[0])[None], knee.extents)[0]

    expected = Occlusion(log_odds).attribute(
        knee.pixels[None],
        sliding_window_shapes=(3, 1, 8, 8),
        strides=(3, 1, 4, 4),
        baselines=blurred[None],
    )[0, :, 0]
    heat, value, attention = occlusion_map(chain, knee, through=True)
    alone, *rest = occlusion_map(chain, knee)
    assert value == rest[0] and torch.equal(attention, rest[1])
    torch.testing.assert_close(heat[0], heat[1])
    assert not heat[2].any()
    wanted = expected[0].clamp_min(0)
    assert wanted.max() > 0.005
    torch.testing.assert_close(heat[0], wanted, atol=2e-4 * wanted.max() + 1e-5, rtol=0)
    assert (heat[0] - alone[0]).abs().max() > 0.1 * wanted.max()


def test_stacks_of_two_sequences_are_covered_apart(chain):
    """One sequence alone is covered at a time, as they show other places at the same pixel."""
    noise = gaussian_filter(np.random.default_rng(4).random((24, 24, 2)), (2, 2, 0))
    volumes = [Volume(noise.astype(np.float32), np.eye(4))] * 2
    both = prepare(volumes, chain.model)
    blurred = out_of_focus(both.pixels)

    def joined(pixels):
        # A model of two branches is not needed to see which slices were covered.
        return chain.log_odds(chain.features(pixels)[None, :2], (2,))[0]

    class Watched:
        features, sign = staticmethod(chain.features), 1

        @staticmethod
        def log_odds(features, extents):
            assert extents == (2, 2)
            return chain.log_odds(features[:, :2], (2,))[0], torch.zeros(1, 4)

    heat, *_ = occlusion_map(Watched, both, through=True)
    # What the second stack shows is nothing to a model that reads the first.
    assert heat[2:].max() < 1e-6 < 0.01 * heat[0].max()
    corner = both.pixels.clone()
    corner[:2, :, :8, :8] = blurred[:2, :, :8, :8]  # the only square over the first pixel
    lost = float((joined(both.pixels) - joined(corner))[0])
    assert float(heat[0, 0, 0]) == pytest.approx(max(0.0, lost), abs=1e-5)


def test_slices_of_two_sequences_are_kept_separate(chain):
    noise = np.random.default_rng(0).random((20, 20, 4)).astype(np.float32)
    volumes = [Volume(noise[:, :, :3], np.eye(4)), Volume(noise, np.eye(4))]
    both = prepare(volumes, chain.model)
    assert both.extents == (3, 4)
    assert both.seen.tolist() == [0, 1, 4, 5]  # two around the middle of each
    np.testing.assert_array_equal(both.pixels[3:], prepare(volumes[1:], chain.model).pixels)
    assert [v.tolist() for v in both.by_slice(np.arange(7.0))] == [[0, 1, 2], [3, 4, 5, 6]]
    maps = torch.arange(7.0)[:, None, None].expand(7, 2, 2)
    largest = [v.max(axis=(0, 1)).round(4).tolist() for v in both.to_volumes(maps)]
    assert largest == [[0, 1, 2], [3, 4, 5, 6]]


@pytest.mark.parametrize(
    ("size", "side", "step"), [(56, 8, 4), (224, 32, 16), (10, 4, 3), (5, 5, 2)]
)
def test_squares_cover_every_pixel(size, side, step):
    places = corner_places(size, side, step)
    assert {p for start in places for p in range(start, start + side)} == set(range(size))
    assert len(set(places)) == len(places)


def test_out_of_focus_is_scipys_gaussian_filter():
    pixels = torch.from_numpy(np.random.default_rng(0).random((2, 3, 40, 40)).astype(np.float32))
    expected = gaussian_filter(pixels.numpy(), (0, 0, 4, 4), mode="nearest", radius=(0, 0, 12, 12))
    np.testing.assert_allclose(out_of_focus(pixels).numpy(), expected, atol=1e-5)


def test_deletion_and_insertion_of_a_map_that_is_known(chain, knee):
    """A map that is hot on one half: that half comes first, and the curves meet at their ends."""
    half = torch.zeros(3, SIZE, SIZE)
    half[:, :, : SIZE // 2] = 1

    def probability(pixels):
        log_odds, _ = chain.log_odds(chain.features(pixels)[None], knee.extents)
        return float(torch.sigmoid(log_odds[0].double()))

    blurred = out_of_focus(knee.pixels)
    left = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    left[:, : SIZE // 2] = True
    whole, none = probability(knee.pixels), probability(blurred)
    deleted, inserted = (
        probability(torch.where(left, a, b))
        for a, b in ((blurred, knee.pixels), (knee.pixels, blurred))
    )
    deletion, insertion = areas(chain, knee, half, steps=2)
    assert deletion == pytest.approx((whole / 2 + deleted + none / 2) / 2, abs=1e-6)
    assert insertion == pytest.approx((none / 2 + inserted + whole / 2) / 2, abs=1e-6)


def test_occlusion_is_more_faithful_than_noise_and_than_its_own_reverse(chain, knee):
    heat, _, _ = occlusion_map(chain, knee)
    found = faithfulness(chain, knee, heat, "occlusion")
    assert found.deletion < found.deletion_chance
    assert found.insertion > found.insertion_chance
    deletion, insertion = areas(chain, knee, -heat)
    assert deletion > found.deletion and insertion < found.insertion


def test_random_models_give_other_maps_and_the_models_own_weights_the_same(
    chain, knee, monkeypatch
):
    assert abs(randomised(chain, knee, "gradcam")) < 0.6
    assert randomised(chain, knee, "gradcam") == randomised(chain, knee, "gradcam")
    monkeypatch.setattr("oatools.explain.faithfulness.build", lambda *_: chain.model.module)
    assert randomised(chain, knee, "gradcam") == pytest.approx(1)
