"""A synthetic download on disk: the image tree, the tables, and the truth that was planted.

DIR/phantom.json                      the settings: all of DIR follows from them
DIR/truth.tsv                         what was planted, one row for each knee (`phantom.truth`)
DIR/tables/…                          clinical and reading tables (`phantom.tables`)

and the images, as the form has them: see `release`, `nda_images` and `most_images`.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import alone_in, atomic, is_temporary, naming, scratch_folder, write_text
from oatools.core.manifest import Row
from oatools.core.paths import require_file
from oatools.core.records import as_read, parse_json
from oatools.phantom import most_images, nda_images, release, series
from oatools.phantom.ascii import write_ascii
from oatools.phantom.course import X_RAY_MONTHS
from oatools.phantom.fate import hazards_of
from oatools.phantom.layout import Layout, PlacedSeries, number_of
from oatools.phantom.most_form import write_most
from oatools.phantom.nda_form import write_nda
from oatools.phantom.people import (
    BIASES,
    FORMS,
    MAX_PATIENTS,
    SIDES,
    PhantomKnee,
    PhantomSettings,
    index_of,
    make_patient,
    make_people,
    stream,
)
from oatools.phantom.rendering import render
from oatools.phantom.series import PulseSequence
from oatools.phantom.signature import PLAIN, SITES, Signature, signature_of
from oatools.phantom.stamp import STAMP
from oatools.phantom.tables import Record, make_records
from oatools.phantom.truth import write_truth

#: The writers of the tables, by form.
WRITERS: dict[str, Callable[[Path, Sequence[Record]], None]] = {
    "ascii": write_ascii,
    "nda": write_nda,
    "most": write_most,
}
#: Where the images lie and what their headers say, by form.
LAYOUTS: dict[str, Layout] = {
    "ascii": release.LAYOUT,
    "nda": nda_images.LAYOUT,
    "most": most_images.LAYOUT,
}
VISIT = "00m"
VERSION = 3  # of the pictures and tables: a folder made by another version is not continued


def prepare(folder: Path, settings: PhantomSettings) -> list[Row]:
    """Write everything but the images, and return a row (knee … path) for each series.

    The rows are in the order of the people. Raises a `UsageError` for settings out of range and for
    a folder that holds anything else.
    """
    _check(settings)
    _check_sites(settings)
    _check_follow_up(settings)
    _claim(folder, settings)
    layout = LAYOUTS[settings.form]
    patients = make_people(settings)
    records = make_records(settings, patients)
    WRITERS[settings.form](folder / "tables", records)
    write_truth(folder / "truth.tsv", VISIT, settings, patients)
    layout.write_inventory(folder, _all_series(settings, records))
    rows = []
    for record, side, name in _all_series(settings, records):
        patient = record.patient
        knee = patient.knees[SIDES.index(side)]
        rows.append(
            {
                "knee": knee.name,
                "subject": knee.subject,
                "visit": VISIT,
                "side": side,
                "sequence": name,
                "path": str(folder / layout.folder / layout.series_folder(patient, side, name)),
            }
        )
    return rows


def make_series(
    settings: PhantomSettings, row: Row, warn: Callable[[str], None] = lambda _: None
) -> bool:
    """Render and write the series of one row of `prepare`; return False if it is there already.

    The folder or archive appears whole or not at all: it is written under another name beside its
    place, which no other process shares, then renamed. Of several that write it at once, the first
    counts. Slices that were lost or damaged since are made again, and `warn` is told. Raises an
    `ItemError` for a folder that holds anything else.
    """
    target = Path(row["path"])
    layout = LAYOUTS[settings.form]
    patient = make_patient(settings, index_of(row["subject"]))
    knee = patient.knees[SIDES.index(row["side"])]
    protocol = layout.sequences[row["sequence"]]
    identity = layout.identity(settings, patient, knee.side, protocol)
    is_packed = target.name.endswith(".tar.gz")
    damaged: list[str] = []
    if os.path.lexists(target):
        find = _damaged_in_archive if is_packed else _damaged_in_folder
        damaged = find(target, protocol, identity)
        if not damaged:
            return False
        what = target if is_packed else target / damaged[0]
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 and not is_packed else ""
        warn(f"warning: {what}{more} was damaged since it was made; it is made again")
    signature = signature_of(patient.site, settings.sites)
    pixels, affine = make_volume(settings, knee, protocol, signature)
    with naming(target), scratch_folder(target.parent) as partial:
        series.write_series(partial, protocol, pixels, affine, identity)
        if is_packed:
            with atomic(target) as archive:
                nda_images.pack(partial, archive)
            return True
        for name in damaged:
            (partial / name).replace(target / name)
        return bool(damaged) or _gave_name(partial, target)


def _damaged_in_folder(
    folder: Path, protocol: PulseSequence, identity: dict[str, str]
) -> list[str]:
    """The names of a series' files that are missing, or not as they were written.

    Raises an `ItemError` for a folder that holds anything else.
    """
    names = series.file_names(protocol)
    if not folder.is_dir():
        raise ItemError(f"{folder} is no folder", "move it away")
    found = {path.name: path for path in folder.iterdir()}
    strange = sorted(found.keys() - set(names))
    strange += [name for name in names if name in found and not found[name].is_file()]
    if strange:
        raise ItemError(f"{folder} holds {strange[0]}, which is no slice of it", "move it away")
    return [
        name
        for name in names
        if name not in found or not series.is_whole(found[name].read_bytes(), name, identity)
    ]


def _damaged_in_archive(
    archive: Path, protocol: PulseSequence, identity: dict[str, str]
) -> list[str]:
    """The names of a series' files that are missing in its archive, or not as they were written.

    All of an archive that cannot be read to its end. Raises an `ItemError` for a folder.
    """
    require_file(archive, "an archive")
    names = series.file_names(protocol)
    try:
        files = nda_images.unpack(archive)
        whole = {name for name, content in files if series.is_whole(content, name, identity)}
    except nda_images.BROKEN:
        return names
    return [name for name in names if name not in whole]


def _gave_name(folder: Path, target: Path) -> bool:
    """Rename a folder; False if there is one of that name that is not empty."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def make_volume(
    settings: PhantomSettings,
    knee: PhantomKnee,
    protocol: PulseSequence,
    signature: Signature = PLAIN,
) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """The pixels (columns, rows, slices) of one series with noise, and its affine to RAS mm."""
    shape, affine = series.grid(
        protocol, settings.matrix, knee.side, knee.scan_centre, knee.scan_turn
    )
    image = signature.apply(render(knee.anatomy, shape, affine, protocol.contrast))
    layout = LAYOUTS[settings.form]
    number = layout.first_stream + number_of(layout.sequences, knee.side, protocol.name)
    rng = stream(settings, index_of(knee.subject), number)
    return series.digitise(image, protocol.noise * signature.noise, rng), affine


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
    if settings.bias not in BIASES:
        raise UsageError(f"no bias {settings.bias}", f"known: {', '.join(BIASES)}")
    for name in ("progressors", "painful"):
        fraction = getattr(settings, name)
        if not 0 < fraction < 1:
            raise UsageError(f"{name} is {fraction:g}", "give a fraction between 0 and 1")
    for name in ("jsn_auc", "pain_auc"):
        auc = getattr(settings, name)
        if not 0.5 <= auc < 1:
            raise UsageError(f"{name} is {auc:g}", "give 0.5 or more, below 1")
    known = LAYOUTS[settings.form].sequences
    unknown = [name for name in settings.sequences if name not in known]
    if unknown or not settings.sequences:
        named = ", ".join(unknown) or "given"
        raise UsageError(
            f"no sequence {named} in the form {settings.form}", f"known: {', '.join(known)}"
        )


def _check_sites(settings: PhantomSettings) -> None:
    if settings.sites and not 2 <= settings.sites <= len(SITES):
        raise UsageError(f"{settings.sites} sites", f"give 2 to {len(SITES)}")
    if not 0 < settings.site_odds < math.inf:
        raise UsageError(f"odds of {settings.site_odds:g}", "give `site_odds` above 0")


def _check_follow_up(settings: PhantomSettings) -> None:
    if not settings.follow_up:
        return
    if settings.follow_up not in X_RAY_MONTHS:
        known = ", ".join(f"{month}m" for month in X_RAY_MONTHS[1:])
        raise UsageError(f"no X-rays at {settings.follow_up} months", f"give one of {known}")
    if settings.form == "most":
        raise UsageError("the form most has no planted times", "leave out `follow_up`")
    hazards_of(settings.progressors, settings.jsn_auc)  # raises where there are none


def _claim(folder: Path, settings: PhantomSettings) -> None:
    """Sign a new folder, or find that it is signed with the same settings."""
    stamp = folder / STAMP
    wanted = as_read(asdict(settings))
    # As an earlier version signed the same download.
    if not settings.sites:
        del wanted["sites"], wanted["site_odds"]
    if not settings.follow_up:
        del wanted["follow_up"]
    signed = {"synthetic": True, "version": VERSION, "settings": wanted}
    text = json.dumps(signed, indent=2) + "\n"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    # One at a time: of several that begin at once the first signs it.
    with alone_in(folder):
        if not stamp.exists():
            if not all(is_temporary(each.name) for each in folder.iterdir()):
                raise UsageError(f"{folder} exists and holds no phantom", "give a new folder")
            write_text(stamp, text)
            return
    found, version = _read_stamp(stamp)
    different = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if different:
        was = ", ".join(f"{name} {found.get(name, 'none')}" for name in different)
        raise UsageError(
            f"{folder} holds a phantom made with {was}", "ask for the same, or give a new folder"
        )
    if version != VERSION:
        raise UsageError(
            f"{folder} holds a phantom of version {version}, this is {VERSION}", "give a new folder"
        )
    if stamp.read_text(encoding="utf-8") != text:  # damaged where it says nothing of these
        write_text(stamp, text)


def _read_stamp(stamp: Path) -> tuple[dict[str, Any], object]:
    """The settings and the version that a phantom's folder is signed with."""
    try:
        content = parse_json(stamp.read_bytes())
        settings, version = dict(content["settings"]), content["version"]
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"{stamp} cannot be read as a phantom's settings", "give a new folder"
        ) from None
    return settings, version


def _all_series(settings: PhantomSettings, records: Sequence[Record]) -> Iterator[PlacedSeries]:
    """The series to write, each as the record of its person, side and sequence."""
    known = LAYOUTS[settings.form].sequences
    for record in records:
        for side in SIDES:
            for name in known:
                if name in settings.sequences:
                    yield record, side, name
