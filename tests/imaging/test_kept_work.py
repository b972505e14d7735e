"""Work that was damaged since it was done is noticed, and done again."""

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from oatools.core import manifest, provenance
from oatools.core.errors import ItemError
from oatools.core.replacing import Replace
from oatools.imaging.rows import OrientSettings, VolumeWriter, orient_volume
from oatools.imaging.volume import Volume, write_volume

from ..conftest import cut, empty

AFFINE = np.array([[1.5, 0, 0, -138.0], [0, 0, 3.0, -36.0], [0, 1.5, 0, -45.0], [0, 0, 0, 1]])


@pytest.fixture
def scan(tmp_path):
    """A left knee, as a plain file that no command has made."""
    path = tmp_path / "9000001_00m_left_cor-iw-tse.nii.gz"
    data = np.random.default_rng(0).normal(500, 90, (20, 22, 14)).astype(np.int16)
    write_volume(path, Volume(data, AFFINE))
    return path


def exchange(path):
    """Another volume that is whole, of the same name."""
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 22, 14), np.int16), AFFINE), path)


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [cut, empty, exchange, one_bit])
@pytest.mark.parametrize("command", ["oa-orient", "oa-n4 --mask none"])
def test_a_volume_that_was_damaged_is_made_again_and_it_is_said(scan, shell, spoil, command):
    done = shell(f"{command} {scan.name} -o out")
    made = scan.parent / "out" / scan.name
    whole = made.read_bytes()
    recorded = json.loads(provenance.sidecar(made).read_text())["OatoolsOutput"]
    assert recorded == {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    spoil(made)
    again = shell(f"{command} {scan.name} -o out")
    assert made.read_bytes() == whole and again.stdout == done.stdout
    assert "was damaged or exchanged since it was made; it is made again" in again.stderr
    assert "1 done, 0 kept, 0 failed" in again.stderr
    kept = shell(f"{command} {scan.name} -o out")
    assert "0 done, 1 kept" in kept.stderr and "damaged" not in kept.stderr


def test_a_field_that_was_damaged_is_made_again(scan, shell):
    call = f"oa-n4 --mask none {scan.name} -o out --field out/log-field.nii.gz"
    shell(call)
    field = scan.parent / "out" / "log-field.nii.gz"
    whole = field.read_bytes()
    cut(field)
    shell(call)
    assert field.read_bytes() == whole


def test_a_volume_of_an_earlier_version_which_records_nothing_is_kept_as_it_is(scan, orient):
    made, beside = orient(scan)
    fields = json.loads(beside.read_text())
    del fields["OatoolsOutput"], fields["OatoolsSidecar"]
    beside.write_text(json.dumps(fields))
    image = nibabel.load(made)
    nibabel.save(nibabel.Nifti1Image(image.dataobj[:], image.affine), made)  # of no known maker
    content = made.read_bytes()
    assert orient.run(scan).kept and made.read_bytes() == content


class Orient:
    """oa-orient, called as the command calls it."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, scan, replacing=Replace.NOTHING):
        row = manifest.row_from_path(str(scan))
        return orient_volume(row, VolumeWriter(self.folder, replacing=replacing), OrientSettings())

    def __call__(self, scan):
        made = Path(self.run(scan).cells["path"])
        return made, made.with_name(made.name.replace(".nii.gz", ".json"))


@pytest.fixture
def orient(tmp_path):
    return Orient(tmp_path / "out")


@pytest.fixture
def other_scan(tmp_path):
    """Another patient's knee, as oa-orient takes it."""
    path = tmp_path / "9000002_00m_left_cor-iw-tse.nii.gz"
    data = np.random.default_rng(1).normal(400, 80, (20, 22, 14)).astype(np.int16)
    write_volume(path, Volume(data, AFFINE))
    return path


def lose(beside, other):
    beside.unlink()


def clear(beside, other):
    beside.write_bytes(b"")


def shorten(beside, other):
    beside.write_bytes(beside.read_bytes()[:200])


def swap(beside, other):
    beside.write_bytes(other.read_bytes())


def edit(old, new):
    """Change a text in a sidecar."""

    def change(beside, other):
        text = beside.read_text()
        assert text.count(old) == 1
        beside.write_text(text.replace(old, new))

    change.__name__ = f"{old} to {new}"
    return change


SPOILT_SIDECARS = [
    lose,
    clear,
    shorten,
    swap,
    edit('"plane": "coronal"', '"plane": "corona1"'),
    edit('"EchoTime"', '"EchoTim3"'),
    edit('"OatoolsSteps"', '"OatoolsStepz"'),
    edit('"OatoolsOutput"', '"OatoolsOutpuu"'),
    edit('"OatoolsSidecar"', '"OatoolsSidecas"'),
]


@pytest.mark.parametrize("spoil", SPOILT_SIDECARS, ids=lambda spoil: spoil.__name__)
def test_a_sidecar_that_is_lost_or_changed_is_made_again_with_its_volume(
    scan, other_scan, orient, spoil
):
    provenance.sidecar(scan).write_text('{"EchoTime": 0.029}')
    made, beside = orient(scan)
    _, other = orient(other_scan)
    whole = made.read_bytes(), beside.read_bytes()
    spoil(beside, other)
    again = orient.run(scan)
    assert not again.kept and (made.read_bytes(), beside.read_bytes()) == whole
    (warning,) = again.warnings
    assert str(beside.with_suffix("")) in warning and warning.endswith("; it is made again")
    assert orient.run(scan).kept


def test_an_emptied_volume_that_has_lost_its_sidecar_is_made_again(scan, orient):
    made, beside = orient(scan)
    whole = made.read_bytes()
    empty(made)
    beside.unlink()
    assert not orient.run(scan).kept and made.read_bytes() == whole


def test_a_volume_and_sidecar_of_another_knee_are_replaced_by_the_knees_own(
    scan, other_scan, orient
):
    """As a script that mixes up its names leaves them: both are whole, and belong together."""
    made, beside = orient(scan)
    theirs, their_sidecar = orient(other_scan)
    whole = made.read_bytes()
    made.write_bytes(theirs.read_bytes())
    beside.write_bytes(their_sidecar.read_bytes())
    (warning,) = orient.run(scan).warnings
    assert "was exchanged for that of another knee" in warning
    assert made.read_bytes() == whole and orient.run(scan).kept


def strange_volume(path):
    """A volume that some other program wrote."""
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), AFFINE), path)


def strange_file(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("notes on this knee")


def by_write_volume(path):
    """A volume that a user wrote from Python."""
    write_volume(path, Volume(np.ones((4, 5, 6), np.int16), AFFINE))


@pytest.mark.parametrize("stranger", [strange_volume, strange_file, by_write_volume])
@pytest.mark.parametrize("beside", [None, "", '{"EchoTime": 0.03}', "[1", "swap"])
def test_what_nothing_shows_to_be_ours_is_never_replaced(
    scan, other_scan, orient, stranger, beside
):
    target = orient.folder / scan.name
    stranger(target)
    if beside is not None:
        text = orient(other_scan)[1].read_text() if beside == "swap" else beside
        provenance.sidecar(target).write_text(text)
    content = target.read_bytes()
    with pytest.raises(ItemError, match="exists and does not say how|was made from another input"):
        orient.run(scan)
    assert target.read_bytes() == content
    assert not orient.run(scan, replacing=Replace.ANYTHING).kept and target.read_bytes() != content


def test_the_result_of_another_command_that_lost_its_sidecar_is_not_replaced(scan, shell):
    """The copy in this folder was not made by oa-orient, which must leave it alone."""
    shell(f"oa-n4 --mask none {scan.name} -o out")
    made = scan.parent / "out" / scan.name
    whole = made.read_bytes()
    provenance.sidecar(made).unlink()
    told = shell(f"oa-orient {scan.name} -o out", status=1).stderr
    assert "exists and does not say how it was made" in told and made.read_bytes() == whole


def test_an_input_that_was_changed_is_told_and_the_older_result_stays(scan, orient):
    made, _ = orient(scan)
    whole = made.read_bytes()
    write_volume(scan, Volume(np.full((20, 22, 14), 7, np.int16), AFFINE))
    with pytest.raises(ItemError, match="was made from another input"):
        orient.run(scan)
    assert made.read_bytes() == whole


def test_the_header_names_the_command_and_nothing_else_of_its_making(scan, orient):
    made, _ = orient(scan)
    header = nibabel.load(made).header
    assert header["descrip"].item() == b"oatools oa-orient"
    assert header["aux_file"].item() == header["intent_name"].item() == b""
    assert nibabel.load(scan).header["descrip"].item() == b""


@pytest.mark.parametrize(
    "record", [7, {"bytes": "x"}, {"sha256": 3}, {"bytes": -1, "beside": {"/../x": 1}}]
)
def test_a_record_that_is_none_of_ours_is_damage_and_no_more(scan, record):
    provenance.sidecar(scan).write_text(json.dumps({"OatoolsOutput": record}))
    assert bool(provenance.damage_of(scan)) == isinstance(record, dict)


def test_the_record_of_an_output_is_not_passed_on():
    assert provenance.passed_on({"OatoolsOutput": {"bytes": 1}}) == {}
