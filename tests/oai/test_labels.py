"""One call for labels from Python."""

from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.oai.codes import KneeId
from oatools.oai.endpoints import ENDPOINTS, endpoint_of
from oatools.oai.labels import label_knees, label_tables, open_tables
from oatools.oai.reliability import MeasurementError

PLAIN = (
    "subject,side,visit,jsw,age,womac_pain\n"
    "p10,left,00m,4.0,61,0\np10,left,12m,3.25,62,2\n"
    "p1,left,00m,4.10,55,3\np1,left,12m,3.6,56,3\n"
    "p1,right,00m,5,55,1\np1,right,12m,,56,1\n"
    "p2,right,00m,3,,0.5\np2,right,12m,2.9,,0\n"
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "study.csv"
    path.write_text(PLAIN)
    return path


def test_labels_are_numbers_until_they_are_rows(table):
    labels = label_knees(table, "jsn12")
    knee = labels.knees[1]
    assert (knee.knee, knee.visit, knee.label) == (KneeId("p1", "left"), "00m", 1)
    assert (knee.jsw, knee.change) == (Decimal("4.1"), Decimal("-0.5"))
    assert knee.clinical["age"] == 55 and knee.clinical["sex"] is None
    assert labels.left_out == {"no JSW at 12m": 1}
    assert (labels.assessed, labels.positive, labels.patients) == (4, 2, 3)
    assert labels.assessed_patients == 3
    row = labels.rows()[1]
    assert (row["knee"], row["jsw"], row["age"], row["sex"]) == ("p1_00m_left", "4.1", "55", "n/a")
    assert row["endpoint"] == "jsn12" and list(row) == labels.columns()


def test_knees_are_in_the_order_of_their_names_as_text(table):
    names = [knee.name for knee in label_knees(table).knees]
    assert names == sorted(names) == ["p10_00m_left", "p1_00m_left", "p2_00m_right"]


def test_a_path_may_be_text_and_a_threshold_any_number(table):
    for threshold in (-0.75, Decimal("-0.75")):
        labels = label_knees(str(table), threshold=threshold)
        assert [knee.label for knee in labels.knees] == [1, 0, 0]
        assert labels.threshold == Decimal("-0.75")


def test_another_cut_is_part_of_the_endpoints_name(table):
    for threshold, name in [(None, "jsn12"), (-0.5, "jsn12"), (-0.75, "jsn12@-0.75")]:
        labels = label_knees(table, threshold=threshold)
        assert {row["endpoint"] for row in labels.rows()} == {name}
    assert label_knees(table, "pain", threshold=5).rows()[0]["endpoint"] == "pain@5"
    change = label_knees(table, threshold=MeasurementError(sem=0.2))
    assert change.rows()[0]["endpoint"] == "jsn12@-0.554"


def test_another_horizon_is_an_endpoint_of_its_own(table):
    table.write_text(PLAIN.replace("12m", "09m"))
    labels = label_knees(table, endpoint_of("jsn12", horizon="09m"))
    assert labels.endpoint.name == "jsn9" and labels.positive == 2


def test_pain_has_no_change_and_its_flow_adds_up(table):
    labels = label_knees(table, "pain")
    assert [(knee.name, knee.label, knee.change) for knee in labels.knees] == [
        ("p10_00m_left", 0, None),
        ("p1_00m_left", 1, None),
        ("p2_00m_right", 0, None),
    ]
    assert "jsn" not in labels.columns()
    assert [(step.name, step.knees) for step in labels.flow()] == [
        ("assessed", 4),
        ("WOMAC pain from 1 to below 2 at 00m", 1),
        ("labelled", 3),
        ("positive", 1),
    ]


def test_a_measurement_error_is_a_cut_and_its_derivation_is_kept(table):
    tables = open_tables(table, ENDPOINTS["jsn12"])
    labels = label_tables(tables, MeasurementError(sem=0.2))
    change = labels.reliable_change
    assert change is not None and change.knees == 3
    assert labels.threshold == change.threshold == Decimal("-0.554")  # 1.96 sqrt(2) 0.2
    assert [knee.label for knee in labels.knees] == [1, 0, 0]
    assert label_tables(tables).reliable_change is None


@pytest.mark.parametrize("endpoint", ["pain", "jsn12-relative"])
def test_a_measurement_error_cuts_losses_in_mm_alone(table, endpoint):
    with pytest.raises(UsageError, match="reliable change is a loss in mm"):
        label_knees(table, endpoint, threshold=MeasurementError(sem=0.2))


@pytest.mark.parametrize(
    "error", [{"sem": 0.4, "reliability": 0.9}, {"sem": 0.0}, {"reliability": 1.0}]
)
def test_a_measurement_error_is_one_possible_number(error):
    with pytest.raises(UsageError, match="reliability|standard error"):
        MeasurementError(**error)


def test_an_endpoint_that_is_not_there_is_told_with_those_that_are(table):
    with pytest.raises(UsageError, match="no endpoint 'jsm'; known: jsn12, jsn24"):
        label_knees(table, "jsm")
