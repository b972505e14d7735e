"""What a form of a download's images is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oatools.phantom.people import Patient, PhantomSettings
from oatools.phantom.series import PulseSequence
from oatools.phantom.tables import Record

#: A series: the record of its person, its side and its sequence.
PlacedSeries = tuple[Record, str, str]


@dataclass(frozen=True)
class Layout:
    """Where images lie and what their headers say.

    `folder` holds the images, below that of the download. `first_stream` is the number of the first
    random stream of their noise (`people.stream`), and `number_of` gives a series (side, sequence)
    its number among those of a person, whichever of them are written. `series_folder` is where a
    series lies in the folder, an archive if it ends in `.tar.gz`. `identity` gives DICOM keywords
    and values of patient and study. `write_inventory` writes the list of the series into the
    download, if the form has one.
    """

    folder: str
    first_stream: int
    sequences: Mapping[str, PulseSequence]
    number_of: Callable[[str, str], int]
    series_folder: Callable[[Patient, str, str], str]
    identity: Callable[[PhantomSettings, Patient, str, PulseSequence], dict[str, str]]
    write_inventory: Callable[[Path, Iterable[PlacedSeries]], None]
