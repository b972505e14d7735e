"""The pointing game on phantoms: how often the hottest place of a map lies in the planted finding, beside chance.

    python tests/bench/cam.py [FOLDER] [--patients 150] [--backbone NAME --weights FILE] [--measured 8]

Makes a synthetic cohort in FOLDER (or goes on with one that examples/demo.sh left), trains a model
of narrowing and one of pain on half of the patients, and explains the positive knees of the other
half that the model calls positive. A hit is exact, or within 10 mm of the finding: half a cell of a
7 x 7 map over 140 mm. Chance is the same share of all places, air excepted, in the slices that the
model sees. Attention: the share on slices that the finding reaches, beside the share of such
slices. Deletion is the area under the deletion curve, less that of smooth noise; the more negative,
the better; insertion likewise, the more the better; randomised is the rank correlation with maps of
models with random weights. Occlusion and these three are slow, and done for the first knees only;
all methods are shown on these too. Synthetic knees: none of it says anything about patients.
"""

import argparse
import csv
import json
import os
import subprocess
import tempfile
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
import numpy as np
import torch

from oatools.explain.explanation import explain
from oatools.explain.faithfulness import areas, randomised
from oatools.explain.knee import EndToEnd, prepare
from oatools.explain.rows import CamSettings, load
from oatools.imaging.volume import Volume, read_volume
from oatools.phantom.anatomy import KneeModel
from oatools.phantom.findings import Finding, effusion, femoral_lesion, lesion
from oatools.phantom.people import PhantomSettings, make_people

METHODS = ("gradcam", "gradcam++", "hirescam", "occlusion")
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--backbone", default="efficientnet_b0")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--measured", type=int, default=8, metavar="KNEES")
    parser.add_argument("-j", type=int, default=2)
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp())).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    weights = (
        options.weights if options.weights == "random" else str(Path(options.weights).absolute())
    )
    features, volumes = make_volumes(folder, options.patients, options.backbone, weights, options.j)
    recorded = json.loads((folder / "oai/phantom.json").read_text())["settings"]
    settings = PhantomSettings(**recorded | {"sequences": tuple(recorded["sequences"])})
    knees = {knee.name: knee for patient in make_people(settings) for knee in patient.knees}
    print("\t".join(COLUMNS), flush=True)
    for endpoint in ("jsn12", "pain"):
        model, held, clinical = train(folder, endpoint, features)
        loaded = load(CamSettings(model, None if weights == "random" else weights))
        chosen = [
            name
            for name, probability in predict(folder, model, held)
            if probability >= loaded[0].threshold
        ]
        found = {method: [] for method in METHODS}
        for number, name in enumerate(chosen):
            volume = read_volume(volumes[name])
            values = np.array([float(clinical[name][n]) for n in loaded[0].scaling.names])
            chain, knee = EndToEnd(*loaded, values), prepare([volume], loaded[0])
            inside, near = places(volume, findings(knees[name].anatomy, endpoint))
            few = number < options.measured
            noise = areas(chain, knee, torch.rand((len(knee.pixels), 7, 7))) if few else None
            for method in METHODS if few else METHODS[:-1]:
                (one,), heat = explain(chain, knee, method)
                found[method].append(
                    score(volume, one, inside, near) + measured(chain, knee, heat, method, noise)
                )
        few = len(found["occlusion"])
        for method, rows in found.items():
            report(endpoint, method, rows)
            if few < len(rows):
                report(endpoint, method, rows[:few])


def make_volumes(
    folder: Path, patients: int, backbone: str, weights: str, jobs: int
) -> tuple[list[dict], dict[str, Path]]:
    """Rows of features, and the volume of each knee."""
    (folder / "n4.tsv").touch()
    name = f"features-{backbone}"
    shell(
        folder,
        f"[ -e oai/phantom.json ] || oa-phantom oai --patients {patients} --sequence cor-iw-tse "
        f"--matrix 192 -j {jobs} > series.tsv",
    )
    shell(
        folder,
        f"[ -s n4.tsv ] || oa-convert oai/00m -o nii | oa-orient -o oriented | oa-n4 -j {jobs} -o n4 > n4.tsv",
    )
    shell(
        folder,
        f"oa-embed -j {jobs} --backbone {backbone} --weights {weights} --slices 12 -o {name} "
        f"< n4.tsv > {name}.tsv",
    )
    return read(folder / f"{name}.tsv"), {
        r["knee"]: folder / r["path"] for r in read(folder / "n4.tsv")
    }


def train(
    folder: Path, endpoint: str, features: list[dict]
) -> tuple[Path, list[dict], dict[str, dict]]:
    """A model of every other patient; the positive knees of the others, and the clinical variables by knee."""
    shell(folder, f"oa-label oai/tables --endpoint {endpoint} > labels-{endpoint}.tsv")
    labels = {r["knee"]: r for r in read(folder / f"labels-{endpoint}.tsv")}
    patients = sorted({r["subject"] for r in features})
    write(folder / "train.tsv", [r for r in features if patients.index(r["subject"]) % 2 == 0])
    held = [
        r
        for r in features
        if patients.index(r["subject"]) % 2 and labels.get(r["knee"], {}).get("label") == "1"
    ]
    model = folder / f"half-{endpoint}.safetensors"
    shell(
        folder,
        f"oa-train train.tsv -l labels-{endpoint}.tsv --clinical bmi --slices 8 -o {model} --force > train.out",
    )
    return model, held, labels


def predict(folder: Path, model: Path, held: list[dict]) -> list[tuple[str, float]]:
    """Knees and their probabilities."""
    write(folder / "held.tsv", held)
    shell(
        folder,
        f"oa-predict {model} held.tsv --with-clinical labels-{model.stem.removeprefix('half-')}.tsv > held.out",
    )
    return [(r["knee"], float(r["probability"])) for r in read(folder / "held.out")]


def findings(knee: KneeModel, endpoint: str) -> list[Finding]:
    """What was planted for an endpoint."""
    return [lesion(knee), femoral_lesion(knee)] if endpoint == "jsn12" else effusion(knee)


def places(volume: Volume, planted: list[Finding]) -> tuple[np.ndarray, np.ndarray]:
    """Where (i, j, k) a finding is, and where one is within 10 mm (by its axes, each that much longer)."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    masks = [np.zeros(volume.shape, dtype=bool), np.zeros(volume.shape, dtype=bool)]
    for finding in planted:
        lengths = np.linalg.norm(finding.axes, axis=0)
        along = (world - np.array(finding.centre)) @ (finding.axes / lengths)
        for mask, more in zip(masks, (0.0, NEAR_MM), strict=True):
            mask |= (np.square(along / (lengths + more)).sum(axis=-1)) <= 1
    return masks[0], masks[1]


def score(volume: Volume, found, inside: np.ndarray, near: np.ndarray) -> list[float]:  # noqa: ANN001
    """Hit, chance, both within 10 mm, attention on the finding's slices, and the share of these."""
    place = np.unravel_index(found.heat.argmax(), volume.shape)
    seen = found.attention > 0
    tissue = (volume.data > 0.1 * np.percentile(volume.data, 99)) & seen
    planted = inside.any(axis=(0, 1))
    return [
        inside[place],
        inside[tissue].mean(),
        near[place],
        near[tissue].mean(),
        found.attention[planted].sum(),
        (planted & seen).sum() / seen.sum(),
    ]


def measured(chain, knee, heat, method: str, noise: tuple[float, float] | None) -> list[float]:  # noqa: ANN001
    """Deletion and insertion, each less that of noise, and the likeness to maps of random models; NaN if not wanted."""
    if noise is None:
        return [np.nan] * 3
    alike = np.nan if method == "occlusion" else randomised(chain, knee, method)
    return [*(np.array(areas(chain, knee, heat)) - noise), alike]


def report(endpoint: str, method: str, rows: list[list[float]]) -> None:
    """One line of means over knees."""
    if rows:
        columns = np.array(rows, dtype=float).T
        means = [np.nan if np.isnan(c).all() else np.nanmean(c) for c in columns]
        print(
            "\t".join([endpoint, method, str(len(rows)), *(f"{m:.3f}" for m in means)]), flush=True
        )


def shell(folder: Path, command: str) -> None:
    """Run a pipe; its messages are kept in FOLDER/log."""
    with (folder / "log").open("a") as log:
        subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=folder, check=True, stderr=log
        )


def read(path: Path) -> list[dict]:
    """A table's rows."""
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write(path: Path, rows: list[dict]) -> None:
    """A table."""
    with path.open("w") as file:
        out = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


if __name__ == "__main__":
    main()
