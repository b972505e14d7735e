"""What becomes of a cross-validation whose files are removed while it writes its report."""

import shutil

import pytest

from oatools.commands import cv
from oatools.report import crossval


@pytest.mark.parametrize("loses", ["nothing", "a model", "its folder"])
def test_cv_says_which_of_its_files_are_gone(study, tmp_path, monkeypatch, capsys, rows, loses):
    monkeypatch.chdir(tmp_path)
    knees = study(knees=24)
    draw = crossval.make_pictures

    def meanwhile(*given):
        if loses == "a model":
            (tmp_path / "cv/fold-2.safetensors").unlink()
        if loses == "its folder":
            shutil.rmtree(tmp_path / "cv")
        return draw(*given)

    monkeypatch.setattr(crossval, "make_pictures", meanwhile)
    words = "features.tsv --labels labels.tsv --folds 2 --slices 8 -o cv --repeats 1 --no-compare"
    small = "--epochs 1 --conv 4 --units 4 --hidden 4"
    with pytest.raises(SystemExit) as end:
        cv.main.main([*words.split(), *small.split()])
    text = capsys.readouterr()
    assert len(rows(text.out)) == len(knees)  # they are right all the same
    last = text.err.splitlines()[-1]
    if loses == "nothing":
        assert end.value.code == 0 and "removed" not in text.err
    else:
        first, more = {
            "a model": ("cv/fold-2.safetensors", ""),
            "its folder": ("cv/folds.tsv", " and 4 more"),
        }[loses]
        assert end.value.code == 1
        said = f"oa-cv: {first}{more} was removed since it was written; run the same command again"
        assert last == said
