"""The series that a folder, archive or file holds, and who, when, which side and sequence each is.

`survey` says which headers are read for that. The header decides on sequence and side (OAI names
both in SeriesDescription); the study's conventions decide on subject and visit. Where the
description, the tags of the header and an inventory name different sides, all headers are read, to
say where the scan lies.
"""

import contextlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.ids import normal_id, subject_id
from oatools.core.manifest import IDENTITY, MISSING, BadRow, Row
from oatools.core.sequences import described
from oatools.dicom.conventions import Conventions, SeriesPath
from oatools.dicom.files import contents, digest_of
from oatools.dicom.headers import Header
from oatools.dicom.names import personal_words
from oatools.dicom.pseudonyms import Pseudonyms
from oatools.dicom.sides import names_both, pieces, side_in
from oatools.dicom.survey import holds_image, read_identity, survey

#: The columns of `Series.row`.
COLUMNS = [*IDENTITY, "description", "files", "series"]

# What tags for laterality may hold; B is both, U unpaired.
_SIDES_OF_TAGS = {"L": "left", "R": "right", "LEFT": "left", "RIGHT": "right", "B": "", "U": ""}
_X_RAYS = {"CR", "DX", "RG", "XA", "RF", "PX"}
_GROUPS = "SharedFunctionalGroupsSequence"


@dataclass(frozen=True)
class Overrides:
    """Facts that the user states of all series at once; None leaves one to header and path.

    With `trust_side`, the side that is stated first (by the description, an inventory, a tag) is
    taken whatever else is stated, and wherever the scan lies. `pseudonyms` are for what headers say
    and must not come out.
    """

    subject: str | None = None
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    keep_ids: bool = False
    trust_side: bool = False
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)


@dataclass(frozen=True)
class StatedSide:
    """Who says what of a series' side.

    `described` and `listed` are the sides that the description and an inventory name (`both` where
    that is so), and `tag` what the header's tags for laterality hold, as written. Each is empty
    where it is silent.
    """

    described: str = ""
    listed: str = ""
    tag: str = ""

    @property
    def sides(self) -> list[str]:
        """The sides that are stated, in the order in which they are believed.

        None of them where the description names both: nothing tells which of them is meant.
        """
        if "both" in (self.described, self.listed):
            return []
        tags = [_SIDES_OF_TAGS.get(word, "") for word in self.tag.upper().split()]
        return [side for side in (self.described, self.listed, *tags) if side]

    def text(self) -> str:
        """Return what each of them says, as a part of a message."""
        said = f"description says {self.described or 'nothing'}, "
        if self.listed:
            said += f"inventory says {self.listed}, "
        return f"{said}tag says {self.tag or 'nothing'}"


@dataclass(frozen=True)
class Series:
    """One MR series: its place, and who, when, which side and which sequence it is.

    `path` is a folder, an archive or a file. `files` is None where they were not counted, and
    `series` (a `files.series_digest`) None where the series has its path for itself. `identifier`
    is that digest in any case. The others are None where neither header nor path says.
    `patient_id` and `typed` are the header's id and description as they stand there, which go into
    no output.
    """

    path: Path
    subject: str
    visit: str | None = None
    side: str | None = None
    sequence: str | None = None
    description: str | None = None
    files: int | None = None
    series: str | None = None
    identifier: str = ""
    patient_id: str = ""
    typed: str = ""

    def row(self) -> Row:
        """Return the series as a row of the table that oa-convert lists and converts."""
        known = [part for part in (self.subject, self.visit, self.side) if part]
        return {
            "knee": "_".join(known),
            "subject": self.subject,
            "visit": self.visit or MISSING,
            "side": self.side or MISSING,
            "sequence": self.sequence or MISSING,
            "path": str(self.path),
            "description": self.description or MISSING,
            "files": MISSING if self.files is None else str(self.files),
            "series": self.series or MISSING,
        }


@dataclass(frozen=True)
class Contents:
    """What a source holds: series of MR, those that fail, and how many X-rays and other things."""

    series: list[Series | BadRow]
    x_rays: int = 0
    others: int = 0


def describe(
    source: Path,
    conventions: Conventions,
    known: Overrides,
    names: list[str] | None = None,
    listed: str = "",
) -> Contents:
    """Find the series of one folder, archive or multi-frame file.

    There is one, unless a source that is not in the study's layout mixes several. `names` are the
    folder's files, if they are known already; `listed` is what an inventory calls the series, for a
    header that does not say. Raises an `ItemError` if the source cannot be read; a series whose
    header contradicts itself, the path or the inventory is a `BadRow`.
    """
    place = conventions.place_of(source.absolute())
    is_one = place.key is not None or conventions.holds_one_series(source)
    held = survey(source, names, place.key is not None, is_one)
    x_rays = [header for header in held.headers if header.text("Modality") in _X_RAYS]
    images = [header for header in held.headers if holds_image(header) and header not in x_rays]
    others = len(held.headers) - len(images) - len(x_rays)
    # X-rays stand in folders of their own, or are told apart by their identifier like any other.
    share = sum(holds_image(header) for header in held.headers)
    found: list[Series | BadRow] = []
    for header in images:
        identifier = digest_of(header.text("SeriesInstanceUID"))
        one_of_many = identifier if share > 1 else None
        try:
            series = _identify(source, header, place, conventions, known, listed, one_of_many)
        except ItemError as error:
            name = f"{source} (series {one_of_many})" if one_of_many else str(source)
            found.append(BadRow(name, error.reason, remedy=error.remedy))
            continue
        count = None if one_of_many else held.files
        found.append(replace(series, files=count, series=one_of_many, identifier=identifier))
    beside = held.beside if found else 0
    return Contents(found, len(x_rays), others + beside or int(not held.headers))


def stated_side(source: Path, series: str | None = None) -> StatedSide:
    """Return what the header of a series (see `files.contents`) says of its side."""
    for _, content in contents(source, series):
        header = read_identity(content)
        if header is not None and holds_image(header):
            return _stated_side(header)
    return StatedSide()


def sequence_of(description: str, pseudonyms: Pseudonyms) -> str:
    """Return the sequence that a description names: `COR_IW_TSE_RIGHT` is `cor-iw-tse`.

    Words that are none of the field's (see `core.sequences`) are a digest at its end.
    """
    return _in_public(description, pseudonyms, with_side=side_in(description) is None)


def _in_public(description: str, pseudonyms: Pseudonyms, with_side: bool) -> str:
    """Return a description in words of the field and of sides, with a digest for all others.

    Where there are no others it is the description itself, as a slug.
    """
    shown: list[str] = []
    hidden: list[str] = []
    for piece, is_side in pieces(description):
        if not is_side:
            found = described(piece)
            shown += found.kept
            hidden += found.others
        elif with_side:
            shown.append(piece)
    if hidden:
        shown.append(pseudonyms.words(hidden))
    return slug(" ".join(shown))


def slug(name: str) -> str:
    """Return a name in lower case, with a hyphen for whatever is not a letter or digit.

    `COR_IW_TSE` becomes `cor-iw-tse`.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _identify(
    source: Path,
    header: Header,
    place: SeriesPath,
    conventions: Conventions,
    known: Overrides,
    listed: str,
    series: str | None,
) -> Series:
    """Combine what the user, the header, the path and an inventory say, in this order."""
    description = header.text("SeriesDescription") or listed
    public = personal_words(header.elements).removed_from(description)
    subject = known.subject or _subject(header, place, conventions, known)
    visit = known.visit or conventions.visit_from(header.text("StudyDescription"), place)
    side = known.side or _side(source, series, _stated_side(header, listed), known.trust_side)
    return Series(
        path=source,
        subject=subject,
        visit=visit,
        side=side,
        sequence=known.sequence or sequence_of(public, known.pseudonyms),
        description=_in_public(public, known.pseudonyms, with_side=True),
        patient_id=header.text("PatientID"),
        typed=description,
    )


def _stated_side(header: Header, listed: str = "") -> StatedSide:
    words = [header.text("Laterality"), header.text("ImageLaterality"), *_of_frames(header)]
    different = dict.fromkeys(word for word in words if word.upper() in _SIDES_OF_TAGS)
    return StatedSide(
        described=_side_of_text(header.text("SeriesDescription")),
        listed=_side_of_text(listed),
        tag=" ".join(different),
    )


def _side_of_text(text: str) -> str:
    return "both" if names_both(text) else side_in(text) or ""


def _of_frames(header: Header) -> list[str]:
    """Return the laterality of a multi-frame image, where all of its frames share it."""
    found = []
    with contextlib.suppress(Exception):  # sequences are read when they are asked for; damaged ones
        for group in header.elements.get(_GROUPS) or ():
            for anatomy in group.get("FrameAnatomySequence") or ():
                found.append(str(anatomy.get("FrameLaterality") or ""))
    return found


def _side(source: Path, series: str | None, stated: StatedSide, is_trusted: bool) -> str | None:
    """Return the side that is stated; an `ItemError` with all the facts if two are."""
    sides = stated.sides
    if len(set(sides)) > 1 and not is_trusted:
        from oatools.dicom.geometry import (
            assess,
            place_text,
        )  # NumPy, which a listing need not load

        lies = place_text(assess(source, series).centre)
        raise ItemError(
            f"{stated.text()}, {lies}",
            "say which with `side`, or take the description's with `side_check` trust",
        )
    return sides[0] if sides else None


def _subject(header: Header, place: SeriesPath, conventions: Conventions, known: Overrides) -> str:
    """Return the study's id of a participant, and a pseudonym of anybody else.

    A patient id may be a hospital's own number, which is shown only with `keep_ids`.
    """
    participant = conventions.subject_from(header, place)
    if participant is not None:
        return participant
    patient = header.text("PatientID")
    if not normal_id(patient):
        return known.pseudonyms.nobody(header.text("SeriesInstanceUID"))
    if not known.keep_ids:
        return known.pseudonyms.person(patient)
    try:
        return subject_id(patient)
    except ItemError as error:
        raise ItemError(
            f"{error.reason}, and its header has no other",
            "say whose it is with `subject`, or leave `keep_ids` out",
        ) from None
