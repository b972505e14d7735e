"""The baselines beside every image model: clinical variables alone, and a linear model of images.

Each is fitted and given its threshold on the very splits of the image model, so that all have seen
the same knees.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.metrics import choose_threshold
from oatools.learning.results import OutOfFold
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings

LOGISTIC, BOOSTING, LINEAR = "clinical logistic", "clinical boosting", "images linear"
#: Inverse strengths of the ridge of `images linear`; the validation knees decide.
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2)

#: Fits on `split.fit` of a cohort with the means of its slices, and returns probabilities (knees,).
Method = Callable[[Cohort, np.ndarray, Split, int], np.ndarray]


def baselines(
    cohort: Cohort, splits: Sequence[Split], settings: Settings, seed: int
) -> dict[str, OutOfFold]:
    """Return the out-of-fold results of every baseline that the cohort allows, by name.

    `images linear` is logistic regression on each channel's mean over the slices; `clinical
    logistic` (L2, C = 1) and `clinical boosting` (histogram gradient boosting, which takes missing
    values as they are) see no image.
    """
    methods: dict[str, Method] = {LINEAR: _linear}
    if cohort.clinical_names:
        methods |= {LOGISTIC: _logistic, BOOSTING: _boosting}
    results = {name: OutOfFold.empty(len(cohort)) for name in methods}
    means = cohort.means()
    for split in splits:
        for name, method in methods.items():
            probability = method(cohort, means, split, seed)
            results[name].probability[split.test] = probability[split.test]
            results[name].threshold[split.test] = choose_threshold(
                cohort.label[split.validate], probability[split.validate], settings.threshold_rule
            )
    return results


def _logistic(cohort: Cohort, means: np.ndarray, split: Split, seed: int) -> np.ndarray:
    scaling = fit_clinical(cohort.clinical[split.fit], cohort.clinical_names)
    values = scaling.apply(cohort.clinical)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(values[split.fit], cohort.label[split.fit])
    return model.predict_proba(values)[:, 1].astype(np.float64)


def _boosting(cohort: Cohort, means: np.ndarray, split: Split, seed: int) -> np.ndarray:
    # Small steps, shallow trees and no early stopping of its own: that would split knees, not
    # patients.
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_depth=3, early_stopping=False, random_state=seed
    )
    model.fit(cohort.clinical[split.fit], cohort.label[split.fit])
    return model.predict_proba(cohort.clinical)[:, 1]


def _linear(cohort: Cohort, means: np.ndarray, split: Split, seed: int) -> np.ndarray:
    mean, sd = means[split.fit].mean(axis=0), means[split.fit].std(axis=0)
    values = (means - mean) / np.where(sd > 1e-12, sd, 1.0)
    label = cohort.label[split.validate]
    best, lowest = np.empty(0), np.inf
    for ridge in RIDGES:
        model = LogisticRegression(C=ridge, max_iter=200)
        with warnings.catch_warnings():  # not quite at its end, it is as good a baseline
            warnings.simplefilter("ignore")
            model.fit(values[split.fit], cohort.label[split.fit])
        probability = model.predict_proba(values)[:, 1].astype(np.float64)
        positive = probability[split.validate]
        of_label = np.where(label == 1, positive, 1 - positive)
        loss = -float(np.log(np.clip(of_label, 1e-12, None)).mean())
        if loss < lowest:
            best, lowest = probability, loss
    return best
