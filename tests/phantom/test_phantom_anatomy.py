from dataclasses import replace

import numpy as np
import pytest

from oatools.phantom import anatomy, findings, rendering
from oatools.phantom.anatomy import KneeModel
from oatools.phantom.contrast import SIGNAL, Tissue
from oatools.phantom.series import SEQUENCES, digitise, grid
from oatools.phantom.waves import Waves

KNEE = replace(anatomy.random_knee(np.random.default_rng(3)), progression=0.8, effusion=0.6)
FLIP_X = np.diag([-1.0, 1.0, 1.0, 1.0])


def coronal(knee, matrix=96):
    return grid(SEQUENCES["cor-iw-tse"], matrix, knee.side, knee.centre, 5.0)


def voxel(affine, point):
    return tuple(np.rint(np.linalg.solve(affine, [*point, 1.0])[:3]).astype(int))


@pytest.mark.parametrize("contrast", SIGNAL)
def test_a_right_knee_is_the_mirror_image_of_the_left_in_patient_space(contrast):
    shape, affine = coronal(KNEE)
    left = rendering.render(KNEE, shape, affine, contrast)
    right = rendering.render(KNEE.mirrored(), shape, FLIP_X @ affine, contrast)
    np.testing.assert_allclose(right, left, atol=2e-4)
    assert left.max() > 0.5


@pytest.mark.parametrize("name,axis", [("cor-iw-tse", 0), ("sag-iw-tse", 2)])
def test_the_two_sides_are_scanned_so_that_a_flip_makes_them_alike(name, axis):
    left, right = (
        rendering.render(knee, *grid(SEQUENCES[name], 64, knee.side, knee.centre, 5.0), "iw")
        for knee in (KNEE, KNEE.mirrored())
    )
    np.testing.assert_allclose(np.flip(right, axis), left, atol=2e-3)
    assert np.abs(right - left).max() > 0.3  # not alike before


def test_the_left_knee_lies_on_the_patients_left_with_its_fibula_lateral():
    knee = KneeModel(centre=(90.0, 0.0, 0.0))
    to_ras = np.linalg.inv(anatomy.knee_from_ras(knee))
    fibula = to_ras @ [-35, -17, -24, 1]
    np.testing.assert_allclose(to_ras[:3, 3], [-90, 0, 0], atol=1e-12)  # RAS: left is negative
    np.testing.assert_allclose(fibula[:3], [-125, -17, -24], atol=1e-12)
    assert (np.linalg.inv(anatomy.knee_from_ras(knee.mirrored())) @ [-35, -17, -24, 1])[
        0
    ] == pytest.approx(125)


@pytest.mark.parametrize(
    "point,tissue",
    [
        ((23, -4, 25), Tissue.MARROW),  # medial condyle
        ((0, 0, 80), Tissue.MARROW),  # femoral shaft
        ((0, -4, -25), Tissue.MARROW),  # tibia
        ((-3, 40, 30), Tissue.MARROW),  # patella
        ((-35, -17, -40), Tissue.MARROW),  # fibula
        ((23, -4, 1.5), Tissue.CARTILAGE),  # under the medial condyle
        ((23, -4, -1.5), Tissue.CARTILAGE),  # on the medial plateau
        ((38.5, -3, 0), Tissue.MENISCUS),
        ((20, -40, -48), Tissue.MUSCLE),  # gastrocnemius
        ((51, 0, 0), Tissue.FAT),  # subcutaneous
        ((0, 80, 0), Tissue.AIR),
    ],
)
def test_tissues_lie_where_anatomy_puts_them(point, tissue):
    knee = KneeModel()
    to_ras = np.linalg.inv(anatomy.knee_from_ras(knee))
    affine = to_ras.copy()
    affine[:3, 3] = (to_ras @ [*point, 1])[:3]
    assert rendering.tissue_map(knee, (1, 1, 1), affine)[0, 0, 0] == tissue


def test_the_bias_field_has_the_stated_spread_over_the_limb_and_is_what_render_multiplies_by():
    spreads = []
    for seed in range(12):
        knee = anatomy.random_knee(np.random.default_rng(seed))
        shape, affine = coronal(knee, 32)
        limb = rendering.tissue_map(knee, shape, affine) != Tissue.AIR
        field = rendering.bias_field(knee, shape, affine)
        spreads.append(np.log(field[limb]).std())
    assert np.mean(spreads) == pytest.approx(0.2, abs=0.03)
    assert min(spreads) > 0.1 and max(spreads) < 0.3
    plain = rendering.render(knee, shape, affine, "iw", bias=False)
    np.testing.assert_allclose(
        rendering.render(knee, shape, affine, "iw"), plain * field, rtol=1e-5
    )


def test_a_wave_field_on_an_oblique_grid_equals_the_sum_of_cosines_at_each_voxel():
    rng = np.random.default_rng(0)
    waves = Waves(
        rng.normal(0, 0.2, (5, 3)), rng.uniform(0, 6, 5), rng.uniform(0.5, 1, 5), offset=0.3
    )
    affine = np.eye(4)
    affine[:3] = rng.normal(0, 1, (3, 4))
    got = waves.on_grid(affine, (4, 5, 6), slice(2, 6))
    for k, j, i in ((2, 0, 0), (5, 4, 3), (3, 2, 1)):
        point = affine[:3] @ [i, j, k, 1]
        expected = 0.3 + sum(
            a * np.cos(v @ point + p)
            for v, p, a in zip(waves.vectors, waves.phases, waves.amplitudes, strict=True)
        )
        assert got[k - 2, j, i] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("contrast,sign", [("iw", -1), ("iw-fs", 1), ("dess-we", 1)])
def test_the_lesion_is_dark_on_iw_and_bright_where_fat_is_suppressed(contrast, sign):
    shape, affine = coronal(KNEE)
    where = voxel(affine, findings.lesion(KNEE).centre)
    with_it, without = (
        rendering.render(replace(KNEE, progression=p), shape, affine, contrast)[where]
        for p in (0.8, 0.0)
    )
    assert sign * (with_it - without) > 0.2
    assert rendering.tissue_map(KNEE, shape, affine)[where] == Tissue.LESION


@pytest.mark.parametrize("finding", ["progression", "effusion"])
def test_findings_change_more_of_the_image_the_larger_they_are(finding):
    shape, affine = coronal(KNEE, 64)
    images = [
        rendering.render(replace(KNEE, **{finding: level}), shape, affine, "iw")
        for level in (0, 0.2, 0.5, 0.9)
    ]
    changes = [np.abs(image - images[0]).sum() for image in images]
    assert changes[1] > 0
    assert np.all(np.diff(changes) > 0.1 * changes[1])


def test_noise_is_rician():
    rng = np.random.default_rng(0)
    air = digitise(np.zeros((60, 60, 20), np.float32), 0.05, rng)
    bright = digitise(np.full((60, 60, 20), 1.0, np.float32), 0.05, rng)
    assert air.mean() == pytest.approx(
        600 * 0.05 * np.sqrt(np.pi / 2), rel=0.02
    )  # a Rayleigh distribution's mean
    assert bright.std() == pytest.approx(600 * 0.05, rel=0.02)
    assert bright.dtype == np.uint16
