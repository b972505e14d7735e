"""Models beside ridge regression, on knees that none of them has seen: who is better, and by how much.

    python tests/bench/beside_ridge.py FOLDER... [--model default]...

Each FOLDER holds features.tsv and labels.tsv, whose column `split` says `train` or `test`; a column
`risk` with the true risk is used where there is one. Ridge regression is scikit-learn's
LogisticRegressionCV on each channel's mean over the slices, its strength by five-fold
cross-validation over all training knees. A row is the ROC AUC of one model on the test knees of one
folder, and its difference from ridge; the last rows are means over the folders.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
from sklearn.linear_model import LogisticRegressionCV

import oatools
from oatools.learning.cohort import Cohort
from oatools.learning.folds import split_training
from oatools.learning.metrics import roc_auc
from oatools.learning.model import predict
from oatools.learning.settings import Settings, preset
from oatools.learning.training import fit

STRENGTHS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
MODELS = {
    "default": Settings(),
    "default, gru": Settings(pooling="gru"),
    "without networks": Settings(network=False),
    "networks alone": Settings(linear=()),
    "paper": preset("paper"),
    "gated": preset("paper", pooling="gated"),
    "mean": preset("paper", pooling="mean", hidden=0),
    "transformer": preset("paper", pooling="transformer"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", action="append", choices=list(MODELS), metavar="NAME")
    options = parser.parse_args()
    names = options.model or ["default", "paper", "gated", "mean", "transformer"]
    differences: dict[str, list[float]] = {name: [] for name in names}
    print("folder\tmodel\troc_auc\tdifference\tcpu_s", flush=True)
    for folder in options.folders:
        cohort = oatools.load_cohort(
            str(folder / "features.tsv"), str(folder / "labels.tsv"), columns=("split",)
        )
        parts = np.array([row["split"] for row in cohort.rows])
        train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
        known, seconds = timed(ridge, cohort, train, test)
        print(f"{folder}\tridge\t{known:.4f}\t\t{seconds:.1f}", flush=True)
        for name in names:
            area, seconds = timed(ours, cohort, train, test, MODELS[name])
            differences[name].append(area - known)
            print(f"{folder}\t{name}\t{area:.4f}\t{area - known:+.4f}\t{seconds:.1f}", flush=True)
    for name, found in differences.items():
        print(f"mean of {len(found)}\t{name}\t\t{np.mean(found):+.4f}\t")


def timed(function, *arguments) -> tuple[float, float]:
    """The result of a call, and its CPU seconds."""
    begun = time.process_time()
    return function(*arguments), time.process_time() - begun


def ridge(cohort: Cohort, train: np.ndarray, test: np.ndarray) -> float:
    """The ROC AUC of ridge regression on the means of the slices."""
    means = cohort.means()
    sd = means[train].std(axis=0)
    scaled = (means - means[train].mean(axis=0)) / np.where(sd > 0, sd, 1)
    model = LogisticRegressionCV(Cs=list(STRENGTHS), cv=5, scoring="neg_log_loss", max_iter=300)
    with warnings.catch_warnings():  # scikit-learn's, of its own future
        warnings.simplefilter("ignore")
        model.fit(scaled[train], cohort.label[train])
    return roc_auc(cohort.label[test], model.decision_function(scaled[test]))


def ours(cohort: Cohort, train: np.ndarray, test: np.ndarray, settings: Settings) -> float:
    """The ROC AUC of a model that is trained with these settings."""
    split = split_training(cohort, settings.validation, 0, train=train, test=test)
    probability, _ = predict(fit(cohort, settings, 0, split), *cohort.scored(test))
    return roc_auc(cohort.label[test], probability)


if __name__ == "__main__":
    main()
