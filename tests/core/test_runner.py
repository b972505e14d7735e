"""The runner, driven as commands drive it: rows in, rows out, whatever happens to one of them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest

# A command of its own, so that all is seen from outside: processes, signals, streams, exit status.
PROGRAM = textwrap.dedent("""
    import os, re, resource, signal, sys, time
    import click
    from oatools.core.errors import ItemError, UsageError
    from oatools.core.manifest import read_rows
    from oatools.core.cli import command
    from oatools.core.options import inputs_argument, run_options, require_inputs
    from oatools.core.runner import Done, run_rows

    def work(row):
        path = row["path"]
        if path == "bad":
            raise ItemError("it is bad", "mend it")
        if path.endswith(".gone"):
            raise ItemError(f"{path}: no such file", "look for it")
        if path == "slow":
            time.sleep(0.5)
            raise ItemError("it is slow and bad")
        if path == "bug":
            raise ValueError("a bug")
        if path == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if path == "hang":
            re.match("(a*)*b", "a" * 40)  # holds on to the interpreter for ages
        if path == "busy":
            resource.setrlimit(resource.RLIMIT_CPU, (1, 60))
            re.match("(a*)*b", "a" * 40)
        if path == "usage":
            raise UsageError("no weights")
        if path.startswith("sleep"):
            time.sleep(float(path[5:]))
        if path == "tab":
            return Done({"size": "a\\tb"})
        if path == "print":
            os.write(1, b"noise")
        remarks = ["it is small"] * (len(path) < 3) + ["it was kept"] * (path == "kept")
        return Done({"path": "out/" + path, "size": str(len(path))}, path == "kept", (), (),
                    tuple(remarks) if os.environ.get("REMARKS") else ())

    def target(row):
        return "out/" + row["path"].removesuffix("2")

    @command("oa-test")
    @inputs_argument()
    @click.option("--threads", is_flag=True)
    @run_options
    def main(console, inputs, null_separated, threads, run):
        \"\"\"Test.\"\"\"
        require_inputs(inputs)
        return run_rows(console, read_rows(inputs, null_separated).require("path"), work, run, ["size"], target,
                        workers="threads" if threads else "processes")

    if __name__ == "__main__":
        main()
""")


@pytest.fixture
def tool(tmp_path, shell):
    (tmp_path / "tool.py").write_text(PROGRAM)

    def run(options, paths, status=0):
        stdin = "knee\tpath\textra\n" + "".join(f"k{i}\t{p}\te{i}\n" for i, p in enumerate(paths))
        return shell(f"{sys.executable} tool.py {options}", status, stdin)

    return run


def running(folder, options, paths):
    """Start the tool on some paths, in a session of its own."""
    table = folder / "running.tsv"
    table.write_text("knee\tpath\n" + "".join(f"k{i}\t{p}\n" for i, p in enumerate(paths)))
    return subprocess.Popen(
        [sys.executable, "tool.py", *options],
        cwd=folder,
        stdin=table.open(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def left_of(process):
    """Tell whether a process of the session is left a while after its first has ended."""
    for _ in range(50):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("options", ["", "-j 3", "-j 3 --threads"])
def test_rows_leave_in_the_order_they_came_with_other_columns_untouched(tool, options, rows):
    done = tool(options, ["sleep0.4", "a", "sleep0.2", "kept"])
    assert [(r["knee"], r["path"], r["extra"], r["size"]) for r in rows(done.stdout)] == [
        ("k0", "out/sleep0.4", "e0", "8"),
        ("k1", "out/a", "e1", "1"),
        ("k2", "out/sleep0.2", "e2", "8"),
        ("k3", "out/kept", "e3", "4"),
    ]
    assert done.stderr == "oa-test: 3 done, 1 kept, 0 failed\n"


@pytest.mark.parametrize("options", ["", "-j 3"])
def test_what_rows_have_in_common_is_said_once_with_their_number(tool, options, monkeypatch):
    monkeypatch.setenv("REMARKS", "1")
    done = tool(options, ["a", "kept", "bad", "ab", "c"], status=1)
    assert done.stderr.splitlines()[-3:] == [
        "oa-test: 3 rows: it is small",
        "oa-test: 1 row: it was kept",
        "oa-test: 3 done, 1 kept, 1 failed",
    ]
    assert "small" not in tool(f"{options} -q", ["a"]).stderr


@pytest.mark.parametrize("options", ["", "-j 2", "-j 2 --threads"])
def test_one_failure_is_one_line_and_the_others_go_on(tool, options, rows, tmp_path):
    done = tool(f"{options} --failed f.tsv", ["a", "bad", "bug", "tab", "b"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a", "out/b"]
    lines = done.stderr.splitlines()
    assert lines[0] == "oa-test: k1: it is bad; mend it"
    assert lines[1].startswith("oa-test: k2: unexpected ValueError: a bug")
    assert lines[2].startswith("oa-test: k3: a tab or line break")
    assert lines[3:] == ["oa-test: 2 done, 0 kept, 3 failed"]
    failed = rows((tmp_path / "f.tsv").read_text())
    assert [(r["knee"], r["path"], r["extra"]) for r in failed] == [
        ("k1", "bad", "e1"),
        ("k2", "bug", "e2"),
        ("k3", "tab", "e3"),
    ]
    assert failed[0]["error"] == "it is bad; mend it"


def test_the_table_of_failures_runs_again_and_its_error_column_is_dropped(
    tool, tmp_path, shell, rows
):
    tool("--failed f.tsv", ["bad"], status=1)
    text = (tmp_path / "f.tsv").read_text().replace("\tbad\t", "\tgood\t")
    done = shell(f"{sys.executable} tool.py", 0, text)
    assert rows(done.stdout) == [{"knee": "k0", "path": "out/good", "extra": "e0", "size": "4"}]


@pytest.mark.parametrize("options", ["", "-j 2"])
def test_a_process_that_is_killed_fails_its_own_row_only(tool, rows, options):
    done = tool(options, ["a", "die", "b", "die", "c"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a", "out/b", "out/c"]
    assert "k1: its process died (SIGKILL)" in done.stderr


def test_an_item_that_takes_too_much_processor_time_is_said_to(tool, rows):
    done = tool("", ["busy", "a"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a"]
    assert "oa-test: k0: reading it took over 3 s of processor time;" in done.stderr


@pytest.mark.parametrize("options", ["", "-j 2"])
def test_an_item_that_takes_too_long_is_stopped_whatever_it_is_doing(tool, rows, options):
    # "hang" is a match that no signal interrupts; the other one is asleep.
    done = tool(f"{options} --timeout 1.5", ["a", "hang", "b", "sleep60", "c"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a", "out/b", "out/c"]
    stopped = "it took more than 1.5 s and was stopped; the input may be damaged: try it alone"
    assert sorted(done.stderr.splitlines())[1:] == [
        f"oa-test: k1: {stopped}, or give it more time (--timeout)",
        f"oa-test: k3: {stopped}, or give it more time (--timeout)",
    ]


def test_without_a_limit_of_time_an_item_may_take_as_long_as_it_likes(tool, rows):
    done = tool("--timeout 0", ["sleep1.6"])
    assert [r["path"] for r in rows(done.stdout)] == ["out/sleep1.6"]
    assert "is not in the range" in tool("--timeout -1", ["a"], status=2).stderr


@pytest.mark.parametrize("what", ["hang", "sleep60"])
def test_a_run_that_is_told_to_end_does_so_whatever_its_processes_are_doing(tool, tmp_path, what):
    with running(tmp_path, ["-j", "2"], [what, what]) as process:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    assert not left_of(process)


@pytest.mark.parametrize("options", [[], ["-j", "2"]])
@pytest.mark.parametrize("what", ["hang", "sleep60"])
def test_children_do_not_outlive_a_parent_that_is_killed(tool, tmp_path, options, what):
    if sys.platform != "linux":
        pytest.skip("the system offers it on Linux only")
    with running(tmp_path, options, [what, what]) as process:
        time.sleep(1)
        process.kill()
        process.wait()
    assert not left_of(process)


def test_what_a_library_prints_in_a_worker_never_reaches_the_table(tool, rows):
    assert [r["path"] for r in rows(tool("-j 2", ["print", "a"]).stdout)] == ["out/print", "out/a"]


@pytest.mark.parametrize("options", ["", "-j 2", "-j 2 --threads"])
def test_two_rows_that_would_write_the_same_file_are_not_both_done(tool, options, rows):
    done = tool(options, ["a", "a2", "b"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a", "out/b"]
    assert "k1: out/a is already the output of k0 (a)" in done.stderr


@pytest.mark.parametrize("options", ["", "-j 3", "-j 3 --threads"])
@pytest.mark.parametrize("first", ["bad", "slow", "die"])
def test_a_row_that_fails_does_not_block_another_of_the_same_file(tool, rows, options, first):
    if first == "die" and "threads" in options:
        pytest.skip("it would end the command itself")
    done = tool(options, [first, f"{first}2", f"{first}2", "b", first], status=1)
    assert [(r["knee"], r["path"]) for r in rows(done.stdout)] == [
        ("k1", f"out/{first}2"),
        ("k3", "out/b"),
    ]
    lines = done.stderr.splitlines()
    assert lines[0].startswith("oa-test: k0: it")
    taken = f"out/{first} is already the output of k1 ({first}2); give the rows different knees"
    assert lines[1].startswith(f"oa-test: k2: {taken}")
    assert lines[2].startswith(f"oa-test: k4: {taken}")
    assert lines[3] == "oa-test: 2 done, 0 kept, 3 failed"


@pytest.mark.parametrize("options", ["-j 3", "-j 3 --threads"])
def test_a_row_that_waited_for_another_of_the_same_file_fails_once_that_is_written(
    tool, rows, options
):
    done = tool(options, ["sleep0.4", "sleep0.42", "b", "sleep0.42"], status=1)
    assert [r["knee"] for r in rows(done.stdout)] == ["k0", "k2"]
    assert done.stderr.count("sleep0.4 is already the output of k0 (sleep0.4)") == 2


def test_fail_fast_stops_at_the_first_failure(tool, rows):
    done = tool("--fail-fast", ["a", "bad", "b"], status=1)
    assert [r["path"] for r in rows(done.stdout)] == ["out/a"]
    assert "stopped at the first failure" in done.stderr


@pytest.mark.parametrize("options", ["", "-j 2", "-j 2 --threads"])
def test_what_makes_the_whole_call_useless_ends_it_with_status_2(tool, options):
    done = tool(options, ["usage"], status=2)
    assert done.stderr.splitlines() == ["oa-test: no weights"]


def test_quiet_leaves_errors_only(tool):
    assert tool("-q", ["a", "bad"], status=1).stderr == "oa-test: k1: it is bad; mend it\n"


@pytest.mark.parametrize("options", ["", "-j 2", "-j 2 --threads"])
def test_a_closed_pipe_ends_quietly_with_141(tool, shell, tmp_path, options):
    (tmp_path / "in.tsv").write_text(
        "knee\tpath\n" + "".join(f"k{i}\tp{i}x\n" for i in range(20000))
    )
    done = shell(
        f"{sys.executable} tool.py {options} < in.tsv | head -n 2; echo ${{PIPESTATUS[0]}}", None
    )
    assert done.stdout.splitlines()[-1] == "141"
    assert done.stderr == ""


def test_streams_that_are_closed_from_the_start_give_no_traceback(tool, shell, tmp_path, rows):
    (tmp_path / "in.tsv").write_text("knee\tpath\nk0\ta\nk1\tbad\n")
    assert shell(f"{sys.executable} tool.py < in.tsv >&-", 141).stderr == ""
    assert [
        row["path"] for row in rows(shell(f"{sys.executable} tool.py < in.tsv 2>&-", 1).stdout)
    ] == ["out/a"]
    assert (
        shell(f"{sys.executable} tool.py <&-", 2).stderr
        == "oa-test: standard input is closed; give a table or paths\n"
    )


def test_a_message_moves_no_cursor(tool, shell, tmp_path):
    (tmp_path / "in.tsv").write_text("knee\tpath\nk\x1b[2J\tbad\n")
    assert shell(f"{sys.executable} tool.py < in.tsv", 1).stderr.startswith(
        "oa-test: k\ufffd[2J: it is bad"
    )


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("options", [[], ["-j", "2"], ["-j", "2", "--threads"]])
def test_signals_end_with_their_own_status_and_leave_no_process(
    tool, tmp_path, number, status, options
):
    seconds = 3 if "--threads" in options else 30  # a thread ends its row first
    table = f"knee\tpath\nk0\tsleep{seconds}\nk1\tsleep{seconds}.0\nk2\tsleep30.1\nk3\tsleep30.3\n"
    as_at_a_terminal = partial(
        signal.signal, number, signal.SIG_DFL
    )  # the tests themselves may run under nohup
    with subprocess.Popen(
        [sys.executable, "tool.py", *options],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=as_at_a_terminal,
    ) as process:
        process.stdin.write(table)
        process.stdin.flush()
        assert process.stdout.readline() == "knee\tpath\tsize\n"
        time.sleep(1.5)  # let the workers start
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert not left_of(process)


@pytest.mark.parametrize("options", ["", "-j 2"])
def test_a_run_under_nohup_outlives_its_terminal(tool, tmp_path, shell, rows, options):
    (tmp_path / "in.tsv").write_text("knee\tpath\nk0\tsleep2\n")
    done = shell(
        f"""nohup {sys.executable} tool.py {options} < in.tsv 2> log & sleep 1.5; kill -HUP $!; wait $!"""
    )
    assert [row["path"] for row in rows(done.stdout)] == ["out/sleep2"]


def test_rows_flow_before_the_input_has_ended(tool, tmp_path):
    for options in ([], ["-j", "2"]):
        with subprocess.Popen(
            [sys.executable, "tool.py", *options],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            process.stdin.write("knee\tpath\nk0\ta\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(2)] == [
                "knee\tpath\tsize\n",
                "k0\tout/a\t1\n",
            ]
            process.stdin.close()


def test_a_person_at_a_terminal_is_told_what_to_do(tool, tmp_path):
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "tool.py"],
        cwd=tmp_path,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours), os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.startswith("oa-test: nothing to do") and done.stderr.count("\n") == 1
