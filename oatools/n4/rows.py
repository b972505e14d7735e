"""What oa-n4 does with one row: a volume becomes a corrected one.

The field and the mask are written beside it if they are asked for.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from oatools.core import provenance
from oatools.core.files import COMPRESSION
from oatools.core.manifest import Row
from oatools.core.runner import Done
from oatools.imaging.rows import VolumeWriter, refuse_same, sidecar_with
from oatools.imaging.volume import Volume, read_volume

if TYPE_CHECKING:
    import numpy as np

    from oatools.n4.correct import N4Settings


@dataclass(frozen=True)
class SideOutput:
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
    row: Row,
    out: VolumeWriter,
    settings: "N4Settings",
    dtype: str,
    field: SideOutput | None,
    mask: SideOutput | None,
) -> Done:
    """Correct the bias field of a row's volume (see `n4.correct`).

    `dtype` is `float32`, or `same` for the input's own type, rounded and clipped where that is an
    integer. `field` gets the natural logarithm of the field, `mask` the samples that it was fitted
    to.
    """
    from oatools.n4.correct import correct

    source, target = Path(row["path"]), out.target(row)
    refuse_same(source, target)
    wanted = provenance.step("oa-n4", asdict(settings) | {"dtype": dtype}, source)
    extras = [extra.target(target) for extra in (field, mask) if extra is not None]
    if out.is_done(target, wanted) and all(path.exists() for path in extras):
        return Done({"path": str(target)}, kept=True)
    volume = read_volume(source)
    found = correct(volume, settings)
    results = {
        "shrink": list(found.shrink),
        "floor": round(found.floor, 3),
        "levels": [asdict(level) for level in found.levels],
    }
    fields = sidecar_with(source, replace(wanted, results=results))

    def write_beside(output: SideOutput, voxels: "np.ndarray", description: str) -> None:
        path = output.target(target)
        writer = replace(out, compression=_compression_of(path))
        writer.write(path, Volume(voxels, volume.affine), {**fields, "Description": description})

    if field is not None:
        write_beside(field, found.log_field, "natural logarithm of the bias field")
    if mask is not None:
        samples = found.mask.astype("uint8")
        write_beside(mask, samples, "samples that the bias field was fitted to")
    data = found.corrected.data
    if dtype == "same":
        data = _as_type(data, volume.data.dtype)
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
