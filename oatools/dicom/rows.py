"""The work of oa-convert on one row: a series becomes a volume with its sidecar."""

from pathlib import Path

from oatools.core import provenance
from oatools.core.manifest import MISSING, Row, stated_identity
from oatools.core.runner import Done
from oatools.dicom.convert import convert
from oatools.dicom.files import is_phantom
from oatools.imaging.rows import VolumeWriter


def convert_series(row: Row, out: VolumeWriter, echo: int | None, coverage: float) -> Done:
    """Convert the series of a row (see `dicom.convert`) to `KNEE_SEQUENCE.nii.gz`."""
    source, target = Path(row["path"]), out.target(row)
    stated = row.get("series", MISSING)
    series = None if stated == MISSING else stated
    parameters = {"echo": echo, "series": series, "coverage": coverage}
    # The folder's name may be an accession number; its digest is enough to know it again.
    wanted = provenance.step("oa-convert", parameters, source, name="series")
    if out.is_done(target, wanted):
        return Done({"path": str(target)}, kept=True)
    volume, fields, messages = convert(source, echo, series, coverage)
    if is_phantom(source, series):
        fields[provenance.PHANTOM_FIELD] = True
    identity = {column.capitalize(): cell for column, cell in stated_identity(row).items()}
    out.write(target, volume, provenance.with_step({**identity, **fields}, wanted))
    return Done({"path": str(target)}, details=tuple(messages))
