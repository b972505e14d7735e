"""The folder of a BIDS data set: where its volumes lie, and the files that describe it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oatools.core.bids import VERSION, bids_path
from oatools.core.errors import UsageError
from oatools.core.files import alone_in, write_bytes, write_first
from oatools.core.manifest import MISSING, Row, stated_identity
from oatools.imaging.rows import VolumeWriter
from oatools.imaging.volume import Volume
from oatools.version import __version__

_PARTICIPANT = "participant_id"
_README = """# MRI of knees

Volumes as they came from the scanner, one knee each, converted from DICOM by oa-convert. BIDS has
no entity for a side: the label of acq is the sequence and the side, which the sidecars hold apart
(Sequence, Side), beside BodyPart. Intermediate-weighted images have the suffix PDw, and those
of DESS T2w, as BIDS has none for them. Sidecars of synthetic knees say "Phantom": true.
"""
# What lies in the folder and is no part of the data set; the key of ids is nobody else's business.
_IGNORED = "id.key\n"


@dataclass(frozen=True)
class BidsWriter(VolumeWriter):
    """Writes volumes into the layout of BIDS; `echo` is the one that is taken of several."""

    echo: int | None = None

    def claim(self, row: Row) -> str:
        """Return the path of a row's volume without its extension, which no two rows may share."""
        return str(self.folder / bids_path(stated_identity(row), self.echo))

    def write(self, target: Path, volume: Volume, fields: dict[str, Any]) -> None:
        """Write a volume and its sidecar, which names the part of the body."""
        details = {"BodyPartDetails": fields["Side"]} if "Side" in fields else {}
        super().write(target, volume, {"BodyPart": "KNEE", **details, **fields})


def describe(folder: Path) -> None:
    """Write the files that describe a data set, and name its new participants.

    What is there stays as it is: the texts, and the rows and columns of `participants.tsv`.
    Processes side by side may do so.
    """
    description = {
        "Name": "MRI of knees",
        "BIDSVersion": VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "oatools", "Version": __version__}],
    }
    texts = {
        "dataset_description.json": json.dumps(description, indent=2) + "\n",
        "README.md": _README,
        ".bidsignore": _IGNORED,
    }
    for name, text in texts.items():
        if not (folder / name).exists():
            write_first(folder / name, text.encode())
    with alone_in(folder):
        _name_participants(folder / "participants.tsv")


def _name_participants(path: Path) -> None:
    """Add the participants who have a folder to the table of participants."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    columns = lines[0].split("\t") if lines else [_PARTICIPANT]
    if _PARTICIPANT not in columns:
        raise UsageError(f"{path}: no column '{_PARTICIPANT}'", "name it, or move the table away")
    place = columns.index(_PARTICIPANT)
    known = {line.split("\t")[place] for line in lines[1:] if line.count("\t") >= place}
    found = {each.name for each in path.parent.glob("sub-*") if each.is_dir()} - known
    if lines and not found:
        return
    rows = [[name if column == _PARTICIPANT else MISSING for column in columns] for name in found]
    text = "\n".join([*(lines or [_PARTICIPANT]), *sorted(map("\t".join, rows)), ""])
    write_bytes(path, text.encode())
