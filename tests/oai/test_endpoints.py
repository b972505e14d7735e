from collections import Counter
from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.oai import endpoints, widths
from oatools.oai.codes import VISITS, XRAY_VISITS, KneeId
from oatools.oai.endpoints import ENDPOINTS
from oatools.oai.forms import read_ascii
from oatools.oai.labels import label_tables
from oatools.oai.readings import irregular_records
from oatools.oai.reliability import MeasurementError, reliable_change
from oatools.oai.replacement import Replacements
from oatools.oai.study import PainScore, StudyTables

COLUMNS = ["SIDE", "READPRJ", "VERSION", "MCMJSW", "NOMMJSW", "NOMJSWX", "MJSWBB"]


def records(tmp_path, prefix, lines):
    """A joint space width table of one patient, from lines like `SIDE READPRJ VERSION JSW [flags]`, read back."""
    header = "|".join(["ID", *COLUMNS[:3], *(f"{prefix}{c}" for c in COLUMNS[3:])])
    rows = []
    for line in lines:
        cells = [cell.replace("~", " ").replace("_", "") for cell in line.split()]
        rows.append("|".join(["9000001", *cells, *(["0: No"] * (len(COLUMNS) - len(cells)))]))
    path = tmp_path / f"{prefix}.txt"
    path.write_bytes("".join(f"{row}\r\n" for row in [header, *rows]).encode("latin-1"))
    return read_ascii(path)


def label(tmp_path, endpoint, before, after, threshold=None, **study):
    """Rows of the labelled knees, and the reasons of the others, from lines of readings."""
    chosen = ENDPOINTS[endpoint]
    later = {12: "V01", 24: "V03"}[chosen.months]
    horizon = {"V01": "12m", "V03": "24m"}[later]
    first = widths.readings(records(tmp_path, "V00", before), "00m")
    second = widths.readings(records(tmp_path, later, after), horizon)
    tables = StudyTables(chosen, "00m", first=first, second=second, **study)
    return rows_of(label_tables(tables, threshold))


def label_pain(scores, visit="00m", threshold=None, **study):
    """Rows of the labelled knees, and the reasons of the others, from cells of scores."""
    read = {knee: PainScore.from_cell(cell) for knee, cell in scores.items()}
    tables = StudyTables(ENDPOINTS["pain"], visit, scores=read, **study)
    return rows_of(label_tables(tables, threshold))


def rows_of(labels):
    return labels.rows(), labels.left_out


def one(width, project="16"):
    return [f"1:~Right {project} 1 {width}"]


# endpoint, readings at the visit, readings at the horizon, (label, jsw, jsn, project) of the right
# knee
LABELLED = {
    "a loss of exactly 0.5 mm": ("jsn12", one("4.1"), one("3.6"), ("1", "4.1", "-0.5", "16")),
    "the same with more digits": ("jsn12", one("4.100"), one("3.600"), ("1", "4.1", "-0.5", "16")),
    "a hair less": ("jsn12", one("4.1"), one("3.601"), ("0", "4.1", "-0.499", "16")),
    "a hair more": ("jsn12", one("4.1"), one("3.599"), ("1", "4.1", "-0.501", "16")),
    "another pair that floats get wrong": (
        "jsn12",
        one("1.1"),
        one("0.6"),
        ("1", "1.1", "-0.5", "16"),
    ),
    "no change": ("jsn12", one("4.123"), one("4.123"), ("0", "4.123", "0", "16")),
    "a gain": ("jsn12", one("4.1"), one("4.85"), ("0", "4.1", "0.75", "16")),
    "a large loss": ("jsn12", one("5"), one("1.5"), ("1", "5", "-3.5", "16")),
    "24 months": ("jsn24", one("4.1"), one("3.6"), ("1", "4.1", "-0.5", "16")),
    "24 months, less": ("jsn24", one("4.1"), one("3.61"), ("0", "4.1", "-0.49", "16")),
    "exactly a quarter": ("jsn12-relative", one("4.4"), one("3.3"), ("1", "4.4", "-1.1", "16")),
    "a hair less than a quarter": (
        "jsn12-relative",
        one("4.4"),
        one("3.301"),
        ("0", "4.4", "-1.099", "16"),
    ),
    "a quarter of a narrow space": (
        "jsn12-relative",
        one("0.4"),
        one("0.3"),
        ("1", "0.4", "-0.1", "16"),
    ),
    "half a millimetre of a wide space": (
        "jsn12-relative",
        one("6"),
        one("5.5"),
        ("0", "6", "-0.5", "16"),
    ),
    "no widths at fixed places, which says nothing of the minimum": (
        "jsn12",
        one("4"),
        ["1 16 1 3.0 0 1"],
        ("1", "4", "-1", "16"),
    ),
    "the test-retest project is no source": (
        "jsn12",
        ["1 16 1 4.0", "1 20 1 9.0"],
        ["1 20 1 1.0", "1 16 1 3.9"],
        ("0", "4", "-0.1", "16"),
    ),
    "closed at the horizon": ("jsn12", one("0.7"), one("0.0"), ("1", "0.7", "-0.7", "16")),
    "closed at both": ("jsn12", one("0"), one("0"), ("0", "0", "0", "16")),
    "closed at the visit": ("jsn12", one("0"), one("0.4"), ("0", "0", "0.4", "16")),
    "bone on bone, flagged not measurable": (
        "jsn12",
        one("1.2"),
        ["1 16 1 0 1:~Yes 1:~Yes 1:~Yes"],
        ("1", "1.2", "-1.2", "16"),
    ),
    "project 16 before a lower number": (
        "jsn12",
        ["1 12 1 5.0", "1 16 1 4.0"],
        ["1 12 1 4.0", "1 16 1 3.9"],
        ("0", "4", "-0.1", "16"),
    ),
    "without 16 the lowest number": (
        "jsn12",
        ["1 21 1 5.0", "1 9 1 4.0"],
        ["1 21 1 4.0", "1 9 1 3.9"],
        ("0", "4", "-0.1", "9"),
    ),
    "only the other project has both": (
        "jsn12",
        ["1 16 1 9.0", "1 22 1 4.0"],
        ["1 22 1 3.0"],
        ("1", "4", "-1", "22"),
    ),
    "16 missing at the horizon": (
        "jsn12",
        ["1 16 1 9.0", "1 22 1 4.0"],
        ["1 16 1 .T:~Technical", "1 22 1 3.9"],
        ("0", "4", "-0.1", "22"),
    ),
    "16 flagged at the visit": (
        "jsn12",
        ["1 16 1 9.0 1", "1 22 1 4.0"],
        ["1 16 1 3.0", "1 22 1 3.9"],
        ("0", "4", "-0.1", "22"),
    ),
    "a project written with its name": (
        "jsn12",
        one("4", "16:~Duryea"),
        one("3"),
        ("1", "4", "-1", "16"),
    ),
    "a project written as a decimal": ("jsn12", one("4", "16.0"), one("3"), ("1", "4", "-1", "16")),
    "a project with a letter comes last": (
        "jsn12",
        ["1 A 1 4.0", "1 99 1 5.0"],
        ["1 A 1 4.0", "1 99 1 4.0"],
        ("1", "5", "-1", "99"),
    ),
    "a duplicate that agrees": ("jsn12", one("4.0") * 2, one("3.8"), ("0", "4", "-0.2", "16")),
    "of two versions the later": (
        "jsn12",
        ["1 16 0.9.1 5.0", "1 16 0.10.1 4.0"],
        one("3.8"),
        ("0", "4", "-0.2", "16"),
    ),
    "of two versions the later, first in the table": (
        "jsn12",
        ["1 16 0.10.1 4.0", "1 16 0.9.1 5.0"],
        one("3.8"),
        ("0", "4", "-0.2", "16"),
    ),
    "of equal versions the first": (
        "jsn12",
        ["1 16 1 4.0", "1 16 1 5.0"],
        one("3.8"),
        ("0", "4", "-0.2", "16"),
    ),
    "a measured duplicate before a missing one of a later version": (
        "jsn12",
        ["1 16 2 .", "1 16 1 4.0"],
        one("3.8"),
        ("0", "4", "-0.2", "16"),
    ),
    "the other side is no matter": (
        "jsn12",
        ["1 16 1 4.0", "2:~Left 16 1 .P"],
        one("3.8"),
        ("0", "4", "-0.2", "16"),
    ),
    "side as a bare number": ("jsn12", ["1 16 1 4.0"], ["1.0 16 1 3.0"], ("1", "4", "-1", "16")),
}

# endpoint, readings at the visit, readings at the horizon, the reason
LEFT_OUT = {
    "not read at the visit": ("jsn12", [], one("4"), "no JSW at 00m"),
    "not read at the horizon": ("jsn12", one("4"), [], "no JSW at 12m"),
    "not read at 24 months": ("jsn24", one("4"), [], "no JSW at 24m"),
    **{
        f"the code {c}": ("jsn12", one("4"), one(f"{c}:~because"), "no JSW at 12m")
        for c in (".D", ".F", ".G", ".J", ".L", ".M", ".N", ".O", ".R", ".S", ".U", ".X", ".m")
    },
    "a blank among blanks": ("jsn12", one("~~"), one("4"), "no JSW at 00m"),
    "blank": ("jsn12", one("_"), one("4"), "no JSW at 00m"),
    "dot": ("jsn12", one("."), one("4"), "no JSW at 00m"),
    "missing form": (
        "jsn12",
        one(".:~Missing~Form/Incomplete~Workbook"),
        one("4"),
        "no JSW at 00m",
    ),
    "missing": ("jsn12", one("4"), one(".M:~Missing"), "no JSW at 12m"),
    "not expected": ("jsn12", one("4"), one(".A:~Not~Expected"), "no JSW at 12m"),
    "technical problems": ("jsn12", one("4"), one(".T"), "no JSW at 12m"),
    "visit missed": ("jsn12", one("4"), one(".V"), "no JSW at 12m"),
    "prosthesis at the visit": ("jsn12", one(".P:~Prosthetic"), one("4"), "knee replaced by 12m"),
    "prosthesis at the horizon": ("jsn24", one("4"), one(".P"), "knee replaced by 24m"),
    "prosthesis in one project": (
        "jsn12",
        ["1 16 1 4.0", "1 22 1 4.0"],
        ["1 16 1 3.0", "1 22 1 .P"],
        "knee replaced by 12m",
    ),
    "no minimum at the visit": (
        "jsn12",
        ["1 16 1 4.0 1:~Yes"],
        one("3"),
        "JSW not measurable at 00m",
    ),
    "no minimum and no value": ("jsn12", one("4"), ["1 16 1 .T 1 1"], "JSW not measurable at 12m"),
    "zero without bone on bone": (
        "jsn12",
        one("4"),
        ["1 16 1 0 1 0 0"],
        "JSW not measurable at 12m",
    ),
    "bone on bone without a value": ("jsn12", one("4"), ["1 16 1 . 0 0 1"], "no JSW at 12m"),
    "a negative width": ("jsn12", one("-1"), one("4"), "JSW is no possible number at 00m"),
    "no number": ("jsn12", one("4"), one("wide"), "JSW is no possible number at 12m"),
    "different projects": (
        "jsn12",
        one("4"),
        one("3", "22"),
        "JSW at 00m and 12m from different reading projects only",
    ),
    "read for the test of the readers alone": (
        "jsn12",
        one("4", "20"),
        one("3", "20"),
        "no JSW at 00m",
    ),
    "project unknown": ("jsn12", one("4", "."), one("3", "."), "no JSW at 00m"),
    "relative to nothing": (
        "jsn12-relative",
        one("0"),
        one("0"),
        "JSW is 0 at 00m, so that no relative change is defined",
    ),
}


@pytest.mark.parametrize("case", LABELLED)
def test_a_knee_is_labelled(tmp_path, case):
    endpoint, before, after, expected = LABELLED[case]
    rows, _ = label(tmp_path, endpoint, before, after)
    right = [row for row in rows if row["side"] == "right"]
    assert [(r["label"], r["jsw"], r["jsn"], r["readprj"]) for r in right] == [expected]
    assert right[0]["knee"] == "9000001_00m_right"


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_knee_is_left_out_for_one_reason(tmp_path, case):
    endpoint, before, after, reason = LEFT_OUT[case]
    assert label(tmp_path, endpoint, before, after, enrolled=[KneeId("9000001", "right")]) == (
        [],
        Counter([reason]),
    )


def test_sides_are_never_mixed(tmp_path):
    before = ["1:~Right 16 1 4.0", "2:~Left 16 1 6.0"]
    rows, left_out = label(tmp_path, "jsn12", before, ["2:~Left 16 1 5.9", "1:~Right 16 1 3.0"])
    assert [(row["knee"], row["jsn"]) for row in rows] == [
        ("9000001_00m_left", "-0.1"),
        ("9000001_00m_right", "-1"),
    ]
    rows, left_out = label(tmp_path, "jsn12", ["1 16 1 4.0"], ["2 16 1 3.0"])
    assert rows == []
    assert left_out == {"no JSW at 12m": 1, "no JSW at 00m": 1}


def test_knees_replaced_and_knees_never_read_are_counted(tmp_path):
    enrolled = [KneeId("9000001", "right"), KneeId("9000001", "left"), KneeId("9000002", "left")]
    rows, left_out = label(
        tmp_path,
        "jsn12",
        one("4"),
        one("3"),
        enrolled=enrolled,
        replaced=Replacements(later=frozenset({KneeId("9000001", "right")})),
    )
    assert rows == []
    assert left_out == {"knee replaced by 12m": 1, "no JSW at 00m": 2}


def test_the_threshold_moves_the_cut(tmp_path):
    for threshold, expected in [("-0.7", "1"), ("-0.71", "0")]:
        rows, _ = label(tmp_path, "jsn12", one("4.0"), one("3.3"), threshold=Decimal(threshold))
        assert rows[0]["label"] == expected
    rows, _ = label(tmp_path, "jsn12-relative", one("4.0"), one("3.6"), threshold=Decimal(-10))
    assert rows[0]["label"] == "1"


def test_a_later_visit_has_its_own_columns_and_horizon(tmp_path):
    before = widths.readings(records(tmp_path, "V03", one("4")), "24m")
    after = widths.readings(records(tmp_path, "V05", one("3")), "36m")
    tables = StudyTables(ENDPOINTS["jsn12"], "24m", first=before, second=after)
    (row,), _ = rows_of(label_tables(tables))
    assert (row["knee"], row["visit"], row["label"]) == ("9000001_24m_right", "24m", "1")


def test_records_that_are_not_used_are_counted(tmp_path):
    lines = [
        "1 16 1 4",
        "1 16 1 5",
        "1 16 1 6",
        "1 22 1 4",
        "2 16 1 4",
        "3 16 1 4",
        ". 16 1 4",
        "1 . 1 4",
    ]
    assert irregular_records(records(tmp_path, "V00", lines)) == {
        "repeated within a reading project": 2,
        "without id, side or reading project": 3,
    }


@pytest.mark.parametrize(
    "visit,endpoint,horizon",
    [
        ("00m", "jsn12", "12m"),
        ("00m", "jsn24", "24m"),
        ("24m", "jsn24", "48m"),
        ("36m", "jsn12", "48m"),
        ("72m", "jsn24", "96m"),
        ("18m", "pain", "18m"),
    ],
)
def test_the_horizon_follows_from_visit_and_endpoint(visit, endpoint, horizon):
    assert endpoints.horizon_of(ENDPOINTS[endpoint], visit, list(VISITS), XRAY_VISITS) == horizon


@pytest.mark.parametrize(
    "visit,endpoint", [("48m", "jsn12"), ("18m", "jsn12"), ("96m", "jsn24"), ("13m", "pain")]
)
def test_a_visit_without_an_x_ray_at_both_ends_is_refused(visit, endpoint):
    with pytest.raises(UsageError, match="X-rays|no visit"):
        endpoints.horizon_of(ENDPOINTS[endpoint], visit, list(VISITS), XRAY_VISITS)


@pytest.mark.parametrize(
    "endpoint,threshold", [("jsn12", "0.5"), ("jsn12", "0"), ("jsn24", "NaN"), ("pain", "0.5")]
)
def test_a_threshold_without_meaning_is_refused(endpoint, threshold):
    with pytest.raises(UsageError, match="threshold"):
        endpoints.checked_threshold(ENDPOINTS[endpoint], Decimal(threshold))


PAIN = [
    ("0", "0"),
    ("0.9", "0"),
    ("0.99", "0"),
    ("1", "from 1"),
    ("1.0", "from 1"),
    ("1.5", "from 1"),
    ("1.99", "from 1"),
    ("2", "1"),
    ("2.0", "1"),
    ("2.5", "1"),
    ("20", "1"),
    ("21", "no number"),
    ("-1", "no number"),
    ("x", "no number"),
    (".", "no WOMAC"),
    (".M", "no WOMAC"),
]


@pytest.mark.parametrize("score,expected", PAIN)
def test_pain_labels_a_knee_by_its_own_score(score, expected):
    scores = {KneeId("9000001", "right"): score, KneeId("9000001", "left"): "7"}
    rows, left_out = label_pain(scores)
    assert [row["label"] for row in rows if row["side"] == "left"] == ["1"]
    right = [row["label"] for row in rows if row["side"] == "right"]
    assert right == ([expected] if expected in "01" else [])
    assert left_out.total() == (0 if right else 1)
    assert all(expected in reason for reason in left_out)


def test_pain_takes_the_joint_space_where_there_is_one(tmp_path):
    jsw = widths.readings(
        records(tmp_path, "V00", ["1 22 1 3.9", "1 16 1 4.10", "2 16 1 ."]), "00m"
    )
    scores = {KneeId("9000001", "right"): "0", KneeId("9000001", "left"): "3"}
    rows, _ = label_pain(scores, first=jsw)
    assert [(row["side"], row["jsw"], row["readprj"]) for row in rows] == [
        ("left", "n/a", "n/a"),
        ("right", "4.1", "16"),
    ]


def test_pain_leaves_out_a_knee_with_a_prosthesis_on_the_x_ray(tmp_path):
    jsw = widths.readings(records(tmp_path, "V00", ["1 16 1 .P"]), "00m")
    scores = {KneeId("9000001", "right"): "0", KneeId("9000001", "left"): "3"}
    rows, left_out = label_pain(scores, first=jsw)
    assert [row["side"] for row in rows] == ["left"]
    assert left_out == {"knee replaced by 00m": 1}


def test_pain_at_another_threshold_and_visit_and_without_replaced_knees():
    scores = {
        KneeId("9000001", "right"): "4",
        KneeId("9000001", "left"): "5",
        KneeId("9000002", "right"): "9",
        KneeId("9000002", "left"): ".",
    }
    replaced = Replacements(at_visit=frozenset({KneeId("9000002", "right")}))
    rows, left_out = label_pain(scores, "12m", Decimal(5), replaced=replaced)
    assert [(row["knee"], row["label"]) for row in rows] == [("9000001_12m_left", "1")]
    assert left_out == {
        "WOMAC pain from 1 to below 5 at 12m": 1,
        "knee replaced by 12m": 1,
        "no WOMAC pain at 12m": 1,
    }


@pytest.mark.parametrize(
    "location,flags,expected",
    [
        ("mcmjsw", {}, "3"),
        ("jsw225", {}, "5.1"),
        ("jsw300", {}, None),
        ("ljsw800", {}, "6.2"),
        ("mcmjsw", {"NOMMJSW": "1"}, None),
        ("jsw225", {"NOMMJSW": "1"}, "5.1"),
        ("ljsw800", {"NOMMJSW": "1"}, "6.2"),
        ("mcmjsw", {"NOMJSWX": "1"}, "3"),
        ("jsw225", {"NOMJSWX": "1"}, None),
        ("ljsw800", {"NOMJSWX": "1"}, "6.2"),
        ("mcmjsw", {"NOLJSWX": "1"}, "3"),
        ("jsw225", {"NOLJSWX": "1"}, "5.1"),
        ("ljsw800", {"NOLJSWX": "1: Yes"}, None),
    ],
)
def test_each_width_goes_by_its_own_flag(location, flags, expected):
    record = {
        "ID": "9000001",
        "SIDE": "1",
        "READPRJ": "16",
        "V00MCMJSW": "3",
        "V00JSW225": "5.1",
        "V00JSW300": ".",
        "V00LJSW800": "6.2",
        **{f"V00{name}": value.split(":")[0] for name, value in flags.items()},
    }
    reading = widths.readings([record], "00m", location)[KneeId("9000001", "right")]["16"]
    assert reading.value == (None if expected is None else Decimal(expected))


def test_every_width_of_the_tables_can_be_chosen():
    assert len(widths.WIDTHS) == 1 + 7 + 9
    assert {"jsw150", "jsw175", "jsw300", "ljsw700", "ljsw725", "ljsw900"} < set(widths.WIDTHS)


@pytest.mark.parametrize(
    "name,horizon,visit,location,expected",
    [
        ("jsn12", None, "00m", "mcmjsw", ("jsn12", 12)),
        ("jsn12", "36m", "00m", "mcmjsw", ("jsn36", 36)),
        ("jsn24", "36m", "12m", "mcmjsw", ("jsn24", 24)),
        ("jsn12-relative", "24m", "00m", "mcmjsw", ("jsn24-relative", 24)),
        ("jsn12", None, "00m", "ljsw800", ("jsn12-ljsw800", 12)),
        ("pain", None, "12m", "mcmjsw", ("pain", 0)),
        ("kl", None, "00m", "mcmjsw", ("kl12", 12)),
        ("kl", "60m", "00m", "mcmjsw", ("kl60", 60)),
        ("jsn-grade", "48m", "24m", "mcmjsw", ("jsn-grade24", 24)),
        ("given", None, "00m", "mcmjsw", ("given", 0)),
    ],
)
def test_an_endpoint_is_called_by_what_it_is(name, horizon, visit, location, expected):
    found = endpoints.endpoint_of(name, horizon, visit, location)
    assert (found.name, found.months) == expected
    assert (found.threshold, found.relative) == (
        ENDPOINTS[name].threshold,
        ENDPOINTS[name].relative,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("jsn12", "00m", "00m"),
        ("jsn12", "12m", "24m"),
        ("pain", "12m", "00m"),
        ("pain", None, "00m", "jsw225"),
        ("jsn12", "soon", "00m"),
        ("kl", None, "00m", "jsw225"),
        ("given", "12m", "00m"),
    ],
)
def test_a_horizon_or_width_without_meaning_is_refused(arguments):
    with pytest.raises(UsageError, match="horizon|no visit|of the visit itself|leave out width"):
        endpoints.endpoint_of(*arguments)


def test_reliable_change_follows_the_formula_worked_by_hand():
    # SD of 3, 4, 5 is 1 and of 2, 4, 6 is 2; with r = 0.84, SEM = 0.4 and 0.8, S_diff = sqrt(0.8),
    # 1.96 times: 1.753
    found = reliable_change(
        [Decimal(n) for n in (3, 4, 5)],
        [Decimal(n) for n in (2, 4, 6)],
        MeasurementError(reliability=0.84),
    )
    assert found.sds == pytest.approx((1, 2)) and found.sems == pytest.approx((0.4, 0.8))
    assert found.s_diff == pytest.approx(0.8**0.5) and found.threshold == Decimal("-1.753")
    assert found.knees == 3


def test_a_standard_error_of_0_4_mm_gives_the_published_threshold_of_1_1_mm():
    found = reliable_change(
        [Decimal(n) for n in (3, 4, 9)], [Decimal(n) for n in (1, 1, 7)], MeasurementError(sem=0.4)
    )
    assert found.threshold == Decimal("-1.109")  # 1.96 sqrt(2) 0.4


def test_reliable_change_takes_the_standard_deviation_of_a_sample():
    import numpy as np

    widths = np.random.default_rng(0).normal(4, 0.8, (2, 50)).round(3)
    before, after = ([Decimal(str(v)) for v in row] for row in widths)
    found = reliable_change(before, after, MeasurementError(reliability=0.9))
    np.testing.assert_allclose(found.sds, np.std(widths, axis=1, ddof=1), rtol=1e-12)


def test_two_knees_give_no_reliable_change():
    with pytest.raises(UsageError, match="three or more"):
        reliable_change([Decimal(1)] * 2, [Decimal(1)] * 2, MeasurementError(sem=0.4))
