"""A synthetic cohort's images as the NIMH Data Archive hands OAI out: an archive for each series.

DIR/image03.txt                       one row for each series, below a line of descriptions
DIR/image03/00m/0.E.1/<participant>/<date>/<barcode>.tar.gz
                                      the slices ./001, ./002, … of a series
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from oatools.core.files import write_text
from oatools.phantom import release
from oatools.phantom.layout import PlacedSeries
from oatools.phantom.nda_form import shared_columns, structure_text
from oatools.phantom.people import Patient
from oatools.phantom.series import SEQUENCES

# No more of the columns than readers of the archive's images name.
_COLUMNS = {
    "image_file": "Data file (image, behavioral, anatomical, etc)",
    "image_description": "Image description, i.e. DTI, fMRI, Fast SPGR, phantom, EEG, dynamic PET",
    "scan_type": "Type of Scan",
    "image_modality": "Image modality",
    "comments_misc": "Miscellaneous comments on study, interview, methodology",
    "accession_number": "Accession number of the image",
}
_BUCKET = "s3://NDAR_Synthetic/submission_0"
_SLICE = re.compile(r"\d{3}")
_MOST_BYTES = 1 << 24  # of a slice: four times that of the largest matrix
#: What reading a damaged archive raises.
BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)
_LEVEL = 1  # of compression: noise hardly yields to more


def series_folder(patient: Patient, side: str, name: str) -> str:
    """The series' archive below the visit's folder."""
    return f"{release.series_folder(patient, side, name)}.tar.gz"


def write_inventory(folder: Path, all_series: Iterable[PlacedSeries]) -> None:
    """Write `image03.txt` into a download."""
    rows = []
    for record, side, name in all_series:
        patient = record.patient
        path = series_folder(patient, side, name)
        barcode = Path(path).name.split(".")[0]
        rows.append(
            shared_columns(record, "V00", 0)
            | {
                "image_file": f"{_BUCKET}/{release.VISIT}/{path}",
                "image_description": f"{SEQUENCES[name].description}_{side.upper()}",
                "scan_type": "MR structural (PD, T2)",
                "image_modality": "MRI",
                "comments_misc": f"OAI MR ENROLLMENT {side.upper()}",
                "accession_number": f"0166{barcode}",
            }
        )
    write_text(folder / "image03.txt", structure_text("image03", _COLUMNS, rows))


def pack(folder: Path, archive: BinaryIO) -> None:
    """Pack a series as the archive does; the same files give the same bytes."""
    with (
        gzip.GzipFile("", "wb", _LEVEL, archive, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(f"./{path.name}")
            member.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(member, content)


def unpack(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of an archive that `pack` wrote, to its end.

    Nothing is unpacked to disk. What is no such archive raises one of `BROKEN`.
    """
    with archive.open("rb") as stream, gzip.GzipFile(fileobj=stream) as packed:
        with tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if not _SLICE.fullmatch(name) or not 0 < member.size <= _MOST_BYTES:
                    raise ValueError(name)
                content = tar.extractfile(member)
                yield name, content.read() if content else b""
        while packed.read(1 << 20):  # by its end gzip tells what was damaged
            pass


LAYOUT = replace(
    release.LAYOUT,
    folder=f"image03/{release.VISIT}",
    series_folder=series_folder,
    write_inventory=write_inventory,
)
