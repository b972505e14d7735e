import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.learning import crossval, workers
from oatools.learning.baseline import LOGISTIC, baselines
from oatools.learning.cohort import make_cohort
from oatools.learning.crossval import (
    FEW_PATIENTS,
    Plan,
    candidates,
    cross_validate,
    default_repeats,
    null_distribution,
    permuted,
    repeat,
    validate,
)
from oatools.learning.folds import (
    Splitter,
    assign_folds,
    check_patients,
    hold_out,
    split_folds,
    split_training,
)
from oatools.learning.followed_baselines import BOOSTING, LINEAR
from oatools.learning.metrics import SCORES, choose_threshold, mean_area, roc_auc
from oatools.learning.settings import preset

from .conftest import with_features

QUICK = preset("paper", conv=8, units=8, hidden=8, epochs=6, patience=6, learning_rate=3e-3)


def divide(cohort, folds=3):
    return assign_folds(cohort.subject, cohort.label, folds, 0)


def test_all_models_stand_beside_each_other_in_the_same_folds(make, tmp_path):
    cohort = make(knees=80, clinical=6.0)
    result = validate(cohort, divide(cohort), Plan((QUICK,), 0), tmp_path)
    assert list(result.models) == ["images+clinical", "images", LINEAR, LOGISTIC, BOOSTING]
    alone = validate(
        cohort.without_clinical(), divide(cohort), Plan((QUICK,), 0), tmp_path / "alone"
    )
    assert (alone.first.probability == result.models["images"].probability).all()
    assert list(alone.models) == ["images", LINEAR]
    for name in (LOGISTIC, BOOSTING):
        assert roc_auc(cohort.label, result.models[name].probability) > 0.8


def test_logistic_regression_on_a_fold_is_that_of_scikit_learn(make):
    from sklearn.linear_model import LogisticRegression

    cohort = make(knees=80, clinical=3.0)
    fold = divide(cohort)
    found = baselines(cohort, split_folds(cohort, fold, 0.2, 0), QUICK, 0)[LOGISTIC]
    train, test = np.flatnonzero(fold != 2), np.flatnonzero(fold == 2)
    x = cohort.clinical
    scaled = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    model = LogisticRegression().fit(scaled[train], cohort.label[train])
    np.testing.assert_allclose(
        found.probability[test], model.predict_proba(scaled[test])[:, 1], rtol=1e-4
    )


def test_no_baseline_sees_the_fold_that_it_is_scored_on(make):
    cohort = make(knees=80)
    fold = divide(cohort)
    clinical, label = cohort.clinical.copy(), cohort.label.copy()
    test = np.flatnonzero(fold == 1)
    at = test[:1]  # one knee of the fold stays, the others are changed in all they have
    others = np.setdiff1d(test, at)
    clinical[others] = 1e3
    label[others] ^= 1
    wild = with_features(cohort, lambda i, v: np.full_like(v, 1e3) if i in others else v)
    changed = replace(wild, clinical=clinical, label=label)
    one, two = (baselines(c, split_folds(c, fold, 0.2, 0), QUICK, 0) for c in (cohort, changed))
    for name in one:
        assert one[name].probability[at] == two[name].probability[at], name
        assert one[name].threshold[at] == two[name].threshold[at], name


def test_a_model_against_itself_differs_by_nothing(make, tmp_path):
    cohort = make(knees=40)
    result = validate(cohort, divide(cohort), Plan((QUICK,), 0, compare=False), tmp_path)
    twice = replace(result, models={"a": result.first, "b": result.first})
    rows = [metric.row() for metric in twice.metrics().differences()]
    # No interval is as narrow as a point; there is none.
    assert rows and all(r["value"] == "0.000000" for r in rows)
    assert all((r["ci_low"], r["ci_high"]) == ("n/a", "n/a") for r in rows)


def test_permuted_labels_stay_together_within_patients_of_as_many_knees():
    subjects = [f"p{i // 2}" for i in range(200)] + [f"q{i}" for i in range(100)]
    label = np.concatenate(
        [np.repeat(np.arange(100) % 3 == 0, 2).astype(int), np.arange(100) % 5 == 0]
    )
    label[1] = 1 - label[1]  # one patient whose knees differ
    found = label[permuted(subjects, np.random.default_rng(0))]
    assert (found != label).any()

    def kinds(values):
        return Counter(tuple(values[2 * i : 2 * i + 2]) for i in range(100)), sum(values[200:])

    assert kinds(found.tolist()) == kinds(label.tolist())


def test_the_null_is_about_a_half_though_the_signal_is_strong(make, tmp_path):
    cohort = make(knees=120, strength=4.0)
    plan = Plan((replace(QUICK, epochs=15),), 0, Splitter(3), compare=False)
    fold = divide(cohort)
    result = validate(cohort, fold, plan, tmp_path)
    null = null_distribution(cohort, fold, plan, tmp_path, 12)
    assert roc_auc(cohort.label, result.first.probability) > null.max()
    assert abs(null.mean() - 0.5) < 0.08
    found = replace(result, null=null).metrics()
    p = found.get(result.name, "permuted labels", "p").row()["value"]
    assert float(p) == pytest.approx(1 / 13, abs=1e-6)
    again = null_distribution(cohort, fold, replace(plan, jobs=2), tmp_path, 12)
    assert (again == null).all()


def test_permuted_labels_are_divided_as_the_model_s_own_were(make, tmp_path):
    """Where twins of knees that are trained on are tested on, labels that tell nothing are known."""
    cohort = make(knees=80, channels=256)
    label = np.repeat(cohort.label[::2], 2)  # both knees of a patient look alike, and are alike
    twins = with_features(replace(cohort, label=label), lambda i, v: cohort.slices(i // 2 * 2))
    settings = (replace(QUICK, epochs=40, patience=40, pooling="mean", learning_rate=1e-2),)
    found = {}
    for leaky in (False, True):
        plan = Plan(settings, 0, Splitter(3, leaky=leaky), compare=False)
        fold = plan.splitter.split(twins, 0)
        found[leaky] = null_distribution(twins, fold, plan, tmp_path, 4).mean()
    assert found[False] < 0.6 and found[True] > 0.7


def test_folds_of_permuted_labels_spread_the_sites_and_have_both_classes(make, tmp_path):
    cohort = make(knees=80)
    site = [{"site": "A" if i // 2 % 8 == 0 else "B"} for i in range(80)]
    cohort = replace(cohort, rows=site)
    divided = []

    class Seen(Plan):
        def split(self, cohort, fold):
            divided.append((cohort.label, fold))
            return super().split(cohort, fold)

    quick = (replace(QUICK, epochs=1),)
    plan = Seen(quick, 0, Splitter(5, stratify=("site",)), compare=False)
    null_distribution(cohort, plan.splitter.split(cohort, 0), plan, tmp_path, 3)
    at_a = np.array([row["site"] == "A" for row in site])
    assert len(divided) == 3
    for label, fold in divided:
        assert (label != cohort.label).any() and sorted(set(fold)) == [1, 2, 3, 4, 5]
        assert [int(at_a[fold == n].sum()) for n in range(1, 6)] == [2] * 5
        assert all(len(set(label[fold == n])) == 2 for n in range(1, 6))


def test_permutations_that_leave_a_fold_with_one_class_are_drawn_again(make, tmp_path):
    cohort = make(knees=40)
    site = ["E" if i < 4 else "A" for i in range(40)]  # two patients are held out
    cohort = replace(cohort, rows=[{"site": each} for each in site])
    plan = Plan((replace(QUICK, epochs=1),), 0, Splitter(hold_out=("site", "E")), compare=False)
    fold = plan.splitter.split(cohort, 0)
    first = [
        cohort.label[permuted(cohort.subject, np.random.default_rng([0, n]))][fold == 1]
        for n in range(12)
    ]
    assert any(len(set(label)) == 1 for label in first)
    assert np.isfinite(null_distribution(cohort, fold, plan, tmp_path, 12)).all()
    alike = replace(cohort, label=np.repeat(cohort.label[::2], 2))
    one = (np.arange(40) < 2).astype(int)  # never has both classes, whoever's labels it gets
    with pytest.raises(UsageError, match="a fold was left with one class"):
        null_distribution(alike, one, plan, tmp_path, 1)


def test_runs_are_repeated_where_patients_are_few_and_folds_are_drawn(make, tmp_path):
    cohort = make(knees=60)
    assert (
        default_repeats(cohort, Splitter(3)) == default_repeats(cohort, Splitter(leaky=True)) == 5
    )
    assert default_repeats(cohort, Splitter(folds_file="folds.tsv")) == 1
    assert default_repeats(cohort, Splitter(hold_out=("site", "E"))) == 1
    for patients, times in ((FEW_PATIENTS - 1, 5), (FEW_PATIENTS, 1)):
        people = [f"p{i % patients}" for i in range(2 * patients)]
        knees = [f"k{i}" for i in range(2 * patients)]
        many = make_cohort(knees, people, [0, 1] * patients, [np.zeros((1, 1))] * 2 * patients)
        assert default_repeats(many, Splitter()) == times
    quick = replace(QUICK, epochs=1)
    result = cross_validate(cohort, 3, quick, seed=4, out_dir=tmp_path / "cv")
    assert [list(run.models) for run in result.runs] == [
        ["images+clinical", "images", LINEAR, LOGISTIC, BOOSTING]
    ] * 5
    for number, run in enumerate(result.runs):
        alone = Plan((quick,), 4 + number, Splitter(3)).splitter.split(cohort, 4 + number)
        assert (run.fold == alone).all()
    expected = [
        mean_area(cohort.label, r.models[LOGISTIC].probability, r.fold) for r in result.runs
    ]
    assert result.area(LOGISTIC).value == pytest.approx(np.mean(expected))
    # What was interrupted goes on: only what is not there is trained.
    (tmp_path / "cv/repeat-3/images/fold-2.safetensors").unlink()
    again = cross_validate(cohort, 3, quick, seed=4, out_dir=tmp_path / "cv")
    assert [run.trained for run in again.runs] == [0, 0, 1, 0, 0]
    assert again.area() == result.area()
    plan = Plan((quick,), 0, Splitter(folds_file="folds.tsv"))
    with pytest.raises(UsageError, match="same in every repeat"):
        repeat(result, plan, tmp_path, 2)


def test_a_setting_is_chosen_by_validation_loss_in_each_fold(make, tmp_path):
    cohort = make(knees=80)
    tried = candidates(QUICK, [("learning_rate", (1e-9, 3e-3)), ("dropout", (0.0, 0.4))])
    assert len(tried) == 4 and tried[1] == replace(QUICK, learning_rate=1e-9, dropout=0.4)
    result = validate(cohort, divide(cohort), Plan(tried, 0, compare=False), tmp_path)
    for record in result.records:
        losses = [t["validation_loss"] for t in record["tried"]]
        chosen = record["tried"][int(np.argmin(losses))]["settings"]
        assert record["settings"] == chosen and chosen["learning_rate"] == 3e-3
        assert record["validation_loss"] == min(losses)
    with pytest.raises(UsageError, match="tuned twice"):
        candidates(QUICK, [("dropout", (0.1,)), ("dropout", (0.2,))])


def test_a_group_held_out_is_tested_by_one_model_that_saw_the_others(make, tmp_path):
    cohort = make(knees=80)
    site = ["E" if i // 2 % 4 == 0 else "A" for i in range(80)]
    fold = hold_out(site, "E", "site")
    result = validate(cohort, fold, Plan((QUICK,), 0), tmp_path)
    seen = set(result.records[0]["training_knees"] + result.records[0]["validation_knees"])
    assert seen == {k for k, s in zip(cohort.knee, site, strict=True) if s == "A"}
    assert np.isnan(result.first.probability[fold == 0]).all() and len(result.records) == 1
    rows = [prediction.row() for prediction in result.predictions()]
    assert [r["knee"] for r in rows] == [
        k for k, s in zip(cohort.knee, site, strict=True) if s == "E"
    ]
    at = fold == 1
    area = result.metrics().get(result.name, "mean", "roc_auc").row()["value"]
    assert float(area) == pytest.approx(
        roc_auc(cohort.label[at], result.first.probability[at]), abs=1e-6
    )
    with pytest.raises(UsageError, match="no knees have site 'X'; there are A, E"):
        hold_out(site, "X", "site")


def test_sites_are_spread_over_the_folds_if_asked(make):
    cohort = make(knees=400)
    site = np.array(["A" if i // 2 % 10 == 0 else "B" for i in range(400)])
    fold = assign_folds(cohort.subject, cohort.label, 5, 0, strata=list(site))
    plain = assign_folds(cohort.subject, cohort.label, 5, 0)
    off = [
        max(abs((site[split == n] == "A").mean() - 0.1) for n in range(1, 6))
        for split in (fold, plain)
    ]
    assert off[0] < 0.03 < off[1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_is_trained_on_its_own_outcomes_and_without_clinical_variables_if_told(
    make, tmp_path, jobs, capfd
):
    cohort = make(knees=120, strength=4.0, clinical=6.0)
    train, test = np.arange(80), np.arange(80, 120)
    settings = (replace(QUICK, epochs=20),)
    split = split_training(cohort, 0.2, 0, train=train, test=test)
    plain = workers.Task("a", split, settings, 0)
    # Each knee gets the outcome of one of the other class.
    others = np.where(cohort.label == 1, np.argmin(cohort.label), np.argmax(cohort.label))
    tasks = [plain, replace(plain, places=others), replace(plain, clinical=False)]
    usual, turned, alone = (
        found for _, found in sorted(workers.run(cohort, tasks, jobs, tmp_path), key=lambda r: r[0])
    )
    assert roc_auc(cohort.label[test], usual) > 0.9 and roc_auc(cohort.label[test], turned) < 0.1
    again = workers.work(cohort.without_clinical(), plain)
    assert (alone == again).all() and (alone != usual).any()
    assert capfd.readouterr().err == ""


def test_a_worker_s_refusal_is_told_and_a_dead_one_too(make, tmp_path, monkeypatch):
    cohort = make(knees=40)
    with pytest.raises(UsageError, match="class"):
        split_training(cohort, 0.2, 0, train=np.arange(2))
    task = workers.Task("fold 1", split_training(cohort, 0.2, 0), (QUICK,), 0, tmp_path / "m", {})
    unknown = replace(cohort, clinical=np.full((40, 1), np.nan))
    with pytest.raises(UsageError, match="'bmi' is missing in all"):
        list(workers.run(unknown, [task, task], 2, tmp_path))
    nowhere = replace(task, path=tmp_path / "missing" / "\0")
    with pytest.raises(ValueError, match="null"):
        list(workers.run(cohort, [nowhere, nowhere], 2, tmp_path))
    dying = replace(task, record={"end": EndsTheProcess()})
    lasting = replace(task, name="fold 2", candidates=(replace(QUICK, epochs=10**6),))
    with pytest.raises(ItemError, match=r"fold 1: its process died \(exit status 1\)"):
        list(workers.run(cohort, [lasting, dying], 2, tmp_path))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


class EndsTheProcess:
    """Ends the process that unpickles it, as the kernel would where memory runs out."""

    def __reduce__(self):
        return os._exit, (1,)


ENDLESS = """
import os
import signal
import sys
from pathlib import Path

import numpy as np

from oatools.learning import workers
from oatools.learning.cohort import make_cohort
from oatools.learning.folds import split_training
from oatools.learning.settings import preset

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell ignores it
    random, names = np.random.default_rng(0), [f"k{i}" for i in range(20)]
    features = [random.normal(size=(4, 8)) for _ in names]
    cohort = make_cohort(names, names, [0, 1] * 10, features)
    split = split_training(cohort, 0.2, 0)
    settings = [preset("paper", epochs=n, patience=n) for n in (1, *[10**7] * 4)]
    tasks = [workers.Task("a", split, (each,), 0) for each in settings]
    for _ in workers.run(cohort, tasks, 2, Path(sys.argv[1])):
        children = Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
        (nursery,) = children
        print(Path("/proc", nursery, "task", nursery, "children").read_text(), nursery, flush=True)
"""


def is_running(pid):
    found = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_training_processes_end_with_their_parent(tmp_path, number):
    (tmp_path / "endless.py").write_text(ENDLESS)
    words = [sys.executable, tmp_path / "endless.py", tmp_path / "features"]
    (tmp_path / "features").mkdir()
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pids = run.stdout.readline().split()
    try:
        assert len(pids) == 3 and all(map(is_running, pids))
        time.sleep(1)  # well within an endless training
        run.send_signal(number)
        run.wait(timeout=60)
        end = time.monotonic() + 30
        while any(map(is_running, pids)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(is_running, pids))
    finally:
        run.stdout.close()
        for pid in [run.pid, *map(int, pids)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.wait()
    if number == signal.SIGINT:
        assert list((tmp_path / "features").iterdir()) == []


def test_metrics_have_every_unit_for_every_model(make, tmp_path):
    cohort = make(knees=60)
    result = validate(cohort, divide(cohort), Plan((QUICK,), 0), tmp_path)
    rows = result.metrics().rows()
    for name in result.models:
        for scope in ("fold-1", "mean", "sd", "pooled"):
            assert {r["metric"] for r in rows if r["model"] == name and r["scope"] == scope} >= set(
                SCORES
            )


def test_models_and_baselines_of_a_fold_have_seen_the_same_knees(make, tmp_path):
    """Every baseline is fitted again by hand, on the knees that the model's record names."""
    from sklearn.linear_model import LogisticRegression

    cohort = make(knees=80, clinical=3.0)
    result = validate(cohort, divide(cohort), Plan((QUICK,), 5), tmp_path)
    place = {knee: i for i, knee in enumerate(cohort.knee)}
    for number, record in enumerate(result.records, start=1):
        fitting = [place[knee] for knee in record["training_knees"]]
        held = [place[knee] for knee in record["validation_knees"]]
        test = np.flatnonzero(result.fold == number)
        assert sorted([*fitting, *held, *test]) == list(range(80))
        images = crossval.load_model(crossval.fold_path(tmp_path / "images", number)).record
        assert images["training_knees"] == record["training_knees"]
        assert images["validation_knees"] == record["validation_knees"]
        train = sorted([*fitting, *held])
        scaled = cohort.clinical - cohort.clinical[train].mean(axis=0)
        scaled = (scaled / cohort.clinical[train].std(axis=0)).astype(np.float32)
        model = LogisticRegression(max_iter=1000).fit(scaled[train], cohort.label[train])
        probability = model.predict_proba(scaled)[:, 1]
        found = result.models[LOGISTIC]
        np.testing.assert_allclose(found.probability[test], probability[test], rtol=1e-5)
        # The threshold comes from training knees, each scored by a fit on the other inner folds.
        inner = split_training(cohort, 0.2, 5, train=np.array(train))
        assert sorted(inner.validate) == sorted(held)
        others = np.empty(len(train))
        for part in range(1, inner.parts + 1):
            fitted, left = inner.train[inner.part != part], inner.train[inner.part == part]
            values = cohort.clinical[fitted]
            scaled = (cohort.clinical - values.mean(axis=0)) / values.std(axis=0)
            model = LogisticRegression(max_iter=1000).fit(scaled[fitted], cohort.label[fitted])
            others[inner.part == part] = model.predict_proba(scaled[left])[:, 1]
        threshold = choose_threshold(cohort.label[inner.train], others, "youden")
        np.testing.assert_allclose(found.threshold[test], threshold, rtol=1e-4)


def test_a_cross_validation_from_python_divides_by_patient_and_leaves_nothing_behind(
    make, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cohort = make(knees=60)
    result = cross_validate(cohort, folds=3, settings=QUICK, seed=2, repeats=1)
    check_patients(cohort.subject, result.fold)
    assert result.folds == 3 and list(tmp_path.iterdir()) == []
    again = cross_validate(cohort, Splitter(3), QUICK, seed=2, out_dir=tmp_path / "cv", repeats=1)
    assert (again.first.probability == result.first.probability).all()
    kept = cross_validate(cohort, 3, QUICK, seed=2, out_dir=tmp_path / "cv", repeats=1)
    assert (kept.trained, kept.kept) == (0, 6)
    predictions = result.predictions()
    assert [each.knee for each in predictions] == list(cohort.knee)
    area = result.area()
    assert area.low <= area.value <= area.high
    probability = np.array([p.probability for p in predictions])
    assert area.value == pytest.approx(mean_area(cohort.label, probability, result.fold))
