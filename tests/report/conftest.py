"""A cross-validation that was never run: its numbers are made up, so that each can be found again."""

import numpy as np
import pytest

from oatools.core.provenance import Caution
from oatools.learning.cohort import make_cohort
from oatools.learning.load import Flow
from oatools.learning.results import CrossValidation, OutOfFold
from oatools.report.content import Report

KNEES = 40


def make_record(endpoint="jsn12", **changes):
    """The fields of a fold's record that a report reads."""
    settings = {
        "linear": [],
        "network": True,
        "inner": "single",
        "pooling": "gru",
        "slices": None,
        "validation": 0.2,
        "balanced": True,
        "threshold_rule": "youden",
        "instance": [],
    }
    record = {
        "endpoint": endpoint,
        "architecture": "gru pooling over slices, perceptron",
        "settings": settings,
        "sequences": ["cor-iw-tse"],
        "threshold_rule": "youden on the validation knees",
        "versions": {"oatools": "0.1.0", "torch": "2.0"},
        "training_knees": ["a"] * 16,
        "validation_knees": ["b"] * 4,
        "best_epoch": 3,
        "epochs": 7,
        "validation_roc_auc": 0.75,
        "threshold": 0.5,
    }
    return {**record, **changes}


def labelled(i, clinical_names):
    """The row of a knee in the table of labels."""
    row = {name: "n/a" if i < 3 else "25.0" for name in clinical_names}
    return {"age": str(50 + i % 7), "sex": "male" if i % 4 < 2 else "female", **row}


@pytest.fixture
def make_report():
    """A report of two folds of 40 knees, two a patient, 10 positive; options change what is in it."""

    def make(
        clinical_names=("bmi",), endpoint="jsn12", fold=None, cautions=(), joined=(), **changes
    ) -> Report:
        random = np.random.default_rng(0)
        knees = [f"{9000000 + i // 2}_00m_{'left' if i % 2 else 'right'}" for i in range(KNEES)]
        label = np.zeros(KNEES, dtype=int)
        label[[0, 3, 4, 9, 14, 20, 25, 26, 31, 38]] = 1
        clinical = np.full((KNEES, len(clinical_names)), 25.0)
        clinical[:3] = np.nan
        sequences = len(joined) or 1
        data = make_cohort(
            knees,
            [knee.split("_")[0] for knee in knees],
            label,
            [random.random((5 * sequences, 16)) for _ in knees],
            clinical,
            clinical_names,
            extents=[(5,) * sequences] * KNEES,
            space={
                "backbone": "resnet18",
                "weights": "random, seed 0",
                "preprocessing": {"size": 8},
            },
            joined=joined,
        )
        fold = np.arange(KNEES) // 2 % 2 + 1 if fold is None else fold
        tested = fold > 0
        models = {}
        for name in ("images+clinical", "clinical logistic"):
            probability = np.where(tested, random.random(KNEES), np.nan)
            models[name] = OutOfFold(probability, np.full(KNEES, 0.5))
        record = make_record(endpoint, **changes.pop("record", {}))
        records = [dict(record) for _ in range(int(fold.max()))]
        shares = np.tile([0.1, 0.2, 0.4, 0.2, 0.1], sequences) / sequences
        attention = changes.pop("attention", [shares] * KNEES)
        result = CrossValidation(
            cohort=data,
            fold=fold,
            models=models,
            attention=attention,
            records=records,
            trained=2,
            kept=0,
            leaky=Caution.LEAKY_SPLIT in cautions,
            null=changes.pop("null", np.zeros(0)),
        )
        values = {
            "result": result,
            "flow": Flow(without_label=1, without_features=2, failed=(), order=data.knee),
            "labels": {knee: labelled(i, clinical_names) for i, knee in enumerate(knees)},
            "metrics": result.metrics(),
            "cautions": cautions,
            "command": "oa-cv features.tsv",
            "seed": 3,
        }
        return Report(**{**values, **changes})

    return make
