"""Bias correction of real knees, of which nobody knows the field: how even tissues become, and whether contrast is kept.

    python tests/bench/n4_real.py VOLUME... [--masks LABELS]... [--points FILE] [--ants PYTHON] [--way NAME]...
        [--write-masks DIR] [--pictures DIR] [--fields DIR]

Ways: `raw`; `ours`, oa-n4's default; `itk usual`, the script that SimpleITK's users write (Otsu's
threshold of 200 bins as mask, sitk.Shrink by 4 along each axis, N4BiasFieldCorrectionImageFilter
with its defaults, the field on the full grid); `ants`, antspyx's n4_bias_field_correction with its
defaults, by the interpreter given.

variation   coefficient of variation of the medians of blocks of 10 mm within a tissue, of those
            that are more than twice as bright as air. Medians of blocks know no noise and no texture: the field is left, and what the tissue does by itself.
joint       (sd + sd) / |difference of the means| of two tissues, over the same blocks, where the raw
            means differ by half and more.
contrast    ratio of two tissues, as the geometric mean over pairs of blocks no further apart than
            35 mm: a field that is smooth leaves it as it is in the raw volume, but one that follows
            the tissues brings it nearer to 1.

The masks are made once and are the same for all ways. Without --masks they come from the raw
volume's edges alone: tissue is cut where the logarithm changes by more than 5% a mm, which no coil's
field does inside a leg, and 2 mm further in; what hangs together is a region, and belongs to one
tissue however bright the field makes it. A region is named by the point (--points, a table with
columns volume, tissue, x, y, z in RAS mm, radius, part) that lies in it. Where there are no points, regions are
`bright` or `dark`, by the widest gap between their medians; those that are not the same in all ways
are dropped. Thin tissues have no regions: a point with a `radius` takes the voxels within so many mm,
`all`, or those above (`high`) or below (`low`) Otsu's threshold of that ball.

n4_real.tsv has points for the two knees of shared/data, as oa-orient leaves them:

    oa-convert knee01_right_GE_DESS -o nii --side right --name dess --subject knee01 --visit 00m > c.tsv
    oa-convert knee02_right_GE_MESE -o nii --side right --name mese --subject knee02 --visit 00m --echo 1 \
        | tail -n 1 >> c.tsv
    oa-orient -o oriented < c.tsv
"""

import argparse
import csv
import itertools
import os
import sys
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"))

import numpy as np
from n4_accuracy import by_ants, usual
from scipy import ndimage

from oatools.imaging.volume import Volume, read_volume, write_volume
from oatools.n4.correct import N4Settings, correct_bias
from oatools.n4.masks import air_level, box_mean, otsu, spread

WAYS = ("raw", "ours", "itk usual", "ants")
SLOW = ("itk usual", "ants")
BLOCK_MM, NEAR_MM, LEAST_MM3 = 10.0, 35.0, 40.0
SAMPLE_MM, STEEP, INSIDE_MM, LEAST_REGION_MM3 = 1.25, 0.05, 2.0, 1000.0
GAP = np.log(1.5)


def main() -> None:
    """Print a table of variation, joint variation and contrast for each volume."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volumes", nargs="+", type=Path)
    parser.add_argument("--masks", action="append", type=Path, help="one for each volume, labels")
    parser.add_argument("--points", type=Path, default=Path(__file__).with_name("n4_real.tsv"))
    parser.add_argument("--ants", metavar="PYTHON")
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--write-masks", type=Path, metavar="DIR")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument(
        "--fields", type=Path, metavar="DIR", help="keep the slow ways' fields, and take them here"
    )
    options = parser.parse_args()
    ways = options.way or [way for way in WAYS if way != "ants" or options.ants]
    if "raw" not in ways:
        ways = ["raw", *ways]
    with options.points.open() as lines:
        points = list(csv.DictReader(lines, delimiter="\t"))
    print("volume\tmeasure\tof\tblocks\t" + "\t".join(ways))
    for number, path in enumerate(options.volumes):
        volume = read_volume(path)
        fields = {way: field_of(way, path, volume, options) for way in ways}
        images = {way: volume.data / np.exp(field) for way, field in fields.items()}
        if options.masks:
            given = np.asarray(read_volume(options.masks[number]).data).astype(int)
            masks = {f"label {n}": given == n for n in np.unique(given[given > 0])}
        else:
            masks = own_masks(volume, images, [p for p in points if path.name == p["volume"]])
        report(path.name, masks, images, volume.spacing)
        name = path.name.split(".")[0]
        if options.write_masks:
            labels = np.zeros(volume.shape, np.uint8)
            for n, mask in enumerate(masks.values(), 1):
                labels[mask] = n
            options.write_masks.mkdir(parents=True, exist_ok=True)
            write_volume(options.write_masks / f"{name}.nii.gz", Volume(labels, volume.affine))
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            picture(options.pictures / f"{name}.png", volume, images, fields, masks)


def field_of(way: str, path: Path, volume: Volume, options: argparse.Namespace) -> np.ndarray:
    """Compute a way's field, or take one that was kept."""
    if options.fields is None or way not in SLOW:
        return log_field(way, volume, options.ants)
    kept = options.fields / f"{path.name.split('.')[0]}_{way.replace(' ', '-')}.npy"
    if not kept.exists():
        options.fields.mkdir(parents=True, exist_ok=True)
        np.save(kept, log_field(way, volume, options.ants))
    return np.load(kept)


def log_field(way: str, volume: Volume, ants: str | None) -> np.ndarray:
    """Compute the logarithm of the field that a way finds."""
    if way == "raw":
        return np.zeros(volume.shape, np.float32)
    if way == "itk usual":
        return usual(np.asarray(volume.data), volume.spacing)
    if way == "ants":
        return by_ants(np.asarray(volume.data), volume.spacing, ants)
    return correct_bias(volume, N4Settings()).log_field


def own_masks(
    volume: Volume, images: dict[str, np.ndarray], points: list[dict]
) -> dict[str, np.ndarray]:
    """Make masks of tissues from the edges of the raw volume (see the module)."""
    factors, regions = regions_of(np.asarray(volume.data), volume.spacing)
    full = np.stack(
        [spread(regions == n, factors, volume.shape) for n in range(1, regions.max() + 1)]
    )
    masks: dict[str, np.ndarray] = {}
    if not points:
        classes = [dark_or_bright(image, full) for image in images.values()]
        for mask, *names in zip(full, *classes, strict=True):
            if len(set(names)) == 1:
                masks[names[0]] = masks.get(names[0], False) | mask
        return masks
    to_index = np.linalg.inv(volume.affine)
    for point in points:
        place = [float(point[axis]) for axis in "xyz"]
        index = tuple(np.rint(to_index[:3, :3] @ place + to_index[:3, 3]).astype(int))
        if point["radius"]:
            mask = thin(volume, place, float(point["radius"]), point["part"])
        else:
            found = [mask for mask in full if mask[index]]
            if not found:
                sys.exit(f"no region at {point}")
            mask = found[0]
        masks[point["tissue"]] = masks.get(point["tissue"], False) | mask
    return masks


def regions_of(data: np.ndarray, spacing: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Label the regions without edges on a grid of boxes; returns the boxes' voxels, too."""
    factors = tuple(max(1, round(SAMPLE_MM / mm)) for mm in spacing)
    means, sides = box_mean(data, factors), spacing * factors
    air = air_level(means)
    cut = max(1.5 * air.end if air else 0, 0.05 * np.percentile(means[means > 0], 95))
    logs = np.log(np.maximum(means, cut / 2))
    fine = sides < 3  # thick slices show no steps of their own
    sigmas = np.where(fine, 1.2 / sides, 0)
    squares = np.zeros(means.shape)
    for axis in np.flatnonzero(fine):
        orders = [int(axis == n) for n in range(3)]
        squares += (ndimage.gaussian_filter(logs, sigmas, orders) / sides[axis]) ** 2
    flat = (np.sqrt(squares) < STEEP) & (means > cut)
    depth = ndimage.distance_transform_edt(flat, sampling=np.where(fine, sides, 1e3))
    return factors, _labelled(depth > INSIDE_MM, depth > 2 * INSIDE_MM, logs, sides)


def _labelled(
    inside: np.ndarray, deep: np.ndarray, logs: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """Label what hangs together deep inside, give the rest to the nearest; small ones are 0.

    From slice to slice of thick ones, only what is about as bright hangs together.
    """
    pieces, count = ndimage.label(deep, np.zeros((3, 3, 3)) + _cross(sides < 3))
    parent = np.arange(count + 1)

    def root(n: int) -> int:
        while parent[n] != n:
            n = parent[n]
        return n

    for axis in np.flatnonzero(sides >= 3):
        smooth = ndimage.gaussian_filter(logs, np.where(sides < 3, 2.5 / sides, 0))
        labels, values = (np.moveaxis(a, axis, 0) for a in (pieces, smooth))
        alike = np.abs(np.diff(values, axis=0)) < 0.06
        touch = alike & (labels[1:] > 0) & (labels[:-1] > 0)
        pairs, counts = np.unique(
            np.stack([labels[1:][touch], labels[:-1][touch]]), axis=1, return_counts=True
        )
        area = np.prod(sides[sides < 3])
        for (a, b), n in zip(pairs.T, counts, strict=True):
            if n * area > 60:  # mm2
                parent[root(a)] = root(b)
    merged = np.array([root(n) for n in range(count + 1)])[pieces]
    _, nearest = ndimage.distance_transform_edt(merged == 0, sides, return_indices=True)
    far = ndimage.distance_transform_edt(merged == 0, sides) > 2 * INSIDE_MM
    grown = np.where(inside & ~far, merged[tuple(nearest)], 0)
    sizes = np.bincount(grown.ravel()) * np.prod(sides)
    kept = [n for n in np.argsort(-sizes) if n and sizes[n] >= LEAST_REGION_MM3]
    numbers = np.zeros(len(sizes), int)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[grown]


def _cross(axes: np.ndarray) -> np.ndarray:
    """Make a structure that connects neighbours along some axes."""
    out = np.zeros((3, 3, 3))
    out[1, 1, 1] = 1
    for axis in np.flatnonzero(axes):
        for step in (0, 2):
            out[tuple(step if n == axis else 1 for n in range(3))] = 1
    return out


def thin(volume: Volume, centre: list[float], radius: float, part: str) -> np.ndarray:
    """Take the bright or the dark voxels of a ball about a point, mm."""
    index = np.stack(np.indices(volume.shape, sparse=False), axis=-1)
    places = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    ball = ((places - centre) ** 2).sum(axis=-1) <= radius**2
    if part == "all":
        return ball
    cut = otsu(volume.data[ball])
    return ball & ((volume.data > cut) if part == "high" else (volume.data <= cut))


def dark_or_bright(image: np.ndarray, regions: np.ndarray) -> list[str]:
    """Name regions by the widest gap between their medians; all are bright if there is none."""
    logs = np.array([np.log(np.median(image[mask])) for mask in regions])
    ordered = np.sort(logs)
    gaps = np.diff(ordered)
    if not gaps.size or gaps.max() < GAP:
        return ["bright"] * len(logs)
    cut = ordered[int(np.argmax(gaps))]
    return ["dark" if value <= cut else "bright" for value in logs]


def blocks_of(mask: np.ndarray, spacing: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Divide a mask into blocks: the flat indices of each, and their centres in mm."""
    where = np.argwhere(mask)
    numbers = np.floor(where * spacing / BLOCK_MM).astype(int)
    _, which = np.unique(numbers, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(which.ravel()))[:-1])
    groups = [g for g in groups if len(g) * np.prod(spacing) >= LEAST_MM3]
    centres = np.array([where[g].mean(axis=0) * spacing for g in groups]).reshape(-1, 3)
    return [np.ravel_multi_index(tuple(where[g].T), mask.shape) for g in groups], centres


def report(
    name: str, masks: dict[str, np.ndarray], images: dict[str, np.ndarray], spacing: np.ndarray
) -> None:
    """Print the measures of one volume, a column for each way."""
    blocks, centres, medians = {}, {}, {}
    for tissue, mask in masks.items():
        blocks[tissue], centres[tissue] = blocks_of(mask, spacing)
        for way, image in images.items():
            flat = image.reshape(-1)
            medians[tissue, way] = np.array([np.median(flat[b]) for b in blocks[tissue]])
    # What is hardly brighter than air is noise, whose evenness says nothing.
    air = air_level(box_mean(images["raw"], [max(1, round(3 / mm)) for mm in spacing]))
    least = 2 * air.level if air else 0
    large = [
        tissue
        for tissue in masks
        if len(blocks[tissue]) >= 20 and np.median(medians[tissue, "raw"]) > least
    ]
    for tissue in large:
        values = [_variation(medians[tissue, way]) for way in images]
        _line(name, "variation", tissue, len(blocks[tissue]), values)
    for one, two in itertools.combinations(large, 2):
        if abs(np.log(medians[one, "raw"].mean() / medians[two, "raw"].mean())) < GAP:
            continue
        values = []
        for way in images:
            a, b = medians[one, way], medians[two, way]
            values.append((a.std() + b.std()) / abs(a.mean() - b.mean()))
        _line(name, "joint", f"{one}, {two}", len(blocks[one]) + len(blocks[two]), values)
    for one, two in itertools.combinations(masks, 2):
        if not (len(blocks[one]) and len(blocks[two])):
            continue
        apart = np.linalg.norm(centres[one][:, None] - centres[two], axis=2)
        a, b = np.nonzero(apart <= NEAR_MM)
        if len(a) < 5:
            continue
        ratios = [
            np.exp(np.log(medians[one, way][a] / medians[two, way][b]).mean()) for way in images
        ]
        _line(name, "contrast", f"{one} / {two}", len(a), ratios)


def _variation(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / values.mean())


def _line(name: str, measure: str, of: str, count: int, values: list[float]) -> None:
    print(name, measure, of, count, *(f"{value:.3f}" for value in values), sep="\t", flush=True)


def picture(
    path: Path,
    volume: Volume,
    images: dict[str, np.ndarray],
    fields: dict[str, np.ndarray],
    masks: dict[str, np.ndarray],
) -> None:
    """Draw five slices of each way, of each field (-1 to 1 in its logarithm), and of the masks."""
    from PIL import Image

    axis = int(np.argmin(volume.shape))
    slices = [int(volume.shape[axis] * share) for share in (0.2, 0.35, 0.5, 0.65, 0.8)]
    step = max(1, max(volume.shape) // 256)
    tissue = np.any(list(masks.values()), axis=0)

    def row(data: np.ndarray, low: float, high: float) -> np.ndarray:
        tiles = [np.take(data, n, axis=axis)[::step, ::step].T[::-1] for n in slices]
        return np.clip((np.concatenate(tiles, axis=1) - low) / (high - low), 0, 1)

    rows = [row(i, 0, np.percentile(i[tissue], 99.5)) for i in images.values()]
    rows += [row(f - f[tissue].mean(), -1, 1) for way, f in fields.items() if way != "raw"]
    labels = sum((n + 1) * mask for n, mask in enumerate(masks.values()))
    rows.append(row(labels, 0, len(masks)))
    Image.fromarray((255 * np.concatenate(rows)).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
