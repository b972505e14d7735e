"""A synthetic cohort's images as those of MOST: its pulse sequences, folders and headers.

The series' names are MOST's. Geometry is that of OAI's protocols; contrasts and headers are
plausible, and no more. DIR/images/MB00001/left/HR_COR_STIR holds a series of a knee at enrolment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from oatools.phantom import series
from oatools.phantom.layout import Layout, PlacedSeries, invented_header, number_of
from oatools.phantom.people import Patient, PhantomSettings
from oatools.phantom.series import PulseSequence, Scanner

_EXTREMITY = Scanner(
    manufacturer="ONI Medical Systems", model="OrthOne", field="1.0", frequency="42.577"
)
_HR_COR_STIR = replace(
    series.SEQUENCES["cor-iw-tse"],
    name="hr-cor-stir",
    description="HR_COR_STIR",
    contrast="stir",
    noise=0.035,
    echo_time=15,
    repetition_time=6650,
    inversion_time=100,
    scanner=_EXTREMITY,
)
_SAG_PD_FAT_SAT = replace(
    series.SEQUENCES["sag-iw-tse"],
    name="sag-pd-fat-sat",
    description="SAG_PD_FAT_SAT",
    contrast="pd-fs",
    noise=0.035,
    echo_time=35,
    repetition_time=4800,
    scanner=_EXTREMITY,
)
SEQUENCES = {sequence.name: sequence for sequence in (_HR_COR_STIR, _SAG_PD_FAT_SAT)}


def series_folder(patient: Patient, side: str, name: str) -> str:
    """The series' folder below that of the images."""
    return f"{patient.subject}/{side}/{SEQUENCES[name].description}"


def identity(
    settings: PhantomSettings, patient: Patient, side: str, protocol: PulseSequence
) -> dict[str, str]:
    """The header's patient and study: all invented, and plainly so."""
    number = number_of(SEQUENCES, side, protocol.name)
    started = f"10{5 * number:02d}00"
    description = f"{protocol.description} {side.upper()}"
    who = ("most", settings.seed, patient.index, side)
    return {
        **invented_header(settings, patient, protocol, who),
        "StudyTime": "100000",
        "SeriesTime": started,
        "ContentTime": started,
        "AccessionNumber": f"{patient.subject}{number:02d}",
        "StudyDescription": "MOST KNEE BASELINE",
        "SeriesDescription": description,
        "ProtocolName": description,
        "SeriesNumber": str(2 + number),
    }


def _no_inventory(folder: Path, all_series: Iterable[PlacedSeries]) -> None:
    """These images have no inventory."""


LAYOUT = Layout(
    folder="images",
    first_stream=16,
    sequences=SEQUENCES,
    series_folder=series_folder,
    identity=identity,
    write_inventory=_no_inventory,
)
