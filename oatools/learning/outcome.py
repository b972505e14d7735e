"""What a model is fitted to: classes of knees, or when something happened to them.

Both say how likely a score for each knee makes what was seen: log odds, or the logarithm of how
much higher a knee's hazard is than the cohort's.
"""

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from oatools.learning.followup import FollowUp
from oatools.learning.hazard import (
    FURTHEST,
    Hazards,
    Intervals,
    concordance,
    fit_hazards,
    pieces_of,
)
from oatools.learning.metrics import roc_auc

_TOLERANCE = 1e-4


class Regression(Protocol):
    """A ridge regression of an outcome, which starts from its last fit."""

    def fit(
        self, columns: np.ndarray, strength: float, tolerance: float = ..., steps: int = ...
    ) -> None:
        """Fit it to columns (knees, columns) at an inverse strength of the penalty."""

    def score(self, columns: np.ndarray) -> np.ndarray:
        """Return the scores (knees,) of columns (knees, columns)."""

    @property
    def weight(self) -> np.ndarray:
        """The weights (columns,)."""

    @property
    def bias(self) -> float:
        """The score where all columns are 0."""


@dataclass(frozen=True)
class Classes:
    """Knees of two classes: `label` (knees,) is 0 or 1, and scores are log odds."""

    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def take(self, index: np.ndarray) -> "Classes":
        """Return the classes of the knees at `index`."""
        return Classes(self.label[index])

    def loss(self, score: np.ndarray) -> float:
        """Return the mean log loss (nats) of log odds (knees,)."""
        return float(np.logaddexp(0, np.where(self.label == 1, -score, score)).mean())

    def slopes(self, score: np.ndarray) -> np.ndarray:
        """Return the derivative of each knee's log loss by its log odds (knees,)."""
        return np.asarray(expit(score) - self.label)

    def level(self) -> float:
        """Return the log odds of the prevalence."""
        prevalence = self.label.mean()
        return float(np.log(prevalence / (1 - prevalence)))

    def area(self, score: np.ndarray) -> float:
        """Return the area under the ROC curve."""
        return roc_auc(self.label, score)

    def regression(self) -> Regression:
        """Return logistic regression."""
        return _Logistic(self.label)


@dataclass(frozen=True)
class Happened:
    """Knees to which something happened, or had not by the end of their follow-up.

    Scores are the logarithm of a knee's hazard, in units of `hazards`.
    """

    follow_up: FollowUp
    hazards: Hazards
    intervals: Intervals

    @classmethod
    def of(cls, follow_up: FollowUp, hazards: Hazards | None = None) -> "Happened":
        """Put follow-up on the scale of hazards, by default of those of these knees."""
        if hazards is None:
            hazards = fit_hazards(follow_up, pieces_of(follow_up))
        return cls(follow_up, hazards, Intervals.of(follow_up, hazards))

    def given(self, score: np.ndarray) -> "Happened":
        """Return the outcome in units of the hazards that are most likely given scores (knees,).

        Those of a cohort fall with time, as knees of high hazard go first. Where they stand for
        those of one knee, scores come out too close together.
        """
        return Happened.of(self.follow_up, fit_hazards(self.follow_up, self.hazards.ends, score))

    def __len__(self) -> int:
        return len(self.follow_up)

    def take(self, index: np.ndarray) -> "Happened":
        """Return the outcome of the knees at `index`, on the same scale."""
        return Happened.of(self.follow_up.take(index), self.hazards)

    def loss(self, score: np.ndarray) -> float:
        """Return the mean negative log likelihood (nats), see `hazard.Intervals`."""
        return float(self.intervals.losses(score).mean())

    def slopes(self, score: np.ndarray) -> np.ndarray:
        """Return the derivative of each knee's loss by its score (knees,)."""
        return self.intervals.slopes(score)

    def level(self) -> float:
        """Return how much higher than `hazards` the hazard of all knees is, as a logarithm."""
        ones = np.ones(len(self))
        found = minimize_scalar(
            lambda score: self.loss(score * ones), bounds=(-FURTHEST, FURTHEST), method="bounded"
        )
        return float(found.x)

    def area(self, score: np.ndarray) -> float:
        """Return the share of pairs of known order that are in the right one."""
        return concordance(self.follow_up, score)

    def regression(self) -> Regression:
        """Return a regression of hazards."""
        return _Proportional(self)


#: What is known of each of some knees.
Outcome = Classes | Happened


class _Logistic:
    """Logistic regression, as scikit-learn has it."""

    def __init__(self, label: np.ndarray) -> None:
        self._label = label
        self._model = LogisticRegression(warm_start=True)

    def fit(
        self,
        columns: np.ndarray,
        strength: float,
        tolerance: float = _TOLERANCE,
        steps: int = 200,
    ) -> None:
        self._model.set_params(C=strength, tol=tolerance, max_iter=steps)
        with warnings.catch_warnings():  # not quite at its end, it is as good a regression
            warnings.simplefilter("ignore")
            self._model.fit(columns, self._label)

    def score(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.decision_function(columns))

    @property
    def weight(self) -> np.ndarray:
        return np.asarray(self._model.coef_[0])

    @property
    def bias(self) -> float:
        return float(self._model.intercept_[0])


class _Proportional:
    """Ridge regression of hazards, with the same penalty as the logistic one."""

    def __init__(self, outcome: Happened) -> None:
        self._outcome = outcome
        self._found: np.ndarray | None = None

    def fit(
        self,
        columns: np.ndarray,
        strength: float,
        tolerance: float = _TOLERANCE,
        steps: int = 200,
    ) -> None:
        knees = len(columns)

        def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
            weight, bias = values[:-1], values[-1]
            score = columns @ weight.astype(columns.dtype) + bias
            slopes = self._outcome.slopes(score)
            own = columns.T @ slopes.astype(columns.dtype)
            gradient = np.append(own + weight / strength, slopes.sum())
            value = knees * self._outcome.loss(score) + weight @ weight / (2 * strength)
            return float(value) / knees, gradient / knees

        start = self._found
        if start is None:
            start = np.append(np.zeros(columns.shape[1]), self._outcome.level())
        options = {"maxiter": steps, "gtol": tolerance, "ftol": 0}
        self._found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x

    def score(self, columns: np.ndarray) -> np.ndarray:
        return np.asarray(columns @ self.weight + self.bias)

    @property
    def weight(self) -> np.ndarray:
        if self._found is None:
            raise ValueError("a regression has weights once it is fitted")
        return self._found[:-1]

    @property
    def bias(self) -> float:
        if self._found is None:
            raise ValueError("a regression has a bias once it is fitted")
        return float(self._found[-1])
