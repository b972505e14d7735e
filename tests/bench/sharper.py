"""What sharper images are worth: phantoms with small lesions in a wide field of view, embedded in several ways.

    python tests/bench/sharper.py [--patients 120] [--seed 0]... [--way crop]...

Both knees of each synthetic person are drawn in sagittal slices, 220 mm across and off the middle, with lesions and
thinning of the cartilage far smaller than oa-phantom's own, and embedded by the default backbone with its packaged
weights. Each way is cross-validated (grouped by person, the same folds for all) by ridge regression on the mean and the
maximum of each channel over the slices, and compared with the default way knee by knee. The slices a second are those
of a core: the joint found, the images made and embedded. Nothing here says anything about patients.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import replace

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from oatools.core.errors import ItemError
from oatools.features.embed import EmbedSettings, embed_volume
from oatools.features.engine import EngineSettings
from oatools.imaging.volume import Volume
from oatools.learning.folds import assign_folds
from oatools.learning.intervals import Fold, estimate_area
from oatools.phantom import rendering, series
from oatools.phantom.people import PhantomKnee, PhantomSettings, make_people, stream

FIELD, MATRIX = 220.0, 352  # mm and pixels, of square slices
SLICES, THICKNESS = 16, 6.0  # mm
SMALL = 0.4  # size of the findings, of oa-phantom's own
OFF = 15.0  # mm from the middle of the field, at most
FOLDS, STRENGTHS = 5, np.logspace(2, 6, 13)
CONTRAST, NOISE = "iw-fs", 0.025
DEFAULT = "default"
WAYS: dict[str, dict[str, object]] = {
    DEFAULT: {},
    "size 320": {"size": 320},
    "crop": {"crop": 100.0},
    "crop, size 320": {"crop": 100.0, "size": 320},
    "middle 4": {"slices": 4},
    "medial 4": {"compartment": "medial", "slices": 4},
    "medial 4, crop": {"compartment": "medial", "slices": 4, "crop": 100.0},
    "medial 4, crop, size 320": {"compartment": "medial", "slices": 4, "crop": 100.0, "size": 320},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="beside the default")
    options = parser.parse_args()
    ways = [DEFAULT, *(name for name in options.way or WAYS if name != DEFAULT)]
    print("seed\tway\troc_auc\tdifference\tlow\thigh\tslices_s\tnot_found", flush=True)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for seed in options.seed or [0]:
        for name, numbers in of_seed(options.patients, seed, ways).items():
            found[name].append(numbers)
            print(row(str(seed), name, numbers), flush=True)
    for name in ways if len(found[DEFAULT]) > 1 else ():
        area, difference, _, _, speed, missing = np.mean(found[name], axis=0)
        print(row("mean", name, (area, difference, np.nan, np.nan, speed, missing)))


def row(seed: str, name: str, numbers: tuple[float, ...]) -> str:
    """A line of the table."""
    area, difference, low, high, speed, missing = numbers
    shown = [f"{area:.3f}", f"{difference:+.3f}"]
    shown += ["n/a" if np.isnan(end) else f"{end:+.3f}" for end in (low, high)]
    return "\t".join([seed, name, *shown, f"{speed:.0f}", f"{missing:.0f}"])


def of_seed(patients: int, seed: int, ways: list[str]) -> dict[str, tuple[float, ...]]:
    """Area, difference from the default with its interval, slices a second, and joints not found."""
    settings = {name: embedding(WAYS[name]) for name in ways}
    features: dict[str, dict[str, np.ndarray]] = {name: {} for name in ways}
    spent, slices = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    knees = []
    for knee, volume in drawn(patients, seed):
        knees.append(knee)
        for name in ways:
            begun = time.process_time()
            try:
                made = embed_volume(volume, settings[name], side=knee.side).features
            except ItemError:
                continue
            finally:
                spent[name] += time.process_time() - begun
            features[name][knee.name] = made
            slices[name] += len(made)
    # Knees in which a way finds no joint are missing from all, so that all are compared on the same.
    everywhere = set.intersection(*(set(each) for each in features.values()))
    kept = [knee for knee in knees if knee.name in everywhere]
    runs = {name: cross_validated(kept, features[name], seed) for name in ways}
    result = {}
    for name in ways:
        pairs = list(zip(runs[name], runs[DEFAULT], strict=True))
        own = estimate_area([[fold for fold, _ in pairs]])
        other = [[replace(fold, other=default.probability) for fold, default in pairs]]
        change = estimate_area(other)
        missing = len(knees) - len(features[name])
        speed = slices[name] / spent[name]
        result[name] = (own.value, change.value, change.low, change.high, speed, missing)
    return result


def embedding(way: dict[str, object]) -> EmbedSettings:
    """The settings of a way, on one thread of the CPU."""
    of_engine = {name: way[name] for name in way if name == "size"}
    engine = EngineSettings(device="cpu", engine="openvino", **of_engine)
    others = {name: way[name] for name in way if name != "size"}
    return EmbedSettings(engine, **others).resolve(jobs=1)


def drawn(patients: int, seed: int) -> Iterator[tuple[PhantomKnee, Volume]]:
    """Draw both knees of everybody."""
    people = PhantomSettings(patients=patients, seed=seed)
    for person in make_people(people):
        for number, knee in enumerate(person.knees):
            rng = stream(people, person.index, 900 + number)
            anatomy = replace(knee.anatomy, progression=SMALL * knee.anatomy.progression)
            lateral, anterior, superior = anatomy.centre
            middle = np.array([-lateral if knee.side == "left" else lateral, anterior, superior])
            middle += rng.uniform(-OFF, OFF, 3) * (0.3, 1, 1)
            affine = np.eye(4)
            # Columns run forwards, rows upwards, slices to the right.
            affine[:3, :3] = np.eye(3)[:, [1, 2, 0]] * (FIELD / MATRIX, FIELD / MATRIX, THICKNESS)
            shape = (MATRIX, MATRIX, SLICES)
            affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
            picture = rendering.render(anatomy, shape, affine, CONTRAST)
            pixels = series.digitise(picture.astype(np.float32), NOISE, rng)
            yield knee, Volume(np.asfortranarray(pixels), affine)


def cross_validated(
    knees: list[PhantomKnee], features: dict[str, np.ndarray], seed: int
) -> list[Fold]:
    """The knees of each fold, with the scores of a ridge regression on the others."""
    label = np.array([int(knee.progressor) for knee in knees])
    subject = np.array([knee.subject for knee in knees])
    each = [features[knee.name] for knee in knees]
    values = np.array([np.concatenate([one.mean(axis=0), one.max(axis=0)]) for one in each])
    fold = assign_folds(subject, label, FOLDS, seed)
    folds = []
    for number in range(1, FOLDS + 1):
        own = fold == number
        model = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS))
        model.fit(values[~own], label[~own])
        folds.append(Fold(label[own], subject[own], model.predict(values[own])))
    return folds


if __name__ == "__main__":
    main()
