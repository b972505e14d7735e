"""No command writes over what it reads, or what it has written, by whatever name."""

import os
import shutil
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from oatools.core import files
from oatools.core.console import Console
from oatools.core.errors import ItemError
from oatools.core.manifest import Table
from oatools.core.outfolder import IntoFolder
from oatools.core.replacing import Replace
from oatools.core.runner import Done, run_rows
from oatools.explain import rows as cam_rows
from oatools.imaging.rows import VolumeWriter
from oatools.n4.rows import Outputs, SideOutput, correct_volume
from oatools.n4.settings import N4Settings


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Call a command in this process, in the test's own folder; return status and messages."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        command, *arguments = line.split()
        main = import_module(f"oatools.commands.{command.removeprefix('oa-')}").main
        with pytest.raises(SystemExit) as ended:
            main.main(arguments)
        return ended.value.code, capfd.readouterr().err

    return run


@pytest.fixture
def scans(tmp_path, write_volume):
    for name in ("a.nii.gz", "b.nii.gz", "mask.nii.gz", "out/c.nii.gz"):
        write_volume(name, np.ones((9, 9, 9), np.uint8))
    (tmp_path / "a.json").write_text('{"EchoTime": 0.1}')
    (tmp_path / "soft.nii.gz").symlink_to("a.nii.gz")
    os.link(tmp_path / "a.nii.gz", tmp_path / "hard.nii.gz")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "chain.tsv").write_text("knee\tpath\nx\tb.nii.gz\ny\tout/x.nii.gz\n")
    # As a run left it, which it may replace.
    (tmp_path / "failed.tsv").write_text("path\terror\n")
    return tmp_path


def content(folder):
    """All files below a folder, and what is in them."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "line,status,said",
    [
        ("oa-n4 a.nii.gz -o o --field a.nii.gz", 1, "a.nii.gz is the input itself"),
        ("oa-n4 a.nii.gz -o o --field ./a.nii", 1, "a.nii is the input itself"),  # its sidecar
        ("oa-n4 a.nii.gz -o o --mask-out here/a.nii.gz", 1, "is the input itself"),
        ("oa-n4 a.nii.gz -o o --field soft.nii.gz --force", 1, "soft.nii.gz is the input itself"),
        ("oa-n4 a.nii.gz -o o --field hard.nii.gz --force", 1, "hard.nii.gz is the input itself"),
        ("oa-n4 soft.nii.gz -o o --field a.nii.gz --force", 1, "a.nii.gz is the input itself"),
        (
            "oa-n4 a.nii.gz -o o --field f.nii --mask-out f.nii.gz",
            1,
            "f.nii.gz would be written tw",
        ),
        ("oa-n4 a.nii.gz -o o --field o/a.nii.gz", 1, "o/a.nii.gz would be written twice"),
        ("oa-n4 a.nii.gz -o o --field o", 2, "o would get two kinds of volumes under the same na"),
        ("oa-n4 a.nii.gz -o out --field here/out", 2, "would get two kinds of volumes under"),
        ("oa-n4 a.nii.gz -o o --field f --mask-out ./f", 2, "f would get two kinds of volumes"),
        ("oa-n4 a.nii.gz -o o --mask mask.nii.gz --field mask.nii.gz --force", 1, "is also read"),
        ("oa-n4 a.nii.gz -o here", 1, "here/a.nii.gz is the input itself"),
        ("oa-orient a.nii.gz -o . --side left --force", 1, "a.nii.gz is the input itself"),
        ("oa-orient chain.tsv -o out --side left", 1, "out/x.nii.gz is the output of x (b.nii.gz)"),
        (
            "oa-n4 a.nii.gz -o o --failed a.nii.gz",
            2,
            "a.nii.gz is there and is no table of failures",
        ),
    ],
)
def test_no_volume_is_written_over_an_input_or_another_output(scans, call, line, status, said):
    before = content(scans)
    code, messages = call(f"{line} --timeout 0")
    assert code == status and said in messages
    after = content(scans)
    assert {name: after[name] for name in before} == before


def test_a_field_that_somebody_else_made_is_not_replaced(scans, call):
    code, messages = call("oa-n4 a.nii.gz -o o --field b.nii.gz --timeout 0")
    assert code == 1 and "b.nii.gz exists and does not say how it was made" in messages
    code, messages = call("oa-n4 a.nii.gz -o o --field b.nii --timeout 0")
    assert code == 1 and "b.nii.gz is there in the other form" in messages
    assert not (scans / "o").exists()


def test_from_python_no_mask_that_is_read_is_written_over(scans):
    out = Outputs(
        VolumeWriter(scans / "o", replacing=Replace.ANYTHING),
        field=SideOutput(scans / "mask.nii.gz"),
    )
    settings = N4Settings(mask=str(scans / "here" / "mask.nii.gz"))
    with pytest.raises(ItemError, match="mask.nii.gz is the input itself"):
        correct_volume({"knee": "a", "path": str(scans / "a.nii.gz")}, out, settings)


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "cv").mkdir()
    for name in ("features.tsv", "cv/predictions.tsv", "model.safetensors.resume"):
        (tmp_path / name).write_text("knee\tpath\na\ta.h5\n")
    for name in ("labels.tsv", "cv/metrics.tsv"):
        (tmp_path / name).write_text("knee\tsubject\tlabel\na\ts\t1\n")
    (tmp_path / "plain.tsv").write_text(
        "subject\tside\tvisit\toutcome\n1\tleft\t00m\t1\n2\tleft\t00m\t0\n"
    )
    (tmp_path / "flow.tsv").write_text("reason\tknees\nolder\t3\n")
    (tmp_path / "here").symlink_to(".")
    return tmp_path


@pytest.mark.parametrize(
    "line,said",
    [
        ("oa-train features.tsv --labels labels.tsv -o here/features.tsv --force", "is also read"),
        ("oa-train features.tsv --labels labels.tsv -o ./labels.tsv --force", "is also read"),
        (
            "oa-train features.tsv --labels model.safetensors.resume -o model.safetensors",
            "also read",
        ),
        ("oa-train features.tsv --labels labels.tsv -o m --failed m", "--failed m: -o writes m"),
        (
            "oa-train features.tsv --labels labels.tsv -o m --failed labels.tsv",
            "no table of failures",
        ),
        ("oa-cv features.tsv --labels cv/metrics.tsv -o cv", "cv/metrics.tsv is also read"),
        (
            "oa-cv cv/predictions.tsv --labels labels.tsv -o here/cv --force",
            "predictions.tsv is also",
        ),
        ("oa-label plain.tsv --endpoint given --flow plain.tsv", "plain.tsv is also read"),
        (
            "oa-label plain.tsv --endpoint given --flow labels.tsv",
            "a table that is no flow is there",
        ),
        (
            "oa-label plain.tsv --endpoint given --flow f.svg --flow here/f.svg",
            "--flow 1 writes f.svg",
        ),
    ],
)
def test_no_table_is_written_over(tables, call, line, said):
    before = content(tables)
    code, messages = call(line)
    assert code == 2 and said in messages
    assert content(tables) == before


def test_an_older_flow_is_replaced(tables, call):
    code, messages = call("oa-label plain.tsv --endpoint given --flow flow.tsv")
    assert code == 0, messages
    assert b"older" not in (tables / "flow.tsv").read_bytes()


def test_a_heat_map_claims_what_is_written_with_it(tmp_path):
    row = {"knee": "1_00m_left", "sequence": "cor-x", "path": "in/1.nii.gz"}
    names = cam_rows.claims(row, tmp_path, SimpleNamespace(joined=()))
    stem = f"{tmp_path}/1_00m_left_cor-x"
    assert names == [stem, f"{stem}.tsv", f"{stem}.png"]
    joined = cam_rows.claims(
        {**row, "sequence": "n/a"}, tmp_path, SimpleNamespace(joined=("p", "q"))
    )
    assert {f"{tmp_path}/1_00m_left_{s}.png" for s in "pq"} < set(joined)


@pytest.mark.parametrize("is_there_first", [True, False])
def test_rows_fail_once_their_folder_was_removed_or_exchanged(tmp_path, is_there_first):
    out = tmp_path / "out"
    if is_there_first:
        out.mkdir()

    def write(row):
        out.mkdir(exist_ok=True)
        (out / row["path"]).write_text("x")
        if row["path"] == "removes":
            shutil.rmtree(out)
        if row["path"] == "exchanges":
            shutil.rmtree(out)
            out.mkdir()
        return Done({})

    for last in ("removes", "exchanges"):
        work = IntoFolder(out, write)
        assert work({"path": "a"}) == work({"path": "b"}) == Done({})
        with pytest.raises(ItemError, match="out was removed or exchanged since the run began"):
            work({"path": last})
        with pytest.raises(ItemError, match="out was removed or exchanged since the run began"):
            work({"path": "c"})


@pytest.mark.parametrize("is_there_first", [True, False])
@pytest.mark.parametrize("fate", ["stays", "is removed", "is moved", "is a file now"])
def test_a_run_fails_whose_folder_is_gone_after_its_last_row(tmp_path, capfd, is_there_first, fate):
    out = tmp_path / "out"
    if is_there_first:
        out.mkdir()

    def write(row):
        files.write_text(out / row["path"], "x")
        return Done({})

    def lose(row, _):
        if row["path"] == "b" and fate != "stays":
            out.rename(tmp_path / "elsewhere")
            if fate == "is a file now":
                out.write_text("x")

    table = Table(["path"], iter([{"path": "a"}, {"path": "b"}]), "rows", 2)
    status = run_rows(Console("oa-test"), table, IntoFolder(out, write), on_done=lose)
    said = f"oa-test: {out} was removed or exchanged since the run began"
    assert status == (fate != "stays")
    assert (said in capfd.readouterr().err) == (fate != "stays")


def test_a_folder_that_children_made_is_looked_for_after_their_last_row(tmp_path):
    work = IntoFolder(tmp_path / "out", lambda row: Done({}))
    work.after_rows(0)  # nothing was to be written
    with pytest.raises(ItemError, match="out was removed or exchanged since the run began"):
        work.after_rows(2)
    (tmp_path / "out").mkdir()
    work.after_rows(2)
