"""The table of who is who: what stands in outputs, and what the headers say, for the user alone.

Nothing else that is written says it. The table is made where it is asked for, for its owner's eyes,
and processes side by side may share it: each adds the rows that are not there yet.
"""

from pathlib import Path

from oatools.core.sharedtable import SharedTable

COLUMNS = ("subject", "patient_id", "sequence", "description")


class IdTable(SharedTable):
    """The table at `path`; a `UsageError` for a file that is there and is no such table."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, COLUMNS, "table of ids", "id_table", private=True)

    def add(self, subject: str, patient_id: str, sequence: str, description: str) -> None:
        """Write down a series: as it is called, and whose it is by its header."""
        self.add_row((subject, patient_id, sequence, description))
