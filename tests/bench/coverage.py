"""How true the ROC AUC of `oa-cv` is, and how often its 95 % intervals hold the truth, by simulation.

    python tests/bench/coverage.py [--patients 60 300] [--signal 0 0.4 1] [--cohorts 1000]

Each patient has two knees, which share an effect of the patient in every feature and, in half of
the patients, their label. Features are normal, and four of twenty are shifted by the signal where
the label is 1. Estimates and intervals are those of the library (`CrossValidation.area`); the
models are a stand-in that is trained in a millisecond, ridge logistic regression on all features,
on those of "images" alone, and on two that play the clinical variables. Folds are dealt by patient
and by the number of positive knees, which is what the library does, but faster. The truth is known
without an error: a linear score is normal in both classes, so the area of every fold's model in
all patients there could be is a formula, and the target is the mean of the models that were
trained. The pooled area is there to show its bias. All of it is synthetic.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
from scipy.stats import norm

from oatools.learning.cohort import make_cohort
from oatools.learning.crossval import default_repeats
from oatools.learning.folds import Splitter
from oatools.learning.results import CrossValidation, OutOfFold

FEATURES, SHIFTED, SHARED = 20, 4, 0.5
#: The features that each stand-in sees; the first two play the clinical variables.
MODELS = {
    "both": np.arange(FEATURES),
    "images": np.arange(2, FEATURES),
    "clinical": np.arange(2),
}
RIDGE = 1.0
COLUMNS = (
    "patients",
    "signal",
    "prevalence",
    "folds",
    "repeats",
    "cohorts",
    "roc_auc",
    "truth",
    "bias",
    "bias_se",
    "sd",
    "coverage",
    "below",
    "above",
    "width",
    "pooled_bias",
)


def main() -> None:
    """Print a row for each cohort size, signal, and model or difference of two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--patients", type=int, nargs="+", default=[60, 300])
    parser.add_argument("--signal", type=float, nargs="+", default=[0.0, 0.4, 1.0])
    parser.add_argument("--prevalence", type=float, default=0.4)
    parser.add_argument("--folds", type=int, default=5, help="1: a third of patients is held out")
    parser.add_argument("--repeats", type=int, help="default: as often as oa-cv would")
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", type=int, default=1)
    options = parser.parse_args()
    print(*COLUMNS, sep="\t")
    with ProcessPoolExecutor(options.j) as pool:
        for patients in options.patients:
            for signal in options.signal:
                study = (patients, signal, options.prevalence, options.folds, options.repeats)
                seeds = range(options.seed, options.seed + options.cohorts)
                found = list(pool.map(one, seeds, [study] * options.cohorts, chunksize=10))
                report(study, np.array([each for each in found if each is not None]))


def report(study: tuple, found: np.ndarray) -> None:
    """Print the rows of one study; `found` is (cohorts, rows, values), the values those of `one`."""
    patients, signal, prevalence, folds, _ = study
    for place, name in enumerate(names()):
        value, low, high, truth, pooled, repeats = found[:, place].T
        held = (low <= truth) & (truth <= high)
        off = value - truth
        numbers = (
            truth.mean(),
            off.mean(),
            off.std(ddof=1) / np.sqrt(len(off)),
            off.std(ddof=1),
            held.mean(),
            (high < truth).mean(),
            (low > truth).mean(),
            (high - low).mean(),
            (pooled - truth).mean(),
        )
        shown = (f"{number:.4f}" for number in numbers)
        where = (patients, signal, prevalence, folds, int(repeats[0]), len(found))
        print(*where, name, *shown, sep="\t", flush=True)


def names() -> list[str]:
    """The models, and the differences of the first from the others."""
    first, *others = MODELS
    return [*MODELS, *(f"{first} - {other}" for other in others)]


def one(seed: int, study: tuple) -> np.ndarray | None:
    """Value, interval, truth and pooled value of each model and difference in one cohort.

    None where a fold would be left with one class, which oa-cv refuses.
    """
    patients, signal, prevalence, folds, repeats = study
    random = np.random.default_rng([23, seed])
    features, label, patient = draw(patients, signal, prevalence, random)
    knees = [f"{i:05d}" for i in range(len(label))]  # a cohort is in the order of its knees
    subjects = [f"p{i:05d}" for i in patient]
    nothing = [np.zeros((1, 1), dtype=np.float32)] * len(label)
    cohort = make_cohort(knees, subjects, label, nothing)
    runs, truths = [], []
    if folds == 1:
        repeats = 1
    for _ in range(repeats or default_repeats(cohort, Splitter(folds))):
        fold = deal(label, patient, folds if folds > 1 else 3, random)
        if folds == 1:
            fold[fold > 1] = 0  # trained on only
        if any(len(set(label[fold == n])) < 2 for n in range(1, folds + 1)):
            return None
        models, true = {}, {}
        for name, columns in MODELS.items():
            probability, weights = ridge(features[:, columns], label, fold)
            models[name] = OutOfFold(probability, np.full(len(label), 0.5))
            true[name] = true_areas(weights, columns < SHIFTED, signal).mean()
        runs.append(CrossValidation(cohort, fold, models, [], [], trained=0, kept=0))
        truths.append(true)
    first, *others = runs
    result = CrossValidation(
        cohort, first.fold, first.models, [], [], trained=0, kept=0, repeats=tuple(others)
    )
    pairs = [(name, None) for name in MODELS]
    pairs += [(result.name, name) for name in MODELS if name != result.name]
    rows = []
    for name, minus in pairs:
        area = result.area(name, minus)
        truth = np.mean([true[name] - (true[minus] if minus else 0.0) for true in truths])
        pooled = result.pooled(name)["roc_auc"]
        pooled -= result.pooled(minus)["roc_auc"] if minus else 0.0
        rows.append((area.value, area.low, area.high, truth, pooled, len(runs)))
    return np.array(rows)


def draw(
    patients: int, signal: float, prevalence: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (knees, features), labels and patients (knees,) of a cohort."""
    first = random.random(patients) < prevalence
    other = np.where(random.random(patients) < 0.5, first, random.random(patients) < prevalence)
    label = np.stack([first, other], axis=1).ravel().astype(int)
    shared = np.repeat(random.normal(0, SHARED, (patients, FEATURES)), 2, axis=0)
    features = shared + random.normal(size=shared.shape)
    features[:, :SHIFTED] += signal * label[:, None]
    return features, label, np.repeat(np.arange(patients), 2)


def deal(
    label: np.ndarray, patient: np.ndarray, folds: int, random: np.random.Generator
) -> np.ndarray:
    """The fold (knees,) of each knee: patients with as many positive knees are dealt in turn."""
    positive = np.bincount(patient, label).astype(int)
    fold, dealt = np.empty(len(positive), dtype=int), 0
    for count in (2, 1, 0):
        alike = random.permutation(np.flatnonzero(positive == count))
        turn = random.permutation(folds)
        fold[alike] = turn[(dealt + np.arange(len(alike))) % folds] + 1
        dealt += len(alike)
    return fold[patient]


def ridge(
    features: np.ndarray, label: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold probabilities (knees,) of ridge logistic regression, and its weights (folds, features).

    Features are standardised on the knees that are trained on. All folds are fitted at once, by
    Newton's method.
    """
    number = fold - 1
    train = (np.arange(fold.max())[:, None] != number).astype(float)
    knees = train.sum(axis=1, keepdims=True)
    mean = train @ features / knees
    sd = np.sqrt(train @ features**2 / knees - mean**2)
    scaled = (features - mean[:, None]) / sd[:, None]
    design = np.concatenate([np.ones((*scaled.shape[:2], 1)), scaled], axis=2)
    found = np.zeros((len(train), design.shape[2]))
    penalty = RIDGE * np.eye(design.shape[2])
    penalty[0, 0] = 0
    for _ in range(20):
        fitted = 1 / (1 + np.exp(-(design @ found[:, :, None])[..., 0]))
        gradient = ((train * (label - fitted))[:, None] @ design)[:, 0] - found @ penalty
        weighted = design * (train * fitted * (1 - fitted))[..., None]
        curvature = np.swapaxes(weighted, 1, 2) @ design + penalty
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        found += step
        if np.abs(step).max() < 1e-6:
            break
    odds = (design[number, np.arange(len(label))] * found[number]).sum(axis=1)
    return 1 / (1 + np.exp(-odds)), found[:, 1:] / sd


def true_areas(weights: np.ndarray, shifted: np.ndarray, signal: float) -> np.ndarray:
    """The area (folds,) under the ROC curve of linear scores, in all knees there could be.

    A score is normal in both classes, with one variance and means that differ by the signal.
    """
    apart = signal * weights[:, shifted].sum(axis=1)
    spread = np.sqrt(2 * (1 + SHARED**2) * (weights**2).sum(axis=1))
    return norm.cdf(apart / spread)


if __name__ == "__main__":
    main()
