"""What is read from records of other days: sidecars written out by hand, not by the code under test."""

import json
import os

import pytest

from oatools.core import provenance
from oatools.core.provenance import Provenance, RecordedOrientation

A_SIDECAR = """{
  "Modality": "MR",
  "ImageLaterality": "R",
  "Phantom": true,
  "OatoolsSteps": [
    {
      "tool": "oa-convert",
      "version": "0.0.9",
      "parameters": {"echo": 2},
      "input": {"name": "9000099_00m_right", "sha256": "1111111111111111111111111111111111111111111111111111111111111111"}
    },
    {
      "tool": "oa-orient",
      "version": "0.0.9",
      "parameters": {"reference": "left", "axes": [1, 2, 0], "flips": [true, false, true]},
      "input": {"name": "9000099_00m_right_cor-iw-tse.nii.gz", "sha256": "2222222222222222222222222222222222222222222222222222222222222222"}
    },
    {
      "tool": "oa-n4",
      "version": "0.1.0",
      "parameters": {"shrink": "auto"},
      "input": {"name": "9000099_00m_right_cor-iw-tse.nii.gz", "sha256": "3333333333333333333333333333333333333333333333333333333333333333"},
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
    assert correction.input_sha256 == "33" * 32 and correction.version == "0.1.0"
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


@pytest.mark.parametrize(
    "content, said",
    [
        (b"{", "it is not clean JSON (Expecting property name"),
        (b"", "it is not clean JSON (Expecting value"),
        (b"[1, 2]", "it is no JSON object"),
        (b'"Petra"', "it is no JSON object"),
        (b"[" * 200_000, "it is not clean JSON (it is nested too deep)"),
        (b" " * (1 << 24) + b"{}", "it is larger than 16 MiB"),
    ],
)
def test_a_sidecar_that_cannot_be_read_stops_no_volume_and_is_named(tmp_path, content, said):
    (tmp_path / "knee.json").write_bytes(content)
    found = provenance.load_sidecar(tmp_path / "knee.nii.gz")
    assert found.fields == {}
    assert found.doubt.startswith(f"{tmp_path / 'knee.json'} was not read: {said}")
    assert "\n" not in found.doubt and found.warnings == (f"warning: {found.doubt}",)
    assert provenance.read_provenance(tmp_path / "knee.nii.gz") == Provenance()


def test_a_folder_or_a_pipe_in_place_of_a_sidecar_stops_no_volume(tmp_path):
    (tmp_path / "knee.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("knee.nii", "pipe.nii"):
        found = provenance.load_sidecar(tmp_path / name)
        assert found.fields == {} and found.doubt.endswith("it is no file")


@pytest.mark.parametrize(
    "content",
    [
        '{"InstitutionName": "Universit\u00e4t", "EchoTime": 0.03}'.encode("latin-1"),
        b'\xef\xbb\xbf{"EchoTime": 0.03}',
        '{"EchoTime": 0.03}'.encode("utf-16"),  # of PowerShell
        b'{"ImageComments": "a\rb\tc\x01", "EchoTime": 0.03}\r\n',
        b'{"RepetitionTime": NaN, "FlipAngle": Infinity, "EchoTime": 0.03}',
        b'{"EchoTime": 7, "EchoTime": 0.03}',
    ],
)
def test_what_other_programs_write_is_read_for_what_is_needed(tmp_path, content):
    (tmp_path / "knee.json").write_bytes(content)
    assert provenance.load_sidecar(tmp_path / "knee.nii.gz") == ({"EchoTime": 0.03}, "")


def test_the_mark_of_a_phantom_survives_a_sidecar_that_was_cut(volume):
    path = volume('{"Modality": "MR", "Phantom": true, "OatoolsSteps": [{"tool": "oa-')
    assert provenance.read_provenance(path) == Provenance(is_phantom=True)


def test_nothing_of_a_foreign_sidecar_is_passed_on_but_settings_of_the_scan():
    foreign = {
        "PatientName": "Meyerhof^Petra",
        "EchoTime": 0.03,
        "SequenceVariant": "MEYERHOF",
        "ScanOptions": "FS\\LI",
        "Manufacturer": "Meyerhof",
        "ManufacturersModelName": "Petra Meyerhof",
        "MagneticFieldStrength": "Meyerhof",
        "FlipAngle": ["Meyerhof"],
        "EchoNumber": True,
        "Knee": "Meyerhof",
        "Subject": "HOSP-4711",
        "Sequence": "cor-petra-tse",
        "Side": "left",
        "global": {"const": {"PatientName": "Meyerhof"}},
        "OatoolsSteps": [{"tool": "denoise", "operator": "Meyerhof"}, "Meyerhof", 3],
    }
    another = {"tool": "another program"}
    assert provenance.passed_on(foreign) == {"EchoTime": 0.03, "OatoolsSteps": [another] * 3}


OURS = {
    "Knee": "9000099_00m_right",
    "Subject": "9000099",
    "Visit": "00m",
    "Side": "right",
    "Sequence": "cor-iw-tse",
    **{key: value for key, value in json.loads(A_SIDECAR).items() if key != "ImageLaterality"},
    "ScanningSequence": "SE",
}


def test_our_own_fields_pass_as_they_are_and_in_order():
    passed = provenance.passed_on(OURS, "9000099_00m_right_cor-iw-tse")
    assert list(passed.items()) == list(OURS.items())


def test_a_sidecar_that_we_sealed_may_stand_beside_a_volume_of_any_name(tmp_path):
    ours = {**OURS, "Sequence": "my-own-name"}
    record = {"OatoolsOutput": {"bytes": 1, "sha256": "00"}}
    text = provenance.sidecar_text({**ours, **record})
    (tmp_path / "renamed.json").write_text(text)
    assert provenance.read_sidecar(tmp_path / "renamed.nii.gz") == ours
    changed = json.loads(text) | {"Subject": "Meyerhof"}
    (tmp_path / "renamed.json").write_text(json.dumps(changed))
    found = provenance.read_sidecar(tmp_path / "renamed.nii.gz")
    assert not found.keys() & {"Knee", "Subject", "Sequence"}


def test_who_claims_our_record_says_no_more_of_the_knee_than_the_name_of_its_volume():
    claimed = {**OURS, "Knee": "Meyerhof", "Subject": "HOSP-4711", "Sequence": "cor-petra"}
    step = claimed["OatoolsSteps"][-1]
    claimed["OatoolsSteps"] = [{**step, "input": {**step["input"], "name": "Meyerhof.nii.gz"}}]
    passed = provenance.passed_on(claimed, "scan7_cor-iw-tse")
    assert not passed.keys() & {"Knee", "Subject", "Sequence"}
    assert passed["OatoolsSteps"][0]["input"] == {"sha256": "33" * 32}
    assert (passed["Visit"], passed["Side"]) == ("00m", "right")
    known = {**claimed, "Sequence": "sag-t2-x3f9a1c20"}
    assert provenance.passed_on(known, "scan7")["Sequence"] == "sag-t2-x3f9a1c20"


def test_what_was_added_to_our_record_by_others_stays_behind():
    step = {
        "tool": "oa-n4",
        "version": "0.1.0",
        "parameters": {"engine": "fast", "bins": 200, "spans": [1, 1, 1], "mask": "ab" * 32},
        "input": {"name": "a.nii.gz", "sha256": "33" * 32},
        "floor": 3.5,
        "levels": [{"spans": [1, 1, 1], "iterations": 3, "convergence": 0.001}],
    }
    added = {**step, "operator": "Meyerhof", "shrink": [{"Meyerhof": 3}]}
    added["parameters"] = {
        **step["parameters"],
        "operator": "Meyerhof",
        "start": "Meyerhof",
        "noise": "0.01",
        "fwhm": 19500203,
        "iterations": [[[[[1]]]]],
        "shrink": {"Meyerhof": 1},
        "Meyerhof": 1,
    }
    marked = {**step, "input": {"name": "a.nii.gz", "sha256": "33" * 32, "operator": "Meyerhof"}}
    foreign = {**step, "tool": "oa-meyerhof"}
    found = provenance.passed_on(
        {"Subject": "Meyerhof, Petra", "OatoolsSteps": [added, marked, foreign]}, "a"
    )
    assert found == {"OatoolsSteps": [step, step, {"tool": "another program"}]}


@pytest.mark.parametrize(
    "tool, parameters",
    [
        ("oa-convert", {"echo": "Meyerhof", "series": "19500203x", "coverage": [60]}),
        ("oa-convert", {"series": "Meyerhof"}),
        ("oa-orient", {"reference": "Meyerhof", "side": ["left"], "plane": "Meyerhof"}),
        ("oa-orient", {"axes": "Meyerhof", "flips": ["Meyerhof"], "input_affine": [["Meyerhof"]]}),
        ("oa-n4", {"engine": "Meyerhof", "dtype": "Meyerhof", "mask": "/home/meyerhof/mask.nii"}),
        ("oa-cam", {"model": "Meyerhof", "method": "Meyerhof", "with": ["Meyerhof"], "grid": 1}),
        ("oa-cam", {"clinical": ["Meyerhof"], "montage": "4711", "faithfulness": "yes"}),
        ("oa-embed", {"weights": "Meyerhof"}),
    ],
)
def test_parameters_pass_in_the_form_in_which_the_step_writes_them(tool, parameters):
    found = provenance.passed_on({"OatoolsSteps": [{"tool": tool, "parameters": parameters}]})
    assert found == {"OatoolsSteps": [{"tool": tool, "parameters": {}}]}


def test_what_an_orientation_was_is_read_of_any_record():
    for wrong in ("Meyerhof", 3, None, ["Meyerhof"], {"Meyerhof": 1}):
        parameters = {"reference": wrong, "axes": "Meyerhof", "flips": 3}
        made = Provenance.from_fields(
            {"OatoolsSteps": [{"tool": "oa-orient", "parameters": parameters}]}
        )
        assert made.orientation() == RecordedOrientation("left", None, None)
        assert made.preparation() == ("oa-orient --reference left",)


def test_names_typed_into_settings_are_not_written():
    fields = {
        "ScanOptions": "MEYERHOF",
        "SequenceVariant": "SK\\SP",
        "EchoTime": 0.03,
        "Notes": ["ours"],
    }
    written = json.loads(provenance.sidecar_text(fields))
    assert written == {"SequenceVariant": "SK\\SP", "EchoTime": 0.03, "Notes": ["ours"]}


def test_a_step_is_added_after_those_of_the_input_and_nothing_else_changes(volume):
    fields = json.loads(A_SIDECAR)
    added = provenance.Step("oa-embed", {"slices": 8}, "knee.nii.gz", "44" * 32, version="0.1.0")
    after = provenance.with_step(fields, added)
    assert fields == json.loads(A_SIDECAR)
    assert {**after, "OatoolsSteps": after["OatoolsSteps"][:-1]} == fields
    assert after["OatoolsSteps"][-1] == {
        "tool": "oa-embed",
        "version": "0.1.0",
        "parameters": {"slices": 8},
        "input": {
            "name": "knee.nii.gz",
            "sha256": "4444444444444444444444444444444444444444444444444444444444444444",
        },
    }


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a.nii.gz", "a.json"),
        ("a.nii", "a.json"),
        ("a.b.nii.gz", "a.b.json"),
        ("a.gz", "a.json"),
        ("a.img", "a.json"),
        ("a.hdr.gz", "a.json"),
    ],
)
def test_a_sidecar_has_the_name_of_its_volume(tmp_path, name, expected):
    assert provenance.sidecar(tmp_path / name) == tmp_path / expected


def test_a_volume_in_two_files_is_another_input_when_either_changes(tmp_path):
    header, voxels = tmp_path / "a.hdr", tmp_path / "a.img.gz"
    header.write_bytes(b"1"), voxels.write_bytes(b"2")

    def digests():
        return {provenance.step("oa-n4", {}, path).input_sha256 for path in (header, voxels)}

    first = digests()
    assert len(first) == 1
    voxels.write_bytes(b"3")
    second = digests()
    header.write_bytes(b"4")
    assert len(first | second | digests()) == 3


def test_another_file_is_called_so_and_not_by_its_digest():
    one, other = "a" * 64, "b" * 64
    wanted = provenance.Step("oa-cam", {"model": one, "with": [one], "at": 12}, "x", "0")
    recorded = provenance.Step("oa-cam", {"model": other, "with": [other], "at": 12}, "x", "0")
    assert wanted.difference_from(recorded) == (
        "was made with other settings (another model, another volume of the knee's other sequences)"
    )
    masked = provenance.Step("oa-n4", {"mask": "air"}, "x", "0")
    assert "(another mask)" in masked.difference_from(
        provenance.Step("oa-n4", {"mask": one}, "x", "0")
    )
    assert "(mask otsu, not air)" in masked.difference_from(
        provenance.Step("oa-n4", {"mask": "otsu"}, "x", "0")
    )


def test_the_first_differences_are_named():
    wanted = provenance.Step("oa-n4", {"a": 1, "b": 2, "c": 3, "d": 4}, "x", "0")
    recorded = provenance.Step("oa-n4", {"b": 2, "c": 5, "d": 6, "e": 7}, "x", "0")
    assert wanted.difference_from(recorded) == (
        "was made with other settings (a None, not 1, c 5, not 3, d 6, not 4)"
    )
    other_tool = provenance.Step("oa-orient", {}, "x", "0")
    assert wanted.difference_from(other_tool) == "was made by another tool"
