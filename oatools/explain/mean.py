"""The mean map of many knees, because one picture is an anecdote."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from oatools.core import provenance
from oatools.core.manifest import MISSING, Row
from oatools.explain.montage import draw_means
from oatools.imaging import orient
from oatools.imaging.volume import Volume, read_volume, write_volume


@dataclass
class _Sum:
    """Running sums on a common grid, by label: of maps, and of volumes for all labels."""

    shape: tuple[int, ...]
    spacing: np.ndarray
    plane: str
    heat: dict[str, np.ndarray]
    knees: dict[str, int]
    anatomy: np.ndarray


def mean_maps(
    done: Sequence[tuple[Row, Path, Path, str]], folder: Path, label: str, notes: Sequence[str] = ()
) -> list[Path]:
    """Write the mean maps of finished knees, by sequence and label, and return the pictures.

    `done` has the row, the volume, its heat map and the knee's label (`0`, `1` or n/a). The common
    grid is that of the first volume in canonical axes, and every knee lies on it by its centre:
    nothing is registered, so a mean shows where in the field of view, not in which tissue. `folder`
    gets `SEQUENCE_label-1.nii.gz`, `_label-0`, their `_difference`, `_anatomy` (the mean volume,
    each scaled to its 99th percentile) and `SEQUENCE.png`; `label` names the unit of the scale, and
    `notes` go below the title.
    """
    sums: dict[str, _Sum] = {}
    for row, source, target, of in done:
        sequence = row.get("sequence", MISSING)
        volume, heat = read_volume(source), read_volume(target)
        plane = orient.plane_of(volume, sequence)
        side = row.get("side", MISSING)
        side = side if side in ("left", "right") else orient.side_of(volume) or "left"
        volume, heat = (orient.apply(v, orient.canonical(v, plane, side)) for v in (volume, heat))
        total = sums.get(sequence)
        if total is None:
            total = sums[sequence] = _Sum(
                volume.shape, volume.spacing, plane, {}, {}, np.zeros(volume.shape)
            )
        placed = onto(heat.data, heat.spacing, total.shape, total.spacing)
        total.heat[of] = total.heat.get(of, np.zeros(total.shape)) + placed
        total.knees[of] = total.knees.get(of, 0) + 1
        scale = float(np.percentile(volume.data, 99)) or 1.0
        total.anatomy += onto(volume.data / scale, volume.spacing, total.shape, total.spacing)
    return [_write(folder, name, total, label, notes) for name, total in sums.items()]


def onto(
    data: np.ndarray, spacing: np.ndarray, shape: Sequence[int], to_spacing: np.ndarray
) -> np.ndarray:
    """Data (i, j, k) on a grid of another shape and spacing with the same centre, linear; 0 beyond its edges."""
    scale = np.asarray(to_spacing) / np.asarray(spacing)
    offset = (np.array(data.shape) - 1) / 2 - scale * (np.array(shape) - 1) / 2
    return affine_transform(
        np.asarray(data, dtype=np.float64), scale, offset, tuple(shape), order=1
    )


def _write(folder: Path, sequence: str, total: _Sum, label: str, notes: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name = "all" if sequence == MISSING else sequence
    affine = np.zeros((4, 4))
    for axis, world in enumerate(orient.ORDER[total.plane]):
        affine[world, axis] = total.spacing[axis]
        affine[world, 3] = -total.spacing[axis] * (total.shape[axis] - 1) / 2
    affine[3, 3] = 1
    names = {"1": "label 1", "0": "label 0", MISSING: "no label"}
    means = {of: total.heat[of] / total.knees[of] for of in names if of in total.heat}
    count = sum(total.knees.values())
    volumes = {f"label-{of}" if of != MISSING else "unlabelled": mean for of, mean in means.items()}
    if {"0", "1"} <= means.keys():
        volumes["difference"] = means["1"] - means["0"]
    volumes["anatomy"] = total.anatomy / count
    for what, data in volumes.items():
        path = folder / f"{name}_{what}.nii.gz"
        said = {"Description": f"mean over {count} knees: {what}", "Knees": total.knees}
        provenance.write_sidecar(path, said)
        write_volume(path, Volume(data.astype(np.float32), affine))
    picture = folder / f"{name}.png"
    how = "Knees are laid upon each other by the centre of their scan, right ones mirrored; nothing is registered."
    draw_means(
        picture,
        Volume(volumes["anatomy"], affine),
        {f"{names[of]} ({total.knees[of]} knees)": mean for of, mean in means.items()},
        f"Mean heat, {count} knees, {name}",
        [how, *notes],
        total.plane,
        label,
    )
    return picture
