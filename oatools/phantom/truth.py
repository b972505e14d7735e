"""The truth that was planted in a synthetic cohort: truth.tsv, one row for each knee.

Columns, after knee, subject, visit, side:

    jsn12, pain                    the planted outcomes, 0 or 1
    jsn12_severity, pain_severity  the binormal severities from which the findings follow; with a
                                   follow-up the former is standard normal
    jsn12_finding, pain_finding    their size in the image, 0 to 1, strictly increasing with the
                                   severity
    jsn12_best_auc, pain_best_auc  the AUC of the ideal observer, who reads the severity without
                                   error, over infinitely many knees; the same in every row
    jsw_00m … jsw_48m              minimum medial joint space width as planted, mm, each year (the
                                   tables have gaps); with a follow-up up to its end, jsw_96m
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

and, with a follow-up alone, the planted times in months since enrolment, seen or not, counted up to
the next hundredth, so that none after a visit is written as one at it, and 99999.99 for never:

    jsn_time                       first loss of half a millimetre or more; jsn12 is jsn_time <= 12
    kl_time, jsn_grade_time        first loss of a grade of Kellgren and Lawrence, and of medial
                                   narrowing, as far as there is one left
    tkr_time                       replacement, which for a knee replaced before has no meaning
    jsn_predictor, tkr_predictor   the knee's log hazard ratio beside a knee of severity 0 and KL 0
    jsn_b                          log hazard ratio of narrowing, and of either loss of a grade, per
                                   unit of severity; the same in every row, as the two next
    tkr_b_severity, tkr_b_kl       those of the replacement, of the severity and of a grade of KL at
                                   enrolment
    jsn_best_c                     concordance with jsn_time, up to the end, of the reader who knows
                                   the severity; the same in every row, as the next (`hazards`)
    jsn_best_auc_12m … _96m        cumulative/dynamic AUC at 12, 24, 48 and 96 months of that reader
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oatools.core.manifest import MISSING, Row, write_table
from oatools.phantom import findings, series
from oatools.phantom.fate import hazards_of
from oatools.phantom.findings import Finding
from oatools.phantom.hazards import best_auc, best_c
from oatools.phantom.people import Patient, PhantomKnee, PhantomSettings
from oatools.phantom.replacement import KL_RATIO, SEVERITY_RATIO, Replacement

_AUC_MONTHS = (12, 24, 48, 96)
_CORONAL = series.SEQUENCES["cor-iw-tse"]


def write_truth(
    path: Path, visit: str, settings: PhantomSettings, patients: Sequence[Patient]
) -> None:
    """Write the table of what was planted at the visit."""
    rows = []
    shared = _hazards(settings) if settings.follow_up else {}
    for patient in patients:
        for knee in patient.knees:
            identity = {
                "knee": knee.name,
                "subject": knee.subject,
                "visit": visit,
                "side": knee.side,
            }
            found = _lesion(knee) | _effusion(knee)
            rows.append(identity | _outcomes(settings, knee) | found | _times(knee) | shared)
    write_table(path, list(rows[0]), rows)


def _outcomes(settings: PhantomSettings, knee: PhantomKnee) -> Row:
    widths = {
        f"jsw_{month:02d}m": f"{width:.3f}"
        for month, width in zip(knee.months, knee.jsw, strict=True)
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


def _times(knee: PhantomKnee) -> Row:
    times = knee.times
    if times is None:
        return {}
    return {
        "jsn_time": _hundredths(times.jsn),
        "kl_time": _hundredths(times.kl),
        "jsn_grade_time": _hundredths(times.medial),
        "tkr_time": _hundredths(times.replacement),
        "jsn_predictor": f"{times.jsn_ratio:.6f}",
        "tkr_predictor": f"{times.replacement_ratio:.6f}",
    }


def _hazards(settings: PhantomSettings) -> Row:
    """What is the same in all rows: coefficients, and how well the best reader does."""
    hazard = hazards_of(settings.progressors, settings.jsn_auc).jsn
    return {
        "jsn_b": f"{hazard.b:.6f}",
        "tkr_b_severity": f"{SEVERITY_RATIO:g}",
        "tkr_b_kl": f"{KL_RATIO:g}",
        "jsn_best_c": f"{best_c(hazard, settings.follow_up):.4f}",
        **{f"jsn_best_auc_{month}m": f"{best_auc(hazard, month):.4f}" for month in _AUC_MONTHS},
    }


def _hundredths(months: float) -> str:
    """Months, counted up to the next hundredth."""
    return f"{math.ceil(100 * months) / 100:.2f}"


def _first(months: Sequence[float]) -> str:
    return _hundredths(months[0]).removesuffix(".00") if months else MISSING


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
