"""Data sets in the layout of BIDS: names beside the specification's rules, and the validator's own word."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import pytest
from click.testing import CliRunner

from oatools.commands.check import main as check
from oatools.commands.convert import main as convert
from oatools.commands.orient import main as orient
from oatools.core.bids import bids_path, is_bids_name
from oatools.core.errors import ItemError
from oatools.core.manifest import row_from_path

from .conftest import base, pixels, save

VALIDATOR = shutil.which(
    "bids-validator-deno", path=str(Path(sys.executable).parent)
) or shutil.which("bids-validator-deno")


@pytest.mark.parametrize(
    ("sequence", "suffix"),
    [
        ("cor-iw-tse", "PDw"),
        ("sag-3d-dess", "T2w"),
        ("cor-t1-3d-flash", "T1w"),
        ("sag-pd-fs", "PDw"),
        ("corpdfs", "PDw"),
        ("sag-t2-tse", "T2w"),
        ("cor-stir", "T2w"),
        ("ax-t2star", "T2starw"),
        ("sag-flair", "FLAIR"),
        ("sag-t2-map", "T2w"),
    ],
)
def test_the_suffix_is_the_weighting_that_the_sequence_names(sequence, suffix):
    row = {"knee": "9000099_00m_right", "subject": "9000099", "visit": "00m", "side": "right"}
    label = sequence.replace("-", "")
    assert bids_path({**row, "sequence": sequence}) == (
        f"sub-9000099/ses-00m/anat/sub-9000099_ses-00m_acq-{label}right_{suffix}"
    )


def test_labels_are_letters_and_digits_and_what_is_not_known_is_left_out():
    stranger = {"knee": "anon-1ff3a95b", "subject": "anon-1ff3a95b", "sequence": "sag-pd"}
    assert bids_path(stranger) == "sub-anon1ff3a95b/anat/sub-anon1ff3a95b_acq-sagpd_PDw"
    echo = bids_path({**stranger, "sequence": "sag-t2-map"}, echo=3)
    assert echo == "sub-anon1ff3a95b/anat/sub-anon1ff3a95b_acq-sagt2map_echo-3_MESE"
    for sequence in ("sag-t1rho", "localizer", "sag-x1234abcd"):
        with pytest.raises(ItemError, match="names none"):
            bids_path({**stranger, "sequence": sequence})
    with pytest.raises(ItemError, match="by the subject"):
        bids_path({"knee": "---", "sequence": "sag-pd"})
    assert is_bids_name("sub-anon1ff3a95b_acq-sagpd_PDw", stranger)
    assert not is_bids_name("sub-anon1ff3a95b_acq-sagpdfs_PDw", stranger)
    assert not is_bids_name("anon-1ff3a95b_sag-pd", stranger)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two knees of OAI, one with two sequences, and a stranger's."""
    top = tmp_path_factory.mktemp("bids")
    for participant, side, sequence in [
        ("9000099", "right", "COR_IW_TSE"),
        ("9000099", "left", "COR_IW_TSE"),
        ("9000099", "left", "COR_DESS"),
        ("MRN 77-1", "left", "COR_PD"),
    ]:
        place = top / "scans" / participant / f"{sequence}_{side}"
        ds = base(participant, side, sequence)
        if not participant.isdigit():
            ds.StudyDescription = "KNEE"
        volume = pixels(f"{participant}{side}{sequence}")
        ds.Rows, ds.Columns = volume.shape[:2]
        for k in range(volume.shape[2]):
            x = -95 if side == "right" else 95
            ds.InstanceNumber, ds.ImagePositionPatient = k + 1, [x - 4, 3 * k, 0]
            ds.PixelData = volume[:, :, k].tobytes()
            save(ds, place / f"{k + 1:03d}", k)
    return top


@pytest.fixture(scope="module")
def data_set(scans):
    """The data set that is made of them, with the table of its volumes."""
    words = [str(scans / "scans"), "--bids", "-o", str(scans / "ds"), "--visit", "00m", "-q"]
    done = CliRunner().invoke(convert, words)
    assert done.exit_code == 0, done.output
    (scans / "volumes.tsv").write_text(done.stdout)
    return scans / "ds"


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_data_set_has_the_layout_of_bids(data_set):
    stranger = next(path.name for path in data_set.glob("sub-anon*"))
    anat, other = (
        "sub-9000099/ses-00m/anat/sub-9000099_ses-00m",
        f"{stranger}/ses-00m/anat/{stranger}_ses-00m",
    )
    volumes = [
        f"{anat}_acq-coriwtseleft_PDw",
        f"{anat}_acq-coriwtseright_PDw",
        f"{anat}_acq-cordessleft_T2w",
        f"{other}_acq-corpdleft_PDw",
    ]
    files = [f"{name}{end}" for name in volumes for end in (".json", ".nii.gz")]
    beside = ["dataset_description.json", "participants.tsv", "README.md", ".bidsignore", "id.key"]
    assert names_in(data_set) == sorted([*files, *beside])
    table = (data_set / "participants.tsv").read_text()
    assert table == f"participant_id\nsub-9000099\n{stranger}\n"
    assert (data_set / ".bidsignore").read_text() == "id.key\n"
    said = json.loads((data_set / f"{volumes[1]}.json").read_text())
    assert said["BodyPart"] == "KNEE" and said["BodyPartDetails"] == said["Side"] == "right"
    assert nibabel.load(data_set / f"{volumes[0]}.nii.gz").shape == (16, 20, 24)


@pytest.mark.skipif(VALIDATOR is None, reason="needs bids-validator-deno, a package of PyPI")
def test_the_validator_finds_no_error(data_set):
    done = subprocess.run([VALIDATOR, "--json", data_set], capture_output=True, text=True)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert issues and [each for each in issues if each["severity"] == "error"] == []
    # It finds one: a name that BIDS does not know.
    wrong = next(data_set.rglob("*left_PDw.nii.gz"))
    twin = wrong.with_name(wrong.name.replace("_PDw", "_IWw"))
    twin.write_bytes(wrong.read_bytes())
    try:
        done = subprocess.run([VALIDATOR, "--json", data_set], capture_output=True, text=True)
    finally:
        twin.unlink()
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [each["severity"] for each in issues].count("error") > 0


def test_a_second_run_keeps_all_and_what_people_wrote(scans, data_set):
    table = data_set / "participants.tsv"
    before = table.read_text()
    rows = before.splitlines()
    table.write_text(f"age\tparticipant_id\n61\t{rows[1]}\n")
    (data_set / "README.md").write_text("Ours.\n")
    words = [str(scans / "scans"), "--bids", "-o", str(data_set), "--visit", "00m"]
    done = CliRunner().invoke(convert, words)
    assert done.exit_code == 0 and "0 done, 4 kept, 0 failed" in done.stderr
    assert done.stdout == (scans / "volumes.tsv").read_text()
    assert table.read_text() == f"age\tparticipant_id\n61\t{rows[1]}\nn/a\t{rows[2]}\n"
    assert (data_set / "README.md").read_text() == "Ours.\n"
    table.write_text(before)


def test_the_pipe_goes_on_and_a_bare_path_knows_its_knee(scans, data_set):
    out = scans / "oriented"
    done = CliRunner().invoke(orient, [str(scans / "volumes.tsv"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "9000099_00m_right_cor-iw-tse.nii.gz" in names_in(out)
    row = row_from_path(str(next(data_set.rglob("*right_PDw.nii.gz"))))
    assert [row[c] for c in ("knee", "subject", "visit", "side", "sequence")] == [
        *("9000099_00m_right", "9000099", "00m", "right", "cor-iw-tse")
    ]
    checked = CliRunner().invoke(check, [str(data_set)])
    assert checked.exit_code == 0, checked.output


def test_another_series_does_not_take_the_place_of_one(scans, data_set, tmp_path):
    """Two ids that differ in signs alone have one label."""
    table = tmp_path / "series.tsv"
    header, *lines = (scans / "volumes.tsv").read_text().splitlines()
    place = str(scans / "scans" / "9000099" / "COR_DESS_left")
    cells = dict(zip(header.split("\t"), lines[0].split("\t"), strict=True))
    other = {**cells, "path": place, "sequence": "cor-iwtse"}
    table.write_text("\n".join(["\t".join(cells), "\t".join(other.values())]) + "\n")
    done = CliRunner().invoke(convert, [str(table), "--bids", "-o", str(data_set)])
    assert done.exit_code == 1 and "was made from another input" in done.stderr
