"""Standardisation and imputation, fitted on training knees alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oatools.core.errors import UsageError


@dataclass(frozen=True)
class ClinicalScaling:
    """How clinical variables enter the model: names, the value put in for a missing one, mean and SD."""

    names: tuple[str, ...]
    fill: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Impute and standardise raw values, (knees, variables) or (variables,), NaN where missing; float32."""
        filled = np.where(np.isnan(values), self.fill, values)
        return ((filled - self.mean) / self.sd).astype(np.float32)

    def as_records(self) -> list[dict[str, Any]]:
        """One plain dictionary a variable, exact through JSON."""
        columns = (self.fill.tolist(), self.mean.tolist(), self.sd.tolist())
        return [
            dict(name=n, fill=f, mean=m, sd=s)
            for n, f, m, s in zip(self.names, *columns, strict=True)
        ]

    @classmethod
    def from_records(cls, records: list[dict[str, Any]]) -> "ClinicalScaling":
        """The inverse of `as_records`."""
        arrays = (
            np.array([r[key] for r in records], dtype=np.float64) for key in ("fill", "mean", "sd")
        )
        return cls(tuple(r["name"] for r in records), *arrays)


def fit_clinical(values: np.ndarray, names: tuple[str, ...]) -> ClinicalScaling:
    """Median (for imputation), mean and SD (after imputation) of (knees, variables), NaN where missing.

    A variable that never varies gets SD 1, so it becomes 0. Raises `UsageError` for one that is
    missing everywhere.
    """
    empty = [name for name, column in zip(names, values.T, strict=True) if np.isnan(column).all()]
    if empty:
        raise UsageError(
            f"'{empty[0]}' is missing in all {len(values)} training knees; leave it out of --clinical"
        )
    fill = np.nanmedian(values, axis=0) if names else np.zeros(0)
    filled = np.where(np.isnan(values), fill, values)
    return ClinicalScaling(names, fill, filled.mean(axis=0), _positive(filled.std(axis=0)))


def fit_features(features: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of each channel over all slices of all knees; float32.

    `features` are (slices, channels), one a knee. Knee by knee in double precision: no second copy
    of them is made.
    """
    count = float(sum(map(len, features)))
    mean = sum(slices.sum(axis=0, dtype=np.float64) for slices in features) / count
    squares = sum(np.square(slices - mean).sum(axis=0) for slices in features)
    return mean.astype(np.float32), _positive(np.sqrt(squares / count)).astype(np.float32)


def _positive(sd: np.ndarray) -> np.ndarray:
    return np.where(sd > 1e-12, sd, 1.0)
