"""The baselines beside every image model: clinical variables alone, and a linear model of images.

Each is fitted on all training knees of the very splits of the image model, and given its threshold
on the inner folds of these, so that all have seen the same knees.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split
from oatools.learning.followed_baselines import BOOSTING, LINEAR, fit_images, followed_baselines
from oatools.learning.metrics import choose_threshold
from oatools.learning.mixture import mix
from oatools.learning.outcome import Classes
from oatools.learning.results import OutOfFold
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings

LOGISTIC = "clinical logistic"

#: Fits on training knees (variables, label, seed), and returns what gives others' probabilities.
Method = Callable[
    [np.ndarray, np.ndarray, tuple[str, ...], int], Callable[[np.ndarray], np.ndarray]
]


def baselines(
    cohort: Cohort,
    splits: Sequence[Split],
    settings: Settings,
    seed: int,
    at: Sequence[float] = (),
) -> dict[str, OutOfFold]:
    """Return the out-of-fold results of every baseline that the cohort allows, by name.

    `images linear` is ridge regression (logistic) on each channel's mean over the slices, its
    strength chosen by inner cross-validation over all training knees: what a model must not lose
    to. `clinical logistic` (L2, C = 1) and `clinical boosting` (histogram gradient boosting, which
    takes missing values as they are) see no image.

    Where knees are followed they are those of `followed_baselines`, with risks `at` so many months.
    """
    if cohort.follow_up is not None:
        return followed_baselines(cohort, splits, at, seed)
    results = {LINEAR: _linear(cohort, splits, settings.threshold_rule)}
    if cohort.clinical_names:
        for name, method in ((LOGISTIC, _logistic), (BOOSTING, _boosting)):
            results[name] = _clinical(cohort, splits, settings.threshold_rule, seed, method)
    return results


def _linear(cohort: Cohort, splits: Sequence[Split], rule: str) -> OutOfFold:
    found = OutOfFold.empty(len(cohort))
    means = cohort.means()
    for split in splits:
        label = cohort.label[split.train]
        outcome = Classes(label)
        fitted = fit_images(cohort, means, outcome, split)
        held_out = {"mean": fitted.held_out}
        mixture = mix(outcome, held_out)
        test = fitted.part.log_odds(means[split.test])
        found.probability[split.test] = expit(mixture.log_odds({"mean": test}))
        set_aside = expit(mixture.log_odds(held_out))
        found.threshold[split.test] = choose_threshold(label, set_aside, rule)
    return found


def _clinical(
    cohort: Cohort, splits: Sequence[Split], rule: str, seed: int, method: Method
) -> OutOfFold:
    found = OutOfFold.empty(len(cohort))
    for split in splits:
        values, label = cohort.clinical[split.train], cohort.label[split.train]
        names = cohort.clinical_names
        apply = method(values, label, names, seed)
        found.probability[split.test] = apply(cohort.clinical[split.test])
        held_out = np.empty(len(label))
        for number in range(1, split.parts + 1):
            held = split.part == number
            held_out[held] = method(values[~held], label[~held], names, seed)(values[held])
        found.threshold[split.test] = choose_threshold(label, held_out, rule)
    return found


def _logistic(
    values: np.ndarray, label: np.ndarray, names: tuple[str, ...], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    scaling = fit_clinical(values, names)
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(scaling.apply(values), label)
    return lambda others: model.predict_proba(scaling.apply(others))[:, 1].astype(np.float64)


def _boosting(
    values: np.ndarray, label: np.ndarray, names: tuple[str, ...], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    # Small steps, shallow trees and no early stopping of its own: that would split knees, not
    # patients.
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=100, max_depth=3, early_stopping=False, random_state=seed
    )
    model.fit(values, label)
    return lambda others: model.predict_proba(others)[:, 1]
