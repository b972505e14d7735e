"""A study's own conventions, beside what DICOM headers say in any study.

Headers name a patient and describe a series. Who that is in the study, and at which visit, a study
states in its own way: in the folders of its download, in the form of its ids, in inventories.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from oatools.dicom.headers import Header


@dataclass(frozen=True)
class SeriesPath:
    """The facts that a path states, each None where it is silent.

    `key` is set where a path is that of one series in the study's own layout. It is the name by
    which inventories know the series, parts joined by slashes of which the last is the series'
    own: the series of one examination share all others. `visit` comes from the layout itself,
    `folder_visit` from a folder that somebody named. `person_visit` is set where a path is that of
    a participant's folder at a visit in that layout, or lies below one: repeats of a series share
    it, in whichever of the study's releases, dates or packages they lie.
    """

    visit: str | None = None
    folder_visit: str | None = None
    participant: str | None = None
    key: str | None = None
    person_visit: str | None = None


@dataclass(frozen=True)
class InventoryEntry:
    """One series of an inventory: its key (see `SeriesPath`), description, and path as stated."""

    key: str
    description: str
    path: str

    @property
    def examination(self) -> str:
        """The part of the key that all series of one examination share."""
        return self.key.rsplit("/", 1)[0]


class Conventions(Protocol):
    """The questions that finding series asks of a study.

    A module with functions of these names will do: `oatools.oai.release` is the first.
    """

    def place_of(self, path: str | Path, /) -> SeriesPath:
        """Read the facts that a path states."""

    def holds_one_series(self, archive: Path, /) -> bool:
        """Tell by an archive's name whether the study packs a single series in it."""

    def subject_from(self, header: Header, place: SeriesPath, /) -> str | None:
        """Return the participant's id from the header and the path; None for anybody else.

        An id that merely looks like one of the study's may be a hospital's own number: what else
        the header or the path says must show that it is not. `survey.KEYWORDS` are read of headers.
        Raises an `ItemError` if header and path contradict each other.
        """

    def visit_from(self, study_description: str, place: SeriesPath, /) -> str | None:
        """Return the visit, such as `12m`, from the header's study description and the path.

        None if neither says. Raises an `ItemError` if they contradict each other.
        """

    def may_be_inventory(self, path: str | Path, /) -> bool:
        """Tell whether a file has the name of an inventory."""

    def read_inventory(self, path: str | Path, /) -> Iterator[InventoryEntry]:
        """Yield the series of an inventory; a `UsageError` for any other file."""

    def locate(self, listed: InventoryEntry, base: Path, /) -> Path | None:
        """Find a listed series below the folder of its inventory; None if it is not there.

        That folder may also be one of those on the way to the series. An archive whose download has
        not finished is found, too, under the name that it has (see `archives.UNFINISHED`).
        """

    def set_aside(self, sequence: str, participant: str | None, /) -> str | None:
        """Say what a participant's series is that is no volume of a knee; None for all others.

        Such series, as reformats and locators, are taken only where they are asked for by name.
        """
