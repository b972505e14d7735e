"""What is written for a cross-validation, on numbers that were made up."""

import dataclasses
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from oatools.core.provenance import Caution
from oatools.learning.results import Metric, headlines
from oatools.report.card import model_card
from oatools.report.content import CohortCounts, count_folds
from oatools.report.crossval import write_report
from oatools.report.pictures import make_pictures
from oatools.report.templates import (
    interval_text,
    number_text,
    render_html,
    render_markdown,
    value_text,
)

HOSTILE = 'b"><script>alert(1)</script>|{{ 7 * 7 }}'


def written(tmp_path, report):
    write_report(tmp_path, report)
    return (tmp_path / "report.html").read_text(), (tmp_path / "model-card.md").read_text()


def test_a_hostile_name_of_a_variable_or_endpoint_is_text_and_nothing_else(make_report, tmp_path):
    report = make_report(clinical_names=(HOSTILE,), endpoint=HOSTILE, command=f"oa-cv '{HOSTILE}'")
    page, card = written(tmp_path, report)
    assert "<script" not in page and "49" not in re.findall(r"b&#34;.{0,60}", page)[0]
    assert page.count("b&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;|{{ 7 * 7 }}") == 8
    cells = [line for line in card.splitlines() if line.startswith("| 9 ")]
    assert cells == [
        "| 9 predictors | 16 features a slice of cor-iw-tse; "
        'clinical: b"&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\|{{ 7 * 7 }} |'
    ]
    assert "    oa-cv 'b\"&gt;&lt;script&gt;alert(1)&lt;/script&gt;|{{ 7 * 7 }}'\n" in card
    assert "<script" not in card


def test_text_of_a_card_makes_no_link_no_code_and_no_line(make_report):
    text = "[a](javascript:b) `c` \\| d\n# e"
    card = model_card(make_report(endpoint=text, command=f"oa-cv '{text}'"))
    said = r"# Model card: [a]\(javascript:b) \`c\` \\\| d # e"
    assert card.splitlines()[0] == said
    assert len(re.findall("^# ", card, flags=re.M)) == 1
    assert "    oa-cv '[a](javascript:b) `c` \\| d # e'\n" in card


def test_the_page_loads_nothing(make_report, tmp_path):
    page, _ = written(tmp_path, make_report(cautions=list(Caution)))
    assert not re.findall(r'(?:src|href)="(?!data:image/svg)', page)
    for word in ("<script", "<link", "@import", "url(", "http:", "https:", "onload"):
        assert word not in page


def test_every_caution_heads_page_and_card_and_marks_every_figure(make_report, tmp_path):
    report = make_report(cautions=(Caution.PHANTOMS, Caution.LEAKY_SPLIT))
    page, card = written(tmp_path, report)
    assert page.count('class="caution"') == card.count("\n> **") == 2
    assert "PHANTOMS: the images are synthetic." in page
    assert card.index("LEAKY SPLIT: knees and not patients") < card.index("## Performance")
    pictures = make_pictures(report.result, report.metrics, report.cautions)
    assert [picture.name for picture in pictures] == [
        "comparison",
        "roc",
        "pr",
        "calibration",
        "attention",
        "confusion",
    ]
    for picture in pictures:
        assert picture.figure.get_suptitle() == "Phantoms, Leaky split"


def test_figures_without_cautions_bear_no_mark(make_report):
    report = make_report()
    for picture in make_pictures(report.result, report.metrics):
        assert picture.figure.get_suptitle() == ""


def test_the_counts_of_cohort_and_folds_are_those_of_the_knees(make_report):
    result = make_report().result
    cohort = CohortCounts.of(result.cohort)
    assert (cohort.knees, cohort.patients, cohort.positive, cohort.channels) == (40, 20, 10, 16)
    assert cohort.slices == {"": (5, 5)} and cohort.clinical == {"bmi": 3}
    first, second = count_folds(result)
    assert (first.number, first.knees, first.patients, first.shared) == (1, 20, 10, 0)
    assert first.positive + second.positive == 10
    assert first.positive == result.cohort.label[[i for i in range(40) if i // 2 % 2 == 0]].sum()


def test_patients_on_both_sides_of_a_fold_are_counted(make_report):
    fold = np.arange(40) % 2 + 1
    report = make_report(fold=fold, cautions=(Caution.LEAKY_SPLIT,))
    assert [counts.shared for counts in count_folds(report.result)] == [20, 20]
    card = model_card(report)
    assert "| 2 folds of knees (leaky, for comparison only), stratified by label |" in card
    assert "verified" not in card


def test_a_group_that_is_held_out_is_said_to_be_one(make_report, tmp_path):
    page, card = written(tmp_path, make_report(fold=np.repeat([0, 1], [28, 12])))
    assert "12 knees held out, 28 trained on." in page
    assert "| 12 knees held out, 28 to train on; no patient on both sides, verified |" in card
    assert "another group of the same tables" in card


def test_joined_sequences_are_counted_and_drawn_one_by_one(make_report, tmp_path):
    page, card = written(
        tmp_path,
        make_report(joined=("cor", "sag"), record={"sequences": ["cor", "sag"]}),
    )
    assert "slices a knee, cor" in page and "slices a knee, sag" in page
    assert "16 features a slice of cor joined with sag" in card
    assert (tmp_path / "attention-cor.png").exists() and (tmp_path / "attention-sag.svg").exists()


def test_why_a_difference_has_no_interval_is_said(make_report):
    result = make_report().result
    one = next(iter(result.models.values()))
    same = dataclasses.replace(result, models={"images+clinical": one, "images": one})
    (line,) = (line for line in headlines(same.metrics()) if " - " in line)
    assert (
        line == "images+clinical - images: ROC AUC +0.000 (no interval: both rank the knees alike)"
    )


def test_no_picture_calls_equal_shares_attention(make_report):
    equal, some = np.full(5, 0.2), np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    none = make_report(attention=[equal] * 40)
    pictures = make_pictures(none.result, none.metrics)
    assert "attention" not in [picture.name for picture in pictures]
    half = make_report(attention=[equal] * 20 + [some] * 20)
    (shown,) = (p for p in make_pictures(half.result, half.metrics) if p.name == "attention")
    assert "It is that of 20 of 40 knees" in shown.caption


def test_the_card_says_what_is_not_known(make_report):
    card = model_card(make_report(clinical_names=(), endpoint=None))
    assert card.startswith("# Model card: not named\n")
    assert "| 8 outcome | n/a; blinding is left to the author |" in card
    assert "clinical: none |" in card and "none were missing" in card
    assert "| 21 numbers in each analysis | fold 1: 20 knees, " in card
    assert "positive; fold 2: 20 knees" in card


def test_every_line_of_the_checklist_has_two_cells(make_report):
    lines = model_card(make_report(clinical_names=("a|b\nc",))).split("## TRIPOD+AI\n\n")[1]
    for line in lines.splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


def test_permuted_labels_and_differences_are_in_the_page_only_if_there_are_any(
    make_report, tmp_path
):
    plain, _ = written(tmp_path, make_report())
    assert "<h3>Permuted labels</h3>" not in plain and "<h3>Differences</h3>" in plain
    page, _ = written(tmp_path, make_report(null=np.linspace(0.4, 0.6, 20)))
    assert "gave a ROC AUC of 0.500 [0.405, 0.595] (mean, and" in page


def test_repeats_go_into_the_estimate_and_their_sd_is_no_error_of_it(make_report, tmp_path):
    once = make_report().result
    again = replace(once, fold=np.roll(once.fold, 1))
    repeated = replace(once, repeats=(again, again))
    report = make_report(result=repeated, metrics=repeated.metrics())
    page, card = written(tmp_path, report)
    area = report.metrics.get("images+clinical", "mean", "roc_auc")
    assert area.value != once.metrics().get("images+clinical", "mean", "roc_auc").value
    shown = f"{area.value:.3f} [{area.low:.3f}, {area.high:.3f}]"
    assert f"ROC AUC {shown} (mean of 2 folds, 3 times)" in card
    numbers = page.split("<h2>Metrics</h2>")[1] + card.split("## Participants")[0]
    assert f"<td>{shown}</td>" in page and "±" not in numbers
    assert '<th scope="row">repeats</th><td class="text">3</td>' in page
    roc = next(p for p in make_pictures(repeated, report.metrics) if p.name == "roc").figure
    names = [line.get_label() for line in roc.axes[0].lines]
    assert f"{area.model}, mean of 6 folds, AUC {area.value:.3f}" in names


@pytest.mark.parametrize(
    "value, text",
    [(3, "3"), (3.0, "3.000"), (0.71249, "0.712"), (-0.5, "-0.500"), (math.nan, "n/a")],
)
def test_numbers_are_written_with_three_decimals_and_counts_as_they_are(value, text):
    assert number_text(value) == text


def test_an_interval_is_written_where_there_is_one():
    assert interval_text(Metric("m", "pooled", "tp", 9)) == "9"
    assert interval_text(Metric("m", "pooled", "f1", 0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"
    assert interval_text(Metric("m", "pooled", "f1", math.nan)) == "n/a"


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "yes"),
        (False, "no"),
        (None, "n/a"),
        ([], "none"),
        (0, "0"),
        ("", ""),
        ({"size": 224, "mean": [0.5], "crop": {"on": False}}, "size 224, mean [0.5], crop on no"),
    ],
)
def test_values_of_a_record_are_written_for_people(value, text):
    assert value_text(value) == text


def test_a_template_that_names_what_is_not_there_fails_rather_than_leave_a_gap():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render_html("report.html.j2")
    with pytest.raises(UndefinedError):
        render_markdown("model-card.md.j2")


def test_parts_are_shown_with_their_weights_and_what_the_networks_added():
    from oatools.report.parts import part_rows, parts_caption

    def record(mean, network, alone, whole):
        parts = [
            {"name": "mean", "weight": mean, "roc_auc": 0.6},
            {"name": "network", "weight": network, "roc_auc": 0.5},
        ]
        return {"parts": parts, "linear_roc_auc": alone, "validation_roc_auc": whole}

    records = [record(0.9, 0.0, 0.60, 0.60), record(0.8, 0.25, 0.62, 0.66)]
    assert part_rows(records, "ROC AUC")[1] == {
        "part": "network",
        "weight, fold 1": "0.00",
        "weight, fold 2": "0.25",
        "ROC AUC by itself, mean": "0.500",
    }
    assert "0.610 without the networks and 0.630 with them" in parts_caption(records, "ROC AUC")
    none = [record(1.0, 0.0, 0.60, 0.60), record(0.8, 0.0, 0.62, 0.62)]
    assert "no picture of attention" in parts_caption(none, "ROC AUC")
    assert "no picture of attention" not in parts_caption(records, "ROC AUC")
    assert part_rows([{}, {}], "") == [] and "without" not in parts_caption([{}, {}], "")
