"""The README's commands, run as written."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_commands_of_the_readme_run_as_written(shell, tmp_path):
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", README, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 15
    # The run on OAI is that of a download; here a small one, as it embeds all slices.
    shell("oa-phantom -q small --patients 24 --sequence cor-iw-tse --matrix 48")
    done = shell("set -e\n" + "".join(blocks), OAI=str(tmp_path / "small"))
    python = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "readme.py").write_text("".join(python) + "print(corrected.shape)\n")
    assert shell(f"{sys.executable} -W error::ResourceWarning readme.py").stdout == "(64, 64, 35)\n"
    for produced in (
        "features.tsv",
        "labels.tsv",
        "flow.tsv",
        "cv/report.html",
        "cv/metrics.tsv",
        "predictions.tsv",
        "jsn12.safetensors",
        "predicted.tsv",
        "groups.svg",
        "trial.txt",
        "pairs.tsv",
        "key.tsv",
        "view/index.html",
        "one/look/index.html",
        "jsn12/expected.tsv",
        "jsn12/flow.svg",
        "jsn12/cv-jsn12/report.html",
    ):
        assert (tmp_path / produced).stat().st_size > 0
    pictures = [*(tmp_path / "cam").glob("*.png"), *(tmp_path / "cam" / "mean").glob("*.png")]
    assert len(pictures) == 8 + 1
    pictures += (tmp_path / "one" / "cam").glob("*.png")
    assert len(pictures) == 8 + 1 + 1
    assert {picture.read_bytes()[:4] for picture in pictures} == {b"\x89PNG"}
    assert (
        "cor-iw-tse" in done.stdout
        and re.search(r"images\+clinical +mean +roc_auc", done.stdout)
        and "rank_auc" in done.stdout
    )
    assert "failed" in done.stderr and " 1 failed" not in done.stderr
    assert " 0 bad" in shell("oa-check features.tsv", cwd=tmp_path / "jsn12").stderr


def test_the_picture_is_there_and_is_called_what_it_is():
    name = re.search(r"!\[[^\]]*synthetic[^\]]*\]\((\S+)\)", README)[1]
    assert (ROOT / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_continuous_integration_runs_the_readmes_own_test_command():
    assert "\nmake test" in README
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()


def test_every_command_is_in_the_readme():
    for page in (ROOT / "man").glob("oa-*.1"):
        assert f"`{page.stem}`" in README
