"""The preprocessing steps on files: read a row's input, do the work, write volume and sidecar, return the new cells."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.imaging.bias import N4Settings, correct
from oatools.imaging.volume import Volume, read_volume, write_volume


def convert_series(row: Row, out_dir: Path, echo: int | None, force: bool) -> Done:
    """Convert the series of a row (see `imaging.convert`) to `KNEE_SEQUENCE.nii.gz`."""
    from oatools.imaging.convert import convert
    from oatools.imaging.series import is_phantom

    source, target = Path(row["path"]), out_dir / f"{file_stem(row)}.nii.gz"
    wanted = provenance.step("oa-convert", {"echo": echo}, source)
    # The folder's name may be an accession number, and its bytes are recognised by their digest alone.
    wanted["input"]["name"] = "series"
    if not force and provenance.may_keep(target, provenance.last_step(provenance.read_sidecar(target)), wanted):
        return Done({"path": str(target)}, kept=True)
    volume, fields, messages = convert(source, echo)
    if is_phantom(source):
        fields["Phantom"] = True
    identity = {k.capitalize(): row[k] for k in ("knee", "subject", "visit", "side", "sequence") if row[k] != MISSING}
    _write(target, volume, {**identity, **fields, provenance.STEPS: [wanted]})
    return Done({"path": str(target)}, details=tuple(messages))


def orient_volume(row: Row, out_dir: Path, reference: str, side: str | None, check: bool, force: bool) -> Done:
    """Bring a row's volume to canonical axes (see `imaging.orient`)."""
    from oatools.imaging import orient

    source, target = Path(row["path"]), out_dir / f"{file_stem(row)}.nii.gz"
    _refuse_same(source, target)
    volume = read_volume(source)
    given = side or row.get("side", MISSING)
    if given == "geometry":
        given = orient.side_of(volume) or MISSING
    if given not in ("left", "right"):
        raise ItemError(f"the side is '{given}'; set the column 'side' to left or right, or use --side")
    if check:
        orient.check_side(volume, given)
    plane = orient.plane_of(volume, row.get("sequence", MISSING))
    found = orient.canonical(volume, plane, given, reference)
    parameters = {"reference": reference, "side": given, "plane": plane, "axes": found.axes, "flips": found.flips,
                  "input_affine": volume.affine.tolist()}  # fmt: skip
    wanted = provenance.step("oa-orient", parameters, source)
    cells = {"side": given, "path": str(target)}
    if not force and provenance.may_keep(target, provenance.last_step(provenance.read_sidecar(target)), wanted):
        return Done(cells, kept=True)
    _write(target, orient.apply(volume, found), _extend(source, wanted))
    return Done(cells)


def correct_volume(row: Row, out_dir: Path, settings: N4Settings, field_dir: Path | None, force: bool) -> Done:
    """Correct the bias field of a row's volume (see `imaging.bias`); `field_dir` gets the logarithm of the field."""
    source, target = Path(row["path"]), out_dir / f"{file_stem(row)}.nii.gz"
    _refuse_same(source, target)
    wanted = provenance.step("oa-n4", asdict(settings), source)
    field_path = field_dir / target.name if field_dir else None
    kept = not force and provenance.may_keep(target, provenance.last_step(provenance.read_sidecar(target)), wanted)
    if kept and (field_path is None or field_path.exists()):
        return Done({"path": str(target)}, kept=True)
    corrected, field = correct(read_volume(source), settings)
    fields = _extend(source, wanted)
    if field_path:
        _write(
            field_path,
            Volume(field, corrected.affine),
            {**fields, "Description": "natural logarithm of the bias field"},
        )
    _write(target, corrected, fields)
    return Done({"path": str(target)})


def _extend(source: Path, step: provenance.Step) -> dict[str, Any]:
    """The sidecar of the input with one more step."""
    fields = provenance.read_sidecar(source)
    return {**fields, provenance.STEPS: [*fields.get(provenance.STEPS, []), step]}


def _write(target: Path, volume: Volume, fields: dict[str, Any]) -> None:
    # The sidecar first: once the volume has its name, the work is done.
    provenance.write_sidecar(target, fields)
    write_volume(target, Volume(np.asarray(volume.data), volume.affine))


def _refuse_same(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise ItemError(f"{target} is the input itself; choose another folder with -o")
