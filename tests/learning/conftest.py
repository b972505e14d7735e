"""Synthetic knees whose signal, where there is one, was planted by hand."""

import os
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from oatools.core.provenance import STEPS, Step
from oatools.features.featurefile import Features, write_features
from oatools.learning.cohort import make_cohort
from oatools.learning.folds import split_training
from oatools.learning.training import fit

os.environ.setdefault("OMP_NUM_THREADS", "1")
FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"
CV = f"oa-cv features.tsv --labels labels.tsv --no-compare --repeats 1 -k 2 {FAST}"
TRAIN = f"oa-train features.tsv --labels labels.tsv {FAST} -o m.safetensors"
SPACE = {
    "backbone": "efficientnet_b0",
    "weights": "random, seed 0",
    "weights_sha256": "0" * 64,
    "preprocessing": {"size": 224},
}
EMBEDDED = Step("oa-embed", {"weights": "random", "seed": 0}, "knee.nii.gz", "0" * 64)
#: The attributes of a feature file.
MADE = {**SPACE, STEPS: [EMBEDDED.to_json()]}


def knee_name(i: int) -> str:
    return f"{9000000 + i // 2}_00m_{'left' if i % 2 else 'right'}"


def synthetic(knees=80, slices=8, channels=32, strength=3.0, lesion=(2, 5), seed=0, clinical=0.0):
    """Knees, two a patient; positives have features shifted in the slices of `lesion`, bmi by `clinical`."""
    random = np.random.default_rng(seed)
    label = (random.random(knees) < 0.4).astype(int)
    direction = np.zeros(channels)
    direction[:4] = strength
    features = []
    for y in label:
        values = random.normal(size=(slices + int(random.integers(0, 4)), channels))
        values[list(lesion)] += y * direction
        features.append(values.astype(np.float32))
    bmi = random.normal(27, 3, knees) + clinical * label
    names = [knee_name(i) for i in range(knees)]
    return names, [n.split("_")[0] for n in names], label, features, bmi


@pytest.fixture
def make():
    """A cohort of synthetic knees, with bmi as its clinical variable."""

    def cohort(**options):
        names, subjects, label, features, bmi = synthetic(**options)
        return make_cohort(names, subjects, label, features, bmi[:, None], ["bmi"], space=SPACE)

    return cohort


@pytest.fixture
def study(tmp_path):
    """Feature files, features.tsv and labels.tsv in the test's folder; the features are returned by knee."""

    def write(attributes=MADE, **options) -> dict[str, np.ndarray]:
        names, subjects, label, features, bmi = synthetic(**options)
        table, labels = (
            ["knee\tsubject\tvisit\tside\tsequence\tpath"],
            ["knee\tsubject\tlabel\tbmi\tsex"],
        )
        for i, name in enumerate(names):
            path = Path("features") / f"{name}_cor-iw-tse.h5"
            write_features(
                tmp_path / path,
                Features(features[i], np.arange(len(features[i])) * 3.0, dict(attributes)),
            )
            identity = name.replace("_", "\t")
            table.append(f"{name}\t{identity}\tcor-iw-tse\t{path}")
            labels.append(
                f"{name}\t{subjects[i]}\t{label[i]}\t{bmi[i]:.2f}\t{'male' if i % 4 < 2 else 'female'}"
            )
        (tmp_path / "features.tsv").write_text("\n".join(table) + "\n")
        (tmp_path / "labels.tsv").write_text("\n".join(labels) + "\n")
        return dict(zip(names, features, strict=True))

    return write


def fit_on(cohort, index, settings, seed, **more):
    """Train on the knees at `index` alone."""
    split = split_training(cohort, settings.validation, seed, train=index)
    return fit(cohort, settings, seed, split, **more)


def with_features(cohort, change):
    """The same knees with `change(number, features)` of each."""
    features = [change(i, cohort.slices(i).copy()) for i in range(len(cohort))]
    return replace(
        cohort,
        features=np.concatenate(features),
        extents=np.array([[len(values)] for values in features]),
    )


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a line of one command in the test's folder, in this process."""
    from oatools.commands import cv, predict, train

    monkeypatch.chdir(tmp_path)
    commands = {"oa-cv": cv.main, "oa-train": train.main, "oa-predict": predict.main}

    def call(line, status=0):
        name, *words = shlex.split(line)
        with pytest.raises(SystemExit) as end:
            commands[name].main(words)
        said = capsys.readouterr()
        assert end.value.code == status, said.err
        return SimpleNamespace(stdout=said.out, stderr=said.err)

    return call


def rewrite(path, change):
    """Change the cells of every row of a table, given as a dictionary."""
    header, *lines = path.read_text().splitlines()
    columns = header.split("\t")
    out = [header]
    for line in lines:
        row = dict(zip(columns, line.split("\t"), strict=True))
        change(row)
        out.append("\t".join(row[column] for column in columns))
    path.write_text("\n".join(out) + "\n", encoding="utf-8")
