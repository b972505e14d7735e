"""A synthetic cohort's images as OAI releases them: folders, headers and `contents.csv`.

DIR/00m/contents.csv                  one row for each series
DIR/00m/0.E.1/<participant>/<date>/<barcode>/001, 002, …
                                      one DICOM file for each slice
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from oatools.core.files import write_bytes
from oatools.phantom.layout import Layout, PlacedSeries, invented_header, number_of
from oatools.phantom.people import SIDES, Patient, PhantomSettings
from oatools.phantom.series import SEQUENCES, PulseSequence

VISIT, RELEASE = "00m", "0.E.1"


def _barcode(patient: Patient, side: str, name: str) -> str:
    return str(
        10_000_000
        + 7 * (len(SIDES) * len(SEQUENCES) * patient.index + number_of(SEQUENCES, side, name))
    )


def series_folder(patient: Patient, side: str, name: str) -> str:
    """The series' folder below the visit's, as contents.csv states it."""
    return f"{RELEASE}/{patient.subject}/{patient.examined:%Y%m%d}/{_barcode(patient, side, name)}"


def identity(
    settings: PhantomSettings, patient: Patient, side: str, protocol: PulseSequence
) -> dict[str, str]:
    """The header's patient and study: all invented, and plainly so."""
    number = number_of(SEQUENCES, side, protocol.name)
    started = f"09{5 * number:02d}00"
    description = f"{protocol.description}_{side.upper()}"
    who = (settings.seed, patient.index, side)
    return {
        **invented_header(settings, patient, protocol, who),
        "ClinicalTrialTimePointID": "V00",
        "ClinicalTrialTimePointDescription": "ENROLLMENT",
        "StudyTime": "090000",
        "SeriesTime": started,
        "ContentTime": started,
        "AccessionNumber": f"0166{_barcode(patient, side, protocol.name)}",
        "StudyDescription": f"OAI^MR^ENROLLMENT^{side.upper()}",
        "SeriesDescription": description,
        "ProtocolName": description,
        "SeriesNumber": str(2 + number),
    }


def write_inventory(folder: Path, all_series: Iterable[PlacedSeries]) -> None:
    """Write `contents.csv` into the visit's folder of a download."""
    lines = ["Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"]
    for record, side, name in all_series:
        patient = record.patient
        cells = [
            series_folder(patient, side, name),
            patient.subject,
            f"{patient.examined:%Y%m%d}",
            _barcode(patient, side, name),
            f"OAI^MR^ENROLLMENT^{side.upper()} ",
            f"{SEQUENCES[name].description}_{side.upper()}",
        ]
        lines.append(",".join(cells))
    text = "".join(f"{line}\r\n" for line in lines)
    write_bytes(folder / VISIT / "contents.csv", text.encode("ascii"))


LAYOUT = Layout(
    folder=VISIT,
    first_stream=10,
    sequences=SEQUENCES,
    series_folder=series_folder,
    identity=identity,
    write_inventory=write_inventory,
)
