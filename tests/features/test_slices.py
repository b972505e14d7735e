import numpy as np
import pytest
import torch
from PIL import Image

from oatools.core.errors import ItemError
from oatools.features.slices import Preprocessing, images, intensity_window, middle, slice_positions, square_padding
from oatools.imaging.volume import Volume

PLAIN = Preprocessing((0.0, 100.0), 64, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("count, slices, expected", [
    (35, 8, range(13, 21)), (36, 8, range(14, 22)), (37, 1, range(18, 19)), (5, 8, range(5)), (5, None, range(5)),
])  # fmt: skip
def test_slices_around_the_middle(count, slices, expected):
    assert middle(count, slices) == expected


def test_the_window_is_that_of_numpys_percentiles_over_positive_voxels():
    data = np.concatenate([np.zeros(1000), np.arange(1, 1001)]).reshape(20, 10, 10)
    assert intensity_window(data, (1, 99)) == tuple(np.percentile(np.arange(1, 1001), [1, 99]))


def test_a_volume_without_contrast_is_refused():
    with pytest.raises(ItemError, match="do not vary"):
        intensity_window(np.full((4, 4, 4), 3.0), (1, 99))


def test_superior_is_up_and_the_first_axis_runs_across():
    data = np.full((64, 64, 3), 1e-6, np.float32)
    data[48:, :, 1] = 1  # the end of the first axis
    data[:, 48:, 2] = 1  # the end of the second axis: superior
    pixels = images(Volume(data, np.eye(4)), range(3), PLAIN)
    assert pixels.shape == (3, 3, 64, 64)
    assert torch.equal(pixels[1, 0, :, 56], torch.ones(64)) and pixels[1, 0, :, :40].abs().max() < 1e-6
    assert torch.equal(pixels[2, 0, 8], torch.ones(64)) and pixels[2, 0, 24:].abs().max() < 1e-6


def test_resizing_agrees_with_pillow():
    rng = np.random.default_rng(0)
    data = np.cumsum(np.cumsum(rng.standard_normal((200, 200, 1)), 0), 1).astype(np.float32)
    data = (data - data.min()) / (data.max() - data.min())
    ours = images(Volume(data, np.eye(4)), range(1), PLAIN)[0, 0].numpy()
    pillow = np.asarray(Image.fromarray(data[:, ::-1, 0].T).resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(ours - np.clip(pillow, 0, 1)).max() < 0.01


def test_a_slice_that_is_not_square_in_mm_is_padded_and_not_stretched():
    volume = Volume(np.ones((40, 60, 2), np.float32), np.diag([2.0, 1.0, 3.0, 1.0]))
    left, right, top, bottom = square_padding(volume)
    assert (40 + left + right) * 2.0 == (60 + top + bottom) * 1.0 == 80.0


def test_normalisation_is_the_backbones_own():
    settings = Preprocessing((0.0, 100.0), 8, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    data = np.full((8, 8, 1), 1e-9, np.float32)
    data[0, 0] = 1
    pixels = images(Volume(data, np.eye(4)), range(1), settings)
    np.testing.assert_allclose(pixels[0, :, 4, 4], [-2.5, -1.6, -0.6], rtol=1e-6)


def test_positions_are_millimetres_along_the_slice_axis():
    turn = np.radians(20)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.diag([0.4, 0.4, 3.0])
    affine[:3, :3] = (
        np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) @ affine[:3, :3]
    )
    affine[:3, 3] = [10, 20, 30]
    positions = slice_positions(Volume(np.zeros((5, 5, 9)), affine), range(2, 6))
    np.testing.assert_allclose(np.diff(positions), 3.0)
