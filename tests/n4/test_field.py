import numpy as np
import pytest

from oatools.n4 import gradients
from oatools.n4.field import Field, FitSettings, divide, fit_field, log_sum
from oatools.n4.masks import box_mean, box_positions, log_otsu_mask

ITERATIONS = (20, 20, 20)
UNTIL_THE_END = FitSettings(ITERATIONS, convergence=0.0)


@pytest.fixture(scope="module")
def phantom():
    """Box means of a synthetic knee with noise: a function of the sequence that gives samples, log field, tissue."""
    from oatools.phantom import anatomy, rendering, series

    made = {}

    def make(name, seed=5):
        if (name, seed) not in made:
            rng = np.random.default_rng(seed)
            knee, protocol = anatomy.random_knee(rng, "left"), series.SEQUENCES[name]
            shape, affine = series.grid(protocol, 192, "left", (95.0, 0.0, 0.0), 5.0)
            field = rendering.bias_field(knee, shape, affine)
            plain = rendering.render(knee, shape, affine, protocol.contrast, bias=False)
            image = series.digitise(plain * field, protocol.noise, rng)
            factors = (4, 4, 4 if name == "sag-3d-dess" else 1)
            inside = box_mean(rendering.tissue_map(knee, shape, affine) > 0, factors) > 0.99
            positions = [box_positions(n, f) for n, f in zip(shape, factors, strict=True)]
            made[name, seed] = (
                box_mean(image, factors),
                box_mean(np.log(field), factors),
                inside,
                positions,
            )
        return made[name, seed]

    return make


def by_itk(image, mask, iterations, convergence):
    """SimpleITK's log field on the samples themselves."""
    import SimpleITK as sitk

    theirs = sitk.N4BiasFieldCorrectionImageFilter()
    theirs.SetMaximumNumberOfIterations(list(iterations))
    theirs.SetConvergenceThreshold(convergence)
    picture = sitk.GetImageFromArray(np.ascontiguousarray(image.T))
    theirs.Execute(picture, sitk.GetImageFromArray(np.ascontiguousarray(mask.T).astype(np.uint8)))
    return sitk.GetArrayFromImage(theirs.GetLogBiasFieldAsImage(picture)).T


def difference(first, second, mask):
    """RMS of the difference of two log fields inside a mask; a field is defined up to a factor."""
    return float((first - second)[mask].std())


def log_field(field, shape):
    return field.log_at([np.linspace(0, 1, n) for n in shape])


@pytest.mark.parametrize("name", ["cor-iw-tse", "sag-iw-tse", "sag-3d-dess"])
def test_the_field_of_a_phantom_is_that_of_simpleitk(phantom, name):
    image, _, _, _ = phantom(name)
    mask = log_otsu_mask(image)
    ours = log_field(fit_field(image, mask, UNTIL_THE_END), image.shape)
    theirs = by_itk(image, mask, ITERATIONS, 0.0)
    assert theirs[mask].std() > 0.05
    assert difference(ours, theirs, mask) < 1e-4


@pytest.mark.parametrize(
    "archive, echo, factors",
    [("knee01_right_GE_DESS", None, (8, 8, 2)), ("knee02_right_GE_MESE", 1, (4, 4, 1))],
)
def test_the_field_of_a_real_knee_is_that_of_simpleitk(unpacked, archive, echo, factors):
    from oatools.dicom.convert import convert

    folder = next(p.parent for p in sorted(unpacked(f"knee/{archive}").rglob("*")) if p.is_file())
    image = box_mean(convert(folder, echo)[0].data, factors)
    mask = log_otsu_mask(image)
    ours = log_field(fit_field(image, mask, UNTIL_THE_END), image.shape)
    assert difference(ours, by_itk(image, mask, ITERATIONS, 0.0), mask) < 1e-4


def test_a_level_ends_when_the_field_changes_by_less_than_the_tolerance(phantom):
    image, _, _, _ = phantom("cor-iw-tse")
    field = fit_field(image, log_otsu_mask(image), FitSettings((300, 300), convergence=0.001))
    assert [level.spans for level in field.levels] == [(1, 1, 1), (2, 2, 2)]
    assert all(level.convergence <= 0.001 and 1 <= level.iterations < 300 for level in field.levels)
    one = fit_field(image, log_otsu_mask(image), FitSettings((1,), convergence=0.0))
    assert one.levels[0].iterations == 1 and one.points.shape == (4, 4, 4)


@pytest.mark.parametrize(
    "name, most", [("cor-iw-tse", 0.04), ("sag-iw-tse", 0.05), ("sag-3d-dess", 0.05)]
)
def test_small_steps_show_the_planted_field_in_every_contrast(phantom, name, most):
    for seed in (5, 6):
        image, planted, tissue, positions = phantom(name, seed)
        field = gradients.estimate(image, log_otsu_mask(image), (3, 3, 2), positions)
        assert planted[tissue].std() > 0.15
        assert difference(field.log_at(positions), planted, tissue) < most


def test_a_field_on_flat_tissue_is_found_whatever_the_tissues_are():
    """Blocks of many intensities under a quadratic field: nothing but the steps inside blocks tells it."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (32, 30, 20)], indexing="ij"))
    planted = 0.4 * grid[0] - 0.3 * grid[1] ** 2 + 0.2 * grid[2]
    blocks = np.kron(rng.uniform(0.1, 3, (4, 3, 2)), np.ones((8, 10, 10)))
    image = np.exp(planted) * blocks * np.exp(rng.normal(0, 0.01, planted.shape))
    positions = [box_positions(n, 1) for n in image.shape]
    everywhere = np.ones(image.shape, bool)
    field = gradients.estimate(image, everywhere, (2, 2, 2), positions)
    assert difference(field.log_at(positions), planted, everywhere) < 0.02


def test_a_field_is_held_flat_where_no_tissue_is(phantom):
    image, _, tissue, positions = phantom("sag-iw-tse")
    found = gradients.estimate(image, log_otsu_mask(image), (3, 3, 2), positions).log_at(positions)
    assert np.abs(found).max() < 1.5 * np.abs(found[tissue]).max() + 0.1


@pytest.mark.parametrize("order", ["C", "F"])
def test_division_is_by_the_exponential_of_the_sum_of_the_fields(order):
    rng = np.random.default_rng(0)
    image = np.asarray(rng.integers(-5, 900, (9, 8, 7)).astype(np.int16), order=order)
    fields = [Field(rng.normal(0, 0.3, s), ()) for s in ((4, 4, 4), (5, 6, 4))]
    positions = [box_positions(n, 1) for n in image.shape]
    corrected, logs = divide(image, fields, positions), log_sum(fields, positions)
    np.testing.assert_allclose(logs, sum(f.log_at(positions) for f in fields), atol=1e-5)
    np.testing.assert_allclose(corrected, image / np.exp(logs), rtol=1e-5)
    assert corrected.dtype == logs.dtype == np.float32


def test_slabs_are_not_seen_in_the_result(monkeypatch):
    image = np.random.default_rng(0).random((12, 9, 8)).astype(np.float32)
    field = [Field(np.random.default_rng(1).normal(0, 0.3, (4, 5, 4)), ())]
    positions = [box_positions(n, 1) for n in image.shape]
    whole, logs = divide(image, field, positions), log_sum(field, positions)
    monkeypatch.setattr("oatools.n4.field._SLAB_VOXELS", 9 * 8 * 5)
    np.testing.assert_allclose(divide(image, field, positions), whole, rtol=1e-6)
    np.testing.assert_allclose(log_sum(field, positions), logs, atol=1e-6)


def knee():
    rng = np.random.default_rng(0)
    return np.kron(rng.uniform(50, 400, (4, 4, 3)), np.ones((6, 6, 4))) * rng.uniform(
        0.95, 1.05, (24, 24, 12)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(np.int16),
        lambda a: a.astype(np.uint8),
        lambda a: a.astype(np.float64),
        lambda a: a[:, :, :1],
        lambda a: np.where(a > 300, np.nan, a),
        lambda a: np.where(a > 300, -4, a),
        lambda a: np.where(a > 300, 0, a),
        lambda a: np.where(a > 300, np.inf, a),
        lambda a: a * 1e-12,
        lambda a: a * 1e12,
        lambda a: a[::-1, :, ::-1],
    ],
)
def test_odd_images_give_a_finite_field(change):
    image = change(knee())
    positions = [box_positions(n, 1) for n in image.shape]
    mask = np.ones(image.shape, bool)
    for field in (
        fit_field(image, mask, FitSettings((5, 5))),
        gradients.estimate(image, mask, (2, 2, 1), positions),
    ):
        logs = field.log_at(positions)
        assert np.isfinite(logs).all() and np.abs(logs).max() < 3


def test_voxels_that_are_not_positive_and_finite_have_no_say():
    image = knee()
    mask = image < 300
    plain = fit_field(image, mask, FitSettings((10,))).points
    for value in (np.nan, -7, 0, np.inf):
        odd = fit_field(
            np.where(mask, image, value), np.ones(image.shape, bool), FitSettings((10,))
        ).points
        np.testing.assert_allclose(odd, plain, atol=1e-6)


@pytest.mark.parametrize(
    "image, mask, said",
    [
        (np.ones((8, 8, 8)), np.ones((8, 8, 8), bool), "one intensity"),
        (knee(), np.zeros((24, 24, 12), bool), "0 positive"),
        (-knee(), np.ones((24, 24, 12), bool), "0 positive"),
    ],
)
def test_an_image_without_information_is_refused(image, mask, said):
    with pytest.raises(ValueError, match=said):
        fit_field(image, mask)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_logarithm_of_the_field_is_kept_within_its_limits(order):
    rng = np.random.default_rng(0)
    image = np.asarray(rng.uniform(1, 9, (9, 8, 7)).astype(np.float32), order=order)
    fields = [Field(rng.normal(0, 0.5, (4, 5, 6)), ())]
    positions = [box_positions(n, 1) for n in image.shape]
    free, kept = log_sum(fields, positions), log_sum(fields, positions, (-0.1, 0.2))
    assert free.min() < -0.1 and free.max() > 0.2
    np.testing.assert_allclose(kept, np.clip(free, -0.1, 0.2), atol=1e-6)
    corrected = divide(image, fields, positions, (-0.1, 0.2))
    np.testing.assert_allclose(corrected, image / np.exp(kept), rtol=1e-5)


def test_weights_of_one_or_none_are_a_mask_and_their_size_does_not_matter(phantom):
    image, _, tissue, positions = phantom("cor-iw-tse")
    settings = FitSettings((10, 10))
    masked = fit_field(image, tissue, settings, positions).points
    everywhere = np.ones(image.shape, bool)
    by_weights = fit_field(image, everywhere, settings, positions, tissue.astype(np.float32)).points
    np.testing.assert_array_equal(by_weights, masked)
    larger = fit_field(image, tissue, settings, positions, np.full(image.shape, 7.0)).points
    np.testing.assert_allclose(larger, masked, atol=2e-4)
