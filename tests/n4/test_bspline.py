import numpy as np
import pytest
from scipy.interpolate import BSpline

from oatools.n4 import bspline


@pytest.mark.parametrize("spans", [1, 2, 5])
def test_the_basis_is_that_of_scipy(spans):
    positions = np.linspace(0, 1, 37)
    knots = np.arange(-3.0, spans + 4)
    inside = np.minimum(positions * spans, spans - 1e-12)
    for column, values in enumerate(bspline.basis(positions, spans).T):
        np.testing.assert_allclose(
            values, BSpline(knots, np.eye(spans + 3)[column], 3)(inside), atol=1e-11
        )


@pytest.mark.parametrize("spans", [1, 2, 3, 8])
def test_a_refined_lattice_is_the_same_field(spans):
    points = np.random.default_rng(spans).normal(size=(spans + 3, 4, 5))
    positions = [np.linspace(0, 1, n) for n in (17, 9, 11)]
    coarse = bspline.expand(
        points, [bspline.basis(p, n - 3) for p, n in zip(positions, points.shape, strict=True)]
    )
    fine = bspline.refine(points)
    again = bspline.expand(
        fine, [bspline.basis(p, n - 3) for p, n in zip(positions, fine.shape, strict=True)]
    )
    assert fine.shape == (2 * spans + 3, 5, 7)
    np.testing.assert_allclose(again, coarse, atol=1e-12)


def test_the_fit_is_that_of_lee_wolberg_and_shin_sample_by_sample():
    """Equations 3 to 5 of the paper, a sample and a control point at a time, on scattered samples of a small grid."""
    rng = np.random.default_rng(0)
    shape, spans = (5, 6, 4), (2, 1, 2)
    values, mask = rng.normal(size=shape), rng.random(shape) < 0.6
    positions = [np.linspace(0, 1, n) for n in shape]
    lattice = bspline.lattice_on(positions, spans, np.float64)
    bases = [bspline.basis(p, n) for p, n in zip(positions, spans, strict=True)]
    above, below = np.zeros((5, 4, 5)), np.zeros((5, 4, 5))
    for index in np.argwhere(mask):
        weights = np.einsum("a,b,c->abc", *(b[i] for b, i in zip(bases, index, strict=True)))
        phi = weights * values[tuple(index)] / (weights**2).sum()
        above += weights**2 * phi
        below += weights**2
    expected = np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12)
    found = bspline.fit(values * mask, bspline.weights_of(mask.astype(float), lattice), lattice)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_contraction_and_expansion_are_each_others_transpose():
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=s) for s in ((6, 3), (5, 4), (7, 2))]
    volume, lattice = rng.normal(size=(6, 5, 7)), rng.normal(size=(3, 4, 2))
    np.testing.assert_allclose(
        bspline.contract(volume, matrices), np.einsum("abc,ax,by,cz->xyz", volume, *matrices)
    )
    np.testing.assert_allclose(
        bspline.expand(lattice, matrices), np.einsum("xyz,ax,by,cz->abc", lattice, *matrices)
    )
