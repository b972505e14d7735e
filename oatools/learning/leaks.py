"""Columns that give the label away, because they were made from it.

A variable that was known at the visit does not tell the classes apart to an AUC of 0.99: in knees,
the best that is published is far below. One that does was found later, or made from the label.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from oatools.learning.cohort import Cohort
from oatools.learning.metrics import roc_auc

#: Knees of each class from which a channel's perfect separation is no accident.
FEWEST_KNEES = 20
#: The AUC from which on a clinical variable gives the label away.
NEARLY = 0.99
#: The AUC from which on a clinical variable is doubtful. The best that is published for a variable
#: of the visit lies below: 0.80 for images and variables together at the relative endpoint, whose
#: measurement error alone lets the width at the visit reach 0.75 to 0.88.
DOUBTFUL = 0.9
#: A variable is let go where chance alone would do as well more often than this. With nine patients
#: of each class, a perfect separation happens 4 times in 100,000.
BY_CHANCE = 1e-4

_MOST_LEVELS = 12
_COUNTED = 25  # patients of the rarer class up to which arrangements are counted one by one


@dataclass(frozen=True)
class Leak:
    """What gives the label away, such as `'kl'` or `channel 5 of the features`, and its AUC."""

    name: str
    area: float = 1.0

    def message(self) -> str:
        """Return what is said of it."""
        how = "tells the two classes apart without an error"
        if self.area < 1:
            how = f"nearly tells the two classes apart (AUC {self.area:.3f})"
        return f"{self.name} alone {how}, and may have been made from the label"


def label_leaks(cohort: Cohort, least: int = FEWEST_KNEES) -> list[Leak]:
    """Find what gives the label away alone.

    Clinical variables do from an AUC of `NEARLY`, by their values, as categories, or by where they
    are missing, unless there are so few patients that it may be chance. Channels of the features,
    of which there are thousands, do where the mean over the slices separates the classes without
    an error, and each class has `least` knees.
    """
    found = []
    for name, values in zip(cohort.clinical_names, cohort.clinical.T, strict=True):
        leak = clinical_leak(name, values, cohort.label, cohort.subject)
        if leak is not None:
            found.append(leak)
    for column, values in enumerate(cohort.means().T):
        if _separates(values, cohort.label, least):
            found.append(Leak(f"channel {column % cohort.channels} of the features"))
    return found


def clinical_doubts(cohort: Cohort) -> list[str]:
    """Return what is said of the clinical variables that nearly give the label away.

    Those are of an AUC from `DOUBTFUL` to `NEARLY`, found as in `label_leaks`.
    """
    found = []
    for name, values in zip(cohort.clinical_names, cohort.clinical.T, strict=True):
        leak = clinical_leak(name, values, cohort.label, cohort.subject, DOUBTFUL)
        if leak is not None and leak.area < NEARLY:
            found.append(
                f"{leak.name} alone has an AUC of {leak.area:.3f}, more than what is known at the "
                "visit is known to tell: was it found later, or made from the outcome?"
            )
    return found


def clinical_leak(
    name: str,
    values: np.ndarray,
    label: np.ndarray,
    subjects: tuple[str, ...],
    least: float = NEARLY,
) -> Leak | None:
    """Return the leak of one clinical variable (knees,), NaN where missing.

    None where no way to read it has an AUC of `least`.
    """
    patients = np.unique(np.asarray(subjects), return_inverse=True)[1]
    best: Leak | None = None
    for score in _scores(name, values, label):
        classes, own = label[score.knees], patients[score.knees]
        negative, positive = len(set(own[classes == 0])), len(set(own[classes == 1]))
        if min(negative, positive) == 0:
            continue
        area = roc_auc(classes, score.values[score.knees])
        area = max(area, 1 - area)
        is_better = best is None or area > best.area
        if area < least or not is_better:
            continue
        if chance(area, negative, positive) * score.tries <= BY_CHANCE:
            best = Leak(score.name, area)
    return best


@dataclass(frozen=True)
class _Score:
    """A way to read a variable: a number for each of some knees, found in so many tries."""

    name: str
    values: np.ndarray
    knees: np.ndarray
    tries: float


def _scores(name: str, values: np.ndarray, label: np.ndarray) -> Iterator[_Score]:
    """The ways in which a variable may tell: its order, its gaps, and its values as categories."""
    known, everyone = ~np.isnan(values), np.ones(len(values), dtype=bool)
    has_gaps = not known.all()
    ways = 4.0 if has_gaps else 1.0
    shown = repr(name)
    yield _Score(shown, values, known, ways)
    order = np.zeros(len(values))  # by rank, so that there is room for gaps below and above
    order[known] = np.unique(values[known], return_inverse=True)[1]
    if has_gaps:
        yield _Score(f"whether {shown} is missing", known.astype(float), everyone, ways)
        for outside in (-1.0, float(len(values))):
            yield _Score(shown, np.where(known, order, outside), everyone, ways)
    levels = np.unique(np.where(known, order, len(values)), return_inverse=True)[1]
    many = int(levels.max()) + 1
    if 2 < many <= _MOST_LEVELS:
        # The order of the categories is chosen by the label itself, among all orders there are.
        shares = np.bincount(levels, weights=label) / np.bincount(levels)
        yield _Score(shown, shares[levels], everyone, ways * math.factorial(many))


def chance(area: float, negative: int, positive: int) -> float:
    """Return how probable an AUC of `area` or more, either way, is where nothing tells anything.

    `negative` and `positive` count the patients of each class. Two knees of a patient are one
    witness, not two: bodies are alike on both sides.

    Of the equally probable arrangements of the patients in a row, those with so few pairs in the
    wrong order are counted (Mann and Whitney, Ann Math Stat 1947); where there are many of both
    classes, by the normal distribution, whose tail is the heavier one here.
    """
    few, many = sorted((negative, positive))
    if few > _COUNTED:
        sd = math.sqrt((few + many + 1) / (12 * few * many))
        return math.erfc((area - 0.5) / sd / math.sqrt(2))
    wrong = math.floor((1 - area) * few * many + 1e-9)
    counts = [1] + [0] * wrong  # of arrangements, by the number of pairs in the wrong order
    for i in range(1, few + 1):
        for j in range(i, wrong + 1):
            counts[j] += counts[j - i]
        for j in range(wrong, many + i - 1, -1):
            counts[j] -= counts[j - many - i]
    return min(1.0, 2 * sum(counts) / math.comb(few + many, few))


def _separates(values: np.ndarray, label: np.ndarray, least: int) -> bool:
    """Tell whether all known values of one class lie above all of the other."""
    known = ~np.isnan(values)
    negative, positive = values[known & (label == 0)], values[known & (label == 1)]
    if min(len(negative), len(positive)) < least:
        return False
    return bool(negative.max() < positive.min() or positive.max() < negative.min())
