"""The preprocessing steps on files: read a row's input, do the work, write volume and sidecar, return the new cells."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import COMPRESSION
from oatools.core.manifest import MISSING, Row, file_stem
from oatools.core.runner import Done
from oatools.imaging.volume import Volume, read_geometry, read_volume, write_volume

if TYPE_CHECKING:
    import numpy as np

    from oatools.imaging.bias import N4Settings


@dataclass(frozen=True)
class Output:
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

    def kept(self, target: Path, step: provenance.Step) -> bool:
        """Whether the work that a step describes is done."""
        return not self.force and provenance.may_keep(
            target, provenance.last_step(provenance.read_sidecar(target)), step
        )

    def write(self, target: Path, volume: Volume, fields: dict[str, Any]) -> None:
        """Write a volume and its sidecar, and remove the volume in the other form, which the sidecar no longer fits."""
        # The sidecar first: once the volume has its name, the work is done.
        provenance.write_sidecar(target, fields)
        other = target.with_suffix("") if target.suffix == ".gz" else target.with_name(f"{target.name}.gz")
        other.unlink(missing_ok=True)
        write_volume(target, volume, self.compression)


def convert_series(row: Row, out: Output, echo: int | None, coverage: float) -> Done:
    """Convert the series of a row (see `imaging.convert`) to `KNEE_SEQUENCE.nii.gz`."""
    from oatools.imaging.convert import convert
    from oatools.imaging.series import is_phantom

    source, target = Path(row["path"]), out.target(row)
    series = None if row.get("series", MISSING) == MISSING else row["series"]
    wanted = provenance.step("oa-convert", {"echo": echo, "series": series, "coverage": coverage}, source)
    # The folder's name may be an accession number, and its bytes are recognised by their digest alone.
    wanted["input"]["name"] = "series"
    if out.kept(target, wanted):
        return Done({"path": str(target)}, kept=True)
    volume, fields, messages = convert(source, echo, series, coverage)
    if is_phantom(source, series):
        fields["Phantom"] = True
    identity = {k.capitalize(): row[k] for k in ("knee", "subject", "visit", "side", "sequence") if row[k] != MISSING}
    out.write(target, volume, {**identity, **fields, provenance.STEPS: [wanted]})
    return Done({"path": str(target)}, details=tuple(messages))


def orient_volume(row: Row, out: Output, reference: str, side: str | None, check: bool) -> Done:
    """Bring a row's volume to canonical axes (see `imaging.orient`)."""
    from oatools.imaging import orient

    source, target = Path(row["path"]), out.target(row)
    _refuse_same(source, target)
    grid = read_geometry(source)
    given = side or row.get("side", MISSING)
    if given == "geometry":
        given = orient.side_of(grid) or MISSING
    if given not in ("left", "right"):
        raise ItemError(f"the side is '{given}'; set the column 'side' to left or right, or use --side")
    if check:
        orient.check_side(grid, given)
    plane = orient.plane_of(grid, row.get("sequence", MISSING))
    found = orient.canonical(grid, plane, given, reference)
    parameters = {"reference": reference, "side": given, "plane": plane, "axes": found.axes, "flips": found.flips,
                  "input_affine": grid.affine.tolist()}  # fmt: skip
    wanted = provenance.step("oa-orient", parameters, source)
    cells = {"side": given, "path": str(target)}
    if out.kept(target, wanted):
        return Done(cells, kept=True)
    out.write(target, orient.apply(read_volume(source), found), _extend(source, wanted))
    return Done(cells)


@dataclass(frozen=True)
class Extra:
    """A further volume that a step writes: a file, or one in a folder under the main output's name."""

    path: Path

    @property
    def is_file(self) -> bool:
        """Whether the path names a volume, and not a folder."""
        return self.path.name.endswith((".nii", ".nii.gz"))

    def target(self, main: Path) -> Path:
        """Where it goes beside a main output."""
        return self.path if self.is_file else self.path / main.name


def correct_volume(
    row: Row, out: Output, settings: "N4Settings", dtype: str, field: Extra | None, mask: Extra | None
) -> Done:
    """Correct the bias field of a row's volume (see `imaging.bias`).

    `dtype` is `float32`, or `same` for the input's own type, rounded and clipped where that is an integer. `field`
    gets the natural logarithm of the field, `mask` the samples that it was fitted to.
    """
    from oatools.imaging.bias import correct

    source, target = Path(row["path"]), out.target(row)
    _refuse_same(source, target)
    wanted = provenance.step("oa-n4", asdict(settings) | {"dtype": dtype}, source)
    extras = [extra.target(target) for extra in (field, mask) if extra is not None]
    if out.kept(target, wanted) and all(path.exists() for path in extras):
        return Done({"path": str(target)}, kept=True)
    volume = read_volume(source)
    found = correct(volume, settings)
    fields = _extend(
        source,
        wanted
        | {"shrink": list(found.shrink), "floor": round(found.floor, 3), "levels": [asdict(v) for v in found.levels]},
    )
    for extra, voxels, what in (
        (field, found.log_field, "natural logarithm of the bias field"),
        (mask, found.mask.astype("uint8") if mask else None, "samples that the bias field was fitted to"),
    ):
        if extra is not None:
            path = extra.target(target)
            replace(out, compression=_compression_of(path)).write(
                path, Volume(voxels, volume.affine), {**fields, "Description": what}
            )
    data = found.corrected.data if dtype == "float32" else _as_type(found.corrected.data, volume.data.dtype)
    out.write(target, Volume(data, volume.affine), fields)
    return Done({"path": str(target)})


def _compression_of(path: Path) -> int:
    return COMPRESSION if path.name.endswith(".gz") else 0


def _as_type(data: "np.ndarray", dtype: "np.dtype") -> "np.ndarray":
    import numpy as np

    if dtype.kind == "f":
        return data.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(data), limits.min, limits.max).astype(dtype)


def _extend(source: Path, step: provenance.Step) -> dict[str, Any]:
    """The sidecar of the input with one more step."""
    fields = provenance.read_sidecar(source)
    return {**fields, provenance.STEPS: [*fields.get(provenance.STEPS, []), step]}


def _refuse_same(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        raise ItemError(f"{target} is the input itself; choose another folder with -o")
