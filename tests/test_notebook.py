"""The notebook in `examples/`: it runs from its first cell to its last, and ends with a figure."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "knee.ipynb"


def cells(kind):
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def test_it_is_kept_without_outputs_and_says_that_its_knees_are_phantoms():
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None
        for cell in found["cells"]
        if cell["cell_type"] == "code"
    )
    assert "**phantoms**" in cells("markdown")[0]


def test_it_runs_and_ends_with_a_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, of the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra dev")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"]
    said = "".join(each.get("text", "") for cell in outputs for each in cell)
    assert "(8, 1280)" in said and "27 knees, 7 positive" in said and "['phantoms']" in said
    assert not any(each["output_type"] == "error" for cell in outputs for each in cell)
    last = [each["data"] for each in outputs[-1] if "data" in each]
    assert any("image/png" in data for data in last)
    nbformat.write(notebook, tmp_path / "run.ipynb")
    assert list(tmp_path.iterdir()) == [tmp_path / "run.ipynb"]  # nothing else lies about
