"""How well a column, such as the site, can be read from features: what a model could learn instead.

Where a scanner's signature goes with the outcome, a model may tell sites apart and be right, until
it comes to a site that it has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from oatools.learning.cohort import Cohort

_STRENGTHS = tuple(10.0**power for power in range(7))
_FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """How well values of a column are told apart by features of knees that were not seen.

    `area` is the mean over all pairs of values of the area under the ROC curve (Hand and Till,
    Machine Learning 2001;45:171-186), 0.5 where nothing can be read; `accuracy` the mean over
    values of the share of their knees that are given the right one, 1 / `values` by chance.
    """

    area: float
    accuracy: float
    values: int


def probe(cohort: Cohort, cells: Sequence[str], seed: int) -> Probe | None:
    """Read a column (knees,) from the mean of each channel, by ridge classification.

    In five folds by patient, the strength chosen in training knees by leaving out one. Values with
    fewer patients than folds are passed over; None where fewer than two are left.
    """
    values, subjects = np.asarray(cells), np.asarray(cohort.subject)
    kept = [
        value
        for value in np.unique(values)
        if len(np.unique(subjects[values == value])) >= 2 * _FOLDS
    ]
    if len(kept) < 2:
        return None
    at = np.flatnonzero(np.isin(values, kept))
    truth = np.searchsorted(kept, values[at])
    means = cohort.means()[at].astype(np.float64)
    order = np.random.RandomState(seed).permutation(len(at))
    scores = np.empty((len(at), len(kept)))
    for own, tested in GroupKFold(_FOLDS).split(order, groups=subjects[at][order]):
        own, tested = order[own], order[tested]
        scaler = StandardScaler().fit(means[own])
        fitted = RidgeClassifierCV(_STRENGTHS, class_weight="balanced")
        fitted.fit(scaler.transform(means[own]), truth[own])
        found = fitted.decision_function(scaler.transform(means[tested]))
        if len(kept) == 2:
            found = np.column_stack([-found, found])
        scores[tested] = found
    if len(kept) == 2:
        area = float(roc_auc_score(truth, scores[:, 1]))
    else:
        # Shares of the scores, which the function wants, are in the order of the scores.
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        area = float(roc_auc_score(truth, shares, multi_class="ovo", average="macro"))
    accuracy = float(balanced_accuracy_score(truth, scores.argmax(axis=1)))
    return Probe(area, accuracy, len(kept))
