"""The mean map of many knees, because one picture is an anecdote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from oatools.core.files import write_bytes
from oatools.core.manifest import MISSING
from oatools.core.words import counted
from oatools.explain.montage import MeanPicture, draw_means
from oatools.imaging import orient
from oatools.imaging.recorded import write_recorded
from oatools.imaging.volume import Volume, read_volume

#: What pictures call each label.
_LABELS = {"1": "label 1", "0": "label 0", MISSING: "no label"}
_METHOD = (
    "Knees are laid upon each other by the centre of their scan, right ones mirrored; "
    "nothing is registered."
)


@dataclass(frozen=True)
class FinishedMap:
    """A heat map that has been written: its file, that of its volume, and what is known of them.

    `sequence`, `side` and `label` (`0` or `1`) are n/a where they are not known.
    """

    volume: Path
    heat: Path
    sequence: str = MISSING
    side: str = MISSING
    label: str = MISSING


def mean_maps(
    finished: Sequence[FinishedMap], folder: Path, scale: str, notes: Sequence[str] = ()
) -> list[Path]:
    """Write the mean maps of finished knees, by sequence and label, and return the pictures.

    The common grid is that of the first volume in canonical axes, and every knee lies on it by its
    centre: nothing is registered, so a mean shows where in the field of view, not in which tissue.
    `folder` gets `SEQUENCE_label-1.nii.gz`, `_label-0`, their `_difference`, `_anatomy` (the mean
    volume, each scaled to its 99th percentile) and `SEQUENCE.png`. `scale` names the unit of the
    heat, and `notes` go below the title.
    """
    sums: dict[str, _Sum] = {}
    for each in finished:
        volume, heat, plane = _canonical(each)
        if each.sequence not in sums:
            sums[each.sequence] = _Sum(volume.shape, volume.spacing, plane)
        sums[each.sequence].add(volume, heat, each.label)
    return [_write(folder, name, total, scale, notes) for name, total in sums.items()]


def onto(
    data: np.ndarray, spacing: np.ndarray, shape: Sequence[int], to_spacing: np.ndarray
) -> np.ndarray:
    """Put data (i, j, k) on a grid of another shape and spacing with the same centre.

    Interpolation is linear; beyond the edges of the data the result is 0.
    """
    scale = np.asarray(to_spacing) / np.asarray(spacing)
    offset = (np.array(data.shape) - 1) / 2 - scale * (np.array(shape) - 1) / 2
    values = np.asarray(data, dtype=np.float64)
    placed: np.ndarray = affine_transform(values, scale, offset, tuple(shape), order=1)
    return placed


@dataclass
class _Sum:
    """Running sums on a common grid, by label: of maps, and of volumes for all labels."""

    shape: tuple[int, ...]
    spacing: np.ndarray
    plane: str
    heat: dict[str, np.ndarray] = field(default_factory=dict)
    knees: dict[str, int] = field(default_factory=dict)
    anatomy: np.ndarray = field(default_factory=lambda: np.zeros(()))

    @property
    def count(self) -> int:
        """The number of knees."""
        return sum(self.knees.values())

    def add(self, volume: Volume, heat: Volume, label: str) -> None:
        """Add a knee in canonical axes."""
        placed = onto(heat.data, heat.spacing, self.shape, self.spacing)
        self.heat[label] = self.heat.get(label, 0.0) + placed
        self.knees[label] = self.knees.get(label, 0) + 1
        scale = float(np.percentile(volume.data, 99)) or 1.0
        scaled = volume.data / scale
        self.anatomy = self.anatomy + onto(scaled, volume.spacing, self.shape, self.spacing)

    def affine(self) -> np.ndarray:
        """Return an affine (4, 4) that puts the centre of the grid at the origin."""
        affine = np.zeros((4, 4))
        for axis, world in enumerate(orient.ORDER[self.plane]):
            affine[world, axis] = self.spacing[axis]
            affine[world, 3] = -self.spacing[axis] * (self.shape[axis] - 1) / 2
        affine[3, 3] = 1
        return affine

    def means(self) -> dict[str, np.ndarray]:
        """Return the mean map of each label that there are knees of, in the order of `_LABELS`."""
        present = [label for label in _LABELS if label in self.heat]
        return {label: self.heat[label] / self.knees[label] for label in present}


def _canonical(finished: FinishedMap) -> tuple[Volume, Volume, str]:
    """Read a volume and its map, bring both to canonical axes, and name the plane."""
    volume, heat = read_volume(finished.volume), read_volume(finished.heat)
    plane = orient.plane_of(volume, finished.sequence)
    side = finished.side
    if side not in ("left", "right"):
        side = orient.side_of(volume) or "left"
    volume = orient.apply(volume, orient.canonical(volume, plane, side))
    heat = orient.apply(heat, orient.canonical(heat, plane, side))
    return volume, heat, plane


def _write(folder: Path, sequence: str, total: _Sum, scale: str, notes: Sequence[str]) -> Path:
    """Write the mean maps of one sequence, and return the path of their picture."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "all" if sequence == MISSING else sequence
    means = total.means()
    anatomy = Volume(total.anatomy / total.count, total.affine())
    for what, data in _volumes(means, anatomy).items():
        path = folder / f"{name}_{what}.nii.gz"
        description = f"mean over {total.count} knees: {what}"
        fields = {"Description": description, "Knees": total.knees}
        write_recorded(path, Volume(data.astype(np.float32), anatomy.affine), fields)
    titles = {}
    for label in means:
        titles[label] = f"{_LABELS[label]} ({counted(total.knees[label], 'knee')})"
    picture = MeanPicture(
        anatomy=anatomy,
        means={titles[label]: mean for label, mean in means.items()},
        title=f"Mean heat, {total.count} knees, {name}",
        notes=[_METHOD, *notes],
        plane=total.plane,
        scale=scale,
    )
    path = folder / f"{name}.png"
    write_bytes(path, draw_means(picture))
    return path


def _volumes(means: Mapping[str, np.ndarray], anatomy: Volume) -> dict[str, np.ndarray]:
    """Return the volumes to write, by the end of their file's name."""
    volumes = {}
    for label, mean in means.items():
        volumes["unlabelled" if label == MISSING else f"label-{label}"] = mean
    if "0" in means and "1" in means:
        volumes["difference"] = means["1"] - means["0"]
    volumes["anatomy"] = anatomy.data
    return volumes
