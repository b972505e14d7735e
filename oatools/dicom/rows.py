"""The work of oa-convert on one row: a series becomes a volume with its sidecar."""

from dataclasses import dataclass, replace
from pathlib import Path

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import Snapshot
from oatools.core.manifest import MISSING, Row, stated_identity
from oatools.core.runner import Done
from oatools.dicom.convert import REMARK, WARNING, convert
from oatools.dicom.files import is_phantom
from oatools.dicom.series import stated_side
from oatools.dicom.sides import names_both
from oatools.imaging.orient import Grid, both_knees, centre, lies_text, side_of
from oatools.imaging.rows import VolumeWriter
from oatools.imaging.volume import read_geometry


@dataclass(frozen=True)
class ConvertSettings:
    """The options of oa-convert.

    `echo` picks one of a multi-echo series, `coverage` is the least depth of its slices in mm, and
    `side_check` says what is done with a side that the place of the scan contradicts: `fail`,
    `warn`, or `trust`, with which the two are not compared. `by_hand` are the columns that the user
    has set for all series, whatever their headers say. dcm2niix may take `timeout` seconds.
    """

    echo: int | None = None
    coverage: float = 0.0
    side_check: str = "warn"
    timeout: float | None = None
    by_hand: tuple[str, ...] = ()


def convert_series(row: Row, out: VolumeWriter, settings: ConvertSettings) -> Done:
    """Convert the series of a row (see `dicom.convert`) to `KNEE_SEQUENCE.nii.gz`."""
    source, target = Path(row["path"]), out.target(row)
    stated = row.get("series", MISSING)
    series = None if stated == MISSING else stated
    parameters = {"echo": settings.echo, "series": series, "coverage": settings.coverage}
    seen = Snapshot.of(source)
    # The folder's name may be an accession number; its digest is enough to know it again.
    wanted = provenance.step("oa-convert", parameters, source, name="series")
    cells = {"path": str(target)}
    if out.is_done(target, wanted):
        doubts = _doubts(row, source, series, read_geometry(target), settings.side_check)
        return Done(cells, kept=True, warnings=doubts)
    volume, fields, messages = convert(
        source, settings.echo, series, settings.coverage, settings.timeout
    )
    doubts = _doubts(row, source, series, volume, settings.side_check)
    if is_phantom(source, series):
        fields[provenance.PHANTOM_FIELD] = True
    identity = {column.capitalize(): cell for column, cell in stated_identity(row).items()}
    seen.require()
    repairs = out.repairs(target, wanted)
    results = {"by_hand": list(settings.by_hand)} if settings.by_hand else {}
    done = replace(wanted, results=results)
    out.write(target, volume, provenance.with_step({**identity, **fields}, done))
    warnings = tuple(message for message in messages if message.startswith(WARNING))
    remarks = tuple(m.removeprefix(REMARK) for m in messages if m.startswith(REMARK))
    details = tuple(m for m in messages if not m.startswith((WARNING, REMARK)))
    warnings = (*doubts, *warnings, *repairs)
    return Done(cells, warnings=warnings, details=details, remarks=remarks)


def _doubts(row: Row, source: Path, series: str | None, grid: Grid, check: str) -> tuple[str, ...]:
    """Compare a row's side with where its volume lies, and return what to warn of.

    A contradiction is an `ItemError` if `check` is `fail`. A side that nobody states is not made up
    from the place.
    """
    side = row.get("side", MISSING)
    shown = None if both_knees(grid) else side_of(grid)
    if check == "trust":
        return ()
    lies = f"its centre {lies_text(float(centre(grid)[0]))}"
    if side == MISSING:
        described = row.get("description", MISSING)
        said = "its description names both sides" if names_both(described) else "no side is stated"
        if shown is None:
            return (said,) if names_both(described) else ()
        return (f"{said}; {lies}, which suggests the {shown} knee: say so with `side`",)
    if shown is None or shown == side:
        return ()
    reason = f"it counts as a {side} knee: {stated_side(source, series).text()}, {lies}"
    if check == "fail":
        raise ItemError(reason, "say which with `side`, or let `side_check` be warn or trust")
    return (f"warning: {reason}; check which it is, and say so with `side`",)
