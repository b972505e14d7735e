"""What the joint space width would tell of a label that is made from it, had no knee changed."""

import contextlib
import math

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.manifest import number
from oatools.learning.metrics import roc_auc
from oatools.learning.results import MEAN
from oatools.oai.endpoints import width_endpoint
from oatools.oai.nochange import no_change
from oatools.oai.widths import WIDEST_MM
from oatools.report.content import Report
from oatools.report.templates import interval_text

WIDTH = "jsw"  # of the labels table


def measurement_error(report: Report) -> str | None:
    """Say what the width at the visit would tell had no knee changed, beside what the model tells.

    None where the label is not made from a width, or fewer than two knees have one.
    """
    result = report.result
    endpoint = width_endpoint(result.records[0].get("endpoint") or "")
    widths = np.array([_width(report, knee) for knee in result.cohort.knee])
    known = ~np.isnan(widths)
    if endpoint is None or known.sum() < 2:
        return None
    found = no_change(widths[known], endpoint, report.sem)
    said = (
        f"Had no knee changed at all, measurement error alone (SEM {found.sem:g} mm) would make "
        f"{100 * found.positive:.1f} % of knees positive"
    )
    observed = 100 * result.cohort.label.mean()
    if np.isnan(found.area):
        return f"{said} ({observed:.1f} % are)."
    tested = known & result.tested
    sign = 1 if found.is_wider else -1
    area = roc_auc(result.cohort.label[tested], sign * widths[tested])
    model = interval_text(report.metrics.get(result.name, MEAN, "roc_auc"))
    first = "wider" if found.is_wider else "narrower"
    return (
        f"{said} ({observed:.1f} % are), and the joint space width at the visit would predict them "
        f"with a ROC AUC of {found.area:.2f}, {first} knees first. For the labels here that order "
        f"has {area:.2f}, and {result.name}, which sees the width, {model}."
    )


def _width(report: Report, knee: str) -> float:
    """Return the width of a knee in mm, NaN where its cell holds none."""
    with contextlib.suppress(ItemError):
        value = number(report.labels[knee], WIDTH)
        if value is not None and 0 <= value <= WIDEST_MM:
            return value
    return math.nan
