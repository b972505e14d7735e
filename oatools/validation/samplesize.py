"""How many knees it takes to validate a model: for intervals of a stated width.

After Riley et al. (Statistics in Medicine 2021;40:4230-4251), whose widths are the defaults. All of
it is for one knee a patient; two knees of one are fewer than two.
"""

import math

import numpy as np
from scipy.special import expit

_Z = 1.959964
_MOST = 1 << 40


def for_ratio(prevalence: float, width: float = 0.2) -> float:
    """Return the knees for an interval of observed by expected events about 1.

    The logarithm has the variance (1 - f) / (n f), f the prevalence.
    """
    error = math.asinh(width / 2) / _Z
    return math.ceil((1 - prevalence) / (prevalence * error**2))


def for_slope(odds: np.ndarray, width: float = 0.2) -> float:
    """Return the knees for an interval of a calibration slope of 1.

    `odds` (knees,) are the log odds of the model in such a cohort, from which comes the information
    of a knee. Infinite where they do not differ.
    """
    fitted = expit(odds)
    weight = fitted * (1 - fitted)
    a, ab, b = weight.mean(), (weight * odds).mean(), (weight * odds**2).mean()
    determinant = float(a * b - ab**2)
    if not determinant > 1e-12:
        return math.inf
    error = width / (2 * _Z)
    return math.ceil(float(a) / (error**2 * determinant))


def for_area(area: float, prevalence: float, width: float = 0.1) -> float:
    """Return the knees for an interval of an area under the ROC curve.

    By Newcombe's variance (Statistics in Medicine 2006;25:559-573), searched for. Infinite where no
    number would do.
    """
    least, most = 2, _MOST
    while most - least > 1:
        middle = (least + most) // 2
        is_enough = 2 * _Z * _area_error(area, prevalence, middle) <= width
        least, most = (least, middle) if is_enough else (middle, most)
    return math.inf if most == _MOST else float(most)


def _area_error(area: float, prevalence: float, knees: int) -> float:
    half = knees / 2 - 1
    spread = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    variance = area * (1 - area) * spread / (knees**2 * prevalence * (1 - prevalence))
    return math.sqrt(max(variance, 0.0))
