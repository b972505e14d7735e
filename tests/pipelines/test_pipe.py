"""The commands as a shell runs them: pipes, kills, xargs and GNU parallel, bad input."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAST_N4 = "--iterations 3"
EMBED = "--weights random --backbone mobilenetv2_100 --slices 3"
PIPE = (
    f"oa-convert oai/00m -o nii | oa-orient -o oriented | oa-n4 {FAST_N4} -o n4 "
    f"| oa-embed {EMBED} -o features > features.tsv"
)


@pytest.fixture
def place(release, tmp_path):
    """A folder with the small release in it."""
    (tmp_path / "oai").symlink_to(release)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    """Every visible output file and its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and "oai/" not in str(path.relative_to(folder))
        and not path.name.startswith(".")
    }


def test_the_pipe_from_dicom_to_features(place, shell, rows):
    done = shell(PIPE)
    table = rows((place / "features.tsv").read_text())
    assert len(table) == 6 and list(table[0])[:6] == [
        "knee",
        "subject",
        "visit",
        "side",
        "sequence",
        "path",
    ]
    for row in table:
        assert (
            row["path"] == f"features/{row['knee']}_cor-iw-tse.h5"
            and (place / row["path"]).is_file()
        )
    assert done.stderr.count("6 done, 0 kept, 0 failed") == 4


def test_a_pipe_killed_midway_ends_with_the_same_bytes_when_run_again(
    place, shell, tmp_path_factory
):
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    (undisturbed / "oai").symlink_to(place / "oai")
    shell(PIPE, cwd=undisturbed)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for wanted in ("nii", "n4", "features"):
        with subprocess.Popen(
            ["bash", "-c", PIPE],
            cwd=place,
            env=environment,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        ) as process:
            deadline = time.monotonic() + 120
            while (
                not list(place.glob(f"{wanted}/*"))
                and time.monotonic() < deadline
                and process.poll() is None
            ):
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
    assert digests(place) != digests(undisturbed)
    shell(PIPE)
    assert digests(place) == digests(undisturbed)


def test_a_second_run_keeps_everything_and_prints_the_same_rows(place, shell):
    shell(PIPE)
    first = (place / "features.tsv").read_text()
    before = {p: p.stat().st_mtime_ns for p in place.glob("n4/*.nii.gz")}
    done = shell(PIPE)
    assert (place / "features.tsv").read_text() == first
    assert done.stderr.count("0 done, 6 kept, 0 failed") == 4
    assert {p: p.stat().st_mtime_ns for p in place.glob("n4/*.nii.gz")} == before


def test_other_settings_do_not_pass_for_work_that_is_done(place, shell):
    shell(PIPE)
    shell("find nii -name '*.nii.gz' | oa-orient -o oriented > o.tsv")
    done = shell("oa-n4 --iterations 4 -o n4 < o.tsv > n.tsv", status=1)
    said = "made with other settings (iterations [3], not [4]); use --update, --force or another -o"
    # Of three rows, and once of the others.
    assert done.stderr.count(said) == 4 and "oa-n4: 3 more rows like" in done.stderr
    assert (place / "n.tsv").read_text().count("\n") == 1
    shell("oa-n4 --force --iterations 4 -o n4 < o.tsv > n.tsv")


def test_the_number_of_jobs_changes_neither_rows_nor_bytes(place, shell):
    shell(
        "oa-convert oai/00m -j 2 -o nii | oa-orient -j 2 -o a > a.tsv; "
        f"oa-n4 {FAST_N4} -o one < a.tsv > 1.tsv; oa-n4 {FAST_N4} -j 3 -o three < a.tsv | sed s,three/,one/, > 3.tsv"
    )
    assert (place / "1.tsv").read_text() == (place / "3.tsv").read_text()
    assert digests(place / "one") == digests(place / "three")


def test_plain_paths_with_xargs_and_find(place, shell, rows):
    shell("oa-convert -q oai/00m -o nii > c.tsv")
    done = shell("find nii -name '*.nii.gz' -print0 | sort -z | oa-orient -0 -q -o a")
    assert [r["side"] for r in rows(done.stdout)] == ["left", "right"] * 3
    done = shell("find nii -name '*.nii.gz' | xargs -n 2 -P 2 oa-orient -q -o b", status=0)
    assert digests(place / "a") == digests(place / "b")


def test_what_was_typed_of_a_series_is_said_to_be_in_its_sidecar(place, shell, rows):
    series = sorted(str(path) for path in place.glob("oai/00m/0.E.1/*/*/*"))[0]
    shell(f"oa-convert {series} -o plain | oa-orient -q -o a")
    shell(f"oa-convert {series} --name sag-mine --subject s7 --side-check trust -o typed > t.tsv")
    (plain,), (typed,) = place.glob("plain/*.json"), place.glob("typed/*.json")
    assert "by_hand" not in json.loads(plain.read_text())["OatoolsSteps"][0]
    fields = json.loads(typed.read_text())
    assert fields["OatoolsSteps"][0]["by_hand"] == ["subject", "sequence"]
    assert fields["Subject"] == "s7" and fields["Sequence"] == "sag-mine"
    assert "step.1.by_hand" in shell(f"oa-info {typed.with_suffix('.nii.gz')}").stdout


def test_options_that_a_table_leaves_without_work_are_named(place, shell):
    shell("oa-convert -l oai/00m > list.tsv")
    done = shell("oa-convert list.tsv --side left --name x -o nii")
    assert "taken as it stands, without --side, --name; edit its columns" in done.stderr
    assert "as it stands" not in shell("oa-convert list.tsv -o nii").stderr


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel_deals_out_rows_and_its_output_is_a_table_again(place, shell, rows):
    shell("oa-convert -q oai/00m -o nii > c.tsv")
    done = shell(
        "parallel --will-cite -k -j 2 --header : --pipe -N1 oa-orient -q -o a < c.tsv > o.tsv; oa-orient -q -o b < o.tsv"
    )
    assert len(rows(done.stdout)) == 6
    assert (place / "o.tsv").read_text().count(
        "knee\t"
    ) == 6  # each worker's header, which our reader skips


def test_one_broken_series_does_not_stop_the_others_and_can_be_run_again(
    place, shell, rows, release
):
    shutil.copytree(release / "00m", place / "mine")
    broken = sorted((place / "mine").glob("0.E.1/*/*/*"))[2]
    whole = (broken / "005").read_bytes()
    (broken / "005").write_bytes(whole[:600])
    done = shell("oa-convert mine -o nii --failed failed.tsv | oa-orient -o a > o.tsv", status=1)
    assert (
        "5 done, 0 kept, 1 failed" in done.stderr and len(rows((place / "o.tsv").read_text())) == 5
    )
    assert (
        not list((place / "nii").glob(f"*{broken.name}*"))
        and len(list((place / "nii").glob("*.nii.gz"))) == 5
    )
    (broken / "005").write_bytes(whole)
    done = shell("oa-convert -o nii < failed.tsv")
    assert len(rows(done.stdout)) == 1 and "1 done" in done.stderr


@pytest.mark.parametrize(
    "command", ["oa-orient -o x", "oa-n4 -o x", "oa-embed --weights random -o x", "oa-convert -o x"]
)
@pytest.mark.parametrize(
    "table, said",
    [
        ("", "standard input is empty"),
        ("knee\tlabel\na\t1\n", "no column 'path'; columns present: knee, label"),
    ],
)
def test_an_unusable_table_is_one_line_and_status_2(shell, tmp_path, command, table, said):
    done = shell(command, status=2, stdin=table)
    assert (
        done.stderr.startswith(f"{command.split()[0]}: ")
        and said in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert done.stdout == "" and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "command", ["oa-orient -o x --side left", "oa-n4 -o x", "oa-embed --weights random -o x"]
)
@pytest.mark.parametrize(
    "kind, said",
    [
        ("nan", "8 voxels are not finite"),
        ("4d", "4 dimensions"),
        ("cut", "not a readable NIfTI volume"),
        ("none", "no such file"),
    ],
)
def test_a_volume_that_cannot_be_used_is_one_line_and_status_1(
    shell, tmp_path, write_volume, command, kind, said
):
    import numpy as np

    data = np.random.default_rng(0).random((16, 16, 8)).astype(np.float32)
    if kind == "nan":
        data[0, 0] = np.nan
    path = write_volume("a.nii.gz", np.stack([data, data], -1) if kind == "4d" else data)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    done = shell(f"{command} {'b' if kind == 'none' else 'a'}.nii.gz", status=1)
    lines = done.stderr.splitlines()
    assert said in lines[0] and lines[1].endswith("0 done, 0 kept, 1 failed")
    assert not list((tmp_path / "x").glob("*")) if (tmp_path / "x").exists() else True


def test_a_folder_without_dicom_is_one_line_and_status_1(shell, tmp_path):
    (tmp_path / "empty").mkdir()
    done = shell("oa-convert empty -o nii", status=1)
    assert done.stderr.splitlines()[0] == "oa-convert: empty: no DICOM series found; check the path"
    assert not (tmp_path / "nii").exists()


def test_outputs_never_replace_inputs(shell, write_volume):
    import numpy as np

    write_volume("n/a.nii.gz", np.random.default_rng(0).random((16, 16, 8)).astype(np.float32))
    for command in ("oa-n4 -f -o n", "oa-orient -f --side left --no-side-check -o n"):
        assert "is the input itself" in shell(f"{command} n/a.nii.gz", status=1).stderr


@pytest.mark.parametrize(
    "command",
    [
        "cam",
        "convert",
        "cv",
        "embed",
        "label",
        "n4",
        "orient",
        "pairs",
        "phantom",
        "predict",
        "train",
        "view",
    ],
)
def test_help_version_and_usage_errors_import_nothing_heavy(shell, command):
    probe = (
        f"import sys; from oatools.commands.{command} import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as e: code = e.code\n"
        "heavy = {'numpy', 'torch', 'pandas', 'SimpleITK', 'nibabel', 'matplotlib', 'sklearn', 'h5py', 'pydicom', 'rich'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    for arguments, status in (("--help", 0), ("--version", 0), ("--no-such-option", 2)):
        done = shell(f'{sys.executable} -c "{probe}" {arguments}')
        assert done.stdout.splitlines()[-1] == f"{status} []"
    assert shell(f"oa-{command} --version").stdout == f"oa-{command} 0.1.0\n"
    assert shell(f"oa-{command} -h").stdout.startswith("Usage: oa-")
