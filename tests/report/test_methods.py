"""The paragraph for a paper: each of its numbers is one of the run, and it hides nothing."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from oatools.core.provenance import Caution
from oatools.report.crossval import write_report
from oatools.report.methods import methods_paragraph


def test_the_paragraph_is_that_of_the_run(make_report):
    report = make_report()
    said = methods_paragraph(report)
    assert said.startswith(
        "The endpoint jsn12 was predicted in 40 knees of 20 patients, 10 of them positive (25.0 %). "
        "A network that pools slices by "
    )
    assert (
        "was trained on 16 features a slice of resnet18 (random, seed 0) from cor-iw-tse images, "
        "and on bmi. The model was tested by 2-fold cross-validation, with all knees of a patient in one "
        "fold and folds stratified by label." in said
    )
    result = report.result
    label, probability = result.cohort.label, result.models["images+clinical"].probability
    areas = [roc_auc_score(label[result.fold == n], probability[result.fold == n]) for n in (1, 2)]
    assert f"The mean ROC AUC of the test folds was {np.mean(areas):.2f} (" in said
    precision = average_precision_score(label, probability)
    assert f"the average precision of all knees tested {precision:.2f} (" in said
    assert "for clinical logistic." in said and "Obuchowski (Biometrics 1997;53:567-578)" in said
    assert said.endswith("as in oatools 0.1.0.")


@pytest.mark.parametrize(
    ("caution", "words"),
    [
        (Caution.PHANTOMS, "The images are synthetic: the numbers say nothing about patients."),
        (Caution.RANDOM_WEIGHTS, "The backbone was not trained"),
        (Caution.UNKNOWN_MAKING, "How the features were made of the images is not recorded."),
        (Caution.LEAKY_SPLIT, "the numbers are too good."),
    ],
)
def test_what_makes_the_numbers_worth_less_stands_at_the_end(make_report, caution, words):
    said = methods_paragraph(make_report(cautions=(caution,)))
    assert words in said.split("as in oatools 0.1.0. ")[1]
    assert ("patient in one fold" in said) == (caution is not Caution.LEAKY_SPLIT)


def test_knees_held_out_are_said_to_be(make_report):
    said = methods_paragraph(make_report(fold=np.where(np.arange(40) < 12, 1, 0)))
    assert "tested in 12 knees that were held out" in said and "fold" not in said
    assert "The ROC AUC was" in said and "that training adds" not in said


def test_it_stands_in_page_and_card(make_report, tmp_path):
    report = make_report(endpoint="<b>x", clinical_names=())
    write_report(tmp_path, report)
    page = (tmp_path / "report.html").read_text()
    assert "The endpoint &lt;b&gt;x was predicted in 40 knees" in page
    card = (tmp_path / "model-card.md").read_text()
    assert "## In sentences, for a paper" in card and "was predicted in 40 knees" in card
    assert "<b>x" not in page and "<b>x" not in card
