import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oatools.core.errors import ItemError
from oatools.features.slices import (
    Preprocessing,
    chosen,
    images,
    intensity_window,
    resize_weights,
    slice_positions,
    square_padding,
)
from oatools.imaging.volume import Volume

PLAIN = Preprocessing((0.0, 100.0), 64, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "count, slices, expected",
    [
        (35, 8, range(13, 21)),
        (36, 8, range(14, 22)),
        (37, 1, range(18, 19)),
        (5, 8, range(5)),
        (5, None, range(5)),
        (35, (1, 35), range(35)),
        (35, (10, 12), range(9, 12)),
        (35, (35, 35), range(34, 35)),
    ],
)
def test_chosen_slices(count, slices, expected):
    assert chosen(count, slices) == expected


def test_a_range_beyond_the_volume_is_refused():
    with pytest.raises(ItemError, match="has 35 slices, so none are 30 to 36"):
        chosen(35, (30, 36))


def test_the_window_is_that_of_numpys_percentiles_over_positive_voxels():
    data = np.concatenate([np.zeros(1000), np.arange(1, 1001)]).reshape(20, 10, 10)
    assert intensity_window(data, (1, 99)) == pytest.approx(
        tuple(np.percentile(np.arange(1, 1001), [1, 99]))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.int16, np.uint8, np.float32, np.float64]),
    st.sampled_from(["noise", "ties", "stripes", "sorted", "empty"]),
    st.floats(0, 49),
    st.floats(51, 100),
)
def test_the_window_is_exact_for_any_values(seed, dtype, kind, low, high):
    rng = np.random.default_rng(seed)
    data = rng.gamma(2.0, 40.0, (70, 60, 20))
    data[: rng.integers(0, 70)] *= -1 if np.dtype(dtype).kind != "u" else 0
    if kind == "ties":
        data = np.round(data / 100)
    elif kind == "stripes":  # in step with the sample that the bounds are taken from
        data.reshape(-1)[:: max(1, data.size >> 15)] = 1
    elif kind == "sorted":
        data = np.sort(data.reshape(-1)).reshape(data.shape)
    elif kind == "empty":
        data = -data
    data = np.clip(data, -120, 250).astype(dtype)
    positive = data[data > 0]
    expected = np.percentile(
        (positive if positive.size * 100 >= data.size else data).astype(float), [low, high]
    )
    if expected[1] > expected[0]:
        np.testing.assert_allclose(
            intensity_window(data, (low, high)), expected, rtol=1e-9, atol=1e-9
        )
    else:
        with pytest.raises(ItemError, match="do not vary"):
            intensity_window(data, (low, high))


def test_a_volume_without_contrast_is_refused():
    with pytest.raises(ItemError, match="do not vary"):
        intensity_window(np.full((4, 4, 4), 3.0), (1, 99))


def test_superior_is_up_and_the_first_axis_runs_across():
    data = np.full((64, 64, 3), 1e-6, np.float32)
    data[48:, :, 1] = 1  # the end of the first axis
    data[:, 48:, 2] = 1  # the end of the second axis: superior
    pixels = images(Volume(data, np.eye(4)), PLAIN)
    assert pixels.shape == (3, 1, 64, 64) and pixels.dtype == np.float32
    assert pixels[1, 0, :, 56].min() > 1 - 1e-6 and pixels[1, 0, :, :40].max() < 1e-5
    assert pixels[2, 0, 8].min() > 1 - 1e-6 and pixels[2, 0, 24:].max() < 1e-5


@pytest.mark.parametrize("size", [(200, 200), (64, 64), (40, 40), (384, 300), (30, 77)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizing_is_pillows(size, interpolation):
    rng = np.random.default_rng(0)
    data = rng.random((*size, 1)).astype(np.float32) + 1e-3
    side = max(size)
    margins = [(side - n) // 2 for n in size]
    low, high = np.percentile(data, [2, 98])
    square = np.zeros((side, side), np.float32)
    square[margins[0] : margins[0] + size[0], margins[1] : margins[1] + size[1]] = np.clip(
        (data[:, :, 0] - low) / (high - low), 0, 1
    )
    theirs = Image.fromarray(square[:, ::-1].T).resize(
        (64, 64), getattr(Image.Resampling, interpolation.upper())
    )
    settings_ = Preprocessing((2.0, 98.0), 64, interpolation, (0.0,) * 3, (1.0,) * 3)
    ours = images(Volume(np.asfortranarray(data), np.eye(4)), settings_)[0, 0]
    np.testing.assert_allclose(ours, np.clip(np.asarray(theirs), 0, 1), atol=2e-6)


def test_resizing_weights_sum_to_one_and_are_symmetric():
    for length, size in ((384, 224), (100, 224), (224, 224)):
        weights = resize_weights(length, size, "bicubic")
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(resize_weights(50, 50, "bicubic"), np.eye(50), atol=1e-7)


def test_memory_order_and_type_change_nothing():
    data = np.random.default_rng(1).integers(1, 900, (50, 48, 4)).astype(np.int16)
    first = images(Volume(np.asfortranarray(data), np.eye(4)), PLAIN)
    assert np.array_equal(first, images(Volume(np.ascontiguousarray(data), np.eye(4)), PLAIN))
    assert np.array_equal(first, images(Volume(data.astype(np.float32), np.eye(4)), PLAIN))


def test_a_slice_that_is_not_square_in_mm_is_padded_and_not_stretched():
    volume = Volume(np.ones((40, 60, 2), np.float32), np.diag([2.0, 1.0, 3.0, 1.0]))
    left, right, top, bottom = square_padding(volume)
    assert (40 + left + right) * 2.0 == (60 + top + bottom) * 1.0 == 80.0


@pytest.mark.parametrize(
    "slices, expected", [(None, [0, 0, 1, 2, 3]), ((2, 4), [0, 1, 2]), (1, [1])]
)
def test_a_triplet_holds_the_neighbours_also_from_beyond_the_chosen_slices(slices, expected):
    data = np.random.default_rng(2).random((16, 16, 5)).astype(np.float32)
    volume = Volume(data, np.eye(4))
    plain = images(volume, PLAIN)[:, 0]
    pixels = images(volume, Preprocessing(**{**PLAIN.__dict__, "slices": slices, "triplet": True}))
    own = list(chosen(5, slices))
    assert pixels.shape == (len(own), 3, 64, 64)
    for image, k, before in zip(pixels, own, expected, strict=True):
        assert np.array_equal(image, plain[[before, k, min(k + 1, 4)]])


def test_settings_survive_their_record():
    made = Preprocessing(
        (2.0, 98.0), 64, "bilinear", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), (3, 9), True
    )
    import json

    assert Preprocessing.from_record(json.loads(json.dumps(made.record()))) == made


def test_positions_are_millimetres_along_the_slice_axis():
    turn = np.radians(20)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.diag([0.4, 0.4, 3.0])
    affine[:3, :3] = (
        np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        @ affine[:3, :3]
    )
    affine[:3, 3] = [10, 20, 30]
    positions = slice_positions(Volume(np.zeros((5, 5, 9)), affine), range(2, 6))
    np.testing.assert_allclose(np.diff(positions), 3.0)
