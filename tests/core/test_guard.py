"""Reading in a process of its own: what hangs, crashes or takes too much there costs one error."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oatools.core import guard
from oatools.core.errors import ItemError


def length(path, more=0):
    return len(Path(path).read_bytes()) + more


def hang(path):
    return re.match("(a*)*b", "a" * 40)  # no signal that Python answers ends it


def crash(path):
    return ctypes.string_at(0)


def take_memory(path):
    return len(bytearray(3 << 30))


def refuse(path):
    raise ItemError(f"{path}: it is not one", "make one")


class Odd(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def raise_odd(path):
    raise Odd("this", "that")


def whoami(path):
    return os.getpid()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"12345")
    return tmp_path / "a.bin"


def test_a_call_returns_what_the_function_does_from_a_process_that_is_kept(file):
    assert guard.guarded(length, file) == 5
    assert guard.guarded(length, file, 2) == guard.guarded(length, file, more=2) == 7
    there = guard.guarded(whoami, file)
    assert there != os.getpid() and guard.guarded(whoami, file) == there


def test_errors_come_through(file):
    with pytest.raises(ItemError) as raised:
        guard.guarded(refuse, file)
    assert raised.value.reason == f"{file}: it is not one" and raised.value.remedy == "make one"
    with pytest.raises(RuntimeError, match="Odd: this and that"):  # it cannot be sent as it is
        guard.guarded(raise_odd, file)
    with pytest.raises(FileNotFoundError):
        guard.guarded(length, file.with_name("none"))


@pytest.mark.parametrize(
    "function, said",
    [
        (hang, "took over 1 s of processor time"),
        (crash, r"ended the process that did \(SIGSEGV\)"),
        (take_memory, "takes too much memory"),
    ],
)
def test_what_does_harm_is_an_error_and_the_next_file_is_read(file, function, said, monkeypatch):
    monkeypatch.setattr(guard, "PROCESSOR_SECONDS", 1)
    monkeypatch.setattr(guard, "_reader", None)  # one that has the new limit
    with pytest.raises(ItemError, match=said) as raised:
        guard.guarded(function, file)
    assert raised.value.reason.startswith(f"{file}: reading it ")
    assert guard.guarded(length, file) == 5
    monkeypatch.undo()


def end_by(path, number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_reader_that_was_killed_from_outside_says_nothing_about_the_file(file, number):
    with pytest.raises(ItemError, match=f"{number.name}|status {128 + number}") as raised:
        guard.guarded(end_by, file, number)
    is_damaged = "the file is damaged" in raised.value.remedy
    assert is_damaged == (number is signal.SIGSEGV)
    assert is_damaged or "killed from outside" in raised.value.remedy
    assert guard.guarded(length, file) == 5


def test_threads_do_not_get_each_others_answers(file, tmp_path):
    for size in range(20):
        (tmp_path / f"{size}").write_bytes(bytes(size))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda size: guard.guarded(length, tmp_path / str(size % 20)), range(200))
        assert list(found) == [size % 20 for size in range(200)]


@pytest.mark.parametrize("threads", [0, 1])
def test_a_script_without_a_main_block_can_use_it(file, tmp_path, threads):
    # With threads, the process is started anew instead of forked.
    (tmp_path / "script.py").write_text(
        textwrap.dedent(f"""
        import threading, time
        from pathlib import Path
        from oatools.core.errors import ItemError
        from oatools.core.guard import guarded
        for _ in range({threads}):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print("once")
        print(guarded(Path, "{file}"))
        """)
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"once\n{file}\n", "")


def test_an_interrupt_does_not_leave_its_answer_for_the_next_call(file, tmp_path):
    (tmp_path / "script.py").write_text(
        textwrap.dedent("""
        import os, signal, threading, time
        from oatools.core.guard import guarded
        guarded(str, "first")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            guarded(time.sleep, 1)
        except KeyboardInterrupt:
            print("interrupted")
        print(guarded(str, "second"))
        """)
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("interrupted\nsecond\n", "")
