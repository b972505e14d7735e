"""The table of failures, shared by processes and carried over runs."""

import os
import subprocess
import sys

import pytest

from oatools.core.errors import UsageError
from oatools.core.failures import FailedTable
from oatools.core.manifest import read_table

COLUMNS = ["knee", "sequence", "path"]
HEADER = "knee\tsequence\tpath\terror\n"


def row(knee, error=None):
    cells = {"knee": knee, "sequence": "cor-iw-tse", "path": f"in/{knee}.nii"}
    return cells if error is None else {**cells, "error": error}


def knees(path):
    return [cells["knee"] for cells in read_table(path).rows]


def test_processes_that_share_the_table_all_leave_their_rows(tmp_path):
    path = tmp_path / "failed.tsv"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from oatools.core.failures import FailedTable\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for n in range(20):\n"
        "    table = FailedTable(path, ['knee', 'sequence', 'path'])\n"
        "    table.add({'knee': f'{name}{n}', 'sequence': 's', 'path': 'p', 'error': 'e'}); table.finish()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abcd"]
    assert [process.wait() for process in started] == [0] * 4
    assert sorted(knees(path)) == sorted(f"{name}{n}" for name in "abcd" for n in range(20))
    assert [other.name for other in tmp_path.iterdir()] == ["failed.tsv"]


def test_a_row_that_is_done_now_is_taken_out_and_one_that_was_not_tried_stays(tmp_path):
    path = tmp_path / "failed.tsv"
    first = FailedTable(path, COLUMNS)
    for knee in "abc":
        first.add(row(knee, "broken"))
    first.finish()
    again = FailedTable(path, COLUMNS)
    again.tried(row("a"))
    again.tried(row("b"))
    again.add(row("b", "still broken"))
    again.finish()
    assert path.read_text() == (
        f"{HEADER}b\tcor-iw-tse\tin/b.nii\tstill broken\nc\tcor-iw-tse\tin/c.nii\tbroken\n"
    )


def test_the_table_is_never_there_without_its_header(tmp_path):
    seen = set()

    def look(*_):
        for path in (tmp_path / "new").glob("failed.tsv"):
            seen.add(path.read_bytes())
        return look

    sys.settrace(look)
    try:
        FailedTable(tmp_path / "new" / "failed.tsv", COLUMNS).finish()
    finally:
        sys.settrace(None)
    assert seen == {HEADER.encode()}


def test_a_run_without_failures_leaves_a_table_without_rows(tmp_path):
    path = tmp_path / "new" / "failed.tsv"
    FailedTable(path, COLUMNS).finish()
    assert path.read_text() == HEADER


@pytest.mark.parametrize("text", ["knee\tlabel\na\t1\n", "a shopping list\n", "\0\1\2"])
def test_a_file_that_is_no_table_of_failures_is_not_lost(tmp_path, text):
    path = tmp_path / "labels.tsv"
    path.write_text(text)
    with pytest.raises(UsageError, match="is no table of failures"):
        FailedTable(path, COLUMNS)
    assert path.read_text() == text


def test_a_table_of_another_commands_columns_is_replaced(tmp_path):
    path = tmp_path / "failed.tsv"
    path.write_text("knee\tother\terror\na\t1\tbroken\n")
    FailedTable(path, COLUMNS).add(row("b", "broken"))
    assert knees(path) == ["b"]


def test_rows_are_in_the_table_as_soon_as_they_fail(tmp_path):
    table = FailedTable(tmp_path / "failed.tsv", COLUMNS)
    table.add(row("a", "broken"))
    assert (tmp_path / "failed.tsv").read_text() == f"{HEADER}a\tcor-iw-tse\tin/a.nii\tbroken\n"
    table.add(row("b", "torn"))
    assert knees(tmp_path / "failed.tsv") == ["a", "b"]


def test_what_no_table_can_hold_does_not_cost_the_other_rows(tmp_path):
    table = FailedTable(tmp_path / "failed.tsv", COLUMNS)
    table.add(row("a\tb", "of a name\nof two lines"))
    table.add(row("c\udce9", "broken"))
    table.finish()
    assert (tmp_path / "failed.tsv").read_bytes().splitlines()[1:] == [
        "a\ufffdb\tcor-iw-tse\tin/a\ufffdb.nii\tof a name\ufffdof two lines".encode(),
        b"c\xe9\tcor-iw-tse\tin/c\xe9.nii\tbroken",
    ]


def test_a_table_that_is_read_as_the_input_does_not_grow_under_its_reader(tmp_path):
    path = tmp_path / "failed.tsv"
    path.write_text(f"{HEADER}a\tcor-iw-tse\tin/a.nii\tbroken\n")
    with path.open() as reader:
        table = FailedTable(path, COLUMNS)
        for line in reader:
            knee = line.split("\t")[0]
            table.add({"knee": f"{knee}-part", "path": "new", "error": "e"})
            assert len(knees(path)) < 5
    assert knees(path) == ["a", "knee-part", "a-part"]


def test_a_million_failures_take_little_memory(tmp_path):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from oatools.core.failures import FailedTable\n"
        "path = Path('failed.tsv')\n"
        "cells = '\\ts\\tfolder/of/the/scan.nii.gz\\tit is broken\\n'\n"
        "rows = (f'k{n}' + cells for n in range(100_000))\n"
        "path.write_text('knee\\tsequence\\tpath\\terror\\n' + ''.join(rows))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "table = FailedTable(path, ['knee', 'sequence', 'path'])\n"
        "for n in range(50_000):\n"
        "    row = {'knee': f'k{n}', 'sequence': 's', 'path': 'folder/of/the/scan.nii.gz'}\n"
        "    table.tried(row)\n"
        "    if n % 2: table.add({**row, 'error': 'it is still broken'})\n"
        "table.finish()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40_000  # KiB; as rows in memory they would take 100,000
    found = list(read_table(tmp_path / "failed.tsv").rows)
    assert len(found) == 75_000
    assert sum(cells["error"] == "it is still broken" for cells in found) == 25_000


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path, kind):
    path = tmp_path / "failed.tsv"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/null"),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(UsageError, match=f"is a {kind}.*not a table of failures"):
        FailedTable(path, ["knee"])
    assert not path.is_file()
