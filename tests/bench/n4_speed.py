"""Time of N4: our engine beside SimpleITK's filter on identical input, the whole command beside a script, and growth.

    python tests/bench/n4_speed.py [--part filter|command|floor|growth]... [--full] [--knees 20]

filter: the same samples, mask, iterations and tolerance for both, one thread each, on a coronal and
a DESS volume at
        every fourth voxel of each axis; with --full, also the coronal volume at full resolution (many minutes).
        Beside the time, how far apart the fields are with the iterations fixed (RMS and maximum in the mask).
command: `oa-n4 -j 2` on coronal volumes beside a plain SimpleITK script (shrink 4) under GNU
parallel -j 2; process
        start and .nii.gz in and out included.
floor:  `oa-n4` beside reading, unpacking, packing and writing the same bytes with the same library.
growth: seconds and peak memory for 1 to 64 million voxels. All volumes are synthetic.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"))

import numpy as np

BIN = Path(sys.executable).parent
SCRIPT = """
import sys, SimpleITK as sitk
image = sitk.ReadImage(sys.argv[1], sitk.sitkFloat32)
mask = sitk.OtsuThreshold(image, 0, 1, 200)
n4 = sitk.N4BiasFieldCorrectionImageFilter()
n4.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
sitk.WriteImage(image / sitk.Exp(n4.GetLogBiasFieldAsImage(image)), sys.argv[2])
"""


def main() -> None:
    """Run the parts asked for (all by default)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=["filter", "command", "floor", "growth"])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--knees", type=int, default=20)
    options = parser.parse_args()
    parts = options.part or ["filter", "command", "floor", "growth"]
    if "filter" in parts:
        filters(options.full)
    if "growth" in parts:
        growth()
    if "command" in parts or "floor" in parts:
        with tempfile.TemporaryDirectory() as temporary:
            commands(Path(temporary), options.knees, "command" in parts, "floor" in parts)


def filters(full: bool) -> None:
    """Time filter against filter, and print how far apart their fields are."""
    from oatools.n4.field import FitSettings, fit_field
    from oatools.n4.masks import otsu_mask

    print("filter\tsamples\titk_s\tfast_s\tratio\trms_of_difference\tmaximum")
    cases = [("cor-iw-tse", 4), ("sag-3d-dess", 4)]
    if full:
        cases.append(("cor-iw-tse", 1))
    for name, step in cases:
        image = volume(name)[::step, ::step, ::step]
        mask = otsu_mask(image)
        seconds, _ = by_itk(image, mask, (50,) * 4, 0.001)
        ours = min(timed(lambda i=image, m=mask: fit_field(i, m, FitSettings())) for _ in range(3))
        fixed = (10, 10, 10, 10)
        _, theirs = by_itk(image, mask, fixed, 0.0)
        places = [np.linspace(0, 1, n) for n in image.shape]
        log = fit_field(image, mask, FitSettings(fixed, 0.0)).log_at(places)
        apart = (log - theirs)[mask]
        apart -= apart.mean()
        ratio, rms, most = seconds / ours, np.sqrt((apart**2).mean()), np.abs(apart).max()
        times = f"{seconds:.2f}\t{ours:.4f}\t{ratio:.0f}"
        print(f"{name} at {step}\t{image.size}\t{times}\t{rms:.1e}\t{most:.1e}", flush=True)


def commands(root: Path, knees: int, scripts: bool, floors: bool) -> None:
    """Time the whole command on coronal volumes beside the script, and beside the floor."""
    make = (
        f"{BIN}/oa-phantom in --patients {knees // 2} --sequence cor-iw-tse -q -j 2 > /dev/null && "
        f"{BIN}/oa-convert -q in/00m -o nii > nii.tsv"
    )
    subprocess.run(make, shell=True, check=True, cwd=root)
    (root / "n4.py").write_text(SCRIPT)
    volumes = sorted((root / "nii").glob("*.nii.gz"))
    print("command\tseconds\tseconds_a_volume")

    def run(name: str, line: str) -> float:
        shutil.rmtree(root / "out", ignore_errors=True)
        (root / "out").mkdir()
        seconds = timed(
            lambda: subprocess.run(
                line, shell=True, check=True, cwd=root, stdout=subprocess.DEVNULL
            )
        )
        print(f"{name}\t{seconds:.2f}\t{seconds / len(volumes):.3f}", flush=True)
        return seconds

    ours = f"{BIN}/oa-n4 -q -o out"
    if scripts:
        fast = run("oa-n4 -j 2", f"{ours} -j 2 < nii.tsv")
        theirs = f"parallel -j 2 {sys.executable} n4.py {{}} out/{{/}} ::: nii/*.nii.gz"
        slow = run("SimpleITK script, parallel -j 2", theirs)
        print(f"ratio\t{slow / fast:.0f}\t")
    if floors:
        start = min(run("oa-n4, nothing to do", f"head -n 1 nii.tsv | {ours}") for _ in range(2))
        alone = min(run("oa-n4", f"{ours} < nii.tsv") for _ in range(2))
        low = min(timed(lambda: floor(root, volumes)) for _ in range(2))
        print(f"floor: read, unpack, pack and write\t{low:.2f}\t{low / len(volumes):.3f}")
        without_start = (alone - start) / low
        print(f"oa-n4 / floor, without and with its start\t{without_start:.2f}\t{alone / low:.2f}")


def floor(root: Path, volumes: list[Path]) -> None:
    """Read and unpack the inputs, pack and write the outputs: the bytes that `oa-n4` moves."""
    from isal import igzip, isal_zlib

    for path in volumes:
        with igzip.open(path) as stream:
            stream.read()
        with igzip.open(root / "out" / path.name) as stream:
            content = stream.read()
        packed = isal_zlib.compress(content, 2, 31)
        with (root / "copy.nii.gz").open("wb") as out:
            out.write(packed)
            os.fsync(out.fileno())


def growth() -> None:
    """Seconds, and the process's peak memory above its imports, against the number of voxels."""
    code = (
        "import sys, time, resource, numpy as np\n"
        "from oatools.n4.correct import N4Settings, correct_bias\nfrom oatools.imaging.volume import Volume\n"
        "n = int(sys.argv[1]); side = {1: 160, 4: 320, 16: 640, 64: 1280}[n]; slices = 40\n"
        "rng = np.random.default_rng(0)\n"
        "blocks = rng.integers(50, 900, (8, 8, 4)).astype(np.int16)\n"
        "image = np.asfortranarray(np.kron(blocks, np.ones((side // 8, side // 8, slices // 4), np.int16)))\n"
        "volume = Volume(image, np.diag([140 / side, 140 / side, 3, 1.0]))\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "times = []\n"
        "for _ in range(3):\n"
        "    start = time.perf_counter(); correct_bias(volume, N4Settings()); times.append(time.perf_counter() - start)\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base\n"
        "print(image.size, min(times), peak * 1024 / (4 * image.size))\n"
    )
    print("growth\tvoxels\tseconds\tseconds_a_million\tpeak_in_float32_volumes")
    for millions in (1, 4, 16, 64):
        done = subprocess.run(
            [sys.executable, "-c", code, str(millions)], check=True, capture_output=True, text=True
        )
        voxels, seconds, peak = map(float, done.stdout.split())
        print(
            f"growth\t{voxels:.0f}\t{seconds:.3f}\t{seconds / voxels * 1e6:.4f}\t{peak:.2f}",
            flush=True,
        )


def volume(name: str) -> np.ndarray:
    """A synthetic knee of the study's size, with field and noise, float32."""
    from oatools.phantom import anatomy, rendering, series

    rng = np.random.default_rng(1)
    protocol = series.SEQUENCES[name]
    shape, affine = series.grid(protocol, 384, "left", (95.0, 0.0, 0.0), 5.0)
    image = rendering.render(anatomy.random_knee(rng, "left"), shape, affine, protocol.contrast)
    return series.digitise(image, protocol.noise, rng).astype(np.float32)


def by_itk(
    image: np.ndarray, mask: np.ndarray, iterations: tuple[int, ...], convergence: float
) -> tuple:
    """Seconds of SimpleITK's filter, and its log field."""
    import SimpleITK as sitk

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetConvergenceThreshold(convergence)
    picture = sitk.GetImageFromArray(np.ascontiguousarray(image.T))
    chosen = sitk.GetImageFromArray(np.ascontiguousarray(mask.T).astype(np.uint8))
    seconds = timed(lambda: n4.Execute(picture, chosen))
    return seconds, sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(picture)).T


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
