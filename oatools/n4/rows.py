"""The work of oa-n4 on one row: a volume becomes a corrected one.

The field and the mask are written beside it if they are asked for.
"""

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from oatools.core import provenance
from oatools.core.files import COMPRESSION, digest, first_repeated
from oatools.core.manifest import Row, without_extension
from oatools.core.runner import Done
from oatools.imaging.rows import VolumeWriter, refuse_other_form, refuse_same, sidecar_with
from oatools.imaging.volume import Volume, Voxels, read_volume
from oatools.n4 import report
from oatools.n4.correct import Correction, N4Settings, correct_bias
from oatools.n4.measures import Measures


@dataclass(frozen=True)
class SideOutput:
    """A further volume that a step writes: a file, or a folder for one of the output's name."""

    path: Path

    @property
    def is_file(self) -> bool:
        """True if the path names a volume, and not a folder."""
        return self.path.name.endswith((".nii", ".nii.gz"))

    def target(self, main: Path) -> Path:
        """Return the path of the volume beside a main output."""
        return self.path if self.is_file else self.path / main.name


@dataclass(frozen=True)
class Outputs:
    """The volumes that oa-n4 writes for a row.

    `dtype` is `float32`, or `same` for the input's own type, rounded and clipped where that is an
    integer. `field` gets the natural logarithm of the field, `mask_out` the samples that it was
    fitted to.
    """

    volumes: VolumeWriter
    dtype: Literal["float32", "same"] = "float32"
    field: SideOutput | None = None
    mask_out: SideOutput | None = None

    @property
    def names_one_file(self) -> bool:
        """True if a further volume goes to a file, which can take that of one row alone."""
        return any(output.is_file for output in self._beside)

    @property
    def shared_folder(self) -> Path | None:
        """The folder that two kinds of volumes would go to under the same names, None if none."""
        folders = [output.path for output in self._beside if not output.is_file]
        return first_repeated([self.volumes.folder, *folders])

    def claims(self, row: Row) -> list[str]:
        """Return the paths of all volumes of a row, without their extensions, the main one first.

        No two rows may share one.
        """
        main = self.volumes.claim(row)
        beside = self.side_targets(Path(f"{main}.nii"))
        return [main, *(without_extension(str(path)) for path in beside)]

    def side_targets(self, main: Path) -> list[Path]:
        """Return the paths of the further volumes beside a main output."""
        return [output.target(main) for output in self._beside]

    @property
    def _beside(self) -> list[SideOutput]:
        return [output for output in (self.field, self.mask_out) if output is not None]


def correct_volume(row: Row, out: Outputs, settings: N4Settings) -> Done:
    """Correct the bias field of a row's volume (see `n4.correct`)."""
    source, target = Path(row["path"]), out.volumes.target(row)
    beside = out.side_targets(target)
    others = [] if settings.mask_file is None else [settings.mask_file]
    refuse_same([source, *others], [target, *beside])
    for path in beside:
        refuse_other_form(path, out.volumes.replacing)
    parameters = {**asdict(settings), "dtype": out.dtype}
    if settings.mask_file is not None:  # by what it holds: where it lies is nobody's business
        parameters["mask"] = digest(settings.mask_file)
    seen = provenance.seen(source)
    wanted = provenance.step("oa-n4", parameters, source)
    cells = {"path": str(target)}
    if all([out.volumes.is_done(path, wanted) for path in (target, *beside)]):
        recorded = provenance.Provenance.from_fields(provenance.read_sidecar(target)).last
        return Done(cells | report.cells_of(recorded.results if recorded else {}), kept=True)
    volume = read_volume(source)
    found = correct_bias(volume, settings)
    results = _results(found)
    described = sidecar_with(source, replace(wanted, results=results))
    seen.require()
    repairs = [line for path in (target, *beside) for line in out.volumes.repairs(path, wanted)]
    fields = described.fields
    if out.field is not None:
        named = {**fields, "Description": "natural logarithm of the bias field"}
        log_field = Volume(found.log_field, volume.affine)
        _write_beside(out.field.target(target), log_field, named, out.volumes)
    if out.mask_out is not None:
        named = {**fields, "Description": "samples that the bias field was fitted to"}
        mask = Volume(found.mask.astype(np.uint8), volume.affine)
        _write_beside(out.mask_out.target(target), mask, named, out.volumes)
    data = found.corrected.data
    if out.dtype == "same":
        data = _as_type(data, volume.data.dtype)
    out.volumes.write(target, Volume(data, volume.affine), fields)
    return Done(
        cells | report.cells_of(results),
        warnings=(*described.warnings, *repairs, *_doubts(found.measures)),
    )


def _results(found: Correction) -> dict[str, Any]:
    """The findings that the sidecar records, as JSON values."""
    return {
        "shrink": list(found.shrink),
        "floor": _rounded(found.floor),
        "levels": [asdict(level) for level in found.levels],
        **report.results_of(found.measures),
    }


def _doubts(measures: Measures) -> tuple[str, ...]:
    """Return a warning where tissues vary more than before; none otherwise."""
    if measures.variation is None or not measures.is_worse:
        return ()
    before, after = measures.variation
    return (
        f"warning: tissues vary more after the correction than before ({after:.3f}, before "
        f"{before:.3f}): look at it, and try another `mask` or `start`",
    )


def _rounded(intensity: float) -> float:
    """Return an intensity to three decimals, or to two digits where it has only small ones."""
    if intensity == 0:
        return 0.0
    return round(intensity, max(3, 1 - math.floor(math.log10(abs(intensity)))))


def _write_beside(
    path: Path, volume: Volume, fields: dict[str, Any], volumes: VolumeWriter
) -> None:
    """Write a further volume, compressed if its own name says so."""
    compression = COMPRESSION if path.name.endswith(".gz") else 0
    replace(volumes, compression=compression).write(path, volume, fields)


def _as_type(data: Voxels, dtype: npt.DTypeLike) -> Voxels:
    """Return voxels in another type; for integers rounded, and clipped to their range."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return data.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(data), limits.min, limits.max).astype(dtype)
