"""Holm's adjustment by hand and beside statsmodels."""

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from oatools.scored.multiple import holm


def test_by_hand():
    """0.01 x 4, 0.02 x 3, then 0.03 x 2 is no more than 0.06, and 0.5 x 1."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_a_p_is_never_more_than_1_nor_less_than_a_smaller_ones():
    assert holm([0.4, 0.9, 0.3]) == pytest.approx([0.9, 0.9, 0.9])


def test_what_is_no_test_counts_for_none():
    found = holm([math.nan, 0.02, 0.03])
    assert math.isnan(found[0]) and found[1:] == pytest.approx([0.04, 0.04])
    assert holm([]) == []


def test_statsmodels_says_the_same():
    random = np.random.default_rng(0)
    for count in (1, 2, 5, 20):
        values = random.random(count) ** 2
        assert holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1])
