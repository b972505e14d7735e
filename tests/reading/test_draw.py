import random
from collections import Counter
from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.reading import draw
from oatools.reading.draw import PAPER_STRATA, Stratum


def knee(subject, side, label, jsn="n/a", **cells):
    identity = {"knee": f"{subject}_00m_{side}", "subject": str(subject), "visit": "00m", "side": side}
    return identity | {"label": str(label), "jsn": jsn, **cells}


def cohort(patients=60):
    """Each patient has one progressor (left) and one knee that keeps its joint space (right)."""
    changes = ["-1.4", "-1.1", "-0.9", "-0.6", "-0.55", "-0.5"]
    for n in range(patients):
        yield knee(9000000 + n, "left", 1, changes[n % 6], age="60")
        yield knee(9000000 + n, "right", 0, "-0.1", age="60")


STRATA = draw.parse_strata([":-1.1:5", "-1.1:-0.6:12", "-0.6:-0.5:8"])


@pytest.mark.parametrize("seed", range(40))
def test_a_draw_keeps_its_promises(seed):
    pairs = draw.draw_pairs(cohort(), STRATA, 25, seed)
    used = [row["knee"] for pair in pairs for row in (pair.progressor, pair.partner)]
    assert len(pairs) == 25
    assert len(set(used)) == 50
    assert all(pair.progressor["subject"] != pair.partner["subject"] for pair in pairs)
    assert all((pair.progressor["label"], pair.partner["label"]) == ("1", "0") for pair in pairs)
    assert Counter(pair.stratum for pair in pairs) == {":-1.1": 5, "-1.1:-0.6": 12, "-0.6:-0.5": 8}
    bounds = {":-1.1": (-9, -1.1), "-1.1:-0.6": (-1.1, -0.6), "-0.6:-0.5": (-0.6, -0.4999)}
    assert all(bounds[p.stratum][0] <= float(p.progressor["jsn"]) < bounds[p.stratum][1] for p in pairs)
    assert [pair.number for pair in pairs] == [f"{n:03d}" for n in range(1, 26)]


def test_every_patient_of_a_tight_cohort_finds_another():
    # As many partners as progressors, each the other knee of one of them: only a full matching will do.
    labels = [row for n in range(6) for row in (knee(n, "left", 1), knee(n, "right", 0))]
    for seed in range(200):
        pairs = draw.draw_pairs(labels, (), 6, seed)
        assert all(pair.progressor["subject"] != pair.partner["subject"] for pair in pairs)


def test_place_order_and_strata_are_left_to_chance():
    pairs = [draw.draw_pairs(cohort(), STRATA, 25, seed) for seed in range(200)]
    first = sum(pair.place == "A" for drawn in pairs for pair in drawn)
    assert abs(first - 2500) < 4 * (5000 * 0.25) ** 0.5  # four standard deviations of a fair coin
    assert 60 < sum(drawn[0].stratum == "-1.1:-0.6" for drawn in pairs) < 132  # 96 expected: 12 of 25
    assert len({drawn[0].progressor["knee"] for drawn in pairs}) > 30
    assert {drawn[0].place for drawn in pairs} == {"A", "B"}


def test_the_seed_decides_and_the_order_of_rows_does_not():
    rows = list(cohort())
    shuffled = random.Random(7).sample(rows, len(rows))
    assert draw.draw_pairs(rows, STRATA, 25, 3) == draw.draw_pairs(shuffled, STRATA, 25, 3)
    assert draw.draw_pairs(rows, STRATA, 25, 3) != draw.draw_pairs(rows, STRATA, 25, 4)


def test_without_strata_all_progressors_may_come():
    rows = [{k: v for k, v in row.items() if k != "jsn"} for row in cohort(10)]
    pairs = draw.draw_pairs(rows, (), 10, 0)
    assert {pair.stratum for pair in pairs} == {"n/a"}
    assert len({pair.progressor["knee"] for pair in pairs}) == 10


@pytest.mark.parametrize("jsn,stratum", [
    ("-3", 0), ("-1.101", 0), ("-1.1", 1), ("-1.10", 1), ("-0.601", 1), ("-0.6", 2), ("-0.55", 2), ("-0.5", 2),
    ("-0.499", None), ("0", None),
])  # fmt: skip
def test_the_published_strata_share_no_edge_and_end_at_half_a_millimetre(jsn, stratum):
    holding = [n for n, s in enumerate(PAPER_STRATA) if s.holds(Decimal(jsn))]
    assert holding == ([] if stratum is None else [stratum])


def test_the_published_strata_are_those_given_as_text():
    assert draw.parse_strata([":-1.1:10", "-0.6:-0.5:10", "-1.1:-0.6:130"]) == PAPER_STRATA


@pytest.mark.parametrize("total,counts", [
    (150, [10, 130, 10]), (75, [5, 65, 5]), (15, [1, 13, 1]), (16, [1, 14, 1]), (1, [0, 1, 0]), (300, [20, 260, 20]),
])  # fmt: skip
def test_strata_are_scaled_to_a_number_of_pairs(total, counts):
    assert [s.count for s in draw.scale_strata(PAPER_STRATA, total)] == counts


@pytest.mark.parametrize("text", ["", "5", "-1:-0.5", "-0.5:-1:3", "-1:-1:3", "a:b:3", "-1:-0.5:x", "-1:-0.5:-3",
                                  "-1:-0.5:3:4", "nan:-0.5:3"])  # fmt: skip
def test_a_stratum_of_another_form_is_refused(text):
    with pytest.raises(UsageError, match="is not LOW:HIGH:N"):
        draw.parse_strata([text])


@pytest.mark.parametrize("texts", [["-1:-0.5:3", "-0.7:-0.2:3"], [":-0.5:3", ":-1:3"], ["-1::3", "-0.5::3"]])
def test_strata_that_overlap_are_refused(texts):
    with pytest.raises(UsageError, match="overlap"):
        draw.parse_strata(texts)


def test_a_stratum_that_is_too_small_is_named():
    with pytest.raises(UsageError, match=r"stratum :-1\.1 has 10 progressors, and 11 were asked for"):
        draw.draw_pairs(cohort(), [Stratum(None, Decimal("-1.1"), 11)], 11, 0)


def test_too_few_progressors_or_partners_are_counted():
    with pytest.raises(UsageError, match="61 progressors were asked for, and there are 60"):
        draw.draw_pairs(cohort(), (), 61, 0)
    few = [row for row in cohort() if row["label"] == "1" or row["subject"] < "9000003"]
    with pytest.raises(UsageError, match="4 non-progressors were asked for as partners, and there are 3"):
        draw.draw_pairs(few, (), 4, 0)


@pytest.mark.parametrize("label,what", [("0", "no progressor"), ("1", "no non-progressor")])
def test_labels_of_one_class_are_refused(label, what):
    with pytest.raises(UsageError, match=what):
        draw.draw_pairs([row for row in cohort() if row["label"] == label], (), 5, 0)


def test_two_knees_of_one_patient_make_no_pair():
    with pytest.raises(UsageError, match="finds no partner of another patient"):
        draw.draw_pairs([knee(1, "left", 1), knee(1, "right", 0)], (), 1, 0)


@pytest.mark.parametrize("change,message", [
    ({"label": "2"}, "neither 0 nor 1"), ({"knee": "9000001_00m_right"}, "twice"), ({"jsn": "much"}, "no number"),
])  # fmt: skip
def test_labels_that_cannot_be_read_are_refused_by_knee(change, message):
    rows = list(cohort())
    rows[0] |= change
    with pytest.raises(UsageError, match=f"900000._00m_.*{message}"):
        draw.draw_pairs(rows, STRATA, 25, 0)


def test_knees_without_a_label_are_passed_over():
    rows = [*cohort(2), knee(9999999, "left", "n/a")]
    pairs = draw.draw_pairs(rows, (), 2, 0)
    assert all("9999999" not in p.progressor["subject"] + p.partner["subject"] for p in pairs)


def test_readers_are_shown_two_knees_and_no_answer():
    labels = [row | {"jsw": "4", "kl": "2", "womac_pain": "3", "readprj": "16", "bmi": "27"} for row in cohort()]
    columns = draw.pair_columns(list(labels[0]))
    assert columns == ["knee", "subject", "visit", "side", "pair", "place", "age", "bmi", "jsw"]
    pairs = draw.draw_pairs(labels, STRATA, 25, 0)
    rows = list(draw.pair_rows(pairs, columns))
    assert [row["place"] for row in rows] == ["A", "B"] * 25
    assert all(list(row) == columns for row in rows)
    key = {row["pair"]: row for row in draw.key_rows(pairs)}
    for row in rows:
        assert (row["knee"] == key[row["pair"]]["knee"]) == (row["place"] == key[row["pair"]]["place"])
