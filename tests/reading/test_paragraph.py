"""The figure and the paragraph say what the tables say."""

import re

import pytest

from oatools.reading.figure import forest_figure
from oatools.reading.paragraph import paragraph
from oatools.reading.score import MEAN
from oatools.report.figures import encode

READER = {"stratum": "all", "pairs": "150", "ties": "0", "n_unanswered": "3", "right": "85", "rank_auc": "0.5782",
          "ci_low": "0.4941", "ci_high": "0.6591", "seconds": "41.5", "confidence": "3.25", "confidence_auc": "0.6123"}  # fmt: skip
MODEL = READER | {"n_unanswered": "0", "right": "97", "ties": "1", "rank_auc": "0.6500", "ci_low": "0.5664",
                  "ci_high": "0.7231", "seconds": "n/a", "confidence": "n/a", "confidence_auc": "n/a"}  # fmt: skip
NOTHING = dict.fromkeys(("difference", "ci_low", "ci_high", "p_difference", "p_mcnemar", "agreement", "kappa", "kappa_low",
                         "kappa_high"), "n/a")  # fmt: skip


def rows():
    strata = [{"reader": "jd", **READER, "stratum": s, "pairs": n} for s, n in ((":-1.1", "10"), ("-1.1:-0.5", "140"))]
    mean = {"reader": MEAN, **MODEL, "right": "n/a", "rank_auc": "0.5877", "ci_low": "0.5333", "ci_high": "0.6422"}
    return [
        {"reader": "jd", **READER},
        *strata,
        {"reader": "mk", **READER, "right": "86"},
        {"reader": "net", **MODEL},
        mean,
    ]


def differences():
    apart = {
        "difference": "-0.0722",
        "ci_low": "-0.1700",
        "ci_high": "0.0290",
        "p_difference": "0.1581",
        "p_mcnemar": "0.0004",
    }
    agree = {"agreement": "0.6200", "kappa": "0.2412", "kappa_low": "-0.0812", "kappa_high": "0.3933"}
    return [{**NOTHING, **agree, "one": "jd", "other": "mk", "pairs": "141"},
            {**NOTHING, **apart, "one": "jd", "other": "net", "pairs": "147"},
            {**NOTHING, **apart, "difference": "0.0623", "ci_low": "-0.0200", "ci_high": "0.1450", "p_mcnemar": "n/a",
             "one": "net", "other": MEAN, "pairs": "141"}]  # fmt: skip


@pytest.mark.parametrize("sentence", [
    "2 readers ranked 150 pairs of a knee that progressed and one that did not (10 with a change of less than −1.1 mm, "
    "140 with a change of −1.1 to −0.5 mm).",
    "Reader jd ranked 85 of 147 pairs rightly (57.8 %; exact 95 % CI 49.4 to 65.9 %).",
    "The mean of the 2 readers was 58.8 % (bootstrap 95 % CI 53.3 to 64.2 %).",
    "Model net ranked 97 of 150 pairs rightly, and 1 as equal, (65.0 %; exact 95 % CI 56.6 to 72.3 %).",
    "Readers jd and mk chose the same knee in 62.0 % of 141 pairs (Cohen's kappa 0.24, 95 % CI −0.08 to 0.39).",
    # The table has the reader first; the sentence, the model: signs and bounds are turned.
    "On the 147 pairs that both ranked, model net differed from reader jd by +7.2 percentage points (95 % CI −2.9 to +17.0; "
    "p = 0.158, McNemar's p < 0.001).",
    "model net differed from the mean of the readers by +6.2 percentage points (95 % CI −2.0 to +14.5; p = 0.158).",
    "Reader jd took a median of 42 s a pair, with a mean confidence of 3.25 of 5 (right answers were the more confident "
    "ones with an AUC of 0.61).",
    "4 pairs share a patient with another; the exact intervals take them for independent.",
])  # fmt: skip
def test_every_number_of_the_paragraph_is_in_the_tables(sentence):
    assert sentence in paragraph(rows(), differences(), ["jd", "mk"], ["net"], "exact", 4)


@pytest.mark.parametrize(
    "p,said", [("0.0009", "< 0.001"), ("0.0010", "= 0.001"), ("0.0096", "= 0.010"), ("1.0000", "= 1.000")]
)
def test_a_p_is_said_to_three_digits_or_to_be_less(p, said):
    row = differences()[1] | {"p_difference": p}
    assert f"p {said}, McNemar's" in paragraph(rows(), [row], ["jd", "mk"], ["net"], "exact", 0)


def test_a_lone_model_and_a_lone_reader_are_described_too():
    text = paragraph([{"reader": "net", **MODEL}], [], [], ["net"], "bootstrap", 0)
    assert text.startswith("No reader ranked 150 pairs") or "Model net ranked 97 of 150" in text
    assert "share a patient" not in text
    unread = READER | {"n_unanswered": "150", "rank_auc": "n/a", "seconds": "n/a", "ci_low": "n/a"}
    assert "Reader jd ranked no pair." in paragraph([{"reader": "jd", **unread}], [], ["jd"], [], "exact", 0)


def test_the_figure_shows_every_reader_of_every_stratum_and_names_as_they_are():
    table = [{**row, "reader": row["reader"].replace("jd", "a $x_1$ <b>")} for row in rows()]
    figure = forest_figure(table, ["net"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "all pairs (150)", "change of less than −1.1 mm (10)", "change of −1.1 to −0.5 mm (140)"]  # fmt: skip
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["a $x_1$ <b>", "mk", "net", MEAN]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in points] == [0.5782, 0.5782, 0.65, 0.5877]
    assert len({line.get_color() for line in points}) == 3
    assert figure.axes[0].get_xlim() == (0, 1)
    bars = [list(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2][:4]
    assert bars == [[0.4941, 0.6591], [0.4941, 0.6591], [0.5664, 0.7231], [0.5333, 0.6422]]
    text = encode(figure, "svg").decode()
    assert "<b>" not in re.sub(r"<!--.*?-->", "", text)
    assert encode(forest_figure(table, ["net"]), "png") == encode(forest_figure(table, ["net"]), "png")
