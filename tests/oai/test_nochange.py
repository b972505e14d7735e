"""Labels that measurement error alone makes, held against the bivariate normal distribution."""

from decimal import Decimal

import numpy as np
import pytest
from scipy.stats import norm

from oatools.oai.endpoints import ENDPOINTS, Kind, width_endpoint
from oatools.oai.nochange import no_change

#: Widths of 2,000 knees, mean 4.0 mm, as the quantiles of a normal distribution.
QUANTILES = norm.ppf((np.arange(2000) + 0.5) / 2000)


def expected(mean, sd, sem, cut, relative):
    """The share of positives, and the AUC of the first width, by integration.

    The first width and `after - kept * before - cut` are bivariate normal, and a knee is positive
    where the second is 0 or less.
    """
    kept, shift = (1 + cut / 100, 0.0) if relative else (1.0, cut)
    true = sd**2 - sem**2
    middle = mean * (1 - kept) - shift
    spread = np.sqrt(true * (1 - kept) ** 2 + sem**2 * (1 + kept**2))
    covariance = true * (1 - kept) - kept * sem**2
    # The first width, given the second quantity at its quantiles within either class.
    share = norm.cdf(-middle / spread)
    grid = (np.arange(1500) + 0.5) / 1500
    positive = norm.ppf(grid * share)
    negative = norm.ppf(share + grid * (1 - share))
    slope = covariance / spread
    rest = np.sqrt(2 * (sd**2 - slope**2))
    return share, norm.cdf(slope * (positive[:, None] - negative[None, :]) / rest).mean()


@pytest.mark.parametrize("sd", [0.8, 1.0])
@pytest.mark.parametrize(
    "name, cut, relative",
    [("jsn12", -0.5, False), ("jsn24@-0.7", -0.7, False), ("jsn12-relative", -25, True)],
)
@pytest.mark.parametrize("sem", [0.2, 0.3])
def test_share_and_area_are_those_of_the_normal_distribution(sd, sem, name, cut, relative):
    share, area = expected(4.0, sd, sem, cut, relative)
    found = no_change(4.0 + sd * QUANTILES, width_endpoint(name), sem)
    assert found.positive == pytest.approx(share, rel=0.05, abs=2e-4)
    assert found.is_wider == (area > 0.5) == (not relative)
    # A simulation of 500,000, and no width below 0 where the normal distribution has some.
    tolerance = 0.003 + 0.5 / np.sqrt(500_000 * share)
    assert found.area == pytest.approx(max(area, 1 - area), abs=tolerance)


def test_the_figures_of_the_manual():
    for sd, absolute, relative in ((1.0, 0.61, 0.75), (1.25, 0.59, 0.82)):
        widths = 4.0 + sd * QUANTILES
        assert no_change(widths, ENDPOINTS["jsn12"]).area == pytest.approx(absolute, abs=0.01)
        found = no_change(widths, ENDPOINTS["jsn12-relative"])
        assert found.area == pytest.approx(relative, abs=0.01)
    assert no_change(4.0 + QUANTILES, ENDPOINTS["jsn12"]).positive == pytest.approx(
        norm.cdf(-0.5 / np.hypot(0.3, 0.3)), abs=0.002
    )


def test_it_is_the_same_twice_and_another_seed_moves_no_second_decimal():
    widths = np.array([2.1, 3.3, 3.8, 4.0, 4.4, 5.2])
    one, again = (no_change(widths, ENDPOINTS["jsn12"]) for _ in range(2))
    assert one == again
    other = no_change(widths, ENDPOINTS["jsn12"], seed=1)
    assert other != one and other.area == pytest.approx(one.area, abs=0.004)


def test_extremes_have_an_answer():
    widths = np.array([3.0, 4.0, 5.0])
    none = no_change(widths, ENDPOINTS["jsn12"], sem=0.01)
    assert none.positive == 0 and np.isnan(none.area)
    alike = no_change(np.array([4.0, 4.0]), ENDPOINTS["jsn12"])
    # All variation is error: the first width's is half of the change's.
    assert alike.positive == pytest.approx(0.119, abs=0.002) and alike.area > 0.8
    assert no_change(widths, ENDPOINTS["jsn12"], sem=3.0).area > 0.7
    closed = no_change(np.array([0.0, 0.0, 0.1]), ENDPOINTS["jsn12-relative"])
    assert 0.4 < closed.positive < 1


@pytest.mark.parametrize(
    "name, months, threshold, relative, width",
    [
        ("jsn12", 12, "-0.5", False, "mcmjsw"),
        ("jsn24@-0.588", 24, "-0.588", False, "mcmjsw"),
        ("jsn36-jsw225", 36, "-0.5", False, "jsw225"),
        ("jsn12-relative-ljsw700@-30", 12, "-30", True, "ljsw700"),
    ],
)
def test_the_name_of_an_endpoint_in_a_table_tells_what_it_is(
    name, months, threshold, relative, width
):
    found = width_endpoint(name)
    assert found.kind is Kind.WIDTH and found.name == name.partition("@")[0]
    assert (found.months, found.threshold) == (months, Decimal(threshold))
    assert (found.relative, found.width) == (relative, width)


@pytest.mark.parametrize(
    "name",
    ["", "pain", "pain@5", "kl12", "jsn-grade12", "jsn12-jsw999", "jsn12@0.5", "given", "JSN"],
)
def test_other_names_are_of_no_width(name):
    assert width_endpoint(name) is None
