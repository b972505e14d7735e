"""A command is killed at a random moment, and run again: it must end with the same bytes as if nothing had been."""

import os
import random
import re
import signal
import time
from functools import partial

from stress.runs import finish, last_line, run, start, still_there, wrongs
from stress.stand import Job, Reference, Stand, files_below, snapshot
from stress.trial import Place, Trial, Verdict

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def trials(jobs: list[Job]) -> list[Trial]:
    return [
        Trial(
            "kills",
            f"kill {job.name}",
            partial(_killed, job),
            lambda stand, job=job: stand.refer(job),
        )
        for job in jobs
    ]


def _killed(job: Job, stand: Stand, place: Place, chance: random.Random) -> Verdict:
    number = chance.choice(SIGNALS)
    reference = stand.reference(job)
    stand.lay(place, job.reads)
    process = start(job.words.split(), place, stand.environment(place))
    _wait(job, place, reference, chance)
    to_all = number == signal.SIGINT and chance.random() < 0.5  # a terminal's interrupt key
    if process.poll() is None:
        (os.killpg if to_all else os.kill)(process.pid, number)
    name = f"{signal.Signals(number).name}{' to all' if to_all else ''}"
    orphans = []
    if process.returncode is None:
        done = finish(process, place)
        orphans = still_there(place)
        expected = (0, 128 + number, -number)
        is_early = number == signal.SIGINT and _is_of_the_start(done.err)
        found = [] if is_early else wrongs(done, expected)
        if done.status not in (0, -signal.SIGKILL):
            found += leftovers(place, reference)
    else:
        found = []
    found += [f"computes on without its parent: {words[:120]}" for words in orphans]
    found += half_written(place, reference)
    found += run_again(job, stand, place)
    return Verdict([f"{name}: {text}" for text in found])


def _is_of_the_start(said: str) -> bool:
    """Whether Python's own start answered an interrupt with a traceback, before a function of ours ran.

    The modules that say what an interrupt does take some milliseconds to load.
    """
    ours = re.findall(r'File "[^"]*/oatools/[^"]*", line \d+, in (\S+)', said)
    return "Traceback" in said and set(ours) <= {"<module>"}


def _wait(job: Job, place: Place, reference: Reference, chance: random.Random) -> None:
    """Wait for a random moment of the run, or until a random number of its files has been begun."""
    patience = 1.1 * reference.seconds
    deadline = time.monotonic() + chance.uniform(0, patience)
    if reference.files and chance.random() < 0.6:
        wanted = chance.randint(1, len(reference.files))
        last = time.monotonic() + 2 * patience
        while len(snapshot_names(place)) < wanted and time.monotonic() < last:
            time.sleep(0.002)
        deadline = time.monotonic() + chance.uniform(0, 0.05)
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(left)


def snapshot_names(place: Place) -> list[str]:
    """The names of all files that a run has made or begun so far."""
    return [name for name, _ in files_below(place.work)]


def half_written(place: Place, reference: Reference) -> list[str]:
    """Files under a final name that are not what an undisturbed run gives."""
    found = []
    for name, digest in snapshot(place.work).items():
        if name in reference.files and digest != reference.files[name]:
            found.append(f"{name} is not what an undisturbed run writes")
    return found


def leftovers(place: Place, reference: Reference) -> list[str]:
    """Files that an undisturbed run would not have left, beside its outputs or among temporary files."""
    strange = [name for name in snapshot(place.work) if name not in reference.files]
    strange += [f"$TMPDIR/{name}" for name in sorted(os.listdir(place.tmp))]
    return [f"leaves {strange[0]} ({len(strange)} in all)"] if strange else []


def run_again(job: Job, stand: Stand, place: Place, **options) -> list[str]:
    """Run the command to its end: what is there now must be what an undisturbed run gives."""
    reference = stand.reference(job)
    done = run(job.words.split(), place, stand.environment(place), **options)
    if done.status != 0:
        return [f"run again: status {done.status}: {last_line(done.err)}", *wrongs(done)]
    found = wrongs(done)
    if reference.is_other(done.out):
        found.append("run again: prints another table")
    files = snapshot(place.work)
    for name in sorted(files.keys() | reference.files.keys()):
        if name not in reference.files:
            found.append(f"run again: {name} is left over")
        elif name not in files:
            found.append(f"run again: {name} is not there")
        elif files[name] != reference.files[name]:
            found.append(f"run again: {name} has other bytes")
    return found
