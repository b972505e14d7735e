"""AGENTS.md: its blocks run as written, and say what the page says that they say."""

import re
import shutil
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parent.parent / "AGENTS.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("mlr") is None, reason="Miller is not installed")
def test_the_page_runs_as_written(shell, tmp_path):
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    # A scan that cannot be read, for what the page says of failures.
    damage = "printf broken > \"$(awk -F '\\t' 'NR == 2 { print $6 }' series.tsv)/001\"\n"
    phantom = re.search(r"^oa-phantom .*\n", blocks[1], re.MULTILINE)[0]
    blocks[1] = blocks[1].replace(phantom, phantom + damage)
    doctor, run, whole, numbers, failed, trial = blocks
    shell(doctor, status=None)  # of this machine, which may lack what a run elsewhere needs
    assert "oa-convert: 39 done, 0 kept, 1 failed" in shell(run).stderr
    said = shell("set -e\n" + whole)
    assert "39 rows" in said.stdout and "path\tkind\tkey\tvalue" in said.stdout
    header, line = shell(numbers).stdout.splitlines()
    assert header.split("\t") == ["value", "ci_low", "ci_high", "caution"]
    value, *_, caution = line.split("\t")
    assert 0 < float(value) < 1 and caution == "phantoms"
    (told,) = shell(failed).stdout.splitlines()
    knee = (tmp_path / "series.tsv").read_text().splitlines()[1].split("\t")[0]
    assert told.startswith("failed-convert.tsv: ") and knee in told
    shell("set -e\n" + trial)
    assert "groups differ" in (tmp_path / "groups.tsv").read_text()
    assert "say nothing about patients" in (tmp_path / "trial.txt").read_text()
