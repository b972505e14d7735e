"""The tables of oatools in pandas and scikit-learn: what oa-cv reports, computed again.

    python tables.py cv labels.tsv

cv is the folder of `oa-cv -o cv`, labels.tsv the table of labels that it was given. Tables have a
header, tabs between cells, no quotes, and n/a for what is missing.
"""

import csv
import re
import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, roc_auc_score

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "cv")
labels_file = sys.argv[2] if len(sys.argv) > 2 else "labels.tsv"


def read(path):
    """Read a table; ids keep their zeros, and quotes are letters like any other."""
    return pd.read_csv(
        path,
        sep="\t",
        na_values="n/a",
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        dtype={"knee": str, "subject": str},
    )


def scores(knees):
    """Return the scores of predictions; classes are those at the threshold of each knee's fold."""
    return {
        "roc_auc": roc_auc_score(knees.label, knees.probability),
        "pr_auc": average_precision_score(knees.label, knees.probability),
        "f1": f1_score(knees.label, knees.predicted),
        "brier": brier_score_loss(knees.label, knees.probability),
    }


def by_fold(path):
    """Return the scores of each test fold, one a row."""
    knees = read(path)
    return pd.DataFrame({fold: scores(part) for fold, part in knees.groupby("fold")}).T


metrics = read(folder / "metrics.tsv").set_index(["model", "scope", "metric"]).value
models = metrics.xs("pooled", level="scope").index.unique("model")
repeats = sorted(folder.glob("repeat-*"))
compared = 0


def agrees(model, scope, computed):
    """Hold scores against those of metrics.tsv."""
    global compared
    for name, value in computed.items():
        assert abs(metrics[model, scope, name] - value) < 1e-6, (model, scope, name, value)
        compared += 1


for model in models:
    # Predictions of the model itself, and of each beside it: predictions-images-linear.tsv.
    slug = re.sub("[^a-z0-9]+", "-", model.lower())
    name = "predictions.tsv" if model == models[0] else f"predictions-{slug}.tsv"
    if not (folder / name).exists():
        continue  # of another run: see oa-cv --against
    knees = read(folder / name)
    assert (knees.predicted == (knees.probability >= knees.threshold)).all()
    agrees(model, "pooled", scores(knees))
    for fold, row in by_fold(folder / name).iterrows():
        agrees(model, f"fold-{fold}", row)
    # The mean is over folds, and then over repeats with other folds.
    runs = [by_fold(each / name).mean() for each in (folder, *repeats)]
    mean = pd.DataFrame(runs).mean()
    agrees(model, "mean", mean)
    pooled = scores(knees)
    print(
        f"{model:20} ROC AUC {mean.roc_auc:.3f}, PR AUC {pooled['pr_auc']:.3f}, "
        f"F1 {pooled['f1']:.3f}, Brier {pooled['brier']:.3f}"
    )

# Labels and predictions have the knee in common. Both knees of a patient are in one fold.
knees = read(folder / "predictions.tsv").merge(
    read(labels_file), on="knee", suffixes=("", "_of_labels")
)
assert len(knees) and (knees.label == knees.label_of_labels).all()
assert (knees.groupby("subject").fold.nunique() == 1).all()
print(
    f"{len(knees)} knees of {knees.subject.nunique()} patients, {knees.label.sum()} positive; "
    f"{compared} numbers agree with metrics.tsv to 1e-6"
)

# Where they come from phantoms or random weights, the tables say so.
if "caution" in knees:
    print("caution:", *knees.caution.unique())
