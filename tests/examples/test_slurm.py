"""The scripts for Slurm, on a Slurm of one node that the test starts."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "slurm"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


@pytest.fixture
def slurm(tmp_path_factory):
    """Start Slurm with one node; return its folder, with slurm.conf and the log of ended jobs."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"Slurm and munge are needed, as root (missing: {', '.join(missing) or 'root'})"
        )
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    text = CONFIGURATION.format(folder=folder, host=host, ports=ports, cores=os.cpu_count())
    (folder / "slurm.conf").write_text(text)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    started = []
    for words in (
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D"],
    ):
        with (folder / f"{words[0]}.out").open("wb") as log:
            started.append(
                subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
            )
        time.sleep(1)
    try:
        for _ in range(60):
            found = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True
            )
            if found.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            logs = [path.read_text()[-500:] for path in folder.glob("*.out")]
            pytest.skip(f"Slurm does not start here: {found.stderr} {logs}")
        yield folder
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def rows(path):
    return path.read_text().splitlines()[1:]


def states(folder):
    """The states of ended jobs, in order, as Slurm wrote them down."""
    lines = (folder / "jobs.txt").read_text().splitlines()
    return [line.split("JobState=")[1].split()[0] for line in lines]


def test_an_array_a_failing_scan_and_its_second_try(slurm, shell, tmp_path):
    here = {
        "SLURM_CONF": str(slurm / "slurm.conf"),
        "OA_EMBED": "--weights random --slices 2 --size 64",
    }
    shell("oa-phantom -q oai --patients 2 --sequence cor-iw-tse --matrix 48 > made.tsv")
    shell("oa-convert -q --list oai/00m > series.tsv")
    series = Path(rows(tmp_path / "series.tsv")[2].split("\t")[5])
    slices = sorted((tmp_path / series).iterdir())
    whole = [path.read_bytes() for path in slices]
    for path in slices[4:9]:
        path.unlink()
    submit = f"sbatch --wait --cpus-per-task=1 --mem-per-cpu=0 {EXAMPLES}/array.sh"
    shell(submit.replace("--wait", "--wait --array=0-1") + " series.tsv", None, **here)
    assert len(rows(tmp_path / "failed-convert.tsv")) == 1
    assert "slices are missing" in (tmp_path / "failed-convert.tsv").read_text()
    assert sorted(states(slurm)) == ["COMPLETED", "FAILED"]
    join = "awk 'NR == 1 || FNR > 1' parts/features-*.tsv > features.tsv"
    shell(join)
    assert len(rows(tmp_path / "features.tsv")) == 3
    # The download is mended, and what failed is the input of a job of its own.
    for path, content in zip(slices, whole, strict=True):
        path.write_bytes(content)
    shell("cp failed-convert.tsv again.tsv")
    shell(submit.replace("--wait", "--wait --array=0") + " again.tsv", **here)
    assert states(slurm)[-1] == "COMPLETED"
    shell(join)
    assert len({row.split("\t")[0] for row in rows(tmp_path / "features.tsv")}) == 4
    assert rows(tmp_path / "failed-convert.tsv") == []
    # One process a GPU, here on the processor.
    shell("oa-n4 -q oriented/*.nii.gz -o n4 > n4.tsv")
    gpus = f"sbatch --wait --ntasks=2 --gpus-per-task=0 --cpus-per-task=1 {EXAMPLES}/gpus.sh n4.tsv"
    shell(f"rm -r features; {gpus}", DEVICE="cpu", **here)
    parts = [rows(tmp_path / f"parts/gpu-{n}.tsv") for n in range(2)]
    assert [len(part) for part in parts] == [2, 2] and len(
        list(tmp_path.glob("features/*.h5"))
    ) == 4
