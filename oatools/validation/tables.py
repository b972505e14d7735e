"""The table of `oa-validate`."""

import math
from collections.abc import Iterable

from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import CAUTION_COLUMN, caution_cell
from oatools.validation.validate import Part, Validation

VALIDATION_COLUMNS = [
    "by",
    "group",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "knees",
    "patients",
    "events",
    "reason",
    CAUTION_COLUMN,
]
DIFFERENCE_COLUMNS = [
    "one",
    "other",
    "one_auc",
    "other_auc",
    "difference",
    "ci_low",
    "ci_high",
    "p",
    "p_holm",
    CAUTION_COLUMN,
]
#: The group of the rows that tell whether a column's groups differ.
DIFFER = "groups differ"


def validation_rows(found: Validation) -> list[Row]:
    """Return rows of `VALIDATION_COLUMNS`: all knees, each group, and whether groups differ."""
    caution = {CAUTION_COLUMN: caution_cell(found.knees.cautions)}
    rows = part_rows(found.parts)
    for test in found.heterogeneity:
        for metric, value in (("p", test.p), ("p_holm", test.holm)):
            row = {
                "by": test.by,
                "group": DIFFER,
                "metric": metric,
                "value": _number(value),
                **dict.fromkeys(("ci_low", "ci_high", "knees", "patients", "events"), MISSING),
                "reason": MISSING if test.groups > 1 else "fewer than two groups are large enough",
            }
            rows.append(row)
    return [row | caution for row in rows]


def difference_rows(found: Validation) -> list[Row]:
    """Return one row of `DIFFERENCE_COLUMNS` for each two models."""
    caution = caution_cell(found.knees.cautions)
    rows = []
    for each in found.differences:
        row = {
            "one": each.one,
            "other": each.other,
            "one_auc": _number(each.one_area),
            "other_auc": _number(each.other_area),
            "difference": _number(each.difference.value),
            "ci_low": _number(each.difference.low),
            "ci_high": _number(each.difference.high),
            "p": _number(each.p),
            "p_holm": _number(each.holm),
            CAUTION_COLUMN: caution,
        }
        rows.append(row)
    return rows


def part_rows(parts: Iterable[Part]) -> list[Row]:
    """Return the rows of all knees and of groups, without the column of cautions."""
    return [row for part in parts for row in _rows(part)]


def _rows(part: Part) -> list[Row]:
    about = {
        "by": part.by or MISSING,
        "group": part.name,
        "knees": str(part.knees),
        "patients": str(part.patients),
        "events": str(part.events),
        "reason": part.reason or MISSING,
    }
    if part.reason:
        return [about | dict.fromkeys(("metric", "value", "ci_low", "ci_high"), MISSING)]
    rows = []
    for value in part.values:
        row = {
            "metric": value.metric,
            "value": _number(value.value),
            "ci_low": _number(value.low),
            "ci_high": _number(value.high),
        }
        rows.append(about | row)
    return rows


def _number(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return f"{value:.6g}"
