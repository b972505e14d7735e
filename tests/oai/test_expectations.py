"""`oa-label FOLDER --expect oai`: the published numbers, and ours counted again by NumPy and pandas."""

import subprocess
import sys

import numpy as np
import pytest

from oatools.oai.expectations import expectations
from oatools.oai.tables import find_tables

# The aggregates of a full download as they were published, in the order of their table: project 16,
# minimum at both visits.
WIDTHS = """
12m 5777 3252 -0.064 0.569 -0.968 -0.287 -0.022 0.200 0.732
24m 5429 3071 -0.189 0.636 -1.249 -0.434 -0.113 0.135 0.626
36m 5199 2967 -0.328 0.736 -1.621 -0.587 -0.224 0.050 0.566
48m 4954 2839 -0.400 0.788 -1.927 -0.686 -0.258 0.026 0.593
72m 3521 2148 -0.473 0.860 -2.130 -0.813 -0.339 0.030 0.633
96m 3637 2234 -0.644 1.006 -2.585 -1.070 -0.432 -0.026 0.598
"""
QUANTITIES = [
    "knees with both widths",
    "participants",
    "mean change",
    "SD of the change",
    "P05 of the change",
    "P25 of the change",
    "median of the change",
    "P75 of the change",
    "P95 of the change",
]
OTHERS = {
    "knees with a KL grade": "8921",
    "participants with a KL grade": "4490",
    "knees with a KL grade at both visits": "8361",
    "of these of KL grade 0 at 00m": "3237",
    "of these of KL grade 1 at 00m": "1513",
    "of these of KL grade 2 at 00m": "2211",
    "of these of KL grade 3 at 00m": "1140",
    "of these of KL grade 4 at 00m": "260",
    "of these with a KL grade more": "520",
    "of these with a medial JSN grade more": "370",
    "right knees replaced at baseline": "38",
    "left knees replaced at baseline": "25",
    "right knees replaced later": "470",
    "left knees replaced later": "465",
    "participants enrolled": "4796",
    "right knees without WOMAC pain": "3",
    "left knees without WOMAC pain": "0",
    "without BMI": "4",
    "without height": "1.75",
    "without weight": "0.08",
}


def told(folder):
    """(quantity, visit) -> the row that is printed."""
    return {(item.quantity, item.visit): item.row() for item in expectations(find_tables(folder))}


def of_quantity(rows, quantity):
    [row] = [row for (name, _), row in rows.items() if name == quantity]
    return row


def put(folder, name, lines):
    (folder / f"{name}.txt").write_text("\r\n".join("|".join(line) for line in lines) + "\r\n")


def test_the_published_numbers_are_those_of_the_source(tmp_path):
    rows = told(tmp_path)
    for line in WIDTHS.strip().splitlines():
        visit, *published = line.split()
        for quantity, number in zip(QUANTITIES, published, strict=True):
            assert rows[quantity, visit]["expected"] == number
    for quantity, number in OTHERS.items():
        assert of_quantity(rows, quantity)["expected"] == number
    assert len(rows) == 6 * len(QUANTITIES) + len(OTHERS)


def test_nothing_can_be_told_of_an_empty_folder(tmp_path):
    assert {(row["found"], row["agrees"]) for row in told(tmp_path).values()} == {("n/a", "n/a")}


# --- by hand ---------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Four people: 12-month changes of -0.5, 0, 0.3 and -1 mm in project 16."""
    put(
        tmp_path,
        "kxr_qjsw_duryea00",
        [
            ["ID", "SIDE", "READPRJ", "V00MCMJSW", "V00NOMMJSW"],
            ["9000001", "1: Right", "16", "4.1", "0: No"],
            ["9000001", "2: Left", "16", "5", "0: No"],
            ["9000002", "1: Right", "16", "3", "0: No"],
            ["9000003", "2: Left", "16", "2", "0: No"],
            ["9000003", "1: Right", "20", "9", "0: No"],
            ["9000004", "1: Right", "18", "9", "0: No"],
            ["9000004", "2: Left", "16", ".", "1: Yes"],
        ],
    )
    put(
        tmp_path,
        "kxr_qjsw_duryea01",
        [
            ["ID", "SIDE", "READPRJ", "V01MCMJSW", "V01NOMMJSW"],
            ["9000001", "1", "16", "3.6", "0"],
            ["9000001", "2", "16", "5", "0"],
            ["9000002", "1", "16", "3.3", "0"],
            ["9000003", "2", "16", "1", "0"],
            ["9000003", "1", "20", "1", "0"],
            ["9000004", "1", "18", "1", "0"],
            ["9000004", "2", "16", "1", "0"],
        ],
    )
    put(
        tmp_path,
        "kxr_sq_bu00",
        [
            ["ID", "SIDE", "READPRJ", "V00XRKL", "V00XRJSM"],
            ["9000001", "1", "15", "2", "1"],
            ["9000001", "2", "15", "0", "0"],
            ["9000002", "1", "15", "1.8", "1.4"],
            ["9000002", "2", "37", "3", "3"],
            ["9000003", "1", "15", "4", "3"],
            ["9000003", "1", "37", "0", "0"],
            ["9000004", "1", "15", "2", "2"],
        ],
    )
    put(
        tmp_path,
        "kxr_sq_bu01",
        [
            ["ID", "SIDE", "READPRJ", "V01XRKL", "V01XRJSM"],
            ["9000001", "1", "15", "3", "1.4"],
            ["9000001", "2", "15", "0", "1"],
            ["9000002", "1", "15", "2", "1.8"],
            ["9000002", "2", "37", "4", "3"],
            ["9000003", "1", "15", "4", "3"],
            ["9000004", "1", "15", ".", "."],
        ],
    )
    put(
        tmp_path,
        "Outcomes99",
        [
            ["ID", "V99ERKDAYS", "V99ELKDAYS", "V99ERKBLRP", "V99ELKBLRP", "V99ERKRPCF"],
            ["9000001", "200", ".", ".", "1: Yes", "0: failed to confirm"],
            ["9000002", "900", "1200", ".", ".", "3: confirmed"],
            ["9000003", ".", ".", "1: Yes", "1", "."],
        ],
    )
    put(
        tmp_path,
        "AllClinical00",
        [
            ["ID", "V00WOMKPR", "V00WOMKPL", "P01BMI", "P01HEIGHT", "P01WEIGHT"],
            ["9000001", "", "1", "27", "1700", "80"],
            ["9000002", "0", "0", ".M: Missing", ".S: low", "70"],
            ["9000003", "", "2", "30", "1800", "90"],
            ["9000004", "", "3", "", "1600", "60"],
        ],
    )
    return tmp_path


@pytest.mark.parametrize(
    "quantity,visit,found",
    [
        ("knees with both widths", "12m", "4"),
        ("participants", "12m", "3"),
        ("mean change", "12m", "-0.300"),  # (-0.5 + 0 + 0.3 - 1) / 4
        ("SD of the change", "12m", "0.572"),  # sqrt((0.04 + 0.09 + 0.36 + 0.49) / 3)
        ("P05 of the change", "12m", "-0.925"),  # -1 + 0.15 * 0.5
        ("P25 of the change", "12m", "-0.625"),
        ("median of the change", "12m", "-0.250"),
        ("P75 of the change", "12m", "0.075"),
        ("P95 of the change", "12m", "0.255"),
        ("knees with both widths", "24m", "n/a"),
        ("mean change", "96m", "n/a"),
        ("knees with a KL grade", "00m", "5"),
        ("participants with a KL grade", "00m", "4"),
        ("knees with a KL grade at both visits", "12m", "4"),
        ("of these of KL grade 0 at 00m", "12m", "1"),
        ("of these of KL grade 1 at 00m", "12m", "1"),
        ("of these of KL grade 2 at 00m", "12m", "1"),
        ("of these of KL grade 3 at 00m", "12m", "0"),
        ("of these of KL grade 4 at 00m", "12m", "1"),
        ("of these with a KL grade more", "12m", "2"),
        ("of these with a medial JSN grade more", "12m", "1"),  # a whole grade
        ("right knees replaced at baseline", "00m", "1"),
        ("left knees replaced at baseline", "00m", "2"),
        ("right knees replaced later", "96m", "2"),  # the unconfirmed one has a day, too
        ("left knees replaced later", "96m", "1"),
        ("participants enrolled", "00m", "4"),
        ("right knees without WOMAC pain", "00m", "3"),
        ("left knees without WOMAC pain", "00m", "0"),
        ("without BMI", "00m", "2"),
        ("without height", "00m", "25.00"),
        ("without weight", "00m", "0.00"),
    ],
)
def test_a_number_worked_by_hand(small, quantity, visit, found):
    assert told(small)[quantity, visit]["found"] == found


@pytest.mark.parametrize(
    "quantity,agrees",
    [
        ("right knees without WOMAC pain", "yes"),  # 3 of 3
        ("left knees without WOMAC pain", "yes"),
        ("knees with a KL grade", "no"),
        ("participants enrolled", "no"),
        ("without height", "no"),
        ("right knees replaced at baseline", "no"),
    ],
)
def test_agreement_is_told(small, quantity, agrees):
    assert of_quantity(told(small), quantity)["agrees"] == agrees


@pytest.mark.parametrize(
    "tables,quantities",
    [
        (
            ("kxr_sq_bu00", "kxr_sq_bu01"),
            ("knees with a KL grade", "of these with a KL grade more"),
        ),
        (("kxr_sq_bu01",), ("of these of KL grade 2 at 00m",)),
        (("Outcomes99",), ("right knees replaced at baseline", "left knees replaced later")),
        (("AllClinical00",), ("participants enrolled", "without BMI", "without weight")),
    ],
)
def test_a_table_that_is_not_there_leaves_its_numbers_out(small, tables, quantities):
    for table in tables:
        (small / f"{table}.txt").unlink()
    rows = told(small)
    for quantity in quantities:
        row = of_quantity(rows, quantity)
        assert (row["found"], row["agrees"]) == ("n/a", "n/a")
    assert rows["knees with both widths", "12m"]["found"] == "4"


# --- many, counted by other programs ---------------------------------------------------------------

HORIZONS = {"12m": 1, "24m": 3, "36m": 5, "48m": 6, "72m": 8, "96m": 10}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """300 invented people; not all are read at all visits, and some in other projects."""
    pandas = pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(5)
    people = [str(9000001 + 3 * n) for n in range(300)]
    keys = [(subject, side) for subject in people for side in ("1", "2")]
    frames = {}
    for visit, number in {"00m": 0, **HORIZONS}.items():
        chosen = [key for key in keys if random.random() < 0.8]
        frame = pandas.DataFrame(chosen, columns=["ID", "SIDE"])
        frame["READPRJ"] = random.choice(["16", "16", "16", "20", "18"], len(frame))
        prefix = f"V{number:02d}"
        width = random.normal(4 - 0.05 * number, 1.2, len(frame)).clip(0).round(3)
        frame[f"{prefix}MCMJSW"] = np.where(random.random(len(frame)) < 0.1, "", width.astype(str))
        frame.to_csv(folder / f"kXR_QJSW_Duryea{number:02d}.txt", sep="|", index=False)
        frames[visit] = frame.rename(columns={f"{prefix}MCMJSW": "width"})
    return pandas, folder, frames


@pytest.mark.parametrize("horizon", HORIZONS)
def test_changes_are_those_that_pandas_and_numpy_find(many, horizon):
    pandas, folder, frames = many
    sides = []
    for visit in ("00m", horizon):
        frame = frames[visit]
        measured = frame[(frame["READPRJ"] == "16") & (frame["width"] != "")]
        sides.append(measured.assign(width=pandas.to_numeric(measured["width"])))
    both = sides[0].merge(sides[1], on=["ID", "SIDE"])
    change = (both["width_y"] - both["width_x"]).to_numpy()
    wanted = [len(both), both["ID"].nunique(), change.mean(), change.std(ddof=1)]
    wanted += list(np.percentile(change, [5, 25, 50, 75, 95]))
    rows = told(folder)
    assert len(both) > 90
    for quantity, number in zip(QUANTITIES, wanted, strict=True):
        assert float(rows[quantity, horizon]["found"]) == pytest.approx(number, abs=0.00051)


def test_the_command_prints_a_table_and_one_sentence(small):
    code = "from oatools.commands.label import main; main()"
    command = [sys.executable, "-c", code, str(small), "--expect", "oai"]
    done = subprocess.run(command, capture_output=True, text=True)
    header, *lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert header.split("\t") == ["quantity", "visit", "unit", "expected", "found", "agrees"]
    assert len(lines) == 6 * 9 + 20
    assert done.stderr.count("\n") == 1 and "of 74 numbers" in done.stderr
