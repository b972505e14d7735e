"""Times to an event from NDA's structures, from plain tables and from MOST, and as a user asks."""

import subprocess
import sys

import pytest

from oatools.core.errors import UsageError
from oatools.oai.endpoints import endpoint_of, width_endpoint
from oatools.oai.labels import label_knees
from oatools.oai.timed_endpoints import timed_endpoint_of
from oatools.oai.timed_labels import time_knees


def courses(times):
    rows = {}
    for row in times.rows():
        name = f"{row['subject']} {row['side']}"
        rows[name] = " ".join(row[column] for column in ("time", "event", "from", "to", "ended"))
    return rows


# --- NDA --------------------------------------------------------------------------------------------

# Under NDA's own names, with a line of descriptions; _ is a blank.
STRUCTURES = {
    "oai_outcome01": """
src_subject_id visit rntcnt rkdays rkvsrp rkvspr rkblrp rkrpcf lkdays lkvsrp lkvspr lkblrp lkrpcf ddcf dthdate   ddvspr
The~ID         Visit Most~recent~contact _ _ _ _ _ _ _ _ _ _ _ _ _
9000001        V99   11     800    4      3      0      3      _      6      5      0      3      _    _         _
9000002        V99   5      _      _      _      1      _      900    4      _      0      0      _    _         _
9000003        V99   5      _      _      _      0      _      _      _      _      0      _      2    3/26/2008 5
""",
    "oai_kxrquantjsw01": """
src_subject_id visit readprj side mcmjsw
The~ID         Visit Project Side Width
9000001        V00   16      1    5
9000001        V01   16      1    4.9
9000001        V00   16      2    4.1
9000001        V03   16      2    3.6
9000003        V00   16      1    5
9000003        V05   16      1    5
""",
    "oai_enrollee01": """
src_subject_id visit e_cohort sex
The~ID         Visit Cohort   Sex
9000001        V00   1        F
9000002        V00   1        M
9000003        V00   1        M
""",
}


@pytest.fixture
def nda(tmp_path):
    root = tmp_path / "nda"
    root.mkdir()
    for name, text in STRUCTURES.items():
        rows = []
        for line in text.strip().splitlines():
            cells = [cell.replace("~", " ").replace("_", "") for cell in line.split()]
            rows.append("\t".join(f'"{cell}"' for cell in cells))
        header = "\t".join(f'"{cell}"' for cell in text.strip().splitlines()[0].split())
        (root / f"{name}.txt").write_text("\r\n".join([header, *rows[1:], ""]))
    return root


def test_ndas_structures_tell_the_same(nda):
    tkr = label_knees(nda, endpoint="tkr", until="96m")
    assert courses(tkr) == {
        "9000001 right": "26.28 1 26.28 26.28 event",
        "9000001 left": "48 1 36 48 event",
        "9000002 left": "36 0 36 n/a lost",
        # without a date of enrolment the last contact before the death counts
        "9000003 right": "36 0 36 n/a died",
        "9000003 left": "36 0 36 n/a died",
    }
    jsn = label_knees(nda, endpoint="jsn", until="96m")
    assert courses(jsn) == {
        "9000001 right": "26.28 1 12 26.28 event",
        "9000001 left": "24 1 0 24 event",
        "9000003 right": "36 0 36 n/a end",
    }
    assert "no readings at 48m, 72m, 96m" in "\n".join(jsn.notes)


def test_a_package_without_deaths_says_so(nda):
    path = nda / "oai_outcome01.txt"
    path.write_text(path.read_text().replace('"ddcf"', '"a"').replace('"dthdate"', '"b"'))
    times = label_knees(nda, endpoint="tkr", until="96m")
    assert courses(times)["9000003 right"] == "36 0 36 n/a lost"
    assert "no column of deaths (V99EDDCF): who died is not known" in times.notes


# --- a plain table ----------------------------------------------------------------------------------

PLAIN = """subject,side,visit,jsw,kl,jsm,replaced,osteotomy
a,right,00m,4.1,2,1,,
a,right,06m,4.0,2,1,no,
a,right,18m,3.6,2,1,no,
a,right,36m,3.5,3,2,no,
a,left,00m,4.1,2,1,no,
a,left,06m,4.0,2,1,no,
a,left,18m,,,,yes,
b,right,00m,4,2,1,no,no
b,right,18m,4,2,1,no,yes
b,right,36m,3.9,2,1,no,yes
b,left,00m,4,2,1,yes,
b,left,36m,4,2,1,yes,
c,right,00m,0.3,4,3,no,
c,right,06m,0.3,4,3,no,
c,left,00m,4,1,0,no,
"""
PLAIN_COURSES = {
    "tkr": {
        "a right": "36 0 36 n/a end",
        "a left": "18 1 6 18 event",
        "b right": "36 0 36 n/a end",
        "c right": "6 0 6 n/a lost",
    },
    "jsn": {
        "a right": "18 1 6 18 event",
        "a left": "18 1 6 18 event",
        "b right": "36 0 36 n/a end",
        "c right": "6 0 6 n/a lost",
    },
    "kl": {
        "a right": "36 1 18 36 event",
        "a left": "18 1 6 18 event",
        "b right": "18 1 0 18 event",  # by an osteotomy
        "c right": "6 0 6 n/a lost",
    },
    "jsn-grade": {
        "a right": "36 1 18 36 event",
        "a left": "18 1 6 18 event",
        "b right": "36 0 36 n/a end",
        "c right": "6 0 6 n/a lost",
    },
}


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "study.csv"
    path.write_text(PLAIN)
    return path


@pytest.mark.parametrize("endpoint", PLAIN_COURSES)
def test_a_plain_table_has_one_line_a_knee_and_visit(plain, endpoint):
    times = label_knees(plain, endpoint=endpoint, until="36m")
    assert courses(times) == PLAIN_COURSES[endpoint]
    assert times.left_out["knee replaced by 00m"] == 1
    assert f"{plain}: who died is not known" in times.notes
    assert {row["endpoint"] for row in times.rows()} == {f"{endpoint}-until36m"}


def test_a_plain_table_counts_from_any_of_its_visits(plain):
    times = label_knees(plain, endpoint="tkr", visit="06m", until="18m")
    assert courses(times) == {
        "a right": "12 0 12 n/a end",
        "a left": "12 1 0 12 event",
        "b right": "12 0 12 n/a end",
    }
    never = label_knees(plain, endpoint="jsn", until="36m", replaced="never")
    assert courses(never)["a left"] == "36 0 36 n/a replaced"
    assert never.left_out["JSW at 00m is less than the loss asked for"] == 1
    censored = label_knees(plain, endpoint="kl", until="36m", replaced="censored")
    assert courses(censored)["a left"] == "6 0 6 n/a replaced"
    assert censored.left_out["knee replaced before it was read again after 00m"] == 1


def test_what_a_plain_table_lacks_is_told(plain, tmp_path):
    plain.write_text("subject,side,visit,jsw\na,left,00m,4\na,left,12m,4\n")
    with pytest.raises(UsageError, match="no column 'replaced'"):
        label_knees(plain, endpoint="tkr", until="36m")
    assert courses(label_knees(plain, endpoint="jsn", until="36m")) == {"a left": "12 0 12 n/a end"}
    with pytest.raises(UsageError, match="needs readings at 12m and later"):
        label_knees(plain, endpoint="jsn", visit="12m", until="36m")
    with pytest.raises(UsageError, match="a plain table has one column of widths"):
        time_knees(plain, timed_endpoint_of("jsn", "36m", width="jsw225"))


def test_most_is_refused_in_a_line(tmp_path):
    (tmp_path / "most").mkdir()
    (tmp_path / "most" / "mostv01235xray.txt").write_text("MOSTID V0XRKL V0XLKL\nMB1 1 2\n")
    with pytest.raises(UsageError, match="MOST, of which no times to an event are made"):
        label_knees(tmp_path / "most", endpoint="kl", until="60m")


# --- names and parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("tkr-until96m", "jsn-until96m", "jsn-until96m@-0.7", "kl-until96m", "jsn-grade-until96m"),
        "jsn-until96m-jsw225-replaced-never@-0.7",
    ],
)
def test_no_name_of_a_time_is_taken_for_a_width_at_one_visit(name):
    assert width_endpoint(name) is None


REFUSED = {
    "a time without an end": ({"endpoint": "tkr"}, "tkr is a time, and needs an end; give until"),
    "a loss without an end": ({"endpoint": "jsn"}, "jsn is a time, and needs an end"),
    "pain": ({"endpoint": "pain", "until": "96m"}, "pain has no time of its own; leave out until"),
    "given": ({"endpoint": "given", "until": "96m"}, "given has no time of its own"),
    "none": ({"endpoint": "none", "until": "96m"}, "none has no time of its own"),
    "one visit": ({"endpoint": "jsn12", "until": "96m"}, "jsn12 has no time .* take endpoint jsn$"),
    "per cent": ({"endpoint": "jsn12-relative", "until": "96m"}, "has no time of its own"),
    "no visit": ({"endpoint": "jsn", "until": "soon"}, "there is no visit 'soon'"),
    "before the visit": (
        {"endpoint": "jsn", "visit": "12m", "until": "12m"},
        "until 12m does not come after the visit 12m",
    ),
    "tkr has no cut": ({"endpoint": "tkr", "until": "96m", "threshold": 1}, "without threshold"),
    "tkr is replaced": (
        {"endpoint": "tkr", "until": "96m", "replaced": "event"},
        "tkr is the replacement itself, without replaced",
    ),
    "a gain": ({"endpoint": "jsn", "until": "96m", "threshold": 0.5}, "a loss .* is a negative"),
    "half a grade": ({"endpoint": "kl", "until": "96m", "threshold": 0.5}, "one by one"),
    "no way": ({"endpoint": "kl", "until": "96m", "replaced": "sometimes"}, "is none of event"),
    "a label": ({"endpoint": "kl", "replaced": "never"}, "is for times to an event; give until"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_time_is_refused(plain, case):
    arguments, said = REFUSED[case]
    with pytest.raises(UsageError, match=said):
        label_knees(plain, **arguments)


def test_labels_at_one_visit_stay_as_they_are(plain):
    labels = label_knees(plain, endpoint_of("kl", horizon="36m"))
    assert "label" in labels.columns() and "time" not in labels.columns()
    assert {row["endpoint"] for row in labels.rows()} == {"kl36"}


# --- the command ------------------------------------------------------------------------------------


def oa_label(*arguments):
    line = "from oatools.commands.label import main; main()"
    command = [sys.executable, "-c", line, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_prints_times_and_their_flow(plain, tmp_path):
    flow, figure = tmp_path / "flow.tsv", tmp_path / "flow.svg"
    ask = (plain, "--endpoint", "jsn", "--until", "36m", "--flow", flow, "--flow", figure)
    done = oa_label(*ask)
    assert done.returncode == 0, done.stderr
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[:10] == [
        "knee",
        "subject",
        "visit",
        "side",
        "time",
        "event",
        "from",
        "to",
        "ended",
        "jsw",
    ]
    assert header[-3:] == ["readprj", "endpoint", "caution"] and "label" not in header
    assert rows[0][:10] == ["a_00m_left", "a", "00m", "left", "18", "1", "6", "18", "event", "4.1"]
    assert rows[2][:10] == ["b_00m_right", "b", "00m", "right", "36", "0", "36", "n/a", "end", "4"]
    assert done.stderr.endswith(
        "oa-label: 1 knee left out: knee replaced by 00m\n"
        "oa-label: 1 knee left out: no JSW at any visit after 00m\n"
        "oa-label: no knee has a value of age, sex, bmi, height, weight, womac_pain, "
        "womac_stiffness, womac_function, womac_total, koos_pain, injury, surgery, race, site, "
        "cohort\n"
        "oa-label: follow-up without an event: 1 to the end, 1 lost\n"
        "oa-label: 4 knees of 3 patients at risk, 2 with an event\n"
    )
    assert flow.read_text() == (
        "reason\tknees\nassessed\t6\nknee replaced by 00m\t1\nno JSW at any visit after 00m\t1\n"
        "at risk\t4\nevents\t2\nto the end\t1\nlost\t1\n"
    )
    drawn = figure.read_text()
    assert "with an event" in drawn and "1 to the end" in drawn


def test_all_knees_of_the_visit_are_listed_with_the_times_that_there_are(plain):
    done = oa_label(plain, "--endpoint", "tkr", "--until", "36m", "--all")
    rows = [line.split("\t")[:10] for line in done.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == [
        *("a_00m_left", "a_00m_right", "b_00m_right", "c_00m_left", "c_00m_right")
    ]
    assert rows[3][4:] == ["n/a", "n/a", "n/a", "n/a", "n/a", "4"]
    assert done.stderr.endswith("oa-label: 1 more knees listed, with time n/a\n")


@pytest.mark.parametrize(
    "options,said",
    [
        ("--until 36m --horizon 12m", "--horizon is not for times to an event (--until)"),
        ("--until 36m --reliable-change", "--reliable-change is not for times to an event"),
        ("--until 36m --sem 0.4", "--sem is not for times to an event"),
        ("--until 36m --outcome x", "--outcome is not for times to an event"),
        ("--horizon 12m", "jsn is a time, and needs an end; give --until 96m, for example"),
        ("", "jsn is a time, and needs an end; give --until 96m, for example"),
    ],
)
def test_options_that_a_time_does_not_have_are_refused(plain, options, said):
    done = oa_label(plain, "--endpoint", "jsn", *options.split())
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1
