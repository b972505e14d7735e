import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oatools.core.errors import UsageError
from oatools.core.replacing import Replace
from oatools.learning.folds import (
    Splitter,
    assign_folds,
    check_patients,
    fold_rows,
    inner_folds,
    read_folds,
    write_folds,
)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_no_patient_is_in_two_folds_and_every_knee_is_in_one(seed, folds):
    random = np.random.default_rng(seed)
    subjects = [str(s) for s in random.integers(0, 60, 120)]
    label = random.integers(0, 2, 120)
    fold = assign_folds(subjects, label, folds, seed)
    check_patients(subjects, fold)
    assert all(
        len({f for s, f in zip(subjects, fold, strict=True) if s == patient}) == 1
        for patient in subjects
    )
    assert sorted(set(fold.tolist())) == list(range(1, folds + 1))


def test_folds_are_stratified_and_follow_the_seed():
    subjects = [str(i // 2) for i in range(400)]
    label = (np.arange(400) % 7 == 0).astype(int)
    fold = assign_folds(subjects, label, 5, 0)
    shares = [label[fold == n].mean() for n in range(1, 6)]
    assert max(shares) - min(shares) < 0.03
    assert (fold == assign_folds(subjects, label, 5, 0)).all()
    assert (fold != assign_folds(subjects, label, 5, 1)).any()


def test_the_leaky_split_does_put_knees_of_a_patient_into_several_folds():
    subjects = [str(i // 2) for i in range(100)]
    fold = assign_folds(subjects, np.arange(100) % 3 // 2, 5, 0, leaky=True)
    with pytest.raises(UsageError, match="is in folds"):
        check_patients(subjects, fold)


def test_too_few_patients_of_a_class_are_refused_with_the_numbers():
    subjects, label = [str(i) for i in range(20)], np.array([1, 1, 1] + [0] * 17)
    with pytest.raises(
        UsageError,
        match="5 folds need 5 patients of each class; there are 17 with label 0, 3 with label 1",
    ):
        assign_folds(subjects, label, 5, 0)
    with pytest.raises(UsageError, match="all 20 knees have label 0"):
        assign_folds(subjects, np.zeros(20, int), 5, 0)


def test_the_inner_split_keeps_patients_together_and_both_classes_on_both_sides():
    subjects = [str(i // 2) for i in range(60)]
    label = (np.arange(60) < 6).astype(int)
    for seed in range(10):
        part = inner_folds(subjects, label, 0.2, seed)
        assert part[0::2].tolist() == part[1::2].tolist()  # the two knees of a patient
        assert set(label[part != 1]) == set(label[part == 1]) == {0, 1}
        # Three patients of the rarer class, so no more than three parts.
        assert set(part.tolist()) == {1, 2, 3}
    with pytest.raises(UsageError, match="at least 2 are needed"):
        inner_folds(subjects, (np.arange(60) < 2).astype(int), 0.2, 0)


def test_a_folds_file_is_read_back_and_other_folds_are_not_overwritten(tmp_path):
    knees, subjects, fold = ["a", "b", "c", "d"], ["1", "1", "2", "2"], np.array([1, 1, 2, 2])
    path = tmp_path / "folds.tsv"
    write_folds(path, knees, subjects, fold, replacing=Replace.NOTHING)
    assert path.read_text() == "knee\tsubject\tfold\na\t1\t1\nb\t1\t1\nc\t2\t2\nd\t2\t2\n"
    assert read_folds(path, ["d", "a"], ["2", "1"]).tolist() == [2, 1]
    write_folds(path, knees, subjects, fold, replacing=Replace.NOTHING)
    with pytest.raises(UsageError, match="holds other folds of the same knees"):
        write_folds(path, knees, subjects, fold[::-1], replacing=Replace.NOTHING)
    with pytest.raises(UsageError, match=r"holds other folds \(of 4 knees, not 3; 3 are in both\)"):
        write_folds(path, knees[1:], subjects[1:], fold[1:], replacing=Replace.NOTHING)
    with pytest.raises(UsageError, match=r"holds other folds \(2, not 3\)"):
        write_folds(path, knees, subjects, np.array([1, 2, 3, 3]), replacing=Replace.NOTHING)
    write_folds(path, knees, subjects, fold[::-1], replacing=Replace.ANYTHING)
    assert fold_rows(knees, subjects, fold[::-1])[0]["fold"] == "2"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\t1\n", "no fold for 1 of 2 knees, the first is b"),
        ("a\t1\nb\tx\n", "fold of b is 'x'"),
        ("a\t1\nb\t3\n", "without a gap"),
        ("a\t1\na\t2\nb\t2\n", "a is there twice"),
    ],
)
def test_a_folds_file_that_cannot_be_used_is_refused(tmp_path, lines, message):
    (tmp_path / "folds.tsv").write_text("knee\tfold\n" + lines)
    with pytest.raises(UsageError, match=message):
        read_folds(tmp_path / "folds.tsv", ["a", "b"], ["1", "2"])


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("x", "a is of patient 1 in the labels, and of x in .*folds.tsv; write one patient in one"),
        ("01", "of 01 in .*folds.tsv"),
        ("n/a", None),
        (" 1.0\u00a0", None),
    ],
)
def test_a_folds_file_and_the_labels_agree_on_the_patient_of_a_knee(tmp_path, subject, message):
    path = tmp_path / "folds.tsv"
    path.write_text(f"knee\tsubject\tfold\nA \t{subject}\t1\nb\t2\t2\n", encoding="utf-8")
    if message is None:
        assert read_folds(path, ["b", "a"], ["2", "1"]).tolist() == [2, 1]
    else:
        with pytest.raises(UsageError, match=message):
            read_folds(path, ["a", "b"], ["1", "2"])


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(folds):
    with pytest.raises(UsageError, match=f"folds is {folds}; give folds of at least 2"):
        Splitter(folds)


def test_two_ways_to_divide_the_knees_are_refused():
    with pytest.raises(
        UsageError, match="exclude each other; give folds_file, hold_out or leave_out"
    ):
        Splitter(folds_file="folds.tsv", hold_out=("site", "a"))
