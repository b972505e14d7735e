"""Time of `oa-convert --list` on a tree of 100,000 DICOM files, beside `find | wc -l` on the same tree.

    python tests/bench/list_tree.py [--files 100000]

The tree has the release's form: 35 files a series, three series a knee. Its files are one scan's,
linked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLICES = 35
SEQUENCES = ("COR_IW_TSE", "SAG_IW_TSE", "SAG_3D_DESS")
SIDES = ("LEFT", "RIGHT")


def main() -> None:
    """Build the tree, run both commands three times in turn, and print the best times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        count = build(root, files)
        listing = [
            str(Path(sys.executable).with_name("oa-convert")),
            "--list",
            "-q",
            str(root / "00m"),
        ]
        find, listed, first_row = [], [], []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(
                f"find {root / '00m'} | wc -l", shell=True, check=True, stdout=subprocess.DEVNULL
            )
            find.append(time.perf_counter() - start)
            start = time.perf_counter()
            with subprocess.Popen(listing, stdout=subprocess.PIPE) as process:
                process.stdout.readline()
                process.stdout.readline()
                first_row.append(time.perf_counter() - start)
                rows = 1 + sum(1 for _ in process.stdout)
            listed.append(time.perf_counter() - start)
    ratio = min(listed) / min(find)
    times = f"{min(find):.2f}\t{min(listed):.2f}\t{min(first_row):.2f}"
    print("files\tseries\tfind_s\tlist_s\tfirst_row_s\tratio")
    print(f"{count}\t{rows}\t{times}\t{ratio:.1f}")


def build(root: Path, files: int) -> int:
    """Link the slices of synthetic series, three a knee, into as many folders as it takes."""
    from oatools.phantom.download import write_release
    from oatools.phantom.people import PhantomSettings

    write_release(
        root / "one", PhantomSettings(patients=1, seed=1, matrix=32, sequences=("cor-iw-tse",))
    )
    sources = [sorted(p.iterdir()) for p in sorted((root / "one").glob("00m/0.E.1/*/*/*"))]
    made = 0
    for participant in range(9_100_000, 9_900_000):
        for number in range(6):
            folder = root / f"00m/0.E.1/{participant}/20050131/{10_000_000 + number:08d}"
            folder.mkdir(parents=True)
            rewrite(sources[number % 2][0], folder / "001", participant, number)
            for source in sources[number % 2][1:SLICES]:
                os.link(source, folder / source.name)
            made += SLICES
            if made >= files:
                return made
    return made


def rewrite(source: Path, target: Path, participant: int, number: int) -> None:
    """Write the first file of a series under its own identity, so that no two are repeats."""
    import pydicom

    header = pydicom.dcmread(source)
    header.PatientID = str(participant)
    sequence, side = SEQUENCES[number // 2], SIDES[number % 2]
    header.SeriesDescription = f"{sequence}_{side}"
    header.save_as(target)


if __name__ == "__main__":
    main()
