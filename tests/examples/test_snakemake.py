"""The workflow of `examples/` for Snakemake: what fails, dies or is killed costs its own, alone and on Slurm."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
WORKFLOW = f"snakemake -s {EXAMPLES}/snakemake/Snakefile --configfile mine.yaml"
LOCAL = "--cores 2 --keep-going --rerun-incomplete"
AGAIN = "rm failed.tsv $(awk 'FNR == 2 { print FILENAME }' failed/*.tsv)"
EMBED = "--backbone mobilenetv3_small_050 --weights random --slices 2 --size 64"
CONFIG = f"""\
scans: oai/00m
tables: oai/tables
knees_per_job: 4
threads: 1
embed: {EMBED}
cv: --no-network --no-compare --repeats 1 --folds 3 --slices 2
"""
TABLES = ["tables/*", "failed/*", "*.tsv", "cv/*.tsv"]
FILES = ["nii/*", "oriented/*", "n4/*", "features/*"]

pytestmark = pytest.mark.skipif(
    shutil.which("snakemake", path=PATH) is None, reason="snakemake is not installed"
)


def bash(folder, line, status=0, **environment):
    """Run a line in a folder, and return what it said."""
    cache = {"XDG_CACHE_HOME": str(folder / ".cache")}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": PATH, **cache, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def rows(path):
    return path.read_text().splitlines()[1:]


def jobs(said):
    """The rules that a run or a dry run was for, a name for each job."""
    return [line.split()[1].rstrip(":") for line in said.splitlines() if "rule " in line[:12]]


def contents(folder, patterns):
    """The bytes of the files of a run, by their names in it."""
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A download of which one series is damaged; its folder, its id and its slices as they were."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "mine.yaml").write_text(CONFIG)
    bash(
        folder,
        "oa-phantom -q oai --patients 6 --seed 3 --sequence cor-iw-tse --matrix 48 > /dev/null"
        " && oa-convert -q --list oai/00m > list",
    )
    row = rows(folder / "list")[5].split("\t")
    (folder / "list").unlink()
    slices = sorted((folder / row[5]).iterdir())[4:8]
    sound = {path.relative_to(folder): path.read_bytes() for path in slices}
    for path in slices:
        path.write_bytes(b"")
    return folder, row[0], sound


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("run") / "finished"
    shutil.copytree(study[0], folder)
    bash(folder, f"{WORKFLOW} {LOCAL}")
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to disturb."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_a_damaged_series_fails_alone_and_is_made_once_it_is_mended(study, copy, tmp_path):
    _, name, sound = study
    assert len(rows(copy / "features.tsv")) == len(rows(copy / "predictions.tsv")) == 11
    assert (copy / "cv" / "report.html").exists()
    (lost,) = rows(copy / "failed.tsv")
    assert lost.startswith(f"{name}\t")
    assert "\toa-convert: 4 of 35 files are empty" in lost
    # It is the row of the list, as the commands take it.
    assert lost.rpartition("\t")[0] in rows(copy / "series.tsv")
    bash(tmp_path, f"cd copy && oa-convert -q failed.tsv -o other --failed {tmp_path}/again.tsv", 1)
    assert rows(tmp_path / "again.tsv")[0].startswith(f"{name}\t")
    # The others are what the commands make of them in one pipe.
    bash(
        tmp_path,
        "ln -s copy/oai oai && oa-convert -q copy/series.tsv -o nii | oa-orient -q -o oriented"
        f" | oa-n4 -q -o n4 | oa-embed -q {EMBED} -o features > features.tsv",
    )
    same = ["features.tsv", *FILES]
    assert contents(copy, same) == contents(tmp_path, same)

    # Nothing is left to do, until options change: then their step is, and what follows.
    assert "Nothing to be done" in bash(copy, f"{WORKFLOW} {LOCAL} -n")
    options = f"--config embed='{EMBED} --dtype float16'"
    said = bash(copy, f"{WORKFLOW} {LOCAL} -n {options}")
    assert set(jobs(said)) == {"embed", "features", "failed", "cv", "all"}

    # Mended, the series is made, in a run of its batch.
    for path, content in sound.items():
        (copy / path).write_bytes(content)
    assert AGAIN in README
    bash(copy, AGAIN)
    said = bash(copy, f"{WORKFLOW} {LOCAL} features.tsv failed.tsv {options}")
    steps = ["convert", "embed", "embed", "embed", "failed", "features", "n4", "orient"]
    assert sorted(jobs(said)) == steps
    assert "1 done, 3 kept, 0 failed" in (copy / "logs" / "n4-00001.txt").read_text()
    assert "4 done, 0 kept, 0 failed" in (copy / "logs" / "embed-00001.txt").read_text()
    assert len(rows(copy / "features.tsv")) == 12
    assert rows(copy / "failed.tsv") == []


def test_a_killed_run_goes_on_to_the_same_files(study, finished, tmp_path):
    folder = shutil.copytree(study[0], tmp_path / "killed")
    with subprocess.Popen(
        f"exec {WORKFLOW} {LOCAL}",
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": PATH, "XDG_CACHE_HOME": str(folder / ".cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 120
        while not any(folder.glob("n4/*.nii.gz")) and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    # A volume is done once its sidecar is there, too.
    volumes = [Path(f"{str(path)[:-5]}.nii.gz") for path in folder.glob("*/[!.]*.json")]
    before = {path: path.stat().st_ino for path in volumes if path.exists()}
    assert before and not (folder / "features.tsv").exists()

    assert "--unlock" in bash(folder, f"{WORKFLOW} {LOCAL}", status=1)
    assert "--unlock" in README and LOCAL.removeprefix("--cores 2 ") in README
    bash(folder, f"{WORKFLOW} --unlock")
    bash(folder, f"{WORKFLOW} {LOCAL}")
    # What was done was kept, and nothing tells the two runs apart.
    assert {path: path.stat().st_ino for path in before} == before
    assert contents(folder, TABLES + FILES) == contents(finished, TABLES + FILES)


def test_a_batch_that_dies_is_tried_again_and_the_others_go_on(copy):
    # The second batch dies whenever it is tried, the first one once.
    fake = copy / "bin" / "oa-n4"
    fake.parent.mkdir()
    fake.write_text(
        f"""#!/bin/sh
echo "$1" >> tried.txt
case $1 in
*00001*) kill -9 $$ ;;
*00000*) [ $(grep -c 00000 tried.txt) = 1 ] && kill -9 $$ ;;
esac
exec {shutil.which("oa-n4", path=PATH)} "$@"
"""
    )
    fake.chmod(0o755)
    kept = (copy / "features.tsv").read_bytes()
    bash(copy, "rm tables/n4-* tables/embed-* features.tsv")
    line = f"{WORKFLOW} {LOCAL.replace('2', '1', 1)} features.tsv"
    bash(copy, line, status=1, PATH=f"{fake.parent}:{PATH}")
    tried = (copy / "tried.txt").read_text()
    assert [tried.count(f"-0000{batch}.") for batch in range(3)] == [2, 3, 1]
    made = sorted(path.name for path in copy.glob("tables/embed-*.tsv"))
    assert made == ["embed-00000.tsv", "embed-00002.tsv"]
    assert not (copy / "features.tsv").exists()
    bash(copy, line)
    assert (copy / "features.tsv").read_bytes() == kept


def test_rows_that_a_step_loses_are_no_table(copy):
    # A command that ends as if some rows had failed, and says nothing of them.
    fake = copy / "bin" / "oa-embed"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\n{shutil.which("oa-embed", path=PATH)} "$@" | sed 2d\nexit 1\n')
    fake.chmod(0o755)
    bash(copy, "rm tables/embed-00002.tsv")
    target = "tables/embed-00002.tsv"
    bash(copy, f"{WORKFLOW} {LOCAL} {target}", status=1, PATH=f"{fake.parent}:{PATH}")
    assert "rows are lost" in (copy / "logs" / "embed-00002.txt").read_text()
    assert not (copy / target).exists()


def test_on_slurm_a_batch_is_one_job_and_its_files_are_the_same(study, finished, slurm, tmp_path):
    if "slurm" not in bash(tmp_path, "snakemake --help | grep -e --executor"):
        pytest.skip("snakemake-executor-plugin-slurm is not installed")
    folder = shutil.copytree(study[0], tmp_path / "cluster")
    # The plugin starts steps without the environment that names this Slurm.
    step = slurm / "bin" / "srun"
    step.parent.mkdir()
    configuration = f"SLURM_CONF={slurm}/slurm.conf"
    step.write_text(f'#!/bin/sh\n{configuration} exec {shutil.which("srun")} "$@"\n')
    step.chmod(0o755)
    # This Slurm keeps no accounts, which sacct would read.
    here = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 5"
    bash(
        folder,
        f"{WORKFLOW} --config knees_per_job=6 --profile {EXAMPLES}/snakemake/profile-slurm"
        f" {here} --latency-wait 5 features.tsv failed.tsv",
        SLURM_CONF=f"{slurm}/slurm.conf",
        PATH=f"{step.parent}:{PATH}",
    )
    ended = (slurm / "jobs.txt").read_text().splitlines()
    assert [line.split("JobState=")[1].split()[0] for line in ended] == ["COMPLETED"] * 2
    for line in ended:
        assert " Name=oatools_" in line and "cpu=1,mem=2000M," in line and "TimeLimit=480 " in line
    same = ["features.tsv", "failed.tsv", "series.tsv", *FILES]
    assert contents(folder, same) == contents(finished, same)
