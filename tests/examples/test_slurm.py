"""The scripts for Slurm, on a Slurm of one node that the test starts."""

from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "slurm"


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
