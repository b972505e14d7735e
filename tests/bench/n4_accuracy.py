"""Error of bias fields on synthetic knees with a planted field: `oa-n4`'s default, SimpleITK's N4, and ANTs'.

    python tests/bench/n4_accuracy.py [--seeds 2] [--coil KIND]... [--sequence NAME]... [--way NAME]... [--ants PYTHON]

A field is that of a coil (`array`, `flexible`, `birdcage`), as strong as it happens to be, in a knee
with mottled tissues; or `waves`, six random ones, in three strengths (RMS of the logarithm in tissue
0.105, 0.21, 0.315), each with once and twice the noise. Seeds from 1000 on: the defaults were chosen
on seeds 100 to 102 of `array` and `flexible`; no birdcage was seen. Errors are the RMS of the
difference of the log fields in tissue, after the mean. CV is the mean coefficient of variation of
the corrected intensity within fat, muscle, marrow and cartilage; noise and texture are most of it,
so `field_cv` is that of what is left of the field. `itk usual` is SimpleITK's filter with its own
settings on every fourth voxel of each axis inside Otsu's mask; `itk ours` is given our boxes, mask
and floor; `fast flat` is our engine as N4 alone. ANTs is run by the interpreter given, in which
antspyx must be installed. `worse` counts volumes whose error is larger than without a correction.
All of it is synthetic.
"""

import argparse
import itertools
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"))

import numpy as np
import SimpleITK as sitk

from oatools.imaging.volume import Volume
from oatools.n4.correct import N4Settings, correct_bias
from oatools.phantom import anatomy, rendering, series
from oatools.phantom.contrast import Tissue

RMS, STRENGTHS, NOISES, FIRST_SEED = 0.21, (0.5, 1.0, 1.5), (1.0, 2.0), 1000
TISSUES = (Tissue.FAT, Tissue.MUSCLE, Tissue.MARROW, Tissue.CARTILAGE)
WAYS = ("uncorrected", "default", "fast flat", "itk ours", "itk usual", "ants")
COILS = ("array", "flexible", "birdcage", "waves")
ANTS = """
import sys, ants, numpy as np
image = ants.image_read(sys.argv[1])
field = ants.n4_bias_field_correction(image, return_bias_field=True)
np.save(sys.argv[2], np.log(field.numpy()))
"""


def main() -> None:
    """Print every way's error and CV, means over seeds, by sequence, strength and noise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--coil", action="append", choices=COILS)
    parser.add_argument("--ants", metavar="PYTHON")
    parser.add_argument("--sequence", action="append", choices=list(series.SEQUENCES))
    parser.add_argument("--way", action="append", choices=WAYS, help="only these (default: all)")
    options = parser.parse_args()
    ways = options.way or [way for way in WAYS if way != "ants" or options.ants]
    if "uncorrected" not in ways:
        ways = ["uncorrected", *ways]
    print("coil\tsequence\tstrength\tnoise\tway\terror\tcv\tfield_cv\tworse\tseeds", flush=True)
    totals = {}
    names = options.sequence or series.SEQUENCES
    for coil, name in itertools.product(options.coil or COILS, names):
        strengths, noises = (STRENGTHS, NOISES) if coil == "waves" else ((None,), (1.0,))
        for strength, noise in itertools.product(strengths, noises):
            seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
            case = coil, name, strength, noise
            found = [one(*case, seed, ways, options.ants) for seed in seeds]
            for way in ways:
                values = np.mean([each[way] for each in found], axis=0)
                worse = sum(each[way][0] > each["uncorrected"][0] for each in found)
                for key in ((coil, name, way), (coil, "all", way)):
                    totals.setdefault(key, []).append(values)
                shown = ["own" if part is None else part for part in case]
                print(*shown, way, *as_text(values), worse, options.seeds, sep="\t", flush=True)
    for (coil, name, way), values in totals.items():
        others = [totals.get((coil, name, other)) for other in ("itk usual", "ants")]
        best = min((np.mean(v, axis=0)[0] for v in others if v is not None), default=np.nan)
        means = np.mean(values, axis=0)
        compared = f"error is {means[0] / best:.2f} of the better of SimpleITK and ANTs"
        print(coil, name, "all", "all", way, *as_text(means), compared, sep="\t", flush=True)


def as_text(values: np.ndarray) -> list[str]:
    """Format numbers with four digits behind the point."""
    return [f"{value:.4f}" for value in values]


def one(
    coil: str,
    name: str,
    strength: float | None,
    noise: float,
    seed: int,
    ways: list[str],
    ants: str | None,
) -> dict[str, tuple[float, float, float]]:
    """Measure the error, the CV and the CV of the rest of the field, of every way on one knee."""
    rng = np.random.default_rng(seed)
    knee, protocol = anatomy.random_knee(rng, "left"), series.SEQUENCES[name]
    if coil != "waves":
        knee = anatomy.in_coil(knee, coil, np.random.default_rng([seed, 7]))
    shape, affine = series.grid(protocol, 384, "left", (95.0, 0.0, 0.0), 5.0)
    plain = rendering.render(knee, shape, affine, protocol.contrast, bias=False)
    labels = rendering.tissue_map(knee, shape, affine)
    planted = np.log(rendering.bias_field(knee, shape, affine))
    tissue = labels > 0
    if strength is not None:
        planted *= strength * RMS / planted[tissue].std()
    image = series.digitise(plain * np.exp(planted), protocol.noise * noise, rng)
    volume = Volume(np.asfortranarray(image.astype(np.int16)), affine)
    flat = N4Settings(start="flat", weights="equal", spans=(1, 1, 1), iterations=(50,) * 4)
    fields = {
        "uncorrected": lambda: np.zeros_like(planted),
        "default": lambda: correct_bias(volume, N4Settings()).log_field,
        "fast flat": lambda: correct_bias(volume, flat).log_field,
        "itk ours": lambda: correct_bias(volume, replace(flat, engine="itk")).log_field,
        "itk usual": lambda: usual(image, volume.spacing),
        "ants": lambda: by_ants(image, volume.spacing, ants),
    }
    return {way: score(fields[way](), planted, image, labels, tissue) for way in ways}


def usual(image: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """SimpleITK as its users write it: Otsu's mask, shrink by 4, the filter's own settings."""
    full = sitk.GetImageFromArray(np.ascontiguousarray(image.T, dtype=np.float32))
    full.SetSpacing([float(s) for s in spacing])
    mask = sitk.OtsuThreshold(full, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(full, [4] * 3), sitk.Shrink(mask, [4] * 3))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)).T


def by_ants(image: np.ndarray, spacing: np.ndarray, python: str) -> np.ndarray:
    """antspyx's n4_bias_field_correction with its defaults."""
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary, "image.nii"), Path(temporary, "field.npy")
        full = sitk.GetImageFromArray(np.ascontiguousarray(image.T, dtype=np.float32))
        full.SetSpacing([float(s) for s in spacing])
        sitk.WriteImage(full, str(source))
        subprocess.run(
            [python, "-c", ANTS, str(source), str(target)], check=True, stdout=subprocess.DEVNULL
        )
        return np.load(target)


def score(
    field: np.ndarray,
    planted: np.ndarray,
    image: np.ndarray,
    labels: np.ndarray,
    tissue: np.ndarray,
) -> tuple[float, float, float]:
    """Measure the RMS error of a log field in tissue, and two mean CVs within tissues.

    They are those of the corrected image and of what is left of the field.
    """
    corrected, rest = image / np.exp(field), np.exp(planted - field)
    error = float((field - planted)[tissue].std())
    return error, variation(corrected, labels), variation(rest, labels)


def variation(image: np.ndarray, labels: np.ndarray) -> float:
    """Average the coefficients of variation within tissues."""
    inside = [image[labels == tissue] for tissue in TISSUES]
    return float(np.mean([values.std() / values.mean() for values in inside]))


if __name__ == "__main__":
    main()
