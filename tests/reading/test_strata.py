from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.reading.strata import PAPER_STRATA, parse_strata, scale_strata, strata_in_words


@pytest.mark.parametrize(
    "jsn,stratum",
    [
        ("-3", 0),
        ("-1.101", 0),
        ("-1.1", 1),
        ("-1.10", 1),
        ("-0.601", 1),
        ("-0.6", 2),
        ("-0.55", 2),
        ("-0.5", 2),
        ("-0.499", None),
        ("0", None),
    ],
)
def test_the_published_strata_share_no_edge_and_end_at_half_a_millimetre(jsn, stratum):
    holding = [n for n, s in enumerate(PAPER_STRATA) if s.holds(Decimal(jsn))]
    assert holding == ([] if stratum is None else [stratum])


def test_the_published_strata_are_those_given_as_text():
    assert parse_strata([":-1.1:10", "-0.6:-0.5:10", "-1.1:-0.6:130"]) == PAPER_STRATA


@pytest.mark.parametrize(
    "total,counts",
    [
        (150, [10, 130, 10]),
        (75, [5, 65, 5]),
        (15, [1, 13, 1]),
        (16, [1, 14, 1]),
        (1, [0, 1, 0]),
        (300, [20, 260, 20]),
    ],
)
def test_strata_are_scaled_to_a_number_of_pairs(total, counts):
    assert [s.count for s in scale_strata(PAPER_STRATA, total)] == counts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "-1:-0.5",
        "-0.5:-1:3",
        "-1:-1:3",
        "a:b:3",
        "-1:-0.5:x",
        "-1:-0.5:-3",
        "-1:-0.5:3:4",
        "nan:-0.5:3",
    ],
)
def test_a_stratum_of_another_form_is_refused(text):
    with pytest.raises(UsageError, match="is not LOW:HIGH:N"):
        parse_strata([text])


@pytest.mark.parametrize(
    "texts", [["-1:-0.5:3", "-0.7:-0.2:3"], [":-0.5:3", ":-1:3"], ["-1::3", "-0.5::3"]]
)
def test_strata_that_overlap_are_refused(texts):
    with pytest.raises(UsageError, match="overlap"):
        parse_strata(texts)


@pytest.mark.parametrize(
    "names,words",
    [
        (
            [":-1.1", "-1.1:-0.6", "-0.6:-0.5"],
            [
                "narrowing of more than 1.1 mm",
                "narrowing of more than 0.6 and up to 1.1 mm",
                "narrowing of at least 0.5 and up to 0.6 mm",
            ],
        ),
        (["-2:-1.5", "-1:"], ["narrowing of more than 1.5 and up to 2 mm", "a change from −1 mm"]),
        (["-0.5:0.5"], ["a change from −0.5 mm to 0.5 mm"]),
        ([":-0.5"], ["narrowing of at least 0.5 mm"]),
        (["early", "late"], ["early", "late"]),
    ],
)
def test_strata_are_said_as_they_were_drawn(names, words):
    assert strata_in_words(names) == dict(zip(names, words, strict=True))
