"""How many patients a trial of two equal arms needs, by its event rate or its mean change.

All functions take arrays that are broadcast, and return an array. Infinity is the answer where no
number of patients would do: no event, or no change.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import nctdtr, ndtri, stdtrit

# Beyond all trials; the search for a whole number stays exact below it.
_MOST_PATIENTS = 1 << 40


def patients_for_events(
    rate: ArrayLike, effect: float, power: float = 0.8, alpha: float = 0.05
) -> np.ndarray:
    """Return the patients per arm, rounded up, that show a lower rate of events.

    `rate` (0 to 1) is that of the untreated arm, and treatment prevents the share `effect` of its
    events. The test is the two-sided z test of two proportions with the pooled variance under the
    null hypothesis (Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, 3rd ed.,
    equation 4.14, without correction for continuity):

        n = (z[1 - alpha/2] sqrt(2 p q) + z[power] sqrt(p1 q1 + p2 q2))^2 / (p1 - p2)^2,

    p1 and p2 the rates of the arms, p their mean, q = 1 - p.
    """
    untreated = np.asarray(rate, dtype=np.float64)
    treated = untreated * (1 - effect)
    pooled = (untreated + treated) / 2
    null = np.sqrt(2 * pooled * (1 - pooled))
    alternative = np.sqrt(untreated * (1 - untreated) + treated * (1 - treated))
    reach = ndtri(1 - alpha / 2) * null + ndtri(power) * alternative
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.ceil(np.square(reach / (untreated - treated)))
    return np.where(untreated > 0, count, np.inf)


def patients_for_change(
    mean: ArrayLike, sd: ArrayLike, effect: float, power: float = 0.8, alpha: float = 0.05
) -> np.ndarray:
    """Return the whole number of patients per arm, at least 2, that show a smaller mean change.

    `mean` and `sd` are those of the untreated arm, and treatment prevents the share `effect` of its
    mean change and leaves the SD as it is. The test is the two-sided t test of two samples; see
    `power_for_change`. The power is at least 0.5.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(effect * np.asarray(mean, dtype=np.float64) / np.asarray(sd))
        about = 2 * np.square((ndtri(1 - alpha / 2) + ndtri(power)) / size)
    count = np.full(about.shape, np.inf)
    at = about < _MOST_PATIENTS  # False where there is neither mean nor SD
    # The normal approximation is some two patients below the answer, and more where it has few; it
    # is above where a test of a weak level often rejects on the wrong side.
    low = np.maximum(np.floor(about[at] / 2), 1.0)
    high = np.ceil(about[at]) + 16
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        is_enough = power_for_change(middle, size[at], alpha) >= power
        high, low = np.where(is_enough, middle, high), np.where(is_enough, low, middle)
    count[at] = high
    return count


def power_for_change(patients: ArrayLike, size: ArrayLike, alpha: float = 0.05) -> np.ndarray:
    """Return the power of the two-sided t test of two arms of so many patients, at least 2.

    `size` is the difference of the means in standard deviations. The power is exact (noncentral t;
    Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.4), rejection
    on the wrong side included.
    """
    count = np.asarray(patients, dtype=np.float64)
    freedom, noncentrality = 2 * (count - 1), np.asarray(size) * np.sqrt(count / 2)
    critical = stdtrit(freedom, 1 - alpha / 2)
    # Where next to nothing lies below a bound, the library may have no number for it.
    below = np.nan_to_num(nctdtr(freedom, noncentrality, critical))
    wrong = np.nan_to_num(nctdtr(freedom, noncentrality, -critical))
    return np.asarray(1 - below + wrong)
