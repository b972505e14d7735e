"""The form like MOST's: its tables by the columns that readers of MOST name, and its images."""

import csv
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from oatools.core.errors import UsageError
from oatools.phantom.download import WRITERS, prepare, write_release
from oatools.phantom.people import PhantomSettings, index_of, make_people, subject_id
from oatools.phantom.tables import make_records

MOST = PhantomSettings(patients=800, seed=6, progressors=0.14, form="most")
XRAY = """MOSTID
V0XRKL V0XRJSM V0XRJSL V0XLKL V0XLJSM V0XLJSL V1XRKL V1XRJSM V1XRJSL V1XLKL V1XLJSM V1XLJSL
V2XRKL V2XRJSM V2XRJSL V2XLKL V2XLJSM V2XLJSL V3XRKL V3XRJSM V3XRJSL V3XLKL V3XLJSM V3XLJSL
V5XRKL V5XRJSM V5XRJSL V5XLKL V5XLJSM V5XLJSL"""
ENROLLED = "MOSTID AGE SEX SITE V0PA V0BMI V0LAR V0LAL V0SURGR V0SURGL V0WOTOTR V0WOTOTL"
LATER = "MOSTID SEX SITE V3PA V3BMI V3LAR V3LAL V3SURGR V3SURGL V3WOTOTR V3WOTOTL"
OUTCOMES = "MOSTID V99ERKRINDEX V99ELKRINDEX V99EDINDEX"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The people, and their tables by name."""
    folder = tmp_path_factory.mktemp("most")
    people = make_people(MOST)
    WRITERS["most"](folder, make_records(MOST, people))
    tables = {}
    for path in folder.iterdir():
        with path.open(newline="") as lines:
            tables[path.name] = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return people, tables


def grade(cell):
    """A grade of 0 to 4; None for a code."""
    return float(cell) if cell.replace(".", "").isdigit() and float(cell) <= 4 else None


def test_the_tables_have_the_files_and_columns_that_readers_of_most_name(cohort):
    _, tables = cohort
    enrolled = [f"mostv{visit}enroll.txt" for visit in (0, 1, 2, 3, 5)]
    assert sorted(tables) == sorted(["mostv01235xray.txt", "mostoutcomes.txt", *enrolled])
    for name, columns in (
        ("mostv01235xray.txt", XRAY),
        ("mostv0enroll.txt", ENROLLED),
        ("mostv3enroll.txt", LATER),
        ("mostoutcomes.txt", OUTCOMES),
    ):
        assert list(tables[name][0]) == columns.split()
        subjects = [row["MOSTID"] for row in tables[name]]
        assert len(subjects) == len(set(subjects))  # one row a person
    assert len(tables["mostv01235xray.txt"]) == len(tables["mostoutcomes.txt"]) == 800
    sizes = [len(tables[name]) for name in enrolled]
    assert sizes == sorted(sizes, reverse=True) and 0.7 * 800 < sizes[-1] < 0.9 * 800


def test_progressors_and_nobody_else_lose_a_grade_by_30_months(cohort):
    people, tables = cohort
    rows = {row["MOSTID"]: row for row in tables["mostv01235xray.txt"]}
    found = {15: [], 30: [], 60: []}
    risen = []
    for knee in (knee for person in people for knee in person.knees):
        row, letter = rows[knee.subject], knee.side[0].upper()
        first = grade(row[f"V0X{letter}JSM"])
        assert first != 3 or not knee.progressor  # there is a grade left to lose
        for visit, month in ((1, 15), (2, 30), (3, 60)):
            later = grade(row[f"V{visit}X{letter}JSM"])
            if first is not None and later is not None and first < 3:
                found[month].append((later > first, knee.progressor, knee.jsn_severity))
        kl, later = (grade(row[f"V{visit}X{letter}KL"]) for visit in (0, 2))
        if kl is not None and later is not None and kl < 4:
            risen.append((later - kl >= 1, knee.progressor))
    early, half, late = (np.array(found[month]) for month in (15, 30, 60))
    np.testing.assert_array_equal(half[:, 0], half[:, 1])
    np.testing.assert_array_equal(*np.array(risen).T)
    assert not np.any(early[early[:, 0] == 1, 1] == 0)
    # all know as much of it as of the widths: the stated area, for so many knees
    assert roc_auc_score(half[:, 0], half[:, 2]) == pytest.approx(0.95, abs=0.02)
    # others follow, and those with larger findings more often
    others = late[late[:, 1] == 0]
    assert 0.01 < others[:, 0].mean() < 0.15
    assert roc_auc_score(others[:, 0], others[:, 2]) > 0.6


def test_codes_stand_where_there_is_no_grade(cohort):
    people, tables = cohort
    rows = {row["MOSTID"]: row for row in tables["mostv01235xray.txt"]}
    outcomes = {row["MOSTID"]: row for row in tables["mostoutcomes.txt"]}
    came = {visit: {} for visit in (0, 1, 2, 3, 5)}
    for visit in came:
        for row in tables[f"mostv{visit}enroll.txt"]:
            came[visit][row["MOSTID"]] = row[f"V{visit}PA"]
    codes = set()
    for knee in (knee for person in people for knee in person.knees):
        letter = knee.side[0].upper()
        replaced = int(outcomes[knee.subject][f"V99E{letter}KRINDEX"])
        for visit in came:
            cells = [
                rows[knee.subject][f"V{visit}X{letter}{name}"] for name in ("KL", "JSM", "JSL")
            ]
            codes |= set(cells)
            if came[visit].get(knee.subject) != "1":
                assert cells == ["9", "9", "9"]
            elif knee.replacement.before or 0 < replaced <= visit:
                assert cells[0] == cells[1] == cells[2] and cells[0] in ("8", "P")
            else:
                assert grade(cells[0]) is not None or cells[0] in ("S", "X", "Z")
        if knee.replacement.before:
            assert replaced == 0
    assert codes == set(["0", "1", "2", "3", "4", "8", "9", "P", "S", "X", "Z", "1.9"])
    indices = {row[f"V99E{letter}KRINDEX"] for row in outcomes.values() for letter in "RL"}
    assert indices == {"0", "1", "2", "3", "5"}
    dead = [row for row in outcomes.values() if row["V99EDINDEX"]]
    assert dead and all(row["MOSTID"] not in came[int(row["V99EDINDEX"])] for row in dead)


def test_they_are_the_people_of_the_other_forms(cohort, tmp_path):
    _, tables = cohort
    settings = replace(MOST, form="ascii")
    WRITERS["ascii"](tmp_path, make_records(settings, make_people(settings)))

    def ascii_table(name):
        with next(tmp_path.rglob(f"{name}.txt")).open(encoding="latin-1", newline="") as lines:
            return list(csv.DictReader(lines, delimiter="|", quoting=csv.QUOTE_NONE))

    enrolled = {index_of(row["MOSTID"]): row for row in tables["mostv0enroll.txt"]}
    x_rays = {index_of(row["MOSTID"]): row for row in tables["mostv01235xray.txt"]}
    clinical = ascii_table("AllClinical00")
    people = ascii_table("Enrollees")
    assert len(enrolled) == len(clinical) == len(people) == 800

    def code(cell):
        return "" if cell.startswith(".") else cell.split(":")[0]

    for other, person in zip(clinical, people, strict=True):
        row = enrolled[index_of(other["ID"])]
        assert (row["AGE"], row["SEX"]) == (other["V00AGE"], code(person["P02SEX"]))
        assert row["V0BMI"] == code(other["P01BMI"])
        for letter in "RL":
            assert row[f"V0WOTOT{letter}"] == other[f"V00WOMTS{letter}"]
            assert row[f"V0LA{letter}"] == code(other[f"P01INJ{letter}"])
            assert row[f"V0SURG{letter}"] == code(other[f"P01KSURG{letter}"])
    compared = 0
    for other in ascii_table("kxr_sq_bu00"):
        row, letter = x_rays[index_of(other["ID"])], "_RL"[int(code(other["SIDE"]))]
        grades = [grade(row[f"V0X{letter}{name}"]) for name in ("KL", "JSM", "JSL")]
        others = [code(other[f"V00{name}"]) for name in ("XRKL", "XRJSM", "XRJSL")]
        if None not in grades and "" not in others:
            assert list(map(int, grades)) == list(map(int, others))
            compared += 1
    assert compared > 1500


def test_ids_are_mb_and_five_digits_and_lead_back_to_the_number():
    for seed, index in itertools.product((0, 1, 4, 5), (0, 1, 19_999)):
        subject = subject_id(replace(MOST, seed=seed), index)
        assert len(subject) == 7 and subject.startswith("MB") and subject[2:].isdigit()
        assert index_of(subject) == index
    assert subject_id(replace(MOST, seed=0), 0) == "MB00001" != subject_id(MOST, 0)


def test_images_lie_in_folders_of_their_own_with_mosts_sequences(tmp_path):
    settings = PhantomSettings(
        patients=1, seed=5, matrix=48, form="most", sequences=("hr-cor-stir", "sag-pd-fat-sat")
    )
    rows = write_release(tmp_path / "demo", settings)
    places = [Path(row["path"]).relative_to(tmp_path / "demo") for row in rows]
    assert list(map(str, places)) == [
        "images/MB00001/left/HR_COR_STIR",
        "images/MB00001/left/SAG_PD_FAT_SAT",
        "images/MB00001/right/HR_COR_STIR",
        "images/MB00001/right/SAG_PD_FAT_SAT",
    ]
    assert not list((tmp_path / "demo").rglob("contents.csv"))
    for row, place in zip(rows, places, strict=True):
        first = pydicom.dcmread(Path(row["path"]) / "001")
        assert first.PatientID == row["subject"] == "MB00001"
        assert first.SeriesDescription == f"{place.name} {row['side'].upper()}"
        assert "OAI" not in first.StudyDescription and "SYNTHETIC" in first.InstitutionName
        assert ("InversionTime" in first) == (place.name == "HR_COR_STIR")
        normal = np.cross(first.ImageOrientationPatient[:3], first.ImageOrientationPatient[3:])
        assert (normal[1] > 0.95) == (place.name == "HR_COR_STIR")
    with pytest.raises(UsageError, match="no sequence cor-iw-tse in the form most"):
        prepare(tmp_path / "other", replace(settings, sequences=("cor-iw-tse",)))
