from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.learning import crossval, workers
from oatools.learning.baseline import BOOSTING, LINEAR, LOGISTIC, baselines
from oatools.learning.crossval import (
    Plan,
    candidates,
    cross_validate,
    metric_rows,
    null_distribution,
    permuted,
)
from oatools.learning.folds import assign_folds, hold_out
from oatools.learning.metrics import SCORES, bootstrap, interval, roc_auc
from oatools.learning.settings import Settings

QUICK = Settings(conv=8, units=8, hidden=8, epochs=6, patience=6, learning_rate=3e-3)


def divide(cohort, folds=3):
    return assign_folds(cohort.subject, cohort.label, folds, 0)


def test_all_models_stand_beside_each_other_in_the_same_folds(make, tmp_path):
    cohort = make(knees=80, clinical=6.0)
    result = cross_validate(cohort, divide(cohort), Plan((QUICK,), 0), tmp_path)
    assert list(result.models) == ["images+clinical", "images", LINEAR, LOGISTIC, BOOSTING]
    alone = cross_validate(
        workers.without_clinical(cohort), divide(cohort), Plan((QUICK,), 0), tmp_path / "alone"
    )
    assert (alone.first.probability == result.models["images"].probability).all()
    assert list(alone.models) == ["images", LINEAR]
    for name in (LOGISTIC, BOOSTING):
        assert roc_auc(cohort.label, result.models[name].probability) > 0.8


def test_logistic_regression_on_a_fold_is_that_of_scikit_learn(make):
    from sklearn.linear_model import LogisticRegression

    from oatools.learning.folds import inner_split

    cohort = make(knees=80, clinical=3.0)
    fold = divide(cohort)
    found = baselines(cohort, fold, QUICK, 0)[LOGISTIC]
    train, test = np.flatnonzero(fold != 2), np.flatnonzero(fold == 2)
    fitting = train[inner_split([cohort.subject[i] for i in train], cohort.label[train], 0.2, 0)[0]]
    x = cohort.clinical
    scaled = (x - x[fitting].mean(axis=0)) / x[fitting].std(axis=0)
    model = LogisticRegression().fit(scaled[fitting], cohort.label[fitting])
    np.testing.assert_allclose(
        found.probability[test], model.predict_proba(scaled[test])[:, 1], rtol=1e-4
    )


def test_no_yardstick_sees_the_fold_that_it_is_scored_on(make):
    cohort = make(knees=80)
    fold = divide(cohort)
    wild = cohort.features.copy(), cohort.clinical.copy(), cohort.label.copy()
    test = np.flatnonzero(fold == 1)
    at = test[:1]  # one knee of the fold stays, the others are changed in all they have
    for values in wild[:2]:
        values[np.setdiff1d(test, at)] = 1e3
    wild[2][np.setdiff1d(test, at)] ^= 1
    changed = replace(cohort, features=wild[0], clinical=wild[1], label=wild[2])
    one, two = baselines(cohort, fold, QUICK, 0), baselines(changed, fold, QUICK, 0)
    for name in one:
        assert one[name].probability[at] == two[name].probability[at], name
        assert one[name].threshold[at] == two[name].threshold[at], name


def test_differences_are_paired_on_the_same_draws(make, tmp_path):
    cohort = make(knees=80, clinical=3.0)
    result = cross_validate(cohort, divide(cohort), Plan((QUICK,), 0), tmp_path)
    rows = metric_rows(cohort, result, 200, 0)
    row = next(
        r
        for r in rows
        if r["model"] == f"images+clinical - {LOGISTIC}" and r["metric"] == "roc_auc"
    )
    pair = {
        n: (result.models[n].probability, result.models[n].predicted)
        for n in ("images+clinical", LOGISTIC)
    }
    drawn = bootstrap(cohort.label, pair, cohort.subject, 200, 0)
    low, high = interval(drawn["images+clinical"][:, 0] - drawn[LOGISTIC][:, 0])
    assert [row["ci_low"], row["ci_high"]] == [f"{low:.6f}", f"{high:.6f}"]
    apart = roc_auc(cohort.label, pair["images+clinical"][0]) - roc_auc(
        cohort.label, pair[LOGISTIC][0]
    )
    assert float(row["value"]) == pytest.approx(apart, abs=1e-6)


def test_a_model_against_itself_differs_by_nothing(make, tmp_path):
    cohort = make(knees=40)
    result = cross_validate(cohort, divide(cohort), Plan((QUICK,), 0, compare=False), tmp_path)
    twice = replace(result, models={"a": result.first, "b": result.first})
    rows = [r for r in metric_rows(cohort, twice, 50, 0) if r["scope"] == "difference"]
    assert rows and all((r["value"], r["ci_low"], r["ci_high"]) == ("0.000000",) * 3 for r in rows)


def test_permuted_labels_stay_together_within_patients_of_as_many_knees():
    subjects = [f"p{i // 2}" for i in range(200)] + [f"q{i}" for i in range(100)]
    label = np.concatenate(
        [np.repeat(np.arange(100) % 3 == 0, 2).astype(int), np.arange(100) % 5 == 0]
    )
    label[1] = 1 - label[1]  # one patient whose knees differ
    found = permuted(subjects, label, np.random.default_rng(0))
    assert (found != label).any()

    def kinds(values):
        return Counter(tuple(values[2 * i : 2 * i + 2]) for i in range(100)), sum(values[200:])

    assert kinds(found.tolist()) == kinds(label.tolist())


def test_the_null_is_about_a_half_though_the_signal_is_strong(make, tmp_path):
    cohort = make(knees=120, strength=4.0)
    plan = Plan((replace(QUICK, epochs=15),), 0, compare=False)
    fold = divide(cohort)
    result = cross_validate(cohort, fold, plan, tmp_path)
    null = null_distribution(cohort, fold, plan, tmp_path, 12, own_folds=True)
    assert roc_auc(cohort.label, result.first.probability) > null.max()
    assert abs(null.mean() - 0.5) < 0.08
    rows = metric_rows(cohort, replace(result, null=null), 20, 0)
    p = next(r["value"] for r in rows if r["scope"] == "permuted labels" and r["metric"] == "p")
    assert float(p) == pytest.approx(1 / 13, abs=1e-6)
    again = null_distribution(cohort, fold, replace(plan, jobs=2), tmp_path, 12, own_folds=True)
    assert (again == null).all()


def test_a_setting_is_chosen_by_validation_loss_in_each_fold(make, tmp_path):
    cohort = make(knees=80)
    tried = candidates(QUICK, [("learning_rate", (1e-9, 3e-3)), ("dropout", (0.0, 0.4))])
    assert len(tried) == 4 and tried[1] == replace(QUICK, learning_rate=1e-9, dropout=0.4)
    result = cross_validate(cohort, divide(cohort), Plan(tried, 0, compare=False), tmp_path)
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
    result = cross_validate(cohort, fold, Plan((QUICK,), 0), tmp_path)
    seen = set(result.records[0]["training_knees"] + result.records[0]["validation_knees"])
    assert seen == {k for k, s in zip(cohort.knee, site, strict=True) if s == "A"}
    assert np.isnan(result.first.probability[fold == 0]).all() and len(result.records) == 1
    rows = crossval.prediction_rows(cohort, result)
    assert [r["knee"] for r in rows] == [
        k for k, s in zip(cohort.knee, site, strict=True) if s == "E"
    ]
    metrics = {
        (r["scope"], r["metric"]): r["value"]
        for r in metric_rows(cohort, result, 20, 0)
        if r["model"] == result.name
    }
    at = fold == 1
    assert float(metrics["pooled", "roc_auc"]) == pytest.approx(
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
def test_a_task_is_trained_on_its_own_labels_and_without_clinical_variables_if_told(
    make, tmp_path, jobs, capfd
):
    cohort = make(knees=120, strength=4.0, clinical=6.0)
    train, test = np.arange(80), np.arange(80, 120)
    settings = (replace(QUICK, epochs=20),)
    plain = workers.Task("a", train, settings, 0, test=test)
    tasks = [plain, replace(plain, label=1 - cohort.label), replace(plain, clinical=False)]
    usual, turned, alone = (
        found for _, found in sorted(workers.run(cohort, tasks, jobs, tmp_path), key=lambda r: r[0])
    )
    assert roc_auc(cohort.label[test], usual) > 0.9 and roc_auc(cohort.label[test], turned) < 0.1
    again = workers.work(workers.without_clinical(cohort), plain)
    assert (alone == again).all() and (alone != usual).any()
    assert capfd.readouterr().err == ""


def test_a_worker_s_refusal_is_told_and_a_dead_one_too(make, tmp_path, monkeypatch):
    cohort = make(knees=40)
    task = workers.Task("fold 1", np.arange(2), (QUICK,), 0, tmp_path / "m", {})
    with pytest.raises(UsageError, match="class"):
        list(workers.run(cohort, [task, task], 2, tmp_path))
    good = replace(task, train=np.arange(40), path=tmp_path / "missing" / "\0")
    with pytest.raises(ItemError, match="fold 1: its process ended with status 1"):
        list(workers.run(cohort, [good, good], 2, tmp_path))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_metrics_have_every_unit_for_every_model(make, tmp_path):
    cohort = make(knees=60)
    result = cross_validate(cohort, divide(cohort), Plan((QUICK,), 0), tmp_path)
    rows = metric_rows(cohort, result, 20, 0)
    for name in result.models:
        for scope in ("fold-1", "mean", "sd", "pooled"):
            assert {r["metric"] for r in rows if r["model"] == name and r["scope"] == scope} >= set(
                SCORES
            )
