"""The yardstick beside every image model: logistic regression on the clinical variables alone, same folds."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from oatools.learning.cohort import Cohort
from oatools.learning.folds import inner_split
from oatools.learning.metrics import choose_threshold
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings


@dataclass(frozen=True)
class Baseline:
    """Out-of-fold results (knees,) of the clinical variables alone."""

    probability: np.ndarray
    threshold: np.ndarray


def clinical_baseline(data: Cohort, fold: np.ndarray, settings: Settings, seed: int) -> Baseline:
    """Standardised logistic regression (L2, C = 1) in every fold, fitted and given its threshold on the same inner
    split as the image model, so that both have seen the same knees.
    """  # fmt: skip
    probability, threshold = np.empty(len(data)), np.empty(len(data))
    for number in range(1, int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        fitting, held = (
            train[i] for i in inner_split(_at(data.subject, train), data.label[train], settings.validation, seed)
        )
        scaling = fit_clinical(data.clinical[fitting], data.clinical_names)
        model = LogisticRegression(C=1.0, max_iter=1000).fit(scaling.apply(data.clinical[fitting]), data.label[fitting])
        called = model.predict_proba(scaling.apply(data.clinical))[:, 1].astype(np.float64)
        probability[test] = called[test]
        threshold[test] = choose_threshold(data.label[held], called[held], settings.threshold_rule)
    return Baseline(probability, threshold)


def _at(values: tuple[str, ...], index: np.ndarray) -> list[str]:
    return [values[i] for i in index]
