"""What a form of a download's images is made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oatools.phantom import series
from oatools.phantom.people import SIDES, Patient, PhantomSettings
from oatools.phantom.series import PulseSequence
from oatools.phantom.tables import Record

#: A series: the record of its person, its side and its sequence.
PlacedSeries = tuple[Record, str, str]


@dataclass(frozen=True)
class Layout:
    """Where images lie and what their headers say.

    `folder` holds the images, below that of the download. `first_stream` is the number of the first
    random stream of their noise (`people.stream`). `series_folder` is where a series lies in the
    folder, an archive if it ends in `.tar.gz`. `identity` gives DICOM keywords and values of
    patient and study. `write_inventory` writes the list of the series into the download, if the
    form has one.
    """

    folder: str
    first_stream: int
    sequences: Mapping[str, PulseSequence]
    series_folder: Callable[[Patient, str, str], str]
    identity: Callable[[PhantomSettings, Patient, str, PulseSequence], dict[str, str]]
    write_inventory: Callable[[Path, Iterable[PlacedSeries]], None]


def number_of(sequences: Iterable[str], side: str, name: str) -> int:
    """The number of a series among those of a person, whichever of them are written."""
    return list(itertools.product(SIDES, sequences)).index((side, name))


def invented_header(
    settings: PhantomSettings, patient: Patient, protocol: PulseSequence, who: Sequence[object]
) -> dict[str, str]:
    """The header's patient and study, as far as all forms have them alike: all invented.

    `who` tells the examination apart from all others.
    """
    examined = f"{patient.examined:%Y%m%d}"
    return {
        "PatientName": "Synthetic^Phantom",
        "PatientID": patient.subject,
        "PatientBirthDate": f"{patient.examined.year - patient.age}0101",
        "PatientSex": "F" if patient.female else "M",
        "InstitutionName": "SYNTHETIC PHANTOM",
        "StudyInstanceUID": series.uid("study", *who),
        "SeriesInstanceUID": series.uid("series", *who, protocol.name, settings.matrix),
        "FrameOfReferenceUID": series.uid("frame", *who),
        "StudyID": "1",
        "StudyDate": examined,
        "SeriesDate": examined,
        "AcquisitionDate": examined,
        "ContentDate": examined,
    }
