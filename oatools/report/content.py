"""The content of a report: a cross-validation, what was around it, and counts of its knees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.manifest import Row
from oatools.core.provenance import Caution
from oatools.learning.cohort import Cohort
from oatools.learning.load import Flow
from oatools.learning.results import CrossValidation, Metrics
from oatools.oai.reliability import SEM


@dataclass(frozen=True)
class LabelFlow:
    """The flow of knees up to the labels: assessed, left out by reason, and labelled."""

    assessed: int
    left_out: tuple[tuple[str, int], ...]
    labelled: int


@dataclass(frozen=True)
class Report:
    """A cross-validation and all that is reported with it.

    `labels` are the rows of the labels table, by knee. `doubts` are what is odd about the tables.
    `sem` is the standard error of measurement (mm) of the joint space width in them, `labelling`
    the flow of knees up to the labels, where it is known.

    `command` is the line that does it all again; `seed` is its setting that no model knows of.
    """

    result: CrossValidation
    flow: Flow
    labels: Mapping[str, Row]
    metrics: Metrics
    cautions: Sequence[Caution]
    command: str
    seed: int
    doubts: Sequence[str] = ()
    sem: float = SEM
    labelling: LabelFlow | None = None


@dataclass(frozen=True)
class CohortCounts:
    """The size of a cohort.

    `slices` holds the fewest and the most slices of a knee, by sequence (its name is empty where
    there is only one). `clinical` holds how many knees lack each clinical variable.
    """

    knees: int
    patients: int
    positive: int
    channels: int
    slices: dict[str, tuple[int, int]]
    clinical: dict[str, int]

    @classmethod
    def of(cls, data: Cohort) -> "CohortCounts":
        """Count the knees of a cohort."""
        slices = {}
        for name, counts in zip(data.joined or ("",), data.extents.T, strict=True):
            slices[name] = (int(counts.min()), int(counts.max()))
        missing = np.isnan(data.clinical).sum(axis=0).tolist()
        return cls(
            knees=len(data),
            patients=len(set(data.subject)),
            positive=int(data.label.sum()),
            channels=data.channels,
            slices=slices,
            clinical=dict(zip(data.clinical_names, missing, strict=True)),
        )


@dataclass(frozen=True)
class FoldCounts:
    """The size of a fold; `shared` patients have knees in it and knees that are trained on."""

    number: int
    knees: int
    patients: int
    positive: int
    shared: int


def count_folds(result: CrossValidation) -> list[FoldCounts]:
    """Count the knees of every fold, in order."""
    subjects = np.asarray(result.cohort.subject)
    counts = []
    for number in range(1, len(result.records) + 1):
        is_tested = result.fold == number
        patients = set(subjects[is_tested].tolist())
        trained = set(subjects[~is_tested].tolist())
        fold = FoldCounts(
            number=number,
            knees=int(is_tested.sum()),
            patients=len(patients),
            positive=int(result.cohort.label[is_tested].sum()),
            shared=len(patients & trained),
        )
        counts.append(fold)
    return counts
