"""The line of progress: on a terminal one for all commands of a pipe, in a log a few lines."""

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oatools.core import console, progress
from oatools.core.progress import Stage, duration_text, left_text, rate_text

TOOL = """
import sys, time
import click
from oatools.core.cli import command
from oatools.core.manifest import read_rows
from oatools.core.options import inputs_argument, run_options
from oatools.core.errors import ItemError
from oatools.core.runner import Done, run_rows

def work(row):
    time.sleep(float({seconds!r}))
    if row["path"] == "bad":
        raise ItemError("is bad", "mend it")
    return Done({{}})

@command({name!r})
@inputs_argument()
@run_options
def main(console, inputs, null_separated, run):
    return run_rows(console, read_rows(inputs, null_separated), work, run, workers="threads")

main()
"""


@pytest.fixture
def tools(tmp_path):
    """Commands that take a tenth of a second a row, and a table of 12 rows of which one fails."""
    for name in ("first", "second", "third"):
        path = tmp_path / name
        path.write_text(TOOL.format(seconds="0.1", name=f"oa-{name}"))
    rows = [f"k{n}\t{'bad' if n == 5 else f'p{n}'}\n" for n in range(12)]
    (tmp_path / "in.tsv").write_text("knee\tpath\n" + "".join(rows))
    return tmp_path


class Screen:
    """What a terminal of many columns shows: carriage returns, cleared lines and line feeds."""

    def __init__(self):
        self.lines, self.column, self.seen = [""], 0, []

    def feed(self, text):
        text = re.sub(r"\x1b\[[\d;]*m", "", text)
        for token in re.findall(r"\x1b\[2K|\x1b\[[^a-zA-Z]*[a-zA-Z]|.|\n", text, flags=re.DOTALL):
            if token == "\r":
                self.column = 0
            elif token == "\n":
                self.lines.append("")
            elif token == "\x1b[2K":
                self.seen.append(self.lines[-1])
                self.lines[-1] = ""
            else:
                assert not token.startswith("\x1b"), f"what a simple terminal cannot do: {token!r}"
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[: self.column] + token + line[self.column + 1 :]
                self.column += 1


def on_a_terminal(line, folder, term="xterm-256color"):
    """Run a line of bash as a job of its own on a terminal; return what that showed."""
    ours, theirs = os.openpty()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    runtime = folder / "run"
    runtime.mkdir(exist_ok=True)
    environment = {**os.environ, "PATH": path, "TERM": term, "XDG_RUNTIME_DIR": str(runtime)}
    for name in ("NO_COLOR", "COLUMNS"):
        environment.pop(name, None)
    environment["COLUMNS"] = "160"
    with subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        screen, until = Screen(), time.monotonic() + 60
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    content = os.read(ours, 1 << 16)
                except OSError:
                    break
                screen.feed(content.decode().replace("\r\n", "\n\r"))
        process.wait(timeout=10)
    os.close(ours)
    return screen


def test_the_commands_of_a_pipe_share_one_line(tools):
    pipe = f"{sys.executable} first in.tsv | {sys.executable} second | {sys.executable} third > out"
    screen = on_a_terminal(pipe, tools)
    drawn = [line for line in screen.seen if "third" in line]
    whole = re.compile(r"first \d+/12(, 1 failed)? \| second \d+ \| third \d+ ?[\S ]*")
    assert any(whole.fullmatch(line) for line in drawn), drawn
    # Nobody else draws, and no line holds two things.
    assert all(line.count("third ") <= 1 and "oa-" not in line for line in drawn)
    assert [line.rstrip() for line in screen.lines if line.strip()] == [
        "oa-first: k5: is bad; mend it",
        "oa-first: 11 done, 0 kept, 1 failed",
        "oa-second: 11 done, 0 kept, 0 failed",
        "oa-third: 11 done, 0 kept, 0 failed",
    ]
    assert not list((tools / "run").rglob("*.*")) and len(list((tools / "run").iterdir())) == 1


def test_only_the_last_of_a_pipe_draws(tools):
    """Whoever finds that another one was started later leaves the line to it."""
    later = """echo '{"name": "oa-later", "count": 3}'"""
    folder = "$XDG_RUNTIME_DIR/oatools-$UID/$$"
    line = (
        f"umask 077; mkdir -p {folder}; {later} > {folder}/999999999; exec {sys.executable} first"
    )
    screen = on_a_terminal(f"{line} in.tsv > out", tools)
    assert not any("first" in line for line in screen.seen)
    assert "11 done" in "".join(screen.lines)
    screen = on_a_terminal(f"{line.replace('999999999', '1')} in.tsv > out", tools)
    assert any(re.match(r"later 3 \| first \d+/12", line) for line in screen.seen)


def test_the_rows_of_a_table_are_counted_beforehand(tools):
    for source in ("in.tsv", "< in.tsv", "in.tsv in2.tsv"):
        (tools / "in2.tsv").write_text("knee\tpath\nl0\tq0")
        screen = on_a_terminal(f"{sys.executable} first {source} > out", tools)
        total = 13 if "in2" in source else 12
        shown = [line for line in screen.seen if line.startswith("first ")]
        assert shown and all(re.match(rf"first \d+/{total}", line) for line in shown), shown
        assert any(line.endswith(" s left") for line in shown)


def test_processes_of_one_command_are_one_stage(tools):
    rows = "".join(f"p{n}\n" for n in range(24))
    (tools / "paths").write_text(rows)
    line = f"xargs -n 12 -P 2 {sys.executable} first < paths > out"
    screen = on_a_terminal(line, tools)
    counts = [re.match(r"first (\d+)/(\d+)", line) for line in screen.seen]
    assert any(found and found[2] == "24" for found in counts), screen.seen


def test_a_quiet_command_draws_nothing(tools):
    screen = on_a_terminal(f"{sys.executable} first -q in.tsv > out", tools)
    assert not any(text.startswith("first") for text in screen.seen)
    assert "".join(screen.lines).strip() == "oa-first: k5: is bad; mend it"


def test_a_terminal_that_cannot_clear_a_line_gets_messages_alone(tools):
    screen = on_a_terminal(f"{sys.executable} first in.tsv > out", tools, term="dumb")
    assert screen.seen == []
    assert screen.lines[-2].strip() == "oa-first: 11 done, 0 kept, 1 failed"


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own = tmp_path / f"oatools-{os.getuid()}"
    own.symlink_to(tmp_path)
    assert progress._folder_of_group() is None
    own.unlink()
    own.mkdir(mode=0o777)
    own.chmod(0o777)
    assert progress._folder_of_group() is None
    own.chmod(0o700)
    assert progress._folder_of_group() == own / str(os.getpgrp())
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    assert progress._folder_of_group() is None


def test_what_a_killed_process_left_is_forgotten(tmp_path):
    (tmp_path / "7").write_text('{"name": "oa-n4", "count": 3}')
    (tmp_path / "8").write_text('{"name": "oa-n4", "count": 3}')
    (tmp_path / "9").write_text('{"name"')
    os.utime(tmp_path / "8", (1, 1))
    assert dict(progress._stages_in(tmp_path)) == {7: Stage("oa-n4", 3)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "9"]


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3600 * 5 + 60 * 20 + 7, "5 h 20 min"),
        (86400 * 2 + 3600 * 3, "2 d 3 h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "count, seconds, text",
    [
        (141, 600, "14.1 a minute"),
        (0, 60, "none a minute"),
        (24_000, 2, "12,000 a second"),
        (10, 7200, "5.00 an hour"),
        (1, 86400 * 2, "0.500 a day"),
    ],
)
def test_a_rate_is_in_the_unit_in_which_it_is_one_at_least(count, seconds, text):
    assert rate_text(count, seconds) == text


def test_the_time_left_follows_from_what_was_done_lately():
    # 400 of 1000 are done, the last 100 of them in 10 minutes: 600 more take an hour.
    assert left_text(400, 1000, 100, 600) == "1 h 0 min left"
    assert left_text(400, None, 100, 600) == left_text(1000, 1000, 1, 1) == ""


def test_a_log_has_a_line_at_growing_intervals(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    said = console.Console("oa-n4", _said_at=now[0])
    with said.progress(1000):
        for count in range(1, 1001):
            now[0] += 6.0
            said.advance(f"{count} done", count, 0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "oa-n4: 11 done so far, 10.0 a minute, 1 h 38 min left"
    assert lines[1] == "oa-n4: 32 done so far, 10.0 a minute, 1 h 36 min left"
    assert len(lines) == 6 and "1000 done" not in lines[-1]
