"""Rules as people write them."""

import math

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.scored.rules import is_rule, parse_rule

COLUMNS = {
    "kl": np.array([1.0, 2.0, 3.0, 4.0, math.nan, 2.0]),
    "jsw": np.array([5.0, 4.5, 2.0, 1.0, 3.0, math.nan]),
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("kl=2:3", [1, 2, 5]),
        ("kl=2", [1, 5]),
        ("kl=3:", [2, 3]),
        ("kl=:2", [0, 1, 5]),
        ("kl=2:3,jsw=:4.5", [1, 2]),
        ("kl=2:3, jsw=3:", [1]),
        ("jsw=-1e3:2", [2, 3]),
    ],
)
def test_both_ends_are_in_and_a_missing_value_is_not(text, kept):
    assert np.flatnonzero(parse_rule(text).keeps(COLUMNS)).tolist() == kept


def test_knees_of_which_nothing_is_known_are_counted():
    assert parse_rule("kl=2:3").unknown(COLUMNS) == 1
    assert parse_rule("kl=2:3,jsw=1:").unknown(COLUMNS) == 2


@pytest.mark.parametrize(
    "text",
    [
        "kl",
        "kl=",
        "kl=:",
        "kl=3:2",
        "kl=two",
        "kl=1:2:3",
        "kl=2,",
        "kl=2,kl=3",
        "=2",
        "kl=nan",
        "kl=inf",
    ],
)
def test_what_is_no_rule_is_said_in_one_line(text):
    with pytest.raises(UsageError, match="the rule '") as error:
        parse_rule(text)
    assert "\n" not in str(error.value)


def test_a_rule_is_told_from_the_path_of_a_table():
    assert is_rule("kl=2:3")
    assert not is_rule("cv/predictions-clinical.tsv")
