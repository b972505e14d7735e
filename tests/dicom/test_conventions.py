"""A study whose folders, ids and inventories are not OAI's."""

import csv
import re
from pathlib import Path

import pytest

from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow
from oatools.dicom.conventions import InventoryEntry, SeriesPath
from oatools.dicom.find import find_series
from oatools.dicom.series import Overrides

_SCAN = re.compile(r"(P-\d{3})/(baseline|year2)/(scan\d+)")
_VISITS = {"baseline": "00m", "year2": "24m"}


class Registry:
    """P-001/year2/scan1, with a scans.csv at the top that has other descriptions."""

    def place_of(self, path):
        match = _SCAN.search(str(path))
        if match is None:
            return SeriesPath()
        return SeriesPath(_VISITS[match[2]], None, match[1], match[0])

    def holds_one_series(self, archive):
        return archive.name.startswith("scan")

    def subject_from(self, header, place):
        patient_id = header.text("PatientID")
        if place.participant and patient_id not in ("", place.participant):
            raise ItemError(f"{patient_id} in the folder of {place.participant}", "give `subject`")
        return place.participant

    def visit_from(self, study_description, place):
        return place.visit

    def may_be_inventory(self, path):
        return Path(path).name == "scans.csv"

    def read_inventory(self, path):
        with Path(path).open(newline="") as stream:
            for key, description in csv.reader(stream):
                yield InventoryEntry(key, description, key)

    def set_aside(self, sequence, participant):
        return None

    def locate(self, listed, base):
        path = base / listed.path
        return path if path.exists() else None


@pytest.fixture
def registry(scan, tmp_path):
    for participant, visit, number in (
        ("P-001", "baseline", 1),
        ("P-001", "year2", 1),
        ("P-002", "year2", 1),
        ("P-002", "year2", 2),
    ):
        folder = tmp_path / participant / visit / f"scan{number}"
        scan(folder, participant, sequence=f"PD_FS{number}", slices=2)
    return tmp_path


def knees(rows):
    found = list(rows)
    assert not [row for row in found if isinstance(row, BadRow)]
    return [(row["knee"], row["sequence"]) for row in found]


def test_subjects_and_visits_come_from_the_conventions_of_the_study(registry):
    assert knees(find_series([str(registry)], Registry())) == [
        ("P-001_00m_right", "pd-fs1"),
        ("P-001_24m_right", "pd-fs1"),
        ("P-002_24m_right", "pd-fs1"),
        ("P-002_24m_right", "pd-fs2"),
    ]


def test_its_inventory_names_what_is_wanted_and_where_it_is(registry):
    (registry / "scans.csv").write_text(
        "P-001/year2/scan1,PD_FS1_RIGHT\nP-002/year2/scan2,PD_FS2_RIGHT\nP-003/baseline/scan1,x\n"
    )
    inventory = str(registry / "scans.csv")
    assert knees(find_series([inventory], Registry(), wanted=["pd-fs2"])) == [
        ("P-002_24m_right", "pd-fs2")
    ]
    assert len(knees(find_series([inventory], Registry()))) == 2


def test_its_contradictions_fail_with_reason_and_remedy(scan, tmp_path):
    scan(tmp_path / "P-001/year2/scan1", "P-777", slices=2)
    (bad,) = find_series([str(tmp_path)], Registry())
    assert (bad.error, bad.remedy) == ("P-777 in the folder of P-001", "give `subject`")
    (row,) = find_series([str(tmp_path)], Registry(), Overrides(subject="s7"))
    assert row["knee"] == "s7_24m_right"


def test_a_remedy_names_the_commands_option(scan, shell, tmp_path):
    scan(tmp_path / "12m/0.E.1/9111111/20050131/10000001", slices=2)
    done = shell("oa-convert --list 12m", status=1)
    assert "that of 00m; move it, or say which with --visit" in done.stderr
    done = shell("oa-convert -o nii 12m", status=1)
    assert "that of 00m; move it, or say which with --visit" in done.stderr
