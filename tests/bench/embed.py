"""Speed of `oa-embed` on the CPU beside the bare forward pass and the usual script; its memory.

    python tests/bench/embed.py [--part speed|memory]... [--knees 40] [--cores 2] [--backbone NAME]

speed:  slices a second of the whole command, its start included, on coronal volumes of the study's
        size: as `oa-convert` leaves them (int16, .nii.gz), and as `oa-n4` does (float32, .nii.gz;
        .nii with --compress 0). Beside it, in the same run: the bare forward pass of the same
        network in the same engine, on as many cores, with data in memory, at the best of several
        batch sizes; and the usual script: one volume after the other, nibabel, torchvision's
        transforms slice by slice, eager PyTorch on as many cores, a batch of the volume's slices.
memory: peak of the resident memory for 10 and for 400 volumes.

Weights are random and volumes synthetic, which no time depends on.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BIN = Path(sys.executable).parent
USUAL = """
import sys, nibabel, numpy as np, timm, torch
from PIL import Image
from torchvision import transforms
torch.set_num_threads(int(sys.argv[2]))
model = timm.create_model(sys.argv[1], pretrained=False, num_classes=0).eval()
turn = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(),
                           transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
count = 0
for path in sys.argv[3:]:
    data = nibabel.load(path).get_fdata()
    low, high = np.percentile(data, [1, 99])
    data = (np.clip((data - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    slices = [turn(Image.fromarray(data[:, :, k]).convert("RGB")) for k in range(data.shape[2])]
    with torch.no_grad():
        features = model(torch.stack(slices)).numpy()
    np.save(path + ".npy", features)
    count += len(features)
print(count)
"""


def main() -> None:
    """Run the parts asked for (all by default)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=["speed", "memory"])
    parser.add_argument("--knees", type=int, default=40)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--backbone", default="efficientnet_b0")
    options = parser.parse_args()
    parts = options.part or ["speed", "memory"]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["OATOOLS_CACHE"] = str(root / "networks")
        make(root, options.knees)
        if "speed" in parts:
            speed(root, options.backbone, options.cores)
        if "memory" in parts:
            memory(root, options.backbone)


def make(root: Path, knees: int) -> None:
    """Make coronal volumes of synthetic knees, in three forms."""
    line = (
        f"{BIN}/oa-phantom in --patients {-(-knees // 2)} --sequence cor-iw-tse -q -j 2 > /dev/null && "
        f"{BIN}/oa-convert -q -j 2 in/00m -o int16 | head -n {knees + 1} > int16.tsv && "
        f"{BIN}/oa-n4 -q -j 2 -o float32 < int16.tsv > float32.tsv && "
        f"{BIN}/oa-n4 -q -j 2 --compress 0 -o plain < int16.tsv > plain.tsv"
    )
    subprocess.run(line, shell=True, check=True, cwd=root)


def speed(root: Path, backbone: str, cores: int) -> None:
    """Time the command and the bare forward pass, interleaved twice, and the usual script.

    Printed is the best of each.
    """
    best: dict[str, float] = {}

    def note(name: str, rate: float) -> None:
        best[name] = max(best.get(name, 0.0), rate)

    rows = (root / "int16.tsv").read_text().splitlines()[1:]
    volumes = [line.split("\t")[5] for line in rows]
    slices = slices_of(root / volumes[0]) * len(volumes)
    command = f"{BIN}/oa-embed -q -f -j {cores} --weights random --backbone {backbone} -o out"
    for precision in ("float32", "bf16"):  # the export, which is made once and kept, is not counted
        subprocess.run(
            f"{command} --slices 1 --precision {precision} {volumes[0]}",
            shell=True,
            check=True,
            cwd=root,
            stdout=subprocess.DEVNULL,
        )
    for _ in range(2):
        for precision in ("float32", "bf16"):
            for batch in (1, 2, 4, 8, 16):
                note(f"bare {precision}", bare(backbone, precision, batch, cores))
            for form in ("int16", "float32", "plain"):
                shutil.rmtree(root / "out", ignore_errors=True)
                line = f"{command} --precision {precision} < {form}.tsv > /dev/null"
                note(f"oa-embed {precision} {form}", slices / timed(line, root))
    script = [
        sys.executable,
        "-c",
        USUAL,
        backbone,
        str(cores),
        *volumes[: max(4, len(volumes) // 4)],
    ]
    start = time.perf_counter()
    done = subprocess.run(
        script, check=True, cwd=root, capture_output=True, text=True, env=threaded(cores)
    )
    note("usual script", int(done.stdout) / (time.perf_counter() - start))
    print("what\tslices_a_second\tof_bare\ttimes_usual")
    for name, rate in best.items():
        precision = "bf16" if "bf16" in name else "float32"
        print(
            f"{name}\t{rate:.1f}\t{rate / best[f'bare {precision}']:.2f}\t{rate / best['usual script']:.1f}"
        )


def bare(backbone: str, precision: str, batch: int, cores: int, seconds: float = 4.0) -> float:
    """Return the slices a second of the forward pass alone.

    As many threads as cores compute, each with its batch in memory.
    """
    import numpy as np

    from oatools.features.engine import EngineSettings
    from oatools.features.engines import open_engine

    engine = open_engine(
        EngineSettings(
            backbone, "random", device="cpu", precision=precision, batch=batch, threads=cores
        )
    )
    images = np.random.default_rng(0).random(
        (batch, 1, engine.record.size, engine.record.size), dtype=np.float32
    )
    engine(images)
    counts = [0] * cores
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        while time.perf_counter() < end:
            engine(images)
            counts[place] += batch

    threads = [threading.Thread(target=work, args=(place,)) for place in range(cores)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def memory(root: Path, backbone: str) -> None:
    """Print the peak resident memory of the command for few and for many volumes."""
    volumes = sorted((root / "float32").glob("*.nii.gz"))
    print("volumes\tpeak_MiB")
    for count in (10, 400):
        rows = [f"knee{k}\t{volumes[k % len(volumes)]}" for k in range(count)]
        (root / "many.tsv").write_text("\n".join(["knee\tpath", *rows]) + "\n")
        line = [
            f"{BIN}/oa-embed",
            "-q",
            "-j",
            "2",
            "--weights",
            "random",
            "--backbone",
            backbone,
            "--slices",
            "8",
            "-o",
            str(root / f"out{count}"),
            str(root / "many.tsv"),
        ]
        child = os.fork()
        if child == 0:
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
            print(
                f"{count}\t{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}",
                flush=True,
            )
            os._exit(0)
        os.waitpid(child, 0)


def slices_of(path: Path) -> int:
    """Return the number of slices of a volume."""
    from oatools.imaging.volume import read_geometry

    return read_geometry(path).shape[2]


def timed(line: str, root: Path) -> float:
    """Return the seconds that a command line takes."""
    start = time.perf_counter()
    subprocess.run(line, shell=True, check=True, cwd=root)
    return time.perf_counter() - start


def threaded(cores: int) -> dict[str, str]:
    """Return the environment of a script that may use so many cores."""
    return {**os.environ, "OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)}


if __name__ == "__main__":
    main()
