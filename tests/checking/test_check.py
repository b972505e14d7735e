"""oa-check: each kind of damage to each kind of file is named, and that file alone."""

import gzip
import json
import os
import shutil
import socket
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

import oatools
from oatools.commands import check, embed, n4, orient
from oatools.core import manifest
from oatools.core.checksums import read_checksums, write_checksums
from oatools.core.errors import ItemError
from oatools.imaging.recorded import write_recorded
from oatools.imaging.volume import Volume, write_volume

AFFINE = np.array([[0.9, 0, 0, -100.0], [0, 0, 3.0, -18.0], [0, 0.9, 0, -12.0], [0, 0, 0, 1]])
KNEES = [f"900000{n}_00m_left_cor-iw-tse" for n in range(1, 8)]


def call(command, *words, given=None):
    return CliRunner().invoke(command.main, [str(word) for word in words], input=given)


def found(*words, given=None):
    """What oa-check prints of each bad file, and its exit status."""
    done = call(check, *words, "--timeout", 0, given=given)
    header, *lines = done.stdout.splitlines()
    assert header == "path\tkind\terror", done.stderr
    assert (done.exit_code == 1) == bool(lines), done.stderr
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seven knees, oriented, corrected and embedded: what the commands make of plain files."""
    folder = tmp_path_factory.mktemp("made")
    before = Path.cwd()
    os.chdir(folder)
    try:
        random = np.random.default_rng(0)
        for knee in KNEES:
            data = random.normal(500, 90, (28, 28, 5)).astype(np.int16)
            write_volume(Path("scans") / f"{knee}.nii.gz", Volume(data, AFFINE))
            Path(f"scans/{knee}.json").write_text('{"EchoTime": 0.029}')
        make_all()
    finally:
        os.chdir(before)
    return folder


def make_all():
    """Run all commands, which keep what is there; return what they say."""
    said = []
    scans = sorted(Path("scans").glob("*.nii.gz"))
    calls = [
        (orient, [*scans, "-o", "oriented"]),
        (n4, ["-", "-o", "n4", "--mask", "none"]),
        (embed, ["-", "-o", "f", "--backbone", "mobilenetv2_100", "--weights", "random"]),
    ]
    table = None
    for command, words in calls:
        done = call(command, *words, "--timeout", 0, given=table)
        assert done.exit_code == 0, done.stderr
        table = done.stdout
        said.append(done.stderr)
    Path("features.tsv").write_text(table)
    return "".join(said)


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of them, and the folder that commands run in."""
    shutil.copytree(made, tmp_path / "p")
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def cut(path, other):
    path.write_bytes(path.read_bytes()[:-40])


def empty(path, other):
    path.write_bytes(b"")


def flip(path, other):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lose(path, other):
    path.unlink()


def exchange(path, other):
    path.write_bytes(other.read_bytes())


def exchange_both(path, other):
    """Put the volume of another knee, with its sidecar, in the place of this."""
    exchange(path, other)
    exchange(sidecar(path), sidecar(other))


def stranger(path, other):
    """A whole volume that no command made, in the place of ours."""
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), AFFINE), path)


def sidecar(path):
    return path.with_name(path.name.replace(".nii.gz", ".json"))


def volume(folder, number):
    return Path(folder) / f"{KNEES[number]}.nii.gz"


def test_nothing_is_said_of_whole_files_but_their_number(project):
    done = call(check, ".", "--timeout", 0)
    assert done.stdout == "path\tkind\terror\n" and done.exit_code == 0
    # Scans that no command made, and their sidecars, are passed over: seven scans.
    assert done.stderr == "oa-check: 22 whole, 0 bad, 7 of others passed over\n"
    assert found("f", "n4") == found("features.tsv") == []


@pytest.mark.parametrize("folder", ["oriented", "n4"])
@pytest.mark.parametrize("damage", [cut, empty, flip, exchange, exchange_both, stranger])
def test_a_damaged_volume_is_named_and_no_other(project, folder, damage):
    path = volume(folder, 0)
    damage(path, volume(folder, 1))
    ((named, kind, error),) = found(".")
    assert (named, kind) == (str(path), "volume") and error
    assert [finding.path for finding in oatools.check(folder)] == [str(path)]
    assert len(found(path)) == len(found(sidecar(path))) == 1


@pytest.mark.parametrize("damage", [cut, empty, flip, exchange, lose])
def test_a_damaged_sidecar_is_named_and_no_other(project, damage):
    path = sidecar(volume("n4", 0))
    damage(path, sidecar(volume("n4", 1)))
    ((named, kind, error),) = found(".")
    assert (named, kind) == (str(path), "sidecar")
    assert ("is gone" in error) == (damage is lose)
    assert len(found(volume("n4", 0))) == 1


def test_a_sidecar_whose_volume_is_gone_is_named(project):
    lose(volume("n4", 2), None)
    ((named, kind, error),) = found("n4")
    assert (named, kind) == (str(sidecar(volume("n4", 2))), "sidecar") and "is gone" in error


def other_backbone(path, other):
    """Features whose file says that another network made them, and is whole."""
    features = oatools.read_features(path)
    features.provenance["backbone"] = "resnet18"
    features.provenance.pop("features_sha256")
    oatools.write_features(path, features)


def nan_inside(path, other):
    with h5py.File(path, "r+") as file:
        file["features"][1, 3] = np.nan


def attribute(path, other):
    """A letter of what the file says of itself, as a bad disk changes it."""
    content = path.read_bytes()
    assert content.count(b'"oa-embed"') == 1
    path.write_bytes(content.replace(b'"oa-embed"', b'"oa-embex"'))


@pytest.mark.parametrize(
    "damage", [cut, empty, flip, exchange, attribute, other_backbone, nan_inside]
)
def test_a_damaged_feature_file_is_named_and_no_other(project, damage):
    # The first, which all others would be compared with if the first one counted.
    path = Path("f") / f"{KNEES[0]}.h5"
    damage(path, Path("f") / f"{KNEES[1]}.h5")
    ((named, kind, error),) = found(".")
    assert (named, kind) == (str(path), "features") and error
    assert found("features.tsv") == found("-", given=Path("features.tsv").read_text())
    assert len(found("features.tsv")) == 1


def test_the_same_commands_make_everything_whole_again(project):
    """A kind of damage to each knee, in all folders; then the pipe once more."""
    whole = contents(".")
    damages = [cut, empty, flip, exchange, lose]
    for number, damage in enumerate(damages):
        damage(volume("oriented", number), volume("oriented", 6))
        damage(sidecar(volume("n4", number)), sidecar(volume("n4", 6)))
        damage(Path("f") / f"{KNEES[number]}.h5", Path("f") / f"{KNEES[6]}.h5")
    exchange_both(volume("oriented", 5), volume("oriented", 6))
    attribute(Path("f") / f"{KNEES[5]}.h5", None)
    bad = found(".")
    # Of lost feature files and volumes nothing is left that could be named, but for a sidecar.
    assert len(bad) == 6 + 5 + 5
    said = make_all()
    assert contents(".") == whole
    assert found(".") == []
    assert said.count("; it is made again") == 5 + 5 + 4 + 1


def test_rows_that_name_a_file_of_another_knee_are_bad(project):
    """Where names say nothing, the table does: its row is of a knee, and the file of another."""
    rows = Path("features.tsv").read_text().splitlines()
    shutil.copy(f"f/{KNEES[1]}.h5", "any.h5")
    rows[1] = rows[1].replace(f"f/{KNEES[0]}.h5", "any.h5")
    ((named, _, error),) = found("-", given="\n".join(rows) + "\n")
    assert named == "any.h5" and "is of 9000002_00m_left" in error


def test_a_heat_map_is_checked_with_its_table_and_picture(project):
    heat = Path("cam") / f"{KNEES[0]}.nii.gz"
    step = {"tool": "oa-cam", "parameters": {}, "input": {"name": heat.name, "sha256": "0" * 64}}
    write_recorded(
        heat,
        Volume(np.ones((4, 5, 6), np.float32), AFFINE),
        {"OatoolsSteps": [step], "Cells": {}},
        beside={".tsv": b"slice\theat\n1\t2\n", ".png": b"picture"},
    )
    assert found("cam") == []
    assert "heat map, whole" in call(check, "-v", "cam", "--timeout", 0).stderr
    for suffix, damage in ((".png", empty), (".tsv", flip), (".png", lose)):
        path = heat.with_name(f"{KNEES[0]}{suffix}")
        content = path.read_bytes()
        damage(path, None)
        assert [line[0] for line in found("cam")] == [str(path)]
        path.write_bytes(content)
    # By the table that oa-cam prints: its `path` is the picture, and `heat` the map.
    table = f"knee\tpath\theat\n9000001_00m_left\t{heat.with_suffix('').stem}.png\t{heat}\n"
    table = table.replace(f"\t{KNEES[0]}.png", f"\tcam/{KNEES[0]}.png")
    assert found("-", given=table) == []
    flip(heat, None)
    assert [line[:2] for line in found("-", given=table)] == [(str(heat), "heat map")]


FOLLOWED = "knee\tsubject\ttime\tevent\tfrom\tto\n1_00m_left\t1\t24\t1\t12\t24\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\t1\t12\t24", "\t1\t30\t24", "its event at 24 months, which is not within 30 to 24"),
        ("\t24\t1\t", "\tsoon\t1\t", "time 'soon'"),
        ("\t24\t1\t", "\t24\t3\t", "event '3'"),
    ],
)
def test_a_table_of_follow_up_that_cannot_be_is_bad(tmp_path, monkeypatch, old, new, words):
    monkeypatch.chdir(tmp_path)
    Path("t.tsv").write_text(FOLLOWED)
    assert found("t.tsv") == []
    Path("t.tsv").write_text(FOLLOWED.replace(old, new))
    ((named, kind, error),) = found("t.tsv")
    assert (named, kind) == ("t.tsv", "table") and words in error and "1_00m_left" in error


LABELS = "knee\tsubject\tlabel\n1_00m_left\t1\t0\n1_00m_right\t1\tn/a\n2_00m_left\t2\t1\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\t1\n", "\t2\n", "label '2'"),
        ("\t1\n", "\t1", "cut short"),
        ("\t1\t0", "\t1\t0\t5", "4 fields"),
        ("2_00m_left", "1_00m_left", "is of patient|twice"),
        ("2_00m_left\t2", "01_00m_left\t01", "leading zeros"),
        ("subject", "knee", "two columns 'knee'"),
        (LABELS, "", "is empty"),
        ("knee", "kn\0ee", "binary"),
    ],
)
def test_a_table_of_labels_that_cannot_be_used_is_bad(tmp_path, monkeypatch, old, new, words):
    monkeypatch.chdir(tmp_path)
    Path("labels.tsv").write_text(LABELS)
    assert found("labels.tsv") == found(".") == []
    Path("labels.tsv").write_text(LABELS.replace(old, new))
    ((named, kind, error),) = found("labels.tsv")
    assert (named, kind) == ("labels.tsv", "table")
    import re

    assert re.search(words, error)


def test_rows_of_a_table_whose_files_are_not_there_are_bad(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "knee\tpath\na\tgone.nii.gz\nb\tn/a\nc\ta/folder/gone.h5\nd\tnotes.odt\n"
    Path("rows.tsv").write_text(rows)
    bad = found("rows.tsv")
    assert [line[0] for line in bad] == ["gone.nii.gz", "a/folder/gone.h5", "notes.odt"]
    assert all(line[2].startswith("no such file") for line in bad)
    assert found("-", given=rows) == bad
    assert found("gone.nii.gz", "elsewhere") == [
        ("gone.nii.gz", "volume", "no such file"),
        ("elsewhere", "file", "no such file"),
    ]


def test_broken_lines_of_standard_input_are_bad_and_a_missing_table_is_wrong_use(tmp_path):
    ((named, kind, _),) = found("-", given="knee\tpath\na\tb\tc\n")
    assert (named, kind) == ("standard input line 2", "table")
    done = call(check, "-", "--timeout", 0, given="")
    assert done.exit_code == 2 and "standard input is empty" in done.stderr
    assert call(check, "--no-such-option").exit_code == 2


def test_volumes_of_others_are_passed_over_in_folders_and_read_where_they_are_named(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    stranger(Path("theirs.nii.gz"), None)
    Path("theirs.json").write_text('{"EchoTime": 0.03}')
    Path("participants.tsv").write_text("participant_id\tage\nsub-1\t60\nsub-2\n")
    Path("weights.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with h5py.File("other.h5", "w") as file:
        file["x"] = 1
    flip(Path("theirs.nii.gz"), None)
    done = call(check, ".", "--timeout", 0)
    assert done.exit_code == 0, done.stdout
    assert "0 whole, 0 bad, 4 of others passed over" in done.stderr
    bad = found("theirs.nii.gz", "other.h5", "weights.safetensors", "participants.tsv")
    assert [line[1] for line in bad] == ["volume", "features", "model", "table"]


def hostile(folder):
    """Files that would end, or stop, whoever reads them without care."""
    (folder / "deep.json").write_text("[" * 100_000)
    stranger(folder / "deep.nii.gz", None)
    (folder / "record.json").write_text('{"OatoolsOutput": {"bytes": {}, "beside": 3}}')
    stranger(folder / "record.nii.gz", None)
    (folder / "steps.json").write_text('{"OatoolsSteps": [{"tool": "oa-n4", "input": 7}]}')
    stranger(folder / "steps.nii.gz", None)
    (folder / "random.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + os.urandom(3000))
    (folder / "gz.nii.gz").write_bytes(gzip.compress(b"\0" * 400)[:-9] + b"x" * 9)
    (folder / "folds.tsv").write_text("knee\tfold\na\t\xff\n", encoding="latin-1")
    (folder / "checksums.sha256").write_bytes(b"\xff\n" * 10)
    os.mkfifo(folder / "pipe.nii.gz")
    (folder / "dangling.h5").symlink_to("nowhere.h5")
    (folder / "loop").symlink_to(".")
    (folder / "a\nb.h5").write_bytes(b"")


def test_hostile_files_are_findings_and_no_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.h5")
        bad = {line[0]: line[1:] for line in found(*sorted(map(str, Path().iterdir())))}
    good = manifest.row_from_path("steps.nii.gz")["path"]
    assert good not in bad
    assert {
        "random.h5",
        "gz.nii.gz",
        "pipe.nii.gz",
        "dangling.h5",
        "socket.h5",
        "a\\nb.h5",
        "record.nii.gz",
    } <= set(bad)
    assert "pipe" in bad["pipe.nii.gz"][1]


def test_what_a_killed_run_left_is_named_and_is_no_damage(project):
    left = Path("n4") / ".oatools-00000000-0123456789abcdef"
    left.write_bytes(b"half a volume")
    done = call(check, ".", "--timeout", 0)
    assert done.exit_code == 0
    assert f"{left} is being written, or was left by a run that was killed" in done.stderr


def test_processes_find_the_same_and_failed_rows_can_be_checked_again(project, shell):
    flip(volume("n4", 3), None)
    cut(Path("f") / f"{KNEES[4]}.h5", None)
    alone = found(".")
    assert len(alone) == 2
    done = shell("oa-check -j 2 . --failed again.tsv", cwd=project, status=1)
    assert [tuple(line.split("\t")) for line in done.stdout.splitlines()[1:]] == alone
    again = shell("oa-check again.tsv", cwd=project, status=1)
    assert [line.split("\t")[0] for line in again.stdout.splitlines()[1:]] == [
        line[0] for line in alone
    ]


def test_digests_of_a_folder_are_those_of_sha256sum_and_know_their_own_damage(tmp_path, shell):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b c").write_bytes(b"2")
    write_checksums(tmp_path, ["b c", "a"])
    shell("sha256sum -c --strict checksums.sha256")
    whole = (tmp_path / "checksums.sha256").read_bytes()
    assert whole.splitlines()[1] == (  # by sha256sum
        b"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  a"
    )
    for place in range(0, len(whole), 7):
        harmed = bytearray(whole)
        harmed[place] ^= 1
        (tmp_path / "checksums.sha256").write_bytes(harmed)
        with pytest.raises(ItemError, match="was changed since it was made"):
            read_checksums(tmp_path)


def test_the_call_from_python_returns_what_the_command_prints(project):
    flip(volume("n4", 0), None)
    (finding,) = oatools.check("n4", Path("f"))
    assert finding == tuple(found("n4", "f")[0])
    assert json.dumps(finding._asdict())
