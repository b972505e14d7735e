"""The forms of the tables: their columns as published lists have them, and the same people in each."""

import csv
import itertools
from dataclasses import replace

import pytest

from oatools.phantom.download import WRITERS
from oatools.phantom.people import PhantomSettings, make_people
from oatools.phantom.tables import make_records

FILES = {0: "00", 12: "01", 24: "03", 36: "05", 48: "06"}
ASCII_WIDTHS = """ID SIDE READPRJ VERSION V01INCPLM V01NOMJSWX V01NOMMJSW V01NOLMIN V01MJSWBB V01TPCFDS
V01IMPIXSZ V01BMANG V01MCMJSW V01XMJSW V01INCSTPS V01CFWDTH V01JSW150 V01JSW175 V01JSW200 V01JSW225
V01JSW250 V01JSW275 V01JSW300 V01NOLJSWX V01LTPMEBE V01INCPLL V01LJSW700 V01LJSW725 V01LJSW750
V01LJSW775 V01LJSW800 V01LJSW825 V01LJSW850 V01LJSW875 V01LJSW900 V01BARCDJD"""
ASCII_GRADES = "ID SIDE READPRJ VERSION V05BARCDBU V05XRKL V05XRJSM V05XRJSL"
COMMON = "subjectkey src_subject_id interview_date interview_age sex ageyears visit version"
NDA = {
    "oai_enrollee01": "e_cohort ethnicity race site interim_visit",
    "oai_koos_womac01": """koos_rksymptoms koos_lksymptoms koos_rkpain koos_lkpain
        womac_stiffness_right womac_stiffness_left womac_disability_right womac_disability_left
        womac_pain_left womac_pain_right womac_total_left womac_total_right""",
    "oai_oarisk01": "height_av weight_met bmi ksurgr ksurgl injr injl",
    "oai_kxrquantjsw01": """readprj side incplm nomjswx nommjsw nolmin mjswbb tpcfds impixsz bmang
        mcmjsw xmjsw incstps cfwdth jsw150 jsw175 jsw200 jsw225 jsw250 jsw275 jsw300 noljswx ltpmebe
        incpll ljsw700 ljsw725 ljsw750 ljsw775 ljsw800 ljsw825 ljsw850 ljsw875 ljsw900 barcode""",
    "oai_kxrsemiquant01": "readprj side xrkl xrjsl xrjsm barcode",
    "oai_outcome01": """rntcnt lkblrp lkdate lkdays lkrpcf lktlpr lkvsaf lkvspr lkvsrp
        rkblrp rkdate rkdays rkrpcf rktlpr rkvsaf rkvspr rkvsrp""",
}
SMALL = PhantomSettings(patients=300, seed=8)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The same 300 people in every form: the folder of each."""
    folder = tmp_path_factory.mktemp("forms")
    for form, write in WRITERS.items():
        settings = replace(SMALL, form=form)
        write(folder / form, make_records(settings, make_people(settings)))
    return folder


def read(path, delimiter, quoting=csv.QUOTE_MINIMAL):
    with path.open(encoding="latin-1", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=delimiter, quoting=quoting))


def structure(forms, name):
    """The rows of a structure below its line of descriptions."""
    return read(forms / "nda" / f"{name}.txt", "\t")[1:]


def code(cell):
    """The plain number, or nothing, that a cell of the ASCII form stands for."""
    return "" if cell.startswith(".") else cell.split(":")[0]


def test_the_columns_of_ascii_tables_are_named_as_in_the_release(forms):
    with (next(forms.rglob("kxr_qjsw_duryea01.txt"))).open() as lines:
        assert next(lines).rstrip("\r\n").split("|") == ASCII_WIDTHS.split()
    with (next(forms.rglob("kxr_sq_bu05.txt"))).open() as lines:
        assert next(lines).rstrip("\r\n").split("|") == ASCII_GRADES.split()


def test_a_package_of_the_archive_has_its_files_columns_and_a_line_of_descriptions(forms):
    plain = ["dataset_collection", "datastructure_manifest", "md5_values", "package_info"]
    assert sorted(path.stem for path in (forms / "nda").iterdir()) == sorted([*plain, *NDA])
    for name, own in NDA.items():
        lines = (forms / "nda" / f"{name}.txt").read_bytes().split(b"\n")
        assert all(line.startswith(b'"') and line.endswith(b'"') for line in lines[:-1])
        header, descriptions = (line.decode()[1:-1].split('"\t"') for line in lines[:2])
        given = ["collection_id", f"{name}_id", "dataset_id", *COMMON.split(), *own.split()]
        assert header == [*given, "collection_title"]
        assert len(descriptions) == len(header) and all(descriptions)
        assert sum(" " in words for words in descriptions) > len(header) - 8


def test_the_archives_structures_hold_the_same_people_as_the_ascii_tables(forms):
    def ascii_table(name):
        return read(next((forms / "ascii").rglob(f"{name}.txt")), "|", csv.QUOTE_NONE)

    people = {row["ID"]: row for row in ascii_table("Enrollees")}
    race = {"0": "Other Non-White", "1": "White", "2": "Black or African American", "3": "Asian"}
    for row in structure(forms, "oai_enrollee01"):
        other = people.pop(row["src_subject_id"])
        assert row["sex"] == {"1": "M", "2": "F"}[code(other["P02SEX"])]
        assert row["race"] == race[code(other["P02RACE"])]
        assert row["ethnicity"] == "Not Hispanic or Latino" and row["visit"] == "V00"
        assert row["e_cohort"] == code(other["V00COHORT"])
        assert (row["site"], row["interview_date"]) == (other["V00SITE"], other["V00EVDATE"])
    assert not people
    clinical = {row["ID"]: row for row in ascii_table("AllClinical00")}
    for row in structure(forms, "oai_oarisk01"):
        other = clinical[row["src_subject_id"]]
        assert row["ageyears"] == other["V00AGE"]
        assert int(row["interview_age"]) // 12 == int(other["V00AGE"])
        for name, column in (("height_av", "P01HEIGHT"), ("weight_met", "P01WEIGHT")):
            assert row[name] == code(other[column])
        assert row["bmi"] == code(other["P01BMI"])
        assert (row["ksurgr"], row["ksurgl"]) == (
            code(other["P01KSURGR"]),
            code(other["P01KSURGL"]),
        )
        assert row["injr"] == row["injl"] == ""
    scores = structure(forms, "oai_koos_womac01")
    strangers = [row for row in scores if row["src_subject_id"] not in clinical]
    assert len(scores) == 300 + len(strangers) and 3 <= len(strangers) <= 9
    assert not any(row["src_subject_id"].startswith("9") for row in strangers)
    names = {"pain": "WOMKP", "stiffness": "WOMSTF", "disability": "WOMADL", "total": "WOMTS"}
    for row in scores:
        if row in strangers:
            continue
        other = clinical[row["src_subject_id"]]
        for side in ("right", "left"):
            letter = side[0].upper()
            for name, column in names.items():
                assert row[f"womac_{name}_{side}"] == other[f"V00{column}{letter}"]
            assert row[f"koos_{side[0]}kpain"] == other[f"V00KOOSKP{letter}"]
            assert row[f"koos_{side[0]}ksymptoms"] == other[f"V00KOOSYM{letter}"]


def test_the_archives_readings_are_those_of_the_ascii_tables(forms):
    def keyed(rows, visit):
        return {
            (row["src_subject_id"], row["side"], row["readprj"]): row
            for row in rows
            if row["visit"] == f"V{visit}"
        }

    for name, file in (
        ("oai_kxrquantjsw01", "kxr_qjsw_duryea"),
        ("oai_kxrsemiquant01", "kxr_sq_bu"),
    ):
        rows = structure(forms, name)
        assert {row["visit"] for row in rows} == {"V00", "V01", "V03", "V05", "V06"}
        for visit in FILES.values():
            path = next((forms / "ascii").rglob(f"{file}{visit}.txt"))
            others = read(path, "|", csv.QUOTE_NONE)
            found = keyed(rows, visit)
            assert len(found) == len(others)
            for other in others:
                row = found[other["ID"], code(other["SIDE"]), other["READPRJ"]]
                for column, cell in other.items():
                    if column.startswith(f"V{visit}BARCD"):
                        assert cell == "0" + row["barcode"] and len(row["barcode"]) == 11
                    elif column.startswith("V0"):
                        assert row[column[3:].lower()] == code(cell)


def test_the_archives_outcomes_are_those_of_the_ascii_tables(forms):
    path = next((forms / "ascii").rglob("Outcomes99.txt"))
    others = {row["id"]: row for row in read(path, "|", csv.QUOTE_NONE)}
    rows = structure(forms, "oai_outcome01")
    assert len(rows) == len(others) == 300
    assert {row["visit"] for row in rows} == {"V99"}
    for row, side in itertools.product(rows, "rl"):
        other = others[row["src_subject_id"]]
        for name in ("blrp", "date", "days", "rpcf", "tlpr", "vsrp", "vspr", "vsaf"):
            assert row[f"{side}k{name}"] == code(other[f"V99E{side.upper()}K{name.upper()}"])
    assert sum(row["rkdays"] != "" for row in rows) > 10
