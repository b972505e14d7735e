import numpy as np
import pytest

from oatools.n4.measures import _interior, measure

SHAPE = (30, 28, 20)


def slabs(values):
    """Slabs of tissue along the first axis, with a little texture, and a mask of all of it."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.asarray(values, np.float64), SHAPE[0] // len(values))[:, None, None]
    return image * np.exp(rng.normal(0, 0.02, SHAPE)), np.ones(SHAPE, bool)


def ramp(size):
    """A logarithm that rises by `size` along the second axis, from half of it below 0."""
    return np.broadcast_to(np.linspace(-size / 2, size / 2, SHAPE[1])[:, None], SHAPE).astype("f4")


def test_the_true_field_takes_the_variation_down_to_the_texture_and_leaves_the_contrast():
    image, mask = slabs([100, 300, 900])
    field = ramp(0.8)
    found = measure(image * np.exp(field), mask, field)
    before, after = found.variation
    # half the distance of the 16th from the 84th percentile of a uniform distribution of width 0.8
    assert before == pytest.approx(0.8 * 0.6826 / 2, rel=0.05)
    assert after == pytest.approx(0.02, rel=0.1) and not found.is_worse
    assert found.contrast == pytest.approx((9, 9), rel=0.03)
    assert found.field_range == pytest.approx(np.exp(0.8 * 0.98), rel=0.03)


def test_a_field_that_is_not_there_makes_it_worse():
    image, mask = slabs([100, 300, 900])
    assert measure(image, mask, ramp(0.8)).is_worse
    assert measure(image * np.exp(ramp(0.8)), mask, -ramp(0.8)).is_worse


def test_a_field_that_follows_the_tissues_takes_their_contrast():
    image, mask = slabs([100, 300, 900])
    follows = np.repeat(np.float32([-0.5, 0, 0.5]), 10)[:, None, None] * np.ones(SHAPE, np.float32)
    before, after = measure(image, mask, follows).contrast
    assert before == pytest.approx(9, rel=0.03) and after == pytest.approx(9 / np.e, rel=0.03)


def test_edges_and_what_lies_outside_have_no_say():
    image, mask = slabs([100, 300, 900])
    alone = measure(image, mask, ramp(0.4))
    field = ramp(0.4).copy()
    field[9:11] += 3  # at the edge between two slabs
    assert measure(image, mask, field).field_range == pytest.approx(alone.field_range, rel=0.01)
    odd, inside = image.copy(), mask.copy()
    odd[:, :, -4:] = 5e4
    inside[:, :, -4:] = False
    assert measure(odd, inside, ramp(0.4)).variation == pytest.approx(alone.variation, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_samples_on_both_sides_of_an_edge_are_no_interior(axis):
    logs, mask = np.zeros(SHAPE, np.float32), np.ones(SHAPE, bool)
    np.moveaxis(logs, axis, 0)[8:] = 0.2
    np.moveaxis(mask, axis, 0)[14] = False
    found = np.moveaxis(_interior(logs, mask), axis, 0)
    outside = [n for n in range(SHAPE[axis]) if not found[n].any()]
    assert outside == [7, 8, 13, 14, 15] and found[[6, 9, 12, 16]].all()


def test_without_enough_tissue_nothing_is_said_of_it():
    image, mask = slabs([100, 300, 900])
    image *= np.exp(np.random.default_rng(1).normal(0, 1, SHAPE))  # nothing is flat
    found = measure(image, mask, ramp(0.4))
    assert found.variation is None and found.contrast is None and not found.is_worse
