"""The work of oa-orient on one row, and how the preprocessing commands write volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oatools.core import provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import COMPRESSION, is_same_file
from oatools.core.manifest import MISSING, Row, file_stem, without_extension
from oatools.core.outfolder import VOLUME, names_file
from oatools.core.replacing import Replace
from oatools.core.runner import Done
from oatools.imaging import kept
from oatools.imaging.recorded import other_form, write_recorded
from oatools.imaging.volume import (
    Geometry,
    Volume,
    read_geometry,
    read_volume,
)

if TYPE_CHECKING:
    from oatools.imaging.orient import SideSource


@dataclass(frozen=True)
class VolumeWriter:
    """The folder that a command writes its volumes to, and how it writes them.

    `compression` 0 writes `.nii`, 1 to 3 write `.nii.gz`; `replacing` says what may go that
    is there. `file` is the name of the one volume to write, for whatever row.
    """

    folder: Path
    compression: int = COMPRESSION
    replacing: Replace = Replace.NOTHING
    file: str | None = None

    @classmethod
    def at(cls, out: Path, compression: int, replacing: Replace) -> "VolumeWriter":
        """Write to the folder `out`, or to the one volume that it names, compressed as that says.

        Raises a `UsageError` where the name and the `compression` contradict each other.
        """
        if not names_file(out, VOLUME):
            return cls(out, compression, replacing)
        if out.name.endswith(".gz") and compression == 0:
            raise UsageError(f"{out} is to be compressed, by its name", "leave out `compression` 0")
        packed = compression if out.name.endswith(".gz") else 0
        return cls(out.parent, packed, replacing, out.name)

    def claim(self, row: Row) -> str:
        """Return the path of a row's volume without its extension, which no two rows may share."""
        if self.file is not None:
            return without_extension(str(self.folder / self.file))
        return str(self.folder / file_stem(row))

    def target(self, row: Row) -> Path:
        """Return the path of the volume that is made from a row.

        Raises an `ItemError` if the volume is there in the other form, compressed or not: both
        would share one sidecar.
        """
        if self.file is not None:
            target = self.folder / self.file
        else:
            target = Path(self.claim(row) + (".nii.gz" if self.compression else ".nii"))
        refuse_other_form(target, self.replacing)
        return target

    def is_done(self, target: Path, step: provenance.Step) -> bool:
        """Tell whether a target is the whole result of a step; an `ItemError` if it is of another.

        One that was damaged since it was made is not done, see `repairs`.
        """
        return kept.is_done(target, step, self.replacing)

    def repairs(self, target: Path, step: provenance.Step) -> tuple[str, ...]:
        """Return a warning that a target is made again as it was damaged; none for any other."""
        return kept.repairs(target, step, self.replacing)

    def write(self, target: Path, volume: Volume, fields: dict[str, Any]) -> None:
        """Write a volume and its sidecar, in place of an older one in either form."""
        write_recorded(target, volume, fields, self.compression, replacing=self.replacing)


@dataclass(frozen=True)
class OrientSettings:
    """The options of oa-orient.

    `side` is `left`, `right`, `geometry` for what the place in the scanner shows, or None for the
    column `side` of each row, which is of a table or, `from_paths`, of what the files are called.
    `side_check` is what is done with a side that this place contradicts: `fail`, `warn`, or
    `trust`, with which the two are not compared.
    """

    reference: str = "left"
    side: str | None = None
    side_check: str = "fail"
    from_paths: bool = False


def orient_volume(row: Row, out: VolumeWriter, settings: OrientSettings) -> Done:
    """Bring a row's volume to canonical axes (see `imaging.orient`)."""
    from oatools.imaging import orient

    source, target = Path(row["path"]), out.target(row)
    refuse_same([source], [target])
    seen = provenance.seen(source)
    grid = read_geometry(source)
    side, side_from = _side(row, grid, settings)
    doubts = orient.side_warnings(grid, side, settings.side_check, side_from)
    warnings = tuple(f"warning: {doubt}" for doubt in doubts)
    orient.check_plane(grid, row.get("sequence", MISSING))
    plane = orient.plane_of(grid, row.get("sequence", MISSING))
    found = orient.canonical(grid, plane, side, settings.reference)
    parameters = {
        "reference": settings.reference,
        "side": side,
        "plane": plane,
        "axes": found.axes,
        "flips": found.flips,
        "input_affine": grid.affine.tolist(),
    }
    wanted = provenance.step("oa-orient", parameters, source)
    cells = {"side": side, "path": str(target)}
    if out.is_done(target, wanted):
        return Done(cells, kept=True, warnings=warnings)
    oriented = orient.apply(read_volume(source), found)
    # Whether the row came in a table or as a path makes no other file.
    recorded = side_from if side_from in ("option", "geometry") else "stated"
    described = sidecar_with(source, replace(wanted, results={"side_from": recorded}))
    # The side by which it was mirrored, or not, is its side from here on.
    described.fields["Side"] = side
    seen.require()
    repairs = out.repairs(target, wanted)
    out.write(target, oriented, described.fields)
    return Done(cells, warnings=warnings + described.warnings + repairs)


def sidecar_with(source: Path, step: provenance.Step) -> provenance.Sidecar:
    """Return what may be passed on of the input's sidecar, with one more step."""
    before = provenance.load_sidecar(source)
    return before._replace(fields=provenance.with_step(before.fields, step))


def refuse_same(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    """Raise an `ItemError` where a volume to be written is an input, or another one of them.

    Volumes that would share a sidecar are the same here.
    """
    for index, target in enumerate(targets):
        if any(_share_files(source, target) for source in sources):
            raise ItemError(f"{target} is the input itself", "choose another folder or name")
        if any(_share_files(other, target) for other in targets[:index]):
            raise ItemError(f"{target} would be written twice", "choose different names")


def refuse_other_form(target: Path, replacing: Replace = Replace.NOTHING) -> None:
    """Raise an `ItemError` if a volume is there in its other form, compressed or not.

    Both would share one sidecar.
    """
    other = other_form(target)
    if other.exists() and replacing is not Replace.ANYTHING:
        raise ItemError(f"{other} is there in the other form", "use `force` or another `out_dir`")


def _share_files(one: Path, other: Path) -> bool:
    return is_same_file(one, other) or is_same_file(
        provenance.sidecar(one), provenance.sidecar(other)
    )


def _side(row: Row, grid: Geometry, settings: OrientSettings) -> tuple[str, "SideSource"]:
    """Return `left` or `right`, from the setting, the column `side` or the geometry, and which."""
    from oatools.imaging.orient import side_of

    source: SideSource = "file" if settings.from_paths else "table"
    side = row.get("side", MISSING)
    if settings.side is not None:
        side, source = settings.side, "option"
    if side == "geometry":
        side, source = side_of(grid) or MISSING, "geometry"
    if side not in ("left", "right"):
        raise ItemError(
            f"the side is '{side}'",
            "set the column 'side' to left or right, or use `side` left, right or geometry",
        )
    return side, source
