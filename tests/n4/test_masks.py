import numpy as np
import pytest

from oatools.n4 import masks


def test_otsu_is_that_of_simpleitk():
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    for centres in ((1, 5), (2, 3), (0, 40)):
        values = np.concatenate(
            [rng.normal(c, 0.6, n) for c, n in zip(centres, (4000, 1500), strict=True)]
        )
        theirs = sitk.OtsuThresholdImageFilter()
        theirs.SetNumberOfHistogramBins(256)
        theirs.Execute(sitk.GetImageFromArray(values.reshape(50, 110)))
        step = np.ptp(values) / 256
        assert abs(masks.otsu(values) - theirs.GetThreshold()) <= step


def test_values_far_out_do_not_take_the_threshold_with_them():
    values = np.concatenate([np.full(5000, 1.0), np.full(4000, 3.0), [9.0]])
    assert 1 <= masks.otsu(values) < 3


def test_one_value_has_no_threshold():
    with pytest.raises(ValueError, match="all values are one"):
        masks.otsu(np.full(10, 2.0))


def test_in_logarithms_dark_tissue_is_kept_and_air_is_not():
    rng = np.random.default_rng(0)
    image = np.concatenate(
        [rng.rayleigh(2, 3000), rng.normal(30, 3, 2000), rng.normal(400, 40, 2000), [-5, 0, np.nan]]
    )
    tissue = np.arange(len(image)) >= 3000
    tissue[-3:] = False
    found = masks.log_otsu_mask(image)
    assert (found == tissue).mean() > 0.99
    assert masks.otsu_mask(image)[3000:5000].mean() < 0.01  # what it is better than


def test_the_level_of_air_and_its_end_are_found_below_dark_tissue():
    rng = np.random.default_rng(0)
    air, dark, bright = rng.normal(20, 1, 4000), rng.normal(45, 4, 3000), rng.normal(400, 60, 3000)
    level, end = masks.air_level(np.concatenate([air, dark, bright, [-5, 0, np.nan]]))
    assert abs(level - 20) < 0.5 and 24 < end < 32
    assert (air < end).mean() > 0.999 and (dark > end).mean() > 0.999


def test_dark_tissue_of_many_shades_is_no_air():
    rng = np.random.default_rng(0)
    dark, bright = rng.uniform(20, 150, 6000), rng.normal(600, 60, 3000)
    assert masks.air_level(np.concatenate([dark, bright, np.zeros(5000)])) is None


@pytest.mark.parametrize("signal", [0.0, 3.0, 6.0, 30.0])
def test_a_floor_of_noise_is_taken_off_magnitudes(signal):
    rng = np.random.default_rng(0)
    mean = np.hypot(signal + rng.normal(0, 1, 100_000), rng.normal(0, 1, 100_000)).mean()
    air = np.hypot(*rng.normal(0, 1, (2, 100_000))).mean()
    found = float(masks.without_floor(np.float32([mean]), air)[0])
    assert abs(found - signal) < 0.7 * abs(mean - signal) + 0.003
    assert np.isclose(masks.without_floor(np.float32([-mean]), air)[0], -found)


def test_what_is_darker_than_the_floor_stays_positive():
    np.testing.assert_allclose(
        masks.without_floor(np.float32([2, 5, 13, 0]), 5.0), [0.2, 0.5, 12, 0], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_box_means_are_means_over_boxes(dtype, order):
    image = np.asarray(np.random.default_rng(0).integers(0, 200, (13, 8, 7)), order=order).astype(
        dtype, order=order
    )
    found = masks.box_mean(image, (4, 2, 1))
    assert found.shape == (3, 4, 7) and found.dtype == np.float32
    np.testing.assert_allclose(found[2, 1, 5], image[8:12, 2:4, 5].mean(), rtol=1e-6)
    np.testing.assert_allclose(found.mean(), image[:12].mean(), rtol=1e-5)


def test_boxes_lie_in_the_middle_of_their_voxels():
    np.testing.assert_allclose(masks.box_positions(8, 4), [0.25, 0.75])
    np.testing.assert_allclose(masks.box_positions(9, 4), [2 / 9, 6 / 9])
    np.testing.assert_allclose(masks.box_positions(2, 1), [0.25, 0.75])


def test_a_mask_of_boxes_covers_their_voxels():
    found = masks.spread(np.array([[[True]], [[False]]]), (2, 3, 1), (5, 3, 1))
    assert found[:2].all() and not found[2:].any()
