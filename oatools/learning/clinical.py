"""Clinical variables as numbers, from the cells of a table."""

import math
from collections.abc import Sequence

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.manifest import Row, number, read_table

CODES = {"sex": {"female": 0.0, "male": 1.0}}


def clinical_value(row: Row, name: str) -> float:
    """One clinical variable of a row, NaN where it is missing; sex is 0 female, 1 male.

    Raises an `ItemError` for text that is not a number.
    """
    codes = CODES.get(name, {})
    if row.get(name) in codes:
        return codes[row[name]]
    value = number(row, name)
    if value is None:
        return math.nan
    return value


def clinical_values(row: Row, names: Sequence[str]) -> np.ndarray:
    """Clinical variables (variables,) of a row, float64; see `clinical_value`."""
    return np.array([clinical_value(row, name) for name in names], dtype=np.float64)


def read_clinical(path: str, names: Sequence[str], also: Sequence[str] = ()) -> dict[str, Row]:
    """Read the cells `names` by knee, and those of `also` that the table has.

    Raises a `UsageError` for a knee that comes twice.
    """
    table = read_table(path, ["knee", *names])
    kept = [*names, *set(also).intersection(table.columns)]
    rows: dict[str, Row] = {}
    for row in table.rows:
        if row["knee"] in rows:
            raise UsageError(f"{path}: {row['knee']} is there twice", "keep one row")
        rows[row["knee"]] = {name: row[name] for name in kept}
    return rows
