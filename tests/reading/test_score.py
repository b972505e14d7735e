import math

import pytest
from scipy.stats import beta, binomtest
from sklearn.metrics import roc_auc_score

from oatools.core.errors import UsageError
from oatools.reading.pairs import find_pair, read_key, read_pairs, read_scored_pairs
from oatools.reading.score import (
    Grades,
    Method,
    exact_interval,
    grade_answers,
    grade_model,
    summarise,
)

KEY_ROWS = [
    {"knee": "a_00m_left", "pair": "001", "place": "A", "stratum": "-1.1:-0.6"},
    {"knee": "b_00m_left", "pair": "002", "place": "B", "stratum": ":-1.1"},
    {"knee": "c_00m_left", "pair": "003", "place": "A", "stratum": "-1.1:-0.6"},
    {"knee": "d_00m_left", "pair": "004", "place": "B", "stratum": "-1.1:-0.6"},
]
PAIR_ROWS = [
    {"knee": knee, "pair": pair, "place": place}
    for pair, knees in [("001", "au"), ("002", "vb"), ("003", "cw"), ("004", "xd")]
    for place, knee in zip("AB", [f"{k}_00m_left" for k in knees], strict=True)
]


def key():
    return read_key(map(dict, KEY_ROWS))


def pairs():
    return read_scored_pairs(map(dict, PAIR_ROWS), key())


def graded(choices, with_pairs=False, **cells):
    result = Grades()
    rows = [{"pair": pair, "choice": choice, **cells} for pair, choice in choices]
    grade_answers(rows, key(), "junior", result, pairs() if with_pairs else None)
    return result


def summary(scores):
    groups = {pair: n for n, pair in enumerate(key())}
    found = summarise("junior", Grades({"junior": scores}), key(), groups, Method("exact"))
    return {score.stratum: score.row() for score in found}


def test_answers_are_right_where_they_name_the_progressors_place():
    result = graded([("001", "A"), ("002", "a"), ("003", "n/a"), ("004", "b")])
    assert result.scores == {"junior": {"001": 1, "002": 0, "004": 1}}
    assert result.errors == []


def test_a_reader_is_summed_up_over_all_pairs_and_by_stratum():
    rows = summary(graded([("001", "A"), ("002", "A"), ("004", "B")]).scores["junior"])
    assert list(rows) == ["all", ":-1.1", "-1.1:-0.6"]
    exact = binomtest(2, 3).proportion_ci(method="exact")
    assert rows["all"] == {
        "reader": "junior",
        "stratum": "all",
        "pairs": "4",
        "groups": "3",
        "right": "2",
        "ties": "0",
        "rank_auc": "0.666667",
        "ci_low": f"{exact.low:.6f}",
        "ci_high": f"{exact.high:.6f}",
        "n_unanswered": "1",
        "seconds": "n/a",
        "confidence": "n/a",
        "confidence_auc": "n/a",
    }
    assert (rows[":-1.1"]["right"], rows[":-1.1"]["rank_auc"], rows[":-1.1"]["n_unanswered"]) == (
        "0",
        "0.000000",
        "0",
    )
    assert (rows["-1.1:-0.6"]["right"], rows["-1.1:-0.6"]["pairs"]) == ("2", "3")


def test_a_reader_without_answers_has_no_share():
    rows = summary({})
    assert [rows["all"][c] for c in ("rank_auc", "ci_low", "ci_high", "n_unanswered")] == [
        "n/a",
        "n/a",
        "n/a",
        "4",
    ]


@pytest.mark.parametrize(
    "right,answered,share", [(85, 147, "57.82"), (86, 144, "59.72"), (87, 150, "58.00")]
)
def test_the_interval_of_the_published_shares_is_the_exact_one(right, answered, share):
    assert f"{100 * right / answered:.2f}" == share
    exact = binomtest(right, answered).proportion_ci(method="exact")
    assert exact_interval(right, answered) == pytest.approx((exact.low, exact.high), abs=1e-12)
    by_quantile = (
        beta.ppf(0.025, right, answered - right + 1),
        beta.ppf(0.975, right + 1, answered - right),
    )
    assert exact_interval(right, answered) == pytest.approx(by_quantile, abs=1e-9)


@pytest.mark.parametrize(
    "right,answered,bounds", [(0, 10, (0, 0.3085)), (10, 10, (0.6915, 1)), (1, 1, (0.025, 1))]
)
def test_the_interval_holds_at_the_ends(right, answered, bounds):
    assert exact_interval(right, answered) == pytest.approx(bounds, abs=5e-5)


def test_half_a_success_widens_the_interval_to_both_neighbours():
    for low in (6, 7):
        assert exact_interval(low + 0.5, 10) == (
            exact_interval(low, 10)[0],
            exact_interval(low + 1, 10)[1],
        )
    assert all(math.isnan(bound) for bound in exact_interval(0, 0))


@pytest.mark.parametrize(
    "choices,message",
    [
        ([("009", "A")], "no such pair"),
        ([("001", "C")], "'C' is not A, B or n/a"),
        ([("001", "A"), ("001", "B")], "a second answer, which differs"),
    ],
)
def test_an_answer_that_cannot_be_graded_is_an_error_of_its_own(choices, message):
    result = graded([*choices, ("004", "B")])
    ((where, said),) = result.errors
    assert where == f"junior, pair {choices[-1][0]}"
    assert message in said
    assert result.scores["junior"]["004"] == 1


@pytest.mark.parametrize("with_pairs", [False, True])
@pytest.mark.parametrize("choice,knee", [("B", "a_00m_left"), ("A", "u_00m_left")])
def test_a_named_knee_that_does_not_stand_at_the_choice_is_an_error(choice, knee, with_pairs):
    result = graded([("001", choice)], with_pairs, knee=knee)
    assert result.scores["junior"] == {}
    assert f"does not stand at {choice}" in result.errors[0][1]


def test_a_named_knee_that_fits_is_accepted():
    assert graded([("001", "A")], True, knee="a_00m_left").scores["junior"] == {"001": 1}
    assert graded([("001", "B")], True, knee="u_00m_left").scores["junior"] == {"001": 0}
    assert graded([("001", "B")], True, knee="z_00m_left").errors  # of no pair at all


def test_an_answer_is_found_under_the_number_that_a_spreadsheet_leaves():
    rows = [
        {"pair": pair, "place": "A", "knee": "a"}
        for pair in ("001", "002", "x1", "1", "0004", "\u0665")
    ]
    known = read_key(rows)
    assert [
        find_pair(name, known)
        for name in ("001", "2", "02", "1", "4", "x1", "01", "7", "", "\u0665", "5")
    ] == ["001", "002", "002", "1", "0004", "x1", None, None, None, "\u0665", None]


def test_no_answer_is_no_second_answer_and_the_same_one_again_is_no_error():
    result = Grades()
    interim = [{"pair": "001", "choice": "A", "seconds": "5"}, {"pair": "002", "choice": "n/a"}]
    full = [{"pair": "001", "choice": "A", "seconds": "9"}, {"pair": "002", "choice": "B"}]
    for rows in (interim, full, interim[1:]):
        grade_answers(rows, key(), "jd", result)
    assert result.scores == {"jd": {"001": 1, "002": 1}}
    assert result.seconds == {"jd": {"001": 9}}
    assert result.errors == []


def test_an_unusable_time_or_confidence_leaves_the_answer():
    result = Grades()
    rows = [
        {"pair": "001", "choice": "A", "seconds": "30,4", "confidence": "3"},
        {"pair": "002", "choice": "B", "seconds": "3", "confidence": "9"},
        {"pair": "003", "choice": "B", "seconds": "3", "confidence": "very"},
    ]
    grade_answers(rows, key(), "jd", result)
    assert result.scores == {"jd": {"001": 1, "002": 1, "003": 0}}
    assert result.seconds == {"jd": {"002": 3, "003": 3}}
    assert result.confidence == {"jd": {"001": 3}}
    said = [message for _, message in result.errors]
    assert "30,4" in said[0] and "'9' is not from 1 to 5" in said[1] and "very" in said[2]
    assert all("the choice counts" in message for message in said)


@pytest.mark.parametrize("name", ["mean of readers", "all readers"])
def test_a_reader_is_not_called_as_several_are(name):
    with pytest.raises(UsageError, match="stands for several"):
        grade_answers([{"pair": "001", "choice": "A", "reader": name}], key(), "x", Grades())


def test_the_first_of_two_answers_counts_even_over_several_tables():
    result = Grades()
    for choice in ("A", "B"):
        grade_answers([{"pair": "001", "choice": choice, "reader": "r"}], key(), "file", result)
    assert result.scores == {"r": {"001": 1}}
    assert len(result.errors) == 1


def test_a_model_chooses_the_knee_with_the_higher_probability():
    probability = dict(a=0.9, u=0.1, b=0.2, v=0.7, c=0.4, w=0.4, d=0.3)
    rows = [{"knee": f"{k}_00m_left", "probability": str(p)} for k, p in probability.items()]
    scores = grade_model(rows, key(), pairs())
    assert scores == {"001": 1, "002": 0, "003": 0.5}
    row = summary(scores)["all"]
    assert (row["right"], row["ties"], row["rank_auc"], row["n_unanswered"]) == (
        "1",
        "1",
        "0.500000",
        "1",
    )


def test_knees_of_answers_and_predictions_are_those_of_the_pairs_however_written():
    written = [{**row, "knee": f" {row['knee']}".upper()} for row in PAIR_ROWS]
    own_key = read_key([{**row, "knee": row["knee"] + "\u00a0"} for row in KEY_ROWS])
    own_pairs = read_scored_pairs(written, own_key)
    rows = [
        {"knee": f"{k}_00m_Left\u200b", "probability": str(p)}
        for k, p in dict(a=0.9, u=0.1).items()
    ]
    assert grade_model(rows, own_key, own_pairs) == {"001": 1}
    with pytest.raises(UsageError, match="a_00m_left is in the predictions twice"):
        grade_model([rows[0], {**rows[0], "knee": "a_00m_left"}], own_key, own_pairs)
    for shown in (own_pairs, None):
        grades = Grades()
        answer = {"pair": "001", "choice": "A", "knee": "A_00m_left "}
        grade_answers([answer], own_key, "r", grades, shown)
        assert (grades.scores["r"], grades.errors) == ({"001": 1}, [])
    with pytest.raises(UsageError, match="of patient x by its name, and of y by the column"):
        read_key([{**KEY_ROWS[0], "knee": "x_00m_left", "subject": "y"}])
    with pytest.raises(UsageError, match="at both places"):
        read_pairs(
            [
                {**row, "pair": "1", "knee": k}
                for row, k in zip(PAIR_ROWS, ("a", "A "), strict=False)
            ]
        )


def test_the_share_is_the_mean_area_under_the_curve_of_the_pairs():
    probability = dict(zip("aubvcwdx", [0.9, 0.1, 0.2, 0.7, 0.4, 0.4, 0.8, 0.3], strict=True))
    rows = [{"knee": f"{k}_00m_left", "probability": str(p)} for k, p in probability.items()]
    areas = [
        roc_auc_score([1, 0], [probability[k] for k in two]) for two in ("au", "bv", "cw", "dx")
    ]
    scores = grade_model(rows, key(), pairs())
    assert float(summary(scores)["all"]["rank_auc"]) == pytest.approx(sum(areas) / 4)


def test_a_probability_missing_leaves_the_pair_unanswered_and_doubled_knees_are_refused():
    rows = [
        {"knee": "a_00m_left", "probability": "n/a"},
        {"knee": "u_00m_left", "probability": "0.1"},
    ]
    assert grade_model(rows, key(), pairs()) == {}
    with pytest.raises(UsageError, match="twice"):
        grade_model([rows[1], rows[1]], key(), pairs())
    with pytest.raises(UsageError, match="high"):
        grade_model([{"knee": "a_00m_left", "probability": "high"}], key(), pairs())


def test_keys_and_pairs_that_do_not_belong_together_are_refused():
    with pytest.raises(UsageError, match="twice"):
        read_key([KEY_ROWS[0], KEY_ROWS[0]])
    with pytest.raises(UsageError, match="place 'C'"):
        read_key([KEY_ROWS[0] | {"place": "C"}])
    with pytest.raises(UsageError, match="holds no pair"):
        read_key([])
    assert list(read_scored_pairs(PAIR_ROWS[:6], key())) == [
        "001",
        "002",
        "003",
    ]  # those that were shown
    with pytest.raises(UsageError, match="pair 009 is not in the key"):
        read_scored_pairs([row | {"pair": "009"} for row in PAIR_ROWS[:2]], key())
    with pytest.raises(UsageError, match="do not fit the key"):
        read_scored_pairs(
            [row | {"draw": "a"} for row in PAIR_ROWS],
            read_key([r | {"draw": "b"} for r in KEY_ROWS]),
        )
    with pytest.raises(UsageError, match="do not fit"):
        read_scored_pairs(
            [row | {"place": {"A": "B", "B": "A"}[row["place"]]} for row in PAIR_ROWS], key()
        )
    with pytest.raises(UsageError, match="one knee A and one knee B"):
        read_scored_pairs([*PAIR_ROWS, PAIR_ROWS[0] | {"knee": "other"}], key())
