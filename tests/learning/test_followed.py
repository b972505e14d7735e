"""Models of follow-up, from planted hazards: what is fitted, kept, told and refused."""

import dataclasses

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

import oatools
from oatools.core.errors import UsageError
from oatools.learning.cohort import make_cohort
from oatools.learning.crossval import (
    BOTH,
    IMAGES,
    Plan,
    divide_and_validate,
    null_distribution,
    permuted,
)
from oatools.learning.files import load_model, save_model
from oatools.learning.folds import Splitter, split_training
from oatools.learning.followed_baselines import BOOSTING, COX, HAZARDS, LINEAR
from oatools.learning.followup import FollowUp
from oatools.learning.hazard import concordance
from oatools.learning.mixture import mix_given
from oatools.learning.model import predict, scores
from oatools.learning.outcome import Happened
from oatools.learning.results import headlines
from oatools.learning.settings import Settings, preset
from oatools.learning.training import fit
from oatools.survival.crossval import follow_up_metrics

from .conftest import SPACE, knee_name

VISITS = (12, 24, 36, 48, 72, 96)
SMALL = Settings(linear=("mean",), epochs=6, units=8, hidden=8)
PAPER = preset("paper", conv=8, units=8, hidden=8, epochs=25, learning_rate=3e-3)


def planted(knees=240, effect=1.0, seed=0, exactly=False, strength=1.0):
    """Knees whose log hazard ratio is `effect` times what shifts their slices; the truth beside."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=knees)
    happens = rng.exponential(60 * np.exp(-effect * truth))
    lost = rng.uniform(14, 120, size=knees)
    if exactly:
        follow_up = FollowUp.of(np.minimum(happens, lost), happens <= lost)
    else:
        start, stop = np.zeros(knees), np.full(knees, np.inf)
        for knee in range(knees):
            for visit in VISITS:
                if visit > lost[knee] or (visit > 12 and rng.uniform() < 0.1):
                    continue
                if happens[knee] <= visit:
                    stop[knee] = visit
                    break
                start[knee] = visit
        follow_up = FollowUp.between(start, stop)
    features = rng.normal(size=(knees, 6, 16)).astype(np.float32)
    features[:, 1:4, :4] += strength * truth[:, None, None].astype(np.float32)
    bmi = 27 + 3 * (0.5 * truth + rng.normal(size=knees))
    names = [knee_name(i) for i in range(knees)]
    cohort = make_cohort(
        names,
        [name.split("_")[0] for name in names],
        follow_up.event.astype(int),
        list(features),
        bmi[:, None],
        ["bmi"],
        space=SPACE,
        follow_up=follow_up,
    )
    by_name = dict(zip(names, truth, strict=True))
    return cohort, np.array([by_name[knee] for knee in cohort.knee])


@pytest.mark.parametrize("exactly", [False, True])
@pytest.mark.parametrize("settings", [SMALL, PAPER], ids=["default", "paper"])
def test_planted_hazards_are_found_in_knees_that_were_not_trained_on(settings, exactly):
    cohort, truth = planted(knees=400, exactly=exactly)
    train, test = np.arange(240), np.arange(240, 400)
    model = fit(cohort, settings, 0, split_training(cohort, 0.2, 0, train=train, test=test))
    score, _ = scores(model, *cohort.scored(test))
    found = cohort.follow_up.take(test)
    best = concordance(found, truth[test])
    assert best > 0.68
    assert best - 0.07 < concordance(found, score) <= best + 0.03
    # Risks mean what they say: in all test knees as many are expected as planted.
    risk = model.hazards.risk(score, [24])[:, 0]
    planted_risk = 1 - np.exp(-24 / 60 * np.exp(truth[test]))
    assert risk.mean() == pytest.approx(planted_risk.mean(), abs=0.08)
    probability, _ = predict(model, *cohort.scored(test))
    last = model.hazards.risk(score, [model.horizon])[:, 0]
    np.testing.assert_allclose(probability, last, rtol=1e-6)


def test_a_single_variable_gets_the_weight_that_cox_regression_gives_it():
    """The two differ in their baseline alone; of one strong variable, both find its effect."""
    cohort, truth = planted(knees=1200, exactly=True)
    cohort = dataclasses.replace(cohort, clinical=truth[:, None], clinical_names=("x",))
    outcome = Happened.of(cohort.follow_up)
    ours = outcome.regression()
    ours.fit(truth[:, None], 1e6, 1e-8, 1000)
    theirs = CoxPHSurvivalAnalysis()
    theirs.fit(truth[:, None], Surv.from_arrays(cohort.follow_up.event, cohort.follow_up.time))
    assert theirs.coef_[0] == pytest.approx(1, abs=0.12)  # as planted
    # In units of the cohort's hazards, which fall as knees of high hazard go, it is too small.
    assert ours.weight[0] < theirs.coef_[0] - 0.05
    mixture, _ = mix_given(outcome, {"x": ours.score(truth[:, None])})
    assert mixture.weights["x"] * ours.weight[0] == pytest.approx(theirs.coef_[0], abs=0.01)


def test_a_model_is_kept_with_its_hazards(tmp_path):
    cohort, _ = planted(knees=80)
    model = fit(cohort, SMALL, 0)
    save_model(tmp_path / "m.safetensors", model, endpoint="jsn-until96m")
    again = load_model(tmp_path / "m.safetensors")
    assert again.hazards.as_record() == model.hazards.as_record()
    assert again.horizon == model.horizon == model.hazards.ends[-1]
    score, _ = scores(model, *cohort.scored())
    assert (scores(again, *cohort.scored())[0] == score).all()
    assert "none" in again.record["threshold_rule"]
    assert again.record["validation_roc_auc"] > 0.6


def test_the_same_seed_gives_the_same_bytes_and_other_outcomes_another_digest():
    cohort, _ = planted(knees=80)
    one, two = fit(cohort, SMALL, 0), fit(cohort, SMALL, 0)
    for name, value in one.module.state_dict().items():
        assert (value == two.module.state_dict()[name]).all()
    everyone = np.arange(len(cohort))
    later = FollowUp.between(cohort.follow_up.start, cohort.follow_up.stop + 1)
    assert dataclasses.replace(cohort, follow_up=later).digest(everyone) != cohort.digest(everyone)


@pytest.fixture(scope="module")
def cross_validated(tmp_path_factory):
    cohort, truth = planted(knees=240, seed=1)
    plan = Plan((SMALL,), 0, Splitter(4), at=(12.0, 24.0, 96.0))
    return divide_and_validate(cohort, plan, tmp_path_factory.mktemp("cv")), truth


def test_a_cross_validation_tells_risks_that_rise_and_order_knees_as_planted(cross_validated):
    result, truth = cross_validated
    assert list(result.models) == [BOTH, IMAGES, LINEAR, HAZARDS, COX, BOOSTING]
    for name, found in result.models.items():
        assert (np.diff(found.risk, axis=1) >= 0).all(), name
        assert ((found.risk >= 0) & (found.risk <= 1)).all()
        assert (found.probability == found.risk[:, -1]).all()
    metrics = follow_up_metrics(result)
    best = np.mean(
        [
            concordance(result.cohort.follow_up.take(result.fold == k), truth[result.fold == k])
            for k in range(1, 5)
        ]
    )
    own = metrics.get(BOTH, "mean", "uno_c")
    assert own.low < own.value < own.high and own.value == pytest.approx(best, abs=0.07)
    assert metrics.get(HAZARDS, "mean", "uno_c").value < own.value
    difference = metrics.get(f"{BOTH} - {HAZARDS}", "difference", "uno_c")
    assert difference.value == pytest.approx(
        own.value - metrics.get(HAZARDS, "mean", "uno_c").value
    )
    line = headlines(metrics)[0]
    assert line.startswith(f"{BOTH}: Uno's C {own.value:.3f} [") and "by 24m" in line


def test_metrics_by_horizon_count_knees_whose_status_is_known(cross_validated):
    result, _ = cross_validated
    metrics, found = follow_up_metrics(result), result.cohort.follow_up
    # Of those whose event lies between 12 and 36 months, say, nobody knows.
    known = found.event & (found.stop <= 24) | (found.start >= 24)
    assert metrics.get(BOTH, "pooled", "known_24m").value == known.sum()
    events = (found.event & (found.time <= 24)).sum()
    assert metrics.get(BOTH, "pooled", "events_24m").value == events
    slope = metrics.get(BOTH, "pooled", "calibration_slope_24m")
    assert slope.low < slope.value < slope.high
    assert metrics.find(BOTH, "fold-1", "calibration_slope_24m") is None
    assert metrics.get(BOTH, "fold-1", "brier_24m").value > 0
    # Of two models that are the same, no number differs.
    twice = dataclasses.replace(result, models={"a": result.first, "b": result.first})
    for metric in follow_up_metrics(twice).differences():
        assert (metric.value, metric.low, metric.high) == (0, 0, 0)


def test_outcomes_are_permuted_whole_between_patients(tmp_path):
    cohort, _ = planted(knees=60)
    places = permuted(cohort.subject, np.random.default_rng(0))
    moved = cohort.with_outcomes_of(places)
    assert (moved.follow_up.start == cohort.follow_up.start[places]).all()
    assert (moved.label == moved.follow_up.event).all()
    plan = Plan((dataclasses.replace(SMALL, network=False),), 0, Splitter(3), at=(24.0,))
    result = divide_and_validate(cohort, plan, tmp_path)
    null = null_distribution(cohort, result.fold, plan, tmp_path, 8)
    assert null.mean() == pytest.approx(0.5, abs=0.1) and null.std() > 0.02
    metrics = follow_up_metrics(dataclasses.replace(result, null=null))
    assert metrics.get(BOTH, "permuted labels", "p").value == pytest.approx(1 / 9)
    assert "concordance" in " ".join(headlines(metrics))


@pytest.mark.parametrize("name", ["focal", "smoothing"])
def test_settings_of_the_loss_of_classes_are_refused(name):
    cohort, _ = planted(knees=40)
    with pytest.raises(UsageError, match=f"`{name}` changes the loss of two classes"):
        fit(cohort, dataclasses.replace(SMALL, **{name: 0.5}), 0)


def test_no_signal_gives_risks_of_the_cohort():
    cohort, _ = planted(knees=300, strength=0.0)
    cohort = cohort.without_clinical()
    model = fit(cohort, SMALL, 0)
    score, _ = scores(model, *cohort.scored())
    assert score.std() < 0.25
    risk = model.hazards.risk(score, [96.0])[:, 0]
    assert risk.mean() == pytest.approx(0.72, abs=0.1)  # 1 - mean of exp(-96/60 e^N(0,1))


def test_a_cross_validation_from_python_tells_risks_at_the_usual_times():
    cohort, _ = planted(knees=90, seed=2)
    quick = dataclasses.replace(SMALL, network=False)
    result = oatools.cross_validate(cohort, folds=3, settings=quick, repeats=1)
    assert result.at == (12, 24, 48, 96)
    assert oatools.follow_up_metrics(result).main == "uno_c"
    assert result.predictions()[0].row()["risk_24m"]
    other = oatools.cross_validate(cohort, folds=3, settings=quick, repeats=1, at=(30.0,))
    assert other.at == (30,) and other.columns()[8:10] == ["risk_30m", "probability"]
    for ask in (result.metrics, result.area):
        with pytest.raises(ValueError, match="measure with follow_up_metrics"):
            ask()
