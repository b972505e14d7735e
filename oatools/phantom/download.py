"""A synthetic download on disk: the image tree, the tables, and the truth that was planted.

DIR/phantom.json                      the settings: all of DIR follows from them
DIR/truth.tsv                         what was planted, one row for each knee (`phantom.truth`)
DIR/tables/…                          clinical and reading tables (`phantom.tables`)
DIR/00m/contents.csv                  one row for each series
DIR/00m/0.E.1/<participant>/<date>/<barcode>/001, 002, …
                                      one DICOM file for each slice
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oatools.core.errors import UsageError
from oatools.core.files import atomic, write_text
from oatools.core.manifest import Row
from oatools.phantom import series
from oatools.phantom.ascii import write_ascii
from oatools.phantom.nda_form import write_nda
from oatools.phantom.people import (
    FORMS,
    MAX_PATIENTS,
    SIDES,
    Patient,
    PhantomKnee,
    PhantomSettings,
    index_of,
    make_patient,
    make_people,
    stream,
)
from oatools.phantom.rendering import render
from oatools.phantom.series import PulseSequence
from oatools.phantom.tables import Record, make_records
from oatools.phantom.truth import write_truth

#: The writers of the tables, by form.
WRITERS: dict[str, Callable[[Path, Sequence[Record]], None]] = {
    "ascii": write_ascii,
    "nda": write_nda,
}
VISIT, RELEASE = "00m", "0.E.1"
VERSION = 2  # of the pictures and tables: a folder made by another version is not continued
_ORDER = list(itertools.product(SIDES, series.SEQUENCES))


def prepare(folder: Path, settings: PhantomSettings) -> list[Row]:
    """Write everything but the images, and return a row (knee … path) for each series.

    The rows are in the order of the people. Raises a `UsageError` for settings out of range and for
    a folder that holds anything else.
    """
    _check(settings)
    _claim(folder, settings)
    patients = make_people(settings)
    WRITERS[settings.form](folder / "tables", make_records(settings, patients))
    write_truth(folder / "truth.tsv", VISIT, settings, patients)
    _write_contents(folder / VISIT / "contents.csv", settings, patients)
    rows = []
    for patient, knee, name in _all_series(settings, patients):
        path = folder / VISIT / _series_folder(patient, knee.side, name)
        rows.append(
            {
                "knee": knee.name,
                "subject": knee.subject,
                "visit": VISIT,
                "side": knee.side,
                "sequence": name,
                "path": str(path),
            }
        )
    return rows


def make_series(settings: PhantomSettings, row: Row) -> bool:
    """Render and write the series of one row of `prepare`; return False if it is there already.

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
    identity = _identity(settings, patient, knee.side, protocol)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        series.write_series(partial, protocol, pixels, affine, identity)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def make_volume(
    settings: PhantomSettings, knee: PhantomKnee, protocol: PulseSequence
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """The pixels (columns, rows, slices) of one series with noise, and its affine to RAS mm."""
    shape, affine = series.grid(
        protocol, settings.matrix, knee.side, knee.scan_centre, knee.scan_turn
    )
    image = render(knee.anatomy, shape, affine, protocol.contrast)
    rng = stream(settings, index_of(knee.subject), 10 + _number_of(knee.side, protocol.name))
    return series.digitise(image, protocol.noise, rng), affine


def write_release(folder: Path, settings: PhantomSettings) -> list[Row]:
    """Write a whole synthetic release, one series after the other, and return their rows."""
    rows = prepare(folder, settings)
    for row in rows:
        make_series(settings, row)
    return rows


def _check(settings: PhantomSettings) -> None:
    if not 1 <= settings.patients <= MAX_PATIENTS:
        raise UsageError(f"{settings.patients} patients", f"give 1 to {MAX_PATIENTS}")
    if not 32 <= settings.matrix <= 1024:
        raise UsageError(f"a matrix of {settings.matrix}", "give 32 to 1024")
    if settings.form not in FORMS:
        raise UsageError(f"no form {settings.form}", f"known: {', '.join(FORMS)}")
    for name in ("progressors", "painful"):
        fraction = getattr(settings, name)
        if not 0 < fraction < 1:
            raise UsageError(f"{name} is {fraction:g}", "give a fraction between 0 and 1")
    for name in ("jsn_auc", "pain_auc"):
        auc = getattr(settings, name)
        if not 0.5 <= auc < 1:
            raise UsageError(f"{name} is {auc:g}", "give 0.5 or more, below 1")
    unknown = [name for name in settings.sequences if name not in series.SEQUENCES]
    if unknown or not settings.sequences:
        named = ", ".join(unknown) or "given"
        raise UsageError(f"no sequence {named}", f"known: {', '.join(series.SEQUENCES)}")


def _claim(folder: Path, settings: PhantomSettings) -> None:
    """Sign a new folder, or find that it is signed with the same settings."""
    stamp = folder / "phantom.json"
    wanted = json.loads(json.dumps(asdict(settings)))
    if not stamp.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and holds no phantom", "give a new folder")
        signed = {"synthetic": True, "version": VERSION, "settings": wanted}
        write_text(stamp, json.dumps(signed, indent=2) + "\n")
        return
    found, version = _read_stamp(stamp)
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if different:
        was = ", ".join(f"{name} {found.get(name)}" for name in different)
        raise UsageError(
            f"{folder} holds a phantom made with {was}", "ask for the same, or give a new folder"
        )
    if version != VERSION:
        raise UsageError(
            f"{folder} holds a phantom of version {version}, this is {VERSION}", "give a new folder"
        )


def _read_stamp(stamp: Path) -> tuple[dict[str, Any], object]:
    """The settings and the version that a phantom's folder is signed with."""
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
        settings, version = dict(content["settings"]), content["version"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{stamp} cannot be read as a phantom's settings", "give a new folder"
        ) from None
    return settings, version


def _all_series(
    settings: PhantomSettings, patients: Sequence[Patient]
) -> Iterator[tuple[Patient, PhantomKnee, str]]:
    names = [name for name in series.SEQUENCES if name in settings.sequences]
    for patient in patients:
        for knee in patient.knees:
            for name in names:
                yield patient, knee, name


def _number_of(side: str, name: str) -> int:
    """The number of a series among those of a person, whichever of them are written."""
    return _ORDER.index((side, name))


def _barcode(patient: Patient, side: str, name: str) -> str:
    return str(10_000_000 + 7 * (len(_ORDER) * patient.index + _number_of(side, name)))


def _series_folder(patient: Patient, side: str, name: str) -> str:
    """The series' folder below the visit's, as contents.csv states it."""
    return f"{RELEASE}/{patient.subject}/{patient.examined:%Y%m%d}/{_barcode(patient, side, name)}"


def _identity(
    settings: PhantomSettings, patient: Patient, side: str, protocol: PulseSequence
) -> dict[str, str]:
    """The header's patient and study: all invented, and plainly so."""
    number = _number_of(side, protocol.name)
    examined = f"{patient.examined:%Y%m%d}"
    started = f"09{5 * number:02d}00"
    description = f"{protocol.description}_{side.upper()}"
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
        "SeriesTime": started,
        "ContentTime": started,
        "AccessionNumber": f"0166{_barcode(patient, side, protocol.name)}",
        "StudyDescription": f"OAI^MR^ENROLLMENT^{side.upper()}",
        "SeriesDescription": description,
        "ProtocolName": description,
        "SeriesNumber": str(2 + number),
    }


def _write_contents(path: Path, settings: PhantomSettings, patients: Sequence[Patient]) -> None:
    lines = ["Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"]
    for patient, knee, name in _all_series(settings, patients):
        side = knee.side.upper()
        cells = [
            _series_folder(patient, knee.side, name),
            patient.subject,
            f"{patient.examined:%Y%m%d}",
            _barcode(patient, knee.side, name),
            f"OAI^MR^ENROLLMENT^{side} ",
            f"{series.SEQUENCES[name].description}_{side}",
        ]
        lines.append(",".join(cells))
    text = "".join(f"{line}\r\n" for line in lines)
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("ascii"))
