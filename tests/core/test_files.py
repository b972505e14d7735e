import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from oatools.core import files, provenance
from oatools.core.errors import ItemError, UsageError


def test_a_file_appears_only_once_it_is_whole(tmp_path):
    target = tmp_path / "a.txt"
    with files.atomic(target) as stream:
        stream.write(b"wh")
        assert not target.exists()
        stream.write(b"ole")
    assert target.read_text() == "whole"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), files.atomic(target) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_digest_is_that_of_hashlib(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert files.digest(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_folder_digest_knows_names_and_bytes_but_not_times(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    first = files.tree_digest(tmp_path)
    os.utime(tmp_path / "a", (0, 0))
    assert files.tree_digest(tmp_path) == first
    (tmp_path / "a").write_text("12")
    (tmp_path / "b").write_text("")
    assert files.tree_digest(tmp_path) != first


def make(tmp_path, parameters, content="in"):
    (tmp_path / "in").write_text(content)
    return provenance.step("oa-n4", parameters, tmp_path / "in")


def kept(target, recorded, wanted, **more):
    return provenance.step_is_done(target, wanted, lambda: recorded, **more)


def test_work_is_kept_only_for_the_same_input_and_settings(tmp_path):
    target = tmp_path / "out.nii"
    wanted = make(tmp_path, {"shrink": 4, "levels": (1, 2)})
    assert not kept(target, None, wanted)
    target.touch()
    assert kept(target, wanted, make(tmp_path, {"shrink": 4, "levels": (1, 2)}))
    with pytest.raises(ItemError, match=r"other settings \(shrink 4, not 8\)"):
        kept(target, wanted, make(tmp_path, {"shrink": 8, "levels": (1, 2)}))
    with pytest.raises(ItemError, match="another input"):
        kept(target, wanted, make(tmp_path, {"shrink": 4, "levels": (1, 2)}, content="other"))
    with pytest.raises(ItemError, match="does not say how it was made"):
        kept(target, None, wanted)
    assert not kept(target, None, wanted, force=True)


def test_work_of_another_version_is_kept(tmp_path):
    target = tmp_path / "out.nii"
    target.touch()
    wanted = make(tmp_path, {})
    assert kept(target, dataclasses.replace(wanted, version="0.0.1"), wanted)


def test_a_step_is_recorded_in_plain_json_and_read_back(tmp_path):
    """Written out literally: the record is a format that other programs read."""
    (tmp_path / "a.nii").write_bytes(b"")
    made = provenance.step("oa-n4", {"spans": (1, 2)}, tmp_path / "a.nii")
    recorded = made.to_json()
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert recorded.pop("version")
    assert recorded == {
        "tool": "oa-n4",
        "parameters": {"spans": [1, 2]},
        "input": {"name": "a.nii", "sha256": empty},
    }
    with_results = {**made.to_json(), "shrink": [4, 4, 1]}
    assert provenance.Step.from_json(with_results).to_json() == with_results


@pytest.mark.parametrize("steps", [None, 3, "oa-n4", [None, 1, {}, {"tool": 5}], {"tool": "oa-n4"}])
def test_steps_that_are_none_of_ours_are_no_steps(steps):
    found = provenance.Provenance.from_fields({"OatoolsSteps": steps})
    assert found.last is None
    assert found.orientation() is None and found.bias_correction() is None
    assert found.preparation() == ()


def test_outputs_that_may_be_written_pass(tmp_path):
    old = tmp_path / "old.tsv"
    old.write_text("old")
    files.check_outputs({"compare": tmp_path / "new.tsv", "figure": None}, [old, "-"])
    files.check_outputs({"compare": old}, force=True)


@pytest.mark.parametrize(
    "names,inputs,force,said",
    [
        (["old.tsv"], [], False, "first {0}/old.tsv exists; use force to replace it"),
        (["in.tsv"], ["in.tsv"], True, "first {0}/in.tsv: {0}/in.tsv is also read"),
        (["."], [], True, "a plain file is needed"),
        (["new.tsv", "sub/../new.tsv"], [], False, "second {0}/sub/../new.tsv: first writes"),
    ],
)
def test_outputs_that_would_do_harm_are_refused(tmp_path, names, inputs, force, said):
    for name in ("old.tsv", "in.tsv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    outputs = dict(zip(("first", "second"), [tmp_path / name for name in names], strict=False))
    with pytest.raises(UsageError) as caught:
        files.check_outputs(outputs, [tmp_path / name for name in inputs], force)
    assert said.format(tmp_path) in str(caught.value)
    assert (tmp_path / "old.tsv").read_text() == "old.tsv"


def test_standard_output_is_not_an_output_file(tmp_path):
    with pytest.raises(UsageError, match="first -: a plain file is needed"):
        files.check_outputs({"first": Path("-")}, force=True)
