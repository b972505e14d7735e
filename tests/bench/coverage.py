"""How often the intervals of `oa-cv` hold the truth, on small simulated cohorts: 60 patients, two knees each.

    python tests/bench/coverage.py [--cohorts 200] [--strength 0] [-j 2]

Features are noise, shifted in two of eight slices where the label is 1; both knees of a patient
share a shift of their own, and a patient's knees have the same label in two of three cases. With
--strength 0 the truth is an AUC of 0.5. With a signal it is the mean AUC of the five models of a
cohort on 2,000 new knees. All of it is synthetic.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
import torch

from oatools.learning.cohort import Cohort, make_cohort
from oatools.learning.folds import assign_folds, split_training
from oatools.learning.metrics import bootstrap, interval, roc_auc
from oatools.learning.model import predict
from oatools.learning.settings import Settings
from oatools.learning.training import fit

SETTINGS = Settings(conv=16, units=16, hidden=16, epochs=30, patience=8, learning_rate=2e-3)


def main() -> None:
    """Print the share of intervals that hold the truth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--strength", type=float, default=0.0)
    parser.add_argument("-j", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.j) as pool:
        found = np.array(
            list(pool.map(one, range(options.cohorts), [options.strength] * options.cohorts))
        )
    area, low, high, truth = found.T
    held = (low <= truth) & (truth <= high)
    print("cohorts\tstrength\tcoverage\tbelow\tabove\tmean_auc\tsd_auc\tmean_truth\tmean_width")
    print(
        f"{len(found)}\t{options.strength}\t{held.mean():.3f}\t{(high < truth).mean():.3f}\t{(low > truth).mean():.3f}"
        f"\t{area.mean():.4f}\t{area.std(ddof=1):.4f}\t{truth.mean():.4f}\t{(high - low).mean():.4f}"
    )


def cohort(patients: int, strength: float, random: np.random.Generator) -> Cohort:
    """Knees of so many patients."""
    first = (random.random(patients) < 0.4).astype(int)
    other = np.where(random.random(patients) < 0.5, first, random.random(patients) < 0.4).astype(
        int
    )
    label = np.stack([first, other], axis=1).ravel()
    shared = np.repeat(random.normal(0, 0.5, (patients, 1, 32)), 2, axis=0)
    features = shared + random.normal(size=(2 * patients, 8, 32))
    features[:, 2:4, :4] += strength * label[:, None, None]
    names = [f"{9000000 + i // 2}_00m_{'left' if i % 2 else 'right'}" for i in range(2 * patients)]
    return make_cohort(
        names, [n.split("_")[0] for n in names], label, list(features.astype(np.float32))
    )


def one(seed: int, strength: float) -> tuple[float, float, float, float]:
    """Pooled AUC, its interval and the truth of one cohort."""
    random = np.random.default_rng([7, seed])
    data = cohort(60, strength, random)
    new = cohort(1000, strength, random) if strength else None
    fold = assign_folds(data.subject, data.label, 5, seed)
    probability, truths = np.empty(len(data)), []
    for number in range(1, 6):
        test = np.flatnonzero(fold == number)
        train = np.flatnonzero(fold != number)
        split = split_training(data, SETTINGS.validation, seed, train, test)
        model = fit(data, SETTINGS, seed, split)
        probability[test], _ = predict(model, *data.scored(test))
        if new is not None:
            with torch.inference_mode():
                logits, _ = model.module(
                    torch.from_numpy(new.features).view(len(new), 8, -1),
                    torch.ones(len(new), 8),
                    torch.zeros(len(new), 0),
                )
            truths.append(roc_auc(new.label, (logits[:, 1] - logits[:, 0]).double().numpy()))
    predicted = (probability >= 0.5).astype(int)
    low, high = interval(
        bootstrap(data.label, {"": (probability, predicted)}, data.subject, 1000, seed)[""][:, 0]
    )
    return roc_auc(data.label, probability), low, high, float(np.mean(truths)) if truths else 0.5


if __name__ == "__main__":
    main()
