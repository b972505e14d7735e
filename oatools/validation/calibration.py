"""Calibration: whether probabilities mean what they say, and how to make them do so."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from oatools.core.errors import UsageError
from oatools.learning.metrics import log_odds
from oatools.learning.recalibration import Recalibration
from oatools.scored.knees import ScoredKnees
from oatools.validation.measures import logistic
from oatools.validation.validate import scores_of

#: The places of the knots of the curve, as quantiles of the log odds (Harrell, Regression Modeling
#: Strategies, 2nd ed., table 2.3, for four).
KNOTS = (0.05, 0.35, 0.65, 0.95)
#: With fewer knees of the rarer class, a curve of four knots follows chance, and is straight.
LEAST_FOR_CURVE = 30
_STEPS, _POINTS = 50, 101


@dataclass(frozen=True)
class Curve:
    """Observed against predicted: each array (points,), the band at 95 %."""

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray


def recalibrate(knees: ScoredKnees, kind: str) -> Recalibration:
    """Fit a recalibration of the first model to these knees (see `Recalibration`).

    After Steyerberg (Clinical Prediction Models, 2nd ed., section 15.3): `large` moves all log odds
    by the same, `logistic` stretches them, too. Raises a `UsageError` where the knees do not
    determine it, and where a higher probability means fewer events.
    """
    scores, weights = scores_of(knees), np.ones((1, len(knees)))
    odds = log_odds(scores.probability)
    found = logistic(scores.label, odds, weights, with_slope=kind == "logistic")
    intercept, slope = (float(value[0]) for value in found)
    if not (math.isfinite(intercept) and math.isfinite(slope)):
        raise UsageError("these knees determine no recalibration", "give more knees")
    if slope <= 0:
        raise UsageError(
            f"the calibration slope is {slope:.3f}: a higher probability goes with fewer events, "
            "and no recalibration mends that",
            "look for labels that are turned round, or another model",
        )
    return Recalibration(
        kind=kind,
        intercept=intercept,
        slope=slope,
        knees=len(knees),
        patients=knees.patients,
        events=int(knees.label.sum()),
        cautions=tuple(sorted(caution.value for caution in knees.cautions)),
    )


def calibration_curve(knees: ScoredKnees) -> Curve | None:
    """Return observed against predicted, by a restricted cubic spline of the log odds.

    Of four knots, or a straight line of log odds where the rarer class has few knees or the scores
    few values. The band is that of the cluster-robust variance by patient (Liang and Zeger,
    Biometrika 1986;73:13-22). None where the fit has no end.
    """
    scores = scores_of(knees)
    odds = log_odds(scores.probability)
    low, high = np.quantile(odds, [0.01, 0.99]).tolist()
    grid = np.linspace(low, high, _POINTS)
    knots = np.unique(np.quantile(odds, KNOTS))
    events = int(scores.label.sum())
    if min(events, len(knees) - events) < LEAST_FOR_CURVE or len(knots) < len(KNOTS):
        knots = np.zeros(0)
    if grid[0] == grid[-1]:
        return None
    design, at = spline(odds, knots), spline(grid, knots)
    fitted = _fit(design, scores.label, knees.subject)
    if fitted is None:
        return None
    coefficients, covariance = fitted
    middle = at @ coefficients
    reach = float(ndtri(0.975)) * np.sqrt(np.einsum("ij,jk,ik->i", at, covariance, at))
    return Curve(expit(grid), expit(middle), expit(middle - reach), expit(middle + reach))


def spline(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the columns of a restricted cubic spline: 1, x, and one less than knots but one.

    Harrell, Regression Modeling Strategies, 2nd ed., equation 2.25: cubic between the knots,
    straight beyond them, and divided by the square of the distance of the outer ones.
    """
    columns = [np.ones(len(values)), values]
    if len(knots) > 2:
        *inner, before, last = knots
        for knot in inner:
            column = _cube(values - knot)
            column = column - _cube(values - before) * (last - knot) / (last - before)
            column = column + _cube(values - last) * (before - knot) / (last - before)
            columns.append(column / (last - knots[0]) ** 2)
    return np.column_stack(columns)


def _cube(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0) ** 3


def _fit(
    design: np.ndarray, label: np.ndarray, subject: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The coefficients (columns,) of a logistic regression, and their cluster-robust covariance."""
    found = np.zeros(design.shape[1])
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            fitted = expit(design @ found)
            curvature = (design * (fitted * (1 - fitted))[:, None]).T @ design
            try:
                step = np.linalg.solve(curvature, design.T @ (label - fitted))
            except np.linalg.LinAlgError:
                return None
            found = found + step
            if not np.isfinite(found).all():
                return None
            if np.abs(step).max() <= 1e-9:
                break
        else:
            return None
    inverse = np.linalg.inv(curvature)
    scores = design * (label - expit(design @ found))[:, None]
    member = np.unique(subject, return_inverse=True)[1]
    sums = np.zeros((member.max() + 1, design.shape[1]))
    np.add.at(sums, member, scores)
    patients = len(sums)
    return found, inverse @ (sums.T @ sums) @ inverse * (patients / (patients - 1))
