"""Try all of it, print a table of what was tried and survived, and end with status 1 where something was found.

make stress                                   the long form, about an hour on two cores
cd tests && python -m stress --short          a minute
cd tests && python -m stress --only 'kill n4' --seed 3 --keep DIR      one trial alone, and what it left
cd tests && python -m stress --package TREE --folder DIR    another version of the package
"""

import argparse
import collections
import configparser
import contextlib
import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from stress import plan
from stress.runs import COMMANDS, still_there
from stress.stand import Stand
from stress.trial import NotHere, Place, Trial, dice
from stress.zygotes import Zygote

#: A trial that runs commands of its own has its own patience; this ends one that is lost.
LOST = 900


#: A command; guarded, as processes of its own may run it as a module.
_SCRIPT = """#!{}
import sys
from {} import {} as main
if __name__ == "__main__":
    sys.exit(main())
"""


@dataclass(frozen=True)
class Result:
    trial: Trial
    seed: int
    found: list[str]
    clean_error: bool = False
    not_here: str = ""


def main() -> int:
    options = _options()
    # A shell's background job ignores interrupts, and what nohup starts hangups: so would the commands, to which
    # these are sent. What has a handler here is at its default there.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    os.environ["OMP_NUM_THREADS"] = "1"  # no zygote may have threads, as BLAS starts them
    if options.package is not None and COMMANDS not in os.environ:
        _test_another(options.package.resolve(), options.folder.resolve())
    folder = options.folder or Path(tempfile.mkdtemp(prefix="stress-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # some trials are another user's
    stand = Stand(folder.resolve())
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"stress: {folder} is in use by another run")
    trials = plan.everything(stand)
    chosen = _chosen(trials, options)
    stand.build(options.short)
    planned = len(chosen)
    unprepared = _prepare(stand, [trial for trial, _ in chosen])
    start = time.monotonic()
    results = [
        Result(*pair, [], not_here=unprepared[pair[0].name])
        for pair in chosen
        if pair[0].name in unprepared
    ]
    chosen = [pair for pair in chosen if pair[0].name not in unprepared]
    with contextlib.suppress(KeyboardInterrupt):  # what there is by then is reported
        for result in _run_all(stand, chosen, options.jobs, 60 * options.minutes, options.keep):
            results.append(result)
            for text in result.found:
                _say(f"FOUND {result.trial.name!r} seed {result.seed}: {text}")
            if len(results) % 200 == 0:
                _say(f"{len(results)} of {len(chosen)}, {time.monotonic() - start:.0f} s")
    _report(results, planned, time.monotonic() - start)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if unprepared or any(result.found for result in results) else 0


def _test_another(package: Path, folder: Path) -> NoReturn:
    """Start anew with another package, which lies in a source tree, and with commands that run it."""
    setup = configparser.ConfigParser()
    setup.read(package / "setup.cfg")
    commands = folder / "commands"
    shutil.rmtree(commands, ignore_errors=True)
    commands.mkdir(parents=True)
    for line in setup["options.entry_points"]["console_scripts"].split("\n"):
        if line:
            name, module, function = re.split(r"\s*[=:]\s*", line)
            (commands / name).write_text(_SCRIPT.format(sys.executable, module, function))
            (commands / name).chmod(0o755)
    os.environ |= {"PYTHONPATH": str(package), COMMANDS: str(commands)}
    os.execv(sys.executable, [sys.executable, "-m", "stress", *sys.argv[1:]])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _prepare(stand: Stand, trials: list[Trial]) -> dict[str, str]:
    """Prepare each trial, in a process of its own; return why some could not be, by their names."""
    unprepared = {}
    for trial in {trial.name: trial for trial in trials}.values():

        def prepare(trial: Trial = trial) -> str:
            try:
                trial.prepare(stand)
            except SystemExit as end:
                return str(end.code)
            return ""

        reader, pid = _in_process(prepare)
        with os.fdopen(reader) as stream:
            text = stream.read()
        os.waitpid(pid, 0)
        if reason := json.loads(text) if text else "its preparation died":
            reason = " / ".join(reason.strip().split("\n")[:2])
            unprepared[trial.name] = reason
            _say(f"NOT PREPARED {trial.name!r}: {reason}")
    return unprepared


def _chosen(trials: list[Trial], options: argparse.Namespace) -> list[tuple[Trial, int]]:
    if options.only:
        seeds = range(options.seed, options.seed + options.seeds)
        chosen = plan.named(trials, options.only, seeds)
        if not chosen:
            names = dict.fromkeys(trial.name for trial in trials)
            sys.exit(f"stress: no trial is called {options.only!r}; there are: {', '.join(names)}")
        return chosen
    if options.short:
        return plan.short_form(trials)
    kinds = [options.kind] if options.kind else list(plan.LONG)
    return plan.long_form(trials, options.share, kinds, options.seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stress", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="the form of the test suite")
    parser.add_argument("--share", type=float, default=1.0, help="this share of the trials")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no trial after these")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    parser.add_argument("--kind", choices=list(plan.LONG), help="no others of the long form")
    parser.add_argument("--only", help="the trials whose name begins so")
    parser.add_argument("--seed", type=int, default=0, help="the first seed, for others")
    parser.add_argument("--seeds", type=int, default=1, help="the number of seeds of --only")
    parser.add_argument("--folder", type=Path, help="keep the material here, for the next time")
    parser.add_argument("--package", type=Path, help="another source tree to test; needs --folder")
    parser.add_argument("--keep", type=Path, help="leave what the trials left here")
    options = parser.parse_args()
    if options.package is not None and options.folder is None:
        parser.error("--package needs --folder")
    return options


def _run_all(
    stand: Stand, chosen: list[tuple[Trial, int]], jobs: int, seconds: float, keep: Path | None
) -> Iterator[Result]:
    """Each trial in a forked process, some at a time; results as they come."""
    scratch = Path(tempfile.mkdtemp(prefix="trials-", dir=stand.folder))
    deadline = time.monotonic() + seconds
    waiting = iter(chosen)
    under_way: dict[int, _UnderWay] = {}
    zygotes = _Zygotes(stand, [trial for trial, _ in chosen])
    try:
        while True:
            while len(under_way) < jobs and time.monotonic() < deadline:
                if (pair := next(waiting, None)) is None:
                    break
                root = (keep or scratch).resolve() / f"{pair[0].name} {pair[1]}".replace("/", "_")
                shutil.rmtree(root, ignore_errors=True)
                reader, pid = zygotes.fork(*pair, root)
                under_way[reader] = _UnderWay(*pair, root, pid, time.monotonic() + LOST)
            if not under_way:
                return
            ready = select.select(list(under_way), [], [], 1.0)[0]
            lost = [reader for reader, each in under_way.items() if time.monotonic() > each.lost]
            for reader in {*ready, *lost}:
                each = under_way.pop(reader)
                yield _settle(each, reader, reader in ready)
                if keep is None:
                    _clear(each.root)
    finally:
        for reader, each in under_way.items():
            each.end()
            os.close(reader)
            still_there(Place(each.root), 0)
            plan.let_go(each.root)
        zygotes.close()
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _UnderWay:
    """A trial that runs, in the process `pid`, and the time when it counts as lost."""

    trial: Trial
    seed: int
    root: Path
    pid: int
    lost: float

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.reap()

    def reap(self) -> None:
        if not self.trial.family:  # or it is no child of this process
            os.waitpid(self.pid, 0)


class _Zygotes:
    """The processes from which trials are forked, by their families; this one, for those of none."""

    def __init__(self, stand: Stand, trials: list[Trial]) -> None:
        self._stand = stand
        self._trials = {trial.name: trial for trial in trials}
        self._by_family: dict[str, Zygote] = {}

    def fork(self, trial: Trial, seed: int, root: Path) -> tuple[int, int]:
        if not trial.family:
            return _in_process(lambda: self._run(trial, seed, root))
        if trial.family not in self._by_family:
            self._by_family[trial.family] = Zygote(self._obey)
        reader, writer = os.pipe()
        order = json.dumps([trial.name, seed, str(root)])
        pid = self._by_family[trial.family].fork(order, writer)
        os.close(writer)
        return reader, pid

    def close(self) -> None:
        for zygote in self._by_family.values():
            zygote.close()

    def _obey(self, order: str, writer: int) -> None:
        name, seed, root = json.loads(order)
        _answer(lambda: self._run(self._trials[name], seed, Path(root)), writer)

    def _run(self, trial: Trial, seed: int, root: Path) -> dict[str, Any]:
        try:
            return asdict(trial.run(self._stand, Place(root).make(), dice(trial.name, seed)))
        except NotHere as lack:
            return {"found": [], "not_here": str(lack)}
        except BaseException:
            return {"found": [f"the harness: {traceback.format_exc()}"]}


def _in_process(work: Callable[[], object]) -> tuple[int, int]:
    """Fork a process that does some work; return a pipe with the answer as JSON, and its id."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _answer(work, writer)
    os.close(writer)
    return reader, pid


def _answer(work: Callable[[], object], writer: int) -> NoReturn:
    try:
        said = work()
        with os.fdopen(writer, "w") as stream:
            json.dump(said, stream)
    finally:
        os._exit(0)


def _settle(each: _UnderWay, reader: int, ended: bool) -> Result:
    if not ended:
        each.end()
    with os.fdopen(reader) as stream:
        text = stream.read() if ended else ""
    if ended:
        each.reap()
    still_there(Place(each.root), 0)
    if not text:
        return Result(each.trial, each.seed, [f"the trial itself did not end within {LOST} s"])
    return Result(each.trial, each.seed, **json.loads(text))


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
            more = f" ({len(result.found)} in all)" if len(result.found) > 5 else ""
            texts = "; ".join(result.found[:5]) + more
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
