import pytest

from oatools.core.errors import UsageError
from oatools.reading.blinding import shown_columns


def knee(subject, side, label, **cells):
    return {"knee": f"{subject}_00m_{side}", "label": str(label), **cells}


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
            shown_columns(columns, (column,), {"jsn12"}, rows)
    assert shown_columns(columns, ("site", "code"), {"jsn12"}, rows) == ["site", "code"]
    # So few may differ by chance, and one exception is doubt enough.
    assert shown_columns(columns, ("finding",), {"jsn12"}, rows[7:]) == ["finding"]
    assert shown_columns(
        columns, ("later",), {"jsn12"}, [*rows, knee(99, "left", 1, later="50")]
    ) == ["later"]
    rows[0]["finding"] = "no"
    assert shown_columns(columns, ("finding",), {"jsn12"}, rows) == ["finding"]


def test_readers_may_be_shown_other_variables_but_none_that_tells():
    columns = ["knee", "label", "jsn", "age", "kl", "womac_pain"]
    assert shown_columns(columns, ("kl", "age"), {"jsn12"}) == ["kl", "age"]
    assert shown_columns(columns, ("womac_pain",), {"jsn12"}) == ["womac_pain"]
    columns += ["Label", "jsn_24m", "Progressor", "kl_12m", "jsw24", "endpoint", "kl_00m", "v12"]
    columns += ["kl_change", "jsm", "jsm_change", "KL_change", "jsm24"]
    assert shown_columns(columns, ("kl", "jsm"), {"kl12"}) == ["kl", "jsm"]
    assert shown_columns(columns, ("kl_00m", "v12"), {"jsn12"}) == ["kl_00m", "v12"]
    for column, endpoint in (
        ("jsn", "jsn12"),
        ("label", "n/a"),
        ("womac_pain", "pain"),
        ("womac_pain", "pain@5"),
        ("Label", "jsn12"),
        ("jsn_24m", "jsn12"),
        ("Progressor", "pain"),
        ("kl_12m", "jsn12"),
        ("jsw24", "jsn12"),
        ("endpoint", "jsn12"),
        ("kl_change", "kl12"),
        ("jsm_change", "jsn12"),
        ("KL_change", "given"),
        ("jsm24", "jsn-grade24"),
    ):
        with pytest.raises(UsageError, match=f"'{column}' may tell readers the answer"):
            shown_columns(columns, (column,), {endpoint})
    with pytest.raises(UsageError, match="no column 'iq'"):
        shown_columns(columns, ("iq",), set())
    with pytest.raises(UsageError, match="'knee' names the knee"):
        shown_columns(columns, ("knee",), set())
    with pytest.raises(UsageError, match="'age' is asked for twice"):
        shown_columns(columns, ("age", "kl", "age"), set())


def test_a_variable_that_nearly_tells_the_labels_is_refused_as_in_training():
    rows = [knee(n, "left", int(n < 40), score=str(n)) for n in range(100)]
    rows[39]["score"], rows[40]["score"] = "40", "39"  # 1 of 2400 pairs in the wrong order
    rows[50]["score"] = "n/a"
    columns = list(rows[0])
    with pytest.raises(UsageError, match=r"'score' alone nearly tells .*AUC 1.000.*`?shown"):
        shown_columns(columns, ("score",), {"jsn12"}, rows)
    # Of grades of which one alone occurs with the label 1, in no order.
    for n, row in enumerate(rows):
        row["grade"] = "b" if n < 40 else "acd"[n % 3]
    columns = list(rows[0])
    with pytest.raises(UsageError, match="'grade' "):
        shown_columns(columns, ("grade",), {"jsn12"}, rows)
    for n, row in enumerate(rows):
        row["score"] = str((n * 37) % 101)
    assert shown_columns(columns, ("score",), {"jsn12"}, rows) == ["score"]
