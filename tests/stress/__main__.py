"""Try all of it, print a table of what was tried and survived, and end with status 1 where something was found.

make stress                                   the long form, about an hour on two cores
cd tests && python -m stress --short          a minute
cd tests && python -m stress --only 'kill n4' --seed 3 --keep DIR      one trial alone, and what it left
"""

import argparse
import collections
import fcntl
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stress import plan
from stress.runs import still_there
from stress.stand import Stand
from stress.trial import NotHere, Place, Trial, dice

#: A trial that runs commands of its own has its own patience; this ends one that is lost.
LOST = 900


@dataclass(frozen=True)
class Result:
    trial: Trial
    seed: int
    found: list[str]
    clean_error: bool = False
    not_here: str = ""


def main() -> int:
    options = _options()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="stress-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # some trials are another user's
    stand = Stand(folder.resolve())
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"stress: {folder} is in use by another run")
    plan.load_libraries()
    trials = plan.everything(stand)
    chosen = _chosen(trials, options)
    stand.build()
    for trial in {trial.name: trial for trial, _ in chosen}.values():
        trial.prepare(stand)
    start = time.monotonic()
    results = []
    for result in _run_all(stand, chosen, options.jobs, 60 * options.minutes, options.keep):
        results.append(result)
        for text in result.found:
            print(
                f"FOUND {result.trial.name!r} seed {result.seed}: {text}",
                file=sys.stderr,
                flush=True,
            )
        if len(results) % 200 == 0:
            print(
                f"{len(results)} of {len(chosen)}, {time.monotonic() - start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    _report(results, len(chosen), time.monotonic() - start)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(result.found for result in results) else 0


def _chosen(trials: list[Trial], options: argparse.Namespace) -> list[tuple[Trial, int]]:
    if options.only:
        seeds = range(options.seed, options.seed + options.seeds)
        chosen = plan.named(trials, options.only, seeds)
        if not chosen:
            names = dict.fromkeys(trial.name for trial in trials)
            sys.exit(f"stress: no trial is called {options.only!r}; there are: {', '.join(names)}")
        return chosen
    return plan.short_form(trials) if options.short else plan.long_form(trials, options.share)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="the form of the test suite")
    parser.add_argument("--share", type=float, default=1.0, help="this share of the trials")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no trial after these")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--only", help="the trials whose name begins so")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of --only")
    parser.add_argument("--seeds", type=int, default=1, help="the number of seeds of --only")
    parser.add_argument("--folder", type=Path, help="keep the material here, for the next time")
    parser.add_argument("--keep", type=Path, help="leave what the trials left here")
    return parser.parse_args()


def _run_all(
    stand: Stand, chosen: list[tuple[Trial, int]], jobs: int, seconds: float, keep: Path | None
) -> Iterator[Result]:
    """Each trial in a forked process, some at a time; results as they come."""
    scratch = Path(tempfile.mkdtemp(prefix="trials-", dir=stand.folder))
    deadline = time.monotonic() + seconds
    waiting = iter(chosen)
    under_way: dict[int, tuple[Trial, int, Path, int, float]] = {}
    try:
        while True:
            while len(under_way) < jobs and time.monotonic() < deadline:
                if (pair := next(waiting, None)) is None:
                    break
                root = (keep or scratch).resolve() / f"{pair[0].name} {pair[1]}".replace("/", "_")
                shutil.rmtree(root, ignore_errors=True)
                reader, pid = _fork(stand, *pair, Place(root))
                under_way[reader] = (*pair, root, pid, time.monotonic() + LOST)
            if not under_way:
                return
            ready = select.select(list(under_way), [], [], 1.0)[0]
            lost = [reader for reader, entry in under_way.items() if time.monotonic() > entry[4]]
            for reader in {*ready, *lost}:
                trial, seed, root, pid, _ = under_way.pop(reader)
                yield _settle(trial, seed, root, pid, reader, reader in ready)
                if keep is None:
                    _clear(root)
    finally:
        for reader, (_, _, root, pid, _) in under_way.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reader)
            still_there(Place(root), 0)
        shutil.rmtree(scratch, ignore_errors=True)


def _fork(stand: Stand, trial: Trial, seed: int, place: Place) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    try:
        os.close(reader)
        try:
            said = asdict(trial.run(stand, place.make(), dice(trial.name, seed)))
        except NotHere as lack:
            said = {"found": [], "not_here": str(lack)}
        except BaseException:
            said = {"found": [f"the harness: {traceback.format_exc()}"]}
        with os.fdopen(writer, "w") as stream:
            json.dump(said, stream)
    finally:
        os._exit(0)


def _settle(trial: Trial, seed: int, root: Path, pid: int, reader: int, ended: bool) -> Result:
    if not ended:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reader) as stream:
        text = stream.read() if ended else ""
    os.waitpid(pid, 0)
    still_there(Place(root), 0)
    if not text:
        return Result(trial, seed, [f"the trial itself did not end within {LOST} s"])
    return Result(trial, seed, **json.loads(text))


def _clear(root: Path) -> None:
    """Remove what a trial left; a file system that it mounted is let go first."""
    plan.let_go(root)
    shutil.rmtree(root, ignore_errors=True)


def _report(results: list[Result], planned: int, seconds: float) -> None:
    """The table: each kind as a whole, then its trials by name; and each finding with what replays it."""
    print("kind\ttried\tsurvived\tclean_errors\tfindings\tnot_here")
    kinds = dict.fromkeys(result.trial.kind for result in results)
    for kind in sorted(kinds):
        of_kind = [result for result in results if result.trial.kind == kind]
        print(_line(kind, of_kind))
        for name in sorted({_family(result.trial) for result in of_kind}):
            print(_line(f"  {name}", [r for r in of_kind if _family(r.trial) == name]))
    for lack, count in collections.Counter(r.not_here for r in results if r.not_here).items():
        print(f"# {count} not tried: {lack}")
    for result in results:
        if result.found:
            texts = "; ".join(result.found)
            print(f"# --only {result.trial.name!r} --seed {result.seed}: {texts}")
    print(f"# {len(results)} of {planned} trials in {seconds:.0f} s")


def _family(trial: Trial) -> str:
    """The fault of a trial without the command that it befell."""
    return trial.name.split(":")[0]


def _line(name: str, results: list[Result]) -> str:
    absent = sum(bool(result.not_here) for result in results)
    bad = sum(bool(result.found) for result in results)
    clean = sum(result.clean_error for result in results)
    tried = len(results) - absent
    return f"{name}\t{tried}\t{tried - bad}\t{clean}\t{bad}\t{absent}"


if __name__ == "__main__":
    random.seed(0)
    sys.exit(main())
