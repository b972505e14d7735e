from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.phantom import anatomy, rendering
from oatools.phantom.coils import COILS, Coil, Transmitter, _loop, random_coil
from oatools.phantom.contrast import Tissue
from oatools.phantom.download import make_volume, prepare
from oatools.phantom.people import PhantomSettings, make_patient
from oatools.phantom.series import SEQUENCES, grid
from oatools.phantom.waves import limb_points


def circle(radius, pieces=720):
    """A round loop about x, of which the field on its axis is known; both its channels are one."""
    angles = np.linspace(0, 2 * np.pi, pieces + 1)
    corners = np.stack([0 * angles, radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    ones = np.ones(pieces, complex)
    return Coil(corners[:-1], corners[1:], ones, np.zeros(pieces, np.intp))


def test_on_the_axis_of_a_round_loop_the_field_is_the_textbooks():
    """B = mu0 I R^2 / (2 (R^2 + x^2)^(3/2)): relative to the middle, (1 + (x / R)^2)^(-3/2)."""
    places = np.array([0.0, 20, 40, 80, 150])
    points = np.stack([places, 0 * places, 0 * places], axis=1)
    found = circle(60.0).at(points)
    expected = -1.5 * np.log(1 + (places / 60) ** 2)
    np.testing.assert_allclose(found - found[0], expected, atol=2e-3)


def test_channels_are_combined_as_the_root_of_the_sum_of_squares():
    one = circle(60.0)
    two = replace(
        one,
        starts=np.concatenate([one.starts, one.starts]),
        ends=np.concatenate([one.ends, one.ends]),
        currents=np.concatenate([3 * one.currents, 4j * one.currents]),
        channels=np.repeat([0, 1], len(one.starts)),
    )
    points = limb_points()[::50]
    np.testing.assert_allclose(two.at(points) - one.at(points), np.log(5), atol=1e-9)


def test_a_field_along_the_main_one_is_not_received():
    """A round loop about z gives nothing on its axis but Bz; off it, there is some."""
    coil = circle(60.0)
    turned = replace(coil, starts=coil.starts[:, [2, 1, 0]], ends=coil.ends[:, [2, 1, 0]])
    on_axis, off = turned.at(np.array([[0.0, 0, 30], [30.0, 0, 30]]))
    assert on_axis < off - 5


def test_a_coil_turned_about_the_main_field_is_the_same_coil_turned():
    coil = circle(60.0)
    points = limb_points()[::40]
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = replace(coil, starts=coil.starts @ quarter.T, ends=coil.ends @ quarter.T)
    np.testing.assert_allclose(turned.at(points @ quarter.T), coil.at(points), atol=1e-9)


@pytest.mark.parametrize("kind", COILS)
def test_a_coil_is_the_same_for_the_same_seed_and_another_for_another(kind):
    points = limb_points()
    first, again, other = (
        random_coil(np.random.default_rng(seed), kind).at(points) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and np.abs(first - other).max() > 0.05
    assert abs(first.mean()) < 1e-9 and np.isfinite(first).all()


def test_arrays_are_brighter_at_the_skin_than_in_the_middle_and_birdcages_even():
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    skin = np.stack([48 * np.cos(around), 55 * np.sin(around), 0 * around], axis=1)
    depths = {}
    for kind in COILS:
        coils = [random_coil(np.random.default_rng(seed), kind) for seed in range(8)]
        depths[kind] = [coil.at(skin).mean() - coil.at(np.zeros((1, 3)))[0] for coil in coils]
    assert 0.4 < np.mean(depths["array"]) < 1.1
    assert np.abs(np.mean(depths["birdcage"])) < 0.15
    limb = limb_points()
    spreads = {
        kind: np.mean(
            [random_coil(np.random.default_rng(s), kind).at(limb).std() for s in range(8)]
        )
        for kind in COILS
    }
    assert 0.15 < spreads["array"] < 0.45 and 0.2 < spreads["flexible"] < 0.6
    assert spreads["birdcage"] < 0.2


def test_where_the_flip_angle_is_half_a_spin_echo_has_the_cube_of_the_sine_of_45_degrees():
    from scipy.special import j0

    transmitter = Transmitter(wavelength=400.0, centre=(10.0, 0.0), nominal=0.5)
    found = transmitter.log_signal(np.array([[10.0, 0, 5], [60.0, 0, 0]]))
    assert found[0] == pytest.approx(3 * np.log(np.sin(np.pi / 4)))
    flip = 0.5 * j0(2 * np.pi * 50 / 400)
    assert found[1] == pytest.approx(3 * np.log(np.sin(np.pi / 2 * flip)))


def test_the_field_on_a_grid_is_that_at_its_points():
    knee = anatomy.in_coil(anatomy.KneeModel(), "flexible", np.random.default_rng(4))
    shape, affine = grid(SEQUENCES["sag-iw-tse"], 96, "left", knee.centre, 5.0)
    into_knee = anatomy.knee_from_ras(knee) @ affine
    found = knee.bias.over(into_knee, shape)(slice(10, 13))
    assert found.shape == (3, shape[1], shape[0]) and found.dtype == np.float32
    i, j, k = np.meshgrid(np.arange(40, 70, 7), np.arange(40, 70, 7), [10, 11, 12], indexing="ij")
    points = np.stack([i, j, k], axis=-1) @ into_knee[:3, :3].T + into_knee[:3, 3]
    near = np.hypot(points[..., 0], points[..., 1]) < 45
    assert near.sum() > 20
    wanted = knee.bias.at(points)
    np.testing.assert_allclose(found[k - 10, j, i][near], wanted[near], atol=5e-3)


def test_a_loop_is_closed_and_lies_on_its_tube():
    corners = _loop((60.0, 70.0), (0.2, 1.4), (-50.0, 80.0))
    assert np.array_equal(corners[0], corners[-1])
    radii = (corners[:, 0] / 60) ** 2 + (corners[:, 1] / 70) ** 2
    np.testing.assert_allclose(radii, 1)
    assert set(corners[:, 2]) == {-50.0, 80.0}


def test_mottling_changes_the_tissues_that_have_it_alone_and_most_where_fat_is_suppressed():
    knee = anatomy.in_coil(anatomy.KneeModel(), "array", np.random.default_rng(4))
    shape, affine = grid(SEQUENCES["cor-iw-tse"], 64, "left", knee.centre, 5.0)
    tissues = rendering.tissue_map(knee, shape, affine)
    changes = {}
    for contrast in ("iw", "iw-fs"):
        with_it, without = (
            rendering.render(each, shape, affine, contrast, bias=False)
            for each in (knee, replace(knee, mottling=None))
        )
        for tissue in (Tissue.FAT, Tissue.MUSCLE, Tissue.MARROW):
            change = (with_it / np.maximum(without, 1e-3))[tissues == tissue]
            changes[contrast, tissue] = change.std()
        fluid = tissues == Tissue.AIR
        assert np.array_equal(with_it[fluid], without[fluid])
    assert 0.02 < changes["iw", Tissue.MUSCLE] < 0.06
    assert changes["iw-fs", Tissue.FAT] > 1.5 * changes["iw", Tissue.FAT]


def test_people_have_the_same_anatomy_in_any_coil_and_waves_unless_asked():
    plain, coil = (
        make_patient(PhantomSettings(patients=2, seed=5, bias=bias), 1).knees
        for bias in ("waves", "mixed")
    )
    for one, other in zip(plain, coil, strict=True):
        assert (
            replace(other.anatomy, bias=one.anatomy.bias, mottling=None).shape == one.anatomy.shape
        )
        assert isinstance(other.anatomy.bias, Coil) and not isinstance(one.anatomy.bias, Coil)
        assert one.anatomy.mottling is None and other.anatomy.mottling is not None
    left, right = (knee.anatomy.bias.at(limb_points()) for knee in coil)
    assert np.abs(left - right).max() > 0.02


def test_a_release_in_a_coil_has_its_own_images_always_the_same_and_its_own_folder(tmp_path):
    settings = PhantomSettings(
        patients=1, seed=5, matrix=48, sequences=("cor-iw-tse",), bias="birdcage"
    )
    images = {}
    for bias in ("birdcage", "waves"):
        asked = replace(settings, bias=bias)
        knee = make_patient(asked, 0).knees[0]
        images[bias] = make_volume(asked, knee, SEQUENCES["cor-iw-tse"])[0].astype(float)
    again = make_volume(settings, make_patient(settings, 0).knees[0], SEQUENCES["cor-iw-tse"])[0]
    assert np.array_equal(images["birdcage"], again)
    assert np.abs(images["birdcage"] - images["waves"]).max() > 50
    prepare(tmp_path / "release", settings)
    with pytest.raises(UsageError, match="made with bias birdcage"):
        prepare(tmp_path / "release", replace(settings, bias="waves"))
    with pytest.raises(UsageError, match="no bias surface; known: waves, array"):
        prepare(tmp_path / "other", replace(settings, bias="surface"))


def test_the_command_offers_the_biases_that_there_are():
    from oatools.commands.phantom import main
    from oatools.phantom.people import BIASES

    option = next(each for each in main.params if each.name == "bias")
    assert tuple(option.type.choices) == BIASES and option.default == "waves"
