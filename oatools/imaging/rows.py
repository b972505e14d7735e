"""The preprocessing steps on files: read a row's input, do the work, write volume and sidecar, return the new cells."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.imaging.volume import Volume, read_geometry, read_volume, write_volume

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class VolumeWriter:
    """Where volumes go and how: `compression` 0 writes `.nii`, 1 to 3 `.nii.gz`; `force` replaces what is there."""

    folder: Path
    compression: int = COMPRESSION
    force: bool = False

    def target(self, row: Row) -> Path:
        """The volume made from a row; an `ItemError` where it is there in the other form, with the same sidecar."""
        stem = self.folder / file_stem(row)
        plain, packed = stem.with_name(f"{stem.name}.nii"), stem.with_name(f"{stem.name}.nii.gz")
        target, other = (packed, plain) if self.compression else (plain, packed)
        if other.exists() and not self.force:
            raise ItemError(f"{other} is there in the other form; use --force or another -o")
        return target

    def is_done(self, target: Path, step: provenance.Step) -> bool:
        """Whether the work that a step describes is done."""
        return provenance.step_is_done(
            target, step, lambda: provenance.read_provenance(target).last, self.force
        )

    def write(self, target: Path, volume: Volume, fields: dict[str, Any]) -> None:
        """Write a volume and its sidecar, and remove the volume in the other form, which the sidecar no longer fits."""
        # The sidecar first: once the volume has its name, the work is done.
        provenance.write_sidecar(target, fields)
        other = (
            target.with_suffix("")
            if target.suffix == ".gz"
            else target.with_name(f"{target.name}.gz")
        )
        other.unlink(missing_ok=True)
        write_volume(target, volume, self.compression)


def orient_volume(
    row: Row, out: VolumeWriter, reference: str, side: str | None, check: bool
) -> Done:
    """Bring a row's volume to canonical axes (see `imaging.orient`)."""
    from oatools.imaging import orient

    source, target = Path(row["path"]), out.target(row)
    refuse_same(source, target)
    grid = read_geometry(source)
    given = side or row.get("side", MISSING)
    if given == "geometry":
        given = orient.side_of(grid) or MISSING
    if given not in ("left", "right"):
        raise ItemError(
            f"the side is '{given}'; set the column 'side' to left or right, or use --side"
        )
    if check:
        orient.check_side(grid, given)
    plane = orient.plane_of(grid, row.get("sequence", MISSING))
    found = orient.canonical(grid, plane, given, reference)
    parameters = {
        "reference": reference,
        "side": given,
        "plane": plane,
        "axes": found.axes,
        "flips": found.flips,
        "input_affine": grid.affine.tolist(),
    }
    wanted = provenance.step("oa-orient", parameters, source)
    cells = {"side": given, "path": str(target)}
    if out.is_done(target, wanted):
        return Done(cells, kept=True)
    out.write(target, orient.apply(read_volume(source), found), sidecar_with(source, wanted))
    return Done(cells)


def sidecar_with(source: Path, step: provenance.Step) -> dict[str, Any]:
    """The fields of the input's sidecar with one more step."""
    return provenance.with_step(provenance.read_sidecar(source), step)


def refuse_same(source: Path, target: Path) -> None:
    """Raise an `ItemError` where the output would be the input."""
    if source.resolve() == target.resolve():
        raise ItemError(f"{target} is the input itself", "choose another folder with `out_dir`")
