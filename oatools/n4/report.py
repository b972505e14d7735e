"""The table of what the corrections did (`oa-n4 --report`), to sort and to look through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oatools.core.manifest import MISSING, Row
from oatools.core.sharedtable import SharedTable
from oatools.n4.measures import Measures

#: Columns of measures, between those of the volume.
MEASURES = (
    "field_range",
    "variation_before",
    "variation_after",
    "variation_ratio",
    "contrast_before",
    "contrast_after",
    "worse",
)
COLUMNS = ("knee", "sequence", *MEASURES, "path")


class Report(SharedTable):
    """The table at `path`; a `UsageError` for a file that is there and is no such table."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, COLUMNS, "report of corrections", "report")

    def add(self, row: Row, cells: Row) -> None:
        """Write down a volume: its row, and its path with the cells of `cells_of`."""
        whole = {**row, **cells}
        self.add_row(whole.get(column, MISSING) for column in COLUMNS)


def results_of(measures: Measures) -> dict[str, Any]:
    """Return measures as the sidecar holds them, None for what is not known."""
    return {
        "field_range": round(measures.field_range, 3),
        "variation": _rounded(measures.variation),
        "contrast": _rounded(measures.contrast),
    }


def cells_of(results: Mapping[str, Any]) -> Row:
    """Return the table's cells of what a sidecar holds; `n/a` for what it does not."""
    cells = dict.fromkeys(MEASURES, MISSING)
    if _is_number(results.get("field_range")):
        cells["field_range"] = f"{results['field_range']:.3f}"
    for name in ("variation", "contrast"):
        pair = results.get(name)
        if isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)):
            cells[f"{name}_before"], cells[f"{name}_after"] = (f"{value:.4f}" for value in pair)
            if name == "variation" and pair[0] > 0:
                cells["variation_ratio"] = f"{pair[1] / pair[0]:.3f}"
                cells["worse"] = str(int(pair[1] > pair[0]))
    return cells


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rounded(pair: tuple[float, float] | None) -> list[float] | None:
    return None if pair is None else [round(value, 4) for value in pair]
