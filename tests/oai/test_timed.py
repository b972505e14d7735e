"""Times to an event, worked by hand: what became of each knee, from rows as the tables have them.

A month has 30.4375 days, so that day 800 is 26.28 months after enrolment, and day 1461 is 48.
"""

import pytest

from oatools.core.errors import UsageError
from oatools.oai.labels import label_knees
from oatools.oai.timed_endpoints import timed_endpoint_of

# A cell of _ is blank, and ~ is a blank within one.
ENROLLEES = """
ID       V00EVDATE   P02SEX
9000001  03/01/2005  2:~Female
9000002  03/01/2005  1:~Male
9000003  03/01/2005  1
9000004  03/01/2005  1
9000005  03/01/2005  1
9000006  03/01/2005  1
9000007  03/01/2005  1
9000008  03/01/2005  1
9000009  03/01/2005  1
9000010  03/01/2005  1
9000011  03/01/2005  1
9000012  03/01/2005  1
9000013  03/01/2005  1
9000014  03/01/2005  1
9000015  03/01/2005  1
9000016  03/01/2005  1
9000017  03/01/2005  1
9000018  03/01/2005  1
9000019  03/01/2005  1
9000020  03/01/2005  1
9000021  03/01/2005  1
"""
ENTRY = """
ID       V00AGE  P01KRSR  P01KRSL
9000010  61      0:~No    0:~No
9000012  61      0:~No    0:~No
9000013  61      0:~No    0:~No
9000020  61      1:~Yes   0:~No
"""
AT_12 = """
ID       V01AGE  V01KRSR12  V01KRSL12
9000010  62      0:~No      0:~No
9000011  62      1:~Yes     0:~No
9000012  62      0          0
9000013  62      .A         .A
"""
AT_24 = """
ID       V03AGE  V03KRSR12  V03KRSL12
9000010  63      1:~Yes     0:~No
9000012  63      1          0
9000013  63      .          .
9000005  .M      .          _
"""
OUTCOMES = """
id      V99RNTCNT V99ERKDAYS V99ERKVSRP V99ERKVSPR V99ERKBLRP V99ERKRPCF V99ELKDAYS V99ELKVSRP V99ELKVSPR V99ELKBLRP V99ELKRPCF V99EDDCF V99EDDDATE V99EDDVSPR
9000001 11:~108-month 800   3:~24-month 2:~18-month 0:~No 3:~Replacement~adjudicated,~confirmed . . . 0:~No .A:~Not~Expected . . .
9000002 11            2922  .          .          0          3          2923       .          .          0          3          .        .          .
9000003 11            .     .          .          1:~Yes     .          800        3          .          0          0:~Replacement~adjudcated,failed~to~confirm . . .
9000004 11            .     3:~24-month 1:~12-month 0        3          .          6          .          0          3          .        .          .
9000005 5:~36-month   .     .          .          0          .          .          .          .          0          .          .        .          .
9000006 5             .     .          .          0          .          900        4          3          0          3          2        03/01/2009 5
9000007 11            .     .          .          0          .          .          .          .          0          .          0        03/01/2006 1
9000008 2             .     .          .          0          .          .          .          .          0          .          1        03/01/07   2
9000009 4             .     .          .          0          .          .          .          .          0          .          2        .          3:~24-month
9000010 11            .     .          .          0          .          .          .          .          0          .          .        .          .
9000011 11            .     .          .          0          .          .          .          .          0          .          .        .          .
9000012 11            .     .          .          0          0          .          .          .          0          .          .        .          .
9000013 .             .     .          .          0          .          .          .          .          0          .          .        .          .
9000014 0:~baseline   .     .          .          0          .          .          .          .          0          .          .        .          .
9000015 11            .     11         9          0          3          .          11         10         0          3          .        .          .
9000016 11            .A    .A         .          0          3          800        .          .          0          1          .        .          .
9000017 11.0          800.0 3.0        2.0        0.0        3.0        .          3.0        1.0        0.0        3.0        .        .          .
9000018 11            .     .          .          0          .          .          .          .          0          .          2        03/02/2014 11
9000019 11            0     .          .          0          3          1          .          .          0          3          .        .          .
9000020 11            .     .          .          .          .          .          .          .          0          .          .        .          .
9000021 11            365   .          .          0          3          366        .          .          0          3          .        .          .
"""
PEOPLE = {
    "Enrollees": ENROLLEES,
    "AllClinical00": ENTRY,
    "AllClinical01": AT_12,
    "AllClinical03": AT_24,
    "Outcomes99": OUTCOMES,
}


def write(root, name, text):
    root.mkdir(exist_ok=True)
    lines = [line.split() for line in text.strip().splitlines()]
    assert len({len(line) for line in lines}) == 1, [len(line) for line in lines]
    rows = ["|".join(line).replace("~", " ").replace("_", "") for line in lines]
    (root / f"{name}.txt").write_bytes("".join(f"{row}\r\n" for row in rows).encode("latin-1"))


def write_visits(root, stem, column, text):
    """The tables of readings of each visit, from lines of all of them; - is no line at that visit."""
    header, *lines = [line.split() for line in text.strip().splitlines()]
    assert header[:3] == ["ID", "SIDE", "READPRJ"]
    for place, number in enumerate(header[3:], start=3):
        rows = [f"ID|SIDE|READPRJ|V{number}{column}"]
        rows += ["|".join([*line[:3], line[place]]) for line in lines if line[place] != "-"]
        root.mkdir(exist_ok=True)
        (root / f"{stem}{number}.txt").write_text("".join(f"{row}\r\n" for row in rows))


def courses(times):
    """What the table says of each knee at risk."""
    rows = {}
    for row in times.rows():
        name = f"{row['subject']} {row['side']}"
        rows[name] = " ".join(row[column] for column in ("time", "event", "from", "to", "ended"))
    return rows


def differences(times, expected):
    """The knees of which the table does not say what is expected, None for those left out."""
    found = courses(times)
    return {
        knee: (found.get(knee), said) for knee, said in expected.items() if found.get(knee) != said
    }


@pytest.fixture
def people(tmp_path):
    for name, text in PEOPLE.items():
        write(tmp_path / "oai", name, text)
    return tmp_path / "oai"


# --- the replacement itself -------------------------------------------------------------------------

END = "96 0 96 n/a end"
# time, event, from, to, ended
REPLACEMENT = {
    "9000001 right": "26.28 1 26.28 26.28 event",
    "9000001 left": END,  # nothing of the other knee
    "9000002 right": "96 1 96 96 event",  # on the last day
    "9000002 left": END,  # a day later
    "9000003 right": None,  # at baseline
    "9000003 left": END,  # not confirmed
    "9000004 right": "24 1 12 24 event",  # without a day: since the contact before
    "9000004 left": "48 1 36 48 event",  # or the one that the study has before
    "9000005 right": "36 0 36 n/a lost",
    "9000005 left": "36 0 36 n/a lost",
    "9000006 right": "48 0 48 n/a died",  # four years are 1461 days
    "9000006 left": "29.57 1 29.57 29.57 event",  # replaced, and died later
    "9000007 right": END,  # a death that was not confirmed
    "9000008 right": "23.98 0 23.98 n/a died",  # 730 days; a year of two digits
    "9000009 left": "24 0 24 n/a died",  # without a date: the contact before
    "9000010 right": "12 0 12 n/a replaced",  # reported alone, at 24 months
    "9000010 left": END,
    "9000011 right": None,  # reported alone, and not seen before
    "9000011 left": END,
    "9000012 right": END,  # reported, and refuted
    "9000013 right": "24 0 24 n/a lost",  # no word of contacts: the last visit with data
    "9000014 left": None,  # never seen again
    "9000015 right": "84 0 84 n/a replaced",  # between 84 and 108 months, nobody knows when
    "9000015 left": END,  # after 96
    "9000016 right": None,  # confirmed, at no time
    "9000016 left": "26.28 1 26.28 26.28 event",  # adjudication not finished
    "9000017 right": "26.28 1 26.28 26.28 event",  # plain numbers
    "9000017 left": "24 1 12 24 event",
    "9000018 right": END,  # died later
    "9000019 right": None,  # on the day of the visit
    "9000019 left": "0.03 1 0.03 0.03 event",  # a day after it
    "9000020 right": None,  # before entry, as reported
    "9000020 left": END,
    "9000021 right": "11.99 1 11.99 11.99 event",
    "9000021 left": "12.02 1 12.02 12.02 event",
}


def test_the_time_to_a_replacement(people):
    times = label_knees(people, endpoint="tkr", until="96m")
    assert differences(times, REPLACEMENT) == {}
    assert times.left_out == {
        "knee replaced by 00m": 2,
        "knee replaced by 00m, as reported": 1,
        "knee replaced soon after 00m, as reported": 1,
        "no contact after 00m": 2,
        "knee replaced, at no time that can be read": 1,
    }
    assert {row["endpoint"] for row in times.rows()} == {"tkr-until96m"}
    assert (times.assessed, times.assessed_patients) == (42, 21)
    notes = "\n".join(times.notes)
    assert "1 of 11 replacements rest on another code of adjudication than 3" in notes
    assert "1 knee replaced by report alone, which Outcomes99 does not have" in notes
    assert "nothing says when the contact with 1 person ended (V99RNTCNT)" in notes
    assert "who died is not known" not in notes


def test_the_time_counts_from_the_visit(people):
    times = label_knees(people, endpoint="tkr", visit="12m", until="48m")
    assert (
        differences(
            times,
            {
                "9000001 right": "14.28 1 14.28 14.28 event",
                "9000001 left": "36 0 36 n/a end",
                "9000004 right": "12 1 0 12 event",
                "9000004 left": "36 1 24 36 event",
                "9000005 right": "24 0 24 n/a lost",
                "9000008 right": "11.98 0 11.98 n/a died",
                "9000010 right": None,  # not seen between the visit and the report
                "9000011 right": None,  # reported at the visit
                "9000015 right": "36 0 36 n/a end",
                "9000019 left": None,  # before the visit
                "9000021 right": None,  # a quarter of a day before it
                "9000021 left": "0.02 1 0.02 0.02 event",
            },
        )
        == {}
    )
    assert times.left_out["knee replaced by 12m"] == 4
    assert {row["endpoint"] for row in times.rows()} == {"tkr-until48m"}


def test_without_outcomes_a_report_is_the_event(people):
    (people / "Outcomes99.txt").unlink()
    times = label_knees(people, endpoint="tkr", until="96m")
    assert (
        differences(
            times,
            {
                "9000010 right": "24 1 12 24 event",
                "9000011 right": "12 1 0 12 event",
                "9000012 right": "24 1 12 24 event",
                "9000012 left": "24 0 24 n/a lost",
                "9000013 left": "24 0 24 n/a lost",
                "9000001 right": None,  # never seen again
                "9000005 left": None,  # a line at 24 months, without data
            },
        )
        == {}
    )
    notes = "\n".join(times.notes)
    assert "no table Outcomes99" in notes and "who died is not known" in notes
    assert "3 of 3 replacements are what people report, as there is no Outcomes99" in notes


# --- widths -----------------------------------------------------------------------------------------

READ_OUTCOMES = """
id      V99RNTCNT V99ERKDAYS V99ERKVSRP V99ERKVSPR V99ERKBLRP V99ERKRPCF V99ELKDAYS V99ELKVSRP V99ELKVSPR V99ELKBLRP V99ELKRPCF V99EDDCF V99EDDDATE V99EDDVSPR
9100001 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100002 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100003 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100004 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100005 5         .          .          .          0          .          .          .          .          0          .          .        .          .
9100006 6         .          .          .          0          .          .          .          .          0          .          2        05/01/2009 5
9100007 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100008 11        800        4          3          0          3          800        4          3          0          3          .        .          .
9100009 11        200        1          0          0          3          .          3          1          0          3          .        .          .
9100010 11        1000       5          4          0          3          .          .          .          0          .          .        .          .
9100011 11        .          .          .          0          .          .          .          .          1          .          .        .          .
9100012 11        .          .          .          0          .          .          .          .          0          .          .        .          .
9100013 11        1480       6          5          0          3          3000       11         10         0          3          .        .          .
9100014 11        1461       .          .          0          3          .          .          .          0          .          .        .          .
9100016 11        .          11         9          0          3          .          .          .          0          .          .        .          .
9100015 7         .          .          .          0          .          .          .          .          0          .          2        03/01/2010 6
"""
READ_ENROLLEES = """
ID       V00EVDATE
9100006  05/01/2005
9100015  03/01/2005
"""
READ_AT_24 = """
ID       V03AGE  V03KRSR12  V03KRSL12
9100012  63      1:~Yes     1:~Yes
"""
# Widths in mm; 1 is right and 2 left.
WIDTHS = """
ID      SIDE READPRJ 00   01   03    05   06   08   10
9100001 1    16      4.1  3.6  3.5   3.4  3.3  3.2  3.1
9100001 2    16      4.1  4.0  3.601 3.7  3.6  3.5  3.5
9100002 1    16      4.1  4.1  3.6   4.1  4.1  4.1  4.1
9100002 2    16      5    5    4.9   4.4  5    5    5
9100003 1    16      5    4.9  4.9   4.9  4.9  4.4  4.4
9100003 2    16      5    5    5     5    5    4.9  4.5
9100004 1    16      5    .M   -     4.9  .T   -    4.0
9100004 2    16      5    5    5     5    5    5    5
9100005 1    16      5    5    5     5    -    -    -
9100005 2    16      5    -    -     -    -    -    -
9100006 1    16      5    5    5     5    -    -    -
9100007 1    16      1.2  1.2  1.1   1.1  1.0  -    -
9100007 2    16      0.4  0.4  0.3   0.2  0    -    -
9100008 1    16      5    4.9  4.8   3.0  3.0  -    -
9100008 2    16      5    4.5  4.4   -    -    -    -
9100009 1    16      5    -    -     -    -    -    -
9100009 2    16      5    4.9  3     -    -    -    -
9100010 1    16      0.3  0.3  -     -    -    -    -
9100010 2    16      0.6  0.5  0     0    0    -    -
9100011 1    16      5    -    -     -    -    -    -
9100011 1    22      -    4    4     -    -    -    -
9100011 2    16      5    4    -     -    -    -    -
9100012 1    16      5    4.9  -     -    -    -    -
9100012 2    16      5    4.9  4.8   4.8  4.8  4.8  4.8
9100013 1    16      5    5    5     5    2    -    -
9100013 2    16      5    5    5     5    5    5    5
9100014 1    16      5    5    5     5    2    -    -
9100014 2    16      5    4.9  .P    -    -    -    -
9100015 1    16      1.2  1.2  1.2   1.2  1.2  -    -
9100015 2    16      .    4    3     -    -    -    -
9100016 1    16      5    5    5     5    5    5    -
"""
# Grade 4 at 48 months: no X-rays later, by the study's design.
GRADES_AT_48 = """
ID      SIDE READPRJ 06
9100007 1    15      4
9100007 2    15      3
9100013 2    15      4
9100015 1    15      4
"""
WAYS = ("event", "censored", "never")
# In each of these ways, or in all of them.
NARROWING = {
    "9100001 right": "12 1 0 12 event",  # exactly 0.5 mm, in decimals
    "9100001 left": "48 1 36 48 event",  # a hair less at 24 months
    "9100002 right": "24 1 12 24 event",  # wider again at once
    "9100002 left": "36 1 24 36 event",
    "9100003 right": "72 1 48 72 event",
    "9100003 left": "96 1 72 96 event",
    "9100004 right": "96 1 36 96 event",  # visits were missed
    "9100004 left": "96 0 96 n/a end",
    "9100005 right": "36 0 36 n/a lost",
    "9100005 left": None,
    "9100006 right": "36 0 36 n/a died",
    "9100007 right": "48 0 48 n/a unmeasured",  # grade 4
    # 0 mm, so that a replacement alone can be its event: known without one by contacts, not X-rays.
    "9100007 left": ("96 0 96 n/a end", None, None),
    "9100008 right": (
        "26.28 1 24 26.28 event",
        "24 0 24 n/a replaced",
        "96 0 96 n/a replaced",
    ),  # what is read later does not count
    "9100008 left": "12 1 0 12 event",  # narrowed before
    "9100009 right": ("6.57 1 0 6.57 event", None, "96 0 96 n/a replaced"),
    "9100009 left": ("24 1 12 24 event", "12 0 12 n/a replaced", "96 0 96 n/a replaced"),
    "9100010 right": ("32.85 1 32.85 32.85 event", None, None),  # less than 0.5 mm to lose
    "9100010 left": "24 1 12 24 event",  # bone on bone
    "9100011 right": None,  # of another reading project
    "9100011 left": None,  # at baseline
    "9100012 right": "12 0 12 n/a replaced",  # reported alone, and not measured then
    "9100012 left": "96 0 96 n/a end",  # reported, and measured
    "9100013 right": (
        "48.62 1 36 48.62 event",
        "36 0 36 n/a replaced",
        "96 0 96 n/a replaced",
    ),  # reported at the visit of 48 months, which came late
    "9100013 left": "96 0 96 n/a end",  # replaced after the end
    "9100014 right": ("48 1 36 48 event", "36 0 36 n/a replaced", "96 0 96 n/a replaced"),
    "9100014 left": ("24 1 12 24 event", "12 0 12 n/a replaced", "96 0 96 n/a replaced"),
    "9100015 right": "48 0 48 n/a died",  # grade 4, but died before the next X-ray
    "9100015 left": None,  # not measured at the visit
    "9100016 right": "72 0 72 n/a replaced",  # between 84 and 108 months
}


@pytest.fixture
def widths(tmp_path):
    root = tmp_path / "oai"
    write(root, "Outcomes99", READ_OUTCOMES)
    write(root, "Enrollees", READ_ENROLLEES)
    write(root, "AllClinical03", READ_AT_24)
    write_visits(root, "kxr_qjsw_duryea", "MCMJSW", WIDTHS)
    write_visits(root, "kxr_sq_bu", "XRKL", GRADES_AT_48)
    return root


@pytest.mark.parametrize("replaced", WAYS)
def test_the_time_to_a_loss_of_width(widths, replaced):
    times = label_knees(widths, endpoint="jsn", until="96m", replaced=replaced)
    expected = {}
    for knee, said in NARROWING.items():
        expected[knee] = said[WAYS.index(replaced)] if isinstance(said, tuple) else said
    assert differences(times, expected) == {}
    assert set(courses(times)) == {knee for knee, said in expected.items() if said is not None}
    ending = "" if replaced == "event" else f"-replaced-{replaced}"
    assert {row["endpoint"] for row in times.rows()} == {f"jsn-until96m{ending}"}


def test_what_is_said_of_the_knees_that_lose_width(widths):
    times = label_knees(widths, endpoint="jsn", until="96m")
    assert times.left_out == {
        "knee replaced by 00m": 1,
        "no JSW at any visit after 00m": 1,
        "JSW at 00m and later from different reading projects only": 1,
        # one of them somebody's left knee, of whom the right one alone was read
        "no JSW at 00m": 2,
    }
    notes = "\n".join(times.notes)
    assert "2 knees cannot lose so many mm any more: an event by replacement alone" in notes
    assert "1 knee without joint space at 48m (KL 4 or width 0) not X-rayed later" in notes
    assert "1 knee replaced by report alone" in notes
    assert "1 knee reported as replaced kept: measured then or later" in notes
    censored = label_knees(widths, endpoint="jsn", until="96m", replaced="censored")
    assert censored.left_out["JSW at 00m is less than the loss asked for"] == 2
    assert censored.left_out["knee replaced before it was read again after 00m"] == 1


def test_the_flow_adds_up(widths):
    times = label_knees(widths, endpoint="jsn", until="96m")
    steps = [(step.name, step.knees) for step in times.flow()]
    at_risk = steps.index(("at risk", len(times.knees)))
    assert steps[0] == ("assessed", times.assessed)
    assert times.assessed == sum(count for _, count in steps[1:at_risk]) + len(times.knees)
    assert sum(count for _, count in steps[at_risk + 1 :]) == len(times.knees)
    assert dict(steps[at_risk + 1 :]) == {
        "events": 16,
        "to the end": 4,
        "lost": 1,
        "died": 2,
        "replaced": 2,
        "unmeasured": 1,
    }


def test_an_earlier_end_and_a_later_visit(widths):
    until_48 = label_knees(widths, endpoint="jsn", until="48m")
    assert (
        differences(
            until_48,
            {
                "9100001 left": "48 1 36 48 event",
                "9100003 right": "48 0 48 n/a end",
                "9100004 right": "36 0 36 n/a lost",
                "9100007 right": "48 0 48 n/a end",
                "9100013 right": "36 0 36 n/a replaced",  # the X-ray of 48 months is of the prosthesis
                "9100014 right": "48 1 36 48 event",
            },
        )
        == {}
    )
    from_12 = label_knees(widths, endpoint="jsn", visit="12m", until="96m")
    assert (
        differences(
            from_12,
            {
                "9100001 right": "84 1 60 84 event",
                "9100001 left": "60 1 36 60 event",
                "9100002 right": "12 1 0 12 event",
                "9100004 right": None,
                "9100008 right": "14.28 1 12 14.28 event",
                "9100009 right": None,
                "9100015 left": "12 1 0 12 event",
            },
        )
        == {}
    )


def test_the_cut_and_the_width_are_part_of_the_name(widths):
    times = label_knees(widths, endpoint="jsn", until="96m", threshold=-0.7)
    assert {row["endpoint"] for row in times.rows()} == {"jsn-until96m@-0.7"}
    assert (
        differences(
            times,
            {
                "9100001 right": "36 1 24 36 event",
                "9100002 right": "96 0 96 n/a end",
                "9100004 right": "96 1 36 96 event",
            },
        )
        == {}
    )
    named = timed_endpoint_of("jsn", "96m", threshold=-0.5, width="jsw225", replaced="never")
    assert named.name == "jsn-until96m-jsw225-replaced-never"


def test_tables_of_later_visits_may_be_absent_but_not_all_of_them(widths):
    for number in ("01", "05", "08", "10"):
        (widths / f"kxr_qjsw_duryea{number}.txt").unlink()
    times = label_knees(widths, endpoint="jsn", until="96m")
    assert (
        differences(
            times,
            {
                "9100001 right": "24 1 0 24 event",
                "9100002 left": "48 0 48 n/a end",
                "9100004 left": "48 0 48 n/a end",
                "9100008 left": "24 1 0 24 event",
            },
        )
        == {}
    )
    assert "no readings at 12m, 36m, 72m, 96m" in "\n".join(times.notes)
    for number in ("03", "06"):
        (widths / f"kxr_qjsw_duryea{number}.txt").unlink()
    with pytest.raises(UsageError, match="no X-ray was read after 00m up to 96m"):
        label_knees(widths, endpoint="jsn", until="96m")


# --- grades -----------------------------------------------------------------------------------------

# Project 15 reads the visits up to 48 months; 37 those after, and 0 and 48 again; 42 is 37.
GRADES = """
ID      SIDE READPRJ 00   01   03   05   06   08   10
9200001 1    15      2    2:~2 3    3    3    -    -
9200001 2    15      1    1    1    1    1    -    -
9200001 2    37      1    -    -    -    1    2    2
9200002 1    15      2    2    2    2    2    -    -
9200002 1    37      3    -    -    -    3    3    3
9200002 2    15      2    2    2    2    2    -    -
9200002 2    37      -    -    -    -    2    3    3
9200003 1    15      2    2    2    2    2    -    -
9200003 1    37      -    -    -    -    -    3    3
9200003 2    15      1    1    1    1    2    -    -
9200003 2    37      -    -    -    -    2    3    3
9200004 1    15      4    4    4    -    -    -    -
9200004 2    15      4    4    4    4    4    -    -
9200005 1    15      2    3    2    2    2    -    -
9200005 2    37      1    -    -    -    1    -    -
9200005 2    42      -    -    -    -    -    2    2
9200006 1    15      1.8  1.2  1.8  2    2    -    -
9200006 2    15      2    2    -    -    -    -    -
9200007 1    15      3    3    -    3    4    -    -
9200007 2    15      0    0    0    0    0    -    -
9200007 2    37      1    -    -    -    1    2    1
9200008 1    15      2    2    2    2    2    3    3
9200008 1    37      2    -    -    -    2    2    2
"""
GRADE_OUTCOMES = """
id      V99RNTCNT V99ERKDAYS V99ERKRPCF V99ELKDAYS V99ELKRPCF
9200001 11        .          .          .          .
9200002 11        .          .          .          .
9200003 11        .          .          .          .
9200004 11        800        3          .          .
9200005 11        .          .          .          .
9200006 11        .          .          500        0
9200007 11        .          .          .          .
"""
# With a rise of one grade, and of two.
RISES = {
    "9200001 right": ("24 1 12 24 event", "48 0 48 n/a lost"),
    "9200001 left": ("72 1 48 72 event", "96 0 96 n/a end"),
    "9200002 right": "96 0 96 n/a end",  # 2 and 3 are two readers, and no rise
    "9200002 left": ("72 1 48 72 event", "96 0 96 n/a end"),  # read again at 48 alone
    "9200003 right": "48 0 48 n/a lost",  # not read again: nothing to compare with
    "9200003 left": ("48 1 36 48 event", "72 1 48 72 event"),  # one grade each
    "9200004 right": "26.28 1 26.28 26.28 event",  # grade 4, and replaced
    "9200004 left": "96 0 96 n/a end",  # grade 4: followed for a replacement alone
    "9200005 right": ("12 1 0 12 event", "48 0 48 n/a lost"),  # and back
    "9200005 left": ("72 1 48 72 event", "96 0 96 n/a end"),
    "9200006 right": ("36 1 24 36 event", "48 0 48 n/a lost"),  # fractions are no grades
    "9200006 left": "12 0 12 n/a lost",  # a replacement that was not confirmed
    "9200007 right": ("48 1 36 48 event", "96 0 96 n/a end"),  # grade 3 has not two to lose
    "9200008 right": "96 0 96 n/a end",  # 37 goes before 15 after 48 months
    "9200007 left": ("72 1 48 72 event", "96 0 96 n/a end"),
}


@pytest.fixture
def grades(tmp_path):
    root = tmp_path / "oai"
    write(root, "Outcomes99", GRADE_OUTCOMES)
    write_visits(root, "kxr_sq_bu", "XRKL", GRADES)
    return root


@pytest.mark.parametrize("threshold", [1, 2])
def test_the_time_to_a_rise_of_the_grade(grades, threshold):
    times = label_knees(grades, endpoint="kl", until="96m", threshold=threshold)
    expected = {}
    for knee, said in RISES.items():
        expected[knee] = said[threshold - 1] if isinstance(said, tuple) else said
    assert differences(times, expected) == {}
    cut = "" if threshold == 1 else "@2"
    assert {row["endpoint"] for row in times.rows()} == {f"kl-until96m{cut}"}
    left = label_knees(grades, endpoint="kl", until="96m", replaced="never")
    assert left.left_out == {"no grade left to lose at 00m": 2}


def test_the_project_that_told_is_the_one_of_the_row(grades):
    times = label_knees(grades, endpoint="kl", until="96m")
    projects = {f"{row['subject']} {row['side']}": row["readprj"] for row in times.rows()}
    assert projects["9200001 right"] == "15" and projects["9200001 left"] == "37"
    assert projects["9200004 right"] == "15" and projects["9200003 right"] == "15"


def test_a_width_of_0_at_48_months_ends_the_readings_of_grades_too(grades):
    """End-stage is a width of 0, too, for grades; tables of other widths do not matter to them."""
    grade_2 = "9200001 right"
    assert courses(label_knees(grades, endpoint="kl", until="96m", threshold=2))[grade_2] == (
        "48 0 48 n/a lost"
    )
    lines = "ID|SIDE|READPRJ|V06{}\n9200001|1: Right|16|0\n"
    (grades / "kxr_qjsw_duryea06.txt").write_text(lines.format("JSW225"))
    assert courses(label_knees(grades, endpoint="kl", until="96m", threshold=2))[grade_2] == (
        "48 0 48 n/a lost"
    )
    (grades / "kxr_qjsw_duryea06.txt").write_text(lines.format("MCMJSW"))
    assert courses(label_knees(grades, endpoint="kl", until="96m", threshold=2))[grade_2] == (
        "48 0 48 n/a unmeasured"
    )


NARROWING_GRADES = """
ID      SIDE READPRJ 00   01   03   05   06
9300001 1    15      1    1.2  1.2  1.2  1.2
9300001 2    15      1.4  1.6  1.8  2    2
9300002 1    15      0    0    0    0    0
9300002 2    15      3    3    3.2  3    3
9300003 1    15      3.4  3.4  3.4  3.6  3.6
9300003 2    15      2    1    1.2  2    2
"""
NARROWING_GRADE_COURSES = {
    "9300001 right": "12 1 0 12 event",  # within a grade
    "9300001 left": "36 1 24 36 event",  # the size of a fraction means nothing
    "9300002 right": "48 0 48 n/a end",
    "9300002 left": "24 1 12 24 event",
    "9300003 right": "48 0 48 n/a end",  # nothing left to lose
    "9300003 left": "48 0 48 n/a end",
}


def test_the_time_to_a_rise_of_narrowing(tmp_path):
    write_visits(tmp_path / "oai", "kxr_sq_bu", "XRJSM", NARROWING_GRADES)
    times = label_knees(tmp_path / "oai", endpoint="jsn-grade", until="48m")
    assert differences(times, NARROWING_GRADE_COURSES) == {}
    assert {row["endpoint"] for row in times.rows()} == {"jsn-grade-until48m"}
    left = label_knees(tmp_path / "oai", endpoint="jsn-grade", until="48m", replaced="censored")
    assert left.left_out == {"no grade left to lose at 00m": 1}
