"""What is read from records of other days: sidecars written out by hand, not by the code under test."""

import json

import pytest

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.provenance import Provenance, RecordedOrientation

A_SIDECAR = """{
  "Modality": "MR",
  "ImageLaterality": "R",
  "Phantom": true,
  "OatoolsSteps": [
    {
      "tool": "oa-convert",
      "version": "0.0.9",
      "parameters": {"compression": 2},
      "input": {"name": "9000099_00m_right", "sha256": "11"}
    },
    {
      "tool": "oa-orient",
      "version": "0.0.9",
      "parameters": {"reference": "left", "axes": [1, 2, 0], "flips": [true, false, true]},
      "input": {"name": "9000099_00m_right_cor-iw-tse.nii.gz", "sha256": "22"}
    },
    {
      "tool": "oa-n4",
      "version": "0.1.0",
      "parameters": {"shrink": "auto"},
      "input": {"name": "9000099_00m_right_cor-iw-tse.nii.gz", "sha256": "33"},
      "shrink": [4, 4, 1]
    }
  ]
}"""


@pytest.fixture
def volume(tmp_path):
    """A function that puts a sidecar beside the path of a volume, which it returns."""

    def put(text: str):
        (tmp_path / "knee.json").write_text(text)
        return tmp_path / "knee.nii.gz"

    return put


def test_a_sidecar_says_how_its_volume_was_made(volume):
    made = provenance.read_provenance(volume(A_SIDECAR))
    assert [step.tool for step in made.steps] == ["oa-convert", "oa-orient", "oa-n4"]
    assert made.is_phantom and made.is_recorded
    assert made.orientation() == RecordedOrientation("left", (1, 2, 0), (True, False, True))
    assert made.preparation() == ("oa-orient --reference left", "oa-n4")
    correction = made.bias_correction()
    assert correction is made.last
    assert correction.input_sha256 == "33" and correction.version == "0.1.0"
    assert correction.parameters == {"shrink": "auto"}
    assert correction.results == {"shrink": [4, 4, 1]}


def test_the_last_orientation_counts_and_every_step_of_the_preparation_is_named_in_order():
    made = Provenance.from_fields(
        {
            "OatoolsSteps": [
                {"tool": "oa-n4", "parameters": {}},
                {"tool": "oa-orient", "parameters": {"reference": "right"}},
                {"tool": "oa-orient", "parameters": {"reference": "left", "axes": [0, 1, 2]}},
            ]
        }
    )
    assert made.orientation() == RecordedOrientation("left", (0, 1, 2), None)
    assert made.preparation() == (
        "oa-n4",
        "oa-orient --reference right",
        "oa-orient --reference left",
    )
    assert not made.is_phantom


def test_a_record_of_another_program_does_not_stop_ours():
    """Steps of a tool that is not ours, without parameters or input, stand in the list and mean nothing."""
    made = Provenance.from_fields(
        {"OatoolsSteps": [{"tool": "oa-orient"}, {"tool": "denoise", "input": "a.nii"}, "n4"]}
    )
    assert [step.tool for step in made.steps] == ["oa-orient", "denoise"]
    assert made.orientation() == RecordedOrientation("left")  # the default of oa-orient
    assert made.bias_correction() is None
    assert made.last.input_sha256 == "" and made.last.parameters == {}


@pytest.mark.parametrize(
    "fields, is_phantom, is_recorded",
    [
        ({}, False, False),
        ({"OatoolsSteps": []}, False, True),
        ({"Phantom": True}, True, False),
        ({"Phantom": False}, False, False),
        ({"phantom": 1, "OatoolsSteps": []}, True, True),  # of a feature file
    ],
)
def test_no_record_and_no_steps_are_not_the_same(fields, is_phantom, is_recorded):
    made = Provenance.from_fields(fields)
    assert (made.is_phantom, made.is_recorded) == (is_phantom, is_recorded)
    assert made.steps == () and made.last is None and made.preparation() == ()


def test_a_volume_without_sidecar_has_no_provenance(tmp_path):
    assert provenance.read_provenance(tmp_path / "knee.nii.gz") == Provenance()


@pytest.mark.parametrize("text, match", [("{", "cannot be read as JSON"), ("[]", "no JSON object")])
def test_a_sidecar_that_cannot_be_read_is_named(volume, text, match):
    with pytest.raises(ItemError, match=f"knee.json.* {match}.*; repair or delete it"):
        provenance.read_provenance(volume(text))


def test_a_step_is_added_after_those_of_the_input_and_nothing_else_changes(volume):
    fields = json.loads(A_SIDECAR)
    added = provenance.Step("oa-embed", {"slices": 8}, "knee.nii.gz", "44", version="0.1.0")
    after = provenance.with_step(fields, added)
    assert fields == json.loads(A_SIDECAR)
    assert {**after, "OatoolsSteps": after["OatoolsSteps"][:-1]} == fields
    assert after["OatoolsSteps"][-1] == {
        "tool": "oa-embed",
        "version": "0.1.0",
        "parameters": {"slices": 8},
        "input": {"name": "knee.nii.gz", "sha256": "44"},
    }


@pytest.mark.parametrize(
    "name, expected",
    [("a.nii.gz", "a.json"), ("a.nii", "a.json"), ("a.b.nii.gz", "a.b.json"), ("a.gz", "a.json")],
)
def test_a_sidecar_has_the_name_of_its_volume(tmp_path, name, expected):
    assert provenance.sidecar(tmp_path / name) == tmp_path / expected


def test_the_first_differences_are_named():
    wanted = provenance.Step("oa-n4", {"a": 1, "b": 2, "c": 3, "d": 4}, "x", "0")
    recorded = provenance.Step("oa-n4", {"b": 2, "c": 5, "d": 6, "e": 7}, "x", "0")
    assert wanted.difference_from(recorded) == (
        "was made with other settings (a None, not 1, c 5, not 3, d 6, not 4)"
    )
    other_tool = provenance.Step("oa-orient", {}, "x", "0")
    assert wanted.difference_from(other_tool) == "was made by another tool"
