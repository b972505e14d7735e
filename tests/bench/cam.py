"""The pointing game on phantoms: does the hottest place of a map lie in the planted finding?

    python tests/bench/cam.py [FOLDER] [--patients 150] [--backbone NAME --weights FILE]
                              [--measured 8] [--method NAME]... [--endpoint NAME]...

Makes a synthetic cohort in FOLDER (or goes on with one that examples/demo.sh left), trains a model
of narrowing and one of pain on half of the patients, and explains the positive knees of the other
half that the model predicts positive. A hit is exact, or within 10 mm of the finding: half a cell
of a 7 x 7 map over 140 mm. Chance is the same share of all places, air excepted, in the slices that
the model sees. Attention: the share on slices that the finding reaches, beside the share of such
slices. Deletion is the area under the deletion curve, less that of smooth noise; the more negative,
the better; insertion likewise, the more the better; randomised is the rank correlation with maps of
models with random weights. Both occlusions and these three are slow, and done for the first knees
only; all methods are shown on these too. Synthetic knees: none of it says anything about patients.
"""

import argparse
import csv
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
import torch

from oatools.explain.explanation import UNITS, Explanation, explain
from oatools.explain.faithfulness import areas, randomised
from oatools.explain.knee import EndToEnd, KneeImages, prepare
from oatools.explain.rows import CamSettings, load
from oatools.imaging.volume import Volume, read_volume
from oatools.phantom.anatomy import KneeModel
from oatools.phantom.findings import Finding, effusion, femoral_lesion, lesion
from oatools.phantom.people import PhantomSettings, make_people

NEAR_MM = 10.0
COLUMNS = [
    "endpoint",
    "method",
    "knees",
    "hit",
    "chance",
    "hit_10mm",
    "chance_10mm",
    "attention",
    "attention_uniform",
    "deletion",
    "insertion",
    "randomised",
]

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Study:
    """A synthetic cohort in a folder: its knees by name, their volumes, and the features table."""

    folder: Path
    knees: dict[str, KneeModel]
    volumes: dict[str, Path]
    features: Rows
    weights: str | None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", help="a file, or random; by default those that come along")
    parser.add_argument("--measured", type=int, default=8, metavar="KNEES")
    parser.add_argument("--method", action="append", choices=list(UNITS))
    parser.add_argument("--endpoint", action="append", choices=["jsn12", "pain"])
    parser.add_argument("-j", type=int, default=2)
    options = parser.parse_args()
    study = make_study(options)
    print("\t".join(COLUMNS), flush=True)
    for endpoint in options.endpoint or ("jsn12", "pain"):
        found = explain_half(study, endpoint, options.measured, options.method or list(UNITS))
        few = min(options.measured, *map(len, found.values()))
        for method, rows in found.items():
            report(endpoint, method, rows)
            if few < len(rows):
                report(endpoint, method, rows[:few])


def make_study(options: argparse.Namespace) -> Study:
    """Make volumes and features in the folder, or go on with those that are there."""
    folder = (options.folder or Path(tempfile.mkdtemp())).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "n4.tsv").touch()
    weights = options.weights
    if weights not in (None, "random"):
        weights = str(Path(weights).absolute())
    given = "" if weights is None else f"--weights {weights}"
    jobs, name = options.j, f"features-{options.backbone}"
    shell(
        folder,
        "[ -e oai/phantom.json ] || "
        f"oa-phantom oai --patients {options.patients} --sequence cor-iw-tse --matrix 192 "
        f"-j {jobs} > series.tsv",
    )
    shell(
        folder,
        "[ -s n4.tsv ] || oa-convert oai/00m -o nii | oa-orient -o oriented | "
        f"oa-n4 -j {jobs} -o n4 > n4.tsv",
    )
    shell(
        folder,
        f"oa-embed -j {jobs} --backbone {options.backbone} {given} --slices 12 "
        f"-o {name} < n4.tsv > {name}.tsv",
    )
    recorded = json.loads((folder / "oai/phantom.json").read_text())["settings"]
    recorded["sequences"] = tuple(recorded["sequences"])
    knees = {}
    for patient in make_people(PhantomSettings(**recorded)):
        for knee in patient.knees:
            knees[knee.name] = knee.anatomy
    volumes = {row["knee"]: folder / row["path"] for row in read(folder / "n4.tsv")}
    if weights == "random":
        weights = None  # the model records the seed that they were drawn from
    return Study(folder, knees, volumes, read(folder / f"{name}.tsv"), weights)


def explain_half(
    study: Study, endpoint: str, measured_knees: int, methods: list[str]
) -> dict[str, list[list[float]]]:
    """Train on half of the patients, and score the maps of the others by method, a row a knee."""
    path, labels = train(study, endpoint)
    model, backbone = load(CamSettings(path, study.weights))
    found: dict[str, list[list[float]]] = {method: [] for method in methods}
    rows = read(study.folder / "held.out")
    positive = [row["knee"] for row in rows if float(row["probability"]) >= model.threshold]
    for number, name in enumerate(positive):
        volume = read_volume(study.volumes[name])
        values = np.array([float(labels[name][column]) for column in model.scaling.names])
        chain, knee = EndToEnd(model, backbone, values), prepare([volume], model)
        inside, near = places(volume, findings(study.knees[name], endpoint))
        noise = None
        if number < measured_knees:
            noise = areas(chain, knee, torch.rand((len(knee.pixels), 7, 7)))
        for method in methods:
            if method.startswith("occlusion") and noise is None:
                continue
            (one,), heat = explain(chain, knee, method)
            scores = score(volume, one, inside, near)
            found[method].append(scores + measured(chain, knee, heat, method, noise))
    return found


def train(study: Study, endpoint: str) -> tuple[Path, dict[str, dict[str, str]]]:
    """Train a model of every other patient, and predict the positive knees of the others.

    Returns the model's file and all labels by knee; `held.out` has the predictions.
    """
    folder, table = study.folder, f"labels-{endpoint}.tsv"
    shell(folder, f"oa-label oai/tables --endpoint {endpoint} > {table}")
    labels = {row["knee"]: row for row in read(folder / table)}
    patients = sorted({row["subject"] for row in study.features})
    fitting, held = [], []
    for row in study.features:
        if patients.index(row["subject"]) % 2 == 0:
            fitting.append(row)
        elif labels.get(row["knee"], {}).get("label") == "1":
            held.append(row)
    write(folder / "train.tsv", fitting)
    write(folder / "held.tsv", held)
    model = folder / f"half-{endpoint}.safetensors"
    shell(
        folder,
        f"oa-train train.tsv -l {table} --clinical bmi --slices 8 -o {model} --force > train.out",
    )
    shell(folder, f"oa-predict {model} held.tsv --with-clinical {table} > held.out")
    return model, labels


def findings(knee: KneeModel, endpoint: str) -> list[Finding]:
    """Return what was planted for an endpoint."""
    if endpoint == "jsn12":
        return [lesion(knee), femoral_lesion(knee)]
    return effusion(knee)


def places(volume: Volume, planted: list[Finding]) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (i, j, k) of the findings, and of the places within 10 mm of one.

    These are the findings with each axis that much longer.
    """
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    inside, near = np.zeros(volume.shape, dtype=bool), np.zeros(volume.shape, dtype=bool)
    for finding in planted:
        lengths = np.linalg.norm(finding.axes, axis=0)
        along = (world - np.array(finding.centre)) @ (finding.axes / lengths)
        inside |= np.square(along / lengths).sum(axis=-1) <= 1
        near |= np.square(along / (lengths + NEAR_MM)).sum(axis=-1) <= 1
    return inside, near


def score(volume: Volume, found: Explanation, inside: np.ndarray, near: np.ndarray) -> list[float]:
    """Return hit and chance, both also within 10 mm, and the attention on the finding's slices.

    The last is followed by the share of these slices.
    """
    hottest = np.unravel_index(found.heat.argmax(), volume.shape)
    seen = found.attention > 0
    tissue = (volume.data > 0.1 * np.percentile(volume.data, 99)) & seen
    planted = inside.any(axis=(0, 1))
    return [
        inside[hottest],
        inside[tissue].mean(),
        near[hottest],
        near[tissue].mean(),
        found.attention[planted].sum(),
        (planted & seen).sum() / seen.sum(),
    ]


def measured(
    chain: EndToEnd,
    knee: KneeImages,
    heat: torch.Tensor,
    method: str,
    noise: tuple[float, float] | None,
) -> list[float]:
    """Return deletion and insertion, each less that of noise, and the likeness to random models.

    NaN where they are not wanted.
    """
    if noise is None:
        return [np.nan] * 3
    deletion, insertion = areas(chain, knee, heat)
    alike = np.nan if method.startswith("occlusion") else randomised(chain, knee, method)
    return [deletion - noise[0], insertion - noise[1], alike]


def report(endpoint: str, method: str, rows: list[list[float]]) -> None:
    """Print one line of means over knees."""
    if not rows:
        return
    cells = [endpoint, method, str(len(rows))]
    for column in np.array(rows, dtype=float).T:
        mean = np.nan if np.isnan(column).all() else np.nanmean(column)
        cells.append(f"{mean:.3f}")
    print("\t".join(cells), flush=True)


def shell(folder: Path, command: str) -> None:
    """Run a pipe; its messages are kept in FOLDER/log."""
    line = ["bash", "-o", "pipefail", "-c", command]
    with (folder / "log").open("a") as log:
        subprocess.run(line, cwd=folder, check=True, stderr=log)


def read(path: Path) -> Rows:
    """Read the rows of a table."""
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write(path: Path, rows: Rows) -> None:
    """Write rows as a table."""
    with path.open("w") as file:
        out = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


if __name__ == "__main__":
    main()
