"""The folder of oa-cv under oa-check: damage to any of its files is named, and repaired by oa-cv."""

from pathlib import Path

import numpy as np
import pytest

from oatools.checking.check import check
from oatools.core.checksums import write_checksums
from oatools.core.errors import UsageError
from oatools.core.replacing import Replace
from oatools.learning.folds import write_folds

from ..conftest import cut, empty, flip, lose
from .conftest import CV, rewrite


def other_fold(path):
    path.write_bytes(path.with_name("fold-2.safetensors").read_bytes())


DAMAGES = [
    ("folds.tsv", (cut, empty, flip, lose)),
    ("predictions.tsv", (cut, flip, lose)),
    ("metrics.tsv", (empty, flip)),
    ("report.html", (cut, lose)),
    ("model-card.md", (flip,)),
    ("roc.png", (cut, flip)),
    ("pr.svg", (empty,)),
    ("fold-1.safetensors", (cut, empty, flip, lose, other_fold)),
    ("checksums.sha256", (cut, empty, flip, lose)),
    ("images/fold-1.safetensors", (flip, lose)),
    ("repeat-2/predictions.tsv", (flip, lose)),
]


@pytest.fixture
def cross_validated(study, run, tmp_path):
    study(knees=40)

    def again():
        run(f"{CV.replace('--no-compare --repeats 1', '--clinical bmi --repeats 2')} -o cv")

    again()
    return again


def test_damage_to_a_file_of_a_cross_validation_is_named_and_repaired_by_the_same_command(
    cross_validated, tmp_path
):
    folder = Path("cv")
    whole = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert check(folder) == []
    for name, damages in DAMAGES:
        path = folder / name
        for damage in damages:
            damage(path)
            assert [each[:2] for each in check(folder)] == [(str(path), "cross-validation")], damage
            assert damage is lose or len(check(path)) == 1
            path.write_bytes(whole[path])
    for name, damages in DAMAGES:
        damages[-1](folder / name)
    # The digests are lost, and with them what they say; all the rest is as it was.
    (folder / "checksums.sha256").write_bytes(whole[folder / "checksums.sha256"])
    assert len(check(folder)) == len(DAMAGES) - 1
    cross_validated()
    assert {path: path.read_bytes() for path in whole} == whole
    assert check(folder) == []


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_table_of_folds_that_was_damaged_is_written_again_and_another_is_not(tmp_path, damage):
    path, said = tmp_path / "folds.tsv", []
    knees, subjects = ["a_00m_left", "a_00m_right", "b_00m_left"], ["a", "a", "b"]

    def write(fold, replacing=Replace.NOTHING):
        write_folds(path, knees, subjects, np.array(fold), replacing, said.append)
        return path.read_bytes()

    whole = write([1, 1, 2])
    write_checksums(tmp_path, ["folds.tsv"])
    damage(path)
    assert write([1, 1, 2]) == whole
    assert said == [f"warning: {path} was damaged since it was made; it is made again"]
    assert write([1, 1, 2]) == whole and len(said) == 1
    # Other folds, whoever made them: not to be lost. Digests of before are none of theirs.
    with pytest.raises(UsageError, match="holds other folds"):
        write([2, 2, 1])
    others = write([2, 2, 1], replacing=Replace.ANYTHING)
    with pytest.raises(UsageError, match="holds other folds"):
        write([1, 1, 2])
    assert path.read_bytes() == others and len(said) == 1


def test_what_contradicts_itself_is_named_where_no_digest_tells(study, run, tmp_path):
    """As where somebody edits a table, and writes the digests anew."""
    study(knees=40)
    run(f"{CV} -o cv")
    folder = Path("cv")
    (folder / "checksums.sha256").unlink()
    whole = {path: path.read_bytes() for path in folder.iterdir()}

    def errors():
        found = {each.path: each.error for each in check(folder)}
        assert found.pop(str(folder / "checksums.sha256")) == "is missing"
        for path, content in whole.items():
            path.write_bytes(content)
        return found

    def first_in_fold_3(row):
        row["fold"] = "2" if row["knee"].startswith("9000000") and row["fold"] == "1" else "1"

    seen = []

    def all_but_one(row):
        seen.append(row["knee"])
        row["knee"] = seen[0] if len(seen) == 2 else row["knee"]

    def other_patient(row):
        row["subject"] = "9000001" if row["knee"] == "9000000_00m_left" else row["subject"]

    assert errors() == {}
    rewrite(folder / "predictions.tsv", first_in_fold_3)
    assert "which the table of folds does not" in errors()[str(folder / "predictions.tsv")]
    rewrite(folder / "predictions.tsv", all_but_one)
    assert "twice" in errors()[str(folder / "predictions.tsv")]
    other_fold(folder / "fold-1.safetensors")
    assert "is the model of fold 2" in errors()[str(folder / "fold-1.safetensors")]
    rewrite(
        folder / "folds.tsv", lambda row: row.update(fold="2" if "left" in row["knee"] else "1")
    )
    assert "has patient 9000000 in folds" in errors()[str(folder / "folds.tsv")]
    rewrite(folder / "folds.tsv", lambda row: row.update(fold=str(3 - int(row["fold"]))))
    found = errors()
    assert "was trained on" in found[str(folder / "fold-1.safetensors")]
    assert str(folder / "folds.tsv") not in found


def test_folds_that_are_leaky_on_purpose_are_whole_and_a_run_that_did_not_end_is_named(
    study, run, tmp_path
):
    study(knees=40)
    run(f"{CV} --leaky -o cv")
    assert check("cv") == []
    for name in ("predictions.tsv", "checksums.sha256"):
        (tmp_path / "cv" / name).unlink()
    assert [(each.path, each.error) for each in check("cv")] == [("cv", "its run did not end")]
