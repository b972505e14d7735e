from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.oai import clinical, grades, replacement
from oatools.oai.codes import KneeId
from oatools.oai.tables import find_tables

RIGHT, LEFT = KneeId("9000001", "right"), KneeId("9000001", "left")
PERSON = {
    "V00AGE": "61",
    "P02SEX": "2",
    "P01BMI": "27.50",
    "P01HEIGHT": "1654.0",
    "P01WEIGHT": "75.2",
    "V00WOMKPR": "3",
    "V00WOMKPL": "0",
    "V00WOMSTFR": "2",
    "V00WOMADLR": "10.5",
    "V00WOMTSR": "15.5",
    "V00KOOSKPR": "80.6",
    "P01INJR": "1",
    "P01INJL": "0",
    "P01KSURGR": "0",
    "P02RACE": "3",
    "V00SITE": "D",
    "V00COHORT": "3",
    "V01AGE": "62",
    "V01BMI": "28",
    "V01WOMKPR": "4",
}


def values(knee=RIGHT, visit="00m", grade="2", **cells):
    """The cells of a knee's clinical variables."""
    graded = {"kl": Decimal(grade), "jsm": None}
    return clinical.clinical_cells(clinical.clinical_values(PERSON | cells, knee, visit, graded))


def test_every_column_of_a_right_knee_has_its_unit():
    assert values() == {
        "age": "61",
        "sex": "female",
        "bmi": "27.5",
        "height": "1.654",
        "weight": "75.2",
        "kl": "2",
        "jsm": "n/a",
        "womac_pain": "3",
        "womac_stiffness": "2",
        "womac_function": "10.5",
        "womac_total": "15.5",
        "koos_pain": "80.6",
        "injury": "1",
        "surgery": "0",
        "race": "asian",
        "site": "D",
        "cohort": "control",
    }
    assert list(values()) == clinical.CLINICAL_COLUMNS


def test_a_left_knee_has_its_own_scores_and_history():
    left = values(LEFT)
    assert (left["womac_pain"], left["injury"], left["surgery"], left["womac_stiffness"]) == (
        "0",
        "0",
        "n/a",
        "n/a",
    )


@pytest.mark.parametrize(
    "column,cell,name,value",
    [
        ("P02SEX", "1", "sex", "male"),
        ("P02SEX", "1.0", "sex", "male"),
        ("P02SEX", "3", "sex", "n/a"),
        ("P01HEIGHT", ".S", "height", "n/a"),
        ("P01BMI", "thin", "bmi", "n/a"),
        ("V00WOMKPR", "21", "womac_pain", "n/a"),
        ("V00WOMKPR", "-1", "womac_pain", "n/a"),
        ("V00WOMKPR", "20", "womac_pain", "20"),
        ("V00SITE", "F", "site", "n/a"),
        ("P02RACE", "0", "race", "other"),
        ("P01INJR", ".D", "injury", "n/a"),
    ],
)
def test_a_cell_outside_the_coding_is_missing(column, cell, name, value):
    assert values(**{column: cell})[name] == value


def test_a_later_visit_keeps_only_what_lasts():
    later = values(visit="12m")
    assert (later["age"], later["bmi"], later["womac_pain"]) == ("62", "28", "4")
    assert (later["sex"], later["height"], later["race"]) == ("female", "1.654", "asian")
    assert (later["weight"], later["koos_pain"]) == ("n/a", "n/a")  # measured at entry only
    assert values(visit="12m", V01HEIGHT="1640")["height"] == "1.64"


@pytest.mark.parametrize(
    "visit,cells,expected",
    [
        ("24m", {}, "0"),
        ("24m", {"V01INJL12": "1"}, "1"),
        ("24m", {"V03INJL12": "1"}, "1"),
        ("24m", {"V05INJL12": "1"}, "0"),
        ("24m", {"P01INJL": ".", "V03INJL12": "1"}, "1"),
        ("24m", {"P01INJL": "."}, "n/a"),
        ("00m", {"V01INJL12": "1"}, "0"),
    ],
)
def test_a_history_grows_up_to_the_visit_and_no_further(visit, cells, expected):
    assert values(LEFT, visit, **cells)["injury"] == expected


@pytest.mark.parametrize(
    "visit,readings,grade",
    [
        ("00m", [("15", "2")], "2"),
        ("00m", [("37", "3"), ("15", "2")], "2"),
        ("00m", [("37", "3"), ("15", ".T")], "3"),
        ("00m", [("15", "2.6")], "2"),
        ("00m", [("15", "4.8")], "4"),
        ("00m", [("42", "1"), ("50", "2")], "1"),
        ("00m", [("15", "8")], None),
        ("00m", [("15", "-1")], None),
        ("00m", [("15", ".")], None),
        ("96m", [("15", "2"), ("37", "3")], "3"),
        ("96m", [("15", "2"), ("42", "4")], "4"),
        ("48m", [("37", "3"), ("15", "2")], "2"),
        ("00m", [("15", ".P")], None),
        ("00m", [("15.0", "1.0")], "1"),
        ("00m", [("15", "2"), ("15", "3")], "2"),
    ],
)
def test_the_grade_is_taken_from_the_reading_that_comes_first(visit, readings, grade):
    column = {"00m": "V00XRKL", "48m": "V06XRKL", "96m": "V10XRKL"}[visit]
    rows = [
        {"ID": "9000001", "SIDE": "1", "READPRJ": project, column: cell}
        for project, cell in readings
    ]
    read = grades.readings(rows, visit, grades.KL)
    found = grades.at_visit(read[RIGHT], visit)
    assert found == (None if grade is None else Decimal(grade))
    assert LEFT not in read


@pytest.mark.parametrize(
    "cells,horizon,replaced",
    [
        ({"P01KRSR": "1"}, "00m", True),
        ({"P01KRSR": "0"}, "24m", False),
        ({"V01KRSR12": "1"}, "12m", True),
        ({"V01KRSR12": "1"}, "00m", False),
        ({"V03KRSR12": "1"}, "12m", False),
        ({"V03KRSR12": "1"}, "24m", True),
        ({"V02KRSR12": "1"}, "24m", True),
        ({"P01KRSL": "1"}, "24m", False),
        ({"P01KRSR": "."}, "24m", False),
    ],
)
def test_a_report_of_a_replacement_by_the_horizon_is_known(cells, horizon, replaced):
    found = replacement.replacements(
        {"9000001": cells}, replacement.Adjudicated(), ((), ()), "00m", horizon
    )
    assert (RIGHT in found.reported) == replaced
    assert not found.by_horizon
    assert (RIGHT in found.reported_at_visit) == (cells.get("P01KRSR") == "1")


def test_a_prosthesis_on_the_x_ray_is_a_replaced_knee_and_no_grade():
    rows = [{"ID": "9000001", "SIDE": "2", "READPRJ": "15", "V00XRKL": ".P"}]
    read = grades.readings(rows, "00m", grades.KL)
    assert grades.at_visit(read[LEFT], "00m") is None
    found = replacement.replacements({}, replacement.Adjudicated(), ([LEFT], ()), "00m", "12m")
    assert found.at_visit == found.by_horizon == {LEFT}


def put(folder, name, text):
    (folder / name).write_bytes(text.replace("\n", "\r\n").encode("latin-1"))


def test_people_are_joined_over_tables_and_the_visits_own_cell_comes_first(tmp_path):
    put(tmp_path, "ENROLLEES.txt", "id|p02sex|V00SITE\n9000001|2: Female|C\n9000002|1: Male|A\n")
    put(tmp_path, "allclinical00.txt", "ID|V00age|P01BMI|V00SITE\n9000001|61|.|B\n")
    put(tmp_path, "SubjectChar00.txt", "ID|P01BMI\n9000001|27\n")
    put(tmp_path, "AllClinical01.txt", "ID|V01KRSL12\n9000001|1: Yes\n")
    people = clinical.read_people(find_tables(tmp_path), "00m", "12m")
    assert people["9000001"]["P01BMI"] == "27"
    assert people["9000001"]["V00SITE"] == "B"
    assert people["9000001"]["V01KRSL12"] == "1"
    assert people["9000002"]["P02SEX"] == "1"
    assert "V01KRSL12" not in clinical.read_people(find_tables(tmp_path), "00m", "00m")["9000001"]


def test_people_need_no_table_but_those_that_are_there(tmp_path):
    put(tmp_path, "AllClinical00.txt", "ID|V00AGE\n9000001|61\n")
    people = clinical.read_people(find_tables(tmp_path), "00m", "12m")
    assert people == {"9000001": {"ID": "9000001", "V00AGE": "61"}}


def test_a_required_column_is_needed(tmp_path):
    with pytest.raises(UsageError, match=r"no table AllClinical00\.txt"):
        clinical.read_people(find_tables(tmp_path), "00m", "00m", ["V00WOMKPR"])
    put(tmp_path, "AllClinical00.txt", "ID|V00AGE\n9000001|61\n")
    with pytest.raises(UsageError, match="no column V00WOMKPR"):
        clinical.read_people(find_tables(tmp_path), "00m", "00m", ["V00WOMKPR"])


def test_the_list_of_variables_says_where_both_sides_come_from():
    rows = {row["variable"]: row for row in clinical.variable_rows()}
    assert rows["womac_pain"]["source"] == "VxxWOMKPR / VxxWOMKPL"
    assert rows["height"]["source"] == "VxxHEIGHT, P01HEIGHT"
    assert all(all(row.values()) for row in rows.values())


@pytest.mark.parametrize(
    "cells,horizon,replaced",
    [
        ({"V99ERKDAYS": "300"}, "12m", True),
        ({"V99ERKDAYS": "365"}, "12m", True),
        ({"V99ERKDAYS": "366"}, "12m", False),
        ({"V99ERKDAYS": "366"}, "24m", True),
        ({"V99ERKVSRP": "3"}, "12m", False),
        ({"V99ERKVSRP": "3"}, "24m", True),
        ({"V99ERKDAYS": "900", "V99ERKVSRP": "1"}, "12m", True),
        ({"V99ERKDAYS": "300", "V99ERKVSRP": "5"}, "12m", True),
        ({"V99ERKDAYS": ".", "V99ERKVSRP": ".A"}, "96m", False),
        ({"V99ELKDAYS": "30"}, "12m", False),
        ({}, "12m", False),
    ],
)
def test_an_outcome_replaces_a_knee_by_day_or_by_visit_whichever_is_earlier(
    cells, horizon, replaced
):
    found = replacement.adjudicated([{"ID": "9000001", **cells}], "00m", horizon)
    assert (RIGHT in found.later) == replaced
    assert (LEFT in found.later) == ("V99ELKDAYS" in cells)
    assert not found.at_visit
