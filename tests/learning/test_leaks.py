"""What gives the label away: scikit-learn's AUC and SciPy's exact test are the measure."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from oatools.core.errors import UsageError
from oatools.learning.cohort import make_cohort
from oatools.learning.leaks import (
    BY_CHANCE,
    NEARLY,
    chance,
    clinical_doubts,
    clinical_leak,
    label_leaks,
)
from oatools.learning.load import load_cohort

from .conftest import SPACE, synthetic


def patients(knees):
    """Two knees a patient."""
    return tuple(f"p{i // 2}" for i in range(knees))


def own(knees):
    return tuple(f"p{i}" for i in range(knees))


@pytest.mark.parametrize("negative, positive", [(9, 9), (5, 35), (12, 20), (25, 25)])
@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_the_probability_of_chance_is_that_of_the_exact_test(negative, positive, wrong):
    label = np.array([0] * negative + [1] * positive)
    values = np.arange(len(label), dtype=float)
    values[negative - 1] += wrong + 0.5 * (wrong > 0)
    test = mannwhitneyu(values[label == 1], values[label == 0], method="exact")
    area = test.statistic / negative / positive
    assert chance(area, negative, positive) == pytest.approx(test.pvalue, rel=1e-9)


def test_with_many_patients_chance_is_the_normal_tail_and_never_less_than_the_exact_one():
    exact = 2 / 495918532948104  # 26 of each, none in the wrong order: 52 choose 26
    assert exact < chance(1.0, 26, 26) < 1e-8
    assert chance(0.5, 100, 100) == pytest.approx(1)


def nearly(share, knees=1000, seed=0):
    """A variable whose AUC is close to `share`, and the labels."""
    rng = np.random.default_rng(seed)
    label = (np.arange(knees) % 5 < 2).astype(int)
    shift = np.sqrt(2) * {0.9: 1.2816, 0.97: 1.8808, 0.998: 2.8782}[share]
    return rng.normal(size=knees) + shift * label, label


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share, is_refused", [(0.9, False), (0.97, False), (0.998, True)])
def test_what_nearly_tells_the_label_is_found_by_the_auc_of_scikit_learn(share, is_refused, seed):
    values, label = nearly(share, seed=seed)
    area = roc_auc_score(label, values)
    assert (area >= NEARLY) == is_refused  # the samples are as they were meant
    for sign in (1, -1):
        leak = clinical_leak("score", sign * values, label, own(1000))
        assert (leak is not None) == is_refused
    if leak is not None:
        assert leak.area == pytest.approx(area)
        assert leak.message() == (
            f"'score' alone nearly tells the two classes apart (AUC {area:.3f}), and may have been "
            "made from the label"
        )


@pytest.mark.parametrize("each, is_refused", [(4, False), (8, False), (9, True), (20, True)])
def test_few_patients_may_be_told_apart_by_chance(each, is_refused):
    label = np.array([0] * each + [1] * each)
    leak = clinical_leak("bmi", np.arange(2.0 * each), label, own(2 * each))
    assert (leak is not None) == is_refused
    assert (2 / float(np.exp(log_binomial(2 * each, each))) <= BY_CHANCE) == is_refused


def log_binomial(n, k):
    from scipy.special import gammaln

    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def test_two_knees_of_a_patient_are_one_witness():
    label = np.array([0] * 14 + [1] * 14)  # seven patients of each
    values = np.arange(28.0)
    assert clinical_leak("bmi", values, label, own(28)) is not None
    assert clinical_leak("bmi", values, label, patients(28)) is None


def test_few_positives_among_many_are_enough():
    label = np.array([0] * 95 + [1] * 5)
    assert clinical_leak("x", np.arange(100.0), label, own(100)) is not None
    values = np.arange(100.0)
    values[94] = 97.5  # one negative above three positives: 3 of 475 pairs
    leak = clinical_leak("x", values, label, own(100))
    assert leak.area == pytest.approx(roc_auc_score(label, values)) == pytest.approx(472 / 475)


def test_what_is_missing_where_the_label_is_positive_tells_it():
    rng = np.random.default_rng(4)
    label = (np.arange(60) % 3 == 0).astype(int)
    values = np.where(label == 1, np.nan, rng.normal(size=60))
    assert (
        clinical_leak("jsw", values, label, own(60))
        .message()
        .startswith("whether 'jsw' is missing alone tells the two classes apart without an error")
    )
    values = np.where(label == 0, np.nan, 3.0)
    assert clinical_leak("jsw", values, label, own(60)).name == "whether 'jsw' is missing"
    # Missing anywhere, it tells nothing.
    values = np.where(rng.random(60) < 0.4, np.nan, rng.normal(size=60))
    assert clinical_leak("jsw", values, label, own(60)) is None
    assert clinical_leak("jsw", np.full(60, np.nan), label, own(60)) is None


def test_gaps_and_values_tell_the_label_together():
    label = (np.arange(80) % 2).astype(int)
    values = np.where(label == 1, np.arange(80.0) + 100, np.arange(80.0))
    values[(label == 1) & (np.arange(80) % 4 == 1)] = np.nan  # half of the positives
    negatives = np.flatnonzero(label == 0)
    values[negatives[:30]] = 200 + np.arange(30)  # above all known positives
    values[negatives[30:]] = 300
    assert clinical_leak("x", values, label, own(80)) is not None


def test_categories_tell_the_label_in_any_order():
    label = np.array([0, 1, 0, 1] * 20)
    codes = np.array([1.0, 2.0, 3.0, 4.0] * 20)
    assert 0.5 < roc_auc_score(label, codes) < 0.8
    leak = clinical_leak("site", codes, label, own(80))
    assert leak.name == "'site'" and leak.area == 1
    gaps = np.where(codes == 4, np.nan, codes)
    assert clinical_leak("site", gaps, label, own(80)) is not None
    # A code of its own for every few knees tells the labels by itself, and means nothing.
    rng = np.random.default_rng(1)
    label = np.array([0, 1] * 12)
    assert clinical_leak("reader", np.repeat(np.arange(12.0), 2), label, own(24)) is None
    # Twelve readers of two knees each, all of one label a reader: 924 of 2,704,156 arrangements.
    assert (
        clinical_leak("reader", np.repeat(np.arange(12.0), 2), label.repeat(2)[:24], own(24))
        is None
    )
    few = np.array([1.0, 2, 3, 4, 5, 6] * 2)
    assert clinical_leak("reader", few, np.array([0, 1, 0, 1, 1, 0] * 2), own(12)) is None
    assert clinical_leak("kl", rng.integers(0, 5, 24).astype(float), label, own(24)) is None


def test_a_channel_is_refused_for_a_perfect_separation_alone():
    names, subjects, label, features, _ = synthetic(knees=120)
    for i, y in enumerate(label):
        features[i][:, 7] += 100.0 * y
    cohort = make_cohort(names, subjects, label, features, space=SPACE)
    assert [leak.name for leak in label_leaks(cohort)] == ["channel 7 of the features"]


def change_labels(path, column, change):
    header, *lines = path.read_text().splitlines()
    out = [f"{header}\t{column}"]
    for number, line in enumerate(lines):
        out.append(f"{line}\t{change(number, line.split(chr(9))[2] == '1')}")
    path.write_text("\n".join(out) + "\n")


#: Columns made by hand for the knees of a study: what is in them, and whether it is refused.
COLUMNS = {
    "one in the wrong class": (lambda i, y: int(y) if i != 3 else 1 - int(y), True),
    "many in the wrong class": (lambda i, y: int(y) if i % 4 else 1 - int(y), False),
    "missing in positives": (lambda i, y: "n/a" if y else 2 + i % 3, True),
    "a row number": (lambda i, y: i, False),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_the_commands_refuse_it_and_can_be_told_to_go_on(study, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    study(knees=240, strength=0.5)
    change, is_refused = COLUMNS[kind]
    change_labels(tmp_path / "labels.tsv", "marker", change)
    if not is_refused:
        load_cohort("features.tsv", "labels.tsv", "bmi,marker")
        return
    with pytest.raises(UsageError, match="'marker'.* alone .*tells the two classes apart"):
        load_cohort("features.tsv", "labels.tsv", "bmi,marker")
    cohort = load_cohort("features.tsv", "labels.tsv", "bmi,marker", allow_label_leakage=True)
    assert cohort.clinical_names == ("bmi", "marker")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share, is_doubtful", [(0.9, None), (0.97, True), (0.998, False)])
def test_what_is_better_than_anything_published_is_doubtful(share, is_doubtful, seed):
    values, label = nearly(share, seed=seed)
    area = roc_auc_score(label, values)
    noise = np.random.default_rng(seed).normal(size=1000)
    for sign in (1, -1):
        cohort = make_cohort(
            own(1000),
            own(1000),
            label,
            [np.zeros((1, 1))] * 1000,
            np.column_stack([noise, sign * values]),
            ["bmi", "score"],
        )
        said = clinical_doubts(cohort)
        # What is refused anyway is not said twice; and a sample of 0.9 may lie on either side.
        assert len(said) == (area >= 0.9 if is_doubtful is None else is_doubtful)
        assert all(
            line.startswith(f"'score' alone has an AUC of {area:.3f}, more than") for line in said
        )


def test_few_patients_make_no_variable_doubtful():
    label = np.array([0] * 6 + [1] * 6)
    values = np.array([0, 1, 2, 3, 4, 8, 5, 6, 7, 9, 10, 11.0])
    assert roc_auc_score(label, values) > 0.9
    cohort = make_cohort(own(12), own(12), label, [np.zeros((1, 1))] * 12, values[:, None], ["x"])
    assert clinical_doubts(cohort) == []
    label, values = np.tile(label, 10), np.tile(values, 10) + np.arange(120) / 1000
    cohort = make_cohort(
        own(120), own(120), label, [np.zeros((1, 1))] * 120, values[:, None], ["x"]
    )
    assert len(clinical_doubts(cohort)) == 1
