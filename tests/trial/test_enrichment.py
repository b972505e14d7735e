"""What a trial gains: by formula, by hand, and at the two ends, no skill and all of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from oatools.core.errors import UsageError
from oatools.scored.knees import ScoredKnees
from oatools.scored.rules import parse_rule
from oatools.trial.enrichment import Trial, enrich


def cohort(patients=400, area=0.65, prevalence=0.2, seed=0, **more):
    """Two knees a patient with a binormal score, and no folds."""
    random = np.random.default_rng(seed)
    subject = np.arange(patients).repeat(2)
    label = (random.random(len(subject)) < prevalence).astype(int)
    score = math.sqrt(2) * norm.ppf(area) * label + random.standard_normal(len(subject))
    return ScoredKnees(
        knee=tuple(map(str, range(len(subject)))),
        subject=subject,
        label=label,
        fold=np.zeros(len(subject), int),
        scores={"model": norm.cdf(score / 2)},
        **more,
    )


def by_share(found, model="model"):
    return {round(outcome.share, 4): outcome for outcome in found.of(model)}


def test_event_rates_are_those_of_the_binormal_formula():
    """P(event | score above c) = p F1(c) / share, where p F1(c) + (1 - p) F0(c) = share."""
    area, p = 0.65, 0.14
    found = by_share(enrich(cohort(300_000, area, p), Trial(), (0.5, 0.25), draws=2))
    cuts = np.linspace(-6, 6, 400_001)
    among_events = norm.sf(cuts - math.sqrt(2) * norm.ppf(area))
    enrolled = p * among_events + (1 - p) * norm.sf(cuts)
    for share in (0.5, 0.25):
        cut = np.argmin(np.abs(enrolled - share))
        expected = p * among_events[cut] / share
        assert found[share].rate.value == pytest.approx(expected, rel=0.01)
    # The literature's own arithmetic: at 0.65 the better half holds some 1.36 times the events.
    assert found[0.5].rate.value / p == pytest.approx(1.36, abs=0.02)


def test_by_hand_with_costs():
    """Half of 200 knees have the event, and four fifths of the half that the score ranks highest.

    Patients per arm of rates 0.5 and 0.25, by the formula: (1.959964 sqrt(2 x 0.375 x 0.625) +
    0.841621 sqrt(0.25 + 0.1875))^2 / 0.25^2 = (1.341929 + 0.556680)^2 / 0.0625 = 57.68. Of 0.8 and
    0.4: (1.959964 sqrt(2 x 0.6 x 0.4) + 0.841621 sqrt(0.16 + 0.24))^2 / 0.4^2 = (1.357903 +
    0.532288)^2 / 0.16 = 22.33.
    """
    label = np.array(([1, 1, 1, 1, 0] * 4 + [0, 0, 0, 1, 0] * 4) * 5)
    score = np.tile(np.concatenate([np.full(20, 0.9), np.full(20, 0.1)]), 5)
    candidates = replace(
        cohort(100), label=label, scores={"model": score}, columns={"kl": (score > 0.5) * 3.0}
    )
    trial = Trial(effect=0.5, dropout=0.2, cost_screen=100, cost_rule=10, cost_patient=1000)
    found = enrich(candidates, trial, (0.5,), [parse_rule("kl=3")], draws=50)
    everybody, half, rule, like = found.outcomes
    assert everybody.rate.value == 0.5 and half.rate.value == pytest.approx(0.8)
    assert (everybody.per_arm.value, half.per_arm.value) == (58, 23)
    # Both arms, of whom four fifths have an outcome: 2 x 72.5 and 2 x 28.75, rounded up by arm.
    assert (everybody.randomised.value, half.randomised.value) == (146, 58)
    assert (everybody.screened.value, half.screened.value) == (146, 116)
    assert everybody.cost.value == 146_000
    assert half.cost.value == 58_000 + 116 * 100
    assert rule.cost.value == 58_000 + 116 * 10
    assert like.cost.value == half.cost.value
    assert half.patients_saved.value == pytest.approx(1 - 58 / 146)
    assert half.cost_saved.value == pytest.approx(1 - 69_600 / 146_000)
    assert half.per_event.value == pytest.approx(1 / (0.5 * 0.8))
    assert everybody.per_event.value == pytest.approx(2)


def test_a_score_without_skill_saves_nothing():
    """In expectation exactly, since equal scores go by lot; and within its interval when random."""
    equal = replace(cohort(), scores={"model": np.full(800, 0.3)})
    for outcome in enrich(equal, Trial(), (0.5, 0.3), draws=50).of("model"):
        assert outcome.patients_saved.value == pytest.approx(0, abs=0.01)  # whole patients
    held = []
    for seed in range(40):
        found = enrich(cohort(area=0.5, seed=seed), Trial(), (0.5,), draws=200, seed=seed)
        saved = found.outcomes[1].patients_saved
        held.append(saved.low <= 0 <= saved.high)
    # 95 % of 40 are 38; fewer than 33 come in one of ten thousand such runs.
    assert sum(held) >= 33


def test_a_perfect_score_saves_the_most_there_is_to_save():
    found = cohort(area=0.5)
    perfect = replace(found, scores={"model": found.label * 0.5 + 0.2})
    outcome = enrich(perfect, Trial(), (0.15,), draws=100).outcomes[1]
    assert outcome.rate.value == 1
    assert outcome.per_arm.value == 22  # of statsmodels for 1 and 0.7, 21.02, rounded up
    assert outcome.patients_saved.value > 0.9
    assert outcome.patients_saved.low > 0.9


def test_too_few_events_are_withheld_and_said():
    outcome = enrich(cohort(60), Trial(), (0.5, 0.05), draws=50).outcomes[-1]
    assert outcome.events < 10
    assert "fewer than 10" in outcome.reason
    for quantity in (outcome.rate, outcome.per_arm, outcome.screened, outcome.patients_saved):
        assert math.isnan(quantity.value) and math.isnan(quantity.low)


def test_a_saving_that_leaves_out_hardly_an_event_has_no_interval():
    """Nine tenths by a nearly perfect score: what it might leave out of another cohort is unseen."""
    found = enrich(cohort(area=0.97), Trial(), (0.9, 0.1), draws=100).outcomes
    left_out = [found[0].events - outcome.events for outcome in found[1:]]
    assert left_out[0] < 5 < left_out[1]
    assert found[1].patients_saved.value > 0 and math.isnan(found[1].patients_saved.low)
    assert math.isfinite(found[1].rate.low) and math.isfinite(found[2].patients_saved.low)


def test_patients_of_the_change_follow_its_mean_and_sd():
    from statsmodels.stats.power import TTestIndPower

    base = cohort(seed=3)
    random = np.random.default_rng(3)
    change = -0.4 * base.label - 0.1 + 0.5 * random.standard_normal(800)
    change[::9] = np.nan
    found = enrich(replace(base, change=change), Trial(effect=0.4), (0.5,), draws=100)
    top = np.argsort(-base.scores["model"], kind="stable")[:400]
    own = change[top][~np.isnan(change[top])]
    outcome = found.outcomes[1]
    assert outcome.mean.value == pytest.approx(own.mean())
    assert outcome.sd == pytest.approx(own.std(ddof=1))
    size = 0.4 * abs(own.mean()) / own.std(ddof=1)
    asked = TTestIndPower().solve_power(size, None, 0.05, 0.8)
    assert outcome.per_arm.value == math.ceil(asked)
    assert outcome.mean.low < own.mean() < outcome.mean.high


def test_who_does_not_get_worse_gives_nothing_to_prevent():
    base = cohort()
    better = np.where(base.scores["model"] > np.median(base.scores["model"]), 0.1, -1.0)
    found = enrich(replace(base, change=better), Trial(), (0.5, 0.4), draws=50)
    assert math.isfinite(found.outcomes[0].per_arm.value)
    assert math.isinf(found.outcomes[1].per_arm.value)
    assert "nothing" not in found.outcomes[0].reason
    assert "no mean change for the worse" in found.outcomes[1].reason


def test_a_model_is_held_against_a_rule_and_another_at_the_same_share():
    base = cohort(seed=2)
    grade = np.random.default_rng(0).integers(0, 5, 800).astype(float)
    both = replace(
        base,
        scores=base.scores | {"other": base.scores["model"].copy()},
        columns={"kl": grade},
    )
    found = enrich(both, Trial(), (0.5, 0.3), [parse_rule("kl=2:3")], draws=200)
    by_other = {(d.other, round(d.share, 3)): d for d in found.differences}
    rule = next(o for o in found.outcomes if o.strategy.name == "kl=2:3")
    against_rule = by_other["kl=2:3", round(rule.share, 3)]
    assert against_rule.other_rate == pytest.approx(rule.rate.value)
    assert against_rule.rates.value == pytest.approx(against_rule.one_rate - rule.rate.value)
    assert against_rule.rates.low < against_rule.rates.value < against_rule.rates.high
    # The other model is the same one: no difference, in no draw.
    same = by_other["other", 0.5]
    assert same.rates.value == 0 and math.isnan(same.rates.low)
    assert same.patients.value == 0


def test_knees_of_a_patient_are_drawn_together():
    """Every patient twice over, as two equal knees: intervals are those of one knee each."""
    random = np.random.default_rng(1)
    label, score = random.integers(0, 2, 200), random.random(200)
    one = replace(cohort(100), label=label, scores={"model": score}, subject=np.arange(200))
    twice = ScoredKnees(
        knee=tuple(map(str, range(400))),
        subject=np.arange(200).repeat(2),
        label=label.repeat(2),
        fold=np.zeros(400, int),
        scores={"model": score.repeat(2)},
    )
    a = enrich(one, Trial(), (0.5,), draws=300, seed=4).outcomes
    b = enrich(twice, Trial(), (0.5,), draws=300, seed=4).outcomes
    for single, double in zip(a, b, strict=True):
        assert double.rate == single.rate


def test_folds_widen_what_the_score_adds_and_nothing_of_all_comers():
    one = cohort(seed=5)
    two = replace(one, fold=(one.subject % 2) + 1)
    plain = enrich(one, Trial(), (0.5,), draws=500, seed=1).outcomes
    folds = enrich(two, Trial(), (0.5,), draws=500, seed=1).outcomes
    assert folds[0].rate == plain[0].rate
    reach = [o[1].patients_saved.high - o[1].patients_saved.low for o in (plain, folds)]
    assert 1.1 < reach[1] / reach[0] < 1.5


@pytest.mark.parametrize(
    ("said", "trial"),
    [
        ("effect", {"effect": 0}),
        ("effect", {"effect": 1.2}),
        ("power", {"power": 1}),
        ("power", {"power": 0.2}),
        ("alpha", {"alpha": 0}),
        ("dropout", {"dropout": 1}),
        ("dropout", {"dropout": -0.1}),
        ("cost_screen", {"cost_screen": -1}),
        ("cost_patient", {"cost_patient": math.inf}),
        ("cost_rule", {"cost_rule": math.nan}),
        ("effect", {"effect": math.nan}),
    ],
)
def test_what_no_trial_can_be_is_refused(said, trial):
    with pytest.raises(UsageError, match=said):
        Trial(**trial)


def test_what_gives_no_event_rate_to_enrich_is_refused():
    base = cohort(100)
    few = np.zeros(200, int)
    few[:9] = 1
    with pytest.raises(UsageError, match="9 events among 200"):
        enrich(replace(base, label=few), Trial(), (0.5,))
    with pytest.raises(UsageError, match="all 200 candidates have the event"):
        enrich(replace(base, label=np.ones(200, int)), Trial(), (0.5,))
    for share in (0, 1, -0.5, 1.5, math.nan):
        with pytest.raises(UsageError, match="a share of"):
            enrich(base, Trial(), (share,))
