import random
from collections import Counter
from decimal import Decimal
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from oatools.core.errors import UsageError
from oatools.reading import draw
from oatools.reading.draw import PAPER_STRATA, Stratum


def knee(subject, side, label, jsn="n/a", **cells):
    identity = {
        "knee": f"{subject}_00m_{side}",
        "subject": str(subject),
        "visit": "00m",
        "side": side,
    }
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
    assert all(
        bounds[p.stratum][0] <= float(p.progressor["jsn"]) < bounds[p.stratum][1] for p in pairs
    )
    assert [pair.number for pair in pairs] == [f"{n:03d}" for n in range(1, 26)]


def test_every_patient_of_a_tight_cohort_finds_another():
    # As many partners as progressors, each the other knee of one of them: only a full matching will
    # do.
    labels = [row for n in range(6) for row in (knee(n, "left", 1), knee(n, "right", 0))]
    for seed in range(200):
        pairs = draw.draw_pairs(labels, (), 6, seed)
        assert all(pair.progressor["subject"] != pair.partner["subject"] for pair in pairs)


def test_place_order_and_strata_are_left_to_chance():
    pairs = [draw.draw_pairs(cohort(), STRATA, 25, seed) for seed in range(200)]
    first = sum(pair.place == "A" for drawn in pairs for pair in drawn)
    assert abs(first - 2500) < 4 * (5000 * 0.25) ** 0.5  # four standard deviations of a fair coin
    assert (
        60 < sum(drawn[0].stratum == "-1.1:-0.6" for drawn in pairs) < 132
    )  # 96 expected: 12 of 25
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
    assert draw.parse_strata([":-1.1:10", "-0.6:-0.5:10", "-1.1:-0.6:130"]) == PAPER_STRATA


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
    assert [s.count for s in draw.scale_strata(PAPER_STRATA, total)] == counts


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
        draw.parse_strata([text])


@pytest.mark.parametrize(
    "texts", [["-1:-0.5:3", "-0.7:-0.2:3"], [":-0.5:3", ":-1:3"], ["-1::3", "-0.5::3"]]
)
def test_strata_that_overlap_are_refused(texts):
    with pytest.raises(UsageError, match="overlap"):
        draw.parse_strata(texts)


def test_a_stratum_that_is_too_small_is_named():
    with pytest.raises(
        UsageError, match=r"stratum :-1\.1 has 10 progressors, and 11 were asked for"
    ):
        draw.draw_pairs(cohort(), [Stratum(None, Decimal("-1.1"), 11)], 11, 0)


def test_all_strata_that_are_too_small_are_named():
    strata = [
        Stratum(None, Decimal("-1.1"), 11),
        Stratum(Decimal("-1.1"), Decimal("-0.5"), 99, closed=True),
    ]
    with pytest.raises(
        UsageError,
        match=r"stratum :-1\.1 has 10 .*; stratum -1\.1:-0\.5 has 50 .* 99 were asked for; ask",
    ):
        draw.draw_pairs(cohort(), strata, 110, 0)


def test_too_few_progressors_or_partners_are_counted():
    with pytest.raises(UsageError, match="61 progressors were asked for, and there are 60"):
        draw.draw_pairs(cohort(), (), 61, 0)
    few = [row for row in cohort() if row["label"] == "1" or row["subject"] < "9000003"]
    with pytest.raises(
        UsageError, match="4 non-progressors were asked for as partners, and there are 3"
    ):
        draw.draw_pairs(few, (), 4, 0)


@pytest.mark.parametrize("label,what", [("0", "no progressor"), ("1", "no non-progressor")])
def test_labels_of_one_class_are_refused(label, what):
    with pytest.raises(UsageError, match=what):
        draw.draw_pairs([row for row in cohort() if row["label"] == label], (), 5, 0)


def test_two_knees_of_one_patient_make_no_pair():
    with pytest.raises(
        UsageError, match=r"not every progressor finds a partner of another patient \(0 of 1\)"
    ):
        draw.draw_pairs([knee(1, "left", 1), knee(1, "right", 0)], (), 1, 0)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"label": "2"}, "neither 0 nor 1"),
        ({"knee": "9000001_00m_right"}, "twice"),
        ({"jsn": "much"}, "no finite number"),
        ({"jsn": "nan"}, "no finite number"),
        ({"jsn": "-inf"}, "no finite number"),
    ],
)
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
    labels = [
        row | {"jsw": "4", "kl": "2", "womac_pain": "3", "readprj": "16", "bmi": "27"}
        for row in cohort()
    ]
    columns = draw.pair_columns(draw.shown_columns(list(labels[0]), (), {"jsn12"}))
    assert columns == [
        "knee",
        "subject",
        "visit",
        "side",
        "pair",
        "place",
        "draw",
        "age",
        "bmi",
        "jsw",
    ]
    pairs = draw.draw_pairs(labels, STRATA, 25, 0)
    rows = list(draw.pair_rows(pairs, columns))
    assert [row["place"] for row in rows] == ["A", "B"] * 25
    assert all(list(row) == columns for row in rows)
    key = {row["pair"]: row for row in draw.key_rows(pairs)}
    for row in rows:
        assert (row["knee"] == key[row["pair"]]["knee"]) == (
            row["place"] == key[row["pair"]]["place"]
        )


def test_a_draw_has_a_name_of_its_own_in_pairs_and_key():
    drawn = [draw.draw_pairs(cohort(), STRATA, 25, seed) for seed in (0, 0, 1)]
    names = [draw.draw_name(pairs) for pairs in drawn]
    assert names[0] == names[1] != names[2]
    columns = draw.pair_columns(["age"])
    assert {
        row["draw"] for row in [*draw.pair_rows(drawn[0], columns), *draw.key_rows(drawn[0])]
    } == {names[0]}


def test_a_variable_that_separates_the_labels_is_refused_whatever_its_name():
    rows = [
        knee(
            n,
            "left",
            int(n < 12),
            finding="yes" if n < 12 else "no",
            later=str(n),
            site="ab"[n % 2],
            code=f"x{n}",
        )
        for n in range(24)
    ]
    columns = list(rows[0])
    for column in ("finding", "later"):
        with pytest.raises(UsageError, match=f"'{column}' tells the labels apart without an error"):
            draw.shown_columns(columns, (column,), {"jsn12"}, rows)
    assert draw.shown_columns(columns, ("site", "code"), {"jsn12"}, rows) == ["site", "code"]
    # So few may differ by chance, and one exception is doubt enough.
    assert draw.shown_columns(columns, ("finding",), {"jsn12"}, rows[3:]) == ["finding"]
    assert draw.shown_columns(
        columns, ("later",), {"jsn12"}, [*rows, knee(99, "left", 1, later="50")]
    ) == ["later"]
    rows[0]["finding"] = "no"
    assert draw.shown_columns(columns, ("finding",), {"jsn12"}, rows) == ["finding"]


def test_a_knee_of_two_visits_is_refused():
    rows = [
        *cohort(4),
        {**knee(9000001, "left", 1, "-0.9"), "knee": "9000001_12m_left", "visit": "12m"},
    ]
    with pytest.raises(
        UsageError, match="the left knee of 9000001 is in the labels at 00m and 12m"
    ):
        draw.draw_pairs(rows, (), 2, 0)


def test_pairs_are_read_back_with_a_row_a_knee_or_several():
    pairs = draw.draw_pairs(cohort(), STRATA, 25, 0)
    rows = list(draw.pair_rows(pairs, draw.pair_columns([])))
    read = draw.read_pairs([row | {"sequence": s} for row in rows for s in ("cor", "sag")])
    assert list(read) == [pair.number for pair in pairs]
    assert all(
        (knees["A"], knees["B"])
        == (rows[2 * n] | {"sequence": "cor"}, rows[2 * n + 1] | {"sequence": "cor"})
        for n, knees in enumerate(read.values())
    )
    for broken in (
        rows[:-1],
        [*rows, rows[0] | {"place": "C"}],
        [*rows[1:], rows[2] | {"pair": "001", "place": "B"}],
    ):
        with pytest.raises(UsageError, match="does not have one knee A and one knee B"):
            draw.read_pairs(broken)
    with pytest.raises(UsageError, match="at both places"):
        draw.read_pairs([rows[0], rows[0] | {"place": "B"}])
    with pytest.raises(UsageError, match="hold no pair"):
        draw.read_pairs([])


def test_readers_may_be_shown_other_variables_but_none_that_tells():
    columns = ["knee", "label", "jsn", "age", "kl", "womac_pain"]
    assert draw.shown_columns(columns, ("kl", "age"), {"jsn12"}) == ["kl", "age"]
    assert draw.shown_columns(columns, ("womac_pain",), {"jsn12"}) == ["womac_pain"]
    columns += ["Label", "jsn_24m", "Progressor", "kl_12m", "jsw24", "endpoint", "kl_00m", "v12"]
    assert draw.shown_columns(columns, ("kl_00m", "v12"), {"jsn12"}) == ["kl_00m", "v12"]
    for column, endpoint in (
        ("jsn", "jsn12"),
        ("label", "n/a"),
        ("womac_pain", "pain"),
        ("Label", "jsn12"),
        ("jsn_24m", "jsn12"),
        ("Progressor", "pain"),
        ("kl_12m", "jsn12"),
        ("jsw24", "jsn12"),
        ("endpoint", "jsn12"),
    ):
        with pytest.raises(UsageError, match=f"'{column}' may tell readers the answer"):
            draw.shown_columns(columns, (column,), {endpoint})
    with pytest.raises(UsageError, match="no column 'iq'"):
        draw.shown_columns(columns, ("iq",), set())
    with pytest.raises(UsageError, match="'knee' names the knee"):
        draw.shown_columns(columns, ("knee",), set())
    with pytest.raises(UsageError, match="'age' is asked for twice"):
        draw.shown_columns(columns, ("age", "kl", "age"), set())


def varied(patients=80, seed=0):
    """Patients of many ages and grades; each has one progressor and one knee that keeps its joint space."""
    chance = random.Random(seed)
    for n in range(patients):
        own = {
            "age": str(chance.randint(45, 79)),
            "bmi": f"{chance.uniform(20, 38):.1f}",
            "sex": chance.choice("fm"),
        }
        yield knee(
            9000000 + n,
            "left",
            1,
            chance.choice(["-1.4", "-0.9", "-0.5"]),
            kl=str(chance.randint(1, 3)),
            **own,
        )
        yield knee(9000000 + n, "right", 0, "-0.1", kl=str(chance.randint(0, 3)), **own)


@pytest.mark.parametrize("seed", range(10))
def test_matched_knees_are_alike(seed):
    calipers = draw.parse_calipers(["age:3", "sex", "bmi:2.5", "kl:1"])
    strata = draw.parse_strata([":-1.1:5", "-1.1:-0.6:5", "-0.6:-0.5:5"])
    pairs = draw.draw_pairs(varied(), strata, 15, seed, calipers)
    assert Counter(p.stratum for p in pairs) == {":-1.1": 5, "-1.1:-0.6": 5, "-0.6:-0.5": 5}
    assert len({row["knee"] for p in pairs for row in (p.progressor, p.partner)}) == 30
    for one, other in ((p.progressor, p.partner) for p in pairs):
        assert one["subject"] != other["subject"]
        assert one["sex"] == other["sex"]
        assert abs(int(one["age"]) - int(other["age"])) <= 3
        assert abs(Decimal(one["bmi"]) - Decimal(other["bmi"])) <= Decimal("2.5")
        assert abs(int(one["kl"]) - int(other["kl"])) <= 1
    mean, most = draw.differences(pairs, calipers[0])
    apart = [int(p.progressor["age"]) - int(p.partner["age"]) for p in pairs]
    assert (mean, most) == (pytest.approx(sum(apart) / 15), max(map(abs, apart)))


def test_decimal_fractions_are_compared_as_they_are_written():
    rows = [knee(1, "left", 1, bmi="0.1"), knee(2, "left", 0, bmi="0.4")]
    assert len(draw.draw_pairs(rows, (), 1, 0, draw.parse_calipers(["bmi:0.3"]))) == 1
    with pytest.raises(
        UsageError,
        match=r"alike in bmi within 0\.29 \(0 of 1\); ask for fewer pairs, or match less",
    ):
        draw.draw_pairs(rows, (), 1, 0, draw.parse_calipers(["bmi:0.29"]))


@pytest.mark.parametrize("caliper", ["age", "age:5"])
def test_a_knee_without_the_value_is_not_matched(caliper):
    rows = [
        knee(1, "left", 1, age="n/a"),
        knee(2, "left", 0, age="n/a"),
        knee(3, "left", 0, age="60"),
    ]
    with pytest.raises(
        UsageError, match=r"0 of 1; age is n/a in 1 of 1 progressors; age is n/a in 1 of 2 others\)"
    ):
        draw.draw_pairs(rows, (), 1, 0, draw.parse_calipers([caliper]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_draw_fails_only_where_no_choice_of_knees_and_partners_would_do(data):
    """Against all choices of progressors, and all ways to match them."""
    ages = st.integers(0, 6)
    progressors = data.draw(
        st.lists(st.tuples(ages, st.sampled_from(["-1.4", "-0.7"])), min_size=1, max_size=5)
    )
    others = data.draw(st.lists(ages, min_size=1, max_size=5))
    counts = [
        data.draw(st.integers(0, sum(jsn == j for _, j in progressors))) for jsn in ("-1.4", "-0.7")
    ]
    rows = [knee(n, "left", 1, jsn, age=str(age)) for n, (age, jsn) in enumerate(progressors)]
    rows += [
        knee(n + data.draw(st.sampled_from([0, 100])), "right", 0, age=str(age))
        for n, age in enumerate(others)
    ]
    deep, flat = (
        [r for r in rows if r["label"] == "1" and r["jsn"] == jsn] for jsn in ("-1.4", "-0.7")
    )

    def fit(one, other):
        return one["subject"] != other["subject"] and abs(int(one["age"]) - int(other["age"])) <= 1

    partners = [r for r in rows if r["label"] == "0"]
    possible = sum(counts) <= len(partners) and any(
        all(fit(one, other) for one, other in zip(a + b, order, strict=True))
        for a in combinations(deep, counts[0])
        for b in combinations(flat, counts[1])
        for order in permutations(partners, sum(counts))
    )
    strata = draw.parse_strata([f":-1:{counts[0]}", f"-1:-0.5:{counts[1]}"])
    calipers = draw.parse_calipers(["age:1"])
    if possible:
        pairs = draw.draw_pairs(rows, strata, sum(counts), 0, calipers)
        assert Counter(p.stratum for p in pairs) == Counter(
            {":-1": counts[0], "-1:-0.5": counts[1]}
        )
        assert all(fit(p.progressor, p.partner) for p in pairs)
        assert (
            len({p.partner["knee"] for p in pairs})
            == len({p.progressor["knee"] for p in pairs})
            == len(pairs)
        )
    else:
        with pytest.raises(UsageError, match="partner"):
            draw.draw_pairs(rows, strata, sum(counts), 0, calipers)


def test_every_knee_has_the_same_chance_to_be_drawn():
    rows = [knee(n, "left", int(n < 20)) for n in range(60)]
    drawn = Counter(
        row["knee"]
        for seed in range(1000)
        for pair in draw.draw_pairs(rows, (), 5, seed)
        for row in (pair.progressor, pair.partner)
    )
    assert chisquare([drawn[row["knee"]] for row in rows[:20]]).pvalue > 1e-3
    assert chisquare([drawn[row["knee"]] for row in rows[20:]]).pvalue > 1e-3
    together = Counter(
        (p.progressor["knee"], p.partner["knee"])
        for seed in range(1000)
        for p in draw.draw_pairs(rows, (), 5, seed)
    )
    assert max(together.values()) < 25  # 6.25 expected of each of 800


def test_with_one_knee_no_patient_is_used_twice():
    rows = list(cohort(30)) + [
        knee(9000100 + n, side, 0) for n in range(20) for side in ("left", "right")
    ]
    for seed in range(20):
        pairs = draw.draw_pairs(rows, (), 15, seed, one_knee=True)
        subjects = [row["subject"] for p in pairs for row in (p.progressor, p.partner)]
        assert len(set(subjects)) == len(subjects) == 30
    assert any(
        len(
            {
                r["subject"]
                for p in draw.draw_pairs(rows, (), 15, seed)
                for r in (p.progressor, p.partner)
            }
        )
        < 30
        for seed in range(20)
    )
    twins = [knee(n, side, label) for n, label in ((1, 1), (2, 0)) for side in ("left", "right")]
    kept = Counter(
        row["side"]
        for seed in range(200)
        for p in draw.draw_pairs(twins, (), 1, seed, one_knee=True)
        for row in (p.progressor, p.partner)
    )
    assert len(kept) == 2 and min(kept.values()) > 150  # of two alike, either
    # A progressor is kept before its own patient's other knee: there are only so many.
    assert len(draw.draw_pairs(rows, (), 20, 0, one_knee=True)) == 20
    with pytest.raises(
        UsageError, match="21 non-progressors were asked for as partners, and there are 20"
    ):
        draw.draw_pairs(rows, (), 21, 0, one_knee=True)
    # Which knee of a patient is kept is settled before, and the message says what helps.
    two = [
        knee(1, "left", 1, "-1.4", kl="2"),
        knee(1, "right", 1, "-0.7", kl="n/a"),
        knee(2, "left", 0, kl="n/a"),
        knee(2, "right", 0, kl="2"),
    ]
    for seed in range(20):  # a knee that could not be drawn does not take the place of one that can
        assert (
            len(
                draw.draw_pairs(
                    two, draw.parse_strata([":-1.1:1"]), 1, seed, draw.parse_calipers(["kl"]), True
                )
            )
            == 1
        )
    rows = [knee(1, "left", 1, kl="2"), knee(2, "left", 0, kl="2"), knee(2, "right", 0, kl="1")]
    found = []
    for seed in range(20):
        try:
            found += draw.draw_pairs(rows, (), 1, seed, draw.parse_calipers(["kl"]), one_knee=True)
        except UsageError as error:
            assert "try another --seed" in str(error)
    assert 0 < len(found) < 20


@pytest.mark.parametrize(
    "texts,message",
    [
        (["age:"], "'age:' is neither"),
        (["age:-1"], "neither"),
        ([":5"], "neither"),
        (["age:x"], "neither"),
        (["age:inf"], "neither"),
        (["age:5", "age"], "age is matched on twice"),
        (["jsn:1"], "jsn is what knees of a pair differ in"),
        (["age:nan"], "neither"),
    ],
)
def test_calipers_of_another_form_are_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        draw.parse_calipers(texts)


def test_a_value_that_is_no_number_is_named():
    rows = list(cohort(4))
    rows[2]["age"] = "old"
    with pytest.raises(UsageError, match="9000001_00m_left: column 'age' holds 'old'"):
        draw.draw_pairs(rows, (), 2, 0, draw.parse_calipers(["age:5"]))
