"""MOST's tables: one row a person, both knees as columns, under the names that public readers use."""

import importlib.util
from pathlib import Path

import pytest

from oatools.core.errors import UsageError
from oatools.oai.endpoints import endpoint_of
from oatools.oai.labels import label_tables, open_tables

# Visits 0, 1, 2, 3 and 5 are 0, 15, 30, 60 and 84 months. Grades: 8 and 9 are codes, letters too,
# 1.9 is a change within grade 1.
XRAY = """
MOSTID V0XRKL V0XLKL V1XRKL V1XLKL V2XRKL V2XLKL V3XRKL V3XLKL V5XRKL V5XLKL V0XRJSM V0XLJSM V1XRJSM V1XLJSM V2XRJSM V2XLJSM
MB00001 2 0 3 0 3 1 4 1 4 2 1 0 1 0 1.5 0
MB00002 1 2 1.9 2 2 8 2 3 . 3 0 1 0.5 1 1 9
MI00003 3 4 9 4 P 4 . 4 . 4 2 3 2 3 . 3
MI00004 0 S X Z 0 0 0 1 1 1 0 0 0 0 0 0
MI00005 2 2 2 2 2 2 2 2 2 2 1 1 1 1 1 1
"""
ENROLL_0 = """
MOSTID AGE SEX SITE V0BMI V0WOTOTR V0WOTOTL V0LAR V0LAL V0SURGR V0SURGL
MB00001 61 2 1 31.2 24 10.5 1 0 0 0
MB00002 55 1 2 27 0 96 0 0 1 0
MI00003 79 2 1 . 97 . . 8 . 1
MI00004 50 1 2 24.5 3 4 0 1 0 0
MI00005 66 9 1 30 1 2 0 0 0 0
MI00006 70 2 1 29 5 6 0 0 0 0
"""
ENROLL_1 = """
MOSTID V1AGE V1BMI V1WOTOTR V1WOTOTL V1LAR V1LAL V1SURGR V1SURGL
MB00001 62 32 20 11 0 0 1 0
MB00002 56 28 1 95 0 1 0 0
MI00005 67 31 2 3 0 0 0 0
"""
# The visit at which a prosthesis was first seen, by knee.
OUTCOMES = """
MOSTID V99ERKRINDEX V99ELKRINDEX
MB00001 . .
MB00002 . 5
MI00003 2 .
MI00004 . .
MI00005 0 1
"""
TABLES = {
    "mostv01235xray": XRAY,
    "mostv0enroll": ENROLL_0,
    "mostv1enroll": ENROLL_1,
    "mostoutcomes": OUTCOMES,
}


def write(root, separator="\t", suffix=".txt", upper=str, tables=TABLES, deep=False):
    for name, text in tables.items():
        folder = root / "MOST" / "public" if deep else root
        folder.mkdir(parents=True, exist_ok=True)
        body = "\n".join(separator.join(line.split()) for line in text.strip().splitlines())
        (folder / f"{upper(name)}{suffix}").write_text(body + "\n")
    return root


def labels_of(root, endpoint="kl", horizon="30m", visit="00m"):
    return label_tables(open_tables(root, endpoint_of(endpoint, horizon, visit), visit))


def found(labels):
    """`1R` is the right knee of the first person."""
    return {f"{k.subject[-1]}{k.side[0].upper()}": k.label for k in labels.knees}


def values(labels, column):
    rows = labels.rows()
    return {f"{row['subject'][-1]}{row['side'][0].upper()}": row[column] for row in rows}


@pytest.mark.parametrize(
    "horizon,expected",
    [
        # 4R's X and 4L's S are no grades, nor is 3R's 9; 2R's 1.9 is grade 1; 5L is replaced at 1.
        # 5R's visit 0 is no visit: readers take those above 0.
        ("15m", {"1R": 1, "1L": 0, "2R": 0, "2L": 0, "3L": 0, "5L": 1, "5R": 0}),
        # 3R is replaced at 2, 2L's 8 is no grade, 2R goes from 1 to 2.
        ("30m", {"1R": 1, "1L": 1, "2R": 1, "3R": 1, "3L": 0, "4R": 0, "5L": 1, "5R": 0}),
        ("60m", {"1R": 1, "1L": 1, "2R": 1, "2L": 1, "3R": 1, "3L": 0, "4R": 0, "5L": 1, "5R": 0}),
        # 2L is replaced at 5; 2R is not read any more.
        ("84m", {"1R": 1, "1L": 1, "2L": 1, "3R": 1, "3L": 0, "4R": 1, "5L": 1, "5R": 0}),
    ],
)
def test_a_grade_lost_or_a_replacement_by_each_visit(tmp_path, horizon, expected):
    assert found(labels_of(write(tmp_path), horizon=horizon)) == expected


@pytest.mark.parametrize(
    "horizon,expected",
    [
        # 2R: part of a grade
        ("15m", {"1R": 0, "1L": 0, "2R": 1, "2L": 0, "3R": 0, "3L": 0, "4R": 0, "4L": 0, "5R": 0}),
        # 1R: part of a grade; 2L's 9 is a code; 3R is replaced
        ("30m", {"1R": 1, "1L": 0, "2R": 1, "3L": 0, "4R": 0, "4L": 0, "5R": 0}),
    ],
)
def test_narrowing_is_a_grade_or_part_of_one(tmp_path, horizon, expected):
    assert found(labels_of(write(tmp_path), "jsn-grade", horizon)) == expected


def test_from_a_later_visit(tmp_path):
    labels = labels_of(write(tmp_path), "kl", horizon="30m", visit="15m")
    # 1R 3 to 3, 1L 0 to 1, 2R 1.9 to 2, 3L 4 to 4; 5L is replaced at 15 months.
    assert found(labels) == {
        "1R": 0,
        "1L": 1,
        "2R": 1,
        "3L": 0,
        "5R": 0,
    }


@pytest.mark.parametrize(
    "form",
    [
        {"separator": ","},
        {"separator": ",", "suffix": ".csv"},
        {"suffix": ".TXT", "upper": str.upper},
        {"deep": True},
        {"separator": "|"},
    ],
    ids=str,
)
def test_the_tables_in_another_form(tmp_path, form):
    again = labels_of(write(tmp_path / "again", **form))
    assert again.rows() == labels_of(write(tmp_path / "plain")).rows()


def test_the_tables_as_sas(tmp_path):
    """In SAS a code of a letter is a special missing value, which has no number."""
    there = Path(__file__).with_name("test_forms.py")
    spec = importlib.util.spec_from_file_location("forms_of_the_study", there)
    forms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forms)
    forms.TEXT.add("MOSTID")
    (tmp_path / "sas").mkdir()
    for name, text in TABLES.items():
        header, *lines = [line.split() for line in text.strip().splitlines()]
        cells = [[None if cell in (".", "P", "S", "X", "Z") else cell for cell in line] for line in lines]  # fmt: skip
        (tmp_path / "sas" / f"{name}.sas7bdat").write_bytes(forms.sas_file(header, cells))
    for endpoint, horizon in (("kl", "30m"), ("jsn-grade", "30m"), ("none", None)):
        again = labels_of(tmp_path / "sas", endpoint, horizon)
        assert again.rows() == labels_of(write(tmp_path / "text"), endpoint, horizon).rows()


def test_the_case_of_columns_does_not_matter(tmp_path):
    lower = {name: text.replace("MOSTID", "mostid").replace("XRKL", "xrkl") for name, text in TABLES.items()}  # fmt: skip
    again = labels_of(write(tmp_path / "again", tables=lower))
    assert again.rows() == labels_of(write(tmp_path / "plain")).rows()


@pytest.mark.parametrize(
    "column,expected",
    [
        ("age", {"1L": "61", "2R": "55", "3R": "79", "6L": "70"}),
        ("sex", {"1R": "female", "2R": "male", "4L": "male", "5L": "n/a"}),
        ("bmi", {"1R": "31.2", "1L": "31.2", "2L": "27", "3L": "n/a"}),
        # a total of 97 is none
        ("womac_total", {"1R": "24", "1L": "10.5", "2L": "96", "3R": "n/a", "3L": "n/a"}),
        ("injury", {"1R": "1", "1L": "0", "3R": "n/a", "3L": "n/a", "4L": "1", "4R": "0"}),
        ("surgery", {"1R": "0", "2R": "1", "2L": "0", "3R": "n/a", "3L": "1"}),
        ("kl", {"1R": "2", "3L": "4", "4L": "n/a", "6R": "n/a"}),
        ("jsm", {"1R": "1", "3L": "3", "2R": "0"}),
        ("womac_pain", {"1R": "n/a"}),
        ("jsw", {"1R": "n/a"}),
    ],
)
def test_the_clinical_variables_at_baseline(tmp_path, column, expected):
    read = values(labels_of(write(tmp_path), "none", None), column)
    assert {knee: read[knee] for knee in expected} == expected


@pytest.mark.parametrize(
    "column,expected",
    [
        ("age", {"1R": "62", "2L": "56", "3L": "n/a"}),
        ("sex", {"1R": "female", "2L": "male"}),
        ("bmi", {"1R": "32", "2L": "28"}),
        ("womac_total", {"1L": "11", "2R": "1"}),
        ("injury", {"1R": "1", "1L": "0", "2L": "1", "2R": "0"}),  # ever
        ("surgery", {"1R": "1", "1L": "0", "2R": "1"}),  # ever
        ("kl", {"1R": "3", "2R": "1"}),
    ],
)
def test_the_clinical_variables_at_15_months(tmp_path, column, expected):
    read = values(labels_of(write(tmp_path), "none", None, "15m"), column)
    assert {knee: read[knee] for knee in expected} == expected


def test_people_without_an_x_ray_are_listed_and_not_labelled(tmp_path):
    root = write(tmp_path)
    assert {"6R", "6L"} <= set(found(labels_of(root, "none", None)))
    labels = labels_of(root)
    assert not {"6R", "6L"} & set(found(labels))
    assert labels.left_out["no KL grade at 00m"] == 2


def test_cells_of_codes_are_counted_by_their_reason(tmp_path):
    labels = labels_of(write(tmp_path), horizon="15m")
    reasons = labels.left_out
    assert reasons["KL grade is no possible number at 15m"] == 2  # 3R's 9, 4R's X
    assert reasons["KL grade is no possible number at 00m"] == 1  # 4L's S
    assert "codes and no grades" in " ".join(labels.notes)


def test_missing_outcomes_are_said(tmp_path):
    tables = {name: text for name, text in TABLES.items() if name != "mostoutcomes"}
    labels = labels_of(write(tmp_path, tables=tables), horizon="15m")
    assert "mostoutcomes" in " ".join(labels.notes)
    assert found(labels)["5L"] == 0


@pytest.mark.parametrize(
    "endpoint,horizon", [("jsn12", None), ("jsn24", None), ("jsn12-relative", "30m")]
)
def test_widths_in_mm_are_refused_in_a_line_that_says_what_to_take(tmp_path, endpoint, horizon):
    with pytest.raises(UsageError) as refused:
        labels_of(write(tmp_path), endpoint, horizon)
    assert "MOST has no widths in mm" in refused.value.reason
    assert "kl or jsn-grade" in refused.value.remedy


@pytest.mark.parametrize("horizon", [None, "12m", "24m", "48m", "96m"])
def test_there_is_no_12_month_visit(tmp_path, horizon):
    with pytest.raises(UsageError) as refused:
        labels_of(write(tmp_path), "kl", horizon)
    assert "15m, 30m, 60m, 84m" in f"{refused.value.reason} {refused.value.remedy}"


def test_the_names_of_knees_and_endpoints(tmp_path):
    labels = labels_of(write(tmp_path))
    row = labels.rows()[0]
    assert (row["knee"], row["subject"], row["endpoint"]) == ("mb00001_00m_left", "mb00001", "kl30")


@pytest.mark.parametrize(
    "name,text",
    [
        ("AllClinical00.txt", "ID|V00AGE\n9000001|61\n"),
        ("kxr_sq_bu00.txt", "ID|SIDE|READPRJ|V00XRKL\n9000001|1|15|2\n"),
        ("oai_enrollee01.txt", '"src_subject_id"\t"sex"\n"9000001"\t"F"\n'),
    ],
)
def test_two_studies_in_one_folder_are_refused(tmp_path, name, text):
    write(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError) as refused:
        labels_of(tmp_path)
    assert "MOST and of OAI" in refused.value.reason


def test_a_table_without_the_key_is_refused(tmp_path):
    tables = {**TABLES, "mostv01235xray": XRAY.replace("MOSTID", "ID")}
    with pytest.raises(UsageError) as refused:
        labels_of(write(tmp_path, tables=tables))
    assert "MOSTID" in refused.value.reason


def test_a_person_in_two_rows_that_differ_is_refused_and_in_two_equal_ones_is_one(tmp_path):
    header = "MOSTID V0XRKL V0XLKL V2XRKL V2XLKL"
    twice = {"mostv01235xray": f"{header}\nMB00001 1 2 2 2\nMB00001 1 2 2 2"}
    assert found(labels_of(write(tmp_path / "a", tables=twice))) == {"1R": 1, "1L": 0}
    differing = {"mostv01235xray": f"{header}\nMB00001 1 2 2 2\nMB00001 1 2 1 2"}
    with pytest.raises(UsageError) as caught:
        labels_of(write(tmp_path / "b", tables=differing))
    assert "mb00001" in caught.value.reason


def test_a_missing_grade_that_r_wrote_is_no_code(tmp_path):
    tables = {
        "mostv01235xray": "MOSTID V0XRKL V0XLKL V2XRKL V2XLKL\nMB00001 1 NA 2 2\nMB00002 0 3 8 NA",
        "mostoutcomes": "MOSTID V99ERKRINDEX V99ELKRINDEX\nMB00001 NA NA\nMB00002 NA 2",
    }
    labels = labels_of(write(tmp_path, ",", ".csv", tables=tables))
    # 2R's 8 is a code; 2L is replaced at 30 months.
    assert found(labels) == {"1R": 1, "2L": 1}
    assert dict(labels.left_out) == {
        "no KL grade at 00m": 1,
        "KL grade is no possible number at 30m": 1,
    }
    assert any(note.startswith("1 cells of mostv01235xray are codes") for note in labels.notes)


@pytest.mark.parametrize("endpoint,column", [("kl", "V2XLKL"), ("jsn-grade", "V0XLJSM")])
def test_a_missing_column_of_grades_is_named(tmp_path, endpoint, column):
    header = ["MOSTID"]
    for visit in (0, 2):
        header += [f"V{visit}XRKL", f"V{visit}XLKL", f"V{visit}XRJSM", f"V{visit}XLJSM"]
    header.remove(column)
    lines = [header, ["MB00001", *("1" for _ in header[1:])]]
    text = "\n".join(" ".join(line) for line in lines)
    root = write(tmp_path, tables={"mostv01235xray": text})
    with pytest.raises(UsageError) as caught:
        labels_of(root, endpoint)
    assert column in caught.value.reason
    assert labels_of(root, "none", horizon=None).assessed == 2
