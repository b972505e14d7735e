import re
import shutil
import subprocess

import numpy as np
import pytest

from oatools.learning.metrics import scores
from oatools.learning.results import Metric, Metrics, verdicts
from oatools.report import figures
from oatools.report.flow import flow_figure
from oatools.report.html import Page, render
from oatools.report.pictures import Picture


@pytest.fixture
def results():
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 120)
    probability = np.clip(label * 0.2 + random.random(120) * 0.8, 0, 1)
    return label, probability, np.arange(120) % 3 + 1


def page_of(**changes) -> Page:
    area = Metric("images", "mean", "roc_auc", 0.712345, 0.6, 0.8)
    values = dict(
        title="Cross-validation",
        lead="lead",
        cautions=["PHANTOMS: synthetic"],
        doubts=["'score' alone has an AUC of 0.930"],
        cohort=[("knees", "120")],
        flow=Picture("flow", flow_figure("9 knees", ["none left out"], "9 used", []), "FLOW"),
        characteristics=[{"": "knees", "all": "120"}],
        measurement_error=None,
        folds=[{"fold": "1", "knees": "40"}],
        parts=[{"part": "mean", "weight, fold 1": "0.90"}],
        parts_caption="of the parts",
        metrics=Metrics((area, Metric("images", "pooled", "roc_auc", 0.7))),
        pictures=[],
        settings=[("seed", "0")],
        versions=[("oatools", "0")],
        command="oa-cv features.tsv",
        methods="One sentence.",
    )
    return Page(**{**values, **changes})


def test_every_figure_gives_the_same_bytes_twice_without_a_date(results):
    label, probability, fold = results
    attention = [np.full(8, 1 / 8)] * len(label)
    makers = (
        lambda: figures.roc_figure(label, probability, fold, {"other": 1 - probability}),
        lambda: figures.pr_figure(label, probability, fold),
        lambda: figures.calibration_figure(
            label, "images", probability, {"other": 1 - probability}
        ),
        lambda: figures.confusion_figure(label, probability > 0.5, fold),
        lambda: figures.attention_figure(attention, label),
    )
    areas = [
        Metric("a", "pooled", "roc_auc", 0.7, 0.6, 0.8),
        Metric("b", "pooled", "roc_auc", 0.6, 0.5, 0.7),
    ]
    makers = (*makers, lambda: figures.comparison_figure(areas, [0.4, 0.5]))
    for make in makers:
        for suffix in ("svg", "png"):
            first = figures.encode(make(), suffix)
            assert first == figures.encode(make(), suffix)
            assert b"<dc:date>" not in first and b"tIME" not in first


def test_a_simpler_model_that_does_better_without_doubt_is_named():
    def difference(low, high):
        metric = Metric(
            "images+clinical - images linear", "difference", "roc_auc", -0.02, low, high
        )
        return Metrics((metric,))

    (said,) = verdicts(difference(-0.034, -0.003))
    assert said == (
        "images linear does better than images+clinical here, by 0.020 of ROC AUC: prefer it"
    )
    assert verdicts(difference(-0.034, 0.001)) == verdicts(difference(0.01, 0.02)) == []
    assert verdicts(difference(np.nan, np.nan)) == []


def test_the_mean_roc_has_about_the_mean_area_and_starts_and_ends_at_the_corners(results):
    label, probability, fold = results
    axes = figures.roc_figure(label, probability, fold).axes[0]
    mean = next(line for line in axes.lines if "mean" in str(line.get_label()))
    x, y = mean.get_data()
    areas = [
        scores(label[fold == n], probability[fold == n], label[fold == n])["roc_auc"]
        for n in (1, 2, 3)
    ]
    assert abs(np.trapezoid(y, x) - np.mean(areas)) < 0.01
    assert y[-1] == 1
    assert f"{np.mean(areas):.3f}" in mean.get_label()


def test_the_no_skill_line_of_the_pr_figure_lies_where_chance_alone_gets(results):
    label, probability, fold = results
    axes = figures.pr_figure(label, probability, fold).axes[0]
    line = next(line for line in axes.lines if "no skill" in str(line.get_label()))
    # Of 120 knees in random order, by Bestgen's formula written out for this number.
    n, n1, harmonic = 120, int(label.sum()), sum(1 / k for k in range(1, 121))
    expected = harmonic / n + (1 - harmonic / n) * (n1 - 1) / (n - 1)
    assert label.mean() < line.get_ydata()[0] == pytest.approx(expected)
    assert f"AP {expected:.3f}" in line.get_label()


def test_the_confusion_figure_shows_the_pooled_counts_first(results):
    label, probability, fold = results
    predicted = (probability > 0.5).astype(int)
    figure = figures.confusion_figure(label, predicted, fold)
    shown = [int(t.get_text().split("\n")[0]) for t in figure.axes[0].texts]
    expected = scores(label, probability, predicted)
    assert shown == [expected[k] for k in ("tn", "fp", "fn", "tp")]


def test_attention_is_aligned_on_the_middle_of_knees_of_different_length():
    long, short = np.zeros(9), np.zeros(5)
    long[4] = short[2] = 1.0
    axes = figures.attention_figure([long, short, long, short], np.array([0, 0, 1, 1])).axes[0]
    x, y = axes.lines[0].get_data()
    assert y[list(x).index(0)] == 1.0 and sum(y) == 1.0


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(results):
    figure = figures.roc_figure(*results)
    again = page_of(
        title="<script>alert(1)</script>",
        command="a & b",
        methods="One sentence.",
        pictures=[Picture("roc", figure, "c < d")],
    )
    page = render(again)
    assert "<script" not in page and "a &amp; b" in page and "c &lt; d" in page
    assert (
        not re.findall(r'(?:src|href)="(?!data:)', page)
        and "@import" not in page
        and "url(" not in page
    )
    assert "PHANTOMS: synthetic" in page and "0.712 [0.600, 0.800]" in page
    assert page == render(again)


def test_the_page_renders_in_a_browser(results, tmp_path):
    if not (browser := shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium to render the page; install it to run this test")
    (tmp_path / "r.html").write_text(
        render(page_of(pictures=[Picture("roc", figures.roc_figure(*results), "ROC")]))
    )
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={tmp_path / 'r.png'}",
            "--window-size=800,1200",
            f"file://{tmp_path / 'r.html'}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    from matplotlib import image

    picture = image.imread(tmp_path / "r.png")
    assert picture.shape[:2] == (1200, 800)
    assert (
        np.abs(picture[..., 0] - picture[..., 2]) > 0.4
    ).sum() > 500  # the caution's frame and the curves are coloured
