"""Every path that computes on a GPU: beside the CPU's numbers, and how fast; a few minutes in all.

    python tests/bench/gpu.py [--part agreement|speed|stages|command|training|cam]...
                              [--device cuda] [--backbone NAME] [--weights random|FILE]
                              [--knees 2400] [--scans DIR] [--small]

agreement:  features of two volumes by each precision, in the command's own way from the voxels on,
            beside those of PyTorch in float32 on the CPU: the error's norm by that of the features,
            the error by what differs between slices, and the smallest cosine. float32 must agree to
            1e-4 (norm), float16 and bf16 have a cosine above 0.999 and 0.998
            (random weights feel rounding most); twice the same
            volume must give the same bytes. Else the exit status is 1.
speed:      slices a second of the forward pass alone, images on the device, at the best of several
            batch sizes: of this package's engine, and of the same model made by timm, as timm's own
            benchmark does it (eager, channels last, no gradient, ten batches of warming up).
stages:     milliseconds that one thread needs for each step of a volume.
command:    slices a second of `oa-embed` from `.nii.gz` of int16 as `oa-convert` leaves them,
            384 x 384 x 35; its start included, and without it (from runs of two lengths).
training:   seconds of `oa-cv` on the features made, with networks alone, on the CPU and on the
            device; how far its probabilities lie apart, twice the same on the device; and seconds
            with permuted labels on the device, whose networks are trained all together.
cam:        `oa-cam` on the device beside the CPU: rank correlation of the maps, and seconds.

Prints one table. Volumes are synthetic knees, some 600 of them, and the rest are links to these;
labels mean nothing. Where there is no GPU it says so, and does all the same on the CPU; `--small`
does it in a small form, for a test.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np

#: What each precision must reach: the most error (norm), and the least cosine.
REQUIRED = {"float32": (1e-4, 0.999999), "float16": (0.1, 0.999), "bf16": (0.1, 0.998)}
PARTS = ["agreement", "command", "stages", "speed", "cam", "training"]
SEQUENCE = "cor-iw-tse"
#: So many volumes are made; others are links to these, which nothing may be trained on.
DISTINCT = 600


class Work(NamedTuple):
    """What to measure on: a folder, a device, a backbone with its weights, volumes and cores."""

    root: Path
    device: str
    backbone: str
    weights: str
    volumes: list[Path]
    cores: int
    small: bool

    @property
    def knees(self) -> int:
        return len(self.volumes)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def precisions(self) -> list[str]:
        return ["float32", "float16", "bf16"] if self.on_gpu else ["float32", "bf16"]


def main() -> int:
    """Run the parts asked for (all by default), and return 1 where numbers do not agree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--device")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights", default="pretrained", metavar="random|FILE")
    parser.add_argument("--knees", type=int, default=2400)
    parser.add_argument("--scans", type=Path, metavar="DIR", help="keep the volumes here")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["OATOOLS_CACHE"] = f"{temporary}/networks"
        knees = 8 if options.small else options.knees
        folder = options.scans or Path(temporary) / "scans"
        volumes = make_volumes(folder.absolute(), knees, options.small, cores)
        device = options.device or found_device()
        weights = options.weights
        if weights == "random":
            weights = str(random_weights(options.backbone, Path(temporary)))
        elif weights != "pretrained":
            weights = str(Path(weights).absolute())
        work = Work(
            root=Path(temporary),
            device=device,
            backbone=options.backbone,
            weights=weights,
            volumes=volumes,
            cores=cores,
            small=options.small,
        )
        print(f"# {machine(device)}")
        print(f"# {options.backbone}, weights {options.weights}; synthetic knees")
        print("part\twhat\tvalue\tunit", flush=True)
        show("all", "volumes and weights made", time.perf_counter() - begun, "s")
        chosen = options.part or PARTS
        agrees = True
        for name in PARTS:
            if name in chosen or (name == "command" and {"training", "cam"} & {*chosen}):
                started = time.perf_counter()
                agrees = run_part(name, work) and agrees
                show(name, "this part", time.perf_counter() - started, "s")
        show("all", "this script", time.perf_counter() - begun, "s")
    return 0 if agrees else 1


def run_part(name: str, work: Work) -> bool:
    """Run one part; False where numbers do not agree, or it ended in an error."""
    try:
        return {
            "agreement": agreement,
            "speed": speed,
            "stages": stages,
            "command": command,
            "training": training,
            "cam": cam,
        }[name](work)
    except Exception as error:  # the other parts are still worth their time
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        show(name, f"FAILED: {type(error).__name__} {' / '.join(said[-3:])[:300]}", np.nan, "")
        return False


def show(part: str, what: str, value: float, unit: str) -> None:
    """Print a row of the table."""
    print(f"{part}\t{what}\t{value:.6g}\t{unit}", flush=True)


def found_device() -> str:
    """Return cuda, or cpu where no GPU is at hand, which is said."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    print("# No GPU is at hand: the CPU computes, and nothing here tells of a GPU.")
    return "cpu"


def random_weights(backbone: str, folder: Path) -> Path:
    """Write a file of random weights, as `--weights random` makes them, and return its path."""
    from safetensors.torch import save_file

    from oatools.features.backbone import load_backbone

    path = folder / "random.safetensors"
    save_file(load_backbone(backbone, "random").network.state_dict(), path)
    return path


def machine(device: str) -> str:
    """Return the names of the card and of what computes on it."""
    import torch

    card = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0))
    return f"{card}, {cores} cores, torch {torch.__version__}, Python {sys.version.split()[0]}"


# Volumes -------------------------------------------------------------------------------------


def make_volumes(folder: Path, knees: int, small: bool, cores: int) -> list[Path]:
    """Make coronal volumes of synthetic knees, int16, in .nii.gz; some are others, shifted."""
    folder.mkdir(exist_ok=True)
    kinds = 2 if small else 16
    with ProcessPoolExecutor(min(cores, kinds)) as pool:
        made = pool.map(
            partial(make_alike, folder, min(knees, DISTINCT), kinds, small), range(kinds)
        )
        paths = sorted(path for of_kind in made for path in of_kind)
    for number in range(len(paths), knees):
        path = volume_path(folder, number)
        if not path.exists():
            os.link(paths[number % DISTINCT], path)
        paths.append(path)
    return paths


def volume_path(folder: Path, number: int) -> Path:
    """Return the path of the volume of a knee."""
    return folder / f"{9000001 + number}_00m_left_{SEQUENCE}.nii.gz"


def make_alike(folder: Path, knees: int, kinds: int, small: bool, kind: int) -> list[Path]:
    """Make those of one kind, which share an anatomy and its noise, shifted by a pixel each."""
    from oatools.imaging.volume import Volume, write_volume
    from oatools.phantom import anatomy, rendering, series

    rng = np.random.default_rng(kind)
    sequence = series.SEQUENCES[SEQUENCE]
    shape, affine = series.grid(sequence, 64 if small else 384, "left", (95.0, 0.0, 0.0), 5.0)
    image = rendering.render(anatomy.random_knee(rng, "left"), shape, affine, "iw")
    data = series.digitise(image, sequence.noise, rng).astype(np.int16)
    data = np.asfortranarray(data[:, :, 14:22] if small else data)
    paths = []
    for k in range(kind, knees, kinds):
        paths.append(volume_path(folder, k))
        if not paths[-1].exists():
            write_volume(paths[-1], Volume(np.roll(data, k // kinds, axis=0), affine))
    return paths


def table_of(work: Work, count: int) -> Path:
    """Write a table of the first knees."""
    lines = ["knee\tsequence\tpath"]
    for path in work.volumes[:count]:
        lines.append(f"{knee_of(path)}\t{SEQUENCE}\t{path}")
    table = work.root / f"knees{count}.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table


def knee_of(path: Path) -> str:
    """Return the name of the knee that a volume is of."""
    return path.name.removesuffix(f"_{SEQUENCE}.nii.gz")


# Parts ---------------------------------------------------------------------------------------


def agreement(work: Work) -> bool:
    """Compare the features of each precision with those of the CPU."""
    from oatools.imaging.volume import read_volume

    volumes = [read_volume(path) for path in work.volumes[:2]]
    expected = features(work, volumes, "cpu", "float32")
    agrees = True
    for precision in work.precisions:
        found = features(work, volumes, work.device, precision)
        again = features(work, volumes, work.device, precision)
        name = f"{work.device} {precision}"
        error = norm(found - expected) / norm(expected)
        differs = expected - expected.mean(axis=0)
        cosine = ((found * expected).sum(axis=1) / row_norms(found) / row_norms(expected)).min()
        show("agreement", f"{name}: error by norm", error, "")
        show(
            "agreement",
            f"{name}: error by what differs between slices",
            norm(found - expected) / norm(differs),
            "",
        )
        show("agreement", f"{name}: 1 - smallest cosine", 1 - cosine, "")
        same = np.array_equal(found, again)
        show("agreement", f"{name}: same numbers twice", float(same), "")
        most, least = REQUIRED[precision]
        agrees = agrees and error < most and cosine > least and same
    return bool(agrees)


def features(work: Work, volumes: list, device: str, precision: str) -> np.ndarray:
    """Return the features of all slices of volumes, float64, computed by PyTorch."""
    from oatools.features.embed import EmbedSettings, embed_volume
    from oatools.features.engine import EngineSettings

    engine = EngineSettings(
        work.backbone, work.weights, engine="torch", device=device, precision=precision
    )
    settings = EmbedSettings(engine=engine)
    return np.concatenate([embed_volume(v, settings).features for v in volumes]).astype(np.float64)


def norm(values: np.ndarray) -> float:
    """Return the Euclidean norm of all numbers."""
    return float(np.sqrt((values**2).sum()))


def row_norms(values: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each row."""
    return np.sqrt((values**2).sum(axis=1))


def speed(work: Work) -> bool:
    """Time the forward pass alone, by this package and by timm."""
    import torch

    from oatools.features.engine import EngineSettings
    from oatools.features.engines import open_engine

    batches = [256, 512] if work.on_gpu else [2]
    for precision in work.precisions:
        best: dict[str, tuple[float, int]] = {}
        for batch in batches:
            engine = open_engine(
                EngineSettings(
                    work.backbone,
                    work.weights,
                    engine="torch",
                    device=work.device,
                    precision=precision,
                    batch=batch,
                )
            )
            size = engine.record.size
            images = torch.rand(batch, 1, size, size)
            ways = {"engine, images on the device": partial(engine, images.to(work.device))}
            if precision != "bf16" or work.on_gpu:
                ways["timm's own model, eager"] = timms(work, precision, batch, size)
            for way, call in ways.items():
                rate = batch / seconds_of(call, work)
                best[way] = max(best.get(way, (0.0, 0)), (rate, batch))
            del engine, ways, call
        for way, (rate, batch) in best.items():
            show("speed", f"{precision} {way}, batches of {batch}", rate, "slices/s")
    return True


def timms(work: Work, precision: str, batch: int, size: int) -> Callable[[], object]:
    """Return the forward pass of timm's own model on images of its own kind."""
    import timm
    import torch

    from oatools.features.backbone import TYPES

    dtype = TYPES[precision]
    network = timm.create_model(work.backbone, pretrained=False, num_classes=0).eval()
    network = network.to(work.device, dtype).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, size, size).to(work.device, dtype)
    images = images.to(memory_format=torch.channels_last)

    def forward() -> object:
        with torch.inference_mode():
            return network(images)

    return forward


def seconds_of(call: Callable[[], object], work: Work) -> float:
    """Return the seconds that a call takes in a row of many, once it is warm."""
    import torch

    def settle() -> None:
        if work.on_gpu:
            torch.cuda.synchronize(work.device)

    warming, least = (10, 0.3) if work.on_gpu else (1, 0.2)
    for _ in range(warming):
        call()
    settle()
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < least:
        for _ in range(4):
            call()
        count += 4
        settle()
    return (time.perf_counter() - begun) / count


def stages(work: Work) -> bool:
    """Time each step that a volume goes through, in one thread."""
    from oatools.core.files import digest
    from oatools.features.embed import EmbedSettings, embed_volume
    from oatools.features.engine import EngineSettings
    from oatools.features.engines import open_engine
    from oatools.features.featurefile import write_features
    from oatools.features.slices import images, intensity_window
    from oatools.features.volumereaders import VolumeReaders
    from oatools.imaging.volume import read_volume

    path = work.volumes[0]
    volume = read_volume(path)
    engine_settings = EngineSettings(
        work.backbone, work.weights, engine="torch", device=work.device
    )
    settings = EmbedSettings(engine=engine_settings).resolve()
    engine = open_engine(settings.engine)
    preprocessing = settings.preprocessing(engine.record)
    made = embed_volume(volume, settings)
    readers = VolumeReaders(None)
    steps: dict[str, Callable[[], object]] = {
        "digest of the file": partial(digest, path),
        "read": partial(read_volume, path),
        "read in another process": partial(readers.read, path),
        "window on the CPU": partial(intensity_window, volume.data, (1.0, 99.0)),
        "window and resize on the CPU": partial(images, volume, preprocessing),
        "write features": partial(write_features, work.root / "stage.h5", made),
        "voxels to features": partial(embed_volume, volume, settings),
        "window and resize on the device": partial(engine.images, volume, preprocessing),
    }
    for name, step in steps.items():
        step()
        taken = []
        for _ in range(2 if work.small else 10):
            begun = time.perf_counter()
            step()
            taken.append(time.perf_counter() - begun)
        show("stages", name, 1000 * float(np.median(taken)), "ms")
    return True


def command(work: Work) -> bool:
    """Time `oa-embed` on tables of two lengths."""
    few, many = max(2, work.knees // 8), work.knees
    precisions = ["float16", "float32"] if work.on_gpu else ["float32"]
    slices = slices_of(work)
    for precision in precisions:
        start = embedded(work, few, precision, f"few-{precision}")
        taken = embedded(work, many, precision, f"f-{precision}")
        name = f"oa-embed {precision}"
        show("command", f"{name}, {few} volumes", start, "s")
        show("command", f"{name}, {many} volumes", taken, "s")
        show("command", f"{name}, start included", many * slices / taken, "slices/s")
        if taken > start:
            steady = (many - few) * slices / (taken - start)
            show("command", f"{name}, without its start", steady, "slices/s")
    return True


def embedded(work: Work, count: int, precision: str, out: str) -> float:
    """Return the seconds in which `oa-embed` embeds so many volumes."""
    begun = time.perf_counter()
    oa(work, "embed", *embed_options(work, precision), "-o", out, table_of(work, count))
    return time.perf_counter() - begun


def embed_options(work: Work, precision: str) -> list[str]:
    """Return the options of `oa-embed`; on a CPU OpenVINO would compute, if it were there."""
    engine = [] if work.on_gpu else ["--engine", "torch", "-j", str(work.cores)]
    return [
        "-q",
        *engine,
        *("--device", work.device, "--precision", precision),
        *("--backbone", work.backbone, "--weights", work.weights),
    ]


def training(work: Work) -> bool:
    """Compare and time `oa-cv` on the features, on the CPU and on the device."""
    folds = ["--repeats", "1", "--no-compare", *(["-k", "2"] if work.small else [])]
    common = [*training_options(work), *folds, "--linear", "none"]
    jobs = ["-j", str(min(5, work.cores))]
    found = []
    for device, run in (("cpu", jobs), (work.device, []), (work.device, [])):
        out = f"cv{len(found)}"
        with timer() as clock:
            printed = oa(work, "cv", *common, *run, "--device", device, "-o", out)
        show("training", f"oa-cv, networks alone, {device}", clock(), "s")
        rows = csv.DictReader(printed.splitlines(), delimiter="\t")
        found.append(np.array([float(row["probability"]) for row in rows]))
    apart = float(np.abs(found[1] - found[0]).max())
    show("training", "largest difference of a probability from the CPU's", apart, "")
    show("training", "same numbers twice", float(np.array_equal(found[1], found[2])), "")
    count = 1 if work.small else 40
    with timer() as clock:
        permuted = ["--permute-labels", count, "--device", work.device]
        oa(work, "cv", *common, *jobs, *permuted, "-o", "cv-null")
    show("training", f"oa-cv, networks alone, with {count} permutations", clock(), "s")
    return bool(np.array_equal(found[1], found[2]))


def training_options(work: Work) -> list[str]:
    """Write labels that mean nothing and the table of the features made; return what names them."""
    named, made = ["knee\tsubject\tlabel"], ["knee\tsequence\tpath"]
    for k, knee in enumerate(map(knee_of, work.volumes[:DISTINCT])):
        named.append(f"{knee}\t{knee.split('_')[0]}\t{k % 2}")
        made.append(f"{knee}\t{SEQUENCE}\t{work.root}/f-float32/{knee}_{SEQUENCE}.h5")
    (work.root / "labels.tsv").write_text("\n".join(named) + "\n")
    (work.root / "f-float32.tsv").write_text("\n".join(made) + "\n")
    few = ["--preset", "paper", "--epochs", "4"] if work.small else []
    return ["-q", "-l", "labels.tsv", "--endpoint", "noise", "--slices", "8", *few, "f-float32.tsv"]


def cam(work: Work) -> bool:
    """Compare the maps of `oa-cam` on the device with those of the CPU."""
    from scipy.stats import spearmanr

    from oatools.imaging.volume import read_volume

    quick = ["--preset", "paper", "--epochs", "4"]
    oa(work, "train", *training_options(work), *quick, "-o", "quick.safetensors")
    table = table_of(work, 4)
    maps: dict[str, list[np.ndarray]] = {}
    for device in dict.fromkeys(["cpu", work.device]):
        out = f"cam-{device.replace(':', '')}"
        with timer() as clock:
            printed = oa(
                work,
                "cam",
                "-q",
                *("--device", device, "--weights", work.weights),
                "-o",
                out,
                "quick.safetensors",
                table,
            )
        show("cam", f"oa-cam, 4 knees, start included, {device}", clock(), "s")
        rows = list(csv.DictReader(printed.splitlines(), delimiter="\t"))
        maps[device] = [read_volume(work.root / row["heat"]).data for row in rows]
    if not work.on_gpu:
        return True
    pairs = zip(maps["cpu"], maps[work.device], strict=True)
    ranks = [spearmanr(a, b, axis=None).statistic for a, b in pairs]
    show("cam", "least rank correlation of a map with the CPU's", min(ranks), "")
    return min(ranks) > 0.99


# Commands ------------------------------------------------------------------------------------


def oa(work: Work, name: str, *arguments: object) -> str:
    """Run a command of this tree in the folder, and return what it prints."""
    code = f"from oatools.commands.start import {name}; {name}()"
    line = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        line, cwd=work.root, check=True, capture_output=True, text=True, timeout=300
    )
    return done.stdout


@contextmanager
def timer() -> Iterator[Callable[[], float]]:
    """Yield a function that tells the seconds from here to the end of the block."""
    begun = time.perf_counter()
    taken: list[float] = []
    yield lambda: taken[0]
    taken.append(time.perf_counter() - begun)


def slices_of(work: Work) -> int:
    """Return the number of slices of a volume."""
    from oatools.imaging.volume import read_geometry

    return read_geometry(work.volumes[0]).shape[2]


if __name__ == "__main__":
    sys.exit(main())
