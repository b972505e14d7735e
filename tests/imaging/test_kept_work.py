"""Work that was damaged since it was done is noticed, and done again."""

import hashlib
import json

import nibabel
import numpy as np
import pytest

from oatools.core import provenance
from oatools.imaging.volume import Volume, write_volume

AFFINE = np.array([[1.5, 0, 0, -138.0], [0, 0, 3.0, -36.0], [0, 1.5, 0, -45.0], [0, 0, 0, 1]])


@pytest.fixture
def scan(tmp_path):
    """A left knee, as a plain file that no command has made."""
    path = tmp_path / "9000001_00m_left_cor-iw-tse.nii.gz"
    data = np.random.default_rng(0).normal(500, 90, (20, 22, 14)).astype(np.int16)
    write_volume(path, Volume(data, AFFINE))
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def empty(path):
    path.write_bytes(b"")


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


def test_a_volume_of_which_nothing_is_recorded_is_kept_as_it_is(scan, shell):
    shell(f"oa-orient {scan.name} -o out")
    beside = scan.parent / "out" / "9000001_00m_left_cor-iw-tse.json"
    fields = json.loads(beside.read_text())
    del fields["OatoolsOutput"]
    beside.write_text(json.dumps(fields))
    cut(scan.parent / "out" / scan.name)
    assert "1 kept" in shell(f"oa-orient {scan.name} -o out").stderr


@pytest.mark.parametrize(
    "record", [7, {"bytes": "x"}, {"sha256": 3}, {"bytes": -1, "beside": {"/../x": 1}}]
)
def test_a_record_that_is_none_of_ours_is_damage_and_no_more(scan, record):
    provenance.sidecar(scan).write_text(json.dumps({"OatoolsOutput": record}))
    assert bool(provenance.damage_of(scan)) == isinstance(record, dict)


def test_the_record_of_an_output_is_not_passed_on():
    assert provenance.passed_on({"OatoolsOutput": {"bytes": 1}}) == {}
