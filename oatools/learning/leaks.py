"""Columns that give the label away, because they were made from it."""

import numpy as np

from oatools.learning.cohort import Cohort

#: Knees of each class from which a perfect separation is no accident.
FEWEST_KNEES = 20


def label_leaks(cohort: Cohort, least: int = FEWEST_KNEES) -> list[str]:
    """Name what separates the classes alone without an error, where each has `least` knees.

    Looks at clinical variables, and at the mean over slices of every channel of the features.
    """
    columns = list(zip(map(repr, cohort.clinical_names), cohort.clinical.T, strict=True))
    for column, values in enumerate(cohort.means().T):
        columns.append((f"channel {column % cohort.channels} of the features", values))
    return [name for name, values in columns if _separates(values, cohort.label, least)]


def _separates(values: np.ndarray, label: np.ndarray, least: int) -> bool:
    """Tell whether all known values of one class lie above all of the other."""
    known = ~np.isnan(values)
    negative, positive = values[known & (label == 0)], values[known & (label == 1)]
    if min(len(negative), len(positive)) < least:
        return False
    return bool(negative.max() < positive.min() or positive.max() < negative.min())
