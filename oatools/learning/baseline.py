"""The yardsticks beside every image model, in the same folds: what is known without it, and what is simpler.

Each is fitted and given its threshold on the same inner split as the image model, so that all have
seen the same knees.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from oatools.learning.cohort import Cohort
from oatools.learning.folds import inner_split
from oatools.learning.metrics import choose_threshold
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings

LOGISTIC, BOOSTING, LINEAR = "clinical logistic", "clinical boosting", "images linear"
#: Inverse strengths of the ridge of `images linear`; the inner split says which.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class Baseline:
    """Out-of-fold results (knees,); NaN for knees that are in no test fold."""

    probability: np.ndarray
    threshold: np.ndarray


def baselines(data: Cohort, fold: np.ndarray, settings: Settings, seed: int) -> dict[str, Baseline]:
    """Every yardstick that the cohort allows, by name.

    `images linear` is logistic regression on each channel's mean over the slices; `clinical
    logistic` (L2, C = 1) and `clinical boosting` (histogram gradient boosting, which takes missing
    values as they are) see no image.
    """
    chosen: dict[str, Callable] = {LINEAR: _linear}
    if data.clinical_names:
        chosen |= {LOGISTIC: _logistic, BOOSTING: _boosting}
    out = {
        name: Baseline(np.full(len(data), np.nan), np.full(len(data), np.nan)) for name in chosen
    }
    means = data.means()
    for number in range(1, int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        subjects = [data.subject[i] for i in train]
        fitting, held = (
            train[i] for i in inner_split(subjects, data.label[train], settings.validation, seed)
        )
        for name, method in chosen.items():
            called = method(data, means, fitting, held, seed)
            out[name].probability[test] = called[test]
            out[name].threshold[test] = choose_threshold(
                data.label[held], called[held], settings.threshold_rule
            )
    return out


def _logistic(
    data: Cohort, means: np.ndarray, fitting: np.ndarray, held: np.ndarray, seed: int
) -> np.ndarray:
    scaling = fit_clinical(data.clinical[fitting], data.clinical_names)
    model = LogisticRegression(C=1.0, max_iter=1000).fit(
        scaling.apply(data.clinical[fitting]), data.label[fitting]
    )
    return model.predict_proba(scaling.apply(data.clinical))[:, 1].astype(np.float64)


def _boosting(
    data: Cohort, means: np.ndarray, fitting: np.ndarray, held: np.ndarray, seed: int
) -> np.ndarray:
    # Small steps, shallow trees and no early stopping of its own: that would split knees, not
    # patients.
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_depth=3, early_stopping=False, random_state=seed
    )
    return model.fit(data.clinical[fitting], data.label[fitting]).predict_proba(data.clinical)[:, 1]


def _linear(
    data: Cohort, means: np.ndarray, fitting: np.ndarray, held: np.ndarray, seed: int
) -> np.ndarray:
    mean, sd = means[fitting].mean(axis=0), means[fitting].std(axis=0)
    values = (means - mean) / np.where(sd > 1e-12, sd, 1.0)
    best, lowest = np.empty(0), np.inf
    for ridge in RIDGES:
        with warnings.catch_warnings():  # not quite at its end, it is as good a yardstick
            warnings.simplefilter("ignore")
            model = LogisticRegression(C=ridge, max_iter=200).fit(
                values[fitting], data.label[fitting]
            )
        called = model.predict_proba(values)[:, 1].astype(np.float64)
        truth = np.where(data.label[held] == 1, called[held], 1 - called[held])
        if (loss := -float(np.log(np.clip(truth, 1e-12, None)).mean())) < lowest:
            best, lowest = called, loss
    return best
