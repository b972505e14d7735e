"""The truth that was planted in a synthetic cohort: truth.tsv, one row for each knee.

Columns, after knee, subject, visit, side:

    jsn12, pain                    the planted outcomes, 0 or 1
    jsn12_severity, pain_severity  the binormal severities from which the findings follow
    jsn12_finding, pain_finding    their size in the image, 0 to 1, strictly increasing with the
                                   severity
    jsn12_best_auc, pain_best_auc  the AUC of the ideal observer, who reads the severity without
                                   error, over infinitely many knees; the same in every row
    jsw_00m … jsw_48m              minimum medial joint space width as planted, mm, each year (the
                                   tables have gaps)
    kl, medial_jsn                 grades of Kellgren and Lawrence and of medial narrowing (OARSI)
    kl_rise, medial_jsn_rise       months after which the first of them is higher by one, or n/a
    replaced                       days after which the knee is replaced, 0 before enrolment, or n/a
    womac_pain                     0 to 20; 1 belongs to neither group of the pain endpoint
    lesion_x, _y, _z               centre of the marrow lesion in the medial tibia, patient RAS mm;
                                   a second one lies in the femur, 16 to 24 mm above
    lesion_width, _depth, _height  its semi-axes along the knee's mediolateral, anteroposterior and
                                   vertical axis, mm
    lesion_first, lesion_last      the first and last coronal slice (DICOM instance number) that the
                                   two reach
    effusion_x, _y, _z             centre of the fluid in the suprapatellar pouch, patient RAS mm
    effusion_depth                 its semi-axis along the knee's anteroposterior axis, mm
    effusion_first, effusion_last  the first and last coronal slice that the fluid in pouch and
                                   recesses reaches
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oatools.core.manifest import MISSING, Row, write_table
from oatools.phantom import findings, series
from oatools.phantom.course import WIDTH_MONTHS
from oatools.phantom.findings import Finding
from oatools.phantom.people import Patient, PhantomKnee, PhantomSettings
from oatools.phantom.replacement import Replacement

_CORONAL = series.SEQUENCES["cor-iw-tse"]


def write_truth(
    path: Path, visit: str, settings: PhantomSettings, patients: Sequence[Patient]
) -> None:
    """Write the table of what was planted at the visit."""
    rows = []
    for patient in patients:
        for knee in patient.knees:
            identity = {
                "knee": knee.name,
                "subject": knee.subject,
                "visit": visit,
                "side": knee.side,
            }
            rows.append(identity | _outcomes(settings, knee) | _lesion(knee) | _effusion(knee))
    write_table(path, list(rows[0]), rows)


def _outcomes(settings: PhantomSettings, knee: PhantomKnee) -> Row:
    widths = {
        f"jsw_{month:02d}m": f"{width:.3f}"
        for month, width in zip(WIDTH_MONTHS, knee.jsw, strict=True)
    }
    return {
        "jsn12": str(int(knee.progressor)),
        "pain": str(int(knee.painful)),
        "jsn12_severity": f"{knee.jsn_severity:.6f}",
        "pain_severity": f"{knee.pain_severity:.6f}",
        "jsn12_finding": f"{knee.anatomy.progression:.6f}",
        "pain_finding": f"{knee.anatomy.effusion:.6f}",
        "jsn12_best_auc": f"{settings.jsn_auc:g}",
        "pain_best_auc": f"{settings.pain_auc:g}",
        **widths,
        "kl": str(knee.grades.kl),
        "medial_jsn": str(knee.grades.medial),
        "kl_rise": _first(knee.grades.kl_losses),
        "medial_jsn_rise": _first(knee.grades.medial_losses),
        "replaced": _replaced(knee.replacement),
        "womac_pain": str(knee.womac[0]),
    }


def _first(months: Sequence[int]) -> str:
    return str(months[0]) if months else MISSING


def _replaced(replacement: Replacement) -> str:
    if replacement.before:
        return "0"
    is_done = replacement.day is not None and replacement.confirmed
    return str(replacement.day) if is_done else MISSING


def _lesion(knee: PhantomKnee) -> Row:
    tibial, femoral = findings.lesion(knee.anatomy), findings.femoral_lesion(knee.anatomy)
    x, y, z = tibial.centre
    width, depth, height = np.linalg.norm(tibial.axes, axis=0)
    first, last = _coronal_slices(knee, [tibial, femoral])
    return {
        "lesion_x": f"{x:.2f}",
        "lesion_y": f"{y:.2f}",
        "lesion_z": f"{z:.2f}",
        "lesion_width": f"{width:.2f}",
        "lesion_depth": f"{depth:.2f}",
        "lesion_height": f"{height:.2f}",
        "lesion_first": str(first),
        "lesion_last": str(last),
    }


def _effusion(knee: PhantomKnee) -> Row:
    fluid = findings.effusion(knee.anatomy)
    pouch = fluid[0]
    x, y, z = pouch.centre
    depth = np.linalg.norm(pouch.axes[:, 1])
    first, last = _coronal_slices(knee, fluid)
    return {
        "effusion_x": f"{x:.2f}",
        "effusion_y": f"{y:.2f}",
        "effusion_z": f"{z:.2f}",
        "effusion_depth": f"{depth:.2f}",
        "effusion_first": str(first),
        "effusion_last": str(last),
    }


def _coronal_slices(knee: PhantomKnee, found: Sequence[Finding]) -> tuple[int, int]:
    """The first and last coronal slice, counted from 1, that the findings reach.

    A finding reaches the slices whose middle plane it cuts, and at least the one nearest to it.
    """
    shape, affine = series.grid(
        _CORONAL, series.REFERENCE_MATRIX, knee.side, knee.scan_centre, knee.scan_turn
    )
    normal = affine[:3, 2] / _CORONAL.thickness
    first, last = shape[2], 1
    for finding in found:
        offset = np.array(finding.centre) - affine[:3, 3]
        middle = float(normal @ offset) / _CORONAL.thickness
        reach = finding.reach(normal) / _CORONAL.thickness
        nearest = round(middle)
        first = min(first, min(nearest, math.ceil(middle - reach)) + 1)
        last = max(last, max(nearest, math.floor(middle + reach)) + 1)
    return max(first, 1), min(last, shape[2])
