"""Plain tables as people have them: other separators, codes, words, units, and what is refused."""

import codecs

import pytest

from oatools.core.errors import UsageError
from oatools.oai.endpoints import endpoint_of
from oatools.oai.labels import label_knees, label_tables, open_tables


def put(root, text, encoding="utf-8"):
    path = root / "study.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def labels_of(path, endpoint="jsn12", horizon=None, visit="00m", outcome="outcome"):
    chosen = endpoint_of(endpoint, horizon, visit)
    return label_tables(open_tables(path, chosen, visit, outcome))


def found(labels):
    return {knee.name: knee.label for knee in labels.knees}


def first(labels, *columns):
    row = labels.rows()[0]
    return tuple(row[column] for column in columns)


def refusal(path, *arguments, **options):
    with pytest.raises(UsageError) as refused:
        labels_of(path, *arguments, **options)
    return f"{refused.value.reason}; {refused.value.remedy}"


# --- replaced --------------------------------------------------------------------------------------

REPLACED = """subject,side,visit,jsw,replaced
p1,right,00m,4.1,
p1,right,12m,3.6,{}
p2,left,00m,4,0
p2,left,12m,3.9,0
"""
YES = (
    *("1", "1.0", "1.00", "yes", "Yes", "YES", "y", "Y", "TRUE", "True", "true", "t", "T"),
    *("1: Yes", "1:Yes", "01", " 1 ", '"1"', "1 : Yes"),
)
NO = (
    *("0", "0.0", "no", "No", "NO", "n", "FALSE", "False", "false", "f", "0: No", "00", " 0"),
    *("", ".", "n/a", "NA", "NaN", "nan", "N/A"),
)


@pytest.mark.parametrize("cell", YES)
def test_a_replaced_knee_is_left_out_however_yes_is_written(tmp_path, cell):
    labels = labels_of(put(tmp_path, REPLACED.format(cell)))
    assert found(labels) == {"p2_00m_left": 0}
    assert labels.left_out == {"knee replaced by 12m": 1}


@pytest.mark.parametrize("cell", NO)
def test_a_knee_that_is_not_replaced_is_labelled_however_no_is_written(tmp_path, cell):
    labels = labels_of(put(tmp_path, REPLACED.format(cell)))
    assert found(labels) == {"p1_00m_right": 1, "p2_00m_left": 0}


@pytest.mark.parametrize("cell", ["2", "-1", "9", "1.5", "TKR", "oui", "x", "yes?", "12/2006", "?"])
def test_any_other_word_in_replaced_is_refused_with_its_line(tmp_path, cell):
    said = refusal(put(tmp_path, REPLACED.format(cell)))
    assert "line 3" in said and f"'{cell}'" in said and "replaced" in said


@pytest.mark.parametrize(
    "visits,expected",
    [
        ("1,1,1", {}),
        ("0,1,1", {}),
        ("0,0,1", {"p1_00m_right": 1}),  # replaced after the horizon
        ("1,0,0", {}),  # once is for ever
        ("0,0,0", {"p1_00m_right": 1}),
    ],
)
def test_a_knee_is_replaced_from_its_visit_on(tmp_path, visits, expected):
    marks = visits.split(",")
    text = "subject,side,visit,jsw,replaced\n" + "".join(
        f"p1,right,{visit},{width},{mark}\n"
        for visit, width, mark in zip(
            ("00m", "12m", "24m"), ("4.1", "3.6", "3"), marks, strict=True
        )
    )
    if expected:
        assert found(labels_of(put(tmp_path, text))) == expected
    else:
        assert labels_of(put(tmp_path, text)).left_out == {"knee replaced by 12m": 1}


# --- the forms of text -----------------------------------------------------------------------------

SAME = {
    "commas": "subject,side,visit,jsw,bmi\np1,right,00m,4.1,27.5\np1,right,12m,3.6,28\n",
    "tabs": "subject\tside\tvisit\tjsw\tbmi\np1\tright\t00m\t4.1\t27.5\np1\tright\t12m\t3.6\t28\n",
    "bars": "subject|side|visit|jsw|bmi\np1|right|00m|4.1|27.5\np1|right|12m|3.6|28\n",
    "semicolons": "subject;side;visit;jsw;bmi\np1;right;00m;4.1;27.5\np1;right;12m;3.6;28\n",
    "decimal commas": "subject;side;visit;jsw;bmi\np1;right;00m;4,1;27,5\np1;right;12m;3,6;28\n",
    "decimal commas behind tabs": "subject\tside\tvisit\tjsw\tbmi\np1\tright\t00m\t4,1\t27,5\np1\tright\t12m\t3,6\t28,0\n",
    "quoted decimal commas": 'subject,side,visit,jsw,bmi\np1,right,00m,"4,1","27,5"\np1,right,12m,"3,6",28\n',
    "all quoted": '"subject";"side";"visit";"jsw";"bmi"\n"p1";"right";"00m";"4,1";"27,5"\n"p1";"right";"12m";"3,6";"28"\n',
    "capitals": "Subject,SIDE,Visit,JSW,BMI\np1,right,00m,4.1,27.5\np1,right,12m,3.6,28\n",
    "another order": "bmi,jsw,visit,side,subject\n27.5,4.1,00m,right,p1\n28,3.6,12m,right,p1\n",
    "lines upside down": "subject,side,visit,jsw,bmi\np1,right,12m,3.6,28\np1,right,00m,4.1,27.5\n",
    "Windows": "subject,side,visit,jsw,bmi\r\np1,right,00m,4.1,27.5\r\np1,right,12m,3.6,28\r\n",
    "old Macintosh": "subject,side,visit,jsw,bmi\rp1,right,00m,4.1,27.5\rp1,right,12m,3.6,28\r",
    "no end of the last line": "subject,side,visit,jsw,bmi\np1,right,00m,4.1,27.5\np1,right,12m,3.6,28",
    "empty lines": "\nsubject,side,visit,jsw,bmi\n\np1,right,00m,4.1,27.5\n,,,,\np1,right,12m,3.6,28\n\n\n",
    "empty columns behind": "subject,side,visit,jsw,bmi,,\np1,right,00m,4.1,27.5,,\np1,right,12m,3.6,28,,\n",
    "blanks": " subject , side,visit ,jsw,bmi\n p1 ,right , 00m,4.1 , 27.5\np1, right,12m , 3.6,28\n",
    "capitals in cells": "subject,side,visit,jsw,bmi\nP1,RIGHT,00M,4.1,27.5\np1,Right,12M,3.6,28\n",
    "short visits": "subject,side,visit,jsw,bmi\np1,right,0m,4.1,27.5\np1,right,12m,3.6,28\n",
    "long visits": "subject,side,visit,jsw,bmi\np1,right,000m,4.1,27.5\np1,right,012m,3.6,28\n",
    "R": "subject,side,visit,jsw,bmi\np1,R,00m,4.1,27.5\np1,r,12m,3.6,28\n",
    "side 1": "subject,side,visit,jsw,bmi\np1,1,00m,4.1,27.5\np1,1,12m,3.6,28\n",
    "side 1.0": "subject,side,visit,jsw,bmi\np1,1.0,00m,4.1,27.5\np1,1.0,12m,3.6,28\n",
    "side 1: Right": "subject,side,visit,jsw,bmi\np1,1: Right,00m,4.1,27.5\np1,1:Right,12m,3.6,28\n",
    "single precision": "subject,side,visit,jsw,bmi\np1,right,00m,4.099999904632568,27.5\np1,right,12m,3.5999999046325684,28\n",
    "computed": "subject,side,visit,jsw,bmi\np1,right,00m,4.1000000000000005,27.5\np1,right,12m,3.5999999999999996,28\n",
    "powers of ten": "subject,side,visit,jsw,bmi\np1,right,00m,4.1e0,2.75e1\np1,right,12m,36E-1,28\n",
    "zeros behind": "subject,side,visit,jsw,bmi\np1,right,00m,4.100,27.50\np1,right,12m,3.60,28.0\n",
    "identical lines": "subject,side,visit,jsw,bmi\np1,right,00m,4.1,27.5\np1,right,12m,3.6,28\np1,right,12m,3.6,28\n",
}


@pytest.mark.parametrize("form", SAME)
def test_a_table_in_another_form_says_the_same(tmp_path, form):
    labels = labels_of(put(tmp_path, SAME[form]))
    columns = ("knee", "label", "jsw", "jsn", "bmi")
    assert first(labels, *columns) == ("p1_00m_right", "1", "4.1", "-0.5", "27.5")
    assert len(labels.knees) == 1


@pytest.mark.parametrize(
    "encoding,mark",
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("cp1252", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else value.hex() or "without",
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_in_another_encoding_says_the_same(tmp_path, encoding, mark, end):
    text = "subject;side;visit;jsw;Größe\nmü1;left;00m;4,1;ä\nmü1;left;12m;3,6;\n"
    path = put(tmp_path, mark + text.replace("\n", end).encode(encoding))
    assert first(labels_of(path), "knee", "label") == ("mü1_00m_left", "1")


def test_codes_of_sides_and_repeated_lines_are_said(tmp_path):
    assert "1 is taken for right" in " ".join(labels_of(put(tmp_path, SAME["side 1"])).notes)
    assert "1 is taken for right" in " ".join(labels_of(put(tmp_path, SAME["side 1.0"])).notes)
    assert "repeat" in " ".join(labels_of(put(tmp_path, SAME["identical lines"])).notes)
    assert not labels_of(put(tmp_path, SAME["R"])).notes


@pytest.mark.parametrize(
    "cell,side",
    [("2", "left"), ("2.0", "left"), ("2: Left", "left"), ("L", "left"), ("LEFT", "left")],
)
def test_a_left_side(tmp_path, cell, side):
    text = f"subject,side,visit,jsw\np1,{cell},00m,4.1\np1,{cell},12m,3.6\n"
    assert first(labels_of(put(tmp_path, text)), "knee", "side") == (f"p1_00m_{side}", side)


@pytest.mark.parametrize("cell", ["3", "0", "both", "1: Left", "2: Right", "", "n/a", "medial"])
def test_what_is_no_side_is_refused_with_its_line(tmp_path, cell):
    said = refusal(put(tmp_path, f"subject,side,visit,jsw\np1,right,00m,4.1\np1,{cell},12m,3.6\n"))
    assert "line 3" in said


# --- ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one,other,name",
    [
        ("9000099", "9000099.0", "9000099"),
        ("9000099", "9000099 ", "9000099"),
        ("9000099", '" 9000099"', "9000099"),
        ("ab-1", "AB-1", "ab-1"),
        ("A_b.2", "a_B.2", "a_b.2"),
        ("007", "007", "007"),
        ("9000099", "9000099\u00a0", "9000099"),
    ],
)
def test_one_person_written_in_two_ways(tmp_path, one, other, name):
    text = f"subject,side,visit,jsw\n{one},right,00m,4.1\n{other},right,12m,3.6\n"
    assert found(labels_of(put(tmp_path, text))) == {f"{name}_00m_right": 1}


@pytest.mark.parametrize("one,other", [("007", "7"), ("0123", "123"), ("0", "00")])
def test_ids_that_differ_by_zeros_in_front_are_refused(tmp_path, one, other):
    text = f"subject,side,visit,jsw\n{one},right,00m,4.1\n{other},right,12m,3.6\n"
    said = refusal(put(tmp_path, text))
    assert one in said and other in said


@pytest.mark.parametrize("cell", ["a/b", "a b", "../x", "-1", "x" * 101, "p1_00m_right", "", "n/a"])
def test_an_id_that_a_name_cannot_hold_is_refused_with_its_line(tmp_path, cell):
    text = f"subject,side,visit,jsw\np1,right,00m,4.1\n{cell},right,12m,3.6\n"
    assert "line 3" in refusal(put(tmp_path, text))


# --- lines that contradict each other --------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["p1,right,12m,3.7,28", "p1,right,12m,3.6,29", "P1,right,12m,3.7,28", "p1,R,12M,3.7,28"],
)
def test_lines_that_contradict_each_other_are_refused_with_the_line(tmp_path, line):
    said = refusal(put(tmp_path, SAME["commas"] + line + "\n"))
    assert "line 4" in said and "p1 right at 12m" in said


def test_readings_are_told_apart_by_readprj(tmp_path):
    text = (
        "subject,side,visit,readprj,jsw\n"
        "p1,left,00m,16,4.1\np1,left,12m,16,3.7\np1,left,00m,9,4\np1,left,12m,9,3\n"
        "p2,left,00m,9,4.2\np2,left,12m,9,3.7\np2,left,00m,16,4\n"
        "p3,left,00m,9,4.2\np3,left,12m,16,3.7\n"
    )
    labels = labels_of(put(tmp_path, text))
    assert [(k.name, k.label, k.readprj) for k in labels.knees] == [
        ("p1_00m_left", 0, "16"),
        ("p2_00m_left", 1, "9"),
    ]
    assert labels.left_out == {"JSW at 00m and 12m from different reading projects only": 1}


# --- impossible cells ------------------------------------------------------------------------------

CELLS = (
    "subject,side,visit,jsw,{0}\np1,right,00m,4.1,{1}\np1,right,12m,3.6,{2}\n"
    "p2,right,00m,4,{2}\np2,right,12m,4,{2}\n"
)


@pytest.mark.parametrize(
    "column,bad,good,expected",
    [
        ("height", "170", "1.7", "1.7"),
        ("height", "tall", "1.7", "1.7"),
        ("height", "0", "1.7", "1.7"),
        ("womac_pain", "21", "5", "5"),
        ("womac_pain", "-1", "5", "5"),
        ("womac_stiffness", "9", "8", "8"),
        ("womac_function", "69", "68", "68"),
        ("womac_total", "97", "96", "96"),
        ("koos_pain", "101", "100", "100"),
        ("kl", "5", "4", "4"),
        ("jsm", "4", "3", "3"),
        ("bmi", "fat", "30", "30"),
        ("age", "-3", "60", "60"),
        ("sex", "3", "female", "female"),
        ("sex", "unknown", "M", "male"),
        ("injury", "2", "1", "1"),
        ("surgery", "maybe", "0", "0"),
        ("race", "martian", "asian", "asian"),
        ("cohort", "5", "incidence", "incidence"),
        ("bmi", "1e999", "30", "30"),
        ("bmi", "inf", "30", "30"),
    ],
)
def test_one_impossible_cell_is_missing_and_counted(tmp_path, column, bad, good, expected):
    labels = labels_of(put(tmp_path, CELLS.format(column, bad, good)))
    values = {row["knee"]: row[column] for row in labels.rows()}
    assert values == {"p1_00m_right": "n/a", "p2_00m_right": expected}
    notes = " ".join(labels.notes)
    assert f"1 cell of {column} taken as missing" in notes and "line 2" in notes and bad in notes


@pytest.mark.parametrize(
    "column,cells",
    [
        ("height", ("170", "181")),  # cm
        ("height", ("1654", "1780")),  # mm
        ("womac_pain", ("45", "60")),  # 0 to 100
        ("kl", ("grade 2", "grade 3")),
        ("sex", ("1", "2")),  # whichever is which
        ("bmi", ("27.5 kg/m2", "30 kg/m2")),
    ],
)
def test_a_column_in_another_unit_or_coding_is_refused(tmp_path, column, cells):
    text = f"subject,side,visit,jsw,{column}\np1,right,00m,4.1,{cells[0]}\np1,right,12m,3.6,{cells[0]}\np2,right,00m,4,{cells[1]}\np2,right,12m,4,{cells[1]}\n"
    said = refusal(put(tmp_path, text))
    assert column in said and "line 2" in said and cells[0] in said


@pytest.mark.parametrize("bad", ["-1", "x", "4.1 mm", "1e999"])
def test_one_impossible_width_is_missing_and_counted(tmp_path, bad):
    text = f"subject,side,visit,jsw\np1,right,00m,{bad}\np1,right,12m,3.6\np2,left,00m,4.1\np2,left,12m,3.6\n"
    labels = labels_of(put(tmp_path, text))
    assert found(labels) == {"p2_00m_left": 1}
    assert labels.left_out == {"JSW is no possible number at 00m": 1}
    assert "1 cell of jsw taken as missing" in " ".join(labels.notes)


@pytest.mark.parametrize(
    "blank", ["", ".", "n/a", "N/A", "NA", "NaN", "nan", "NULL", "None", "#N/A"]
)
def test_a_missing_width_is_missing_and_not_counted_as_impossible(tmp_path, blank):
    text = f"subject,side,visit,jsw\np1,right,00m,{blank}\np1,right,12m,3.6\np2,left,00m,4.1\np2,left,12m,3.6\n"
    labels = labels_of(put(tmp_path, text))
    assert found(labels) == {"p2_00m_left": 1}
    assert labels.left_out == {"no JSW at 00m": 1} and not labels.notes


@pytest.mark.parametrize(
    "cells,expected",
    [
        (("F", "f", "female"), "female"),
        (("M", "m", "Male"), "male"),
        (("2: Female", "2:female", "F"), "female"),
        (("1: Male", "MALE", "male"), "male"),
    ],
)
def test_sex_is_a_word(tmp_path, cells, expected):
    for cell in cells:
        labels = labels_of(put(tmp_path, CELLS.format("sex", cell, "male")))
        assert first(labels, "sex") == (expected,)


@pytest.mark.parametrize("cell,expected", [("yes", "1"), ("TRUE", "1"), ("1: Yes", "1"), ("1.0", "1"), ("No", "0"), ("0.0", "0")])  # fmt: skip
@pytest.mark.parametrize("column", ["injury", "surgery"])
def test_history_is_yes_or_no(tmp_path, column, cell, expected):
    labels = labels_of(put(tmp_path, CELLS.format(column, cell, "0")))
    assert first(labels, column) == (expected,)


# --- endpoints by grade ----------------------------------------------------------------------------


def graded(column, before, after, more="", mark=""):
    return (
        f"subject,side,visit,{column}{more}\np1,right,00m,{before}{',' if more else ''}\n"
        f"p1,right,12m,{after}{',' if more else ''}{mark}\n"
        f"p2,left,00m,1{',' if more else ''}\np2,left,12m,1{',' if more else ''}\n"
    )


@pytest.mark.parametrize(
    "before,after,expected",
    [
        ("0", "0", 0),
        ("0", "1", 1),
        ("1", "3", 1),
        ("2", "2.8", 0),  # within a grade
        ("1.8", "2", 1),
        ("1.8", "1", 0),
        ("3", "2", 0),
        ("4", "4", 0),
        ("2: 2", "3: 3", 1),
        ("2.0", "2.0", 0),
    ],
)
def test_kl_is_a_whole_grade(tmp_path, before, after, expected):
    labels = labels_of(put(tmp_path, graded("kl", before, after)), "kl")
    assert found(labels) == {"p1_00m_right": expected, "p2_00m_left": 0}


@pytest.mark.parametrize(
    "before,after,expected",
    [
        ("0", "0", 0),
        ("0", "1", 1),
        ("1", "1.2", 1),  # part of a grade
        ("1", "1.5", 1),
        ("1.4", "1.4", 0),
        ("1.4", "1", 0),
        ("2", "1", 0),
        ("2.8", "3", 1),
        ("3", "3", 0),
    ],
)
def test_jsn_grade_is_a_grade_or_part_of_one(tmp_path, before, after, expected):
    labels = labels_of(put(tmp_path, graded("jsm", before, after)), "jsn-grade")
    assert found(labels) == {"p1_00m_right": expected, "p2_00m_left": 0}


@pytest.mark.parametrize(
    "column,mark,endpoint,expected",
    [
        ("replaced", "1", "kl", 1),
        ("replaced", "0", "kl", 0),
        ("osteotomy", "1", "kl", 1),
        ("osteotomy", "yes", "kl", 1),
        ("osteotomy", "no", "kl", 0),
        ("osteotomy", "", "kl", 0),
        ("replaced", "1", "jsn-grade", None),
    ],
)
def test_a_replacement_or_an_osteotomy_is_an_outcome_of_kl(
    tmp_path, column, mark, endpoint, expected
):
    grade = "kl" if endpoint == "kl" else "jsm"
    labels = labels_of(put(tmp_path, graded(grade, "2", "2", f",{column}", mark)), endpoint)
    assert found(labels).get("p1_00m_right") == expected


def test_a_knee_that_is_replaced_and_not_graded_any_more_is_positive(tmp_path):
    labels = labels_of(put(tmp_path, graded("kl", "3", "", ",replaced", "1")), "kl")
    assert found(labels)["p1_00m_right"] == 1
    assert first(labels, "knee", "kl_change") == ("p1_00m_right", "n/a")


@pytest.mark.parametrize("column", ["replaced", "osteotomy"])
def test_what_was_done_before_the_visit_is_no_outcome(tmp_path, column):
    text = f"subject,side,visit,kl,{column}\np1,right,00m,2,1\np1,right,12m,2,1\np2,left,00m,1,0\np2,left,12m,1,0\n"
    assert found(labels_of(put(tmp_path, text), "kl")).get("p1_00m_right") in (None, 0)


def test_an_osteotomy_is_no_word(tmp_path):
    assert "line 3" in refusal(put(tmp_path, graded("kl", "2", "2", ",osteotomy", "HTO")), "kl")


def test_grades_at_any_horizon(tmp_path):
    text = graded("kl", "2", "3").replace("12m", "15m")
    labels = labels_of(put(tmp_path, text), "kl", "15m")
    assert found(labels) == {"p1_00m_right": 1, "p2_00m_left": 0}
    assert labels.endpoint.name == "kl15"


@pytest.mark.parametrize("cell", ["5", "8", "9", "x", "-1"])
def test_what_is_no_grade_is_left_out(tmp_path, cell):
    labels = labels_of(put(tmp_path, graded("kl", "2", cell)), "kl")
    assert found(labels) == {"p2_00m_left": 0}
    assert labels.left_out == {"KL grade is no possible number at 12m": 1}


# --- an outcome of the study's own, and none --------------------------------------------------------

GIVEN = "subject,side,visit,{0},jsw\np1,right,00m,{1},3\np2,left,00m,0,\np3,left,00m,,\np1,right,12m,,\n"


@pytest.mark.parametrize("cell", ["1", "1.0", "yes", "TRUE", "1: Yes", "Y"])
def test_a_given_yes_is_positive(tmp_path, cell):
    labels = labels_of(put(tmp_path, GIVEN.format("outcome", cell)), "given")
    assert found(labels) == {"p1_00m_right": 1, "p2_00m_left": 0}
    assert labels.left_out == {"no outcome at 00m": 1}
    assert first(labels, "label", "jsw", "endpoint") in (("0", "n/a", "given"), ("1", "3", "given"))


@pytest.mark.parametrize("cell", ["0", "0.0", "no", "FALSE", "0: No"])
def test_a_given_no_is_negative(tmp_path, cell):
    labels = labels_of(put(tmp_path, GIVEN.format("outcome", cell)), "given")
    assert found(labels) == {"p1_00m_right": 0, "p2_00m_left": 0}


@pytest.mark.parametrize("cell", ["2", "-1", "0.5", "progressor", "95 %"])
def test_a_given_word_is_refused_with_its_line(tmp_path, cell):
    said = refusal(put(tmp_path, GIVEN.format("outcome", cell)), "given")
    assert "line 2" in said and cell in said


@pytest.mark.parametrize("name,asked", [("TKR5", "TKR5"), ("tkr5", "TKR5"), ("TKR5", "tkr5")])
def test_a_given_outcome_has_any_name(tmp_path, name, asked):
    path = put(tmp_path, GIVEN.format(name, "1"))
    assert found(labels_of(path, "given", outcome=asked)) == {"p1_00m_right": 1, "p2_00m_left": 0}
    assert "no column 'outcome'" in refusal(path, "given")


def test_a_given_outcome_of_a_replaced_knee_is_left_out(tmp_path):
    text = (
        "subject,side,visit,outcome,replaced\np1,right,00m,1,1\np2,left,00m,0,0\np3,left,00m,1,\n"
    )
    labels = labels_of(put(tmp_path, text), "given")
    assert found(labels) == {"p2_00m_left": 0, "p3_00m_left": 1}


def test_none_lists_the_knees_of_the_visit(tmp_path):
    text = (
        "subject,side,visit,jsw,bmi,replaced\np1,right,00m,4.1,27.5,0\np1,left,00m,,27.5,1\n"
        "p2,right,12m,3,20,0\np3,2,0m,,,\n"
    )
    labels = labels_of(put(tmp_path, text), "none")
    assert found(labels) == {"p1_00m_right": None, "p3_00m_left": None}
    assert "label" not in labels.columns() and "endpoint" not in labels.columns()
    assert first(labels, "knee", "jsw", "bmi") == ("p1_00m_right", "4.1", "27.5")
    assert labels.left_out == {"knee replaced by 00m": 1, "not seen at 00m": 1}


@pytest.mark.parametrize(
    "before,after,expected",
    [("4", "3", 1), ("4", "3.001", 0), ("4.4", "3.3", 1), ("0.4", "0.3", 1), ("0", "0", None)],
)
def test_a_relative_loss_is_a_quarter(tmp_path, before, after, expected):
    text = f"subject,side,visit,jsw\np1,right,00m,{before}\np1,right,12m,{after}\np2,left,00m,4\np2,left,12m,4\n"
    labels = labels_of(put(tmp_path, text), "jsn12-relative")
    assert found(labels).get("p1_00m_right") == expected


@pytest.mark.parametrize("pain,expected", [("0", 0), ("0.99", 0), ("1", None), ("1.9", None), ("2", 1), ("2,0", 1), ("20", 1), ("21", None), ("", None)])  # fmt: skip
def test_pain_has_a_gap_between_its_classes(tmp_path, pain, expected):
    text = f"subject;side;visit;womac_pain\np1;right;00m;{pain}\np2;left;00m;0\np3;left;00m;5\n"
    assert found(labels_of(put(tmp_path, text), "pain")).get("p1_00m_right") == expected


@pytest.mark.parametrize("column,cell,expected", [("kl", "1.8", "1"), ("jsm", "2.4", "2")])
def test_a_grade_of_the_visit_is_whole(tmp_path, column, cell, expected):
    labels = labels_of(put(tmp_path, CELLS.format(column, cell, "2")))
    assert first(labels, column) == (expected,)


@pytest.mark.parametrize("widths", [("4100", "3600", "3900"), ("410", "360", "390")])
def test_widths_in_another_unit_are_refused(tmp_path, widths):
    before, after, other = widths
    text = f"subject,side,visit,jsw\np1,right,00m,{before}\np1,right,12m,{after}\np2,left,00m,{other}\np2,left,12m,{other}\n"
    assert "jsw" in refusal(put(tmp_path, text))


@pytest.mark.parametrize(
    "column,cells",
    [("age", ("740", "661")), ("weight", ("75200", "90000")), ("bmi", ("2750", "3120"))],
)
def test_a_clinical_column_in_another_unit_is_refused(tmp_path, column, cells):
    one, other = cells
    text = f"subject,side,visit,jsw,{column}\np1,right,00m,4.1,{one}\np1,right,12m,3.6,{one}\np2,left,00m,4,{other}\np2,left,12m,4,{other}\n"
    assert column in refusal(put(tmp_path, text))


def test_a_project_is_a_number_however_it_is_written(tmp_path):
    text = "subject,side,visit,readprj,jsw\np1,right,00m,16,4.1\np1,right,12m,16.0,3.6\n"
    labels = labels_of(put(tmp_path, text))
    assert first(labels, "label", "readprj") == ("1", "16")


def test_what_excel_says_of_its_separator_is_no_header(tmp_path):
    labels = labels_of(put(tmp_path, "sep=;\r\n" + SAME["decimal commas"].replace("\n", "\r\n")))
    assert first(labels, "label", "jsw", "jsn", "bmi") == ("1", "4.1", "-0.5", "27.5")


@pytest.mark.parametrize(
    "before,after,expected",
    [
        ("1", "2", "1"),
        ("1", "1.4", "1"),
        ("1.4", "1.6", "0"),  # the size of a fraction means nothing
        ("1.6", "2", "1"),
        ("2", "1.8", "0"),
        ("1", "1", "0"),
        ("0.5", "1.5", "1"),
    ],
)
def test_narrowing_by_grade_is_a_whole_grade_or_a_first_change_within_one(
    tmp_path, before, after, expected
):
    text = f"subject,side,visit,jsm\np1,right,00m,{before}\np1,right,12m,{after}\n"
    labels = label_knees(put(tmp_path, text), "jsn-grade")
    assert [knee.label for knee in labels.knees] == [int(expected)]


def test_a_unit_behind_a_columns_name_is_no_part_of_it(tmp_path):
    text = "Subject,Side,Visit,JSW (mm),Height [m]\np1,R,00m,4.1,1.7\np1,R,12m,3.6,1.7\n"
    labels = label_knees(put(tmp_path, text))
    assert [(knee.label, str(knee.clinical["height"])) for knee in labels.knees] == [(1, "1.7")]


def test_widths_that_may_be_in_centimetres_are_told(tmp_path):
    text = (
        "subject,side,visit,jsw\np1,right,00m,.41\np1,right,12m,.36\n"
        "p2,left,00m,.39\np2,left,12m,.39\n"
    )
    assert "are they in mm?" in " ".join(label_knees(put(tmp_path, text)).notes)
    wide = text.replace(",.", ",3.")
    assert "are they in mm?" not in " ".join(label_knees(put(tmp_path, wide)).notes)


def test_a_table_of_nothing_but_a_header_is_told(tmp_path):
    with pytest.raises(UsageError, match="no line below its header"):
        label_knees(put(tmp_path, "subject,side,visit,jsw\n"))


@pytest.mark.parametrize("cell", ["1: No", "0: Yes", "2: Yes"])
def test_a_code_that_its_label_contradicts_is_neither_yes_nor_no(tmp_path, cell):
    text = f"subject,side,visit,jsw,replaced\np1,right,00m,4,\np1,right,12m,3,{cell}\n"
    with pytest.raises(UsageError, match="line 3: replaced .* is neither yes nor no"):
        label_knees(put(tmp_path, text))


def test_a_given_outcome_that_two_readings_contradict_is_refused_with_its_line(tmp_path):
    path = put(
        tmp_path,
        "subject,side,visit,readprj,outcome\np1,right,00m,15,1\np1,right,00m,37,0\n",
    )
    assert "line 3" in refusal(path, "given")


@pytest.mark.parametrize("first_cell,second_cell", [("1", ""), ("", "1")])
def test_a_given_outcome_may_stand_in_one_of_several_lines_of_a_knee(
    tmp_path, first_cell, second_cell
):
    path = put(
        tmp_path,
        "subject,side,visit,readprj,outcome\n"
        f"p1,right,00m,15,{first_cell}\np1,right,00m,37,{second_cell}\np2,left,00m,15,0\n",
    )
    assert found(labels_of(path, "given")) == {"p1_00m_right": 1, "p2_00m_left": 0}


@pytest.mark.parametrize("lines", ["15,,\np1,right,00m,37,5,61", "15,5,61\np1,right,00m,37,,"])
def test_what_is_known_of_a_knee_may_stand_in_one_of_its_lines(tmp_path, lines):
    path = put(tmp_path, f"subject,side,visit,readprj,womac_pain,age\np1,right,00m,{lines}\n")
    labels = labels_of(path, "pain")
    assert found(labels) == {"p1_00m_right": 1}
    assert labels.rows()[0]["age"] == "61"


def test_a_pain_score_that_two_lines_contradict_is_refused_with_its_line(tmp_path):
    path = put(
        tmp_path,
        "subject,side,visit,readprj,womac_pain\np1,right,00m,15,0\np1,right,00m,37,5\n",
    )
    assert "line 3" in refusal(path, "pain")


def test_a_given_outcome_is_named_with_its_unit_or_without(tmp_path):
    path = put(tmp_path, "Subject,Side,Visit,Worse (y/n)\np1,l,00m,1\np2,l,00m,0\n")
    for name in ("worse", "Worse (y/n)"):
        labels = labels_of(path, "given", outcome=name)
        assert found(labels) == {"p1_00m_left": 1, "p2_00m_left": 0}
        assert not any("not used" in note for note in labels.notes)


def test_a_number_of_more_digits_than_arithmetic_keeps_is_no_width(tmp_path):
    path = put(
        tmp_path,
        "subject,side,visit,jsw\np1,left,00m,4\np1,left,12m,3\n"
        "p2,left,00m,123456789012345678901234567890.1234567\np2,left,12m,3\n",
    )
    labels = labels_of(path)
    assert found(labels) == {"p1_00m_left": 1}
    assert any("1 cell of jsw taken as missing" in note for note in labels.notes)


def test_a_label_behind_the_number_of_a_project_is_no_part_of_it(tmp_path):
    path = put(
        tmp_path,
        "subject;side;visit;readprj;jsw\n"
        "p1;left;00m;16: Longitudinal;4\np1;left;12m;16;3\n"
        "p1;left;00m;15: Another;4\np1;left;12m;15: Another;4\n",
    )
    labels = labels_of(path)
    assert found(labels) == {"p1_00m_left": 1}
    assert first(labels, "readprj") == ("16",)
