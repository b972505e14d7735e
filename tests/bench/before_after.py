"""The price of a change: two trees of the package side by side, in one run.

    python tests/bench/before_after.py BEFORE AFTER [--part NAME]... [--rounds N]

BEFORE and AFTER are folders with the package, such as two worktrees of git. Both run by this
interpreter, with its libraries; each makes its own feature files and model, of the same volumes.

start:   oa-n4 and oa-embed with --help, and each with one tiny volume.
n4:      oa-n4 on 20 small volumes.
embed:   oa-embed on 40 volumes, four slices each; the network was exported before.
predict: oa-predict on 500 feature files.
train:   oa-train on 500 feature files, one epoch.
read:    the 500 feature files and their labels by `oatools.load_cohort`, which needs no PyTorch.

The trees take turns, each first in every other round. Printed are the medians of the processor time
(user and system, of all processes that a command starts, also of those that nobody waited for), the
median of the ratios of a round, between which quartiles these lie, and the ratio of wall clocks,
which others who use the machine blur.
"""

import argparse
import ctypes
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

EMBED = "oa-embed -q --weights random --backbone mobilenetv2_050"
TINY = "volumes/9000001_00m_left.nii.gz"
# Of each: what is run, and how often it is measured unless asked otherwise.
PARTS: dict[str, dict[str, tuple[str, int]]] = {
    "start": {
        "oa-n4 --help": ("oa-n4 --help", 30),
        "oa-embed --help": ("oa-embed --help", 30),
        "oa-n4, one volume": (f"oa-n4 -q --iterations 1 {TINY} -o out", 15),
        "oa-embed, one volume": (f"{EMBED} --slices 1 {TINY} -o out", 15),
    },
    "n4": {"oa-n4, 20 volumes": ("oa-n4 -q -o out < scans20.tsv", 7)},
    "embed": {"oa-embed, 40 volumes": (f"{EMBED} --slices 4 -o out < scans40.tsv", 7)},
    "predict": {"oa-predict, 500 files": ("oa-predict -q model.safetensors < features.tsv", 7)},
    "train": {
        "oa-train, 500 files": (
            "oa-train -q features.tsv --labels labels.tsv --epochs 1 -o out.safetensors",
            7,
        )
    },
    "read": {"500 files read": ("read-features features.tsv labels.tsv", 7)},
}
READ = "import sys, oatools; oatools.load_cohort(*sys.argv[1:])"
VOLUMES = """
import sys, nibabel, numpy
rng = numpy.random.default_rng(0)
for number in range(int(sys.argv[1])):
    data = rng.integers(1, 900, (32, 32, 4), dtype=numpy.int16)
    name = f"volumes/{9000001 + number // 2}_00m_{('left', 'right')[number % 2]}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, numpy.diag([3.0, 3.0, 3.0, 1.0])), name)
"""


@dataclass(frozen=True)
class Tree:
    """One of the trees, with a folder of its own for what it makes."""

    source: Path
    work: Path

    def prepare(self) -> None:
        """Make the scripts that start the commands, as pip makes them, and see which they start."""
        scripts = self.work / "bin"
        scripts.mkdir(parents=True)
        declared = (self.source / "setup.cfg").read_text().split("console_scripts =")[1]
        for name, module, function in re.findall(
            r"^ +(oa-\w+) = ([\w.]+):(\w+)$", declared, flags=re.MULTILINE
        ):
            script = scripts / name
            script.write_text(
                f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\n"
                f"if __name__ == '__main__':\n    sys.exit({function}())\n"
            )
            script.chmod(0o755)
        (scripts / "read.py").write_text(READ)
        (scripts / "read-features").write_text(
            f'#!/bin/sh\nexec {sys.executable} {scripts}/read.py "$@"\n'
        )
        (scripts / "read-features").chmod(0o755)
        loaded = subprocess.run(
            [sys.executable, "-c", "import oatools; print(oatools.__file__)"],
            cwd=self.work,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        if Path(loaded.strip()).parent.parent != self.source:
            sys.exit(f"{self.source} is not what is imported, but {loaded}")

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which this tree's commands run."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.source),
            "PATH": f"{self.work / 'bin'}:{os.environ['PATH']}",
            "OATOOLS_CACHE": str(self.work / "networks"),
            "OMP_NUM_THREADS": "1",
        }

    def run(self, line: str) -> tuple[float, float]:
        """Run a line of a shell; return its processor and wall time in seconds."""
        for made in ("out", "out.safetensors"):
            path = self.work / made
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(True)
        before, begun = processor_seconds(), time.perf_counter()
        done = subprocess.run(
            line, shell=True, cwd=self.work, env=self.environment, stdout=subprocess.DEVNULL
        )
        wall = time.perf_counter() - begun
        wait_for_all()
        if done.returncode:
            sys.exit(f"{self.source}: {line}: status {done.returncode}")
        return processor_seconds() - before, wall


def main() -> None:
    """Run the parts asked for (all by default)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--part", action="append", choices=sorted(PARTS))
    parser.add_argument("--rounds", type=int, help="how often to measure (default: as suits each)")
    options = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as temporary:
        trees = [
            Tree(source.resolve(), Path(temporary, name))
            for name, source in (("before", options.before), ("after", options.after))
        ]
        for tree in trees:
            tree.prepare()
        parts = options.part or list(PARTS)
        make(trees, parts)
        print("what\tbefore_s\tafter_s\tratio\tquartiles\twall_ratio\trounds")
        for part in parts:
            for name, (line, rounds) in PARTS[part].items():
                print(compare(name, trees, line, options.rounds or rounds), flush=True)


def make(trees: list[Tree], parts: list[str]) -> None:
    """Make what the parts need, each tree for itself but for the scans."""
    scans, after = {"n4": 20, "embed": 40}, trees[1]
    most = max((count for part, count in scans.items() if part in parts), default=0)
    if most:
        after.run(
            f"oa-phantom -q scans --patients {most // 2} --sequence cor-iw-tse --matrix 64 > /dev/null"
            f" && oa-convert -q scans/00m -o nii > nii.tsv"
        )
    feature_files = bool({"predict", "train", "read"} & set(parts))
    for tree in trees:
        (tree.work / "volumes").mkdir()
        (tree.work / "make.py").write_text(VOLUMES)
        tree.run(f"{sys.executable} make.py {500 if feature_files else 1}")
        # The export of the network, which is made once and kept, is not counted.
        tree.run(f"{EMBED} --slices 1 {TINY} -o out")
        if most and tree is not after:
            shutil.copytree(after.work / "nii", tree.work / "nii")
        for count in scans.values():
            if count <= most:
                rows = (after.work / "nii.tsv").read_text().splitlines()[: count + 1]
                (tree.work / f"scans{count}.tsv").write_text("\n".join(rows) + "\n")
        if feature_files:
            tree.run(f"ls volumes/* | {EMBED} --slices 2 -o features > features.tsv")
            write_labels(tree.work)
            tree.run("oa-train -q features.tsv --labels labels.tsv --epochs 1 -o model.safetensors")


def write_labels(folder: Path) -> None:
    """Label the knees of features.tsv, every third patient's positive."""
    header, *rows = [
        line.split("\t") for line in (folder / "features.tsv").read_text().splitlines()
    ]
    knee, subject = header.index("knee"), header.index("subject")
    labels = ["knee\tsubject\tlabel"]
    for row in rows:
        labels.append(f"{row[knee]}\t{row[subject]}\t{int(int(row[subject]) % 3 == 0)}")
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")


def compare(name: str, trees: list[Tree], line: str, rounds: int) -> str:
    """Return the row of one comparison."""
    for tree in trees:
        tree.run(line)  # files and modules are in the system's memory now
    found: list[dict[str, tuple[float, float]]] = []
    for round_ in range(rounds):
        turns = trees if round_ % 2 == 0 else trees[::-1]
        found.append({tree.work.name: tree.run(line) for tree in turns})
    medians = {
        tree.work.name: statistics.median(one[tree.work.name][0] for one in found) for tree in trees
    }
    ratios = sorted(one["after"][0] / one["before"][0] for one in found)
    walls = [one["after"][1] / one["before"][1] for one in found]
    low, _, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    return "\t".join(
        [
            name,
            f"{medians['before']:.3f}",
            f"{medians['after']:.3f}",
            f"{statistics.median(ratios):.3f}",
            f"{low:.3f}-{high:.3f}",
            f"{statistics.median(walls):.3f}",
            str(rounds),
        ]
    )


def adopt_orphans() -> None:
    """Become the parent of processes whose own has ended, so that their time is counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def wait_for_all() -> None:
    """Wait for every process that a command left."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def processor_seconds() -> float:
    """Return the user and system time of all children that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
