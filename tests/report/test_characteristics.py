"""The characteristics of a cohort: numbers worked out by hand, or by SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from oatools.report.characteristics import (
    SKEWED,
    category_difference,
    characteristics,
    mean_difference,
)

SUBJECTS = ["a", "a", "b", "b", "c", "c", "d", "e"]
LABEL = np.array([0, 1, 0, 0, 1, 1, 0, 0])
ROWS = [
    {"knee": "1", "age": "60", "sex": "male", "kl": "0", "womac_pain": "0", "mine": "0"},
    {"knee": "2", "age": "62", "sex": "male", "kl": "2", "womac_pain": "0", "mine": "1"},
    {"knee": "3", "age": "50", "sex": "female", "kl": "1.0", "womac_pain": "1", "mine": "1"},
    {"knee": "4", "age": "54", "sex": "female", "kl": "1", "womac_pain": "0", "mine": "0"},
    {"knee": "5", "age": "70", "sex": "female", "kl": "2", "womac_pain": "0", "mine": "n/a"},
    {"knee": "6", "age": "n/a", "sex": "female", "kl": "0", "womac_pain": "1", "mine": "1"},
    {"knee": "7", "age": "58", "sex": "male", "kl": "n/a", "womac_pain": "0", "mine": "0"},
    {"knee": "8", "age": "56", "sex": "n/a", "kl": "1", "womac_pain": "18", "mine": "0"},
]
ROWS = [{**row, "bmi": "n/a", "jsn": "-0.1", "jsw": f"4.{row['knee']}"} for row in ROWS]


@pytest.fixture
def lines():
    found = characteristics(SUBJECTS, LABEL, ROWS, ["age", "mine"])
    return {line.name: line for line in found}


def test_knees_and_patients_are_counted_and_a_patient_of_both_labels_in_both(lines):
    assert lines["knees"].cells == ("8", "5", "3")
    assert lines["patients"].cells == ("5", "4", "2")


def test_numbers_have_mean_and_sd_unless_they_are_skewed(lines):
    age = lines["age * (years), mean ± SD"]
    assert age.cells == ("58.6 ± 6.4", "55.6 ± 3.8", "66.0 ± 5.7") and age.missing == (0, 1)
    pain = [0, 0, 1, 0, 0, 1, 0, 18]
    assert stats.skew(pain) > SKEWED > abs(stats.skew([60, 62, 50, 54, 70, 58, 56]))
    assert lines["womac_pain (0 to 20), median [quartiles]"].cells == (
        "0 [0, 1]",
        "0 [0, 1]",
        "0 [0, 0.5]",
    )
    assert lines["jsw (mm), mean ± SD"].cells[0] == "4.45 ± 0.24"


def test_categories_have_counts_and_shares_of_what_is_known(lines):
    sex = lines["sex: male, n (%)"]
    assert sex.cells == ("3 (42.9)", "2 (50.0)", "1 (33.3)") and sex.missing == (1, 0)
    assert lines["mine *: 1, n (%)"].cells == ("3 (42.9)", "1 (20.0)", "2 (100.0)")
    grades = lines["kl, n (%)"]
    assert grades.cells == ("", "", "") and grades.missing == (1, 0)
    # 1.0 and 1 are one grade.
    assert lines["– 1"].cells == ("3 (42.9)", "3 (75.0)", "0 (0.0)")
    assert lines["– 2"].cells == ("2 (28.6)", "0 (0.0)", "2 (66.7)")
    assert lines["– 1"].difference is None and lines["– 1"].row()["SMD"] == ""


def test_outcomes_and_what_no_knee_has_are_left_out(lines):
    assert not [name for name in lines if "bmi" in name or "jsn" in name or "label" in name]


def test_the_order_is_that_of_papers_and_then_the_model_s_own(lines):
    starts = [name.split(",")[0].split(":")[0].split(" ")[0] for name in lines]
    named = [name for name in starts if name != "–"]
    assert named == ["knees", "patients", "age", "sex", "kl", "jsw", "womac_pain", "mine"]


def test_the_difference_of_means_is_in_units_of_the_mean_variance():
    negative, positive = np.array([60, 50, 54, 58, 56.0]), np.array([62, 70.0])
    # Variances 14.8 and 32, means 55.6 and 66.
    assert mean_difference(negative, positive) == pytest.approx(10.4 / math.sqrt((14.8 + 32) / 2))
    assert math.isnan(mean_difference(negative, positive[:1]))
    assert math.isnan(mean_difference(np.array([1.0, 1]), np.array([1.0, 1])))


def test_the_difference_of_two_categories_is_that_of_their_shares():
    negative, positive = np.array(list("aaab")), np.array(list("ab"))
    expected = 0.25 / math.sqrt((0.1875 + 0.25) / 2)
    assert category_difference(negative, positive) == pytest.approx(expected)
    assert category_difference(positive, negative) == pytest.approx(-expected)
    assert math.isnan(category_difference(negative, np.array([], dtype=str)))
    assert math.isnan(category_difference(np.array(["a"]), np.array(["a", "a"])))
    assert math.isnan(category_difference(np.array(["a", "a"]), np.array(["b", "b"])))


def test_the_difference_of_three_categories_is_the_distance_of_yang_and_dalton():
    negative = np.array(list("aaaaabbbcc"))
    positive = np.array(list("aabbbccccc"))
    # Shares of b and c: .3, .2 and .3, .5. Covariances: (.21, -.06; -.06, .16), (.21, -.15; -.15,
    # .25); their mean is (.21, -.105; -.105, .205), and the difference (0, .3).
    determinant = 0.21 * 0.205 - 0.105**2
    expected = math.sqrt(0.3 * 0.3 * 0.21 / determinant)
    assert category_difference(negative, positive) == pytest.approx(expected)
    assert category_difference(positive, negative) == pytest.approx(expected)


def test_a_line_is_cells_of_a_table(lines):
    assert lines["age * (years), mean ± SD"].row() == {
        "": "age * (years), mean ± SD",
        "all": "58.6 ± 6.4",
        "label 0": "55.6 ± 3.8",
        "label 1": "66.0 ± 5.7",
        "SMD": f"{10.4 / math.sqrt(23.4):.2f}",
        "missing, 0 / 1": "0 / 1",
    }
    assert lines["knees"].row()["SMD"] == lines["knees"].row()["missing, 0 / 1"] == ""


def test_a_mean_of_nothing_is_no_negative_zero():
    rows = [{"score": value} for value in ("-1.7", "1.6", "0.9", "-0.9")]
    found = characteristics(list("abcd"), np.array([0, 1, 0, 1]), rows, ["score"])
    assert found[-1].cells[0] == "0.0 ± 1.5"


def test_what_is_no_number_is_missing_where_numbers_are_measured():
    rows = [{"age": age} for age in ("60", "62", "unknown", "n/a", "58")]
    found = characteristics(list("abcde"), np.array([0, 0, 0, 1, 1]), rows, [])
    assert found[-1].name == "age (years), mean ± SD" and found[-1].missing == (1, 1)
    assert found[-1].cells[0] == "60.0 ± 2.0"


def test_many_categories_are_counted_and_not_listed():
    rows = [{"site": f"centre {i}"} for i in range(30)]
    found = characteristics([str(i) for i in range(30)], np.arange(30) % 3 % 2, rows, [])
    assert [line.name for line in found] == ["knees", "patients", "site"]
    assert found[-1].cells == ("30 categories", "20 categories", "10 categories")


@pytest.mark.parametrize(
    "values, shown",
    [
        ("60.5 70.5 85.5 95.5", "78.0 ± 15.5"),
        ("600.2 700.2 850.2 950.2", "775 ± 155"),
        ("0.06 0.07 0.084 0.094", "0.077 ± 0.015"),
        ("1.5 1.6 1.8 1.9", "1.70 ± 0.18"),
    ],
)
def test_as_many_decimals_are_shown_as_the_spread_gives_a_meaning(values, shown):
    rows = [{"score": value} for value in values.split()]
    found = characteristics(list("abcd"), np.array([0, 1, 0, 1]), rows, ["score"])
    assert found[-1].cells[0] == shown
