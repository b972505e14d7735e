import random
from collections import Counter
from decimal import Decimal
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from oatools.core.errors import UsageError
from oatools.reading.draw import differences, draw_pairs, parse_calipers
from oatools.reading.strata import Stratum, parse_strata


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


STRATA = parse_strata([":-1.1:5", "-1.1:-0.6:12", "-0.6:-0.5:8"])


@pytest.mark.parametrize("seed", range(40))
def test_a_draw_keeps_its_promises(seed):
    pairs = draw_pairs(cohort(), STRATA, 25, seed)
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
        pairs = draw_pairs(labels, (), 6, seed)
        assert all(pair.progressor["subject"] != pair.partner["subject"] for pair in pairs)


def test_place_order_and_strata_are_left_to_chance():
    pairs = [draw_pairs(cohort(), STRATA, 25, seed) for seed in range(200)]
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
    assert draw_pairs(rows, STRATA, 25, 3) == draw_pairs(shuffled, STRATA, 25, 3)
    assert draw_pairs(rows, STRATA, 25, 3) != draw_pairs(rows, STRATA, 25, 4)


def test_without_strata_all_progressors_may_come():
    rows = [{k: v for k, v in row.items() if k != "jsn"} for row in cohort(10)]
    pairs = draw_pairs(rows, (), 10, 0)
    assert {pair.stratum for pair in pairs} == {"n/a"}
    assert len({pair.progressor["knee"] for pair in pairs}) == 10


def test_a_stratum_that_is_too_small_is_named():
    with pytest.raises(
        UsageError, match=r"stratum :-1\.1 has 10 progressors, and 11 were asked for"
    ):
        draw_pairs(cohort(), [Stratum(None, Decimal("-1.1"), 11)], 11, 0)


def test_all_strata_that_are_too_small_are_named():
    strata = [
        Stratum(None, Decimal("-1.1"), 11),
        Stratum(Decimal("-1.1"), Decimal("-0.5"), 99, closed=True),
    ]
    with pytest.raises(
        UsageError,
        match=r"stratum :-1\.1 has 10 .*; stratum -1\.1:-0\.5 has 50 .* 99 were asked for; ask",
    ):
        draw_pairs(cohort(), strata, 110, 0)


def test_too_few_progressors_or_partners_are_counted():
    with pytest.raises(UsageError, match="61 progressors were asked for, and there are 60"):
        draw_pairs(cohort(), (), 61, 0)
    few = [row for row in cohort() if row["label"] == "1" or row["subject"] < "9000003"]
    with pytest.raises(
        UsageError, match="4 non-progressors were asked for as partners, and there are 3"
    ):
        draw_pairs(few, (), 4, 0)


@pytest.mark.parametrize("label,what", [("0", "no progressor"), ("1", "no non-progressor")])
def test_labels_of_one_class_are_refused(label, what):
    with pytest.raises(UsageError, match=what):
        draw_pairs([row for row in cohort() if row["label"] == label], (), 5, 0)


def test_two_knees_of_one_patient_make_no_pair():
    with pytest.raises(
        UsageError, match=r"not every progressor finds a partner of another patient \(0 of 1\)"
    ):
        draw_pairs([knee(1, "left", 1), knee(1, "right", 0)], (), 1, 0)


@pytest.mark.parametrize(
    "written",
    ["p7 ", "P7", "p7\u00a0", "\u200bp7", "\u3000P7\ufeff"],
)
@pytest.mark.parametrize("other", ["p7", "P7\u2009"])
def test_one_patient_written_in_two_ways_makes_no_pair(written, other):
    rows = [
        {**knee("a", "left", 1), "subject": written, "knee": "scan 1"},
        {**knee("b", "right", 0), "subject": other, "knee": "scan 2"},
    ]
    with pytest.raises(UsageError, match="finds a partner of another patient"):
        draw_pairs(rows, (), 1, 0)
    rows[1]["subject"] = "p8"
    (pair,) = draw_pairs(rows, (), 1, 0)
    assert (pair.progressor["subject"], pair.partner["subject"]) == ("p7", "p8")


def test_a_number_that_a_spreadsheet_wrote_is_the_same_patient_and_draws_the_same_pairs():
    plain = [(p.progressor, p.partner) for p in draw_pairs(cohort(), STRATA, 25, 3)]
    rows = []
    for n, row in enumerate(cohort()):
        subject = f"{row['subject']}.0" if n % 2 else f" {row['subject']}"
        rows.append({**row, "subject": subject, "knee": row["knee"].upper() + "\u00a0"})
    assert [(p.progressor, p.partner) for p in draw_pairs(rows, STRATA, 25, 3)] == plain


def test_with_one_knee_a_patient_is_one_however_written():
    rows = [
        {**knee(n, side, label), "subject": f"S{n}" + blank, "knee": f"{n}-{side}"}
        for n in range(8)
        for side, label, blank in (("left", 1, ""), ("right", 0, " "))
    ]
    for seed in range(20):
        with pytest.raises(UsageError):  # of 8 patients there are no 5 pairs
            draw_pairs(rows, (), 5, seed, one_knee=True)
    rows += [knee(f"s{n}", "left", 0) for n in range(20, 24)]
    pairs = draw_pairs(rows, (), 3, 0, one_knee=True)
    used = [row["subject"] for p in pairs for row in (p.progressor, p.partner)]
    assert len(set(used)) == 6


@pytest.mark.parametrize("ids", [("007", "7"), ("7.0", "007")])
def test_two_ids_that_may_be_one_person_are_refused_and_one_alone_is_fine(ids):
    rows = [
        {**row, "subject": f"P{row['subject']}", "knee": f"k{n}"} for n, row in enumerate(cohort(4))
    ]
    rows[0]["subject"], rows[3]["subject"] = ids
    message = r"the labels: patients (007 and 7|7 and 007) differ in leading zeros alone"
    with pytest.raises(UsageError, match=message):
        draw_pairs(rows, (), 2, 0)
    rows[3]["subject"] = "8"
    assert len(draw_pairs(rows, (), 2, 0)) == 2


@pytest.mark.parametrize(
    "change,message",
    [
        ({"label": "2"}, "neither 0 nor 1"),
        ({"knee": "9000001_00m_right", "subject": "9000001"}, "twice"),
        ({"knee": "9000000_00m_right\u00a0"}, "9000000_00m_right.*, which is there twice"),
        ({"subject": "img0"}, "of patient 9000000 by its name, and of img0 by the column"),
        ({"jsn": "much"}, "no finite number"),
        ({"jsn": "nan"}, "no finite number"),
        ({"jsn": "-inf"}, "no finite number"),
    ],
)
def test_labels_that_cannot_be_read_are_refused_by_knee(change, message):
    rows = list(cohort())
    rows[0] |= change
    with pytest.raises(UsageError, match=f"900000._00m_.*{message}"):
        draw_pairs(rows, STRATA, 25, 0)


def test_knees_without_a_label_are_passed_over():
    rows = [*cohort(2), knee(9999999, "left", "n/a")]
    pairs = draw_pairs(rows, (), 2, 0)
    assert all("9999999" not in p.progressor["subject"] + p.partner["subject"] for p in pairs)


def test_a_knee_of_two_visits_is_refused():
    rows = [
        *cohort(4),
        {**knee(9000001, "left", 1, "-0.9"), "knee": "9000001_12m_left", "visit": "12m"},
    ]
    with pytest.raises(
        UsageError, match="the left knee of 9000001 is in the labels at 00m and 12m"
    ):
        draw_pairs(rows, (), 2, 0)


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
    calipers = parse_calipers(["age:3", "sex", "bmi:2.5", "kl:1"])
    strata = parse_strata([":-1.1:5", "-1.1:-0.6:5", "-0.6:-0.5:5"])
    pairs = draw_pairs(varied(), strata, 15, seed, calipers)
    assert Counter(p.stratum for p in pairs) == {":-1.1": 5, "-1.1:-0.6": 5, "-0.6:-0.5": 5}
    assert len({row["knee"] for p in pairs for row in (p.progressor, p.partner)}) == 30
    for one, other in ((p.progressor, p.partner) for p in pairs):
        assert one["subject"] != other["subject"]
        assert one["sex"] == other["sex"]
        assert abs(int(one["age"]) - int(other["age"])) <= 3
        assert abs(Decimal(one["bmi"]) - Decimal(other["bmi"])) <= Decimal("2.5")
        assert abs(int(one["kl"]) - int(other["kl"])) <= 1
    mean, most = differences(pairs, calipers[0])
    apart = [int(p.progressor["age"]) - int(p.partner["age"]) for p in pairs]
    assert (mean, most) == (pytest.approx(sum(apart) / 15), max(map(abs, apart)))


def test_decimal_fractions_are_compared_as_they_are_written():
    rows = [knee(1, "left", 1, bmi="0.1"), knee(2, "left", 0, bmi="0.4")]
    assert len(draw_pairs(rows, (), 1, 0, parse_calipers(["bmi:0.3"]))) == 1
    with pytest.raises(
        UsageError,
        match=r"alike in bmi within 0\.29 \(0 of 1\); ask for fewer pairs, or match less",
    ):
        draw_pairs(rows, (), 1, 0, parse_calipers(["bmi:0.29"]))


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
        draw_pairs(rows, (), 1, 0, parse_calipers([caliper]))


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
    strata = parse_strata([f":-1:{counts[0]}", f"-1:-0.5:{counts[1]}"])
    calipers = parse_calipers(["age:1"])
    if possible:
        pairs = draw_pairs(rows, strata, sum(counts), 0, calipers)
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
            draw_pairs(rows, strata, sum(counts), 0, calipers)


def test_every_knee_has_the_same_chance_to_be_drawn():
    rows = [knee(n, "left", int(n < 20)) for n in range(60)]
    drawn = Counter(
        row["knee"]
        for seed in range(1000)
        for pair in draw_pairs(rows, (), 5, seed)
        for row in (pair.progressor, pair.partner)
    )
    assert chisquare([drawn[row["knee"]] for row in rows[:20]]).pvalue > 1e-3
    assert chisquare([drawn[row["knee"]] for row in rows[20:]]).pvalue > 1e-3
    together = Counter(
        (p.progressor["knee"], p.partner["knee"])
        for seed in range(1000)
        for p in draw_pairs(rows, (), 5, seed)
    )
    assert max(together.values()) < 25  # 6.25 expected of each of 800


def test_with_one_knee_no_patient_is_used_twice():
    rows = list(cohort(30)) + [
        knee(9000100 + n, side, 0) for n in range(20) for side in ("left", "right")
    ]
    for seed in range(20):
        pairs = draw_pairs(rows, (), 15, seed, one_knee=True)
        subjects = [row["subject"] for p in pairs for row in (p.progressor, p.partner)]
        assert len(set(subjects)) == len(subjects) == 30
    assert any(
        len(
            {
                r["subject"]
                for p in draw_pairs(rows, (), 15, seed)
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
        for p in draw_pairs(twins, (), 1, seed, one_knee=True)
        for row in (p.progressor, p.partner)
    )
    assert len(kept) == 2 and min(kept.values()) > 150  # of two alike, either
    # A progressor is kept before its own patient's other knee: there are only so many.
    assert len(draw_pairs(rows, (), 20, 0, one_knee=True)) == 20
    with pytest.raises(
        UsageError, match="21 non-progressors were asked for as partners, and there are 20"
    ):
        draw_pairs(rows, (), 21, 0, one_knee=True)
    # Which knee of a patient is kept is settled before, and the message says what helps.
    two = [
        knee(1, "left", 1, "-1.4", kl="2"),
        knee(1, "right", 1, "-0.7", kl="n/a"),
        knee(2, "left", 0, kl="n/a"),
        knee(2, "right", 0, kl="2"),
    ]
    for seed in range(20):  # a knee that could not be drawn does not take the place of one that can
        assert (
            len(draw_pairs(two, parse_strata([":-1.1:1"]), 1, seed, parse_calipers(["kl"]), True))
            == 1
        )
    rows = [knee(1, "left", 1, kl="2"), knee(2, "left", 0, kl="2"), knee(2, "right", 0, kl="1")]
    found = []
    for seed in range(20):
        try:
            found += draw_pairs(rows, (), 1, seed, parse_calipers(["kl"]), one_knee=True)
        except UsageError as error:
            assert "try another --seed" in error.text({"seed": "--seed"})
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
        parse_calipers(texts)


def test_a_value_that_is_no_number_is_named():
    rows = list(cohort(4))
    rows[2]["age"] = "old"
    with pytest.raises(UsageError, match="9000001_00m_left: column 'age' holds 'old'"):
        draw_pairs(rows, (), 2, 0, parse_calipers(["age:5"]))
