"""Standardisation and imputation, fitted on training knees alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError

#: Below this, a variable or channel is one that does not vary.
_SMALLEST_SD = 1e-12


@dataclass(frozen=True)
class ClinicalScaling:
    """The scaling of clinical variables.

    Each has a name, the value put in where it is missing, a mean and an SD.
    """

    names: tuple[str, ...]
    fill: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Impute and standardise raw values, (knees, variables) or (variables,), NaN where missing.

        Returns float32 of the same shape.
        """
        filled = np.where(np.isnan(values), self.fill, values)
        return ((filled - self.mean) / self.sd).astype(np.float32)

    def as_records(self) -> list[dict[str, Any]]:
        """Return one plain dictionary a variable, exact through JSON."""
        records = []
        columns = (self.fill.tolist(), self.mean.tolist(), self.sd.tolist())
        for name, fill, mean, sd in zip(self.names, *columns, strict=True):
            records.append({"name": name, "fill": fill, "mean": mean, "sd": sd})
        return records

    @classmethod
    def from_records(cls, records: Sequence[Fields]) -> "ClinicalScaling":
        """Rebuild a scaling from what `as_records` gave; a `RecordError` for anything else."""
        names = tuple(record.text("name") for record in records)
        if len(set(names)) < len(names):
            raise RecordError("a clinical variable is there twice")
        numbers = np.empty((3, len(records)))
        for column, record in enumerate(records):
            sd = record.number("sd", least=_SMALLEST_SD)
            numbers[:, column] = record.number("fill"), record.number("mean"), sd
        return cls(names, *numbers)


def fit_clinical(values: np.ndarray, names: tuple[str, ...]) -> ClinicalScaling:
    """Return median, mean and SD of (knees, variables), NaN where missing.

    Mean and SD are those after imputation. A variable that never varies gets SD 1, so it becomes 0.
    Raises `UsageError` for one that is missing everywhere.
    """
    for name, column in zip(names, values.T, strict=True):
        if np.isnan(column).all():
            raise UsageError(
                f"'{name}' is missing in all {len(values)} training knees",
                "leave it out of `clinical`",
            )
    fill = np.nanmedian(values, axis=0) if names else np.zeros(0)
    filled = np.where(np.isnan(values), fill, values)
    return ClinicalScaling(names, fill, filled.mean(axis=0), _positive(filled.std(axis=0)))


def fit_features(features: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and SD of each channel over all slices of all knees, float32.

    `features` are (slices, channels), one a knee. The sums are made knee by knee in double
    precision: no second copy of the features is made.
    """
    count = float(sum(len(slices) for slices in features))
    mean = sum(slices.sum(axis=0, dtype=np.float64) for slices in features) / count
    squares = sum(np.square(slices - mean).sum(axis=0) for slices in features)
    sd = _positive(np.sqrt(squares / count))
    return mean.astype(np.float32), sd.astype(np.float32)


def _positive(sd: np.ndarray) -> np.ndarray:
    return np.where(sd > _SMALLEST_SD, sd, 1.0)
