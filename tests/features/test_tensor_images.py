"""What a GPU makes of a volume, here by the CPU's tensors: the images of NumPy's path."""

import numpy as np
import pytest
import torch

from oatools.core.errors import ItemError
from oatools.features.slices import Preprocessing, images
from oatools.features.tensor_images import tensor_images
from oatools.imaging.volume import Volume

CPU = torch.device("cpu")
TURNED = np.diag([0.4, 0.5, 3.0, 1.0])


def settings(**more):
    given = {"slices": None, "triplet": False, "interpolation": "bicubic", **more}
    return Preprocessing((1.0, 99.0), 32, mean=(0.0,) * 3, std=(1.0,) * 3, **given)


def voxels(dtype=np.int16, shape=(60, 48, 7)):
    data = np.random.default_rng(0).gamma(2.0, 30.0, shape)
    data[:20] = 0
    return np.clip(data, 0, 250).astype(dtype)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64, ">i2"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_voxels_of_every_type_and_order_become_the_same_images(dtype, order):
    volume = Volume(np.array(voxels(dtype), order=order), TURNED)
    found = tensor_images(volume, settings(), CPU)
    assert found.dtype == torch.float32 and found.shape == (7, 1, 32, 32)
    np.testing.assert_allclose(found.numpy(), images(volume, settings()), atol=1e-6)


@pytest.mark.parametrize(
    "more",
    [
        {"slices": 3},
        {"slices": (1, 2), "triplet": True},
        {"slices": (5, 6), "triplet": True},
        {"triplet": True},
        {"interpolation": "bilinear"},
        {"crop": 40.0},
        {"picked": (0, 1, 5, 6), "triplet": True},
        {"picked": (2, 4)},
        {"picked": (2, 3, 4)},
    ],
)
def test_slices_channels_and_kernel_are_those_of_numpys_path(more):
    volume = Volume(np.asfortranarray(voxels()), TURNED)
    expected = images(volume, settings(**more))
    found = tensor_images(volume, settings(**more), CPU).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.5])  # of voxels that are positive
def test_black_and_white_are_numpys_percentiles(share):
    random = np.random.default_rng(1)
    data = -random.integers(0, 500, (40, 40, 5)).astype(np.int16)
    some = random.random(data.shape) < share
    data[some] = random.integers(1, 900, int(some.sum()))
    counted = data[data > 0] if share == 0.5 else data
    low, high = np.percentile(counted, [1, 99])
    square = np.clip((data - low) / (high - low), 0, 1)
    plain = Preprocessing((1.0, 99.0), 40, "bicubic", (0.0,) * 3, (1.0,) * 3)
    found = tensor_images(Volume(data, np.eye(4)), plain, CPU).numpy()[:, 0]
    np.testing.assert_allclose(found, square.T[:, ::-1], atol=1e-6)


def test_a_volume_without_contrast_is_refused_as_by_numpys_path():
    with pytest.raises(ItemError, match="do not vary"):
        tensor_images(Volume(np.full((9, 9, 3), 7, np.int16), np.eye(4)), settings(), CPU)


def test_the_voxels_stay_as_they_are():
    data = voxels(np.float32)
    tensor_images(Volume(data, TURNED), settings(), CPU)
    assert np.array_equal(data, voxels(np.float32))


@pytest.mark.parametrize("more", [{}, {"picked": (0, 2, 5), "crop": 40.0}])
def test_a_gpu_makes_the_images_of_the_cpu(more):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    volume = Volume(np.asfortranarray(voxels()), TURNED)
    found = tensor_images(volume, settings(triplet=True, **more), torch.device("cuda"))
    expected = images(volume, settings(triplet=True, **more))
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-5)
