"""Interrupts at any moment of a command's life: one line, status 130."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

# As the script that pip installs; a test runner in the background may have the signal ignored.
STARTED = """
    import os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["oa-orient", *sys.argv[1:]]
    from oatools.commands.start import orient
    from oatools.core.signals import end_at_once
    end_at_once("oa-orient")  # as orient() does at once
    os.write(1, b"ready\\n")
    orient()
"""

# A library that takes its time to load, and takes whatever goes wrong meanwhile for its own fault.
SLOW = """
    import os, time
    try:
        os.write(1, b"loading\\n")
        for _ in range(40):
            time.sleep(0.02)
    except BaseException:
        raise ImportError("the library cannot be loaded")
    os.write(1, b"loaded\\n")
"""
LOADER = """
    import signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from oatools.core.cli import command

    @command("oa-test")
    def main(console):
        import slow
        import os, time
        os.write(1, b"working\\n")
        time.sleep(20)

    main()
"""


def start(program, *arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_an_interrupt_at_any_moment_is_one_line(tmp_path, write_volume):
    affine = np.diag([0.5, 0.5, 3.0, 1.0])
    data = np.random.default_rng(0).integers(0, 900, (24, 24, 10), dtype=np.int16)
    write_volume("9000001_00m_left.nii.gz", data, affine)

    def interrupted(after):
        line = ["9000001_00m_left.nii.gz", "--force", "--side", "left", "-o", "out"]
        with start(STARTED, *line, cwd=tmp_path) as process:
            assert process.stdout.readline() == "ready\n"
            begun = time.monotonic()
            if after is not None:
                time.sleep(after)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            process.stdout.read()
            said = process.stderr.read()
            process.wait()
            return process.returncode, said, time.monotonic() - begun

    whole = (0, "oa-orient: 1 done, 0 kept, 0 failed\n")
    *outcome, taken = interrupted(None)
    assert tuple(outcome) == whole
    outcomes = [interrupted(taken * moment / 24)[:2] for moment in range(24)]
    cut = (130, "oa-orient: interrupted\n")
    midway = [one for one in outcomes if one not in (cut, whole)]
    # The summary may be said already, but nothing is beyond it.
    assert [one for one in midway if one != (130, whole[1] + cut[1])] == []
    assert outcomes.count(cut) >= 8
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_library_is_loaded_to_its_end_before_a_signal_is_answered(tmp_path, number, status):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW))
    with start(LOADER, cwd=tmp_path) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        assert process.stdout.read() in ("loaded\n", "loaded\nworking\n")
        assert process.stderr.read() == ("oa-test: interrupted\n" if status == 130 else "")
    assert process.returncode == status


def test_a_second_interrupt_does_not_wait(tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent(SLOW).replace("range(40)", "range(4000)"))
    with start(LOADER, cwd=tmp_path) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""  # the library's own exception came of it
        process.stderr.read()
    assert process.returncode == 1


_ABORTS = """
import atexit, os, signal, time
from oatools.commands import n4, start
from oatools.core.signals import unwinding

def main():
    with unwinding():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(9)

n4.main = main
atexit.register(os.abort)  # as C++ does over a thread that still computes
print("a row")
start.n4()
"""


def test_a_command_that_was_ended_does_not_wait_for_its_libraries_to_be_taken_down():
    call = [sys.executable, "-c", _ABORTS]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (143, "a row\n", "")
