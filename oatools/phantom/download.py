"""A synthetic download on disk: the image tree, the tables, and the truth that was planted.

    DIR/phantom.json                                          the settings: all of DIR follows from them
    DIR/truth.tsv                                             what was planted, one row a knee
    DIR/tables/…                                              clinical and reading tables (`phantom.tables`)
    DIR/00m/contents.csv                                      one row a series
    DIR/00m/0.E.1/<participant>/<date>/<barcode>/001, 002, …  one DICOM file a slice

Columns of truth.tsv, after knee, subject, visit, side:

    jsn12, pain                    the planted outcomes, 0 or 1
    jsn12_severity, pain_severity  the binormal severities from which the findings follow
    jsn12_finding, pain_finding    their size in the image, 0 to 1, strictly increasing with the severity
    jsn12_best_auc, pain_best_auc  the AUC of the ideal observer, who reads the severity without error, over infinitely
                                   many knees; the same in every row
    jsw_00m, jsw_12m, jsw_24m      minimum medial joint space width as planted, mm (the tables have gaps)
    womac_pain                     0 to 20; 1 belongs to neither group of the pain endpoint
    lesion_x, _y, _z               centre of the marrow lesion in the medial tibia, patient RAS mm; a second one lies in
                                   the femur, 16 to 24 mm above
    lesion_width, _depth, _height  its semi-axes along the knee's mediolateral, anteroposterior and vertical axis, mm
    lesion_first, lesion_last      the first and last coronal slice (DICOM instance number) that the two reach
    effusion_x, _y, _z             centre of the fluid in the suprapatellar pouch, patient RAS mm
    effusion_depth                 its semi-axis along the knee's anteroposterior axis, mm
    effusion_first, effusion_last  the first and last coronal slice that the fluid in pouch and recesses reaches
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.files import atomic, write_text
from oatools.core.manifest import IDENTITY, Row, write_table
from oatools.phantom import anatomy, series
from oatools.phantom.people import (
    MAX_PATIENTS,
    SIDES,
    Patient,
    PhantomKnee,
    Settings,
    index_of,
    make_cohort,
    make_patient,
    stream,
)
from oatools.phantom.tables import write_tables

VISIT, RELEASE = "00m", "0.E.1"
VERSION = 1  # of the pictures and tables: a folder made by another version is not continued
_ORDER = [(side, name) for side in SIDES for name in series.SEQUENCES]
_CORONAL = series.SEQUENCES["cor-iw-tse"]


def prepare(folder: Path, settings: Settings) -> list[Row]:
    """Write everything but the images, and return a row (knee … path) for each series, person by person.

    Raises a `UsageError` for settings out of range and for a folder that holds anything else.
    """
    _check(settings)
    _claim(folder, settings)
    patients = make_cohort(settings)
    write_tables(folder / "tables", settings, patients)
    _write_truth(folder / "truth.tsv", settings, patients)
    _write_contents(folder / VISIT / "contents.csv", settings, patients)
    return [
        dict(
            zip(
                IDENTITY,
                (
                    knee.name,
                    knee.subject,
                    VISIT,
                    knee.side,
                    name,
                    str(folder / VISIT / _series_folder(patient, knee.side, name)),
                ),
                strict=True,
            )
        )
        for patient, knee, name in _all_series(settings, patients)
    ]


def make_series(settings: Settings, row: Row) -> bool:
    """Render and write the series of one row of `prepare`; False if it is there already.

    The folder appears whole or not at all: it is written under another name beside its place, then
    renamed.
    """
    target = Path(row["path"])
    if target.exists():
        return False
    patient = make_patient(settings, index_of(row["subject"]))
    knee = patient.knees[SIDES.index(row["side"])]
    protocol = series.SEQUENCES[row["sequence"]]
    pixels, affine = make_volume(settings, knee, protocol)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        series.write_series(
            partial, protocol, pixels, affine, _identity(settings, patient, knee.side, protocol)
        )
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def make_volume(
    settings: Settings, knee: PhantomKnee, protocol: series.Sequence
) -> tuple[np.ndarray, np.ndarray]:
    """The pixel values (columns, rows, slices) uint16 of one series with noise, and the affine into RAS mm."""
    shape, affine = series.grid(
        protocol, settings.matrix, knee.side, knee.scan_centre, knee.scan_turn
    )
    image = anatomy.render(knee.anatomy, shape, affine, protocol.contrast)
    rng = stream(settings, index_of(knee.subject), 10 + _ORDER.index((knee.side, protocol.name)))
    return series.digitise(image, protocol.noise, rng), affine


def write_release(folder: Path, settings: Settings) -> list[Row]:
    """Write a whole synthetic release, one series after the other, and return the rows of its series."""
    rows = prepare(folder, settings)
    for row in rows:
        make_series(settings, row)
    return rows


def _check(settings: Settings) -> None:
    if not 1 <= settings.patients <= MAX_PATIENTS:
        raise UsageError(f"{settings.patients} patients; give 1 to {MAX_PATIENTS}")
    if not 32 <= settings.matrix <= 1024:
        raise UsageError(f"a matrix of {settings.matrix}; give 32 to 1024")
    for name in ("progressors", "painful"):
        if not 0 < getattr(settings, name) < 1:
            raise UsageError(
                f"{name} is {getattr(settings, name):g}; give a fraction between 0 and 1"
            )
    for name in ("jsn_auc", "pain_auc"):
        if not 0.5 <= getattr(settings, name) < 1:
            raise UsageError(f"{name} is {getattr(settings, name):g}; give 0.5 or more, below 1")
    unknown = [name for name in settings.sequences if name not in series.SEQUENCES]
    if unknown or not settings.sequences:
        raise UsageError(
            f"no sequence {', '.join(unknown) or 'given'}; known: {', '.join(series.SEQUENCES)}"
        )


def _claim(folder: Path, settings: Settings) -> None:
    """Make the folder ours, or find that it is, made with the same settings."""
    stamp = folder / "phantom.json"
    wanted = {
        "synthetic": True,
        "version": VERSION,
        "settings": json.loads(json.dumps(asdict(settings))),
    }
    if not stamp.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and holds no phantom; give a new folder")
        write_text(stamp, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
        differing = [k for k, v in wanted["settings"].items() if found["settings"].get(k) != v]
        version = found["version"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{stamp} cannot be read as a phantom's settings; give a new folder"
        ) from None
    if differing:
        was = ", ".join(f"{k} {found['settings'].get(k)}" for k in differing)
        raise UsageError(
            f"{folder} holds a phantom made with {was}; ask for the same, or give a new folder"
        )
    if version != VERSION:
        raise UsageError(
            f"{folder} holds a phantom of version {version}, this is {VERSION}; give a new folder"
        )


def _all_series(
    settings: Settings, patients: Sequence[Patient]
) -> Iterator[tuple[Patient, PhantomKnee, str]]:
    for patient in patients:
        for knee in patient.knees:
            for name in series.SEQUENCES:
                if name in settings.sequences:
                    yield patient, knee, name


def _barcode(patient: Patient, side: str, name: str) -> str:
    return str(10_000_000 + 7 * (len(_ORDER) * patient.index + _ORDER.index((side, name))))


def _series_folder(patient: Patient, side: str, name: str) -> str:
    """The series' folder below the visit's, as contents.csv states it."""
    return f"{RELEASE}/{patient.subject}/{patient.examined:%Y%m%d}/{_barcode(patient, side, name)}"


def _identity(
    settings: Settings, patient: Patient, side: str, protocol: series.Sequence
) -> dict[str, str]:
    """The header's patient and study: all invented, and plainly so."""
    number = _ORDER.index((side, protocol.name))
    examined = f"{patient.examined:%Y%m%d}"
    who = (settings.seed, patient.index, side)
    return {
        "PatientName": "Synthetic^Phantom",
        "PatientID": patient.subject,
        "PatientBirthDate": f"{patient.examined.year - patient.age}0101",
        "PatientSex": "F" if patient.female else "M",
        "InstitutionName": "SYNTHETIC PHANTOM",
        "ClinicalTrialTimePointID": "V00",
        "ClinicalTrialTimePointDescription": "ENROLLMENT",
        "StudyInstanceUID": series.uid("study", *who),
        "SeriesInstanceUID": series.uid("series", *who, protocol.name, settings.matrix),
        "FrameOfReferenceUID": series.uid("frame", *who),
        "StudyID": "1",
        "StudyDate": examined,
        "SeriesDate": examined,
        "AcquisitionDate": examined,
        "ContentDate": examined,
        "StudyTime": "090000",
        "SeriesTime": f"09{5 * number:02d}00",
        "ContentTime": f"09{5 * number:02d}00",
        "AccessionNumber": f"0166{_barcode(patient, side, protocol.name)}",
        "StudyDescription": f"OAI^MR^ENROLLMENT^{side.upper()}",
        "SeriesDescription": f"{protocol.description}_{side.upper()}",
        "ProtocolName": f"{protocol.description}_{side.upper()}",
        "SeriesNumber": str(2 + number),
    }


def _write_contents(path: Path, settings: Settings, patients: Sequence[Patient]) -> None:
    lines = ["Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"]
    for patient, knee, name in _all_series(settings, patients):
        side = knee.side.upper()
        lines.append(
            f"{_series_folder(patient, knee.side, name)},{patient.subject},{patient.examined:%Y%m%d},"
            f"{_barcode(patient, knee.side, name)},OAI^MR^ENROLLMENT^{side} ,"
            f"{series.SEQUENCES[name].description}_{side}"
        )
    with atomic(path) as temporary:
        temporary.write_bytes("".join(f"{line}\r\n" for line in lines).encode("ascii"))


def _write_truth(path: Path, settings: Settings, patients: Sequence[Patient]) -> None:
    rows = [_truth(settings, knee) for patient in patients for knee in patient.knees]
    write_table(path, list(rows[0]), rows)


def _truth(settings: Settings, knee: PhantomKnee) -> Row:
    lesion, fluid = anatomy.lesion(knee.anatomy), anatomy.effusion(knee.anatomy)
    width, depth, height = np.linalg.norm(lesion.axes, axis=0)
    both = [lesion, anatomy.femoral_lesion(knee.anatomy)]
    lesion_slices, fluid_slices = _coronal_slices(knee, both), _coronal_slices(knee, fluid)
    row = {
        "knee": knee.name,
        "subject": knee.subject,
        "visit": VISIT,
        "side": knee.side,
        "jsn12": str(int(knee.progressor)),
        "pain": str(int(knee.painful)),
        "jsn12_severity": f"{knee.jsn_severity:.6f}",
        "pain_severity": f"{knee.pain_severity:.6f}",
        "jsn12_finding": f"{knee.anatomy.progression:.6f}",
        "pain_finding": f"{knee.anatomy.effusion:.6f}",
        "jsn12_best_auc": f"{settings.jsn_auc:g}",
        "pain_best_auc": f"{settings.pain_auc:g}",
        "jsw_00m": f"{knee.jsw[0]:.3f}",
        "jsw_12m": f"{knee.jsw[1]:.3f}",
        "jsw_24m": f"{knee.jsw[2]:.3f}",
        "womac_pain": str(knee.womac[0]),
    }
    row |= {f"lesion_{axis}": f"{v:.2f}" for axis, v in zip("xyz", lesion.centre, strict=True)}
    row |= {
        "lesion_width": f"{width:.2f}",
        "lesion_depth": f"{depth:.2f}",
        "lesion_height": f"{height:.2f}",
    }
    row |= {"lesion_first": str(lesion_slices[0]), "lesion_last": str(lesion_slices[1])}
    row |= {f"effusion_{axis}": f"{v:.2f}" for axis, v in zip("xyz", fluid[0].centre, strict=True)}
    row |= {"effusion_depth": f"{np.linalg.norm(fluid[0].axes[:, 1]):.2f}"}
    return row | {"effusion_first": str(fluid_slices[0]), "effusion_last": str(fluid_slices[1])}


def _coronal_slices(knee: PhantomKnee, findings: Sequence[anatomy.Finding]) -> tuple[int, int]:
    """The first and last coronal slice, counted from 1, whose middle plane cuts a finding, or comes nearest to it."""
    shape, affine = series.grid(
        _CORONAL, series.REFERENCE_MATRIX, knee.side, knee.scan_centre, knee.scan_turn
    )
    normal = affine[:3, 2] / _CORONAL.thickness
    first, last = shape[2], 1
    for finding in findings:
        middle = float(normal @ (np.array(finding.centre) - affine[:3, 3])) / _CORONAL.thickness
        reach = finding.reach(normal) / _CORONAL.thickness
        nearest = round(middle)
        first = min(first, min(nearest, int(np.ceil(middle - reach))) + 1)
        last = max(last, max(nearest, int(np.floor(middle + reach))) + 1)
    return max(first, 1), min(last, shape[2])
