import pytest

from oatools.core.errors import UsageError
from oatools.reading.blinding import shown_columns
from oatools.reading.draw import draw_pairs
from oatools.reading.pairs import draw_name, key_rows, pair_columns, pair_rows, read_pairs
from oatools.reading.strata import parse_strata


def cohort():
    """Sixty patients, each with a progressor (left) and a knee that keeps its joint space (right)."""
    changes = ["-1.4", "-1.1", "-0.9", "-0.6", "-0.55", "-0.5"]
    for n in range(60):
        patient = {"subject": str(9000000 + n), "visit": "00m", "age": "60"}
        left = {"knee": f"{9000000 + n}_00m_left", "side": "left", "label": "1"}
        right = {"knee": f"{9000000 + n}_00m_right", "side": "right", "label": "0"}
        yield {**left, **patient, "jsn": changes[n % 6]}
        yield {**right, **patient, "jsn": "-0.1"}


STRATA = parse_strata([":-1.1:5", "-1.1:-0.6:12", "-0.6:-0.5:8"])


def test_readers_are_shown_two_knees_and_no_answer():
    labels = [
        row | {"jsw": "4", "kl": "2", "womac_pain": "3", "readprj": "16", "bmi": "27"}
        for row in cohort()
    ]
    columns = pair_columns(shown_columns(list(labels[0]), (), {"jsn12"}))
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
    pairs = draw_pairs(labels, STRATA, 25, 0)
    rows = list(pair_rows(pairs, columns))
    assert [row["place"] for row in rows] == ["A", "B"] * 25
    assert all(list(row) == columns for row in rows)
    key = {row["pair"]: row for row in key_rows(pairs)}
    for row in rows:
        assert (row["knee"] == key[row["pair"]]["knee"]) == (
            row["place"] == key[row["pair"]]["place"]
        )


def test_a_draw_has_a_name_of_its_own_in_pairs_and_key():
    drawn = [draw_pairs(cohort(), STRATA, 25, seed) for seed in (0, 0, 1)]
    names = [draw_name(pairs) for pairs in drawn]
    assert names[0] == names[1] != names[2]
    columns = pair_columns(["age"])
    assert {row["draw"] for row in [*pair_rows(drawn[0], columns), *key_rows(drawn[0])]} == {
        names[0]
    }


def test_pairs_are_read_back_with_a_row_a_knee_or_several():
    pairs = draw_pairs(cohort(), STRATA, 25, 0)
    rows = list(pair_rows(pairs, pair_columns([])))
    read = read_pairs([row | {"sequence": s} for row in rows for s in ("cor", "sag")])
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
            read_pairs(broken)
    with pytest.raises(UsageError, match="at both places"):
        read_pairs([rows[0], rows[0] | {"place": "B"}])
    with pytest.raises(UsageError, match="hold no pair"):
        read_pairs([])
