"""The account of clinical variables that rows lack, which oa-predict and oa-cam give at the end."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oatools.core.console import Console
from oatools.core.manifest import MISSING, BadRow, Row, Table

if TYPE_CHECKING:
    from oatools.learning.rows import Scoring


@dataclass
class MissingVariables:
    """How many of the rows that pass lack each clinical variable of a model, by its name."""

    scoring: "Scoring"
    counts: dict[str, int] = field(default_factory=dict)

    def counted(self) -> "Table[Row | BadRow]":
        """Return the table, whose rows are counted as they pass."""
        table = self.scoring.table
        return table.with_rows(self._rows(), table.total)

    def tell(self, console: Console) -> None:
        """Say what was missing, but for variables that have no column at all."""
        for name, count in self.counts.items():
            if count and name not in self.scoring.absent:
                console.note(f"'{name}' is missing in {count} rows: the model's median was put in")

    def _rows(self) -> Iterator[Row | BadRow]:
        from oatools.learning.rows import clinical_cells

        for row in self.scoring.table.rows:
            if not isinstance(row, BadRow):
                cells = clinical_cells(row, self.scoring.clinical)
                for name in self.counts:
                    self.counts[name] += cells.get(name, MISSING) == MISSING
            yield row
