"""`--update` makes what has changed, as make does, and `-o` may be the name of one file."""

import os

import nibabel
import numpy as np
import pytest

from oatools.core.outfolder import IntoFolder
from oatools.core.runner import Done


@pytest.fixture
def scan(tmp_path, write_volume):
    """Write a volume with these voxels as a.nii.gz; with the tables and folders of a user's own."""

    def write(seed):
        voxels = np.random.default_rng(seed).integers(1, 200, (48, 48, 12)).astype(np.int16)
        write_volume("a.nii.gz", voxels)
        return voxels

    write(0)
    return write


OLD = 1_000_000_000  # seconds since 1970: long ago


@pytest.mark.parametrize(
    "command,made",
    [
        ("oa-orient a.nii.gz --side right -o out", "out/a.nii.gz"),
        ("oa-n4 a.nii.gz -o out", "out/a.nii.gz"),
        ("oa-embed a.nii.gz --weights random --slices 2 --size 32 -o out", "out/a.h5"),
    ],
)
def test_what_changed_is_made_again_and_what_is_kept_is_touched(
    shell, scan, tmp_path, command, made
):
    made = tmp_path / made
    shell(command)
    first = made.read_bytes()
    os.utime(made, (OLD, OLD))
    assert "1 kept" in shell(command).stderr
    assert made.stat().st_mtime == OLD
    assert "1 kept" in shell(f"{command} --update").stderr
    assert made.stat().st_mtime > OLD and made.read_bytes() == first
    scan(1)
    refused = shell(command, status=1)
    assert "was made from another input; use --update, --force or another -o" in refused.stderr
    assert made.read_bytes() == first
    assert "1 done" in shell(f"{command} -u").stderr
    assert made.read_bytes() != first
    assert "1 kept" in shell(command).stderr


def test_an_update_leaves_a_file_of_somebody_else(shell, scan, tmp_path, write_volume):
    write_volume("out/a.nii.gz", np.ones((3, 3, 3), np.uint8))
    before = (tmp_path / "out/a.nii.gz").read_bytes()
    refused = shell("oa-n4 a.nii.gz -o out --update", status=1)
    assert "does not say how it was made; use --force" in refused.stderr
    shell("oa-orient a.nii.gz --side right -o other")
    refused = shell("oa-n4 a.nii.gz -o other --update", status=1)
    assert "was made by another tool; use --force" in refused.stderr
    assert (tmp_path / "out/a.nii.gz").read_bytes() == before


def test_the_output_may_be_one_file(shell, scan, tmp_path):
    done = shell(
        "oa-orient a.nii.gz --side right -o new/right.nii.gz | oa-n4 -o flat.nii"
        " | oa-embed --weights random --slices 2 --size 32 -o f.h5"
    )
    assert done.stdout.splitlines()[1].split("\t")[5] == "f.h5"
    oriented, flat = (nibabel.load(tmp_path / name) for name in ("new/right.nii.gz", "flat.nii"))
    assert oriented.shape == (48, 48, 12) and flat.get_data_dtype() == np.float32
    assert (tmp_path / "new/right.json").is_file() and (tmp_path / "flat.json").is_file()
    assert (tmp_path / "f.h5").read_bytes().startswith(b"\x89HDF")
    assert sorted(path.name for path in tmp_path.glob("*")) == [
        *("a.nii.gz", "f.h5", "flat.json", "flat.nii", "new")
    ]


def test_what_is_kept_of_further_sequences_is_touched_too(tmp_path):
    made = [tmp_path / name for name in ("a.png", "a.nii.gz", "b.png", "b.nii.gz", "input.nii.gz")]
    for path in made:
        path.touch()
        os.utime(path, (0, 0))
    names = ("path", "heat", "path:sag", "heat:sag", "volume:sag")
    cells = dict(zip(names, map(str, made), strict=True))
    work = IntoFolder(tmp_path, lambda row: Done(cells, kept=True), touches=True)
    work({})
    assert [path.stat().st_mtime > 0 for path in made] == [True, True, True, True, False]


def test_one_file_takes_one_input(shell, scan, tmp_path, write_volume):
    write_volume("b.nii.gz", np.ones((4, 4, 4), np.uint8))
    done = shell("oa-n4 a.nii.gz b.nii.gz -o one.nii.gz", status=1)
    assert "b.nii.gz: one.nii.gz is one file, and this is input 2; give -o a folder" in done.stderr
    assert nibabel.load(tmp_path / "one.nii.gz").shape == (48, 48, 12)
    refused = shell("oa-n4 a.nii.gz -o one.nii.gz --compress 0 -f", status=2)
    assert "to be compressed, by its name; leave out --compress 0" in refused.stderr
    same = shell("oa-n4 a.nii.gz -o a.nii.gz", status=1)
    assert "a.nii.gz is the input itself" in same.stderr


@pytest.mark.parametrize(
    "line",
    [
        "oa-convert . -o volume.nii.gz",
        "oa-n4 a.nii.gz -o corrected.h5",
        "oa-n4 a.nii.gz -o corrected.zip",
        "oa-embed a.nii.gz -o features.tsv",
        "oa-cam a.nii.gz a.nii.gz -o map.png",
        "oa-n4 a.nii.gz -o look.htm",
    ],
)
def test_no_folder_is_made_by_the_name_of_a_file(shell, scan, tmp_path, line):
    refused = shell(line, status=2)
    assert "has the name of a file, and a folder" in refused.stderr
    assert [path.name for path in tmp_path.glob("*")] == ["a.nii.gz"]


def test_a_folder_that_is_there_may_be_called_anything(shell, scan, tmp_path):
    (tmp_path / "all.nii.gz").mkdir()
    shell("oa-n4 a.nii.gz -o all.nii.gz")
    assert (tmp_path / "all.nii.gz/a.nii.gz").is_file()
    refused = shell("oa-convert . -o a.nii.gz", status=2)
    assert "'a.nii.gz' is a file, and a folder is needed" in refused.stderr
