"""Clinical variables as numbers, from the cells of a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.ids import alike_in
from oatools.core.manifest import MISSING, Row, number, read_table
from oatools.core.people import People, alike_knee, normal_knee, subject_of

#: The largest value of a variable: counts of cells in a blood sample come near.
MOST = 1e12
CODES = {"sex": {"female": 0.0, "male": 1.0}}


def clinical_value(row: Row, name: str) -> float:
    """One clinical variable of a row, NaN where it is missing; sex is 0 female, 1 male.

    Raises an `ItemError` for text that is not a number, and for one that nothing measured in a
    patient can be.
    """
    codes = CODES.get(name, {})
    if row.get(name) in codes:
        return codes[row[name]]
    value = number(row, name)
    if value is None:
        return math.nan
    if abs(value) > MOST:
        raise ItemError(
            f"column '{name}' holds '{row[name]}', which is more than anything that is measured",
            "correct it or write n/a",
        )
    return value


def clinical_values(row: Row, names: Sequence[str]) -> np.ndarray:
    """Clinical variables (variables,) of a row, float64; see `clinical_value`."""
    return np.array([clinical_value(row, name) for name in names], dtype=np.float64)


@dataclass(frozen=True)
class ClinicalTable:
    """The clinical cells of knees from a table of their own, and the patients it says they are.

    `rows` are by knee in normal form, and `alike` gives the knees by `people.alike_knee`.
    """

    rows: dict[str, Row]
    alike: dict[str, str]
    name: str

    def cells(self, row: Row) -> Row:
        """Return the cells of a row's knee, none where the table does not have it."""
        return self.rows.get(normal_knee(row.get("knee", MISSING)), {})

    def check(self, row: Row) -> None:
        """Raise an `ItemError` for a row whose cells may be those of another patient.

        That is where row and table name different ones, or their ids differ in leading zeros, or
        signs and blanks inside, alone.
        """
        knee = normal_knee(row.get("knee", MISSING))
        if knee not in self.rows:
            alike = self.alike.get(alike_knee(knee))
            if alike is not None:
                raise ItemError(
                    f"{self.name} has {alike}, which differs in {alike_in(knee, alike)} alone",
                    "write all ids in one way",
                )
            return
        one, other = subject_of({**row, "knee": knee}), subject_of(self.rows[knee])
        if MISSING not in (one, other) and one != other:
            raise ItemError(
                f"the knee is of patient {one}, and of {other} in {self.name}",
                "write one patient in one way",
            )


def read_clinical(path: str, names: Sequence[str], also: Sequence[str] = ()) -> ClinicalTable:
    """Read the cells `names` by knee, and those of `also` that the table has.

    Raises a `UsageError` for a knee that comes twice, and as `People.take` does.
    """
    table = read_table(path, ["knee", *names])
    kept = ["knee", *names, *{*also, "subject"}.intersection(table.columns)]
    rows: dict[str, Row] = {}
    for knee, row in People().by_knee(table.rows, path).items():
        rows[knee] = {name: row[name] for name in kept}
    return ClinicalTable(rows, {alike_knee(knee): knee for knee in rows}, path)
