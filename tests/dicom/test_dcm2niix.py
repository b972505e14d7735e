"""What dcm2niix may take and do: native code over foreign bytes, which may hang, crash or swell."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import dcm2niix
import pydicom
import pytest

from oatools.core.errors import ItemError
from oatools.dicom.convert import convert


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Put a shell's script in the place of dcm2niix; return what it writes `$$` to."""

    def put(script):
        program = tmp_path / "another-dcm2niix"
        program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(dcm2niix, "bin", str(program))
        return tmp_path / "pid"

    return put


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_that_hangs_is_killed_and_fails_the_series(scan, tmp_path, instead):
    scan(tmp_path / "s")
    pid = instead("exec sleep 600")
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s", seconds=0.5)
    assert error.value.reason == "dcm2niix took more than 0.5 s and was stopped"
    assert "`timeout`" in error.value.remedy
    assert not is_running(pid.read_text().strip())


@pytest.mark.parametrize("name", ["SEGV", "ABRT", "KILL"])
def test_a_crash_is_one_line_with_the_signal(scan, tmp_path, instead, name):
    scan(tmp_path / "s")
    instead(f"echo half a message; kill -{name} $$")
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s")
    assert error.value.reason == f"dcm2niix crashed over it (SIG{name})"
    assert "takes more than 2 GiB of memory (set OATOOLS_MEMORY_LIMIT" in error.value.remedy


def test_a_volume_that_a_crash_leaves_is_not_taken(scan, tmp_path, instead):
    scan(tmp_path / "s")
    real = dcm2niix.bin
    instead(f'{real} "$@"; kill -SEGV $$')
    with pytest.raises(ItemError, match="crashed over it"):
        convert(tmp_path / "s")


def test_what_cannot_be_started_is_said(scan, tmp_path, monkeypatch):
    scan(tmp_path / "s")
    for program in (tmp_path / "nowhere", tmp_path / "s" / "001"):
        monkeypatch.setattr(dcm2niix, "bin", str(program))
        with pytest.raises(ItemError, match="dcm2niix cannot be started"):
            convert(tmp_path / "s")


@pytest.mark.skipif(sys.platform != "linux", reason="the system limits no other process")
def test_its_memory_and_its_core_are_limited(scan, tmp_path, instead):
    scan(tmp_path / "s")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # as people have it who want cores
    # The limits come a moment after the start.
    instead(
        'while [ "$(ulimit -v)" = unlimited ] || [ "$(ulimit -c)" != 0 ]; do :; done\n'
        "echo memory $(ulimit -v) kB, cores $(ulimit -c), in $(pwd)"
    )
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s", seconds=60)
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert "memory 2097152 kB, cores 0" in error.value.reason
    assert str(Path.cwd()) not in error.value.reason


def test_endless_messages_are_cut(scan, tmp_path, instead):
    scan(tmp_path / "s")
    instead("yes Error: the same again | head -c 30000000")
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s")
    assert error.value.reason == "no volume came out (dcm2niix: Error: the same again)"


def test_it_ends_when_its_parent_is_killed(scan, tmp_path, instead):
    from oatools.dicom.dcm2niix import _ending_with_parent

    if not _ending_with_parent():
        pytest.skip("no setpriv, by which a process ends with its parent")
    scan(tmp_path / "s")
    pid = instead("exec sleep 600")
    program = (
        "import dcm2niix, sys; from pathlib import Path; from threading import Thread\n"
        "from oatools.dicom.convert import convert\n"
        f"dcm2niix.bin = {dcm2niix.bin!r}\n"
        f"thread = Thread(target=convert, args=(Path({str(tmp_path / 's')!r}),))\n"
        "thread.start(); thread.join()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        until = time.monotonic() + 60
        while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        child = int(pid.read_text())
        while is_running(child) and time.monotonic() < until:
            time.sleep(0.02)
        assert not is_running(child)
    finally:
        parent.kill()
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_header_that_states_more_than_memory_holds_is_refused_before_it_is_read(scan, tmp_path):
    scan(tmp_path / "s")
    for path in sorted((tmp_path / "s").iterdir()):
        ds = pydicom.dcmread(path)
        ds.Rows = ds.Columns = 40000
        ds.save_as(path)
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s")
    assert error.value.reason.startswith("its 24 images state 38400000000 voxels")
    assert "OATOOLS_MEMORY_LIMIT" in error.value.remedy
