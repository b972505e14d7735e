"""One run of a command, as a process of its own or in a forked child, and what may never be seen of it."""

import contextlib
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stress.trial import Place

#: The environment variable that names another folder of commands.
COMMANDS = "STRESS_COMMANDS"
BIN = Path(os.environ.get(COMMANDS, Path(sys.executable).parent))
#: The environment variable by which the processes of a trial are known, whoever their parent is.
MARK = "OATOOLS_STRESS"
MEMORY_MIB = 2048
#: A command may compute for this long over small files, and this long for loading its libraries.
FORKED_SECONDS, LOADING_SECONDS = 10, 6
#: Or this long in all, where several of its processes train models.
SECONDS = 25
#: The clock's limit is for those that wait for nothing; what they wait for a processor is on top.
PATIENCE = 90


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its status (negative for a signal), what it printed, what it took."""

    status: int
    out: bytes
    err: str
    seconds: float
    mib: float
    overdue: bool = False


def environment(place: Place, cache: Path, **changed: str | None) -> dict[str, str]:
    """The environment of a trial's commands; None takes a variable away."""
    given = {
        **os.environ,
        "PATH": f"{BIN}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "OATOOLS_CACHE": str(cache),
        "TMPDIR": str(place.tmp),
        "HOME": str(place.home),
        MARK: str(place.root),
        **changed,
    }
    return {name: value for name, value in given.items() if value is not None}


def start(
    words: Sequence[str | bytes | Path], place: Place, env: dict[str, str], **options
) -> subprocess.Popen:
    """Start a command in the trial's folder; it prints to files beside it."""
    command = [os.fsencode(BIN / os.fsdecode(words[0])), *map(os.fsencode, words[1:])]
    with (place.root / "out").open("wb") as out, (place.root / "err").open("wb") as err:
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **options}
        return subprocess.Popen(command, cwd=place.work, env=env, start_new_session=True, **streams)


def finish(process: subprocess.Popen, place: Place, patience: float = PATIENCE) -> Outcome:
    """Wait for a command's end, and end it where it takes too long."""
    with _ended(process.pid, patience) as (status, usage, overdue):
        process.returncode = status
    return Outcome(
        status,
        (place.root / "out").read_bytes(),
        (place.root / "err").read_text(errors="replace"),
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        overdue,
    )


def run(
    words: Sequence[str | bytes | Path], place: Place, env: dict[str, str], **options
) -> Outcome:
    """Run a command to its end, as a process of its own."""
    return finish(start(words, place, env, **options), place)


def in_child(work: Callable[[], object], place: Place, env: dict[str, str]) -> Outcome:
    """Run a function in a forked child, with the limits of a command. What it leaves running is ended."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _be_a_command(work, place, env)
    with _ended(pid, PATIENCE) as (status, usage, overdue):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return Outcome(
            status,
            (place.root / "out").read_bytes(),
            (place.root / "err").read_text(errors="replace"),
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024 - before,
            overdue,
        )


def wrongs(
    outcome: Outcome, statuses: Sequence[int] = (0, 1, 2), seconds: float = SECONDS
) -> list[str]:
    """What no run may show, whatever was done to it."""
    found = []
    if outcome.overdue or outcome.seconds > seconds:
        found.append(f"hangs: {outcome.seconds:.0f} s of computing")
    elif outcome.status not in statuses:
        found.append(f"ends with status {outcome.status}: {last_line(outcome.err)}")
    if outcome.mib > MEMORY_MIB:
        found.append(f"takes {outcome.mib:.0f} MiB")
    if "Traceback (most recent call last)" in outcome.err:
        found.append(f"traceback: {last_line(outcome.err)}")
    for line in outcome.err.splitlines():
        if re.search(r"please report it|Segmentation fault|core dumped", line):
            found.append(line)
    return found


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "(nothing said)"


def still_there(place: Place, seconds: float = 5.0) -> list[str]:
    """The command lines of a trial's processes that are still there after a while; they are ended."""
    deadline = time.monotonic() + seconds
    while (left := _marked(place)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return list(left.values())


@contextlib.contextmanager
def _ended(pid: int, patience: float):
    """Wait for a child: its status, what it took with its own children, and whether it was ended for taking too long."""
    overdue = _outlasts(pid, patience)
    if overdue:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    yield os.waitstatus_to_exitcode(status), usage, overdue


def _outlasts(pid: int, patience: float) -> bool:
    """Whether a command does not end within the time, what it waited for a processor not counted."""
    start = time.monotonic()
    handle = os.pidfd_open(pid)
    try:
        waited = 0.0
        while (left := start + patience + waited - time.monotonic()) > 0:
            if select.select([handle], [], [], left)[0]:
                return False
            waited = max(waited, _waited(pid))
        return True
    finally:
        os.close(handle)


def _waited(session: int) -> float:
    """The seconds for which the living processes of a session could run, and other processes did."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(after_name[3]) == session:
                for thread in folder.glob("task/*/schedstat"):
                    total += int(thread.read_text().split()[1])
    return total / 1e9


def _be_a_command(work: Callable[[], object], place: Place, env: dict[str, str]) -> None:
    """Never returns: the child's part of `in_child`."""
    status = 1
    try:
        os.setsid()
        os.chdir(place.work)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None
        for number, name in ((1, "out"), (2, "err")):
            stream = os.open(place.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(stream, number)
            os.close(stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = size + MEMORY_MIB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (FORKED_SECONDS, FORKED_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _marked(place: Place) -> dict[int, str]:
    """The living processes that have the trial's mark in their environment."""
    wanted = f"{MARK}={place.root}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                words = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                if words and int(folder.name) != os.getpid():
                    found[int(folder.name)] = words.strip()
    return found
