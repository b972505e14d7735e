"""Rows whose files clash with those of other rows."""

import pytest

from oatools.core.claims import FilesOfRun
from oatools.core.errors import ItemError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in", "out", "field"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("out")
    (tmp_path / "in" / "to-b.nii.gz").symlink_to("../out/b.nii.gz")
    return tmp_path


# Input and outputs of a first row, of a second one, and what is said of the second.
CLASHES = [
    ("in/a.nii", ["out/a"], "out/a.nii.gz", ["out/b"], "out/a.nii.gz is the output of one in this"),
    ("in/a.nii", ["out/a"], "link/a.nii", ["out/b"], "link/a.nii is the output of one in this run"),
    ("in/a.nii", ["out/a"], "{}/out/a.img", ["out/b"], "out/a.img is the output of one in this"),
    ("in/a.nii", ["out/b"], "in/to-b.nii.gz", ["out/c"], "in/to-b.nii.gz is the output of one"),
    ("out/a.nii", ["out/b"], "in/c.nii", ["out/a"], "out/a is also read, by one"),
    ("out/a.nii", ["out/b"], "in/c.nii", ["out/c", "link/a"], "link/a is also read, by one"),
    ("in/a.nii", ["out/a", "field/a"], "in/b.nii", ["field/a"], "field/a is already the output of"),
    ("in/a.nii", ["out/a", "field/a"], "in/b.nii", ["out/b", "out/a"], "out/a is already the"),
    ("in/a.nii", ["out/a", "field/x"], "in/b.nii", ["out/b", "field/x"], "field/x is already the"),
    ("in/a.nii", ["out/a"], "in/b.nii", ["out/failed.tsv"], "failed.tsv is already the output of"),
    ("in/a.nii", ["out/a"], "in/b.nii", ["out/mask"], "out/mask is also read, by the run itself"),
    ("in/a.nii", ["out/a"], "in/b.nii", ["out/labels.tsv"], "out/labels.tsv is also read, by the"),
]


@pytest.mark.parametrize("first,writes,second,then,said", CLASHES)
def test_a_row_whose_files_clash_is_refused(folder, first, writes, second, then, said):
    files = FilesOfRun()
    files.reserve(["link/mask.nii.gz", "out/labels.tsv"], ["link/failed.tsv"])
    files.enter({"path": first}, writes, "one")
    with pytest.raises(ItemError) as caught:
        files.enter({"path": second.format(folder)}, then, "two")
    assert said in caught.value.reason
    # What was refused is not entered.
    files.enter({"path": "in/d.nii"}, ["out/d"], "three")


@pytest.mark.parametrize(
    "first,writes,second,then",
    [
        ("in/a.nii", ["out/a"], "in/a.nii", ["out/a"]),  # it may take the place of one that failed
        ("in/a.nii", ["out/a", "field/a"], "in/b.nii", ["out/a", "field/a"]),
        ("out/a.nii", ["out/b"], "out/a.nii", ["out/c"]),  # both read one volume
        ("out/a.nii.gz", ["out/a.h5"], "out/b.nii.gz", ["out/b.h5"]),  # features beside volumes
        ("in/a", ["out/a"], "in/b", ["out/b"]),
    ],
)
def test_rows_that_do_not_clash_pass(folder, first, writes, second, then):
    files = FilesOfRun()
    files.enter({"path": first}, writes, "one")
    files.enter({"path": second}, then, "two")


def test_all_volumes_of_a_joined_row_count(folder):
    files = FilesOfRun()
    files.enter({"path": "in/a.nii"}, ["out/a"], "one")
    joined = {"path": "in/b.nii", "path:cor": "in/b.nii", "path:sag": "out/a.nii.gz"}
    with pytest.raises(ItemError, match=r"out/a\.nii\.gz is the output of one"):
        files.enter(joined, ["out/b"], "two")
