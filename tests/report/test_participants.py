"""Who took part, and what measurement error alone would tell, in the page and in the card."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import BadRow
from oatools.learning.load import Flow
from oatools.oai.endpoints import ENDPOINTS
from oatools.oai.nochange import no_change
from oatools.report.crossval import write_report
from oatools.report.participants import cohort_flow, read_label_flow
from oatools.report.yardstick import measurement_error


def written(tmp_path, report):
    tmp_path.mkdir(exist_ok=True)
    write_report(tmp_path, report)
    return (tmp_path / "report.html").read_text(), (tmp_path / "model-card.md").read_text()


def test_the_flow_adds_up_and_says_why(make_report, tmp_path):
    line = (BadRow("features.tsv line 3", "3 fields"), ItemError("3 fields"))
    file = ({"knee": "a_00m_left", "path": "a.h5"}, ItemError("not readable"))
    knees = make_report().result.cohort.knee
    flow = Flow(
        without_label=1, without_features=1200, failed=(line, file), order=knees, incomplete=7
    )
    report = make_report(flow=flow)
    assert cohort_flow(report).lines() == [
        "1,242 knees with a label or features",
        "1,202 knees left out",
        "  1,200 with a label, but without features (7 lack a sequence)",
        "  1 with features, but without a label",
        "  1 with features that cannot be used",
        "40 knees used (20 patients)",
        "10 positive",
        "30 negative",
    ]
    page, card = written(tmp_path, report)
    assert (tmp_path / "flow.png").is_file() and (tmp_path / "flow.svg").is_file()
    assert page.count('alt="flow"') == 1
    assert "- 1,202 knees left out\n  - 1,200 with a label" in card
    assert "- 40 knees used (20 patients)\n- 10 positive\n" in card
    assert "  flow.svg\n" in (tmp_path / "checksums.sha256").read_text()


def test_the_flow_begins_with_that_of_the_labels_where_it_is_known(make_report, tmp_path):
    path = tmp_path / "flow.tsv"
    path.write_text(
        "reason\tknees\nassessed\t120\nno JSW at 00m\t31\nknee replaced by 12m\t4\n"
        "labelled\t85\npositive\t22\n"
    )
    knees = make_report().result.cohort.knee
    file = ({"knee": "a_00m_left", "path": "a.h5"}, ItemError("not readable"))
    flow = Flow(without_label=9, without_features=40, failed=(file,), order=knees)
    assert flow.labelled == 81
    report = make_report(flow=flow, labelling=read_label_flow(path, flow.labelled))
    assert cohort_flow(report).lines() == [
        "120 knees assessed",
        "80 knees left out",
        "  31 no JSW at 00m",
        "  4 knee replaced by 12m",
        "  4 taken out of the labels",
        "  40 with a label, but without features",
        "  1 with features that cannot be used",
        "40 knees used (20 patients)",
        "10 positive",
        "30 negative",
    ]
    _, card = written(tmp_path / "cv", report)
    assert "| 20 participants: flow and characteristics | see Participants above |" in card


@pytest.mark.parametrize(
    "text, words",
    [
        ("assessed\t9\nlabelled\t9\npositive\t3\n", "9 knees are labelled, and 10 in the labels"),
        ("assessed\t9\nlost\t2\nlabelled\t9\npositive\t3\n", "are not all that were assessed"),
        ("assessed\t12\nlisted\t12\n", "is no flow, from 'assessed'"),
        ("lost\t2\nlabelled\t10\npositive\t3\n", "is no flow"),
        ("assessed\tall\nlabelled\t10\npositive\t3\n", "is no flow"),
        ("", "is no flow"),
    ],
)
def test_what_is_no_flow_of_these_labels_is_refused(tmp_path, text, words):
    path = tmp_path / "flow.tsv"
    path.write_text("reason\tknees\n" + text)
    with pytest.raises(UsageError, match=words):
        read_label_flow(path, 10)


def test_nothing_left_out_has_no_reason(make_report):
    knees = make_report().result.cohort.knee
    flow = Flow(without_label=0, without_features=0, failed=(), order=knees)
    lines = cohort_flow(make_report(flow=flow)).lines()
    assert lines[:2] == ["40 knees with a label or features", "0 knees left out"]
    assert lines[2] == "40 knees used (20 patients)"


def test_characteristics_by_label_stand_in_page_and_card(make_report, tmp_path):
    page, card = written(tmp_path, make_report())
    described = page.split('<table class="described">')[1].split("</table>")[0]
    assert described.count("<tr>") == 6  # a head, knees, patients, age, sex and bmi
    assert "<td>knees</td><td>40</td><td>30</td><td>10</td><td></td><td></td>" in described
    assert "<td>bmi * (kg/m2), mean ± SD</td>" in described and "<td>2 / 1</td>" in described
    table = card.split("## Participants")[1].split("## Run again")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == "|   | all | label 0 | label 1 | SMD | missing, 0 / 1 |"
    assert lines[1] == "| --- | --- | --- | --- | --- | --- |"
    assert lines[2] == "| knees | 40 | 30 | 10 |  |  |"
    assert len(lines) == 7
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 7, line
    assert "SMD: standardised mean difference" in page and "SMD: standardised mean" in card


def test_doubts_head_page_and_card(make_report, tmp_path):
    doubts = ["'score' alone has an AUC of 0.930 <b>", "subject repeats the knee"]
    page, card = written(tmp_path, make_report(doubts=doubts))
    assert page.index("Warning: &#39;score&#39; alone has an AUC of 0.930 &lt;b&gt;") < page.index(
        "<h2>Cohort"
    )
    assert "> Warning: 'score' alone has an AUC of 0.930 &lt;b&gt;\n\n> Warning: subject" in card
    assert card.index("> Warning") < card.index("## Performance")


@pytest.fixture
def with_widths(make_report):
    """A report of knees with widths, of which the wider ones are more often positive."""

    def make(**changes):
        plain = make_report()
        cohort = plain.result.cohort
        random = np.random.default_rng(2)
        widths = np.round(random.normal(4.0, 1.2, 40) + 0.5 * cohort.label, 2)
        labels = {}
        for i, knee in enumerate(cohort.knee):
            cell = "n/a" if i == 7 else f"{widths[i]:.2f}"
            labels[knee] = {**plain.labels[knee], "jsw": cell}
        return (
            make_report(labels=labels, **changes),
            np.delete(widths, 7),
            np.delete(cohort.label, 7),
        )

    return make


@pytest.mark.parametrize(
    "endpoint, sem, first", [("jsn12", 0.3, "wider"), ("jsn12-relative", 0.4, "narrower")]
)
def test_what_the_width_alone_would_tell_stands_beside_the_model(
    with_widths, tmp_path, endpoint, sem, first
):
    report, widths, label = with_widths(endpoint=endpoint, sem=sem)
    said = measurement_error(report)
    expected = no_change(widths, ENDPOINTS[endpoint], sem)
    assert f"(SEM {sem} mm) would make {100 * expected.positive:.1f} % of knees positive" in said
    assert "(25.0 % are)" in said and f"ROC AUC of {expected.area:.2f}, {first} knees" in said
    sign = 1 if first == "wider" else -1
    assert f"that order has {roc_auc_score(label, sign * widths):.2f}, and" in said
    area = report.metrics.get("images+clinical", "mean", "roc_auc")
    assert said.endswith(f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}].")
    page, card = written(tmp_path, report)
    assert f"<h3>Measurement error</h3>\n<p>{said}</p>" in page
    assert card.index("## Performance") < card.index(f"\n{said}\n") < card.index("## Participants")


@pytest.mark.parametrize("endpoint", ["pain", "kl12", None])
def test_labels_of_no_width_have_no_such_yardstick(with_widths, tmp_path, endpoint):
    report, _, _ = with_widths(endpoint=endpoint)
    assert measurement_error(report) is None
    page, card = written(tmp_path, report)
    assert "Measurement error" not in page and "easurement error" not in card


def test_without_widths_there_is_no_yardstick_and_a_cut_that_no_error_reaches_is_said(
    make_report, with_widths
):
    assert measurement_error(make_report()) is None
    report, _, _ = with_widths(endpoint="jsn12@-9")
    assert measurement_error(report).endswith("make 0.0 % of knees positive (25.0 % are).")


def test_the_mark_of_a_caution_covers_no_box_of_the_flow(make_report):
    from oatools.core.provenance import Caution
    from oatools.report.pictures import Picture, mark_all

    figure = cohort_flow(make_report()).figure()
    mark_all([Picture("flow", figure, "")], list(Caution))
    figure.draw_without_rendering()
    mark = figure._suptitle.get_window_extent()
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches]
    assert len(boxes) >= 5 and mark.y1 <= figure.bbox.y1
    assert not [box for box in boxes if box.overlaps(mark)]


def test_cells_that_hold_no_width_are_none(with_widths):
    report, widths, _ = with_widths()
    labels = dict(report.labels)
    for knee, cell in zip(list(labels)[:4], ["n/a", "narrow", "999", "-1"], strict=True):
        labels[knee] = {**labels[knee], "jsw": cell}
    said = measurement_error(replace(report, labels=labels))
    expected = no_change(widths[4:], ENDPOINTS["jsn12"])
    assert f"{100 * expected.positive:.1f} % of knees positive" in said
    assert f"ROC AUC of {expected.area:.2f}, wider" in said
