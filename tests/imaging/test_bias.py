import numpy as np
import pytest

from oatools.core.errors import ItemError
from oatools.imaging.bias import N4Settings, correct
from oatools.imaging.volume import Volume

FAST = N4Settings(shrink=4, iterations=(20, 20))


@pytest.fixture(scope="module")
def biased():
    """A phantom knee with and without its coil's bias field, and the field."""
    from oatools.phantom import anatomy, series

    knee = anatomy.random_knee(np.random.default_rng(3), "left")
    shape, affine = series.grid(series.SEQUENCES["cor-iw-tse"], 64, "left", (95.0, 0.0, 0.0), 5.0)
    plain = anatomy.render(knee, shape, affine, "iw", bias=False)
    field = anatomy.bias_field(knee, shape, affine)
    return Volume(plain * field, affine), np.log(field), plain > 0.05 * plain.max()


def spread(log_field, inside):
    """RMS of a log field about its mean: a field is defined up to a factor."""
    values = log_field[inside]
    return float(np.sqrt(np.mean((values - values.mean()) ** 2)))


def test_most_of_a_planted_field_is_found(biased):
    volume, planted, inside = biased
    corrected, found = correct(volume, FAST)
    assert spread(found - planted, inside) < 0.5 * spread(planted, inside)
    np.testing.assert_allclose(corrected.data, volume.data / np.exp(found), rtol=1e-5)
    assert corrected.data.dtype == np.float32 and np.array_equal(corrected.affine, volume.affine)


def test_the_field_is_the_same_for_any_order_of_axes_in_memory(biased):
    volume, _, _ = biased
    _, first = correct(volume, FAST)
    _, second = correct(Volume(np.ascontiguousarray(volume.data), volume.affine), FAST)
    assert np.array_equal(first, second)


def test_slices_as_thick_as_these_are_not_shrunk_away(biased):
    # 35 slices of 3 mm, 64 x 64 of 2.2 mm: all axes count as fine; at 0.36 mm in plane only two do.
    volume, _, _ = biased
    thick = Volume(volume.data[:, :, :6], volume.affine @ np.diag([1, 1, 4, 1.0]))
    corrected, _ = correct(thick, FAST)
    assert np.isfinite(corrected.data).all()


def test_a_mask_file_on_the_same_grid_is_used(biased, write_volume):
    volume, _, inside = biased
    path = write_volume("mask.nii.gz", inside.astype(np.uint8), volume.affine)
    _, everywhere = correct(volume, N4Settings(shrink=4, iterations=(20, 20), mask="none"))
    _, masked = correct(volume, N4Settings(shrink=4, iterations=(20, 20), mask=str(path)))
    assert not np.allclose(everywhere, masked, atol=1e-3)


def test_a_mask_on_another_grid_is_refused(biased, write_volume):
    volume, _, inside = biased
    path = write_volume("mask.nii.gz", inside[1:].astype(np.uint8), volume.affine)
    with pytest.raises(ItemError, match="another grid"):
        correct(volume, N4Settings(mask=str(path)))


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_volume_is_refused(value):
    with pytest.raises(ItemError, match="no field to correct"):
        correct(Volume(np.full((16, 16, 8), value, np.float32), np.eye(4)), FAST)


def test_a_mask_without_samples_is_refused(write_volume):
    data = np.random.default_rng(0).random((16, 16, 8)).astype(np.float32)
    path = write_volume("empty.nii.gz", np.zeros((16, 16, 8), np.uint8))
    with pytest.raises(ItemError, match="the mask keeps 0 samples"):
        correct(Volume(data, np.eye(4)), N4Settings(mask=str(path)))


def test_negative_voxels_stay_and_do_no_harm(biased):
    volume, _, _ = biased
    data = volume.data.copy()
    data[0] = -5.0
    corrected, _ = correct(Volume(data, volume.affine), FAST)
    assert (corrected.data[0] < 0).all() and np.isfinite(corrected.data).all()
