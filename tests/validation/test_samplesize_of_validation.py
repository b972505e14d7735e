"""How many knees a validation takes, beside pmvalsampsize (Riley et al.'s own program)."""

import math

import numpy as np
import pytest

from oatools.validation.samplesize import for_area, for_ratio, for_slope

# pmvalsampsize 0.2.1, type "b": prevalence, C statistic, mean and SD of the log odds, widths of the
# intervals of O/E, slope and C, and its three answers. It searches O/E in steps of 0.0001 of the
# error, and draws a million log odds.
CASES = [
    ((0.018, 0.80, -5.0, 2.5), (0.2, 0.2, 0.1), (20975, 4544, 4252)),
    ((0.14, 0.65, -1.9, 0.55), (0.2, 0.2, 0.1), (2362, 11650, 950)),
    ((0.3, 0.75, -1.0, 1.0), (0.4, 0.4, 0.2), (227, 753, 109)),
]


@pytest.mark.parametrize(("cohort", "widths", "expected"), CASES)
def test_the_program_of_the_authors_says_the_same(cohort, widths, expected):
    prevalence, area, mean, sd = cohort
    odds = np.random.default_rng(0).normal(mean, sd, 1_000_000)
    assert for_ratio(prevalence, widths[0]) == pytest.approx(expected[0], rel=5e-3)
    assert for_slope(odds, widths[1]) == pytest.approx(expected[1], rel=5e-3)
    assert for_area(area, prevalence, widths[2]) == expected[2]


def test_scores_that_are_all_alike_have_no_slope():
    assert math.isinf(for_slope(np.full(100, -1.0)))
