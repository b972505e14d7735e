"""The figure and the paragraph say what the tables say."""

import re
from dataclasses import replace

import pytest

from oatools.reading.compare import Comparison
from oatools.reading.figure import forest_figure
from oatools.reading.paragraph import describe_result
from oatools.reading.score import ALL_PAIRS, MEAN, Method, ReaderScore
from oatools.report.figures import encode

NAN = float("nan")
READER = ReaderScore(
    reader="jd",
    stratum=ALL_PAIRS,
    pairs=150,
    groups=148,
    ties=0,
    n_unanswered=3,
    right=85,
    share=0.5782,
    low=0.4941,
    high=0.6591,
    seconds=41.5,
    confidence=3.25,
    confidence_auc=0.6123,
)
MODEL = ReaderScore(
    reader="net",
    stratum=ALL_PAIRS,
    pairs=150,
    groups=148,
    ties=1,
    n_unanswered=0,
    right=97,
    share=0.6500,
    low=0.5664,
    high=0.7231,
)


def rows():
    mean = replace(MODEL, reader=MEAN, right=None, share=0.5877, low=0.5333, high=0.6422)
    return [
        READER,
        replace(READER, stratum=":-1.1", pairs=10),
        replace(READER, stratum="-1.1:-0.5", pairs=140),
        replace(READER, reader="mk", right=86),
        MODEL,
        mean,
    ]


def differences():
    readers = Comparison(
        one="jd",
        other="mk",
        pairs=141,
        groups=141,
        agreement=0.62,
        kappa=0.2412,
        kappa_low=-0.0812,
        kappa_high=0.3933,
    )
    with_model = Comparison(
        one="jd",
        other="net",
        pairs=147,
        groups=147,
        difference=-0.0722,
        low=-0.17,
        high=0.029,
        p_difference=0.1581,
        p_holm=0.3162,
        p_mcnemar=0.0004,
    )
    with_mean = Comparison(
        one="net",
        other=MEAN,
        pairs=141,
        groups=141,
        difference=0.0623,
        low=-0.02,
        high=0.145,
        p_difference=0.1581,
        p_holm=0.3162,
    )
    return [readers, with_model, with_mean]


def said(table, apart, readers, models, method="exact", shared=0, random_readers=False):
    given = Method(method, 2000, 7, shared, random_readers)
    return describe_result(table, apart, readers, models, given)


@pytest.mark.parametrize(
    "sentence",
    [
        "Two readers ranked 150 pairs of a knee that progressed and one that did not (10 with narrowing of more than 1.1 mm, "
        "140 with narrowing of at least 0.5 and up to 1.1 mm).",
        "Reader jd ranked 85 of 147 pairs correctly, and left 3 unanswered (57.8 %; exact 95 % CI 49.4 to 65.9 %).",
        "The mean of the two readers, each over the pairs that they answered, was 58.8 % (95 % CI 53.3 to 64.2 %).",
        "Model net ranked 97 of 150 pairs correctly and 1 as equal (65.0 %; exact 95 % CI 56.6 to 72.3 %).",
        "Readers jd and mk chose the same knee in 62.0 % of 141 pairs (Cohen's kappa 0.24, 95 % CI −0.08 to 0.39).",
        # The table has the reader first; the sentence, the model: signs and bounds are turned.
        "On the 147 pairs that both ranked, model net differed from reader jd by +7.2 percentage points (95 % CI −2.9 to +17.0; "
        "p = 0.158, Holm's p = 0.316, McNemar's p < 0.001).",
        "On the 141 pairs that the model and all readers ranked, model net differed from the mean of the readers by "
        "+6.2 percentage points (95 % CI −2.0 to +14.5; p = 0.158, Holm's p = 0.316).",
        "Reader jd took a median of 42 s a pair and gave a mean confidence of 3.25 of 5 (the chance that a correct answer was "
        "the more confident one: 0.61).",
        "Shares have exact intervals after Clopper and Pearson, which take pairs for independent; ties count one half; "
        "intervals of differences and means are Student's t over groups of pairs that share a patient; those of kappa the "
        "middle 95 % of 2000 bootstrap draws of groups of pairs that share a patient (seed 7); p values are two-sided, from the "
        "same t; those of Holm are adjusted for all two differences that were tested, between readers, models and the readers' "
        "mean; those of the exact test of McNemar take pairs for independent, and are not adjusted for multiple comparisons.",
        "4 pairs share a patient with another; the pairs make 148 groups that share none.",
        "Readers are taken as fixed: the results speak of these readers, and not of all radiologists.",
    ],
)
def test_every_number_of_the_paragraph_is_in_the_tables(sentence):
    assert sentence in said(rows(), differences(), ["jd", "mk"], ["net"], shared=4)


def test_random_readers_are_said_to_be_a_sample_and_what_their_intervals_are():
    text = said(rows(), differences(), ["jd", "mk"], ["net"], random_readers=True)
    assert (
        "intervals of the readers' mean and of differences from it are those of Obuchowski and Rockette with the degrees of "
        "freedom of Hillis, for random readers and random pairs; intervals of other differences are Student's t over pairs; "
        in text
    )
    assert text.endswith(
        " Readers are taken as a sample: their mean, and differences from it, speak of all readers whom these stand for, and "
        "all other results of these readers alone.\n"
    )
    assert "fixed" not in text
    alone = said(rows(), [], ["jd", "mk"], [], random_readers=True)
    assert "random pairs." in alone
    assert "Student" not in alone
    shared = said(rows(), [], ["jd", "mk"], [], shared=4, random_readers=True)
    assert "random readers and random groups of pairs that share a patient." in shared
    assert "random" not in said(rows(), differences(), ["jd", "mk"], ["net"])


def test_a_single_difference_is_adjusted_for_nothing():
    row = replace(differences()[1], p_holm=0.1581)
    text = said(rows(), [row], ["jd", "mk"], ["net"])
    assert "Holm" not in text
    assert "(95 % CI −2.9 to +17.0; p = 0.158, McNemar's p < 0.001)" in text
    assert "are not adjusted for multiple comparisons." in text


def test_what_does_not_apply_is_not_said():
    text = said(rows(), differences()[:1], ["jd", "mk"], ["net"])
    assert "over pairs; those of kappa" in text
    assert "share a patient" not in text
    assert "p values" not in text
    plain = [replace(row, ties=0) for row in rows() if row.reader == "jd"]
    text = said(plain, [], ["jd"], [])
    assert not any(word in text for word in ("ties", "Student", "kappa", "fixed", "Model"))
    # Two models on the same pairs are compared, and not called readers who chose alike.
    two = [Comparison("net", "tree", 150, 148, agreement=0.6, kappa=0.2)]
    assert "chose the same knee" not in said(
        [replace(MODEL, reader=n) for n in ("net", "tree")], two, [], ["net", "tree"]
    )


@pytest.mark.parametrize(
    "p,shown",
    [
        (0.000900, "< 0.001"),
        (0.001000, "= 0.001"),
        (0.009600, "= 0.010"),
        (1.000000, "= 1.000"),
        (0.026503, "= 0.027"),
        (NAN, "is not defined"),
    ],
)
def test_a_p_is_said_to_three_digits_or_to_be_less(p, shown):
    row = replace(differences()[1], p_difference=p)
    assert f"p {shown}, McNemar's" in said(rows(), [row], ["jd", "mk"], ["net"])


def test_no_difference_has_no_sign_and_without_spread_no_interval():
    row = replace(differences()[1], difference=0.0, low=-0.0001, high=0.0001)
    assert "by 0.0 percentage points (95 % CI 0.0 to 0.0;" in said(
        rows(), [row], ["jd", "mk"], ["net"]
    )
    row = replace(row, low=NAN, high=NAN)
    assert "by 0.0 percentage points (95 % CI not defined;" in said(
        rows(), [row], ["jd", "mk"], ["net"]
    )


def test_a_lone_model_and_a_lone_reader_are_described_too():
    text = said([MODEL], [], [], ["net"], "bootstrap")
    assert text.startswith(
        "One model ranked 150 pairs of a knee that progressed and one that did not. Model net ranked 97"
    )
    assert "Shares have percentile intervals of 2000 bootstrap draws" in text
    assert "effective number" in said([MODEL], [], [], ["net"], "clustered")
    unread = replace(READER, n_unanswered=150, share=NAN, seconds=NAN, low=NAN)
    text = said([unread], [], ["jd"], [])
    assert "Reader jd ranked no pair." in text
    assert "Reader jd gave a mean confidence of 3.25 of 5" in text  # also where no time is known
    single = replace(READER, pairs=1, n_unanswered=0, right=1)
    assert "One reader ranked 1 pair of a" in said([single], [], ["jd"], [])


def test_the_figure_shows_every_reader_of_every_stratum_and_names_as_they_are():
    table = [replace(row, reader=row.reader.replace("jd", "a $x_1$ <b>")) for row in rows()]
    figure = forest_figure(table, ["net"], Method("exact"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "all pairs (150)",
        "narrowing of more than 1.1 mm (10)",
        "narrowing of at least 0.5 and up to 1.1 mm (140)",
    ]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [
        "a $x_1$ <b>",
        "mk",
        MEAN,
        "net",
    ]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in points] == [0.5782, 0.5782, 0.5877, 0.65]
    assert len({line.get_color() for line in points}) == 3
    assert figure.axes[0].get_xlim() == (0, 1)
    bars = [list(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2][
        :4
    ]
    assert bars == [[0.4941, 0.6591], [0.4941, 0.6591], [0.5333, 0.6422], [0.5664, 0.7231]]
    text = encode(figure, "svg").decode()
    assert "<b>" not in re.sub(r"<!--.*?-->", "", text)
    assert encode(forest_figure(table, ["net"], Method("exact")), "png") == encode(
        forest_figure(table, ["net"], Method("exact")), "png"
    )
    shown = [note.get_text() for note in figure.axes[0].texts]
    assert shown == [
        "57.8 [49.4, 65.9]",
        "57.8 [49.4, 65.9]",
        "58.8 [53.3, 64.2]",
        "65.0 [56.6, 72.3]",
    ]
    guessing = [
        list(line.get_xdata()) for line in figure.axes[0].lines if line.get_linestyle() == ":"
    ]
    assert guessing == [[0.5, 0.5]]
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == [
        "reader (exact interval)",
        "mean of readers (t interval)",
        "model (exact)",
    ]
    (legend,) = forest_figure(table, ["net"], Method("exact", random_readers=True)).legends
    assert legend.get_texts()[1].get_text() == "mean of readers (t interval, for other readers too)"


def test_one_stratum_that_holds_all_pairs_is_shown_once():
    table = [replace(READER, stratum=stratum) for stratum in ("all", ":-0.5")]
    (axes,) = forest_figure(table, [], Method("exact")).axes
    assert axes.get_title(loc="left") == "all pairs (150)"
    (text,) = [said(table, [], ["jd"], [])]
    assert "(150 with narrowing of at least 0.5 mm)" in text
