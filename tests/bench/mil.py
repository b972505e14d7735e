"""The five classic multiple-instance sets under the protocol of Ilse et al. (ICML 2018): ten folds, five repeats.

    python tests/bench/mil.py [FOLDER] [--set musk1]... [--pooling attention]... [-j 2]

FOLDER (by default mil/ in the folder that OATOOLS_TEST_DATA names) holds musk1.csv.gz and so on,
with columns bag_id, bag_label, f1, ... A bag is a knee here, and its instances the slices. Accuracy
at a probability of 0.5, its mean over the folds of all repeats with the standard error of that mean
over repeats, beside the published mean and standard error. Within each fold nothing but its
training bags is used. The model is the default one, linear parts and all, with this pooling.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
import pandas as pd

from oatools.learning.cohort import Cohort, make_cohort
from oatools.learning.folds import assign_folds, split_training
from oatools.learning.model import predict
from oatools.learning.settings import Settings
from oatools.learning.training import fit

PUBLISHED = {
    "attention": {
        "musk1": (0.892, 0.040),
        "musk2": (0.858, 0.048),
        "fox": (0.615, 0.043),
        "tiger": (0.839, 0.022),
        "elephant": (0.868, 0.022),
    },
    "gated": {
        "musk1": (0.900, 0.050),
        "musk2": (0.863, 0.042),
        "fox": (0.603, 0.029),
        "tiger": (0.845, 0.018),
        "elephant": (0.857, 0.027),
    },
}
# The layers are Ilse's; the rest is what one would try first, and was not tuned on these sets.
SETTINGS = {
    "instance": (256, 128, 64),
    "units": 64,
    "hidden": 0,
    "dropout": 0.2,
    "weight_decay": 0.005,
    "batch": 8,
    "epochs": 60,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path(os.environ.get("OATOOLS_TEST_DATA", "")) / "mil",
    )
    parser.add_argument("--set", action="append", choices=list(PUBLISHED["gated"]))
    parser.add_argument("--pooling", action="append", choices=["attention", "gated", "mean", "max"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", type=int, default=2)
    options = parser.parse_args()
    if not (options.folder / "musk1.csv.gz").exists():
        print(
            f"skipped: no musk1.csv.gz in {options.folder}; name the folder, or set OATOOLS_TEST_DATA"
        )
        return
    print(
        "set\tpooling\taccuracy\tstandard_error\tpublished\tpublished_se\twithin_1_se_or_better",
        flush=True,
    )
    with ProcessPoolExecutor(options.j) as pool:
        for name in options.set or PUBLISHED["gated"]:
            for pooling in options.pooling or PUBLISHED:
                tasks = [
                    (options.folder, name, pooling, options.seed + n)
                    for n in range(options.repeats)
                ]
                by_repeat = [
                    float(np.mean(each)) for each in pool.map(repeat, *zip(*tasks, strict=True))
                ]
                mean, error = np.mean(by_repeat), np.std(by_repeat, ddof=1) / len(by_repeat) ** 0.5
                known, known_error = PUBLISHED.get(pooling, {}).get(name, (np.nan, np.nan))
                verdict = "yes" if mean >= known - known_error else "no"
                print(
                    f"{name}\t{pooling}\t{mean:.3f}\t{error:.3f}\t{known}\t{known_error}\t{verdict}",
                    flush=True,
                )


def repeat(folder: Path, name: str, pooling: str, seed: int) -> list[float]:
    """The accuracy in each of ten folds."""
    data = bags(folder / f"{name}.csv.gz")
    fold = assign_folds(data.subject, data.label, 10, seed)
    out = []
    for number in range(1, 11):
        test = np.flatnonzero(fold == number)
        settings = Settings(pooling=pooling, **SETTINGS)
        train = np.flatnonzero(fold != number)
        split = split_training(data, settings.validation, seed, train, test)
        model = fit(data, settings, seed, split)
        probability, _ = predict(model, *data.scored(test))
        out.append(float(((probability >= 0.5) == data.label[test]).mean()))
    return out


def bags(path: Path) -> Cohort:
    """A set as a cohort, each bag its own patient."""
    table = pd.read_csv(path)
    names, label, features = [], [], []
    for bag, rows in table.groupby("bag_id"):
        names.append(str(bag))
        label.append(int(rows["bag_label"].iloc[0] > 0))
        features.append(rows.drop(columns=["bag_id", "bag_label"]).to_numpy(dtype=np.float32))
    return make_cohort(names, names, label, features)


if __name__ == "__main__":
    main()
