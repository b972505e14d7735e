"""Adjudicated outcomes, reports and X-rays: which of them takes a knee away, from which endpoint.

The one right knee loses half a millimetre, a grade of each kind, and hurts: it is positive for every
endpoint unless it was replaced.
"""

import pytest

from oatools.oai.endpoints import endpoint_of
from oatools.oai.labels import label_tables, open_tables

TABLES = {
    "Enrollees": "ID|P02SEX\n9000001|2: Female",
    "AllClinical00": "ID|P01KRSR|P01KRSL|V00WOMKPR|V00WOMKPL\n9000001|{P01KRSR}|{P01KRSL}|3|.",
    "AllClinical01": "ID|V01KRSR12|V01KRSL12|V01WOMKPR|V01WOMKPL\n9000001|{V01KRSR12}|{V01KRSL12}|3|.",
    "AllClinical03": "ID|V03KRSR12|V03KRSL12\n9000001|{V03KRSR12}|.",
    "kxr_qjsw_duryea00": "ID|SIDE|READPRJ|V00MCMJSW\n9000001|1: Right|16|{JSW00}",
    "kxr_qjsw_duryea01": "ID|SIDE|READPRJ|V01MCMJSW\n9000001|1: Right|16|{JSW01}",
    "kxr_qjsw_duryea03": "ID|SIDE|READPRJ|V03MCMJSW\n9000001|1: Right|16|{JSW03}",
    "kxr_sq_bu00": "ID|SIDE|READPRJ|V00XRKL|V00XRJSM\n9000001|1: Right|15|{KL00}|1",
    "kxr_sq_bu01": "ID|SIDE|READPRJ|V01XRKL|V01XRJSM\n9000001|1: Right|15|{KL01}|{JSM01}",
}
OUTCOMES = (
    "ID|V99ERKDAYS|V99ERKVSRP|V99ERKBLRP|V99ERKRPCF|V99ELKDAYS|V99ELKBLRP\n"
    "9000001|{DAYS}|{VSRP}|{BLRP}|{RPCF}|{LDAYS}|{LBLRP}"
)
USUAL = {
    **dict.fromkeys(("DAYS", "VSRP", "BLRP", "RPCF", "LDAYS", "LBLRP"), "."),
    "P01KRSR": "0: No",
    "P01KRSL": "0: No",
    "V01KRSR12": "0: No",
    "V01KRSL12": "0: No",
    "V03KRSR12": "0: No",
    "JSW00": "4.1",
    "JSW01": "3.6",
    "JSW03": "3.5",
    "KL00": "2",
    "KL01": "3",
    "JSM01": "2",
}
NOT_CONFIRMED = "0: Replacement adjudcated,failed to confirm"
CONFIRMED = "3: Replacement adjudicated, confirmed"


def labelled(root, endpoint, cells, visit="00m", horizon=None, has_outcomes=True):
    tables = {**TABLES, "Outcomes99": OUTCOMES} if has_outcomes else TABLES
    assert set(cells) <= set(USUAL)
    for name, text in tables.items():
        (root / f"{name}.txt").write_text(text.format(**{**USUAL, **cells}) + "\n")
    return label_tables(open_tables(root, endpoint_of(endpoint, horizon, visit), visit))


def said(labels):
    """The label of the right knee, or why it has none."""
    for knee in labels.knees:
        if knee.side == "right":
            return knee.label
    wanted = [reason for reason in labels.left_out if "replaced" in reason]
    return wanted[0] if wanted else "not replaced"


GONE, TOLD = "knee replaced by 12m", "knee replaced by 12m, as reported"
GONE_00, TOLD_00 = "knee replaced by 00m", "knee replaced by 00m, as reported"

# the cells that differ from the usual -> jsn12, kl, jsn-grade, pain
CASES = {
    "nothing": ({}, 1, 1, 1, 1),
    "confirmed, day 200": ({"DAYS": "200", "RPCF": CONFIRMED}, GONE, 1, GONE, 1),
    "a day without a word on confirmation": ({"DAYS": "200"}, GONE, 1, GONE, 1),
    "not finished: neither 0 nor 3": ({"DAYS": "200", "RPCF": "1"}, GONE, 1, GONE, 1),
    "day 1": ({"DAYS": "1"}, GONE, 1, GONE, 1),
    "not confirmed": ({"DAYS": "200", "RPCF": NOT_CONFIRMED}, 1, 1, 1, 1),
    "not confirmed, with a visit": (
        {"DAYS": "200", "VSRP": "1: 12-month", "RPCF": NOT_CONFIRMED},
        *(1, 1, 1, 1),
    ),
    "not confirmed, and reported": (
        {"DAYS": "200", "RPCF": NOT_CONFIRMED, "V01KRSR12": "1: Yes"},
        *(1, 1, 1, 1),
    ),
    "at baseline": ({"BLRP": "1: Yes"}, GONE, GONE_00, GONE, GONE_00),
    "at baseline, as a number": ({"BLRP": "1"}, GONE, GONE_00, GONE, GONE_00),
    "at baseline, and another not confirmed": (
        {"BLRP": "1: Yes", "RPCF": NOT_CONFIRMED},
        *(GONE, GONE_00, GONE, GONE_00),
    ),
    "not at baseline": ({"BLRP": "0: No"}, 1, 1, 1, 1),
    "not at baseline, but reported so": ({"BLRP": "0: No", "P01KRSR": "1: Yes"}, 1, 1, 1, 1),
    "not at baseline, but day 200": ({"BLRP": "0: No", "DAYS": "200"}, GONE, 1, GONE, 1),
    "later": ({"DAYS": "900", "RPCF": CONFIRMED}, 1, 1, 1, 1),
    "later, but reported at 12 months": (
        {"DAYS": "900", "VSRP": "3: 24-month", "RPCF": CONFIRMED, "V01KRSR12": "1: Yes"},
        *(1, 1, 1, 1),
    ),
    "the visit goes before the day": ({"DAYS": "900", "VSRP": "1: 12-month"}, GONE, 1, GONE, 1),
    "the day goes before the visit": ({"DAYS": "300", "VSRP": "3: 24-month"}, GONE, 1, GONE, 1),
    "the visit alone": ({"VSRP": "1"}, GONE, 1, GONE, 1),
    "a later visit alone": ({"VSRP": "3"}, 1, 1, 1, 1),
    "the last day of the year": ({"DAYS": "365"}, GONE, 1, GONE, 1),
    "the day after it": ({"DAYS": "366"}, 1, 1, 1, 1),
    "the other knee": ({"LDAYS": "200", "P01KRSL": "1: Yes", "V01KRSL12": "1"}, 1, 1, 1, 1),
    "the other knee at baseline": ({"LBLRP": "1: Yes"}, 1, 1, 1, 1),
    "reported at entry, and measured": ({"P01KRSR": "1: Yes"}, 1, 1, 1, 1),
    "reported at 12 months, and measured": ({"V01KRSR12": "1: Yes"}, 1, 1, 1, 1),
    "reported at 12 months, and not measured": (
        {"V01KRSR12": "1: Yes", "JSW01": ".A", "KL01": ".A", "JSM01": ".A"},
        *(TOLD, TOLD, TOLD, 1),
    ),
    "the same with 1.0": (
        {"V01KRSR12": "1.0", "JSW01": "", "KL01": "", "JSM01": ""},
        *(TOLD, TOLD, TOLD, 1),
    ),
    "reported at 24 months, and not measured at 12": (
        {"V03KRSR12": "1: Yes", "JSW01": ".A", "KL01": ".A", "JSM01": ".A"},
        *("not replaced", "not replaced", "not replaced", 1),
    ),
    "reported, not measured, and not confirmed": (
        {"V01KRSR12": "1", "RPCF": "0", "JSW01": ".A", "KL01": ".A", "JSM01": ".A"},
        *("not replaced", "not replaced", "not replaced", 1),
    ),
    "confirmed, and not measured": (
        {"DAYS": "200", "RPCF": CONFIRMED, "JSW01": ".A", "KL01": ".A", "JSM01": ".A"},
        *(GONE, 1, GONE, 1),
    ),
    "confirmed and reported, and measured": (
        {"DAYS": "200", "RPCF": CONFIRMED, "V01KRSR12": "1: Yes"},
        *(GONE, 1, GONE, 1),
    ),
    "reported at entry, and not measured there": (
        {"P01KRSR": "1: Yes", "JSW00": ".A", "KL00": ".A"},
        *(TOLD, TOLD_00, 1, TOLD_00),
    ),
    "reported at 12 months, and not graded at entry": (
        {"V01KRSR12": "1: Yes", "KL00": ".A"},
        *(1, "not replaced", 1, 1),
    ),
    "a prosthesis on the later X-ray": (
        {"JSW01": ".P: Prosthetic", "KL01": ".P", "JSM01": ".P"},
        *(GONE, 1, GONE, 1),
    ),
    "a prosthesis on the X-ray, though not confirmed": (
        {"RPCF": "0", "JSW01": ".P", "KL01": ".P", "JSM01": ".P"},
        *(GONE, 1, GONE, 1),
    ),
    "a prosthesis on the first X-ray": ({"JSW00": ".P"}, GONE, GONE_00, GONE, GONE_00),
    "a prosthesis on the first X-ray, graded": ({"KL00": ".P"}, GONE, GONE_00, GONE, GONE_00),
}


@pytest.mark.parametrize("endpoint", ["jsn12", "kl", "jsn-grade", "pain"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_a_replacement_decides_by_endpoint(tmp_path, case, endpoint):
    cells, *expected = CASES[case]
    by_endpoint = dict(zip(("jsn12", "kl", "jsn-grade", "pain"), expected, strict=True))
    assert said(labelled(tmp_path, endpoint, cells)) == by_endpoint[endpoint]


@pytest.mark.parametrize("endpoint", ["none", "pain"])
@pytest.mark.parametrize(
    "cells,is_there",
    [
        ({}, True),
        ({"BLRP": "1: Yes"}, False),
        ({"DAYS": "200"}, True),
        ({"VSRP": "1"}, True),
        ({"P01KRSR": "1", "JSW00": "."}, False),
        ({"P01KRSR": "1"}, True),
        ({"V01KRSR12": "1", "JSW00": "."}, True),
    ],
    ids=str,
)
def test_an_endpoint_of_the_visit_itself_looks_at_the_visit(tmp_path, endpoint, cells, is_there):
    sides = [knee.side for knee in labelled(tmp_path, endpoint, cells).knees]
    assert ("right" in sides) is is_there


@pytest.mark.parametrize(
    "cells,expected",
    [
        ({}, 1),
        ({"DAYS": "200"}, GONE),
        ({"DAYS": "200", "RPCF": NOT_CONFIRMED}, 1),
        ({"VSRP": "1: 12-month"}, GONE),
        ({"DAYS": "366"}, 1),
        ({"BLRP": "1: Yes"}, GONE),
        ({"V01KRSR12": "1: Yes"}, 1),  # and its width was measured at 12 months
        ({"V01KRSR12": "1: Yes", "JSW01": ".A"}, TOLD),
        ({"P01KRSR": "1: Yes", "JSW01": ".A"}, TOLD),
        ({"JSW01": ".A"}, 1),
        ({"JSW01": ".P"}, GONE),
    ],
    ids=str,
)
def test_pain_at_a_later_visit(tmp_path, cells, expected):
    assert said(labelled(tmp_path, "pain", cells, visit="12m")) == expected


@pytest.mark.parametrize(
    "cells,expected",
    [
        ({"DAYS": "730"}, "knee replaced by 24m"),
        ({"DAYS": "731"}, 1),
        ({"DAYS": "200"}, "knee replaced by 24m"),
        ({"VSRP": "3: 24-month"}, "knee replaced by 24m"),
        ({"VSRP": "5"}, 1),
        ({"V03KRSR12": "1: Yes"}, 1),
        ({"V03KRSR12": "1: Yes", "JSW03": "."}, "knee replaced by 24m, as reported"),
        ({"V01KRSR12": "1: Yes", "JSW03": "."}, "knee replaced by 24m, as reported"),
    ],
    ids=str,
)
def test_two_years_have_their_own_limit(tmp_path, cells, expected):
    assert said(labelled(tmp_path, "jsn24", cells)) == expected


@pytest.mark.parametrize(
    "cells,count",
    [
        ({}, 0),
        ({"V01KRSR12": "1: Yes"}, 1),
        ({"P01KRSR": "1: Yes"}, 1),
        ({"P01KRSR": "1: Yes", "V01KRSR12": "1: Yes"}, 1),
        ({"V01KRSR12": "1: Yes", "RPCF": "0"}, 0),
        ({"V01KRSR12": "1: Yes", "DAYS": "900"}, 0),
        ({"P01KRSR": "1: Yes", "BLRP": "0"}, 0),
    ],
    ids=str,
)
def test_knees_kept_in_spite_of_a_report_are_counted_apart(tmp_path, cells, count):
    labels = labelled(tmp_path, "jsn12", cells)
    told = [note for note in labels.notes if "reported as replaced kept" in note]
    assert said(labels) == 1
    assert told == (
        [f"{count} knee reported as replaced kept: measured at both 00m and 12m"] * count
    )


def test_a_report_of_what_was_adjudicated_is_not_counted_apart(tmp_path):
    labels = labelled(tmp_path, "kl", {"DAYS": "200", "RPCF": CONFIRMED, "V01KRSR12": "1: Yes"})
    assert said(labels) == 1
    assert not any("kept" in note for note in labels.notes)


def test_without_outcomes_reports_are_all_there_is_and_that_is_said(tmp_path):
    cells = {"V01KRSR12": "1: Yes", "JSW01": "."}
    labels = labelled(tmp_path, "jsn12", cells, has_outcomes=False)
    assert said(labels) == TOLD
    assert "no table Outcomes99" in " ".join(labels.notes)


def test_the_knees_of_the_highest_grade_are_positive_by_replacement_alone_and_counted(tmp_path):
    labels = labelled(tmp_path, "kl", {"KL00": "4", "KL01": "4", "DAYS": "200"})
    assert said(labels) == 1
    assert "1 knee of grade 4 at 00m" in " ".join(labels.notes)
    assert said(labelled(tmp_path, "kl", {"KL00": "4", "KL01": "4"})) == 0
