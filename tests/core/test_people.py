"""Knees and patients of tables, as several programs write them."""

import pytest

from oatools.core.errors import UsageError
from oatools.core.forms import watched
from oatools.core.people import People, alike_knee, normal_knee, subject_of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9000001_00m_left", "9000001_00m_left"),
        ("9000001_00m_left ", "9000001_00m_left"),
        ("\u00a09000001_00m_Left", "9000001_00m_left"),
        ("9000001_00m_left\u200b", "9000001_00m_left"),
        ("9000001.0_00m_left", "9000001_00m_left"),
        ("9000001 _00m_left", "9000001_00m_left"),
        ("MB00002_00M_RIGHT", "mb00002_00m_right"),
        ("site_A_00m_left", "site_a_00m_left"),
        ("scan 17", "scan 17"),
        ("17.0", "17"),
        ("\u3000", "n/a"),
        ("N/A", "n/a"),
    ],
)
def test_one_knee_is_written_in_one_form(written, meant):
    assert normal_knee(written) == meant
    assert normal_knee(meant) == meant


@pytest.mark.parametrize(
    ("row", "subject"),
    [
        ({"knee": "k1", "subject": " P1 "}, "p1"),
        ({"knee": "P1_00m_left", "subject": "n/a"}, "p1"),
        ({"knee": "P1.0_00m_left"}, "p1.0"),
        ({"knee": "71.0_00m_left", "subject": "\u00a0"}, "71"),
        ({"knee": "k1"}, "n/a"),
    ],
)
def test_the_patient_is_that_of_the_column_or_of_the_name(row, subject):
    assert subject_of(row) == subject


def test_a_row_comes_out_with_its_ids_in_normal_form_and_all_else_as_it_was():
    row = {"knee": "P1_00m_LEFT ", "subject": "P1\u00a0", "path": "P1 .h5", "site": " A"}
    assert People().take(row, "t") == {
        "knee": "p1_00m_left",
        "subject": "p1",
        "path": "P1 .h5",
        "site": " A",
    }
    assert People().take({"knee": "k"}, "t") == {"knee": "k"}


def knees(*cells):
    return [{"knee": knee, "subject": subject} for knee, subject in cells]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (knees(("a", "1"), ("b", "2"), ("a", "1")), "t.tsv: a is there twice; keep one row"),
        (
            knees(("9_00m_left", "9"), ("9_00m_left ", "9")),
            "t.tsv: '9_00m_left' and '9_00m_left ' are both 9_00m_left, which is there twice; "
            "keep one row",
        ),
        (
            knees(("a", "007"), ("b", "7")),
            "t.tsv: patients 007 and 7 differ in leading zeros alone, and may be one; write all "
            "ids with the same number of digits",
        ),
        (
            knees(("007_00m_left", "n/a"), ("7_00m_right", "n/a")),
            "t.tsv: patients 007 and 7 differ in leading zeros alone",
        ),
        (
            knees(("007_00m_left", "n/a"), ("7_00m_left", "n/a")),
            "t.tsv: knees 007_00m_left and 7_00m_left differ in leading zeros alone",
        ),
        (
            knees(("9000001_00m_left", "img0001")),
            "t.tsv: 9000001_00m_left is of patient 9000001 by its name, and of img0001 by the "
            "column 'subject'; write one patient in one way",
        ),
        (knees(("007_00m_left", "7")), "of patient 007 by its name, and of 7 by the column"),
        (
            knees(("a", "A-9000037"), ("b", "A9000037")),
            "t.tsv: patients a-9000037 and a9000037 differ in signs or blanks inside alone, and "
            "may be one; write one id in one way, or give two people other ids",
        ),
        (
            knees(("A 9000037_00m_left", "n/a"), ("A_9000037_00m_right", "n/a")),
            "patients a 9000037 and a_9000037 differ in signs or blanks inside alone",
        ),
        (knees(("knee 1", "n/a"), ("knee1", "n/a")), "knees knee 1 and knee1 differ in signs"),
        (knees(("a", "9000-37"), ("b", "9000 37")), "9000-37 and 9000 37 differ in signs"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_and_both_are_named(rows, message):
    with pytest.raises(UsageError) as refused:
        People().by_knee(rows, "t.tsv")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "rows",
    [
        knees(("a", "007"), ("b", "008"), ("c", "10")),
        knees(("0007_00m_left", "0007"), ("0007_00m_right", "0007 ")),
        knees(("a", "p7"), ("b", "p07")),  # not numbers: who writes them so means two
        knees(("a", "n/a"), ("b", "n/a")),
        knees(("a", "1-23"), ("b", "12-3"), ("c", "123")),  # a site, and a number in it
        knees(("a", "A-1-2"), ("b", "A-12")),
    ],
)
def test_zeros_that_meet_no_other_form_are_fine(rows):
    assert list(People().by_knee(rows, "t.tsv")) == [row["knee"] for row in rows]


def test_two_tables_must_agree_on_the_patient_of_a_knee():
    people = People()
    people.take({"knee": "k1", "subject": "A"}, "features.tsv")
    people.take({"knee": "K1", "subject": "a "}, "labels.tsv")
    with pytest.raises(UsageError, match=r"k1 is of patient a in features\.tsv, and of b in labe"):
        people.take({"knee": "k1", "subject": "b"}, "labels.tsv")
    people.take({"knee": "k2", "subject": "8"}, "features.tsv")
    with pytest.raises(UsageError, match=r"features\.tsv and labels\.tsv: patients 8 and 08 "):
        people.take({"knee": "k3", "subject": "08"}, "labels.tsv")


def test_knees_with_other_zeros_or_signs_have_one_key():
    assert alike_knee("007_00m_left") == alike_knee("7_00m_left") != alike_knee("7_00m_right")
    assert alike_knee("p07_00m_left") != alike_knee("p7_00m_left")
    assert alike_knee("p-7_00m_left") == alike_knee("p7_00m_left") != alike_knee("p7_12m_left")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (knees(("a_00m_left", "a"), ("b_00m_left", "b")), None),
        (
            knees(("A1_00m_left", "A1"), ("a1_00m_right", "a1")),
            "t.tsv: 1 id is written in two forms, such as 'A1' and 'a1', which count as one",
        ),
        (
            # Within one row: its name has the number of a spreadsheet.
            knees(("71.0_00m_left", "71"), ("72.0_00m_left", "72"), ("73_00m_left", "73")),
            "t.tsv: 2 ids are written in two forms, such as '71.0' and '71', which count as one",
        ),
        (
            knees(("71_00m_left", " 71"), ("71_12m_left", "71")),
            "t.tsv: 1 id is written in two forms, such as '71' and ' 71', which count as one",
        ),
        (knees(("k1", "7"), ("k2", "7.0")), "such as '7' and '7.0'"),
        (knees(("71_00m_left", "n/a"), ("71_00M_right", "n/a")), None),  # two knees, one form each
    ],
)
def test_where_two_forms_of_an_id_meet_it_is_said_once_a_table(rows, said):
    with watched() as forms:
        People().by_knee(rows, "t.tsv")
    assert len(forms.said()) == (said is not None)
    assert said is None or said in forms.said()[0]


def test_forms_that_meet_between_two_tables_are_said_of_both_and_of_a_knees_name():
    with watched() as forms:
        people = People()
        people.take({"knee": "71_00m_left"}, "features.tsv")
        people.take({"knee": "71_00M_LEFT "}, "labels.tsv")
        people.take({"knee": "scan 7"}, "features.tsv")
        people.take({"knee": "Scan 7"}, "labels.tsv")
    assert forms.said() == [
        "features.tsv and labels.tsv: 2 ids are written in two forms, such as '71_00m_left' and "
        "'71_00M_LEFT ', which count as one"
    ]
    people.take({"knee": "SCAN 7"}, "other.tsv")  # nobody watches any more
    assert len(forms.said()) == 1
