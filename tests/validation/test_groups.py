"""Groups as people ask for them."""

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.validation.groups import make_groups, parse_grouping


def groups(text, cells):
    found = make_groups(parse_grouping(text), cells, [f"k{i}" for i in range(len(cells))])
    return {group.name: np.flatnonzero(group.at).tolist() for group in found}


def test_values_are_groups_and_missing_ones_come_last():
    assert groups("sex", ["male", "female", "n/a", "male"]) == {
        "female": [1],
        "male": [0, 3],
        "n/a": [2],
    }


def test_few_numbers_are_groups_in_their_order():
    assert groups("kl", ["10", "2", "2.0", "n/a"]) == {"2": [1, 2], "10": [0], "n/a": [3]}


def test_numbers_are_cut_with_the_lower_end_in():
    assert groups("age=55,65", ["54.9", "55", "64", "65", "80", "n/a"]) == {
        "below 55": [0],
        "55 to below 65": [1, 2],
        "65 and above": [3, 4],
        "n/a": [5],
    }


def test_many_numbers_are_cut_in_thirds():
    found = groups("jsw", [str(n / 10) for n in range(90)])
    assert [len(at) for at in found.values()] == [30, 30, 30]
    assert sorted(sum(found.values(), [])) == list(range(90))


def test_a_group_without_knees_is_none():
    assert list(groups("age=10,20", ["15", "16"])) == ["10 to below 20"]


@pytest.mark.parametrize(
    "text", ["age=", "age=x", "age=65,55", "age=55,55", "age=nan", "=5", "", "age=1,,2"]
)
def test_what_is_no_grouping_is_said(text):
    with pytest.raises(UsageError, match="groups by"):
        parse_grouping(text)


def test_what_is_no_number_cannot_be_cut():
    with pytest.raises(UsageError, match="^k2: 'age' is 'old', which is no number"):
        groups("age=55", ["50", "n/a", "old"])
