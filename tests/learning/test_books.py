"""The books of `examples/` that read tables: they compute again what oa-cv reports, and notice a wrong number."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import FAST

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RSCRIPT = shutil.which("Rscript")
BOOKS = [
    pytest.param(
        [RSCRIPT, EXAMPLES / "tables.R"],
        id="R",
        marks=pytest.mark.skipif(RSCRIPT is None, reason="needs R (r-base-core)"),
    ),
    pytest.param([sys.executable, EXAMPLES / "tables.py"], id="pandas"),
]


@pytest.mark.parametrize("book", BOOKS)
def test_the_books_find_the_numbers_of_metrics_tsv(run, study, tmp_path, book):
    study(knees=60)
    run(f"oa-cv features.tsv --labels labels.tsv --clinical bmi --repeats 2 -k 2 {FAST} -o cv")
    line = [str(word) for word in [*book, "cv", "labels.tsv"]]
    said = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    # Five models; pooled, two folds and the mean; four metrics of each.
    assert "80 numbers agree with metrics.tsv to 1e-6" in said.stdout
    assert "60 knees of 30 patients" in said.stdout and "caution: random weights" in said.stdout

    metrics = tmp_path / "cv" / "metrics.tsv"
    right = metrics.read_text()
    for place in ("images linear\tmean\troc_auc\t", "images\tpooled\tbrier\t", "\tfold-2\tf1\t"):
        at = right.index(place) + len(place)
        digit = "3" if right[at + 5] != "3" else "5"
        metrics.write_text(right[: at + 5] + digit + right[at + 6 :])
        assert subprocess.run(line, cwd=tmp_path, capture_output=True).returncode != 0
