"""The table of failures, shared by processes and carried over runs."""

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
        "    table.add([{'knee': f'{name}{n}', 'sequence': 's', 'path': 'p', 'error': 'e'}])\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abcd"]
    assert [process.wait() for process in started] == [0] * 4
    assert sorted(knees(path)) == sorted(f"{name}{n}" for name in "abcd" for n in range(20))
    assert [other.name for other in tmp_path.iterdir()] == ["failed.tsv"]


def test_a_row_that_is_done_now_is_taken_out_and_one_that_was_not_tried_stays(tmp_path):
    path = tmp_path / "failed.tsv"
    first = FailedTable(path, COLUMNS)
    first.add([row("a", "broken"), row("b", "broken"), row("c", "broken")])
    again = FailedTable(path, COLUMNS)
    again.tried(row("a"))
    again.tried(row("b"))
    again.add([row("b", "still broken")])
    assert path.read_text() == (
        f"{HEADER}c\tcor-iw-tse\tin/c.nii\tbroken\nb\tcor-iw-tse\tin/b.nii\tstill broken\n"
    )


def test_a_run_without_failures_leaves_a_table_without_rows(tmp_path):
    path = tmp_path / "new" / "failed.tsv"
    FailedTable(path, COLUMNS).add([])
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
    FailedTable(path, COLUMNS).add([row("b", "broken")])
    assert knees(path) == ["b"]
