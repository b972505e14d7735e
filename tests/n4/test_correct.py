import sys

import numpy as np
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.imaging.volume import Volume
from oatools.n4.correct import N4Settings, correct_bias, scale_exponent

FAST = N4Settings(iterations=(20, 20))


@pytest.fixture(scope="module")
def biased():
    """A phantom knee with and without its coil's bias field, and the field."""
    from oatools.phantom import anatomy, rendering, series

    knee = anatomy.random_knee(np.random.default_rng(3), "left")
    shape, affine = series.grid(series.SEQUENCES["cor-iw-tse"], 64, "left", (95.0, 0.0, 0.0), 5.0)
    plain = rendering.render(knee, shape, affine, "iw", bias=False)
    field = rendering.bias_field(knee, shape, affine)
    return Volume(plain * field, affine), np.log(field), plain > 0.05 * plain.max()


def spread(log_field, inside):
    """RMS of a log field about its mean: a field is defined up to a factor."""
    values = log_field[inside]
    return float(np.sqrt(np.mean((values - values.mean()) ** 2)))


@pytest.mark.parametrize(
    "settings",
    [
        FAST,
        N4Settings(start="flat", iterations=(20, 20)),
        N4Settings(engine="itk", iterations=(20, 20)),
    ],
)
def test_most_of_a_planted_field_is_found(biased, settings):
    volume, planted, inside = biased
    found = correct_bias(volume, settings)
    assert spread(found.log_field - planted, inside) < 0.5 * spread(planted, inside)
    np.testing.assert_allclose(
        found.corrected.data, volume.data / np.exp(found.log_field), rtol=1e-5
    )
    assert found.corrected.data.dtype == np.float32 and np.array_equal(
        found.corrected.affine, volume.affine
    )
    assert found.log_field.shape == found.mask.shape == volume.shape and found.mask.any()


def suppressed(noise):
    """A DESS phantom in a strong field, where fat is dark: image, planted log field, tissue, intensity of air."""
    from oatools.phantom import anatomy, rendering, series

    rng = np.random.default_rng(5)
    knee, protocol = anatomy.random_knee(rng, "left"), series.SEQUENCES["sag-3d-dess"]
    shape, affine = series.grid(protocol, 128, "left", (95.0, 0.0, 0.0), 5.0)
    plain = rendering.render(knee, shape, affine, protocol.contrast, bias=False)
    inside = rendering.tissue_map(knee, shape, affine) > 0
    planted = np.log(rendering.bias_field(knee, shape, affine))
    planted *= 0.3 / planted[inside].std()
    image = series.digitise(plain * np.exp(planted), protocol.noise * noise, rng)
    return (
        Volume(image.astype(np.float32), affine),
        planted,
        inside,
        float(np.median(image[~inside])),
    )


def test_air_is_left_out_and_its_noise_taken_off():
    volume, planted, inside, air = suppressed(noise=2)
    found = correct_bias(volume, N4Settings())
    assert abs(found.floor - air) < 0.15 * air
    assert found.mask[inside].mean() > 0.9 and found.mask[~inside].mean() < 0.2
    error = spread(found.log_field - planted, inside)
    assert error < 0.27 * spread(planted, inside)
    assert error < 0.8 * spread(
        correct_bias(volume, N4Settings(mask="log-otsu")).log_field - planted, inside
    )
    left = correct_bias(volume, N4Settings(floor=0.0))
    assert left.floor == 0 and spread(left.log_field - found.log_field, inside) > 0.005


@pytest.mark.parametrize("how", ["blanked", "cropped"])
def test_without_air_all_positive_samples_are_taken(how):
    volume, planted, inside, _ = suppressed(noise=1)
    data, part = volume.data.copy(), (slice(None),) * 3
    data[~inside] = 0
    if how == "cropped":
        part = tuple(slice(int(n * 0.35), int(n * 0.65)) for n in data.shape)
        assert inside[part].mean() > 0.9
    found, usual = (
        correct_bias(Volume(data[part], volume.affine), N4Settings(mask=m))
        for m in ("air", "log-otsu")
    )
    assert found.floor == 0 and found.mask[inside[part]].mean() > 0.9
    errors = [spread(each.log_field - planted[part], inside[part]) for each in (found, usual)]
    assert errors[0] < 0.5 * errors[1]


def test_both_engines_find_the_same_field(biased):
    volume, _, inside = biased
    ours, theirs = (
        correct_bias(
            volume, N4Settings(engine=e, weights="equal", iterations=(10, 10), convergence=0.0)
        )
        for e in ("fast", "itk")
    )
    # Theirs stretches the samples' lattice over the full grid, half a sample at each end: that is
    # what is left.
    assert spread(ours.log_field - theirs.log_field, inside) < 0.05 * spread(
        theirs.log_field, inside
    )


def test_the_field_is_the_same_for_any_order_of_axes_in_memory(biased):
    volume, _, _ = biased
    first = correct_bias(volume, FAST).log_field
    second = correct_bias(Volume(np.ascontiguousarray(volume.data), volume.affine), FAST).log_field
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_boxes_are_of_three_millimetres_unless_told_otherwise(biased):
    volume, _, _ = biased  # 64 x 64 of 2.2 mm, 35 slices of 3 mm
    assert correct_bias(volume, FAST).shrink == (1, 1, 1)
    fine = Volume(volume.data, volume.affine @ np.diag([0.3, 0.3, 1, 1]))
    assert correct_bias(fine, FAST).shrink == (5, 5, 1)
    assert correct_bias(fine, N4Settings(shrink=(2, 3, 1), iterations=(5,))).shrink == (2, 3, 1)
    assert correct_bias(
        Volume(volume.data[:, :, :6], fine.affine @ np.diag([1, 1, 0.1, 1])), FAST
    ).shrink == (5, 5, 1)


def test_a_mask_file_on_the_same_grid_is_used(biased, write_volume):
    volume, _, inside = biased
    path = write_volume("mask.nii.gz", inside.astype(np.uint8), volume.affine)
    everywhere = correct_bias(volume, N4Settings(mask="none"))
    masked = correct_bias(volume, N4Settings(mask=str(path)))
    assert not np.allclose(everywhere.log_field, masked.log_field, atol=1e-3)
    assert np.array_equal(masked.mask, inside & (volume.data > 0))


def test_a_mask_on_another_grid_is_refused(biased, write_volume):
    volume, _, inside = biased
    path = write_volume("mask.nii.gz", inside[1:].astype(np.uint8), volume.affine)
    with pytest.raises(ItemError, match="another grid"):
        correct_bias(volume, N4Settings(mask=str(path)))


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_volume_is_refused(value):
    with pytest.raises(ItemError, match="no field to correct"):
        correct_bias(Volume(np.full((16, 16, 8), value, np.float32), np.eye(4)), FAST)


def test_a_mask_without_samples_is_refused(write_volume):
    data = np.random.default_rng(0).random((16, 16, 8)).astype(np.float32)
    path = write_volume("empty.nii.gz", np.zeros((16, 16, 8), np.uint8))
    with pytest.raises(ItemError, match="the mask keeps 0 samples"):
        correct_bias(Volume(data, np.eye(4)), N4Settings(mask=str(path)))


def test_samples_of_one_intensity_are_refused(write_volume):
    data = np.random.default_rng(0).random((16, 16, 8)).astype(np.float32)
    data[:8] = 0.5
    inside = np.zeros(data.shape, np.uint8)
    inside[:8] = 1
    path = write_volume("flat.nii.gz", inside)
    settings = N4Settings(mask=str(path), start="flat", floor=0.0, shrink=(1, 1, 1))
    with pytest.raises(ItemError, match="no field can be fitted: all samples .* one intensity"):
        correct_bias(Volume(data, np.eye(4)), settings)


def test_an_error_in_the_work_itself_is_not_taken_for_one_of_the_volume(biased, monkeypatch):
    def fail(*_):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("oatools.n4.correct.fit_field", fail)
    with pytest.raises(ValueError, match="broadcast"):
        correct_bias(biased[0], FAST)


def test_negative_voxels_stay_and_do_no_harm(biased):
    volume, _, _ = biased
    data = volume.data.copy()
    data[0] = -5.0
    corrected = correct_bias(Volume(data, volume.affine), FAST).corrected
    assert (corrected.data[0] < 0).all() and np.isfinite(corrected.data).all()


def noisy(biased):
    """The phantom with noise in its air, so that every mask and the floor have something to do."""
    volume, _, _ = biased
    noise = np.random.default_rng(1).rayleigh(0.03 * volume.data.max(), volume.shape)
    return Volume((volume.data + noise).astype(np.float32), volume.affine)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-6, 3.7, 1e6, 1e20, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_k_times_the_volume_gives_k_times_the_result(biased, scale, dtype):
    volume = noisy(biased)
    wanted = correct_bias(volume, FAST)
    scaled = Volume((volume.data.astype(np.float64) * scale).astype(dtype), volume.affine)
    found = correct_bias(scaled, FAST)
    assert wanted.floor > 0 and np.array_equal(found.mask, wanted.mask)
    np.testing.assert_allclose(found.floor, wanted.floor * scale, rtol=1e-4)
    np.testing.assert_allclose(found.log_field, wanted.log_field, atol=1e-4)
    ratio = found.corrected.data.astype(np.float64) / scale / wanted.corrected.data
    np.testing.assert_allclose(ratio, 1, atol=2e-4)
    assert found.corrected.data.dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        N4Settings(mask="otsu", iterations=(20,)),
        N4Settings(mask="none", floor=0.0, iterations=(20,)),
        N4Settings(mask="log-otsu", engine="itk", iterations=(10,)),
    ],
)
def test_the_scale_does_not_matter_to_any_mask_or_engine(biased, settings):
    volume = noisy(biased)
    wanted = correct_bias(volume, settings).log_field
    for scale in (2.0**-90, 2.0**90):
        found = correct_bias(Volume(volume.data * np.float32(scale), volume.affine), settings)
        np.testing.assert_allclose(found.log_field, wanted, atol=1e-3)


def test_a_floor_that_is_given_is_in_the_volumes_own_unit(biased):
    volume = noisy(biased)
    wanted = correct_bias(volume, N4Settings(floor=0.05, iterations=(20,)))
    scaled = Volume(volume.data * np.float32(2.0**70), volume.affine)
    found = correct_bias(scaled, N4Settings(floor=0.05 * 2.0**70, iterations=(20,)))
    assert found.floor == wanted.floor * 2.0**70
    np.testing.assert_allclose(found.log_field, wanted.log_field, atol=1e-4)


def test_usual_intensities_are_not_scaled_and_a_single_voxel_decides_nothing():
    data = np.random.default_rng(0).integers(1, 1000, (16, 16, 8))
    for usual in (data.astype(np.uint8), data.astype(np.int32), data / 1000.0, data * 1000.0):
        assert scale_exponent(usual) == 0
    spiked = data.astype(np.float32)
    spiked[0, 0, 0] = 1e38
    assert scale_exponent(spiked) == 0
    assert scale_exponent(np.zeros((8, 8, 8), np.int16)) == 0
    # 500 * 2^60 has 2^69 as the power of two above it, and goes to 2^10.
    assert scale_exponent(np.full((8, 8, 8), 500.0 * 2.0**60)) == 10 - 69


@pytest.mark.parametrize("scale", [1e-38, 1e36, 1e200, 1e-200])
def test_what_float32_cannot_hold_is_refused(scale):
    data = np.random.default_rng(0).integers(1, 1000, (16, 16, 8)) * scale
    with pytest.raises(ItemError, match=r"its largest voxel is .*float32.*; scale the volume"):
        correct_bias(Volume(data, np.eye(4)), FAST)


@pytest.mark.parametrize(
    "floor, recorded",
    [(0.0, 0.0), (15.15694, 15.157), (0.0123456, 0.012), (3.456e-30, 3.5e-30), (2.5e20, 2.5e20)],
)
def test_the_floor_is_recorded_to_some_digits_at_any_scale(floor, recorded):
    from oatools.n4.rows import _rounded

    assert _rounded(floor) == recorded


@pytest.mark.parametrize("options, dtype", [("", np.float32), ("--dtype same", np.int16)])
def test_the_command_writes_volume_field_and_mask(
    biased, write_volume, shell, tmp_path, options, dtype
):
    import json

    import nibabel

    volume, _, _ = biased
    image = np.rint(volume.data * 600).astype(np.int16)
    write_volume("9000001_00m_left_cor-iw-tse.nii.gz", image, volume.affine)
    shell(
        f"oa-n4 {options} 9000001_00m_left_cor-iw-tse.nii.gz -o n4 --field field.nii --mask-out masks"
    )
    name = "9000001_00m_left_cor-iw-tse.nii.gz"
    corrected, field, mask = (
        nibabel.load(tmp_path / p) for p in (f"n4/{name}", "field.nii", f"masks/{name}")
    )
    assert corrected.get_data_dtype() == dtype
    tolerance = 0.51 if dtype == np.int16 else 1e-3
    np.testing.assert_allclose(
        corrected.get_fdata(), image / np.exp(field.get_fdata()), atol=tolerance
    )
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}
    step = json.loads((tmp_path / "n4/9000001_00m_left_cor-iw-tse.json").read_text())[
        "OatoolsSteps"
    ][-1]
    assert step["shrink"] == [1, 1, 1] and [level["spans"] for level in step["levels"]] == [
        [2, 2, 2],
        [4, 4, 4],
        [8, 8, 8],
    ]
    assert step["floor"] == 0  # this phantom's air has no noise


def test_the_commands_options_are_the_settings_with_their_defaults():
    from dataclasses import asdict

    from oatools.commands import n4

    options = n4.main.make_context("oa-n4", ["-o", "n4"]).params
    settings = asdict(N4Settings())
    assert {name: options[name] for name in settings} == settings


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"engine": "slow"}, "no engine 'slow'; give engine as fast or itk"),
        ({"weights": "dark"}, "no weights 'dark'; give weights as brightness or equal"),
        ({"start": "none"}, "no start 'none'; give start as gradient or flat"),
        ({"floor": -1.0}, "floor is -1.0; give a floor that is not negative"),
        ({"shrink": (2, 2)}, "give shrink as three numbers of at least 1"),
        ({"shrink": (2, 0, 1)}, "give shrink as three numbers of at least 1"),
        ({"spans": (1, 1)}, "give spans as three numbers of at least 1"),
        ({"spans": (1, 1, 0)}, "give spans as three numbers of at least 1"),
        ({"iterations": ()}, "give iterations as 1 to 8 numbers of at least 1"),
        ({"iterations": (5,) * 9}, "give iterations as 1 to 8 numbers of at least 1"),
        ({"iterations": (50, 0)}, "give iterations as 1 to 8 numbers of at least 1"),
        ({"convergence": -0.1}, "convergence is -0.1; give a convergence that is not negative"),
        ({"convergence": float("nan")}, "convergence is nan"),
        ({"fwhm": 0.0}, "fwhm is 0.0; give a positive fwhm"),
        ({"noise": 0.0}, "noise is 0.0; give a positive noise"),
        ({"bins": 15}, "bins is 15; give bins of at least 16"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        N4Settings(**wrong)


def test_settings_are_read_and_usage_errors_found_without_numpy(shell):
    code = (
        "import sys; from oatools.commands.n4 import main\n"
        "try: main(['a.nii', '-o', 'n4', '--spans', 'x'])\n"
        "except SystemExit as end: assert end.code == 2 and 'numpy' not in sys.modules\n"
        "else: raise AssertionError"
    )
    shell(f'{sys.executable} -c "{code}"')


def test_one_file_for_the_fields_of_many_volumes_is_refused(write_volume, shell):
    for name in ("a.nii", "b.nii"):
        write_volume(name, np.ones((8, 8, 8), np.float32))
    done = shell("oa-n4 a.nii b.nii -o n4 --field field.nii.gz", status=2)
    assert "give them a folder" in done.stderr


@pytest.fixture(scope="module")
def in_a_coil():
    """A fat-suppressed phantom in an array of loops: the volume, the planted log field, tissue."""
    from oatools.phantom import anatomy, rendering, series

    knee = anatomy.random_knee(np.random.default_rng(11), "left")
    knee = anatomy.in_coil(knee, "array", np.random.default_rng(12))
    protocol = series.SEQUENCES["sag-iw-tse"]
    shape, affine = series.grid(protocol, 96, "left", (95.0, 0.0, 0.0), 5.0)
    plain = rendering.render(knee, shape, affine, protocol.contrast, bias=False)
    field = rendering.bias_field(knee, shape, affine)
    image = series.digitise(plain * field, 0.01, np.random.default_rng(13))
    inside = rendering.tissue_map(knee, shape, affine) > 0
    return Volume(image.astype(np.float32), affine), np.log(field), inside


def test_the_field_of_a_coil_is_found_better_than_by_n4_as_published(in_a_coil):
    volume, planted, inside = in_a_coil
    published = N4Settings(
        start="flat", weights="equal", mask="otsu", spans=(1, 1, 1), iterations=(50,) * 4
    )
    ours, theirs = (
        spread(correct_bias(volume, settings).log_field - planted, inside)
        for settings in (N4Settings(), published)
    )
    assert ours < 0.5 * theirs and ours < 0.5 * spread(planted, inside)


def test_outside_of_the_samples_the_field_goes_no_further_than_at_them(in_a_coil):
    volume, _, _ = in_a_coil
    correction = correct_bias(volume, N4Settings())
    found, seen = correction.log_field, correction.mask
    assert found.min() >= found[seen].min() - 1e-3 and found.max() <= found[seen].max() + 1e-3
    assert (found[~seen] == found.min()).sum() > 100  # it would go further
    expected = volume.data / np.exp(found)
    np.testing.assert_allclose(correction.corrected.data, expected, rtol=1e-4)


def test_dark_samples_have_little_say():
    """Dark tissue with a trend of its own beside bright tissue without one, under no field."""
    rng = np.random.default_rng(0)
    along = np.linspace(-1, 1, 40)[:, None, None]
    image = np.full((40, 24, 20), 1000.0)
    image[:, 12:] = 120 * np.exp(0.5 * along)
    image *= np.exp(rng.normal(0, 0.02, image.shape))
    volume = Volume(image.astype(np.float32), np.diag([3.0, 3, 3, 1]))
    fields = [
        correct_bias(volume, N4Settings(start="flat", weights=weights)).log_field[:, :12].std()
        for weights in ("brightness", "equal")
    ]
    assert fields[0] < 0.5 * fields[1]


def test_a_correction_says_what_it_did(in_a_coil):
    volume, planted, _ = in_a_coil
    found = correct_bias(volume, N4Settings())
    measures = found.measures
    low, high = np.percentile(planted[found.mask], (5, 95))
    assert 0.6 * np.exp(high - low) < measures.field_range < 2 * np.exp(high - low)
    before, after = measures.variation
    assert after < 0.6 * before and not measures.is_worse


def report_of(path):
    lines = path.read_text().splitlines()
    names = lines[0].split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]


def test_the_report_has_a_row_for_each_volume_once_and_says_which_came_out_worse(
    in_a_coil, write_volume, shell, tmp_path
):
    from oatools.n4 import rows

    volume, _, _ = in_a_coil
    name = "9000001_00m_left_sag-iw-tse.nii.gz"
    write_volume(name, volume.data.astype(np.int16), volume.affine)
    shell(f"oa-n4 {name} -o n4 --report report.tsv")
    (first,) = report_of(tmp_path / "report.tsv")
    assert first["path"] == f"n4/{name}" and first["knee"] == "9000001_00m_left"
    assert first["worse"] == "0" and float(first["variation_ratio"]) < 0.6
    assert float(first["variation_after"]) < float(first["variation_before"])
    done = shell(f"oa-n4 {name} -o n4 --report report.tsv")  # kept: read from the sidecar
    assert "1 kept" in done.stderr and report_of(tmp_path / "report.tsv") == [first]
    done = shell("oa-n4 " + name + " -o again --report " + name, status=2)
    assert "is no report of corrections" in done.stderr or "is there" in done.stderr

    worse = rows.Measures(2.0, (0.1, 0.12), (2.0, 1.9))
    assert (
        "vary more after the correction than before (0.120, before 0.100)" in rows._doubts(worse)[0]
    )
    assert rows._doubts(rows.Measures(2.0, (0.1, 0.1), None)) == ()
    assert rows._doubts(rows.Measures(2.0, None, None)) == ()


def test_cells_of_the_report_are_those_of_the_sidecar_or_missing():
    from oatools.n4.report import cells_of

    cells = cells_of({"field_range": 2.5, "variation": [0.1, 0.125], "contrast": None})
    assert cells["field_range"] == "2.500" and cells["variation_ratio"] == "1.250"
    assert cells["worse"] == "1" and cells["contrast_before"] == "n/a"
    assert set(cells_of({"variation": "0.1", "contrast": [1]}).values()) == {"n/a"}
