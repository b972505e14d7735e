"""Time of `oa-convert` on coronal series, beside dcm2niix with its own compression and beside the physical floor.

    python tests/bench/convert.py [--knees 40] [--rounds 3]

dcm2niix runs under GNU parallel -j 2, with -z y as most scripts have it (it then calls pigz, where
that is installed) and with -z i (its own zlib); `oa-convert -j 2` does the same series. The floor
is dcm2niix without compression plus ISA-L on what it wrote, one series after the other in one
process; beside it stands `oa-convert -j 1`, without and with the start of its process. Series are
synthetic, of the study's size.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def main() -> None:
    """Run all, round by round, and print the best time of each and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--knees", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("parallel") is None:
        sys.exit("convert.py: GNU parallel is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        people = f"--patients {options.knees // 2} --sequence cor-iw-tse"
        make = f"{BIN / 'oa-phantom'} in {people} -q -j 2"
        subprocess.run(make, shell=True, check=True, cwd=root, stdout=subprocess.DEVNULL)
        series = sorted((root / "in/00m/0.E.1").glob("*/*/*"))
        rounds = [measure(root, series) for _ in range(options.rounds)]
    best = {name: min(each[name] for each in rounds) for name in rounds[0]}
    print("what\tseconds\tseconds_a_series")
    for name, seconds in best.items():
        print(f"{name}\t{seconds:.2f}\t{seconds / len(series):.4f}")
    faster = best["dcm2niix -z y, parallel -j 2"] / best["oa-convert -j 2"]
    print(f"dcm2niix -z y under parallel / oa-convert -j 2\t{faster:.1f}")
    low, start = best["floor, one by one"], best["oa-convert, nothing to do"]
    whole, work = best["oa-convert -j 1"] / low, (best["oa-convert -j 1"] - start) / low
    print(f"oa-convert -j 1 / floor, without and with its start\t{work:.2f}\t{whole:.2f}")


def measure(root: Path, series: list[Path]) -> dict[str, float]:
    """Time every way once, in turn, each into an empty folder."""
    import dcm2niix

    (root / "series.txt").write_text("".join(f"{path}\n" for path in series))
    call = "{0} -b y -ba y -z {1} -f out -o out/{{#}} {{}} > /dev/null"
    theirs = f"parallel -j 2 'mkdir -p out/{{{{#}}}} && {call}' :::: series.txt"
    ours = f"{BIN / 'oa-convert'} -q in/00m -o out"
    (root / "none").mkdir(exist_ok=True)
    ways = {
        "dcm2niix -z y, parallel -j 2": theirs.format(dcm2niix.bin, "y"),
        "dcm2niix -z i, parallel -j 2": theirs.format(dcm2niix.bin, "i"),
        "oa-convert -j 2": f"{ours} -j 2",
        "oa-convert -j 1": ours,
        "oa-convert, nothing to do": f"{BIN / 'oa-convert'} -q none -o out 2> /dev/null; true",
    }
    times = {}
    for name, command in ways.items():
        shutil.rmtree(root / "out", ignore_errors=True)
        start = time.perf_counter()
        subprocess.run(command, shell=True, check=True, cwd=root, stdout=subprocess.DEVNULL)
        times[name] = time.perf_counter() - start
    times["floor, one by one"] = floor(root, series)
    return times


def floor(root: Path, series: list[Path]) -> float:
    """Time dcm2niix without compression, and ISA-L on the bytes that it wrote."""
    import dcm2niix
    from isal import isal_zlib

    shutil.rmtree(root / "out", ignore_errors=True)
    start = time.perf_counter()
    for number, path in enumerate(series):
        out = root / "out" / str(number)
        out.mkdir(parents=True)
        options = ["-b", "y", "-ba", "y", "-z", "n", "-f", "out"]
        call = [dcm2niix.bin, *options, "-o", str(out), str(path)]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        (out / "out.nii.gz").write_bytes(isal_zlib.compress((out / "out.nii").read_bytes(), 2, 31))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
