"""The short form of the harness in `stress`, which tries kills, faults and damaged files on all commands."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs Linux, for /proc"
)


def test_nothing_is_lost_by_kills_faults_and_damaged_files():
    done = subprocess.run(
        [sys.executable, "-m", "stress", "--short", "-j", "1"],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {
        line.split("\t")[0]: int(line.split("\t")[1])
        for line in done.stdout.splitlines()[1:]
        if line[0] not in " #"
    }
    assert tried["kills"] == 4 and tried["faults"] >= 4 and tried["fuzz"] >= 50


FAULTS = {
    "traceback": ("raise AssertionError('planted')", "traceback: AssertionError: planted"),
    "crash": ("import os; os.kill(os.getpid(), 9)", "ends with status -9"),
    "hang": ("while True: pass", None),
    "memory": ("b = bytearray(300 << 20); b[::4096] = b'1' * len(b[::4096])", None),
    "unforeseen": ("raise SystemExit(print('please report it', file=sys.stderr))", "please report"),
    "none": ("raise SystemExit(1)", ""),
}


AS_A_PROCESS = """
import json, sys
from pathlib import Path
from stress import runs
from stress.trial import Place
runs.MEMORY_MIB = 200
folder = Path(sys.argv[1])
place = Place(folder / "alone").make()
env = runs.environment(place, folder / "cache")
done = runs.finish(runs.start([sys.executable, "-c", sys.argv[2]], place, env), place, 2.0)
print(json.dumps(runs.wrongs(done)))
"""


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("way", ["forked", "as a process"])
def test_the_harness_sees_a_planted_fault(tmp_path, monkeypatch, capfd, way, name):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from stress import runs
    from stress.trial import Place

    code, said = FAULTS[name]
    code = f"import sys\n{code}"
    monkeypatch.setattr(runs, "MEMORY_MIB", 200)
    monkeypatch.setattr(runs, "FORKED_SECONDS", 1)
    place = Place(tmp_path / "place").make()
    env = runs.environment(place, tmp_path / "cache")
    if way == "forked":
        # More than this process may have mapped and let go of again, in which it would find room.
        code = code.replace("300 << 20", "4000 << 20")
        with capfd.disabled():  # the child's streams are its own
            done = runs.in_child(lambda: exec(code, {}), place, env)
        found = runs.wrongs(done)
        said = {"hang": "ends with status -", "memory": "traceback: MemoryError"}.get(name, said)
    else:
        # From a small process: the kernel counts the memory of whoever starts one as its own.
        words = [sys.executable, "-c", AS_A_PROCESS, tmp_path, code]
        done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, check=True)
        found = json.loads(done.stdout)
        said = {"hang": "hangs: ", "memory": "takes 3"}.get(name, said)
    assert [text for text in found if said in text] if said else found == []


def test_a_zygote_has_loaded_what_its_children_loaded_and_is_replaced(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    (tmp_path / "rarely_used.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    from stress.zygotes import Zygote

    def work(order, writer):
        had = "rarely_used" in sys.modules
        importlib.import_module("rarely_used")
        os.write(writer, f"{order} {had} {os.getppid()}".encode())

    def ask(order):
        reader, writer = os.pipe()
        zygote.fork(order, writer)
        os.close(writer)
        with os.fdopen(reader) as stream:
            return stream.read().split()

    zygote = Zygote(work)
    first, second = ask("a"), ask("b")
    assert (first[:2], second[:2]) == (["a", "False"], ["b", "True"])
    assert first[2] == second[2] != str(os.getpid())
    os.kill(int(first[2]), 9)
    assert ask("c")[:2] == ["c", "False"]
    zygote.close()


def test_another_seed_makes_other_trials_and_as_many_of_each(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from stress import fuzz, plan

    trials = fuzz.trials()
    first, later = (plan.long_form(trials, 0.05, ["fuzz"], seed) for seed in (0, 7000))
    assert len(first) == 1000
    assert [(trial.name, seed + 7000) for trial, seed in first] == [
        (trial.name, seed) for trial, seed in later
    ]
    assert {0} < {seed for _, seed in first} < set(range(100))


def test_an_interrupt_is_pythons_to_answer_only_until_a_function_of_ours_runs(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from stress.kills import _is_of_the_start

    loading = (
        "Traceback (most recent call last):\n"
        '  File "/v/bin/oa-orient", line 5, in <module>\n'
        "    from oatools.commands.start import orient\n"
        '  File "/w/oatools/commands/start.py", line 10, in <module>\n'
        "KeyboardInterrupt\n"
    )
    assert _is_of_the_start(loading)
    assert not _is_of_the_start(loading.replace("10, in <module>", "15, in start"))
    assert not _is_of_the_start("oa-orient: interrupted\n")
