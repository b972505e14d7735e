"""What disks, users, other processes and the world do to a command while it runs, or before.

Each function does one fault to one command. Whatever comes of it, a file under its final name is whole, what is
printed is true, an error is a line; and when the fault is gone the same command ends as if it had never been.
"""

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stress.kills import half_written, leftovers, run_again, snapshot_names
from stress.runs import BIN, Outcome, finish, last_line, run, start, still_there, wrongs
from stress.stand import EMBED, Job, Stand, snapshot
from stress.trial import NotHere, Place, Trial, Verdict

#: A user who has no name and no home, as in containers.
NOBODY = 54321
TEXTS = (".tsv", ".csv", ".txt", ".json")
LONG_AGO, FAR_AHEAD = 0, 4_102_444_800  # 1970, 2100


def trials(stand: Stand) -> list[Trial]:
    """Every fault with every job that it can befall."""
    jobs = stand.jobs()
    found = []
    for name, fault, befalls in FAULTS:
        for job in jobs:
            if befalls(job):
                run_fault, refer = (
                    partial(_judged, fault, job),
                    lambda stand, job=job: stand.refer(job),
                )
                found.append(Trial("faults", f"{name}: {job.name}", run_fault, refer))
    return found


def _judged(
    fault: Callable[..., list[str]], job: Job, stand: Stand, place: Place, chance: random.Random
) -> Verdict:
    return Verdict(fault(job, stand, place, chance))


def _writes(job: Job) -> bool:
    return job.name not in ("check", "info", "doctor", "predict --recalibration")


def _reads_files(job: Job) -> bool:
    """Whether a job reads anything but texts, which `_input_files` leaves out."""
    return bool(job.reads) and job.name not in _OF_TEXTS


# --- the disk


def _disk_full(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The file system of the outputs has less space than they need."""
    size = sum(_sizes(stand, job)) + 16384
    with _file_system(place.work, round(size * chance.uniform(0.05, 1.0))) as resize:
        stand.lay(place, job.reads)
        done = run(job.words.split(), place, stand.environment(place))
        found = _survived(done, job, stand, place)
        resize(2 * size + 2**22)
        return found + run_again(job, stand, place)


def _tmp_full(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The file system of temporary files has no space; the outputs have."""
    with _file_system(place.tmp, chance.choice((4096, 65536, 262144))) as resize:
        stand.lay(place, job.reads)
        done = run(job.words.split(), place, stand.environment(place))
        found = _survived(done, job, stand, place)
        resize(2**26)
        return found + run_again(job, stand, place)


def _tmp_missing(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    place.tmp.rmdir()
    stand.lay(place, job.reads)
    done = run(job.words.split(), place, stand.environment(place))
    place.tmp.mkdir(exist_ok=True)
    return _survived(done, job, stand, place) + run_again(job, stand, place)


def _quota(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """No file may be longer than a limit, as a quota or `ulimit -f` has it."""
    most = round(max(_sizes(stand, job), default=4096) * chance.uniform(0.01, 1.2))
    stand.lay(place, job.reads)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    done = run(job.words.split(), place, stand.environment(place), preexec_fn=limit)
    return _survived(done, job, stand, place) + run_again(job, stand, place)


def _read_only(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The file system of the outputs can be read only."""
    with _file_system(place.work, 2**26):
        stand.lay(place, job.reads)
        _mount("-o", "remount,ro", place.work)
        done = run(job.words.split(), place, stand.environment(place))
        found = _survived(done, job, stand, place, must_fail=bool(stand.reference(job).files))
        _mount("-o", "remount,rw", place.work)
        return found + run_again(job, stand, place)


def _no_permission(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The folder of the outputs belongs to somebody else."""
    somebody_else = _as_nobody(place)
    stand.lay(place, job.reads)
    place.work.chmod(0o555)
    try:
        done = run(job.words.split(), place, stand.environment(place), **somebody_else)
    except PermissionError:  # nobody else may reach the commands here
        return []
    place.work.chmod(0o777)
    must_fail = bool(stand.reference(job).files)
    return _survived(done, job, stand, place, must_fail) + run_again(job, stand, place)


def _folder_removed(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """Somebody removes all outputs, or moves their folder away, while the command runs.

    What is taken away while it still writes must be told. What is taken away once all of it lies
    under its final name, in the moment before the command ends, is as if it were taken away in the
    moment after: no program can know of that, and success was true when the last file was written.
    """
    stand.lay(place, job.reads)
    process = start(job.words.split(), place, stand.environment(place))
    _await_files(job, stand, place, chance, process)
    laid = {name.split("/")[0] for name in job.reads}
    moved = Place(place.root / "moved").make().work
    for entry in list(place.work.iterdir()):
        if entry.name not in laid:
            with contextlib.suppress(OSError):  # a temporary file, gone by now
                entry.rename(moved / entry.name)
    was_whole = (
        stand.reference(job).files.items() <= (snapshot(moved) | snapshot(place.work)).items()
    )
    if chance.random() < 0.5:
        shutil.rmtree(moved)
    done = finish(process, place)
    found = _survived(done, job, stand, place, may_miss=was_whole)
    return found + run_again(job, stand, place)


# --- the inputs


def _input_vanishes(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """An input file is deleted or cut while the command runs; it is put back afterwards."""
    _lay_copies(job, stand, place)
    reference = stand.reference(job)
    process = start(job.words.split(), place, stand.environment(place))
    time.sleep(chance.uniform(0, 1.1 * reference.seconds))
    victim = chance.choice(_input_files(job, place))
    if chance.random() < 0.5:
        victim.unlink()
    else:
        os.truncate(victim, round(victim.stat().st_size * chance.random()))
    done = finish(process, place)
    found = wrongs(done)
    ours = victim.relative_to(place.work).parts[0]
    if done.status == 0 and reference.is_other(done.out):
        found.append(f"status 0, and another table, when {victim.name} vanished")
    found += _half_written_of(job, stand, place)
    if (place.work / ours).is_dir():
        shutil.rmtree(place.work / ours)
    stand.lay(place, [ours], copies=True)
    return found + _run_again_over_copies(job, stand, place)


def _input_replaced(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """An input file gives way to another one of its kind: each output is made of the one or the other, and says which."""
    _lay_copies(job, stand, place)
    files = _input_files(job, place)
    victim = chance.choice(files)
    others = [
        path for path in files if path.parent == victim.parent and path.suffix == victim.suffix
    ]
    other = chance.choice([path for path in others if path != victim] or [victim])
    new = place.root / "new"
    shutil.copy2(other, new)
    process = start(job.words.split(), place, stand.environment(place))
    time.sleep(chance.uniform(0, 1.1 * stand.reference(job).seconds))
    new.replace(victim)
    done = finish(process, place)
    found = wrongs(done)
    second = Place(place.root / "second").make()
    shutil.copytree(place.work, second.work, symlinks=True, dirs_exist_ok=True)
    for name in snapshot(second.work):
        if Path(name).parts[0] not in job.reads:
            (second.work / name).unlink()
    run(job.words.split(), second, stand.environment(second))
    allowed = [stand.reference(job).files, snapshot(second.work)]
    # A series is many files: what was replaced is one slice of it. A page is of all rows, and shows
    # fewer where one failed, as it does when its volume was replaced while it was read.
    is_of_many = job.name == "convert" or (job.name.startswith("view") and done.status != 0)
    if job.rows and not is_of_many:
        found += _of_one_or_the_other(snapshot(place.work), allowed)
    return found


def _of_one_or_the_other(files: dict[str, str], allowed: list[dict[str, str]]) -> list[str]:
    """The files of one item (one stem) must all be as in one of the allowed runs."""
    stems: dict[str, list[str]] = {}
    for name in files:
        if any(name in run for run in allowed):
            stems.setdefault(name.split(".")[0], []).append(name)
    found = []
    for stem, names in stems.items():
        if not any(all(files[name] == run.get(name) for name in names) for run in allowed):
            found.append(f"{stem}: {', '.join(names)} are of neither input, or one of each")
    return found


# --- other processes


def _several_at_once(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """2, 4 or 8 processes do the same rows into the same outputs."""
    stand.lay(place, job.reads)
    count = chance.choice((2, 4, 8))
    processes = []
    for i in range(count):
        beside = Place(place.root / f"process {i}").make()
        beside.work.rmdir()
        beside.work.symlink_to(place.work)
        processes.append((start(job.words.split(), beside, stand.environment(beside)), beside))
        time.sleep(chance.choice((0, 0, chance.uniform(0, 0.3))))
    found = []
    for process, beside in processes:
        done = finish(process, beside, 300)
        found += [f"of {count}: {text}" for text in wrongs(done)]
        if done.status == 0 and stand.reference(job).is_other(done.out):
            found.append(f"of {count}: one prints another table, status 0")
        elif done.status != 0 and job.rows:
            found.append(f"of {count}: one ends with status {done.status}: {last_line(done.err)}")
    found += leftovers(place, stand.reference(job))
    return found + run_again(job, stand, place)


def _worker_killed(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """One of the command's own processes is killed, as the kernel does when memory ends."""
    stand.lay(place, job.reads)
    process = start(job.words.split(), place, stand.environment(place))
    _await_files(job, stand, place, chance, process)
    children = _descendants(process.pid)
    if children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
    done = finish(process, place)
    found = wrongs(done) + _half_written_of(job, stand, place)
    if done.status != 0 and not done.err.strip():
        found.append(f"status {done.status} without a word")
    found += [f"computes on: {words[:120]}" for words in still_there(place)]
    lost = stand.reference(job).rows() - len(done.out.splitlines())
    if job.rows and lost > 2:  # as many rows as there are workers were in hand
        found.append(f"{lost} rows are lost with one worker: {last_line(done.err)}")
    return found + run_again(job, stand, place)


# --- the streams


def _streams(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """Standard streams that are closed, full, or closed early by who reads them."""
    stand.lay(place, job.reads)
    ending = chance.choice(
        (
            "<&-",
            ">&-",
            "2>&-",
            "<&- >&- 2>&-",
            ">/dev/full",
            "2>/dev/full",
            ">/dev/full 2>&1",
            "| head -n 1",
            "| true",
            "2>&1 | head -n 1",
            "2> >(true)",
        )
    )
    line = f"set -o pipefail; {BIN / job.words} {ending}"
    words = ["bash", "-c", line]
    with (place.root / "out").open("wb") as out, (place.root / "err").open("wb") as err:
        process = subprocess.Popen(
            words,
            cwd=place.work,
            env=stand.environment(place),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    done = finish(process, place)
    found = wrongs(done, (0, 1, 2, 120, 141))
    if done.status == 120:
        found.append("status 120: Python could not flush its streams")
    found += _half_written_of(job, stand, place)
    return [f"{ending}: {text}" for text in found + run_again(job, stand, place)]


# --- names and places


ODD_NAMES = (
    "a b", "'quoted'", '"double"', "new\nline", "tab\tbed", ".hidden", "-dash", "--out", b"not \xff utf-8",
    "n" * 240, "\U0001f9b5 emoji", "\u202ertl \u05d1\u05e8\u05da", "$(touch x)", "`touch x`", "a;b|c&d",
    "%s%n", "\\", "*", "a$\\frac$", "\u0130\u0131", "nan", "NUL", "~", "x" * 200 + ".nii.gz", "=1+1", "<script>", "\x07bell", "\x1b[31m",
)  # fmt: skip


def _odd_name(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The outputs go to a folder with an odd name."""
    name = os.fsencode(chance.choice(ODD_NAMES))
    stand.lay(place, job.reads)
    words = [os.fsencode(word) for word in job.words.split()]
    target = next(i for i, word in enumerate(words) if word in _OUTPUTS)
    plain = words[target]
    if name.startswith(b"-"):
        name = b"./" + name
    words[target] = name + (b"" if plain in (b"out", b"new") else b"." + plain.split(b".")[1])
    done = run(words, place, stand.environment(place))
    found = wrongs(done)
    if (place.work / "x").exists():
        found.append("the name was run by a shell")
    if done.status == 0:
        found += _same_under_other_name(snapshot(place.work), stand.reference(job).files)
    elif not done.err.strip():
        found.append(f"status {done.status} without a word")
    return [f"{name!r}: {text}" for text in found]


def _odd_input(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The inputs have an odd name: given as a path, they are done as others are, or refused."""
    name = os.fsencode(chance.choice(ODD_NAMES))
    source, suffix = _one_input(job, stand)
    path = os.fsencode(place.work) + b"/" + name + suffix
    try:
        if source.is_dir():
            shutil.copytree(os.fsencode(source), path)
        else:
            shutil.copy2(os.fsencode(source), path)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
            raise NotHere("some file systems have no such names") from None
        raise
    stand.lay(place, [part for part in job.reads if part.endswith(".safetensors")])
    given = {
        "convert": [b"oa-convert", b"-o", b"out"],
        "orient": [b"oa-orient", b"--side", b"left", b"--side-check", b"trust", b"-o", b"out"],
        "n4": [b"oa-n4", b"--iterations", b"1", b"-o", b"out"],
        "embed": [b"oa-embed", *os.fsencode(EMBED).split(), b"-o", b"out"],
        "predict": [b"oa-predict", b"model.safetensors"],
        "cam": [b"oa-cam", b"model.safetensors", b"--montage", b"1", b"-o", b"out"],
        "label": [b"oa-label", b"--endpoint", b"jsn12"],
        "label --until": [b"oa-label", b"--endpoint", b"jsn", b"--until", b"48m"],
        "enrich": [b"oa-enrich", b"--bootstrap", b"100"],
        "validate": [b"oa-validate", b"--bootstrap", b"100"],
        "view": [b"oa-view", b"-o", b"out"],
        "info": [b"oa-info"],
        "check": [b"oa-check"],
    }[job.name]
    done = run([*given, b"--", name + suffix], place, stand.environment(place))
    found = wrongs(done)
    if (place.work / "x").exists():
        found.append("the name was run by a shell")
    if done.status == 0 and job.rows and job.name != "check" and len(done.out.splitlines()) < 2:
        found.append("status 0, and no row")
    if done.status != 0:
        if not done.err.strip():
            found.append(f"status {done.status} without a word")
        strange = [path for path in snapshot(place.work) if path.startswith("out/")]
        found += [f"failed, and left {path}" for path in strange]
    return [f"{name!r}: {text}" for text in found]


def _one_input(job: Job, stand: Stand) -> tuple[Path, bytes]:
    """One input of a job, and the ending that its name must have."""
    if job.name == "convert":
        return sorted((stand.material / "oai/00m/0.E.1").glob("*/*/*"))[0], b""
    if job.name in ("label", "label --until"):
        return stand.material / "oai/tables", b""
    if job.name in ("enrich", "validate"):
        return stand.material / "scored.tsv", b".tsv"
    if job.name == "predict":
        return sorted((stand.material / "features").iterdir())[0], b".h5"
    folder = "nii" if job.name in ("orient", "check") else "n4"
    return sorted((stand.material / folder).glob("*.nii.gz"))[0], b".nii.gz"


def _same_under_other_name(files: dict[str, str], expected: dict[str, str]) -> list[str]:
    """As many files with the same digests, wherever they are; records name paths, and may differ."""
    bulk = (".nii.gz", ".h5", ".dcm", ".js", ".safetensors", ".png", ".svg")
    have = sorted(digest for name, digest in files.items() if name.endswith(bulk))
    want = sorted(digest for name, digest in expected.items() if name.endswith(bulk))
    return [] if have == want else ["status 0, and other files than under a plain name"]


# --- surroundings


def _locale(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """Any locale, and Python told to take any encoding: the same bytes."""
    locales = subprocess.run(
        ["locale", "-a"], capture_output=True, text=True, check=False
    ).stdout.split()
    name = chance.choice([*locales, "tr_TR.UTF-8", "nonsense"])
    changed = {"LC_ALL": name, "LANG": name, "PYTHONUTF8": chance.choice(("0", "1", None))}
    changed["PYTHONIOENCODING"] = chance.choice((None, None, "ascii", "latin-1"))
    changed["PYTHONHASHSEED"] = str(chance.randint(0, 99))
    changed["TZ"] = chance.choice((None, "Asia/Tokyo", "nonsense"))
    stand.lay(place, job.reads)
    env = stand.environment(place, **changed)
    return [f"{name}: {text}" for text in _as_ever(job, stand, place, env)]


def _no_home(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """A user without a name, and without a home, as containers have them."""
    stand.lay(place, job.reads)
    changed = {
        "HOME": chance.choice((None, "", "/nowhere", "/dev/null")),
        "USER": None,
        "LOGNAME": None,
    }
    changed["OATOOLS_CACHE"] = None if chance.random() < 0.3 else str(stand.cache)
    env = stand.environment(place, **changed)
    return _as_ever(job, stand, place, env, _under_another_id())


def _cache_broken(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """The folder of exported networks is a file, cannot be written, or holds damaged files."""
    stand.lay(place, job.reads)
    cache = place.root / "networks"
    how = chance.choice(("a file", "damaged", "empty files", "a dangling link"))
    if how == "a file":
        cache.write_text("no folder")
    elif how == "a dangling link":
        cache.symlink_to("/nowhere/at/all")
    else:
        shutil.copytree(stand.cache, cache)
        for path in (path for path in cache.rglob("*") if path.is_file()):
            size = path.stat().st_size
            os.truncate(path, 0 if how == "empty files" else round(size * chance.random()))
    env = stand.environment(place, OATOOLS_CACHE=str(cache))
    return [f"{how}: {text}" for text in _as_ever(job, stand, place, env)]


def _clock(job: Job, stand: Stand, place: Place, chance: random.Random) -> list[str]:
    """Inputs and outputs whose times lie in the future or long ago, as after a clock that was set back."""
    _lay_copies(job, stand, place)
    for path in place.work.rglob("*"):
        moment = chance.choice((LONG_AGO, FAR_AHEAD))
        os.utime(path, (moment, moment), follow_symlinks=False)
    found = _as_ever_over_copies(job, stand, place)
    for path in place.work.rglob("*"):
        moment = chance.choice((LONG_AGO, FAR_AHEAD))
        os.utime(path, (moment, moment), follow_symlinks=False)
    return found + _run_again_over_copies(job, stand, place)


# --- what all have in common


def _survived(
    done: Outcome,
    job: Job,
    stand: Stand,
    place: Place,
    must_fail: bool = False,
    may_miss: bool = False,
) -> list[str]:
    """Whole files or none, no litter, and success only where all is there (unless it `may_miss`)."""
    reference = stand.reference(job)
    found = wrongs(done)
    files = snapshot(place.work)
    if done.status == 0:
        if must_fail:
            found.append("status 0, and nothing can have been written")
        missing = [name for name in reference.files if name not in files]
        if missing and not may_miss:
            found.append(
                f"status 0, and {len(missing)} outputs are not there, {missing[0]} one of them"
            )
        if reference.is_other(done.out):
            found.append("status 0, and another table")
    elif not done.err.strip():
        found.append(f"status {done.status} without a word")
    if place.tmp.is_dir():
        found += leftovers(place, reference)
    return found + _half_written_of(job, stand, place)


def _half_written_of(job: Job, stand: Stand, place: Place) -> list[str]:
    if job.name.startswith(("page", "view")):
        return _damaged_page(stand, place)
    # A table of failures says what failed, and other failures are other tables.
    return [text for text in half_written(place, stand.reference(job)) if "failed.tsv" not in text]


def _damaged_page(stand: Stand, place: Place) -> list[str]:
    """What is no whole page; one that shows fewer rows, as others failed, is whole."""
    beside = Place(place.root / "checked").make()
    pages = [path for name in ("out", "look.html") if (path := place.work / name).exists()]
    done = run(["oa-check", *pages], beside, stand.environment(beside)) if pages else None
    return [] if done is None else done.out.decode().splitlines()[1:]


def _as_ever(
    job: Job, stand: Stand, place: Place, env: dict[str, str], before: Sequence[str] = ()
) -> list[str]:
    """The fault must make no difference at all."""
    words = job.words.split()
    if before:
        words = [*before, str(BIN / words[0]), *words[1:]]
    done = run(words, place, env)
    found = wrongs(done)
    if done.status != 0:
        return [*found, f"status {done.status}: {last_line(done.err)}"]
    reference = stand.reference(job)
    if reference.is_other(done.out):
        found.append("another table")
    files = snapshot(place.work)
    if files != reference.files:
        odd = sorted(
            name
            for name in files.keys() | reference.files.keys()
            if files.get(name) != reference.files.get(name)
        )
        found.append(f"other files: {', '.join(odd[:5])}")
    return found + leftovers(place, reference)


def _lay_copies(job: Job, stand: Stand, place: Place) -> None:
    stand.lay(place, job.reads, copies=True)
    (place.root / "laid.json").write_text(json.dumps(snapshot(place.work)))


def _as_ever_over_copies(job: Job, stand: Stand, place: Place) -> list[str]:
    done = run(job.words.split(), place, stand.environment(place))
    return _compare_over_copies(done, job, stand, place)


def _run_again_over_copies(job: Job, stand: Stand, place: Place) -> list[str]:
    return [f"run again: {text}" for text in _as_ever_over_copies(job, stand, place)]


def _compare_over_copies(done: Outcome, job: Job, stand: Stand, place: Place) -> list[str]:
    """As `_as_ever`, where the inputs are copies and lie among the outputs."""
    reference = stand.reference(job)
    found = wrongs(done)
    if done.status != 0:
        return [*found, f"status {done.status}: {last_line(done.err)}"]
    if reference.is_other(done.out):
        found.append("another table")
    laid = json.loads((place.root / "laid.json").read_text())
    files = {name: value for name, value in snapshot(place.work).items() if name not in laid}
    odd = sorted(
        name
        for name in files.keys() | reference.files.keys()
        if files.get(name) != reference.files.get(name)
    )
    if odd:
        found.append(f"other files: {', '.join(odd[:5])}")
    return found


def _input_files(job: Job, place: Place) -> list[Path]:
    """The inputs that were copied into the trial's folder, but for texts, which may say something else at any time."""
    found = []
    for name in job.reads:
        path = place.work / name
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [path for path in found if path.suffix not in TEXTS and "tables" not in path.parts]


def _sizes(stand: Stand, job: Job) -> list[int]:
    """The sizes of a job's outputs, rounded up to pages, as measured once."""
    return [-(-size // 4096) * 4096 for size in stand.reference(job).sizes]


def _await_files(
    job: Job, stand: Stand, place: Place, chance: random.Random, process: subprocess.Popen
) -> None:
    """Wait until some of the outputs have been begun, or the command ends."""
    reference = stand.reference(job)
    wanted = chance.randint(1, max(1, len(reference.files)))
    last = time.monotonic() + 3 * reference.seconds
    while (
        len(snapshot_names(place)) < wanted and time.monotonic() < last and process.poll() is None
    ):
        time.sleep(0.002)


def _descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


@contextlib.contextmanager
def _file_system(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system of its own, of this many bytes, at an empty folder; yields what gives it another size."""
    _mount("-t", "tmpfs", "-o", f"size={max(size, 8192)},mode=777", "stress", folder)
    try:
        yield lambda bigger: _mount("-o", f"remount,size={bigger}", folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=False, capture_output=True)


def _mount(*words: str | Path) -> None:
    _need_root()
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotHere("file systems cannot be mounted here")


def _need_root() -> None:
    if os.getuid() != 0:
        raise NotHere("only root can mount file systems and run commands as another user")


def _as_nobody(place: Place) -> dict[str, Any]:
    """The options of a process that make it that of another user, to whom these folders must be open."""
    _need_root()
    needed = [*place.root.parents, *BIN.parents, Path(sys.executable).resolve()]
    if any(not path.stat().st_mode & stat.S_IXOTH for path in needed):
        raise NotHere("another user cannot come to the interpreter or to the folder of the trials")
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def _under_another_id() -> list[str]:
    """What goes before a command so that it sees itself as a user without a name, with the same rights."""
    unshare = shutil.which("unshare")
    words = [unshare or "", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if not unshare or subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        raise NotHere("users cannot be mapped here")
    return words


def let_go(root: Path) -> None:
    """Unmount what a trial that was ended has left mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point = line.split()[1].encode().decode("unicode_escape")
        if Path(point).is_relative_to(root):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)


_NAMED = (
    *("orient", "n4", "embed", "label", "train", "draw", "page", "convert", "phantom", "cam"),
    *("label --until", "train on follow-up", "score", "enrich", "validate", "view", "view -j 2"),
    "doctor",
)
#: The words of jobs that name what is written; of several, the first is given an odd name.
_OUTPUTS = (
    *(b"out", b"new", b"m.safetensors", b"key.tsv", b"flow.tsv", b"figure.svg", b"look.html"),
)
_OF_TEXTS = ("label", "label --until", "draw", "score", "enrich", "validate")
_TAKES_PATHS = (
    *("convert", "orient", "n4", "embed", "predict", "cam", "label", "check"),
    *("label --until", "enrich", "validate", "view", "info"),
)
FAULTS: tuple[tuple[str, Callable[..., list[str]], Callable[[Job], bool]], ...] = (
    ("disk full", _disk_full, _writes),
    ("no space for temporary files", _tmp_full, _writes),
    ("no folder for temporary files", _tmp_missing, _writes),
    ("file size limit", _quota, _writes),
    ("read-only file system", _read_only, _writes),
    ("folder of another user", _no_permission, _writes),
    ("outputs removed", _folder_removed, _writes),
    ("input vanishes", _input_vanishes, lambda job: _reads_files(job)),
    ("input replaced", _input_replaced, lambda job: _reads_files(job) and job.rows),
    ("several at once", _several_at_once, _writes),
    ("worker killed", _worker_killed, lambda job: job.workers),
    ("streams", _streams, lambda job: True),
    ("odd output", _odd_name, lambda job: job.name in _NAMED),
    ("odd input", _odd_input, lambda job: job.name in _TAKES_PATHS),
    ("locale", _locale, lambda job: True),
    ("no home", _no_home, lambda job: True),
    ("broken cache", _cache_broken, lambda job: job.name in ("embed", "embed -j 2")),
    ("clock", _clock, lambda job: bool(job.reads)),
)
